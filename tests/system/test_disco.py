"""Service discovery lists exactly what works (XEP-0030), and so do the server's capabilities (XEP-0115): features.def row by row."""
import base64
import hashlib
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "lint")]
from harness.client import Client, condition  # noqa: E402
import source  # noqa: E402

INFO, ITEMS, CAPS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", "{http://jabber.org/protocol/caps}c"
COMMANDS, X = "http://jabber.org/protocol/commands", "{jabber:x:data}"
ALL = {"server.admins": "friar@example.com", "register.enabled": "yes", "contact.abuse": "mailto:abuse@example.com", "contact.status": "https://b.example https://a.example"}


def rows():
    """[(var, places, when)] of features.def."""
    text = source.code(source.read(str(ROOT), "src/tables/features.def"), keep_strings=True)
    return [(var, set(re.split(r"\s*\|\s*", places)), when) for var, places, when in re.findall(r'^FEATURE\("([^"]+)", ([^,]+), (\w+),', text, re.M)]


def info(c, to, node=None):
    attribute = f" node='{node}'" if node else ""
    return c.iq("get", f"<query xmlns='{INFO}'{attribute}/>", to=to)[0]


def listed(query):
    found = [f.get("var") for f in query.findall(f"{{{INFO}}}feature")]
    assert len(found) == len(set(found))
    return set(found)


def ver(query):
    """XEP-0115, 5.1, made from what was answered."""
    identities = sorted("/".join((i.get("category"), i.get("type"), i.get("{http://www.w3.org/XML/1998/namespace}lang", ""), i.get("name", ""))) for i in query.findall(f"{{{INFO}}}identity"))
    text = "".join(s + "<" for s in identities + sorted(f.get("var") for f in query.findall(f"{{{INFO}}}feature")))
    for form in query.findall(X + "x"):
        fields = {f.get("var"): sorted(v.text for v in f.findall(X + "value")) for f in form.findall(X + "field")}
        text += fields.pop("FORM_TYPE")[0] + "<" + "".join(f"{var}<" + "".join(v + "<" for v in fields[var]) for var in sorted(fields))
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


def result(c, kind, payload, to):
    answer = c.iq(kind, payload, to=to)
    assert answer.get("type") == "result", (payload, condition(answer))
    return answer


class Proof:
    """For each feature: that it works where it is listed. c is the administrator, other another user."""

    def __init__(self, service):
        self.service, self.c, self.other = service, Client(service, "friar", "cell"), Client(service, "romeo", "orchard")
        self.features = {}

    def simple(self, payload, place, kind="get", server=True):
        result(self.c, kind, payload, "example.com" if place == "ON_SERVER" and server else None)

    def offline(self):
        self.c.message("juliet@example.com", "for later")
        Client(self.service, "juliet").next_message(body="for later")

    def stanza_id(self):
        self.c.message(self.other.jid, "numbered")
        assert self.other.next_message(body="numbered").find("{urn:xmpp:sid:0}stanza-id").get("by") == self.other.bare

    def carbons(self):
        second = Client(self.service, "friar", "second")
        result(second, "set", "<enable xmlns='urn:xmpp:carbons:2'/>", None)
        self.c.message(self.other.bare, "copied")
        assert second.next("{jabber:client}message").find("{urn:xmpp:carbons:2}sent") is not None
        self.other.next_message(body="copied")

    def commands(self, place):
        to = "example.com" if place == "ON_SERVER" else self.c.bare
        node = result(self.c, "get", f"<query xmlns='{ITEMS}' node='{COMMANDS}'/>", to)[0][0].get("node")
        assert result(self.c, "set", f"<command xmlns='{COMMANDS}' node='{node}'/>", to)[0].get("status") == "executing"

    def pages(self, place):
        to = "example.com" if place == "ON_SERVER" else self.c.bare
        query = f"<query xmlns='{ITEMS}' node='{COMMANDS}'><set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query>"
        assert len(result(self.c, "get", query, to)[0].findall(f"{{{ITEMS}}}item")) == 1

    def show(self, var, place):
        {
            "http://jabber.org/protocol/caps": lambda: info(self.c, "example.com", f"{self.features['node']}#{self.features['ver']}"),
            COMMANDS: lambda: self.commands(place),
            INFO: lambda: self.simple(f"<query xmlns='{INFO}'/>", place),
            ITEMS: lambda: self.simple(f"<query xmlns='{ITEMS}'/>", place),
            "http://jabber.org/protocol/rsm": lambda: self.pages(place),
            "jabber:iq:last": lambda: self.simple("<query xmlns='jabber:iq:last'/>", place),
            "jabber:iq:private": lambda: self.simple("<query xmlns='jabber:iq:private'><a xmlns='b'/></query>", place, server=False),
            "jabber:iq:register": lambda: self.simple("<query xmlns='jabber:iq:register'/>", place),
            "jabber:iq:roster": lambda: self.simple("<query xmlns='jabber:iq:roster'/>", place, server=False),
            "jabber:iq:version": lambda: self.simple("<query xmlns='jabber:iq:version'/>", place),
            "msgoffline": self.offline,
            "urn:xmpp:blocking": lambda: self.simple("<blocklist xmlns='urn:xmpp:blocking'/>", place, server=False),
            "urn:xmpp:carbons:2": self.carbons,
            "urn:xmpp:ping": lambda: self.simple("<ping xmlns='urn:xmpp:ping'/>", place),
            "urn:xmpp:sid:0": self.stanza_id,
            "urn:xmpp:time": lambda: self.simple("<time xmlns='urn:xmpp:time'/>", place),
            "vcard-temp": lambda: self.simple("<vCard xmlns='vcard-temp'/>" if place == "ON_SERVER" else "<vCard xmlns='vcard-temp'><FN>F</FN></vCard>", place,
                                              "get" if place == "ON_SERVER" else "set"),
        }[var]()


def test_what_is_listed_works(services):
    """A row without a proof here fails."""
    service = services(ALL)
    service.user("friar", "romeo", "juliet")
    proof = Proof(service)
    proof.features = stream_caps(service).attrib
    for place, to in (("ON_SERVER", "example.com"), ("ON_ACCOUNT", "friar@example.com")):
        found = listed(info(proof.c, to))
        assert found == {var for var, places, _ in rows() if place in places}
        for var in sorted(found):
            proof.show(var, place)


def test_what_is_off_is_not_listed(services):
    service = services()
    service.user("romeo")
    romeo = Client(service, "romeo")
    for place, to in (("ON_SERVER", "example.com"), ("ON_ACCOUNT", None)):
        assert listed(info(romeo, to)) == {var for var, places, when in rows() if place in places and when == "always"}
    assert info(romeo, "example.com").find(X + "x") is None
    assert condition(romeo.iq("get", "<query xmlns='jabber:iq:register'/>", to="example.com")) == "service-unavailable"


def stream_caps(service, domain=None):
    """<c/> of the features after login."""
    class Keeping(Client):
        def open(self, to=None):
            self.features = super().open(to)
            return self.features
    return Keeping(service, "romeo", presence=False).features.find(CAPS)


@pytest.mark.parametrize("options", [{}, ALL], ids=["plain", "all"])
def test_capabilities(services, options):
    """XEP-0115, 4, 5.1, 6.2 and 6.3: the hash fits the answer, asked with the node and without."""
    service = services(options)
    service.user("romeo")
    romeo, c = Client(service, "romeo"), stream_caps(service)
    assert c.get("hash") == "sha-1" and c.get("node") and not c.get("ext")
    node = f"{c.get('node')}#{c.get('ver')}"
    with_node, without = info(romeo, "example.com", node), info(romeo, "example.com")
    assert with_node.get("node") == node and without.get("node") is None
    assert ver(with_node) == ver(without) == c.get("ver")
    assert condition(romeo.iq("get", f"<query xmlns='{INFO}' node='{c.get('node')}#AAAAAAAAAAAAAAAAAAAAAAAAAAA='/>", to="example.com")) == "item-not-found"
    assert condition(romeo.iq("get", f"<query xmlns='{INFO}' node='{c.get('node')}'/>", to="example.com")) == "item-not-found"
    assert condition(romeo.iq("get", f"<query xmlns='{INFO}' node='{node}'/>")) == "item-not-found" # it is the server's


def test_capabilities_change_with_settings(services):
    service = services()
    service.user("romeo")
    before = stream_caps(service).get("ver")
    service.stop()
    service.options["register.enabled"] = "yes"
    service.start()
    assert stream_caps(service).get("ver") != before


def test_settings_are_checked(services):
    """What service discovery would tell everybody is an address, and an administrator is an account."""
    service = services()
    service.stop()
    for option, value, says in (("contact.abuse", "abuse@example.com", "no URI"), ("server.admins", "example.com", "no account"), ("server.admins", "a@b/c", "no account")):
        saved = dict(service.options)
        service.options[option] = value
        with pytest.raises(AssertionError, match=says):
            service.start()
        service.options = saved
    service.start()


MUC, SERVICE, ROOM = "http://jabber.org/protocol/muc", "conference.example.com", "cell@conference.example.com"
OF_ROOMS = {"muc_open", "muc_unmoderated", "muc_semianonymous", "muc_unsecured", "muc_temporary", "muc_public"}  # how this one is configured


def test_what_rooms_list_works(services):
    """A feature of the service of rooms, or of a room, without a proof here fails."""
    service = services()
    service.user("friar", "romeo")
    friar, romeo = Client(service, "friar", "cell"), Client(service, "romeo", "orchard")
    presence, message = "{jabber:client}presence", "{jabber:client}message"
    for c, nick in ((friar, "friar"), (romeo, "romeo")):
        c.send(f"<presence to='{ROOM}/{nick}'><x xmlns='{MUC}'/></presence>")
        c.next(message, match=lambda m: m.find("{jabber:client}subject") is not None)
        if c is friar:
            result(friar, "set", f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>", ROOM)
    friar.send(f"<message type='groupchat' id='own-id' to='{ROOM}'><body>said</body></message>")
    said = romeo.next_message(body="said")
    sid = said.find("{urn:xmpp:sid:0}stanza-id")

    def moderate():
        result(friar, "set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{sid.get('id')}'><retract xmlns='urn:xmpp:message-retract:1'/></moderate>", ROOM)
        romeo.next(message, match=lambda m: m.find(".//{urn:xmpp:message-moderate:1}moderated") is not None)

    def voice():
        romeo.send(f"<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{MUC}#request</value></field>"
                   "<field var='muc#role'><value>participant</value></field></x></message>")
        result(friar, "set", f"<query xmlns='{MUC}#admin'><item nick='romeo' role='visitor'/></query>", ROOM)
        romeo.send(f"<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{MUC}#request</value></field>"
                   "<field var='muc#role'><value>participant</value></field></x></message>")
        friar.next(message, match=lambda m: m.find(X + "x") is not None)

    proofs = {
        INFO: lambda to: info(friar, to), ITEMS: lambda to: result(friar, "get", f"<query xmlns='{ITEMS}'/>", to),
        MUC: lambda to: friar.next(presence, match=lambda p: p.get("from") == f"{ROOM}/friar"),
        f"{MUC}#unique": lambda to: result(friar, "get", f"<unique xmlns='{MUC}#unique'/>", to)[0].text.encode(),
        "http://jabber.org/protocol/rsm": lambda to: result(friar, "get", f"<query xmlns='{ITEMS}'><set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query>", to),
        "urn:xmpp:ping": lambda to: result(friar, "get", "<ping xmlns='urn:xmpp:ping'/>", to),
        f"{MUC}#self-ping-optimization": lambda to: result(friar, "get", "<ping xmlns='urn:xmpp:ping'/>", f"{ROOM}/friar"),
        f"{MUC}#stable_id": lambda to: {"own-id": 1}[said.get("id")], "urn:xmpp:sid:0": lambda to: {ROOM: 1}[sid.get("by")],
        "urn:xmpp:occupant-id:0": lambda to: said.find("{urn:xmpp:occupant-id:0}occupant-id").attrib["id"],
        "urn:xmpp:message-moderate:1": lambda to: moderate(), f"{MUC}#request": lambda to: voice(),
        "vcard-temp": lambda to: result(friar, "set", "<vCard xmlns='vcard-temp'><FN>Cell</FN></vCard>", to),
        "jabber:iq:register": lambda to: result(romeo, "get", "<query xmlns='jabber:iq:register'/>", to),
    }
    for to in (SERVICE, ROOM):
        found = listed(info(romeo, to))
        assert found - OF_ROOMS <= set(proofs), found - OF_ROOMS - set(proofs)
        assert (found & OF_ROOMS == OF_ROOMS) == (to == ROOM)
        for var in sorted(found - OF_ROOMS - ({MUC} if to == ROOM else set())):
            proofs[var](to)
