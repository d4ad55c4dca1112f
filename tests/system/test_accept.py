"""Direction accept: the compliance server dials the node's component port. sdk/examples/passlog.py does it with slixmpp's ComponentXMPP."""
import signal
import time

import pytest

from harness.client import Client, condition, text
from harness.programs import PASSWORD_OF_LINK, PYTHON, SOURCE, Program
from harness.service import SLOW

PASSLOG = SOURCE / "sdk/examples/passlog.py"


@pytest.fixture
def service(services):
    service = services({"broker.event_timeout": int(1500 * SLOW)})
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


@pytest.mark.parametrize("component,password", [("op-passlog.node1-example-com", "wrong"), ("op-stranger.node1-example-com", PASSWORD_OF_LINK)])
def test_strangers_stay_out(service, closing, component, password):
    assigned = service.compliance_server("passlog", 0, direction="accept")
    closing(passlog(service, component, password))
    time.sleep(1 * SLOW)
    assert service.link(assigned)["state"] != "ACTIVE"
