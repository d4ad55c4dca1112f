#!/usr/bin/python3
"""An evening in a chat room, as slixmpp (Debian's) lives it: XEP-0045 by its plugin, invitations of XEP-0249, occupant ids (0421) and stable ids (0359). Each
step says that it went well; what does not come in time is an error.
PASSWORD=secret ./slix_room.py HOST PORT ROOM OWNER GUEST"""
import asyncio
import contextlib
import io
import os
import ssl
import sys

with contextlib.redirect_stderr(io.StringIO()):  # it remarks on its slower stringprep
    import slixmpp
    from slixmpp.exceptions import IqError, PresenceError

PLUGINS = ("xep_0030", "xep_0045", "xep_0199", "xep_0249", "xep_0359", "xep_0421")
WAIT = 15
USER = "{http://jabber.org/protocol/muc#user}"


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid):
        super().__init__(jid, os.environ["PASSWORD"])
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        self.ssl_context.check_hostname, self.ssl_context.verify_mode = False, ssl.CERT_NONE  # the certificate is self-signed
        self.add_event_handler("session_start", lambda _: (self.send_presence(), self.ready.set_result(None)))
        self.ready, self.muc = self.loop.create_future(), self["xep_0045"]
        self.muc.room = {}  # 1.8.3 looks for it when a decline comes, and has forgotten to make it
        self.came = asyncio.Queue()
        for event in ("groupchat_message", "groupchat_subject", "groupchat_invite", "groupchat_direct_invite", "groupchat_config_status", "message"):
            self.add_event_handler(event, lambda stanza, event=event: self.came.put_nowait((event, stanza)))
        self.add_filter("in", self.keep)  # of a decline there is no event

    def keep(self, stanza):
        self.came.put_nowait(("presence" if isinstance(stanza, slixmpp.Presence) else "stanza", stanza))
        return stanza

    async def next(self, event, fits=lambda stanza: True):
        """The next of that kind for which it fits; what comes before is left behind."""
        while True:
            kind, stanza = await asyncio.wait_for(self.came.get(), WAIT)
            if kind == event and fits(stanza):
                return stanza


def said(body):
    return lambda stanza: stanza["body"] == body


def about(nick, kind="available"):
    return lambda p: p["from"].resource == nick and item(p) is not None and (p["type"] == "unavailable") == (kind == "unavailable")


def codes(stanza):
    return {int(s.get("code")) for s in stanza.xml.iter(f"{USER}status")}


def item(presence):
    return presence.xml.find(f".//{USER}item")


def ok(what):
    print("ok", what, flush=True)


async def made(owner, room):
    own, subject, others, history = await owner.muc.join_muc_wait(room, "crone", timeout=WAIT)
    assert {110, 201} <= codes(own), own
    assert not [m for m in history if m["body"]], history
    assert item(own).get("affiliation") == "owner" and item(own).get("role") == "moderator"
    form = await owner.muc.get_room_config(room)
    fields = form.get_fields()
    assert "muc#roomconfig_roomsecret" in fields and not fields["muc#roomconfig_roomsecret"]["value"]
    form["type"] = "submit"
    values = form.get_values()
    values.update({"muc#roomconfig_roomname": "A Dark Cave", "muc#roomconfig_persistentroom": True, "muc#roomconfig_allowinvites": True})
    form.set_values(values)
    await owner.muc.set_room_config(room, form)
    info = await owner["xep_0030"].get_info(jid=room)
    assert "muc_persistent" in info["disco_info"]["features"], info
    assert {i[3] for i in info["disco_info"]["identities"]} == {"A Dark Cave"}, info
    ok("made and configured")


async def joined(owner, guest, room):
    guest["xep_0249"]
    owner["xep_0249"].send_invitation(guest.boundjid, room, reason="Hey, this is the place")
    invitation = await guest.next("groupchat_direct_invite")
    assert invitation["groupchat_invite"]["jid"] == room
    ok("invited directly")
    owner.muc.invite(room, guest.boundjid.bare, "come in")
    mediated = await guest.next("groupchat_invite")
    assert mediated["from"].bare == room and mediated["muc"]["invite"]["reason"] == "come in"
    guest.muc.decline(room, owner.boundjid.bare, "later")
    declined = await owner.next("stanza", lambda m: m.xml.find(f".//{USER}decline") is not None)
    assert declined.xml.findtext(f".//{USER}reason") == "later"
    ok("invited and declined")
    try:
        await guest.muc.join_muc_wait(room, "crone", timeout=WAIT)
        raise AssertionError("a nick of two")
    except PresenceError as e:
        assert e.condition == "conflict", e
    own, _, others, _ = await guest.muc.join_muc_wait(room, "witch", timeout=WAIT)
    assert 110 in codes(own) and "crone" in [p["from"].resource for p in others]
    seen = await owner.next("presence", about("witch"))
    assert item(seen).get("jid") == guest.boundjid.full and item(seen).get("role") == "participant"
    assert sorted(owner.muc.get_roster(room)) == ["crone", "witch"]
    ok("joined")


async def spoken(owner, guest, room):
    guest.send_message(mto=room, mbody="Thrice and once ☃", mtype="groupchat")
    for client in (owner, guest):
        message = await client.next("groupchat_message", said("Thrice and once ☃"))
        assert message["mucnick"] == "witch" and message["stanza_id"]["by"] == room and message["stanza_id"]["id"]
        assert message.xml.find("{urn:xmpp:occupant-id:0}occupant-id").get("id")
    guest.send_message(mto=f"{room}/crone", mbody="psst", mtype="chat")
    assert (await owner.next("message", said("psst")))["from"] == f"{room}/witch"
    owner.muc.set_subject(room, "Fire Burn and Cauldron Bubble!")
    assert (await guest.next("groupchat_subject", lambda m: m["subject"]))["subject"] == "Fire Burn and Cauldron Bubble!"
    ok("spoken")


async def moderated(owner, guest, room):
    await owner.muc.set_affiliation(room, "member", jid=guest.boundjid.bare)
    await guest.next("presence", lambda p: about("witch")(p) and item(p).get("affiliation") == "member")
    assert await owner.muc.get_affiliation_list(room, "member") == [guest.boundjid.bare]
    await owner.muc.set_role(room, "witch", "visitor")
    await guest.next("presence", lambda p: about("witch")(p) and item(p).get("role") == "visitor")
    guest.send_message(mto=room, mbody="may I?", mtype="groupchat")
    error = await guest.next("stanza", lambda m: isinstance(m, slixmpp.Message) and m["type"] == "error")
    assert error.xml.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}forbidden") is not None
    await owner.muc.set_role(room, "witch", "participant")
    try:
        await guest.muc.set_role(room, "crone", "none")
        raise AssertionError("a participant kicks an owner")
    except IqError as e:
        assert e.condition in ("forbidden", "not-allowed"), e
    await owner.muc.set_role(room, "witch", "none", reason="Avaunt!")
    gone = await guest.next("presence", about("witch", "unavailable"))
    assert 307 in codes(gone), gone
    _, subject, _, history = await guest.muc.join_muc_wait(room, "witch", maxstanzas=20, timeout=WAIT)
    assert [m["body"] for m in history if m["body"]] == ["Thrice and once ☃"], history
    assert subject["subject"] == "Fire Burn and Cauldron Bubble!"
    ok("moderated")


async def ended(owner, guest, room):
    guest.send_presence(pto=f"{room}/hag")
    await owner.next("presence", lambda p: about("witch", "unavailable")(p) and 303 in codes(p))
    await owner.next("presence", about("hag"))
    await guest["xep_0199"].ping(slixmpp.JID(f"{room}/hag"), timeout=WAIT)  # XEP-0410
    await owner.muc.destroy(room, "Macbeth comes", altroom="heath@conference.example.com")
    last = await guest.next("presence", about("hag", "unavailable"))
    destroy = last.xml.find(f".//{USER}destroy")
    assert destroy is not None and destroy.get("jid") == "heath@conference.example.com"
    ok("ended")


async def evening(owner, guest, room):
    await asyncio.wait_for(asyncio.gather(owner.ready, guest.ready), WAIT)
    for act in (lambda: made(owner, room), lambda: joined(owner, guest, room), lambda: spoken(owner, guest, room), lambda: moderated(owner, guest, room),
                lambda: ended(owner, guest, room)):
        await act()
    for client in (owner, guest):
        client.disconnect()
        await asyncio.wait_for(client.disconnected, WAIT)


host, port, room = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pair = [Client(jid) for jid in sys.argv[4:6]]
for one in pair:
    one.connect((host, port), force_starttls=True)
pair[0].loop.run_until_complete(evening(*pair, room))
