"""Lanes, barriers and tickets, all kinds of stanzas together: one client sends a random mix as fast as it can; the compliance server answers late and in random
order, refuses some and changes some. What each of the others sees is what was sent to him, in that order, each judged by the state the stanzas before it left.
A failing case names its seed; SEEDS=n plays the first n."""
import copy
import os
import random
import threading
import time
import xml.etree.ElementTree as ET

import pytest

from harness.client import Client, condition, text
from harness.compliance import Compliance, passed, passed_with, refused
from harness.service import Service, wait_until

C = "{jabber:client}"
EVENTS = ("es_OUT", "e_SERVER", "e_DELIVER", "e_OFFLINE", "es_IN")
REFUSED_AT = {"out": "es_OUT", "deliver": "e_DELIVER", "in": "es_IN", "offline": "e_OFFLINE"}
STEPS = 250


class Judge:
    """Answers what it was asked some milliseconds later, the last as soon as the first. The words of a body say what becomes of the message."""

    def __init__(self, server, seed):
        self.server, self.random = server, random.Random(seed)
        self.pool, self.lock, self.over = [], threading.Lock(), False
        self.answered = {}  # event id: how many events had come when it was answered
        server.script = self.take
        threading.Thread(target=self.run, daemon=True).start()

    def take(self, event):
        with self.lock:
            self.pool.append(event)

    def verdict(self, event):
        words = (event.body or event.stanza.findtext("{urn:example:question}query") or "").split()
        if any(REFUSED_AT.get(w) == event.name for w in words) and event.stanza.get("type") != "error":
            return refused(event)
        if "upper" in words and event.name == "es_OUT":
            stanza = copy.deepcopy(event.stanza)
            stanza.find(C + "body").text = event.body.upper()
            return passed_with(event, ET.tostring(stanza, encoding="unicode"))
        return passed(event)

    def run(self):
        while not self.over or self.pool:
            time.sleep(self.random.random() * 0.004)
            with self.lock:
                self.random.shuffle(self.pool)
                some, self.pool = self.pool[:self.random.randint(1, 12)], self.pool[12:] + self.pool[:12]
                self.pool = [e for e in self.pool if e not in some]
            if some:
                came = len(self.server.events)
                self.answered.update((e.id, came) for e in some)
                self.server.send("".join(self.verdict(e) for e in some))


class Stage:
    def __init__(self):
        self.service = Service({"offline.retry": 1})
        self.service.user("romeo", "juliet", "benvolio", "peter", "nurse")
        self.service.profile("Judge", [])
        self.server = Compliance("op-judge.node1-example-com")
        self.service.wait_link(self.service.compliance_server("judge", self.server.port, profile="Judge"), "ACTIVE")
        names = {"romeo": "balcony", "juliet": "garden", "benvolio": "square", "peter": "kitchen"}
        self.clients = {name: Client(self.service, name, resource) for name, resource in names.items()}
        self.cellar = Client(self.service, "romeo", "cellar", presence=False)
        self.cellar.iq("get", "<query xmlns='jabber:iq:roster'/>")
        self.cellar.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
        romeo, juliet = self.clients["romeo"], self.clients["juliet"]
        juliet.send("<presence type='subscribe' to='romeo@example.com'/>")
        romeo.next(C + "presence", match=lambda p: p.get("type") == "subscribe")
        romeo.send("<presence type='subscribed' to='juliet@example.com'/>")
        juliet.next(C + "presence", match=lambda p: p.get("from") == romeo.jid)
        settle(self)

    def close(self):
        for client in (*self.clients.values(), self.cellar):
            client.close()
        try:
            self.service.close()
        finally:
            self.server.close()


@pytest.fixture(scope="module")
def stage():
    stage = Stage()
    yield stage
    stage.close()


class Mix:
    """What romeo sends, and by the rules what each one is to see of it."""

    def __init__(self, stage, seed, words=True):
        self.stage, self.random, self.wordy = stage, random.Random(seed), words
        self.jids = {name: client.jid for name, client in stage.clients.items()}
        self.sent = []  # (id, to, is it a barrier)
        self.views = {name: [] for name in ("juliet", "benvolio", "peter", "nurse", "pushes", "answers")}
        self.errors = {}  # id: the condition romeo is told
        self.asked = set()  # ids of requests to clients
        self.blocked = self.asks = self.carbons = False
        self.status, self.text = None, []

    def add(self, xml, identity, to, barrier=False):
        self.text.append(xml)
        self.sent.append((identity, to, barrier))

    def message(self, i):
        name = self.random.choice(("juliet", "juliet", "benvolio", "peter", "nurse"))
        word = self.random.choice(("", "", "", "upper", "out", "deliver", "in", "offline")) if self.wordy else ""
        body = f"{i} {word}".strip()
        to = self.random.choice((f"{name}@example.com", self.jids.get(name, f"{name}@example.com")))
        self.add(f"<message type='chat' id='{i}' to='{to}'><body>{body}</body></message>", i, f"{name}@example.com")
        if word == "out":
            self.errors[i] = "policy-violation"
        elif name == "juliet" and self.blocked:
            self.errors[i] = "not-acceptable"
        elif word == "deliver" or (word == "in" and name != "nurse") or (word == "offline" and name == "nurse"):
            self.errors[i] = "policy-violation"
        else:
            self.views[name].append(("message", body.upper() if word == "upper" else body))

    def directed(self, i):
        name = self.random.choice(("juliet", "benvolio"))
        self.add(f"<presence id='{i}' to='{self.jids[name]}'><status>{i}</status></presence>", i, f"{name}@example.com")
        if name == "juliet" and self.blocked:
            self.errors[i] = "not-acceptable"
        else:
            self.views[name].append(("presence", i))

    def broadcast(self, i):
        self.add(f"<presence id='{i}'><status>{i}</status></presence>", i, None, True)
        self.status = i
        if not self.blocked:
            self.views["juliet"].append(("presence", i))

    def subscription(self, i):
        kind = "unsubscribe" if self.asks else "subscribe"
        self.add(f"<presence id='{i}' type='{kind}' to='peter@example.com'/>", i, "peter@example.com", True)
        self.views["peter"].append((kind, None))
        self.views["pushes"].append(("peter@example.com", None if self.asks else "subscribe"))
        self.asks = not self.asks

    def answered(self, xml, i, barrier=True):
        self.add(f"<iq {xml}</iq>", i, None, barrier)
        self.views["answers"].append(i)

    def roster(self, i):
        self.answered(f"type='set' id='{i}'><query xmlns='jabber:iq:roster'><item jid='paris@example.com' name='{i}'/></query>", i)
        self.views["pushes"].append(("paris@example.com", i))

    def block(self, i):
        what = "unblock" if self.blocked else "block"
        self.answered(f"type='set' id='{i}'><{what} xmlns='urn:xmpp:blocking'><item jid='juliet@example.com'/></{what}>", i)
        self.views["juliet"].append(("presence", self.status) if self.blocked else ("unavailable", None))
        self.views["pushes"].append((what, None))
        self.blocked = not self.blocked

    def carbon(self, i):
        self.carbons = not self.carbons
        self.answered(f"type='set' id='{i}'><{'enable' if self.carbons else 'disable'} xmlns='urn:xmpp:carbons:2'/>", i)

    def question(self, i):
        word = self.random.choice(("", "", "out", "deliver", "in")) if self.wordy else ""
        self.add(f"<iq type='get' id='{i}' to='{self.jids['benvolio']}'><query xmlns='urn:example:question'>{i} {word}</query></iq>", i, "benvolio@example.com")
        if word:
            self.errors[i] = "policy-violation"
        else:
            self.asked.add(i)
            self.views["benvolio"].append(("iq", i))

    def own(self, i):
        self.answered(f"type='get' id='{i}'><query xmlns='jabber:iq:roster'/>", i, False)

    def fill(self, steps):
        kinds = [self.message] * 12 + [self.directed] * 3 + [self.broadcast] * 2 + [self.question] * 3 + [self.own] * 2
        kinds += [self.subscription, self.roster, self.block, self.carbon]
        self.broadcast("s0")
        for i in range(1, steps):
            self.random.choice(kinds)(f"s{i}")
        if self.blocked:
            self.block("unblock")
        for name in ("juliet", "benvolio", "peter"):
            self.add(f"<message type='chat' id='end-{name}' to='{name}@example.com'><body>end</body></message>", f"end-{name}", f"{name}@example.com")
            self.views[name].append(("message", "end"))
        self.answered("type='set' id='end'><query xmlns='jabber:iq:roster'><item jid='paris@example.com' name='end'/></query>", "end")
        self.views["pushes"].append(("paris@example.com", "end"))


def shown(stanza):
    """A stanza as the views above tell of it."""
    kind = stanza.tag.removeprefix(C)
    if kind == "message":
        return (kind, text(stanza))
    if kind == "iq":
        return (kind, stanza.get("id"))
    if stanza.get("type") is not None:
        return (stanza.get("type"), None)
    return (kind, stanza.findtext(C + "status"))


def pushed(iq):
    payload = iq[0]
    if payload.tag.endswith("}query"):
        return (payload[0].get("jid"), payload[0].get("name") or payload[0].get("ask"))
    return (payload.tag.partition("}")[2], None)


def read_all(stage, mix):
    """Reads what everybody is sent until all that is wanted has come; benvolio answers what he is asked."""
    seen = {name: [] for name in mix.views}
    seen["romeo"] = []
    readers = [(name, stage.clients[name]) for name in ("juliet", "benvolio", "peter", "romeo")] + [("pushes", stage.cellar)]

    def turn():
        for name, client in readers:
            client.read(0.001)
            while client.got:
                stanza = client.got.popleft()
                if name == "benvolio" and stanza.tag == C + "iq":
                    client.send(f"<iq type='result' id='{stanza.get('id')}' to='{stanza.get('from')}'/>")
                seen[name].append(stanza)
        ends = all(any(text(s) == "end" for s in seen[name]) for name in ("juliet", "benvolio", "peter"))
        answers = sum(1 for s in seen["romeo"] if s.get("type") in ("error", "result"))
        return ends and answers >= len(mix.errors) + len(mix.asked) + len(mix.views["answers"]) and len(seen["pushes"]) >= len(mix.views["pushes"])
    try:
        wait_until("all that was sent", turn, 20)
    except AssertionError:
        pass  # what is missing is told below
    return seen


def check_order_of_events(server, judge, mix):
    """es_OUT in the order of sending; and a barrier's not before all earlier ones are answered, nor a later one's before the barrier's own are answered."""
    place = {identity: i for i, (identity, _, _) in enumerate(mix.sent)}
    events = [e for e in server.seen() if e.stanza.get("id") in place and e.attributes.get("session", "").endswith("/balcony") and e.name in ("es_OUT", "e_SERVER")]
    events = [e for e in events if (e.stanza.get("from") or "").startswith("romeo@")]
    at = {e.id: n for n, e in enumerate(server.seen())}
    first, last_answer = {}, {}
    for e in events:
        i = place[e.stanza.get("id")]
        first[i] = min(first.get(i, 1 << 30), at[e.id])
        last_answer[i] = max(last_answer.get(i, 0), judge.answered[e.id])
    assert sorted(first) == list(range(len(mix.sent))), "es_OUT of each"
    lanes, barrier, latest = {}, -1, 0
    for i, (identity, to, is_barrier) in enumerate(mix.sent):
        assert first[i] > lanes.get(to, -1), f"{identity} overtook in its lane"
        assert first[i] >= barrier, f"{identity} was asked about before the barrier ahead of it was answered"
        lanes[to] = first[i]
        if is_barrier:
            assert first[i] >= latest, f"the barrier {identity} was asked about before all earlier ones were answered"
            barrier = last_answer[i]
        latest = max(latest, last_answer[i])


@pytest.mark.parametrize("seed", range(1, int(os.environ.get("SEEDS", 3)) + 1))
def test_mix(stage, seed):
    mix = Mix(stage, seed)
    mix.fill(STEPS)
    stage.service.change_profile("Judge", [(e, "all", "bounce", False) for e in EVENTS])
    with stage.server.lock:
        stage.server.events.clear()
    judge = Judge(stage.server, seed)
    stage.clients["romeo"].send("".join(mix.text))
    seen = read_all(stage, mix)
    check_views(stage, mix, judge, seen)
    check_order_of_events(stage.server, judge, mix)
    after(stage, mix)


def check_views(stage, mix, judge, seen):
    judge.over = True
    stage.server.script = passed
    stage.service.change_profile("Judge", [])
    from_romeo = {name: [shown(s) for s in seen[name] if (s.get("from") or "").startswith("romeo@")] for name in ("juliet", "benvolio", "peter")}
    for name, view in from_romeo.items():
        assert view == mix.views[name], name
    told = [(s.get("id"), condition(s)) for s in seen["romeo"] if s.get("type") == "error"]
    assert dict(told) == mix.errors and len(told) == len(mix.errors)
    results = [s.get("id") for s in seen["romeo"] if s.tag == C + "iq" and s.get("type") == "result"]
    assert sorted(i for i in results if i in mix.asked) == sorted(mix.asked)
    assert [i for i in results if i not in mix.asked] == mix.views["answers"]
    assert [pushed(s) for s in seen["pushes"] if s.tag == C + "iq" and s.get("type") == "set"] == mix.views["pushes"]
    nurse = Client(stage.service, "nurse", "home")
    stage.clients["juliet"].message("nurse@example.com", "end")
    assert [("message", text(s)) for s in nurse.until(lambda e: text(e) == "end") if s.tag == C + "message"] == mix.views["nurse"]
    nurse.close()


@pytest.mark.parametrize("seed", range(101, 101 + int(os.environ.get("SEEDS", 2))))
def test_mix_while_profiles_change(stage, seed):
    """What is asked about changes all the time, so some stanzas wait and others have nobody to wait for: nobody can tell from what he sees."""
    mix = Mix(stage, seed, words=False)
    mix.fill(STEPS)
    with stage.server.lock:
        stage.server.events.clear()
    judge, turns = Judge(stage.server, seed), random.Random(seed)
    over = threading.Event()

    def change():
        while not over.wait(turns.random() * 0.03):
            stage.service.change_profile("Judge", [(e, turns.choice(("all", "message", "presence", "iq", "subscription")), "bounce", False) for e in turns.sample(EVENTS, turns.randint(0, 5))])
    changer = threading.Thread(target=change)
    changer.start()
    try:
        pace = turns.choice((5, 20, STEPS))
        for i in range(0, len(mix.text), pace):
            stage.clients["romeo"].send("".join(mix.text[i:i + pace]))
            time.sleep(0.005)
        seen = read_all(stage, mix)
    finally:
        over.set()
        changer.join()
    check_views(stage, mix, judge, seen)
    after(stage, mix)


def test_end_of_a_session(stage):
    """It is a barrier: what was sent before it arrives before the presence that tells of it, and es_END is raised when all that is done; whoever logs in with the
    same resource comes after both."""
    stage.service.change_profile("Judge", [(e, "all", "bounce", False) for e in (*EVENTS, "e_SESSION", "es_END")])
    with stage.server.lock:
        stage.server.events.clear()
    judge = Judge(stage.server, 4)
    for _ in range(5):
        guest = Client(stage.service, "nurse", "visit")
        wanted = {"juliet": [], "benvolio": []}
        xml = "".join(f"<presence to='{stage.clients[name].jid}'><status>here</status></presence>" for name in wanted)
        for i in range(20):
            name = judge.random.choice(list(wanted))
            wanted[name].append(("message", f"{i}"))
            xml += f"<message type='chat' to='{name}@example.com'><body>{i}</body></message>"
        guest.send(xml + "</stream:stream>")
        for name, messages in wanted.items():
            client = stage.clients[name]
            view = [shown(s) for s in client.until(lambda e: e.get("type") == "unavailable" and e.get("from") == guest.jid)]
            assert view == [("presence", "here"), *messages], name
        guest.sock.close()
    wait_until("es_END", lambda: len(stage.server.seen("es_END")) == 5)
    names = [e.name for e in stage.server.seen() if e.name in ("e_SESSION", "es_END")]
    assert names == ["e_SESSION", "es_END"] * 5
    judge.over = True
    stage.server.script = passed
    stage.service.change_profile("Judge", [])
    stage.service.quiet()
    settle(stage)


def settle(stage):
    for client in (*stage.clients.values(), stage.cellar):
        client.iq("get", "<query xmlns='jabber:iq:roster'/>")
        client.got.clear()


def after(stage, mix):
    """As it was before, for the next seed."""
    romeo, peter = stage.clients["romeo"], stage.clients["peter"]
    if mix.asks:
        romeo.send("<presence type='unsubscribe' to='peter@example.com'/>")
        peter.next(C + "presence", match=lambda p: p.get("type") == "unsubscribe")
    romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='peter@example.com' subscription='remove'/></query>")
    if mix.carbons:
        romeo.iq("set", "<disable xmlns='urn:xmpp:carbons:2'/>")
    stage.service.quiet()
    settle(stage)
