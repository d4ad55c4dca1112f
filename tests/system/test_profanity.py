"""profanity (Debian's) in a terminal: it logs in over STARTTLS, chats in both directions, gets carbons, makes contacts, and comes back after a cut with
nothing lost or doubled. The terminal is tmux's: keys go in, the screen is read."""
import contextlib
import re
import shutil
import socket
import subprocess
import threading

import pytest

from harness.client import Client
from harness.programs import Recorder
from harness.service import PASSWORD, wait_until

pytestmark = pytest.mark.skipif(not (shutil.which("profanity") and shutil.which("tmux")), reason="profanity or tmux is not installed")


class Relay:
    """A port before the service's; cut() is a network that fails."""

    def __init__(self, port):
        self.to, self.open = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            self.open += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass

    def cut(self):
        for s in self.open:
            with contextlib.suppress(OSError):  # it ended before
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        self.open = []

    def close(self):
        self.listener.close()
        self.cut()


class Profanity:
    def __init__(self, home, jid, port):
        self.home, self.tmux_socket = home, home / "tmux"
        for name, content in {
            "data/profanity/accounts": f"[{jid}]\nenabled=true\njid={jid}\nserver=127.0.0.1\nport={port}\nresource=terminal\npassword={PASSWORD}\ntls.policy=trust\n",
            "config/profanity/profrc": "[ui]\nsplash=false\nwintitle.show=false\n[connection]\nreconnect=1\ncarbons=true\n[notifications]\nmessage=false\n",
        }.items():
            (home / name).parent.mkdir(parents=True)
            (home / name).write_text(content)
        command = f"env HOME={home} XDG_CONFIG_HOME={home}/config XDG_DATA_HOME={home}/data TERM=screen LC_ALL=C.UTF-8 profanity -l DEBUG -a {jid}"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "45", command)

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-u", "-S", self.tmux_socket, *arguments], check=True, capture_output=True, text=True).stdout

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def shows(self, pattern, seconds=15):
        try:
            return wait_until(pattern, lambda: re.search(pattern, self.screen()), seconds)
        except AssertionError:
            raise AssertionError(f"{pattern!r} is not on the screen:\n{self.screen()}") from None

    def close(self):
        subprocess.run(["tmux", "-S", self.tmux_socket, "kill-server"], capture_output=True)


@pytest.fixture
def stage(services, closing, tmp_path):
    service = services({"c2s.ack_wait": 200})
    service.user("romeo", "juliet")
    recorder = closing(Recorder(service)).assign()
    relay = closing(Relay(service.port))
    terminal = closing(Profanity(tmp_path, "romeo@example.com", relay.port))
    wait_until("romeo's session", lambda: [s for s in service.get("/v1/sessions")["sessions"] if s["available"]], 20)
    return service, recorder, relay, terminal


def sessions(service, **wanted):
    return [s for s in service.get("/v1/sessions")["sessions"] if s["jid"] == "romeo@example.com/terminal" and all(s[k] == v for k, v in wanted.items())]


def test_chat(stage, closing):
    service, recorder, _, terminal = stage
    session = sessions(service)[0]
    assert session["tls"].startswith("TLSv1.") and session["mechanism"].startswith("SCRAM-"), session
    juliet = closing(Client(service, "juliet"))
    terminal.type("/msg juliet@example.com But soft! ☃")
    message = juliet.next_message(body="But soft! ☃")
    assert message.get("from") == "romeo@example.com/terminal"
    juliet.message("romeo@example.com/terminal", "Ay me æ")
    terminal.shows("Ay me æ")
    # A carbon of what another session of his sends (XEP-0280)
    other = closing(Client(service, "romeo", "phone"))
    other.message("juliet@example.com", "from the phone")
    juliet.next_message(body="from the phone")
    terminal.shows("from the phone")
    for word, body in (("soft", "But soft! ☃"), ("me", "Ay me æ")):
        assert sorted(e["event"] for e in recorder.search(text=word) if e["body"] == body) == ["es_IN", "es_OUT"]


def test_contacts(stage, closing):
    service, _, _, terminal = stage
    juliet = closing(Client(service, "juliet"))
    terminal.type("/roster add juliet@example.com Juliet")
    terminal.shows("Roster item added: juliet@example.com")
    terminal.type("/sub request juliet@example.com")
    assert juliet.next("{jabber:client}presence", match=lambda p: p.get("type") == "subscribe").get("from") == "romeo@example.com"
    juliet.send("<presence to='romeo@example.com' type='subscribed'/>")
    terminal.shows("(?i)subscri.*juliet@example.com|juliet@example.com.*accepted")
    juliet.send("<presence to='romeo@example.com' type='subscribe'/>")
    terminal.shows("(?i)juliet@example.com.*request|request.*juliet@example.com")
    terminal.type("/sub allow juliet@example.com")
    juliet.next("{jabber:client}presence", match=lambda p: p.get("type") == "subscribed")
    juliet.next("{jabber:client}presence", match=lambda p: p.get("from") == "romeo@example.com/terminal" and p.get("type") is None)
    wait_until("a roster that says both", lambda: terminal.type("/roster") or re.search("juliet@example.com.*- both", terminal.screen()))


def test_cut(stage, closing):
    service, _, relay, terminal = stage
    juliet = closing(Client(service, "juliet"))
    juliet.message("romeo@example.com/terminal", "before")
    terminal.shows("win 2")
    terminal.type("/win 2")
    terminal.shows("before")
    relay.cut()
    wait_until("the cut", lambda: sessions(service, detached=True) or not sessions(service))
    juliet.message("romeo@example.com", "while away")
    terminal.shows("while away", 30)
    terminal.type("here again")
    juliet.next_message(body="here again")
    assert terminal.screen().count("while away") == 1
    assert service.metric("sessions_resumed_total") == 1


def test_room(stage, closing):
    """XEP-0045: enters a room, reads what was said before and the subject, speaks, is kicked; makes one and configures it."""
    service, recorder, _, terminal = stage
    juliet = closing(Client(service, "juliet"))
    service.request("POST", "/v1/rooms", {"room": "orchard@conference.example.com", "owner": "juliet@example.com"})
    juliet.send("<presence to='orchard@conference.example.com/Juliet'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    juliet.send("<message type='groupchat' to='orchard@conference.example.com'><subject>The balcony</subject></message>")
    juliet.message("orchard@conference.example.com", "before you came", kind="groupchat")
    juliet.next_message(body="before you came")
    terminal.type("/join orchard@conference.example.com nick Romeo")
    terminal.shows("before you came")
    terminal.shows("The balcony")
    terminal.type("But soft! ☃")
    assert juliet.next_message(body="But soft! ☃").get("from") == "orchard@conference.example.com/Romeo"
    terminal.shows("Romeo: But soft! ☃")
    juliet.message("orchard@conference.example.com", "What man art thou?", kind="groupchat")
    terminal.shows("What man art thou?")
    answer = juliet.iq("set", "<query xmlns='http://jabber.org/protocol/muc#admin'><item nick='Romeo' role='none'><reason>Go hence</reason></item></query>",
                       to="orchard@conference.example.com")
    assert answer.get("type") == "result"
    terminal.shows("(?i)kicked.*Go hence")
    terminal.type("/join cell@conference.example.com nick Romeo")
    terminal.shows("(?i)room is not configured|requires configuration|locked")
    terminal.type("/room accept")
    wait_until("the room", lambda: [r["room"] for r in service.get("/v1/rooms")["rooms"]] == ["cell@conference.example.com", "orchard@conference.example.com"]
               and service.get("/v1/rooms/cell%40conference.example.com")["state"] == "open")
    kept = [e["event"] for e in recorder.search(text="soft") if e["body"] == "But soft! ☃"]
    assert sorted(kept) == ["es_IN", "es_IN", "es_OUT", "onBeforeSend"]
