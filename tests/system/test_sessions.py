"""Sessions that come, go and are replaced while compliance servers take their time: what was for them reaches somebody once, in order, and nothing of them is
left. The compliance server here keeps its answers until the test lets them go, in the order the test wants."""
import threading
import time
import xml.etree.ElementTree as ET

import pytest

from harness.client import Client, condition, text
from harness.compliance import Compliance, passed, passed_with, refused
from harness.service import SLOW, quote, wait_until

COMPONENT = "op-keeper.node1-example-com"
ROSTER = "<query xmlns='jabber:iq:roster'/>"
PRESENCE, IQ, MESSAGE = "{jabber:client}presence", "{jabber:client}iq", "{jabber:client}message"


class Keeper(Compliance):
    """Keeps the answers to what `holds` says; passes everything else."""

    def __init__(self):
        self.holds = lambda event: False
        self.kept, self.lock_kept = [], threading.Lock()
        super().__init__(COMPONENT)
        self.script = self.keep

    def keep(self, event):
        if not self.holds(event):
            return passed(event)
        with self.lock_kept:
            self.kept.append(event)
        return None

    def waiting(self, count):
        wait_until(f"{count} events", lambda: len(self.kept) >= count)
        return list(self.kept)

    def release(self, events=None, answer=passed):
        with self.lock_kept:
            events = list(self.kept) if events is None else events
            self.kept = [e for e in self.kept if e not in events]
        self.send("".join(answer(e) for e in events))


@pytest.fixture
def stage(services, closing):
    def make(rows, options=None):
        service = services(options)
        service.user("romeo", "juliet")
        keeper = closing(Keeper())
        service.profile("Keep", [(e, None, "bounce", False) for e in rows])
        service.wait_link(service.compliance_server("keeper", keeper.port, profile="Keep"), "ACTIVE")
        return service, keeper
    return make


def offline(service, sender, bodies):
    """Kept for Juliet, who is not there."""
    for body in bodies:
        sender.message("juliet@example.com", body)
    wait_until("the messages in the store", lambda: service.metric("offline_stored_total") >= len(bodies))


def bodies(client, seconds=0.5):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        client.read(0.05)
    return [text(e) for e in client.got if e.tag == MESSAGE]


def test_leaving_and_returning_flushes_once(stage):
    service, keeper = stage(["es_IN"])
    romeo = Client(service, "romeo", "balcony")
    offline(service, romeo, ["one", "two"])
    keeper.holds = lambda e: e.name == "es_IN" and e.body is not None
    juliet = Client(service, "juliet", "garden")
    keeper.waiting(2)
    juliet.send("<presence type='unavailable'/>")
    juliet.available()
    time.sleep(0.2 * SLOW)
    keeper.holds = lambda e: False
    keeper.release()
    assert bodies(juliet) == ["one", "two"]


def test_two_sessions_flush_once(stage):
    service, keeper = stage(["es_IN"])
    romeo = Client(service, "romeo", "balcony")
    offline(service, romeo, ["one", "two"])
    keeper.holds = lambda e: e.name == "es_IN" and e.body is not None
    garden = Client(service, "juliet", "garden")
    keeper.waiting(2)
    orchard = Client(service, "juliet", "orchard")
    time.sleep(0.2 * SLOW)
    keeper.holds = lambda e: False
    keeper.release()
    assert (bodies(garden), bodies(orchard)) == (["one", "two"], [])


def test_another_session_gets_what_one_left(stage):
    """And before what comes live."""
    service, keeper = stage(["es_IN"])
    romeo = Client(service, "romeo", "balcony")
    offline(service, romeo, ["one", "two"])
    keeper.holds = lambda e: e.name == "es_IN" and e.body is not None
    garden = Client(service, "juliet", "garden")
    keeper.waiting(2)
    orchard = Client(service, "juliet", "orchard")
    romeo.message("juliet@example.com", "three")
    time.sleep(0.2 * SLOW)
    keeper.holds = lambda e: False
    garden.cut()
    wait_until("the end of the session", lambda: service.get("/v1/status")["sessions"] == 2)
    keeper.release()
    assert bodies(orchard) == ["one", "two", "three"]


def test_what_is_kept_is_not_overtaken(stage):
    """One message is asked about for the store, a second one, Juliet being back, for her session; then she is away again."""
    service, keeper = stage(["es_IN", "e_OFFLINE"])
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden", presence=False)
    keeper.holds = lambda e: e.body is not None
    romeo.message("juliet@example.com", "one")
    (kept,) = keeper.waiting(1)
    juliet.available()
    romeo.message("juliet@example.com", "two")
    live = keeper.waiting(2)[1]
    assert (kept.name, live.name) == ("e_OFFLINE", "es_IN")
    juliet.send("<presence type='unavailable'/>")
    juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    keeper.release([live])
    keeper.holds = lambda e: False
    keeper.release([kept])
    wait_until("both in the store", lambda: service.metric("offline_stored_total") == 2)
    juliet.available()
    assert bodies(juliet) == ["one", "two"]


def test_raised_priority_flushes(stage):
    """Of negative priority she takes no messages (RFC 6121, 8.5.2.1.1); once it is raised she gets what was kept, before what comes live."""
    service, keeper = stage(["es_IN"])
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    juliet.send("<presence><priority>-1</priority></presence>")
    juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    offline(service, romeo, ["one"])
    juliet.send("<presence><priority>1</priority></presence>")
    juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    romeo.message("juliet@example.com", "two")
    assert bodies(juliet) == ["one", "two"]


def test_an_outage_in_the_flush_keeps_the_order(stage):
    """EVENTS: an outage or a timeout leaves an offline message in the store. Then those of its sender that are behind it stay there too, and new ones go there,
    until it has been delivered; other senders' do not wait."""
    service, keeper = stage(["es_IN"], {"broker.event_timeout": int(1000 * SLOW), "offline.retry": 1})
    service.user("nurse")
    romeo, nurse = Client(service, "romeo", "balcony"), Client(service, "nurse", "hall")
    offline(service, romeo, ["one", "two"])
    keeper.holds = lambda e: e.body == "one"
    juliet = Client(service, "juliet", "garden")
    keeper.waiting(1)
    wait_until("a timeout", lambda: service.metric("events_failed_total", why="timeout") == 1)
    keeper.waiting(2)  # it is asked for again
    romeo.message("juliet@example.com", "three")
    romeo.message("juliet@example.com/garden", "four")
    nurse.message("juliet@example.com", "hers")
    assert bodies(juliet) == ["hers"]
    keeper.holds = lambda e: False
    keeper.release()
    wait_until("all of them", lambda: bodies(juliet, 0.1) == ["hers", "one", "two", "three", "four"])
    romeo.message("juliet@example.com", "five")
    assert bodies(juliet)[-1] == "five"
    again = Client(service, "juliet", "orchard")
    assert bodies(again) == []


def test_unacknowledged_is_not_overtaken(stage):
    """XEP-0198: what a session had not acknowledged when it ended goes to another one, or the store, ahead of what was on its way to it."""
    service, keeper = stage(["es_IN", "e_OFFLINE"])
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    juliet.next("{urn:xmpp:sm:3}enabled")
    for body in ("one", "two"):
        romeo.message("juliet@example.com", body)
        juliet.next_message(body=body)
    keeper.holds = lambda e: e.body == "three"
    romeo.message("juliet@example.com", "three")
    (asked,) = keeper.waiting(1)
    keeper.holds = lambda e: e.body in ("one", "two")
    service.request("DELETE", f"/v1/sessions/{quote(juliet.jid)}")
    one, two = keeper.waiting(3)[1:]
    assert [e.name for e in (asked, one, two)] == ["es_IN", "e_OFFLINE", "e_OFFLINE"]
    keeper.release([asked])
    time.sleep(0.3 * SLOW)
    keeper.holds = lambda e: False
    keeper.release([two])
    keeper.release([one])
    wait_until("three in the store", lambda: service.metric("offline_stored_total") == 3)
    assert bodies(Client(service, "juliet", "orchard")) == ["one", "two", "three"]


def test_unacknowledged_is_stored_in_its_place(stage):
    """What is stored is delivered in the order in which it came, whenever it was stored: here the first one later than the second."""
    service, keeper = stage(["es_IN"])
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    juliet.next("{urn:xmpp:sm:3}enabled")
    romeo.message("juliet@example.com", "one")
    juliet.next_message(body="one")
    juliet.send("<presence type='unavailable'/>")
    juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    offline(service, romeo, ["two"])
    service.request("DELETE", f"/v1/sessions/{quote(juliet.jid)}")
    wait_until("both in the store", lambda: service.metric("offline_stored_total") == 2)
    assert bodies(Client(service, "juliet", "orchard")) == ["one", "two"]


def test_unacknowledged_for_one_session(stage):
    """A normal message to a full JID is for that session alone (RFC 6121, 8.5.3.2.1), but once it was accepted for it, it is not lost with it: its sender may be
    gone, and nobody would learn of an error."""
    service, keeper = stage(["es_IN"])
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    juliet.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    juliet.next("{urn:xmpp:sm:3}enabled")
    romeo.message(juliet.jid, "one", kind="normal")
    juliet.next_message(body="one")
    romeo.close()
    service.request("DELETE", f"/v1/sessions/{quote(juliet.jid)}")
    wait_until("the message in the store", lambda: service.metric("offline_stored_total") == 1)
    assert bodies(Client(service, "juliet", "orchard")) == ["one"]


def test_one_refused_is_not_asked_again(stage):
    """Two sessions get the message; one is refused it, the other one goes: the sender is told, and the first is not asked for again."""
    service, keeper = stage(["es_IN"])
    romeo = Client(service, "romeo", "balcony")
    garden, orchard = Client(service, "juliet", "garden"), Client(service, "juliet", "orchard")
    keeper.holds = lambda e: e.name == "es_IN" and e.body == "hi" and e.stanza.get("type") != "error"
    romeo.message("juliet@example.com", "hi")
    asked = keeper.waiting(2)
    orchard.cut()
    wait_until("the end of the session", lambda: service.get("/v1/status")["sessions"] == 2)
    keeper.release([e for e in asked if e.attributes["session"] == garden.jid], refused)
    keeper.release()
    assert condition(romeo.next_message()) == "policy-violation"
    assert bodies(garden, 0.2) == [] and len(keeper.seen("es_IN", "hi")) == 2


def test_pushes_keep_their_order(stage):
    service, keeper = stage(["es_IN"])
    juliet = Client(service, "juliet", "garden")
    juliet.iq("get", ROSTER)
    keeper.holds = lambda e: e.name == "es_IN" and e.stanza.get("type") == "set"
    romeo = Client(service, "romeo", "balcony")
    juliet.send(f"<iq type='set' id='a'><query xmlns='jabber:iq:roster'><item jid='romeo@example.com' name='First'/></query></iq>")
    keeper.waiting(1)
    romeo.send("<presence type='subscribe' to='juliet@example.com'/>")
    juliet.next(PRESENCE, match=lambda e: e.get("type") == "subscribe")
    orchard = Client(service, "juliet", "orchard")
    orchard.send("<presence type='subscribed' to='romeo@example.com'/>")
    first, second = keeper.waiting(2)[:2]
    keeper.release([second])
    time.sleep(0.2 * SLOW)
    keeper.release([first])
    pushes = [juliet.next(IQ, match=lambda e: e.get("type") == "set")[0][0] for _ in range(2)]
    assert [p.get("subscription") for p in pushes] == ["none", "from"]


def test_a_push_comes_after_the_roster_that_is_older(stage):
    service, keeper = stage(["es_IN"])
    garden, orchard = Client(service, "juliet", "garden"), Client(service, "juliet", "orchard")
    keeper.holds = lambda e: e.name == "es_IN" and e.attributes["session"] == garden.jid
    garden.send(f"<iq type='get' id='all'>{ROSTER}</iq>")
    (result,) = keeper.waiting(1)
    orchard.iq("set", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'/></query>")
    _, push = keeper.waiting(2)
    keeper.release([push])
    time.sleep(0.2 * SLOW)
    keeper.release([result])
    assert [garden.next(IQ).get("type") for _ in range(2)] == ["result", "set"]


def test_a_refused_answer_to_the_account_is_for_nobody(stage):
    service, keeper = stage(["es_OUT"])
    juliet = Client(service, "juliet", "garden")
    juliet.iq("get", ROSTER)
    keeper.holds = lambda e: e.name == "es_OUT" and e.stanza.get("type") == "result"
    juliet.iq("set", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'/></query>")
    push = juliet.next(IQ, match=lambda e: e.get("type") == "set")
    juliet.send(f"<iq type='result' id='{push.get('id')}' to='juliet@example.com'/>")
    keeper.waiting(1)
    keeper.release(answer=refused)
    juliet.nothing(IQ)


def bind_in_background(service, resource):
    made = []

    def go():
        try:
            made.append(Client(service, "juliet", resource, presence=False))
        except PermissionError as e:
            made.append(str(e))
        except Exception as e:  # noqa: B902: told by the test
            made.append(type(e).__name__)
    threading.Thread(target=go, daemon=True).start()
    return made


def test_a_bind_that_waits_ends_with_its_account(stage):
    """It waits for the session it replaces, which waits for a verdict; then the account is removed."""
    service, keeper = stage(["es_OUT"])
    old = Client(service, "juliet", "garden")
    keeper.holds = lambda e: e.name == "es_OUT" and e.body == "slow"
    old.message("romeo@example.com", "slow")
    keeper.waiting(1)
    made = bind_in_background(service, "garden")
    wait_until("the conflict", lambda: old.stream.closed or not old.read(0.1) and old.stream.closed)
    service.request("DELETE", f"/v1/users/{quote('juliet@example.com')}")
    keeper.release()
    wait_until("the answer to the bind", lambda: made)
    assert made == ["not-allowed"], made
    wait_until("the end of the session", lambda: service.get("/v1/status")["sessions"] == 0)


def test_binds_renamed_to_each_other(stage):
    """Each is given the other's resource; neither may wait for the other for ever."""
    service, keeper = stage(["e_SESSION"])
    keeper.holds = lambda e: e.name == "e_SESSION"
    made = [bind_in_background(service, r) for r in ("garden", "orchard")]
    events = keeper.waiting(2)

    def renamed(event):
        resource = event.stanza.find("{urn:ietf:params:xml:ns:xmpp-bind}bind/{urn:ietf:params:xml:ns:xmpp-bind}resource")
        resource.text = {"garden": "orchard", "orchard": "garden"}[resource.text]
        return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))
    keeper.release(events, renamed)
    wait_until("both binds", lambda: all(made))
    for m in made:
        for client in m:
            if isinstance(client, Client):
                client.close()
    wait_until("the end of the sessions", lambda: service.get("/v1/status")["sessions"] == 0)
    wait_until("that nobody is in memory", lambda: service.metric("users_in_memory") == 0)


@pytest.mark.parametrize("event", ["e_AUTH", "e_SESSION", "es_OUT", "e_SERVER", "e_DELIVER", "es_IN", "e_OFFLINE"])
def test_shutdown_with_everything_waiting(stage, event):
    """Nothing is left, whatever waited: the sanitizer would tell."""
    service, keeper = stage(["e_AUTH", "e_SESSION", "es_OUT", "e_SERVER", "e_DELIVER", "es_IN", "e_OFFLINE"], {"server.shutdown_wait": 1})
    romeo = Client(service, "romeo", "balcony")
    offline(service, romeo, ["one"])
    romeo.iq("get", ROSTER)
    if event != "e_OFFLINE":
        Client(service, "juliet", "orchard", presence=False)
    keeper.holds = lambda e: e.name == event
    made = bind_in_background(service, "garden")
    romeo.message("juliet@example.com/orchard", "two")
    romeo.send(f"<presence type='subscribe' to='juliet@example.com'/><iq type='get' id='r'>{ROSTER}</iq><presence><priority>3</priority></presence>"
               "<iq type='get' id='v' to='juliet@example.com'><vCard xmlns='vcard-temp'/></iq><message to='juliet@example.com'><body>three</body></message>")
    if event not in ("e_AUTH", "e_SESSION"):
        wait_until("the bind", lambda: made)
        made[0].send("<presence/>")
    keeper.waiting(1)
    time.sleep(0.3 * SLOW)
    assert service.stop() == 0
