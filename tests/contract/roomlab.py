"""The stage of the room tests: a persistent room, "hall", with juliet (its owner) and romeo (a member) in it; tybalt is outside. What a room is, live and in the
store, is told as facts that can be compared: a refusal leaves the same ones, a change differs by exactly what was asked for."""
import sqlite3
import xml.etree.ElementTree as ET

from harness.client import condition
from harness.service import Refused, quote, wait_until
from lab import Lab, body_of

C = "{jabber:client}"
USER = "{http://jabber.org/protocol/muc#user}"
DOMAIN = "conference.example.com"
HALL = f"hall@{DOMAIN}"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


def owner_form(**fields):
    rows = "".join(f"<field var='muc#roomconfig_{k}'><value>{v}</value></field>" for k, v in fields.items())
    return ("<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>"
            f"<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{rows}</x></query>")


def item(**attributes):
    return "<item " + " ".join(f"{k}='{v}'" for k, v in attributes.items()) + "/>"


def people(*items):
    return f"<query xmlns='http://jabber.org/protocol/muc#admin'>{''.join(items)}</query>"


def codes(stanza):
    return sorted(s.get("code") for s in stanza.findall(f"{USER}x/{USER}status"))


def standing(presence):
    """affiliation and role, as a presence tells them."""
    told = presence.find(f"{USER}x/{USER}item")
    return (told.get("affiliation"), told.get("role"))


class RoomLab(Lab):
    def __init__(self, options=None):
        super().__init__({"offline.retry": 30, **(options or {})})
        self.tybalt = self.client("tybalt", "square")
        self.names = {"romeo": self.romeo, "juliet": self.juliet, "tybalt": self.tybalt}
        self.enter(self.juliet, "juliet")
        self.iq(self.juliet, "set", owner_form(persistentroom=1, roomname="Hall", changesubject=1))
        self.iq(self.juliet, "set", people(item(affiliation="member", jid=self.romeo.bare)))
        self.enter(self.romeo, "romeo")
        self.juliet.send(f"<message type='groupchat' to='{HALL}'><body>long ago</body></message>")
        self.juliet.send(f"<message type='groupchat' to='{HALL}'><subject>old</subject></message>")
        self.settled()
        wait_until("the subject in the store", lambda: ("kept subject", "old") in self.kept(HALL))

    def iq(self, client, kind, payload, to=HALL, identity=None):
        answer = client.iq(kind, payload, to=to, identity=identity)
        assert answer.get("type") == "result", ET.tostring(answer)
        return answer

    @staticmethod
    def enter(client, nick, room=HALL, extra=MUC):
        client.send(f"<presence to='{room}/{nick}'>{extra}</presence>")
        answer = client.next(C + "presence", match=lambda p: p.get("from") == f"{room}/{nick}" and (p.get("type") == "error" or "110" in codes(p)))
        assert answer.get("type") is None, ET.tostring(answer)

    def settled(self):
        """All that was under way has come; what each of them got meanwhile. Nobody is asked about anything any more."""
        self.rows()
        self.service.quiet()
        got = {}
        for name, client in self.names.items():
            for room in (HALL, f"den@{DOMAIN}"): # behind all that is under way in the room, and behind what was sent to the client
                client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=room)
            client.iq("get", "<query xmlns='jabber:iq:roster'/>")
            got[name] = list(client.got)
            client.got.clear()
        return got

    def room(self, name=HALL):
        """What there is of a room: live, and in the store. Empty: there is no such room."""
        facts = set()
        path = f"/v1/rooms/{quote(name)}"
        try:
            shown = self.service.get(path)
            facts |= {("config", key, str(value)) for key, value in shown["config"].items() if key != "maxhistoryfetch"} | {("state", shown["state"])}
            facts |= {("occupant", o["nick"], o["user"], o["role"], tuple(o["sessions"])) for o in self.service.get(path + "/occupants")["occupants"]}
            facts |= {("affiliation", a["jid"], a["affiliation"]) for a in self.service.get(path + "/affiliations")["affiliations"]}
            facts |= {("history", shown["history"])}
        except Refused as e:
            assert e.status == 404
        facts |= {("listed", r["occupants"]) for r in self.service.get("/v1/rooms")["rooms"] if r["room"] == name}
        return facts | self.kept(name)

    def kept(self, name):
        db = sqlite3.connect(f"file:{self.service.dir}/data/store.db?mode=ro", uri=True)
        try:
            facts = {("kept affiliation", *row) for row in db.execute("SELECT jid, affiliation FROM room_affiliated AS a JOIN room AS r ON a.room = r.id WHERE r.room = ?", (name,))}
            for room, config, subject in db.execute("SELECT id, config, subject FROM room WHERE room = ?", (name,)):
                facts |= {("kept config", config), ("kept subject", ET.fromstring(subject).findtext(C + "subject") if subject else None)}
                facts |= {("kept message", i, body_of(s)) for i, (s,) in enumerate(db.execute("SELECT stanza FROM room_past WHERE room = ? ORDER BY id", (room,)))}
        finally:
            db.close()
        return facts

    def room_is(self, wanted, name=HALL):
        """Some of what is kept follows a moment after what is told."""
        try:
            wait_until("the room", lambda: self.room(name) == wanted, 3)
        except AssertionError:
            now = self.room(name)
            raise AssertionError(f"gone from the room: {wanted - now}; come: {now - wanted}") from None


def told_error(stanzas, sender, condition_wanted, identity=None):
    """Exactly one stanza, an error from the address that was used."""
    assert [s.get("type") for s in stanzas] == ["error"], [ET.tostring(s) for s in stanzas]
    assert stanzas[0].get("from") == sender and condition(stanzas[0]) == condition_wanted, ET.tostring(stanzas[0])
    assert identity is None or stanzas[0].get("id") == identity


__all__ = [n for n in dir() if not n.startswith("_")]
