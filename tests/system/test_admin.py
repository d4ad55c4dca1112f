"""The admin API where a request is strange or a change fails."""
import pytest

from harness.client import Client
from harness.service import Refused, quote


def test_strange_paths_are_answered(services):
    """Bytes that are no text in a path, and a session whose resource has a slash and a percent sign."""
    service = services()
    service.user("juliet")
    for method, path in (("GET", "/v1/users/%ff"), ("GET", "/v1/users/%00"), ("GET", "/v1/trace/%fe"), ("DELETE", "/v1/sessions/%c3"),
                         ("DELETE", "/v1/compliance/servers/%80")):
        with pytest.raises(Refused) as refusal:
            service.request(method, path)
        assert refusal.value.status in (400, 404), (path, refusal.value)
    client = Client(service, "juliet", "a/b%2Fc")
    assert service.request("DELETE", f"/v1/sessions/{quote(client.jid)}")["ended"] == 1


def test_what_cannot_be_in_force_is_not_stored(services):
    """A certificate that cannot be read is found before the change is stored: later changes go on, and so does a restart."""
    service = services()
    service.compliance_server("one", 1)
    version = service.get("/v1/compliance/servers")["version"]
    with pytest.raises(Refused) as refusal:
        service.request("PATCH", "/v1/compliance/servers/one", {"tls": True, "tls_ca": "/nowhere/ca.pem"})
    assert "/nowhere/ca.pem" in str(refusal.value)
    assert service.get("/v1/compliance/servers")["version"] == version
    service.request("PATCH", "/v1/compliance/servers/one", {"description": "the only one"})
    assert service.get("/v1/compliance/servers")["version"] == version + 1
    assert service.stop() == 0
    service.start()
    assert service.get("/v1/compliance/servers")["servers"][0]["description"] == "the only one"


def test_enabling_an_enabled_account_ends_nothing(services):
    service = services()
    service.user("juliet")
    client = Client(service, "juliet", "garden")
    service.request("POST", "/v1/users/juliet%40example.com/enable")
    client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    service.request("POST", "/v1/users/juliet%40example.com/disable")
    service.request("POST", "/v1/users/juliet%40example.com/enable")
    Client(service, "juliet", "garden").close()


def test_a_file_that_is_no_socket_stays(services):
    service = services()
    assert service.stop() == 0
    path = service.options["admin.socket"]
    path.write_text("precious")
    with pytest.raises(AssertionError):
        service.start()
    assert path.read_text() == "precious"
    path.unlink()
    service.start()
