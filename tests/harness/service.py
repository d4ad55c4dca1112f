"""A signetd in a folder of its own, on ports of its own, administered over its Unix socket."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

BIN = pathlib.Path(os.environ.get("SIGNET_BIN", pathlib.Path(__file__).parents[2] / "build" / "bin")).resolve()
SLOW = float(os.environ.get("SIGNET_SLOW", "1"))  # sanitizers: waits are this many times longer
PASSWORD = "correct horse battery"
services = []  # those whose folder is still there, for the report of a test that fails


class Refused(Exception):
    def __init__(self, status, answer):
        super().__init__(f"{status}: {answer}")
        self.status, self.answer = status, answer


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60 * SLOW)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def wait_until(what, condition, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {seconds * SLOW:g} s")
        time.sleep(0.01)


class Service:
    """options: {"section.option": value}. The folder is kept when the test failed and removed by close()."""

    def __init__(self, options=None, domains="example.com", node="node1.example.com", workers=2):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="signet-"))
        self.options = {
            "server.domains": domains, "server.node": node, "server.data_dir": self.dir / "data", "server.workers": workers,
            "server.shutdown_wait": 2, "c2s.listen": "127.0.0.1:0", "c2s.listen_tls": "127.0.0.1:0", "component.listen": "127.0.0.1:0",
            "admin.socket": self.dir / "admin.sock", "metrics.listen": "", "log.level": "debug", "log.target": self.dir / "signetd.log",
        }
        self.options.update(options or {})
        self.process = None
        self.failed = False  # the test has, so far
        self.telling = []  # a test that knows what its failure is about has these words' lines in the report, instead of the last
        services.append(self)
        self.start()

    def configuration(self):
        sections = {}
        for name, value in self.options.items():
            section, option = name.split(".")
            sections.setdefault(section, []).append(f"{option} = {value}")
        return "".join(f"[{s}]\n" + "\n".join(lines) + "\n" for s, lines in sections.items())

    def start(self):
        (self.dir / "data").mkdir(exist_ok=True)
        (self.dir / "signet.conf").write_text(self.configuration())
        self.out = open(self.dir / "signetd.out", "ab")
        self.process = subprocess.Popen([BIN / "signetd", "-c", self.dir / "signet.conf"], stdout=self.out, stderr=self.out, start_new_session=True)
        wait_until("the admin socket", self._up, 20)
        status = self.get("/v1/status")
        self.port, self.port_tls, self.port_component = status["port"], status["port_tls"], status["port_component"]

    def _up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"signetd ended with {self.process.returncode}:\n" + (self.dir / "signetd.out").read_text()[-3000:])
        try:
            return self.get("/v1/status")
        except OSError:
            return None

    def request(self, method, path, body=None):
        connection = UnixConnection(str(self.options["admin.socket"]))
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        answer = json.loads(data) if response.headers.get_content_type() == "application/json" else data.decode()
        if response.status >= 300:
            raise Refused(response.status, answer)
        return answer

    def get(self, path):
        return self.request("GET", path)

    def user(self, *names, password=PASSWORD):
        domain = self.options["server.domains"].split()[0]
        for name in names:
            self.request("POST", "/v1/users", {"jid": f"{name}@{domain}", "password": password})

    def compliance_server(self, name, port, password="secret-of-the-link", profile=None, **fields):
        """Adds a compliance server and assigns it; returns the component name."""
        fields = {"name": name, "host": "127.0.0.1", "port": port, "password": password, **fields}
        if fields.get("direction") == "accept":
            del fields["host"], fields["port"]
        self.request("POST", "/v1/compliance/servers", fields)
        self.request("POST", "/v1/compliance/assignments", {"server": name, "profile": profile or "SystemDefaultComplianceProfile"})
        return f"op-{name}.{str(self.options['server.node']).replace('.', '-')}"

    @staticmethod
    def _rows(rows):
        return [{"event": e, **({"packet": p} if p else {}), "handling": h, "fire_and_forget": f is True, "shadow": f == "shadow"} for e, p, h, f in rows]

    def profile(self, name, rows):
        """rows: (event, packet type or None, handling, fire and forget: or "shadow")."""
        return self.request("POST", "/v1/compliance/profiles", {"name": name, "rows": self._rows(rows)})

    def change_profile(self, name, rows):
        """In force on all workers when it returns."""
        return self.request("PATCH", f"/v1/compliance/profiles/{quote(name)}", {"rows": self._rows(rows)})

    def quiet(self, seconds=20):
        """No event waits for an answer."""
        wait_until("the last verdict", lambda: self.get("/v1/status")["events_waiting"] == 0, seconds)

    def link(self, component):
        for link in self.get("/v1/compliance/links")["links"]:
            if link["component"] == component:
                return link
        return None

    def wait_link(self, component, state, seconds=20):
        return wait_until(f"{component} {state}", lambda: (self.link(component) or {}).get("state") == state, seconds)

    def metric(self, name, **labels):
        """The sum over all series of that name which have these labels."""
        total = 0
        for line in self.get("/v1/metrics").splitlines():
            if line.startswith("signet_" + name) and line[len("signet_" + name)] in " {" and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def log(self):
        return (self.dir / "signetd.log").read_text(errors="replace")

    def tail(self, lines=120):
        text = ""
        for name in ("signetd.out", "signetd.log"):
            path = self.dir / name
            if path.exists():
                all_lines = path.read_text(errors="replace").splitlines()
                if self.telling and name == "signetd.log":
                    all_lines, lines = [line for line in all_lines if any(word in line for word in self.telling)], 400
                text += f"--- {name}\n" + "\n".join(all_lines[-lines:]) + "\n"
        return text

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait(60 * SLOW)

    def stop(self):
        """Orderly; returns the exit status. Sanitizer reports make it non-zero."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGABRT)
                self.process.wait(30)
        self.out.close()
        return self.process.returncode

    def close(self, keep=False):
        status = self.stop()
        text = (self.dir / "signetd.out").read_text(errors="replace")
        if not keep and status == 0:
            if not self.failed:
                shutil.rmtree(self.dir)
            services.remove(self)
        assert status == 0, f"signetd ended with {status}; {self.dir}\n{text[-6000:]}"


def quote(text):
    return urllib.parse.quote(text, safe="")
