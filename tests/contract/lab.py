"""The stage of the contract tests: one service with a short event timeout, three compliance servers of which each has a profile of its own: "First", "Second",
"Third", asked in this order. Most cases need two: the first has the rows and the script of the case; the second passes everything and shows by what it sees
whether the chain went on."""
import copy
import pathlib
import re
import sqlite3
import xml.etree.ElementTree as ET
from collections import Counter

from harness.client import Client, condition, ids, text
from harness.compliance import Compliance, handled, passed, passed_with, refused
from harness.service import SLOW, Service, wait_until

TIMEOUT_MS = 400 if SLOW <= 1 else 900
STATS_MS = int(500 * SLOW) # the driver of e_STATS takes the row away again before the next one
SOURCE = pathlib.Path(__file__).parents[2]
ROW = re.compile(r'^EVENT\((\w+), (\w+), "(?:[^"\\]|\\.)*", (\w+), (\w+), (\w+), ([01]), \w+, "', re.MULTILINE)
CATALOGUE = {name: {"service": service, "key": key, "kinds": kinds, "answers": answers, "refusable": refusable == "1"}
             for name, service, key, kinds, answers, refusable in ROW.findall((SOURCE / "src/tables/events.def").read_text())}


def raised_in_source():
    """The events that jsm and tc raise. jsm names each where a question is made, tc in its requests' needs and after their effects."""
    found = set()
    for folder, named in (("jsm", r"\.event = EVENT_(\w+)"), ("tc", r"(?<!== )EVENT_(on\w+)")):
        for path in (SOURCE / "src" / folder).rglob("*.c"):
            found |= set(re.findall(named, path.read_text()))
    return found


class Outcome:
    """What one answer to one event must come to. kind: pass, changed, handle, refuse, discard."""

    def __init__(self, kind, condition=None, text=None):
        self.kind, self.condition, self.text = kind, condition, text


def silent(_):
    return None


def unknown(event):
    return f"<iq type='result' id='{event.iq_id}' from='{event.iq_to}' to='{event.iq_from}'><shrug xmlns='urn:signet:event-broker:0'/></iq>"


def altered(event, attribute, value):
    stanza = copy.deepcopy(event.stanza)
    stanza.set(attribute, value)
    return passed_with(event, ET.tostring(stanza, encoding="unicode"))


def readdressed(event):
    return altered(event, "to", "mercutio@example.com/elsewhere")


def retyped(event):
    return altered(event, "type", "error")


def refusing(event):
    return refused(event, "policy-violation", "Not this way.")


def oddly_refusing(event):
    return refused(event, "out-of-mood")


# name: (script, Handling, Fire and Forget or "shadow", outcome). Script None: the driver's own change of the stanza.
ANSWERS = {
    "pass": (passed, "bounce", False, Outcome("pass")),
    "pass-pass": (passed, "pass", False, Outcome("pass")),
    "pass-stanza": (None, "bounce", False, Outcome("changed")),
    "pass-stanza-pass": (None, "pass", False, Outcome("changed")),
    "handle": (handled, "bounce", False, Outcome("handle")),
    "handle-pass": (handled, "pass", False, Outcome("handle")),
    "error-bounce": (refusing, "bounce", False, Outcome("refuse", "policy-violation", "Not this way.")),
    "error-pass": (refusing, "pass", False, Outcome("pass")),
    "unknown-condition": (oddly_refusing, "bounce", False, Outcome("refuse", "undefined-condition")),
    "silence-bounce": (silent, "bounce", False, Outcome("refuse", "internal-server-error")),
    "silence-pass": (silent, "pass", False, Outcome("pass")),
    "invalid-bounce": (unknown, "bounce", False, Outcome("refuse", "internal-server-error")),
    "invalid-pass": (unknown, "pass", False, Outcome("pass")),
    "readdressed-bounce": (readdressed, "bounce", False, Outcome("refuse", "internal-server-error")),
    "readdressed-pass": (readdressed, "pass", False, Outcome("pass")),
    "retyped-bounce": (retyped, "bounce", False, Outcome("refuse", "internal-server-error")),
    "retyped-pass": (retyped, "pass", False, Outcome("pass")),
    "forget-pass": (passed, "pass", True, Outcome("pass")),
    "forget-bounce": (passed, "bounce", True, Outcome("discard")),
    "shadow-pass": (passed, "bounce", "shadow", Outcome("pass")),
    "shadow-pass-stanza": (None, "bounce", "shadow", Outcome("pass")),
    "shadow-handle": (handled, "bounce", "shadow", Outcome("pass")),
    "shadow-error-bounce": (refusing, "bounce", "shadow", Outcome("pass")),
    "shadow-error-pass": (refusing, "pass", "shadow", Outcome("pass")),
    "shadow-silence": (silent, "bounce", "shadow", Outcome("pass")),
    "shadow-invalid": (unknown, "bounce", "shadow", Outcome("pass")),
}


def expected(event, answer):
    """The outcome, with the exceptions of the catalogue: what only passes ignores a stanza; what can't be refused isn't."""
    outcome = ANSWERS[answer][3]
    row = CATALOGUE[event]
    if row["answers"] == "PASS" and answer in ("pass-stanza", "pass-stanza-pass", "readdressed-bounce", "readdressed-pass", "retyped-bounce", "retyped-pass"):
        return Outcome("pass")
    if not row["refusable"]:
        return Outcome("pass")
    return outcome


def changed_body(event):
    event.stanza.find("{jabber:client}body").text = "changed"
    return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))


def body_of(stanza):
    body = ET.fromstring(stanza).find("{jabber:client}body")
    return body.text if body is not None else None


class Lab:
    def __init__(self, options=None):
        self.service = Service({"broker.event_timeout": TIMEOUT_MS, "broker.stats_interval": STATS_MS, "server.shutdown_wait": 5, "register.enabled": "yes",
                                "register.accounts": 0, "offline.retry": 2, **(options or {})})
        self.service.user("romeo", "juliet", "tybalt", "nurse")
        self.servers = []
        for name in ("first", "second", "third"):
            self.service.profile(name.capitalize(), [])
            self.servers.append(Compliance(f"op-{name}.node1-example-com"))
            self.service.wait_link(self.service.compliance_server(name, self.servers[-1].port, profile=name.capitalize()), "ACTIVE")
        self.first, self.second, self.third = self.servers
        self.clients, self.in_force = [], [[], [], []]
        self.romeo, self.juliet = self.client("romeo", "balcony"), self.client("juliet", "garden")

    def client(self, *arguments, **keywords):
        self.clients.append(Client(self.service, *arguments, **keywords))
        return self.clients[-1]

    def rows(self, *rows):
        """Those of each profile; of those not given: none."""
        for i, name in enumerate(("First", "Second", "Third")):
            wanted = list(rows[i]) if i < len(rows) else []
            if wanted != self.in_force[i]:
                self.service.change_profile(name, wanted)
                self.in_force[i] = wanted

    def begin(self, script, *rows):
        """What the servers saw before is forgotten."""
        self.first.script = script
        self.rows(*rows)
        for server in self.servers:
            with server.lock:
                server.events.clear()

    def fence(self, here, there):
        """All that was under way between two clients has come; returns what each of them got."""
        mark = f"fence{next(ids)}"
        self.rows()
        self.service.quiet()
        here.message(there.bare, mark)
        got_there = there.until(lambda e: text(e) == mark)
        there.message(here.jid, mark)
        got_here = here.until(lambda e: text(e) == mark)
        return got_here, got_there

    def offline(self, sender, name):
        """Logs a user in who was away; returns what the sender got, and what the store had kept."""
        mark = f"fence{next(ids)}"
        self.rows()
        self.service.quiet()
        sender.message(f"{name}@example.com", mark)
        away = self.client(name, "back")
        stored = [e for e in away.until(lambda e: text(e) == mark) if e.tag.endswith("}message")]
        away.message(sender.jid, mark)
        got = sender.until(lambda e: text(e) == mark)
        away.close()
        # What was delivered leaves the store a moment after its client has it: the next one to look at the store isn't to see it go.
        wait_until("the store without it", lambda: not any(fact[:2] == ("offline", away.bare) for fact in self.store()))
        return got, stored

    def store(self):
        """What is kept for users, as facts that can be compared."""
        def rows(columns, table):
            return [tuple(r) for r in db.execute(f"SELECT user, {columns} FROM {table} JOIN account ON account.id = {table}.account")]
        db = sqlite3.connect(f"file:{self.service.dir}/data/store.db?mode=ro", uri=True)
        try:
            facts = [("account", user) for user, in db.execute("SELECT user FROM account")]
            facts += [("roster", *r) for r in rows("jid, name, subscription, ask, approved, in_roster, pending_in IS NOT NULL", "roster_item")]
            facts += [("offline", user, body_of(stanza)) for user, stanza in rows("stanza", "offline")]
            facts += [("document", *r) for r in rows("area, xml", "document")] + [("blocked", *r) for r in rows("jid", "blocked")]
        finally:
            db.close()
        return sorted(facts)

    def store_has(self, before, added):
        """What was there is there, and these facts beside it. A message that was delivered leaves the store when its client has it."""
        def same():
            now = self.store()
            return [f for f in before if f not in now] == [] and [f for f in now if f not in before] == added
        try:
            wait_until("the store", same)
        except AssertionError:
            now = self.store()
            raise AssertionError(f"gone from the store: {[f for f in before if f not in now]}, new: {[f for f in now if f not in before]}, expected: {added}") from None

    def invalid(self):
        return self.service.metric("events_failed_total", why="invalid-answer")

    def shadow(self):
        """What the answers to shadow rows would have come to."""
        return Counter({v: self.service.metric("events_shadow_total", verdict=v) for v in ("pass", "change", "handle", "refuse", "outage", "unlogged")})

    def late(self):
        return self.service.metric("event_answers_late_total")

    def close(self):
        for client in self.clients:
            client.close()
        try:
            self.service.close()
        finally:
            for server in self.servers:
                server.close()


def the_error(stanzas, sent_to, outcome, identity=None):
    """Exactly one stanza, an error as the outcome wants it, from the address that was used."""
    assert len(stanzas) == 1, [ET.tostring(s) for s in stanzas]
    error = stanzas[0]
    assert error.get("type") == "error" and error.get("from") == sent_to, ET.tostring(error)
    assert condition(error) == outcome.condition, ET.tostring(error)
    assert identity is None or error.get("id") == identity
    if outcome.text:
        assert error.find("{jabber:client}error/{urn:ietf:params:xml:ns:xmpp-stanzas}text").text == outcome.text


__all__ = [n for n in dir() if not n.startswith("_")]
