"""A client with stream management (XEP-0198), and what tests ask about sessions without a stream."""
import base64

from .client import Client, text
from .service import wait_until

SM = "{urn:xmpp:sm:3}"
MESSAGE = "{jabber:client}message"


class Managed(Client):
    """Counts as XEP-0198 says; what it sent and was not acknowledged is kept in `unacked`, as text."""

    def __init__(self, service, name, resource="r", enable=True, resume="true", **keywords):
        self.received, self.sent, self.acked, self.token, self.counting = 0, 0, 0, None, False
        super().__init__(service, name, resource, presence=False, **keywords)
        if enable:
            self.enabled = self.enable(resume)
            self.available()

    def enable(self, resume="true", extra=""):
        self.send(f"<enable xmlns='urn:xmpp:sm:3' resume='{resume}'{extra}/>")
        enabled = self.next(SM + "enabled")
        self.received = len([e for e in self.got if e.tag.startswith("{jabber:client}")])
        self.counting, self.token = True, enabled.get("id")
        return enabled

    def read(self, seconds):
        before = len(self.got)
        came = super().read(seconds)
        if self.counting:
            self.received += sum(1 for e in list(self.got)[before:] if e.tag.startswith("{jabber:client}"))
        return came

    def ack(self, h=None):
        self.send(f"<a xmlns='urn:xmpp:sm:3' h='{self.received if h is None else h}'/>")

    def handled(self):
        """Asks the server; its h."""
        self.send("<r xmlns='urn:xmpp:sm:3'/>")
        return int(self.next(SM + "a").get("h"))

    def wait_handled(self, h, seconds=10):
        wait_until(f"h={h}", lambda: self.handled() == h, seconds)

    def login_only(self):
        """Up to the features that offer bind, on a new connection."""
        features = self.open()
        del features
        token = base64.b64encode(f"\0{self.bare.split('@')[0]}\0{self.password}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>")
        assert self.next(seconds=40).tag.endswith("}success")
        return self.open()


def again(old, token=None, h=None, wait=True):
    """A new connection of the same user that asks to resume."""
    new = Managed.__new__(Managed)
    new.received, new.sent, new.acked, new.token, new.counting = old.received, 0, 0, old.token, True
    Client.__init__(new, old.service, old.bare.split("@")[0], old.resource, login=False)
    new.login_only()
    new.jid = old.jid
    new.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{token or old.token}' h='{old.received if h is None else h}'/>")
    if wait:
        new.resumed = new.next(seconds=20, match=lambda e: e.tag in (SM + "resumed", SM + "failed"))
    return new


def sessions(service):
    return service.get("/v1/sessions")["sessions"]


def detached(service, jid):
    return wait_until(f"{jid} without a stream", lambda: [s for s in sessions(service) if s["jid"] == jid and s["detached"]])


def bodies(client, n, seconds=10):
    return [text(client.next(MESSAGE, seconds)) for _ in range(n)]


def failure(element):
    assert element.tag == SM + "failed"
    return element[0].tag.split("}")[1]
