"""No secret ever reaches a compliance server (EVENTS.md, refusal rule 8): every byte two of them were sent while users log in, register, change passwords, let
administrators do so, and protect rooms, is searched for the secrets, as they are and encoded. What was shown blank is in force all the same."""
import base64
import hashlib
import hmac
import os
import xml.etree.ElementTree as ET

import pytest

from harness.client import Client, ids
from harness.compliance import Compliance, passed, passed_with
from harness.service import PASSWORD, Service
from lab import CATALOGUE

EVENTS = [(name, "all" if row["service"] == "JSM" else None) for name, row in CATALOGUE.items() if name != "e_STATS"]
SASL, REGISTER, DATA, ADMIN = "urn:ietf:params:xml:ns:xmpp-sasl", "jabber:iq:register", "jabber:x:data", "http://jabber.org/protocol/admin"
C = "{jabber:client}"


def echoed(event):
    """PASS with the stanza as it was shown: what is blank in it stays as it was."""
    if CATALOGUE[event.name]["answers"] != "ANY":
        return passed(event)
    return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))


class Stage:
    """A service whose every event is asked of one compliance server and told to another, with Fire and Forget; what both hear, and what none may hear."""

    def __init__(self, script):
        self.service = Service({"register.enabled": "yes", "register.accounts": 0, "server.admins": "friar@example.com", "c2s.login_delay": 0})
        self.service.user("friar", "romeo", "juliet")
        self.servers, self.secrets, self.clients = [], [], []
        for name, forget in (("wall", False), ("log", True)):
            server = Compliance(f"op-{name}.node1-example-com", script=script)
            server.heard = bytearray()
            self.servers.append(server)
            self.service.profile(name, [(event, packet, "pass", forget) for event, packet in EVENTS])
            self.service.wait_link(self.service.compliance_server(name, server.port, profile=name), "ACTIVE")
        self.guarded(PASSWORD)

    def guarded(self, *texts):
        self.secrets += texts
        return texts[0]

    def password(self):
        return self.guarded(f"pass{os.urandom(9).hex()}")

    def client(self, name, password=PASSWORD, **keywords):
        client = Client(self.service, name, password=password, **keywords)
        self.clients.append(client)
        self.guarded(client.plain())
        return client

    def stranger(self):
        client = self.client("nobody", login=False)
        client.open()
        return client

    def asked(self, event):
        return self.servers[0].wait(event)

    def check(self, *public):
        """Nothing that is guarded was heard; what is public was, so something was heard at all."""
        self.service.quiet()
        for server in self.servers:
            heard = bytes(server.heard)
            for text in public:
                assert text.encode() in heard, text
            for text in self.secrets:
                found = [way for way, form in forms(text).items() if form in heard]
                assert not found, f"{text} was heard, {' and '.join(found)}"

    def close(self):
        for client in self.clients:
            client.close()
        self.service.close()
        for server in self.servers:
            server.close()


def forms(text):
    """A secret in the ways it might be written."""
    raw = text.encode()
    found = {"as it is": raw, "in hexadecimal": raw.hex().encode(), "as its SHA-1": hashlib.sha1(raw).hexdigest().encode(), "backwards": raw[::-1]}
    for shift in range(3):  # within something longer that is encoded
        found[f"in base64, {shift} bytes on"] = base64.b64encode(b"\0" * shift + raw)[4 if shift else 0:][:len(raw) * 4 // 3 - 4]
    return found


@pytest.fixture(params=[passed, echoed], ids=["passed", "echoed"])
def stage(request):
    stage = Stage(request.param)
    yield stage
    stage.close()


def logs_in(stage, name, password):
    """This password, and no other, is in force."""
    stage.client(name, password).close()
    wrong = stage.client(name, stage.password(), login=False)
    with pytest.raises(PermissionError, match="not-authorized"):
        wrong.login(True)


def scram(stage, name, password):
    """SASL SCRAM-SHA-256, RFC 5802 and 7677; each message on the way is a secret, and the proof."""
    def b64(data):
        return stage.guarded(base64.b64encode(data).decode())

    def digest(key, data):
        return hmac.new(key, data, hashlib.sha256).digest()
    client = stage.client(name, password, login=False)
    client.open()
    first = f"n={name},r={os.urandom(12).hex()}"
    client.send(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{b64(b'n,,' + first.encode())}</auth>")
    challenge = base64.b64decode(stage.guarded(client.next(f"{{{SASL}}}challenge").text)).decode()
    nonce, salt, rounds = (part[2:] for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    last = f"c=biws,r={nonce}"
    key = digest(salted, b"Client Key")
    signature = digest(hashlib.sha256(key).digest(), f"{first},{challenge},{last}".encode())
    proof = b64(bytes(a ^ b for a, b in zip(key, signature)))
    b64(salted), b64(key), b64(hashlib.sha256(key).digest()), b64(digest(salted, b"Server Key"))
    stage.guarded(salt, nonce)
    client.send(f"<response xmlns='{SASL}'>{b64(f'{last},p={proof}'.encode())}</response>")
    assert client.next().tag == f"{{{SASL}}}success"
    client.open()


def registered(client, inner, to=None):
    address = f" to='{to}'" if to else ""
    identity = f"r{next(ids)}"
    client.send(f"<iq type='set' id='{identity}'{address}><query xmlns='{REGISTER}'>{inner}</query></iq>")
    return client.next(C + "iq", match=lambda e: e.get("id") == identity)


def form(form_type, **fields):
    given = "".join(f"<field var='{name.replace('_verify', '-verify')}'><value>{value}</value></field>" for name, value in fields.items())
    return f"<x xmlns='{DATA}' type='submit'><field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>{given}</x>"


def test_logins(stage):
    logs_in(stage, "romeo", PASSWORD)
    scram(stage, "romeo", PASSWORD)
    assert stage.asked("e_AUTH")
    stage.check("PLAIN", "SCRAM-SHA-256", "<username>romeo</username>")


@pytest.mark.parametrize("by_form", [False, True], ids=["fields", "form"])
def test_registration(stage, by_form):
    name, password = f"new{next(ids)}", stage.password()
    plain = f"<username>{name}</username><password>{password}</password>"
    answer = registered(stage.stranger(), form(REGISTER, username=name, password=password) if by_form else plain)
    assert answer.get("type") == "result"
    stage.asked("e_REGISTER")
    logs_in(stage, name, password)
    stage.check(name)


@pytest.mark.parametrize("by_form", [False, True], ids=["fields", "form"])
def test_password_change(stage, by_form):
    romeo, password = stage.client("romeo"), stage.password()
    plain = f"<username>romeo</username><password>{password}</password>"
    filled = form("jabber:iq:register:changepassword", username="romeo@example.com", old_password=PASSWORD, password=password)
    assert registered(romeo, filled if by_form else plain, "example.com").get("type") == "result"
    assert {e.stanza[0].tag for e in stage.asked("e_SERVER") if e.stanza.get("type") == "set"} == {f"{{{REGISTER}}}query"}
    logs_in(stage, "romeo", password)
    stage.check("romeo@example.com")


@pytest.mark.parametrize("to", ["example.com", "friar@example.com"])
def test_administration(stage, to):
    """XEP-0133, 4.1 and 4.7: of the domain, and of the own account."""
    friar, password, other = stage.client("friar"), stage.password(), stage.password()

    def carry_out(name, **fields):
        def command(inner, **more):
            attributes = "".join(f" {k}='{v}'" for k, v in more.items())
            return friar.iq("set", f"<command xmlns='http://jabber.org/protocol/commands' node='{ADMIN}#{name}'{attributes}>{inner}</command>", to=to)
        asked = command("", action="execute")[0]
        done = command(form(ADMIN, **fields), action="complete", sessionid=asked.get("sessionid"))
        assert done.get("type") == "result" and done[0].get("status") == "completed" and done.find(".//{http://jabber.org/protocol/commands}note[@type='error']") is None
    carry_out("add-user", accountjid="paris@example.com", password=password, password_verify=password)
    logs_in(stage, "paris", password)
    carry_out("change-user-password", accountjid="paris@example.com", password=other)
    logs_in(stage, "paris", other)
    assert len([e for e in stage.asked("e_SERVER") if e.stanza.find(".//{jabber:x:data}x") is not None]) == 2
    stage.check("paris@example.com", "change-user-password")


def test_between_clients(stage):
    """Whose client takes registrations or commands gets what was written; of es_OUT, e_DELIVER and es_IN none is shown it."""
    romeo, juliet = stage.client("romeo"), stage.client("juliet")
    for inner in (f"<query xmlns='{REGISTER}'><username>x</username><password>{{}}</password></query>",
                  "<command xmlns='http://jabber.org/protocol/commands' node='x'>" + form(ADMIN, password="{}", password_verify="{}") + "</command>",
                  "<query xmlns='jabber:iq:auth'><username>x</username><password>{}</password></query>"):
        password, identity = stage.password(), f"s{next(ids)}"
        romeo.send(f"<iq type='set' id='{identity}' to='{juliet.jid}'>{inner.format(password, password)}</iq>")
        got = juliet.next(C + "iq", match=lambda e: e.get("id") == identity)
        assert password in ET.tostring(got, encoding="unicode")
        juliet.send(f"<iq type='result' id='{identity}' to='{romeo.jid}'/>")
        romeo.next(C + "iq", match=lambda e: e.get("id") == identity)
        assert {e.name for e in stage.servers[0].seen() if e.stanza.get("id") == identity and e.stanza.get("type") == "set"} == {"es_OUT", "e_DELIVER", "es_IN"}
    stage.check("juliet@example.com", "iq:auth")


def test_rooms(stage):
    """A room's password: set in its configuration, given at the door, in invitations through the room and past it, and for the room that takes its place."""
    hall, muc = "hall@conference.example.com", "http://jabber.org/protocol/muc"
    romeo, juliet, password, other = stage.client("romeo"), stage.client("juliet"), stage.password(), stage.password()

    def enter(client, nick, inner):
        client.send(f"<presence to='{hall}/{nick}'><x xmlns='{muc}'>{inner}</x></presence>")
        answer = client.next(C + "presence", match=lambda p: p.get("from") == f"{hall}/{nick}")
        return answer.get("type"), [e.tag for e in answer.iter() if e.tag.endswith("}not-authorized")] != []
    assert enter(romeo, "romeo", "") == (None, False)
    config = form(f"{muc}#roomconfig", **{"muc#roomconfig_passwordprotectedroom": 1, "muc#roomconfig_roomsecret": password, "muc#roomconfig_membersonly": 0})
    assert romeo.iq("set", f"<query xmlns='{muc}#owner'>{config}</query>", to=hall).get("type") == "result"
    read = romeo.iq("get", f"<query xmlns='{muc}#owner'/>", to=hall)
    assert password not in ET.tostring(read, encoding="unicode"), "it is never told, to nobody"
    assert enter(juliet, "juliet", f"<password>{stage.password()}</password>") == ("error", True)
    romeo.send(f"<message to='{hall}'><x xmlns='{muc}#user'><invite to='juliet@example.com'/></x></message>")
    assert juliet.next(C + "message").findtext(f"{{{muc}#user}}x/{{{muc}#user}}password") == password
    romeo.send(f"<message to='juliet@example.com'><x xmlns='jabber:x:conference' jid='{hall}' password='{password}'/></message>")
    assert juliet.next(C + "message").find("{jabber:x:conference}x").get("password") == password
    assert enter(juliet, "juliet", f"<password>{password}</password>") == (None, False)
    juliet.next(C + "message", match=lambda m: m.find(C + "subject") is not None)
    romeo.send(f"<iq type='set' to='{hall}' id='end'><query xmlns='{muc}#owner'><destroy jid='den@conference.example.com'><password>{other}</password></destroy></query></iq>")
    told = juliet.next(C + "presence", match=lambda p: p.get("type") == "unavailable")
    assert told.findtext(f"{{{muc}#user}}x/{{{muc}#user}}destroy/{{{muc}#user}}password") == other
    for event in ("onBeforeMetaInfoSet", "onBeforeJoin", "onBeforeInvite", "onDestroy", "es_IN"):
        assert stage.asked(event)
    stage.check("muc#roomconfig_roomsecret", "onAfterInvite")
