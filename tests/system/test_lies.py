"""What a compliance server may not say: each kind is counted, logged once, seen in signetctl; a link that says nothing else is closed."""
import re
import time

import pytest

from harness.client import Client, condition, text
from harness.compliance import Compliance, passed, passed_with, refused
from harness.service import SLOW, wait_until

COMPONENT, BROKER = "op-wall.node1-example-com", "event-broker.example.com"
WINDOW = int(500 * SLOW)


@pytest.fixture
def stage(services, closing):
    service = services({"broker.event_timeout": int(700 * SLOW), "broker.answer_bytes": 4096, "broker.lies_window": WINDOW, "broker.lies_pause": int(1000 * SLOW)})
    service.user("romeo", "juliet")
    service.profile("Wall", [("es_OUT", "message", "bounce", False), ("onAfterJoin", None, "pass", False), ("es_END", None, "pass", False)])
    wall = closing(Compliance(COMPONENT))
    service.compliance_server("wall", wall.port, profile="Wall")
    service.wait_link(COMPONENT, "ACTIVE")
    return service, wall, Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")


def readdressed(event):
    event.stanza.set("to", "nurse@example.com")
    return passed_with(event, f"<message xmlns='jabber:client' from='{event.stanza.get('from')}' to='nurse@example.com' type='chat'><body>x</body></message>")


def oversized(event):
    return passed_with(event, f"<message xmlns='jabber:client'><body>{'x' * 5000}</body></message>")


def malformed(event):
    return passed(event).replace("/>", "><allow xmlns='urn:signet:event-broker:0'/></iq>")


def twice(event):
    return passed(event) * 2


def unknown(event):
    return passed(event) + f"<iq type='result' id='effff' from='{COMPONENT}' to='{BROKER}'/>"


def unknown_only(event):
    return f"<iq type='result' id='effff' from='{COMPONENT}' to='{BROKER}'/>" * 20


def unasked(event):
    return passed(event) + f"<message from='{COMPONENT}' to='juliet@example.com'><body>Hear me</body></message>"


def faults(service):
    return service.link(COMPONENT)["faults"]


@pytest.mark.parametrize("kind,script", [("readdressed", readdressed), ("oversized", oversized), ("malformed", malformed), ("double", twice), ("unknown", unknown),
                                         ("unasked", unasked)])
def test_each_kind(stage, kind, script):
    service, wall, romeo, juliet = stage
    stopped = kind in ("readdressed", "oversized", "malformed")
    for i in range(3):
        wall.script = script
        romeo.message(juliet.bare, f"wrong{i}")
        if stopped:
            assert condition(romeo.next_message()) == "internal-server-error"
        else:
            assert text(juliet.next_message()) == f"wrong{i}"
        wall.script = passed # and an honest word between
        for n in range(3):
            romeo.message(juliet.bare, f"right{i}{n}")
            assert text(juliet.next_message()) == f"right{i}{n}"
    wait_until("the counts", lambda: faults(service) == {kind: 3})
    assert service.metric("answer_faults_total") == service.metric("answer_faults_total", kind=kind) == 3
    assert service.link(COMPONENT)["state"] == "ACTIVE"
    lines = [line for line in service.log().splitlines() if re.search(r" (warn|info) +broker", line) and ("answered" in line or "sent what it may not" in line)]
    assert len(lines) == 1, lines


def test_late(stage):
    service, wall, romeo, juliet = stage
    wall.script = lambda event: None
    romeo.message(juliet.bare, "slow")
    asked, = wall.wait("es_OUT", "slow")
    assert condition(romeo.next_message()) == "internal-server-error"
    wall.send(passed(asked))
    wait_until("the count", lambda: faults(service) == {"late": 1})


def test_overruled(stage):
    service, wall, romeo, juliet = stage
    wall.script = lambda event: refused(event) if event.name == "es_END" else passed(event)
    for _ in range(2):
        Client(service, "romeo", "tower").close()
    wait_until("the counts", lambda: faults(service) == {"overruled": 2})


def lie(wall, romeo, seconds):
    """Nothing else than that for so long."""
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        romeo.message("juliet@example.com", f"lie{n}")
        error = romeo.next_message()
        n += 1
        if condition(error) != "internal-server-error":
            break
        if wall.sock.fileno() < 0:
            break
        time.sleep(0.01)
    return n


@pytest.mark.parametrize("script", [readdressed, unknown_only], ids=["readdressed", "unknown"])
def test_nothing_but_lies(stage, script):
    """The link is closed with policy-violation, its events are refused as in an outage, the alarm is up; later it comes back, and the alarm goes with honest answers."""
    service, wall, romeo, juliet = stage
    wall.script, wall.heard = script, bytearray()
    connections = wall.connections
    lie(wall, romeo, WINDOW / 1000 + 0.5 * SLOW)
    wait_until("the end of the link", lambda: service.link(COMPONENT)["state"] != "ACTIVE")
    closed = time.monotonic()
    wait_until("the stream error", lambda: b"policy-violation" in wall.heard)
    assert "were not allowed" in service.link(COMPONENT)["last_error"]
    assert "compliance-lies" in [a["name"] for a in service.get("/v1/alarms")["alarms"] if a["active"]]
    romeo.message(juliet.bare, "meanwhile")
    assert condition(romeo.next_message()) == "internal-server-error"
    wall.script = passed
    service.wait_link(COMPONENT, "ACTIVE", 40)
    assert time.monotonic() - closed > 0.7 * SLOW and wall.connections == connections + 1
    end = time.monotonic() + WINDOW / 1000 + 0.5 * SLOW
    while time.monotonic() < end:
        romeo.message(juliet.bare, "honest")
        assert text(juliet.next_message()) == "honest"
        time.sleep(0.02)
    assert "compliance-lies" not in [a["name"] for a in service.get("/v1/alarms")["alarms"] if a["active"]]


def test_half_of_it_lies(stage):
    """Each event is answered twice, for longer than a window: the link stays."""
    service, wall, romeo, juliet = stage
    wall.script = twice
    end, n = time.monotonic() + 2.5 * WINDOW / 1000, 0
    while time.monotonic() < end:
        romeo.message(juliet.bare, f"m{n}")
        assert text(juliet.next_message()) == f"m{n}"
        n += 1
        time.sleep(0.01)
    assert n > 15 and faults(service)["double"] > 15 and service.link(COMPONENT)["state"] == "ACTIVE" and wall.connections == 1


def test_a_slow_one_does_not_lie(stage):
    """Answers that all come too late: it stays connected."""
    service, wall, romeo, juliet = stage
    wall.script, wall.delay = passed, 1.0 * SLOW
    for i in range(40):
        romeo.message(juliet.bare, f"m{i}")
    for i in range(40):
        assert condition(romeo.next_message()) == "internal-server-error"
    wait_until("late answers", lambda: faults(service).get("late", 0) >= 40, 20)
    time.sleep(WINDOW / 1000)
    assert service.link(COMPONENT)["state"] == "ACTIVE"
