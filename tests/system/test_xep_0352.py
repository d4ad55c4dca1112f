"""Client state indication (XEP-0352)."""
from harness.client import Client, text
from test_xep_simple import befriend, pair

ACTIVE, INACTIVE = "<active xmlns='urn:xmpp:csi:0'/>", "<inactive xmlns='urn:xmpp:csi:0'/>"
STATE = "<{} xmlns='http://jabber.org/protocol/chatstates'/>"


def scene(services, closing, **options):
    service, romeo, juliet = pair(services, closing, **options)
    befriend(romeo, juliet)
    juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    romeo.got.clear()
    return service, romeo, juliet


def inactive(client):
    client.send(INACTIVE)
    client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")


def kind(element):
    show = element.find("{jabber:client}show")
    return show.text if show is not None else text(element) or element.tag.split("}")[1]


def synced(one, other):
    """What `one` sent has gone through both workers."""
    one.iq("get", "<ping xmlns='urn:xmpp:ping'/>", other.bare)


def test_offered(services, closing):
    service = services()
    service.user("romeo")
    client = closing(Client(service, "romeo", login=False))
    client.login(True)  # reads the features itself
    client.send(INACTIVE + ACTIVE + ACTIVE + INACTIVE)
    assert client.iq("get", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"


def test_presence_waits_for_a_message(services, closing):
    _, romeo, juliet = scene(services, closing)
    inactive(romeo)
    for show in ("away", "xa", "dnd"):
        juliet.send(f"<presence><show>{show}</show></presence>")
    juliet.send(f"<message type='chat' to='{romeo.jid}'>{STATE.format('composing')}</message>")
    juliet.send(f"<message type='chat' to='{romeo.jid}'>{STATE.format('paused')}</message>")
    synced(juliet, romeo)
    romeo.nothing(seconds=0.3)
    juliet.message(romeo.jid, "hello")
    got = [romeo.next() for _ in range(3)]
    assert [kind(e) for e in got] == ["dnd", "message", "hello"]
    assert got[1].find("{http://jabber.org/protocol/chatstates}paused") is not None
    juliet.send("<presence/>")
    romeo.nothing(seconds=0.3)  # still inactive


def test_active_gets_everything(services, closing):
    service, romeo, juliet = scene(services, closing)
    inactive(romeo)
    second = closing(Client(service, "juliet", "chamber"))
    juliet.send("<presence><show>away</show></presence>")
    second.send("<presence type='unavailable'/>")
    synced(second, romeo)
    synced(juliet, romeo)
    romeo.nothing(seconds=0.3)
    romeo.send(ACTIVE)
    got = {(e.get("from"), e.get("type")) for e in (romeo.next(), romeo.next())}
    assert got == {(juliet.jid, None), (second.jid, "unavailable")}
    juliet.send("<presence><show>dnd</show></presence>")
    assert kind(romeo.next(seconds=2)) == "dnd"


def test_what_does_not_wait(services, closing):
    _, romeo, juliet = scene(services, closing)
    inactive(romeo)
    juliet.send(f"<iq type='get' id='q' to='{romeo.jid}'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert romeo.next().get("id") == "q"
    juliet.send(f"<message to='{romeo.jid}' type='chat'><body>b</body>{STATE.format('active')}</message>")
    assert text(romeo.next()) == "b"
    romeo.send("<presence><show>xa</show></presence>")
    assert romeo.next().get("from") == romeo.jid
    juliet.send(f"<presence type='unsubscribed' to='{romeo.bare}'/>")
    assert romeo.next("{jabber:client}presence", match=lambda e: e.get("type") == "unsubscribed") is not None


def test_bound(services, closing):
    service, romeo, juliet = scene(services, closing, options={"csi.max_held": 1})
    inactive(romeo)
    juliet.send("<presence><show>away</show></presence>")
    juliet.send(f"<message type='chat' to='{romeo.jid}'>{STATE.format('composing')}</message>")
    assert [kind(romeo.next()) for _ in range(2)] == ["away", "message"]
    assert service.metric("csi_held_total") >= 1
