"""Programs that tests start beside signetd: compliance servers, clients. Their output is read line by line; all waits are bounded."""
import json
import os
import pathlib
import pty
import queue
import select
import signal
import socket
import subprocess
import termios
import threading
import time

from .service import BIN, SLOW

BUILD = pathlib.Path(os.environ.get("SIGNET_BUILD", BIN.parent)).resolve()
SOURCE = pathlib.Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"
PASSWORD_OF_LINK = "secret-of-the-link"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    def __init__(self, *arguments, env=None, **keywords):
        self.lines, self.queue = [], queue.Queue()
        self.process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, **(env or {})}, start_new_session=True, **keywords)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.queue.put(line.rstrip("\n"))
        self.queue.put(None)

    def _next(self, end):
        try:
            line = self.queue.get(timeout=max(0.01, end - time.monotonic()))
        except queue.Empty:
            return False
        if line is None:
            return None
        self.lines.append(line)
        return line

    def wait_for(self, part, seconds=20):
        """The first line, of those still to come, that has the part."""
        end = time.monotonic() + seconds * SLOW
        while True:
            line = self._next(end)
            if line is None or line is False:
                raise AssertionError(f"{'ended' if line is None else 'time is up'} without {part!r}: {self.lines}")
            if part in line:
                return line

    def wait(self, seconds=20):
        """Until it ends by itself; the exit status."""
        try:
            status = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.lines}") from None
        end = time.monotonic() + 5
        while self._next(end) not in (None, False):
            pass
        return status

    def stop(self, sig=signal.SIGTERM, seconds=20):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.wait(seconds)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Recorder(Program):
    """The real signet-recorder, direction connect: the node dials it."""

    def __init__(self, service, name="recorder", port=None, redact=()):
        self.service, self.name, self.port, self.redact = service, name, port or free_port(), redact
        self.component = f"op-{name}.{str(service.options['server.node']).replace('.', '-')}"
        self.database = service.dir / f"{name}.db"
        self.start()

    def start(self):
        super().__init__(BIN / "signet-recorder", "serve", "--database", self.database, "--listen", f"127.0.0.1:{self.port}", "--component", self.component,
                         *(f"--redact={r}" for r in self.redact), *(["--redact-with", "*****"] if self.redact else []),
                         env={"SIGNET_RECORDER_PASSWORD": PASSWORD_OF_LINK})

    def assign(self, **fields):
        """Makes it a compliance server of the service, and waits until its link is up."""
        self.service.compliance_server(self.name, self.port, password=PASSWORD_OF_LINK, **fields)
        self.service.wait_link(self.component, "ACTIVE")
        return self

    def search(self, **options):
        arguments = [f"--{k}={v}" for k, v in options.items()]
        out = subprocess.run([BIN / "signet-recorder", "search", "--database", self.database, "--json", "--limit=0", *arguments], check=True, capture_output=True, text=True)
        return [json.loads(line) for line in out.stdout.splitlines()]


class Terminal:
    """signetctl on a terminal of its own."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([BIN / "signetctl", *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        self.slave, self.text = slave, ""

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def until(self, text):
        end = time.monotonic() + 20 * SLOW
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in {self.text!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 4096).decode()
        before, self.text = self.text.split(text, 1)
        return before + text

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        code = self.process.wait(20 * SLOW)
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 4096).decode()
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)
