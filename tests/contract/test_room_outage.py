"""Chat rooms while no compliance server can be asked, as the specification has it: whoever would do something in a room gets a server error (Handling bounce), at
once when the server left gracefully, after the time-out when it was cut off; nobody else sees anything, and the room stays as it was. With Handling pass all goes on."""
import time

import pytest

from harness.compliance import passed
from harness.service import SLOW, wait_until
from lab import CATALOGUE, TIMEOUT_MS, Outcome
from roomlab import DOMAIN, RoomLab
from test_rooms import DRIVERS, PAIRS, Close, Leave

LINK = "op-first.node1-example-com"
HANDLINGS = {"bounce": Outcome("refuse", "internal-server-error"), "pass": Outcome("pass")}
SYSTEM = [("onBeforeInvite", None, "bounce", False), ("onBeforeJoin", None, "bounce", False), ("onBeforeRoomCreate", None, "bounce", False),
          ("onBeforeSend", None, "bounce", False), ("onLeave", None, "pass", False)]  # SystemDefaultComplianceProfile


@pytest.fixture(scope="module")
def gone():
    lab = RoomLab()
    lab.first.leave()
    lab.service.wait_link(LINK, "GONE")
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def killed():
    """Cut without a word: the link is kept as a queue, and what is asked waits in it for its time-out."""
    lab = RoomLab()
    lab.first.cut()
    wait_until("the loss of the link", lambda: lab.service.link(LINK)["state"] != "ACTIVE")
    assert lab.service.link(LINK)["state"] != "GONE"
    yield lab
    lab.close()


def played(lab, name, event, rows, outcome, seconds):
    """One request during the outage."""
    driver = DRIVERS[name]
    driver.prepare(lab)
    before = lab.room(driver.room)
    lab.begin(passed, rows, [(event, None, "bounce", False)])
    since = time.monotonic()
    driver.act(lab)
    if outcome.kind == "pass":
        lab.second.wait(event)
    elif not isinstance(driver, (Close, Leave)):
        who = lab.names[driver.who]
        error = who.next(match=lambda s: s.get("type") == "error")
        who.got.appendleft(error)
    else:
        time.sleep(0.1 * SLOW)
    took = time.monotonic() - since
    assert seconds[0] <= took < seconds[1] * SLOW, f"{took:.2f} s"
    got = lab.settled()
    try:
        if outcome.kind == "pass":
            driver.done(lab, outcome, got)
            lab.room_is(driver.now(lab, before, outcome), driver.room)
        else:
            assert lab.second.seen(event) == [], "after a bounce later profiles are not asked"
            driver.not_done(lab, outcome, got)
            stays = driver.now(lab, before, outcome) if isinstance(driver, Leave) else driver.left(before) if isinstance(driver, Close) else before
            lab.room_is(stays, driver.room)
        assert lab.first.seen() == []
    finally:
        driver.clean_up(lab)


CASES = [(n, e, h) for n, e in PAIRS for h in HANDLINGS]


def outcome_of(event, handling):
    return HANDLINGS[handling] if CATALOGUE[event]["refusable"] else Outcome("pass")


@pytest.mark.parametrize("name,event,handling", CASES)
def test_gone(gone, name, event, handling):
    """At once: no time-out is waited for, whether it is refused or goes on."""
    outcome = outcome_of(event, handling)
    if name == "leave" and event in ("onPacket", "onBeforeChangeUser") and outcome.kind == "refuse":
        outcome = Outcome("handle") # rule 4: he leaves all the same, and the chain has ended
    played(gone, name, event, [(event, None, handling, False)], outcome, (0, 5))


@pytest.mark.parametrize("name,event", [(n, e) for n, e in PAIRS if n in ("groupchat", "private", "join", "create", "invite", "kick", "leave", "close") and e in
                                        [row[0] for row in SYSTEM] + ["onAfterJoin", "onClose"]])
@pytest.mark.parametrize("handling", HANDLINGS)
def test_killed(killed, name, event, handling):
    """After the time-out of the event; what comes after a change never waits."""
    outcome = outcome_of(event, handling)
    waits = TIMEOUT_MS / 1000 if CATALOGUE[event]["refusable"] and name != "close" else 0
    played(killed, name, event, [(event, None, handling, False)], outcome, (waits * 0.9, 10))


@pytest.mark.parametrize("name,event", [("groupchat", "onBeforeSend"), ("private", "onBeforeSend"), ("join", "onBeforeJoin"), ("create", "onBeforeRoomCreate"), ("invite", "onBeforeInvite")])
def test_system_profile(killed, name, event):
    """The rows of the SystemDefaultComplianceProfile: users are blocked from chat rooms, and get a server error."""
    played(killed, name, event, SYSTEM, HANDLINGS["bounce"], (TIMEOUT_MS / 1000 * 0.9, 10))


def test_reload_during_an_outage(killed):
    """A notification waits for nobody."""
    lab = killed
    lab.begin(passed, [("onServiceReconfig", None, "bounce", False)], [("onServiceReconfig", None, "bounce", False)])
    lab.service.request("POST", "/v1/reload")
    assert lab.second.wait("onServiceReconfig", seconds=2 * SLOW)[0].attributes["room"] == DOMAIN
