"""Limits push back on readers: a slow compliance server, or one that lets a conversation lie, makes those wait who send to it and nobody else; memory stays
as it is, and of what was sent nothing is refused, lost, doubled or out of order."""
import os
import socket
import threading
import time

import pytest

from harness.client import Client, condition, text
from harness.compliance import Compliance, passed
from harness.managed import Managed, again
from harness.programs import BUILD, PASSWORD_OF_LINK, Program
from harness.service import SLOW, wait_until

COMPONENT = "op-slow.node1-example-com"
MESSAGE = "{jabber:client}message"
SANITIZED = os.environ.get("SIGNET_SANITIZER", "none") != "none"


def scripted(service, closing, script, rows=(("es_OUT", "message", "bounce", False),)):
    compliance = closing(Compliance(COMPONENT, script=script))
    service.profile("Slow", list(rows))
    service.wait_link(service.compliance_server("slow", compliance.port, profile="Slow"), "ACTIVE")
    return compliance


def slow_server(service, closing, rate, rows):
    """Answers so many events a second."""
    server = closing(Program(BUILD / "tests/system/late_server", 0, COMPONENT, 0, rate, env={"PASSWORD": PASSWORD_OF_LINK}))
    port = int(server.wait_for("port ").split()[1])
    service.profile("Slow", rows)
    service.wait_link(service.compliance_server("slow", port, password=PASSWORD_OF_LINK, profile="Slow"), "ACTIVE")


def send_all(client, to, numbers, padding=""):
    client.send("".join(f"<message type='chat' id='n{i}' to='{to}'><body>{i}{padding}</body></message>" for i in numbers))


def numbers(client, n, seconds=30):
    """The numbers of the next messages; none is an error."""
    found = []
    for _ in range(n):
        message = client.next(MESSAGE, seconds)
        assert message.get("type") != "error", condition(message)
        found.append(int(text(message).split()[0]))
    return found


# ---- one session: session_window ----

class Silent:
    """Does not answer for one conversation until it is told to, and for all others at once."""

    def __init__(self, compliance_of):
        self.kept, self.lock, self.speaks, self.compliance_of = [], threading.Lock(), False, compliance_of

    def __call__(self, event):
        with self.lock:
            if self.speaks or "silent" not in event.attributes["key"]:
                return passed(event)
            self.kept.append(event)
            return None

    def speak(self):
        with self.lock:
            self.speaks = True
            self.compliance_of().send("".join(passed(e) for e in self.kept))


def test_a_silent_conversation_delays_others_only_when_the_window_is_full(services, closing):
    window = 16
    service = services({"c2s.session_window": window})
    service.user("romeo", "silent", "juliet", "mercutio")
    silent = Silent(lambda: compliance)
    compliance = scripted(service, closing, silent)
    romeo, mercutio = Client(service, "romeo", "r"), Client(service, "mercutio", "r")
    listener, juliet = Client(service, "silent", "r"), Client(service, "juliet", "r")
    for i in range(window - 2):  # two places are left, and that does for the other conversation
        send_all(romeo, listener.bare, [i])
        send_all(romeo, juliet.bare, [i])
        assert numbers(juliet, 1) == [i]
    send_all(romeo, listener.bare, [window - 2, window - 1])
    wait_until("the full window", lambda: service.metric("session_window_stops_total") == 1)
    send_all(romeo, juliet.bare, range(100, 120))
    juliet.nothing(MESSAGE, 0.5)
    assert len(silent.kept) == window
    for i in range(20):  # another session is as quick as ever, to the same recipient too
        send_all(mercutio, juliet.bare, [i])
        assert numbers(juliet, 1) == [i]
    # The client's own kernel keeps what it goes on sending.
    romeo.sock.settimeout(0.5 * SLOW)
    with pytest.raises((socket.timeout, TimeoutError)):
        for i in range(1000):
            romeo.sock.sendall(b"<message type='chat' to='juliet@example.com'><body>" + b"x" * 50000 + b"</body></message>")
    assert len(silent.kept) == window and service.metric("sessions_braked") == 0
    silent.speak()
    assert numbers(listener, window) == list(range(window))
    assert numbers(juliet, 20) == list(range(100, 120))
    juliet.close()
    romeo.cut()


def test_time_ends_it_too(services, closing):
    window = 16
    service = services({"c2s.session_window": window, "broker.event_timeout": int(1000 * SLOW)})
    service.user("romeo", "silent", "juliet")
    scripted(service, closing, Silent(lambda: None))
    romeo, juliet = Client(service, "romeo", "r"), Client(service, "juliet", "r")
    send_all(romeo, "silent@example.com", range(window))
    send_all(romeo, juliet.bare, range(window, window + 20))
    assert numbers(juliet, 20) == list(range(window, window + 20))
    errors = [romeo.next_message() for _ in range(window)]
    assert [e.get("id") for e in errors] == [f"n{i}" for i in range(window)] and {condition(e) for e in errors} == {"internal-server-error"}


# ---- one link: the brake ----

SENDERS = 24


@pytest.mark.parametrize("events", [("es_OUT",), ("es_IN",), ("es_OUT", "e_DELIVER", "es_IN")])
def test_a_slow_server_slows_down_those_who_send_to_it(services, closing, events):
    rate, most = (500 if SANITIZED else 2000), 100
    each = 60 // len(events)
    service = services({"broker.link_outstanding": most, "log.level": "info"}, workers=3)
    names = [f"u{i}" for i in range(SENDERS)]
    service.user(*names, "sink0", "sink1", "bystander", "late")
    slow_server(service, closing, rate, [(e, "message", "bounce", False) for e in events])
    sinks = [Client(service, "sink0", "r"), Client(service, "sink1", "r")]
    clients = [Client(service, n, "r") for n in names]
    bystander = Client(service, "bystander", "r")
    held, stop = [], threading.Event()

    def watch():
        while not stop.wait(0.02):
            link = service.link(COMPONENT)
            held.append(link["outstanding"] + link["queued"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    for i, client in enumerate(clients):
        send_all(client, sinks[i % 2].bare, range(each))
    # Who does not send to it notices nothing: no other stanza waits, and a login goes on.
    for i in range(10):
        asked = time.monotonic()
        bystander.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        assert time.monotonic() - asked < 0.5 * SLOW
    Client(service, "late", "r").close()
    got = {}
    for sink in sinks:
        for _ in range(each * SENDERS // 2):
            message = sink.next(MESSAGE, 60)
            got.setdefault(message.get("from"), []).append(int(text(message)))
    took = time.monotonic() - began
    stop.set()
    watcher.join()
    assert got == {c.jid: list(range(each)) for c in clients}, "each once, in order"
    total = each * SENDERS * len(events)
    print(f"{total / took:.0f} events a second of {rate}, at most {max(held)} held, {service.metric('session_link_stops_total'):g} stops")
    # What was read already when there was enough; where the first event is the recipient's, so is what was on its way to his worker.
    assert max(held) <= most + SENDERS + (1000 if events[0] == "es_IN" else 0)
    assert service.metric("session_link_stops_total") >= SENDERS
    assert service.metric("events_failed_total") == 0
    assert "compliance-slow" in {a["name"] for a in service.get("/v1/alarms")["alarms"]}
    if not SANITIZED:
        assert total / took > rate * 0.6
    service.quiet()
    wait_until("that nobody waits", lambda: service.metric("sessions_braked") == 0)
    for client in clients:  # and everybody goes on
        client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    for sink in sinks:
        sink.nothing(MESSAGE, 0.1)


def test_big_stanzas_count_by_their_bytes(services, closing):
    service = services({"broker.link_queue_bytes": 4000000, "log.level": "info"})
    names = [f"u{i}" for i in range(6)]
    service.user(*names, "sink")
    slow_server(service, closing, 40, [("es_OUT", "message", "bounce", False)])
    sink, clients = Client(service, "sink", "r"), [Client(service, n, "r") for n in names]
    threads = [threading.Thread(target=send_all, args=(c, sink.bare, range(10), " " + "x" * 150000)) for c in clients]  # 9 MB in all
    for t in threads:
        t.start()
    for _ in range(60):
        assert sink.next(MESSAGE, 30).get("type") == "chat"
    for t in threads:
        t.join()
    assert service.metric("events_failed_total") == 0 and service.metric("session_link_stops_total") > 0


# ---- outages ----

@pytest.mark.parametrize("row", [("es_OUT", "message", "pass", True), ("es_OUT", "message", "bounce", "shadow")], ids=["forget", "shadow"])
def test_an_outage_stops_nobody_who_does_not_wait_for_answers(services, closing, row):
    """Fire and Forget, and shadow rows: what can't be sent waits for the link, and nobody waits for that."""
    service = services({"broker.link_outstanding": 20})
    service.user("romeo", "juliet")
    compliance = scripted(service, closing, passed, [row])
    romeo, juliet = Client(service, "romeo", "r"), Client(service, "juliet", "r")
    compliance.cut()
    service.wait_link(COMPONENT, "QUEUEING")
    send_all(romeo, juliet.bare, range(100))
    assert numbers(juliet, 100) == list(range(100))
    assert service.link(COMPONENT)["queued"] == 100 and service.metric("session_link_stops_total") == 0
    compliance.listen()
    wait_until("all events", lambda: len(compliance.seen("es_OUT")) == 100, 30)
    assert [e.body for e in compliance.seen("es_OUT")] == [str(i) for i in range(100)]


def test_who_waits_goes_on_when_an_outage_ends_what_is_ahead(services, closing):
    """The link is cut with the brake on: what it holds fails in its time, or is answered when it is back; and what the senders still have goes on."""
    service = services({"broker.link_outstanding": 20, "broker.event_timeout": int(1500 * SLOW)})
    service.user("romeo", "juliet")
    compliance = scripted(service, closing, lambda event: None)
    romeo, juliet = Client(service, "romeo", "r"), Client(service, "juliet", "r")
    send_all(romeo, juliet.bare, range(50))
    wait_until("the brake", lambda: service.metric("sessions_braked") == 1)
    compliance.cut()
    service.wait_link(COMPONENT, "QUEUEING")
    failed = [romeo.next_message() for _ in range(20)]
    assert [e.get("id") for e in failed] == [f"n{i}" for i in range(20)]
    compliance.script = passed
    compliance.listen()
    rest = [m for m in juliet.until(lambda e: e.tag == MESSAGE and text(e) == "49", 40)]
    got = [int(text(m)) for m in rest if m.tag == MESSAGE] + [49]
    while len(failed) + len(got) < 50:
        failed.append(romeo.next_message())
    assert got == sorted(got) and sorted(got + [int(e.get("id")[1:]) for e in failed]) == list(range(50))
    assert service.metric("events_failed_total", why="queue-full") == 0


def test_a_braked_session_is_resumed_and_goes_on(services, closing):
    """XEP-0198: the stream is lost while its session waits; on its next one it waits on, and then goes on."""
    service = services({"broker.link_outstanding": 4})
    service.user("romeo", "juliet", "silent")
    kept = []
    compliance = scripted(service, closing, lambda event: kept.append(event))
    romeo, juliet = Managed(service, "romeo"), Client(service, "juliet", "r")
    send_all(romeo, juliet.bare, range(4))
    wait_until("the brake", lambda: service.metric("sessions_braked") == 1)
    romeo.cut()
    time.sleep(0.3 * SLOW)
    back = again(romeo, wait=False)
    time.sleep(0.3 * SLOW)
    compliance.script = passed
    compliance.send("".join(passed(e) for e in kept))
    resumed = back.next("{urn:xmpp:sm:3}resumed", 20)
    send_all(back, juliet.bare, range(int(resumed.get("h")) - 1, 10))  # its presence counts too
    assert numbers(juliet, 10) == list(range(10))
    wait_until("that nobody waits", lambda: service.metric("sessions_braked") == 0)
