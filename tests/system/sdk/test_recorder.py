"""signet-recorder against a node that is a few lines of Python: durable before PASS, once, and never PASS when it cannot record."""
import json, os, re, signal, sqlite3, subprocess, threading, time
import pytest
from programs import BUILD
from fakenode import Closed, Port, dial, message, verdict

RECORDER = BUILD / 'servers' / 'recorder' / 'signet-recorder'
NAME = 'op-recorder.node1-example-com'


class Recorder:
    def __init__(self, start, directory):
        self.start, self.directory, self.database = start, directory, directory / 'archive.db'
        (directory / 'password').write_text('secret\n')
        self.port = 0

    def serve(self, *more):
        self.p = self.start(RECORDER, 'serve', '--database', self.database, '--listen', f'127.0.0.1:{self.port}', '--component', NAME,
                            '--password-file', self.directory / 'password', *more)
        self.port = int(re.search(r'\(port (\d+)\)', self.p.wait_for('nodes dial'))[1])
        return self

    def dial(self):
        return dial(self.port, NAME)

    def ask(self, command, *more, check=True):
        r = subprocess.run([RECORDER, command, '--database', self.database, *more], capture_output=True, text=True)
        assert not check or r.returncode == 0, r.stderr
        return r if not check else r.stdout

    def rows(self, *more):
        return [json.loads(line) for line in self.ask('search', '--json', '--limit', '0', *more).splitlines()]

    def count(self, *more):
        return int(self.ask('count', *more))


@pytest.fixture
def recorder(start, tmp_path):
    return Recorder(start, tmp_path).serve()


def test_everything_is_recorded(recorder):
    link = recorder.dial()
    answer = link.ask('es_OUT', message('wherefore art <thou>', more="<x xmlns='urn:x'/>"), id='node1-6a1b-1', session='romeo@example.com/balcony')
    assert verdict(answer) == ('pass', None)
    row, = recorder.rows()
    assert row.pop('received').startswith('20')
    assert 'wherefore art &lt;thou&gt;' in row['xml'] and "<x xmlns='urn:x'/>" in row.pop('xml')
    assert row == dict(event_id='node1-6a1b-1', stanza_id='6a1b-0000012c', event='es_OUT', node='node1.example.com', time='2026-11-22T14:34:00.123Z',
                       profile='EthicalWall', key='juliet@example.com romeo@example.com', session='romeo@example.com/balcony', kind='message', type='chat',
                       body='wherefore art <thou>', component=NAME, fire_and_forget=False) | {'from': 'romeo@example.com/balcony', 'to': 'juliet@example.com'}
    assert os.stat(recorder.database).st_mode & 0o777 == 0o600
    assert recorder.p.stop() == 0
    assert 'recorded 1 events in 1 transactions' in recorder.p.output()


def test_fire_and_forget_is_recorded(recorder):
    link = recorder.dial()
    link.tell('es_END', "<presence xmlns='jabber:client' type='unavailable' from='romeo@example.com/balcony'/>")
    link.ask('es_OUT', message('x'))
    assert [(r['event'], r['fire_and_forget']) for r in recorder.rows()] == [('es_END', True), ('es_OUT', False)]


def test_search(recorder):
    link = recorder.dial()
    link.ask('es_OUT', message('Der Fusionsplan ist geheim'), stanza_id='s1', time='2026-11-22T10:00:00Z', id='e1')
    link.ask('es_IN', message('Der Fusionsplan ist geheim'), stanza_id='s1', time='2026-11-22T10:00:01Z', id='e2', session='juliet@example.com/hall')
    link.ask('es_OUT', message('café at 8 "o\'clock"', sender='juliet@example.com/hall', to='nurse@example.com'), stanza_id='s2', time='2026-11-22T11:00:00Z', id='e3')
    link.ask('onBeforeSend', message('100% sure_thing', to='hall@conference.example.com', kind='groupchat'), stanza_id='s3', time='2026-11-22T12:00:00Z', id='e4',
             room='hall@conference.example.com')
    find = lambda *a: [r['event_id'] for r in recorder.rows(*a)]
    assert find() == ['e1', 'e2', 'e3', 'e4']
    assert find('--user', 'romeo@example.com') == ['e1', 'e2', 'e4']
    assert find('--user', 'JULIET@example.com/x', '--with', 'romeo@example.com') == ['e1', 'e2']
    assert find('--with', 'hall@conference.example.com') == ['e4']
    assert find('--event', 'es_OUT') == ['e1', 'e3']
    assert find('--stanza', 's1') == ['e1', 'e2']
    assert find('--stanza', 'e3') == ['e3']
    assert find('--text', 'geheim fusionsplan') == ['e1', 'e2']
    assert find('--text', 'fusion*') == ['e1', 'e2']
    assert find('--text', 'cafe') == ['e3']
    assert find('--text', '"o\'clock" OR') == []
    assert find('--text', 'sure_thing') == ['e4']
    assert find('--since', '2026-11-22T10:30:00Z', '--until', '2026-11-22T12:00:00Z') == ['e3']
    assert find('--since', '2026-11-22 12:00') == ['e4']
    assert [json.loads(line)['event_id'] for line in recorder.ask('search', '--json', '--limit', '2').splitlines()] == ['e3', 'e4']
    assert recorder.count('--user', 'romeo@example.com') == 3
    text = recorder.ask('search', '--stanza', 's1')
    assert text.count('\n') == 2 and 'es_OUT          romeo@example.com/balcony -> juliet@example.com  message/chat stanza=s1  "Der Fusionsplan ist geheim"' in text


def test_search_without_fts5(recorder):
    link = recorder.dial()
    link.ask('es_OUT', message('100% sure_thing'), id='e1')
    link.ask('es_OUT', message('1000 surething'), id='e2')
    recorder.p.stop()
    db = sqlite3.connect(recorder.database)
    db.execute('DROP TABLE event_words')
    db.commit()
    db.close()
    assert [r['event_id'] for r in recorder.rows('--text', '100% SURE_thing')] == ['e1']
    recorder.serve()
    assert verdict(recorder.dial().ask('es_OUT', message('third'), id='e3')) == ('pass', None)
    assert recorder.count('--text', 'third') == 1


def test_output_is_safe_for_terminals(recorder):
    recorder.dial().ask('es_OUT', message('line\nnext\u009b31m\u007f'))
    assert r'"line\nnext\x9b31m\x7f"' in recorder.ask('search')


def test_tail(recorder):
    link = recorder.dial()
    for i in range(15):
        link.ask('es_OUT', message(f'number {i}'))
    assert [json.loads(line)['body'] for line in recorder.ask('tail', '-n', '2', '--json').splitlines()] == ['number 13', 'number 14']
    assert recorder.ask('tail').count('\n') == 10
    follow = recorder.start(RECORDER, 'tail', '--database', recorder.database, '-n0', '-f')
    time.sleep(0.5)
    link.ask('es_OUT', message('and another'))
    assert 'number' not in follow.wait_for('and another')


def test_sent_again_is_stored_once(recorder):
    link = recorder.dial()
    link.ask('es_OUT', message('x'), id='same')
    link.cut()
    link = recorder.dial()
    again = [link.ask('es_OUT', message('x'), id='same', wait=False) for _ in range(5)]
    assert {verdict(link.answer(i)) for i in again} == {('pass', None)}
    assert recorder.count() == 1
    assert verdict(link.ask('es_OUT', message('changed by the profile before'), id='same', profile='Another')) == ('pass', None)
    assert recorder.count() == 2


def test_kill_loses_nothing_that_was_passed(recorder):
    """kill -9 in the middle of traffic, several times: every event that was answered PASS is in the archive."""
    passed = set()
    for turn in range(5):
        if turn:
            recorder.serve()
        link, killer = recorder.dial(), threading.Timer(0.3 + 0.1 * turn, recorder.p.p.kill)
        killer.start()
        try:
            asked = {}
            for i in range(100000):
                id = f'node1-{turn}-{i}'
                asked[link.ask('es_OUT', message(f'message {i}'), wait=False, id=id)] = id
                if i % 50 == 0:
                    for e in link.read(0.001):
                        if e.get('type') == 'result':
                            passed.add(asked[e.get('id')])
        except (Closed, OSError):
            pass
        killer.join()
        recorder.p.p.wait()
        try:
            while True:
                for e in link.read(0.5):
                    if e.get('type') == 'result':
                        passed.add(asked[e.get('id')])
        except Closed:
            pass
    db = sqlite3.connect(recorder.database)
    recorded = {id for id, in db.execute('SELECT event_id FROM event')}
    print(f'{len(passed)} passed, {len(recorded)} recorded')
    assert len(passed) > 100
    assert passed <= recorded
    assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    db.execute("INSERT INTO event_words(event_words) VALUES ('integrity-check')")


def test_group_commit(recorder):
    """Many events share a transaction; the rate is printed."""
    link, n = recorder.dial(), 20000
    begin = time.monotonic()
    seen = 0

    def send():
        for i in range(0, n, 100):
            link.send(''.join(f"<iq type='set' id='g{j}' from='b.example.com' to='{NAME}'>" + body % j + '</iq>' for j in range(i, i + 100)))
    from fakenode import event
    body = event('es_OUT', message('a message of ordinary length, as people write them'), id='ID').replace("id='ID'", "id='group-%d'")
    thread = threading.Thread(target=send)
    thread.start()
    while seen < n:
        for e in link.read():
            assert verdict(e) == ('pass', None)
            seen += 1
    took = time.monotonic() - begin
    thread.join()
    assert recorder.count() == n
    link.close()
    assert recorder.p.stop() == 0
    transactions = int(re.search(r'in (\d+) transactions', recorder.p.output())[1])
    print(f'{n / took:.0f} events a second, {transactions} transactions, {n / transactions:.0f} events each')
    assert transactions < n / 5


def test_stop_records_and_answers_what_is_under_way(recorder):
    link = recorder.dial()
    asked = [link.ask('es_OUT', message('x'), wait=False) for _ in range(3000)]
    verdict(link.answer(asked[0]))
    recorder.p.p.send_signal(signal.SIGTERM)
    answered = 1
    try:
        while not link.ended:
            for e in link.read():
                answered += e.get('type') == 'result'
    except Closed:
        pass
    answered += len(link.answers) + len(link.others)
    link.send('</stream:stream>')
    assert recorder.p.stop(None) == 0
    assert answered <= recorder.count() <= 3000


def test_database_failure_is_an_error_never_pass(recorder):
    link = recorder.dial()
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    db = sqlite3.connect(recorder.database, isolation_level=None)
    db.execute('ALTER TABLE event RENAME TO elsewhere')
    refused = link.ask('es_OUT', message('x'))
    assert verdict(refused) == ('error', 'internal-server-error')
    assert 'could not record' in refused.find('.//{urn:ietf:params:xml:ns:xmpp-stanzas}text').text
    assert verdict(link.ask('es_OUT', message('x'))) == ('error', 'internal-server-error')
    db.execute('ALTER TABLE elsewhere RENAME TO event')
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    recorder.p.wait_for('recording works again')
    assert recorder.count() == 2


def test_locked_database_is_an_error(recorder):
    link = recorder.dial()
    db = sqlite3.connect(recorder.database, isolation_level=None)
    db.execute('BEGIN IMMEDIATE')
    iq = link.ask('es_OUT', message('x'), wait=False)
    assert verdict(link.answer(iq, timeout=20)) == ('error', 'resource-constraint')
    db.execute('ROLLBACK')
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)


def test_full_disk_is_an_error(recorder):
    """A limit on the size of its files stands in for a full disk."""
    import resource
    link = recorder.dial()
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    size = max(os.stat(str(recorder.database) + '-wal').st_size, os.stat(recorder.database).st_size)
    resource.prlimit(recorder.p.p.pid, resource.RLIMIT_FSIZE, (size + 65536, resource.RLIM_INFINITY))
    kinds = [verdict(link.ask('es_OUT', message('y' * 50000))) for _ in range(4)]
    assert ('error', 'internal-server-error') in kinds or ('error', 'resource-constraint') in kinds
    resource.prlimit(recorder.p.p.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert verdict(link.ask('es_OUT', message('z'))) == ('pass', None)
    assert recorder.count() == 2 + kinds.count(('pass', None))


def test_removed_database_is_noticed(recorder):
    link = recorder.dial()
    link.ask('es_OUT', message('x'))
    for f in recorder.directory.glob('archive.db*'):
        f.unlink()
    assert verdict(link.ask('es_OUT', message('x'))) == ('error', 'internal-server-error')
    recorder.p.wait_for('was removed or replaced')
    assert verdict(link.ask('es_OUT', message('into a new file'))) == ('pass', None)
    assert [r['body'] for r in recorder.rows()] == ['into a new file']


def test_redact(start, tmp_path):
    recorder = Recorder(start, tmp_path).serve('--redact', 'secret|geh[ae]im', '--redact', '[0-9]{4}', '--redact-with', '[barred]')
    link = recorder.dial()
    html = "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>a <b>Sec</b>ret</body></html>"
    kind, stanza = verdict(link.ask('es_OUT', message('a Secret, 12345 & GEHEIM', more=html + "<other xmlns='urn:o'/><oob xmlns='urn:p' url='http://x/secret'/>")))
    assert kind == 'pass' and stanza.find('{jabber:client}body').text == 'a [barred], [barred]5 & [barred]'
    text = ''.join(stanza.itertext()) + ' '.join(v for e in stanza.iter() for v in e.attrib.values())
    assert 'ecret' not in text.replace('http', '') and stanza.find('{urn:o}other') is not None
    assert verdict(link.ask('es_OUT', message('harmless'))) == ('pass', None)
    assert verdict(link.ask('onAfterSubject', message('secret'))) == ('pass', None)
    first, second, third = recorder.rows()
    assert first['body'] == 'a Secret, 12345 & GEHEIM' and first['passed_body'] == 'a [barred], [barred]5 & [barred]' and '[barred]' in first['passed_xml']
    assert 'passed_xml' not in second and 'passed_xml' not in third
    assert 'let through as "a [barred], [barred]5 & [barred]"' in recorder.ask('search')


def test_connect_direction_and_config_file(start, tmp_path):
    port = Port()
    (tmp_path / 'pw').write_text('secret')
    (tmp_path / 'recorder.conf').write_text(f'[recorder]\ndatabase = {tmp_path}/a.db\nconnect = 127.0.0.1:{port.port}\nredact = a ;b' + 'x' * 500 + '\n'
                                            f'[component {NAME}]\npassword-file = {tmp_path}/pw\n')
    p = start(RECORDER, 'serve', '--config', tmp_path / 'recorder.conf')
    link = port.accept()
    assert link.component == NAME
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    out = subprocess.run([RECORDER, 'count', '--config', tmp_path / 'recorder.conf'], capture_output=True, text=True)
    assert out.stdout == '1\n'
    p.p.send_signal(signal.SIGTERM)
    while not link.ended:
        link.read()
    link.send('</stream:stream>')
    assert p.stop(None) == 0


def test_tls_and_several_components(start, tmp_path, certificate):
    import ssl
    (tmp_path / 'pw').write_text('other')
    (tmp_path / 'archive.db').touch()
    p = start(RECORDER, 'serve', '--database', tmp_path / 'archive.db', '--listen', ':0', '--component', NAME, '--component', 'op-b.x', '--password-file', tmp_path / 'pw',
              '--tls-certificate', certificate[0], '--tls-key', certificate[1], '--log-format', 'json', env={'SIGNET_RECORDER_PASSWORD': 'secret'})
    port = int(re.search(r'\(port (\d+)\)', p.wait_for('nodes dial'))[1])
    context = ssl.create_default_context(cafile=certificate[0])
    assert verdict(dial(port, NAME, tls=context).ask('es_OUT', message('x'))) == ('pass', None)
    assert verdict(dial(port, 'op-b.x', 'other', tls=context).ask('es_OUT', message('x'))) == ('pass', None)


def test_notifies_systemd(start, tmp_path):
    import socket
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(str(tmp_path / 'notify'))
    s.settimeout(5)
    (tmp_path / 'pw').write_text('x')
    p = start(RECORDER, 'serve', '--database', tmp_path / 'a.db', '--listen', '127.0.0.1:0', '--component', NAME, '--password-file', tmp_path / 'pw',
              env={'NOTIFY_SOCKET': str(tmp_path / 'notify')})
    assert b'READY=1' in s.recv(1000)
    p.p.send_signal(signal.SIGINT)
    assert b'STOPPING=1' in s.recv(1000)
    assert p.stop(None) == 0


@pytest.mark.parametrize('argv, rc, part', [
    ([], 0, 'signet-recorder serve'), (['--help'], 0, 'signet-recorder serve'), (['--version'], 0, 'signet-recorder 0'), (['serve', '--help'], 0, '--password-file'),
    (['frobnicate'], 2, "no command 'frobnicate'"), (['serve'], 2, '--database FILE'), (['serve', '--database', 'x'], 2, '--listen'),
    (['serve', '--database', 'x', '--listen', ':0'], 2, '--component'), (['serve', '--database', 'x', '--listen', ':0', '--component', 'a'], 1, 'no password'),
    (['serve', '--password', 'x'], 2, 'not taken from the command line'), (['search', '--listen', 'x'], 2, 'has no option --listen'),
    (['serve', '--database'], 2, 'needs a value'), (['tail', '--database', 'x', '-n', 'y'], 2, 'not a number'),
    (['search', '--database', '/nonexistent/x'], 1, 'no archive'), (['search', '--database', '/etc/passwd'], 1, 'file is not a database'),
    (['serve', '--database', '/nonexistent/x', '--listen', ':0', '--component', 'a', '--password-file', '/dev/null'], 1, 'first line'),
    (['serve', '--database', 'x', '--listen', ':0', '--component', 'a', '--password-file', '/nonexistent'], 1, 'No such file'),
    (['count', '--config', '/nonexistent'], 2, 'cannot read /nonexistent'), (['search', '--json=1', '--database', 'x'], 2, 'takes no value'),
])
def test_mistakes_are_explained(argv, rc, part, tmp_path):
    r = subprocess.run([RECORDER, *argv], capture_output=True, text=True, cwd=tmp_path)
    assert (r.returncode, part in r.stdout + r.stderr) == (rc, True), r.stdout + r.stderr


@pytest.mark.parametrize('more, part', [
    (['--listen', 'nonsense'], 'not an address'), (['--listen', '192.0.2.1:1'], 'cannot listen'), (['--listen', ':0', '--redact', '('], 'redact'),
    (['--listen', ':0', '--redact', 'x*'], 'matches nothing'), (['--listen', ':0', '--tls-certificate', '/dev/null', '--tls-key', '/dev/null'], 'cannot use the certificate'),
    (['--listen', ':0', '--log-level', 'loud'], 'log-level'), (['--connect', 'host'], 'not an address'),
])
def test_serve_mistakes(more, part, tmp_path):
    (tmp_path / 'pw').write_text('x')
    r = subprocess.run([RECORDER, 'serve', '--database', 'a.db', '--component', 'a', '--password-file', 'pw', *more], capture_output=True, text=True, cwd=tmp_path, timeout=20)
    assert r.returncode == 1 and part in r.stderr, r.stderr


def test_foreign_and_newer_databases_are_left_alone(tmp_path):
    (tmp_path / 'pw').write_text('x')
    for name, sql, part in [('foreign.db', 'CREATE TABLE t (x)', 'not an archive'), ('newer.db', 'PRAGMA application_id=1397182030; PRAGMA user_version=99; CREATE TABLE t (x)', 'newer')]:
        db = sqlite3.connect(tmp_path / name)
        db.executescript(sql)
        db.close()
        r = subprocess.run([RECORDER, 'serve', '--database', name, '--listen', ':0', '--component', 'a', '--password-file', 'pw'], capture_output=True, text=True, cwd=tmp_path)
        assert r.returncode == 1 and part in r.stderr, r.stderr


def test_config_mistakes(tmp_path):
    for text, part in [('[recorder]\nfrob = 1\n', "'frob'"), ('[other]\nx = 1\n', "'other'"), ('[recorder]\nbatch = many\n', 'not a number'), ('[recorder]\nx\n', ':2:')]:
        (tmp_path / 'c').write_text(text)
        r = subprocess.run([RECORDER, 'count', '--database', 'x', '--config', 'c'], capture_output=True, text=True, cwd=tmp_path)
        assert r.returncode == 2 and part in r.stderr and 'c:2' in r.stderr, r.stderr
