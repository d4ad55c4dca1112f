"""A node as a compliance server sees it, for tests: speaks the open-port protocol in both directions, asks events, collects answers.
Everything is blocking with time-outs, so that a test reads from top to bottom."""
import hashlib, itertools, re, socket, time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

BROKER = '{urn:signet:event-broker:0}'
STREAM = '{http://etherx.jabber.org/streams}'
STANZAS = '{urn:ietf:params:xml:ns:xmpp-stanzas}'
FROM = 'event-broker.example.com'
_numbers = itertools.count(1)


def message(body, sender='romeo@example.com/balcony', to='juliet@example.com', kind='chat', more='', id='m1'):
    return (f"<message xmlns='jabber:client' from='{sender}' to='{to}' type='{kind}' id='{id}'>"
            f"<body>{escape(body)}</body>{more}</message>")


def event(name, stanza, id=None, node='node1.example.com', stanza_id='6a1b-0000012c', inside='', **attrs):
    """The <event/> element, as in PROTOCOL."""
    id = id or 'node1-6a1b-%08x' % next(_numbers)
    attrs = dict(time='2026-11-22T14:34:00.123Z', profile='EthicalWall', key='juliet@example.com romeo@example.com') | attrs
    more = ''.join(' %s=%s' % (k.rstrip('_'), quoteattr(v)) for k, v in attrs.items() if v is not None)
    return (f"<event xmlns='urn:signet:event-broker:0' name='{name}' id='{id}' node='{node}' stanza='{stanza_id}'{more}>{inside}"
            f"<forwarded xmlns='urn:xmpp:forward:0'>{stanza}</forwarded></event>")


class Closed(Exception):
    pass


class Link:
    def __init__(self, sock, component, password):
        self.sock, self.component, self.password = sock, component, password
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.new_parser()
        self.answers, self.ended, self.header, self.others = {}, False, None, []

    def new_parser(self):
        self.parser, self.depth = ET.XMLPullParser(['start', 'end']), 0

    def send(self, text):
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def read(self, timeout=5):
        """Complete children of the stream that have come; [] when nothing came in time."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(1 << 20)
        except (TimeoutError, socket.timeout):
            return []
        except ConnectionError:
            raise Closed('reset')
        if not data:
            raise Closed('end of file')
        self.parser.feed(data)
        out = []
        for what, element in self.parser.read_events():
            if what == 'start':
                self.depth += 1
                if self.depth == 1:
                    self.header = element
            else:
                self.depth -= 1
                if self.depth == 1:
                    out.append(element)
                elif self.depth == 0:
                    self.ended = True
        return out

    def next(self, timeout=5):
        """The next child of the stream that is not a ping (pings are answered)."""
        end = time.monotonic() + timeout
        while time.monotonic() < end or self.others:
            if self.others:
                return self.others.pop(0)
            if self.ended:
                raise Closed('stream')
            for e in self.read(max(0.01, end - time.monotonic())):
                if e.find('{urn:xmpp:ping}ping') is not None:
                    self.send(f"<iq type='result' id='{e.get('id')}' from='{FROM}' to='{self.component}'/>")
                else:
                    self.others.append(e)
        raise TimeoutError

    def wait_header(self):
        while self.header is None:
            self.others += self.read()
        return self.header

    def digest(self, stream_id):
        return hashlib.sha1((stream_id + self.password).encode()).hexdigest()

    def ask(self, name, stanza, iq=None, wait=True, **kw):
        iq = iq or 'e%x' % next(_numbers)
        self.send(f"<iq type='set' id='{iq}' from='{FROM}' to='{self.component}'>{event(name, stanza, **kw)}</iq>")
        return self.answer(iq) if wait else iq

    def tell(self, name, stanza, **kw):
        """Fire and forget."""
        self.send(f"<message from='{FROM}' to='{self.component}'>{event(name, stanza, **kw)}</message>")

    def answer(self, iq, timeout=10):
        while iq not in self.answers:
            e = self.next(timeout)
            self.answers[e.get('id')] = e
        return self.answers.pop(iq)

    def close(self):
        """Gracefully: our end tag, theirs, then TCP."""
        self.send('</stream:stream>')
        while not self.ended:
            self.read()
        self.sock.close()

    def cut(self):
        self.sock.close()


def dial(port, component='op-test.node1-example-com', password='secret', tls=None, handshake=True, namespace='jabber:component:connect'):
    """Direction connect: the node dials."""
    sock = socket.create_connection(('127.0.0.1', port), timeout=5)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname='localhost')
    link = Link(sock, component, password)
    link.send(f"<stream:stream xmlns='{namespace}' xmlns:stream='http://etherx.jabber.org/streams' from='{component}'>")
    header = link.wait_header()
    if handshake:
        assert header.get('to') == component, header.attrib
        link.send('<handshake>%s</handshake>' % link.digest(header.get('id')))
        reply = link.next()
        if reply.tag != '{jabber:component:connect}handshake':
            link.refused = reply
            raise PermissionError(ET.tostring(reply).decode())
    return link


class Port:
    """Direction accept: a component port that compliance servers dial."""
    def __init__(self, password='secret', tls=None, port=0):
        self.password, self.tls = password, tls
        self.sock = socket.create_server(('127.0.0.1', port))
        self.port = self.sock.getsockname()[1]

    def accept(self, timeout=10, let_in=True):
        self.sock.settimeout(timeout)
        sock, _ = self.sock.accept()
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True)
        link = Link(sock, None, self.password)
        header = link.wait_header()
        link.component = header.get('to')
        link.send("<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
                  f"from='{link.component}' id='3BF96D32'>")
        handshake = link.next()
        assert handshake.tag == '{jabber:component:accept}handshake'
        if not let_in or handshake.text != link.digest('3BF96D32'):
            link.send("<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
            sock.close()
            return None
        link.send('<handshake/>')
        return link

    def close(self):
        self.sock.close()


def verdict(answer):
    """(kind, detail): ('pass', None), ('pass', element), ('session', jid), ('handle', element or None), ('error', condition)."""
    if answer.get('type') == 'error':
        return 'error', re.sub('{.*}', '', answer.find('.//%s*' % STANZAS).tag)
    child = answer.find(BROKER + 'pass')
    if child is not None:
        return ('session', child.get('session')) if child.get('session') else ('pass', child[0] if len(child) else None)
    child = answer.find(BROKER + 'handle')
    if child is not None:
        return 'handle', child[0] if len(child) else None
    return ('pass', None) if len(answer) == 0 else ('?', answer)
