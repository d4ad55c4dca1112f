"""docs/protocol.md is right: every XML example on it is executed. What Signet sends is compared with what a real signetd writes to a compliance server; what a
compliance server sends is sent to one as it stands there, and does what the page says. An example without a comment that says what it is, or with
one that nothing here plays, fails.

    <!-- example: NAME -->     before the block; PLAYS has the function of each NAME's first words, the rest are its arguments

Addresses are those of the page. Ids and times are of this run: in what Signet sent they must have the form of the page's, in what is sent they are put in."""
import hashlib
import pathlib
import re
import socket
import ssl
import time
import xml.etree.ElementTree as ET
import xml.parsers.expat

import pytest

from harness.client import Client, Stream, condition, text
from harness.service import SLOW, Service, wait_until

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
EXAMPLES = [(m[1], m[2]) for m in re.finditer(r"^<!-- example: (.*?) -->\n```xml\n(.*?)^```$", PAGE, re.M | re.S)]
COMPONENT, BROKER = "op-wall.node1-example-com", "event-broker.example.com"
EB, C = "{urn:signet:event-broker:0}", "{jabber:client}"
STREAMS = "http://etherx.jabber.org/streams"
CONNECT = "jabber:component:connect"
# Attributes whose values are of this run, by the element that has them, and the form they have.
OF_THIS_RUN = {("iq", "id"): r"[ep][0-9a-f]{1,16}", ("event", "id"): r"node1-[0-9a-f]+-[0-9a-f]{8}", ("event", "stanza"): r"[0-9a-f]+-[0-9a-f]{8}",
               ("event", "time"): r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ("stream", "id"): r"[0-9a-f]{32}", ("occupant-id", "id"): r"[A-Za-z0-9+/]{43}=",
               ("stanza-id", "id"): r"[0-9a-f]+-[0-9a-f]{8}", ("stat", "value"): r"[0-9.]+", ("x", "peer"): r"127\.0\.0\.1:\d+"}


def parse(xml, namespace=CONNECT):
    """The elements of a text, as they stand in a stream of that namespace."""
    xml = xml.replace("</stream:stream>", "")
    return list(ET.fromstring(f"<r xmlns='{namespace}' xmlns:stream='{STREAMS}'>{xml}</r>"))


def one(xml):
    elements = parse(xml)
    assert len(elements) == 1, xml
    return elements[0]


def differs(example, real):
    """Where an element that came is not the one on the page; None: nowhere."""
    name = example.tag.split("}")[1]
    if example.tag != real.tag:
        return f"<{real.tag}> instead of <{example.tag}>"
    if set(example.attrib) != set(real.attrib):
        return f"<{name}> has the attributes {sorted(real.attrib)}, on the page {sorted(example.attrib)}"
    for key, value in example.attrib.items():
        form = OF_THIS_RUN.get((name, key)) if name != "iq" or re.fullmatch(OF_THIS_RUN["iq", "id"], value) else None
        if form is not None:
            if not (re.fullmatch(form, value) and re.fullmatch(form, real.get(key))):
                return f"<{name} {key}='{real.get(key)}'> does not have the form of '{value}'"
        elif value != real.get(key) and value != "…":
            return f"<{name} {key}='{real.get(key)}'>, on the page '{value}'"
    if (example.text or "").strip() not in ((real.text or "").strip(), "…"):
        return f"<{name}> has the text {real.text!r}, on the page {example.text!r}"
    if len(example) > 0 and "..." in (example[-1].tail or ""):  # and more of the kind
        return next((f"no child of <{name}> is {ET.tostring(e).decode()}" for e in example if all(differs(e, r) for r in real)), None)
    if len(example) != len(real):
        return f"<{name}> has {[c.tag for c in real]}, on the page {[c.tag for c in example]}"
    return next((d for d in map(differs, example, real) if d), None)


def same(xml, real):
    problem = differs(one(xml), real)
    assert problem is None, f"{problem}\n{ET.tostring(real).decode()}"


class Link:
    """The compliance server's end of one stream: bytes as they came, elements as they are taken."""

    def __init__(self, sock):
        self.sock, self.raw, self.stream, self.over = sock, "", Stream(), False

    def read(self, seconds):
        self.sock.settimeout(max(seconds, 0.001))
        try:
            data = self.sock.recv(1 << 20)
        except (socket.timeout, TimeoutError):
            return
        except ConnectionError:
            data = b""
        self.over = self.over or not data
        self.raw += data.decode()
        self.stream.feed(data)

    def wait(self, what, condition, seconds=10):
        end = time.monotonic() + seconds * SLOW
        while not (value := condition()):
            assert time.monotonic() < end and not self.over, f"{what} did not come: {self.raw[-2000:]}"
            self.read(0.2)
        return value

    def next(self, seconds=10):
        self.wait("an element", lambda: self.stream.elements, seconds)
        return self.stream.elements.popleft()

    def other(self):
        """The next element that is no ping of the node's; those are answered."""
        end = time.monotonic() + 10 * SLOW
        while True:
            element = self.next((end - time.monotonic()) / SLOW)
            if len(element) == 0 or element[0].tag != "{urn:xmpp:ping}ping":
                return element
            self.answer(element)

    def event(self, name):
        element = self.other()
        assert element[0].tag == EB + "event" and element[0].get("name") == name, ET.tostring(element)
        return element

    def answer(self, iq, inner=""):
        self.send(f"<iq type='result' id='{iq.get('id')}' from='{COMPONENT}' to='{BROKER}'>{inner}</iq>")

    def header(self):
        """The start tag of the node's stream, as it came."""
        return self.wait("a header", lambda: re.search(r"<stream:stream[^>]*>", self.raw))[0]

    def send(self, xml):
        self.sock.sendall(xml.encode())

    def shake(self, password="secret-of-the-link", identity="3BF96D32"):
        """The compliance server's part of a handshake in direction connect, as on the page."""
        self.header()
        self.send(example("header of the compliance server").replace("3BF96D32", identity))
        assert self.next().text == hashlib.sha1((identity + password).encode()).hexdigest()
        self.send("<handshake/>")
        return self

    def ended(self, seconds=10):
        """The node has closed the connection."""
        end = time.monotonic() + seconds * SLOW
        while not self.over:
            assert time.monotonic() < end, "the connection is still there"
            self.read(0.2)
        self.sock.close()


def example(name):
    return next(xml for n, xml in EXAMPLES if n == name)


def flat(xml):
    """As it goes over the wire: without the page's white space between tags, in one line."""
    return re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", xml.strip()))


class World:
    """Romeo on his balcony; the compliance server `wall` is this program."""

    def __init__(self):
        self.service = Service({"broker.event_timeout": int(4000 * SLOW), "broker.ping_interval": int(600 * SLOW), "broker.ping_timeout": int(3000 * SLOW),
                                "component.listen_tls": "127.0.0.1:0", "broker.answer_bytes": 4096, "broker.stats_interval": 500, "register.enabled": "yes", "register.accounts": 0})
        self.service.user("romeo", "juliet", "nurse")
        self.service.profile("EthicalWall", [])
        self.listener, self.link, self.direction = None, None, "connect"
        self.listen()
        self.service.compliance_server("wall", self.port, profile="EthicalWall")
        self.romeo, self.clients = Client(self.service, "romeo", "balcony"), []
        self.romeo.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")

    def listen(self):
        if self.listener is not None:
            self.listener.close()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def change(self, **fields):
        self.service.request("PATCH", "/v1/compliance/servers/wall", fields)

    def drop(self, graceful=True):
        """Gracefully: what was not answered is over with it."""
        if self.link is None:
            return
        link, self.link = self.link, None
        try:
            if graceful:
                link.send("</stream:stream>")
                link.ended()
        except OSError:
            pass
        link.sock.close()

    def dialled(self, **fields):
        """A new connection of the node, at once: its pauses between attempts begin anew with a change of the port."""
        self.drop()
        self.listen()
        self.change(direction="connect", host="127.0.0.1", port=self.port, **fields)
        self.listener.settimeout(10 * SLOW)
        self.link = Link(self.listener.accept()[0])
        return self.link

    def active(self, *rows, password="secret-of-the-link"):
        """A link in direction connect that is up, and the profile has these rows: event, packet type, Handling, Fire and Forget."""
        self.rows()
        self.dialled(password=password).shake(password)
        self.service.wait_link(COMPONENT, "ACTIVE")
        self.rows(*rows)
        return self.link

    def rows(self, *rows):
        self.service.change_profile("EthicalWall", rows)

    def client(self, *arguments, **keywords):
        self.clients.append(Client(self.service, *arguments, **keywords))
        return self.clients[-1]

    def gone(self):
        """Those who logged in for one example leave; nothing of it is left."""
        self.rows()
        for client in self.clients:
            try:
                client.close()
            except xml.parsers.expat.ExpatError:  # it was left amid its login
                client.sock.close()
        self.clients.clear()
        wait_until("the others' end", lambda: len(self.service.get("/v1/sessions")["sessions"]) == 1)
        self.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
        self.romeo.got.clear()

    def close(self):
        self.drop()
        self.listener.close()
        self.romeo.close()
        self.service.close()


@pytest.fixture(scope="module")
def world():
    w = World()
    yield w
    w.close()


# ---- what makes an event happen: the name of an example → the row, the cause ----
MESSAGE = "<message to='juliet@example.com' id='m1' type='chat'><body>Art thou not Romeo?</body></message>"


def message(world):
    world.romeo.send(MESSAGE)


def to_two_sessions(world):
    for resource, priority in (("chamber", 5), ("orchard", 0)):
        world.client("juliet", resource, presence=False).available(priority)
    message(world)


def to_a_session(world):
    world.client("juliet", "chamber")
    message(world)


def authenticating(world, name="juliet"):
    client = world.client(name, login=False)
    client.open()
    client.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{client.plain()}</auth>")
    return client


def binding(world):
    client = authenticating(world)
    assert client.next().tag.endswith("}success")
    client.open()
    client.send("<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>chamber</resource></bind></iq>")


def registering(world):
    client = world.client("mercutio", login=False)
    client.open()
    client.send("<iq type='set' id='r1'><query xmlns='jabber:iq:register'><username>mercutio</username><password>a plague on both</password></query></iq>")


def logging_out(world):
    world.client("juliet", "chamber").send("</stream:stream>")


def copied(world):
    """To one of two sessions; the other one has carbons. The copy's event comes when the original has passed."""
    world.client("juliet", "chamber")
    world.client("juliet", "orchard").iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    world.romeo.send(MESSAGE.replace("juliet@example.com", "juliet@example.com/chamber"))
    original = world.link.event("es_IN")
    world.link.answer(original)
    copy = world.link.event("es_IN")
    assert (original[0].get("copy"), copy[0].get("copy")) == (None, "carbon") and original[0].get("stanza") == copy[0].get("stanza")
    world.link.stream.elements.append(copy)


CAVE = "cave@conference.example.com"


def in_a_room(event, then):
    """Juliet is in a temporary room of her own; then she sends this."""
    def cause(world):
        world.rows()
        juliet = world.client("juliet", "chamber")
        juliet.send(f"<presence to='{CAVE}/nurse'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        juliet.next("{jabber:client}message")
        juliet.iq("set", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", to=CAVE)
        world.rows((event, None, "bounce", False))
        juliet.send(then)
    return (event, None, "bounce", False), cause


SPEAKING = f"<message to='{CAVE}' id='m1' type='groupchat'><body>Is this a dagger?</body></message>"
AWAY = f"<presence to='{CAVE}/nurse'><show>away</show></presence>"


def asking(world):
    world.romeo.send("<iq type='get' id='v1' to='juliet@example.com'><vCard xmlns='vcard-temp'/></iq>")


AWAITED = ("es_OUT", "message", "bounce", False)
CAUSES = {
    "event awaited": (AWAITED, message),
    "event candidates": (("e_PRISESSION", "message", "bounce", False), to_two_sessions),
    "event forgotten": (("es_IN", "message", "pass", True), to_a_session),
    "subject e_AUTH": (("e_AUTH", "iq", "bounce", False), authenticating),
    "subject e_REGISTER": (("e_REGISTER", "iq", "bounce", False), registering),
    "subject e_SESSION": (("e_SESSION", "iq", "bounce", False), binding),
    "subject es_END": (("es_END", "presence", "pass", False), logging_out),
    "subject e_STATS": (("e_STATS", "iq", "pass", False), lambda world: None),
    "subject carbon": (("es_IN", "message", "bounce", False), copied),
    "subject onBeforeBroadcast": in_a_room("onBeforeBroadcast", SPEAKING),
    "subject onAfterChangeUser": in_a_room("onAfterChangeUser", AWAY),
    "subject onClose": in_a_room("onClose", f"<presence type='unavailable' to='{CAVE}/nurse'/>"),
    "subject onServiceReconfig": (("onServiceReconfig", None, "pass", False), lambda world: world.service.request("POST", "/v1/reload")),
}


def happen(world, row, cause):
    """What the compliance server is sent when this happens."""
    link = world.active(row)
    cause(world)
    return link.event(row[0])


def is_sent(world, name, xml):
    came = happen(world, *CAUSES[name])
    same(xml, came if name.startswith("event ") else came.find(f"{EB}event/{{urn:xmpp:forward:0}}forwarded")[0])
    assert "a plague on both" not in world.link.raw and world.romeo.password not in world.link.raw
    if came.tag.endswith("}iq"):
        world.link.answer(came)


# ---- what a compliance server answers ----
def answered(world, xml, row, cause):
    """The event of this cause is answered with the example, whose iq gets the event's id."""
    came = happen(world, row, cause)
    assert re.search(r"^<iq type='(result|error)' id='e[0-9a-f]+'", xml)
    world.link.send(flat(re.sub(r"^(<iq type='\w+' id=')e[0-9a-f]+'", rf"\g<1>{came.get('id')}'", xml)))
    world.service.quiet()


def message_answered(world, xml):
    """What Juliet gets, and what Romeo gets back."""
    juliet = world.client("juliet", "chamber")
    answered(world, xml, AWAITED, message)
    world.rows()
    world.romeo.message("juliet@example.com", "the last")
    got = juliet.until(lambda e: text(e) == "the last")
    juliet.message(world.romeo.jid, "the last")
    return got, world.romeo.until(lambda e: text(e) == "the last")


def answer_pass(world, xml):
    got, back = message_answered(world, xml)
    assert [text(m) for m in got] == ["Art thou not Romeo?"] and back == []


def answer_pass_session(world, xml, chosen):
    answered(world, xml, *CAUSES["event candidates"])
    world.rows()
    other = next(c.jid for c in world.clients if c.jid != chosen)
    for client in world.clients:
        world.romeo.message(client.jid, "the last")
        assert [text(m) for m in client.until(lambda e: text(e) == "the last") if text(m)] == (["Art thou not Romeo?"] if client.jid == chosen else []), other


def answer_pass_stanza(world, xml):
    got, back = message_answered(world, xml)
    assert [text(m) for m in got] == ["[redacted]"] and back == []


def answer_pass_features(world, xml):
    """Romeo asks the server, and gets the features the answer put in the place of its own."""
    answered(world, xml, ("e_DISCOFEAT", "iq", "bounce", False),
             lambda w: w.romeo.send("<iq type='get' id='d1' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"))
    same_inside = one(xml)[0][0][0]
    came = world.romeo.next(C + "iq", match=lambda e: e.get("id") == "d1")
    assert differs(same_inside, came[0]) is None and came.get("type") == "result"


def answer_handle(world, xml):
    assert message_answered(world, xml) == ([], [])


def answer_handle_stanza(world, xml):
    answered(world, xml, ("es_OUT", "iq", "bounce", False), asking)
    reply = world.romeo.next(C + "iq", match=lambda e: e.get("id") == "v1")
    assert reply.get("type") == "result" and reply.get("from") == "juliet@example.com" and reply[0].tag == "{vcard-temp}vCard"


def answer_error(world, xml, wanted):
    got, back = message_answered(world, xml)
    assert got == [] and [condition(e) for e in back] == [wanted] and back[0].get("from") == "juliet@example.com"
    error = one(xml)[0]
    assert back[0].find(C + "error").get("type") == error.get("type")
    assert back[0].findtext(f"{C}error/{{urn:ietf:params:xml:ns:xmpp-stanzas}}text") == error.findtext("{urn:ietf:params:xml:ns:xmpp-stanzas}text")


def answer_invalid(world, xml):
    before = world.service.metric("link_answers_total", kind="invalid")
    got, back = message_answered(world, xml)
    assert got == [] and [condition(e) for e in back] == ["internal-server-error"]
    assert world.service.metric("link_answers_total", kind="invalid") == before + 1 and is_active_alarm(world, "compliance-invalid-answer")


def is_active_alarm(world, name):
    return any(a["name"] == name and a["active"] for a in world.service.get("/v1/alarms")["alarms"])


# ---- the stream ----
def attributes(tag):
    return dict(re.findall(r"([\w:]+)='([^']*)'", tag))


def same_header(xml, real):
    wanted, came = attributes(xml), attributes(real)
    if "id" in wanted:
        assert re.fullmatch(OF_THIS_RUN["stream", "id"], wanted["id"]) and re.fullmatch(OF_THIS_RUN["stream", "id"], came.pop("id")) and wanted.pop("id")
    assert wanted == came


def header_of_the_node(world, xml):
    link = world.dialled()
    same_header(xml, link.header())
    assert link.raw.startswith("<?xml version='1.0'?><stream:stream ")


def header_of_the_compliance_server(world, xml):
    link = world.dialled()
    link.header()
    link.send(xml)
    assert re.fullmatch(r"[0-9a-f]{40}", link.next().text)


def handshake(world, xml, identity, *password):
    """Exactly that one, of this id and this password."""
    password = " ".join(password)
    link = world.dialled(password=password)
    link.header()
    link.send(example("header of the compliance server"))
    assert identity in example("header of the compliance server")
    same(xml, link.next())
    world.change(password="secret-of-the-link")


def handshake_accepted(world, xml):
    """In one direction the compliance server says it, and the link is up; in the other the node."""
    link = world.dialled()
    link.header()
    link.send(example("header of the compliance server"))
    link.next()
    assert world.service.link(COMPONENT)["state"] == "CONNECTED"
    link.send(xml)
    world.service.wait_link(COMPONENT, "ACTIVE")
    link = accepted(world)
    assert differs(parse(xml, "jabber:component:accept")[0], link.handshake) is None
    world.service.wait_link(COMPONENT, "ACTIVE")


def refusal_of_the_compliance_server(world, xml, wanted):
    link = world.dialled()
    link.header()
    header = example("header of the compliance server")
    if wanted == "host-unknown":
        link.send(header + xml)
    else:
        link.send(header)
        link.next()
        link.send(xml)
    wait_until("the alarm", lambda: is_active_alarm(world, "compliance-handshake-refused"))
    alarm = next(a for a in world.service.get("/v1/alarms")["alarms"] if a["name"] == "compliance-handshake-refused")
    assert alarm["detail"].startswith(wanted + ":") and alarm["subject"] == COMPONENT
    link.ended()
    world.active()
    assert not is_active_alarm(world, "compliance-handshake-refused")


def arriving(world):
    """A connection to the node's component port, the node ready for it."""
    world.rows()
    world.drop()
    world.change(direction="accept")
    world.link = Link(socket.create_connection(("127.0.0.1", world.service.port_component)))
    return world.link


def digest(link, password="secret-of-the-link"):
    return hashlib.sha1((attributes(link.header())["id"] + password).encode()).hexdigest()


def accepted(world):
    link = arriving(world)
    link.send(example("header of the dialling compliance server"))
    link.send(f"<handshake>{digest(link)}</handshake>")
    link.handshake = link.next()
    assert link.handshake.tag == "{jabber:component:accept}handshake"
    return link


def header_of_the_dialling_compliance_server(world, xml):
    accepted(world)
    world.service.wait_link(COMPONENT, "ACTIVE")


def header_of_the_node_that_was_dialled(world, xml):
    link = arriving(world)
    link.send(example("header of the dialling compliance server"))
    same_header(xml, link.header())


def refusal_of_the_node(world, xml):
    link = arriving(world)
    link.send(example("header of the dialling compliance server").replace(COMPONENT, "op-nobody.node1-example-com"))
    same(xml, link.next())
    link.ended()


def end(world, xml):
    """Answered with the same; the link is GONE at once. Without it the link waits to be there again."""
    link = world.active()
    link.send(xml)
    link.ended()
    assert link.stream.closed and link.raw.rstrip().endswith(xml.strip())
    world.service.wait_link(COMPONENT, "GONE")
    world.active().sock.close()
    world.service.wait_link(COMPONENT, "QUEUEING")


# ---- what a link may do, and pings ----
def refused(world, xml):
    link, before = world.active(), world.service.metric("link_refused_total")
    juliet = world.client("juliet", "chamber")
    link.send(flat(xml))
    wait_until("the count", lambda: world.service.metric("link_refused_total") == before + 1)
    assert "sent what it may not" in world.service.log()
    if one(xml).get("type") == "get":
        same(example("not allowed"), link.other())
    world.romeo.message("juliet@example.com", "the last")
    assert juliet.until(lambda e: text(e) == "the last") == []
    assert world.service.link(COMPONENT)["state"] == "ACTIVE"


def not_allowed(world, xml):
    refused(world, next(x for n, x in EXAMPLES if n == "refused" and "type='get'" in x))


def ping(world, xml):
    same(xml, world.active().next())


def pong(world, xml):
    """Who answers stays: the next ping comes. Who does not is cut."""
    link = world.active()
    link.send(flat(re.sub(r"id='\w+'", f"id='{link.next().get('id')}'", xml)))
    assert link.next()[0].tag == "{urn:xmpp:ping}ping"
    link.ended()
    world.service.wait_link(COMPONENT, "QUEUEING")
    assert "a ping was not answered" in world.service.log()


def their_ping(world, xml):
    link = world.active()
    link.send(flat(xml))
    same(example("our pong"), link.other())


def our_pong(world, xml):
    their_ping(world, example("their ping"))


# The longest name that fits is meant; the words behind it are arguments.
PLAYS = {
    **{name: None for name in CAUSES},
    "answer pass": answer_pass, "answer pass juliet@example.com/chamber": lambda w, x: answer_pass_session(w, x, "juliet@example.com/chamber"),
    "answer pass-stanza": answer_pass_stanza, "answer pass-features": answer_pass_features, "answer handle": answer_handle, "answer handle-stanza": answer_handle_stanza,
    "answer error": answer_error, "answer invalid": answer_invalid,
    "header of the node": header_of_the_node, "header of the compliance server": header_of_the_compliance_server, "handshake": handshake,
    "handshake accepted": handshake_accepted, "refusal of the compliance server": refusal_of_the_compliance_server,
    "header of the dialling compliance server": header_of_the_dialling_compliance_server,
    "header of the node that was dialled": header_of_the_node_that_was_dialled, "refusal of the node": refusal_of_the_node, "end": end,
    "refused": refused, "not allowed": not_allowed, "ping": ping, "pong": pong, "their ping": their_ping, "our pong": our_pong,
}


@pytest.mark.parametrize("name,xml", EXAMPLES, ids=[n for n, _ in EXAMPLES])
def test_example(world, name, xml):
    fitting = max((p for p in PLAYS if name == p or name.startswith(p + " ")), key=len, default=None)
    assert fitting is not None, f"docs/protocol.md: nothing plays the example \"{name}\""
    try:
        if PLAYS[fitting] is None:
            is_sent(world, name, xml)
        else:
            PLAYS[fitting](world, xml, *name[len(fitting):].split())
    finally:
        world.gone()


def test_every_example_is_played():
    """No XML on the page without a name, and no name here that the page does not have."""
    assert len(re.findall(r"^```xml$", PAGE, re.M)) == len(EXAMPLES), "an XML example of docs/protocol.md has no <!-- example: NAME --> above it"
    assert not [p for p in PLAYS if not any(n == p or n.startswith(p + " ") for n, _ in EXAMPLES)]


# ---- the table of the node's refusals ----
def alive(world):
    """A link of this name that answers pings, while a second connection proves the password."""
    first = accepted(world)
    second = Link(socket.create_connection(("127.0.0.1", world.service.port_component)))
    second.send(example("header of the dialling compliance server"))
    second.send(f"<handshake>{digest(second)}</handshake>")
    first.answer(first.next())
    return second


def begun(world, header=None, then=""):
    link = arriving(world)
    link.send((header or example("header of the dialling compliance server")) + then)
    return link


REFUSALS = {
    "invalid-namespace": lambda w: begun(w, example("header of the node").replace("from=", "to=")),
    "host-unknown": lambda w: begun(w, example("header of the dialling compliance server").replace("op-wall", "op-nobody")),
    "not-authorized": lambda w: begun(w, then="<handshake>b20854eb25ddf7851a18a3683b954ac31c0a4ce7</handshake>"),
    "conflict": alive,
    "policy-violation": lambda w: begun(w, then="<handshake>" + "0" * 200000 + "</handshake>"),
    "not-well-formed": lambda w: begun(w, then="<handshake></shake>"),
    "restricted-xml": lambda w: begun(w, then="<!-- psst --><handshake/>"),
}


@pytest.mark.parametrize("wanted", REFUSALS)
def test_refusals_of_the_node(world, wanted):
    try:
        link = REFUSALS[wanted](world)
        error = link.wait("a stream error", lambda: next((e for e in link.stream.elements if e.tag == f"{{{STREAMS}}}error"), None))
        assert error[0].tag == "{urn:ietf:params:xml:ns:xmpp-streams}" + wanted
        link.ended()
    finally:
        world.gone()


def test_tls_that_is_wanted(world):
    """A compliance server configured with TLS gets in by component.listen_tls only, where TLS begins with the first byte."""
    try:
        link = arriving(world)
        world.change(tls=True)
        link.send(example("header of the dialling compliance server"))
        assert link.next()[0].tag == "{urn:ietf:params:xml:ns:xmpp-streams}policy-violation"
        link.ended()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = world.service.get("/v1/status")["port_component_tls"]
        world.link = link = Link(context.wrap_socket(socket.create_connection(("127.0.0.1", port))))
        link.send(example("header of the dialling compliance server"))
        link.send(f"<handshake>{digest(link)}</handshake>")
        assert link.next().tag == "{jabber:component:accept}handshake"
        world.service.wait_link(COMPONENT, "ACTIVE")
    finally:
        world.change(tls=False)
        world.gone()


def test_the_table_of_refusals_is_whole():
    table = PAGE.split("<!-- table: refusals of the node -->\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`([a-z-]+)`", "\n".join(row.split("|")[1] for row in table.splitlines()))) == sorted(REFUSALS)


# ---- what the page says of answers, beyond its examples ----
def test_log_lines(world):
    """In the words of the page: all three states and the dialling."""
    world.active()
    world.listener.close()
    world.drop(graceful=False)
    world.service.wait_link(COMPONENT, "QUEUEING")
    wait_until("the refusal", lambda: f"Unable to connect to host '127.0.0.1', port {world.port}:(111) Connection refused" in world.service.log(), 20)
    log = world.service.log()
    for line in re.findall(r"^    (\S.*)$", PAGE.split("### What the log says")[1].split("##")[0], re.M):
        form = re.escape(line).replace("22", r"\d+").replace(re.escape("10.53.52.205"), r"127\.0\.0\.1").replace("7999", r"\d+")
        assert re.search(form, log), line


def test_events_are_pipelined_and_answered_in_any_order(world):
    """Three of one conversation are here before one is answered; answered backwards they arrive forwards."""
    juliet = world.client("juliet", "chamber")
    link = world.active(AWAITED)
    for body in "abc":
        world.romeo.message(juliet.bare, body)
    for event in reversed([link.event("es_OUT") for _ in "abc"]):
        link.answer(event)
    assert [text(juliet.next(C + "message")) for _ in "abc"] == ["a", "b", "c"]
    world.gone()


def test_events_come_again(world):
    """After a cut: the same event id on the new connection, and the answer there counts."""
    juliet = world.client("juliet", "chamber")
    before = happen(world, AWAITED, message)
    after = again(world)
    assert after[0].get("id") == before[0].get("id") and after[0].get("stanza") == before[0].get("stanza")
    world.link.answer(after)
    assert text(juliet.next(C + "message")) == "Art thou not Romeo?"
    world.gone()


def again(world):
    """The connection is cut; the node dials the same port."""
    world.drop(graceful=False)
    world.listener.settimeout(20 * SLOW)
    world.link = Link(world.listener.accept()[0])
    return world.link.shake().event("es_OUT")


def test_what_a_link_may_not_send_is_logged_once_per_kind_and_minute(world):
    link = world.active()
    log = world.service.options["log.target"]
    before = log.read_text().count("sent what it may not: <presence/>")
    refused = world.service.metric("link_refused_total")
    for i in range(20):
        if i % 10 == 9:
            time.sleep(1.1)
        link.send(f"<presence from='{COMPONENT}' to='juliet@example.com'/>")
    wait_until("all of them counted", lambda: world.service.metric("link_refused_total") == refused + 20)
    assert log.read_text().count("sent what it may not: <presence/>") - before <= 1


def test_wrong_answers_are_logged_once_per_kind_and_minute(world):
    """Those that were given already, those to what was never asked, and those that are not allowed: counted each, said once, and the service goes on."""
    came = happen(world, AWAITED, message)
    log, counted = world.service.options["log.target"], lambda kind: world.service.metric("link_answers_total", kind=kind)
    kinds = {"late": "a second answer to an event", "unknown": "to an event that was never sent", "invalid": "answered with what is not allowed"}
    lines = lambda kind: [line for line in log.read_text().splitlines() if kinds[kind] in line and " debug " not in line]
    before = {kind: (counted(kind), len(lines(kind))) for kind in kinds}
    never = ET.Element("iq", id="e7ffffffff")
    for _ in range(21):
        world.link.answer(came)
        world.link.answer(never)
    for number in range(10):
        world.romeo.message("juliet@example.com", f"number {number}")
        world.link.answer(world.link.event("es_OUT"), "<allow xmlns='urn:signet:event-broker:0'/>")
        assert condition(world.romeo.next(C + "message")) == "internal-server-error"
    for kind, wrong in (("late", 20), ("unknown", 21), ("invalid", 10)):
        wait_until(f"all that are {kind} counted", lambda: counted(kind) == before[kind][0] + wrong)
        assert lines(kind) != [] and len(lines(kind)) - before[kind][1] <= 1, kind
    assert is_active_alarm(world, "compliance-invalid-answer")
