"""Chat rooms as those who run the service see them: signetctl room and the admin API, the limits that are settings, what is counted, and what becomes of the
rooms' domains. What users see of rooms is in tests/scenario/scripts."""
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "scenario")]
from harness.client import Client, condition, text  # noqa: E402
from harness.compliance import Compliance, passed, passed_with, refused  # noqa: E402
from harness.programs import Terminal  # noqa: E402
from harness.service import BIN, SLOW, Refused, quote, wait_until  # noqa: E402
import rooms as muc  # noqa: E402

CTL = BIN / "signetctl"
OK, REFUSED, USAGE = 0, 1, 2
SECRET = "round about the cauldron"
ROOM, HOST = "coven@conference.example.com", "conference.example.com"
MUC, USER = "http://jabber.org/protocol/muc", "{http://jabber.org/protocol/muc#user}"
MESSAGE, PRESENCE, IQ = "{jabber:client}message", "{jabber:client}presence", "{jabber:client}iq"


def ctl(service, *arguments, stdin=None):
    return subprocess.run([CTL, "--socket", service.options["admin.socket"], *map(str, arguments)], input=stdin,
                          stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, timeout=60 * SLOW, check=False)


def done(service, *arguments, stdin=None):
    run = ctl(service, *arguments, stdin=stdin)
    assert run.returncode == OK, run
    return run.stdout


def rows(table):
    """Of a table with a head: a list of cells per line."""
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()[1:]]


def facts(table):
    return dict((re.split(r" {2,}", line.strip(), maxsplit=1) + [""])[:2] for line in table.splitlines())


def enter(client, room, nick, password=None):
    """Returns the presence of oneself, or the error."""
    inside = f"<password>{password}</password>" if password else ""
    client.send(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'>{inside}</x></presence>")
    own = client.next(PRESENCE, match=lambda e: e.get("from", "").startswith(room) and (e.get("type") == "error" or "110" in muc.statuses(e)))
    if own.get("type") != "error":
        client.next(MESSAGE, match=lambda e: e.get("from", "").startswith(room) and e.find("{jabber:client}subject") is not None)
    return own


def make(client, room, nick="maker"):
    own = enter(client, room, nick)
    if own.get("type") != "error":
        answer = client.iq("set", f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>", to=room)
        assert answer.get("type") == "result", condition(answer)
    return own


@pytest.fixture
def stage(services):
    service = services({"server.admins": "hecate@example.com"})
    service.user("hecate", "crone1", "wiccarocks")
    return service


# ---- the commands ----
def test_a_rooms_life(stage):
    """Made, shown, configured, listed, entered, its people changed, ended."""
    assert rows(done(stage, "room", "list")) == []
    assert done(stage, "room", "create", ROOM, "crone1@example.com", "--set", "roomname=The Coven", "--set", "membersonly=yes") == f"{ROOM}: made\n"
    assert rows(done(stage, "room", "list")) == [[ROOM, "The Coven", "0", "yes", "yes"]]
    shown = facts(done(stage, "room", "show", ROOM))
    assert {k: shown[k] for k in ("room", "state", "occupants", "history", "roomname", "membersonly", "persistentroom", "roomowners", "password_set")} == {
        "room": ROOM, "state": "open", "occupants": "0", "history": "0 messages", "roomname": "The Coven", "membersonly": "yes", "persistentroom": "yes",
        "roomowners": "crone1@example.com", "password_set": "no"}
    assert rows(done(stage, "room", "affiliation", "list", ROOM)) == [["crone1@example.com", "owner", "-", "-"]]
    assert done(stage, "room", "affiliation", "set", ROOM, "wiccarocks@example.com", "member", "--reason", "a witch") == f"{ROOM}: changed\n"
    assert sorted(rows(done(stage, "room", "affiliation", "list", ROOM))) == [["crone1@example.com", "owner", "-", "-"],
                                                                            ["wiccarocks@example.com", "member", "-", "a witch"]]

    witch = Client(stage, "wiccarocks", "laptop")
    assert enter(witch, ROOM, "second").get("type") is None
    assert rows(done(stage, "room", "occupants", ROOM)) == [["second", "participant", "member", "wiccarocks@example.com/laptop"]]
    done(stage, "room", "configure", ROOM, "--set", "moderatedroom=yes", "--set", "getmemberlist=moderator,participant", "--set", "whois=anyone")
    told = witch.next(MESSAGE, match=lambda e: e.find(f".//{USER}status") is not None)
    assert muc.statuses(told) == {"172"}
    assert facts(done(stage, "room", "show", ROOM))["getmemberlist"] in ("moderator, participant", "participant, moderator")

    done(stage, "room", "destroy", ROOM, "--yes", "--reason", "Macbeth comes & goes", "--alternate", "heath@conference.example.com")
    end = witch.next(PRESENCE, match=lambda e: e.get("type") == "unavailable")
    destroy = end.find(f".//{USER}destroy")
    assert destroy.get("jid") == "heath@conference.example.com" and destroy.find(f"{USER}reason").text == "Macbeth comes & goes"
    assert rows(done(stage, "room", "list")) == []
    gone = ctl(stage, "room", "show", ROOM)
    assert gone.returncode == REFUSED and gone.stderr == f"signetctl: there is no room '{ROOM}'\n", gone


def test_what_a_table_does_not_show_json_does(stage):
    done(stage, "room", "create", ROOM, "crone1@example.com")
    witch = Client(stage, "crone1", "desktop")
    enter(witch, ROOM, "firstwitch")
    witch.send(f"<message type='groupchat' to='{ROOM}'><body>Thrice the brinded cat hath mew'd.</body></message>")
    witch.next_message(body="Thrice the brinded cat hath mew'd.")
    room = stage.get(f"/v1/rooms/{quote(ROOM)}")
    assert (room["occupants"], room["history"], room["affiliations"], room["state"]) == (1, 1, 1, "open")
    assert room["config"]["roomowners"] == ["crone1@example.com"] and room["config"]["persistentroom"] is True
    assert stage.get(f"/v1/rooms/{quote(ROOM)}/occupants")["occupants"] == [
        {"nick": "firstwitch", "user": "crone1@example.com", "role": "moderator", "affiliation": "owner", "sessions": ["crone1@example.com/desktop"]}]
    assert stage.get(f"/v1/rooms?domain={HOST}")["rooms"][0]["room"] == ROOM and stage.get("/v1/rooms?domain=example.com")["rooms"] == []


WRONG = [
    (("room", "show", "nowhere@conference.example.com"), REFUSED, "there is no room 'nowhere@conference.example.com'"),
    (("room", "show", "coven@example.com"), REFUSED, "'coven@example.com' is no room of this service: write room@domain, with a domain of tc.domains"),
    (("room", "show", f"{ROOM}/nick"), REFUSED, "coven@conference.example.com"),
    (("room", "show", "a@@b"), REFUSED, "a@@b"),
    (("room", "create", ROOM, "hecate@example.com"), REFUSED, "There is a room of that name already. (conflict)"),
    (("room", "create", "new@conference.example.com", "example.com"), REFUSED, "owner"),
    (("room", "create", "new@conference.example.com", "hecate@example.com", "--set", "colour=red"), REFUSED, "a room has no setting \"colour\"; it has roomname"),
    (("room", "create", "new@conference.example.com", "hecate@example.com", "--set", "maxusers=many"), REFUSED, "muc#roomconfig_maxusers"),
    (("room", "create", "new@conference.example.com", "hecate@example.com", "--set", "persistentroom=no"), REFUSED, "is persistent, since nobody is in it yet"),
    (("room", "create", "new@conference.example.com", "hecate@example.com", "--set", "passwordprotectedroom=yes"), REFUSED, "needs one: fill in"),
    (("room", "configure", ROOM), USAGE, "say with --set NAME=VALUE what is to be changed; signetctl room show ROOM lists the settings"),
    (("room", "configure", ROOM, "--set", "membersonly"), USAGE, "--set membersonly: write NAME=VALUE"),
    (("room", "configure", ROOM, "--set", "membersonly=perhaps"), REFUSED, "muc#roomconfig_membersonly"),
    (("room", "configure", ROOM, "--set", "whois=nobody"), REFUSED, "muc#roomconfig_whois"),
    (("room", "configure", ROOM, "--set", "roomowners="), REFUSED, "A room has at least one owner."),
    (("room", "configure", ROOM, "--set", "roomadmins=a@@b"), REFUSED, "a@@b"),
    (("room", "configure", ROOM, "--set", "maxhistoryfetch=1000000"), REFUSED, "a number of at most"),
    (("room", "affiliation", "set", ROOM, "hecate@example.com", "boss"), REFUSED, "\"boss\" is no affiliation: owner, admin, member, none or outcast"),
    (("room", "affiliation", "set", ROOM, "crone1@example.com", "none"), REFUSED, "A room has at least one owner."),
    (("room", "destroy", ROOM), USAGE, "there is no terminal to ask whether it is meant; use --yes"),
    (("room", "destroy", "nowhere@conference.example.com", "--yes"), REFUSED, "There is no such room. (item-not-found)"),
]


def test_what_is_wrong_is_said(stage):
    """What, where, what would be right; and nothing has changed."""
    done(stage, "room", "create", ROOM, "crone1@example.com")
    before = stage.get(f"/v1/rooms/{quote(ROOM)}")
    problems = []
    for arguments, code, said in WRONG:
        run = ctl(stage, *arguments)
        if run.returncode != code or said not in run.stderr or run.stdout:
            problems.append((arguments, run.returncode, run.stderr))
    assert not problems
    assert stage.get(f"/v1/rooms/{quote(ROOM)}") == before
    assert [r["room"] for r in stage.get("/v1/rooms")["rooms"]] == [ROOM] # no half-made one
    for body in ({}, {"config": 5}, {"config": {"roomname": 5.5}}, {"config": {"roomname": ["a", 1]}}):
        with pytest.raises(Refused, match="400.*(config|roomname)"):
            stage.request("PATCH", f"/v1/rooms/{quote(ROOM)}", body)


# ---- the password ----
def test_a_rooms_password_is_seen_by_nobody(stage, closing, tmp_path):
    """Not on a command line, not in an answer, not in the log, not at a compliance server; but it opens the room."""
    server = closing(Compliance("op-cs.node1-example-com"))
    server.heard = bytearray()
    stage.profile("all", [(e, None, "bounce", False) for e in
                          ("onBeforeRoomCreate", "onAfterRoomCreate", "onBeforeMetaInfoSet", "onAfterMetaInfoSet", "onMetaInfoGet", "onPacket", "es_IN", "onBeforeInvite",
                           "onBeforeJoin")])
    stage.wait_link(stage.compliance_server("cs", server.port, profile="all"), "ACTIVE")
    for name in ("roomsecret", "muc#roomconfig_roomsecret"):
        for verb in (("create", ROOM, "crone1@example.com"), ("configure", ROOM)):
            run = ctl(stage, "room", *verb, "--set", f"{name}={SECRET}")
            assert run.returncode == USAGE and "a password is never given on the command line" in run.stderr and SECRET not in run.stderr, run
    assert stage.get("/v1/rooms")["rooms"] == []
    done(stage, "room", "create", ROOM, "crone1@example.com", "--password-stdin", stdin=SECRET + "\n")
    assert facts(done(stage, "room", "show", ROOM))["password_set"] == "yes"
    witch = Client(stage, "wiccarocks", "laptop")
    assert condition(enter(witch, ROOM, "second")) == "not-authorized"
    assert condition(enter(witch, ROOM, "second", "wrong")) == "not-authorized"
    assert enter(witch, ROOM, "second", SECRET).get("type") is None

    other = tmp_path / "other"
    other.write_text(SECRET + " 2\n")
    done(stage, "room", "configure", ROOM, "--password-file", other)
    owner = Client(stage, "crone1", "desktop")
    assert condition(enter(Client(stage, "hecate"), ROOM, "h")) is None # administrators need none
    form = owner.iq("get", f"<query xmlns='{MUC}#owner'/>", to=ROOM)
    assert form.get("type") == "result"
    done(stage, "room", "configure", ROOM, "--set", "passwordprotectedroom=no")
    assert enter(Client(stage, "wiccarocks", "phone"), ROOM, "third").get("type") is None
    names = {e.name for e in server.events}
    assert {"onBeforeRoomCreate", "onBeforeMetaInfoSet", "onBeforeJoin", "onMetaInfoGet"} <= names
    answers = str(stage.get(f"/v1/rooms/{quote(ROOM)}")) + str(stage.get("/v1/rooms")) + str([e.attrib for e in form.iter()]) + "".join(form.itertext())
    for where, what in (("an answer", answers), ("the log", stage.log()), ("a compliance server", server.heard.decode(errors="replace"))):
        assert SECRET not in what, where


def test_a_password_typed_on_the_terminal(stage, closing):
    terminal = closing(Terminal("--socket", stage.options["admin.socket"], "room", "create", ROOM, "crone1@example.com", "--password-ask"))
    for prompt in (f"New password of {ROOM}: ", "Once more: "):
        terminal.until(prompt)
        wait_until("silence", lambda: not terminal.echoes())
        terminal.type(SECRET + "\n")
    assert terminal.end() == OK and SECRET not in terminal.text
    assert stage.get(f"/v1/rooms/{quote(ROOM)}")["config"]["password_set"] is True


# ---- compliance servers see what an administrator does, and may refuse it ----
def test_what_administrators_do_is_asked(stage, closing):
    refuses = set()
    server = closing(Compliance("op-cs.node1-example-com", script=lambda e: refused(e) if e.name in refuses else passed(e)))
    stage.profile("all", [(e, None, "bounce", False) for e in
                          ("onBeforeRoomCreate", "onBeforeMetaInfoSet", "onBeforeChangeAffiliation", "onBeforeRemoveAffiliation", "onClose")])
    stage.wait_link(stage.compliance_server("cs", server.port, profile="all"), "ACTIVE")
    orders = [
        (("room", "create", ROOM, "crone1@example.com", "--set", "roomname=Coven"), ["onBeforeRoomCreate", "onBeforeMetaInfoSet"]),
        (("room", "configure", ROOM, "--set", "roomname=Heath"), ["onBeforeMetaInfoSet"]),
        (("room", "affiliation", "set", ROOM, "wiccarocks@example.com", "member"), ["onBeforeChangeAffiliation"]),
        (("room", "affiliation", "set", ROOM, "wiccarocks@example.com", "none"), ["onBeforeRemoveAffiliation"]),
        (("room", "destroy", ROOM, "--yes"), ["onClose"]),
    ]

    def state():
        there = [r["room"] for r in stage.get("/v1/rooms")["rooms"]]
        return there, there and stage.get(f"/v1/rooms/{quote(ROOM)}"), there and stage.get(f"/v1/rooms/{quote(ROOM)}/affiliations")

    for order, events in orders:
        for event in events:
            before = state()
            refuses.add(event)
            run = ctl(stage, *order)
            assert run.returncode == REFUSED and "policy-violation" in run.stderr, (order, event, run)
            assert state() == before, (order, event)
            refuses.clear()
        server.events.clear()
        done(stage, *order)
        assert [e.name for e in server.events] == events


def test_a_configuration_as_a_compliance_server_changes_it(stage, closing):
    def script(event):
        if event.name != "onBeforeMetaInfoSet":
            return passed(event)
        for value in event.stanza.iter("{jabber:x:data}value"):
            value.text = value.text.replace("Coven", "Knitting Circle")
        return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))

    server = closing(Compliance("op-cs.node1-example-com", script=script))
    stage.profile("some", [("onBeforeMetaInfoSet", None, "bounce", False)])
    stage.wait_link(stage.compliance_server("cs", server.port, profile="some"), "ACTIVE")
    done(stage, "room", "create", ROOM, "crone1@example.com", "--set", "roomname=Coven")
    assert facts(done(stage, "room", "show", ROOM))["roomname"] == "Knitting Circle"


# ---- limits ----
def room(name):
    return f"{name}@{HOST}"


def test_rooms_there_may_be(services):
    service = services({"tc.max_rooms": 2, "server.admins": "hecate@example.com"})
    service.user("crone1", "hecate")
    witch, hecate = Client(service, "crone1"), Client(service, "hecate")
    assert make(witch, room("a")).get("type") is None and make(witch, room("b")).get("type") is None
    assert condition(make(witch, room("c"))) == "resource-constraint"
    assert make(hecate, room("c")).get("type") is None # administrators may
    assert [r["room"] for r in service.get("/v1/rooms")["rooms"]] == [room("a"), room("b"), room("c")]
    assert service.metric("room_limits_total", limit="rooms") == 1 and service.metric("rooms") == 3 and service.metric("rooms_created_total") == 3
    witch.send(f"<presence type='unavailable' to='{room('a')}/maker'/>")
    witch.send(f"<presence type='unavailable' to='{room('b')}/maker'/>")
    wait_until("the end of the temporary rooms", lambda: service.metric("rooms") == 1)
    for _ in range(2):
        witch.next(PRESENCE, match=lambda e: e.get("type") == "unavailable")
    assert make(witch, room("a")).get("type") is None


def test_rooms_of_one_account(services):
    """Counted over a restart too, and for each account."""
    service = services({"tc.user_rooms": 2})
    service.user("crone1", "wiccarocks")
    witch = Client(service, "crone1")
    persistent = "<field var='muc#roomconfig_persistentroom'><value>1</value></field>"
    for name in "ab":
        assert make(witch, room(name)).get("type") is None
        form = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{persistent}</x></query>"
        assert witch.iq("set", form, to=room(name)).get("type") == "result"
    assert condition(make(witch, room("c"))) == "resource-constraint"
    other = Client(service, "wiccarocks")
    assert make(other, room("c")).get("type") is None
    assert service.metric("room_limits_total", limit="user-rooms") == 1
    service.stop()
    service.start()
    witch = Client(service, "crone1")
    assert condition(make(witch, room("d"))) == "resource-constraint"
    done(service, "room", "destroy", room("a"), "--yes")
    assert make(witch, room("d")).get("type") is None


@pytest.mark.parametrize("who, local, admin", [("everybody", None, None), ("local", None, None), ("admins", "not-allowed", None)])
def test_who_may_make_rooms(services, who, local, admin):
    service = services({"tc.room_creation": who, "server.admins": "hecate@example.com"})
    service.user("crone1", "hecate")
    witch, hecate = Client(service, "crone1"), Client(service, "hecate")
    assert condition(make(witch, room("a"))) == local
    assert condition(make(hecate, room("b"))) == admin
    assert [r["room"] for r in service.get("/v1/rooms")["rooms"]] == ([room("a")] if local is None else []) + [room("b")]


def test_limits_within_a_room(services):
    """Occupants, people on the lists, the size of messages, the history."""
    service = services({"tc.max_occupants": 2, "tc.max_people": 3, "tc.max_message": 2000, "tc.max_history": 3, "tc.history": 2})
    service.user("crone1", "wiccarocks", "hag66", "hecate")
    witch, second = Client(service, "crone1"), Client(service, "wiccarocks")
    make(witch, ROOM)
    enter(second, ROOM, "second")
    assert condition(enter(Client(service, "hag66"), ROOM, "third")) == "service-unavailable"

    def affiliate(*names):
        items = "".join(f"<item jid='{n}@example.com' affiliation='member'/>" for n in names)
        return condition(witch.iq("set", f"<query xmlns='{MUC}#admin'>{items}</query>", to=ROOM))
    assert affiliate("a", "b", "c") == "resource-constraint" # with the owner they are four; none of them is added
    assert affiliate("a", "b") is None and affiliate("a") is None
    assert affiliate("c") == "resource-constraint"
    registered = second.iq("set", "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
                           f"{MUC}#register</value></field><field var='muc#register_roomnick'><value>second</value></field></x></query>", to=ROOM)
    assert condition(registered) == "resource-constraint"
    assert len(service.get(f"/v1/rooms/{quote(ROOM)}/affiliations")["affiliations"]) == 3

    for to, kind in ((ROOM, "groupchat"), (f"{ROOM}/maker", "chat")):
        second.send(f"<message type='{kind}' to='{to}' id='big'><body>{'x' * 2000}</body></message>")
        assert condition(second.next(MESSAGE, match=lambda e: e.get("id") == "big" and e.get("type") == "error")) == "policy-violation"
    second.send(f"<message type='groupchat' to='{ROOM}' id='topic'><subject>{'x' * 2000}</subject></message>")
    assert condition(second.next(MESSAGE, match=lambda e: e.get("id") == "topic")) in ("policy-violation", "forbidden")
    for body in ("one", "two", "three"):
        witch.send(f"<message type='groupchat' to='{ROOM}'><body>{body}</body></message>")
        second.next_message(body=body)
    second.send(f"<presence type='unavailable' to='{ROOM}/second'/>")
    second.next(PRESENCE, match=lambda e: e.get("type") == "unavailable")
    enter(second, ROOM, "second")
    assert [text(m) for m in second.got if m.tag == MESSAGE and m.find("{urn:xmpp:delay}delay") is not None] == ["two", "three"]
    run = ctl(service, "room", "configure", ROOM, "--set", "maxhistoryfetch=4")
    assert run.returncode == REFUSED and "'muc#maxhistoryfetch' is a number of at most 3" in run.stderr
    run = ctl(service, "room", "configure", ROOM, "--set", "maxusers=3")
    assert run.returncode == REFUSED and "'muc#roomconfig_maxusers' is a number of at most 2" in run.stderr
    assert [service.metric("room_limits_total", limit=n) for n in ("occupants", "people", "message")] == [1, 3, 2]


# ---- what is counted ----
def test_counts(stage, closing):
    """The metrics, and e_STATS, which carries them."""
    done(stage, "room", "create", ROOM, "crone1@example.com")
    witch, other = Client(stage, "crone1"), Client(stage, "wiccarocks")
    make(other, room("kitchen"))
    enter(witch, ROOM, "first")
    counts = {"rooms": 2, "rooms_created_total": 2, "room_occupants": 2, "rooms_in_memory": 2}
    wait_until("the counts", lambda: {name: stage.metric(name) for name in counts} == counts)
    assert stage.metric("room_requests_total") >= 3
    stage.stop()
    stage.options["broker.stats_interval"] = 100
    stage.start()
    server = closing(Compliance("op-cs.node1-example-com"))
    stage.profile("stats", [("e_STATS", None, "pass", False)])
    stage.wait_link(stage.compliance_server("cs", server.port, profile="stats"), "ACTIVE")
    witch = Client(stage, "crone1")
    enter(witch, ROOM, "first")

    def told():
        found = [{s.get("name"): s.get("value") for s in e.stanza.iter("{http://jabber.org/protocol/stats}stat")} for e in list(server.events) if e.name == "e_STATS"]
        return found and (found[-1]["rooms"], found[-1]["room_occupants"]) == ("1", "1")
    wait_until("e_STATS with the room that stayed, and one occupant", told)


# ---- the domains ----
def info(client, to):
    return client.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to=to)


def items(client, to):
    return [i.get("jid") for i in client.iq("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", to=to)[0]]


def test_without_rooms(services):
    service = services({"tc.enabled": "no"})
    service.user("crone1")
    witch = Client(service, "crone1")
    assert items(witch, "example.com") == []
    assert condition(info(witch, HOST)) == "remote-server-not-found"
    assert condition(enter(witch, ROOM, "first")) == "remote-server-not-found"
    assert service.get("/v1/rooms")["rooms"] == []
    run = ctl(service, "room", "create", ROOM, "crone1@example.com")
    assert run.returncode == REFUSED and "is no room of this service" in run.stderr


def test_several_services_of_rooms(services):
    """Of several domains each has its rooms; one of that name in another is another. A name said twice is one."""
    service = services({"tc.domains": "rooms.example.com Chat.Example.COM chat.example.com"})
    service.user("crone1", "wiccarocks")
    witch, other = Client(service, "crone1"), Client(service, "wiccarocks")
    assert items(witch, "example.com") == ["rooms.example.com", "chat.example.com"]
    assert condition(info(witch, HOST)) == "remote-server-not-found"
    make(witch, "coven@rooms.example.com")
    assert make(other, "coven@chat.example.com").get("type") is None
    assert items(witch, "rooms.example.com") == ["coven@rooms.example.com"] and items(witch, "chat.example.com") == ["coven@chat.example.com"]
    witch.send("<message type='groupchat' to='coven@rooms.example.com'><body>here</body></message>")
    witch.next_message(body="here")
    other.nothing(MESSAGE)
    assert [r["room"] for r in service.get("/v1/rooms")["rooms"]] == ["coven@rooms.example.com", "coven@chat.example.com"]
    assert rows(done(service, "room", "list", "--domain", "chat.example.com")) == [["coven@chat.example.com", "-", "1", "no", "yes"]]


@pytest.mark.parametrize("domains, said", [("example.com", "tc.domains: 'example.com' is the domain of another service already"), ("a..b", "tc.domains: 'a..b'")])
def test_wrong_domains_of_rooms(services, domains, said):
    with pytest.raises(AssertionError) as problem:
        services({"tc.domains": domains})
    assert said in str(problem.value)


def test_wrong_policy(services):
    with pytest.raises(AssertionError) as problem:
        services({"tc.room_creation": "nobody"})
    assert 'tc.room_creation: "nobody" is none of everybody, local, admins' in str(problem.value)


# ---- new settings while it runs ----
def test_reload(services, closing):
    """signetctl reload: the settings count from then on, whoever is in a room stays, a compliance server is told. What is wrong changes nothing."""
    service = services({"tc.room_creation": "admins", "tc.max_occupants": 5})
    service.user("crone1", "wiccarocks", "hag66")
    server = closing(Compliance("op-cs.node1-example-com"))
    service.profile("reconfig", [("onServiceReconfig", None, "pass", False)])
    service.wait_link(service.compliance_server("cs", server.port, profile="reconfig"), "ACTIVE")
    witch, second, third = (Client(service, name) for name in ("crone1", "wiccarocks", "hag66"))
    assert condition(make(witch, ROOM)) == "not-allowed"

    def reload(said, **options):
        service.options.update({f"tc.{k}": v for k, v in options.items()})
        (service.dir / "signet.conf").write_text(service.configuration())
        before = service.log().count(said)
        done(service, "reload")
        wait_until(said, lambda: service.log().count(said) > before)

    reload("the settings of chat rooms are reloaded", room_creation="local", max_people=7)
    assert make(witch, ROOM).get("type") is None and enter(second, ROOM, "second").get("type") is None
    event = server.wait("onServiceReconfig")[0]
    assert (event.stanza.tag, event.stanza.get("type"), event.stanza.get("from")) == (IQ, "set", HOST)
    form = {f.get("var"): f[0].text for f in event.stanza.iter("{jabber:x:data}field")}
    assert (form["tc.room_creation"], form["tc.max_people"], form["tc.max_occupants"]) == ("local", "7", "5")

    reload("the settings of chat rooms are reloaded", max_occupants=1) # both stay; nobody else comes in
    assert condition(enter(third, ROOM, "third")) == "service-unavailable"
    assert len(service.get(f"/v1/rooms/{quote(ROOM)}/occupants")["occupants"]) == 2
    reload('tc.room_creation: "nobody" is none of everybody, local, admins', room_creation="nobody", max_occupants=9)
    reload("the configuration was not reloaded, the old one stays", room_creation="local", max_occupants="many")
    assert condition(enter(third, ROOM, "third")) == "service-unavailable"
    reload("tc.domains has changed; that counts from the next start on", max_occupants=3, domains="other.example.com")
    assert enter(third, ROOM, "third").get("type") is None
    assert condition(info(third, "other.example.com")) == "remote-server-not-found"
    assert len(server.seen("onServiceReconfig")) == 3
