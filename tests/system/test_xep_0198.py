"""XEP-0198, Stream Management: acknowledgements, counters, resumption after a cut, with stanzas under way in both directions, and what becomes of messages
nobody acknowledged."""
import time

import pytest

from harness.client import Client, Closed, text
from harness.compliance import Compliance, passed
from harness.managed import MESSAGE, SM, Managed, again, bodies, detached, failure, sessions
from harness.service import SLOW, wait_until


@pytest.fixture
def service(services):
    made = services({"c2s.ack_wait": 200})
    made.user("romeo", "juliet", "nurse")
    return made


# ---- 3: enabling ----
def test_3_offered_after_authentication_only(service):
    romeo = Client(service, "romeo", login=False)
    assert romeo.open().find("{urn:xmpp:sm:3}sm") is None
    romeo.send("<enable xmlns='urn:xmpp:sm:3'/>")
    assert failure(romeo.next(SM + "failed")) == "unexpected-request"
    managed = Managed.__new__(Managed)
    managed.counting = False
    Client.__init__(managed, service, "romeo", login=False)
    assert managed.login_only().find("{urn:xmpp:sm:3}sm") is not None
    managed.send("<enable xmlns='urn:xmpp:sm:3'/>")
    assert failure(managed.next(SM + "failed")) == "unexpected-request", "before bind"
    assert managed.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>").get("type") == "result", "and the stream goes on"


def test_3_enabled_once(service):
    romeo = Managed(service, "romeo")
    assert romeo.enabled.get("resume") == "true" and int(romeo.enabled.get("max")) == 600 and len(romeo.token) >= 32
    assert romeo.enabled.get("location") is None
    romeo.send("<enable xmlns='urn:xmpp:sm:3'/>")
    assert failure(romeo.next(SM + "failed")) == "unexpected-request"
    romeo.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{romeo.token}' h='0'/>")
    assert failure(romeo.next(SM + "failed")) == "unexpected-request"
    assert romeo.handled() == 1


def test_3_without_resumption(service):
    romeo = Managed(service, "romeo", resume="false")
    assert romeo.token is None and romeo.enabled.get("resume") is None
    romeo.cut()
    wait_until("its end", lambda: not sessions(service))


def test_5_max_of_the_client(service):
    romeo = Managed(service, "romeo", enable=False)
    assert romeo.enable(extra=" max='60'").get("max") == "60"


def test_not_enabled(service):
    romeo = Client(service, "romeo")
    for nonza in ("<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='0'/>"):
        romeo.send(nonza)
        assert failure(romeo.next(SM + "failed")) == "unexpected-request"


# ---- 4: acknowledgements ----
def test_4_counts_every_stanza_from_enable_on(service):
    romeo, juliet = Managed(service, "romeo"), Client(service, "juliet")
    assert romeo.handled() == 1, "its presence"
    for i in range(20):
        romeo.message(juliet.jid, f"m{i}")
    romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    romeo.wait_handled(22)
    romeo.send("<message to='juliet@@example.com'/>")  # refused for its form, and handled by that
    romeo.send("<iq type='result' id='x1' to='a@@b'/>")  # and one that nothing may be answered to
    romeo.wait_handled(24)
    romeo.send(f"<message to='{juliet.jid}'><body>last</body></message></stream:stream>")
    assert int(romeo.next(SM + "a").get("h")) >= 24, "once more at the end"


def test_4_server_asks(service):
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    juliet.next(SM + "r")
    juliet.ack()
    for i in range(10):
        romeo.message(juliet.jid, f"m{i}")
    juliet.next(SM + "r", 5)
    romeo.message(juliet.jid, "one more")
    juliet.next_message(body="one more")
    juliet.next(SM + "r", 5)
    juliet.ack()
    wait_until("nothing unacknowledged", lambda: service.metric("unacked_stanzas") == 0)


def test_4_too_high(service):
    romeo = Managed(service, "romeo")
    romeo.handled()
    romeo.ack(romeo.received + 7)
    error = romeo.next("{http://etherx.jabber.org/streams}error")
    high = error.find(SM + "handled-count-too-high")
    assert error.find("{urn:ietf:params:xml:ns:xmpp-streams}undefined-condition") is not None
    assert int(high.get("h")) == romeo.received + 7 and int(high.get("send-count")) == romeo.received


def test_4_waits_for_compliance(service, closing):
    """h covers what has been dealt with, not what was read."""
    slow = closing(Compliance("op-slow.node1-example-com", script=lambda e: passed(e) if (e.body or "").startswith("quick") else None))
    service.compliance_server("slow", slow.port)
    service.wait_link(slow.component, "ACTIVE")
    slow.script = lambda e: None if e.body == "slow" else passed(e)
    romeo, juliet = Managed(service, "romeo"), Client(service, "juliet")
    romeo.wait_handled(1)
    romeo.message(juliet.jid, "slow")
    romeo.message("nurse@example.com", "quick")
    slow.wait("es_OUT", "quick")
    assert romeo.handled() == 1, "the longest finished prefix"
    held = slow.wait("es_OUT", "slow")[0]
    slow.script = passed
    slow.send(passed(held))
    romeo.wait_handled(3)


# ---- 5: resumption ----
def test_5_after_a_cut(service):
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    romeo.message(juliet.jid, "heard")
    juliet.next_message(body="heard")
    romeo.message(juliet.bare, "in the air")
    time.sleep(0.2)  # in the socket, never read
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.jid, "while away")
    romeo.message(juliet.bare, "while away, bare")
    new = again(juliet)
    assert new.resumed.tag == SM + "resumed" and new.resumed.get("previd") == juliet.token
    assert int(new.resumed.get("h")) == 1
    assert bodies(new, 3) == ["in the air", "while away", "while away, bare"]
    new.nothing(MESSAGE)
    romeo.message(new.jid, "live")
    assert bodies(new, 1) == ["live"]
    new.message(romeo.jid, "answer")
    romeo.next_message(body="answer")
    new.wait_handled(2)
    romeo.nothing("{jabber:client}presence", match=lambda e: e.get("type") == "unavailable")


def test_5_without_fin(service):
    """The old connection is still there: it is taken over, and told."""
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    new = again(juliet)
    assert new.resumed.tag == SM + "resumed"
    assert juliet.next("{http://etherx.jabber.org/streams}error").find("{urn:ietf:params:xml:ns:xmpp-streams}conflict") is not None
    romeo.message(juliet.jid, "to the new one")
    assert bodies(new, 1) == ["to the new one"]
    third = again(new)
    assert third.resumed.tag == SM + "resumed"
    assert [s["detached"] for s in sessions(service) if s["jid"] == juliet.jid] == [False]


def test_5_end_of_stream_is_the_end(service):
    juliet = Managed(service, "juliet")
    juliet.close()
    wait_until("its end", lambda: not sessions(service))
    new = again(juliet)
    assert failure(new.resumed) == "item-not-found" and int(new.resumed.get("h")) == 1
    assert new.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>").get("type") == "result", "it may bind instead"


def test_5_no_other_users_token(service):
    juliet = Managed(service, "juliet")
    romeo = Managed(service, "romeo")
    romeo.cut()
    thief = again(romeo, token=juliet.token)
    assert failure(thief.resumed) == "item-not-found" and thief.resumed.get("h") is None
    for token in ("nonsense", "", juliet.token[:-1], "0" * len(juliet.token)):
        if token:
            assert failure(again(juliet, token=token).resumed) == "item-not-found"
    thief.send("<resume xmlns='urn:xmpp:sm:3' previd='x'/>")
    assert failure(thief.next(SM + "failed")) == "bad-request"
    assert again(juliet).resumed.tag == SM + "resumed"


def test_5_too_high(service):
    juliet = Managed(service, "juliet")
    juliet.handled()
    new = again(juliet, h=juliet.received + 1, wait=False)
    error = new.next("{http://etherx.jabber.org/streams}error")
    assert error.find(SM + "handled-count-too-high") is not None
    assert again(juliet).resumed.tag == SM + "resumed", "the session is none the worse"


def test_5_nothing_lost_or_doubled(service):
    """Both send all the time; each is cut again and again, acknowledging what it happens to have read."""
    people = [Managed(service, "romeo"), Managed(service, "juliet")]
    sent, got = [[], []], [[], []]
    unacked = [[], []]
    counts = [people[0].handled(), people[1].handled()]  # stanzas of each that the server has
    for round_ in range(12):
        for i in (0, 1):
            for n in range(5):
                body = f"{'rj'[i]}{round_}.{n}"
                sent[i].append(body)
                stanza = f"<message type='chat' id='{body}' to='{people[1 - i].jid}'><body>{body}</body></message>"
                unacked[i].append(stanza)
                people[i].send(stanza)
        i = round_ % 2
        if round_ % 3:
            people[i].read(0.3)
        old = people[i]
        old.cut()
        got[i] += [text(e) for e in old.got if e.tag == MESSAGE]
        new = people[i] = again(old)
        h = int(new.resumed.get("h"))
        del unacked[i][: h - counts[i]]
        counts[i] = h
        new.send("".join(unacked[i]))
    for i in (0, 1):
        end = time.monotonic() + 20 * SLOW
        while len(got[i]) < len(sent[1 - i]) and time.monotonic() < end:
            people[i].read(0.2)
            got[i] += [text(e) for e in people[i].got if e.tag == MESSAGE]
            people[i].got.clear()
        assert got[i] == sent[1 - i]
        people[i].nothing(MESSAGE)


def test_5_waits_for_stanzas_under_way(service, closing):
    """What is with a compliance server when the stream is cut is covered by the h of <resumed/>, if it comes back within resume_wait."""
    slow = closing(Compliance("op-slow.node1-example-com"))
    service.compliance_server("slow", slow.port)
    service.wait_link(slow.component, "ACTIVE")
    slow.script = lambda e: None if e.body == "slow" else passed(e)
    romeo, juliet = Managed(service, "romeo"), Client(service, "juliet")
    romeo.message(juliet.jid, "slow")
    held = slow.wait("es_OUT", "slow")[0]
    romeo.cut()
    new = again(romeo, wait=False)
    new.nothing(SM + "resumed", 0.5)
    slow.script = passed
    slow.send(passed(held))
    assert int(new.next(SM + "resumed").get("h")) == 2
    juliet.next_message(body="slow")


def test_5_still_under_way_after_resume_wait(services, closing):
    """The client sends it again, since h does not cover it; it is known, and delivered once."""
    service = services({"c2s.resume_wait": 0})
    service.user("romeo", "juliet")
    slow = closing(Compliance("op-slow.node1-example-com"))
    service.compliance_server("slow", slow.port)
    service.wait_link(slow.component, "ACTIVE")
    slow.script = lambda e: None if (e.body or "").startswith("slow") else passed(e)
    romeo, juliet = Managed(service, "romeo"), Client(service, "juliet")
    romeo.wait_handled(1)
    for n in (1, 2):
        romeo.message(juliet.jid, f"slow {n}", identity=f"s{n}")
        slow.wait("es_OUT", f"slow {n}")
    romeo.cut()
    for _ in (1, 2):
        romeo = again(romeo)
        assert int(romeo.resumed.get("h")) == 1
        for n in (1, 2):
            romeo.message(juliet.jid, f"slow {n}", identity=f"s{n}")
    romeo.message(juliet.jid, "quick")
    assert romeo.handled() == 1
    held = slow.wait("es_OUT", "slow 1") + slow.wait("es_OUT", "slow 2")
    assert len(held) == 2, "asked once each"
    slow.script = passed
    for event in held:
        slow.send(passed(event))
    romeo.wait_handled(4)
    assert bodies(juliet, 3) == ["slow 1", "slow 2", "quick"]
    juliet.nothing(MESSAGE)


def test_5_cut_again_while_it_sends_again(services, closing):
    """Three stanzas are under way; the client is resumed, sends one of them again, and is cut; then all of them are still known."""
    service = services({"c2s.resume_wait": 0})
    service.user("romeo", "juliet")
    compliance = closing(Compliance("op-hold.node1-example-com"))
    held = []
    compliance.script = lambda event: held.append(event) if event.body is not None else passed(event)
    service.profile("Hold", [("es_OUT", None, "bounce", False)])
    service.wait_link(service.compliance_server("hold", compliance.port, profile="Hold"), "ACTIVE")
    romeo, juliet = Managed(service, "romeo"), Managed(service, "juliet")
    romeo.wait_handled(1)
    stanzas = [f"<message type='chat' id='{body}' to='juliet@example.com'><body>{body}</body></message>" for body in ("one", "two", "three")]
    romeo.send("".join(stanzas))
    wait_until("three events", lambda: len(held) == 3)
    for sent_again in (1, 0, 2):
        romeo.cut()
        romeo = again(romeo)
        assert romeo.resumed.tag == SM + "resumed" and romeo.resumed.get("h") == "1"
        if sent_again:
            romeo.send("".join(stanzas[:sent_again]))
            romeo.handled()
    romeo.cut()
    romeo = again(romeo)
    romeo.send("".join(stanzas) + "<message type='chat' to='juliet@example.com'><body>four</body></message>")
    wait_until("the fourth event", lambda: "four" in [e.body for e in held])
    assert [e.body for e in held] == ["one", "two", "three", "four"]
    compliance.send("".join(passed(e) for e in held))
    assert bodies(juliet, 4) == ["one", "two", "three", "four"]


def test_5_no_session_event_and_one_end(services, closing):
    service = services({"c2s.resume_timeout": 2})
    service.user("romeo", "juliet")
    server = closing(Compliance("op-all.node1-example-com"))
    service.profile("Sessions", [("e_SESSION", "all", "pass", False), ("es_END", "all", "pass", False), ("es_IN", "all", "pass", False), ("e_DELIVER", "all", "pass", False)])
    service.compliance_server("all", server.port, profile="Sessions")
    service.wait_link(server.component, "ACTIVE")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.jid, "once")
    server.wait("es_IN", "once")
    juliet = again(juliet)
    juliet.next_message(body="once")
    assert len(server.seen("es_IN", "once")) == 1, "none for what is sent again"
    assert len([e for e in server.seen("e_SESSION") if e.stanza.get("from") == juliet.jid]) == 1
    assert not server.seen("es_END")
    juliet.cut()
    server.wait("es_END", seconds=10)
    time.sleep(0.5)
    assert len(server.seen("es_END")) == 1
    assert len(server.seen("e_DELIVER", "once")) == 1


# ---- what nobody acknowledged ----
def test_timeout_to_the_offline_store(services):
    service = services({"c2s.resume_timeout": 1})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    romeo.message(juliet.jid, "acknowledged")
    juliet.next_message(body="acknowledged")
    juliet.ack()
    romeo.message(juliet.jid, "to the full")
    romeo.message(juliet.bare, "to the bare")
    juliet.next_message(body="to the bare")
    juliet.cut()
    wait_until("the end of the session", lambda: len(sessions(service)) == 1)
    late = again(juliet)
    assert failure(late.resumed) == "item-not-found" and late.resumed.get("h") == "1"
    back = Client(service, "juliet", "other")
    for body in ("to the full", "to the bare"):
        message = back.next(MESSAGE)
        assert text(message) == body and len(message.findall("{urn:xmpp:delay}delay")) == 1
    back.nothing(MESSAGE)
    romeo.nothing(MESSAGE)


def test_timeout_to_another_session(services):
    service = services({"c2s.resume_timeout": 1})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    other = Client(service, "juliet", "other", presence=False)
    other.available(-1)
    other.available(0)
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.jid, "which one")
    romeo.send(f"<iq type='get' id='who' to='{juliet.jid}'><query xmlns='jabber:iq:version'/></iq>")
    other.nothing(MESSAGE, 0.3)
    message = other.next(MESSAGE)
    assert text(message) == "which one" and message.find("{urn:xmpp:delay}delay") is not None
    assert romeo.next("{jabber:client}iq", match=lambda e: e.get("id") == "who").get("type") == "error", "a request never stays unanswered"


def test_offline_messages_come_back(services):
    """Flushed to a session that is cut before it reads them: in the store again, stamped once."""
    service = services({"c2s.resume_timeout": 1})
    service.user("romeo", "juliet")
    romeo = Client(service, "romeo")
    for i in range(3):
        romeo.message("juliet@example.com", f"o{i}")
    juliet = Managed(service, "juliet")
    assert bodies(juliet, 3) == ["o0", "o1", "o2"]
    juliet.cut()
    wait_until("the end of the session", lambda: len(sessions(service)) == 1)
    back = Client(service, "juliet", "other")
    for i in range(3):
        message = back.next(MESSAGE)
        assert text(message) == f"o{i}" and len(message.findall("{urn:xmpp:delay}delay")) == 1


def test_shutdown_keeps_them(services):
    service = services({})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.jid, "before the stop")
    romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    time.sleep(0.2)
    assert service.stop() == 0
    service.start()
    back = Client(service, "juliet", "r")
    assert bodies(back, 1) == ["before the stop"]


def test_logout_without_acknowledgement(service):
    """A client that ends its stream has got what was written to it; it is not told again."""
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    romeo.message(juliet.bare, "once is enough")
    juliet.next_message(body="once is enough")
    juliet.close()
    wait_until("the end of the session", lambda: len(sessions(service)) == 1)
    Client(service, "juliet", "other").nothing(MESSAGE)


def test_slow_reader(services):
    """Cut when too much output waits; what it did not get is kept, and comes when it resumes."""
    service = services({"c2s.output_bytes": 65536, "c2s.unacked_bytes": 134217728, "c2s.unacked_stanzas": 100000})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    filling = "x" * 20000
    n = 0
    while not [s for s in sessions(service) if s["detached"]]:
        for _ in range(50):
            romeo.message(juliet.jid, f"{n} {filling}")
            n += 1
        romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", seconds=30)
        assert n < 5000
    juliet.sock.close()
    new = again(juliet)
    got = [text(new.next(MESSAGE, 30)).split()[0] for _ in range(n)]
    assert got == [str(i) for i in range(n)]


def test_too_much_unacknowledged(services):
    service = services({"c2s.unacked_stanzas": 20})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    for i in range(30):
        romeo.message(juliet.jid, f"m{i}")
    with pytest.raises(Closed):
        while True:
            juliet.next(SM + "never", 10)
    back = Client(service, "juliet", "other")
    assert bodies(back, 30) == [f"m{i}" for i in range(30)]


def test_same_resource_bound_anew(service):
    """Not resumed but replaced: what the old session did not acknowledge goes to the store and from there to the new one."""
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.bare, "for whoever comes")
    new = Managed(service, "juliet")
    assert bodies(new, 1) == ["for whoever comes"]
