"""What must hold whatever happens to the compliance server: the first issue's promises, with the real signet-recorder."""
import json
import os
import re
import signal
import threading
import time

import pytest

from harness.client import Client, condition, text
from harness.programs import BUILD, PASSWORD_OF_LINK, Program, Recorder
from harness.service import SLOW, wait_until

TIMEOUT_MS = int(1500 * SLOW)
SANITIZED = os.environ.get("SIGNET_SANITIZER", "none") != "none"


@pytest.fixture
def stage(services, closing):
    """A service with two users, and a recorder as its compliance server."""
    service = services({"broker.event_timeout": TIMEOUT_MS})
    service.user("romeo", "juliet")
    return service, closing(Recorder(service)).assign()


def exchange(romeo, juliet, body):
    romeo.message(juliet.bare, body)
    juliet.next_message(body=body)


def refused(romeo, juliet, body):
    """The sender gets an error; returns how long it took, in ms."""
    began = time.monotonic()
    identity = romeo.message(juliet.bare, body)
    error = romeo.next_message()
    assert error.get("type") == "error" and error.get("id") == identity and condition(error) == "internal-server-error"
    return (time.monotonic() - began) * 1000


def test_recorded_before_delivered(stage):
    service, recorder = stage
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    for i in range(20):
        exchange(romeo, juliet, f"witnessed{i}")
        assert sorted(e["event"] for e in recorder.search(text=f"witnessed{i}")) == ["es_IN", "es_OUT"], "both are on disk when it is delivered"
    found = recorder.search(text="witnessed3")
    assert len({e["stanza_id"] for e in found}) == 1


def test_stopped_gracefully(stage):
    """The sender gets an error at once, log-ins go on; when it is back messages flow, nothing restarted."""
    service, recorder = stage
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    exchange(romeo, juliet, "before")
    assert recorder.stop() == 0
    service.wait_link(recorder.component, "GONE")
    assert refused(romeo, juliet, "while it is stopped") < TIMEOUT_MS / 3
    late = Client(service, "juliet", "orchard")
    late.close()
    juliet.nothing("{jabber:client}message")
    recorder.start()
    service.wait_link(recorder.component, "ACTIVE", 40)
    exchange(romeo, juliet, "after")
    assert recorder.search(text="while") == []
    assert {e["event"] for e in recorder.search(text="after")} == {"es_OUT", "es_IN"}


def test_killed(stage):
    """An error after the event timeout, log-ins go on; when it is back messages flow, nothing restarted."""
    service, recorder = stage
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    exchange(romeo, juliet, "before")
    recorder.stop(signal.SIGKILL)
    took = refused(romeo, juliet, "while it is dead")
    assert TIMEOUT_MS * 0.9 < took < TIMEOUT_MS * 3
    late = Client(service, "juliet", "orchard")  # Handling pass: goes on when e_SESSION's time is up
    late.close()
    juliet.nothing("{jabber:client}message")
    recorder.start()
    service.wait_link(recorder.component, "ACTIVE", 40)
    exchange(romeo, juliet, "after")


def test_killed_and_back_in_time(services, closing):
    """What waited for the dead one is sent to it again, with the same event id, and delivered: nobody notices."""
    service = services()
    service.user("romeo", "juliet")
    recorder = closing(Recorder(service)).assign()
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    exchange(romeo, juliet, "before")
    recorder.stop(signal.SIGKILL)
    romeo.message(juliet.bare, "meanwhile")
    time.sleep(0.2)
    recorder.start()
    juliet.next_message(body="meanwhile", seconds=30)
    assert sorted(e["event"] for e in recorder.search(text="meanwhile")) == ["es_IN", "es_OUT"], "each once"


def test_redacted(services, closing):
    """Only the redacted text is ever seen: by the recipient, by the next one to log in, in the store's file."""
    service = services()
    service.user("romeo", "juliet", "tybalt")
    service.profile("Everything", [(e, "message", "bounce", False) for e in ("es_OUT", "e_DELIVER", "e_OFFLINE", "es_IN")])
    recorder = closing(Recorder(service, redact=["swordfish"])).assign(profile="Everything")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    romeo.message(juliet.bare, "the word is swordfish!")
    message = juliet.next_message()
    assert text(message) == "the word is *****!"
    romeo.message("tybalt@example.com", "again: swordfish, swordfish")
    romeo.message("tybalt@example.com", "done")
    service.quiet()
    wait_until("offline messages", lambda: service.metric("offline_stored_total") == 2)
    tybalt = Client(service, "tybalt", "home")
    assert text(tybalt.next_message()) == "again: *****, *****"
    for path in (service.dir / "data").iterdir():
        assert b"swordfish" not in path.read_bytes(), path
    assert any("swordfish" in json.dumps(e) for e in recorder.search()), "the recorder has the original"


class Conversation:
    """Messages as fast as the service takes them, bodies numbered; what arrives is only looked through, not parsed."""
    BODY = re.compile(rb"<body>n(\d+)</body>")

    def __init__(self, sender, receiver, count):
        self.sender, self.receiver, self.count, self.numbers = sender, receiver, count, []
        self.threads = [threading.Thread(target=f) for f in (self.send, self.receive)]

    def send(self):
        self.sender.sock.settimeout(120 * SLOW)
        for at in range(0, self.count, 50):
            self.sender.send("".join(f"<message type='chat' id='c{i}' to='{self.receiver.bare}'><body>n{i}</body></message>" for i in range(at, min(at + 50, self.count))))

    def receive(self):
        data, end = b"", time.monotonic() + 100 * SLOW
        self.receiver.sock.settimeout(20 * SLOW)
        while len(self.numbers) < self.count and time.monotonic() < end:
            got = self.receiver.sock.recv(1 << 16)
            assert got, "the connection was closed"
            data += got
            at = 0
            for found in self.BODY.finditer(data):
                self.numbers.append(int(found.group(1)))
                at = found.end()
            data = data[at:]

    def start(self):
        for t in self.threads:
            t.start()

    def check(self):
        for t in self.threads:
            t.join()
        assert len(self.numbers) == self.count, f"{len(self.numbers)} of {self.count} have come"
        assert self.numbers == list(range(self.count)), "in order"


def late_server(service, closing):
    server = closing(Program(BUILD / "tests/system/late_server", 0, "op-late.node1-example-com", 20, env={"PASSWORD": PASSWORD_OF_LINK}))
    port = int(server.wait_for("port ").split()[1])
    service.wait_link(service.compliance_server("late", port, password=PASSWORD_OF_LINK), "ACTIVE")
    return server


def test_late_answers_in_random_order(services, closing):
    """10,000 messages of one conversation, each event answered after 20 ms in random order: complete, in order, over 2,000 a second."""
    count = 2000 if SANITIZED else 10000
    service = services({"log.level": "info"})
    service.user("romeo", "juliet")
    late_server(service, closing)
    talk = Conversation(Client(service, "romeo", "balcony"), Client(service, "juliet", "garden"), count)
    began = time.monotonic()
    talk.start()
    talk.check()
    rate = count / (time.monotonic() - began)
    print(f"{rate:.0f} messages a second")
    assert service.link("op-late.node1-example-com")["answers"] >= 2 * count
    if not SANITIZED:
        assert rate > 2000


def test_order_over_several_conversations(services, closing):
    """Two workers, eight users, all to all: each conversation complete and in order."""
    count = 200 if SANITIZED else 500
    names = [f"user{i}" for i in range(8)]
    service = services({"log.level": "info"}, workers=2)
    service.user(*names)
    late_server(service, closing)
    clients = {n: Client(service, n, "r") for n in names}
    received = {n: {} for n in names}

    def talk(client):
        for i in range(count):
            client.send("".join(f"<message type='chat' to='{n}@example.com'><body>{i}</body></message>" for n in names if f"{n}@example.com" != client.bare))

    def listen(name):
        left = count * (len(names) - 1)
        while left:
            message = clients[name].next("{jabber:client}message", 60)
            received[name].setdefault(message.get("from").split("@")[0], []).append(int(text(message)))
            left -= 1

    threads = [threading.Thread(target=listen, args=(n,)) for n in names]
    for t in threads:
        t.start()
    # What is sent and read by one socket is never used by two threads at once in the same direction, but TLS is not made for it: senders are other sessions.
    senders = [Client(service, n, "s", presence=False) for n in names]
    writing = [threading.Thread(target=talk, args=(c,)) for c in senders]
    for t in writing:
        t.start()
    for t in writing + threads:
        t.join(200 * SLOW)
    for name in names:
        assert received[name] == {n: list(range(count)) for n in names if n != name}
