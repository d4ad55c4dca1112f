"""Limits, abuse and certificates with a running signetd: what the unit tests of client streams cannot see, because it needs the daemon, its log or its files."""
import pathlib
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from harness.client import Client, Closed, condition
from harness.service import SLOW, wait_until

ROOT = pathlib.Path(__file__).parents[2]
FILTER = ROOT / "packaging" / "fail2ban" / "filter.d" / "signet.conf"
STREAM_ERROR = "{http://etherx.jabber.org/streams}error"


def wrong(service, name, times=1):
    client = Client(service, name, login=False)
    for _ in range(times):
        client.open()
        client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHdyb25n</auth>")
        assert client.next()[0].tag.endswith("}not-authorized")
        client = Client(service, name, login=False)
    client.sock.close()


# ---- fail2ban ----

def failregex():
    """The filter's expression for Python, with what fail2ban and its common.conf put in: an address, and syslog's prefix."""
    text = re.search(r"^failregex = (.*)$", FILTER.read_text(), re.M).group(1)
    text = text.replace("%(__prefix_line)s", r"\S+ signetd\[\d+\]: ").replace("<ADDR>", r"(?P<address>[0-9a-fA-F.:]+)").replace("%%", "%")
    return re.compile(text)


def hits(lines):
    """fail2ban cuts the date out of a line before it looks at it."""
    found = []
    for line in lines:
        match = failregex().search(re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=\"time\":\")\d{4}-\d\d-\d\dT[\d:.]+Z", "", line))
        if match:
            found.append(match["address"])
    return found


@pytest.mark.parametrize("form", ["text", "json"])
def test_fail2ban_filter_finds_failed_logins_only(services, tmp_path, form):
    service = services({"log.format": form})
    service.user("romeo")
    wrong(service, "romeo", 2)
    Client(service, "romeo").close()
    client = Client(service, "romeo", login=False)
    client.open()
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'/>")
    client.next()
    client.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
    assert client.next()[0].tag.endswith("}aborted")
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-NONE'/>")
    assert client.next()[0].tag.endswith("}invalid-mechanism")
    # A name that wants to be a log line: it stays within its quotes.
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>eABhJyBmcm9tIDEwLjAuMC4xIChQTEFJTik6IHdyb25nAHg=</auth>")
    client.next()
    client.close()
    service.stop()
    lines = service.log().splitlines()
    assert hits(lines) == ["127.0.0.1"] * 3, [line for line in lines if "login" in line]
    tool, installed = shutil.which("fail2ban-regex"), pathlib.Path("/etc/fail2ban")
    if tool and installed.is_dir():
        shutil.copytree(installed, tmp_path / "fail2ban")
        shutil.copy(FILTER, tmp_path / "fail2ban" / "filter.d")
        out = subprocess.run([tool, "-c", tmp_path / "fail2ban", service.dir / "signetd.log", "signet"], capture_output=True, text=True, timeout=60).stdout
        assert "Failregex: 3 total" in out, out


def test_fail2ban_filter_reads_the_journal_too():
    lines = ["host signetd[12]: login failed for 'juliet@example.com' from 192.0.2.4 (PLAIN): wrong password",
             "host signetd[12]: 2026-11-22T18:08:16.052Z notice c2s [worker-0]: login failed for 'a@b' from 2001:db8::5 (PLAIN): wrong password"]
    assert [failregex().search(line)["address"] for line in lines] == ["192.0.2.4", "2001:db8::5"]
    assert not failregex().search("host signetd[12]: login refused for 'a@b' from 192.0.2.4 (PLAIN): not-authorized, though the credentials were right")


def test_blocked_account_raises_the_alarm_and_is_served_again(services):
    service = services({"c2s.account_failures": 3, "c2s.block_time": int(3 * SLOW)})
    service.user("romeo", "juliet")
    wrong(service, "romeo", 3)
    with pytest.raises(PermissionError, match="temporary-auth-failure"):
        Client(service, "romeo")
    assert service.metric("login_blocked") == 1 and service.metric("alarms_active") == 1
    Client(service, "juliet").close()
    wait_until("the end of the block", lambda: service.metric("login_blocked") == 0, 30)
    Client(service, "romeo").close()


# ---- connections that never log in ----

def knock(service, address, times, direct_tls=False):
    """So many connections from that address, on which nothing is said."""
    port = service.port_tls if direct_tls else service.port
    return [socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW, source_address=(address, 0)) for _ in range(times)]


def heard(sock):
    """What is said to one who is sent away: all of it, up to the end of the connection."""
    sock.settimeout(10 * SLOW)
    data = b""
    try:
        while got := sock.recv(4096):
            data += got
    except ConnectionError:
        pass
    return data.decode()


def active(service):
    return [a for a in service.get("/v1/alarms")["alarms"] if a["name"] == "unauthenticated-full" and a["active"]]


def test_a_flood_of_connections_shuts_out_itself_and_nobody_else(services):
    service = services({"c2s.unauthenticated": 40})
    service.user("romeo", "juliet")
    romeo = Client(service, "romeo")
    flood = knock(service, "127.0.0.2", 150)
    wait_until("the limit", lambda: service.metric("c2s_cut_total", limit="unauthenticated") >= 110)
    assert service.metric("c2s_unauthenticated") <= 40 and active(service)
    told = heard(flood[-1])  # one of the newcomers; the first who were sent away were told why, the many after them perhaps not
    assert told == "" or "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" in told and told.endswith("</stream:stream>")
    for _ in range(5):
        Client(service, "juliet").close()
        Client(service, "juliet", direct_tls=False).close()
    romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    before = service.metric("c2s_cut_total", limit="unauthenticated")
    flood += knock(service, "127.0.0.2", 50, direct_tls=True)
    wait_until("the limit again", lambda: service.metric("c2s_cut_total", limit="unauthenticated") >= before + 40)
    Client(service, "juliet").close()
    for sock in flood:
        sock.close()
    wait_until("the end of it", lambda: service.metric("c2s_unauthenticated") == 0 and not active(service))
    romeo.close()


def test_who_came_first_stays_when_all_take_alike(services):
    service = services({"c2s.unauthenticated": 3}, workers=1)
    service.user("romeo")
    early = Client(service, "romeo", login=False)
    others = knock(service, "127.0.0.3", 1) + knock(service, "127.0.0.4", 1)
    told = heard(knock(service, "127.0.0.5", 1)[0])
    assert "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" in told and "too many connections that have not logged in" in told
    early.login(True)  # and makes room
    others += knock(service, "127.0.0.5", 1)
    wait_until("the newcomer", lambda: service.metric("c2s_unauthenticated") == 3)
    for sock in others:
        sock.close()
    early.close()


def test_more_than_a_thousand_descriptors(services):
    """select() knows no descriptor above 1023: nothing may depend on it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("this machine allows too few descriptors")
    service = services()
    service.user("romeo")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    socks = []
    try:
        socks = knock(service, "127.0.0.2", 1100)
        wait_until("all of them", lambda: service.metric("c2s_unauthenticated") == 1100)
        Client(service, "romeo").close()
        assert service.get("/v1/status")
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- sessions and rosters ----

def test_sessions_of_a_user_are_bounded(services):
    service = services({"c2s.user_sessions": 2})
    service.user("romeo")
    first, second = Client(service, "romeo", "one"), Client(service, "romeo", "two")
    with pytest.raises(PermissionError, match="resource-constraint"):
        Client(service, "romeo", "three")
    assert service.metric("sessions_refused_total") == 1
    again = Client(service, "romeo", "two")  # takes the place of the second
    assert second.next(STREAM_ERROR)[0].tag.endswith("}conflict")
    first.close()
    wait_until("the end of the first", lambda: service.metric("sessions") == 1)
    Client(service, "romeo", "three").close()
    again.close()


def test_roster_is_bounded(services):
    service = services({"roster.max_items": 2})
    service.user("romeo", "juliet", "nurse", "tybalt")
    romeo = Client(service, "romeo")

    def put(name, inner=""):
        return romeo.iq("set", f"<query xmlns='jabber:iq:roster'><item jid='{name}@example.com' {inner}/></query>")

    assert put("juliet").get("type") == put("nurse").get("type") == "result"
    assert condition(put("tybalt")) == "resource-constraint"
    assert put("nurse", "name='Nurse'").get("type") == "result"  # a change is no new contact
    romeo.send("<presence type='subscribe' id='s1' to='tybalt@example.com'/>")
    error = romeo.next("{jabber:client}presence", match=lambda e: e.get("type") == "error")
    assert condition(error) == "resource-constraint" and error.get("id") == "s1"
    assert service.metric("roster_items_refused_total") == 2
    assert put("nurse", "subscription='remove'").get("type") == put("tybalt").get("type") == "result"
    romeo.close()


# ---- certificates ----

def make_pair(folder, domain, common_name=None):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    f"/CN={common_name or domain}", "-addext", f"subjectAltName=DNS:{domain}", "-keyout", folder / f"{domain}.key", "-out",
                    folder / f"{domain}.crt"], check=True, capture_output=True)


def shown(service, name, direct_tls=True):
    """The commonName shown to who asks for that domain, by SNI; with STARTTLS only in the stream header."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.create_connection(("127.0.0.1", service.port_tls if direct_tls else service.port), timeout=10 * SLOW)
    if not direct_tls:
        sock.sendall(f"<stream:stream to='{name}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode())
        sock.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        data = b""
        while b"<proceed" not in data or not data.endswith(b">"):
            got = sock.recv(4096)
            assert got, data
            data += got
    with context.wrap_socket(sock, server_hostname=name if direct_tls else None) as tls:
        text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-inform", "DER"], input=tls.getpeercert(True), capture_output=True, check=True).stdout
    return text.decode().split("CN = ")[1].strip()


def test_certificate_per_domain_and_reload(services, tmp_path):
    for domain in ("example.com", "example.org"):
        make_pair(tmp_path, domain)
    service = services({"tls.domains_dir": tmp_path}, domains="example.com example.org example.net")
    assert [shown(service, d) for d in ("example.com", "example.org", "example.net", "elsewhere.test")] == \
        ["example.com", "example.org", "example.com", "example.com"]
    assert shown(service, "example.org", direct_tls=False) == "example.org"
    service.user("romeo")
    romeo = Client(service, "romeo")
    make_pair(tmp_path, "example.org", "renewed")
    make_pair(tmp_path, "example.net")
    service.process.send_signal(signal.SIGHUP)
    wait_until("the new certificates", lambda: shown(service, "example.org") == "renewed")
    assert shown(service, "example.net") == "example.net"
    # What cannot be used leaves what was.
    (tmp_path / "example.org.key").write_text("no key")
    service.process.send_signal(signal.SIGHUP)
    wait_until("the complaint", lambda: "were not reloaded" in service.log())
    assert shown(service, "example.org") == "renewed"
    romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>")  # none of this touched who was there
    romeo.close()


def names_shown(service, name):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", service.port_tls), timeout=10 * SLOW), server_hostname=name) as tls:
        text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-inform", "DER"], input=tls.getpeercert(True), capture_output=True, check=True)
    return set(re.findall(r"DNS:([\w.-]+)", text.stdout.decode()))


def test_self_signed_certificate_names_the_domains_of_today(services):
    service = services()
    assert names_shown(service, "example.com") == {"example.com"}
    service.stop()
    service.options["server.domains"] = "example.com example.org"
    service.start()
    assert names_shown(service, "example.org") == {"example.com", "example.org"}
    made = (service.dir / "data" / "self-signed.crt").read_text()
    service.process.send_signal(signal.SIGHUP)
    wait_until("the reload", lambda: "certificates reloaded" in service.log())
    assert (service.dir / "data" / "self-signed.crt").read_text() == made
    # One that ends tomorrow: made anew by a reload, while clients stay.
    make_pair(service.dir, "short")
    for ending in ("crt", "key"):
        shutil.copy(service.dir / f"short.{ending}", service.dir / "data" / f"self-signed.{ending}")
    service.process.send_signal(signal.SIGHUP)
    wait_until("the names again", lambda: names_shown(service, "example.org") == {"example.com", "example.org"})
    wait_until("the log line", lambda: "is made anew, with the same key" in service.log())
    wait_until("both reloads", lambda: service.log().count("certificates reloaded") == 2)
    new = subprocess.run(["openssl", "pkey", "-in", service.dir / "data" / "self-signed.key", "-pubout"], capture_output=True, check=True).stdout
    assert new == subprocess.run(["openssl", "pkey", "-in", service.dir / "short.key", "-pubout"], capture_output=True, check=True).stdout


def test_one_file_of_two_is_an_error(services, tmp_path):
    make_pair(tmp_path, "example.com")
    (tmp_path / "example.com.key").unlink()
    with pytest.raises(AssertionError, match="a domain needs both"):
        services({"tls.domains_dir": tmp_path})


# ---- plain streams ----

def test_plain_streams_only_when_allowed(services):
    service = services()
    features = Client(service, "romeo", direct_tls=False, login=False).open()
    assert features.find("{urn:ietf:params:xml:ns:xmpp-sasl}mechanisms") is None
    service = services({"c2s.plain_loopback": "yes"})
    service.user("romeo")
    assert "without TLS" in service.log()
    romeo = Client(service, "romeo", direct_tls=False, login=False)
    features = romeo.open()
    mechanisms = [m.text for m in features.find("{urn:ietf:params:xml:ns:xmpp-sasl}mechanisms")]
    assert "PLAIN" in mechanisms and features.find("{urn:ietf:params:xml:ns:xmpp-tls}starttls") is not None
    romeo.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAGNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==</auth>")
    assert romeo.next().tag.endswith("}success")
    romeo.open()
    bound = romeo.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
    assert bound.get("type") == "result"
    romeo.close()


# ---- slow ones ----

def test_a_flood_slows_down_its_sender_and_nobody_else(services):
    service = services({"c2s.rate_stanzas": 200, "c2s.rate_burst": 1, "c2s.rate_patience": 3})
    service.user("romeo", "juliet")
    romeo, juliet = Client(service, "romeo"), Client(service, "juliet")
    ping = "<iq type='get' id='flood'><ping xmlns='urn:xmpp:ping'/></iq>"
    end, slowest = time.monotonic() + 30 * SLOW, 0
    with pytest.raises((Closed, OSError)):
        while time.monotonic() < end:
            romeo.send(ping * 50)
            romeo.read(0.01)
            began = time.monotonic()
            juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
            slowest = max(slowest, time.monotonic() - began)
            if any(e.tag == STREAM_ERROR for e in romeo.got):
                raise Closed("stream error")
    assert slowest < 2 * SLOW
    assert service.metric("c2s_cut_total", limit="rate") == 1
    assert service.metric("c2s_throttled_total", limit="stanzas") > 0
    juliet.close()
