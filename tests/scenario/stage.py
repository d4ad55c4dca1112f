"""Where a script is played: a signetd of its own, the clients of the script, its compliance servers, and fences.

"Nothing comes" is decided without waiting for a while and hoping: every connected client sends a request to every other one behind all that is under way (a
fence). Stanzas of one session to another keep their order, so what has not come before the fence will not come. Fences go round three times, because one
stanza may cause another. Compliance servers pass them by themselves and no script sees them. While an event is unanswered the fences would wait behind
it; then, and only then, a short wait has to do."""
import collections
import select
import socket
import ssl
import threading
import time

from harness.client import Client, Closed
from harness.compliance import Compliance, passed
from harness.service import PASSWORD, SLOW, Service, wait_until

FENCE, WATCHER = "fence-", "scenario-watcher"
PING = "<ping xmlns='urn:xmpp:ping'/>"
IQ, STREAM_ERROR = "{jabber:client}iq", "{http://etherx.jabber.org/streams}error"


class Actor:
    """A client of the script: its address, its connection when there is one, what it has received and the script has not yet spoken of."""

    def __init__(self, name, jid):
        self.name, self.jid = name, jid
        self.bare, _, self.resource = jid.partition("/")
        self.client, self.connecting, self.thread, self.problem = None, None, None, None
        self.inbox, self.fences = collections.deque(), set()
        self.ended = False
        self.by_hand = False # the script itself speaks the stream: no fences there


class Observer:
    """A compliance server of the script: what it was asked and the script has not yet spoken of, and what it has not answered."""

    def __init__(self, name, password):
        self.name, self.passes_all, self.last = name, False, None
        self.component = f"op-{name.lower()}.node1-example-com"
        self.inbox, self.unanswered, self.named = collections.deque(), [], {}
        self.server = Compliance(self.component, password=password, script=self.asked)

    def asked(self, event):
        stanza = event.stanza
        own = stanza is not None and ((stanza.get("id") or "").startswith(FENCE) or WATCHER in (stanza.get("from") or "") + (stanza.get("to") or ""))
        if own or self.passes_all or WATCHER in event.attributes.get("session", ""):
            return passed(event)
        self.inbox.append(event)
        if event.awaited:
            self.unanswered.append(event)
        return None

    def answer(self, event, text):
        if event in self.unanswered:
            self.unanswered.remove(event)
        if text is not None:
            self.server.send(text)


class Stage:
    def __init__(self, script):
        self.actors, self.observers = {}, {}
        self.next_fence, self.live = 0, True
        options = {"log.level": "info", "server.shutdown_wait": 1}
        options.update({name: value for _, name, value in script.pairs("options")})
        self.service = Service(options, workers=2)
        for _, name, jid in script.pairs("clients"):
            self.actors[name] = Actor(name, jid)
        accounts = dict.fromkeys(a.bare.split("@")[0] for a in self.actors.values())
        self.service.user(*accounts)
        for _, line in script.sections.get("friends", []):
            self.befriend(*(name.strip() for name in line.split(" and ")))
        for name, rows in script.compliance():
            self.observe(name, rows)

    def observe(self, name, rows):
        observer = Observer(name, "secret-of-the-link")
        self.observers[name] = observer
        profile = rows
        if not isinstance(rows, str):
            self.service.profile(name, rows)
            profile = name
        self.service.wait_link(self.service.compliance_server(name.lower(), observer.server.port, profile=profile), "ACTIVE")

    def befriend(self, one, other):
        """Both see each other's presence: asked and granted, as clients do it, before the script begins."""
        first, second = self.watch(self.actors[one].bare), self.watch(self.actors[other].bare)
        for asks, grants in ((first, second), (second, first)):
            asks.send(f"<presence type='subscribe' to='{grants.bare}'/>")
            grants.next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribe")
            grants.send(f"<presence type='subscribed' to='{asks.bare}'/>")
            asks.next("{jabber:client}presence", match=lambda e: e.get("type") == "subscribed")
        first.close()
        second.close()
        self.gone()

    def watch(self, bare, presence=True):
        return Client(self.service, bare.split("@")[0], WATCHER, presence=presence)

    def gone(self):
        wait_until("the end of the watcher's session", lambda: all(WATCHER not in s["jid"] for s in self.service.get("/v1/sessions")["sessions"]))

    def roster(self, actor):
        """As a session that nobody sees is given it."""
        client = self.watch(actor.bare, presence=False)
        result = client.iq("get", "<query xmlns='jabber:iq:roster'/>", identity=f"{FENCE}roster")
        client.close()
        self.gone()
        return list(result[0])

    # ---- connections ----
    def connect(self, actor):
        actor.ended, actor.problem, actor.by_hand = False, None, False
        actor.thread = threading.Thread(target=self.log_in, args=(actor,), daemon=True)
        actor.thread.start()

    def log_in(self, actor):
        try:
            actor.connecting = Client(self.service, actor.bare.split("@")[0], actor.resource or None, PASSWORD, login=False)
            actor.connecting.login(True)
            actor.client = actor.connecting
        except (PermissionError, Closed, AssertionError, OSError) as e:
            actor.problem = e

    def connected(self, actor):
        """Waits for the end of the log-in; returns the reason of a refusal, or None."""
        actor.thread.join(20 * SLOW)
        if actor.thread.is_alive():
            raise AssertionError("the log-in has not come to an end")
        if isinstance(actor.problem, PermissionError):
            return str(actor.problem)
        if actor.problem is not None:
            raise AssertionError(f"the log-in broke off: {actor.problem}")
        return None

    def open(self, actor, tls):
        """A connection on which nothing has been said."""
        actor.ended, actor.by_hand = False, True
        actor.inbox.clear()
        actor.client = Client(self.service, actor.bare.split("@")[0], actor.resource or None, PASSWORD, direct_tls=tls, login=False)

    def give_up(self, actor):
        """Breaks the connection of a log-in that has not come to an end."""
        socket.socket.shutdown(actor.connecting.sock, socket.SHUT_RDWR) # wakes its thread, which the end of the socket alone does not
        actor.connecting.sock.close()
        actor.thread.join(20 * SLOW)
        actor.connecting = None

    def disconnect(self, actor, cut=False):
        self.read(0)
        if cut:
            actor.client.cut()
        else:
            actor.client.close()
            self.sort(actor)
        actor.client = None

    def restart(self, kill):
        """The service ends, in order or at once, and begins anew; nobody is connected then. What it said at its end is there to be received."""
        self.read(0)
        if kill:
            self.service.kill()
        elif self.service.stop() != 0:
            raise AssertionError("the service did not end in order:\n" + self.service.tail())
        for actor in self.actors.values():
            if actor.client is not None:
                self.last_words(actor)
        self.service.start()

    def last_words(self, actor):
        try:
            while actor.client.read(0.2):
                pass
        except Closed:
            pass
        self.sort(actor)
        if actor.inbox and actor.inbox[-1].tag == STREAM_ERROR:
            actor.inbox.pop()
        actor.client.sock.close()
        actor.client = None

    # ---- what comes ----
    def sort(self, actor):
        """Fences apart from what the script speaks of."""
        while actor.client.got:
            element = actor.client.got.popleft()
            identity = element.get("id") or ""
            if element.tag == IQ and identity.startswith(FENCE):
                if element.get("type") == "get":
                    actor.client.send(f"<iq type='result' id='{identity}' to='{element.get('from')}'/>")
                else:
                    actor.fences.discard(identity)
            else:
                actor.inbox.append(element)

    def read(self, seconds):
        """Reads what there is on all connections, waiting for the first bytes at most so long."""
        open_ones = [a for a in self.actors.values() if a.client is not None and not a.ended and not (a.thread and a.thread.is_alive())]
        ready = [a for a in open_ones if a.client.got or (isinstance(a.client.sock, ssl.SSLSocket) and a.client.sock.pending())]
        if not ready and open_ones:
            socks = select.select([a.client.sock for a in open_ones], [], [], seconds)[0]
            ready = [a for a in open_ones if a.client.sock in socks]
        elif not ready:
            time.sleep(min(seconds, 0.01))
        for actor in ready:
            try:
                actor.client.read(0)
                actor.ended = actor.client.stream.closed
            except Closed:
                actor.ended = True
            self.sort(actor)

    def until(self, what, seconds=6):
        """Reads until what() is true; False when it did not become so."""
        end = time.monotonic() + seconds * SLOW
        while not what():
            if time.monotonic() > end:
                return False
            self.read(0.02)
        return True

    def settle(self):
        """Everything under way has come to where it goes, or waits for a compliance server."""
        if any(o.unanswered for o in self.observers.values()) or any(a.by_hand for a in self.actors.values()) or not self.live:
            end = time.monotonic() + 0.05 * SLOW
            while time.monotonic() < end:
                self.read(0.02)
            return
        for _ in range(3):
            self.fence()

    def fence(self):
        here = [a for a in self.actors.values() if a.client is not None and not a.ended and not a.by_hand and not (a.thread and a.thread.is_alive())]
        for actor in here:
            for other in here:
                self.next_fence += 1
                identity = f"{FENCE}{self.next_fence}"
                actor.fences.add(identity)
                actor.client.send(f"<iq type='get' id='{identity}' to='{other.client.jid}'>{PING}</iq>")
        if not self.until(lambda: all(a.ended or not a.fences for a in here)):
            raise AssertionError("requests between the clients of the script are not answered: " + str({a.name: a.fences for a in here}))

    def close(self):
        for observer in self.observers.values():
            observer.passes_all = True
            for event in list(observer.unanswered):
                try:
                    observer.answer(event, passed(event))
                except OSError:
                    pass
        for actor in self.actors.values():
            if actor.client is not None:
                actor.client.sock.close()
        try:
            self.service.close()
        finally:
            for observer in self.observers.values():
                observer.server.close()
