"""Versions of the compliance configuration: history, diff, rollback, who changed what when another did, and what is in force after a crash."""
import getpass
import json
import sqlite3
import subprocess
import threading

import pytest

from harness.client import Client, condition
from harness.service import BIN, SLOW, Refused

SYSTEM = "SystemDefaultComplianceProfile"


@pytest.fixture
def service(services):
    return services({"broker.versions": 12})


def ctl(service, *words, code=0, stdin=None):
    done = subprocess.run([BIN / "signetctl", "--socket", str(service.options["admin.socket"]), *map(str, words)], capture_output=True, text=True, timeout=60 * SLOW,
                          input=stdin, stdin=subprocess.DEVNULL if stdin is None else None)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def add_server(service, name="wall", password="first-secret", **fields):
    service.request("POST", "/v1/compliance/servers", {"name": name, "host": "h.example", "port": 7000, "password": password, **fields})


def versions(service, *words):
    return json.loads(ctl(service, "compliance", "history", "--json", *words))["versions"]


def stored(service):
    """The document of the newest version, as it is in the store: with its passwords."""
    with sqlite3.connect(service.dir / "data" / "store.db") as db:
        return db.execute("SELECT version, json FROM compliance ORDER BY version DESC LIMIT 1").fetchone()


def test_history(service):
    add_server(service)
    ctl(service, "compliance", "server", "set", "wall", "--port", "7001", "--description", "the wall", "--comment", "moved: ticket & 7?")
    ctl(service, "compliance", "server", "set", "wall", "--password-stdin", stdin="second-secret\n")
    ctl(service, "compliance", "profile", "add", "Talk", "--event", "es_IN:message")
    ctl(service, "compliance", "profile", "up", "Talk")
    ctl(service, "compliance", "assignment", "add", "wall", "--profile", "Talk", "--comment", "at last")
    newest = versions(service)
    assert [v["version"] for v in newest] == [6, 5, 4, 3, 2, 1]
    assert [v["in_force"] for v in newest] == [True] + 5 * [False]
    assert {v["by"] for v in newest} == {getpass.getuser()}
    assert [v["what"] for v in reversed(newest)] == [
        "server wall added", "server wall, description: - -> the wall; server wall, port: 7000 -> 7001", "server wall, password changed", "profile Talk added",
        f"routing priority: {SYSTEM}, Talk -> Talk, {SYSTEM}", "assignment wall on node1.example.com added"]
    assert [v["comment"] for v in reversed(newest)] == ["", "moved: ticket & 7?", "", "", "", "at last"]
    assert [v["version"] for v in versions(service, "--limit", "2")] == [6, 5]
    table = ctl(service, "compliance", "history")
    assert table.startswith("VERSION") and "server wall, password changed" in table and "secret" not in table
    # What changes nothing is no version.
    ctl(service, "compliance", "profile", "up", "Talk")
    ctl(service, "compliance", "server", "set", "wall", "--port", "7001")
    assert versions(service)[0]["version"] == 6
    assert "from 1 to 1000" in ctl(service, "compliance", "history", "--limit", "0", code=2)
    assert "1000" in ctl(service, "compliance", "history", "--limit", "1001", code=1)


def test_diff(service):
    add_server(service)
    add_server(service, "other")
    ctl(service, "compliance", "profile", "add", "Talk", "--event", "es_IN:message", "--event", "es_OUT:iq,pass")
    ctl(service, "compliance", "profile", "set", "Talk", "--event", "es_IN:message,pass,forget", "--event", "es_END")
    ctl(service, "compliance", "server", "set", "wall", "--host", "g.example", "--password-stdin", stdin="second-secret\n")
    ctl(service, "compliance", "server", "delete", "other")
    changes = json.loads(ctl(service, "compliance", "diff", "3", "6", "--json"))
    assert (changes["from"], changes["to"]) == (3, 6)
    told = [(c["object"], c["name"], c["change"], c.get("field"), c.get("old"), c.get("new")) for c in changes["changes"]]
    assert told == [("server", "wall", "changed", "host", "h.example", "g.example"), ("server", "wall", "changed", "password", None, "changed"),
                    ("server", "other", "deleted", None, None, None),
                    ("profile", "Talk", "changed", "row es_IN message", "bounce", "pass, fire and forget"),
                    ("profile", "Talk", "changed", "row es_END all", None, "bounce"), ("profile", "Talk", "changed", "row es_OUT iq", "pass", None)]
    assert ctl(service, "compliance", "diff", "3") == ctl(service, "compliance", "diff", "3", "6")
    table = [line.split() for line in ctl(service, "compliance", "diff", "1", "2").splitlines()]
    assert ["server", "other", "added", "-", "-"] in table and ["server", "other", "port", "-", "7000"] in table and ["server", "other", "password", "-", "set"] in table
    assert "do not differ" in ctl(service, "compliance", "diff", "4", "4")
    assert "secret" not in ctl(service, "compliance", "diff", "1", "6", "--json")
    assert "there is no version 9" in ctl(service, "compliance", "diff", "9", code=1)
    assert "is not the number of a version" in ctl(service, "compliance", "diff", "last", code=2)
    assert "too few arguments" in ctl(service, "compliance", "diff", code=2) and "too many" in ctl(service, "compliance", "diff", "1", "2", "3", code=2)
    shown = service.get("/v1/compliance/versions/1")
    assert shown["version"] == 1 and [s["name"] for s in shown["servers"]] == ["wall"] and "password" not in shown["servers"][0]


def test_rollback(service):
    add_server(service)
    ctl(service, "compliance", "profile", "add", "Talk", "--event", "es_IN:message")
    ctl(service, "compliance", "server", "set", "wall", "--password-stdin", "--port", "1", stdin="second-secret\n")
    ctl(service, "compliance", "profile", "delete", "Talk")
    assert "use --yes" in ctl(service, "compliance", "rollback", "2", code=2) and versions(service)[0]["version"] == 4
    told = ctl(service, "compliance", "rollback", "2", "--yes", "--comment", "oops")
    assert "version 5 is in force" in told
    newest = versions(service)[0]
    assert newest["what"] == "rollback to version 2: server wall, port: 1 -> 7000; server wall, password changed; profile Talk added" and newest["comment"] == "oops"
    version, document = stored(service)
    assert version == 5 and json.loads(document)["servers"][0]["password"] == "first-secret", "the password of then is back"
    assert "do not differ" in ctl(service, "compliance", "diff", "2", "5")
    assert "there is no version 99" in ctl(service, "compliance", "rollback", "99", "--yes", code=1)
    ctl(service, "compliance", "rollback", "5", "--yes")
    assert versions(service)[0]["version"] == 5, "nothing to go back from"


def test_rollback_is_checked_as_of_now(service, tmp_path):
    ca = tmp_path / "ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", tmp_path / "key.pem", "-out", ca], check=True,
                   capture_output=True)
    add_server(service, tls=True, tls_ca=str(ca))
    ctl(service, "compliance", "assignment", "add", "wall")
    ctl(service, "compliance", "assignment", "delete", "wall")
    ca.unlink()
    assert str(ca) in ctl(service, "compliance", "rollback", "2", "--yes", code=1)
    assert versions(service)[0]["version"] == 3 and service.get("/v1/compliance/assignments")["assignments"] == []


def test_old_versions_are_forgotten(service):
    add_server(service)
    for port in range(1, 15):
        ctl(service, "compliance", "server", "set", "wall", "--port", str(port))
    assert [v["version"] for v in versions(service)] == list(range(15, 3, -1))
    assert "or none any more" in ctl(service, "compliance", "rollback", "3", "--yes", code=1)


def test_no_update_is_lost(service):
    """Many at once, each with a server of his own: all are there, in as many versions. Who says for which version a change is meant is told when it is another."""
    def work(i):
        add_server(service, f"s{i}")
        service.request("PATCH", f"/v1/compliance/servers/s{i}", {"port": 8000 + i})

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    answer = service.get("/v1/compliance/servers")
    assert answer["version"] == 16 and sorted(s["port"] for s in answer["servers"]) == list(range(8000, 8008))
    service.request("PATCH", "/v1/compliance/servers/s1?base=16", {"port": 9001})
    with pytest.raises(Refused) as refused:
        service.request("PATCH", "/v1/compliance/servers/s2?base=16", {"port": 9002})
    assert refused.value.status == 409 and "version 17 is in force" in refused.value.answer["text"]


def test_newest_stored_version_is_in_force_after_a_crash(service, closing):
    """Killed after a version was stored and before it was in force: it is in force after the start."""
    service.user("romeo", "juliet")
    add_server(service)
    service.kill()
    path = service.dir / "data" / "store.db"
    version, text = stored(service)
    document = json.loads(text)
    document["assignments"] = [{"node": "node1.example.com", "server": "wall", "profile": SYSTEM, "component": "op-wall.node1-example-com"}]
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO compliance (version, json, changed_by, what, wall_ms) VALUES (?, ?, 'x', 'by hand', 1)", (version + 1, json.dumps(document)))
    service.out.close()
    service.start()
    assert versions(service)[0]["version"] == version + 1 and versions(service)[0]["in_force"]
    romeo = closing(Client(service, "romeo", "balcony"))
    romeo.message("juliet@example.com", "nobody can be asked about this")
    assert condition(romeo.next_message()) == "internal-server-error"


def test_what_cannot_be_in_force_is_not_stored(service, tmp_path):
    with pytest.raises(Refused):
        add_server(service, tls=True, tls_ca=str(tmp_path / "none.pem"))
        service.request("POST", "/v1/compliance/assignments", {"server": "wall"})
    assert service.get("/v1/compliance/assignments")["assignments"] == []


def test_a_store_that_fails_changes_nothing(service):
    add_server(service)
    with sqlite3.connect(service.dir / "data" / "store.db") as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON compliance BEGIN SELECT RAISE(FAIL, 'no room'); END")
    with pytest.raises(Refused) as refused:
        service.request("PATCH", "/v1/compliance/servers/wall", {"port": 1})
    assert refused.value.status == 500
    answer = service.get("/v1/compliance/servers")
    assert answer["version"] == 1 and answer["servers"][0]["port"] == 7000
    with sqlite3.connect(service.dir / "data" / "store.db") as db:
        db.execute("DROP TRIGGER full")
    assert service.request("PATCH", "/v1/compliance/servers/wall", {"port": 1})["version"] == 2
