"""What becomes of the kinds of stanzas a room passes on, when they are refused on their way: copies, requests between occupants and their answers, what is taken
back, registrations. EVENTS.md, "What refusal does to each kind of stanza"."""
import copy
import xml.etree.ElementTree as ET

import pytest

from harness.client import ids, text
from harness.compliance import handled, passed, passed_with, refused
from lab import ANSWERS
from roomlab import C, HALL, RoomLab, told_error

Q = "{urn:example:question}query"
OUTCOMES = {name: ANSWERS[name][3] for name in ("pass", "pass-stanza", "handle", "error-bounce", "error-pass", "silence-bounce", "forget-bounce")}


@pytest.fixture(scope="module")
def lab():
    lab = RoomLab()
    yield lab
    lab.close()


def begin(lab, answer, event, packet, change):
    """The answer is for those events that are aimed at; others pass."""
    script, handling, forget, outcome = ANSWERS[answer]

    def changing(e):
        stanza = copy.deepcopy(e.stanza)
        change(stanza)
        return passed_with(e, ET.tostring(stanza, encoding="unicode"))
    lab.begin(script or changing, [(event, packet, handling, forget)])
    return outcome


@pytest.mark.parametrize("answer", [a for a in OUTCOMES if a != "forget-bounce"])
@pytest.mark.parametrize("what", ["message", "presence"])
def test_copy(lab, what, answer):
    """es_IN of one occupant's copy: he alone does not get it. Nobody is told, and he is not put out for it (rule 2)."""
    tag = C + ("body" if what == "message" else "status")

    def change(stanza):
        stanza.find(tag).text = "changed"
    outcome = begin(lab, answer, "es_IN", what, change)
    script = lab.first.script
    lab.first.script = lambda e: script(e) if e.attributes["session"] == lab.juliet.jid else passed(e)
    before = {f for f in lab.room() if f[0] == "occupant"}
    inner = f"<{tag.rpartition('}')[2]}>as written</{tag.rpartition('}')[2]}>"
    lab.romeo.send(f"<message type='groupchat' to='{HALL}'>{inner}</message>" if what == "message" else f"<presence to='{HALL}/romeo'>{inner}</presence>")
    lab.first.wait("es_IN", count=2)
    got = lab.settled()
    assert [s.findtext(tag) for s in got["romeo"]] == ["as written"] and got["tybalt"] == []
    assert [s.findtext(tag) for s in got["juliet"]] == {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])
    copies = [e for e in lab.first.seen("es_IN") if e.attributes["session"] == lab.juliet.jid]
    assert [e.attributes.get("copy") for e in copies] == ["muc"]
    assert {f for f in lab.room() if f[0] == "occupant"} == before


@pytest.mark.parametrize("answer", OUTCOMES)
def test_request_to_an_occupant(lab, answer):
    """Refused it is answered by an error (rule 3)."""
    outcome = begin(lab, answer, "onPacket", None, lambda s: setattr(s[0], "text", "changed"))
    script, identity = lab.first.script, f"q{next(ids)}"
    lab.first.script = lambda e: script(e) if e.stanza.get("type") == "get" else passed(e)
    lab.romeo.send(f"<iq type='get' id='{identity}' to='{HALL}/juliet'><query xmlns='urn:example:question'>as written</query></iq>")
    lab.first.wait("onPacket")
    got = lab.settled()
    if outcome.kind in ("pass", "changed"):
        assert [(s.get("from"), s.findtext(Q)) for s in got["juliet"]] == [(f"{HALL}/romeo", "as written" if outcome.kind == "pass" else "changed")] and got["romeo"] == []
        lab.juliet.send(f"<iq type='result' id='{got['juliet'][0].get('id')}' to='{HALL}/romeo'/>")
        answered = lab.romeo.next(C + "iq")
        assert (answered.get("type"), answered.get("id"), answered.get("from")) == ("result", identity, f"{HALL}/juliet")
    else:
        assert got["juliet"] == []
        told_error(got["romeo"], f"{HALL}/juliet", outcome.condition or "not-allowed", identity)


@pytest.mark.parametrize("kind", ["result", "error"])
@pytest.mark.parametrize("answer", OUTCOMES)
def test_answer_of_an_occupant(lab, kind, answer):
    """Refused it becomes an error of the same id for whoever asked (rule 3); who answered is told nothing."""
    identity = f"q{next(ids)}"
    lab.romeo.send(f"<iq type='get' id='{identity}' to='{HALL}/juliet'><query xmlns='urn:example:question'/></iq>")
    asked = lab.juliet.next(C + "iq")
    outcome = begin(lab, answer, "onPacket", None, lambda s: setattr(s[0], "text", "changed"))
    error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" if kind == "error" else ""
    lab.juliet.send(f"<iq type='{kind}' id='{asked.get('id')}' to='{HALL}/romeo'><query xmlns='urn:example:question'>as written</query>{error}</iq>")
    lab.first.wait("onPacket")
    got = lab.settled()
    assert got["juliet"] == []
    if outcome.kind in ("pass", "changed"):
        assert [(s.get("type"), s.get("id"), s.get("from"), s.findtext(Q)) for s in got["romeo"]] == \
            [(kind, identity, f"{HALL}/juliet", "as written" if outcome.kind == "pass" else "changed")]
    else:
        told_error(got["romeo"], f"{HALL}/juliet", outcome.condition or "not-allowed", identity)
        assert got["romeo"][0].find(Q) is None


@pytest.mark.parametrize("answer", OUTCOMES)
def test_error_of_a_message(lab, answer):
    """An occupant's client sends a private message back: refused it is dropped, and nobody is told (rule 1)."""
    outcome = begin(lab, answer, "onPacket", None, lambda s: setattr(s.find(C + "body"), "text", "changed"))
    lab.juliet.send(f"<message type='error' id='e' to='{HALL}/romeo'><body>as written</body><error type='cancel'>"
                    "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    lab.first.wait("onPacket")
    got = lab.settled()
    assert got["juliet"] == []
    assert [(s.get("from"), s.get("type"), text(s)) for s in got["romeo"]] == \
        [(f"{HALL}/juliet", "error", "as written" if outcome.kind == "pass" else "changed") for _ in range(outcome.kind in ("pass", "changed"))]


@pytest.mark.parametrize("event,answer", [(e, a) for e in ("onPacket", "onBeforeBroadcast") for a in OUTCOMES if a != "pass-stanza"])
def test_moderation(lab, event, answer):
    """XEP-0425: refused, the message stays in the history, and nobody sees that it was to be taken back."""
    lab.romeo.send(f"<message type='groupchat' to='{HALL}'><body>of doubtful taste</body></message>")
    mark = lab.juliet.next_message(body="of doubtful taste").find("{urn:xmpp:sid:0}stanza-id").get("id")
    lab.settled()
    before = lab.room()
    outcome = begin(lab, answer, event, None, None)
    lab.juliet.send(f"<iq type='set' id='m' to='{HALL}'><moderate xmlns='urn:xmpp:message-moderate:1' id='{mark}'><retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>")
    lab.first.wait(event)
    got = lab.settled()
    if outcome.kind == "pass":
        assert [m.find("{urn:xmpp:message-retract:1}retract").get("id") for m in got["romeo"]] == [mark]
        wanted = {f for f in before if f[-1] != "of doubtful taste" and f[0] != "history"}
        lab.room_is(wanted | {("history", len([f for f in wanted if f[0] == "kept message"]))})
    else:
        assert got["romeo"] == [] and lab.room() == before
        told_error(got["juliet"], HALL, outcome.condition or "not-allowed", "m")
        lab.iq(lab.juliet, "set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{mark}'><retract xmlns='urn:xmpp:message-retract:1'/></moderate>")
        lab.settled()


REGISTER = ("<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>"
            "<field var='muc#register_roomnick'><value>Prince</value></field></x></query>")


@pytest.mark.parametrize("answer", [a for a in OUTCOMES if a != "pass-stanza"])
def test_registration(lab, answer):
    """XEP-0045, 7.10: it makes a member, and is asked about as such."""
    before = lab.room()
    outcome = begin(lab, answer, "onBeforeChangeAffiliation", None, None)
    lab.tybalt.send(f"<iq type='set' id='r' to='{HALL}'>{REGISTER}</iq>")
    lab.first.wait("onBeforeChangeAffiliation")
    got = lab.settled()
    if outcome.kind == "pass":
        assert [s.get("type") for s in got["tybalt"]] == ["result"]
        lab.room_is(before | {(k, "tybalt@example.com", "member") for k in ("affiliation", "kept affiliation")})
        lab.begin(refused, [("onBeforeRemoveAffiliation", None, "bounce", False)])
        lab.tybalt.send(f"<iq type='set' id='r2' to='{HALL}'><query xmlns='jabber:iq:register'><remove/></query></iq>")
        lab.first.wait("onBeforeRemoveAffiliation")
        told_error(lab.settled()["tybalt"], HALL, "policy-violation", "r2")
        assert ("affiliation", "tybalt@example.com", "member") in lab.room()
        lab.iq(lab.tybalt, "set", "<query xmlns='jabber:iq:register'><remove/></query>")
        lab.settled()
    else:
        told_error(got["tybalt"], HALL, outcome.condition or "not-allowed", "r")
    lab.room_is(before)


def test_reply_of_a_compliance_server(lab):
    """HANDLE with the answer to an iq: it goes to whoever asked, from the address he used."""
    lab.begin(lambda e: handled(e, f"<iq xmlns='jabber:client' type='result' id='{e.stanza.get('id')}'><query xmlns='urn:example:question'>instead</query></iq>"),
              [("onPacket", None, "bounce", False)])
    lab.romeo.send(f"<iq type='get' id='h' to='{HALL}/juliet'><query xmlns='urn:example:question'/></iq>")
    lab.first.wait("onPacket")
    got = lab.settled()
    assert got["juliet"] == [] and [(s.get("type"), s.get("id"), s.get("from"), s.findtext(Q)) for s in got["romeo"]] == [("result", "h", f"{HALL}/juliet", "instead")]
