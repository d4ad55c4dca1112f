"""What becomes of every kind of stanza when its compliance server can't be asked: the link is GONE, or its queue is full. Handling decides, as for an error
(EVENTS.md, "When a link fails"): at once, not after the time-out."""
import time

import pytest

from harness.client import condition, ids, text
from harness.compliance import passed
from harness.service import SLOW, wait_until
from lab import Lab, Outcome, silent, the_error
from test_kinds import KINDS, Kind

OUTAGE = Outcome("refuse", "internal-server-error")
PASSED = Outcome("pass")
HANDLINGS = {"bounce": OUTAGE, "pass": PASSED}


@pytest.fixture(scope="module")
def lab():
    lab = Lab({"broker.event_timeout": 30000, "broker.link_outstanding": 1, "broker.link_queue_bytes": 65536})
    lab.service.user("rosaline", "paris")
    lab.cellar = None
    yield lab
    lab.close()


@pytest.mark.parametrize("handling", HANDLINGS)
def test_queue_full(lab, handling):
    """An event that the queue has no room for is an error at once, and what is under way loses nothing by it."""
    held = []
    lab.begin(held.append, [("es_OUT", "message", handling, False)])
    lab.juliet.message(lab.romeo.bare, "under way") # another sender: her own client is not read meanwhile
    wait_until("the first event", lambda: held)
    full = lab.service.metric("events_failed_total", why="queue-full")
    big = lab.romeo.message("nurse@example.com", "x" * 70000)
    wait_until("a full queue", lambda: lab.service.metric("events_failed_total", why="queue-full") > full)
    if handling == "bounce":
        the_error([lab.romeo.next_message()], "nurse@example.com", OUTAGE, big)
    else:
        wait_until("the message in the store", lambda: any(f[:2] == ("offline", "nurse@example.com") for f in lab.store()))
    lab.first.send(passed(held[0]))
    assert text(lab.romeo.next_message()) == "under way"
    lab.first.script = passed
    got, stored = lab.offline(lab.romeo, "nurse")
    assert got == [] and [len(text(m)) for m in stored] == ([] if handling == "bounce" else [70000])


@pytest.fixture(scope="module")
def gone(lab):
    """The first server has ended its stream, and nobody listens there any more."""
    lab.first.leave()
    lab.service.wait_link("op-first.node1-example-com", "GONE")
    yield lab
    lab.rows()
    lab.first.listen()
    lab.service.wait_link("op-first.node1-example-com", "ACTIVE", 60)


def all_done(lab):
    """What either of the two has sent has come to its end: a request behind it in each lane is answered, whatever a row makes of it."""
    for here, there in ((lab.romeo, lab.juliet), (lab.juliet, lab.romeo)):
        for to in (None, there.bare):
            here.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=to, identity=f"done{next(ids)}")


def takes_the_original_too(kind, event):
    """Nobody can be asked, so the row refuses all, not only the copy that the kind is about."""
    return event == "es_IN" and type(kind).aimed is not Kind.aimed


CASES = [(k, e, h) for k, kind in KINDS.items() if k != "flush" for e in kind.events for h in HANDLINGS if h == "pass" or not takes_the_original_too(kind, e)]


@pytest.mark.parametrize("name,event,handling", CASES)
def test_gone(gone, name, event, handling):
    lab, kind, outcome = gone, KINDS[name], HANDLINGS[handling]
    lab.rows()
    kind.prepare(lab)
    before = lab.store()
    lab.begin(passed, [(event, kind.packet, handling, False)], [(event, kind.packet, "bounce", False)])
    since = time.monotonic()
    kind.act(lab)
    all_done(lab)
    assert time.monotonic() - since < 10 * SLOW
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    kind.check(lab, event, outcome, got, arrived)
    second = [e for e in lab.second.seen(event) if kind.aimed(lab, e) and not (e.stanza.get("id") or "").startswith("done")]
    assert lab.first.seen() == [] and bool(second) is (outcome is PASSED), "after a bounce later profiles are not asked"
    lab.store_has(before, kind.kept(outcome))
    kind.clean_up(lab)


@pytest.mark.parametrize("handling", HANDLINGS)
def test_gone_at_log_in(gone, handling):
    """Handling pass, that of the system profile for e_SESSION: log-ins go on."""
    lab = gone
    for event, problem in (("e_AUTH", "temporary-auth-failure"), ("e_SESSION", "internal-server-error")):
        lab.begin(passed, [(event, "iq", handling, False)])
        client = lab.client("paris", "palace", login=False)
        try:
            client.login(True)
            came = None
        except PermissionError as e:
            came = str(e)
        client.close()
        assert came == (problem if handling == "bounce" else None)


@pytest.mark.parametrize("handling", HANDLINGS)
def test_gone_at_registration(gone, handling):
    lab = gone
    before, name = lab.store(), f"new{next(ids)}"
    lab.begin(passed, [("e_REGISTER", "iq", handling, False)])
    client = lab.client(name, login=False)
    client.open()
    client.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username><password>{client.password}</password></query></iq>")
    assert condition(client.next("{jabber:client}iq")) == ("internal-server-error" if handling == "bounce" else None)
    client.close()
    lab.store_has(before, [] if handling == "bounce" else [("account", f"{name}@example.com")])


@pytest.mark.parametrize("handling", HANDLINGS)
def test_gone_before_storing(gone, handling):
    lab = gone
    before = lab.store()
    lab.begin(passed, [("e_OFFLINE", "message", handling, False)])
    identity = lab.romeo.message("tybalt@example.com", "as written")
    if handling == "bounce":
        the_error([lab.romeo.next_message()], "tybalt@example.com", OUTAGE, identity)
    lab.store_has(before, [] if handling == "bounce" else [("offline", "tybalt@example.com", "as written")])
    got, stored = lab.offline(lab.romeo, "tybalt")
    assert got == [] and [text(m) for m in stored] == ([] if handling == "bounce" else ["as written"])


def test_gone_during_a_flush(gone):
    """Handling bounce: stored messages stay stored (rule 6), and come when they can be asked about."""
    lab = gone
    lab.rows()
    before = lab.store()
    lab.romeo.message("rosaline@example.com", "as written")
    lab.store_has(before, [("offline", "rosaline@example.com", "as written")])
    lab.begin(passed, [("es_IN", "message", "bounce", False)])
    left = lab.service.metric("offline_left_total")
    rosaline = lab.client("rosaline", "kitchen")
    wait_until("the flush", lambda: lab.service.metric("offline_left_total") > left)
    lab.store_has(before, [("offline", "rosaline@example.com", "as written")])
    lab.rows()
    assert text(rosaline.next_message()) == "as written"
    rosaline.close()
    lab.store_has(before, [])
