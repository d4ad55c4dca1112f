"""Every event of text conferencing with every answer it may get: what the requester, every occupant, the room, its history, the store and the next profile of the
chain see. A refusal leaves the room as if the request had never come; a change is what everybody gets. EVENTS.md, "TC events"."""
import copy
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from harness.client import condition, ids, text
from harness.compliance import passed_with
from harness.service import wait_until
from lab import ANSWERS, CATALOGUE, Outcome, expected, raised_in_source
from roomlab import C, DOMAIN, HALL, MUC, USER, RoomLab, codes, item, owner_form, people, standing, told_error

INFO = "http://jabber.org/protocol/disco#info"
DEN = f"den@{DOMAIN}"
# What is the same for every event (odd conditions, changed addresses) is played where an answer may do most.
FEW = [a for a in ANSWERS if a not in ("unknown-condition", "readdressed-pass", "retyped-bounce", "retyped-pass", "handle-pass", "pass-stanza-pass", "shadow-error-pass",
                                       "shadow-handle", "shadow-silence", "shadow-invalid")]


@pytest.fixture(scope="module")
def lab():
    lab = RoomLab()
    yield lab
    lab.close()


def written(outcome):
    return {"pass": "as written", "changed": "changed"}[outcome.kind]


class Driver:
    """What raises events. act() does it; changed() is what an answer makes of the subject; done() checks what everybody sees when it passed, not_done() when not;
    now() is the room as it is then. Who asks is `who`; what he sent is a `kind` with the address `to`."""
    events, who, to, kind, room = (), "romeo", HALL, "message", HALL
    mail = () # what is stored for somebody who is told of it later

    def prepare(self, lab):
        pass

    def now(self, lab, before, outcome):
        return before

    def changed(self, stanza):
        stanza.find(C + "body").text = "changed"

    def not_done(self, lab, outcome, got):
        wanted = outcome.condition if outcome.kind == "refuse" else "not-allowed" if self.kind != "message" else None # rules 3 and 7
        if wanted is not None:
            told_error(got[self.who], self.to, wanted)
        else:
            assert got[self.who] == []
        assert [name for name in got if name != self.who and got[name]] == [], "nobody else sees anything"

    def clean_up(self, lab):
        pass


class Groupchat(Driver):
    """A message to all."""
    events = ("onPacket", "onBeforeSend", "onBeforeBroadcast")

    def act(self, lab):
        self.identity = f"g{next(ids)}"
        lab.romeo.send(f"<message type='groupchat' to='{HALL}' id='{self.identity}'><body>as written</body></message>")

    def check_event(self, lab, event, seen):
        out = event == "onBeforeBroadcast"
        assert seen.stanza.get("from") == (f"{HALL}/romeo" if out else lab.romeo.jid) and seen.stanza.get("to") == (None if out else HALL)
        if out:
            assert seen.stanza.find("{urn:xmpp:occupant-id:0}occupant-id") is not None and seen.stanza.find("{urn:xmpp:sid:0}stanza-id").get("by") == HALL

    def done(self, lab, outcome, got):
        for name in ("romeo", "juliet"):
            assert [(m.get("from"), m.get("id"), text(m)) for m in got[name]] == [(f"{HALL}/romeo", self.identity, written(outcome))]
        assert got["tybalt"] == []

    def now(self, lab, before, outcome):
        n = len([f for f in before if f[0] == "kept message"])
        return {f for f in before if f != ("history", n)} | {("history", n + 1), ("kept message", n, written(outcome))}

    def prepare(self, lab):
        """A short history, which has room for one more."""
        if len([f for f in lab.kept(HALL) if f[0] == "kept message"]) > 12:
            for value in (0, 20):
                lab.iq(lab.juliet, "set", owner_form().replace("</x>", f"<field var='muc#maxhistoryfetch'><value>{value}</value></field></x>"))
            lab.juliet.send(f"<message type='groupchat' to='{HALL}'><body>long ago</body></message>")
            lab.settled()
            lab.room_is((lab.room() - {("history", 0)}) | {("history", 1), ("kept message", 0, "long ago")})


class Private(Driver):
    """A message to one occupant."""
    events, to = ("onPacket", "onBeforeSend"), f"{HALL}/juliet"

    def act(self, lab):
        self.identity = f"p{next(ids)}"
        lab.romeo.send(f"<message type='chat' to='{self.to}' id='{self.identity}'><body>as written</body></message>")

    def check_event(self, lab, event, seen):
        assert (seen.stanza.get("from"), seen.stanza.get("to")) == (lab.romeo.jid, self.to)

    def done(self, lab, outcome, got):
        assert got["romeo"] == [] and got["tybalt"] == []
        assert [(m.get("from"), m.get("to"), m.get("id"), text(m)) for m in got["juliet"]] == [(f"{HALL}/romeo", lab.juliet.jid, self.identity, written(outcome))]


class Subject(Driver):
    """A new subject."""
    events = ("onBeforeSubject", "onBeforeBroadcast", "onAfterSubject")

    def act(self, lab):
        self.subject = f"as written {next(ids)}"
        lab.romeo.send(f"<message type='groupchat' to='{HALL}' id='s'><subject>{self.subject}</subject></message>")

    def changed(self, stanza):
        stanza.find(C + "subject").text = "changed"

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == (f"{HALL}/romeo" if event == "onBeforeBroadcast" else lab.romeo.jid)
        assert seen.stanza.findtext(C + "subject") == self.subject

    def told(self, outcome):
        return self.subject if outcome.kind == "pass" else "changed"

    def done(self, lab, outcome, got):
        for name in ("romeo", "juliet"):
            assert [(m.get("from"), m.findtext(C + "subject"), text(m)) for m in got[name]] == [(f"{HALL}/romeo", self.told(outcome), None)]
        assert got["tybalt"] == []

    def now(self, lab, before, outcome):
        return {f for f in before if f[0] != "kept subject"} | {("kept subject", self.told(outcome))}


class Status(Driver):
    """An occupant's status."""
    events, to, kind = ("onBeforeChangeUser", "onAfterChangeUser"), f"{HALL}/romeo", "presence"

    def act(self, lab):
        lab.romeo.send(f"<presence to='{self.to}'><status>as written</status></presence>")

    def changed(self, stanza):
        stanza.find(C + "status").text = "changed"

    def check_event(self, lab, event, seen):
        after = event == "onAfterChangeUser"
        assert seen.stanza.get("from") == (f"{HALL}/romeo" if after else lab.romeo.jid)
        if after:
            told = seen.stanza.find(f"{USER}x/{USER}item")
            assert (told.get("jid"), told.get("affiliation"), told.get("role")) == (lab.romeo.jid, "member", "participant")

    def done(self, lab, outcome, got):
        for name in ("romeo", "juliet"):
            assert [(p.get("from"), p.findtext(C + "status"), codes(p)) for p in got[name]] == [(f"{HALL}/romeo", written(outcome), ["110"] if name == "romeo" else [])]


class Nick(Status):
    """An occupant's nick."""
    events, to = ("onBeforeChangeUser", "onAfterChangeUser"), f"{HALL}/montague"

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("to" if event == "onBeforeChangeUser" else "from") == self.to

    def done(self, lab, outcome, got):
        for name in ("romeo", "juliet"):
            assert [(p.get("from"), p.get("type"), p.findtext(C + "status")) for p in got[name]] == [(f"{HALL}/romeo", "unavailable", None), (self.to, None, written(outcome))]
            assert "303" in codes(got[name][0]) and got[name][0].find(f"{USER}x/{USER}item").get("nick") == "montague"

    def now(self, lab, before, outcome):
        return {("occupant", "montague", *f[2:]) if f[:2] == ("occupant", "romeo") else f for f in before}

    def clean_up(self, lab):
        lab.romeo.send(f"<presence to='{HALL}/romeo'/>")
        lab.settled()


class Role(Driver):
    """Voice is taken from an occupant."""
    events, who, kind = ("onBeforeChangeUser", "onAfterChangeUser"), "juliet", "iq"

    def act(self, lab):
        lab.juliet.send(f"<iq type='set' to='{HALL}' id='k{next(ids)}'>{people(item(nick='romeo', role='visitor'))}</iq>")

    def changed(self, stanza):
        stanza[0][0].set("role", "moderator")

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == (lab.juliet.jid if event == "onBeforeChangeUser" else f"{HALL}/romeo")

    def done(self, lab, outcome, got):
        self.role = {"pass": "visitor", "changed": "moderator"}[outcome.kind]
        assert [standing(p) for p in got["romeo"]] == [("member", self.role)] and codes(got["romeo"][0]) == ["110"]
        assert [s.get("type") for s in got["juliet"] if s.tag == C + "iq"] == ["result"]
        assert [standing(s) for s in got["juliet"] if s.tag != C + "iq"] == [("member", self.role)]
        assert got["tybalt"] == []

    def now(self, lab, before, outcome):
        return {(*f[:3], self.role, f[4]) if f[:2] == ("occupant", "romeo") else f for f in before}

    def clean_up(self, lab):
        lab.iq(lab.juliet, "set", people(item(nick="romeo", role="participant")))
        lab.settled()


class Kick(Driver):
    """An occupant is put out."""
    events, who, kind = ("onBeforeChangeUser", "onLeave", "onAfterChangeUser"), "juliet", "iq"

    def prepare(self, lab):
        lab.enter(lab.tybalt, "tybalt")
        lab.settled()

    def act(self, lab):
        lab.juliet.send(f"<iq type='set' to='{HALL}' id='k{next(ids)}'>{people('''<item nick='tybalt' role='none'><reason>as written</reason></item>''')}</iq>")

    def changed(self, stanza):
        reasons = [e for e in stanza.iter() if e.tag.endswith("}reason")] or [ET.SubElement(stanza, C + "status")]
        reasons[0].text = "changed"

    def check_event(self, lab, event, seen):
        wanted = {"onBeforeChangeUser": lab.juliet.jid, "onLeave": lab.tybalt.jid, "onAfterChangeUser": f"{HALL}/tybalt"}
        assert seen.stanza.get("from") == wanted[event]
        if event != "onBeforeChangeUser":
            assert seen.stanza.get("type") == "unavailable"

    def done(self, lab, outcome, got):
        for name, told in got.items():
            gone = [p for p in told if p.tag == C + "presence"]
            assert [(p.get("from"), p.get("type"), standing(p)) for p in gone] == [(f"{HALL}/tybalt", "unavailable", ("none", "none"))]
            assert "307" in codes(gone[0]) and next(gone[0].iter(USER + "reason")).text == written(outcome)
        assert [s.get("type") for s in got["juliet"] if s.tag == C + "iq"] == ["result"]

    def now(self, lab, before, outcome):
        return {("listed", 2) if f == ("listed", 3) else f for f in before if f[:2] != ("occupant", "tybalt")}

    def clean_up(self, lab):
        lab.tybalt.send(f"<presence type='unavailable' to='{HALL}/tybalt'/>")
        lab.settled()


class Leave(Driver):
    """An exit is never refused (rule 4): then it says nothing more."""
    events, who, to, kind = ("onPacket", "onBeforeChangeUser", "onLeave", "onAfterChangeUser"), "tybalt", f"{HALL}/tybalt", "presence"
    prepare, clean_up, now = Kick.prepare, Kick.clean_up, Kick.now

    def act(self, lab):
        lab.tybalt.send(f"<presence type='unavailable' to='{self.to}'><status>as written</status></presence>")

    def changed(self, stanza):
        stanza.find(C + "status").text = "changed"

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("type") == "unavailable" and seen.stanza.get("from") == (f"{HALL}/tybalt" if event == "onAfterChangeUser" else lab.tybalt.jid)

    def done(self, lab, outcome, got):
        for told in got.values():
            assert [(p.get("from"), p.get("type"), p.findtext(C + "status")) for p in told] == [(self.to, "unavailable", {"pass": "as written", "changed": "changed"}.get(outcome.kind))]

    def not_done(self, lab, outcome, got):
        self.done(lab, outcome, got)


class Join(Driver):
    """Somebody enters a room that is there."""
    events, who, to, kind = ("onPacket", "onBeforeJoin", "onBeforeChangeUser", "onAfterChangeUser", "onAfterJoin", "onHistory"), "tybalt", f"{HALL}/tybalt", "presence"

    def act(self, lab):
        lab.tybalt.send(f"<presence to='{self.to}' id='j'>{MUC}<status>as written</status></presence>")

    def changed(self, stanza):
        stanza.find(C + "status").text = "changed"

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == (f"{HALL}/tybalt" if event == "onAfterChangeUser" else lab.tybalt.jid)

    def done(self, lab, outcome, got):
        for name in ("romeo", "juliet"):
            assert [(p.get("from"), p.findtext(C + "status"), standing(p)) for p in got[name]] == [(self.to, written(outcome), ("none", "participant"))]
        mine = got["tybalt"]
        presences = [p for p in mine if p.tag == C + "presence"]
        assert {p.get("from") for p in presences[:-1]} == {f"{HALL}/juliet", f"{HALL}/romeo"}
        assert presences[-1].get("from") == self.to and "110" in codes(presences[-1]) and mine[:3] == presences
        assert len(mine) > 4 and all(m.find("{urn:xmpp:delay}delay") is not None for m in mine[3:]) and mine[-1].findtext(C + "subject") is not None, "the history, then the subject"

    def now(self, lab, before, outcome):
        return {f for f in before if f[0] != "listed"} | {("listed", 3), ("occupant", "tybalt", "tybalt@example.com", "participant", (lab.tybalt.jid,))}

    clean_up = Kick.clean_up


class Create(Driver):
    """A first join makes the room."""
    events, who, to, kind, room = ("onServicePacket", "onBeforeRoomCreate", "onBeforeJoin", "onBeforeChangeUser", "onAfterRoomCreate"), "tybalt", f"{DEN}/tybalt", "presence", DEN

    def act(self, lab):
        lab.tybalt.send(f"<presence to='{self.to}' id='j'>{MUC}<status>as written</status></presence>")

    changed = Join.changed

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == lab.tybalt.jid

    def done(self, lab, outcome, got):
        assert got["romeo"] == got["juliet"] == []
        assert [(p.get("from"), p.findtext(C + "status"), standing(p), codes(p)) for p in got["tybalt"][:1]] == [(self.to, written(outcome), ("owner", "moderator"), ["110", "201"])]

    def now(self, lab, before, outcome):
        assert before == set()
        now = lab.room(DEN)
        assert ("state", "locked") in now and ("listed", 1) in now
        assert {f for f in now if f[0] in ("occupant", "affiliation")} == {
            ("occupant", "tybalt", "tybalt@example.com", "moderator", (lab.tybalt.jid,)), ("affiliation", "tybalt@example.com", "owner")}
        return now

    def clean_up(self, lab):
        lab.tybalt.send(f"<presence type='unavailable' to='{self.to}'/>")
        lab.settled()
        lab.room_is(set(), DEN)


class Affiliation(Driver):
    """Somebody who is not there is made a member."""
    events, who, kind = ("onBeforeChangeAffiliation", "onAfterChangeAffiliation"), "juliet", "iq"
    jid, wanted, other = "nurse@example.com", "member", "outcast"
    mail = ("offline", "nurse@example.com") # 9.1, 9.4: status 101

    def set(self, lab, affiliation):
        lab.iq(lab.juliet, "set", people(item(affiliation=affiliation, jid=self.jid)))

    def act(self, lab):
        lab.juliet.send(f"<iq type='set' to='{HALL}' id='a{next(ids)}'>{people(item(affiliation=self.wanted, jid=self.jid))}</iq>")

    def changed(self, stanza):
        stanza[0][0].set("affiliation", self.other)

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == lab.juliet.jid and seen.stanza[0][0].get("jid") == self.jid and len(seen.stanza[0]) == 1

    def becomes(self, outcome):
        return self.wanted if outcome.kind == "pass" else self.other

    def done(self, lab, outcome, got):
        told = [s.find(f"{USER}x/{USER}item") for s in got["juliet"] if s.tag == C + "message"]
        assert [(t.get("jid"), t.get("affiliation")) for t in told] == [(self.jid, self.becomes(outcome))]
        assert [s.get("type") for s in got["juliet"] if s.tag == C + "iq"] == ["result"] and len(got["juliet"]) == 2
        assert got["romeo"] == got["tybalt"] == [], "who may not know addresses is not told of one"

    def now(self, lab, before, outcome):
        new = self.becomes(outcome)
        rest = {f for f in before if self.jid not in f}
        return rest | ({("affiliation", self.jid, new), ("kept affiliation", self.jid, new)} if new != "none" else set())

    def clean_up(self, lab):
        self.set(lab, "none")
        lab.settled()


class Removal(Affiliation):
    """A member is none any more."""
    events, wanted, other = ("onBeforeRemoveAffiliation", "onAfterRemoveAffiliation"), "none", "none"

    def prepare(self, lab):
        self.set(lab, "member")
        lab.settled()

    def changed(self, stanza):
        ET.SubElement(stanza[0][0], "{http://jabber.org/protocol/muc#admin}reason").text = "changed"


class Ban(Driver):
    """An occupant is banned."""
    events, who, kind = ("onBeforeChangeAffiliation", "onAfterChangeAffiliation", "onLeave", "onAfterChangeUser"), "juliet", "iq"
    prepare = Kick.prepare

    def act(self, lab):
        lab.juliet.send(f"<iq type='set' to='{HALL}' id='a{next(ids)}'>"
                        f"{people('''<item affiliation='outcast' jid='tybalt@example.com'><reason>as written</reason></item>''')}</iq>")

    changed = Kick.changed

    def check_event(self, lab, event, seen):
        wanted = {"onLeave": lab.tybalt.jid, "onAfterChangeUser": f"{HALL}/tybalt"}
        assert seen.stanza.get("from") == wanted.get(event, lab.juliet.jid)

    def done(self, lab, outcome, got):
        for name, told in got.items():
            gone = [p for p in told if p.tag == C + "presence"]
            assert [(p.get("from"), p.get("type"), standing(p)) for p in gone] == [(f"{HALL}/tybalt", "unavailable", ("outcast", "none"))]
            assert "301" in codes(gone[0]) and next(gone[0].iter(USER + "reason")).text == written(outcome)
        assert [s.get("type") for s in got["juliet"] if s.tag == C + "iq"] == ["result"]

    def now(self, lab, before, outcome):
        outcast = {(k, "tybalt@example.com", "outcast") for k in ("affiliation", "kept affiliation")}
        return {("listed", 2) if f == ("listed", 3) else f for f in before if f[:2] != ("occupant", "tybalt")} | outcast

    def clean_up(self, lab):
        lab.iq(lab.juliet, "set", people(item(affiliation="none", jid="tybalt@example.com")))
        Kick.clean_up(self, lab)


class Configure(Driver):
    """An owner submits a configuration."""
    events, who, kind = ("onBeforeMetaInfoSet", "onAfterMetaInfoSet"), "juliet", "iq"

    def act(self, lab):
        lab.juliet.send(f"<iq type='set' to='{HALL}' id='c{next(ids)}'>{owner_form(roomdesc='as written')}</iq>")

    def changed(self, stanza):
        next(f for f in stanza.iter("{jabber:x:data}field") if f.get("var").endswith("roomdesc"))[0].text = "changed"

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == lab.juliet.jid and seen.stanza.get("to") == HALL

    def done(self, lab, outcome, got):
        assert [codes(m) for m in got["romeo"]] == [["104"]]
        assert sorted((s.tag, s.get("type")) for s in got["juliet"]) == [(C + "iq", "result"), (C + "message", "groupchat")]

    def now(self, lab, before, outcome):
        now = lab.room()
        assert ("config", "roomdesc", written(outcome)) in now and any(f[0] == "kept config" and f'"{written(outcome)}"' in f[1] for f in now)
        assert {f for f in now if "config" not in f[0]} == {f for f in before if "config" not in f[0]}
        return now

    def clean_up(self, lab):
        lab.iq(lab.juliet, "set", owner_form(roomdesc=""))
        lab.settled()


class Read(Driver):
    """Somebody looks: it is answered whatever is said."""
    kind = "iq"

    def __init__(self, events, who, to, payload, refused_to=()):
        self.events, self.who, self.to, self.payload = events, who, to, payload

    def act(self, lab):
        self.identity = f"q{next(ids)}"
        lab.names[self.who].send(f"<iq type='get' to='{self.to}' id='{self.identity}'>{self.payload}</iq>")

    def changed(self, stanza):
        stanza[0].set("node", "changed")

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == lab.names[self.who].jid and seen.stanza.get("to") == self.to

    def done(self, lab, outcome, got):
        if outcome.kind == "changed": # a node that is not there
            told_error(got[self.who], self.to, "item-not-found", self.identity)
        else:
            assert [(s.get("type"), s.get("id"), s.get("from"), len(s)) for s in got[self.who]] == [("result", self.identity, self.to, 1)] and len(got[self.who][0][0]) > 0
        assert [name for name in got if name != self.who and got[name]] == []


class Invite(Driver):
    """romeo invites tybalt through the room."""
    events = ("onBeforeInvite", "onAfterInvite")

    def act(self, lab):
        lab.romeo.send(f"<message to='{HALL}' id='v'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='tybalt@example.com'><reason>as written</reason></invite></x></message>")

    def changed(self, stanza):
        next(stanza.iter(USER + "reason")).text = "changed"

    def check_event(self, lab, event, seen):
        assert (seen.stanza.get("from"), seen.stanza.get("to")) == (lab.romeo.jid, HALL)
        assert seen.stanza.find(f"{USER}x/{USER}invite").get("to") == "tybalt@example.com"

    def done(self, lab, outcome, got):
        assert got["romeo"] == got["juliet"] == []
        assert [m.get("from") for m in got["tybalt"]] == [HALL] and next(got["tybalt"][0].iter(USER + "reason")).text == written(outcome)


class Close(Driver):
    """The last one leaves a temporary room, and the service would have it closed. Nobody asked for it, so nobody is told."""
    events, room = ("onClose",), DEN

    def prepare(self, lab):
        lab.enter(lab.tybalt, "tybalt", DEN)
        lab.iq(lab.tybalt, "set", owner_form(), to=DEN)
        lab.settled()

    def act(self, lab):
        lab.tybalt.send(f"<presence type='unavailable' to='{DEN}/tybalt'/>")

    def changed(self, stanza):
        ET.SubElement(stanza[0][0], "{http://jabber.org/protocol/muc#owner}reason").text = "changed"

    def check_event(self, lab, event, seen):
        assert (seen.stanza.tag, seen.stanza.get("type"), seen.stanza.get("from"), seen.stanza.get("to")) == (C + "iq", "set", DOMAIN, DEN)

    def done(self, lab, outcome, got):
        assert got["romeo"] == got["juliet"] == [] and [p.get("type") for p in got["tybalt"]] == ["unavailable"]

    def not_done(self, lab, outcome, got):
        self.done(lab, outcome, got)

    def now(self, lab, before, outcome):
        return set()

    def left(self, before):
        return {("listed", 0) if f == ("listed", 1) else f for f in before if f[0] != "occupant"}

    def clean_up(self, lab):
        if lab.room(DEN):
            self.prepare(lab)
            self.act(lab)
            lab.settled()
        lab.room_is(set(), DEN)


class Destroy(Driver):
    """An owner destroys his room."""
    events, who, to, kind, room = ("onDestroy", "onLeave"), "tybalt", DEN, "iq", DEN
    prepare = Close.prepare

    def act(self, lab):
        lab.tybalt.send(f"<iq type='set' to='{DEN}' id='d'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy><reason>as written</reason></destroy></query></iq>")

    def changed(self, stanza):
        stanza.set("id", "d")

    def check_event(self, lab, event, seen):
        assert seen.stanza.get("from") == lab.tybalt.jid

    def done(self, lab, outcome, got):
        assert [s.get("type") for s in got["tybalt"]] == ["unavailable", "result"] and next(got["tybalt"][0].iter(USER + "reason")).text == "as written"
        assert got["romeo"] == got["juliet"] == []

    def now(self, lab, before, outcome):
        return set()


DRIVERS = {
    "groupchat": Groupchat(), "private": Private(), "subject": Subject(), "status": Status(), "nick": Nick(), "role": Role(), "kick": Kick(), "leave": Leave(),
    "join": Join(), "create": Create(), "affiliation": Affiliation(), "removal": Removal(), "ban": Ban(), "configure": Configure(), "invite": Invite(), "close": Close(),
    "destroy": Destroy(),
    "service": Read(("onServicePacket", "onServiceDiscoInfo"), "romeo", DOMAIN, f"<query xmlns='{INFO}'/>"),
    "examine": Read(("onPacket", "onExamineRoom"), "tybalt", HALL, f"<query xmlns='{INFO}'/>"),
    "form": Read(("onMetaInfoGet",), "juliet", HALL, "<query xmlns='http://jabber.org/protocol/muc#owner'/>"),
}
RELOADED = {"onServiceReconfig"} # test_reload
PAIRS = [(name, event) for name, driver in DRIVERS.items() for event in driver.events]


def answers_of(event, first):
    """All of them once for each event; for what is played with a second driver, those that differ most."""
    if not first:
        return ("pass-stanza", "handle", "error-bounce", "silence-pass", "forget-bounce")
    return ANSWERS if CATALOGUE[event]["answers"] == "ANY" and event in ("onPacket", "onBeforeBroadcast") else FEW


CASES = [(name, event, answer) for i, (name, event) in enumerate(PAIRS) for answer in answers_of(event, event not in [e for _, e in PAIRS[:i]])]


def test_catalogue():
    """Each event of text conferencing is raised by a driver here; and what is raised in the source is what the catalogue has."""
    events = {name for name, row in CATALOGUE.items() if row["service"] == "TC"}
    assert len(events) == 28 and {event for _, event in PAIRS} | RELOADED == events
    assert raised_in_source() == set(CATALOGUE)


def ignored(event, answer):
    """A stanza in the answer, where one has no meaning."""
    return CATALOGUE[event]["answers"] == "PASS" and answer.split("-bounce")[0].split("-pass")[0] in ("readdressed", "retyped")


def invalid(event, answer):
    """Answers that the event does not allow."""
    odd = answer.startswith(("invalid", "shadow-invalid")) or (answer.startswith(("readdressed", "retyped")) and not ignored(event, answer))
    stanza_in_it = answer.removeprefix("shadow-") in ("pass-stanza", "pass-stanza-pass") and CATALOGUE[event]["answers"] in ("PASS_UNMODIFIED", "PASS_EMPTY")
    return odd or stanza_in_it


def would_be(event, answer):
    """What a shadow row counts: by the Handling and what the event allows, as if it were enforced."""
    if not answer.startswith("shadow-"):
        return Counter()
    refusable, answers = CATALOGUE[event]["refusable"], CATALOGUE[event]["answers"]
    if invalid(event, answer) or answer == "shadow-silence":
        return Counter(["outage" if refusable else "unlogged"])
    return Counter([{"shadow-pass": "pass", "shadow-error-pass": "pass", "shadow-pass-stanza": "change" if answers == "ANY" else "pass",
                     "shadow-handle": "handle" if refusable else "pass", "shadow-error-bounce": "refuse" if refusable else "pass"}[answer]])


def outcome_of(event, answer):
    outcome = expected(event, answer)
    return Outcome("pass") if outcome.kind == "changed" and CATALOGUE[event]["answers"] != "ANY" else outcome


def script_of(driver, answer):
    def change(event):
        stanza = copy.deepcopy(event.stanza)
        driver.changed(stanza)
        return passed_with(event, ET.tostring(stanza, encoding="unicode"))
    return ANSWERS[answer][0] or change


@pytest.mark.parametrize("name,event,answer", CASES)
def test_answer(lab, name, event, answer):
    driver, outcome = DRIVERS[name], outcome_of(event, answer)
    _, handling, forget, _ = ANSWERS[answer]
    driver.prepare(lab)
    before, stored, invalids, would, late = lab.room(driver.room), lab.store(), lab.invalid(), lab.shadow(), lab.late()
    lab.begin(script_of(driver, answer), [(event, None, handling, forget)], [(event, None, "bounce", False)])
    driver.act(lab)
    seen = lab.first.wait(event)
    if outcome.kind in ("pass", "changed"):
        lab.second.wait(event)
    got = lab.settled()
    try:
        check(lab, driver, event, answer, outcome, seen, got, before)
        assert lab.invalid() - invalids == (1 if invalid(event, answer) else 0) and lab.late() == late
        assert lab.shadow() - would == would_be(event, answer)
        assert [f for f in lab.store() if f not in stored and f[:2] != driver.mail] == []
    finally:
        driver.clean_up(lab)


def check(lab, driver, event, answer, outcome, seen, got, before):
    one = seen[0]
    assert len(seen) == 1 and lab.first.seen() == seen, "asked once, about this event only"
    assert one.attributes["room"] == (DOMAIN if driver.to == DOMAIN else driver.room) == one.attributes["key"]
    assert one.attributes["node"] == "node1.example.com" and one.attributes["profile"] == "First" and "session" not in one.attributes and "copy" not in one.attributes
    assert one.awaited is (ANSWERS[answer][2] is not True)
    driver.check_event(lab, event, one)
    second = lab.second.seen(event)
    if outcome.kind in ("pass", "changed"):
        assert [e.stanza_id for e in second] == [one.stanza_id]
        driver.done(lab, outcome, got)
        lab.room_is(driver.now(lab, before, outcome), driver.room)
        return
    assert second == [], "the chain has ended"
    driver.not_done(lab, outcome, got)
    leaves = event in ("onPacket", "onBeforeChangeUser") and isinstance(driver, Leave)
    lab.room_is(driver.now(lab, before, outcome) if leaves else driver.left(before) if isinstance(driver, Close) else before, driver.room)


@pytest.mark.parametrize("answer", FEW)
def test_reload(lab, answer):
    """SIGHUP, or POST /v1/reload: onServiceReconfig, a notification; nobody waits, and nothing comes of an answer."""
    _, handling, forget, _ = ANSWERS[answer]
    before, invalids = lab.room(), lab.invalid()
    lab.begin(ANSWERS["pass"][0], [("onServiceReconfig", None, handling, forget)], [("onServiceReconfig", None, "bounce", False)])
    lab.service.request("POST", "/v1/reload")
    one = lab.first.wait("onServiceReconfig")[0]
    lab.second.wait("onServiceReconfig")
    assert not one.awaited and one.attributes["room"] == DOMAIN == one.attributes["key"]
    assert one.stanza.tag == C + "iq" and (one.stanza.get("type"), one.stanza.get("from"), one.stanza.get("to")) == ("set", DOMAIN, DOMAIN)
    answers = lab.service.metric("link_answers_total")
    one.iq_id = "e999999999" # nobody waits for one
    lab.first.send(ANSWERS[answer][0](one) or "" if ANSWERS[answer][0] is not None else passed_with(one, ET.tostring(one.stanza, encoding="unicode")))
    assert lab.settled() == {"romeo": [], "juliet": [], "tybalt": []} and lab.room() == before and lab.invalid() == invalids
    assert len(lab.first.seen()) == 1
    if ANSWERS[answer][0] is None or ANSWERS[answer][0].__name__ != "silent":
        wait_until("the answer's count", lambda: lab.service.metric("link_answers_total") == answers + 1)
