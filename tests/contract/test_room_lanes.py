"""A room's lane: nobody waits for others' answers longer than order asks for, rooms don't wait for each other, all occupants see one order; and what is held is
judged by the room as it is when its turn has come: nobody who was cut, kicked or banned meanwhile, and no room that was destroyed, leaves a ghost."""
import random
import threading
import time

import pytest

from harness.client import condition, text
from harness.compliance import passed, refused
from harness.service import SLOW, wait_until
from lab import silent
from roomlab import C, DOMAIN, HALL, MUC, USER, RoomLab, codes, item, owner_form, people, told_error
from test_rooms import DEN

JOINERS = 48
DELAY = 0.05


@pytest.fixture(scope="module")
def lab():
    lab = RoomLab({"broker.event_timeout": 30000})
    lab.enter(lab.tybalt, "tybalt", DEN)
    lab.iq(lab.tybalt, "set", owner_form(persistentroom=1), to=DEN)
    lab.settled()
    yield lab
    lab.close()


class Held:
    """A script that keeps what it is asked; let() answers it."""

    def __init__(self, lab, *rows):
        self.lab, self.events = lab, []
        lab.begin(self.take, [(name, None, "bounce", False) for name in rows])

    def take(self, event):
        self.events.append(event)

    def wait(self, n=1):
        wait_until("what is to be held", lambda: len(self.events) >= n)
        return self.events

    def let(self, answer=passed):
        self.lab.first.script = passed
        self.lab.first.send("".join(answer(e) for e in self.events))


def occupants(lab, room=HALL):
    return sorted(f[1] for f in lab.room(room) if f[0] == "occupant")


# ---- waiting ----
def test_many_joins(lab):
    """Each join asks three times, and the server is 50 ms away. One after the other would take seconds by the dozen; together they take little more than one."""
    clients = [lab.client(("romeo", "juliet", "tybalt", "nurse")[i % 4], f"crowd{i}", presence=False) for i in range(JOINERS)]
    lab.begin(passed, [(name, None, "bounce", False) for name in ("onPacket", "onBeforeJoin", "onBeforeChangeUser")])
    lab.first.delay = DELAY
    try:
        since = time.monotonic()
        for i, client in enumerate(clients):
            client.send(f"<presence to='{DEN}/crowd{i}'>{MUC}</presence>")
        lab.first.wait("onBeforeChangeUser", count=JOINERS, seconds=20)
        took = time.monotonic() - since
    finally:
        lab.first.delay = 0
    later = [] # each of them, and whom he saw enter after himself
    for i, client in enumerate(clients):
        client.until(lambda p: p.tag == C + "presence" and "110" in codes(p))
        client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=DEN)
        later.append([f"{DEN}/crowd{i}", *(p.get("from") for p in client.got if p.tag == C + "presence")])
    alone = JOINERS * 3 * DELAY
    assert took < alone / 3, f"{took:.2f} s for what takes {alone:.1f} s one by one"
    assert len(occupants(lab, DEN)) == JOINERS + 1
    for client in clients:
        client.close()
    entered = max(later, key=len)
    assert len(entered) == JOINERS and all(entered[-len(view):] == view for view in later), "all saw the same order"
    lab.settled()
    wait_until("the crowd's end", lambda: occupants(lab, DEN) == ["tybalt"])
    lab.settled()


def test_rooms_apart(lab):
    """What one room waits for holds no other room."""
    held = Held(lab, "onBeforeSend")
    lab.romeo.send(f"<message type='groupchat' to='{HALL}'><body>held</body></message>")
    held.wait()
    lab.first.script = lambda e: passed(e) if e.attributes["room"] == DEN else silent(e)
    lab.tybalt.send(f"<message type='groupchat' to='{DEN}'><body>not held</body></message>")
    assert text(lab.tybalt.next_message(seconds=5)) == "not held"
    held.let()
    got = lab.settled()
    assert [text(m) for m in got["juliet"]] == ["held"]


def test_one_order(lab):
    """Three talk at once, one changes his nick and the subject; answers come late and in random order, some refuse. All see the same, each speaker's in order."""
    lab.enter(lab.tybalt, "tybalt")
    lab.settled()
    turns, pool, over = random.Random(7), [], threading.Event()
    rows = [(name, None, "bounce", False) for name in ("onPacket", "onBeforeSend", "onBeforeBroadcast", "onBeforeChangeUser", "onBeforeSubject")]
    lab.begin(pool.append, rows)

    def judge():
        while not over.is_set() or pool:
            time.sleep(turns.random() * 0.004)
            some = [pool.pop(turns.randrange(len(pool))) for _ in range(min(len(pool), turns.randint(1, 9)))]
            if some:
                lab.first.send("".join(refused(e) if e.name == "onBeforeSend" and e.body.endswith("no") else passed(e) for e in some))
    thread = threading.Thread(target=judge)
    thread.start()
    try:
        for i in range(40):
            for name, client in lab.names.items():
                no = " no" if turns.random() < 0.15 else ""
                client.send(f"<message type='groupchat' to='{HALL}' id='{name}-{i}'><body>{name} {i}{no}</body></message>")
            if i % 10 == 5:
                lab.romeo.send(f"<presence to='{HALL}/romeo{i}'/>")
                lab.juliet.send(f"<message type='groupchat' to='{HALL}'><subject>{i}</subject></message>")
        for name, client in lab.names.items():
            client.send(f"<message type='groupchat' to='{HALL}' id='{name}-end'><body>{name} end</body></message>")
        views = {}
        for name, client in lab.names.items():
            ends, view = 0, []
            while ends < 3:
                stanza = client.next(seconds=30)
                if stanza.get("type") == "error":
                    assert text(stanza) is None and condition(stanza) == "policy-violation"
                    continue
                ends += (text(stanza) or "").endswith("end")
                view.append((stanza.tag, stanza.get("from"), stanza.get("type"), text(stanza), stanza.findtext(C + "subject")))
            views[name] = view
    finally:
        over.set()
        thread.join()
    assert views["romeo"] == views["juliet"] == views["tybalt"]
    said = [body for _, _, _, body, _ in views["juliet"] if body]
    for name in lab.names:
        mine = [int(b.split()[1]) for b in said if b.startswith(name + " ") and not b.endswith("end")]
        assert mine == sorted(mine) and len(mine) == len(set(mine)) and not any(b.endswith("no") for b in said)
    nick = "romeo" # each message of his stands under the nick he had by then
    for tag, sender, kind, body, _ in views["juliet"]:
        if tag == C + "presence" and kind is None:
            nick = sender.partition("/")[2]
        if body and body.startswith("romeo "):
            assert sender == f"{HALL}/{nick}"
    assert nick == "romeo35"
    lab.first.script = passed
    lab.romeo.send(f"<presence to='{HALL}/romeo'/>")
    lab.tybalt.send(f"<presence type='unavailable' to='{HALL}/tybalt'/>")
    lab.settled()


# ---- judged at its turn ----
def test_cut_while_joining(lab):
    """A joiner who is cut while his join is held: nothing was visible, and nothing is left."""
    before = lab.room()
    for event in ("onPacket", "onBeforeJoin", "onBeforeChangeUser"):
        guest = lab.client("nurse", "guest")
        held = Held(lab, event)
        guest.send(f"<presence to='{HALL}/guest'>{MUC}</presence>")
        held.wait()
        lab.rows()
        guest.cut()
        wait_until("the end of the session", lambda: not any(s["jid"].startswith("nurse@") for s in lab.service.get("/v1/sessions")["sessions"]))
        time.sleep(0.1 * SLOW)
        held.let()
        got = lab.settled()
        assert got == {"romeo": [], "juliet": [], "tybalt": []}, event
        lab.room_is(before)


def test_cut_while_creating(lab):
    """There never was such a room, and nobody was told that there was."""
    room = f"new@{DOMAIN}"
    guest = lab.client("nurse", "guest")
    held = []
    lab.begin(held.append, [("onBeforeRoomCreate", None, "bounce", False)], [("onAfterRoomCreate", None, "pass", True), ("onLeave", None, "pass", True)])
    guest.send(f"<presence to='{room}/guest'>{MUC}</presence>")
    wait_until("what is to be held", lambda: held)
    guest.cut()
    time.sleep(0.2 * SLOW)
    lab.first.script = passed
    lab.first.send(passed(held[0]))
    lab.settled()
    assert lab.room(room) == set() and lab.second.seen() == []


def test_cut_while_speaking(lab):
    """What he has said stays said; then he leaves, as all see in this order."""
    guest = lab.client("nurse", "guest")
    lab.enter(guest, "guest")
    lab.settled()
    held = Held(lab, "onBeforeSend")
    guest.send(f"<message type='groupchat' to='{HALL}'><body>last words</body></message>")
    held.wait()
    lab.rows()
    guest.cut()
    time.sleep(0.2 * SLOW)
    held.let()
    got = lab.settled()
    assert [(s.get("from"), text(s) or s.get("type")) for s in got["juliet"]] == [(f"{HALL}/guest", "last words"), (f"{HALL}/guest", "unavailable")]
    assert occupants(lab) == ["juliet", "romeo"]


AWAY = [
    ("kicked", item(nick="tybalt", role="none"), "not-acceptable"),
    ("banned", item(jid="tybalt@example.com", affiliation="outcast"), "not-acceptable"),
]


@pytest.mark.parametrize("what,change,problem", AWAY)
def test_put_out_while_speaking(lab, what, change, problem):
    """The request that puts him out is ahead of his message, and held as that is: at its turn he is not there any more."""
    lab.enter(lab.tybalt, "tybalt")
    lab.settled()
    held = Held(lab, "onBeforeChangeUser", "onBeforeChangeAffiliation", "onBeforeSend")
    lab.juliet.send(f"<iq type='set' to='{HALL}' id='out'>{people(change)}</iq>")
    held.wait()
    lab.tybalt.send(f"<message type='groupchat' to='{HALL}' id='late'><body>too late</body></message>")
    held.wait(2)
    lab.first.send(passed(held.events[1])) # his is allowed first
    lab.first.send(passed(held.events[0]))
    got = lab.settled()
    assert all(text(s) != "too late" for told in got.values() for s in told)
    assert [s.get("type") for s in got["tybalt"]] == ["unavailable", "error"]
    told_error(got["tybalt"][1:], HALL, problem, "late")
    assert occupants(lab) == ["juliet", "romeo"] and not any(f[-1] == "too late" for f in lab.kept(HALL))
    lab.iq(lab.juliet, "set", people(item(jid="tybalt@example.com", affiliation="none")))
    lab.settled()


def test_banned_while_joining(lab):
    held = Held(lab, "onBeforeChangeAffiliation", "onBeforeJoin")
    lab.juliet.send(f"<iq type='set' to='{HALL}' id='out'>{people(item(jid='tybalt@example.com', affiliation='outcast'))}</iq>")
    held.wait()
    lab.tybalt.send(f"<presence to='{HALL}/tybalt' id='in'>{MUC}</presence>")
    held.wait(2)
    held.let()
    got = lab.settled()
    told_error(got["tybalt"], f"{HALL}/tybalt", "forbidden", "in")
    assert got["romeo"] == [] and occupants(lab) == ["juliet", "romeo"]
    lab.iq(lab.juliet, "set", people(item(jid="tybalt@example.com", affiliation="none")))
    lab.settled()


def test_nick_taken_meanwhile(lab):
    """Two want one nick: who came first has it."""
    guest = lab.client("nurse", "guest")
    held = Held(lab, "onBeforeJoin")
    guest.send(f"<presence to='{HALL}/same'>{MUC}</presence>")
    held.wait()
    lab.tybalt.send(f"<presence to='{HALL}/same' id='in'>{MUC}</presence>")
    held.wait(2)
    held.let()
    got = lab.settled()
    told_error(got["tybalt"], f"{HALL}/same", "conflict", "in")
    assert occupants(lab) == ["juliet", "romeo", "same"]
    guest.close()
    lab.settled()


def test_destroyed_while_speaking(lab):
    """The room is no more when the message's turn comes."""
    hut = f"hut@{DOMAIN}"
    lab.enter(lab.romeo, "romeo", hut)
    lab.iq(lab.romeo, "set", owner_form(), to=hut)
    lab.enter(lab.tybalt, "tybalt", hut)
    lab.settled()
    held = Held(lab, "onPacket", "onBeforeSend")
    lab.romeo.send(f"<iq type='set' to='{hut}' id='end'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query></iq>")
    held.wait()
    lab.tybalt.send(f"<message type='groupchat' to='{hut}' id='late'><body>too late</body></message>")
    held.wait(2)
    held.let()
    got = lab.settled()
    assert [s.get("type") for s in got["romeo"]] == ["unavailable", "result"]
    assert [s.get("type") for s in got["tybalt"]] == ["unavailable", "error"]
    told_error(got["tybalt"][1:], hut, "item-not-found", "late")
    assert lab.room(hut) == set()


def test_live_messages_wait_for_the_history(lab):
    """Nobody joins into the middle of a conversation: what is said while his history is held comes behind it, the subject between; what is said to him alone too."""
    held = Held(lab, "onHistory")
    lab.tybalt.send(f"<presence to='{HALL}/tybalt'>{MUC}</presence>")
    held.wait()
    lab.romeo.send(f"<message type='groupchat' to='{HALL}'><body>to all</body></message><message type='chat' to='{HALL}/tybalt'><body>to one</body></message>")
    assert text(lab.juliet.next_message()) == "to all"
    lab.romeo.next_message(body="to all")
    lab.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=HALL)
    held.let()
    got = lab.settled()
    messages = [m for m in got["tybalt"] if m.tag == C + "message"]
    subject = next(i for i, m in enumerate(messages) if m.find(C + "subject") is not None)
    assert all(m.find("{urn:xmpp:delay}delay") is not None for m in messages[:subject]) and [text(m) for m in messages[subject + 1:]] == ["to all", "to one"]
    lab.tybalt.send(f"<presence type='unavailable' to='{HALL}/tybalt'/>")
    lab.settled()


def test_shutdown_while_held():
    """Whoever waits for an answer that has not come by the end is told so; nobody else sees anything of it."""
    lab = RoomLab({"broker.event_timeout": 30000, "server.shutdown_wait": 1})
    try:
        held = Held(lab, "onBeforeSend", "onBeforeJoin")
        lab.romeo.send(f"<message type='groupchat' to='{HALL}' id='late'><body>too late</body></message>")
        lab.tybalt.send(f"<presence to='{HALL}/tybalt' id='in'>{MUC}</presence>")
        held.wait(1)
        wait_until("both", lambda: len(held.events) == 2)
        lab.service.process.terminate()
        for client, kind, identity in ((lab.romeo, "message", "late"), (lab.tybalt, "presence", "in")):
            error = client.next(C + kind, match=lambda s: s.get("type") == "error")
            assert error.get("id") == identity and condition(error) == "service-unavailable"
        lab.service.process.wait(60)
        assert all(text(m) != "too late" for m in lab.juliet.got)
    finally:
        lab.close()
