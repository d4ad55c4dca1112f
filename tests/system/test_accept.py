"""Direction accept: the compliance server dials the node's component port. sdk/examples/passlog.py and slix_wall.py do it with slixmpp's ComponentXMPP."""
import signal
import time

import pytest

from harness.client import NS, Client, condition, text
from harness.programs import PASSWORD_OF_LINK, PYTHON, SOURCE, Program, free_port
from harness.service import SLOW, wait_until

PASSLOG = SOURCE / "sdk/examples/passlog.py"
WALL = SOURCE / "tests/system/slix_wall.py"


@pytest.fixture
def service(services):
    service = services({"broker.event_timeout": int(1500 * SLOW), "broker.ping_interval": int(400 * SLOW), "component.listen": f"127.0.0.1:{free_port()}"})
    service.user("romeo", "juliet")
    return service


def passlog(service, component, password=PASSWORD_OF_LINK):
    return Program(PYTHON, PASSLOG, "127.0.0.1", service.port_component, component, env={"PASSWORD": password})


def test_passlog(service, closing):
    component = service.compliance_server("passlog", 0, direction="accept")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    romeo.message(juliet.bare, "nobody is there")
    assert condition(romeo.next_message()) == "internal-server-error"
    server = closing(passlog(service, component))
    service.wait_link(component, "ACTIVE")
    romeo.message(juliet.bare, "hello")
    assert text(juliet.next_message()) == "hello"
    first, second = server.wait_for("hello"), server.wait_for("hello")
    assert " es_OUT romeo@example.com/balcony -> juliet@example.com: hello" in first
    assert " es_IN romeo@example.com/balcony -> juliet@example.com: hello" in second
    # Its end is graceful: an error at once. The next one is let in, and messages flow again.
    server.stop()
    service.wait_link(component, "GONE")
    began = time.monotonic()
    romeo.message(juliet.bare, "gone")
    assert condition(romeo.next_message()) == "internal-server-error" and time.monotonic() - began < 0.7 * SLOW
    server = closing(passlog(service, component))
    service.wait_link(component, "ACTIVE")
    romeo.message(juliet.bare, "back")
    assert text(juliet.next_message()) == "back"


def test_killed_and_back(service, closing):
    """A rebooted server must get in, though its old link has not been seen to end."""
    component = service.compliance_server("passlog", 0, direction="accept")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    server = closing(passlog(service, component))
    service.wait_link(component, "ACTIVE")
    server.stop(signal.SIGKILL)
    romeo.message(juliet.bare, "in between")
    server = closing(passlog(service, component))
    service.wait_link(component, "ACTIVE")
    assert text(juliet.next_message(seconds=20)) == "in between"


WRONG = [("op-passlog.node1-example-com", "wrong", ("op-passlog.node1-example-com: A connection from 127.0.0.1", "the handshake does not match the password configured")),
         ("op-stranger.node1-example-com", PASSWORD_OF_LINK, ("wants to be component op-stranger.node1-example-com, which no assignment of direction accept has",))]


@pytest.mark.parametrize("component,password,said", WRONG)
def test_strangers_stay_out(service, closing, component, password, said):
    """And the log says which of the two it was, and of whom, without the password."""
    assigned = service.compliance_server("passlog", 0, direction="accept")
    closing(passlog(service, component, password))
    wait_until("a line in the log", lambda: any(all(part in line for part in said) for line in service.log().splitlines()))
    time.sleep(0.3 * SLOW)
    assert service.link(assigned)["state"] != "ACTIVE"
    assert f"'{password}'" not in service.log() and PASSWORD_OF_LINK not in service.log()


def test_passlog_fits_in_30_lines():
    assert len(PASSLOG.read_text().splitlines()) <= 30


def test_every_answer_with_slixmpp(service, closing):
    """PASS, PASS + stanza, HANDLE and an error, each by slixmpp's ordinary means; both sides' pings; and back after a restart of signetd."""
    component = service.compliance_server("wall", 0, direction="accept")
    wall = closing(Program(PYTHON, WALL, "127.0.0.1", service.port_component, component, env={"PASSWORD": PASSWORD_OF_LINK}))
    service.wait_link(component, "ACTIVE")
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    romeo.message(juliet.bare, "hello")
    assert text(juliet.next_message()) == "hello"
    romeo.message(juliet.bare, "a secret &amp; its &lt;key/&gt;")
    assert text(juliet.next_message()) == "a [...] & its <key/>"
    romeo.message(juliet.bare, "for me")
    refused = romeo.message(juliet.bare, "poison")
    error = romeo.next_message()
    assert error.get("id") == refused and condition(error) == "not-allowed"
    assert error.find("c:error", NS).get("type") == "modify" and error.findtext("c:error/e:text", namespaces=NS) == "Not in this house."
    romeo.message(juliet.bare, "last")
    assert text(juliet.next_message()) == "last"  # nothing of HANDLE came
    romeo.nothing("{jabber:client}message", 0.2)
    time.sleep(2.5 * SLOW)  # pings both ways
    link = service.link(component)
    assert link["state"] == "ACTIVE" and link["invalid"] == 0 and service.metric("link_refused_total") == 0


@pytest.mark.parametrize("program,sig", [(PASSLOG, signal.SIGKILL), (WALL, signal.SIGTERM)], ids=["killed", "stopped"])
def test_slixmpp_comes_back_after_a_restart_of_the_node(service, closing, program, sig):
    component = service.compliance_server("wall", 0, direction="accept")
    server = closing(Program(PYTHON, program, "127.0.0.1", service.port_component, component, env={"PASSWORD": PASSWORD_OF_LINK}))
    service.wait_link(component, "ACTIVE")
    service.kill(sig)
    time.sleep(1.5 * SLOW)  # it tries in vain meanwhile
    service.start()
    service.wait_link(component, "ACTIVE", 40)
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    romeo.message(juliet.bare, "again")
    assert text(juliet.next_message()) == "again"
    assert server.stop() == 0
