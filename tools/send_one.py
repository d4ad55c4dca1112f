#!/usr/bin/python3
"""Sends one message from one account to another with slixmpp, over TLS with SCRAM, and waits until it has arrived. Used by ./run --once."""
import argparse
import asyncio
import contextlib
import io
import logging
import ssl
import sys

with contextlib.redirect_stderr(io.StringIO()):  # it remarks on its slower stringprep
    import slixmpp


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.ready = asyncio.get_event_loop().create_future()
        self.got = asyncio.get_event_loop().create_future()
        self.ssl_context = ssl.create_default_context()
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE  # the demo's certificate is self-signed
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("message", self.message)
        self.add_event_handler("failed_all_auth", lambda _: self.fail("login failed"))
        self.add_event_handler("connection_failed", lambda e: self.fail(f"no connection: {e}"))

    def get_default_ssl_context(self):
        return self.ssl_context

    def fail(self, why):
        if not self.ready.done():
            self.ready.set_exception(RuntimeError(f"{self.boundjid.bare}: {why}"))

    async def start(self, _):
        self.send_presence()
        await self.get_roster()
        if not self.ready.done():
            self.ready.set_result(None)

    def message(self, stanza):
        if not self.got.done():
            self.got.set_result(stanza)


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--from", "--from-password-file", "--to", "--to-password-file", "--body"):
        parser.add_argument(name, required=True, dest=name.strip("-").replace("-", "_"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    args = vars(parser.parse_args())
    with open(args["from_password_file"]) as a, open(args["to_password_file"]) as b:
        sender, receiver = Client(args["from"], a.read().strip()), Client(args["to"], b.read().strip())
    for client in (sender, receiver):
        client.connect((args["host"], args["port"]), force_starttls=True)
    await asyncio.wait_for(asyncio.gather(sender.ready, receiver.ready), 20)
    sender.send_message(mto=args["to"], mbody=args["body"], mtype="chat")
    done, _ = await asyncio.wait({receiver.got, sender.got}, timeout=40, return_when=asyncio.FIRST_COMPLETED)
    if receiver.got not in done:
        print("not delivered:", sender.got.result() if sender.got.done() else "nothing came back either", file=sys.stderr)
        return 1
    got = receiver.got.result()
    print(f"{got['to'].bare} received from {got['from']}: {got['body']}")
    for client in (sender, receiver):
        await client.disconnect()
    return 0 if got["body"] == args["body"] else 1


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    sys.exit(asyncio.get_event_loop().run_until_complete(main()))
