"""Orderly shutdown and what survives a crash."""
import signal
import threading
import time

import pytest

from harness.client import Client, Closed, condition, text
from harness.compliance import Compliance, passed
from harness.service import SLOW, wait_until

ROSTER = "<query xmlns='jabber:iq:roster'/>"
COMPONENT = "op-slow.node1-example-com"


def everything(client):
    """What comes until the stream ends."""
    try:
        while True:
            client.read(20 * SLOW)
            if client.stream.closed:
                break
    except Closed:
        pass
    return list(client.got)


def messages(stanzas):
    return [s for s in stanzas if s.tag == "{jabber:client}message"]


def test_drain(services, closing):
    """Messages under way finish: each is delivered or comes back as an error, the sessions' es_END are seen, the exit status is 0."""
    service = services({"server.shutdown_wait": int(5 * SLOW)})
    service.user("romeo", "juliet")
    slow = closing(Compliance(COMPONENT, delay=0.3))
    service.wait_link(service.compliance_server("slow", slow.port), "ACTIVE")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    for i in range(50):
        romeo.message(juliet.bare, f"n{i}")
    slow.wait("es_OUT", count=50)
    service.process.send_signal(signal.SIGTERM)
    arrived = messages(everything(juliet))
    got = messages(everything(romeo))
    assert [text(m) for m in arrived] == [f"n{i}" for i in range(50)] and got == []
    assert service.stop() == 0
    assert sorted(e.attributes["session"] for e in slow.seen("es_END")) == [juliet.jid, romeo.jid]


def test_drain_with_a_silent_compliance_server(services, closing):
    """After shutdown_wait what is under way comes back as errors, none of it was delivered; es_END reaches the server all the same."""
    service = services({"server.shutdown_wait": 1})
    service.user("romeo", "juliet")
    silent = closing(Compliance(COMPONENT, script=lambda e: passed(e) if e.stanza.tag.endswith("}iq") else None))
    service.wait_link(service.compliance_server("slow", silent.port), "ACTIVE")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    sent = [romeo.message(juliet.bare, f"n{i}") for i in range(20)]
    silent.wait("es_OUT", count=20)
    service.process.send_signal(signal.SIGTERM)
    got = messages(everything(romeo))
    assert sorted(m.get("id") for m in got) == sorted(sent)
    assert all(m.get("type") == "error" for m in got) and len({condition(m) for m in got}) == 1
    assert messages(everything(juliet)) == []
    assert service.stop() == 0
    assert sorted(e.attributes["session"] for e in silent.seen("es_END")) == [juliet.jid, romeo.jid]


def test_silent_at_es_in(services, closing):
    """The same when it is the recipient's side that waits."""
    service = services({"server.shutdown_wait": 1})
    service.user("romeo", "juliet")
    silent = closing(Compliance(COMPONENT, script=lambda e: None if e.name == "es_IN" else passed(e)))
    service.wait_link(service.compliance_server("slow", silent.port), "ACTIVE")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    sent = [romeo.message(juliet.bare, f"n{i}") for i in range(20)]
    silent.wait("es_IN", count=20)
    service.process.send_signal(signal.SIGTERM)
    got = messages(everything(romeo))
    assert sorted(m.get("id") for m in got) == sorted(sent)
    assert messages(everything(juliet)) == []
    assert service.stop() == 0
    assert sorted(e.attributes["session"] for e in silent.seen("es_END")) == [juliet.jid, romeo.jid]


@pytest.mark.parametrize("event", ["es_OUT", "es_IN"])
def test_answered_after_it_was_returned(services, closing, event):
    """What went back to its sender as an error is neither delivered nor stored when its PASS comes after all."""
    service = services({"server.shutdown_wait": int(2 * SLOW)})
    service.user("romeo", "juliet")
    held = []
    late = closing(Compliance(COMPONENT, script=lambda e: held.append(e) if e.name == event else passed(e)))
    service.wait_link(service.compliance_server("slow", late.port), "ACTIVE")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    romeo.message(juliet.bare, "too late")
    late.wait(event)
    service.process.send_signal(signal.SIGTERM)
    assert [m.get("type") for m in messages(everything(romeo))] == ["error"]
    late.send("".join(passed(e) for e in held))
    assert messages(everything(juliet)) == []
    assert service.stop() == 0
    service.start()
    late.script = passed
    service.wait_link("op-slow.node1-example-com", "ACTIVE")
    juliet = Client(service, "juliet", "garden")
    juliet.nothing("{jabber:client}message")


@pytest.mark.parametrize("event", ["e_OFFLINE", "es_IN"])
def test_unacknowledged_and_nobody_answers(services, closing, event):
    """What a session leaves unacknowledged at the end is stored, though the compliance server is silent when it is asked about it: its sender was told that it is
    accepted. es_IN: that of the client's second session, which is asked since the first was cut before the end."""
    service = services({"server.shutdown_wait": 1, "c2s.ack_wait": 600000, "c2s.unacked_store": 600000})
    service.user("romeo", "juliet")
    silent = closing(Compliance(COMPONENT))
    service.profile("Both", [("es_IN", "message", "bounce", False), ("e_OFFLINE", "message", "bounce", False)])
    service.wait_link(service.compliance_server("slow", silent.port, profile="Both"), "ACTIVE")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    juliet.send("<enable xmlns='urn:xmpp:sm:3'/>")
    juliet.next("{urn:xmpp:sm:3}enabled")
    sent = [romeo.message(juliet.jid, f"n{i}", "normal") for i in range(5)]
    for i in range(5):
        juliet.next_message(body=f"n{i}")
    silent.script = lambda e: None if e.name == event else passed(e)
    if event == "es_IN":
        phone = Client(service, "juliet", "phone")
        juliet.cut()
        silent.wait("es_IN", count=2 * len(sent))
    service.process.send_signal(signal.SIGTERM)
    assert messages(everything(romeo)) == []
    if event == "es_IN":
        assert messages(everything(phone)) == []
    assert service.stop() == 0 and len(silent.seen(event)) >= len(sent)
    service.start()
    silent.script = passed
    service.wait_link(COMPONENT, "ACTIVE")
    juliet = Client(service, "juliet", "garden")
    assert [text(juliet.next_message()) for _ in sent] == [f"n{i}" for i in range(5)]


def test_idle(services, closing):
    """Clients are told: system-shutdown, </stream:stream>; the compliance server's stream ends gracefully."""
    service = services()
    service.user("romeo")
    server = closing(Compliance(COMPONENT))
    service.wait_link(service.compliance_server("slow", server.port), "ACTIVE")
    romeo = Client(service, "romeo", "balcony")
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    last = everything(romeo)[-1]
    assert last.tag == "{http://etherx.jabber.org/streams}error" and last[0].tag.endswith("}system-shutdown")
    assert service.stop() == 0 and time.monotonic() - began < 5 * SLOW
    assert [e.attributes["session"] for e in server.seen("es_END")] == [romeo.jid]
    assert "GONE" in service.log()


def test_kill(services):
    """kill -9: accounts, rosters and offline messages are there after the next start."""
    service = services()
    service.user("romeo", "juliet", "tybalt")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    assert romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='tybalt@example.com' name='Prince of Cats'><group>Foes</group></item></query>").get("type") == "result"
    romeo.send(f"<presence type='subscribe' to='{juliet.bare}'/>")
    juliet.next("{jabber:client}presence", match=lambda p: p.get("type") == "subscribe")
    juliet.send(f"<presence type='subscribed' to='{romeo.bare}'/>")
    romeo.next("{jabber:client}presence", match=lambda p: p.get("type") == "subscribed")
    for i in range(10):
        romeo.message("tybalt@example.com", f"n{i}")
    wait_until("the offline store", lambda: service.metric("offline_stored_total") == 10)
    service.kill()
    service.start()
    romeo, tybalt = Client(service, "romeo", "balcony"), Client(service, "tybalt", "street")
    items = {i.get("jid"): i for i in romeo.iq("get", ROSTER)[0]}
    assert items["tybalt@example.com"].get("name") == "Prince of Cats" and items["tybalt@example.com"][0].text == "Foes"
    assert items["juliet@example.com"].get("subscription") == "to"
    assert [text(tybalt.next_message()) for _ in range(10)] == [f"n{i}" for i in range(10)]
    tybalt.nothing("{jabber:client}message")


def test_kill_under_load(services):
    """Whenever it is killed, what is in the store afterwards is whole: every offline message once at most, in order, and the first ones without a gap."""
    service = services({"log.level": "info"})
    service.user("romeo", "tybalt")
    romeo = Client(service, "romeo", "balcony")
    stop = threading.Event()

    def write():
        try:
            for i in range(100000):
                if stop.is_set():
                    return
                romeo.message("tybalt@example.com", f"{i}")
        except OSError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    wait_until("some of them stored", lambda: service.metric("offline_stored_total") > 100)
    service.kill()
    stop.set()
    writer.join(20)
    service.start()
    tybalt = Client(service, "tybalt", "street")
    numbers = []
    try:
        while True:
            numbers.append(int(text(tybalt.next_message(seconds=2))))
    except AssertionError:
        pass
    assert len(numbers) > 100 and numbers == list(range(len(numbers)))
