#!/usr/bin/env python3
"""A compliance server that lets everything pass and writes down what is said, with an off-the-shelf library (Debian: python3-slixmpp).
It dials the node's component port (direction `accept`):  PASSWORD=secret ./passlog.py HOST PORT op-passlog.node1-example-com"""
import asyncio, os, signal, sys
from slixmpp import ComponentXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

BROKER, CLIENT = '{urn:signet:event-broker:0}', '{jabber:client}'

class PassLog(ComponentXMPP):
    def __init__(self, name, password, host, port):
        super().__init__(name, password, host, port)
        # Without a handler of its own slixmpp would answer the event with an error.
        self.register_handler(Callback('event', MatchXPath('{%s}iq/%sevent' % (self.default_ns, BROKER)), self.on_event))
        self.add_event_handler('disconnected', lambda _: self.loop.call_later(1, self.connect))

    def on_event(self, iq):
        event = iq.xml.find(BROKER + 'event')
        message = event.find('.//' + CLIENT + 'message')
        body = message.findtext(CLIENT + 'body') if message is not None else None
        if body:
            print(event.get('time'), event.get('name'), message.get('from'), '->', message.get('to') + ':', body, flush=True)
        iq.reply().send()  # an empty result is PASS

server, stop = PassLog(sys.argv[3], os.environ['PASSWORD'], sys.argv[1], int(sys.argv[2])), asyncio.Event()
server.loop.add_signal_handler(signal.SIGTERM, stop.set)
server.connect()
server.loop.run_until_complete(stop.wait())
server.loop.run_until_complete(server.disconnect())
