"""Compliance servers, profiles and assignments as an administrator configures them: TLS in both directions, limits, passwords, names, single events, and
changes of many at once. Rules that need no signetd running are in tests/unit/test_profile.c."""
import hashlib
import os
import pathlib
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from harness.client import Client, condition, text  # noqa: E402
from harness.compliance import Compliance, passed, passed_with  # noqa: E402
from harness.service import BIN, SLOW, Refused, quote, wait_until  # noqa: E402

NODE = "node1.example.com"
STREAM = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{}'>"


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """ca.pem, and NAME.pem with NAME.key issued by it: wall (as wall.example.com), node, other."""
    d = tmp_path_factory.mktemp("pki")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", d / "ca.key", "-out", d / "ca.pem", "-days", "2",
            "-subj", "/CN=authority", "-addext", "basicConstraints=critical,CA:TRUE")

    def issue(name, host):
        (d / "ext").write_text(f"subjectAltName=DNS:{host}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", d / f"{name}.key", "-out", d / "csr", "-subj", f"/CN={host}")
        openssl("x509", "-req", "-in", d / "csr", "-CA", d / "ca.pem", "-CAkey", d / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", d / "ext", "-out", d / f"{name}.pem")

    for name in ("wall", "node", "other"):
        issue(name, f"{name}.example.com")
    return d


class TlsCompliance(Compliance):
    """It asks for a certificate of the node, and keeps the name in each one it was shown."""

    def __init__(self, pki, *arguments, **keywords):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki / "wall.pem", pki / "wall.key")
        self.context.load_verify_locations(pki / "ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.shown = []
        super().__init__(*arguments, **keywords)

    def serve(self, sock):
        try:
            sock = self.context.wrap_socket(sock, server_side=True)
        except (OSError, ssl.SSLError):
            return
        self.shown.append(sock.getpeercert()["subject"][0][0][1])
        super().serve(sock)


def ctl(service, *words, code=0, stdin=None):
    done = subprocess.run([BIN / "signetctl", "--socket", service.options["admin.socket"], *map(str, words)], input=stdin, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL if stdin is None else None, timeout=60 * SLOW)
    assert done.returncode == code, (words, done)
    return done.stdout + done.stderr


def change(service, name, **fields):
    return service.request("PATCH", f"/v1/compliance/servers/{name}", fields)


def test_tls_of_a_server_that_is_dialled(services, closing, pki):
    service = services()
    wall = closing(TlsCompliance(pki, f"op-wall.{NODE.replace('.', '-')}"))
    component = service.compliance_server("wall", wall.port, tls=True, tls_ca=str(pki / "ca.pem"))

    def failed(words):
        return lambda: words in (service.link(component) or {}).get("last_error", "")

    wait_until("the name check", failed("IP address mismatch")) # the certificate is for a name, the host is an address
    change(service, "wall", tls_name="other.example.com")
    wait_until("the name check", failed("hostname mismatch"))
    change(service, "wall", tls_name="wall.example.com")
    wait_until("the refusal", failed("certificate")) # it wants one of the node
    version = service.get("/v1/compliance/servers")["version"]
    for fields, says in (({"tls_cert": "/nowhere.pem", "tls_key": str(pki / "node.key")}, "cannot use the certificate /nowhere.pem"),
                         ({"tls_cert": str(pki / "node.pem"), "tls_key": str(pki / "other.key")}, "is not the one of the certificate"),
                         ({"tls_cert": str(pki / "node.pem"), "tls_key": str(pki / "node.pem")}, "cannot use the private key"),
                         ({"tls_cert": str(pki / "node.pem")}, "tls_key is missing")):
        with pytest.raises(Refused) as refusal:
            change(service, "wall", **fields)
        assert says in str(refusal.value)
    assert service.get("/v1/compliance/servers")["version"] == version
    # Of a server that is not assigned yet, too.
    assert "cannot use the trusted certificates /nowhere.pem: No such file" in ctl(service, "compliance", "server", "add", "later", "--host", "h", "--port", 1, "--tls", "on", "--tls-ca",
                                                                     "/nowhere.pem", "--password-stdin", stdin="x\n", code=1)
    # In force at once, and with other files of the same names after SIGHUP.
    pair = {name: service.dir / f"client.{name}" for name in ("pem", "key")}
    for name, path in pair.items():
        path.write_bytes((pki / f"node.{name}").read_bytes())
    ctl(service, "compliance", "server", "set", "wall", "--tls-cert", pair["pem"], "--tls-key", pair["key"])
    service.wait_link(component, "ACTIVE")
    assert wall.shown == ["node.example.com"]
    shown = ctl(service, "compliance", "server", "show", "wall")
    assert re.search(r"TLS name +wall\.example\.com", shown) and re.search(rf"TLS certificate +{pair['pem']}", shown)
    for name, path in pair.items():
        path.write_bytes((pki / f"other.{name}").read_bytes())
    service.process.send_signal(signal.SIGHUP)
    wait_until("the reload", lambda: "certificates reloaded" in service.log())
    assert service.link(component)["state"] == "ACTIVE" # what stands goes on
    time.sleep(0.2 * SLOW)
    wall.sock.sendall(b"</stream:stream>")
    wait_until("the new certificate", lambda: wall.shown[-1] == "other.example.com")
    service.wait_link(component, "ACTIVE")


class Dialler:
    """A compliance server of direction accept, as far as the handshake."""

    def __init__(self, port, component, context=None, password="secret-of-the-link"):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW)
        self.text = ""
        if context is not None:
            self.sock = context.wrap_socket(self.sock)
        self.sock.sendall(STREAM.format(component).encode())
        identity = self.until(r" id='([^']*)'").group(1)
        if "<stream:error" not in self.text:
            self.sock.sendall(f"<handshake>{hashlib.sha1((identity + password).encode()).hexdigest()}</handshake>".encode())
        self.outcome = self.until(r"<handshake ?/>|<([a-z-]+) xmlns='urn:ietf:params:xml:ns:xmpp-streams'").group(1) or "in"

    def until(self, pattern):
        while True:
            found = re.search(pattern, self.text)
            if found:
                return found
            data = self.sock.recv(4096)
            assert data, self.text
            self.text += data.decode()

    def close(self):
        self.sock.close()


def client_context(pki, name=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if name is not None:
        context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return context


def test_tls_of_a_server_that_dials(services, closing, pki):
    service = services({"component.listen_tls": "127.0.0.1:0", "tls.certificate": pki / "node.pem", "tls.key": pki / "node.key"})
    port_tls = service.get("/v1/status")["port_component_tls"]
    component = service.compliance_server("wall", 0, direction="accept", tls=True)

    def outcome(context, port=port_tls):
        dialler = closing(Dialler(port, component, context))
        dialler.close()
        return dialler.outcome

    assert outcome(None, service.port_component) == "policy-violation" and "comes without TLS" in service.log()
    assert outcome(client_context(pki)) == "in" # with TLS, and no certificate is asked for
    verified = client_context(pki)
    verified.load_verify_locations(pki / "ca.pem")
    verified.verify_mode = ssl.CERT_REQUIRED
    assert outcome(verified) == "in" # what the node shows is its own certificate
    change(service, "wall", tls_ca=str(pki / "ca.pem"))
    assert outcome(client_context(pki)) == "policy-violation" and "shows no certificate" in service.log()
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pki / "own.key", "-out", pki / "own.pem", "-subj", "/CN=wall.example.com")
    assert outcome(client_context(pki, "own")) == "policy-violation" and "is not accepted: self-signed" in service.log()
    assert outcome(client_context(pki, "other")) == "in"
    change(service, "wall", tls_name="wall.example.com")
    assert outcome(client_context(pki, "other")) == "policy-violation" and "hostname mismatch" in service.log()
    assert outcome(client_context(pki, "wall")) == "in"
    change(service, "wall", tls=False, tls_ca="", tls_name="")
    assert outcome(None, service.port_component) == "in" and outcome(client_context(pki)) == "in" # who need not may


def test_a_server_that_could_not_get_in_is_refused(services):
    service = services({"component.listen": ""})
    assert "needs an address in the option component.listen of" in ctl(service, "compliance", "server", "add", "w", "--direction", "accept", "--password-stdin",
                                                                       stdin="x\n", code=1)
    assert "accept with TLS needs an address in the option component.listen_tls" in ctl(service, "compliance", "server", "add", "w", "--direction", "accept", "--tls", "on",
                                                                                        "--password-stdin", stdin="x\n", code=1)


def test_limits_of_a_server(services, closing):
    """They are the server's own, in force at once, and seen where links are listed."""
    service = services({"broker.event_timeout": int(20000 * SLOW)})
    service.user("romeo", "juliet")
    held = []
    wall = closing(Compliance("op-wall.node1-example-com", script=lambda event: held.append(event)))
    service.profile("Out", [("es_OUT", "message", "bounce", False)])
    component = service.compliance_server("wall", wall.port, profile="Out", link_outstanding=1)
    service.wait_link(component, "ACTIVE")
    assert service.link(component)["limits"] == {"outstanding": 1, "queued_bytes": 67108864, "answer_bytes": 1048576}
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    for i in range(3):
        romeo.message(juliet.bare, f"number {i}")
    wait_until("the first", lambda: service.link(component)["outstanding"] == 1)
    time.sleep(0.2 * SLOW) # the others queue, or their sender is not read any more
    assert "1 of 1 " in ctl(service, "compliance", "link", "list") and len(held) == 1
    ctl(service, "compliance", "server", "set", "wall", "--link-outstanding", 5, "--answer-bytes", 1024)
    wait_until("all three", lambda: service.link(component)["outstanding"] == 3 and len(held) == 3)
    shown = ctl(service, "compliance", "server", "show", "wall")
    assert re.search(r"events outstanding +5\n", shown) and re.search(r"bytes queued +as broker.link_queue_bytes says\n", shown)
    assert wall.connections == 1 # a limit is no reason to connect anew
    long = f"<message xmlns='jabber:client' type='chat' from='{romeo.jid}' to='{juliet.bare}'{{}}><body>{'x' * 1200}</body></message>"

    def longer(event):
        return passed_with(event, long.format(f" id='{event.stanza.get('id')}'" if event.stanza.get("id") else ""))

    wall.write(wall.sock, [longer(held[0]), passed(held[1]), passed(held[2])])
    assert condition(romeo.next_message()) == "internal-server-error" # an answer that is too large is invalid
    assert text(juliet.next_message()) == "number 1" and text(juliet.next_message()) == "number 2"
    ctl(service, "compliance", "server", "set", "wall", "--answer-bytes", 0)
    wall.script = longer
    romeo.message(juliet.bare, "grows")
    assert text(juliet.next_message()) == 1200 * "x"
    # Bytes queued: never more, however much is sent.
    wall.script = lambda event: None
    ctl(service, "compliance", "server", "set", "wall", "--link-queue-bytes", 65536)
    for _ in range(30):
        romeo.message(juliet.bare, 10000 * "y")
    wait_until("some", lambda: service.link(component)["queued_bytes"] > 20000)
    time.sleep(0.2 * SLOW)
    assert service.link(component)["queued_bytes"] <= 65536 == service.link(component)["limits"]["queued_bytes"]


def test_a_changed_password_is_in_force_at_once_and_nowhere_to_be_read(services, closing):
    service = services({"log.level": "debug"})
    wall = closing(Compliance("op-wall.node1-example-com", password="first-secret"))
    component = service.compliance_server("wall", wall.port, password="first-secret")
    service.wait_link(component, "ACTIVE")
    wall.password = "second-secret"
    answer = ctl(service, "compliance", "server", "set", "wall", "--password-stdin", stdin="second-secret\n")
    wait_until("the second handshake", lambda: wall.connections == 2)
    service.wait_link(component, "ACTIVE")
    answer += ctl(service, "compliance", "server", "set", "wall", "--password-stdin", stdin="third-secret\n")
    wait_until("the refusal", lambda: "not-authorized" in ctl(service, "alarm", "list"))
    for port, says in (("x", "--port is a number"), ("70000", "--port is a number")):
        answer += ctl(service, "compliance", "server", "set", "wall", "--password-stdin", "--port", port, stdin="fourth-secret\n", code=2)
    with pytest.raises(Refused) as refusal:
        change(service, "wall", password="fifth-secret\x01" + 1100 * "x", port=0)
    answer += str(refusal.value)
    for path in ("/v1/compliance/servers", "/v1/compliance/links", "/v1/compliance/versions", "/v1/alarms"):
        answer += str(service.get(path))
    answer += ctl(service, "compliance", "history") + ctl(service, "compliance", "diff", 1) + service.log() + (service.dir / "signetd.out").read_text()
    assert "password" in answer and "-secret" not in answer


def test_many_administrators_at_once_lose_nothing(services):
    """Every change is a change of the fields it names, whatever else changes meanwhile."""
    service = services()
    rows = [event["name"] for event in service.get("/v1/events")["events"] if event["service"] == "TC"]
    service.request("POST", "/v1/compliance/servers", {"name": "wall", "host": "h", "port": 1, "password": "p"})
    service.request("POST", "/v1/compliance/profiles", {"name": "Wall", "rows": []})
    wrong = []

    def work(n):
        try:
            for i in range(10):
                field = [("host", f"h{i}"), ("port", 100 + i), ("description", f"d{i}"), ("link_outstanding", i + 1), ("answer_bytes", 2000 + i), ("tls_name", f"t{i}")][n]
                change(service, "wall", **{field[0]: field[1]})
                if n * 4 + i % 4 < len(rows) and i < 4:
                    service.request("POST", "/v1/compliance/profiles/Wall/rows", {"event": rows[n * 4 + i], "handling": "pass"})
                service.request("POST", "/v1/compliance/servers", {"name": f"s{n}-{i}", "host": "h", "port": 1, "password": "p"})
        except (Refused, OSError) as e:
            wrong.append((n, str(e)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    servers = {server["name"]: server for server in service.get("/v1/compliance/servers")["servers"]}
    wall = servers["wall"]
    assert len(servers) == 61 and wall["password_set"]
    assert [wall[f] for f in ("host", "port", "description", "link_outstanding", "answer_bytes", "tls_name")] == ["h9", 109, "d9", 10, 2009, "t9"]
    assert {row["event"] for row in service.get("/v1/compliance/profiles")["profiles"][1]["rows"]} == set(rows[:24])
    # Who must know what else was changed says which version the change is meant for.
    version = service.get("/v1/compliance/servers")["version"]
    service.request("PATCH", f"/v1/compliance/servers/wall?base={version}", {"host": "a"})
    with pytest.raises(Refused) as refusal:
        service.request("PATCH", f"/v1/compliance/servers/wall?base={version}", {"host": "b"})
    assert refusal.value.status == 409 and service.get("/v1/compliance/servers")["servers"][0]["host"] == "a"


def test_events_names_and_profiles_are_changed_one_by_one(services, closing):
    service = services()
    service.user("romeo", "juliet")
    profile = ("compliance", "profile")
    event = (*profile, "event")

    def rows(name):
        return [(r["event"], r.get("packet"), r["handling"], r["fire_and_forget"]) for p in service.get("/v1/compliance/profiles")["profiles"] if p["name"] == name
                for r in p["rows"]]

    assert "copied" in ctl(service, *profile, "copy", "SystemDefaultComplianceProfile", "Mine")
    assert rows("Mine") == rows("SystemDefaultComplianceProfile") and len(rows("Mine")) == 9
    assert "already" in ctl(service, *profile, "copy", "Mine", "Mine", code=1) and "no compliance profile" in ctl(service, *profile, "copy", "None", "Other", code=1)
    ctl(service, *event, "delete", "Mine", "e_SESSION")
    ctl(service, *event, "add", "Mine", "e_OFFLINE:message,pass")
    ctl(service, *event, "set", "Mine", "es_IN:message,pass")
    assert len(rows("Mine")) == 9 and ("es_IN", "message", "pass", False) in rows("Mine") and rows("Mine")[-1] == ("e_OFFLINE", "message", "pass", False)
    assert "twice" in ctl(service, *event, "add", "Mine", "es_IN:message", code=1)
    assert "packet type all includes" in ctl(service, *event, "add", "Mine", "es_IN", code=1)
    assert "read-only" in ctl(service, *event, "add", "SystemDefaultComplianceProfile", "e_AUTH", code=1)
    assert "does not stand in it" in ctl(service, *event, "delete", "Mine", "e_AUTH", code=1)
    assert "what is to be different" in ctl(service, *event, "set", "Mine", "es_IN:message", code=2)
    warned = ctl(service, *event, "set", "Mine", "onBeforeJoin,forget")
    assert "warning: onBeforeJoin: bounce together with fire and forget" in warned
    shown = ctl(service, *profile, "show", "Mine")
    assert re.search(r"onBeforeJoin +-? +bounce +yes +no +see below\n", shown) and "\nwarning: onBeforeJoin: bounce together" in shown and shown.count("see below") == 1
    ctl(service, *event, "set", "Mine", "onBeforeJoin,wait")
    assert "see below" not in ctl(service, *profile, "show", "Mine")
    # Names: of what is not assigned. Then the profile of an assignment, in one step and at once.
    assert "renamed Ours" in ctl(service, *profile, "rename", "Mine", "Ours") and "only letters and digits" in ctl(service, *profile, "rename", "Ours", "O urs", code=1)
    wall = closing(Compliance("op-wall.node1-example-com"))
    service.request("POST", "/v1/compliance/servers", {"name": "first", "host": "127.0.0.1", "port": wall.port, "password": "secret-of-the-link"})
    ctl(service, "compliance", "server", "rename", "first", "wall")
    ctl(service, "compliance", "assignment", "add", "wall", "--profile", "Ours")
    assert "cannot be renamed; unassign it first" in ctl(service, *profile, "rename", "Ours", "Mine", code=1)
    assert "cannot be renamed; unassign it first" in ctl(service, "compliance", "server", "rename", "wall", "first", code=1)
    assert "already, with profile" in ctl(service, "compliance", "assignment", "add", "wall", "--profile", "SystemDefaultComplianceProfile", code=1)
    service.wait_link("op-wall.node1-example-com", "ACTIVE")
    service.profile("Out", [("es_OUT", "message", "bounce", False)])
    romeo, juliet = Client(service, "romeo", "balcony"), Client(service, "juliet", "garden")
    romeo.message(juliet.bare, "one")
    assert text(juliet.next_message()) == "one" and [e.name for e in wall.seen(body="one")] == ["es_OUT", "es_IN"]
    ctl(service, "compliance", "assignment", "set", "wall", "--profile", "Out")
    romeo.message(juliet.bare, "two")
    assert text(juliet.next_message()) == "two" and [e.name for e in wall.seen(body="two")] == ["es_OUT"]
    assert wall.connections == 1 and service.link("op-wall.node1-example-com")["profile"] == "Out"
    ctl(service, *profile, "rename", "Ours", "Mine") # not assigned any more
    assert "is not assigned" in ctl(service, "compliance", "assignment", "set", "wall", "--node", "n2.example.com", "--profile", "Out", code=1)


def test_a_warning_is_asked_about_at_the_terminal(services):
    service = services()

    def at_the_terminal(typed):
        master, slave = pty.openpty()
        process = subprocess.Popen([BIN / "signetctl", "--socket", service.options["admin.socket"], "compliance", "profile", "add", "Drops", "--event", "es_OUT:message,forget"],
                                   stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.write(master, typed)
        code, said = process.wait(30 * SLOW), b""
        while select.select([master], [], [], 0.05)[0]:
            said += os.read(master, 4096)
        os.close(slave)
        os.close(master)
        return code, said.decode()

    code, said = at_the_terminal(b"no\n")
    assert code == 2 and "discarded" in said and "nothing was done" in said and len(service.get("/v1/compliance/profiles")["profiles"]) == 1
    code, said = at_the_terminal(b"yes\n")
    assert code == 0 and said.count("discarded") == 1 and len(service.get("/v1/compliance/profiles")["profiles"]) == 2


def test_documents_stored_before_there_were_these_fields(services):
    """What an older version stored is loaded, with the defaults for what it did not know."""
    import sqlite3
    service = services()
    service.compliance_server("wall", 7)
    assert service.stop() == 0
    database = next((service.dir / "data").glob("*.db"))
    connection = sqlite3.connect(database)
    (table, column), = [(t, c[1]) for t, in connection.execute("select name from sqlite_master where type = 'table'").fetchall()
                        for c in connection.execute(f"pragma table_info({t})").fetchall() if "compliance" in t and c[1] in ("json", "document", "text", "config")]
    old = ('{"servers":[{"name":"wall","description":"","host":"127.0.0.1","port":7,"direction":"connect","tls":false,"tls_ca":"","password":"secret-of-the-link"}],'
           '"profiles":[{"name":"Old","description":"","read_only":false,"rows":[{"event":"es_IN","handling":"bounce","fire_and_forget":false,"packet":"all"}]}],'
           '"assignments":[{"node":"node1.example.com","server":"wall","profile":"Old","component":"op-wall.node1-example-com"}]}')
    connection.execute(f"update {table} set {column} = ?", (old,))
    connection.commit()
    connection.close()
    service.start()
    server, = service.get("/v1/compliance/servers")["servers"]
    assert (server["port"], server["tls_name"], server["tls_cert"], server["link_outstanding"], server["answer_bytes"]) == (7, "", "", 0, 0)
    assert service.link("op-wall.node1-example-com")["profile"] == "Old"
    assert [p["name"] for p in service.get("/v1/compliance/profiles")["profiles"]] == ["Old", "SystemDefaultComplianceProfile"]
