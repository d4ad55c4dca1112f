"""In-band registration (XEP-0077): accounts made before login, passwords changed, accounts removed; what compliance servers see of it."""
import time
import base64
import xml.etree.ElementTree as ET

import pytest

from harness.client import Client, condition
from harness.compliance import Compliance, handled, passed, passed_with, refused
from harness.service import PASSWORD

Q = "{jabber:iq:register}"
ON = {"register.enabled": "yes"}


def request(c, inner, kind="set", to=None, id="r1"):
    address = f" to='{to}'" if to else ""
    c.send(f"<iq type='{kind}' id='{id}'{address}><query xmlns='jabber:iq:register'>{inner}</query></iq>")
    return c.next("{jabber:client}iq", match=lambda e: e.get("id") == id)


def account(name, password=PASSWORD):
    return f"<username>{name}</username><password>{password}</password>"


def stranger(service, direct_tls=True):
    c = Client(service, "nobody", login=False, direct_tls=direct_tls)
    if not direct_tls:
        c.open()
        c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        c.next("{urn:ietf:params:xml:ns:xmpp-tls}proceed")
        c.start_tls()
    c.features = c.open()
    return c


@pytest.mark.parametrize("direct_tls", [True, False], ids=["direct", "starttls"])
def test_many_on_one_stream(services, direct_tls):
    """3.1: the feature, the form, the accounts; whoever is done may log in on the same stream."""
    service = services({**ON, "register.accounts": 0})
    c = stranger(service, direct_tls)
    assert c.features.find("{http://jabber.org/features/iq-register}register") is not None
    form = request(c, "", "get")
    assert form.get("type") == "result" and form.find(f"{Q}query/{Q}username") is not None and form.find(f"{Q}query/{Q}password") is not None
    for i in range(5):
        assert request(c, account(f"User{i}"), to="example.com", id=f"a{i}").get("type") == "result"
    assert condition(request(c, account("user3"))) == "conflict"
    for i in range(5):
        Client(service, f"user{i}").close()


def test_stream_kept_for_the_next(services):
    """Who has made an account has register.stream_timeout, not c2s.auth_timeout, for the next one or a login."""
    service = services({**ON, "c2s.auth_timeout": 1, "register.stream_timeout": 4})
    c = stranger(service)
    assert request(c, account("one")).get("type") == "result"
    time.sleep(2)
    assert request(c, account("two")).get("type") == "result"
    assert c.next("{http://etherx.jabber.org/streams}error", 20)[0].tag.endswith("connection-timeout")
    c = stranger(service)
    assert request(c, "", "get").get("type") == "result"  # nothing made: no longer than others
    assert c.next("{http://etherx.jabber.org/streams}error", 20)[0].tag.endswith("connection-timeout")


def test_password_min(services):
    """RFC 8265, 4.2.2: not empty; more is a setting."""
    c = stranger(services(ON))
    assert condition(request(c, account("romeo", ""))) == "not-acceptable"
    assert request(c, account("romeo", "x")).get("type") == "result"
    assert "8 bytes" not in request(c, "", "get").findtext(f"{Q}query/{Q}instructions")
    strict = stranger(services({**ON, "register.password_min": 8}))
    assert "8 bytes" in request(strict, "", "get").findtext(f"{Q}query/{Q}instructions")
    assert condition(request(strict, account("romeo", "1234567"))) == "not-acceptable"
    assert request(strict, account("romeo", "12345678")).get("type") == "result"


def test_refused(services):
    service = services({**ON, "register.password_min": 8})
    c = stranger(service)
    assert condition(request(c, "<username>romeo</username>")) == "not-acceptable"
    assert condition(request(c, account("romeo", "short"))) == "not-acceptable"
    assert condition(request(c, account("ro meo"))) == "not-acceptable"
    assert condition(request(c, "<remove/>")) == "unexpected-request"
    assert condition(request(c, account("romeo"), to="example.org")) == "service-unavailable"


def submit(form_type="jabber:iq:register", kind="submit", **fields):
    fields = {"FORM_TYPE": form_type, **fields}
    return f"<x xmlns='jabber:x:data' type='{kind}'>" + "".join(f"<field var='{k}'><value>{v}</value></field>" for k, v in fields.items()) + "</x>"


def test_form(services):
    """4: the form asks for what the fields ask for, and may be submitted instead of them."""
    service = services(ON)
    c = stranger(service)
    x = request(c, "", "get")[0].find("{jabber:x:data}x")
    assert x.get("type") == "form"
    fields = {f.get("var"): (f.get("type"), f.find("{jabber:x:data}required") is not None) for f in x.findall("{jabber:x:data}field")}
    assert fields == {"FORM_TYPE": ("hidden", False), "username": ("text-single", True), "password": ("text-private", True)}
    assert condition(request(c, submit(username="romeo"))) == "not-acceptable"
    assert condition(request(c, submit(password=PASSWORD))) == "not-acceptable"
    assert condition(request(c, submit(username="romeo", password=PASSWORD, form_type="jabber:iq:search"))) == "bad-request"
    assert condition(request(c, submit(username="romeo", password=PASSWORD, form_type="jabber:iq:register:cancel"))) == "bad-request"
    assert condition(request(c, submit(username="romeo", password=PASSWORD, kind="result"))) == "bad-request"
    assert request(c, account("paris") + submit(username="romeo", password=PASSWORD)).get("type") == "result" # the form takes precedence
    romeo = Client(service, "romeo")
    with pytest.raises(PermissionError):
        Client(service, "paris")
    assert request(romeo, submit("jabber:iq:register:changepassword", username="romeo@example.com", old_password=PASSWORD, password="another one")).get("type") == "result"
    Client(service, "romeo", password="another one").close()


def test_limit(services):
    """Accounts per address; those that were not made do not count."""
    service = services({**ON, "register.accounts": 2})
    service.user("taken")
    c = stranger(service)
    assert request(c, account("one")).get("type") == "result"
    assert condition(request(c, account("taken"))) == "conflict"
    assert request(c, account("two")).get("type") == "result"
    assert condition(request(stranger(service), account("three"))) == "resource-constraint"
    assert service.metric("registrations_total", result="success") == 2


def test_off(services):
    service = services()
    service.user("romeo")
    c = stranger(service)
    assert c.features.find("{http://jabber.org/features/iq-register}register") is None
    c.send("<iq type='get' id='r1'><query xmlns='jabber:iq:register'/></iq>")
    assert condition(c.next("{jabber:client}iq")) == "not-authorized"
    romeo = Client(service, "romeo")
    assert condition(request(romeo, account("romeo", "another password"))) == "service-unavailable"


def test_password(services):
    """3.3: the own password, and nobody else's."""
    service = services({**ON, "register.password_min": 8})
    service.user("romeo", "juliet")
    romeo = Client(service, "romeo", "balcony")
    shown = request(romeo, "", "get")
    assert shown.find(f"{Q}query/{Q}registered") is not None and shown.findtext(f"{Q}query/{Q}username") == "romeo"
    assert condition(request(romeo, account("juliet", "another password"))) == "not-allowed"
    assert condition(request(romeo, account("romeo", "short"))) == "not-acceptable"
    assert condition(request(romeo, account("romeo", ""))) == "bad-request" # 3.3: never to nothing
    assert condition(request(romeo, "<password>another password</password>")) == "bad-request"
    assert condition(request(romeo, account("romeo@example.org", "another password"))) == "not-allowed"
    assert condition(request(romeo, "<remove/>" + account("romeo"))) == "bad-request" # 3.2: alone
    assert condition(request(romeo, "<remove/><email/>")) == "bad-request"
    assert shown.find(f"{Q}query/{Q}instructions") is not None
    assert request(romeo, account("romeo", "another password"), to="example.com").get("type") == "result"
    Client(service, "romeo", password="another password").close()
    with pytest.raises(Exception):
        Client(service, "romeo")


def test_password_needs_tls(services):
    """3.3: where streams may be without TLS at all, passwords are not changed on them."""
    service = services({**ON, "c2s.plain_loopback": "yes"})
    service.user("romeo")
    c = Client(service, "romeo", login=False, direct_tls=False)
    c.open()
    c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + base64.b64encode(f"\0romeo\0{PASSWORD}".encode()).decode() + "</auth>")
    c.next("{urn:ietf:params:xml:ns:xmpp-sasl}success")
    c.open()
    c.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
    assert condition(request(c, account("romeo", "another password"))) == "not-authorized"
    Client(service, "romeo").close()


def befriend(one, other):
    one.send(f"<presence type='subscribe' to='{other.bare}'/>")
    other.next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribe")
    other.send(f"<presence type='subscribed' to='{one.bare}'/>")
    one.next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribed")


def roster(c):
    c.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
    items = c.next("{jabber:client}iq", match=lambda e: e.get("id") == "roster")[0]
    return {i.get("jid"): (i.get("subscription"), i.get("ask")) for i in items}


@pytest.mark.parametrize("how", ["in-band", "admin", "admin-offline", "admin-disabled"])
def test_remove(services, how):
    """3.2: presence and subscriptions end with everybody, in both directions and while pending, then the account is gone."""
    service = services(ON)
    service.user("romeo", "juliet", "nurse", "paris")
    romeo, juliet, nurse = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden"), Client(service, "nurse", "house")
    befriend(romeo, juliet)
    befriend(juliet, romeo)
    befriend(nurse, romeo)
    romeo.send("<presence type='subscribe' to='paris@example.com'/>")
    assert roster(juliet) == {"romeo@example.com": ("both", None)} and roster(nurse) == {"romeo@example.com": ("to", None)}
    if how == "admin-offline":
        romeo.close()
        juliet.next("{jabber:client}presence", match=lambda e: e.get("type") == "unavailable")
    if how == "admin-disabled":
        service.request("POST", "/v1/users/romeo@example.com/disable")
    if how == "in-band":
        assert request(romeo, "<remove/>").get("type") == "result"
        assert romeo.next("{http://etherx.jabber.org/streams}error")[0].tag.endswith("not-authorized")
    else:
        service.request("DELETE", "/v1/users/romeo@example.com")
    if not how.startswith("admin-"):
        juliet.next("{jabber:client}presence", match=lambda e: e.get("type") == "unavailable" and e.get("from") == romeo.jid)
    for c, kinds in ((juliet, ("unsubscribe", "unsubscribed")), (nurse, ("unsubscribed",))):
        for kind in kinds:
            c.next("{jabber:client}presence", match=lambda e: e.get("type") == kind and e.get("from") == "romeo@example.com")
        assert roster(c) == {"romeo@example.com": ("none", None)}
    paris = Client(service, "paris")
    paris.nothing("{jabber:client}presence", match=lambda e: e.get("type") == "subscribe")
    with pytest.raises(Exception):
        Client(service, "romeo")
    # One made again under the name has nothing of the old one.
    service.user("romeo")
    assert roster(Client(service, "romeo")) == {}


ROWS = [("e_REGISTER", None, "bounce", False), ("es_OUT", "iq", "bounce", False), ("e_SERVER", "iq", "bounce", False)]


def asked(services, closing, script):
    service = services(ON)
    service.profile("all", ROWS)
    server = closing(Compliance("op-c.node1-example-com", script=script))
    service.wait_link(service.compliance_server("c", server.port, profile="all"), "ACTIVE")
    return service, server


def test_compliance_sees_no_password(services, closing):
    service, server = asked(services, closing, passed)
    assert request(stranger(service), account("romeo")).get("type") == "result"
    event = server.wait("e_REGISTER")[0] if isinstance(server.wait("e_REGISTER"), list) else server.seen("e_REGISTER")[0]
    assert event.stanza.get("from") == "romeo@example.com" and event.attributes["key"] == "romeo@example.com"
    assert event.stanza.findtext(f"{Q}query/{Q}username") == "romeo"
    romeo = Client(service, "romeo")
    assert request(romeo, account("romeo", "another password")).get("type") == "result"
    Client(service, "romeo", password="another password").close()
    for name in ("e_REGISTER", "es_OUT", "e_SERVER"):
        shown = [e for e in server.seen(name) if e.stanza.find(f"{Q}query") is not None]
        assert shown, name
        for e in shown:
            assert e.stanza.find(f"{Q}query/{Q}password") is not None and not e.stanza.findtext(f"{Q}query/{Q}password")
            assert "password" not in "".join(e.stanza.itertext())


def test_compliance_echoes_the_blank(services, closing):
    """PASS with the stanza as it was shown: the original password counts."""
    service, server = asked(services, closing, lambda e: passed_with(e, ET.tostring(e.stanza, encoding="unicode")))
    assert request(stranger(service), account("romeo")).get("type") == "result"
    romeo = Client(service, "romeo")
    assert request(romeo, account("romeo", "another password")).get("type") == "result"
    Client(service, "romeo", password="another password").close()


@pytest.mark.parametrize("script,expected", [(handled, "not-allowed"), (lambda e: refused(e, "policy-violation", "No."), "policy-violation")], ids=["handle", "error"])
def test_compliance_refuses(services, closing, script, expected):
    service, _ = asked(services, closing, lambda e: script(e) if e.name == "e_REGISTER" else passed(e))
    assert condition(request(stranger(service), account("romeo"))) == expected
    with pytest.raises(Exception):
        service.get("/v1/users/romeo@example.com")
