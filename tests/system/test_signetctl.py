"""signetctl: its command line and its output against a scripted server, and its commands against signetd itself."""
import http.server
import json
import os
import pathlib
import re
import select
import signal
import socketserver
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "lint")]
from harness.client import Client  # noqa: E402
from harness.compliance import Compliance, refused  # noqa: E402
from harness.programs import Terminal  # noqa: E402
from harness.service import BIN, SLOW, wait_until  # noqa: E402
import source  # noqa: E402

CTL = BIN / "signetctl"
WAIT = 20 * SLOW
OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


def ctl(*arguments, stdin=None, env=None):
    environment = {k: v for k, v in os.environ.items() if k != "SIGNET_ADMIN_SOCKET"}
    environment.update(env or {})
    return subprocess.run([CTL, *map(str, arguments)], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True,
                          timeout=60 * SLOW, env=environment)


class Fake:
    """Answers as told and remembers what it was asked: (method, raw path, body)."""

    def __init__(self, path):
        self.path, self.asked, self.answers = str(path), [], {}
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.asked.append((self.command, self.path, json.loads(data) if data else None))
                status, body = fake.answers.get((self.command, self.path.split("?")[0]), (200, {}))
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

            def address_string(self):
                return "unix"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def run(self, *arguments, **keywords):
        return ctl("--socket", self.path, *arguments, **keywords)


@pytest.fixture
def fake(tmp_path, closing):
    return closing(Fake(tmp_path / "sock"))


# ---- the command line ----

def table(macro):
    """Rows of commands.def, read as the lint reads them."""
    text = source.code(source.read(str(ROOT), "src/tables/commands.def"), keep_strings=True)
    return re.findall(rf'^{macro}\((.*)\)$', text, re.M)


def test_every_command_has_a_help():
    overview = ctl("--help")
    assert overview.returncode == OK and overview.stderr == ""
    rows = table("COMMAND")
    assert len(rows) > 30
    for row in rows:
        noun, verb = re.match(r'"([^"]*)", "([^"]*)"', row).groups()
        words = noun.split() + verb.split()
        assert "  " + " ".join(words) + " " in overview.stdout
        own = ctl(*words, "--help")
        assert own.returncode == OK and own.stdout.startswith("Usage: signetctl " + " ".join(words)), words
        assert "--socket PATH" in own.stdout


@pytest.mark.parametrize("words,says", [
    ((), "no command"),
    (("frobnicate",), "there is no command 'frobnicate'"),
    (("user",), "'user' needs one of: add, import, passwd, list, show, roster, disable, enable, delete"),
    (("user", "ad"), "'user' has no 'ad'; it has: add"),
    (("compliance",), "'compliance' needs one of: server, profile, assignment, link"),
    (("compliance", "server", "frob"), "'compliance server' has no 'frob'; it has: list, show, add, set, delete"),
    (("user", "show"), "too few arguments; it is: signetctl user show JID"),
    (("status", "now"), "too many arguments"),
    (("user", "show", ""), "an argument is empty"),
    (("status", "--frob"), "there is no option --frob"),
    (("status", "-x"), "there is no option -x"),
    (("user", "list", "--yes"), "user list does not take --yes"),
    (("user", "list", "--domain"), "--domain needs a value: --domain DOMAIN"),
    (("status", "--json=1"), "--json takes no value"),
    (("user", "list", "--domain", "a", "--domain=b"), "--domain is given twice"),
    (("user", "add", "a@b", "--password", "hunter22"), "never given on the command line"),
    (("user", "add", "a@b", "--password=hunter22"), "never given on the command line"),
    (("user", "add", "a@b"), "no terminal to ask"),
    (("user", "add", "a@b", "--generate", "--password-stdin"), "more than one option"),
    (("user", "delete", "a@b"), "use --yes"),
    (("compliance", "server", "set", "x"), "no option says what to change"),
    (("compliance", "server", "set", "x", "--port", "0"), "1 to 65535"),
    (("compliance", "server", "set", "x", "--port", "80x"), "1 to 65535"),
    (("compliance", "server", "set", "x", "--tls", "yes"), "on or off"),
    (("compliance", "server", "set", "x", "--direction", "both"), "connect or accept"),
    (("compliance", "profile", "set", "x", "--event", "es_OUT,maybe"), "bounce or pass"),
    (("compliance", "profile", "set", "x", "--event", ":message"), "NAME[:PACKET]"),
    (("metrics", "--json"), "Prometheus only"),
])
def test_wrong_usage_is_told_and_asks_nothing(fake, words, says):
    result = fake.run(*words)
    assert result.returncode == USAGE and says in result.stderr and result.stdout == ""
    assert "hunter22" not in result.stderr
    assert fake.asked == []


def test_version_and_double_dash(fake):
    assert re.fullmatch(r"signetctl \d+\.\d+\.\d+\n", ctl("--version").stdout)
    fake.run("user", "show", "--", "--odd@b")
    assert fake.asked == [("GET", "/v1/users/--odd%40b", None)]


# ---- the socket ----

def test_no_signetd_says_what_to_do(tmp_path, fake):
    absent = ctl("--socket", tmp_path / "absent", "status")
    assert absent.returncode == UNREACHABLE and "there is no socket" in absent.stderr and "--socket or SIGNET_ADMIN_SOCKET" in absent.stderr
    fake.close()
    dead = ctl("--socket", fake.path, "status")
    assert dead.returncode == UNREACHABLE and "nobody listens" in dead.stderr
    too_long = ctl("--socket", tmp_path / ("x" * 200), "status")
    assert too_long.returncode == UNREACHABLE and "cannot connect" in too_long.stderr


def test_socket_comes_from_the_environment(fake):
    assert ctl("reload", env={"SIGNET_ADMIN_SOCKET": fake.path, "http_proxy": "http://127.0.0.1:1"}).returncode == OK
    assert fake.asked == [("POST", "/v1/reload", None)]


def test_refusals_are_the_servers_words(fake):
    fake.answers["GET", "/v1/users/a%40b"] = 404, {"error": "not-found", "text": "there is no account 'a@b'"}
    result = fake.run("user", "show", "a@b")
    assert (result.returncode, result.stdout, result.stderr) == (REFUSED, "", "signetctl: there is no account 'a@b'\n")
    fake.answers["GET", "/v1/status"] = 200, "<html>"
    result = fake.run("status")
    assert result.returncode == REFUSED and "is not signetd" in result.stderr


def test_output_nobody_reads_is_an_error(fake):
    with open("/dev/full", "w") as full:
        result = subprocess.run([CTL, "--socket", fake.path, "user", "list"], stdout=full, stderr=subprocess.PIPE, timeout=WAIT)
    assert result.returncode == REFUSED and b"could not be written" in result.stderr


# ---- passwords ----

def test_password_sources(fake, tmp_path):
    file = tmp_path / "password"
    file.write_text("of a file, with spaces\n")
    assert fake.run("user", "add", "a@b", "--password-file", file).returncode == OK
    assert fake.run("user", "passwd", "a@b", "--password-stdin", stdin="from stdin\r\n").returncode == OK
    generated = [fake.run("user", "add", "c@b", "--generate").stdout.strip() for _ in range(2)]
    assert all(re.fullmatch("[a-z2-9]{20}", g) for g in generated) and generated[0] != generated[1]
    assert fake.asked == [("POST", "/v1/users", {"jid": "a@b", "password": "of a file, with spaces"}),
                          ("PUT", "/v1/users/a%40b/password", {"password": "from stdin"}),
                          ("POST", "/v1/users", {"jid": "c@b", "password": generated[0]}), ("POST", "/v1/users", {"jid": "c@b", "password": generated[1]})]
    assert json.loads(fake.run("user", "add", "d@b", "--generate", "--json").stdout)["password"] == fake.asked[-1][2]["password"]


@pytest.mark.parametrize("content,says", [(b"", "no password in it"), (b"\n", "no password in it"), (b"a\nb\n", "only line"), (b"a\0b", "only line"),
                                          (b"x" * 1025, "at most 1024 bytes"), (b"caf\xe9 noir", "not UTF-8")])
def test_password_files_that_are_none(fake, tmp_path, content, says):
    (tmp_path / "password").write_bytes(content)
    result = fake.run("user", "add", "a@b", "--password-file", tmp_path / "password")
    assert result.returncode == USAGE and says in result.stderr and fake.asked == []


def test_longest_password(fake):
    assert fake.run("user", "passwd", "a@b", "--password-stdin", stdin="x" * 1024 + "\n").returncode == OK
    assert fake.asked[0][2]["password"] == "x" * 1024


def test_terminal_is_asked_twice_without_echo(fake, closing):
    terminal = closing(Terminal("--socket", fake.path, "user", "add", "a@b"))
    terminal.until("New password of a@b: ")
    wait_until("silence", lambda: not terminal.echoes())
    terminal.type("typed twice\n")
    terminal.until("Once more: ")
    wait_until("silence", lambda: not terminal.echoes())
    terminal.type("typed twice\n")
    assert terminal.end() == OK
    assert "typed" not in terminal.text and terminal.echoes()
    assert fake.asked == [("POST", "/v1/users", {"jid": "a@b", "password": "typed twice"})]


def test_terminal_that_differs_and_one_that_is_interrupted(fake, closing):
    terminal = closing(Terminal("--socket", fake.path, "compliance", "server", "add", "x"))
    for prompt, text in (("New password of x: ", "one\n"), ("Once more: ", "two\n")):
        terminal.until(prompt)
        wait_until("silence", lambda: not terminal.echoes())
        terminal.type(text)
    assert terminal.end() == USAGE and "not the same" in terminal.text
    terminal = closing(Terminal("--socket", fake.path, "user", "passwd", "a@b"))
    terminal.until("New password of a@b: ")
    wait_until("silence", lambda: not terminal.echoes())
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(WAIT) == -signal.SIGINT and terminal.echoes()
    assert fake.asked == []


def test_delete_asks(fake, closing):
    for typed, code in (("no\n", USAGE), ("y\n", USAGE), ("yes\n", OK)):
        terminal = closing(Terminal("--socket", fake.path, "user", "delete", "a@b"))
        terminal.until("Type yes to go on: ")
        assert fake.asked == []
        terminal.type(typed)
        assert terminal.end() == code
    assert fake.run("user", "delete", "a@b", "--yes").returncode == OK
    assert fake.asked == 2 * [("DELETE", "/v1/users/a%40b", None)]


def test_rollback_shows_what_it_changes_and_asks(fake, closing):
    changes = [{"object": "server", "name": "wall", "change": "changed", "field": "port", "old": "7001", "new": "7000"}]
    fake.answers["GET", "/v1/compliance/diff"] = 200, {"from": 9, "to": 4, "changes": changes}
    fake.answers["POST", "/v1/compliance/rollback"] = 200, {"version": 10}
    ask = ("GET", "/v1/compliance/diff?to=4", None)
    for typed, code in (("no\n", USAGE), ("yes\n", OK)):
        terminal = closing(Terminal("--socket", fake.path, "compliance", "rollback", "4", "--comment", "a & b"))
        shown = terminal.until("Type yes to go on: ")
        assert re.search(r"server +wall +port +7001 +7000", shown) and fake.asked[-1] == ask
        terminal.type(typed)
        assert terminal.end() == code
    # For the version that was shown, and no other.
    assert fake.asked == [ask, ask, ("POST", "/v1/compliance/rollback?base=9&comment=a%20%26%20b", {"version": 4})]


# ---- output ----

def test_tables_align_and_no_name_moves_the_cursor(fake):
    sessions = [{"jid": "a@b/\x1b[2Jé\x85", "since": "s", "peer": "127.0.0.1", "tls": "", "mechanism": "M", "available": True, "priority": -1, "under_way": 2},
                {"jid": "ab@b/longer", "since": "s", "peer": "::1", "tls": "TLSv1.3", "mechanism": "M", "available": False, "priority": 0, "under_way": 0}]
    fake.answers["GET", "/v1/sessions"] = 200, {"sessions": sessions}
    head, one, two = fake.run("session", "list").stdout.splitlines()
    assert one.startswith("a@b/?[2Jé??  s") and "\x1b" not in one
    assert head.index("SINCE") == one.index(" s ") + 1 == two.index(" s ") + 1
    assert "priority -1" in one and "unavailable" in two and head.index("TLS") == one.index(" -  ") + 1
    assert json.loads(fake.run("session", "list", "--json").stdout) == {"sessions": sessions}


def test_accounts_come_in_pages(fake):
    pages = {"": (["a@b", "b@b"], True), "b@b": (["c@b"], False)}

    class Answers(dict):
        def get(self, key, default):
            after = re.search(r"after=([^&]*)", fake.asked[-1][1])
            names, more = pages[after.group(1).replace("%40", "@") if after else ""]
            return 200, {"users": [{"jid": n, "disabled": n == "b@b", "created": "C", "last_login": None} for n in names], "more": more}

    fake.answers = Answers()
    lines = fake.run("user", "list", "--domain", "b&c").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [["a@b", "enabled", "C", "-"], ["b@b", "disabled", "C", "-"], ["c@b", "enabled", "C", "-"]]
    assert all("&domain=b%26c" in path for _, path, _ in fake.asked)
    assert [u["jid"] for u in json.loads(fake.run("user", "list", "--json").stdout)["users"]] == ["a@b", "b@b", "c@b"]


def test_only_what_is_named_is_sent(fake):
    fake.run("compliance", "server", "set", "../x", "--description", "")
    fake.run("compliance", "server", "set", "x", "--host", "h", "--port", "7999", "--tls", "on", "--tls-ca", "", "--direction", "connect")
    fake.run("compliance", "server", "set", "x", "--password-stdin", stdin="secret\n")
    fake.run("compliance", "profile", "set", "x", "--description", "d")
    assert fake.asked == [("PATCH", "/v1/compliance/servers/..%2Fx", {"description": ""}),
                          ("PATCH", "/v1/compliance/servers/x", {"host": "h", "port": 7999, "tls": True, "tls_ca": "", "direction": "connect"}),
                          ("PATCH", "/v1/compliance/servers/x", {"password": "secret"}), ("PATCH", "/v1/compliance/profiles/x", {"description": "d"})]


def test_rows_of_a_profile_and_warnings(fake):
    fake.answers["POST", "/v1/compliance/profiles"] = 200, {"version": 4, "warnings": ["es_OUT iq: mind this"]}
    result = fake.run("compliance", "profile", "add", "p", "--event", "es_OUT", "--event", "es_IN:message,forget,pass", "--event=e_SESSION,bounce", "--event=e_SERVER,shadow")
    assert result.returncode == OK and result.stderr == "signetctl: warning: es_OUT iq: mind this\n" and "version 4" in result.stdout
    row = {"packet": "all", "handling": "bounce", "fire_and_forget": False, "shadow": False}
    assert fake.asked[0][2] == {"name": "p", "rows": [{**row, "event": "es_OUT"},
                                                      {**row, "event": "es_IN", "packet": "message", "handling": "pass", "fire_and_forget": True},
                                                      {**row, "event": "e_SESSION"}, {**row, "event": "e_SERVER", "shadow": True}]}
    both = fake.run("compliance", "profile", "add", "p", "--event", "es_OUT,forget,shadow")
    assert both.returncode == USAGE and "wait or shadow" in both.stderr


def test_watch_prints_a_line_an_event_and_ends_with_signetd(fake):
    event = {"event": "es_OUT", "id": "n/1/2", "stanza": "1-00000002", "key": "a@b c@b", "component": "op-x.n", "verdict": None, "time": "T"}
    fake.answers["GET", "/v1/events"] = 200, {"events": [{"name": "es_OUT"}, {"name": "es_IN"}]}
    fake.answers["GET", "/v1/events/trace"] = 200, {"next": 7, "lost": 3, "events": [event, {**event, "event": "es_IN"}, {**event, "verdict": "pass", "took_us": 1500}]}
    assert "there is no event 'es_UP'" in fake.run("events", "watch", "--event", "es_UP").stderr
    process = subprocess.Popen([CTL, "--socket", fake.path, "events", "watch", "--event", "es_OUT"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(2)]
    assert lines[0].split()[:3] == ["T", "es_OUT", "raised"] and lines[1].split()[:5] == ["T", "es_OUT", "pass", "1.5", "ms"]
    assert all("op-x.n  a@b c@b  stanza 1-00000002  event n/1/2" in line for line in lines)
    wait_until("the next poll", lambda: any("after=7" in path for _, path, _ in fake.asked))
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT) == -signal.SIGINT and "3 events came faster" in process.stderr.read()


# ---- the documents ----

def test_example_configuration_is_right_as_it_is_and_with_all_of_it(tmp_path):
    text = (ROOT / "docs" / "signet.conf.example").read_text()
    everything = re.sub(r"^#([a-z_]+ = )", r"\1", text, flags=re.M)
    assert everything.count("\n#") < text.count("\n#")
    for name, content in (("as-it-is", text), ("all", everything)):
        (tmp_path / name).write_text(content)
        result = subprocess.run([BIN / "signetd", "--check", "-c", tmp_path / name], capture_output=True, text=True, timeout=WAIT)
        assert result.returncode == 0, result.stderr
    # what is commented out shows the default, unless there is none to show
    default = subprocess.run([BIN / "signetd", "--print-config", "-c", "/dev/null"], capture_output=True, text=True, timeout=WAIT).stdout
    for line in ("data_dir", "event_timeout", "outage_window"):
        shown = re.search(rf"^#({line} = .*)$", text, re.M).group(1)
        assert shown in default


def test_manual_of_signetd_has_every_option():
    usage = subprocess.run([BIN / "signetd", "--help"], capture_output=True, text=True, timeout=WAIT).stdout
    page = (ROOT / "man" / "signetd.8").read_text().replace("\\-", "-")
    for option in re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", usage):
        assert option in page, option


def test_unit_names_the_folders_signetd_uses():
    unit = (ROOT / "packaging" / "signet.service").read_text()
    default = subprocess.run([BIN / "signetd", "--print-config", "-c", "/dev/null"], capture_output=True, text=True, timeout=WAIT).stdout
    assert "data_dir = /var/lib/signet\n" in default and "StateDirectory=signet\n" in unit
    assert "socket = /run/signet/admin.sock\n" in default and "RuntimeDirectory=signet\n" in unit
    assert "Type=notify\n" in unit and int(re.search(r"TimeoutStopSec=(\d+)", unit).group(1)) > 2 * int(re.search(r"shutdown_wait = (\d+)", default).group(1))


# ---- with signetd ----

@pytest.fixture
def real(services):
    service = services({"register.password_min": 8})

    def run(*words, code=OK, stdin=None):
        result = ctl(*words, stdin=stdin, env={"SIGNET_ADMIN_SOCKET": str(service.options["admin.socket"])})
        assert result.returncode == code, (words, result.returncode, result.stdout, result.stderr)
        return result.stdout if code == OK else result.stderr

    run.service = service
    return run


def test_accounts_and_sessions(real):
    password = real("user", "add", "romeo@example.com", "--generate").strip()
    assert "already" in real("user", "add", "romeo@example.com", "--generate", code=REFUSED)
    assert "fewer than 8" in real("user", "passwd", "romeo@example.com", "--password-stdin", stdin="short\n", code=REFUSED)
    assert "not served here" in real("user", "add", "a@elsewhere.example", "--generate", code=REFUSED)
    client = Client(real.service, "romeo", resource="a b/c%2F", password=password)
    assert client.jid in real("session", "list") and client.jid in real("user", "show", "romeo@example.com")
    assert "no session" in real("session", "kick", "romeo@example.com/other", code=REFUSED)
    assert "1 session ended" in real("session", "kick", client.jid)
    wait_until("the end of the session", lambda: client.jid not in real("session", "list"))
    real("user", "disable", "romeo@example.com")
    assert "disabled" in real("user", "list", "--domain", "example.com")
    assert "romeo" not in real("user", "list", "--domain", "example.org")
    real("user", "enable", "romeo@example.com")
    client = Client(real.service, "romeo", password=password)
    real("user", "delete", "romeo@example.com", "--yes")
    assert "there is no account" in real("user", "show", "romeo@example.com", code=REFUSED)


def test_show_says_what_is_kept(real):
    for name in ("romeo", "juliet"):
        real("user", "add", f"{name}@example.com", "--password-stdin", stdin="long enough\n")
    with_romeo = Client(real.service, "romeo", password="long enough")
    with_romeo.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='nurse@example.com'/></query></iq>")
    with_romeo.send("<presence type='subscribe' to='juliet@example.com'/>")
    for i in range(3):
        with_romeo.message("juliet@example.com", f"n{i}")
    with_romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="example.com")
    wait_until("the messages", lambda: json.loads(real("user", "show", "juliet@example.com", "--json"))["offline_messages"] == 3)
    juliet = json.loads(real("user", "show", "juliet@example.com", "--json"))
    assert (juliet["contacts"], juliet["requests"]) == (0, 1)
    assert "2 contacts, 0 requests" in real("user", "show", "romeo@example.com") and "3 messages" in real("user", "show", "juliet@example.com")


def test_import(real, tmp_path):
    """Each line for itself: what is wrong is said with its number, what is right is done."""
    file = tmp_path / "users.csv"
    file.write_text("\ufeffJID,password\r\n"
                    "romeo@example.com,correct horse\r\n"
                    "\n"
                    "juliet@example.com,\"with a \"\"quote\"\", and a comma\"\n"
                    "nurse@example.com,short\n"
                    "romeo@example.com,once more\n"
                    "paris@elsewhere.example,correct horse\n"
                    "tybalt@example.com\n"
                    "tybalt@example.com,a,b\n"
                    "tybalt@example.com,\"open\n"
                    "mercutio@example.com,correct horse", encoding="utf-8")
    result = ctl("user", "import", file, env={"SIGNET_ADMIN_SOCKET": str(real.service.options["admin.socket"])})
    assert result.returncode == REFUSED and result.stdout == "3 accounts added\n"
    lines = [line for line in result.stderr.splitlines() if line.startswith(f"{file}:")]
    assert [int(line[len(str(file)) + 1:].split(":")[0]) for line in lines] == [5, 6, 7, 8, 9, 10]
    assert "fewer than 8" in lines[0] and "already" in lines[1] and "not served" in lines[2]
    assert "6 lines of" in result.stderr.splitlines()[-1] and "\r" not in result.stderr
    assert "correct horse" not in result.stderr + result.stdout
    for name, password in (("romeo", "correct horse"), ("juliet", 'with a "quote", and a comma'), ("mercutio", "correct horse")):
        Client(real.service, name, password=password).close()
    assert "absent.csv: cannot be read" in real("user", "import", tmp_path / "absent.csv", code=USAGE)
    assert json.loads(real("user", "import", "-", "--json", stdin="nurse@example.com,long enough\n")) == {"added": 1, "failed": 0}


def test_compliance_configuration_keeps_what_is_not_named(real):
    real("compliance", "server", "add", "archive", "--host", "127.0.0.1", "--port", "7", "--description", "keeps", "--password-stdin", stdin="secret-of-link\n")
    real("compliance", "server", "set", "archive", "--port", "9")
    shown = json.loads(real("compliance", "server", "show", "archive", "--json"))
    assert (shown["host"], shown["port"], shown["description"], shown["password_set"], shown["tls"]) == ("127.0.0.1", 9, "keeps", True, False)
    assert "secret-of-link" not in real("compliance", "server", "show", "archive") + real("compliance", "server", "list")
    assert "no compliance server 'other'" in real("compliance", "server", "show", "other", code=REFUSED)
    warned = ctl("compliance", "profile", "add", "Some", "--event", "es_OUT:message,forget", "--event", "e_SESSION:message",
                 env={"SIGNET_ADMIN_SOCKET": str(real.service.options["admin.socket"])})
    assert warned.returncode == OK and warned.stderr.count("signetctl: warning: ") == 2
    real("compliance", "profile", "set", "Some", "--description", "of some")
    shown = json.loads(real("compliance", "profile", "show", "Some", "--json"))
    assert [r["event"] for r in shown["rows"]] == ["es_OUT", "e_SESSION"] and shown["description"] == "of some"
    names = [line.split()[1] for line in real("compliance", "profile", "list").splitlines()[1:]]
    real("compliance", "profile", "up" if names[1] == "Some" else "down", "Some")
    assert [line.split()[1] for line in real("compliance", "profile", "list").splitlines()[1:]] == names[::-1]
    assert "read-only" in real("compliance", "profile", "set", "SystemDefaultComplianceProfile", "--description", "x", code=REFUSED)
    assert "is not an event" in real("compliance", "profile", "set", "Some", "--event", "es_UP", code=REFUSED)


def test_assignments_links_and_the_rest(real):
    real("compliance", "server", "add", "archive", "--host", "127.0.0.1", "--port", "7", "--password-stdin", stdin="secret-of-link\n")
    assert "op-archive.node1-example-com" in real("compliance", "assignment", "add", "archive", "--profile", "SystemDefaultComplianceProfile")
    assert "archive" in real("compliance", "assignment", "list") and "nowhere" not in real("compliance", "server", "show", "archive")
    assert "unassign it first" in real("compliance", "server", "delete", "archive", code=REFUSED)
    wait_until("the link", lambda: "op-archive.node1-example-com" in real("compliance", "link", "list"))
    assert "op-archive.node1-example-com" in real("status")
    real("alarm", "list")
    real("compliance", "assignment", "delete", "archive")
    real("compliance", "server", "delete", "archive")
    assert len(real("events", "list").splitlines()) == 1 + len(re.findall(r"^EVENT\(", (ROOT / "src/tables/events.def").read_text(), re.M))
    shown = real("events", "show", "es_OUT")
    assert "HANDLE" in shown and "goes no further" in shown and "yes, for messages, Handling bounce" in shown and "packet types" in shown
    shown = real("events", "show", "onLeave")
    assert "can be stopped" in shown and "counts as PASS" in shown and "when stopped" not in shown and "packet types" not in shown
    assert json.loads(real("events", "show", "e_SESSION", "--json"))["system_profile"] == "pass"
    assert "PASS; a stanza in it is ignored; HANDLE; error\n" in real("events", "show", "e_AUTH")
    assert "PASS; a stanza in it is ignored\n" in real("events", "show", "es_END")
    assert "no event 'es_UP'" in real("events", "show", "es_UP", code=REFUSED)
    assert "signet_sessions 0" in real("metrics")
    assert "looks like" in real("trace", "nonsense", code=REFUSED)
    real("reload")
    wait_until("the reload", lambda: "reloaded" in real.service.log())
    real("shutdown")
    assert real.service.process.wait(WAIT) == 0


def test_roster_of_an_account(real):
    real.service.user("romeo")
    romeo = Client(real.service, "romeo")
    assert real("user", "roster", "romeo@example.com").splitlines() == ["CONTACT  NAME  SUBSCRIPTION  GROUPS"]
    romeo.iq("set", "<query xmlns='jabber:iq:roster'><item jid='benvolio@example.org' name='Benvolio'><group>Friends</group><group>Kin</group></item></query>")
    assert real("user", "roster", "romeo@example.com").splitlines()[1].split(None, 3) == ["benvolio@example.org", "Benvolio", "none", "Friends, Kin"]
    assert "there is no account" in real("user", "roster", "nobody@example.com", code=REFUSED)


def test_what_all_users_are_told(real):
    """The same notices and announcements as over XMPP (test_xep_0133.py)."""
    real.service.user("romeo", "juliet")
    romeo = Client(real.service, "romeo")
    real("announce", "The ball begins", "--domain", "example.com")
    assert romeo.next_message(body="The ball begins").get("type") == "headline"
    assert "not served here" in real("announce", "x", "--domain", "example.org", code=REFUSED)
    assert real("motd", "show", "example.com") == "none is set\n"
    real("motd", "set", "example.com", "Come to\nthe Globe")
    romeo.next_message(body="Come to\nthe Globe")
    assert real("motd", "show", "example.com") == "Come to\nthe Globe\n"
    real("motd", "edit", "example.com", "Come to the Rose")
    juliet = Client(real.service, "juliet")
    juliet.next_message(body="Come to the Rose")
    romeo.nothing("{jabber:client}message", 0.1)
    real("motd", "delete", "example.com")
    assert real("motd", "show", "example.com") == "none is set\n"
    real("welcome", "set", "example.com", "Welcome")
    assert real("welcome", "show", "example.com") == "Welcome\n"
    real.service.user("nurse")
    Client(real.service, "nurse").next_message(body="Welcome")
    real("welcome", "delete", "example.com")
    assert "not served here" in real("welcome", "show", "example.org", code=REFUSED)


def test_restart_and_delayed_shutdown(real):
    real.service.user("romeo")
    since = real.service.get("/v1/status")["since"]
    romeo = Client(real.service, "romeo")
    real("restart", "--delay", "3600", "--announcement", "Later")
    romeo.next_message(body="Later")
    assert "is to stop already" in real("shutdown", "--delay", "60", code=REFUSED)
    assert "number of seconds" in real("shutdown", "--delay", "soon", code=USAGE)
    real("restart") # at once: sooner than what was asked for
    assert romeo.next("{http://etherx.jabber.org/streams}error")[0].tag.endswith("system-shutdown")

    def again():
        status = ctl("--socket", real.service.options["admin.socket"], "status", "--json")
        return status.returncode == OK and json.loads(status.stdout)["since"] != since
    wait_until("signetd", again, 20)
    assert real.service.process.poll() is None
    real("shutdown")
    assert real.service.process.wait(WAIT) == 0


def test_watching_a_shadow_row(real, closing):
    server = closing(Compliance("op-wall.node1-example-com", script=lambda event: refused(event, "policy-violation")))
    real("compliance", "server", "add", "wall", "--host", "127.0.0.1", "--port", server.port, "--password-stdin", stdin="secret-of-the-link\n")
    real("compliance", "profile", "add", "Try", "--event", "es_OUT:message,bounce,shadow")
    assert real("compliance", "profile", "show", "Try").split("\n")[-2].split() == ["es_OUT", "message", "bounce", "no", "yes"]
    real("compliance", "assignment", "add", "wall", "--profile", "Try")
    real.service.wait_link("op-wall.node1-example-com", "ACTIVE")
    watch = subprocess.Popen([CTL, "--socket", real.service.options["admin.socket"], "events", "watch", "--event", "es_OUT"], stdout=subprocess.PIPE, text=True)
    try:
        real.service.user("romeo", "juliet")
        romeo, juliet = closing(Client(real.service, "romeo")), closing(Client(real.service, "juliet"))
        verdict = ""
        while "shadow" not in verdict: # the watching begins some time
            romeo.send(f"<message to='{juliet.jid}' type='chat'><body>seen</body></message>")
            juliet.next(match=lambda e: e.find("{jabber:client}body") is not None)
            if select.select([watch.stdout], [], [], 0.2)[0]:
                verdict = watch.stdout.readline()
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    assert "shadow: would refuse" in verdict and "op-wall.node1-example-com" in verdict
    assert real.service.metric("events_shadow_total", verdict="refuse") > 0


def test_watching_signetd_and_tracing_what_was_seen(real, closing):
    server = closing(Compliance("op-archive.node1-example-com"))
    real("compliance", "server", "add", "archive", "--host", "127.0.0.1", "--port", server.port, "--password-stdin", stdin="secret-of-the-link\n")
    watch = subprocess.Popen([CTL, "--socket", real.service.options["admin.socket"], "events", "watch", "--event", "es_OUT", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        real("compliance", "assignment", "add", "archive")
        real.service.wait_link("op-archive.node1-example-com", "ACTIVE")
        real.service.user("romeo", "juliet")
        romeo, juliet = closing(Client(real.service, "romeo")), closing(Client(real.service, "juliet"))
        romeo.send(f"<message to='{juliet.jid}' type='chat'><body>seen</body></message>")
        juliet.next(match=lambda e: e.find("{jabber:client}body") is not None)
        seen = []
        while not any(e["verdict"] is not None and "juliet" in e["key"] and "romeo" in e["key"] for e in seen):
            seen.append(json.loads(watch.stdout.readline()))
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    assert {e["event"] for e in seen} == {"es_OUT"} and seen[-1]["component"] == "op-archive.node1-example-com"
    raised = [e for e in seen if e["verdict"] is None and e["id"] == seen[-1]["id"]]
    assert len(raised) == 1 and "took_us" in seen[-1]
    stages = real("trace", seen[-1]["stanza"])
    assert "accepted" in stages and "es_OUT" in stages and "written" in stages
