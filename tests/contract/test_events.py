"""Every event of the catalogue, with every answer it may get: what the sender, the recipient, the offline store and the next profile of the chain see.
EVENTS.md, "Answers", "What refusal does to each kind of stanza", and the table of JSM events."""
import copy
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from harness.client import Client, condition, ids, text
from harness.compliance import passed_to, passed_with
from harness.service import wait_until
from lab import ANSWERS, CATALOGUE, Lab, Outcome, changed_body, expected, raised_in_source, the_error

# Those of text conferencing have drivers of their own, in test_rooms.py.
OF_ROOMS = {name for name, row in CATALOGUE.items() if row["service"] == "TC"}


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    yield lab
    lab.close()


class Driver:
    """What raises an event. run() does it, and checks what the two users see of the outcome; kept() is what the store holds afterwards that it did not before."""

    @staticmethod
    def kept(_):
        return []


class Message(Driver):
    """A chat message from romeo to juliet's only session: es_OUT, e_DELIVER, es_IN."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or changed_body, [(event, "message", handling, forget)], [(event, "message", "bounce", False)])
        identity = lab.romeo.message(self.address(lab), "as written")
        seen = lab.first.wait(event)
        got, arrived = lab.fence(lab.romeo, lab.juliet)
        self.check_event(lab, event, seen[0], forget)
        if outcome.kind in ("pass", "changed"):
            assert [text(m) for m in arrived] == ["as written" if outcome.kind == "pass" else "changed"]
            assert arrived[0].get("id") == identity and arrived[0].get("from") == lab.romeo.jid
        else:
            assert arrived == []
        if outcome.kind == "refuse":
            the_error(got, self.address(lab), outcome, identity)
        else:
            assert got == []
        return seen

    @staticmethod
    def address(lab):
        return lab.juliet.bare

    @staticmethod
    def check_event(lab, event, seen, forget):
        assert seen.awaited is not forget
        assert seen.stanza.tag == "{jabber:client}message" and seen.stanza.get("from") == lab.romeo.jid
        assert seen.attributes["key"] == "juliet@example.com romeo@example.com"
        assert seen.attributes["node"] == "node1.example.com" and seen.attributes["profile"] == "First"
        session = {"es_OUT": lab.romeo.jid, "es_IN": lab.juliet.jid}.get(event)
        assert session is None or seen.attributes.get("session") == session


class Primary(Driver):
    """A message to a user with two sessions: e_PRISESSION, before one is chosen. Nobody is named, so both get what passed."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        other = lab.client("juliet", "orchard")
        lab.begin(script or changed_body, [(event, "message", handling, forget)], [(event, "message", "bounce", False)])
        identity = lab.romeo.message(lab.juliet.bare, "as written")
        seen = lab.first.wait(event)
        got, arrived = lab.fence(lab.romeo, lab.juliet)
        other.message(other.jid, "the last")
        also = [m for m in other.until(lambda e: text(e) == "the last") if (text(m) or "").startswith(("as written", "changed"))]
        other.close()
        lab.juliet.next("{jabber:client}presence", match=lambda e: e.get("from") == other.jid and e.get("type") == "unavailable")
        assert [dict(c.attrib) for c in seen[0].candidates] == [{"jid": jid, "priority": "0"} for jid in (lab.juliet.jid, other.jid)]
        assert "session" not in seen[0].attributes and seen[0].attributes["key"] == "juliet@example.com romeo@example.com"
        assert seen[0].stanza.get("to") == lab.juliet.bare and seen[0].stanza.get("from") == lab.romeo.jid
        kept = {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])
        assert [text(m) for m in arrived if m.tag.endswith("}message")] == kept and [text(m) for m in also] == kept
        if outcome.kind == "refuse":
            the_error(got, lab.juliet.bare, outcome, identity)
        else:
            assert got == []
        return seen


class Offline(Driver):
    """A message to a user without a session: e_OFFLINE, and what is in the store afterwards."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or changed_body, [(event, "message", handling, forget)], [(event, "message", "bounce", False)])
        before = lab.store()
        identity = lab.romeo.message("tybalt@example.com", "as written")
        seen = lab.first.wait(event)
        lab.service.quiet()
        kept = {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])
        lab.store_has(before, [("offline", "tybalt@example.com", body) for body in kept])
        got, stored = lab.offline(lab.romeo, "tybalt")
        assert [text(m) for m in stored] == kept
        assert all(m.find("{urn:xmpp:delay}delay") is not None for m in stored)
        if outcome.kind == "refuse":
            the_error(got, "tybalt@example.com", outcome, identity)
        else:
            assert got == []
        return seen


class Server(Driver):
    """A request to the server itself: e_SERVER. It is answered whatever happens."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or self.another_request, [(event, "iq", handling, forget)], [(event, "iq", "bounce", False)])
        result = lab.romeo.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to="example.com")
        seen = lab.first.wait(event)
        assert seen[0].stanza.get("from") == lab.romeo.jid and seen[0].stanza.get("to") == "example.com"
        lab.fence(lab.romeo, lab.juliet)
        if outcome.kind == "pass":
            assert result.get("type") == "result" and result.find("{http://jabber.org/protocol/disco#info}query") is not None
        elif outcome.kind == "changed":
            assert result.get("type") == "result" and len(result) == 0, "the request put in its place is the one that is answered"
        else:
            the_error([result], "example.com", outcome if outcome.kind == "refuse" else Outcome("refuse", "not-allowed"))
        return seen

    @staticmethod
    def another_request(event):
        s = event.stanza
        return passed_with(event, f"<iq xmlns='jabber:client' type='get' id='{s.get('id')}' from='{s.get('from')}' to='{s.get('to')}'><ping xmlns='urn:xmpp:ping'/></iq>")


class Features(Driver):
    """What the server can do, asked by disco#info and about to be told: e_DISCOFEAT. Features may be taken out and put in; the request is answered whatever happens."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or self.other_features, [(event, "iq", handling, forget)], [(event, "iq", "bounce", False)])
        result = lab.romeo.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to="example.com")
        seen = lab.first.wait(event)
        subject = seen[0].stanza
        assert (subject.get("type"), subject.get("from"), subject.get("to"), subject.get("id")) == ("result", "example.com", lab.romeo.jid, result.get("id"))
        assert seen[0].attributes["session"] == lab.romeo.jid and seen[0].attributes["key"] == lab.romeo.bare
        got, arrived = lab.fence(lab.romeo, lab.juliet)
        assert got == [] and arrived == []
        if outcome.kind in ("pass", "changed"):
            told = self.features(result)
            assert result.get("type") == "result" and "urn:xmpp:ping" in told
            assert ("urn:example:archived" in told, "vcard-temp" in told) == ((False, True) if outcome.kind == "pass" else (True, False))
        else:
            the_error([result], "example.com", outcome if outcome.kind == "refuse" else Outcome("refuse", "service-unavailable"))
        return seen

    @staticmethod
    def features(stanza):
        return [f.get("var") for f in stanza.iter("{http://jabber.org/protocol/disco#info}feature")]

    @staticmethod
    def other_features(event):
        query = event.stanza.find("{http://jabber.org/protocol/disco#info}query")
        query.remove(next(f for f in query if f.get("var") == "vcard-temp"))
        ET.SubElement(query, "{http://jabber.org/protocol/disco#info}feature", {"var": "urn:example:archived"})
        return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))


class Auth(Driver):
    """A log-in whose credentials are right: e_AUTH. It may only be allowed or not."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or self.echo, [(event, "iq", handling, forget)], [(event, "iq", "bounce", False)])
        problem = None
        client = lab.client("nurse", login=False)
        try:
            client.login(True)
        except PermissionError as e:
            problem = str(e)
        seen = lab.first.wait(event)
        lab.fence(lab.romeo, lab.juliet)
        client.close()
        subject = seen[0].stanza
        query = subject.find("{jabber:iq:auth}query")
        assert query.find("{jabber:iq:auth}username").text == "nurse"
        assert seen[0].attributes["key"] == "nurse@example.com" and "battery" not in str(seen[0].attributes)
        if outcome.kind == "pass":
            assert problem is None
        else:
            assert problem == ("not-authorized" if outcome.kind == "handle" else "temporary-auth-failure")
        return seen

    @staticmethod
    def echo(event):
        s = event.stanza
        return passed_with(event, f"<iq xmlns='jabber:client' type='set' id='{s.get('id')}' from='{s.get('from')}' to='{s.get('to')}'><query xmlns='jabber:iq:auth'/></iq>")


class Register(Driver):
    """An account asked for in-band: e_REGISTER, before it is made. The password is not shown, and is the one asked for all the same."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or self.renamed, [(event, "iq", handling, forget)], [(event, "iq", "bounce", False)])
        self.name = name = f"new{next(ids)}"
        client = lab.client(name, login=False)
        client.open()
        client.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username><password>{client.password}</password></query></iq>")
        reply = client.next("{jabber:client}iq")
        client.close()
        seen = lab.first.wait(event)
        lab.fence(lab.romeo, lab.juliet)
        query = seen[0].stanza.find("{jabber:iq:register}query")
        assert query.findtext("{jabber:iq:register}username") == name and seen[0].attributes["key"] == f"{name}@example.com"
        assert query.find("{jabber:iq:register}password") is not None and not query.findtext("{jabber:iq:register}password")
        if outcome.kind in ("pass", "changed"):
            assert reply.get("type") == "result"
            lab.client(name if outcome.kind == "pass" else "also-" + name).close()
        else:
            assert condition(reply) == (outcome.condition if outcome.kind == "refuse" else "not-allowed")
        return seen

    def kept(self, outcome):
        name = {"pass": self.name, "changed": "also-" + self.name}.get(outcome.kind)
        return [("account", f"{name}@example.com")] if name else []

    @staticmethod
    def renamed(event):
        stanza = copy.deepcopy(event.stanza)
        username = stanza.find(".//{jabber:iq:register}username")
        username.text = "also-" + username.text
        return passed_with(event, ET.tostring(stanza, encoding="unicode"))


class Session(Driver):
    """Resource bind: e_SESSION. PASS + stanza may rename."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or self.renamed, [(event, "iq", handling, forget)], [(event, "iq", "bounce", False)])
        client, problem = lab.client("nurse", "kitchen", login=False), None
        try:
            client.login(True)
        except PermissionError as e:
            problem = str(e)
        seen = lab.first.wait(event)
        lab.fence(lab.romeo, lab.juliet)
        client.close()
        assert seen[0].stanza.get("from") == "nurse@example.com/kitchen" and seen[0].attributes["key"] == "nurse@example.com"
        if outcome.kind in ("pass", "changed"):
            assert problem is None and client.jid == "nurse@example.com/" + ("kitchen" if outcome.kind == "pass" else "cellar")
        else:
            assert problem == (outcome.condition if outcome.kind == "refuse" else "not-allowed")
        return seen

    @staticmethod
    def renamed(event):
        s = event.stanza
        to = f" to='{s.get('to')}'" if s.get("to") else ""
        return passed_with(event, f"<iq xmlns='jabber:client' type='set' id='{s.get('id')}' from='{s.get('from')}'{to}>"
                                  "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>cellar</resource></bind></iq>")


class End(Driver):
    """A session has ended: es_END. Nobody waits and nothing comes of any answer."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        client = lab.client("nurse", "kitchen")
        lab.begin(script or self.echo, [(event, "presence", handling, forget)], [(event, "presence", "bounce", False)])
        client.close()
        seen = lab.first.wait(event)
        again = lab.client("nurse", "kitchen")
        lab.second.wait(event)
        lab.fence(lab.romeo, lab.juliet)
        again.close()
        assert seen[0].stanza.get("type") == "unavailable" and seen[0].stanza.get("from") == "nurse@example.com/kitchen"
        assert seen[0].attributes["session"] == "nurse@example.com/kitchen" and seen[0].attributes["key"] == "nurse@example.com"
        return seen

    @staticmethod
    def echo(event):
        return passed_with(event, "<presence xmlns='jabber:client' type='unavailable' from='nurse@example.com/kitchen'><status>changed</status></presence>")


class Stats(Driver):
    """The counters of the node, now and then: e_STATS. Nobody waits and nothing comes of any answer."""

    def run(self, lab, event, answer, outcome):
        script, handling, forget, _ = ANSWERS[answer]
        lab.begin(script or self.echo, [(event, "iq", handling, forget)], [(event, "iq", "bounce", False)])
        seen = lab.first.wait(event)
        lab.rows()
        lab.second.wait(event)
        got, arrived = lab.fence(lab.romeo, lab.juliet)
        assert got == [] and arrived == []
        subject = seen[0].stanza
        assert subject.tag == "{jabber:client}iq" and dict(subject.attrib) == {"type": "set", "id": "stats", "from": "example.com"}
        assert seen[0].attributes["key"] == "example.com" and "session" not in seen[0].attributes
        stats = {s.get("name"): s for s in subject.find("{http://jabber.org/protocol/stats}query")}
        assert int(stats["sessions"].get("value")) >= 2 and stats["sessions"].get("units") == "number"
        assert float(stats["event_seconds/sum"].get("value")) >= 0 and stats["event_seconds/sum"].get("units") == "seconds"
        assert int(stats["c2s_logins_total/success"].get("value")) >= 2 and "stage_seconds/out/count" in stats
        assert stats["connection_bytes_total/in"].get("units") == "bytes" and int(stats["time/uptime"].get("value")) >= 0
        assert len(stats) == len(subject[0]), "each name stands once"
        return seen

    @staticmethod
    def echo(event):
        return passed_with(event, "<iq xmlns='jabber:client' type='set' id='stats' from='example.com'><query xmlns='http://jabber.org/protocol/stats'/></iq>")


DRIVERS = {"e_AUTH": Auth(), "e_REGISTER": Register(), "e_SESSION": Session(), "es_OUT": Message(), "e_SERVER": Server(), "e_DISCOFEAT": Features(), "e_DELIVER": Message(), "e_PRISESSION": Primary(), "e_OFFLINE": Offline(), "es_IN": Message(),
           "es_END": End(), "e_STATS": Stats()}


def test_catalogue():
    """Each of the events has a driver, here or in test_rooms.py; and what jsm and tc raise is exactly what has one."""
    assert len(CATALOGUE) == 40
    assert set(DRIVERS) | OF_ROOMS == set(CATALOGUE) and not set(DRIVERS) & OF_ROOMS
    assert raised_in_source() == set(CATALOGUE)


def would_be(event, answer):
    """What a shadow row counts: by the Handling and what the event allows, as if it were enforced."""
    if not answer.startswith("shadow-"):
        return Counter()
    refusable, answers = CATALOGUE[event]["refusable"], CATALOGUE[event]["answers"]
    return Counter([{"shadow-pass": "pass", "shadow-error-pass": "pass", "shadow-pass-stanza": "change" if answers == "ANY" else "pass",
                     "shadow-handle": "handle" if refusable else "pass", "shadow-error-bounce": "refuse" if refusable else "pass",
                     "shadow-silence": "outage" if refusable else "unlogged", "shadow-invalid": "outage" if refusable else "unlogged"}[answer]])


@pytest.mark.parametrize("event,answer", [(e, a) for e in DRIVERS for a in ANSWERS])
def test_answer(lab, event, answer):
    outcome = expected(event, answer)
    invalid = lab.invalid()
    late = lab.late()
    before = lab.store()
    would = lab.shadow()
    seen = DRIVERS[event].run(lab, event, answer, outcome)
    assert lab.shadow() - would == would_be(event, answer)
    assert len(seen) == 1 and lab.first.seen() == seen, "asked once, about this event only"
    second = lab.second.seen(event)
    if outcome.kind in ("pass", "changed"): # the chain goes on: same stanza id, with the stanza as it is now
        assert len(second) == 1 and second[0].stanza_id == seen[0].stanza_id
        if outcome.kind == "changed" and second[0].body is not None:
            assert second[0].body == "changed"
    else:
        assert second == []
    script = ANSWERS[answer][0]
    ignored = outcome.kind == "pass" and CATALOGUE[event]["answers"] == "PASS" and answer not in ("invalid-bounce", "invalid-pass", "shadow-invalid")
    wrong = script is not None and script.__name__ in ("unknown", "readdressed", "retyped") and not ignored
    assert lab.invalid() - invalid == (1 if wrong else 0)
    assert lab.late() == late
    lab.store_has(before, DRIVERS[event].kept(outcome))


def test_order_and_ids(lab):
    """es_OUT, e_DELIVER, es_IN of one message: in this order, one stanza id, three event ids."""
    rows = [(e, "all", "bounce", False) for e in ("es_OUT", "e_DELIVER", "es_IN", "e_OFFLINE")]
    lab.begin(lambda e: ANSWERS["pass"][0](e), rows)
    lab.romeo.message(lab.juliet.bare, "one")
    lab.juliet.next_message(body="one")
    seen = lab.first.seen()
    assert [e.name for e in seen] == ["es_OUT", "e_DELIVER", "es_IN"]
    assert len({e.stanza_id for e in seen}) == 1 and len({e.id for e in seen}) == 3
    lab.fence(lab.romeo, lab.juliet)


def test_late_answer(lab):
    """An answer after the timeout is only counted."""
    lab.begin(ANSWERS["silence-bounce"][0], [("es_OUT", "message", "bounce", False)])
    late = lab.service.metric("link_answers_total", kind="late")
    identity = lab.romeo.message(lab.juliet.bare, "slow")
    error = lab.romeo.next_message()
    assert error.get("id") == identity and condition(error) == "internal-server-error"
    lab.first.send(ANSWERS["pass"][0](lab.first.seen()[0]))
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    assert got == [] and arrived == []
    wait_until("the late answer's count", lambda: lab.service.metric("link_answers_total", kind="late") == late + 1)


def test_error_raises_no_event(lab):
    """The error that refuses a message is itself never asked about."""
    lab.begin(ANSWERS["error-bounce"][0], [("es_OUT", "message", "bounce", False), ("es_IN", "message", "bounce", False), ("e_DELIVER", "message", "bounce", False)])
    lab.romeo.message(lab.juliet.bare, "no")
    assert condition(lab.romeo.next_message()) == "policy-violation"
    lab.fence(lab.romeo, lab.juliet)
    assert [e.name for e in lab.first.seen()] == ["es_OUT"]


def test_nothing_of_rooms_is_raised(lab):
    """Where no room is concerned, a profile with every event of text conferencing sees nothing."""
    lab.begin(ANSWERS["pass"][0], [(name, None, "bounce", False) for name in OF_ROOMS])
    other = lab.client("juliet", "kitchen")
    lab.romeo.iq("get", "<query xmlns='jabber:iq:register'/>", to="example.com")
    lab.romeo.message(lab.juliet.bare, "no invitation", extra="<x xmlns='jabber:x:conference' jid='elsewhere@conference.example.org'/>")
    assert text(lab.juliet.next_message()) == text(other.next_message()) == "no invitation"
    other.close()
    lab.juliet.next("{jabber:client}presence", match=lambda e: e.get("from") == other.jid and e.get("type") == "unavailable")
    lab.fence(lab.romeo, lab.juliet)
    assert lab.first.seen() == []


def test_many_candidates(lab):
    """More sessions than most users have: all are named, the highest priority first, and the last one can be chosen."""
    others = [lab.client("juliet", f"room{i}", presence=False) for i in range(18)]
    for i, other in enumerate(others):
        other.available(priority=i % 3)
    lab.begin(lambda e: passed_to(e, e.candidates[-1].get("jid")), [("e_PRISESSION", "message", "bounce", False)])
    lab.romeo.message(lab.juliet.bare, "to one of many")
    named = [(c.get("jid"), int(c.get("priority"))) for c in lab.first.wait("e_PRISESSION")[0].candidates]
    assert sorted(jid for jid, _ in named) == sorted(c.jid for c in [lab.juliet, *others])
    assert [p for _, p in named] == sorted((p for _, p in named), reverse=True)
    by_jid = {c.jid: c for c in [lab.juliet, *others]}
    by_jid[named[-1][0]].next_message(body="to one of many")
    lab.rows()
    for client in by_jid.values():
        client.message(client.jid, "the last")
        assert [text(m) for m in client.until(lambda e: text(e) == "the last") if m.tag.endswith("}message")] == []
    for other in others:
        other.close()
    lab.juliet.next("{jabber:client}presence", match=lambda e: e.get("from") == others[-1].jid and e.get("type") == "unavailable")
    lab.fence(lab.romeo, lab.juliet)


def test_steered_messages_keep_their_order(lab):
    """Each message of a conversation goes where its answer sends it, whatever the order of the answers: none twice, none lost, each session's in order."""
    others = [lab.client("juliet", f"room{i}") for i in range(2)]
    sessions = [lab.juliet, *others]
    to = {f"steered {i}": sessions[i * 7 // 4 % 3].jid for i in range(200)}
    rows = [(e, "message", "bounce", False) for e in ("es_OUT", "e_DELIVER", "e_PRISESSION", "es_IN")]
    lab.first.shuffle, lab.first.delay = True, 0.01
    try:
        lab.begin(lambda e: passed_to(e, to[e.body]) if e.name == "e_PRISESSION" else ANSWERS["pass"][0](e), rows)
        for body in to:
            lab.romeo.message(lab.juliet.bare, body)
        got = {}
        for session in sessions:
            wanted = [body for body, jid in to.items() if jid == session.jid]
            got[session.jid] = [text(m) for m in session.until(lambda e: text(e) == wanted[-1], 30) if m.tag.endswith("}message")] + wanted[-1:]
            assert got[session.jid] == wanted
        for name in ("es_OUT", "e_DELIVER", "e_PRISESSION", "es_IN"):
            assert [e.body for e in lab.first.seen(name)] == list(to), f"{name} is asked in the order of the conversation"
    finally:
        lab.first.shuffle, lab.first.delay = False, 0.0
    for other in others:
        other.close()
        lab.juliet.next("{jabber:client}presence", match=lambda e: e.get("from") == other.jid and e.get("type") == "unavailable")
    assert lab.fence(lab.romeo, lab.juliet)[0] == []
