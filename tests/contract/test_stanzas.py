"""What refusal does to stanzas beyond the single one (test_kinds.py): replies of the server, several sessions, the offline flush; and the edges of the events:
sessions that go or come while an answer is waited for."""
import xml.etree.ElementTree as ET

import pytest

from harness.client import Client, condition, ids, text
from harness.compliance import handled, passed, passed_with, refused
from harness.service import wait_until
from lab import Lab, Outcome, refusing, silent, the_error

C = "{jabber:client}"
QUERY = "<query xmlns='urn:example:question'/>"
ROSTER = "<query xmlns='jabber:iq:roster'/>"
WAYS = {"handle": (handled, "bounce", False, "not-allowed"), "error": (refusing, "bounce", False, "policy-violation"),
        "discard": (passed, "bounce", True, "not-allowed"), "silence": (silent, "bounce", False, "internal-server-error")}


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    yield lab
    lab.close()


def ways(*names):
    return pytest.mark.parametrize("way", names or list(WAYS))


def at(*names):
    return pytest.mark.parametrize("event", names)


def only(match, script):
    """A script for some events only; the rest passes."""
    return lambda e: script(e) if match(e) else passed(e)


def of(*types):
    return lambda e: e.stanza.get("type") in types


def refuse(lab, event, packet, way):
    script, handling, forget, _ = WAYS[way]
    lab.begin(script, [(event, packet, handling, forget)])


# ---- rule 3: IQs ----
@at("es_OUT", "e_DELIVER", "es_IN", "e_SERVER")
def test_handle_with_reply(lab, event):
    to = "example.com" if event == "e_SERVER" else lab.juliet.jid
    reply = "<iq xmlns='jabber:client' type='result' id='{}'><answer xmlns='urn:example:question'>42</answer></iq>"
    lab.begin(lambda e: handled(e, reply.format(e.stanza.get("id"))), [(event, "iq", "bounce", False)])
    answer = lab.romeo.iq("get", QUERY if event != "e_SERVER" else "<ping xmlns='urn:xmpp:ping'/>", to=to)
    assert answer.get("type") == "result" and answer[0].text == "42" and answer.get("from") == to
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and arrived == []


@ways("handle", "error")
def test_refused_answer_of_the_server(lab, way):
    lab.begin(WAYS[way][0], [("es_IN", "iq", "bounce", False)])
    answer = lab.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
    the_error([answer], "example.com", Outcome("refuse", WAYS[way][3]))
    lab.fence(lab.romeo, lab.juliet)


def test_request_to_a_contact_is_the_servers(lab):
    """An IQ to another's bare JID is answered by the server: es_OUT, e_DELIVER, e_SERVER, es_IN of the answer."""
    lab.begin(passed, [(e, "iq", "bounce", False) for e in ("es_OUT", "e_DELIVER", "e_SERVER", "es_IN")])
    lab.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=lab.juliet.bare)
    names = [e.name for e in lab.first.seen()]
    assert names[:3] == ["es_OUT", "e_DELIVER", "e_SERVER"] and names[-1] == "es_IN", names
    assert len({e.stanza_id for e in lab.first.seen()[:3]}) == 1
    refuse(lab, "e_SERVER", "iq", "error")
    the_error([lab.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=lab.juliet.bare)], lab.juliet.bare, Outcome("refuse", "policy-violation"))
    lab.fence(lab.romeo, lab.juliet)


def test_check_comes_before_the_event(lab):
    lab.begin(passed, [("e_SERVER", "iq", "bounce", False)])
    answer = lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'/></query>")
    assert condition(answer) == "not-allowed" and lab.first.seen() == []
    lab.fence(lab.romeo, lab.juliet)


@at("es_OUT", "e_DELIVER", "es_IN", "e_SERVER")
def test_handle_with_an_error_as_reply(lab, event):
    to = "example.com" if event == "e_SERVER" else lab.juliet.jid
    reply = ("<iq xmlns='jabber:client' type='error' id='{}'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
    lab.begin(lambda e: handled(e, reply.format(e.stanza.get("id"))), [(event, "iq", "bounce", False)])
    answer = lab.romeo.iq("get", QUERY if event != "e_SERVER" else "<ping xmlns='urn:xmpp:ping'/>", to=to)
    assert answer.get("type") == "error" and condition(answer) == "resource-constraint" and answer.get("from") == to
    assert lab.fence(lab.romeo, lab.juliet) == ([], [])


# ---- rule 4: presence the server makes ----
@pytest.mark.parametrize("how", ("close", "cut", "replaced"))
def test_presence_that_ends_a_session_raises_no_es_out(lab, how):
    """It is the server's own; the contact's events and es_END there are."""
    orchard = lab.client("juliet", "orchard")
    orchard.send(f"<presence to='{lab.romeo.jid}'/>")
    lab.romeo.next(C + "presence", match=lambda p: p.get("from") == orchard.jid)
    lab.begin(passed, [(e, "presence", "bounce", False) for e in ("es_OUT", "e_DELIVER", "es_IN", "es_END")])
    if how == "replaced":
        again = lab.client("juliet", "orchard", presence=False)
    else:
        getattr(orchard, how)()
    lab.romeo.next(C + "presence", match=lambda p: p.get("from") == orchard.jid and p.get("type") == "unavailable")
    lab.first.wait("es_END")
    assert [e.stanza.get("type") for e in lab.first.seen("es_END")] == ["unavailable"] and lab.first.seen("es_OUT") == []
    assert len([e for e in lab.first.seen("e_DELIVER") if e.stanza.get("to") == lab.romeo.jid]) == 1
    if how == "replaced":
        again.close()
    lab.juliet.next(C + "presence", match=lambda p: p.get("from") == orchard.jid and p.get("type") == "unavailable")
    lab.fence(lab.romeo, lab.juliet)


# ---- rule 6: carbon copies hold what passed ----
def with_carbons(lab, name, resource):
    client = lab.client(name, resource, presence=False)
    client.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    return client


def copied(client):
    """What a carbon copy is of: its direction, and the message."""
    copy = client.next(C + "message", match=lambda m: len(m) and "carbons" in m[0].tag)
    return copy[0].tag.partition("}")[2], copy[0][0][0]


def test_a_copy_holds_what_the_first_passing_session_got(lab):
    """One of two sessions is refused, the other gets it changed: that is what the third gets a copy of."""
    kitchen, cellar = lab.client("juliet", "kitchen"), with_carbons(lab, "juliet", "cellar")

    def script(e):
        if e.attributes.get("copy") == "carbon":
            return passed(e)
        if e.attributes["session"] == lab.juliet.jid:
            return refusing(e)
        e.stanza.find(C + "body").text = "changed"
        return passed_with(e, ET.tostring(e.stanza, encoding="unicode"))
    lab.begin(script, [("es_IN", "message", "bounce", False)])
    lab.romeo.message(lab.juliet.bare, "as written")
    assert text(kitchen.next_message()) == "changed"
    direction, message = copied(cellar)
    assert (direction, text(message)) == ("received", "changed")
    for client in (kitchen, cellar):
        client.close()
    lab.juliet.next(C + "presence", match=lambda p: p.get("from") == kitchen.jid and p.get("type") == "unavailable")
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and [m for m in arrived if m.tag == C + "message"] == []


@ways("handle", "error", "discard")
def test_no_copy_of_what_no_session_got(lab, way):
    cellar = with_carbons(lab, "juliet", "cellar")
    refuse(lab, "es_IN", "message", way)
    lab.romeo.message(lab.juliet.bare, "for none")
    lab.first.wait("es_IN")
    _, arrived = lab.fence(lab.romeo, lab.juliet)
    assert [m for m in arrived if text(m) == "for none"] == []
    assert all(text(copied(cellar)[1]).startswith("fence") for _ in range(2)), "those of the fence alone"
    assert [e for e in lab.first.seen() if e.attributes.get("copy")] == []
    cellar.close()


@at("e_DELIVER", "es_IN")
def test_a_sent_copy_and_then_its_refusal(lab, event):
    """The copy is made when es_OUT has passed; a refusal after that is copied as the errors of XEP-0280 are."""
    cellar = with_carbons(lab, "romeo", "cellar")
    lab.begin(only(lambda e: e.attributes.get("copy") is None, refusing), [(event, "message", "bounce", False)])
    identity = lab.romeo.message(lab.juliet.bare, "refused later")
    direction, message = copied(cellar)
    assert (direction, text(message)) == ("sent", "refused later")
    error = lab.romeo.next_message()
    assert condition(error) == "policy-violation"
    direction, message = copied(cellar)
    assert (direction, message.get("type"), message.get("id"), condition(message)) == ("received", "error", identity, "policy-violation")
    cellar.close()
    lab.fence(lab.romeo, lab.juliet)


@ways("handle", "error", "discard")
def test_no_copy_of_what_es_out_refused(lab, way):
    cellar = with_carbons(lab, "romeo", "cellar")
    refuse(lab, "es_OUT", "message", way)
    lab.romeo.message(lab.juliet.bare, "refused at once")
    lab.first.wait("es_OUT")
    lab.fence(lab.romeo, lab.juliet)
    bodies = []
    while not bodies or not (bodies[-1] or "").startswith("fence"):
        direction, message = copied(cellar)
        bodies.append(text(message))
        assert message.get("type") == "error" or bodies[-1].startswith("fence")
    cellar.close()


# ---- rule 2: messages to several sessions, copies ----
def test_one_of_two_sessions_is_refused(lab):
    kitchen = lab.client("juliet", "kitchen")
    lab.begin(only(lambda e: e.attributes["session"].endswith("/kitchen"), refusing), [("es_IN", "message", "bounce", False)])
    lab.romeo.message(lab.juliet.bare, "for one")
    lab.first.wait("es_IN", count=2)
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and [text(m) for m in arrived if m.tag == C + "message"] == ["for one"]
    assert all(m.tag == C + "presence" for m in kitchen.until(lambda e: (text(e) or "").startswith("fence")))
    kitchen.close()


@ways("error", "silence")
def test_all_sessions_are_refused(lab, way):
    kitchen = lab.client("juliet", "kitchen")
    lab.fence(lab.romeo, lab.juliet)
    refuse(lab, "es_IN", "message", way)
    identity = lab.romeo.message(lab.juliet.bare, "for none")
    lab.first.wait("es_IN", count=2)
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert arrived == []
    the_error(got, lab.juliet.bare, Outcome("refuse", WAYS[way][3]), identity)
    kitchen.close()
    lab.juliet.next(C + "presence", match=lambda p: p.get("from") == kitchen.jid and p.get("type") == "unavailable")


# ---- sessions that go and come ----
def test_session_gone_before_its_answer(lab):
    """Choose again, ask es_IN for the new one."""
    lab.rows()
    lab.service.user("rosaline")
    high, low = lab.client("rosaline", "high", presence=False), lab.client("rosaline", "low")
    high.available(priority=5)
    lab.begin(only(lambda e: not e.attributes["session"].endswith("/high"), passed), [("es_IN", "message", "bounce", False)])
    held = []
    lab.first.script = lambda e: held.append(e) if e.attributes["session"].endswith("/high") else passed(e)
    lab.romeo.message("rosaline@example.com", "to whom")
    wait_until("es_IN for the first", lambda: held)
    high.cut()
    wait_until("the end of the session", lambda: "session 'rosaline@example.com/high' has ended" in lab.service.log())
    lab.first.send(passed(held[0]))
    assert low.next_message(body="to whom")
    assert [e.attributes["session"] for e in lab.first.seen("es_IN")] == ["rosaline@example.com/high", "rosaline@example.com/low"]
    low.close()


def test_session_came_before_e_offline_passed(lab):
    """After e_OFFLINE's PASS a session is looked for once more."""
    held = []
    lab.begin(lambda e: held.append(e) if e.name == "e_OFFLINE" else passed(e), [("e_OFFLINE", "message", "bounce", False), ("es_IN", "message", "bounce", False)])
    lab.romeo.message("nurse@example.com", "are you there")
    wait_until("e_OFFLINE", lambda: held)
    nurse = lab.client("nurse", "kitchen")
    lab.first.send(passed(held[0]))
    message = nurse.next_message(body="are you there")
    assert message.find("{urn:xmpp:delay}delay") is None, "it was never stored"
    assert [e.name for e in lab.first.seen()] == ["e_OFFLINE", "es_IN"]
    nurse.close()
    lab.rows()
    nurse = lab.client("nurse", "kitchen")
    nurse.nothing("{jabber:client}message")
    nurse.close()


# ---- rule 6: the offline flush ----
def flush(lab, script, handling="bounce", forget=False):
    """Two messages are stored; the log-in asks es_IN for each; returns what came then and what came at the next log-in."""
    lab.rows()
    for body in ("first", "second"):
        lab.romeo.message("nurse@example.com", body)
    lab.service.quiet()
    lab.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="nurse@example.com") # behind them in the same lane: they are stored
    lab.begin(script, [("es_IN", "message", handling, forget)])
    nurse = lab.client("nurse", "kitchen")
    seen = lab.first.wait("es_IN", count=2)
    lab.service.quiet()
    lab.rows()
    lab.romeo.message("nurse@example.com", "last")
    came = [text(m) for m in nurse.until(lambda e: text(e) == "last") if m.tag == C + "message"]
    nurse.close()
    nurse = lab.client("nurse", "kitchen")
    lab.romeo.message("nurse@example.com", "last")
    later = [text(m) for m in nurse.until(lambda e: text(e) == "last") if m.tag == C + "message"]
    nurse.close()
    assert all(e.attributes.get("copy") == "offline" for e in seen)
    return came, later


BOTH = ["first", "second"]


def test_flush_passed(lab):
    assert flush(lab, passed) == (BOTH, [])


def test_flush_changed(lab):
    def change(e):
        e.stanza.find(C + "body").text = e.body.upper()
        return passed_with(e, ET.tostring(e.stanza, encoding="unicode"))
    assert flush(lab, change) == (["FIRST", "SECOND"], [])


@ways("handle", "error")
def test_flush_refused_is_removed(lab, way):
    assert flush(lab, WAYS[way][0]) == ([], [])


def test_flush_unanswered_stays_stored(lab):
    """Until it is tried again (offline.retry): then they come, and what was sent after them comes after them."""
    assert flush(lab, silent) == (BOTH, [])


def test_flush_partly_refused_keeps_order(lab):
    assert flush(lab, only(lambda e: e.body == "first", refusing)) == (["second"], [])


# ---- the chain ----
def test_order_is_kept_whatever_the_answers_order(lab):
    """Twenty messages, answered backwards: written forwards."""
    held = []
    lab.begin(lambda e: held.append(e), [("es_OUT", "message", "bounce", False)])
    for i in range(20):
        lab.romeo.message(lab.juliet.bare, f"n{i}")
    wait_until("all events", lambda: len(held) == 20)
    lab.first.send("".join(passed(e) for e in reversed(held)))
    _, arrived = lab.fence(lab.romeo, lab.juliet)
    assert [text(m) for m in arrived] == [f"n{i}" for i in range(20)]
