"""Many users at once who come, go, are cut, replaced and kicked, while a compliance server answers late, in any order, refuses, changes, is silent, and loses
its link. Then everything stands still, and the books are checked: each message was delivered once to each session it reached, or refused, or kept for its
recipient, and nothing was delivered that the compliance server did not let pass; sender's order is kept; every request to the server was answered; rosters
agree; nothing is under way, nobody is in memory, nothing leaked.

SIGNET_CHURN_SEED picks another run, SIGNET_CHURN_SECONDS another length. Threads make no run quite like another."""
import collections
import heapq
import os
import random
import threading
import time
import xml.etree.ElementTree as ET

import pytest

from harness.client import Client, Closed, condition, ids, text
from harness.compliance import Compliance, handled, passed, passed_with, refused
from harness.service import SLOW, Refused, quote, wait_until

SEED = int(os.environ.get("SIGNET_CHURN_SEED", "1"))
SECONDS = float(os.environ.get("SIGNET_CHURN_SECONDS", "8"))
USERS = 40
COMPONENT = "op-churn.node1-example-com"
ROSTER = "<query xmlns='jabber:iq:roster'/>"
MESSAGE, PRESENCE, IQ = "{jabber:client}message", "{jabber:client}presence", "{jabber:client}iq"


class Churning(Compliance):
    """Answers each event after a delay of its own; keeps what it let pass."""

    def __init__(self, **keywords):
        self.heap, self.serial, self.awake = [], 0, threading.Condition()
        self.passed_in, self.refused_bodies, self.undecided = set(), set(), set()
        self.unseen = set()  # sessions that were refused something else than a message
        self.dice = random.Random(SEED + 1)
        self.calm = False
        super().__init__(COMPONENT, **keywords)
        threading.Thread(target=self.deliver, daemon=True).start()

    def one(self, sock, element):
        payload = element[0] if len(element) else None
        answer = super().one(sock, element)
        if answer is None or payload is None or not payload.tag.endswith("}event"):
            return answer
        with self.awake:
            delay = 0.0 if self.calm else self.dice.choice((0, 0, 0.001, 0.005, 0.02, 0.08))
            self.serial += 1
            heapq.heappush(self.heap, (time.monotonic() + delay, self.serial, sock, answer))
            self.awake.notify()
        return None

    def deliver(self):
        while True:
            with self.awake:
                while not self.heap or self.heap[0][0] > time.monotonic():
                    self.awake.wait(max(self.heap[0][0] - time.monotonic(), 0.0005) if self.heap else 1)
                now, batch = time.monotonic(), collections.defaultdict(list)
                while self.heap and self.heap[0][0] <= now:
                    _, _, sock, answer = heapq.heappop(self.heap)
                    batch[sock].append(answer)
            for sock, answers in batch.items():
                self.write(sock, answers)

    def judge(self, event):
        """Before the answer is sent, so that whatever a client sees was noted before."""
        body, roll = event.body, self.dice.random()
        if not self.calm and body is not None and event.name != "es_END":
            if roll < 0.03:
                self.refused_bodies.add(body)
                return refused(event, "policy-violation", "No.")
            if roll < 0.04:
                self.refused_bodies.add(body)
                return handled(event)
            if roll < 0.043:
                self.undecided.add(body)
                return None
        elif not self.calm and roll < 0.02 and event.name in ("es_OUT", "e_DELIVER", "es_IN", "e_SERVER", "e_SESSION"):
            self.unseen.add(event.attributes.get("session"))
            return refused(event) if roll < 0.015 else handled(event)
        if event.name == "es_IN" and body is not None:
            self.passed_in.add((body, event.attributes["session"]))
        if not self.calm and roll > 0.97 and body is not None:
            return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))
        return passed(event)


class Book:
    """What everybody did and saw."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = {}  # body -> Sent
        self.arrived = collections.defaultdict(list)  # body -> sessions (objects)
        self.errors = collections.defaultdict(list)  # body -> conditions
        self.cuts = collections.defaultdict(list)  # bare JID -> times of cuts of his sessions
        self.asked = {}  # id of a request -> its session
        self.link_cuts, self.unseen = [], set()
        self.wrong = []

    def blind(self, session):
        """May something else than a message have been kept from this session?"""
        return session.jid in self.unseen or any(t > session.began for t in self.link_cuts)


class Sent:
    def __init__(self, session, to, kind, number):
        self.session, self.to, self.kind, self.number, self.time = session, to, kind, number, time.monotonic()


class Session:
    numbers = 0

    def __init__(self, book, service, name, resource):
        self.book, self.ended, self.numbered, self.asked, self.last = book, None, 0, {}, False  # last: there when all had come to rest
        self.known, self.checked, self.began = None, False, time.monotonic()
        self.order = {}  # sender's session -> its last numbers seen here: live, kept, live to the bare JID
        self.client = Client(service, name, resource, presence=False)
        self.jid, self.bare = self.client.jid, self.client.bare
        Session.numbers += 1
        self.number = Session.numbers

    def send(self, xml):
        try:
            self.client.send(xml)
        except OSError:
            self.end("lost")

    def end(self, how):
        if self.ended is None:
            self.ended = how

    def read(self, seconds=0.002):
        if self.ended is not None:
            return
        try:
            while self.client.read(seconds):
                seconds = 0.0
            over = self.client.stream.closed
        except (Closed, OSError):
            over = True
        self.take()
        if over:
            self.end("closed")
            self.client.sock.close()

    def take(self):
        got, self.client.got = self.client.got, collections.deque()
        for e in got:
            if e.tag == MESSAGE:
                self.message(e)
            elif e.tag == IQ and e.get("type") == "set" and e[0].tag == "{jabber:iq:roster}query":
                self.pushed(e[0][0])
                self.send(f"<iq type='result' id='{e.get('id')}'/>")
            elif e.tag == IQ and e.get("type") in ("get", "set"):
                self.send(f"<iq type='result' id='{e.get('id')}'" + (f" to='{e.get('from')}'" if e.get("from") else "") + "/>")
            elif e.tag == IQ:
                self.answered(e)

    def answered(self, e):
        with self.book.lock:
            asker = self.book.asked.pop(e.get("id"), None)
        if asker is None:
            self.book.wrong.append(f"{self.jid} got an answer that nobody waits for: {ET.tostring(e).decode()}")
        elif asker.jid != self.jid:
            self.book.wrong.append(f"{self.jid} got an answer for {asker.jid}: {ET.tostring(e).decode()}")
        else:  # itself, or the session it replaced
            _, payload, _ = asker.asked.pop(e.get("id"))
            if payload == ROSTER and e.get("type") == "result":
                self.roster(e)

    def roster(self, e):
        """Pushes and the roster itself come in the order of what happened, so that what is known from them is always the roster."""
        items = {i.get("jid"): dict(i.attrib) for i in e[0]}
        if self.last and self.known is not None:
            self.checked = True
            if items != self.known and not self.book.blind(self):
                self.book.wrong.append(f"{self.jid} thinks that its roster is {self.known}, and it is {items}")
        self.known = items

    def pushed(self, item):
        if self.known is None:
            self.known = {}
        self.known[item.get("jid")] = dict(item.attrib)
        if item.get("subscription") == "remove":
            del self.known[item.get("jid")]

    def message(self, e):
        with self.book.lock:
            if e.get("type") == "error":
                body = e.get("id")
                if body not in self.book.sent:
                    self.book.wrong.append(f"{self.jid} got an error for what it did not send: {ET.tostring(e).decode()}")
                else:
                    self.book.errors[body].append(condition(e))
                return
            body = text(e)
            self.book.arrived[body].append(self)
            sent = self.book.sent.get(body)
            if sent is None:
                self.book.wrong.append(f"{self.jid} got a message that nobody sent: {body}")
                return
            self.in_order(e, body, sent)

    def in_order(self, e, body, sent):
        """Of one session's messages to one account. What was kept comes before what comes live, but that a client without presence gets what is addressed to
        it."""
        delayed = e.find("{urn:xmpp:delay}delay") is not None
        live, kept, live_to_bare = self.order.get(sent.session, (0, 0, 0))
        before = max(kept, live_to_bare if delayed else live)
        if before >= sent.number:
            self.book.wrong.append(f"{self.jid} got {body} of {sent.session.jid}, {'kept' if delayed else 'live'}, as number {sent.number} after {before}")
        if delayed:
            kept = sent.number
        else:
            live, live_to_bare = sent.number, live_to_bare if "/" in sent.to else sent.number
        self.order[sent.session] = (live, kept, live_to_bare)

    # ---- what it does ----
    def talk(self, to, kind="chat"):
        with self.book.lock:
            self.numbered += 1
            body = f"s{self.number}n{self.numbered}"
            self.book.sent[body] = Sent(self, to, kind, self.numbered)
        self.send(f"<message type='{kind}' id='{body}' to='{to}'><body>{body}</body></message>")

    def ask(self, kind, payload, to=None):
        identity = f"i{next(ids)}"
        self.asked[identity] = (kind, payload, to)
        with self.book.lock:
            self.book.asked[identity] = self
        self.send(f"<iq type='{kind}' id='{identity}'" + (f" to='{to}'" if to else "") + f">{payload}</iq>")

    def presence(self, priority):
        self.send("<presence type='unavailable'/>" if priority is None else f"<presence><priority>{priority}</priority></presence>")

    def close(self):
        """Orderly: what the server wrote before its end of stream was read."""
        if self.ended is not None:
            return
        self.send("</stream:stream>")
        end = time.monotonic() + 20 * SLOW
        while self.ended is None and time.monotonic() < end:
            self.read(0.2)
        if self.ended is None:
            self.book.wrong.append(f"{self.jid}: the server did not end the stream")
            self.end("stuck")

    def cut(self):
        if self.ended is not None:
            return
        self.read(0)
        with self.book.lock:
            self.book.cuts[self.bare].append(time.monotonic())
        self.end("cut")
        self.client.cut()


class Actor(threading.Thread):
    """One user."""

    def __init__(self, book, service, index, names, until):
        super().__init__(daemon=True)
        self.book, self.service, self.name_, self.names, self.until = book, service, names[index], names, until
        self.dice = random.Random(SEED * 1000 + index)
        self.may_cut = index % 3 == 0
        self.sessions, self.past, self.failure = [], [], None
        self.still = threading.Event()

    def bare(self):
        """Friends live near; strangers are met at times."""
        i = self.names.index(self.name_)
        other = (i + self.dice.choice((1, 2, 3, -1, -2, -3))) % len(self.names) if self.dice.random() < 0.9 else self.dice.randrange(len(self.names))
        return f"{self.names[other]}@example.com"

    def log_in(self, resource=None):
        resource = resource or self.dice.choice(("desk", "phone", "tablet"))
        old = [s for s in self.sessions if s.ended is None and s.client.resource == resource]
        try:
            session = Session(self.book, self.service, self.name_, resource)
        except PermissionError:
            return
        except (Closed, OSError):
            return
        self.sessions.append(session)
        if self.dice.random() < 0.8:
            session.ask("get", ROSTER)
        session.presence(self.dice.choice((0, 0, 0, 5, -1)))
        for s in old:
            s.read(0.05)

    def act(self):
        live = [s for s in self.sessions if s.ended is None]
        roll = self.dice.random()
        if not live or (roll < 0.03 and len(live) < 3):
            self.log_in()
            return
        s = self.dice.choice(live)
        if roll < 0.45:
            to = self.bare()
            if self.dice.random() < 0.2:
                to += "/" + self.dice.choice(("desk", "phone", "tablet"))
            for _ in range(self.dice.choice((1, 1, 1, 4))):
                s.talk(to, self.dice.choice(("chat", "chat", "chat", "normal")))
        elif roll < 0.62:
            kind = self.dice.choice(("subscribe", "subscribed", "subscribe", "subscribed", "unsubscribe", "unsubscribed"))
            s.send(f"<presence type='{kind}' to='{self.bare()}'/>")
        elif roll < 0.70:
            s.presence(self.dice.choice((0, 0, 3, 7, -1, None)))
        elif roll < 0.80:
            item = self.dice.choice(("name='N'", "", "subscription='remove'"))
            s.ask("set", f"<query xmlns='jabber:iq:roster'><item jid='{self.bare()}' {item}/></query>")
        elif roll < 0.86:
            ask = self.dice.choice((("<ping xmlns='urn:xmpp:ping'/>", "example.com"), ("<query xmlns='http://jabber.org/protocol/disco#info'/>", self.bare()),
                                    (ROSTER, None), ("<vCard xmlns='vcard-temp'/>", self.bare()), ("<nonsense xmlns='x:y'/>", None)))
            s.ask("get", *ask)
        elif roll < 0.88:
            s.send(f"<presence to='{self.bare()}/{self.dice.choice(('desk', 'phone'))}'/>")
        elif roll < 0.90:
            self.log_in(s.client.resource)  # replaces it
        elif roll < 0.92 and self.may_cut:
            s.cut()
        elif roll < 0.95:
            s.close()

    def pump(self, seconds=0.002):
        for s in self.sessions:
            s.read(seconds)
        self.past += [s for s in self.sessions if s.ended is not None]
        self.sessions = [s for s in self.sessions if s.ended is None]

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.act()
                self.pump()
                time.sleep(self.dice.random() * 0.03 * SLOW)
            while not self.still.is_set():
                self.pump(0.05)
            for s in list(self.sessions):
                s.close()
            self.pump()
        except BaseException as e:  # noqa: B902: told by the main thread
            self.failure = e


def trouble(book, service, compliance, names, dice, until):
    """Kicks, and a link that is cut and comes back."""
    cut_at = [until - SECONDS * SLOW * f for f in (0.7, 0.35)]
    while time.monotonic() < until:
        time.sleep(0.2 * SLOW)
        jid = f"{dice.choice(names)}@example.com" + dice.choice(("", "/desk", "/phone"))
        try:
            service.request("DELETE", f"/v1/sessions/{quote(jid)}")
        except Refused:
            pass
        if cut_at and time.monotonic() > cut_at[0]:
            cut_at.pop(0)
            book.link_cuts.append(time.monotonic() + 2)
            compliance.cut()
            time.sleep(0.3 * SLOW)
            compliance.listen()


def at_rest(service):
    status = service.get("/v1/status")
    return status["stanzas_under_way"] == 0 and status["events_waiting"] == 0 and status["store"]["queue_depth"] == 0


def check_message(book, compliance, body, sent, late):
    """late: sessions of the second round, in which everybody fetches what was kept."""
    problems = []
    seen, errors = book.arrived.get(body, []), book.errors.get(body, [])
    for session in set(seen):
        if seen.count(session) > 1:
            problems.append(f"came {seen.count(session)} times to {session.jid}")
        if (body, session.jid) not in compliance.passed_in:
            problems.append(f"was delivered to {session.jid} without es_IN's PASS")
    kept = [s for s in seen if s in late]
    if kept and len(seen) > len(kept):
        problems.append(f"was delivered, to {[s.jid for s in seen if s not in late]}, and kept")
    if len(errors) > 1:
        problems.append(f"was refused {len(errors)} times")
    if errors and seen:
        problems.append(f"was refused ({errors}) and delivered to {[s.jid for s in seen]}")
    if not seen and not errors:
        sender_unheard = sent.session.ended in ("cut", "lost", "closed") and not sent.session.last
        told_to_drop = body in compliance.refused_bodies
        cut = any(t > sent.time - 0.5 for t in book.cuts[sent.to.split("/")[0]])
        if not (told_to_drop or cut or sender_unheard):
            problems.append("is lost")
    return problems


def subscriptions(session):
    items = session.client.iq("get", ROSTER)[0]
    return {i.get("jid"): i.get("subscription") for i in items}


@pytest.mark.parametrize("workers", [4])
def test_churn(services, closing, workers):
    service = services({"broker.event_timeout": int(1500 * SLOW), "broker.outage_window": int(4000 * SLOW), "c2s.session_window": 16, "offline.retry": 1}, workers=workers)
    names = [f"u{i}" for i in range(USERS)]
    service.user(*names)
    compliance = closing(Churning())
    compliance.script = compliance.judge
    service.profile("Churn", [(e, None, "bounce", False) for e in ("es_OUT", "e_DELIVER", "es_IN", "e_OFFLINE", "e_SERVER")]
                    + [(e, None, "pass", False) for e in ("e_SESSION", "es_END", "e_AUTH")])
    service.wait_link(service.compliance_server("churn", compliance.port, profile="Churn"), "ACTIVE")
    book, until = Book(), time.monotonic() + SECONDS * SLOW
    actors = [Actor(book, service, i, names, until) for i in range(USERS)]
    for a in actors:
        a.start()
    book.unseen = compliance.unseen
    trouble(book, service, compliance, names, random.Random(SEED), until)
    compliance.calm = True
    time.sleep(0.5 * SLOW)
    wait_until("the end of what is under way", lambda: at_rest(service), 30)
    time.sleep(0.5 * SLOW)  # clients read, and answer what they were asked
    wait_until("the end of the answers", lambda: at_rest(service), 30)
    time.sleep(0.3 * SLOW)
    online = [s for a in actors for s in a.sessions if s.ended is None]
    for s in online:
        s.last = True
        s.ask("get", ROSTER)
    end = time.monotonic() + 20 * SLOW
    while any(s.asked for s in online if s.ended is None) and time.monotonic() < end:
        time.sleep(0.05)
    unanswered = [f"{s.jid}: {what}" for s in online if s.ended is None for what in list(s.asked.values())]
    for a in actors:
        a.still.set()
    for a in actors:
        a.join(60 * SLOW)
        assert a.failure is None and not a.is_alive(), (a.name_, repr(a.failure))
    wait_until("the end of all sessions", lambda: service.get("/v1/status")["sessions"] == 0, 20)
    wait_until("rest", lambda: at_rest(service), 20)
    wait_until("that nobody is in memory", lambda: service.metric("users_in_memory") == 0, 10)

    late = []
    for name in names:
        s = Session(book, service, name, "late")
        s.presence(0)
        late.append(s)
    wait_until("rest", lambda: at_rest(service), 20)
    rosters = {}
    for s in late:
        rosters[s.bare] = subscriptions(s)
        s.take()
    for _ in range(3):
        for s in late:
            s.read(0.01)
    wait_until("rest", lambda: at_rest(service), 20)
    for s in late:
        rosters[s.bare] = subscriptions(s)
        s.close()
    wait_until("the end of all sessions", lambda: service.get("/v1/status")["sessions"] == 0, 20)
    wait_until("rest", lambda: at_rest(service), 20)
    wait_until("that nobody is in memory", lambda: service.metric("users_in_memory") == 0, 10)

    wrong = list(book.wrong) + [f"unanswered: {u}" for u in unanswered]
    late = set(late)
    for body, sent in book.sent.items():
        wrong += [f"{body} from {sent.session.jid} ({sent.session.ended}) to {sent.to} ({sent.kind}) {p}" for p in check_message(book, compliance, body, sent, late)]
    for bare, roster in rosters.items():
        for contact, subscription in roster.items():
            back = rosters[contact].get(bare, "none")
            if subscription in ("to", "both") and back not in ("from", "both"):  # the reverse may come of stanzas that crossed, and shows nothing to anybody
                wrong.append(f"{bare} has {contact} as '{subscription}', which has it as '{back}'")
    seen = len([1 for b in book.sent if book.arrived.get(b)])
    print(f"{len(book.sent)} messages, {seen} arrived, {len(book.errors)} refused, {service.metric('offline_stored_total'):g} kept, "
          f"{service.metric('offline_left_total'):g} left; {Session.numbers} sessions, {sum(s.checked for s in online)} rosters; "
          f"{len(compliance.events)} events, {len(compliance.undecided)} undecided, {service.metric('events_failed_total', why='timeout'):g} timed out")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:60])
