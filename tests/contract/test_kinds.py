"""Every kind of stanza at the events it passes, with every kind of answer: what sender, recipient, store and the next profile of the chain see of it. EVENTS.md,
"What refusal (HANDLE, bounce, discard) does to each kind of stanza". Chat messages are in test_events.py, subscriptions in test_subscriptions.py."""
import copy
import xml.etree.ElementTree as ET

import pytest

from harness.client import condition, ids, text
from harness.compliance import passed, passed_with
from harness.service import wait_until
from lab import ANSWERS, Lab, Outcome, the_error

C = "{jabber:client}"
Q = "{urn:example:question}"
ALL = ("pass", "pass-stanza", "handle", "error-bounce", "error-pass", "silence-bounce", "invalid-bounce", "forget-pass", "forget-bounce")
AWAITED = ALL[:-2]  # where Fire and Forget would take the original too of which this is a copy
NOT_ALLOWED = Outcome("refuse", "not-allowed")


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    lab.service.user("rosaline")
    lab.cellar = None
    yield lab
    lab.close()


def reason(outcome):
    """What a request gets that was not allowed to go on."""
    return outcome if outcome.kind == "refuse" else NOT_ALLOWED


class Kind:
    """One kind of stanza. act() sends it; aimed() knows its event among others of the same stanza; changed() is what the server makes of it."""
    events, answers, packet = ("es_OUT", "e_DELIVER", "es_IN"), ALL, "message"

    def prepare(self, lab):
        pass

    def aimed(self, lab, event):
        return True

    @staticmethod
    def kept(_):
        return []

    def clean_up(self, lab):
        pass


class Request(Kind):
    """An iq get between two clients."""
    packet = "iq"

    def act(self, lab):
        self.identity = f"q{next(ids)}"
        lab.romeo.send(f"<iq type='get' id='{self.identity}' to='{lab.juliet.jid}'><query xmlns='urn:example:question'>as written</query></iq>")

    @staticmethod
    def changed(stanza):
        stanza[0].text = "changed"

    def check(self, lab, event, outcome, got, arrived):
        if outcome.kind in ("pass", "changed"):
            assert got == [] and [iq[0].text for iq in arrived] == ["as written" if outcome.kind == "pass" else "changed"]
            lab.juliet.send(f"<iq type='result' id='{self.identity}' to='{lab.romeo.jid}'/>")
            assert lab.romeo.next(C + "iq").get("id") == self.identity
        else: # rule 3: never unanswered
            assert arrived == []
            the_error(got, lab.juliet.jid, reason(outcome), self.identity)


class Answer(Kind):
    """An iq result or error from one client to another. Rule 3: refused it becomes an error of the same id for its addressee. Rule 1: nothing for its sender."""
    packet = "iq"

    def __init__(self, kind):
        self.kind = kind

    def prepare(self, lab):
        self.identity = f"q{next(ids)}"
        lab.romeo.send(f"<iq type='get' id='{self.identity}' to='{lab.juliet.jid}'><query xmlns='urn:example:question'/></iq>")
        lab.juliet.next(C + "iq")

    def act(self, lab):
        error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" if self.kind == "error" else ""
        lab.juliet.send(f"<iq type='{self.kind}' id='{self.identity}' to='{lab.romeo.jid}'><query xmlns='urn:example:question'>as written</query>{error}</iq>")

    changed = staticmethod(Request.changed)

    def check(self, lab, event, outcome, got, arrived):
        assert arrived == []
        if outcome.kind in ("pass", "changed"):
            assert [(iq.get("type"), iq.get("id"), iq[0].text) for iq in got] == [(self.kind, self.identity, "as written" if outcome.kind == "pass" else "changed")]
        else:
            the_error(got, lab.juliet.jid, Outcome("refuse", reason(outcome).condition), self.identity)
            assert got[0].find(Q + "query") is None


class Error(Kind):
    """A message of type error. Rule 1: refused it is dropped, and nobody is told."""

    def act(self, lab):
        lab.romeo.send(f"<message type='error' to='{lab.juliet.jid}' id='e'><body>as written</body><error type='cancel'>"
                       "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")

    @staticmethod
    def changed(stanza):
        stanza.find(C + "body").text = "changed"

    def check(self, lab, event, outcome, got, arrived):
        assert got == []
        assert [text(m) for m in arrived] == {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])


class Headline(Error):
    """A headline goes to all sessions: at es_IN it is a copy (rule 2); before that it is like any message."""

    def act(self, lab):
        self.identity = lab.romeo.message(lab.juliet.bare, "as written", kind="headline")

    def check(self, lab, event, outcome, got, arrived):
        assert [text(m) for m in arrived] == {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])
        if outcome.kind == "refuse" and event != "es_IN":
            the_error(got, lab.juliet.bare, outcome, self.identity)
        else:
            assert got == []


STATUS = "<status>as written</status><other xmlns='urn:example:other'/>"


class Directed(Kind):
    """Available presence to a full JID."""
    packet = "presence"

    def act(self, lab):
        lab.romeo.send(f"<presence to='{lab.juliet.jid}' id='p1'>{STATUS}</presence>")

    @staticmethod
    def changed(stanza):
        stanza.find(C + "status").text = "changed"

    def check(self, lab, event, outcome, got, arrived):
        assert [(p.get("type"), p.findtext(C + "status"), len(p)) for p in arrived] == \
            {"pass": [(None, "as written", 2)], "changed": [(None, "changed", 2)]}.get(outcome.kind, [])
        if outcome.kind == "refuse" and event != "es_IN":
            the_error(got, lab.juliet.jid, outcome, "p1")
        else:
            assert got == []

    def clean_up(self, lab):
        lab.romeo.send(f"<presence type='unavailable' to='{lab.juliet.jid}'/>")
        lab.fence(lab.romeo, lab.juliet)


class Unavailable(Directed):
    """Rule 4: unavailable presence is never refused; anything but PASS delivers it without status and foreign children."""

    def prepare(self, lab):
        lab.romeo.send(f"<presence to='{lab.juliet.jid}'/>")
        lab.fence(lab.romeo, lab.juliet)

    def act(self, lab):
        lab.romeo.send(f"<presence type='unavailable' to='{lab.juliet.jid}'>{STATUS}</presence>")

    def check(self, lab, event, outcome, got, arrived):
        assert got == [] and [p.get("type") for p in arrived] == ["unavailable"]
        assert arrived[0].findtext(C + "status") == {"pass": "as written", "changed": "changed"}.get(outcome.kind)
        assert len(arrived[0]) == (2 if outcome.kind in ("pass", "changed") else 0)

    def clean_up(self, lab):
        pass


class Broadcast(Kind):
    """Undirected presence. At es_OUT it is the user's own stanza; at the contact's side it is a copy (rule 2): dropped, and the sender is told nothing."""
    packet = "presence"

    def prepare(self, lab):
        if ("roster", "romeo@example.com", "juliet@example.com", None, "from", 0, 0, 1, 0) in lab.store():
            return
        lab.juliet.send("<presence type='subscribe' to='romeo@example.com'/>")
        lab.romeo.next(C + "presence", match=lambda p: p.get("type") == "subscribe")
        lab.romeo.send("<presence type='subscribed' to='juliet@example.com'/>")
        lab.juliet.next(C + "presence", match=lambda p: p.get("from") == lab.romeo.jid)
        lab.fence(lab.romeo, lab.juliet)

    def act(self, lab):
        self.status = f"as written {next(ids)}"
        lab.romeo.send(f"<presence id='p2'><status>{self.status}</status></presence>")

    def aimed(self, lab, event):
        return event.name != "es_IN" or event.attributes["session"] == lab.juliet.jid

    changed = staticmethod(Directed.changed)

    def check(self, lab, event, outcome, got, arrived):
        assert [p.findtext(C + "status") for p in arrived] == {"pass": [self.status], "changed": ["changed"]}.get(outcome.kind, [])
        if outcome.kind == "refuse" and event == "es_OUT":
            the_error(got, None, outcome, "p2")
        elif outcome.kind in ("handle", "discard") and event == "es_OUT":
            assert got == []
        elif outcome.kind == "discard" and event == "es_IN":
            assert got == [], "nor did the row let his own be written"
        else: # he sees his own presence
            assert [(p.get("from"), p.get("type")) for p in got] == [(lab.romeo.jid, None)]


class UnavailableBroadcast(Broadcast):
    """Rule 4 for the presence that ends a session's availability."""

    def act(self, lab):
        self.status = f"as written {next(ids)}"
        lab.romeo.send(f"<presence type='unavailable'><status>{self.status}</status><other xmlns='urn:example:other'/></presence>")

    def check(self, lab, event, outcome, got, arrived):
        lab.romeo.available()
        lab.juliet.next(C + "presence", match=lambda p: p.get("from") == lab.romeo.jid and p.get("type") is None)
        assert [p.get("type") for p in arrived] == ["unavailable"] and all(p.get("type") == "unavailable" for p in got)
        assert arrived[0].findtext(C + "status") == {"pass": self.status, "changed": "changed"}.get(outcome.kind)
        assert len(arrived[0]) == (2 if outcome.kind in ("pass", "changed") else 0)


class RosterSet(Kind):
    """A request that changes what is stored: at es_OUT and e_SERVER a refusal comes before the change, and nobody gets a push."""
    events, packet = ("es_OUT", "e_SERVER"), "iq"

    def prepare(self, lab):
        lab.romeo.iq("get", "<query xmlns='jabber:iq:roster'/>")

    def act(self, lab):
        self.identity = f"r{next(ids)}"
        lab.romeo.send(f"<iq type='set' id='{self.identity}'><query xmlns='jabber:iq:roster'><item jid='mercutio@example.com' name='as written'/></query></iq>")

    @staticmethod
    def changed(stanza):
        stanza[0][0].set("name", "changed")

    def kept(self, outcome):
        name = {"pass": "as written", "changed": "changed"}.get(outcome.kind)
        return [("roster", "romeo@example.com", "mercutio@example.com", name, "none", 0, 0, 1, 0)] if name else []

    def check(self, lab, event, outcome, got, arrived):
        assert arrived == []
        if outcome.kind in ("pass", "changed"):
            assert sorted(iq.get("type") for iq in got) == ["result", "set"]
        else:
            the_error(got, None, reason(outcome), self.identity)

    def clean_up(self, lab):
        lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='mercutio@example.com' subscription='remove'/></query>")
        lab.fence(lab.romeo, lab.juliet)


class Copy(Kind):
    """A copy of something for one other session of romeo's: it alone does not get it (rule 2), and nobody is told."""
    events, answers = ("es_IN",), AWAITED

    def prepare(self, lab):
        if lab.cellar is None:
            lab.cellar = lab.client("romeo", "cellar", presence=False)
            lab.cellar.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
            lab.cellar.iq("get", "<query xmlns='jabber:iq:roster'/>")

    def aimed(self, lab, event):
        return event.attributes["session"] == lab.cellar.jid

    def copies(self, lab):
        lab.rows()
        mark = lab.cellar.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
        assert mark.get("type") == "result"
        copies = list(lab.cellar.got)
        lab.cellar.got.clear()
        return [c for c in copies if c.tag != C + "presence" and not any(b.text.startswith("fence") for b in c.iter(C + "body"))]

    @staticmethod
    def changed(stanza):
        next(stanza.iter(C + "body")).text = "changed"

    def check(self, lab, event, outcome, got, arrived):
        copies = self.copies(lab)
        assert [self.told(c) for c in copies] == {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])
        self.original(got, arrived)

    @staticmethod
    def told(stanza):
        return next(stanza.iter(C + "body")).text


class CarbonSent(Copy):
    copy = "carbon"

    def act(self, lab):
        lab.romeo.message(lab.juliet.bare, "as written")

    def original(self, got, arrived):
        assert got == [] and [text(m) for m in arrived] == ["as written"]


class CarbonReceived(Copy):
    copy = "carbon"

    def act(self, lab):
        lab.juliet.message(lab.romeo.jid, "as written")

    def original(self, got, arrived):
        assert arrived == [] and [text(m) for m in got] == ["as written"]


class RosterPush(Copy):
    packet = "iq"

    def act(self, lab):
        lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='paris@example.com' name='as written'/></query>")

    def aimed(self, lab, event):
        return event.attributes["session"] == lab.cellar.jid and event.stanza.get("type") == "set"

    @staticmethod
    def changed(stanza):
        stanza[0][0].set("name", "changed")

    @staticmethod
    def told(stanza):
        return stanza[0][0].get("name")

    def original(self, got, arrived):
        assert arrived == [] and all(s.get("type") == "set" for s in got), "the one who asked has his result, and the push when he asked for the roster"

    @staticmethod
    def kept(_): # a push that is refused changes nothing of what it tells
        return [("roster", "romeo@example.com", "paris@example.com", "as written", "none", 0, 0, 1, 0)]

    def clean_up(self, lab):
        lab.romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='paris@example.com' subscription='remove'/></query>")
        lab.fence(lab.romeo, lab.juliet)
        self.copies(lab)


class Flush(Kind):
    """What was stored, when its user is back (rule 6): an outage or time-out leaves it in the store; HANDLE, an error or discarding removes it."""
    events, copy = ("es_IN",), "offline"

    def act(self, lab):
        lab.romeo.message("rosaline@example.com", "as written")
        wait_until("the message in the store", lambda: ("offline", "rosaline@example.com", "as written") in lab.store())
        self.rosaline = lab.client("rosaline", "kitchen")

    def aimed(self, lab, event):
        return event.attributes.get("copy") == "offline"

    changed = staticmethod(Error.changed)

    def check(self, lab, event, outcome, got, arrived):
        lab.juliet.message(self.rosaline.jid, "last")
        came = [text(m) for m in self.rosaline.until(lambda e: text(e) == "last") if m.tag == C + "message"]
        self.rosaline.close()
        assert got == [] and arrived == []
        stays = outcome.condition == "internal-server-error"
        assert came == {"pass": ["as written"], "changed": ["changed"]}.get(outcome.kind, [])
        self.stored = [("offline", "rosaline@example.com", "as written")] if stays else []

    def kept(self, _):
        return self.stored

    def clean_up(self, lab):
        if not self.stored:
            return
        rosaline = lab.client("rosaline", "kitchen")
        assert rosaline.next_message(body="as written").find("{urn:xmpp:delay}delay") is not None
        rosaline.close()
        wait_until("nothing in the store", lambda: not any(f[0] == "offline" for f in lab.store()))


KINDS = {"request": Request(), "result": Answer("result"), "iq-error": Answer("error"), "error": Error(), "headline": Headline(), "directed": Directed(),
         "unavailable": Unavailable(), "broadcast": Broadcast(), "unavailable-broadcast": UnavailableBroadcast(), "roster-set": RosterSet(),
         "carbon-sent": CarbonSent(), "carbon-received": CarbonReceived(), "roster-push": RosterPush(), "flush": Flush()}


EVENTS = ("es_OUT", "e_SERVER", "e_DELIVER", "e_OFFLINE", "es_IN")


def script_of(kind, lab, event, answer):
    """The case's script for the event it is about; whatever else is raised passes."""
    name = event
    def change(event):
        stanza = copy.deepcopy(event.stanza)
        kind.changed(stanza)
        return passed_with(event, ET.tostring(stanza, encoding="unicode"))
    script = ANSWERS[answer][0] or change
    return lambda event: script(event) if event.name == name and kind.aimed(lab, event) else passed(event)


CASES = [(k, e, a) for k, kind in KINDS.items() for e in kind.events for a in kind.answers if a != "silence-bounce" or e == kind.events[-1]]  # silence takes its time


@pytest.mark.parametrize("name,event,answer", CASES)
def test_kind(lab, name, event, answer):
    kind = KINDS[name]
    _, handling, forget, outcome = ANSWERS[answer]
    kind.prepare(lab)
    before = lab.store()
    rows = [(e, kind.packet, "bounce", False) for e in EVENTS if e != event]
    lab.begin(script_of(kind, lab, event, answer), [(event, kind.packet, handling, forget), *rows], [(event, kind.packet, "bounce", False)])
    kind.act(lab)
    seen = wait_until(f"the event {event}", lambda: [e for e in lab.first.seen(event) if kind.aimed(lab, e)])
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    second = [e for e in lab.second.seen(event) if kind.aimed(lab, e)]
    kind.check(lab, event, outcome, got, arrived)
    assert len(seen) == 1 and seen[0].awaited is not forget and seen[0].attributes.get("copy") == getattr(kind, "copy", None)
    if outcome.kind in ("pass", "changed"):
        assert [e.stanza_id for e in second] == [seen[0].stanza_id]
        assert (b"changed" in ET.tostring(second[0].stanza)) is (outcome.kind == "changed")
    else:
        assert second == []
    errors = [e for e in lab.first.seen() if e.stanza.get("type") == "error"]
    assert errors == [] or name in ("error", "iq-error"), "rule 1: a reply caused by a verdict raises no event"
    lab.store_has(before, kind.kept(outcome))
    kind.clean_up(lab)
