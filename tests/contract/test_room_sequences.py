"""The sequences of EVENTS.md: which events a request to a room raises, in which order, what each shows, and that all are of one stanza."""
import pytest

from harness.client import condition, text
from harness.compliance import passed, refused
from harness.service import wait_until
from lab import CATALOGUE
from roomlab import C, DOMAIN, HALL, MUC, USER, RoomLab, item, owner_form, people, told_error
from test_rooms import DEN, DRIVERS, Driver

TC = [name for name, row in CATALOGUE.items() if row["service"] == "TC"]
EVERYTHING = [(name, None, "bounce", False) for name in TC] + [("es_OUT", "all", "bounce", False)]
ENTRY = ["onBeforeJoin", "onBeforeChangeUser"]
EXIT = ["onLeave", "onAfterChangeUser"]
SEQUENCES = {
    "groupchat": ["onPacket", "onBeforeSend", "onBeforeBroadcast"],
    "private": ["onPacket", "onBeforeSend"],
    "subject": ["onPacket", "onBeforeSubject", "onBeforeBroadcast", "onAfterSubject"],
    "status": ["onPacket", "onBeforeChangeUser", "onAfterChangeUser"],
    "nick": ["onPacket", "onBeforeChangeUser", "onAfterChangeUser"],
    "role": ["onPacket", "onBeforeChangeUser", "onAfterChangeUser"],
    "kick": ["onPacket", "onBeforeChangeUser", *EXIT],
    "leave": ["onPacket", "onBeforeChangeUser", *EXIT],
    "ban": ["onPacket", "onBeforeChangeAffiliation", "onAfterChangeAffiliation", *EXIT],
    "join": ["onPacket", *ENTRY, "onAfterChangeUser", "onAfterJoin", "onHistory"],
    "create": ["onServicePacket", "onBeforeRoomCreate", *ENTRY, "onAfterRoomCreate", "onAfterChangeUser", "onAfterJoin", "onHistory"],
    "affiliation": ["onPacket", "onBeforeChangeAffiliation", "onAfterChangeAffiliation"],
    "removal": ["onPacket", "onBeforeRemoveAffiliation", "onAfterRemoveAffiliation"],
    "configure": ["onPacket", "onBeforeMetaInfoSet", "onAfterMetaInfoSet"],
    "invite": ["onPacket", "onBeforeInvite", "onAfterInvite"],
    "close": ["onPacket", "onBeforeChangeUser", *EXIT, "onClose"],
    "destroy": ["onPacket", "onDestroy", *EXIT],
    "service": ["onServicePacket", "onServiceDiscoInfo"],
    "examine": ["onPacket", "onExamineRoom"],
    "form": ["onPacket", "onMetaInfoGet"],
}


@pytest.fixture(scope="module")
def lab():
    lab = RoomLab()
    yield lab
    lab.close()


def names(events):
    return [e.name for e in events]


def all_of_it(lab, act, *more):
    """What is asked about, in order, from an act to its end."""
    lab.begin(passed, EVERYTHING + list(more))
    act()
    count = -1
    while count != len(lab.first.seen()): # the next is raised when the last is answered
        count = len(lab.first.seen())
        lab.first.wait("es_OUT")
        lab.service.quiet()
    got = lab.settled()
    return lab.first.seen(), got


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequence(lab, name):
    driver = DRIVERS[name]
    driver.prepare(lab)
    driver.identity = None
    seen, got = all_of_it(lab, lambda: driver.act(lab))
    driver.clean_up(lab)
    assert names(seen) == ["es_OUT", *SEQUENCES[name]]
    assert {e.stanza_id for e in seen if e.name != "onClose"} == {seen[0].stanza_id} and len({e.id for e in seen}) == len(seen)
    assert {e.attributes.get("room") for e in seen[1:]} == {DOMAIN if driver.to == DOMAIN else driver.room} == {e.attributes["key"] for e in seen}
    for e in seen[1:]:
        if e.name in driver.events:
            driver.check_event(lab, e.name, e)
    who = lab.names["tybalt" if name == "close" else driver.who]
    assert all(e.stanza.get("from") == who.jid for e in seen if e.name in ("es_OUT", "onPacket", "onServicePacket"))


def test_message_to_its_end(lab):
    """The broadcast is asked about once, then each session about its copy."""
    driver = DRIVERS["groupchat"]
    lab.begin(passed, EVERYTHING, [("es_IN", "message", "bounce", False)])
    driver.act(lab)
    copies = lab.second.wait("es_IN", count=2)
    got = lab.settled()
    assert names(lab.first.seen()) == ["es_OUT", *SEQUENCES["groupchat"]]
    assert sorted(e.attributes["session"] for e in copies) == [lab.juliet.jid, lab.romeo.jid]
    assert all(e.attributes["copy"] == "muc" and e.attributes["key"] == HALL and e.stanza_id == lab.first.seen()[0].stanza_id for e in copies)
    assert text(got["juliet"][0]) == text(got["romeo"][0]) == "as written"


def test_direct_invitation(lab):
    """XEP-0249: it goes past the room, and the room's events are raised about it all the same."""
    seen, got = all_of_it(lab, lambda: lab.romeo.send(f"<message to='{lab.tybalt.bare}'><x xmlns='jabber:x:conference' jid='{HALL}'/></message>"),
                          ("e_DELIVER", "message", "bounce", False))
    assert names(seen) == ["es_OUT", "onBeforeInvite", "e_DELIVER", "onAfterInvite"]
    assert [m.get("from") for m in got["tybalt"]] == [lab.romeo.jid]
    assert {e.attributes.get("room") for e in seen if e.name.startswith("on")} == {HALL}


def test_decline(lab):
    seen, got = all_of_it(lab, lambda: lab.tybalt.send(f"<message to='{HALL}'><x xmlns='http://jabber.org/protocol/muc#user'><decline to='{HALL}/romeo'/></x></message>"))
    assert names(seen) == ["es_OUT", "onPacket"]
    assert got["romeo"][0].find(f"{USER}x/{USER}decline").get("from") == lab.tybalt.bare


def test_voice_request(lab):
    lab.iq(lab.juliet, "set", people(item(nick="romeo", role="visitor")))
    lab.settled()
    form = ("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field>"
            "<field var='muc#role'><value>participant</value></field></x>")
    seen, got = all_of_it(lab, lambda: lab.romeo.send(f"<message to='{HALL}'>{form}</message>"))
    assert names(seen) == ["es_OUT", "onPacket"] and [m.get("from") for m in got["juliet"]] == [HALL]
    lab.iq(lab.juliet, "set", people(item(nick="romeo", role="participant")))
    lab.settled()


def test_members_only(lab):
    """A room that becomes members-only puts out who is no member (322): exits as any other."""
    lab.enter(lab.tybalt, "tybalt")
    lab.settled()
    seen, got = all_of_it(lab, lambda: lab.juliet.send(f"<iq type='set' to='{HALL}' id='c'>{owner_form(membersonly=1)}</iq>"))
    assert names(seen) == ["es_OUT", "onPacket", "onBeforeMetaInfoSet", "onAfterMetaInfoSet", *EXIT]
    assert len({e.stanza_id for e in seen}) == 1
    assert [p.get("type") for p in got["tybalt"] if p.tag == C + "presence"] == ["unavailable"]
    lab.iq(lab.juliet, "set", owner_form(membersonly=0))
    lab.settled()


def test_all_or_nothing(lab):
    """Several changes in one request: all are asked about before the first is done, and one that is refused refuses all."""
    lab.enter(lab.tybalt, "tybalt")
    lab.settled()
    before = lab.room()
    items = item(jid="nurse@example.com", affiliation="member") + item(jid="tybalt@example.com", affiliation="outcast") + item(jid="romeo@example.com", affiliation="none")
    lab.begin(lambda e: refused(e) if e.name == "onBeforeRemoveAffiliation" else passed(e), EVERYTHING)
    lab.juliet.send(f"<iq type='set' to='{HALL}' id='bulk'>{people(items)}</iq>")
    lab.first.wait("onBeforeRemoveAffiliation")
    got = lab.settled()
    assert names(lab.first.seen()) == ["es_OUT", "onPacket", "onBeforeChangeAffiliation", "onBeforeChangeAffiliation", "onBeforeRemoveAffiliation"]
    assert [e.stanza[0][0].get("jid") for e in lab.first.seen()[2:]] == ["nurse@example.com", "tybalt@example.com", "romeo@example.com"]
    told_error(got["juliet"], HALL, "policy-violation", "bulk")
    assert got["romeo"] == got["tybalt"] == [] and lab.room() == before
    seen, got = all_of_it(lab, lambda: lab.juliet.send(f"<iq type='set' to='{HALL}' id='bulk'>{people(items)}</iq>"))
    assert names(seen)[:5] == ["es_OUT", "onPacket", "onBeforeChangeAffiliation", "onBeforeChangeAffiliation", "onBeforeRemoveAffiliation"]
    assert names(seen)[5:] == ["onAfterChangeAffiliation", "onAfterChangeAffiliation", *EXIT, "onAfterRemoveAffiliation", "onAfterChangeUser"]
    lab.iq(lab.juliet, "set", people(item(jid="nurse@example.com", affiliation="none"), item(jid="tybalt@example.com", affiliation="none"),
                                     item(jid="romeo@example.com", affiliation="member")))
    lab.settled()
    lab.room_is({f for f in before if "tybalt" not in f and f != ("listed", 3)} | {("listed", 2)})


def test_ban_of_two_sessions(lab):
    """Under one nick: the ban comes first, then the exit of each."""
    other = lab.client("tybalt", "alley")
    for client in (lab.tybalt, other):
        lab.enter(client, "tybalt")
    lab.settled()
    seen, got = all_of_it(lab, lambda: lab.juliet.send(f"<iq type='set' to='{HALL}' id='b'>{people(item(affiliation='outcast', jid='tybalt@example.com'))}</iq>"))
    assert names(seen) == ["es_OUT", "onPacket", "onBeforeChangeAffiliation", "onAfterChangeAffiliation", *EXIT, *EXIT]
    assert [e.stanza.get("from") for e in seen if e.name == "onLeave"] == [lab.tybalt.jid, other.jid]
    lab.iq(lab.juliet, "set", people(item(affiliation="none", jid="tybalt@example.com")))
    other.close()
    lab.settled()


def test_cut(lab):
    """A session that is cut leaves its rooms. Presence that the server makes raises no es_OUT."""
    client = lab.client("tybalt", "alley")
    lab.enter(client, "alley")
    lab.settled()
    lab.begin(passed, EVERYTHING)
    client.cut()
    lab.first.wait("onAfterChangeUser")
    lab.first.wait("onLeave")
    got = lab.settled()
    assert names(lab.first.seen()) == ["onPacket", "onBeforeChangeUser", *EXIT]
    assert [(p.get("from"), p.get("type")) for p in got["romeo"]] == [(f"{HALL}/alley", "unavailable")]


def test_administrator(lab):
    """What an administrator does to a room goes its way too, but for onPacket: no stanza came."""
    lab.begin(passed, EVERYTHING)
    lab.service.request("POST", "/v1/rooms", {"room": DEN, "owner": "tybalt@example.com"})
    lab.service.request("PUT", f"/v1/rooms/{DEN}/affiliations", {"jid": "nurse@example.com", "affiliation": "member"})
    lab.service.request("PATCH", f"/v1/rooms/{DEN}", {"config": {"roomdesc": "The den"}})
    lab.service.request("DELETE", f"/v1/rooms/{DEN}")
    lab.settled()
    assert names(lab.first.seen()) == ["onBeforeRoomCreate", "onBeforeMetaInfoSet", "onAfterRoomCreate", "onAfterMetaInfoSet", "onBeforeChangeAffiliation",
                                       "onAfterChangeAffiliation", "onBeforeMetaInfoSet", "onAfterMetaInfoSet", "onClose"]
    assert {e.attributes["room"] for e in lab.first.seen()} == {DEN} and lab.room(DEN) == set()


def test_shutdown():
    """Each open room is asked to close, which cannot be refused; then its occupants leave."""
    lab = RoomLab()
    try:
        lab.begin(refused, EVERYTHING)
        lab.service.process.terminate()
        for client, nick in ((lab.romeo, "romeo"), (lab.juliet, "juliet")):
            told = client.next(C + "presence", match=lambda p: p.get("from") == f"{HALL}/{nick}")
            assert told.get("type") == "unavailable" and "332" in [s.get("code") for s in told.iter(USER + "status")]
        lab.service.process.wait(60)
        seen = names(lab.first.seen())
        assert seen == ["onClose", *EXIT, *EXIT] and lab.first.seen("onClose")[0].attributes["room"] == HALL
    finally:
        lab.close()
