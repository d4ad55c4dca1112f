"""libsignet against a node that is a few lines of Python: every answer, both directions, TLS, links that break."""
import re, signal, socket, ssl, subprocess, time
import pytest
from programs import BUILD, SOURCE, port_of
from fakenode import BROKER, Closed, FROM, Port, STREAM, dial, event, message, verdict

SCRIPTED = BUILD / 'sdk' / 'scripted'
NAME = 'op-test.node1-example-com'


@pytest.fixture
def server(start):
    p = start(SCRIPTED, '127.0.0.1:0', 'listen', NAME)
    p.port = port_of(p)
    return p


@pytest.fixture
def link(server):
    return dial(server.port, NAME)


def test_example_of_the_protocol(link):
    answer = link.ask('es_OUT', message('good night'), iq='e7f3a', id='node1-6a1b-000001f3', session='romeo@example.com/balcony')
    assert (answer.get('type'), answer.get('from'), answer.get('to')) == ('result', NAME, FROM)
    assert verdict(answer) == ('pass', None)


def test_unknown_event_name_is_refused_at_registration(server):
    assert any('did you mean es_OUT?' in line for line in server.seen)


def test_context(link):
    answer = link.ask('es_IN', message('describe', more="<x xmlns='urn:x'/>"), id='node1-6a1b-000001f4', session='juliet@example.com/hall', copy='carbon')
    text = answer.find('.//{urn:ietf:params:xml:ns:xmpp-stanzas}text').text
    assert text == ('es_IN|node1-6a1b-000001f4|6a1b-0000012c|node1.example.com|2026-11-22T14:34:00.123Z|1795358040123|EthicalWall|'
                    'juliet@example.com romeo@example.com|juliet@example.com/hall|-|carbon|op-test.node1-example-com|0|message|chat|'
                    'romeo@example.com/balcony|juliet@example.com|m1|jabber:client|chat|2|1')


def test_room_context(link):
    answer = link.ask('onBeforeSend', message('describe', kind='groupchat'), room='hall@conference.example.com')
    assert '|-|hall@conference.example.com|-|' in answer.find('.//{urn:ietf:params:xml:ns:xmpp-stanzas}text').text


def test_answers(link):
    assert verdict(link.ask('es_OUT', message('handle'))) == ('handle', None)
    kind, reply = verdict(link.ask('es_OUT', message('reply')))
    assert kind == 'handle' and reply.tag == '{jabber:client}iq'
    refused = link.ask('es_OUT', message('refuse'))
    assert verdict(refused) == ('error', 'policy-violation')
    assert refused.find('.//{urn:ietf:params:xml:ns:xmpp-stanzas}text').text == 'not <to> be said & done'
    assert refused.find('.//{jabber:component:connect}error').get('type') == 'cancel'
    assert verdict(link.ask('es_OUT', message('unknown condition'))) == ('error', 'undefined-condition')


def test_pass_with_changed_stanza(link):
    kind, stanza = verdict(link.ask('es_OUT', message('shout', more="<x xmlns='urn:secret'>s</x><y xmlns='urn:y'/>")))
    assert kind == 'pass' and stanza.tag == '{jabber:client}message' and stanza.get('id') == 'm1'
    assert [c.tag for c in stanza] == ['{jabber:client}body', '{urn:y}y']
    assert stanza[0].text == '<shout> & changed'


def test_stanza_without_namespace_is_jabber_client(link):
    _, stanza = verdict(link.ask('es_OUT', message('no xmlns')))
    assert stanza.tag == '{jabber:client}message' and stanza[0].text == 'plain'


@pytest.mark.parametrize('body', ['broken xml', 'two', 'readdress'])
def test_invalid_answers_become_errors(server, link, body):
    assert verdict(link.ask('es_OUT', message(body))) == ('error', 'internal-server-error')
    server.wait_for('-1')


def test_event_without_callback_is_refused(link):
    assert verdict(link.ask('onBeforeJoin', message('x'))) == ('error', 'feature-not-implemented')


def test_prisession_names_a_candidate(link):
    sessions = "<session jid='juliet@example.com/a' priority='1'/><session jid='juliet@example.com/b' priority='7'/>"
    assert verdict(link.ask('e_PRISESSION', message('x'), inside=sessions)) == ('session', 'juliet@example.com/b')


def test_fire_and_forget_is_not_answered(server, link):
    link.tell('es_END', "<presence xmlns='jabber:client' type='unavailable' from='romeo@example.com/balcony'/>")
    server.wait_for('es_END romeo@example.com/balcony 1')
    link.tell('es_OUT', message('refuse'))
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    assert link.answers == {} and link.others == []


def test_answers_from_other_threads_overtake(link):
    slow = [link.ask('es_OUT', message('later stanza'), wait=False) for _ in range(40)]
    assert verdict(link.ask('es_OUT', message('now'))) == ('pass', None)
    assert not link.answers
    assert {verdict(link.answer(i))[0] for i in slow} == {'pass'}


def test_not_events(link):
    link.send(f"<iq type='get' id='p1' from='{FROM}' to='{NAME}'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert link.answer('p1').get('type') == 'result'
    link.send(f"<iq type='get' id='v1' from='{FROM}' to='{NAME}'><query xmlns='jabber:iq:version'/></iq>")
    assert verdict(link.answer('v1')) == ('error', 'service-unavailable')
    link.send(f"<iq type='set' id='b1' from='{FROM}' to='{NAME}'><event xmlns='urn:signet:event-broker:0' name='es_OUT' id='1'/></iq>")
    assert verdict(link.answer('b1')) == ('error', 'bad-request')


def test_swelling_namespaces_are_refused(link):
    stanza = message('x', more="<q:a xmlns:q='urn:%s'>%s</q:a>" % ('n' * 10000, "<b xmlns=''><q:c/></b>" * 2000))
    assert verdict(link.ask('es_OUT', stanza)) == ('error', 'bad-request')


def test_several_components_and_links(server):
    links = [dial(server.port, NAME), dial(server.port, NAME), dial(server.port, 'op-second.node2-example-com', 'other & secret')]
    for l in links:
        assert l.ask('es_OUT', message('x')).get('from') == l.component


def test_wrong_password_and_unknown_component(server):
    with pytest.raises(PermissionError, match='not-authorized'):
        dial(server.port, NAME, 'wrong')
    link = dial(server.port, 'op-nobody.node1-example-com', handshake=False)
    assert link.next().find('{urn:ietf:params:xml:ns:xmpp-streams}host-unknown') is not None
    link = dial(server.port, NAME, handshake=False, namespace='jabber:client')
    assert link.next().find('{urn:ietf:params:xml:ns:xmpp-streams}invalid-namespace') is not None
    server.wait_for('wrong password')


def test_events_before_handshake_are_not_taken(server):
    link = dial(server.port, NAME, handshake=False)
    link.ask('es_OUT', message('x'), wait=False)
    assert link.next().find('{urn:ietf:params:xml:ns:xmpp-streams}not-authorized') is not None


@pytest.mark.parametrize('bad, condition', [('<!DOCTYPE x>', 'restricted-xml'), ('<iq></message>', 'not-well-formed'), ('<a/>' * 3 + '<?pi x?>', 'restricted-xml')])
def test_bad_xml_ends_the_link(server, link, bad, condition):
    link.send(bad)
    assert link.next().find('{urn:ietf:params:xml:ns:xmpp-streams}' + condition) is not None
    assert verdict(dial(server.port, NAME).ask('es_OUT', message('x'))) == ('pass', None)


def test_handshake_time_out_and_link_limit(server):
    idle = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(8)]
    server.wait_for('connection from')
    time.sleep(0.2)
    extra = socket.create_connection(('127.0.0.1', server.port))
    extra.settimeout(5)
    assert extra.recv(1) == b''
    server.wait_for('links are open already')
    server.wait_for('the handshake took too long')
    for s in idle:
        s.settimeout(5)
        assert s.recv(1) == b''
    assert verdict(dial(server.port, NAME).ask('es_OUT', message('x'))) == ('pass', None)


def test_node_ends_the_stream(server, link):
    link.ask('es_OUT', message('x'))
    link.close()
    server.wait_for(f'link {NAME} GONE the node ended the stream')


def test_cut(server, link):
    link.ask('es_OUT', message('later'), wait=False)
    link.cut()
    server.wait_for(f'link {NAME} GONE cut without')
    assert verdict(dial(server.port, NAME).ask('es_OUT', message('x'))) == ('pass', None)


def test_graceful_stop_answers_what_is_under_way(server, link):
    under_way = [link.ask('es_OUT', message('later'), wait=False) for _ in range(10)]
    time.sleep(0.02)
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    server.p.send_signal(signal.SIGTERM)
    for i in under_way:
        assert verdict(link.answer(i)) == ('pass', None)
    while not link.ended:
        link.read()
    link.send('</stream:stream>')
    assert server.stop(None) == 0
    assert server.output().endswith('stopped')


def test_stop_when_the_node_does_not_answer(server, link):
    link.ask('es_OUT', message('never'), wait=False)
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 6


def test_stop_from_a_callback_is_refused(server, link):
    link.ask('es_OUT', message('stop'))
    server.wait_for('stop from a callback: -1')


def test_pings_find_a_dead_link(start):
    p = start(SCRIPTED, '127.0.0.1:0', 'listen', NAME, 'ping', '150')
    link = dial(port_of(p), NAME)
    end = time.monotonic() + 1
    pings = 0
    while time.monotonic() < end:
        for e in link.read(0.1):
            assert e.find('{urn:xmpp:ping}ping') is not None
            pings += 1
            link.send(f"<iq type='result' id='{e.get('id')}' from='{FROM}' to='{NAME}'/>")
    assert pings >= 3
    with pytest.raises(Closed):
        while True:
            link.read(2)
    p.wait_for('GONE pings are not answered')


def test_reading_stops_at_the_limit_of_events(start):
    p = start(SCRIPTED, '127.0.0.1:0', 'listen', NAME, 'events', '10')
    link = dial(port_of(p), NAME)
    asked = [link.ask('es_OUT', message('later'), wait=False) for _ in range(2000)]
    assert {verdict(link.answer(i)) for i in asked} == {('pass', None)}


def test_dial_reconnects(start):
    port = Port()
    p = start(SCRIPTED, f'127.0.0.1:{port.port}', 'dial', NAME)
    assert port.accept(let_in=False) is None
    p.wait_for('stream error not-authorized')
    link = port.accept()
    assert link.component == NAME
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    link.cut()
    link = port.accept()
    p.wait_for('ACTIVE')
    port.close()
    link.close()
    p.wait_for('(111) Connection refused')
    port = Port(port=port.port)
    link = port.accept()
    assert verdict(link.ask('es_OUT', message('later'))) == ('pass', None)
    p.p.send_signal(signal.SIGINT)
    while not link.ended:
        link.read()
    link.send('</stream:stream>')
    assert p.stop(None) == 0


def test_tls_listening(start, certificate):
    cert, key = certificate
    p = start(SCRIPTED, '127.0.0.1:0', 'listen', NAME, 'cert', cert, 'key', key)
    port = port_of(p)
    link = dial(port, NAME, tls=ssl.create_default_context(cafile=cert))
    assert verdict(link.ask('es_OUT', message('x' * 200000))) == ('pass', None)
    asked = [link.ask('es_OUT', message('later stanza ' + 'y' * 5000), wait=False) for _ in range(200)]
    assert {verdict(link.answer(i))[0] for i in asked} == {'pass'}
    plain = socket.create_connection(('127.0.0.1', port))
    plain.sendall(b"<stream:stream xmlns='jabber:component:connect'>")
    p.wait_for('GONE TLS')
    assert verdict(link.ask('es_OUT', message('x'))) == ('pass', None)
    link.close()


def test_tls_dialling(start, certificate):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    port = Port(tls=context)
    start(SCRIPTED, f'127.0.0.1:{port.port}', 'dial', NAME, 'ca', cert)
    assert verdict(port.accept().ask('es_OUT', message('x'))) == ('pass', None)


def test_tls_dialling_checks_the_certificate(start, certificate, tmp_path):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    port = Port(tls=context)
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', tmp_path / 'k', '-out', tmp_path / 'other.pem', '-subj', '/CN=x'],
                   check=True, capture_output=True)
    p = start(SCRIPTED, f'127.0.0.1:{port.port}', 'dial', NAME, 'ca', tmp_path / 'other.pem')
    with pytest.raises((ssl.SSLError, ConnectionError, Closed)):
        port.accept()
    p.wait_for("the node's certificate")


def test_only_the_public_symbols_are_visible():
    out = subprocess.run(['nm', '-D', '--defined-only', BUILD / 'sdk' / 'libsignet.so'], check=True, capture_output=True, text=True).stdout
    names = {line.split()[-1].split('@')[0] for line in out.splitlines()} - {'LIBSIGNET_0'}
    header = (SOURCE / 'sdk/include/signet/compliance.h').read_text()
    promised = set(re.findall(r'SIGNET_API [^;(]*?(signet_\w+)\(', header))
    assert names - {n for n in names if n.startswith('__')} == promised


@pytest.mark.parametrize('which', ['c', 'python'])
def test_passlog(start, which):
    env = {'PASSWORD': 'secret', 'PYTHONUNBUFFERED': '1'}
    if which == 'c':
        probe = socket.create_server(('127.0.0.1', 0))
        number = probe.getsockname()[1]
        probe.close()
        p = start(BUILD / 'sdk' / 'passlog', f'127.0.0.1:{number}', NAME, env=env)
        for _ in range(100):
            try:
                link = dial(number, NAME)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
    else:
        port = Port()
        p = start('/usr/bin/python3', SOURCE / 'sdk/examples/passlog.py', '127.0.0.1', port.port, NAME, env=env)
        link = port.accept(timeout=20)
    assert verdict(link.ask('es_OUT', message('wherefore art thou'))) == ('pass', None)
    assert verdict(link.ask('es_IN', "<presence xmlns='jabber:client' from='romeo@example.com/balcony'/>")) == ('pass', None)
    p.wait_for('es_OUT romeo@example.com/balcony -> juliet@example.com: wherefore art thou')
