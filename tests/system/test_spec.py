"""Sentences of the specification's chapters on compliance profiles, as an administrator meets them: signetctl, a real signetd, compliance servers that show what
they are asked. docs/spec-coverage.md says which sentence is proved here and which elsewhere."""
import json
import os
import subprocess

import pytest

from harness.client import Client, condition, text
from harness.compliance import Compliance, handled, passed, redacted, refused
from harness.service import BIN, Service, wait_until

SYSTEM = "SystemDefaultComplianceProfile"


class Stage:
    """Romeo and Juliet; compliance servers `wall` and `archive`, named and not yet assigned."""

    def __init__(self):
        self.service = Service()
        self.service.user("romeo", "juliet")
        self.password = self.service.dir / "password"
        self.password.write_text("secret-of-the-link\n")
        self.servers = {name: Compliance(f"op-{name}.node1-example-com") for name in ("wall", "archive")}
        for name, server in self.servers.items():
            self("compliance", "server", "add", name, "--host", "127.0.0.1", "--port", server.port, "--password-file", self.password)
        self.romeo, self.juliet = Client(self.service, "romeo", "balcony"), Client(self.service, "juliet", "garden")

    def __call__(self, *words, fails=False):
        out = subprocess.run([BIN / "signetctl", *map(str, words)], capture_output=True, text=True,
                             env={**os.environ, "SIGNET_ADMIN_SOCKET": str(self.service.options["admin.socket"])})
        assert (out.returncode != 0) == fails, out.stderr
        return out.stderr if fails else out.stdout

    def profiles(self):
        return [p["name"] for p in json.loads(self("compliance", "profile", "list", "--json"))["profiles"]]

    def assign(self, server, profile):
        self("compliance", "assignment", "add", server, *(["--profile", profile] if profile else []))
        self.service.wait_link(f"op-{server}.node1-example-com", "ACTIVE")

    def say(self, body):
        """A message whose way is over; what each compliance server was asked about it, in order."""
        identity = self.romeo.message(self.juliet.bare, body)
        self.over(self.romeo)
        return {name: [e.name for e in s.seen() if e.stanza.get("id") == identity] for name, s in self.servers.items()}

    def over(self, sender):
        """The way of all that was sent is over: it has been read, and no stanza is under way any more."""
        sender.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
        wait_until("the end of the way", lambda: self.service.get("/v1/status")["stanzas_under_way"] == 0)

    def clear(self):
        for server in self.servers.values():
            server.script = passed
        for a in json.loads(self("compliance", "assignment", "list", "--json"))["assignments"]:
            self("compliance", "assignment", "delete", a["server"])
        for name in self.profiles():
            if name != SYSTEM:
                self("compliance", "profile", "delete", name)
        for client in (self.romeo, self.juliet):
            client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
            client.got.clear()

    def close(self):
        for client in (self.romeo, self.juliet):
            client.close()
        self.service.close()
        for server in self.servers.values():
            server.close()


@pytest.fixture(scope="module")
def of_module():
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def stage(of_module):
    yield of_module
    of_module.clear()


def test_only_the_system_profile_at_first(stage):
    """After a fresh installation it is there, alone, shown with its events, and can't be changed."""
    assert stage.profiles() == [SYSTEM]
    shown = stage("compliance", "profile", "show", SYSTEM)
    assert "changeable   no" in shown
    rows = [line.split() for line in shown.split("\n\n")[1].splitlines()[1:]]
    assert {r[0]: r[1] for r in rows} == {
        "e_SESSION": "all", "es_END": "all", "es_IN": "message", "es_OUT": "message",
        **{e: "-" for e in ("onBeforeInvite", "onBeforeJoin", "onBeforeRoomCreate", "onBeforeSend", "onLeave")}}
    assert all(r[-1] == "no" for r in rows), "none is Fire and Forget: a response is expected"
    assert "read-only" in stage("compliance", "profile", "set", SYSTEM, "--event", "es_OUT", fails=True)
    assert "cannot be deleted" in stage("compliance", "profile", "delete", SYSTEM, fails=True)


def test_the_system_profile_is_assigned_like_any_other(stage):
    """Assigned, its events go to the compliance server, which decides; unassigned, nothing does."""
    stage.assign("archive", None)
    assert stage.say("one")["archive"] == ["es_OUT", "es_IN"]
    assert stage.juliet.next_message(body="one")
    Client(stage.service, "juliet", "kitchen").close()
    assert [e.name for e in stage.servers["archive"].wait("es_END")] == ["es_END"]
    assert [e.name for e in stage.servers["archive"].seen("e_SESSION")] == ["e_SESSION"]
    stage.servers["archive"].script = refused
    stage.say("two")
    assert condition(stage.romeo.next_message()) == "policy-violation"
    stage("compliance", "assignment", "delete", "archive")
    assert stage.say("three") == {"wall": [], "archive": []}
    assert stage.juliet.next_message(body="three")


@pytest.mark.parametrize("name,events", [("Jsm", ["es_OUT:message", "e_SESSION"]), ("Tc", ["onBeforeSend", "onLeave"]), ("Both", ["es_OUT:message", "onLeave"])])
def test_a_profile_of_either_kind_or_both(stage, name, events):
    """With a description or without; kept as it was given, and taken by an assignment."""
    stage("compliance", "profile", "add", name, *[w for e in events for w in ("--event", e)])
    profile = next(p for p in json.loads(stage("compliance", "profile", "list", "--json"))["profiles"] if p["name"] == name)
    assert [r["event"] for r in profile["rows"]] == [e.split(":")[0] for e in events] and profile["description"] == ""
    stage("compliance", "profile", "set", name, "--description", "what it is for")
    assert "what it is for" in stage("compliance", "profile", "show", name)
    stage.assign("wall", name)
    assert stage.say("hello")["wall"] == (["es_OUT"] if "es_OUT:message" in events else [])


def test_only_the_events_and_packet_types_of_the_profile(stage):
    """What to monitor is chosen event by event: nothing else is sent."""
    stage("compliance", "profile", "add", "Requests", "--event", "es_OUT:iq,pass")
    stage.assign("wall", "Requests")
    assert stage.say("a message") == {"wall": [], "archive": []}
    stage.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
    assert [e.stanza.tag for e in stage.servers["wall"].seen("es_OUT")][-1:] == ["{jabber:client}iq"]


def test_each_server_has_its_own_set_of_events(stage):
    """Profiles without a common event: each compliance server is asked its own, whatever the priority."""
    stage("compliance", "profile", "add", "Leaving", "--event", "es_OUT:message")
    stage("compliance", "profile", "add", "Arriving", "--event", "es_IN:message")
    stage.assign("wall", "Arriving")
    stage.assign("archive", "Leaving")
    for _ in range(2):
        assert stage.say("hello") == {"wall": ["es_IN"], "archive": ["es_OUT"]}
        stage("compliance", "profile", "up", "Arriving")


def test_policy_by_originator_and_recipient(stage):
    """Who writes to whom decides: refused, changed, or neither; the other direction is another question."""
    def policy(event):
        route = event.stanza.get("from").split("@")[0], event.stanza.get("to").split("@")[0]
        if route == ("romeo", "juliet"):
            return refused(event)
        return redacted("card", "****")(event) if route == ("juliet", "romeo") else passed(event)

    stage("compliance", "profile", "add", "EthicalWall", "--event", "es_OUT:message,bounce")
    stage.assign("wall", "EthicalWall")
    stage.servers["wall"].script = policy
    stage.romeo.message(stage.juliet.bare, "my card")
    assert condition(stage.romeo.next_message()) == "policy-violation"
    stage.juliet.message(stage.romeo.bare, "my card")
    assert text(stage.romeo.next_message()) == "my ****"
    stage.romeo.message(stage.romeo.bare, "my card")
    assert text(stage.romeo.next_message()) == "my card"
    stage.juliet.nothing("{jabber:client}message")


def test_routing_priority(stage):
    """The ethical wall before the log: the order of creation at first, then as it was moved, at once. What the first refuses or takes the second never sees."""
    stage("compliance", "profile", "add", "ImLogging", "--event", "es_OUT:message,bounce")
    stage("compliance", "profile", "add", "EthicalWall", "--event", "es_OUT:message,bounce")
    assert stage.profiles() == [SYSTEM, "ImLogging", "EthicalWall"], "the order in which they were added"
    stage.assign("wall", "EthicalWall")
    stage.assign("archive", "ImLogging")
    wall, archive = stage.servers["wall"], stage.servers["archive"]
    wall.script = refused
    assert stage.say("one") == {"wall": ["es_OUT"], "archive": ["es_OUT"]}, "the log is asked first, and passes it on"
    assert condition(stage.romeo.next_message()) == "policy-violation"
    stage("compliance", "profile", "up", "EthicalWall")
    assert stage.profiles() == [SYSTEM, "EthicalWall", "ImLogging"]
    assert stage.say("two") == {"wall": ["es_OUT"], "archive": []}, "the wall is asked first, and nobody after it"
    wall.script = handled
    assert stage.say("three") == {"wall": ["es_OUT"], "archive": []}
    stage("compliance", "profile", "down", "EthicalWall")
    archive.script = handled
    assert stage.say("four") == {"wall": [], "archive": ["es_OUT"]}
    stage.juliet.nothing("{jabber:client}message")


def test_one_profile_for_two_servers(stage):
    """The same profile is assigned twice: both directions of a conversation go to one compliance server, and of many conversations each gets some."""
    stage("compliance", "profile", "add", "Shared", "--event", "es_OUT:message,bounce", "--event", "es_IN:message,bounce")
    stage.assign("wall", "Shared")
    stage.assign("archive", "Shared")
    asked = stage.say("there")
    stage.juliet.message(stage.romeo.bare, "and back")
    assert stage.romeo.next_message(body="and back")
    stage.over(stage.juliet)
    whose = next(name for name, events in asked.items() if events)
    assert sorted(asked.values()) == [[], ["es_OUT", "es_IN"]]
    assert [e.name for e in stage.servers[whose].seen(body="and back")] == ["es_OUT", "es_IN"]
    for i in range(40):
        stage.romeo.message(f"user{i}@example.com", f"to {i}")
    stage.over(stage.romeo)
    counts = {name: len({e.body for e in s.seen("es_OUT") if (e.body or "").startswith("to ")}) for name, s in stage.servers.items()}
    assert sum(counts.values()) == 40 and min(counts.values()) >= 5, counts


def test_rules_of_servers_profiles_and_assignments(stage):
    """What the chapters forbid is refused with a reason, and changes nothing."""
    for name in ("with space", "dash-ed", "ä"):
        assert "only letters and digits" in stage("compliance", "profile", "add", name, fails=True)
    stage("compliance", "profile", "add", "Wall2", "--event", "es_OUT:iq", "--event", "es_OUT:message")
    for rows, says in ((["es_OUT:iq,pass", "es_OUT:iq,bounce"], "twice"), (["es_OUT:all", "es_OUT:iq"], "includes all other"), (["es_OUT:iq", "es_OUT:all"], "includes all other"),
                       (["onLeave", "onLeave"], "twice")):
        assert says in stage("compliance", "profile", "set", "Wall2", *[w for r in rows for w in ("--event", r)], fails=True)
    assert [r["packet"] for r in json.loads(stage("compliance", "profile", "show", "Wall2", "--json"))["rows"]] == ["iq", "message"]
    stage("compliance", "profile", "set", "Wall2", *[w for k in ("iq", "message", "presence", "subscription") for w in ("--event", f"es_OUT:{k},pass")])
    assert [r["packet"] for r in json.loads(stage("compliance", "profile", "show", "Wall2", "--json"))["rows"]] == ["all"]
    assert "letters, digits, period, backslash, dash and underscore" in stage("compliance", "server", "set", "wall", "--host", "a/b", fails=True)
    stage("compliance", "server", "set", "archive", "--host", "A.b\\c-d_1")
    stage("compliance", "server", "set", "archive", "--host", "127.0.0.1")
    stage.assign("wall", "Wall2")
    with pytest.raises(Exception, match="cannot be renamed"):
        stage.service.request("PATCH", "/v1/compliance/profiles/Wall2", {"name": "Moat"})
    assert "unassign it first" in stage("compliance", "profile", "delete", "Wall2", fails=True)
    assert stage.profiles() == [SYSTEM, "Wall2"]
    assert [line.split()[-1] for line in stage("compliance", "assignment", "list").splitlines()[1:]] == ["op-wall.node1-example-com"]
