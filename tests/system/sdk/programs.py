"""Starting the programs under test. BUILD is the build directory; every process started by a test is stopped at its end."""
import os, pathlib, queue, signal, subprocess, threading, time
import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get('BUILD') or os.environ.get('SIGNET_BUILD') or SOURCE / 'build').resolve()


class Program:
    """A process whose output is read line by line."""
    def __init__(self, *argv, env=None):
        self.p = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  env=dict(os.environ) | (env or {}))
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.reader, daemon=True).start()

    def reader(self):
        for line in self.p.stdout:
            self.lines.put(line.rstrip('\n'))
        self.lines.put(None)

    def wait_for(self, part, timeout=10):
        end = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError('no line with %r; there were:\n%s' % (part, '\n'.join(self.seen)))
            if line is None:
                raise AssertionError('ended without %r; there were:\n%s' % (part, '\n'.join(self.seen)))
            self.seen.append(line)
            if part in line:
                return line

    def stop(self, sig=signal.SIGTERM, timeout=15):
        """Its exit status; sig None: it was told already."""
        if sig is not None and self.p.poll() is None:
            self.p.send_signal(sig)
        rc = self.p.wait(timeout)
        while (line := self.lines.get(timeout=5)) is not None:
            self.seen.append(line)
        return rc

    def output(self):
        return '\n'.join(self.seen)


@pytest.fixture
def start():
    started = []

    def begin(*argv, **kw):
        started.append(Program(*argv, **kw))
        return started[-1]
    yield begin
    for program in started:
        if program.p.poll() is None:
            program.p.kill()
            program.p.wait()


@pytest.fixture(scope='session')
def certificate(tmp_path_factory):
    """(certificate, key) for localhost and 127.0.0.1, its own CA."""
    d = tmp_path_factory.mktemp('tls')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', d / 'key.pem', '-out',
                    d / 'cert.pem', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
                   check=True, capture_output=True)
    return d / 'cert.pem', d / 'key.pem'


def port_of(program):
    return int(program.wait_for('port ').split('port ')[1].split(')')[0].split()[0])
