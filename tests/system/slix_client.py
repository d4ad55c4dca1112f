#!/usr/bin/python3
"""An XMPP client on slixmpp (Debian's), for the tests; the same arguments as strophe_client:
PASSWORD=secret ./slix_client.py JID HOST PORT COUNT [TO BODY]"""
import asyncio
import contextlib
import io
import os
import ssl
import sys

with contextlib.redirect_stderr(io.StringIO()):  # it remarks on its slower stringprep
    import slixmpp


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, count, to=None, body=None):
        super().__init__(jid, os.environ["PASSWORD"])
        self.ssl_context.check_hostname, self.ssl_context.verify_mode = False, ssl.CERT_NONE  # the certificate is self-signed
        self.count, self.to, self.body, self.status = count, to, body, 1
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("message", self.message)
        self.add_event_handler("failed_all_auth", lambda _: self.disconnect())

    async def start(self, _):
        self.send_presence()
        await self.get_roster()  # behind the presence: when it is answered the session takes messages
        print("ready", flush=True)
        if self.to:
            self.send_message(mto=self.to, mbody=self.body, mtype="chat")
        if self.count == 0:
            self.end()

    def message(self, stanza):
        if not stanza["body"]:
            return
        print(f"{stanza['type']} {stanza['from']}: {stanza['body']}", flush=True)
        self.count -= 1
        if self.count == 0:
            self.end()

    def end(self):
        self.status = 0
        self.disconnect()


client = Client(sys.argv[1], int(sys.argv[4]), *sys.argv[5:])
client.connect((sys.argv[2], int(sys.argv[3])), force_starttls=True)
client.loop.run_until_complete(asyncio.wait_for(client.disconnected, 120))
sys.exit(client.status)
