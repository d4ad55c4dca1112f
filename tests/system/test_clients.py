"""Stock XMPP clients: Debian's slixmpp, libstrophe and go-sendxmpp, and xmpp.js of npm. Each logs in over STARTTLS with SCRAM and exchanges messages with
each other; the recorder has es_OUT and es_IN of every message. Those that can are cut and resume, and add a contact who accepts.

xmpp.js is installed by ./check, or xmppjs/install. Where it is not (no network) its tests are skipped, and say so."""
import shutil

import pytest

from harness.client import Client
from harness.programs import BUILD, PYTHON, SOURCE, Program, Recorder
from harness.service import PASSWORD, SLOW, Service, wait_until


class Common:
    """slix_client.py and strophe_client take the same arguments and say the same."""

    def __init__(self, *program):
        self.program, self.env = program, {}

    def run(self, service, jid, *arguments, password=PASSWORD):
        return Program(*self.program, jid, "127.0.0.1", service.port, *arguments, env={"PASSWORD": password, **self.env})

    def listen(self, service, jid, count):
        program = self.run(service, jid, count)
        program.wait_for("ready", 40)
        return program

    def send(self, service, jid, to, body):
        return self.run(service, jid, 0, to, body)


XMPPJS = BUILD / "tests/system/xmppjs"


class XmppJs(Common):
    """It verifies the service's certificate, as node.js does unless it is told not to."""

    def __init__(self, service):
        super().__init__("node", SOURCE / "tests/system/xmppjs/client.js")
        self.env = {"NODE_PATH": XMPPJS / "node_modules", "NODE_EXTRA_CA_CERTS": service.dir / "data/self-signed.crt"}


class GoSendxmpp:
    def __init__(self, home):
        self.home = home

    def arguments(self, service, jid):
        # With -n it does not verify the certificate, which is self-signed; without -t it uses STARTTLS.
        return ["go-sendxmpp", "-n", "-j", f"127.0.0.1:{service.port}", "-u", jid, "-p", PASSWORD]

    def listen(self, service, jid, count):
        program = Program(*self.arguments(service, jid), "-l", env={"HOME": str(self.home)})
        wait_until(f"the session of {jid}", lambda: any(s["jid"].startswith(jid) and s["available"] for s in service.get("/v1/sessions")["sessions"]), 20)
        return program

    def send(self, service, jid, to, body):
        message = self.home / "message"
        message.write_text(body + "\n")
        return Program(*self.arguments(service, jid), "-m", message, to, env={"HOME": str(self.home)})


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    service = Service()
    recorder = None
    try:
        service.user("romeo", "juliet")
        recorder = Recorder(service).assign()
        yield service, recorder
    finally:
        try:
            service.close()
        finally:
            if recorder:
                recorder.close()


def client(kind, service, home=None, orders=False):
    if kind == "slixmpp":
        return Common(PYTHON, SOURCE / f"tests/system/slix_{'orders' if orders else 'client'}.py")
    if kind == "xmpp.js":
        if not (XMPPJS / "installed").exists():
            pytest.skip(f"xmpp.js is not installed; tests/system/xmppjs/install {BUILD.name} does that")
        return XmppJs(service)
    if kind == "libstrophe":
        program = BUILD / "tests/system/strophe_client"
        if not program.exists():
            pytest.skip("libstrophe-dev was not there when this was built")
        return Common(program)
    if shutil.which("go-sendxmpp") is None:
        pytest.skip("go-sendxmpp is not installed")
    return GoSendxmpp(home)


KINDS = ["slixmpp", "libstrophe", "xmpp.js", "go-sendxmpp"]
MANAGED = KINDS[:3]  # with stream management and a roster of their own; go-sendxmpp only sends and listens


@pytest.mark.parametrize("sender", KINDS)
@pytest.mark.parametrize("receiver", KINDS)
def test_exchange(stage, closing, tmp_path, sender, receiver):
    service, recorder = stage
    to, by = client(receiver, service, tmp_path), client(sender, service, tmp_path)
    body = f"from {sender} to {receiver} æ ☃"
    listening = closing(to.listen(service, "juliet@example.com", 1))
    session = next(s for s in service.get("/v1/sessions")["sessions"] if s["jid"].startswith("juliet@"))
    # Debian 12's go-sendxmpp knows PLAIN and DIGEST-MD5 only: PLAIN it is, inside TLS.
    assert session["mechanism"].startswith("SCRAM-SHA-" if receiver != "go-sendxmpp" else "PLAIN"), session
    assert session["tls"].startswith("TLSv1."), session
    sending = closing(by.send(service, "romeo@example.com", "juliet@example.com", body))
    assert "romeo@example.com" in listening.wait_for(body)
    assert sending.wait() == 0, sending.lines
    if receiver == "go-sendxmpp":
        listening.close()
    else:
        assert listening.wait() == 0, listening.lines
    assert sorted(e["event"] for e in recorder.search(text=f"{sender} to {receiver}") if e["body"] == body) == ["es_IN", "es_OUT"]
    wait_until("the end of both sessions", lambda: service.get("/v1/sessions")["sessions"] == [])


@pytest.mark.parametrize("kind", MANAGED)
def test_wrong_password(stage, closing, kind):
    service, _ = stage
    program = closing(client(kind, service).run(service, "romeo@example.com", 0, password="wrong"))
    assert program.wait(60) != 0
    assert "ready" not in program.lines


def sessions(service, jid, **wanted):
    return [s for s in service.get("/v1/sessions")["sessions"] if s["jid"].startswith(jid) and all(s[k] == v for k, v in wanted.items())]


@pytest.mark.parametrize("kind", MANAGED)
def test_resume(services, closing, kind):
    """XEP-0198: cut twice, each time sent a message while it was away; nothing is lost or doubled."""
    service = services({"c2s.ack_wait": 200})
    service.user("romeo", "juliet")
    romeo = closing(Client(service, "romeo"))
    program = closing(client(kind, service, orders=True).listen(service, "juliet@example.com/r", "orders"))
    romeo.message("juliet@example.com/r", "one")
    romeo.next_message(body="heard one")
    for round_ in (1, 2):
        romeo.message("juliet@example.com/r", "cut")
        wait_until("the cut", lambda: sessions(service, "juliet@example.com/r", detached=True))
        romeo.message("juliet@example.com/r", f"while away {round_}")
        romeo.next_message(body=f"heard while away {round_}", seconds=20)
    romeo.message("juliet@example.com/r", "end")
    assert program.wait() == 0
    said = [line for line in program.lines if line.split()[0] in ("ready", "got", "resumed", "not")]  # slixmpp says more, of its own troubles
    assert sorted(said) == sorted(["ready", "got one", "got cut", "resumed", "got while away 1", "got cut", "resumed", "got while away 2", "got end"])
    assert [line for line in said if line.startswith("got")] == ["got one", "got cut", "got while away 1", "got cut", "got while away 2", "got end"]
    assert service.metric("sessions_resumed_total") == 2


@pytest.mark.parametrize("kind", MANAGED)
def test_roster(services, closing, kind):
    """RFC 6121, 2.3 and 3.1: it adds a contact and asks for the contact's presence, and hears in roster pushes what comes of it."""
    service = services()
    service.user("romeo", "juliet")
    romeo = closing(Client(service, "romeo"))
    program = closing(client(kind, service, orders=True).listen(service, "juliet@example.com/r", "orders"))
    romeo.message("juliet@example.com/r", "add romeo@example.com")
    program.wait_for("roster romeo@example.com none")
    request = romeo.next("{jabber:client}presence", match=lambda p: p.get("type") == "subscribe")
    assert request.get("from") == "juliet@example.com"
    romeo.send("<presence to='juliet@example.com' type='subscribed'/>")
    program.wait_for("roster romeo@example.com to")
    romeo.send("<presence to='juliet@example.com' type='subscribe'/>")  # it accepts everybody
    romeo.next("{jabber:client}presence", match=lambda p: p.get("type") == "subscribed")
    romeo.next("{jabber:client}presence", match=lambda p: p.get("from") == "juliet@example.com/r" and p.get("type") is None)
    program.wait_for("roster romeo@example.com both")
    romeo.message("juliet@example.com/r", "end")
    assert program.wait() == 0


def test_rooms(services, closing):
    """XEP-0045, 0249, 0359, 0410, 0421 as slixmpp's plugins speak them; the recorder has what was said. (Its plugin of XEP-0425 speaks an older version.)"""
    service = services()
    service.user("crone1", "wiccarocks")
    recorder = closing(Recorder(service)).assign()
    program = closing(Program(PYTHON, SOURCE / "tests/system/slix_room.py", "127.0.0.1", service.port, "coven@conference.example.com", "crone1@example.com/desktop",
                              "wiccarocks@example.com/laptop", env={"PASSWORD": PASSWORD}))
    assert program.wait(60) == 0, program.lines
    assert [line for line in program.lines if line.startswith("ok ")] == [f"ok {what}" for what in (
        "made and configured", "invited directly", "invited and declined", "joined", "spoken", "moderated", "ended")]
    kept = [e["event"] for e in recorder.search(text="Thrice and once") if e["body"] == "Thrice and once ☃"]
    assert sorted(kept) == ["es_IN", "es_IN", "es_IN", "es_OUT", "onBeforeSend"] # to both, and to the one who came again
    assert service.get("/v1/rooms")["rooms"] == []
