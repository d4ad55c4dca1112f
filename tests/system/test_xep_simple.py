"""The simple queries: software version (XEP-0092), entity time (XEP-0202), last activity (XEP-0012), vCards (XEP-0054), private XML (XEP-0049)."""
import datetime
import time
import xml.etree.ElementTree as ET

from harness.client import Client, condition

INFO = "http://jabber.org/protocol/disco#info"


def features(client, to=None):
    result = client.iq("get", f"<query xmlns='{INFO}'/>", to)
    return {f.get("var") for f in result.findall(f"{{{INFO}}}query/{{{INFO}}}feature")}


def pair(services, closing, **options):
    service = services(**options)
    service.user("romeo", "juliet")
    return service, closing(Client(service, "romeo", "orchard")), closing(Client(service, "juliet", "balcony"))


def befriend(one, other):
    """Both subscribe to each other."""
    for a, b in ((one, other), (other, one)):
        a.send(f"<presence type='subscribe' to='{b.bare}'/>")
        b.next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribe")
        b.send(f"<presence type='subscribed' to='{a.bare}'/>")
        a.next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribed")
    one.next("{jabber:client}presence", match=lambda e: e.get("from") == other.jid)


def test_disco_lists_what_works(services, closing):
    _, romeo, _ = pair(services, closing)
    assert features(romeo, "example.com") >= {INFO, "jabber:iq:last", "jabber:iq:private", "jabber:iq:version", "urn:xmpp:ping", "urn:xmpp:time", "vcard-temp"}
    assert features(romeo, romeo.bare) >= {INFO, "vcard-temp", "jabber:iq:last"}


def test_0092_version(services, closing):
    _, romeo, juliet = pair(services, closing)
    query = romeo.iq("get", "<query xmlns='jabber:iq:version'/>", "example.com")[0]
    assert query.find("{jabber:iq:version}name").text == "Signet" and query.find("{jabber:iq:version}version").text
    assert condition(romeo.iq("get", "<query xmlns='jabber:iq:version'/>", juliet.bare)) == "service-unavailable"
    assert condition(romeo.iq("set", "<query xmlns='jabber:iq:version'/>", "example.com")) == "service-unavailable"


def test_0202_time(services, closing):
    _, romeo, _ = pair(services, closing)
    answer = romeo.iq("get", "<time xmlns='urn:xmpp:time'/>", "example.com")[0]
    utc = datetime.datetime.fromisoformat(answer.find("{urn:xmpp:time}utc").text.replace("Z", "+00:00"))
    assert abs(utc.timestamp() - time.time()) < 60
    tzo = answer.find("{urn:xmpp:time}tzo").text
    assert tzo[0] in "+-" and tzo[3] == ":" and len(tzo) == 6


LAST = "<query xmlns='jabber:iq:last'/>"


def test_0012_server_uptime(services, closing):
    _, romeo, _ = pair(services, closing)
    assert 0 <= int(romeo.iq("get", LAST, "example.com")[0].get("seconds")) < 300


def test_0012_contact(services, closing):
    service, romeo, juliet = pair(services, closing)
    assert condition(romeo.iq("get", LAST, juliet.bare)) == "forbidden"
    assert condition(romeo.iq("get", LAST, juliet.jid)) == "forbidden"
    juliet.nothing("{jabber:client}iq")
    befriend(romeo, juliet)
    assert romeo.iq("get", LAST, juliet.bare)[0].get("seconds") == "0"
    romeo.send(f"<iq type='get' id='idle' to='{juliet.jid}'>{LAST}</iq>")
    asked = juliet.next("{jabber:client}iq", match=lambda e: e.get("id") == "idle")
    juliet.send(f"<iq type='result' id='idle' to='{asked.get('from')}'><query xmlns='jabber:iq:last' seconds='123'/></iq>")
    assert romeo.next("{jabber:client}iq", match=lambda e: e.get("id") == "idle")[0].get("seconds") == "123"

    juliet.send("<presence type='unavailable'><status>Heading Home</status></presence>")
    romeo.next("{jabber:client}presence", match=lambda e: e.get("type") == "unavailable")
    juliet.close()
    time.sleep(1.1)
    query = romeo.iq("get", LAST, juliet.bare)[0]
    assert query.text == "Heading Home" and 1 <= int(query.get("seconds")) < 60
    service.stop()
    service.start()
    romeo = closing(Client(service, "romeo", "orchard"))
    query = romeo.iq("get", LAST, juliet.bare)[0]
    assert query.text == "Heading Home" and 1 <= int(query.get("seconds")) < 120


def test_0012_own(services, closing):
    _, romeo, _ = pair(services, closing)
    assert romeo.iq("get", LAST)[0].get("seconds") == "0"


VCARD = "<vCard xmlns='vcard-temp'><FN>Juliet &amp; co</FN><NICKNAME>julie</NICKNAME><TEL><WORK/><NUMBER>303</NUMBER></TEL></vCard>"


def test_0054_vcard(services, closing):
    service, romeo, juliet = pair(services, closing)
    get = "<vCard xmlns='vcard-temp'/>"
    assert condition(juliet.iq("get", get)) == "item-not-found"
    assert condition(romeo.iq("get", get, juliet.bare)) == "service-unavailable"
    assert condition(romeo.iq("get", get, "nobody@example.com")) == "service-unavailable"
    result = juliet.iq("set", VCARD)
    assert result.get("type") == "result" and len(result) == 0
    expected = ET.tostring(ET.fromstring(VCARD))
    own = juliet.iq("get", get)
    assert ET.tostring(own[0]) == expected
    others = romeo.iq("get", get, juliet.bare)
    assert ET.tostring(others[0]) == expected and others.get("from") == juliet.bare
    assert ET.tostring(juliet.iq("get", get, juliet.bare)[0]) == expected
    assert condition(romeo.iq("set", VCARD, juliet.bare)) == "forbidden"
    # set and get one right after the other: the answers come in order and the second knows of the first
    juliet.send("<iq type='set' id='s1'><vCard xmlns='vcard-temp'><FN>J</FN></vCard></iq><iq type='get' id='g1'><vCard xmlns='vcard-temp'/></iq>")
    assert juliet.next("{jabber:client}iq").get("id") == "s1"
    assert juliet.next("{jabber:client}iq")[0][0].text == "J"
    service.kill()
    service.start()
    assert closing(Client(service, "romeo")).iq("get", get, juliet.bare)[0][0].text == "J"


def test_0054_limit(services, closing):
    _, romeo, _ = pair(services, closing, options={"vcard.max_bytes": 2000})
    photo = f"<vCard xmlns='vcard-temp'><PHOTO><BINVAL>{'A' * 2000}</BINVAL></PHOTO></vCard>"
    assert condition(romeo.iq("set", photo)) == "policy-violation"
    assert condition(romeo.iq("get", "<vCard xmlns='vcard-temp'/>")) == "item-not-found"


def private(client, kind, inner, to=None):
    return client.iq(kind, f"<query xmlns='jabber:iq:private'>{inner}</query>", to)


def test_0049_private(services, closing):
    service, romeo, juliet = pair(services, closing)
    prefs = "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>"
    assert private(romeo, "set", prefs).get("type") == "result"
    answer = private(romeo, "get", "<exodus xmlns='exodus:prefs'/>")[0]
    assert answer.tag == "{jabber:iq:private}query" and answer[0][0].text == "Hamlet"
    nothing = private(romeo, "get", "<storage xmlns='storage:bookmarks'/>")[0]
    assert len(nothing) == 1 and nothing[0].tag == "{storage:bookmarks}storage" and len(nothing[0]) == 0
    assert len(private(juliet, "get", "<exodus xmlns='exodus:prefs'/>")[0][0]) == 0
    assert condition(private(romeo, "get", "<exodus xmlns='exodus:prefs'/>", juliet.bare)) == "forbidden"
    assert condition(private(romeo, "set", prefs, juliet.bare)) == "forbidden"
    assert condition(private(romeo, "get", "")) == "bad-request"
    assert condition(private(romeo, "set", "")) == "not-acceptable"
    assert condition(private(romeo, "set", "<query><x/></query>")) == "not-acceptable"
    assert private(romeo, "set", "<a xmlns='n:1'><b/></a><c xmlns='n:1' d='e'/>").get("type") == "result"
    assert private(romeo, "get", "<c xmlns='n:1'/>")[0][0].get("d") == "e"
    assert private(romeo, "set", "<exodus xmlns='exodus:prefs'/>").get("type") == "result"
    assert len(private(romeo, "get", "<exodus xmlns='exodus:prefs'/>")[0][0]) == 0


def test_0049_limits(services, closing):
    _, romeo, _ = pair(services, closing, options={"private.max_bytes": 1024, "private.max_elements": 2})
    assert condition(private(romeo, "set", f"<a xmlns='n:1'>{'x' * 1100}</a>")) == "policy-violation"
    assert private(romeo, "set", "<a xmlns='n:1'>1</a><b xmlns='n:1'>2</b>").get("type") == "result"
    assert condition(private(romeo, "set", "<c xmlns='n:1'>3</c>")) == "policy-violation"
    assert private(romeo, "set", "<a xmlns='n:1'>changed</a>").get("type") == "result"
    assert private(romeo, "get", "<a xmlns='n:1'/>")[0][0].text == "changed"
