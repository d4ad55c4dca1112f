"""Administration over XMPP: XEP-0133's commands with XEP-0050's forms, for those in server.admins."""
import pytest

from harness.client import Client, condition
from harness.compliance import Compliance, passed
from harness.service import Refused, wait_until

C, X = "{http://jabber.org/protocol/commands}", "{jabber:x:data}"
ADMIN = "http://jabber.org/protocol/admin#"


@pytest.fixture
def world(services):
    service = services({"server.admins": "other@example.org friar@example.com"})
    service.user("friar", "romeo", "juliet")
    return service, Client(service, "friar", "cell")


def command(c, name, form=None, **attributes):
    attributes = "".join(f" {k}='{v}'" for k, v in attributes.items())
    fields = "" if form is None else "<x xmlns='jabber:x:data' type='submit'>" + "".join(
        f"<field var='{var}'>" + "".join(f"<value>{v}</value>" for v in values) + "</field>" for var, values in form.items()) + "</x>"
    return c.iq("set", f"<command xmlns='http://jabber.org/protocol/commands' node='{ADMIN}{name}'{attributes}>{fields}</command>", to="example.com")


def carry_out(c, name, **form):
    """Asks for the form, sends it back filled in; the completed command."""
    asked = command(c, name, action="execute")[0]
    assert asked.get("status") == "executing" and asked.get("sessionid")
    wanted = [f.get("var") for f in asked.find(X + "x") if f.get("type") not in (None, "hidden")]
    assert wanted == list(form)
    done = command(c, name, {"FORM_TYPE": ["http://jabber.org/protocol/admin"], **form}, sessionid=asked.get("sessionid"), action="complete")
    if done.get("type") == "result":
        assert done[0].get("status") == "completed" and done[0].get("sessionid") == asked.get("sessionid")
    return done


def values(result, var):
    return [v.text for f in result[0].find(X + "x") if f.get("var") == var for v in f.findall(X + "value")]


def test_discovered(world):
    service, friar = world
    romeo = Client(service, "romeo")
    assert "http://jabber.org/protocol/commands" in [f.get("var") for f in friar.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to="example.com")[0]]
    items = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>"
    nodes = [i.get("node") for i in friar.iq("get", items, to="example.com")[0]]
    assert ADMIN + "add-user" in nodes and len(nodes) == 10
    assert len(romeo.iq("get", items, to="example.com")[0]) == 0
    info = friar.iq("get", f"<query xmlns='http://jabber.org/protocol/disco#info' node='{ADMIN}add-user'/>", to="example.com")[0]
    assert info[0].get("category") == "automation" and info[0].get("type") == "command-node"
    assert condition(friar.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>", to="example.com")) == "item-not-found"


def test_refused(world, services):
    service, friar = world
    romeo = Client(service, "romeo")
    assert condition(command(romeo, "add-user")) == "forbidden"
    assert condition(command(friar, "frobnicate")) == "item-not-found"
    assert condition(command(friar, "add-user", action="prev")) == "bad-request"
    assert command(friar, "add-user", sessionid="s", action="cancel")[0].get("status") == "canceled"
    assert condition(carry_out(friar, "add-user", accountjid=["a@elsewhere.example"], password=["long enough"], **{"password-verify": ["long enough"]})) == "bad-request"
    assert condition(carry_out(friar, "add-user", accountjid=["a@example.com"], password=["long enough"], **{"password-verify": ["another one"]})) == "bad-request"
    assert condition(carry_out(friar, "add-user", accountjid=["romeo@example.com"], password=["long enough"], **{"password-verify": ["long enough"]})) == "conflict"
    assert condition(carry_out(friar, "delete-user", accountjids=["nobody@example.com"])) == "item-not-found"
    plain = services()
    plain.user("friar")
    assert condition(command(Client(plain, "friar"), "add-user")) == "service-unavailable"


def test_users(world):
    service, friar = world
    for name in ("nurse", "paris"):
        carry_out(friar, "add-user", accountjid=[f"{name}@example.com"], password=["long enough"], **{"password-verify": ["long enough"]})
    nurse = Client(service, "nurse", password="long enough")
    users = values(command(friar, "get-registered-users-list"), "registereduserjids")
    assert users == ["friar@example.com", "juliet@example.com", "nurse@example.com", "paris@example.com", "romeo@example.com"]
    assert set(values(command(friar, "get-online-users-list"), "onlineuserjids")) == {"friar@example.com", "nurse@example.com"}
    carry_out(friar, "change-user-password", accountjid=["paris@example.com"], password=["another one"])
    Client(service, "paris", password="another one").close()
    carry_out(friar, "end-user-session", accountjids=["nurse@example.com"])
    assert nurse.next("{http://etherx.jabber.org/streams}error")[0].tag.endswith("policy-violation")
    wait_until("nurse's end", lambda: "nurse@example.com" not in values(command(friar, "get-online-users-list"), "onlineuserjids"))
    carry_out(friar, "disable-user", accountjids=["nurse@example.com", "paris@example.com"])
    assert values(command(friar, "get-disabled-users-list"), "disableduserjids") == ["nurse@example.com", "paris@example.com"]
    with pytest.raises(PermissionError):
        Client(service, "nurse", password="long enough")
    carry_out(friar, "reenable-user", accountjids=["nurse@example.com"])
    Client(service, "nurse", password="long enough").close()
    carry_out(friar, "delete-user", accountjids=["nurse@example.com", "paris@example.com"])
    for name in ("nurse", "paris"):
        with pytest.raises(Refused):
            service.get(f"/v1/users/{name}@example.com")


def test_announce(world):
    service, friar = world
    romeo, juliet = Client(service, "romeo"), Client(service, "juliet")
    carry_out(friar, "announce", announcement=["The ball", "begins &amp; ends."])
    for c in (romeo, juliet):
        message = c.next("{jabber:client}message")
        assert message.get("from") == "example.com" and message.get("type") == "headline"
        assert message.findtext("{jabber:client}body") == "The ball\nbegins & ends."


def test_events_show_no_password(world, closing):
    service, friar = world
    service.profile("all", [("es_OUT", "iq", "bounce", False), ("e_SERVER", "iq", "bounce", False)])
    server = closing(Compliance("op-c.node1-example-com", script=passed))
    service.wait_link(service.compliance_server("c", server.port, profile="all"), "ACTIVE")
    carry_out(friar, "add-user", accountjid=["nurse@example.com"], password=["long enough"], **{"password-verify": ["long enough"]})
    Client(service, "nurse", password="long enough").close()
    seen = [e for name in ("es_OUT", "e_SERVER") for e in server.seen(name) if "nurse@example.com" in "".join(e.stanza.itertext())]
    assert len(seen) == 2
    for e in seen:
        assert "long enough" not in "".join(e.stanza.itertext())
