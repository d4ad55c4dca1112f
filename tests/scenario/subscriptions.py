"""Tables of the subscription states (RFC 6121, appendix A). The states of the rows are put into the store before the service starts, so that each row begins in
exactly its state, those too that two servers which agree never come to. Then the stanza is sent, and what was asked of a compliance server that passes
everything tells where it went: e_DELIVER that it went on or was answered, the user's client that it was shown to him. At the end the store is read again.

Each row is played for contacts that are there, that are away and, where the user sends, that do not exist; where the user receives, for users that are there and away."""
import re
import sqlite3

from harness.client import Client
from harness.compliance import Compliance
from harness.service import Service

TYPES = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")
FORM = re.compile(r"(None|To|From|Both)(?: \+ Pending (Out\+In|Out|In))?(, approved)?")
OPPOSITE = {"none": "none", "to": "from", "from": "to", "both": "both"}


class State:
    """subscription; ask: Pending Out; asked: Pending In; approved."""

    def __init__(self, text):
        name, pending, approved = FORM.fullmatch(text).groups()
        self.subscription, self.ask, self.asked, self.approved = name.lower(), "Out" in (pending or ""), "In" in (pending or ""), bool(approved)

    def mirrored(self):
        """The contact's, when both servers agree."""
        other = State("None")
        other.subscription, other.ask, other.asked = OPPOSITE[self.subscription], self.asked, self.ask
        return other

    def shown(self):
        """What the user's own clients see of it."""
        return self.subscription, self.ask, self.approved



def text_of(row):
    """A row of the store in the table's words."""
    subscription, ask, approved, asked = row
    pending = {(0, 0): "", (1, 0): " + Pending Out", (0, 1): " + Pending In", (1, 1): " + Pending Out+In"}[ask, asked]
    return subscription.capitalize() + pending + (", approved" if approved else "")


class Scene:
    """A service whose store holds, for each pair of user and contact, the state the row begins in."""

    def __init__(self):
        self.service = Service({"log.level": "info", "server.shutdown_wait": 1})
        self.compliance = Compliance("op-rec.node1-example-com")
        self.pairs = []

    def pair(self, user, state, contact, contact_state):
        self.pairs.append((user, contact, state))
        self.pairs.append((contact, user, contact_state))

    def begin(self, unknown):
        names = {one for one, _, _ in self.pairs} | {other for _, other, _ in self.pairs}
        self.service.user(*sorted(names - unknown))
        assert self.service.stop() == 0
        with self.store() as db:
            for one, other, state in self.pairs:
                request = f"<presence type='subscribe' from='{other}@example.com' to='{one}@example.com'/>" if state.asked else None
                db.execute("INSERT INTO roster_item SELECT id, ?, NULL, ?, ?, ?, 1, ? FROM account WHERE user = ?",
                           (f"{other}@example.com", state.subscription, state.ask, state.approved, request, f"{one}@example.com"))
        self.service.start()
        self.service.profile("P", [("e_DELIVER", "subscription", "pass", False), ("es_IN", "subscription", "pass", False)])
        self.service.wait_link(self.service.compliance_server("rec", self.compliance.port, profile="P"), "ACTIVE")

    def store(self):
        return sqlite3.connect(self.service.dir / "data" / "store.db")

    def end(self):
        """(user, contact) -> the state it has now; a pair that nothing is kept of is in state None."""
        assert self.service.stop() == 0
        with self.store() as db:
            rows = db.execute("SELECT account.user, roster_item.jid, subscription, ask, approved, pending_in IS NOT NULL FROM roster_item JOIN account ON roster_item.account = account.id")
            states = {(one.split("@")[0], other.split("@")[0]): text_of(row) for one, other, *row in rows}
        self.service.start()
        return states

    def close(self):
        self.service.close()
        self.compliance.close()

    # ---- what went where ----
    def asked(self, event, sender, to):
        """Types of the subscription stanzas between these two that the compliance server was asked about with that event."""
        return [e.stanza.get("type") for e in list(self.compliance.events) if e.name == event and e.stanza is not None
                and e.stanza.get("from", "").split("@")[0] == sender and e.stanza.get("to", "").split("@")[0] == to]


def client_of(scene, name):
    """One that has asked for the roster and sends no presence: it is told of all that concerns the roster, and of nothing else."""
    client = Client(scene.service, name, "client", presence=False)
    client.iq("get", "<query xmlns='jabber:iq:roster'/>")
    return client


def settled(scene, *names):
    """What was sent between these accounts, and what came of it, has come to its end: each pass goes once through all of them."""
    clients = [Client(scene.service, name, f"settle-{n}", presence=False) for n, name in enumerate(names)]
    for _ in range(3):
        for one in clients:
            for other in clients:
                one.send(f"<message type='chat' id='settled' to='{other.jid}'/>")
                other.next(match=lambda e: e.get("id") == "settled")
    for client in clients:
        client.close()


def pushes(client, contact):
    client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    found = [e for e in client.got if e.tag == "{jabber:client}iq" and e.get("type") == "set" and e[0][0].get("jid", "").startswith(contact + "@")]
    return found


def subscriptions_seen(client, contact):
    return [e.get("type") for e in client.got if e.tag == "{jabber:client}presence" and e.get("type") in TYPES and e.get("from", "").startswith(contact + "@")]


def presence_seen(client, account):
    return [e.get("type") or "available" for e in client.got
            if e.tag == "{jabber:client}presence" and e.get("from", "").startswith(account + "@") and e.get("type") not in TYPES]


def said(words):
    return ", ".join(words) or "-"


def push_expected(row):
    before, after = State(row["The user's state"]), State(row["the new state"])
    return before.shown() != after.shown()


# ---- the user sends ----
def outbound(table, scene, kind):
    variants = ("there", "away", "unknown")
    cells = [(row, variant, f"{variant}{n}") for n, row in enumerate(table.rows) for variant in variants]
    for row, _, contact in cells:
        state = State(row["The user's state"])
        scene.pair("user", state, contact, state.mirrored())
    scene.begin({contact for _, variant, contact in cells if variant == "unknown"})
    user = client_of(scene, "user")
    for row, variant, contact in cells:
        there = Client(scene.service, contact, "client") if variant == "there" else None
        user.got.clear()
        if kind == "removal":
            user.iq("set", f"<query xmlns='jabber:iq:roster'><item jid='{contact}@example.com' subscription='remove'/></query>")
        else:
            user.send(f"<presence type='{kind}' to='{contact}@example.com'><status>please</status></presence>")
        user.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        settled(scene, "user", *([contact] if variant != "unknown" else []))
        if variant != "unknown":
            went = scene.asked("e_DELIVER", "user", contact)
            as_sent = "yes" if went == [kind] else "no"
            yield row, f"goes on ({variant})", row["goes on"], said(went) if kind == "removal" or went not in ([], [kind]) else as_sent
        came = len(pushes(user, contact))
        yield row, f"pushed to the user's clients ({variant})", "once" if kind == "removal" or push_expected(row) else "no", {0: "no", 1: "once"}.get(came, f"{came} times")
        if there is not None:
            there.close()
    user.close()
    states = scene.end()
    for row, variant, contact in cells:
        yield row, f"the new state ({variant})", row["the new state"], states.get(("user", contact), "None")
        if variant != "unknown":
            mine, theirs = State(states.get(("user", contact), "None")), State(states.get((contact, "user"), "None"))
            agree = mine.mirrored().shown()[:2] == theirs.shown()[:2] and mine.ask == theirs.asked
            yield row, f"both rosters agree ({variant})", "yes", "yes" if agree else f"no: the contact's is {states.get((contact, 'user'), 'None')}"


# ---- the user receives ----
def contact_sends(kind, state):
    """A state of the contact's in which his server lets the stanza go on (appendix A.2)."""
    contact = state.mirrored()
    if kind == "probe" and not state.asked: # he believes that he sees the user
        contact.subscription = {"none": "to", "from": "both"}.get(contact.subscription, contact.subscription)
    elif kind == "subscribed":
        contact.asked, contact.subscription = True, {"from": "none", "both": "to"}.get(contact.subscription, contact.subscription)
    elif kind == "unsubscribed" and not contact.asked and contact.subscription in ("none", "to"):
        contact.subscription = {"none": "from", "to": "both"}[contact.subscription]
    return contact


def inbound(table, scene, kind):
    variants = ("there", "away")
    cells = [(row, variant, f"contact{n}") for n, row in enumerate(table.rows) for variant in variants]
    for row, variant, contact in cells:
        state = State(row["The user's state"])
        scene.pair(variant, state, contact, contact_sends(kind, state))
    scene.begin(set())
    user = Client(scene.service, "there", "client")
    user.iq("get", "<query xmlns='jabber:iq:roster'/>")
    for row, variant, contact in cells:
        sender = Client(scene.service, contact, "client", presence=False)
        user.got.clear()
        sender.send(f"<presence type='{kind}' to='{variant}@example.com'/>")
        sender.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        settled(scene, variant, contact)
        sender.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        if kind == "probe":
            yield row, f"answered ({variant})", row[f"answered, {variant}"], said(scene.asked("e_DELIVER", variant, contact) + presence_seen(sender, variant))
        else:
            yield row, f"arrived ({variant})", kind, said(scene.asked("e_DELIVER", contact, variant))
            yield row, f"answered ({variant})", row["answered"], said(scene.asked("e_DELIVER", variant, contact))
        if variant == "there":
            came = len(pushes(user, contact))
            yield row, "pushed to the user's clients", "once" if push_expected(row) else "no", {0: "no", 1: "once"}.get(came, f"{came} times")
            seen = subscriptions_seen(user, contact)
            yield row, "shown", row["shown"], "yes" if seen == [kind] else "no" if not seen else said(seen)
        sender.close()
    user.close()
    states = scene.end()
    for row, variant, contact in cells:
        yield row, f"the new state ({variant})", row["the new state"], states.get((variant, contact), "None")
        if kind == "probe":
            yield row, f"the contact's new state ({variant})", row["the contact's new state"], states.get((contact, variant), "None")


def play(table):
    scene = Scene()
    (way, kind), = table.settings["stanza"].items()
    try:
        checks = list((outbound if way == "sent" else inbound)(table, scene, kind))
    finally:
        scene.close()
    return [(row.line, column, wanted, found) for row, column, wanted, found in checks if wanted != found]
