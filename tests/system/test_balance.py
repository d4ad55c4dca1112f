"""Several compliance servers of one profile: each conversation is one server's, the conversations are spread evenly, and when a server goes or comes only its own
conversations move."""
import collections
import itertools
import threading
import time

from harness.client import Client
from harness.compliance import Compliance
from harness.service import SLOW, wait_until

SERVERS, ONLINE, AWAY = 4, 30, 20
CONVERSATIONS = 10000
ALL = [("es_OUT", "message", "bounce", False), ("e_DELIVER", "message", "bounce", False), ("es_IN", "message", "bounce", False), ("e_OFFLINE", "message", "bounce", False)]


class Server(Compliance):
    """Counts the events of each conversation and passes them; nothing is kept of them but that."""

    def __init__(self, number):
        self.met = collections.Counter()
        super().__init__(f"op-wall{number}.node1-example-com")

    def one(self, sock, element):
        answer = super().one(sock, element)
        with self.lock:
            for event in self.events:
                self.met[event.attributes["key"], event.name] += 1
            self.events.clear()
        return answer

    def keys(self):
        with self.lock:
            return {key for key, _ in self.met}


def key(a, b):
    return " ".join(sorted((f"{a}@example.com", f"{b}@example.com")))


def say(clients, pairs):
    """Each pair's message from the first to the second; a thread per sender."""
    by_sender = collections.defaultdict(list)
    for a, b in pairs:
        by_sender[a].append(b)

    def talk(name):
        for at in range(0, len(by_sender[name]), 50):
            clients[name].send("".join(f"<message type='chat' to='{b}@example.com'><body>hi</body></message>" for b in by_sender[name][at:at + 50]))

    threads = [threading.Thread(target=talk, args=(name,)) for name in by_sender]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def test_ten_thousand_conversations(services, closing):
    service = services({"log.level": "info", "broker.outage_window": int(300 * SLOW)}, workers=2)
    online, away = [f"user{i}" for i in range(ONLINE)], [f"away{i}" for i in range(AWAY)]
    service.user(*online, *away)
    service.profile("Wall", ALL)
    servers = [closing(Server(i)) for i in range(SERVERS)]
    for i, server in enumerate(servers):
        service.wait_link(service.compliance_server(f"wall{i}", server.port, profile="Wall"), "ACTIVE")
    clients = {n: Client(service, n, "r", presence=False) for n in online}
    for c in clients.values():
        c.send("<presence/>")
    service.quiet()

    def told(expected):
        """All events have come: es_OUT of each message, and what follows it."""
        wait_until("the events", lambda: sum(sum(s.met.values()) for s in servers) >= expected, 60)
        service.quiet()
        assert sum(sum(s.met.values()) for s in servers) == expected
        owner = {}
        for i, server in enumerate(servers):
            for k in server.keys():
                assert owner.setdefault(k, i) == i, f"{k} is both {i}'s and {owner[k]}'s"
        for server in servers:
            server.before, server.met = server.met, collections.Counter()
        return owner

    # Both directions, with all that there is to ask about; then the offline users'; and as many with addresses nobody has.
    both = list(itertools.combinations(online, 2))
    kept = list(itertools.product(online, away))
    strangers = [(online[i % ONLINE], f"nobody{i}") for i in range(CONVERSATIONS - len(both) - len(kept))]
    everybody = both + kept + strangers
    say(clients, both + [(b, a) for a, b in both] + kept + strangers)
    owner = told(len(both) * 6 + len(kept) * 3 + len(strangers))
    assert len(owner) == CONVERSATIONS and set(owner) == {key(a, b) for a, b in everybody}
    for server in servers:
        for a, b in both:
            if owner[key(a, b)] == servers.index(server):
                assert [server.before[key(a, b), e] for e in ("es_OUT", "e_DELIVER", "es_IN")] == [2, 2, 2]
        for a, b in kept:
            if owner[key(a, b)] == servers.index(server):
                assert [server.before[key(a, b), e] for e in ("es_OUT", "e_DELIVER", "e_OFFLINE")] == [1, 1, 1]
    share = [sum(1 for i in owner.values() if i == n) for n in range(SERVERS)]
    print("conversations:", share)
    assert all(abs(n - CONVERSATIONS / SERVERS) <= CONVERSATIONS / SERVERS / 10 for n in share)

    def only_those_of(gone, what):
        service.change_profile("Wall", ALL[:1])
        say(clients, everybody)
        now = told(len(everybody))
        moved = {k for k in now if now[k] != owner[k]}
        assert moved == {k for k in owner if owner[k] == gone}, what
        heirs = [sum(1 for k in moved if now[k] == n) for n in range(SERVERS) if n != gone]
        print(what, "moved to:", heirs)
        assert all(abs(n - len(moved) / len(heirs)) <= len(moved) / len(heirs) / 8 for n in heirs)

    # One ends its stream: its conversations go to the others, each to one of them; and with it they come back.
    servers[1].leave()
    service.wait_link(servers[1].component, "GONE")
    only_those_of(1, "after a graceful end")
    servers[1].listen()
    service.wait_link(servers[1].component, "ACTIVE", 40)
    say(clients, everybody)
    assert told(len(everybody)) == owner, "all are back where they were"
    # Another dies, and its outage window ends.
    servers[2].cut()
    wait_until("the end of the outage window", lambda: (service.link(servers[2].component) or {}).get("state") in ("GONE", "CONNECTING"), 30)
    time.sleep(0.6 * SLOW)
    only_those_of(2, "after an outage")
    for c in clients.values():
        c.cut()
