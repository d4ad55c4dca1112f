"""Tables of who gets a stanza. A row says which sessions an account has and where the stanzas are sent; each further column is one stanza of [stanzas], and its cell
who gets it: names of sessions, `all` of them, `stored` (who is available next), `error` (the sender: service-unavailable), `ignored` (nobody).

Each row has an account of its own, and of strangers. That something does not come is seen by a request sent behind it (RFC 6120, 10.1)."""
import re

from harness.client import Client, condition
from harness.service import Service

SENDER = "sender"


def is_own_presence(client, e):
    return e.tag.endswith("presence") and (e.get("from") or "").split("/")[0] == client.bare


def open_session(service, account, resource, presence):
    client = Client(service, account, resource, presence=False)
    if presence in ("connected", "unavailable"):
        if presence == "unavailable":
            client.available()
            client.send("<presence type='unavailable'/>")
        client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    else:
        client.available(int(presence))
    return client


def identities(client, wanted):
    """Which of the stanzas sent have come, as the ids they were sent with."""
    found = {}
    for e in client.got:
        identity = e.get("id") or ""
        if identity in wanted and not is_own_presence(client, e):
            found.setdefault(identity, []).append(e)
    client.got.clear()
    return found


def fence(sender, clients, bare):
    """All that was sent has come to where it goes."""
    sender.iq("get", "<query xmlns='urn:example:fence'/>", bare)
    for client in clients:
        sender.send(f"<message type='chat' id='fence' to='{client.jid}'/>")
        client.got.extend(client.until(lambda e: e.get("id") == "fence"))
        client.send(f"<message type='chat' id='fence' to='{sender.jid}'/>")
        sender.got.extend(sender.until(lambda e: e.get("id") == "fence"))


def stored_cells(service, account, wanted, bare):
    later = Client(service, account, "later", presence=False)
    later.available()
    later.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    helper = Client(service, SENDER, "helper", presence=False)
    helper.send(f"<message type='chat' id='fence' to='{bare}/later'/>")
    later.got.extend(later.until(lambda e: e.get("id") == "fence"))
    found = identities(later, wanted)
    helper.close()
    later.close()
    return found


def outcome(identity, came, sender, later):
    """What a cell should say."""
    who = [name for name, found in came.items() for _ in found.get(identity, [])]
    who += ["stored" for _ in later.get(identity, [])]
    for e in sender.get(identity, []):
        who.append("error" if e.get("type") == "error" and condition(e) == "service-unavailable" else "answered with " + (e.get("type") or "nothing"))
    return ", ".join(sorted(who)) or "ignored"


def play_row(service, number, row, stanzas):
    account = f"juliet{number}"
    bare = f"{account}@example.com"
    sessions = {}
    if row["Sessions"] != "no account":
        service.user(account)
    for words in row["Sessions"].split(",") if row["Sessions"] not in ("no account", "nobody") else []:
        resource, presence = words.split()
        sessions[resource] = open_session(service, account, resource, presence)
    for client in sessions.values():
        client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        client.got.clear()
    sender = Client(service, SENDER, f"row{number}", presence=False)
    to = bare if row["sent to"] == "bare" else f"{bare}/{row['sent to']}"
    sent = {f"{number}-{column}": column for column in stanzas}
    for identity, column in sent.items():
        sender.send(re.sub(r"^<(\w+)", rf"<\1 id='{identity}'", stanzas[column]).replace("'TO'", f"'{to}'"))
    fence(sender, sessions.values(), bare)
    came = {resource: identities(client, sent) for resource, client in sessions.items()}
    answers = identities(sender, sent)
    for client in sessions.values():
        client.close()
    later = stored_cells(service, account, sent, bare) if row["Sessions"] != "no account" else {}
    sender.close()
    for identity, column in sent.items():
        wanted = row[column].replace("all", ", ".join(sessions))
        wanted = ", ".join(sorted(word.strip() for word in wanted.split(",")))
        found = outcome(identity, came, answers, later)
        if found != wanted:
            yield row.line, column, wanted, found


def play(table):
    service = Service({"log.level": "info", "server.shutdown_wait": 1})
    service.user(SENDER)
    failures = []
    try:
        for number, row in enumerate(table.rows):
            failures += play_row(service, number, row, table.settings["stanzas"])
    finally:
        service.close()
    return failures
