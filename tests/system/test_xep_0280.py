"""Message carbons (XEP-0280), with forwarding (XEP-0297), stanza ids (XEP-0359) and receipts that pass through (XEP-0184)."""
import time

from harness.client import Client, condition, text
from harness.compliance import Compliance, passed, redacted, refused
from test_xep_simple import features, pair

NS = "urn:xmpp:carbons:2"
FORWARDED = "{urn:xmpp:forward:0}forwarded"
MESSAGE = "{jabber:client}message"
SID = "{urn:xmpp:sid:0}stanza-id"


def carbons(client, what="enable"):
    assert client.iq("set", f"<{what} xmlns='{NS}'/>").get("type") == "result"


def carbon(client, way, seconds=10):
    """The next message must be a copy; returns what it holds."""
    message = client.next(MESSAGE, seconds)
    assert message.get("from") == client.bare and message.get("to") == client.jid, message.attrib
    assert [child.tag for child in message] == [f"{{{NS}}}{way}"], [child.tag for child in message]
    (forwarded,) = message[0]
    assert forwarded.tag == FORWARDED
    (inner,) = forwarded
    assert inner.tag == MESSAGE and message.get("type") == inner.get("type")
    return inner


def scene(services, closing, **options):
    """Juliet; Romeo in the orchard, in the garden (both with carbons) and at home (without)."""
    service, romeo, juliet = pair(services, closing, **options)
    garden, home = closing(Client(service, "romeo", "garden", presence=False)), closing(Client(service, "romeo", "home", presence=False))
    carbons(romeo)
    carbons(garden)
    romeo.got.clear()
    return service, romeo, garden, home, juliet


def quiet(*clients):
    for client in clients:
        client.nothing(MESSAGE, 0.2)


def test_received_and_sent(services, closing):
    _, romeo, garden, home, juliet = scene(services, closing)
    assert NS in features(romeo, "example.com")
    juliet.message(romeo.jid, "What man art thou", identity="m1", extra="<thread>t</thread>")
    got = romeo.next_message()
    assert text(got) == "What man art thou" and got.find(SID).get("by") == romeo.bare
    inner = carbon(garden, "received")
    assert text(inner) == "What man art thou" and inner.get("to") == romeo.jid and inner.get("from") == juliet.jid and inner.get("id") == "m1"
    assert inner.find(SID).get("id") == got.find(SID).get("id")
    romeo.message(juliet.jid, "Neither, fair saint")
    assert text(juliet.next_message()) == "Neither, fair saint"
    inner = carbon(garden, "sent")
    assert text(inner) == "Neither, fair saint" and inner.get("from") == romeo.jid and inner.get("to") == juliet.jid
    home.message(juliet.bare, "from one without carbons")
    assert text(carbon(garden, "sent")) == text(carbon(romeo, "sent")) == "from one without carbons"
    quiet(romeo, garden, home)


def test_bare(services, closing):
    """To the bare JID: who gets it himself gets no copy."""
    service, romeo, garden, home, juliet = scene(services, closing)
    garden.available()
    home.available(-1)
    carbons(home)
    juliet.message(romeo.bare, "to all")
    assert text(romeo.next_message()) == text(garden.next_message()) == "to all"
    assert text(carbon(home, "received")) == "to all"
    quiet(romeo, garden, home)


def test_offline_and_negative(services, closing):
    """What nobody takes is stored, and copied to those with carbons; who has the copy is not given it again."""
    service, romeo, garden, home, juliet = scene(services, closing)
    romeo.send("<presence type='unavailable'/>")
    romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    juliet.message(romeo.bare, "later")
    assert text(carbon(garden, "received")) == text(carbon(romeo, "received")) == "later"
    romeo.available()
    quiet(romeo, garden, home)


def test_on_and_off(services, closing):
    _, romeo, garden, home, juliet = scene(services, closing)
    carbons(garden)
    juliet.message(romeo.jid, "1")
    assert text(carbon(garden, "received")) == "1"
    carbons(garden, "disable")
    carbons(garden, "disable")
    juliet.message(romeo.jid, "2")
    assert [text(romeo.next_message()) for _ in "12"] == ["1", "2"]
    quiet(garden)
    carbons(garden)
    juliet.message(romeo.jid, "3")
    assert text(carbon(garden, "received")) == "3"


def test_which_messages(services, closing):
    _, romeo, garden, home, juliet = scene(services, closing)
    state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
    not_copied = [
        f"<message type='chat' to='{romeo.jid}'><body>p</body><private xmlns='{NS}'/><no-copy xmlns='urn:xmpp:hints'/></message>",
        f"<message type='chat' to='{romeo.jid}'><body>p</body><private xmlns='{NS}'/></message>",
        f"<message type='chat' to='{romeo.jid}'><body>p</body><no-copy xmlns='urn:xmpp:hints'/></message>",
        f"<message to='{romeo.jid}'><subject>no body</subject></message>",
        f"<message type='headline' to='{romeo.jid}'><body>h</body></message>",
        f"<message type='groupchat' to='{romeo.jid}'><body>g</body></message>",
        f"<message type='chat' to='{romeo.jid}'><body>muc</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>",
        f"<message type='error' to='{romeo.jid}'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
        f"<message type='chat' to='{romeo.jid}'><received xmlns='{NS}'/><body>x</body></message>",
    ]
    for stanza in not_copied:
        juliet.send(stanza)
        got = romeo.next(MESSAGE)
        assert got.find(f"{{{NS}}}private") is None, "the recipient's server removes it"
    quiet(garden)
    copied = [
        f"<message type='chat' to='{romeo.jid}'>{state}</message>",
        f"<message to='{romeo.jid}'><body>normal</body></message>",
        f"<message type='chat' id='r1' to='{romeo.jid}'><received xmlns='urn:xmpp:receipts' id='r0'/></message>",
    ]
    for stanza in copied:
        juliet.send(stanza)
        romeo.next(MESSAGE)
        carbon(garden, "received")
    romeo.send(f"<message type='chat' to='{juliet.jid}'><body>p</body><private xmlns='{NS}'/></message>")
    assert juliet.next(MESSAGE).find(f"{{{NS}}}private") is None
    quiet(garden, home)


def test_to_oneself(services, closing):
    _, romeo, garden, home, _ = scene(services, closing)
    romeo.message(home.jid, "note")
    assert text(home.next_message()) == "note"
    assert text(carbon(garden, "received")) == text(carbon(romeo, "received")) == "note"
    quiet(romeo, garden, home)


def test_errors_follow_what_was_copied(services, closing):
    _, romeo, garden, home, _ = scene(services, closing)
    romeo.message("nobody@example.com", "x", identity="e1")
    assert condition(romeo.next(MESSAGE)) == "service-unavailable"
    assert text(carbon(garden, "sent")) == "x"
    assert condition(carbon(garden, "received")) == "service-unavailable"
    quiet(garden, home)


def with_compliance(service, closing, script, events=("es_IN", "es_OUT")):
    port = closing(Compliance("op-rec.node1-example-com", script=script))
    service.profile("P", [(event, "message", "bounce", False) for event in events])
    service.compliance_server("rec", port.port, profile="P")
    service.wait_link(port.component, "ACTIVE")
    return port


def test_copies_hold_what_was_let_through(services, closing):
    service, romeo, garden, home, juliet = scene(services, closing)
    seen = with_compliance(service, closing, redacted("secret", "XXXX"))
    juliet.message(romeo.jid, "my secret", identity="m1")
    assert text(romeo.next_message()) == "my XXXX"
    assert text(carbon(garden, "received")) == "my XXXX"
    events = [e for e in seen.seen("es_IN") if e.attributes.get("copy") == "carbon"]
    assert len(events) == 1 and events[0].attributes["session"] == garden.jid
    assert {e.stanza_id for e in seen.seen("es_IN")} == {seen.seen("es_OUT")[0].stanza_id}, "one stanza id from its beginning to its last copy"


def test_refused_copy_is_dropped_alone(services, closing):
    service, romeo, garden, home, juliet = scene(services, closing)
    with_compliance(service, closing, lambda e: refused(e) if e.attributes.get("copy") == "carbon" else passed(e))
    juliet.message(romeo.jid, "hello")
    assert text(romeo.next_message()) == "hello"
    romeo.message(juliet.jid, "hello too")
    assert text(juliet.next_message()) == "hello too"
    quiet(garden, romeo, juliet)


def test_refused_messages_are_not_copied(services, closing):
    service, romeo, garden, home, juliet = scene(services, closing)
    with_compliance(service, closing, lambda e: refused(e) if e.name == "es_OUT" and e.body == "out" or e.name == "es_IN" and e.body == "in" else passed(e))
    romeo.message(juliet.jid, "out")
    assert condition(romeo.next(MESSAGE)) == "policy-violation"
    quiet(garden)
    romeo.message(juliet.jid, "in", identity="in1")
    assert condition(romeo.next(MESSAGE)) == "policy-violation"
    assert text(carbon(garden, "sent")) == "in"
    assert condition(carbon(garden, "received")) == "policy-violation"
    juliet.message(romeo.jid, "in")
    assert condition(juliet.next(MESSAGE)) == "policy-violation"
    quiet(garden, romeo)


def test_order_and_no_round_trip_each(services, closing):
    """A slow compliance server costs a round trip, not one per message; copies come in order."""
    service, romeo, garden, home, juliet = scene(services, closing)
    port = with_compliance(service, closing, passed)
    port.delay, port.shuffle = 0.3, True
    start = time.monotonic()
    for i in range(20):
        juliet.message(romeo.jid, str(i))
        romeo.message(juliet.jid, f"r{i}")
    assert [text(romeo.next_message(20)) for _ in range(20)] == [str(i) for i in range(20)]
    copies = [garden.next(MESSAGE, 20) for _ in range(40)]
    took = time.monotonic() - start
    for way, prefix in (("received", ""), ("sent", "r")):
        assert [text(m[0][0][0]) for m in copies if m[0].tag.endswith(way)] == [f"{prefix}{i}" for i in range(20)]
    assert took < 5, took


def test_0359_stanza_ids(services, closing):
    _, romeo, _, _, juliet = scene(services, closing)
    forged = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{romeo.bare}' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='other'/>"
    juliet.message(romeo.jid, "x", extra=forged + "<origin-id xmlns='urn:xmpp:sid:0' id='mine'/>")
    got = romeo.next_message()
    by = {e.get("by"): e.get("id") for e in got.findall(SID)}
    assert by["room@muc.example"] == "other" and by[romeo.bare] != "forged" and len(by) == 2
    assert got.find("{urn:xmpp:sid:0}origin-id").get("id") == "mine"
    assert "urn:xmpp:sid:0" in features(romeo, romeo.bare)


def test_0359_offline(services, closing):
    service, romeo, juliet = pair(services, closing)
    romeo.close()
    time.sleep(0.2)
    juliet.message(romeo.bare, "stored")
    juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    romeo = closing(Client(service, "romeo"))
    got = romeo.next_message()
    assert got.find(SID).get("by") == romeo.bare and got.find("{urn:xmpp:delay}delay") is not None


def test_0184_receipts_pass_through(services, closing):
    _, romeo, _, _, juliet = scene(services, closing)
    juliet.message(romeo.bare, "ask", identity="richard2", extra="<request xmlns='urn:xmpp:receipts'/>")
    got = romeo.next_message()
    assert got.find("{urn:xmpp:receipts}request") is not None and got.get("id") == "richard2"
    romeo.send(f"<message to='{juliet.jid}' id='bi29'><received xmlns='urn:xmpp:receipts' id='richard2'/></message>")
    assert juliet.next(MESSAGE).find("{urn:xmpp:receipts}received").get("id") == "richard2"


def unacknowledged_by_two(services, closing, copied):
    """Romeo's orchard got a message, his garden got it too or a copy of it; neither has acknowledged it."""
    service, romeo, juliet = pair(services, closing, options={"c2s.ack_stanzas": 10000, "c2s.ack_wait": 600000})
    garden = closing(Client(service, "romeo", "garden"))
    for client in (romeo, garden):
        client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        client.next("{urn:xmpp:sm:3}enabled")
    if copied:
        carbons(garden)
    juliet.message(romeo.jid if copied else romeo.bare, "once")
    assert text(romeo.next_message()) == "once"
    garden.next(MESSAGE)
    return service, romeo, garden


def comes_once(service, closing):
    client = closing(Client(service, "romeo", "later"))
    assert text(client.next_message()) == "once"
    client.nothing(MESSAGE, 0.3)


def test_unacknowledged_by_two_is_kept_once_at_the_end_of_the_service(services, closing):
    for copied in (False, True):
        for cut in (False, True):
            service, romeo, garden = unacknowledged_by_two(services, closing, copied)
            if cut:
                romeo.cut()
                garden.cut()
            service.stop()
            service.start()
            comes_once(service, closing)
