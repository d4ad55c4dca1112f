"""A compliance server as somebody would write it with slixmpp and nothing of ours: redaction, HANDLE and refusal by its ordinary API.
    PASSWORD=secret slix_wall.py HOST PORT COMPONENT"""
import asyncio
import os
import signal
import sys
import xml.etree.ElementTree as ET

from slixmpp import ComponentXMPP
from slixmpp.exceptions import XMPPError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

EB, CLIENT = "urn:signet:event-broker:0", "jabber:client"


class Wall(ComponentXMPP):
    def __init__(self, name, password, host, port):
        super().__init__(name, password, host, port)
        self.register_plugin("xep_0199", {"keepalive": True, "interval": 1, "timeout": 5})  # it pings the node, and answers pings
        self.register_handler(Callback("event", MatchXPath("{%s}iq/{%s}event" % (self.default_ns, EB)), self.on_event))
        self.add_event_handler("session_start", lambda _: print("session", flush=True))
        self.add_event_handler("disconnected", lambda _: self.loop.call_later(0.5, self.connect))

    def on_event(self, iq):
        event = iq.xml.find("{%s}event" % EB)
        stanza = event.find("{urn:xmpp:forward:0}forwarded")[0]
        body = stanza.findtext("{%s}body" % CLIENT) or ""
        print(event.get("name"), body, flush=True)
        if "poison" in body:
            raise XMPPError("not-allowed", text="Not in this house.", etype="modify")
        reply = iq.reply()
        if "secret" in body:
            stanza.find("{%s}body" % CLIENT).text = body.replace("secret", "[...]")
            passed = ET.SubElement(reply.xml, "{%s}pass" % EB)
            passed.append(stanza)
        elif "for me" in body:
            ET.SubElement(reply.xml, "{%s}handle" % EB)
        reply.send()


wall, stop = Wall(sys.argv[3], os.environ["PASSWORD"], sys.argv[1], int(sys.argv[2])), asyncio.Event()
wall.loop.add_signal_handler(signal.SIGTERM, stop.set)
wall.connect()
wall.loop.run_until_complete(stop.wait())
wall.loop.run_until_complete(wall.disconnect())
