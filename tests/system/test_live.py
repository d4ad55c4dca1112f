"""The compliance configuration changes under load: a hundred changes of every kind lose, double and reorder nothing, and what was delivered was recorded.

In ./check messages come at a rate that a build with sanitizers bears. At full rate, with a build without them:
    bash -c '. tools/common.sh; build build-release -Dbuildtype=release'
    SIGNET_BIN=$PWD/build-release/bin SIGNET_LIVE_RATE=5000 python3 -m pytest -s tests/system/test_live.py
"""
import json
import os
import subprocess
import time

import pytest

from harness.programs import BUILD, PASSWORD_OF_LINK, Program, free_port
from harness.service import BIN, SLOW

RATE = int(os.environ.get("SIGNET_LIVE_RATE", int(900 / SLOW)))
PAIRS, CHANGES = 20, 100
SECONDS = int(os.environ.get("SIGNET_LIVE_SECONDS", 25 if SLOW == 1 else 30))
SYSTEM, EXTRA = "SystemDefaultComplianceProfile", "Extra"
BOTH = [("es_OUT", "message", "bounce", False), ("es_IN", "message", "bounce", False)]


class Witness(Program):
    """Notes, in order, every message it is shown."""

    def __init__(self, service, name):
        self.name, self.port, self.file = name, free_port(), service.dir / f"{name}.notes"
        self.component = f"op-{name}.{str(service.options['server.node']).replace('.', '-')}"
        super().__init__(BUILD / "tests" / "system" / "witness", self.port, self.component, self.file, env={"PASSWORD": PASSWORD_OF_LINK})

    def notes(self):
        """(event, profile, sender, number, when it was due in ns), each event once."""
        seen = set()
        with open(self.file) as f:
            for line in f:
                event, profile, identity, sender, _, number, due = line.split()[:7]
                if (profile, identity) not in seen:
                    seen.add((profile, identity))
                    yield event, profile, sender, int(number), int(due)


@pytest.fixture
def stage(services, closing):
    service = services({"register.enabled": "yes", "c2s.plain_loopback": "yes", "c2s.trusted_addresses": "127.0.0.0/8", "broker.versions": 60,
                        "broker.event_timeout": int(10000 * SLOW)})
    made = subprocess.run([BIN / "signet-bench", "accounts", "--in-band", "--count", str(2 * PAIRS), "--host", "127.0.0.1", "--port", str(service.port),
                           "--domain", "example.com", "--tls", "none"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    base, other = closing(Witness(service, "base")), closing(Witness(service, "other"))
    service.compliance_server(base.name, base.port)
    service.wait_link(base.component, "ACTIVE")
    service.request("POST", "/v1/compliance/servers", {"name": other.name, "host": "127.0.0.1", "port": other.port, "password": PASSWORD_OF_LINK})
    service.profile(EXTRA, BOTH)
    return service, base, other


class Changes:
    """Makes changes one after the other, and knows how long each took and when Extra asked about everything."""

    def __init__(self, service):
        self.service, self.took, self.kinds, self.spans = service, [], {}, []

    def do(self, kind, method, path, body=None):
        began = time.monotonic()
        answer = self.service.request(method, "/v1/compliance/" + path, body)
        self.took.append(time.monotonic() - began)
        self.kinds.setdefault(kind, []).append(self.took[-1])
        time.sleep(0.02)
        return answer["version"]

    def round(self, node):
        away = f"assignments/{node}/other"
        rows = self.service._rows
        self.do("server added", "POST", "servers", {"name": "spare", "host": "127.0.0.1", "port": 9, "password": "x"})
        with_extra = self.do("assignment added", "POST", "assignments", {"server": "other", "profile": EXTRA})
        began = time.monotonic_ns()
        self.do("priority", "POST", f"profiles/{EXTRA}/move", {"by": -1})
        time.sleep(0.6)
        self.do("priority", "POST", f"profiles/{EXTRA}/move", {"by": 1})
        self.spans.append((began, time.monotonic_ns() - int(0.3e9)))
        self.do("handling", "PATCH", f"profiles/{EXTRA}", {"rows": rows([("es_IN", "message", "pass", False)])})
        self.do("password wrong", "PATCH", "servers/other", {"password": "another"})
        self.do("password right", "PATCH", "servers/other", {"password": PASSWORD_OF_LINK})
        self.do("assignment deleted", "DELETE", away)
        self.do("assignment added", "POST", "assignments", {"server": "other", "profile": SYSTEM})
        self.do("server moved", "PATCH", away, {"profile": EXTRA})
        self.do("handling", "PATCH", f"profiles/{EXTRA}", {"rows": rows([("es_IN", "all", "pass", True), ("es_OUT", "message", "bounce", False)])})
        self.do("rollback", "POST", "rollback", {"version": with_extra})
        self.do("assignment deleted", "DELETE", away)
        self.do("server deleted", "DELETE", "servers/spare")


def load(service, seconds):
    return subprocess.Popen([BIN / "signet-bench", "chat", "--host", "127.0.0.1", "--port", str(service.port), "--domain", "example.com", "--tls", "none",
                             "--pairs", str(PAIRS), "--rate", str(RATE), "--warmup", "0", "--seconds", str(seconds), "--json", "--quiet"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def in_order(notes, who):
    last, found = {}, {}
    for event, profile, sender, number, due in notes:
        key = (event, profile, sender)
        assert last.get(key, -1) < number, f"{who} was asked about {number} of {key} after {last[key]}"
        last[key] = number
        found.setdefault((event, profile), {})[sender, number] = due
    return found


def test_a_hundred_changes_under_load(stage):
    service, base, other = stage
    changes, node = Changes(service), service.options["server.node"]
    began = time.monotonic()
    running = load(service, SECONDS)
    while time.monotonic() - began < SECONDS - 2 and running.poll() is None:
        changes.round(node)
    out, err = running.communicate(timeout=60 * SLOW)
    assert out, err
    result = json.loads(out)
    print(f"\n{result['sent']} messages in {SECONDS} s at {RATE}/s; latency in us: {result['latency_us']}")
    took = sorted(changes.took)
    print(f"{len(took)} changes, in force on all workers after: median {took[len(took) // 2] * 1000:.0f} ms, most {took[-1] * 1000:.0f} ms")
    for kind, times in changes.kinds.items():
        print(f"  {kind}: {len(times)} times, {sum(times) / len(times) * 1000:.0f} ms, most {max(times) * 1000:.0f} ms")
    assert result["lost"] == result["doubled"] == result["out_of_order"] == result["errors"] == 0, (result, err)
    assert result["sent"] > 0.9 * RATE * SECONDS
    assert len(took) >= CHANGES, "so many while messages flowed"
    assert took[-1] < 1.0 * SLOW, "in force within a second"
    service.quiet()
    assert base.stop() == 0 and other.stop() == 0
    check_records(result["sent"], changes, in_order(base.notes(), "base"), in_order(other.notes(), "other"))


def check_records(sent, changes, at_base, at_other):
    for event in ("es_OUT", "es_IN"):
        # Somebody with the system profile was always to be asked, and was, about each.
        everything = at_base[event, SYSTEM].keys() | at_other.get((event, SYSTEM), {}).keys()
        assert len(everything) == sent, f"{sent} delivered, {len(everything)} recorded at {event}"
        # And so was Extra while it asked.
        spans = 0
        recorded = at_other[event, EXTRA]
        for (sender, number), due in at_base[event, SYSTEM].items():
            if any(begin <= due < end for begin, end in changes.spans):
                spans += 1
                assert (sender, number) in recorded, f"{event} of {sender} {number} was delivered and not shown to Extra"
        assert spans > len(changes.spans) * RATE * 0.1
