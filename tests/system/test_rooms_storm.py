"""Ten sessions of five users do whatever XEP-0045 knows to three rooms, without waiting for anything, and some are cut. Whoever is in a room in the end is in its
lists, and when all have gone nothing is left of rooms that are not persistent: no occupant, no memory (a sanitizer's build says so at the end)."""
import random

import pytest

from harness.client import Client, Closed
from harness.compliance import Compliance, passed, refused
from harness.service import Refused, wait_until

USERS, RESOURCES, NICKS = ("anne", "bob", "cleo", "dora", "emil"), ("desk", "phone"), ("n1", "n2", "n3", "n4")
ROOMS = [f"r{i}@conference.example.com" for i in range(3)]
MUC = "http://jabber.org/protocol/muc"
ASKED = ("onServicePacket", "onPacket", "onBeforeRoomCreate", "onBeforeJoin", "onBeforeChangeUser", "onBeforeChangeAffiliation", "onBeforeRemoveAffiliation",
         "onBeforeMetaInfoSet", "onBeforeSend", "onBeforeBroadcast", "onBeforeSubject", "onBeforeInvite", "onHistory", "onClose")
OPERATIONS = 2500


def field(var, *values):
    return f"<field var='{var}'>" + "".join(f"<value>{v}</value>" for v in values) + "</field>"


class Storm:
    def __init__(self, seed):
        self.random, self.n = random.Random(seed), 0

    def iq(self, kind, to, payload):
        return f"<iq type='{kind}' id='s{self.n}' to='{to}'>{payload}</iq>"

    def people(self, room):
        r = self.random
        items = "".join(f"<item jid='{r.choice([r.choice(USERS) + '@example.com', 'example.com', 'com', 'z@far.example'])}' "
                        f"affiliation='{r.choice(['none', 'none', 'outcast', 'member', 'member', 'admin', 'owner'])}'/>" for _ in range(r.randint(1, 4)))
        return self.iq("set", room, f"<query xmlns='{MUC}#admin'>{items}</query>")

    def roles(self, room):
        r = self.random
        items = "".join(f"<item nick='{r.choice(NICKS)}' role='{r.choice(['none', 'visitor', 'participant', 'moderator'])}'/>" for _ in range(r.randint(1, 3)))
        return self.iq("set", room, f"<query xmlns='{MUC}#admin'>{items}</query>")

    def configuration(self, room):
        r = self.random
        fields = [field(f"muc#roomconfig_{name}", r.randint(0, 1)) for name in ("membersonly", "moderatedroom", "persistentroom") if r.random() < 0.5]
        fields += [field("muc#roomconfig_whois", r.choice(["moderators", "anyone", "none"]))] if r.random() < 0.3 else []
        fields += [field("muc#roomconfig_roomadmins", r.choice(USERS) + "@example.com")] if r.random() < 0.3 else []
        fields += [field("muc#roomconfig_roomowners", *(u + "@example.com" for u in r.sample(USERS, 2)))] if r.random() < 0.2 else []
        kind = "cancel" if r.random() < 0.1 else "submit"
        return self.iq("set", room, f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='{kind}'>{''.join(fields)}</x></query>")

    def registration(self, room):
        nick = field("muc#register_roomnick", self.random.choice(NICKS))
        return self.iq("set", room, f"<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>{nick}</x></query>")

    def operation(self):
        r = self.random
        self.n += 1
        room, nick = r.choice(ROOMS), r.choice(NICKS)
        enter = f"<presence to='{room}/{nick}'><x xmlns='{MUC}'><history maxstanzas='{r.randint(0, 5)}'/></x></presence>"
        say = f"<message type='groupchat' to='{room}'><body>{self.n}</body></message>"
        return r.choices([
            enter, f"<presence type='unavailable' to='{room}/{nick}'/>", f"<presence to='{room}/{nick}'/>", say,
            f"<message type='groupchat' to='{room}'><subject>{self.n}</subject></message>", f"<message type='chat' to='{room}/{nick}'><body>{self.n}</body></message>",
            self.roles(room), self.people(room), self.configuration(room), self.iq("set", room, f"<query xmlns='{MUC}#owner'><destroy/></query>"),
            self.registration(room), self.iq("get", f"{room}/{nick}", "<ping xmlns='urn:xmpp:ping'/>"),
            f"<message to='{room}'><x xmlns='{MUC}#user'><invite to='{r.choice(USERS)}@example.com'/></x></message>",
        ], (30, 8, 8, 12, 4, 4, 10, 12, 9, 2, 3, 3, 3))[0]


def rage(service, storm, clients):
    while storm.n < OPERATIONS:
        i = storm.random.randrange(len(clients))
        try:
            clients[i].send("".join(storm.operation() for _ in range(storm.random.randint(1, 8))))
            clients[i].read(0.001)
            clients[i].got.clear()
            if storm.random.random() < 0.01:
                clients[i].cut()
                raise Closed("cut")
        except (Closed, OSError):
            clients[i] = Client(service, clients[i].bare.split("@")[0], clients[i].resource, presence=False)


def occupants(service, room):
    """None when there is no such room any more."""
    try:
        return service.get(f"/v1/rooms/{room}/occupants")["occupants"]
    except Refused:
        return None


def all_gone(service):
    """What was asked before the sessions ended may still wait for an answer."""
    quiet = service.get("/v1/status")["events_waiting"] == 0
    return quiet and service.metric("room_occupants") == 0 and not any(occupants(service, room) for room in ROOMS)


@pytest.mark.parametrize("asked", [False, True], ids=["alone", "asked"])
def test_nobody_is_lost_in_a_room(services, closing, asked):
    service = services({"log.level": "info", "server.admins": "anne@example.com"})
    service.user(*USERS)
    storm = Storm(f"{asked}")
    if asked:
        judge = random.Random("judge")
        server = closing(Compliance("op-wall.node1-example-com", password="secret-of-the-link",
                                    script=lambda event: refused(event) if judge.random() < 0.1 else passed(event)))
        service.profile("rooms", [(event, None, "bounce", False) for event in ASKED])
        service.wait_link(service.compliance_server("wall", server.port, profile="rooms"), "ACTIVE")
    clients = [Client(service, user, resource, presence=False) for user in USERS for resource in RESOURCES]
    rage(service, storm, clients)
    for client in clients:
        assert client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", seconds=60).get("type") == "result"
        client.close()
    wait_until("the last occupant to be gone", lambda: all_gone(service), 30)
