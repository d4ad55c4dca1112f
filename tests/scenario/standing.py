"""Tables of who may do what in a room, of two kinds.

With the column `Actor`: who may change what of whom. A row says what the actor and the target are (`member moderator`: affiliation and role; `away`: not in the room);
each further column is a change: a role or an affiliation the target is to have, and its cell what comes of it: `yes`, or the condition of the error.

After `yes` everybody in the room must have seen the target with what he was given; after an error nobody may have seen anything.

With the column `Viewer`: who may see which list. A row has the viewer's state and the kind of room; each further column is a list, by role or affiliation, or the
`form`; a cell is `yes`, when the list came with exactly those who belong there, or the condition."""
import rooms
from harness.client import Client, condition
from harness.service import Service

ROOM = "hall@conference.example.com"
ADMIN = "http://jabber.org/protocol/muc#admin"
ROLES = ("kick", "visitor", "participant", "moderator")
ITEM = f"{{{rooms.MUC}#user}}item"


class Hall:
    """A room, its owner who looks on, and a service administrator who puts the two others into the state of a row."""

    def __init__(self, service):
        self.service = service
        service.user("keeper", "master", "actor", "target", "exile", "steward")
        self.clients = {name: Client(service, name, "here", presence=False) for name in ("keeper", "master", "actor", "target")}
        self.keeper = self.clients["keeper"]
        self.enter("keeper")
        self.keeper.iq("set", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", ROOM)

    def enter(self, name):
        client = self.clients[name]
        client.send(f"<presence to='{ROOM}/{name}'><x xmlns='{rooms.MUC}'/></presence>")
        client.until(lambda e: rooms.is_end_of_history(e, ROOM))

    def change(self, by, item):
        """None, or the condition of the error."""
        answer = self.clients[by].iq("set", f"<query xmlns='{ADMIN}'>{item}</query>", ROOM)
        return condition(answer) if answer.get("type") == "error" else None

    def seen(self):
        """What the keeper has seen of the target since last asked: the last (affiliation, role)."""
        self.keeper.iq("get", "<ping xmlns='urn:xmpp:ping'/>", ROOM)
        found = None
        for e in self.keeper.got:
            if e.tag == rooms.PRESENCE and e.get("from") == f"{ROOM}/target":
                item = next(e.iter(ITEM))
                found = item.get("affiliation"), item.get("role")
        self.keeper.got.clear()
        return found

    def put(self, name, state):
        affiliation, role = state.split()
        problem = self.change("master", f"<item affiliation='{affiliation}' jid='{name}@example.com'/>")
        if role == "away":
            self.clients[name].send(f"<presence type='unavailable' to='{ROOM}/{name}'/>")
            self.clients[name].iq("get", "<ping xmlns='urn:xmpp:ping'/>", ROOM)
        else:
            self.enter(name)
            if affiliation in ("none", "member"):
                problem = problem or self.change("master", f"<item nick='{name}' role='{role}'/>")
        if problem:
            raise AssertionError(f"{name} cannot be put into the state '{state}': {problem}")


def item_of(column):
    if column in ROLES:
        return f"<item nick='target' role='{'none' if column == 'kick' else column}'/>"
    return f"<item affiliation='{'outcast' if column == 'ban' else column}' jid='target@example.com'/>"


def shows(column, seen):
    """Was the target seen with what he was to have?"""
    affiliation, role = seen or (None, None)
    if column in ROLES:
        return role == ("none" if column == "kick" else column)
    return affiliation == ("outcast" if column == "ban" else column)


def outcome(hall, row, column):
    hall.put("actor", row["Actor"])
    hall.put("target", row["Target"])
    hall.seen()
    refused = hall.change("actor", item_of(column))
    seen = hall.seen()
    if refused is None:
        return "yes" if shows(column, seen) else f"yes, but seen is {seen}"
    return refused if seen is None else f"{refused}, but seen is {seen}"


# ---- lists ----
KINDS = {"open": "<field var='muc#roomconfig_membersonly'><value>0</value></field><field var='muc#roomconfig_whois'><value>moderators</value></field>",
         "members": "<field var='muc#roomconfig_membersonly'><value>1</value></field><field var='muc#roomconfig_whois'><value>moderators</value></field>",
         "members known": "<field var='muc#roomconfig_membersonly'><value>1</value></field><field var='muc#roomconfig_whois'><value>anyone</value></field>"}
PEOPLE = {"outcast": "exile@example.com", "member": "target@example.com", "admin": "steward@example.com", "owner": "keeper@example.com"}


def is_form(answer):
    return next(answer.iter("{jabber:x:data}x"), None) is not None


def is_list(answer, column, viewer):
    """Those whom the hall has, and the viewer where he belongs there himself."""
    affiliation, role = viewer
    found = {i.get("jid") for i in answer.iter(f"{{{ADMIN}}}item")}
    if column in PEOPLE:
        return found == {PEOPLE[column]} | ({"actor@example.com"} if affiliation == column else set())
    there = {"moderator": {"keeper@example.com/here"}, "participant": {"target@example.com/here"}, "visitor": set()}[column]
    return found == there | ({"actor@example.com/here"} if role == column else set())


def list_outcome(hall, row, column):
    if column == "form":
        answer = hall.clients["actor"].iq("get", "<query xmlns='http://jabber.org/protocol/muc#owner'/>", ROOM)
        good = is_form(answer)
    else:
        kind = "affiliation" if column in PEOPLE else "role"
        answer = hall.clients["actor"].iq("get", f"<query xmlns='{ADMIN}'><item {kind}='{column}'/></query>", ROOM)
        good = is_list(answer, column, row["Viewer"].split())
    if answer.get("type") == "error":
        return condition(answer)
    return "yes" if good else "yes, but it shows " + ", ".join(sorted(i.get("jid") or "nobody" for i in answer.iter(f"{{{ADMIN}}}item")))


def configure(hall, kind):
    hall.keeper.send(rooms.CONFIGURE.format(id="kind", room=ROOM, fields=KINDS[kind]))
    hall.keeper.next(rooms.IQ, match=lambda e: e.get("id") == "kind")


def list_failures(hall, table):
    hall.put("target", "member participant")
    for affiliation in ("outcast", "admin"):
        hall.change("keeper", f"<item affiliation='{affiliation}' jid='{PEOPLE[affiliation]}'/>")
    for row in table.rows:
        configure(hall, "open")
        hall.put("actor", row["Viewer"])
        configure(hall, row["Room"])
        for column in table.columns[2:]:
            found = list_outcome(hall, row, column)
            if found != row[column]:
                yield row.line, f"{row['Viewer']}, {row['Room']}, {column}", row[column], found


def change_failures(hall, table):
    for row in table.rows:
        for column in table.columns[2:]:
            found = outcome(hall, row, column)
            if found != row[column]:
                yield row.line, f"{row['Actor']} to {row['Target']}, {column}", row[column], found


def play(table):
    service = Service({"log.level": "info", "server.shutdown_wait": 1, "server.admins": "master@example.com"})
    failures = []
    try:
        hall = Hall(service)
        failures.extend((change_failures if table.columns[0] == "Actor" else list_failures)(hall, table))
        for client in hall.clients.values():
            client.close()
    finally:
        service.close()
    return failures
