"""Chains of three compliance servers, each with a profile of its own: who is asked, in which order, about what; who is not asked any more; what comes of it.
EVENTS.md, "Answers" and rule 8: secrets are shown to none of them."""
import copy
import xml.etree.ElementTree as ET

import pytest

from harness.client import condition, ids, text
from harness.compliance import passed, passed_with
from harness.service import wait_until
from lab import ANSWERS, Lab, Outcome, refusing, the_error

C = "{jabber:client}"
EVENTS = ("es_OUT", "e_DELIVER", "es_IN")
NAMES = ("First", "Second", "Third")


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    yield lab
    lab.close()


def appending(mark):
    """PASS, with the mark behind what the body says: the one that is asked next sees it."""
    def script(event):
        if event.body is None or event.body.startswith("fence"):
            return passed(event)
        event.stanza.find(C + "body").text = event.body + mark
        return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))
    return script


def change(event):
    return appending("!")(event)


class Order:
    """Which server was asked about what, in order."""

    def __init__(self, lab, scripts):
        self.asked = []
        for place, (server, script) in enumerate(zip(lab.servers, scripts)):
            server.script = self.noting(NAMES[place], script)

    def noting(self, name, script):
        def noted(event):
            self.asked.append((name, event.attributes["profile"], event.stanza.find(C + "body").text))
            return script(event)
        return noted


def chain(lab, rows, scripts):
    lab.begin(scripts[0], *rows)
    return Order(lab, scripts)


def say(lab):
    return lab.romeo.message(lab.juliet.bare, "say")


CASES = [(place, answer, EVENTS[(place + i) % 3]) for place in range(3) for i, answer in enumerate(ANSWERS)]


@pytest.mark.parametrize("place,answer,event", CASES, ids=[f"{NAMES[p]}-{a}-{e}" for p, a, e in CASES])
def test_each_place(lab, place, answer, event):
    """The servers before it add a letter each, it answers as the case says, those behind it add theirs when they are asked."""
    script, handling, forget, outcome = ANSWERS[answer]
    scripts = [appending("abc"[i]) for i in range(3)]
    scripts[place] = script or change
    rows = [[(event, "message", "bounce", False)] for _ in range(3)]
    rows[place] = [(event, "message", handling, forget)]
    order = chain(lab, rows, scripts)
    identity = say(lab)
    body, expected = "say", []
    for i in range(3):
        expected.append((NAMES[i], NAMES[i], body))
        if i == place and outcome.kind not in ("pass", "changed"):
            break
        body += "abc"[i] if i != place else "!" if outcome.kind == "changed" else ""
    ended = len(expected) < 3 or outcome.kind not in ("pass", "changed")
    wait_until("the last of those to be asked", lambda: len(order.asked) >= len(expected))
    got, arrived = lab.fence(lab.romeo, lab.juliet)
    in_order = sorted if forget else list # who is only told need not be told before the next is asked
    assert in_order(order.asked) == in_order(expected)
    assert [text(m) for m in arrived] == ([] if ended else [body])
    if outcome.kind == "refuse":
        the_error(got, lab.juliet.bare, outcome, identity)
    else:
        assert got == []
    asked = [s.seen()[0] for s in lab.servers[:len(expected)]]
    assert len({e.id for e in asked}) == 1 and len({e.stanza_id for e in asked}) == 1, "one event, told to each"
    for server in lab.servers:
        server.script = passed


def test_each_is_asked_after_the_one_before_it(lab):
    """Not sooner: the second sees nothing while the first thinks, and then the third."""
    held = []
    for server in lab.servers:
        server.script = held.append
    rows = [[("es_OUT", "message", "bounce", False)]] * 3
    lab.rows(*rows)
    say(lab)
    for place in range(3):
        wait_until(NAMES[place], lambda: len(held) == place + 1)
        assert held[place].attributes["profile"] == NAMES[place]
        lab.servers[place].send(passed(held[place]))
    assert text(lab.juliet.next_message()) == "say"
    for server in lab.servers:
        server.script = passed
    lab.fence(lab.romeo, lab.juliet)


def move(lab, name, by):
    lab.service.request("POST", f"/v1/compliance/profiles/{name}/move", {"by": by})


def test_priority_is_changed_live(lab):
    """up and down turn the order for the next event; what is asked already keeps the order it began with."""
    rows = [[("es_OUT", "message", "bounce", False)]] * 3
    scripts = [appending(mark) for mark in "abc"]

    def once(wanted):
        order = chain(lab, rows, scripts)
        say(lab)
        assert text(lab.juliet.next_message()) == "say" + wanted
        assert "".join({"First": "a", "Second": "b", "Third": "c"}[name] for name, _, _ in order.asked) == wanted
    once("abc")
    move(lab, "Third", -1)
    once("acb")
    move(lab, "First", 1)
    once("cab")
    held = []
    order = chain(lab, rows, scripts)
    lab.third.script = lambda e: order.asked.append(("Third", e.attributes["profile"], e.body)) or held.append(e)
    say(lab)
    wait_until("Third, which is the first now", lambda: held)
    move(lab, "First", -1)
    move(lab, "Second", -1)
    move(lab, "Second", -1)
    lab.third.send(scripts[2](held[0]))
    assert text(lab.juliet.next_message()) == "saycab", "it keeps the plan it began with"
    once("bac")
    move(lab, "Second", 1)
    once("abc")
    for server in lab.servers:
        server.script = passed
    lab.fence(lab.romeo, lab.juliet)


@pytest.mark.parametrize("out", range(3))
def test_a_profile_without_the_event_is_not_asked(lab, out):
    """Nor one that lists it for another packet type, or another event only."""
    for other in ([], [("es_OUT", "iq", "bounce", False)], [("e_OFFLINE", "message", "bounce", False)]):
        rows = [[("es_OUT", "message", "bounce", False)] for _ in range(3)]
        rows[out] = other
        order = chain(lab, rows, [appending(mark) for mark in "abc"])
        say(lab)
        assert text(lab.juliet.next_message()) == "say" + "abc".replace("abc"[out], "")
        assert [name for name, _, _ in order.asked] == [n for i, n in enumerate(NAMES) if i != out]
    lab.fence(lab.romeo, lab.juliet)


def test_what_the_first_redacts_nobody_sees(lab):
    """Nor does the store of one who is away, nor the copy for the sender's other session."""
    lab.service.user("paris")
    other = lab.client("romeo", "cellar", presence=False)
    other.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    rows = [(e, "message", "bounce", False) for e in ("es_OUT", "e_DELIVER", "e_OFFLINE", "es_IN")]
    lab.begin(lambda e: change_word(e, "4711", "****"), [rows[0]], rows, rows)
    for server in lab.servers[1:]:
        server.script = passed
    lab.romeo.message("paris@example.com", "the number is 4711")
    assert "the number is ****" in ET.tostring(other.next(C + "message"), encoding="unicode")
    wait_until("the message in the store", lambda: ("offline", "paris@example.com", "the number is ****") in lab.store())
    paris = lab.client("paris", "palace")
    assert text(paris.next_message()) == "the number is ****"
    for server in lab.servers[1:]:
        assert len(server.seen()) == 5 and not any("4711" in ET.tostring(e.element, encoding="unicode") for e in server.seen())
    paris.close()
    other.close()
    lab.fence(lab.romeo, lab.juliet)


def change_word(event, old, new):
    if event.body is None or old not in event.body:
        return passed(event)
    event.stanza.find(C + "body").text = event.body.replace(old, new)
    return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))


# ---- rule 8: secrets ----
SECRET = "hunter-2-and-a-half"
ROOM = f"<x xmlns='jabber:x:conference' jid='room@rooms.example.com' password='{SECRET}'/>"
INVITATION = f"<x xmlns='http://jabber.org/protocol/muc#user'><invite to='juliet@example.com'/><password>{SECRET}</password></x>"
EVERYWHERE = ("es_OUT", "e_SERVER", "e_DELIVER", "e_OFFLINE", "es_IN")


def watch(lab, packet, script=passed):
    rows = [(e, packet, "bounce", False) for e in EVERYWHERE]
    lab.begin(script, rows, rows, rows)
    for server in lab.servers[1:]:
        server.script = passed


def nobody_saw(lab, *secrets):
    shown = [ET.tostring(e.element, encoding="unicode") for s in lab.servers for e in s.seen()]
    assert shown and not [t for t in shown for secret in secrets if secret in t]


def echo(event):
    if event.body is not None:
        event.stanza.find(C + "body").text = event.body.upper()
    return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))


def setting(tag, value):
    def script(event):
        stanza = copy.deepcopy(event.stanza)
        for element in stanza.iter(tag):
            element.text = value
        return passed_with(event, ET.tostring(stanza, encoding="unicode"))
    return script


@pytest.mark.parametrize("script", (passed, echo))
def test_invitations_keep_their_passwords(lab, script):
    watch(lab, "message", script)
    lab.romeo.message(lab.juliet.bare, "come in", extra=ROOM + INVITATION)
    got = lab.juliet.next_message()
    assert text(got) == ("COME IN" if script is echo else "come in")
    assert got.find("{jabber:x:conference}x").get("password") == SECRET
    assert got.findtext(".//{http://jabber.org/protocol/muc#user}password") == SECRET
    nobody_saw(lab, SECRET)
    assert all(e.stanza.find("{jabber:x:conference}x").get("password") == "" for s in lab.servers for e in s.seen()), "it is there, and blank"
    lab.fence(lab.romeo, lab.juliet)


def test_a_password_in_the_store_and_in_a_copy(lab):
    """Stored as it was sent, blank in the event of the flush and of the carbon copy, and delivered as it was sent."""
    lab.service.user("sampson")
    other = lab.client("romeo", "cellar", presence=False)
    other.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    watch(lab, "message", echo)
    lab.romeo.message("sampson@example.com", "come in", extra=ROOM)
    assert SECRET in ET.tostring(other.next(C + "message"), encoding="unicode")
    wait_until("the message in the store", lambda: ("offline", "sampson@example.com", "COME IN") in lab.store())
    sampson = lab.client("sampson", "street")
    assert sampson.next_message().find("{jabber:x:conference}x").get("password") == SECRET
    assert {e.attributes.get("copy") for e in lab.third.seen()} == {None, "carbon", "offline"}
    nobody_saw(lab, SECRET)
    sampson.close()
    other.close()
    lab.fence(lab.romeo, lab.juliet)


def test_a_room_is_entered_with_its_password(lab):
    """Juliet's client stands for the room here."""
    watch(lab, "presence", echo)
    lab.romeo.send(f"<presence to='{lab.juliet.jid}'><x xmlns='http://jabber.org/protocol/muc'><password>{SECRET}</password></x></presence>")
    assert lab.juliet.next(C + "presence").findtext(".//{http://jabber.org/protocol/muc}password") == SECRET
    nobody_saw(lab, SECRET)
    lab.rows()
    lab.romeo.send(f"<presence type='unavailable' to='{lab.juliet.jid}'/>")
    lab.fence(lab.romeo, lab.juliet)


PASSWORD = "{jabber:iq:register}password"


def changes_password(lab, script, wanted):
    """A user asks for SECRET to be his password from now on; what it is then."""
    name = f"gregory{next(ids)}"
    lab.service.user(name)
    client = lab.client(name, "one")
    watch(lab, "iq", script)
    answer = client.iq("set", f"<query xmlns='jabber:iq:register'><username>{name}</username><password>{SECRET}</password></query>", to="example.com")
    nobody_saw(lab, SECRET, "set by the first")
    assert {e.name for e in lab.third.seen()} >= {"es_OUT", "es_IN"}
    client.close()
    lab.rows()
    lab.client(name, "two", password=wanted).close()
    return answer


@pytest.mark.parametrize("script", (passed, echo))
def test_a_password_is_changed_unseen(lab, script):
    assert changes_password(lab, script, SECRET).get("type") == "result"


def test_a_password_set_by_the_first_is_not_shown_to_the_next(lab):
    assert changes_password(lab, setting(PASSWORD, "set by the first"), "set by the first").get("type") == "result"


def test_a_password_taken_out_stays_out(lab):
    def script(event):
        for query in event.stanza.iter("{jabber:iq:register}query"):
            for password in query.findall(PASSWORD):
                query.remove(password)
        return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))
    assert condition(changes_password(lab, script, "correct horse battery")) == "bad-request"
