"""Subscriptions (EVENTS.md, rule 5): each of the four stanzas, refused at each of its events in each way. Both rosters fit together afterwards, in memory and in the
store, and nobody was shown what did not happen."""
import pytest

from harness.client import Client, condition, text
from harness.compliance import handled, passed
from harness.service import wait_until
from lab import Lab, Outcome, refusing, silent, the_error

C = "{jabber:client}"
WAYS = {"handle": (handled, "bounce", False, None), "error": (refusing, "bounce", False, "policy-violation"),
        "discard": (passed, "bounce", True, None), "silence": (silent, "bounce", False, "internal-server-error")}
STATUS = "<status>as written</status><other xmlns='urn:example:other'/>"


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    yield lab
    lab.close()


def roster(client):
    result = client.iq("get", "<query xmlns='jabber:iq:roster'/>")
    return {i.get("jid"): (i.get("subscription"), i.get("ask")) for i in result[0]}


class Pair:
    """Two fresh users, one who subscribes and one who is subscribed to, since rosters keep what was done to them."""
    number = 0

    def __init__(self, lab, start):
        Pair.number += 1
        self.lab, self.names = lab, (f"abram{Pair.number}", f"balthasar{Pair.number}")
        lab.rows()
        lab.service.user(*self.names)
        self.a, self.b = (lab.client(name, "one") for name in self.names)
        roster(self.a), roster(self.b)
        if start != "nothing":
            self.a.send(f"<presence type='subscribe' to='{self.b.bare}'/>")
            self.b.next(C + "presence", match=lambda p: p.get("type") == "subscribe")
        if start == "granted":
            self.b.send(f"<presence type='subscribed' to='{self.a.bare}'/>")
            self.a.next(C + "presence", match=lambda p: p.get("type") == "subscribed")
            self.a.next(C + "presence", match=lambda p: p.get("from") == self.b.jid)
        lab.fence(self.a, self.b)
        self.pushed = {self.a: STATES[start][0], self.b: STATES[start][1]}

    def fence(self, here, there):
        sides = self.lab.fence(here, there)
        for client, stanzas in zip((here, there), sides):
            self.follow(client, stanzas)
        return sides

    def follow(self, client, stanzas):
        """What a client knows that only looks at roster pushes."""
        for item in (iq[0][0] for iq in stanzas if iq.tag == C + "iq" and iq.get("type") == "set"):
            self.pushed[client] = (item.get("subscription"), item.get("ask"))

    def rosters(self):
        """What each client's roster says of the other, and whether a request waits for the second; the pushes and the store say the same."""
        self.lab.rows()
        views = roster(self.a).get(self.b.bare), roster(self.b).get(self.a.bare)
        for client, view in zip((self.a, self.b), views):
            self.follow(client, client.got)
            assert self.pushed.get(client, view) == view, "the pushes say otherwise"
        wait_until(f"{views} in the store", lambda: views == tuple(self.kept(client) for client in (self.a, self.b)))
        return (*views, ("pending", self.a.bare) in self.facts(self.b))

    def facts(self, client):
        rows = [f for f in self.lab.store() if f[0] == "roster" and f[1] == client.bare]
        return [("item", (f[4], "subscribe" if f[5] else None)) for f in rows if f[7]] + [("pending", f[2]) for f in rows if f[8]]

    def kept(self, client):
        return next((view for what, view in self.facts(client) if what == "item"), None)


NONE, TO, FROM, ASKS = ("none", None), ("to", None), ("from", None), ("none", "subscribe")
STATES = {"nothing": (None, None, False), "asked": (ASKS, None, True), "granted": (TO, FROM, False)}
# what is done: (who sends it: 0 is the one who subscribes, type, where they start, the rosters when it passes, the rosters when e_DELIVER refuses it,
#                what comes back then, does the stanza arrive all the same)
DONE = {
    "subscribe": (0, "subscribe", "nothing", STATES["asked"], (NONE, None, False), "unsubscribed", False),
    "approve": (1, "subscribed", "asked", STATES["granted"], (NONE, NONE, False), "unsubscribe", False),
    "deny": (1, "unsubscribed", "asked", (NONE, None, False), (NONE, None, False), None, True),
    "withdraw": (0, "unsubscribe", "asked", (NONE, None, False), (NONE, None, False), None, True),
    "unsubscribe": (0, "unsubscribe", "granted", (NONE, NONE, False), (NONE, NONE, False), None, True),
    "cancel": (1, "unsubscribed", "granted", (NONE, NONE, False), (NONE, NONE, False), None, True),
}


def subscription_stanzas(stanzas, other):
    return [(p.get("type"), p.get("from"), len(p)) for p in stanzas if p.tag == C + "presence" and "subscribe" in (p.get("type") or "") and p.get("from") == other.bare]


def answer_of(sender, answer):
    """What a refusal is answered with comes by itself: it is in no order with what follows."""
    return [sender.next(C + "presence", match=lambda p: p.get("type") == answer)] if answer else []


def act(lab, done, event, way):
    """Does it, refused at this event in this way; returns the pair."""
    who, kind, start, _, _, answer, _ = DONE[done]
    pair = Pair(lab, start)
    script, handling, forget, _ = WAYS[way]
    lab.begin(script, [(event, "subscription", handling, forget)])
    sender, other = (pair.a, pair.b) if who == 0 else (pair.b, pair.a)
    sender.send(f"<presence type='{kind}' to='{other.bare}' id='s1'>{STATUS}</presence>")
    lab.first.wait(event)
    answer_of(sender, answer if event == "e_DELIVER" else None)
    pair.fence(pair.a, pair.b)
    assert [(e.name, e.stanza.get("type"), e.stanza.get("from")) for e in lab.first.seen()] == [(event, kind, sender.jid if event == "es_OUT" else sender.bare)]
    return pair


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("done", DONE)
def test_refused_at_es_OUT(lab, done, way):
    """Before any change of a roster."""
    who, kind, start, *_ = DONE[done]
    pair = Pair(lab, start)
    script, handling, forget, error = WAYS[way]
    if way == "silence" and done not in ("subscribe", "cancel"):
        return # takes its time, and is an error like any other
    lab.begin(script, [("es_OUT", "subscription", handling, forget)])
    sender, other = (pair.a, pair.b) if who == 0 else (pair.b, pair.a)
    sender.send(f"<presence type='{kind}' to='{other.bare}' id='s1'>{STATUS}</presence>")
    lab.first.wait("es_OUT")
    got, arrived = pair.fence(sender, other)
    assert arrived == []
    if error:
        the_error(got, other.bare, Outcome("refuse", error), "s1")
    else:
        assert got == []
    assert pair.rosters() == STATES[start]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("done", DONE)
def test_refused_at_e_DELIVER(lab, done, way):
    """subscribe and subscribed are answered with unsubscribed and unsubscribe; the end of a subscription can't be refused, and arrives without what it says."""
    who, kind, start, _, rosters, answer, arrives = DONE[done]
    pair = Pair(lab, start)
    if way == "silence" and done not in ("subscribe", "approve"):
        return
    script, handling, forget, _ = WAYS[way]
    lab.begin(lambda e: script(e) if e.name == "e_DELIVER" else passed(e), [("e_DELIVER", "subscription", handling, forget), ("es_IN", "subscription", "bounce", False)])
    sender, other = (pair.a, pair.b) if who == 0 else (pair.b, pair.a)
    sender.send(f"<presence type='{kind}' to='{other.bare}' id='s1'>{STATUS}</presence>")
    lab.first.wait("e_DELIVER")
    answers = answer_of(sender, answer)
    got, arrived = pair.fence(sender, other)
    assert [(e.name, e.stanza.get("type")) for e in lab.first.seen()] == [("e_DELIVER", kind)] + [("es_IN", kind)] * arrives, "a reply caused by a verdict raises no event"
    assert subscription_stanzas(answers + got, other) == ([(answer, other.bare, 0)] if answer else [])
    assert subscription_stanzas(arrived, sender) == ([(kind, sender.bare, 0)] if arrives else [])
    assert [p for p in got + arrived if p.get("type") == "error"] == []
    assert not [p for p in arrived if p.tag == C + "presence" and p.get("type") is None], "he is shown no presence of one he is not subscribed to"
    assert pair.rosters() == rosters


@pytest.mark.parametrize("way", ("handle", "error", "discard"))
@pytest.mark.parametrize("done", DONE)
def test_refused_at_es_IN(lab, done, way):
    """The one session does not get its copy; what was done is done, and the other side is told nothing."""
    who, kind, start, rosters, *_ = DONE[done]
    pair = Pair(lab, start)
    script, handling, forget, _ = WAYS[way]
    lab.begin(script, [("es_IN", "subscription", handling, forget)])
    sender, other = (pair.a, pair.b) if who == 0 else (pair.b, pair.a)
    sender.send(f"<presence type='{kind}' to='{other.bare}' id='s1'>{STATUS}</presence>")
    lab.first.wait("es_IN")
    got, arrived = pair.fence(sender, other)
    assert subscription_stanzas(got, other) == [] and subscription_stanzas(arrived, sender) == []
    assert [p for p in got + arrived if p.get("type") == "error"] == []
    assert pair.rosters() == rosters
    if done == "subscribe": # it stays stored, and comes at the next log-in
        again = lab.client(pair.names[1], "two")
        assert again.next(C + "presence", match=lambda p: p.get("type") == "subscribe").findtext(C + "status") == "as written"


@pytest.mark.parametrize("event", ("es_OUT", "e_DELIVER", "es_IN"))
@pytest.mark.parametrize("done", DONE)
def test_passed(lab, done, event):
    who, kind, start, rosters, *_ = DONE[done]
    pair = Pair(lab, start)
    lab.begin(passed, [(event, "subscription", "bounce", False)])
    sender, other = (pair.a, pair.b) if who == 0 else (pair.b, pair.a)
    sender.send(f"<presence type='{kind}' to='{other.bare}' id='s1'>{STATUS}</presence>")
    lab.first.wait(event)
    got, arrived = pair.fence(sender, other)
    assert subscription_stanzas(got, other) == [] and subscription_stanzas(arrived, sender) == [(kind, sender.bare, 2)]
    assert pair.rosters() == rosters


def test_refused_before_a_restart(lab):
    """What a refusal left is there after a restart too, and nobody is asked or told anew."""
    pairs = []
    for done, event in (("subscribe", "es_OUT"), ("subscribe", "e_DELIVER"), ("subscribe", "es_IN"), ("approve", "e_DELIVER"), ("cancel", "e_DELIVER"), ("cancel", "es_OUT")):
        pair = act(lab, done, event, "error")
        pairs.append((pair, done, event, pair.rosters()))
    lab.rows()
    for client in lab.clients:
        client.close()
    lab.clients.clear()
    assert lab.service.stop() == 0
    lab.service.start()
    for name in ("first", "second", "third"):
        lab.service.wait_link(f"op-{name}.node1-example-com", "ACTIVE")
    for pair, done, event, before in pairs:
        pair.a, pair.b = (lab.client(name, "one") for name in pair.names)
        got, arrived = lab.fence(pair.a, pair.b)
        asked_anew = [("subscribe", pair.a.bare, 2)] if (done, event) == ("subscribe", "es_IN") else []
        assert subscription_stanzas(got, pair.b) == [] and subscription_stanzas(arrived, pair.a) == asked_anew
        assert pair.rosters() == before
    lab.romeo, lab.juliet = lab.client("romeo", "balcony"), lab.client("juliet", "garden")


def test_presence_of_a_cut_session(lab):
    """The server makes the unavailable presence: no es_OUT, but e_DELIVER and es_IN at the contact, and es_END."""
    pair = Pair(lab, "granted")
    lab.begin(passed, [(e, "presence", "bounce", False) for e in ("es_OUT", "e_DELIVER", "es_IN", "es_END")])
    pair.b.cut()
    pair.a.next(C + "presence", match=lambda p: p.get("type") == "unavailable" and p.get("from") == pair.b.jid)
    lab.first.wait("es_END")
    assert sorted(e.name for e in lab.first.seen()) == ["e_DELIVER", "es_END", "es_IN"]


def test_the_push_of_a_refused_approval_is_asked_about(lab):
    """es_IN of the roster push that tells of the refusal: what the contact sends next is written behind it."""
    pair = Pair(lab, "asked")
    held = []

    def script(event):
        if event.name == "e_DELIVER":
            return refusing(event) if event.stanza.get("type") == "subscribed" else passed(event)
        if event.stanza.tag == C + "iq" and event.attributes["session"] == pair.a.jid:
            return held.append(event)
        return passed(event)
    lab.begin(script, [("e_DELIVER", "all", "bounce", False), ("es_IN", "all", "bounce", False)])
    pair.b.send(f"<presence type='subscribed' to='{pair.a.bare}'/>")
    pair.b.message(pair.a.bare, "behind it")
    wait_until("the push", lambda: held)
    answer_of(pair.b, "unsubscribe")
    pair.a.nothing(C + "message", seconds=0.1)
    lab.first.send(passed(held[0]))
    pair.follow(pair.a, pair.a.until(lambda e: text(e) == "behind it"))
    assert pair.pushed[pair.a] == NONE
    lab.first.script = passed
    pair.fence(pair.a, pair.b)
    assert pair.rosters() == (NONE, NONE, False)
