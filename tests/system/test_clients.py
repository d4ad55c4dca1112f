"""Stock XMPP clients, as Debian has them: slixmpp, one on libstrophe, go-sendxmpp. Each logs in over STARTTLS with SCRAM and exchanges messages with each
other; the recorder has es_OUT and es_IN of every message."""
import os
import shutil

import pytest

from harness.programs import BUILD, PYTHON, SOURCE, Program, Recorder
from harness.service import PASSWORD, SLOW, Service, wait_until


class Common:
    """slix_client.py and strophe_client take the same arguments and say the same."""

    def __init__(self, *program):
        self.program = program

    def listen(self, service, jid, count):
        program = Program(*self.program, jid, "127.0.0.1", service.port, count, env={"PASSWORD": PASSWORD})
        program.wait_for("ready", 40)
        return program

    def send(self, service, jid, to, body):
        return Program(*self.program, jid, "127.0.0.1", service.port, 0, to, body, env={"PASSWORD": PASSWORD})


class GoSendxmpp:
    def __init__(self, home):
        self.home = home

    def arguments(self, service, jid):
        # With -n it does not verify the certificate, which is self-signed; without -t it uses STARTTLS.
        return ["go-sendxmpp", "-n", "-j", f"127.0.0.1:{service.port}", "-u", jid, "-p", PASSWORD]

    def listen(self, service, jid, count):
        program = Program(*self.arguments(service, jid), "-l", env={"HOME": str(self.home)})
        wait_until(f"the session of {jid}", lambda: any(s["jid"].startswith(jid) and s["available"] for s in service.get("/v1/sessions")["sessions"]), 20)
        return program

    def send(self, service, jid, to, body):
        message = self.home / "message"
        message.write_text(body + "\n")
        return Program(*self.arguments(service, jid), "-m", message, to, env={"HOME": str(self.home)})


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    service = Service()
    recorder = None
    try:
        service.user("romeo", "juliet")
        recorder = Recorder(service).assign()
        yield service, recorder
    finally:
        try:
            service.close()
        finally:
            if recorder:
                recorder.close()


def client(kind, home):
    if kind == "slixmpp":
        return Common(PYTHON, SOURCE / "tests/system/slix_client.py")
    if kind == "libstrophe":
        program = BUILD / "tests/system/strophe_client"
        if not program.exists():
            pytest.skip("libstrophe-dev was not there when this was built")
        return Common(program)
    if shutil.which("go-sendxmpp") is None:
        pytest.skip("go-sendxmpp is not installed")
    return GoSendxmpp(home)


KINDS = ["slixmpp", "libstrophe", "go-sendxmpp"]


@pytest.mark.parametrize("sender", KINDS)
@pytest.mark.parametrize("receiver", KINDS)
def test_exchange(stage, closing, tmp_path, sender, receiver):
    service, recorder = stage
    to, by = client(receiver, tmp_path), client(sender, tmp_path)
    body = f"from {sender} to {receiver} æ ☃"
    listening = closing(to.listen(service, "juliet@example.com", 1))
    session = next(s for s in service.get("/v1/sessions")["sessions"] if s["jid"].startswith("juliet@"))
    # Debian 12's go-sendxmpp knows PLAIN and DIGEST-MD5 only: PLAIN it is, inside TLS.
    assert session["mechanism"].startswith("SCRAM-SHA-" if receiver != "go-sendxmpp" else "PLAIN"), session
    assert session["tls"].startswith("TLSv1."), session
    sending = closing(by.send(service, "romeo@example.com", "juliet@example.com", body))
    assert "romeo@example.com" in listening.wait_for(body)
    assert sending.wait() == 0, sending.lines
    if receiver == "go-sendxmpp":
        listening.close()
    else:
        assert listening.wait() == 0, listening.lines
    assert sorted(e["event"] for e in recorder.search(text=f"{sender} to {receiver}") if e["body"] == body) == ["es_IN", "es_OUT"]
    wait_until("the end of both sessions", lambda: service.get("/v1/sessions")["sessions"] == [])


def test_wrong_password(stage, closing):
    service, _ = stage
    program = closing(Program(BUILD / "tests/system/strophe_client", "romeo@example.com", "127.0.0.1", service.port, 0, env={"PASSWORD": "wrong"})
                      if (BUILD / "tests/system/strophe_client").exists() else
                      Program(PYTHON, SOURCE / "tests/system/slix_client.py", "romeo@example.com", "127.0.0.1", service.port, 0, env={"PASSWORD": "wrong"}))
    assert program.wait(60) != 0
    assert "ready" not in program.lines
