"""The actors of system/test_churn.py: a compliance server that misbehaves, users who come and go, and the book in which everybody writes what he saw."""
import base64
import collections
import heapq
import os
import random
import threading
import time
import xml.etree.ElementTree as ET

from .client import Client, Closed, condition, ids, text
from .compliance import Compliance, handled, passed, passed_with, refused
from .service import SLOW

SEED = int(os.environ.get("SIGNET_CHURN_SEED", "1"))
SECONDS = float(os.environ.get("SIGNET_CHURN_SECONDS", "8"))
COMPONENT = "op-churn.node1-example-com"
ROSTER = "<query xmlns='jabber:iq:roster'/>"
MESSAGE, PRESENCE, IQ = "{jabber:client}message", "{jabber:client}presence", "{jabber:client}iq"
STREAM_ERROR = "{http://etherx.jabber.org/streams}error"
SM, CARBONS, FORWARDED = "{urn:xmpp:sm:3}", "{urn:xmpp:carbons:2}", "{urn:xmpp:forward:0}forwarded"
RESUME = 2 * SLOW  # seconds a cut session waits to be resumed


def clock():
    """As signetd's log has it."""
    now = time.time()
    return time.strftime("%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}"


def copied(message):
    """Of a carbon copy: whether it was received or sent, and the message in it."""
    for way in ("received", "sent"):
        wrapper = message.find(CARBONS + way)
        if wrapper is not None:
            return way, wrapper.find(FORWARDED)[0]
    return None, None


def condition_of_stream(error):
    return " ".join(child.text or child.tag.split("}")[1] for child in reversed(list(error)))


def verdict_of(answer):
    if answer is None:
        return "silence"
    return next((word for word in ("handle", "policy-violation", "error", "pass xmlns") if word in answer), "pass").replace("pass xmlns", "pass changed")


class Churning(Compliance):
    """Answers each event after a delay of its own; keeps what it let pass."""

    def __init__(self, **keywords):
        self.heap, self.serial, self.awake = [], 0, threading.Condition()
        self.passed_in, self.passed_copies, self.refused_bodies, self.undecided = set(), set(), set(), set()
        self.unseen = set()  # sessions that were refused something else than a message
        self.dice = random.Random(SEED + 1)
        self.calm = False
        self.asked = collections.defaultdict(list)  # body -> what was asked about it and what the answer was to be
        self.sent_at = {}  # event id -> when its (last) answer was written
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
            heapq.heappush(self.heap, (time.monotonic() + delay, self.serial, sock, answer, payload.get("id")))
            self.awake.notify()
        return None

    def deliver(self):
        while True:
            with self.awake:
                while not self.heap or self.heap[0][0] > time.monotonic():
                    self.awake.wait(max(self.heap[0][0] - time.monotonic(), 0.0005) if self.heap else 1)
                now, batch = time.monotonic(), collections.defaultdict(list)
                while self.heap and self.heap[0][0] <= now:
                    _, _, sock, answer, event = heapq.heappop(self.heap)
                    batch[sock].append(answer)
                    self.sent_at[event] = clock()
            for sock, answers in batch.items():
                self.write(sock, answers)

    def judge(self, event):
        """Before the answer is sent, so that whatever a client sees was noted before."""
        way, message = copied(event.stanza) if event.stanza is not None and event.name == "es_IN" else (None, None)
        answer = self.verdict(event, way, message)
        body = text(message) if way is not None else event.body
        if body is not None:
            self.asked[body].append((clock(), event, way, verdict_of(answer), self.connections))
        return answer

    def story(self, body):
        """What was asked about a message, what was answered and when it was written to the link."""
        return [f"{at} {e.name} {e.id} of stanza {e.stanza_id} asked on link {link}" + (f", of the carbon copy ({way})" if way else "")
                + (f", for {e.attributes['session']}" if e.attributes.get("session") else "") + f": {verdict}"
                + (f", written {self.sent_at[e.id]}" if e.id in self.sent_at else "") for at, e, way, verdict, link in self.asked[body]]

    def verdict(self, event, way, message):
        body, roll = event.body, self.dice.random()
        if way is not None:
            if not self.calm and roll < 0.03:
                return refused(event)
            self.passed_copies.add((text(message), event.attributes["session"]))
            return passed(event)
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
        self.copies = collections.defaultdict(list)  # body -> sessions that got a carbon copy
        self.received_copies = collections.defaultdict(list)  # of them those of what was received
        self.cuts = collections.defaultdict(list)  # bare JID -> times of cuts of his plain sessions
        self.ends = collections.defaultdict(list)  # bare JID -> when his sessions were cut, kicked or replaced
        self.blocks = set()  # (who, whom), ever
        self.asked = {}  # id of a request -> its session
        self.resumed = 0
        self.stories = collections.defaultdict(list)  # body -> what became of it, for the report; and of each session
        self.sessions = []
        self.disorder = []
        self.link_cuts, self.cut_clock, self.unseen = [], [], set()
        self.wrong = []

    def evidence(self, body, compliance):
        """All that is known of a message, in the order of time: itself, its events, what its sender's session and its recipient's sessions did meanwhile."""
        sent = self.sent[body]
        sessions = [s for s in self.sessions if s is sent.session or s.bare == sent.to.split("/")[0]]
        lines = self.stories[body] + compliance.story(body) + [line for s in sessions for line in self.stories[s]]
        lines += [f"{at} the link is cut" for at in self.cut_clock]
        first = self.stories[body][0]
        return sorted(line for line in lines if line >= first)

    def out_of_order(self):
        """A session that ends but by itself leaves what it did not acknowledge, or its connection did not take, to others, which may have got later ones by
        then."""
        return [what for bare, sent, delayed, what in self.disorder if not (delayed and any(t > sent.time for t in self.ends[bare]))]

    def blind(self, session):
        """May something else than a message have been kept from this session?"""
        return session.jid in self.unseen or any(t > session.began for t in self.link_cuts)


class Sent:
    def __init__(self, session, to, kind, number, place):
        self.session, self.to, self.kind, self.number, self.time, self.place = session, to, kind, number, time.monotonic(), place


    def acknowledged(self):
        """Must something have become of it? A session that ended may not have learned what."""
        return self.session.last or (self.session.managed and self.place <= self.session.certain)


class Session:
    numbers = 0

    def __init__(self, book, service, name, resource, managed=False):
        self.book, self.ended, self.numbered, self.asked, self.last = book, None, 0, {}, False  # last: there when all had come to rest
        self.known, self.checked, self.began = None, False, time.monotonic()
        self.order = {}  # sender's session -> its last numbers seen here: live, kept, live to the bare JID
        self.managed, self.token, self.counting, self.resuming = managed, None, False, False
        self.received, self.handled, self.certain, self.asking = 0, 0, 0, 0  # stanzas; asking: what it said it had received when it asked to resume
        self.told = self.sure = 0  # how many it acknowledged; and of how many it knows that the server has read it
        self.asked_h = collections.deque()  # for each <r/> under way what it had acknowledged by then: the server reads in order
        self.unsure = []  # number and body of messages that may not be acknowledged yet; in the end, the bodies of those
        self.unacked = collections.deque()  # what it sent
        self.kicked = False
        self.cut_at = self.resume_at = None  # of a session that may be resumed
        self.dice = random.Random(f"{SEED} {name} {resource} {Session.numbers}")
        self.client = Client(service, name, resource, presence=False)
        self.service, self.name, self.jid, self.bare = service, name, self.client.jid, self.client.bare
        Session.numbers += 1
        self.number = Session.numbers
        book.sessions.append(self)
        self.note("began" + (", with stream management" if managed else ""))
        if managed:
            self.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")

    def note(self, what):
        self.book.stories[self].append(f"{clock()} session {self.number}, {self.jid}, {what}")

    def write(self, xml):
        try:
            if self.cut_at is None:
                self.client.send(xml)
        except OSError:
            self.lose()

    def send(self, stanza):
        if self.managed:
            self.unacked.append(stanza)
        if self.resuming:
            return
        self.write(stanza)
        if self.managed and self.dice.random() < 0.1:
            self.ask_h()

    def end(self, how):
        if self.ended is not None:
            return
        self.ended = how
        self.note(f"ended: {how}; {self.received} stanzas, acknowledged {self.told}, surely {self.sure}; of its own {self.handled} are handled")
        if how != "done":
            self.book.ends[self.bare].append(time.monotonic())
        if self.managed and how != "done":
            self.unsure = [body for number, body in self.unsure if number > self.sure]

    # ---- stream management ----
    def lose(self):
        """The connection is gone, by whomever."""
        if self.token is None:
            self.end("lost")
        elif self.cut_at is None:
            self.cut_at, self.resuming = time.monotonic(), False
            self.resume_at = self.cut_at + self.dice.choice((0, 0.05, 0.3, 1, RESUME, 2 * RESUME, 1000))
            self.note(f"has no stream; {self.received} stanzas, acknowledged {self.told}, surely {self.sure}")

    def resume(self):
        try:
            client = Client(self.service, self.name, self.client.resource, login=False)
            client.open()
            token = base64.b64encode(f"\0{self.name}\0{client.password}".encode()).decode()
            client.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>")
            if not client.next(seconds=40).tag.endswith("}success"):
                return
            client.open()
            client.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{self.token}' h='{self.received}'/>")
        except (Closed, OSError):
            return
        client.jid, self.client, self.cut_at, self.resuming, self.asking = self.jid, client, None, True, self.received
        self.note(f"asks to be resumed, h={self.received}")
        self.asked_h.clear()

    def ask_h(self):
        self.asked_h.append(self.told)
        self.write("<r xmlns='urn:xmpp:sm:3'/>")

    def acknowledged(self, h):
        while self.handled < h:
            if not self.unacked:
                self.book.wrong.append(f"{self.jid}: the server acknowledges {h} stanzas, and {self.handled} were sent")
                self.handled = h
                return
            self.unacked.popleft()
            self.handled += 1

    def manage(self, e):
        if e.tag == SM + "enabled":
            self.token, self.counting = e.get("id"), True
            self.note("manages its stream")
        elif e.tag == SM + "r":
            if self.dice.random() < 0.8:
                self.told = self.received
                self.write(f"<a xmlns='urn:xmpp:sm:3' h='{self.received}'/>")
                self.ask_h()
        elif e.tag == SM + "a":
            if self.asked_h:  # not the one that comes at the end of the stream, unasked
                self.sure = self.asked_h.popleft()
            self.acknowledged(int(e.get("h")))
            self.certain = self.handled  # errors came before this; those that wait for a resumption come after <resumed/>
        elif e.tag == SM + "resumed":
            self.acknowledged(int(e.get("h")))
            self.resuming = False
            self.told = self.sure = self.asking
            self.book.resumed += 1
            self.note(f"is resumed, h={e.get('h')}")
            for stanza in list(self.unacked):
                self.write(stanza)
        elif e.tag == SM + "failed":
            if not self.resuming:
                self.book.wrong.append(f"{self.jid}: stream management fails: {ET.tostring(e).decode()}")
            self.end("not resumed")
            self.client.sock.close()

    def count(self, e):
        self.received += 1
        if e.tag == MESSAGE and e.get("type") != "error" and text(e) is not None:
            self.unsure.append((self.received, text(e)))
        if len(self.unsure) > 50:
            self.unsure = [u for u in self.unsure if u[0] > self.sure]

    def read(self, seconds=0.002):
        if self.ended is not None or self.cut_at is not None:
            return
        over = lost = False
        try:
            while self.client.read(seconds):
                seconds = 0.0
            over = self.client.stream.closed
        except (Closed, OSError):
            lost = True
        self.take()
        if over or (lost and self.token is None):
            self.end("closed")
            self.client.sock.close()
        elif lost:
            self.lose()

    def take(self):
        got, self.client.got = self.client.got, collections.deque()
        for e in got:
            if e.tag == STREAM_ERROR:
                self.kicked = True
                self.note(f"is told {condition_of_stream(e)}")
                continue
            if e.tag.startswith(SM):
                self.manage(e)
                continue
            if self.counting:
                self.count(e)
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
            way, inner = copied(e)
            if way is not None:
                self.copy(way, inner)
                return
            if e.get("type") == "error":
                body = e.get("id")
                if body not in self.book.sent:
                    self.book.wrong.append(f"{self.jid} got an error for what it did not send: {ET.tostring(e).decode()}")
                else:
                    self.book.errors[body].append(condition(e))
                    self.book.stories[body].append(f"{clock()} {condition(e)} came to {self.jid} (session {self.number})")
                return
            body = text(e)
            self.book.arrived[body].append(self)
            delayed = e.find("{urn:xmpp:delay}delay") is not None
            self.book.stories[body].append(f"{clock()} came to {self.jid} (session {self.number}), {'delayed' if delayed else 'live'}, as its stanza {self.received}")
            sent = self.book.sent.get(body)
            if sent is None:
                self.book.wrong.append(f"{self.jid} got a message that nobody sent: {body}")
                return
            self.in_order(delayed, body, sent)

    def in_order(self, delayed, body, sent):
        """Of one session's messages to one account. What was kept comes before what comes live, but that a client without presence gets what is addressed to
        it."""
        live, kept, live_to_bare = self.order.get(sent.session, (0, 0, 0))
        before = max(kept, live_to_bare if delayed else live)
        if before >= sent.number:
            what = f"{body} of {sent.session.jid} came to {self.jid}, {'kept' if delayed else 'live'}, as number {sent.number} after {before}"
            self.book.disorder.append((self.bare, sent, delayed, what))
        if delayed:
            kept = sent.number
        else:
            live, live_to_bare = sent.number, live_to_bare if "/" in sent.to else sent.number
        self.order[sent.session] = (live, kept, live_to_bare)

    def copy(self, way, inner):
        """A carbon copy of what another session of the user got or sent."""
        body = text(inner)
        sent = self.book.sent.get(body)
        self.book.stories[body if inner.get("type") != "error" else inner.get("id")].append(
            f"{clock()} a copy of what was {way}, {inner.get('type')}, came to {self.jid} (session {self.number})")
        if inner.get("type") == "error":
            return
        self.book.copies[body].append(self)
        own = sent is not None and sent.session.bare == self.bare and sent.to.split("/")[0] != self.bare
        if sent is None or (way == "sent") != own or (own and sent.session is self):
            self.book.wrong.append(f"{self.jid} got a copy of what was {way}, which is wrong: {ET.tostring(inner).decode()}")
        elif way == "received":
            self.book.received_copies[body].append(self)
            live, kept, live_to_bare = self.order.get(sent.session, (0, 0, 0))
            if live >= sent.number:
                self.book.wrong.append(f"{self.jid} got a copy of {body} of {sent.session.jid}, number {sent.number} after {live}")
            self.order[sent.session] = (sent.number, kept, live_to_bare)

    # ---- what it does ----
    def talk(self, to, kind="chat"):
        with self.book.lock:
            self.numbered += 1
            place = self.handled + len(self.unacked) + 1
            body = f"s{self.number}n{self.numbered}"
            self.book.sent[body] = Sent(self, to, kind, self.numbered, place)
            self.book.stories[body].append(f"{clock()} sent by {self.jid} (session {self.number}) to {to}")
        self.send(f"<message type='{kind}' id='{body}' to='{to}'><body>{body}</body></message>")

    def ask(self, kind, payload, to=None):
        identity = f"i{next(ids)}"
        self.asked[identity] = (kind, payload, to)
        with self.book.lock:
            self.book.asked[identity] = self
        self.send(f"<iq type='{kind}' id='{identity}'" + (f" to='{to}'" if to else "") + f">{payload}</iq>")

    def presence(self, priority):
        self.note(f"sends presence, priority {priority}")
        self.send("<presence type='unavailable'/>" if priority is None else f"<presence><priority>{priority}</priority></presence>")

    def close(self):
        """Orderly: what the server wrote before its end of stream was read."""
        end = time.monotonic() + 20 * SLOW
        while self.resuming and self.ended is None and time.monotonic() < end:
            self.read(0.05)
        asks = self.managed and self.dice.random() < 0.7
        while asks and self.unacked and self.ended is None and self.cut_at is None and time.monotonic() < end:
            self.ask_h()
            self.read(0.05)
        if self.ended is not None or self.cut_at is not None:
            return
        self.note("ends its stream")
        self.write("</stream:stream>")
        self.token = None  # the server's end of the stream is that of the session
        while self.ended is None and time.monotonic() < end:
            try:
                self.client.read(0.2)
            except (Closed, OSError):
                self.client.stream.closed = True
            self.take()
            if self.client.stream.closed:
                self.end("closed" if self.kicked else "done")  # both may have ended it at the same time
                self.client.sock.close()
        if self.ended is None:
            self.book.wrong.append(f"{self.jid}: the server did not end the stream")
            self.end("stuck")

    def cut(self):
        if self.ended is not None or self.cut_at is not None:
            return
        if self.managed:
            if self.token is not None:
                self.abort()
                self.lose()
            return
        self.read(0)
        with self.book.lock:
            self.book.cuts[self.bare].append(time.monotonic())
        self.end("cut")
        self.abort()

    def abort(self):
        try:
            self.client.cut()
        except OSError:
            pass


class Actor(threading.Thread):
    """One user."""

    def __init__(self, book, service, index, names, until):
        super().__init__(daemon=True)
        self.book, self.service, self.name_, self.names, self.until = book, service, names[index], names, until
        self.dice = random.Random(SEED * 1000 + index)
        self.managed, self.may_cut = index % 4 in (1, 2), index % 4 != 3
        self.blocked = set()
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
            session = Session(self.book, self.service, self.name_, resource, self.managed)
        except PermissionError:
            return
        except (Closed, OSError):
            return
        self.sessions.append(session)
        if self.dice.random() < 0.8:
            session.ask("get", ROSTER)
        if self.dice.random() < 0.5:
            session.ask("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
        session.presence(self.dice.choice((0, 0, 0, 5, -1)))
        for s in old:
            s.read(0.05)

    def act(self):
        for s in self.sessions:
            if s.cut_at is not None and time.monotonic() > s.resume_at:
                s.resume()
        live = [s for s in self.sessions if s.ended is None and s.cut_at is None]
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
        elif roll < (0.95 if self.managed else 0.92) and self.may_cut:
            s.cut()
        elif roll < 0.97:
            s.close()
        elif roll < 0.98:
            self.block(s)

    def block(self, s):
        if self.blocked and self.dice.random() < 0.7:
            s.ask("set", f"<unblock xmlns='urn:xmpp:blocking'><item jid='{self.blocked.pop()}'/></unblock>")
            return
        whom = self.bare()
        self.blocked.add(whom)
        with self.book.lock:
            self.book.blocks.add((s.bare, whom))
        s.ask("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{whom}'/></block>")

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
            for s in self.sessions:
                if s.cut_at is not None and s.resume_at < time.monotonic() + RESUME:
                    s.resume()
            while not self.still.is_set():
                self.pump(0.05)
            for s in list(self.sessions):
                s.close()
            self.pump()
            for s in self.sessions:
                s.end("not resumed")
        except BaseException as e:  # noqa: B902: told by the main thread
            self.failure = e
