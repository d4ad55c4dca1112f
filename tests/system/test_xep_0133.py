"""Administration over XMPP: XEP-0133's commands with XEP-0050's forms, for those in server.admins."""
import datetime
import http.client
import time

import pytest

from harness.client import Client, condition
from harness.compliance import Compliance, passed
from harness.service import Refused, wait_until

C, X, ROSTER = "{http://jabber.org/protocol/commands}", "{jabber:x:data}", "{jabber:iq:roster}"
COMMANDS, ADMIN = "http://jabber.org/protocol/commands", "http://jabber.org/protocol/admin#"
ERROR = "{http://etherx.jabber.org/streams}error"
NODES = ["add-user", "delete-user", "disable-user", "reenable-user", "end-user-session", "change-user-password", "get-user-roster", "get-user-lastlogin", "user-stats",
         "get-registered-users-num", "get-disabled-users-num", "get-online-users-num", "get-active-users-num", "get-idle-users-num",
         "get-registered-users-list", "get-disabled-users-list", "get-online-users-list", "get-active-users", "get-idle-users",
         "announce", "set-motd", "edit-motd", "delete-motd", "set-welcome", "delete-welcome", "restart", "shutdown"]


@pytest.fixture
def world(services):
    service = services({"server.admins": "other@example.org friar@example.com", "server.idle_after": 6, "register.password_min": 8})
    service.user("friar", "romeo", "juliet")
    return service, Client(service, "friar", "cell")


def form(**fields):
    return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/admin</value></field>" + "".join(
        f"<field var='{var.replace('_', '-') if var == 'password_verify' else var}'>" + "".join(f"<value>{v}</value>" for v in values) + "</field>"
        for var, values in fields.items()) + "</x>"


def command(c, name, inner="", to="example.com", **attributes):
    attributes = "".join(f" {k}='{v}'" for k, v in attributes.items())
    node = name if ":" in name else ADMIN + name
    return c.iq("set", f"<command xmlns='{COMMANDS}' node='{node}'{attributes}>{inner}</command>", to=to)


def carry_out(c, name, to="example.com", **fields):
    """Asks for the form, sends it back filled in; the answer."""
    asked = command(c, name, action="execute", to=to)[0]
    assert asked.get("status") == "executing" and asked.get("sessionid")
    assert asked.find(C + "actions").get("execute") == "complete" and asked.find(f"{C}actions/{C}complete") is not None
    x = asked.find(X + "x")
    assert x.get("type") == "form" and x.find(X + "title") is not None and x.find(X + "instructions") is not None
    assert [v.text for f in x.findall(X + "field") if f.get("var") == "FORM_TYPE" for v in f] == ["http://jabber.org/protocol/admin"]
    offered = {f.get("var") for f in x.findall(X + "field")}
    assert {"password-verify" if f == "password_verify" else f for f in fields} <= offered
    done = command(c, name, form(**fields), sessionid=asked.get("sessionid"), action="complete", to=to)
    if done.get("type") == "result":
        assert done[0].get("status") == "completed" and done[0].get("sessionid") == asked.get("sessionid")
        assert done.get("{http://www.w3.org/XML/1998/namespace}lang") == "en"
    return done


def notes(answer, kind):
    return [n.text for n in answer[0].findall(C + "note") if n.get("type") == kind]


def succeeds(answer):
    assert answer.get("type") == "result" and notes(answer, "info") and not notes(answer, "error")


def fails(answer):
    assert answer.get("type") == "result" and answer[0].get("status") == "completed" and notes(answer, "error")


def values(answer, var):
    x = answer[0].find(X + "x")
    assert x.get("type") == "result"
    return [v.text or "" for f in x if f.get("var") == var for v in f.findall(X + "value")]


def add(c, name, password="long enough"):
    succeeds(carry_out(c, "add-user", accountjid=[f"{name}@example.com"], password=[password], password_verify=[password]))


# ---- discovery: XEP-0133, 3 and XEP-0050, 2 ----
@pytest.mark.parametrize("to", ["example.com", "friar@example.com", None])
def test_discovered(world, to):
    """At the server, and at the administrator's own account."""
    service, friar = world
    info, items = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
    assert COMMANDS in [f.get("var") for f in friar.iq("get", f"<query xmlns='{info}'/>", to=to)[0]]
    found = friar.iq("get", f"<query xmlns='{items}' node='{COMMANDS}'/>", to=to)[0]
    assert found.get("node") == COMMANDS and [i.get("node") for i in found] == [ADMIN + n for n in NODES]
    assert {i.get("jid") for i in found} == {to or "friar@example.com"} and all(i.get("name") for i in found)
    assert friar.iq("get", f"<query xmlns='{info}' node='{COMMANDS}'/>", to=to)[0][0].attrib.items() >= {"category": "automation", "type": "command-list"}.items()
    for item in found:
        one = friar.iq("get", f"<query xmlns='{info}' node='{item.get('node')}'/>", to=to)[0]
        assert one.get("node") == item.get("node") and one[0].attrib == {"category": "automation", "type": "command-node", "name": item.get("name")}
        assert [f.get("var") for f in one[1:]] == [COMMANDS, "jabber:x:data"]
    assert len(friar.iq("get", f"<query xmlns='{items}' node='{ADMIN}add-user'/>", to=to)[0]) == 0
    assert condition(friar.iq("get", f"<query xmlns='{info}' node='x'/>", to=to)) == "item-not-found"


def test_not_for_others(world):
    service, friar = world
    romeo = Client(service, "romeo")
    for to in ("example.com", "romeo@example.com"):
        assert len(romeo.iq("get", f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>", to=to)[0]) == 0
        assert condition(romeo.iq("get", f"<query xmlns='http://jabber.org/protocol/disco#info' node='{ADMIN}add-user'/>", to=to)) == "forbidden"
        for node in NODES:
            assert condition(command(romeo, node, to=to)) == "forbidden"
    assert condition(command(romeo, "add-user", to="friar@example.com")) == "service-unavailable"
    assert COMMANDS not in [f.get("var") for f in romeo.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")[0]]


def test_no_administrators(services):
    service = services()
    service.user("friar")
    friar = Client(service, "friar")
    assert condition(command(friar, "add-user")) == "service-unavailable"
    assert condition(friar.iq("get", f"<query xmlns='http://jabber.org/protocol/disco#info' node='{COMMANDS}'/>", to="example.com")) == "item-not-found"


def test_not_offered(world):
    """5: what the XEP has and this service does not is not implemented; what nobody has is not found."""
    service, friar = world
    for node in ("get-user-password", "edit-blacklist", "edit-whitelist", "edit-admin"):
        assert condition(command(friar, node)) == "feature-not-implemented"
    assert condition(command(friar, "frobnicate")) == "item-not-found"
    assert condition(friar.iq("set", f"<command xmlns='{COMMANDS}'/>", to="example.com")) == "bad-request"


def specific(answer):
    error = answer.find("{jabber:client}error")
    return condition(answer), error.get("type"), next((e.tag[len(C):] for e in error if e.tag.startswith(C)), None)


# ---- sessions and stages: XEP-0050, 3 and 4 ----
def test_stages(services):
    service = services({"server.admins": "friar@example.com", "adhoc.session_timeout": 2, "adhoc.sessions": 3})
    service.user("friar", "paris")
    friar = Client(service, "friar", "cell")
    first = command(friar, "delete-user")[0]
    second = command(friar, "delete-user", action="execute", status="completed")[0]
    assert first.get("sessionid") != second.get("sessionid") and first.find(X + "x") is not None
    one, two = first.get("sessionid"), second.get("sessionid")
    # 4.4: each error and its condition
    assert specific(command(friar, "delete-user", sessionid=one, action="frobnicate")) == ("bad-request", "modify", "malformed-action")
    assert specific(command(friar, "delete-user", sessionid=one, action="prev")) == ("bad-request", "modify", "bad-action")
    assert specific(command(friar, "delete-user", sessionid=one, action="next")) == ("bad-request", "modify", "bad-action")
    assert specific(command(friar, "delete-user", action="prev")) == ("bad-request", "modify", "bad-action")
    assert specific(command(friar, "delete-user", action="complete")) == ("bad-request", "modify", "bad-action")
    assert specific(command(friar, "delete-user", sessionid=one, action="complete")) == ("bad-request", "modify", "bad-payload")
    assert specific(command(friar, "delete-user", form(), sessionid=one)) == ("bad-request", "modify", "bad-payload")
    assert specific(command(friar, "delete-user", form(accountjids=["paris@example.com"]).replace("protocol/admin<", "protocol/other<"), sessionid=one)) == (
        "bad-request", "modify", "bad-payload")
    assert specific(command(friar, "delete-user", form(accountjids=["paris@example.com"]), sessionid="nonsense")) == ("bad-request", "modify", "bad-sessionid")
    assert specific(command(friar, "delete-user", form(accountjids=["paris@example.com"]), sessionid="")) == ("bad-request", "modify", "bad-sessionid")
    assert specific(command(friar, "disable-user", form(accountjids=["paris@example.com"]), sessionid=one)) == ("bad-request", "modify", "bad-sessionid")
    other = Client(service, "friar", "garden")
    assert specific(command(other, "delete-user", form(accountjids=["paris@example.com"]), sessionid=one)) == ("bad-request", "modify", "bad-sessionid")
    for lang in ("fr-ca", "e"):
        assert specific(command(friar, "delete-user", **{"xml:lang": lang})) == ("bad-request", "modify", "bad-locale")
    friar.send(f"<iq type='set' id='l1' to='example.com' xml:lang='fr-ca'><command xmlns='{COMMANDS}' node='{ADMIN}delete-user'/></iq>")
    assert specific(friar.next("{jabber:client}iq", match=lambda e: e.get("id") == "l1"))[2] == "bad-locale"
    # 3.5: canceled, and then it is over
    canceled = command(friar, "delete-user", sessionid=two, action="cancel")
    assert canceled[0].get("status") == "canceled" and canceled[0].get("sessionid") == two and len(canceled[0]) == 0
    assert specific(command(friar, "delete-user", form(accountjids=["paris@example.com"]), sessionid=two)) == ("not-allowed", "cancel", "session-expired")
    assert specific(command(friar, "delete-user", action="cancel")) == ("bad-request", "modify", "bad-sessionid")
    # all that was wrong has ended nothing: the first is still there, and 'execute' completes it
    assert service.get("/v1/users/paris@example.com")
    done = command(friar, "delete-user", form(accountjids=["paris@example.com"]), sessionid=one, action="execute", **{"xml:lang": "en-GB"})
    succeeds(done)
    assert specific(command(friar, "delete-user", form(accountjids=["paris@example.com"]), sessionid=one)) == ("not-allowed", "cancel", "session-expired")
    # bounds: in number, in time
    begun = [command(friar, "delete-user")[0].get("sessionid") for _ in range(3)]
    assert condition(command(friar, "delete-user")) == "resource-constraint"
    assert service.metric("adhoc_sessions") == 3
    wait_until("the sessions' end", lambda: service.metric("adhoc_sessions") == 0)
    assert specific(command(friar, "delete-user", form(accountjids=["x@example.com"]), sessionid=begun[0])) == ("not-allowed", "cancel", "session-expired")


def test_language_of_the_stream(services):
    """That of the stream header asks for nothing: clients say it whatever they do."""
    service = services({"server.admins": "friar@example.com"})
    service.user("friar")

    class German(Client):
        def open(self, to=None):
            self.stream.reset()
            self.send(f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='de' to='{self.domain}'>")
            return self.next("{http://etherx.jabber.org/streams}features")
    assert command(German(service, "friar"), "add-user")[0].get("status") == "executing"


# ---- accounts: 4.1 to 4.7 ----
def test_accounts(world):
    service, friar = world
    add(friar, "nurse")
    add(friar, "paris")
    nurse = Client(service, "nurse", "house", password="long enough")
    succeeds(carry_out(friar, "change-user-password", accountjid=["paris@example.com/x"], password=["another one"]))
    Client(service, "paris", password="another one").close()
    succeeds(carry_out(friar, "end-user-session", accountjids=["nurse@example.com"]))
    assert nurse.next(ERROR)[0].tag.endswith("policy-violation")
    nurse = Client(service, "nurse", "house", password="long enough")
    succeeds(carry_out(friar, "disable-user", accountjids=["nurse@example.com", "paris@example.com"]))
    assert nurse.next(ERROR)[0].tag.endswith("not-authorized")
    with pytest.raises(PermissionError):
        Client(service, "nurse", password="long enough")
    succeeds(carry_out(friar, "reenable-user", accountjids=["nurse@example.com"]))
    nurse = Client(service, "nurse", password="long enough")
    succeeds(carry_out(friar, "reenable-user", accountjids=["nurse@example.com"])) # once more: nothing happens
    nurse.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
    succeeds(carry_out(friar, "delete-user", accountjids=["nurse@example.com/house", "paris@example.com"]))
    for name in ("nurse", "paris"):
        with pytest.raises(Refused):
            service.get(f"/v1/users/{name}@example.com")


def test_end_one_session(world):
    """4.5: of a full JID, that session alone."""
    service, friar = world
    one, two = Client(service, "romeo", "one"), Client(service, "romeo", "two")
    succeeds(carry_out(friar, "end-user-session", accountjids=["romeo@example.com/one"]))
    assert one.next(ERROR)[0].tag.endswith("policy-violation")
    friar.message(two.jid, "still there")
    two.next_message(body="still there")


def test_accounts_refused(world):
    service, friar = world
    long = {"password": ["long enough"], "password_verify": ["long enough"]}
    fails(carry_out(friar, "add-user", accountjid=["a@elsewhere.example"], **long))
    fails(carry_out(friar, "add-user", accountjid=["a@b@c"], **long))
    fails(carry_out(friar, "add-user", accountjid=["example.com"], **long))
    fails(carry_out(friar, "add-user", accountjid=["a@example.com"], password=["long enough"], password_verify=["another one"]))
    fails(carry_out(friar, "add-user", accountjid=["a@example.com"], password=["short"], password_verify=["short"]))
    assert condition(carry_out(friar, "add-user", accountjid=["romeo@example.com"], **long)) == "conflict"
    assert specific(carry_out(friar, "add-user", accountjid=["a@example.com", "b@example.com"], **long))[2] == "bad-payload"
    for node in ("delete-user", "disable-user", "reenable-user", "end-user-session", "get-user-roster", "get-user-lastlogin", "user-stats"):
        fails(carry_out(friar, node, accountjids=["nobody@example.com"]))
        fails(carry_out(friar, node, accountjids=["romeo@elsewhere.example"]))
    fails(carry_out(friar, "change-user-password", accountjid=["nobody@example.com"], password=["long enough"]))
    # of several, what can be done is done, and what cannot is said
    some = carry_out(friar, "disable-user", accountjids=["nobody@example.com", "romeo@example.com"])
    assert len(notes(some, "error")) == 1 and "nobody@example.com" in notes(some, "error")[0]
    assert service.get("/v1/users/romeo@example.com")["disabled"]


def test_self(world):
    """An administrator who ends himself is told before he is put out."""
    service, friar = world
    second = Client(service, "friar", "garden")
    succeeds(carry_out(friar, "end-user-session", accountjids=["friar@example.com/garden"]))
    assert second.next(ERROR) is not None
    second = Client(service, "friar", "garden")
    succeeds(carry_out(friar, "delete-user", accountjids=["friar@example.com"]))
    assert friar.next(ERROR) is not None and second.next(ERROR) is not None
    with pytest.raises(Refused):
        service.get("/v1/users/friar@example.com")


# ---- facts: 4.8 to 4.10 ----
def test_facts(world):
    service, friar = world
    romeo = Client(service, "romeo", "orchard")
    romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='benvolio@example.org' name='B &amp; M'><group>Friends</group></item></query>")
    answer = carry_out(friar, "get-user-roster", accountjids=["romeo@example.com"])
    assert values(answer, "accountjids") == ["romeo@example.com"]
    items = answer[0].find(X + "x").findall(f"{ROSTER}query/{ROSTER}item")
    assert [(i.get("jid"), i.get("name"), i.get("subscription"), i[0].text) for i in items] == [("benvolio@example.org", "B & M", "none", "Friends")]
    answer = carry_out(friar, "get-user-lastlogin", accountjids=["romeo@example.com", "juliet@example.com"])
    stamp, never = values(answer, "lastlogin")
    then = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    assert abs(then.timestamp() - time.time()) < 120 and never == ""
    answer = carry_out(friar, "user-stats", accountjid=["romeo@example.com"])
    assert values(answer, "rostersize") == ["1"] and values(answer, "onlineresources") == ["orchard"] and values(answer, "ipaddresses") == ["127.0.0.1"]
    assert float(values(answer, "stanzaspersecond")[0]) > 0
    answer = carry_out(friar, "user-stats", accountjids=["juliet@example.com"])
    assert values(answer, "rostersize") == ["0"] and values(answer, "onlineresources") == []


# ---- numbers and lists: 4.13 to 4.22 ----
def numbers(c):
    return {kind: int(values(command(c, f"get-{kind}-users-num"), f"{kind}usersnum")[0]) for kind in ("registered", "disabled", "online", "active", "idle")}


def users(c, kind, **fields):
    node = f"get-{kind}-users" + ("" if kind in ("active", "idle") else "-list")
    return [v.partition("@")[0] for v in values(carry_out(c, node, **fields), f"{kind}userjids")]


def test_numbers_and_lists(world):
    service, friar = world
    romeo = Client(service, "romeo", "orchard")
    second = Client(service, "romeo", "balcony")
    assert numbers(friar) == {"registered": 3, "disabled": 0, "online": 2, "active": 2, "idle": 0}
    assert users(friar, "registered") == ["friar", "juliet", "romeo"] and users(friar, "online") == users(friar, "active") == ["friar", "romeo"]
    assert users(friar, "idle") == users(friar, "disabled") == []
    second.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    romeo.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    wait_until("he is idle", lambda: users(friar, "idle") == ["romeo"])
    assert users(friar, "active") == ["friar"]
    romeo.send("<active xmlns='urn:xmpp:csi:0'/>")
    romeo.send("<presence/>")
    wait_until("he is active", lambda: users(friar, "active") == ["friar", "romeo"])
    wait_until("he is idle again, having sent nothing", lambda: numbers(friar)["idle"] == 1)
    romeo.close()
    second.close()
    service.request("POST", "/v1/users/juliet@example.com/disable")
    wait_until("he is gone", lambda: users(friar, "online") == ["friar"])
    assert numbers(friar) == {"registered": 3, "disabled": 1, "online": 1, "active": 1, "idle": 0} and users(friar, "disabled") == ["juliet"]


def test_list_is_bounded(services):
    service = services({"server.admins": "friar@example.com", "adhoc.max_items": 30})
    service.user("friar", *(f"u{i:02}" for i in range(40)))
    friar = Client(service, "friar")
    for asked, n in (({}, 30), ({"max_items": ["25"]}, 25), ({"max_items": ["none"]}, 30), ({"max_items": ["200"]}, 30)):
        answer = carry_out(friar, "get-registered-users-list", **asked)
        assert len(values(answer, "registereduserjids")) == n and f"Only {n} of 41" in notes(answer, "warn")[0]
    assert specific(carry_out(friar, "get-registered-users-list", max_items=["7"]))[2] == "bad-payload"
    fails(carry_out(friar, "disable-user", accountjids=[f"u{i:02}@example.com" for i in range(31)]))


# ---- messages: 4.23 to 4.28 ----
def heard(c, body, kind):
    message = c.next_message(body=body)
    assert message.get("from") == "example.com" and message.get("type", "normal") == kind


def test_announce(world):
    service, friar = world
    romeo, juliet = Client(service, "romeo"), Client(service, "juliet", presence=False)
    succeeds(carry_out(friar, "announce", announcement=["The ball", "begins &amp; ends."]))
    for c in (romeo, juliet, friar):
        heard(c, "The ball\nbegins & ends.", "headline")
    assert specific(carry_out(friar, "announce", announcement=[""]))[2] == "bad-payload"


def logged_in(service, name, **more):
    c = Client(service, name, **more)
    c.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
    return c


def test_motd(world):
    """4.24: once to each: at once to those who are there, at the next login to the others, also after a restart. 4.25: not again to who has seen it."""
    service, friar = world
    romeo = Client(service, "romeo")
    succeeds(carry_out(friar, "set-motd", motd=["Don't forget:", "the Globe"]))
    for c in (romeo, friar):
        heard(c, "Don't forget:\nthe Globe", "headline")
    again = logged_in(service, "romeo")
    again.nothing("{jabber:client}message", 0.1)
    service.stop()
    service.start()
    friar, romeo = logged_in(service, "friar", resource="cell"), logged_in(service, "romeo")
    romeo.nothing("{jabber:client}message", 0.1)
    asked = command(friar, "edit-motd")[0]
    assert [v.text for f in asked.find(X + "x") if f.get("var") == "motd" for v in f.findall(X + "value")] == ["Don't forget:", "the Globe"]
    succeeds(carry_out(friar, "edit-motd", motd=["Don't forget: the Rose"]))
    juliet = Client(service, "juliet", presence=False)
    juliet.nothing("{jabber:client}message", 0.1)
    juliet.available(-1)
    juliet.nothing("{jabber:client}message", 0.1)
    juliet.available(0)
    heard(juliet, "Don't forget: the Rose", "headline")
    logged_in(service, "romeo").nothing("{jabber:client}message", 0.1)
    succeeds(command(friar, "delete-motd"))
    add(friar, "nurse")
    logged_in(service, "nurse", password="long enough").nothing("{jabber:client}message", 0.1)
    asked = command(friar, "edit-motd")[0]
    assert [f.get("var") for f in asked.find(X + "x") if f.get("var") == "motd"] and not asked.find(X + "x").findall(f"{X}field[@var='motd']/{X}value")
    succeeds(carry_out(friar, "set-motd", motd=["Another"]))
    heard(friar, "Another", "headline")
    heard(juliet, "Another", "headline")
    heard(romeo, "Another", "headline")
    add(friar, "paris")
    heard(logged_in(service, "paris", password="long enough"), "Another", "headline")


def test_welcome(world):
    """4.27: to newcomers, at their first login only."""
    service, friar = world
    add(friar, "nurse")
    logged_in(service, "nurse", password="long enough").close()
    succeeds(carry_out(friar, "set-welcome", welcome=["Welcome to", "example.com"]))
    assert [v.text for v in command(friar, "set-welcome")[0].find(X + "x").findall(f"{X}field[@var='welcome']/{X}value")] == ["Welcome to", "example.com"]
    logged_in(service, "nurse", password="long enough").nothing("{jabber:client}message", 0.1)
    add(friar, "paris")
    heard(Client(service, "paris", password="long enough"), "Welcome to\nexample.com", "normal")
    logged_in(service, "paris", password="long enough").nothing("{jabber:client}message", 0.1)
    succeeds(command(friar, "delete-welcome"))
    add(friar, "tybalt")
    logged_in(service, "tybalt", password="long enough").nothing("{jabber:client}message", 0.1)


def test_messages_ask_compliance(world, closing):
    """Nothing reaches a session around es_IN."""
    service, friar = world
    service.profile("all", [("es_IN", "message", "bounce", False)])
    server = closing(Compliance("op-c.node1-example-com", script=passed))
    service.wait_link(service.compliance_server("c", server.port, profile="all"), "ACTIVE")
    carry_out(friar, "announce", announcement=["one"])
    carry_out(friar, "set-motd", motd=["two"])
    carry_out(friar, "set-welcome", welcome=["three"])
    add(friar, "paris")
    heard(friar, "one", "headline")
    heard(friar, "two", "headline")
    paris = Client(service, "paris", password="long enough")
    heard(paris, "three", "normal")
    heard(paris, "two", "headline")
    bodies = [e.stanza.findtext("{jabber:client}body") for e in server.seen("es_IN")]
    assert sorted(bodies) == ["one", "three", "two", "two"]


# ---- the end: 4.30, 4.31 ----
def test_shutdown(world):
    service, friar = world
    romeo = Client(service, "romeo")
    asked = command(friar, "shutdown")[0].find(X + "x")
    assert [o.findtext(X + "value") for o in asked.findall(f"{X}field[@var='delay']/{X}option")] == ["30", "60", "90", "120", "180", "240", "300"]
    succeeds(carry_out(friar, "shutdown", announcement=["The end"]))
    heard(romeo, "The end", "headline")
    assert romeo.next(ERROR)[0].tag.endswith("system-shutdown")
    wait_until("the end of signetd", lambda: service.process.poll() is not None)
    assert service.process.returncode == 0


def test_restart(world):
    service, friar = world
    boot = service.get("/v1/status")
    succeeds(carry_out(friar, "restart"))
    assert friar.next(ERROR)[0].tag.endswith("system-shutdown")

    def there_again():
        try:
            status = service.get("/v1/status")
            return status if status["since"] != boot["since"] else None
        except (OSError, Refused, http.client.HTTPException):
            return None
    status = wait_until("it is there again", there_again, 20)
    service.port, service.port_tls = status["port"], status["port_tls"]
    assert service.process.poll() is None
    Client(service, "romeo").close()


def test_delayed_shutdown(world):
    service, friar = world
    succeeds(carry_out(friar, "shutdown", delay=["300"]))
    assert condition(carry_out(friar, "restart", delay=["30"])) == "conflict"
    friar.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
    assert service.process.poll() is None


def test_events_show_no_password(world, closing):
    service, friar = world
    service.profile("all", [("es_OUT", "iq", "bounce", False), ("e_SERVER", "iq", "bounce", False)])
    server = closing(Compliance("op-c.node1-example-com", script=passed))
    service.wait_link(service.compliance_server("c", server.port, profile="all"), "ACTIVE")
    add(friar, "nurse")
    Client(service, "nurse", password="long enough").close()
    seen = [e for name in ("es_OUT", "e_SERVER") for e in server.seen(name) if "nurse@example.com" in "".join(e.stanza.itertext())]
    assert len(seen) == 2
    for e in seen:
        assert "long enough" not in "".join(e.stanza.itertext())
