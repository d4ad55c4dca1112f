"""Blocking (XEP-0191)."""
from harness.client import Client, condition, text
from test_xep_simple import befriend, features, pair

NS = "urn:xmpp:blocking"


def block(client, *jids, what="block"):
    items = "".join(f"<item jid='{j}'/>" for j in jids)
    return client.iq("set", f"<{what} xmlns='{NS}'>{items}</{what}>")


def blocklist(client):
    answer = client.iq("get", f"<blocklist xmlns='{NS}'/>")[0]
    assert answer.tag == f"{{{NS}}}blocklist"
    return {item.get("jid") for item in answer}


def push(client, what):
    e = client.next("{jabber:client}iq", match=lambda e: e.get("type") == "set" and e[0].tag == f"{{{NS}}}{what}")
    client.send(f"<iq type='result' id='{e.get('id')}'/>")
    return {item.get("jid") for item in e[0]}


def is_type(kind, sender=None):
    return lambda e: e.get("type") == kind and (sender is None or e.get("from") == sender)


def blocked_error(client, identity):
    error = client.next(match=lambda e: e.get("id") == identity and e.get("type") == "error")
    assert condition(error) == "not-acceptable" and error.find(f"{{jabber:client}}error/{{{NS}:errors}}blocked") is not None
    return error


def test_list_and_pushes(services, closing):
    service, romeo, juliet = pair(services, closing)
    second, third = closing(Client(service, "juliet", "chamber")), closing(Client(service, "juliet", "third"))
    assert NS in features(romeo, "example.com")
    assert blocklist(juliet) == set() and blocklist(second) == set()
    assert block(juliet, "romeo@example.com", "iago@shakespeare.lit").get("type") == "result"
    assert push(juliet, "block") == push(second, "block") == {"romeo@example.com", "iago@shakespeare.lit"}
    third.nothing("{jabber:client}iq")  # has not asked for the list
    assert blocklist(juliet) == {"romeo@example.com", "iago@shakespeare.lit"}
    assert block(juliet, "iago@shakespeare.lit", what="unblock").get("type") == "result"
    assert push(second, "unblock") == {"iago@shakespeare.lit"}
    assert blocklist(juliet) == {"romeo@example.com"}
    assert block(juliet, what="unblock").get("type") == "result"
    assert push(second, "unblock") == set()
    assert blocklist(juliet) == set()


def test_errors_and_limit(services, closing):
    _, romeo, juliet = pair(services, closing, options={"blocking.max_items": 2})
    assert condition(block(juliet)) == "bad-request"
    assert condition(juliet.iq("set", f"<block xmlns='{NS}'><item/></block>")) == "bad-request"
    assert condition(block(juliet, "@no jid")) == "jid-malformed"
    assert condition(block(juliet, juliet.bare)) == "not-allowed"
    assert condition(block(juliet, "a@b.c", "d@b.c", "e@b.c")) == "policy-violation"
    assert block(juliet, "a@b.c", "d@b.c").get("type") == "result"
    assert block(juliet, "a@b.c").get("type") == "result"  # it is there already


def test_stanzas_of_the_contact(services, closing):
    _, romeo, juliet = pair(services, closing)
    block(juliet, romeo.bare)
    for to in (juliet.bare, juliet.jid):
        romeo.message(to, "hello", identity="m1")
        assert condition(romeo.next("{jabber:client}message", match=is_type("error"))) == "service-unavailable"
        assert condition(romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to)) == "service-unavailable"
        romeo.send(f"<iq type='result' id='r' to='{to}'/><presence to='{to}'/>")
    for kind in ("subscribe", "probe", "unsubscribed"):
        romeo.send(f"<presence type='{kind}' to='{juliet.bare}'/>")
    romeo.nothing("{jabber:client}presence", match=lambda e: e.get("from", "").startswith("juliet"))
    juliet.nothing()
    block(juliet, what="unblock")
    romeo.message(juliet.bare, "again")
    assert text(juliet.next_message()) == "again"


def test_stanzas_of_the_user(services, closing):
    _, romeo, juliet = pair(services, closing)
    block(juliet, romeo.bare)
    juliet.message(romeo.bare, "Can you hear me now?", identity="m1")
    error = blocked_error(juliet, "m1")
    assert error.get("from") == romeo.bare and error.tag == "{jabber:client}message"
    juliet.send(f"<iq type='get' id='q1' to='{romeo.jid}'><ping xmlns='urn:xmpp:ping'/></iq>")
    blocked_error(juliet, "q1")
    for kind, identity in (("subscribe", "p1"), ("unavailable", "p2")):
        juliet.send(f"<presence type='{kind}' id='{identity}' to='{romeo.bare}'/>")
        blocked_error(juliet, identity)
    romeo.nothing()
    assert romeo.bare not in [i.get("jid") for i in juliet.iq("get", "<query xmlns='jabber:iq:roster'/>")[0]]
    assert juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "example.com").get("type") == "result"


def test_presence(services, closing):
    service, romeo, juliet = pair(services, closing)
    second = closing(Client(service, "juliet", "chamber"))
    befriend(romeo, juliet)
    romeo.next("{jabber:client}presence", match=lambda e: e.get("from") == second.jid)
    block(juliet, romeo.bare)
    gone = {romeo.next("{jabber:client}presence", match=is_type("unavailable")).get("from") for _ in range(2)}
    assert gone == {juliet.jid, second.jid}
    juliet.send("<presence><show>away</show></presence>")
    romeo.send("<presence><show>dnd</show></presence>")
    third = closing(Client(service, "juliet", "third"))
    romeo.nothing("{jabber:client}presence", match=lambda e: e.get("from", "").startswith("juliet"))
    third.nothing("{jabber:client}presence", match=lambda e: e.get("from") == romeo.jid)
    juliet.got.clear()
    block(juliet, what="unblock")
    back = {romeo.next("{jabber:client}presence", match=lambda e: e.get("from", "").startswith("juliet")).get("from") for _ in range(3)}
    assert back == {juliet.jid, second.jid, third.jid}
    shown = juliet.next("{jabber:client}presence", match=lambda e: e.get("from") == romeo.jid)
    assert shown.find("{jabber:client}show").text == "dnd"


def test_directed_presence_ends(services, closing):
    _, romeo, juliet = pair(services, closing)
    juliet.send(f"<presence to='{romeo.jid}'/>")
    romeo.next("{jabber:client}presence", match=lambda e: e.get("from") == juliet.jid)
    block(juliet, romeo.bare)
    romeo.next("{jabber:client}presence", match=is_type("unavailable", juliet.jid))
    juliet.close()
    romeo.nothing("{jabber:client}presence")


def test_matching(services, closing):
    service, romeo, juliet = pair(services, closing)
    other = closing(Client(service, "romeo", "home"))
    romeo.got.clear()

    def reaches(client):
        client.message(juliet.bare, "x", identity="x")
        try:
            assert text(juliet.next_message(seconds=0.3)) == "x"
            return True
        except AssertionError:
            assert condition(client.next("{jabber:client}message", match=is_type("error"))) == "service-unavailable"
            return False

    for jid, expected in ((romeo.jid, (False, True)), ("Romeo@Example.com", (False, False)), ("example.com", (False, False)), ("com", (False, False)),
                          ("ample.com", (True, True)), ("example.com/orchard", (True, True)), ("other.com", (True, True))):
        assert block(juliet, jid).get("type") == "result"
        assert (reaches(romeo), reaches(other)) == expected, jid
        assert block(juliet, jid, what="unblock").get("type") == "result"


def test_lasts_and_works_offline(services, closing):
    service, romeo, juliet = pair(services, closing)
    block(juliet, romeo.bare)
    juliet.close()
    service.kill()
    service.start()
    romeo = closing(Client(service, "romeo", "orchard"))
    romeo.message(juliet.bare, "hello")
    assert condition(romeo.next("{jabber:client}message")) == "service-unavailable"
    assert condition(romeo.iq("get", "<vCard xmlns='vcard-temp'/>", juliet.bare)) == "service-unavailable"
    juliet = closing(Client(service, "juliet", "balcony"))
    assert blocklist(juliet) == {romeo.bare}
    juliet.nothing("{jabber:client}message")
