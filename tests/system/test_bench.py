"""signet-bench: it logs in to a server in every way, what it counts is right, and it sees what is lost, doubled or out of order."""
import json
import re
import socket
import subprocess
import threading

import pytest

from harness.service import BIN, SLOW

ACCOUNTS = 8
WAYS = [("none", "PLAIN"), ("none", "SCRAM-SHA-1"), ("starttls", "any"), ("direct", "SCRAM-SHA-256")]


@pytest.fixture(scope="module")
def service():
    from harness.service import Service
    s = Service({"register.enabled": "yes", "c2s.plain_loopback": "yes", "c2s.trusted_addresses": "127.0.0.0/8"})
    made = bench(s, "accounts", "--in-band", "--count", ACCOUNTS)
    assert made == {"made": ACCOUNTS, "existed": 0}
    yield s
    s.close()


def run(service, command, *options, tls="none", port=None):
    port = port or (service.port_tls if tls == "direct" else service.port)
    return subprocess.run([str(a) for a in (BIN / "signet-bench", command, "--host", "127.0.0.1", "--port", port, "--domain", "example.com", "--tls", tls,
                                            "--json", *options)], capture_output=True, text=True, timeout=60 * SLOW)


def bench(service, command, *options, status=0, **keywords):
    done = run(service, command, *options, **keywords)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_accounts_are_made_once(service):
    assert bench(service, "accounts", "--in-band", "--count", ACCOUNTS + 1, tls="starttls") == {"made": 1, "existed": ACCOUNTS}


@pytest.mark.parametrize("tls,mechanism", WAYS)
def test_chat(service, tls, mechanism):
    result = bench(service, "chat", "--pairs", ACCOUNTS // 2, "--window", 3, "--warmup", 0, "--seconds", 1, "--mechanism", mechanism, "--server",
                   f"{service.process.pid}=signetd", tls=tls)
    assert result["sent"] > 100 and result["lost"] == result["doubled"] == result["out_of_order"] == result["errors"] == 0
    latency = result["latency_us"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"] < 60e6 * SLOW
    server, = result["servers"]
    assert server["name"] == "signetd" and server["processes"] == 1
    # What is said for each message is what was used, of what one process can use, and about what the server says itself.
    messages = result["messages_per_second"] * result["seconds"]
    assert server["cpu_us_per_message"] == pytest.approx(server["cpu_seconds"] * 1e6 / messages, rel=0.01)
    assert 0 < server["cpu_seconds"] < 2.5 * result["seconds"] + 0.1


def test_fixed_rate(service):
    result = bench(service, "chat", "--pairs", 4, "--rate", 200, "--warmup", 0, "--seconds", 2)
    assert 380 <= result["sent"] <= 420 and result["lost"] == 0 and result["single"]


def test_room(service):
    result = bench(service, "room", "--rooms", 2, "--occupants", ACCOUNTS, "--senders", 3, "--window", 2, "--warmup", 0, "--seconds", 1, "--server",
                   f"{service.process.pid}=signetd")
    assert result["sent"] > 50 and result["lost"] == result["doubled"] == result["out_of_order"] == result["errors"] == 0
    server, = result["servers"]
    deliveries = result["deliveries_per_second"] * result["seconds"]
    assert deliveries <= result["sent"] * ACCOUNTS and server["cpu_us_per_delivery"] == pytest.approx(server["cpu_seconds"] * 1e6 / deliveries, rel=0.01)
    assert server["cpu_us_per_join"] >= 0


def test_room_at_a_fixed_rate(service):
    result = bench(service, "room", "--occupants", ACCOUNTS, "--senders", 2, "--rate", 50, "--warmup", 0, "--seconds", 2, "--muc", "conference.example.com", tls="starttls")
    assert 90 <= result["sent"] <= 110 and result["lost"] == 0 and result["deliveries_per_second"] == pytest.approx(50 * ACCOUNTS, rel=0.3)


def test_idle(service):
    result = bench(service, "idle", "--sessions", ACCOUNTS, "--settle", 0, "--seconds", 1, "--server", service.process.pid, tls="starttls")
    server, = result["servers"]
    assert result["sessions"] == ACCOUNTS and server["rss_bytes"] > 1e6 and server["cpu_seconds"] >= 0


class Tamperer:
    """Between the clients and the server: changes the row of messages on its way out of the server. change(list of messages) -> list."""

    def __init__(self, port, change):
        self.to, self.change, self.listener = port, change, socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self.copy, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, self.change), daemon=True).start()

    @staticmethod
    def copy(source, target, change):
        held, kept = [], b""
        try:
            while data := source.recv(65536):
                if change is None:
                    target.sendall(data)
                    continue
                kept += data
                while m := re.search(rb"<message\b.*?</message>", kept, re.S):
                    target.sendall(kept[:m.start()])
                    kept = kept[m.end():]
                    if b"<body>b1 " not in m[0]:  # a room's subject
                        target.sendall(m[0])
                        continue
                    held.append(m[0])
                    if len(held) == 10:
                        target.sendall(b"".join(change(held)))
                        held = []
                begun = kept.find(b"<message")
                if begun < 0:
                    begun = next((i for i in range(max(0, len(kept) - 8), len(kept)) if b"<message".startswith(kept[i:])), len(kept))
                target.sendall(kept[:begun])
                kept = kept[begun:]
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()


@pytest.mark.parametrize("change,found", [
    (lambda m: m, {"lost": 0, "doubled": 0, "out_of_order": 0}),
    (lambda m: m[:4] + m[5:], {"lost": 10, "doubled": 0, "out_of_order": 0}),
    (lambda m: m[:5] + m[4:], {"lost": 0, "doubled": 10, "out_of_order": 0}),
    (lambda m: [m[0], m[2], m[1], *m[3:]], {"lost": 0, "doubled": 0, "out_of_order": 10}),
], ids=["nothing", "lost", "doubled", "order"])
def test_what_goes_wrong_is_seen(service, change, found):
    between = Tamperer(service.port, change)
    try:
        # 100 messages, ten tens: each ten is changed once. The wait for what was lost is bounded.
        done = run(service, "chat", "--pairs", 1, "--rate", 100, "--warmup", 0, "--seconds", 1, port=between.port)
    finally:
        between.listener.close()
    result = json.loads(done.stdout)
    tens, rest = divmod(result["sent"], 10)  # the rest is still held by the one between
    assert 5 <= tens <= 11 and done.returncode == (1 if rest or any(found.values()) else 0)
    for key, per_hundred in found.items():
        assert result[key] == per_hundred * tens // 10 + (rest if key == "lost" else 0), result


@pytest.mark.parametrize("change,found", [
    (lambda m: m, None), (lambda m: m[:4] + m[5:], "lost"), (lambda m: m[:5] + m[4:], "doubled"), (lambda m: [m[0], m[2], m[1], *m[3:]], "out_of_order"),
], ids=["nothing", "lost", "doubled", "order"])
def test_what_goes_wrong_in_a_room_is_seen(service, change, found):
    """One occupant's messages are tampered with, the other ones' are not: the second connection is his."""
    connections = []

    def of_the_second(messages):
        key = threading.get_ident()
        if key not in connections:
            connections.append(key)
        return change(messages) if connections.index(key) == 1 else messages
    between = Tamperer(service.port, of_the_second)
    try:
        done = run(service, "room", "--occupants", 3, "--senders", 1, "--rate", 100, "--warmup", 0, "--seconds", 1, port=between.port)
    finally:
        between.listener.close()
    result = json.loads(done.stdout)
    rest = 3 * (result["sent"] % 10)  # still held by the one between
    assert done.returncode == (1 if rest or found else 0)
    for key in ("lost", "doubled", "out_of_order"):
        assert (result[key] >= 5) if key == found else result[key] == (rest if key == "lost" else 0), result


def test_a_wrong_password_is_said(service):
    done = run(service, "chat", "--pairs", 1, "--logins", 1, "--password", "wrong")
    assert done.returncode == 1 and "client 0: bench0 cannot log in" in done.stderr and "not-authorized" in done.stderr


@pytest.mark.parametrize("arguments,words", [
    ((), "a command is needed"), (("chat", "--pairs", "0"), "a number from 1"), (("chat", "--tls", "yes"), "one of none, starttls, direct"),
    (("chat", "--user", "same"), "with one %u in it"), (("accounts",), "--csv FILE or --in-band"), (("idle", "--nonsense"), "'--nonsense' is not understood"),
    (("chat", "--rate"), "--rate needs a value"),
])
def test_wrong_usage(arguments, words):
    done = subprocess.run([BIN / "signet-bench", *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and words in done.stderr
