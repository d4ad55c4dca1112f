"""A plain XMPP client for tests: blocking, every wait bounded, what comes is kept in order as ElementTree elements."""
import base64
import collections
import itertools
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ET
import xml.parsers.expat

from .service import PASSWORD, SLOW

NS = {"c": "jabber:client", "s": "http://etherx.jabber.org/streams", "sasl": "urn:ietf:params:xml:ns:xmpp-sasl", "tls": "urn:ietf:params:xml:ns:xmpp-tls",
      "bind": "urn:ietf:params:xml:ns:xmpp-bind", "roster": "jabber:iq:roster", "e": "urn:ietf:params:xml:ns:xmpp-stanzas", "delay": "urn:xmpp:delay"}
ids = itertools.count(1)


class Closed(Exception):
    pass


class Stream:
    """Splits a stream into its header and top-level elements."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.parser = xml.parsers.expat.ParserCreate(namespace_separator="}")
        self.parser.StartElementHandler, self.parser.EndElementHandler, self.parser.CharacterDataHandler = self.start, self.end, self.text
        self.stack, self.header, self.elements, self.closed = [], None, collections.deque(), False

    @staticmethod
    def tag(name):
        return "{" + name if "}" in name else name

    def start(self, name, attributes):
        attributes = {self.tag(k): v for k, v in attributes.items()}
        if self.header is None:
            self.header = attributes
            return
        element = ET.Element(self.tag(name), attributes)
        if self.stack:
            self.stack[-1].append(element)
        self.stack.append(element)

    def end(self, _):
        if not self.stack:
            self.closed = True
            return
        element = self.stack.pop()
        if not self.stack:
            self.elements.append(element)

    def text(self, data):
        if not self.stack:
            return
        top = self.stack[-1]
        if len(top):
            top[-1].tail = (top[-1].tail or "") + data
        else:
            top.text = (top.text or "") + data

    def feed(self, data):
        self.parser.Parse(data, False)


class Client:
    def __init__(self, service, name, resource=None, password=PASSWORD, direct_tls=True, login=True, presence=True):
        self.service, self.domain = service, service.options["server.domains"].split()[0]
        self.bare, self.resource, self.password = f"{name}@{self.domain}", resource, password
        self.jid = None
        self.stream, self.got, self.lock = Stream(), collections.deque(), threading.Lock()
        port = service.port_tls if direct_tls else service.port
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if direct_tls:
            self.start_tls()
        if login:
            self.login(direct_tls)
            if presence:
                self.available()

    # ---- bytes ----
    def start_tls(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock.settimeout(10 * SLOW)  # not that of the last read
        self.sock = context.wrap_socket(self.sock, server_hostname=self.domain)

    def send(self, text):
        self.sock.sendall(text.encode())

    def open(self, to=None):
        self.stream.reset()
        self.send(f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{to or self.domain}'>")
        return self.next("{http://etherx.jabber.org/streams}features")

    def read(self, seconds):
        """Reads once; False when nothing came in time."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            data = self.sock.recv(65536)
        except (socket.timeout, TimeoutError, ssl.SSLWantReadError):
            return False
        except (ConnectionError, ssl.SSLError) as e:
            raise Closed(str(e)) from e
        if not data:
            raise Closed("end of stream")
        self.stream.feed(data)
        self.got.extend(self.stream.elements)
        self.stream.elements.clear()
        return True

    def next(self, tag=None, seconds=10, match=None):
        """The next element (of that tag, for which match holds); others stay."""
        end = time.monotonic() + seconds * SLOW
        while True:
            for i, element in enumerate(self.got):
                if (tag is None or element.tag == tag) and (match is None or match(element)):
                    del self.got[i]
                    return element
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.jid or self.bare}: no {tag or 'stanza'} within {seconds * SLOW:g} s; there is {[ET.tostring(e) for e in self.got]}")
            if self.stream.closed:
                raise Closed("</stream:stream>")
            self.read(left)

    def nothing(self, tag=None, seconds=0.3, match=None):
        """Nothing of the kind comes."""
        try:
            element = self.next(tag, seconds, match)
        except AssertionError:
            return
        raise AssertionError("unexpected: " + ET.tostring(element).decode())

    def until(self, match, seconds=10):
        """Takes everything up to the first element for which match holds; returns what came before it."""
        end = time.monotonic() + seconds * SLOW
        while True:
            for i, element in enumerate(self.got):
                if match(element):
                    return [self.got.popleft() for _ in range(i + 1)][:-1]
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.jid or self.bare}: the last did not come within {seconds * SLOW:g} s; there is {[ET.tostring(e) for e in self.got]}")
            if self.stream.closed:
                raise Closed("</stream:stream>")
            self.read(left)

    # ---- negotiation ----
    def plain(self):
        """The message of SASL PLAIN."""
        return base64.b64encode(f"\0{self.bare.split('@')[0]}\0{self.password}".encode()).decode()

    def login(self, direct_tls):
        features = self.open()
        if not direct_tls:
            assert features.find("tls:starttls", NS) is not None and features.find("sasl:mechanisms", NS) is None
            self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            self.next("{urn:ietf:params:xml:ns:xmpp-tls}proceed")
            self.start_tls()
            features = self.open()
        mechanisms = [m.text for m in features.findall("sasl:mechanisms/sasl:mechanism", NS)]
        assert "SCRAM-SHA-256" in mechanisms and "PLAIN" in mechanisms, mechanisms
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{self.plain()}</auth>")
        answer = self.next(seconds=40)
        if not answer.tag.endswith("}success"):
            raise PermissionError(answer[0].tag.split("}")[1])
        self.open()
        resource = f"<resource>{self.resource}</resource>" if self.resource else ""
        result = self.iq("set", f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind>", seconds=40)
        if result.get("type") == "error":
            raise PermissionError(condition(result))
        self.jid = result.find("bind:bind/bind:jid", NS).text

    # ---- stanzas ----
    def iq(self, kind, payload, to=None, seconds=10, identity=None):
        identity = identity or f"i{next(ids)}"
        to = f" to='{to}'" if to else ""
        self.send(f"<iq type='{kind}' id='{identity}'{to}>{payload}</iq>")
        return self.next("{jabber:client}iq", seconds, lambda e: e.get("id") == identity and e.get("type") in ("result", "error"))

    def available(self, priority=0):
        self.send(f"<presence><priority>{priority}</priority></presence>")
        self.next("{jabber:client}presence", 40, lambda e: e.get("from") == self.jid)

    def message(self, to, body, kind="chat", identity=None, extra=""):
        identity = identity or f"m{next(ids)}"
        self.send(f"<message type='{kind}' id='{identity}' to='{to}'><body>{body}</body>{extra}</message>")
        return identity

    def next_message(self, seconds=10, body=None):
        return self.next("{jabber:client}message", seconds, (lambda e: text(e) == body) if body is not None else None)

    def cut(self):
        """Without a word, as a network does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def until_end(self, seconds=5):
        """The server has ended the connection, or does so now."""
        end = time.monotonic() + seconds * SLOW
        try:
            while time.monotonic() < end:
                self.read(0.2)
        except Closed:
            self.sock.close()
            return
        raise AssertionError("the connection is still there")

    def close(self):
        try:
            self.send("</stream:stream>")
            end = time.monotonic() + 5 * SLOW
            while not self.stream.closed and time.monotonic() < end:
                self.read(0.2)
        except (Closed, OSError):
            pass
        self.sock.close()


def text(message):
    body = message.find("c:body", NS)
    return body.text if body is not None else None


def condition(stanza):
    error = stanza.find("c:error", NS)
    if error is None:
        return None
    return next(child.tag.split("}")[1] for child in error if child.tag.startswith("{urn:ietf:params:xml:ns:xmpp-stanzas}") and not child.tag.endswith("}text"))
