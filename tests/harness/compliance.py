"""A scripted compliance server in the connect direction: the node dials it. It keeps what it was asked and answers as it is told to: at once, late, in
another order, wrongly, or not at all; it can end gracefully, be cut, and come back on the same port."""
import hashlib
import random
import socket
import threading
import time
import xml.etree.ElementTree as ET

from .client import Stream
from .service import SLOW, wait_until

EB = "{urn:signet:event-broker:0}"
FORWARDED = "{urn:xmpp:forward:0}forwarded"


class Event:
    def __init__(self, element, event):
        self.iq_id, self.iq_from, self.iq_to = element.get("id"), element.get("from"), element.get("to")
        self.awaited = element.tag.endswith("}iq")
        self.name, self.id, self.stanza_id = event.get("name"), event.get("id"), event.get("stanza")
        self.attributes, self.element = dict(event.attrib), event
        forwarded = event.find(FORWARDED)
        self.stanza = forwarded[0] if forwarded is not None and len(forwarded) else None

    @property
    def candidates(self):
        """e_PRISESSION: the sessions to choose from."""
        return self.element.findall(EB + "session")

    @property
    def body(self):
        body = self.stanza.find("{jabber:client}body") if self.stanza is not None else None
        return body.text if body is not None else None

    def __repr__(self):
        return f"<{self.name} {self.id} {self.body or ''}>"


# Verdicts a script may return; each is text to send, or None for silence.
def passed(event):
    return f"<iq type='result' id='{event.iq_id}' from='{event.iq_to}' to='{event.iq_from}'/>"


def passed_with(event, stanza):
    return f"<iq type='result' id='{event.iq_id}' from='{event.iq_to}' to='{event.iq_from}'><pass xmlns='urn:signet:event-broker:0'>{stanza}</pass></iq>"


def passed_to(event, session, stanza=""):
    """e_PRISESSION: names the primary session."""
    return (f"<iq type='result' id='{event.iq_id}' from='{event.iq_to}' to='{event.iq_from}'>"
            f"<pass xmlns='urn:signet:event-broker:0' session='{session}'>{stanza}</pass></iq>")


def handled(event, reply=""):
    return f"<iq type='result' id='{event.iq_id}' from='{event.iq_to}' to='{event.iq_from}'><handle xmlns='urn:signet:event-broker:0'>{reply}</handle></iq>"


def refused(event, condition="policy-violation", text=""):
    text = f"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{text}</text>" if text else ""
    return (f"<iq type='error' id='{event.iq_id}' from='{event.iq_to}' to='{event.iq_from}'><error type='cancel'>"
            f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{text}</error></iq>")


def redacted(old, new):
    """A script that replaces text in message bodies."""
    def script(event):
        if event.body is None or old not in event.body:
            return passed(event)
        event.stanza.find("{jabber:client}body").text = event.body.replace(old, new)
        return passed_with(event, ET.tostring(event.stanza, encoding="unicode"))
    return script


class Compliance:
    def __init__(self, component, password="secret-of-the-link", script=passed, delay=0.0, shuffle=False, seed=1):
        self.component, self.password, self.script = component, password, script
        self.delay, self.shuffle, self.random = delay, shuffle, random.Random(seed)
        self.events, self.lock = [], threading.Lock()
        self.heard = None # a bytearray: every byte that comes on a link is kept in it
        self.sock, self.connections, self.listener = None, 0, None
        self.port = 0
        self.listen()

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.listener.listen(16)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        stream, identity = Stream(), f"{random.getrandbits(64):x}"
        try:
            while stream.header is None:
                stream.feed(sock.recv(65536))
            if stream.header.get("from") != self.component:
                sock.sendall(b"<stream:stream xmlns='jabber:component:connect' xmlns:stream='http://etherx.jabber.org/streams' id='x'><stream:error>"
                             b"<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
                sock.close()
                return
            sock.sendall(f"<stream:stream xmlns='jabber:component:connect' xmlns:stream='http://etherx.jabber.org/streams' to='{self.component}' id='{identity}'>".encode())
            while not stream.elements:
                data = sock.recv(65536)
                if not data:
                    return
                stream.feed(data)
            if stream.elements.popleft().text != hashlib.sha1((identity + self.password).encode()).hexdigest():
                sock.sendall(b"<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
                sock.close()
                return
            sock.sendall(b"<handshake/>")
            with self.lock:
                self.sock, self.connections = sock, self.connections + 1
            self.read_events(sock, stream)
        except OSError:
            pass

    def read_events(self, sock, stream):
        while True:
            batch = [self.one(sock, e) for e in self.drain(stream)]
            answers = [a for a in batch if a is not None]
            if answers:
                self.answer(sock, answers)
            if stream.closed:
                sock.sendall(b"</stream:stream>")
                sock.close()
                return
            data = sock.recv(1 << 20)
            if not data:
                return
            if self.heard is not None:
                self.heard += data
            stream.feed(data)

    @staticmethod
    def drain(stream):
        while stream.elements:
            yield stream.elements.popleft()

    def answer(self, sock, answers):
        if self.shuffle:
            self.random.shuffle(answers)
        if self.delay:
            threading.Timer(self.delay, self.write, (sock, answers)).start()
        else:
            self.write(sock, answers)

    @staticmethod
    def write(sock, answers):
        try:
            sock.sendall("".join(answers).encode())
        except OSError:
            pass

    def one(self, sock, element):
        payload = element[0] if len(element) else None
        if payload is not None and payload.tag == "{urn:xmpp:ping}ping":
            return f"<iq type='result' id='{element.get('id')}' from='{self.component}' to='{element.get('from')}'/>"
        if payload is None or payload.tag != EB + "event":
            return None
        event = Event(element, payload)
        with self.lock:
            self.events.append(event)
        answer = self.script(event)
        return answer if event.awaited else None

    # ---- what tests do with it ----
    def seen(self, name=None, body=None):
        with self.lock:
            return [e for e in self.events if (name is None or e.name == name) and (body is None or e.body == body)]

    def wait(self, name, body=None, count=1, seconds=10):
        return wait_until(f"event {name} {body or ''}", lambda: len(self.seen(name, body)) >= count and self.seen(name, body), seconds)

    def send(self, text):
        self.sock.sendall(text.encode())

    def deafen(self):
        """Nobody listens any more; shutdown() wakes the thread that waits in accept(), which would keep the port open."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def leave(self):
        """Gracefully: ends its stream; a restart finds nobody listening."""
        self.deafen()
        self.sock.sendall(b"</stream:stream>")
        time.sleep(0.2 * SLOW)
        self.sock.close()

    def cut(self):
        """As kill -9 does: nothing more is said, nobody listens."""
        self.deafen()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def close(self):
        try:
            self.deafen()
            if self.sock:
                self.sock.close()
        except OSError:
            pass
