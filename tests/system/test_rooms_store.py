"""A store that refuses: what was asked of a persistent room is then refused too, and the room is as if nobody had asked (XEP-0045, 4.2; EVENTS.md: a refusal)."""
import contextlib
import sqlite3

import pytest

from harness.client import Client, condition

ROOM = "cave@conference.example.com"
ADMIN, OWNER, MUC = (f"http://jabber.org/protocol/muc{part}" for part in ("#admin", "#owner", ""))
TABLES = ("room", "room_affiliated")


def form(*fields):
    inner = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields)
    return f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'>{inner}</x></query>"


PERSISTENT = ("muc#roomconfig_persistentroom", 1)


def enter(client, nick):
    client.send(f"<presence to='{ROOM}/{nick}'><x xmlns='{MUC}'/></presence>")
    client.until(lambda e: e.tag.endswith("message") and e.find("{jabber:client}subject") is not None)


@pytest.fixture
def service(services):
    service = services({})
    service.user("crone", "hag", "hecate")
    return service


@pytest.fixture
def crone(service, closing):
    client = closing(Client(service, "crone", "desktop"))
    enter(client, "firstwitch")
    assert client.iq("set", form(PERSISTENT), ROOM).get("type") == "result"
    return client


@contextlib.contextmanager
def refusing(service):
    def run(*statements):
        with contextlib.closing(sqlite3.connect(service.dir / "data" / "store.db", timeout=20)) as db, db:
            for statement in statements:
                db.execute(statement)
    kinds = [(table, kind) for table in TABLES for kind in ("INSERT", "UPDATE", "DELETE")]
    run(*(f"CREATE TRIGGER no_{table}_{kind} BEFORE {kind} ON {table} BEGIN SELECT RAISE(FAIL, 'no room'); END" for table, kind in kinds))
    yield
    run(*(f"DROP TRIGGER no_{table}_{kind}" for table, kind in kinds))


def listed(client, affiliation):
    answer = client.iq("get", f"<query xmlns='{ADMIN}'><item affiliation='{affiliation}'/></query>", ROOM)
    items = answer.iter(f"{{{ADMIN}}}item")
    return sorted((i.get("jid"), i.get("nick"), (i.find(f"{{{ADMIN}}}reason") is not None) and i.find(f"{{{ADMIN}}}reason").text) for i in items)


def people(client):
    return {affiliation: listed(client, affiliation) for affiliation in ("owner", "admin", "member", "outcast")}


def values(client):
    answer = client.iq("get", f"<query xmlns='{OWNER}'/>", ROOM)
    return {f.get("var"): [v.text for v in f.findall("{jabber:x:data}value")] for f in answer.iter("{jabber:x:data}field")}


def test_changes_of_people(service, crone, closing):
    hag = closing(Client(service, "hag", "pda"))
    register = ("<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='muc#register_roomnick'><value>thirdwitch</value></field>"
                "</x></query>")
    hecate = closing(Client(service, "hecate", "broom"))
    assert hag.iq("set", register, ROOM).get("type") == "result"
    assert hecate.iq("set", register.replace("thirdwitch", "Hecate"), ROOM).get("type") == "result"
    ban = f"<query xmlns='{ADMIN}'><item affiliation='outcast' jid='tybalt@example.com'><reason>Treason</reason></item></query>"
    assert crone.iq("set", ban, ROOM).get("type") == "result"
    enter(hag, "thirdwitch")
    before = people(crone)
    assert before["member"] == [("hag@example.com", "thirdwitch", False), ("hecate@example.com", "Hecate", False)]
    assert before["outcast"] == [("tybalt@example.com", None, "Treason")]
    hag.iq("get", "<ping xmlns='urn:xmpp:ping'/>", ROOM)
    hag.got.clear()
    requests = [
        (crone, f"<query xmlns='{ADMIN}'><item affiliation='outcast' jid='hecate@example.com'/><item affiliation='none' jid='tybalt@example.com'/></query>"),
        (crone, f"<query xmlns='{ADMIN}'><item affiliation='owner' jid='hag@example.com'/></query>"),
        (crone, form(("muc#roomconfig_roomadmins", "hag@example.com"), ("muc#roomconfig_roomname", "Mine"))),
        (hag, register.replace("thirdwitch", "another")),
        (hag, "<query xmlns='jabber:iq:register'><remove/></query>"),
    ]
    with refusing(service):
        for client, payload in requests:
            answer = client.iq("set", payload, ROOM)
            assert answer.get("type") == "error" and condition(answer) == "internal-server-error", payload
            assert people(crone) == before, payload
        hag.nothing("{jabber:client}presence")
    assert crone.iq("set", requests[1][1], ROOM).get("type") == "result"
    assert ("hag@example.com", "thirdwitch", False) in people(crone)["owner"]


def test_configuration_and_end(service, crone, closing):
    before = values(crone)
    with refusing(service):
        for payload in (form(("muc#roomconfig_roomname", "Mine"), ("muc#roomconfig_membersonly", 1)), form(("muc#roomconfig_persistentroom", 0)),
                        f"<query xmlns='{OWNER}'><destroy/></query>"):
            answer = crone.iq("set", payload, ROOM)
            assert answer.get("type") == "error" and condition(answer) == "internal-server-error", payload
            assert values(crone) == before
        crone.nothing("{jabber:client}message")
    hag = closing(Client(service, "hag", "pda"))
    enter(hag, "thirdwitch")
    assert crone.iq("set", f"<query xmlns='{OWNER}'><destroy/></query>", ROOM).get("type") == "result"


def test_a_room_that_cannot_be_stored_stays_locked(service, closing):
    crone, hag = closing(Client(service, "crone", "desktop")), closing(Client(service, "hag", "pda"))
    enter(crone, "firstwitch")
    with refusing(service):
        assert condition(crone.iq("set", form(PERSISTENT), ROOM)) == "internal-server-error"
        hag.send(f"<presence id='in' to='{ROOM}/thirdwitch'><x xmlns='{MUC}'/></presence>")
        assert condition(hag.next("{jabber:client}presence", match=lambda e: e.get("id") == "in")) == "item-not-found"
    assert crone.iq("set", form(PERSISTENT), ROOM).get("type") == "result"
    enter(hag, "thirdwitch")
