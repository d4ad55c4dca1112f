"""What a user or a sender was promised survives: kill -9 at any moment, a stream that is cut, a client that does not read. SIGNET_KILLS and SIGNET_ABSENCE make
it longer."""
import os
import random
import threading
import time

import pytest

from harness.client import Client, Closed, text
from harness.managed import MESSAGE, SM, Managed, again, bodies, detached, failure
from harness.service import SLOW, wait_until

SANITIZED = os.environ.get("SIGNET_SANITIZER", "none") != "none"
KILLS = int(os.environ.get("SIGNET_KILLS", "50"))
ABSENCE = float(os.environ.get("SIGNET_ABSENCE", "0.3"))  # seconds that the first client to be cut stays away
DELAY = "{urn:xmpp:delay}delay"
FOREVER = 600000


def stored(client, n):
    """The next n messages, each with one delay stamp."""
    came = [client.next(MESSAGE) for _ in range(n)]
    assert all(len(m.findall(DELAY)) == 1 for m in came), "stamped, once"
    return [text(m) for m in came]


# ---- kill -9 at any moment ----
class Value:
    """Something the service keeps. It may have any value from the last acknowledged on."""

    def __init__(self, initial):
        self.sent, self.floor = [initial], 0

    def write(self, value):
        self.sent.append(value)
        return len(self.sent) - 1

    def acknowledged(self, index):
        self.floor = max(self.floor, index)

    def found(self, name, value):
        assert value in self.sent[self.floor:], f"{name}: {value!r} was found, {self.sent[self.floor]!r} was acknowledged, then came {self.sent[self.floor + 1:]!r}"
        self.sent, self.floor = [value], 0


class Writer(Managed):
    """Changes all a user has, as fast as it can, and notes what was acknowledged: by the result of an iq, and by the h that covers the stanza."""

    def start(self, ledger, seed):
        self.ledger, self.random, self.pending, self.order, self.results = ledger, random.Random(seed), {}, [], 0

    def stanza(self, xml, change):
        self.order.append(change)
        self.send(xml)

    def iq_set(self, payload, name, value):
        identity = f"w{len(self.order)}"
        change = self.pending[identity] = (name, self.ledger[name].write(value))
        self.stanza(f"<iq type='set' id='{identity}'>{payload}</iq>", change)

    def roster(self):
        n, value = self.random.randrange(4), self.random.choice(["", "Montague", "Capulet"])
        payload = f"<item jid='c{n}@example.com' name='{value}'/>" if value else f"<item jid='c{n}@example.com' subscription='remove'/>"
        name = f"roster c{n}"
        if not value and not self.ledger[name].sent[-1]:
            return  # removing what is not there is an error
        self.iq_set(f"<query xmlns='jabber:iq:roster'>{payload}</query>", name, value)

    def private(self):
        n, value = self.random.randrange(3), f"v{self.random.randrange(10 ** 6)}"
        self.iq_set(f"<query xmlns='jabber:iq:private'><p{n} xmlns='test:{n}'>{value}</p{n}></query>", f"private {n}", value)

    def vcard(self):
        value = f"Romeo {self.random.randrange(10 ** 6)}"
        self.iq_set(f"<vCard xmlns='vcard-temp'><FN>{value}</FN></vCard>", "vcard", value)

    def block(self):
        n = self.random.randrange(3)
        name, jid = f"block b{n}", f"b{n}@example.com"
        value = not self.ledger[name].sent[-1]
        self.iq_set(f"<{'block' if value else 'unblock'} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{'block' if value else 'unblock'}>", name, value)

    def subscription(self):
        value = "" if self.ledger["ask"].sent[-1] else "subscribe"
        kind = value or "unsubscribe"
        self.stanza(f"<presence type='{kind}' to='benvolio@example.com'/>", ("ask", self.ledger["ask"].write(value)))

    def message(self):
        to = self.random.choice(["tybalt", "mercutio"])
        sent = self.ledger["messages to " + to]
        sent.append([f"m{len(sent)}", False])
        self.stanza(f"<message type='chat' to='{to}@example.com'><body>m{len(sent) - 1}</body></message>", ("messages to " + to, len(sent) - 1))

    def note(self, change):
        if change is None:
            return  # an answer to a push
        name, index = change
        if name.startswith("messages"):
            self.ledger[name][index][1] = True
        else:
            self.ledger[name].acknowledged(index)

    def take(self):
        """What has come."""
        while self.got:
            element = self.got.popleft()
            if element.tag == SM + "a":
                while self.acked < int(element.get("h")) - self.results:
                    self.note(self.order[self.acked])
                    self.acked += 1
            elif element.tag == "{jabber:client}iq" and element.get("id") in self.pending:
                assert element.get("type") == "result", element.get("id")
                self.note(self.pending.pop(element.get("id")))
            elif element.tag == "{jabber:client}iq" and element.get("type") == "set":
                self.order.append(None)
                try:
                    self.send(f"<iq type='result' id='{element.get('id')}'/>")
                except OSError:
                    pass  # dead already
            elif element.tag == MESSAGE:
                raise AssertionError(f"an error for a message: {element.get('type')}")

    def note_all(self):
        while True:
            try:
                self.read(5)
            except Closed:
                break
        self.take()


class Ledger(dict):
    def __init__(self):
        super().__init__({"vcard": Value(None), "ask": Value(""), "messages to tybalt": [], "messages to mercutio": []})
        self.update({f"roster c{n}": Value("") for n in range(4)})
        self.update({f"private {n}": Value(None) for n in range(3)})
        self.update({f"block b{n}": Value(False) for n in range(3)})

    def check(self, client):
        items = {i.get("jid"): i for i in client.iq("get", "<query xmlns='jabber:iq:roster'/>")[0]}
        for n in range(4):
            item = items.get(f"c{n}@example.com")
            self[f"roster c{n}"].found(f"contact {n}", item.get("name") if item is not None else "")
        benvolio = items.get("benvolio@example.com")
        self["ask"].found("the subscription", benvolio.get("ask") or "" if benvolio is not None else "")
        for n in range(3):
            element = client.iq("get", f"<query xmlns='jabber:iq:private'><p{n} xmlns='test:{n}'/></query>")[0][0]
            self[f"private {n}"].found(f"private XML {n}", element.text)
        vcard = client.iq("get", "<vCard xmlns='vcard-temp'/>")
        self["vcard"].found("the vCard", vcard[0][0].text if vcard.get("type") == "result" and len(vcard[0]) else None)
        blocked = {i.get("jid") for i in client.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>")[0]}
        for n in range(3):
            self[f"block b{n}"].found(f"blocked {n}", f"b{n}@example.com" in blocked)

    def check_messages(self, name, came):
        sent = self["messages to " + name]
        numbers = [int(body[1:]) for body in came]
        assert numbers == sorted(set(numbers)), "each once, in order"
        lost = [body for body, acknowledged in sent if acknowledged and body not in came]
        assert not lost, f"{len(lost)} of {len(sent)} messages to {name} were acknowledged and are lost: {lost[:10]}"


def collect(client):
    came = []
    while True:
        try:
            came.append(text(client.next(MESSAGE, 0.5)))
        except AssertionError:
            return came


def test_killed_at_any_moment(services):
    """Roster, subscriptions, private XML, vCard, block list, and messages to one who is away (tybalt) and one whose client never acknowledges (mercutio), with
    c2s.unacked_store 0: what the writer's client was told is done is there after kill -9, 50 times (SIGNET_KILLS)."""
    service = services({"c2s.unacked_store": 0, "offline.max_messages": 1000000, "log.level": "info", "c2s.rate_stanzas": 0})
    service.user("romeo", "benvolio", "tybalt", "mercutio")
    ledger, changes = Ledger(), 0
    for kill in range(KILLS):
        reader = Managed(service, "mercutio")
        writer = Writer(service, "romeo", enable=False)
        writer.enable()
        writer.start(ledger, kill)
        ledger.check(writer)
        writer.results = writer.handled()  # stanzas before the first change
        kinds = [writer.roster, writer.private, writer.vcard, writer.block, writer.subscription] + 3 * [writer.message]
        timer = threading.Timer(writer.random.uniform(0.02, 0.25) * (2 if SANITIZED else 1), service.kill)
        timer.start()
        if kill % 3 == 0:
            reader.cut()  # messages come for a session without a stream
        try:
            while timer.is_alive() and service.process.poll() is None:
                writer.random.choice(kinds)()
                if len(writer.order) % 4 == 0:
                    writer.send("<r xmlns='urn:xmpp:sm:3'/>")
                writer.read(0.001)
                writer.take()
        except (Closed, OSError):
            pass
        timer.join()
        writer.note_all()
        changes += len(writer.order)
        service.start()
    ledger.check(Managed(service, "romeo"))
    ledger.check_messages("tybalt", collect(Client(service, "tybalt")))
    ledger.check_messages("mercutio", collect(Client(service, "mercutio")))
    messages = ledger["messages to tybalt"] + ledger["messages to mercutio"]
    print(f"{changes} changes, {sum(acknowledged for _, acknowledged in messages)} of {len(messages)} messages acknowledged")
    assert sum(acknowledged for _, acknowledged in messages) > KILLS, "it had something to lose"


ROOM = "verona@conference.example.com"


class RoomWriter(Writer):
    """The owner of a persistent room: who may do what in it, its name, its subject and what is said."""

    def affiliation(self):
        n, value = self.random.randrange(4), self.random.choice(["none", "member", "outcast", "admin"])
        name = f"affiliation c{n}"
        if value == self.ledger[name].sent[-1]:
            return
        self.iq_to_room("muc#admin", f"<item affiliation='{value}' jid='c{n}@example.com'/>", name, value)

    def rename(self):
        value = f"Verona {self.random.randrange(10 ** 6)}"
        form = ("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
                f"<field var='muc#roomconfig_roomname'><value>{value}</value></field></x>")
        self.iq_to_room("muc#owner", form, "name", value)

    def iq_to_room(self, ns, payload, name, value):
        identity = f"w{len(self.order)}"
        change = self.pending[identity] = (name, self.ledger[name].write(value))
        self.stanza(f"<iq type='set' id='{identity}' to='{ROOM}'><query xmlns='http://jabber.org/protocol/{ns}'>{payload}</query></iq>", change)

    def subject(self):
        value = f"s{self.random.randrange(10 ** 6)}"
        self.stanza(f"<message type='groupchat' to='{ROOM}'><subject>{value}</subject></message>", ("subject", self.ledger["subject"].write(value)))

    def say(self):
        sent = self.ledger["messages"]
        sent.append([f"m{len(sent)}", False])
        self.stanza(f"<message type='groupchat' to='{ROOM}'><body>m{len(sent) - 1}</body></message>", ("messages", len(sent) - 1))

    def take(self):
        """What the room sends him is of no interest here."""
        for element in [e for e in self.got if e.tag == MESSAGE and e.get("type") != "error" or e.tag == "{jabber:client}presence"]:
            self.got.remove(element)
        super().take()

    def enter(self):
        """Returns what the room has kept of the conversation."""
        self.send(f"<presence to='{ROOM}/Romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        came = self.until(lambda e: e.tag == MESSAGE and e.find("{jabber:client}subject") is not None and text(e) is None and self.found_subject(e))
        return [text(e) for e in came if e.tag == MESSAGE and text(e) is not None]

    def found_subject(self, message):
        self.ledger["subject"].found("the subject", message.find("{jabber:client}subject").text or "")
        return True


def check_room(service, ledger, kept):
    people = {a["jid"]: a["affiliation"] for a in service.get(f"/v1/rooms/{ROOM}/affiliations")["affiliations"]}
    for n in range(4):
        ledger[f"affiliation c{n}"].found(f"c{n}", people.get(f"c{n}@example.com", "none"))
    ledger["name"].found("the room's name", service.get(f"/v1/rooms/{ROOM}")["config"]["roomname"] or "")
    numbers = [int(body[1:]) for body in kept]
    assert numbers == sorted(set(numbers)), "each once, in order"
    lost = [body for body, acknowledged in ledger["messages"] if acknowledged and body not in kept]
    assert not lost, f"{len(lost)} of {len(ledger['messages'])} messages were acknowledged and are lost: {lost[:10]}"


def test_room_killed_at_any_moment(services):
    """Affiliations, configuration, subject and history of a persistent room: what was acknowledged, by the result of an iq or by h, is there after kill -9."""
    service = services({"tc.max_history": 10000, "tc.history": 10000, "log.level": "info", "c2s.rate_stanzas": 0})
    service.user("romeo", "juliet")
    service.request("POST", "/v1/rooms", {"room": ROOM, "owner": "romeo@example.com"})
    ledger = {"name": Value(""), "subject": Value(""), "messages": [], **{f"affiliation c{n}": Value("none") for n in range(4)}}
    for kill in range(max(KILLS // 4, 5)):
        writer = RoomWriter(service, "romeo", enable=False)
        writer.enable()
        writer.start(ledger, kill)
        writer.available()
        check_room(service, ledger, writer.enter())
        writer.take()
        writer.results = writer.handled()
        timer = threading.Timer(writer.random.uniform(0.02, 0.25) * (2 if SANITIZED else 1), service.kill)
        timer.start()
        try:
            while timer.is_alive() and service.process.poll() is None:
                writer.random.choice([writer.affiliation, writer.rename, writer.subject] + 3 * [writer.say])()
                if len(writer.order) % 4 == 0:
                    writer.send("<r xmlns='urn:xmpp:sm:3'/>")
                writer.read(0.001)
                writer.take()
        except (Closed, OSError):
            pass
        timer.join()
        writer.note_all()
        service.start()
    last = RoomWriter(service, "romeo")
    last.start(ledger, 0)
    check_room(service, ledger, last.enter())
    acknowledged = sum(a for _, a in ledger["messages"])
    print(f"{acknowledged} of {len(ledger['messages'])} messages acknowledged")
    assert acknowledged > KILLS // 4, "it had something to lose"


def test_subscription_request_survives(services):
    """Acknowledged by h: it stands with both."""
    service = services()
    service.user("romeo", "benvolio")
    romeo = Managed(service, "romeo")
    romeo.send("<presence type='subscribe' to='benvolio@example.com'/>")
    romeo.wait_handled(2)
    service.kill()
    service.start()
    assert Client(service, "romeo").iq("get", "<query xmlns='jabber:iq:roster'/>")[0][0].get("ask") == "subscribe"
    Client(service, "benvolio").next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribe" and e.get("from") == "romeo@example.com")


# ---- sessions with stream management, and a crash ----
@pytest.fixture
def stage(services):
    service = services({"c2s.unacked_store": FOREVER, "c2s.ack_stanzas": 10000, "c2s.ack_wait": FOREVER})
    service.user("romeo", "juliet")
    return service, Managed(service, "romeo"), Managed(service, "juliet")


def restart(service):
    service.kill()
    service.start()


def test_without_a_stream(stage):
    """What it had not acknowledged when it was cut, and what came for it since, is offline messages after a crash; the session is gone."""
    service, romeo, juliet = stage
    romeo.message(juliet.jid, "acknowledged")
    juliet.next_message(body="acknowledged")
    juliet.ack()
    romeo.message(juliet.jid, "to the full")
    romeo.message(juliet.bare, "to the bare")
    juliet.next_message(body="to the bare")
    juliet.cut()
    detached(service, juliet.jid)
    wait_until("both in the store", lambda: service.metric("unacked_stored_total") == 2)
    for i in range(20):
        romeo.message(juliet.bare, f"away {i}")
    romeo.wait_handled(24)
    restart(service)
    late = again(juliet)
    assert failure(late.resumed) == "item-not-found" and late.resumed.get("h") is None
    back = Client(service, "juliet", "other")
    assert stored(back, 22) == ["to the full", "to the bare"] + [f"away {i}" for i in range(20)]
    back.nothing(MESSAGE)


def test_acknowledged_after_resumption(stage):
    """The store lets go of it; so it does not come again after a crash."""
    service, romeo, juliet = stage
    romeo.message(juliet.jid, "one")
    juliet.next_message(body="one")
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.jid, "two")
    romeo.wait_handled(3)
    new = again(juliet, h=juliet.received - 1)
    assert bodies(new, 2) == ["one", "two"], "unstamped: the session was there all the time"
    new.received = juliet.received + 1
    new.ack()
    new.iq("set", "<query xmlns='jabber:iq:private'><x xmlns='x:y'/></query>")  # stored after the removal was
    restart(service)
    Client(service, "juliet", "other").nothing(MESSAGE)


def test_other_sessions_are_not_given_it(stage):
    """While the session may be resumed, what it has in the store is its own."""
    service, romeo, juliet = stage
    juliet.cut()
    detached(service, juliet.jid)
    romeo.message(juliet.jid, "hers")
    romeo.wait_handled(2)
    other = Client(service, "juliet", "other")
    other.nothing(MESSAGE)
    assert bodies(again(juliet), 1) == ["hers"]


def test_acknowledging_clients_cost_nothing(services):
    service = services({"c2s.unacked_store": 1000})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    for i in range(200):
        romeo.message(juliet.jid, f"m{i}")
        juliet.next_message(body=f"m{i}")
        juliet.ack()
    assert service.metric("unacked_stored_total") == 0


def test_not_acknowledged_for_a_while(services):
    """A client that is there and says nothing: from c2s.unacked_store on, a crash loses nothing."""
    service = services({"c2s.unacked_store": 200})
    service.user("romeo", "juliet")
    romeo, juliet = Managed(service, "romeo"), Managed(service, "juliet")
    for i in range(5):
        romeo.message(juliet.jid, f"m{i}")
    assert bodies(juliet, 5) == [f"m{i}" for i in range(5)]
    wait_until("five in the store", lambda: service.metric("unacked_stored_total") == 5)
    restart(service)
    assert stored(Client(service, "juliet", "other"), 5) == [f"m{i}" for i in range(5)]


def test_stored_before_it_is_acknowledged(services):
    """c2s.unacked_store 0: there is no moment at which a crash loses what the sender was told is handled."""
    service = services({"c2s.unacked_store": 0})
    service.user("romeo", "juliet")
    romeo, juliet = Managed(service, "romeo"), Managed(service, "juliet")
    for i in range(50):
        romeo.message(juliet.jid, f"m{i}")
    romeo.wait_handled(51)
    restart(service)
    assert stored(Client(service, "juliet", "other"), 50) == [f"m{i}" for i in range(50)]
    assert juliet.jid


def test_offline_messages_until_acknowledged(stage):
    """They were in the store when they were delivered, and stay there until the client has them."""
    service, romeo, juliet = stage
    juliet.close()
    for i in range(3):
        romeo.message("juliet@example.com", f"o{i}")
    romeo.wait_handled(4)
    juliet = Managed(service, "juliet")
    assert stored(juliet, 3) == ["o0", "o1", "o2"]
    restart(service)
    juliet = Managed(service, "juliet")
    assert stored(juliet, 3) == ["o0", "o1", "o2"]
    juliet.ack()
    juliet.iq("set", "<query xmlns='jabber:iq:private'><x xmlns='x:y'/></query>")
    restart(service)
    Client(service, "juliet").nothing(MESSAGE)


def test_full_store_refuses(services):
    """A message for a session without a stream is stored or refused, as for a user who is away."""
    service = services({"offline.max_messages": 3})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Managed(service, "juliet")
    juliet.cut()
    detached(service, juliet.jid)
    for i in range(4):
        romeo.message(juliet.jid, f"m{i}", identity=f"m{i}")
    error = romeo.next_message()
    assert error.get("type") == "error" and error.get("id") == "m3"
    assert bodies(again(juliet), 3) == ["m0", "m1", "m2"]


# ---- clients without stream management that do not read ----
def test_slow_reader_is_cut(services):
    """What the kernel had not taken goes to the offline store, in order; nothing of it was sent. A request among it is answered."""
    service = services({"c2s.output_bytes": 65536})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Client(service, "juliet", "slow")
    filling, n = "x" * 5000, 0
    while [s for s in service.get("/v1/sessions")["sessions"] if s["jid"] == juliet.jid]:  # one by one, so that it was cut with all of them written, but the last
        romeo.message(juliet.jid, f"{n} {filling}")
        romeo.send(f"<iq type='get' id='r{n}' to='{juliet.jid}'><query xmlns='jabber:iq:version'/></iq>")
        n += 1
        romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", seconds=30)
        assert n < 20000
    answered = {romeo.next("{jabber:client}iq", match=lambda e: e.get("id", "").startswith("r")).get("type")}
    assert answered == {"error"}
    read = []
    try:
        while True:
            juliet.read(1)
            read += [int(text(e).split()[0]) for e in juliet.got if e.tag == MESSAGE]
            juliet.got.clear()
    except Closed:
        pass
    back = Client(service, "juliet", "other")
    kept = [int(body.split()[0]) for body in collect(back)]
    assert read == list(range(len(read))), "what came is whole"
    assert kept == list(range(kept[0], n)), "what was kept is all that followed"
    assert kept[0] >= len(read), "and nothing came twice"
    assert len(kept) >= 65536 // 6000, "as many as waited when it was cut"


# ---- a client that is cut for a while ----
class Talker:
    """One side of a conversation: sends, remembers what is not acknowledged, and sends that again when it has resumed (XEP-0198, 5)."""

    def __init__(self, service, name):
        self.client = Managed(service, name)
        self.base = self.client.handled()
        self.unacked, self.sent, self.got = [], [], []

    def say(self, to, body):
        self.sent.append(body)
        stanza = f"<message type='chat' id='{body[:20]}' to='{to}'><body>{body}</body></message>"
        self.unacked.append(stanza)
        try:
            self.client.send(stanza)
        except OSError:
            pass

    def listen(self, seconds):
        end = time.monotonic() + seconds
        try:
            while self.client.read(max(0.001, end - time.monotonic())) and time.monotonic() < end:
                pass
        except (Closed, OSError):
            pass
        self.keep()

    def keep(self):
        self.got += [text(e) for e in self.client.got if e.tag == MESSAGE]
        self.client.got.clear()

    def resume(self):
        self.keep()
        self.client = again(self.client)
        assert self.client.resumed.tag == SM + "resumed"
        h = int(self.client.resumed.get("h"))
        del self.unacked[: h - self.base]
        self.base = h
        self.client.sock.settimeout(60 * SLOW)
        self.client.send("".join(self.unacked))


@pytest.mark.parametrize("how", ["reset", "silent", "window"])
def test_cut_under_load(services, how):
    """Hundreds of messages each way; the stream ends by a reset, or without a word while the old connection stays (no FIN), or as the client does not read until
    the server cuts it. Several times. Nothing is lost, doubled, or out of order."""
    service = services({"c2s.output_bytes": 65536, "c2s.unacked_bytes": 134217728, "c2s.rate_bytes": 0, "c2s.ack_wait": 200, "c2s.unacked_store": 300})
    service.user("romeo", "juliet")
    people = [Talker(service, "romeo"), Talker(service, "juliet")]
    per_round, filling = (20, "x" * 20000) if how == "window" else (60, "x" * 500)
    silent = []
    for round_ in range(6):
        i = round_ % 2
        cut, other = people[i], people[1 - i]
        for n in range(per_round):
            cut.say(other.client.jid, f"{i}.{round_}.{n} {filling}")
            other.say(cut.client.jid, f"{1 - i}.{round_}.{n} {filling}")
            other.listen(0.002)
            if n == per_round // 2 and how == "reset":
                cut.listen(0.05)
                cut.client.cut()
        if how == "window":
            for n in range(per_round, 3000):
                other.say(cut.client.jid, f"{1 - i}.{round_}.{n} {filling}")
                other.listen(0.002)
                if [s for s in service.get("/v1/sessions")["sessions"] if s["jid"] == cut.client.jid and s["detached"]]:
                    break
        silent.append(cut.client.sock)
        time.sleep(0.3 if round_ else ABSENCE)
        cut.resume()
    for i in (0, 1):
        end = time.monotonic() + 60 * SLOW
        while len(people[i].got) < len(people[1 - i].sent) and time.monotonic() < end:
            people[i].listen(0.2)
        assert [b.split()[0] for b in people[i].got] == [b.split()[0] for b in people[1 - i].sent]
        people[i].client.nothing(MESSAGE)
