"""Chat rooms on four workers whose occupants come, go, are cut, kicked and renamed, while rooms end and begin again and the compliance server delays, reorders,
refuses, says nothing and loses its link. Everybody sees the messages of a room in one order, none twice, none that was not passed, none that was passed left out;
and whoever has gone has gone.

SIGNET_CHURN_SEED and SIGNET_CHURN_SECONDS as for test_churn.py."""
import collections
import random
import threading
import time
import xml.etree.ElementTree as ET

from harness.churn import COMPONENT, MESSAGE, PRESENCE, SECONDS, SEED, Churning, clock
from harness.client import Client, Closed, ids, text
from harness.compliance import handled, passed, passed_with, refused
from harness.service import SLOW, wait_until

USERS, ROOMS, DOMAIN = 16, 3, "conference.example.com"
USER, DELAY = "{http://jabber.org/protocol/muc#user}", "{urn:xmpp:delay}delay"
OWNER = "http://jabber.org/protocol/muc#owner"
REFUSABLE = ("onPacket", "onServicePacket", "onBeforeRoomCreate", "onBeforeJoin", "onBeforeChangeUser", "onBeforeSend", "onBeforeBroadcast", "onBeforeSubject")
TC_EVENTS = [(e, None, "bounce", False) for e in (*REFUSABLE, "onBeforeMetaInfoSet", "onBeforeChangeAffiliation")]
TC_EVENTS += [(e, None, "pass", False) for e in ("onAfterJoin", "onAfterChangeUser", "onHistory", "onLeave", "onClose", "onDestroy")]


class Judge(Churning):
    """Of rooms: only events that can be refused are, and a body's fate is kept by session."""

    def __init__(self, **keywords):
        self.asked_of = collections.defaultdict(list)  # session -> bodies, in the order of asking
        self.refusals = {}  # event id -> body; of an event asked again after a cut the last answer counts, the one before did not arrive
        super().__init__(**keywords)

    def verdict(self, event, way, message):
        roll = self.dice.random()
        self.refusals.pop(event.id, None)
        if event.name == "es_IN":
            session = event.attributes["session"]
            if event.body is not None and event.stanza.find(DELAY) is None:
                if event.body not in self.asked_of[session]:  # asked again after a cut
                    self.asked_of[session].append(event.body)
                if not self.calm and roll < 0.02:
                    self.passed_in.discard((event.body, session))
                    return refused(event)
                self.passed_in.add((event.body, session))
            return passed(event)
        if self.calm or event.name not in REFUSABLE:
            return passed(event)
        if roll < 0.04:
            self.refusals[event.id] = event.body
            return refused(event) if roll < 0.03 else handled(event)
        if roll < 0.042:
            self.undecided.add(event.body)
            return None
        if roll > 0.97:
            return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))
        return passed(event)


class Stay:
    """A session in a room, from its own presence to its end."""

    def __init__(self, jid, room, nick):
        self.jid, self.room, self.nick, self.seen, self.others = jid, room, nick, [], {nick}


class Actor(threading.Thread):
    def __init__(self, service, number, until):
        super().__init__(daemon=True)
        self.service, self.number, self.until, self.dice = service, number, until, random.Random(SEED * 1000 + number)
        self.stays, self.now, self.asked, self.sent, self.wrong, self.cuts = [], {}, {}, {}, [], set()
        self.history, self.leaves = [], collections.Counter()
        self.early = collections.defaultdict(set)  # room -> those who were there before, until its own presence comes
        self.failure, self.client, self.calm, self.gone = None, None, threading.Event(), threading.Event()

    def run(self):
        try:
            self.login()
            while time.monotonic() < self.until:
                self.read(0.004)
                self.act(self.dice.random(), f"room{self.dice.randrange(ROOMS)}@{DOMAIN}")
            while not self.calm.is_set():
                self.read(0.02)
            for room in list(self.now):
                self.leave(room)
            while not self.gone.is_set():
                self.read(0.02)
            self.client.close()
        except BaseException as e:  # told by the test
            self.failure = e

    def leave(self, room):
        self.leaves[room] += 1
        self.send(f"<presence type='unavailable' to='{room}/{self.now[room].nick}'/>")

    def login(self):
        while True:
            try:
                self.client = Client(self.service, f"u{self.number}", f"r{next(ids)}")
                return
            except (PermissionError, Closed, OSError):
                time.sleep(0.05)

    def read(self, seconds):
        try:
            self.client.read(seconds)
        except Closed:
            self.again()
        while self.client.got:
            self.take(self.client.got.popleft())

    def again(self):
        self.cuts.add(self.client.jid)
        for book in (self.now, self.asked, self.early, self.leaves):
            book.clear()
        self.login()

    def act(self, roll, room):
        stay = self.now.get(room)
        if roll < 0.002:
            self.client.cut()
            self.again()
        elif self.leaves[room] > 0:
            return
        elif stay is None:
            if roll < 0.5 and time.monotonic() > self.asked.get(room, 0):
                self.asked[room] = time.monotonic() + 3 * SLOW  # an answer that doesn't come is not waited for for ever
                self.send(f"<presence to='{room}/n{self.dice.randrange(USERS)}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        elif roll < 0.6:
            body = f"b{next(ids)}"
            self.sent[body] = (room, self.client.jid, time.monotonic())
            self.send(f"<message type='groupchat' id='{body}' to='{room}'><body>{body}</body></message>")
        elif roll < 0.66:
            self.send(f"<presence to='{room}/n{self.dice.randrange(USERS)}'/>")
        elif roll < 0.72:
            self.send(f"<presence to='{room}/{stay.nick}'><status>{roll}</status></presence>")
        elif roll < 0.78:
            self.leave(room)
        elif roll < 0.80:
            self.send(f"<message type='groupchat' to='{room}'><subject>{roll}</subject></message>")
        elif roll < 0.81 and stay.others:
            nick = self.dice.choice(sorted(stay.others))
            self.send(f"<iq type='set' id='k{next(ids)}' to='{room}'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='{nick}' role='none'/></query></iq>")
        elif roll < 0.8115:
            self.send(f"<iq type='set' id='d{next(ids)}' to='{room}'><query xmlns='{OWNER}'><destroy/></query></iq>")

    def send(self, xml):
        self.history.append(f"{clock()} {self.client.jid} sends {xml}")
        self.client.send(xml)

    def take(self, e):
        self.history.append(f"{clock()} {self.client.jid} gets {ET.tostring(e, encoding='unicode')}")
        room, _, nick = (e.get("from") or "").partition("/")
        if e.tag == PRESENCE and room.endswith("@" + DOMAIN):
            self.presence(e, room, nick, {s.get("code") for s in e.iter(USER + "status")})
        elif e.tag == MESSAGE and e.get("type") == "groupchat" and text(e) is not None and e.find(DELAY) is None:
            stay = self.now.get(room)
            if stay is None:
                self.wrong.append(f"{self.client.jid} was sent {text(e)} of {room}, where it is not")
            else:
                stay.seen.append(text(e))

    def presence(self, e, room, nick, codes):
        stay = self.now.get(room)
        if e.get("type") == "error":
            self.asked.pop(room, None)
        elif e.get("type") == "unavailable":
            (stay.others if stay is not None else self.early[room]).discard(nick)
            if "110" in codes and "303" in codes and stay is not None:
                stay.nick = e.find(f"{USER}x/{USER}item").get("nick")
            elif "110" in codes and self.now.pop(room, None) is not None:
                self.leaves[room] = max(self.leaves[room] - 1, 0)
            elif "110" in codes and self.leaves[room] > 0:  # who is not there and leaves is told so
                self.leaves[room] -= 1
            elif "110" in codes and e.findtext(f"{USER}x/{USER}item/{USER}reason") != "You are not in the room.":  # what was said to a room that had ended is answered so
                self.wrong.append(f"{self.client.jid} was told to have left {room}, where it is not")
        else:
            if "110" in codes and stay is None:
                self.asked.pop(room, None)
                stay = self.now[room] = Stay(self.client.jid, room, nick)
                stay.others |= self.early.pop(room, set())
                self.stays.append(stay)
            if "201" in codes:
                self.send(f"<iq type='set' id='o{next(ids)}' to='{room}'><query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
            if stay is not None:
                stay.others.add(nick)
            else:
                self.early[room].add(nick)


def in_one_order(stays):
    """Messages of which two were seen in both orders, as cycles of what was seen after what; [] when there is one order for all. And that order."""
    after, before = collections.defaultdict(set), collections.Counter()
    for stay in stays:
        for body in stay.seen:
            before.setdefault(body, 0)
        for a, b in zip(stay.seen, stay.seen[1:]):
            if b not in after[a]:
                after[a].add(b)
                before[b] += 1
    free, order = [b for b, n in before.items() if n == 0], []
    while free:
        body = free.pop()
        order.append(body)
        for b in after[body]:
            before[b] -= 1
            if before[b] == 0:
                free.append(b)
    return [b for b, n in before.items() if n > 0]


def left_out(judge, stays, order_of):
    """Who was there before and after a message and was not even asked about it."""
    wrong = []
    for stay in stays:
        asked = judge.asked_of[stay.jid]
        mine = set(asked)
        for other in stays:
            if other is stay or other.room != stay.room:
                continue
            common = [b for b in other.seen if b in mine and b in stay.seen]
            if len(common) < 2:
                continue
            first, last = other.seen.index(common[0]), other.seen.index(common[-1])
            wrong += [f"{b} of {stay.room} was not for {stay.jid}, who was there" for b in other.seen[first:last] if b not in mine and b in order_of]
    return wrong


def rest(service):
    status = service.get("/v1/status")
    return status["events_waiting"] == 0


def test_room_churn(services, closing):
    service = services({"broker.event_timeout": int(1500 * SLOW), "broker.outage_window": int(4000 * SLOW), "c2s.rate_stanzas": 100000}, workers=4)
    service.user(*[f"u{i}" for i in range(USERS)])
    judge = closing(Judge())
    judge.script = judge.judge
    service.profile("Churn", TC_EVENTS + [("es_IN", "message", "bounce", False), ("es_OUT", "message", "bounce", False)])
    service.wait_link(service.compliance_server("churn", judge.port, profile="Churn"), "ACTIVE")
    until = time.monotonic() + SECONDS * SLOW
    actors = [Actor(service, i, until) for i in range(USERS)]
    for a in actors:
        a.start()
    time.sleep(SECONDS * SLOW * 0.5)
    troubled_from = time.monotonic() - 2.5 * SLOW
    judge.cut()
    time.sleep(0.3 * SLOW)
    judge.listen()
    service.wait_link(COMPONENT, "ACTIVE")
    troubled_to = time.monotonic() + 0.5 * SLOW
    time.sleep(max(until - time.monotonic(), 0))
    judge.calm = True
    for _ in range(2):
        wait_until("the end of what is under way", lambda: rest(service), 30)
        time.sleep(0.4 * SLOW)
    # Calm now: what the service says of each room is what everybody in it sees.
    wrong = []
    here = collections.defaultdict(set)
    for room in service.get("/v1/rooms")["rooms"]:
        here[room["room"]] = {o["nick"] for o in service.get(f"/v1/rooms/{room['room']}/occupants")["occupants"]}
    for a in actors:
        assert a.failure is None, (a.number, repr(a.failure))
        for room, stay in a.now.items():
            if stay.nick not in here[room]:
                wrong.append(f"{stay.jid} believes to be {stay.nick} in {room}, which has {sorted(here[room])}")
            if stay.others != here[room]:
                wrong.append(f"{stay.jid} sees {sorted(stay.others)} in {room}, which has {sorted(here[room])}")
    known = {(room, stay.nick) for a in actors for room, stay in a.now.items()}
    wrong += [f"{nick} is in {room}, and nobody knows" for room, nicks in here.items() for nick in nicks if (room, nick) not in known]
    for a in actors:
        a.calm.set()
    wait_until("the end of all rooms", lambda: service.get("/v1/rooms")["rooms"] == [], 20)
    for a in actors:
        a.gone.set()
    for a in actors:
        a.join(30 * SLOW)
        assert a.failure is None and not a.is_alive(), (a.number, repr(a.failure))

    sent = {body: s for a in actors for body, s in a.sent.items()}
    stays = [s for a in actors for s in a.stays]
    cuts = {jid for a in actors for jid in a.cuts}
    wrong += [w for a in actors for w in a.wrong]
    wrong += [f"{b}: seen after what others saw it before" for b in in_one_order(stays)]
    seen_by = collections.defaultdict(list)
    refused_bodies = set(judge.refusals.values())
    for stay in stays:
        for body in stay.seen:
            seen_by[stay.jid].append(body)
            if (body, stay.jid) not in judge.passed_in:
                wrong.append(f"{body} came to {stay.jid} without es_IN's PASS")
            if body in refused_bodies or body not in sent:
                wrong.append(f"{body} was refused or never sent, and came to {stay.jid}")
                print(*judge.story(body), sep="\n    ")
    wrong += [f"{body} came to {jid} {n} times" for jid, bodies in seen_by.items() for body, n in collections.Counter(bodies).items() if n > 1]
    steady = {body for body, (_, _, at) in sent.items() if not troubled_from < at < troubled_to}
    wrong += [f"{body} was passed for {jid} and did not come" for body, jid in judge.passed_in
              if body in steady and jid not in cuts and body not in seen_by[jid]]
    wrong += left_out(judge, [s for s in stays if s.jid not in cuts], steady)
    total = sum(len(s.seen) for s in stays)
    print(f"{len(sent)} messages, {total} deliveries in {len(stays)} stays, {len(cuts)} cut, {len(refused_bodies)} refused, {len(judge.undecided)} undecided, "
          f"{len(judge.events)} events, {service.metric('events_failed_total', why='timeout'):g} timed out")
    for jid in sorted({word for w in wrong[:10] for word in w.split() if "@example.com/r" in word})[:3]:
        print(*(h for a in actors for h in a.history if f" {jid} " in h), sep="\n    ")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:60])
    assert total > 200 and len(stays) > USERS
