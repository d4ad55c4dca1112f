"""Packet types: a row of a profile with one of them is asked about exactly the stanzas of that type, at each event. The same day is lived once with rows for `all`
and once for each type; what is seen in a part must be that part of the whole."""
import collections
import itertools
import time

import pytest

from harness.client import ids, text
from harness.compliance import passed
from harness.service import wait_until
from lab import CATALOGUE, STATS_MS, Lab

JSM = [name for name, row in CATALOGUE.items() if row["service"] == "JSM"]
TYPES = ("iq", "message", "presence", "subscription")
SUBSCRIPTIONS = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")
DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"


def packet(kind, of_type):
    return "subscription" if kind == "presence" and of_type in SUBSCRIPTIONS else kind


class Day:
    """Something of every kind at every event, and what was asked of it: (event, kind, type), how often."""

    def __init__(self, lab):
        self.lab = lab
        self.other = lab.client("juliet", "orchard")
        self.lived([])  # rosters are as they will be at the end of each day

    def lived(self, rows):
        lab = self.lab
        lab.begin(passed, rows)
        self.stranger()
        self.nurse()
        for send in (self.between_sessions, self.subscriptions, self.to_the_server, self.to_nobody):
            send()
        self.mark()
        lab.service.quiet()
        seen = collections.Counter((e.name, e.stanza.tag.split("}")[1], e.stanza.get("type")) for e in lab.first.seen() if e.name != "e_STATS")
        lab.fence(lab.romeo, lab.juliet)
        self.other.got.clear()
        return seen

    def mark(self):
        """All that was under way between the two has come."""
        mark = f"mark{next(ids)}"
        for sender, reader in ((self.lab.romeo, self.lab.juliet), (self.lab.juliet, self.lab.romeo)):
            sender.message(reader.jid, mark)
            reader.until(lambda e: text(e) == mark)

    def stranger(self):
        client = self.lab.client("nobody", login=False)
        client.open()
        client.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>new{next(ids)}</username><password>{client.password}</password></query></iq>")
        assert client.next("{jabber:client}iq").get("type") == "result"
        client.close()

    def nurse(self):
        self.lab.client("nurse", "kitchen").close()
        wait_until("the end of the session", lambda: all("kitchen" not in s["jid"] for s in self.lab.service.get("/v1/sessions")["sessions"]))

    def between_sessions(self):
        romeo, juliet = self.lab.romeo, self.lab.juliet
        for kind in ("chat", "normal", "headline", "groupchat", "error"):
            romeo.message(juliet.jid, "for the session", kind=kind)
        romeo.message(juliet.bare, "for the user")
        for kind in ("get", "set", "result", "error"):
            romeo.send(f"<iq type='{kind}' id='q{next(ids)}' to='{juliet.jid}'><query xmlns='urn:example:question'/></iq>")
        for kind in ("", "type='unavailable'", "type='probe'", "type='error'"):
            romeo.send(f"<presence to='{juliet.jid}' {kind}/>")
        self.mark()  # the probe is answered with unsubscribed, which may not come in between the subscriptions

    def subscriptions(self):
        """Each waits for the one before it to arrive, so that every day is the same."""
        romeo, juliet = self.lab.romeo, self.lab.juliet
        for sender, reader, kind in ((romeo, juliet, "subscribe"), (juliet, romeo, "subscribed"), (romeo, juliet, "unsubscribe"),
                                     (romeo, juliet, "subscribe"), (juliet, romeo, "subscribed"), (juliet, romeo, "unsubscribed")):
            sender.send(f"<presence to='{reader.bare}' type='{kind}'/>")
            reader.next("{jabber:client}presence", match=lambda e: e.get("type") == kind)

    def to_the_server(self):
        romeo = self.lab.romeo
        for to in ("example.com", romeo.bare):
            romeo.iq("get", DISCO, to=to)
        romeo.iq("set", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
        romeo.send("<presence to='example.com'/><message to='example.com'><body>Hear me</body></message>")

    def to_nobody(self):
        for kind in ("chat", "normal"):
            self.lab.romeo.message("tybalt@example.com", "later", kind=kind)
        self.lab.romeo.iq("get", "<query xmlns='urn:example:question'/>", to="tybalt@example.com")
        self.lab.romeo.send("<presence to='tybalt@example.com'/>")


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def day(lab):
    return Day(lab)


@pytest.fixture(scope="module")
def whole(day):
    return day.lived([(event, "all", "bounce", False) for event in JSM])


def part(whole, *types):
    return collections.Counter({key: n for key, n in whole.items() if packet(key[1], key[2]) in types})


def test_the_day_has_it_all(whole):
    """What comes at an event is what the catalogue says; and all that a session can send was there."""
    came = {event: {packet(kind, of_type) for name, kind, of_type in whole if name == event} for event in JSM if event != "e_STATS"}
    for event, types in came.items():
        mask = CATALOGUE[event]["kinds"]
        assert types == (set(TYPES) if mask == "PACKET_ALL" else {mask.removeprefix("PACKET_").lower()}), event
    every = {("message", t) for t in ("chat", "normal", "headline", "groupchat", "error")} | {("iq", t) for t in ("get", "set", "result", "error")}
    every |= {("presence", t) for t in (None, "unavailable", "probe", "error", *SUBSCRIPTIONS)}
    sent = {(kind, of_type) for event, kind, of_type in whole if event == "es_OUT"}
    assert {(k, t or ("normal" if k == "message" else t)) for k, t in sent} >= every


@pytest.mark.parametrize("packet_type", TYPES)
def test_one_type(day, whole, packet_type):
    assert day.lived([(event, packet_type, "bounce", False) for event in JSM]) == part(whole, packet_type)


@pytest.mark.parametrize("types", list(itertools.combinations(TYPES, 2))[::5], ids=" ".join)
def test_two_types(day, whole, types):
    assert day.lived([(event, t, "bounce", False) for event in JSM for t in types]) == part(whole, *types)


def test_each_event_its_own(day, whole):
    """Not every event with the same type: messages that leave, subscriptions that arrive, and so on."""
    rows = {"es_OUT": "message", "e_DELIVER": "subscription", "es_IN": "presence", "e_SERVER": "message", "e_OFFLINE": "message", "e_DISCOFEAT": "iq", "e_PRISESSION": "all",
            "es_END": "presence", "e_AUTH": "subscription"}
    wanted = {key: n for key, n in whole.items() if rows.get(key[0]) in ("all", packet(key[1], key[2]))}
    assert wanted and day.lived([(event, t, "bounce", False) for event, t in rows.items()]) == wanted


@pytest.mark.parametrize("packet_type", ["iq", "presence"])
def test_stats(lab, packet_type):
    lab.begin(passed, [("e_STATS", packet_type, "pass", False)])
    if packet_type == "iq":
        lab.first.wait("e_STATS")
    else:
        time.sleep(1.5 * STATS_MS / 1000)
        assert lab.first.seen() == []
    lab.rows()
