"""What refusal does to each kind of stanza (EVENTS.md, rules 1 to 6), and the edges of the events: sessions that go or come while an answer is waited for."""
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


def roster(client):
    result = client.iq("get", ROSTER)
    return {i.get("jid"): dict(i.attrib) for i in result[0]}


def presences(stanzas, kind):
    return [s for s in stanzas if s.tag == C + "presence" and s.get("type") == kind]


# ---- rule 3: IQs ----
@at("es_OUT", "e_DELIVER", "es_IN")
@ways()
def test_request_is_always_answered(lab, event, way):
    refuse(lab, event, "iq", way)
    answer = lab.romeo.iq("get", QUERY, to=lab.juliet.jid)
    the_error([answer], lab.juliet.jid, Outcome("refuse", WAYS[way][3]))
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and arrived == []


@at("es_OUT", "e_DELIVER", "es_IN", "e_SERVER")
def test_handle_with_reply(lab, event):
    to = "example.com" if event == "e_SERVER" else lab.juliet.jid
    reply = "<iq xmlns='jabber:client' type='result' id='{}'><answer xmlns='urn:example:question'>42</answer></iq>"
    lab.begin(lambda e: handled(e, reply.format(e.stanza.get("id"))), [(event, "iq", "bounce", False)])
    answer = lab.romeo.iq("get", QUERY if event != "e_SERVER" else "<ping xmlns='urn:xmpp:ping'/>", to=to)
    assert answer.get("type") == "result" and answer[0].text == "42" and answer.get("from") == to
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and arrived == []


@at("es_OUT", "e_DELIVER", "es_IN")
@ways("handle", "error", "silence")
@pytest.mark.parametrize("kind", ["result", "error"])
def test_refused_answer_becomes_an_error(lab, event, way, kind):
    lab.begin(only(of("result", "error"), WAYS[way][0]), [(event, "iq", "bounce", False)])
    identity = f"q{next(ids)}"
    lab.romeo.send(f"<iq type='get' id='{identity}' to='{lab.juliet.jid}'>{QUERY}</iq>")
    asked = lab.juliet.next(C + "iq")
    inner = "<secret xmlns='urn:example:question'/>" if kind == "result" else \
        "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><secret xmlns='urn:example:question'/></error>"
    lab.juliet.send(f"<iq type='{kind}' id='{identity}' to='{asked.get('from')}'>{inner}</iq>")
    answer = lab.romeo.next(C + "iq")
    the_error([answer], lab.juliet.jid, Outcome("refuse", WAYS[way][3]), identity)
    assert "secret" not in ET.tostring(answer).decode()
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and arrived == [], "nothing of type error is answered by an error"


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


@at("es_OUT", "e_SERVER")
@ways()
def test_refused_roster_set_changes_nothing(lab, event, way):
    before = roster(lab.romeo)
    refuse(lab, event, "iq", way)
    answer = lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='mercutio@example.com' name='M'/></query>")
    assert answer.get("type") == "error" and condition(answer) == WAYS[way][3]
    lab.rows()
    assert roster(lab.romeo) == before
    got, _ = lab.fence(lab.romeo, lab.juliet)
    assert got == [], "no push"


def test_refused_roster_push_is_dropped(lab):
    lab.rows()
    roster(lab.romeo)
    lab.begin(only(of("set"), refusing), [("es_IN", "iq", "bounce", False)])
    assert lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='paris@example.com'/></query>").get("type") == "result"
    got, _ = lab.fence(lab.romeo, lab.juliet)
    assert got == [], [ET.tostring(s) for s in got]
    assert "paris@example.com" in roster(lab.romeo)
    lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='paris@example.com' subscription='remove'/></query>")
    lab.fence(lab.romeo, lab.juliet)


def test_check_comes_before_the_event(lab):
    lab.begin(passed, [("e_SERVER", "iq", "bounce", False)])
    answer = lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'/></query>")
    assert condition(answer) == "not-allowed" and lab.first.seen() == []
    lab.fence(lab.romeo, lab.juliet)


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


def test_refused_headline_is_a_copy(lab):
    lab.fence(lab.romeo, lab.juliet)
    refuse(lab, "es_IN", "message", "error")
    lab.romeo.message(lab.juliet.bare, "news", kind="headline")
    lab.first.wait("es_IN")
    assert all(m.get("type") != "headline" for side in lab.fence(lab.romeo, lab.juliet) for m in side)


@at("es_OUT", "e_DELIVER", "es_IN")
def test_refused_error_is_dropped(lab, event):
    refuse(lab, event, "message", "error")
    lab.romeo.send(f"<message type='error' to='{lab.juliet.jid}' id='x'><body>no</body><error type='cancel'>"
                   "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    lab.first.wait(event)
    assert lab.fence(lab.romeo, lab.juliet) == ([], [])


# ---- rule 4: presence ----
STATUS = "<status>gone fishing</status><secret xmlns='urn:example:secret'/>"


@at("es_OUT", "e_DELIVER", "es_IN")
@ways()
def test_unavailable_is_never_refused(lab, event, way):
    lab.rows()
    lab.romeo.send(f"<presence to='{lab.juliet.jid}'/>")
    lab.fence(lab.romeo, lab.juliet)
    refuse(lab, event, "presence", way)
    lab.romeo.send(f"<presence type='unavailable' to='{lab.juliet.jid}'>{STATUS}</presence>")
    lab.first.wait(event)
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == []
    assert [(p.get("type"), p.get("from"), len(p)) for p in arrived] == [("unavailable", lab.romeo.jid, 0)]


@at("es_OUT", "e_DELIVER", "es_IN")
@ways()
def test_refused_directed_presence(lab, event, way):
    lab.fence(lab.romeo, lab.juliet)
    refuse(lab, event, "presence", way)
    lab.romeo.send(f"<presence to='{lab.juliet.jid}' id='p1'>{STATUS}</presence>")
    lab.first.wait(event)
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert arrived == []
    if event == "es_IN" or way in ("handle", "discard"):
        assert got == []
    else:
        the_error(got, lab.juliet.jid, Outcome("refuse", WAYS[way][3]), "p1")
    lab.romeo.send(f"<presence type='unavailable' to='{lab.juliet.jid}'/>")
    lab.fence(lab.romeo, lab.juliet)


# ---- rule 5: subscriptions; and presence broadcast between subscribed users ----
class Pair:
    """Two fresh users for each case, since rosters keep what was done to them."""
    number = 0

    def __init__(self, lab, subscribed=False):
        Pair.number += 1
        self.lab = lab
        self.a_name, self.b_name = f"abram{Pair.number}", f"balthasar{Pair.number}"
        lab.rows()
        lab.service.user(self.a_name, self.b_name)
        self.a, self.b = lab.client(self.a_name, "one"), lab.client(self.b_name, "one")
        roster(self.a), roster(self.b)
        if subscribed:
            self.a.send(f"<presence type='subscribe' to='{self.b.bare}'/>")
            self.b.next(C + "presence", match=lambda p: p.get("type") == "subscribe")
            self.b.send(f"<presence type='subscribed' to='{self.a.bare}'/>")
            self.a.next(C + "presence", match=lambda p: p.get("type") == "subscribed")
            self.fence()

    def fence(self):
        return self.lab.fence(self.a, self.b)

    def rosters(self):
        self.lab.rows()
        return roster(self.a).get(self.b.bare), roster(self.b).get(self.a.bare)


@ways()
def test_subscribe_refused_at_es_out(lab, way):
    pair = Pair(lab)
    refuse(lab, "es_OUT", "subscription", way)
    pair.a.send(f"<presence type='subscribe' to='{pair.b.bare}' id='s1'/>")
    lab.first.wait("es_OUT")
    got, arrived = pair.fence()
    assert arrived == [] and pair.rosters() == (None, None)
    if way in ("handle", "discard"):
        assert got == []
    else:
        the_error(got, pair.b.bare, Outcome("refuse", WAYS[way][3]), "s1")


@ways()
def test_subscribe_refused_at_e_deliver(lab, way):
    pair = Pair(lab)
    refuse(lab, "e_DELIVER", "subscription", way)
    pair.a.send(f"<presence type='subscribe' to='{pair.b.bare}'/>")
    answer = pair.a.next(C + "presence", match=lambda p: p.get("type") == "unsubscribed")
    assert answer.get("from") == pair.b.bare
    _, arrived = pair.fence()
    mine, other = pair.rosters()
    assert arrived == [] and other is None, "the contact's roster is unchanged and he saw nothing"
    assert mine["subscription"] == "none" and "ask" not in mine, "no request is pending any more"
    assert len([e for e in lab.first.seen() if e.stanza.get("type") == "unsubscribed"]) == 0, "a reply caused by a verdict raises no event"
    again = lab.client(pair.b_name, "two")
    again.nothing(C + "presence", match=lambda p: p.get("type") == "subscribe")


@ways("handle", "error")
def test_subscribed_refused_at_e_deliver(lab, way):
    pair = Pair(lab)
    pair.a.send(f"<presence type='subscribe' to='{pair.b.bare}'/>")
    pair.b.next(C + "presence", match=lambda p: p.get("type") == "subscribe")
    refuse(lab, "e_DELIVER", "subscription", way)
    pair.b.send(f"<presence type='subscribed' to='{pair.a.bare}'/>")
    pair.b.next(C + "presence", match=lambda p: p.get("type") == "unsubscribe")
    got, arrived = pair.fence()
    assert not [ET.tostring(p) for p in got if p.get("type") in (None, "subscribed")], "and no presence of one he is not subscribed to"
    mine, other = pair.rosters()
    assert mine["subscription"] == "none" and other["subscription"] == "none", "no subscription on either side"


@pytest.mark.parametrize("kind", ["unsubscribe", "unsubscribed"])
@ways()
def test_the_end_of_a_subscription_is_never_refused(lab, kind, way):
    pair = Pair(lab, subscribed=True)
    assert [r["subscription"] for r in pair.rosters()] == ["to", "from"]
    sender, other = (pair.a, pair.b) if kind == "unsubscribe" else (pair.b, pair.a)
    refuse(lab, "e_DELIVER", "subscription", way)
    sender.send(f"<presence type='{kind}' to='{other.bare}'>{STATUS}</presence>")
    seen = other.next(C + "presence", match=lambda p: p.get("type") == kind)
    assert len(seen) == 0, "stripped"
    pair.fence()
    assert [r["subscription"] for r in pair.rosters() if r] in (["none", "none"], ["none"])


@ways("handle", "error", "silence")
def test_subscribe_refused_at_es_in_stays_pending(lab, way):
    pair = Pair(lab)
    refuse(lab, "es_IN", "subscription", way)
    pair.a.send(f"<presence type='subscribe' to='{pair.b.bare}'/>")
    lab.first.wait("es_IN")
    got, arrived = pair.fence()
    assert presences(arrived, "subscribe") == [] and presences(got, "unsubscribed") == []
    again = lab.client(pair.b_name, "two")
    assert again.next(C + "presence", match=lambda p: p.get("type") == "subscribe").get("from") == pair.a.bare


@at("e_DELIVER", "es_IN")
@ways("handle", "error")
def test_refused_presence_broadcast_is_dropped(lab, event, way):
    pair = Pair(lab, subscribed=True)
    refuse(lab, event, "presence", way)
    pair.b.send(f"<presence><show>away</show>{STATUS}</presence>")
    lab.first.wait(event)
    got, arrived = pair.fence()
    assert got == [], "the contact sees nothing of it"
    assert all(p.get("type") != "error" for p in arrived), "and the sender no error"


def test_broadcast_unavailable_refused_at_es_out(lab):
    pair = Pair(lab, subscribed=True)
    refuse(lab, "es_OUT", "presence", "error")
    pair.b.send(f"<presence type='unavailable'>{STATUS}</presence>")
    seen = pair.a.next(C + "presence", match=lambda p: p.get("type") == "unavailable" and p.get("from") == pair.b.jid)
    assert len(seen) == 0


def test_presence_of_a_cut_session(lab):
    """The server makes the unavailable presence: no es_OUT, but e_DELIVER and es_IN at the contact, and es_END."""
    pair = Pair(lab, subscribed=True)
    lab.begin(passed, [(e, "presence", "bounce", False) for e in ("es_OUT", "e_DELIVER", "es_IN", "es_END")])
    pair.b.cut()
    pair.a.next(C + "presence", match=lambda p: p.get("type") == "unavailable" and p.get("from") == pair.b.jid)
    lab.first.wait("es_END")
    assert sorted(e.name for e in lab.first.seen()) == ["e_DELIVER", "es_END", "es_IN"]


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
def test_second_profile_refuses(lab):
    lab.begin(passed, [("es_OUT", "message", "bounce", False)], [("es_OUT", "message", "bounce", False)])
    lab.second.script = refusing
    identity = lab.romeo.message(lab.juliet.bare, "no")
    try:
        got, arrived = None, None
        lab.second.wait("es_OUT")
        got, arrived = lab.fence(lab.romeo, lab.juliet)
    finally:
        lab.second.script = passed
    assert arrived == []
    the_error(got, lab.juliet.bare, Outcome("refuse", "policy-violation"), identity)


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
