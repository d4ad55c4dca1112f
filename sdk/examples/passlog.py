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

    def on_event(self, iq):
        event = iq.xml.find(BROKER + 'event')
        message = event.find('.//' + CLIENT + 'message')
        body = message.findtext(CLIENT + 'body') if message is not None else None
        if body:
            print(event.get('time'), event.get('name'), message.get('from'), '->', message.get('to') + ':', body, flush=True)
        iq.reply().send()  # an empty result is PASS

host, port, name = sys.argv[1:]
server = PassLog(name, os.environ['PASSWORD'], host, int(port))
server.connect()
asyncio.get_event_loop().add_signal_handler(signal.SIGTERM, server.disconnect)
server.process(forever=False)
