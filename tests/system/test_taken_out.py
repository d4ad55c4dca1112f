"""What becomes of events that wait when the configuration changes: they go by the plan they began with, as long as there is somebody to answer them."""
import time

import pytest

from harness.client import Client, condition
from harness.compliance import Compliance, passed
from harness.service import SLOW, wait_until

SYSTEM = "SystemDefaultComplianceProfile"
NODE = "node1.example.com"
ONLY_OUT = [("es_OUT", "message", "bounce", False)]
TIMEOUT = 8 * SLOW


def component(name):
    return f"op-{name}.node1-example-com"


class Stage:
    def __init__(self, service, closing):
        self.service, self.closing = service, closing
        service.user("romeo", "juliet")
        service.profile("Talk", ONLY_OUT)

    def log_in(self):
        self.romeo = self.closing(Client(self.service, "romeo", "balcony"))
        self.juliet = self.closing(Client(self.service, "juliet", "garden"))
        return self

    def server(self, name, profile="Talk", silent=False):
        server = self.closing(Compliance(component(name), script=(lambda event: None) if silent else passed))
        self.service.compliance_server(name, server.port, profile=profile)
        self.service.wait_link(server.component, "ACTIVE")
        return server

    def write(self, text):
        return self.romeo.message("juliet@example.com", text)

    def change(self, method, path, body=None):
        self.service.request(method, "/v1/compliance/" + path, body)

    def take_out(self, name):
        self.change("DELETE", f"assignments/{NODE}/{name}")

    def assign(self, name, profile="Talk"):
        self.change("POST", "assignments", {"server": name, "profile": profile})

    def answer(self, server, text):
        for event in server.wait("es_OUT", text):
            server.send(passed(event))

    def wait_gone(self, name):
        wait_until(f"the end of {name}", lambda: self.service.link(component(name)) is None, TIMEOUT)


@pytest.fixture
def stage(services, closing):
    return Stage(services({"broker.event_timeout": int(TIMEOUT * 1000)}), closing)


def test_who_was_asked_may_answer(stage):
    """The server is taken out while it thinks. What is written next waits for its turn only, and passes unasked."""
    wall = stage.server("wall", silent=True)
    stage.log_in()
    stage.write("one")
    wall.wait("es_OUT", "one")
    stage.take_out("wall")
    stage.write("two")
    stage.juliet.nothing("{jabber:client}message", 0.5)
    assert stage.service.link(wall.component)["state"] == "ACTIVE", "it stays for what it was asked"
    stage.answer(wall, "one")
    stage.juliet.next_message(body="one")
    stage.juliet.next_message(body="two")
    stage.wait_gone("wall")
    assert wall.seen(body="two") == [] and wall.connections == 1


def test_whose_connection_is_down_is_given_up(stage):
    """Its queue would wait for minutes; nobody else can be asked, so Handling bounce speaks at once."""
    wall = stage.server("wall")
    stage.log_in()
    wall.cut()
    stage.service.wait_link(wall.component, "QUEUEING")
    identity = stage.write("queued")
    stage.juliet.nothing("{jabber:client}message", 0.3)
    began = time.monotonic()
    stage.take_out("wall")
    error = stage.romeo.next_message()
    assert error.get("id") == identity and condition(error) == "internal-server-error" and time.monotonic() - began < TIMEOUT / 2
    stage.wait_gone("wall")
    stage.write("later")
    stage.juliet.next_message(body="later")


def test_whose_connection_is_down_leaves_it_to_the_other(stage):
    wall, other = stage.server("wall"), None
    stage.log_in()
    wall.cut()
    stage.service.wait_link(wall.component, "QUEUEING")
    for number in range(5):
        stage.write(f"queued {number}")
    stage.juliet.nothing("{jabber:client}message", 0.3)
    other = stage.server("other")
    stage.take_out("wall")
    for number in range(5):
        stage.juliet.next_message(body=f"queued {number}")
    assert [e.body for e in other.seen("es_OUT")] == [f"queued {number}" for number in range(5)]


def test_who_comes_back_goes_on(stage):
    """The assignment comes back before the end: the same connection, nothing is asked twice."""
    wall = stage.server("wall", silent=True)
    stage.log_in()
    stage.write("one")
    wall.wait("es_OUT", "one")
    stage.take_out("wall")
    stage.write("unasked")
    stage.assign("wall")
    stage.write("two")
    # An ask of a new plan waits for those ahead by an old one only where these have further steps.
    wall.wait("es_OUT", "two")
    stage.answer(wall, "two")
    stage.juliet.nothing("{jabber:client}message", 0.3)
    stage.answer(wall, "one")
    for text in ("one", "unasked", "two"):
        stage.juliet.next_message(body=text)
    assert wall.connections == 1 and [e.body for e in wall.seen("es_OUT")] == ["one", "two"]
    assert stage.service.link(wall.component)["state"] == "ACTIVE"


def test_who_comes_back_within_the_outage_window(stage):
    """Down, taken out, and put back when it is up again: those that waited were refused, nothing is lost in silence, and new ones pass."""
    wall = stage.server("wall")
    stage.log_in()
    wall.cut()
    stage.service.wait_link(wall.component, "QUEUEING")
    refused = [stage.write(f"queued {number}") for number in range(3)]
    stage.take_out("wall")
    assert [stage.romeo.next_message().get("id") for _ in refused] == refused
    wall.listen()
    stage.assign("wall")  # returns when the link had its chance
    assert stage.service.link(wall.component)["state"] == "ACTIVE"
    stage.write("asked")
    stage.juliet.next_message(body="asked")
    assert [e.body for e in wall.seen("es_OUT")] == ["asked"]


def test_profile_of_a_held_event_is_deleted(stage):
    wall = stage.server("wall", silent=True)
    stage.log_in()
    stage.write("one")
    wall.wait("es_OUT", "one")
    stage.take_out("wall")
    stage.change("DELETE", "profiles/Talk")
    stage.change("DELETE", "servers/wall")
    stage.answer(wall, "one")
    stage.juliet.next_message(body="one")
    stage.wait_gone("wall")


def test_later_profiles_of_a_chain_are_asked_all_the_same(stage):
    """While the first of two profiles thinks, the server of the second is taken out: it is asked about what began before, not about what begins after."""
    stage.service.profile("Second", ONLY_OUT)
    wall, second = stage.server("wall", silent=True), stage.server("second", "Second")
    stage.log_in()
    stage.write("one")
    wall.wait("es_OUT", "one")
    stage.take_out("second")
    stage.write("two")
    wall.wait("es_OUT", "two")
    assert stage.service.link(second.component)["state"] == "ACTIVE"
    stage.answer(wall, "two")
    stage.answer(wall, "one")
    stage.juliet.next_message(body="one")
    stage.juliet.next_message(body="two")
    assert [e.body for e in second.seen("es_OUT")] == ["one"]
    stage.wait_gone("second")


def test_profiles_change_places(stage):
    """What was asked about in the old order is asked to its end before anything behind it is asked about in the new one."""
    stage.service.profile("Second", ONLY_OUT)
    wall, second = stage.server("wall", silent=True), stage.server("second", "Second")
    stage.log_in()
    stage.write("one")
    wall.wait("es_OUT", "one")
    stage.change("POST", "profiles/Second/move", {"by": -1})
    stage.write("two")
    time.sleep(0.3)
    assert second.seen("es_OUT") == [] and len(wall.seen("es_OUT")) == 1
    stage.answer(wall, "one")
    stage.answer(wall, "two")
    stage.juliet.next_message(body="one")
    stage.juliet.next_message(body="two")
    assert [e.body for e in second.seen("es_OUT")] == ["one", "two"] and [e.body for e in wall.seen("es_OUT")] == ["one", "two"]


def test_new_server_is_asked_when_it_is_there(stage):
    """The plan comes into force when the new server's link is up: nothing is refused meanwhile."""
    stage.log_in()
    wall = stage.closing(Compliance(component("wall")))
    stage.service.compliance_server("wall", wall.port, profile="Talk")
    assert stage.service.link(wall.component)["state"] == "ACTIVE"
    stage.write("at once")
    stage.juliet.next_message(body="at once")
    assert len(wall.seen("es_OUT")) == 1
