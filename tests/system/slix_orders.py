#!/usr/bin/python3
"""A slixmpp client (Debian's) with stream management that obeys messages: PASSWORD=secret ./slix_orders.py JID HOST PORT orders
"cut": it cuts its own connection, and resumes; "add JID": puts that into its roster and asks for its presence; "end"; every other is answered."""
import asyncio
import contextlib
import io
import os
import ssl
import sys

with contextlib.redirect_stderr(io.StringIO()):  # it remarks on its slower stringprep
    import slixmpp


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, address):
        super().__init__(jid, os.environ["PASSWORD"])
        self.ssl_context.check_hostname, self.ssl_context.verify_mode = False, ssl.CERT_NONE  # the certificate is self-signed
        self.address, self.ended = address, asyncio.Event()
        self.register_plugin("xep_0198")
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("session_resumed", lambda _: print("resumed", flush=True))
        self.add_event_handler("sm_failed", lambda _: print("not resumed", flush=True))
        self.add_event_handler("message", self.message)
        self.add_event_handler("roster_update", self.roster_changed)

    async def start(self, _):
        self.send_presence()
        await self.get_roster()
        print("ready", flush=True)

    def roster_changed(self, iq):
        if iq["type"] == "set":
            for jid, item in iq["roster"]["items"].items():
                print(f"roster {jid} {item['subscription']}", flush=True)

    async def message(self, stanza):
        body = stanza["body"]
        print(f"got {body}", flush=True)
        if body == "cut":
            self.transport.abort()
            await asyncio.sleep(1)
            self.connect(self.address, force_starttls=True)
        elif body == "end":
            self.disconnect()
            self.ended.set()
        elif body.startswith("add "):
            await self.update_roster(body[4:], name="somebody", subscription=None, groups=["from slixmpp"])
            self.send_presence_subscription(pto=body[4:], ptype="subscribe")
        else:
            self.send_message(mto=stanza["from"], mbody=f"heard {body}", mtype="chat")


async def main():
    client = Client(sys.argv[1], (sys.argv[2], int(sys.argv[3])))
    client.connect(client.address, force_starttls=True)
    await asyncio.wait_for(client.ended.wait(), 120)
    await client.disconnected


asyncio.get_event_loop().run_until_complete(main())
