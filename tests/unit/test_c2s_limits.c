/* What one client, address or account may take: each bound of c2s.* is gone over and seen to hold; what stays below is not touched. Every test has a
 * loopback address of its own to come from, so that one's failures are not another's. Then: plain streams on loopback, certificates by SNI, EXTERNAL. */
#include "c2s_fixture.h"
#include "base/alarm.h"
#include "base/clock.h"

static void client_open_from(struct client *c, unsigned port, const char *from)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in own = {.sin_family = AF_INET};
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(inet_pton(AF_INET, from, &own.sin_addr), 1);
    assert_int_equal(bind(c->fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

static void ready_from(struct client *c, const char *from)
{
    client_open_from(c, plain_port, from);
    client_tls(c);
    client_send(c, HEADER);
    client_expect(c, "</mechanisms></stream:features>");
}

static void online_from(struct client *c, const char *from)
{
    ready_from(c, from);
    assert_true(client_login(c, "SCRAM-SHA-256", "juliet", PASSWORD, NULL));
    client_bind(c);
}

static void send_many(struct client *c, int n)
{
    struct buf b = {0};
    for (int i = 0; i < n; i++) buf_addf(&b, "<message id='n%d'/>", i);
    client_send_n(c, b.data, b.len);
    buf_free(&b);
}

static void expect_many(struct client *c, int n)
{
    char id[32];
    for (int i = 0; i < n; i++) {
        snprintf(id, sizeof id, "id='n%d'", i);
        client_expect(c, id);
    }
}

/* c2s.rate_stanzas=300, c2s.rate_burst=1: 300 at once, and 300 in the second after. */
static void test_rate_stanzas(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    int64_t throttled = metric_read(METRIC_C2S_THROTTLED_STANZAS);
    online_from(&c, "127.0.0.2");
    uint64_t from = clock_ms();
    send_many(&c, 600);
    expect_many(&c, 600);
    assert_in_range(clock_ms() - from, 700, 30000);
    assert_true(metric_read(METRIC_C2S_THROTTLED_STANZAS) > throttled);
    client_close(&c);
}

/* c2s.rate_bytes=200000 */
static void test_rate_bytes(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    struct buf b = {0};
    int64_t throttled = metric_read(METRIC_C2S_THROTTLED_BYTES);
    buf_addf(&b, "<message id='big'><body>%028000d</body></message>", 0);
    online_from(&c, "127.0.0.2");
    uint64_t from = clock_ms();
    for (int i = 0; i < 10; i++) client_send_n(&c, b.data, b.len);
    for (int i = 0; i < 10; i++) client_expect(&c, "</message>");
    assert_in_range(clock_ms() - from, 200, 30000);
    assert_true(metric_read(METRIC_C2S_THROTTLED_BYTES) > throttled);
    client_close(&c);
    buf_free(&b);
}

/* c2s.rate_patience=2: one that goes on and on is closed; its neighbour, who rests now and then, is not. */
static void test_rate_far_over(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    int64_t cut = metric_read(METRIC_C2S_CUT_RATE);
    online_from(&c, "127.0.0.2");
    for (int i = 0; i < 400 && !c.eof; i++) {
        struct buf b = {0};
        for (int j = 0; j < 40; j++) buf_adds(&b, "<message id='x'/>");
        if (SSL_write(c.ssl, b.data, (int)b.len) <= 0) c.eof = true;
        buf_free(&b);
        client_read(&c, 20);
        if (strstr(buf_cstr(&c.in), "</stream:stream>")) break;
    }
    client_expect(&c, "<stream:error><policy-violation xmlns='" NS_STREAM_ERRORS "'/>");
    assert_int_equal(metric_read(METRIC_C2S_CUT_RATE), cut + 1);
    client_close(&c);

    online_from(&c, "127.0.0.2");
    for (int i = 0; i < 3; i++) {
        send_many(&c, 400);
        expect_many(&c, 400);
        usleep(1200000);
    }
    assert_int_equal(metric_read(METRIC_C2S_CUT_RATE), cut + 1);
    client_close(&c);
}

static void test_trusted_rate(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    int64_t throttled = metric_read(METRIC_C2S_THROTTLED_STANZAS);
    online_from(&c, "127.0.0.9");
    send_many(&c, 2000);
    expect_many(&c, 2000);
    assert_int_equal(metric_read(METRIC_C2S_THROTTLED_STANZAS), throttled);
    client_close(&c);
}

/* c2s.auth_bytes=20000, in pieces each of which is small enough. */
static void test_unbound_bytes(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    char spaces[7000];
    int64_t cut = metric_read(METRIC_C2S_CUT_AUTH_BYTES);
    memset(spaces, ' ', sizeof spaces);
    ready_from(&c, "127.0.0.3");
    for (int i = 0; i < 3; i++) client_send_n(&c, spaces, sizeof spaces);
    client_expect_error(&c, "policy-violation");
    assert_int_equal(metric_read(METRIC_C2S_CUT_AUTH_BYTES), cut + 1);
    client_close(&c);

    online_from(&c, "127.0.0.3"); /* once bound, no more of that */
    for (int i = 0; i < 5; i++) client_send_n(&c, spaces, sizeof spaces);
    client_send(&c, "<message id='still'/>");
    client_expect(&c, "still");
    client_close(&c);
}

/* c2s.address_connections=3 */
static void test_connections(void **state)
{
    UNIT_UNUSED(state);
    struct client c[3], more;
    int64_t cut = metric_read(METRIC_C2S_CUT_CONNECTIONS);
    for (int i = 0; i < 3; i++) ready_from(&c[i], "127.0.0.4");
    client_open_from(&more, plain_port, "127.0.0.4");
    client_expect(&more, "version='1.0' xml:lang='en'>");
    client_expect_error(&more, "policy-violation");
    client_close(&more);
    client_open_from(&more, tls_port, "127.0.0.4");
    client_expect_end(&more);
    client_close(&more);
    assert_int_equal(metric_read(METRIC_C2S_CUT_CONNECTIONS), cut + 2);
    ready_from(&more, "127.0.0.5"); /* somebody else */
    client_close(&more);
    int64_t streams = metric_read(METRIC_C2S_STREAMS);
    client_close(&c[0]);
    for (int i = 0; i < WAIT_MS / 10 && metric_read(METRIC_C2S_STREAMS) >= streams; i++) usleep(10000);
    ready_from(&more, "127.0.0.4");
    client_close(&more);
    client_close(&c[1]);
    client_close(&c[2]);
}

static void count_active(void *arg, const struct alarm_view *view)
{
    int *n = arg;
    if (view->id == ALARM_LOGIN_ATTACK && view->active) (*n)++;
}

static int attacks(void)
{
    int n = 0;
    alarm_each(count_active, &n);
    return n;
}

/* c2s.login_delay=200, c2s.login_delay_max=400, c2s.account_failures=6, c2s.block_time=2, c2s.login_attempts=5. There is no romeo: it makes no difference. */
static void test_account_failures(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    int64_t delays = metric_read(METRIC_LOGIN_DELAYS), refused = metric_read(METRIC_LOGIN_REFUSED);
    static const unsigned least_ms[] = {0, 0, 0, 200, 400};
    ready_from(&c, "127.0.0.6");
    for (unsigned i = 0; i < 5; i++) {
        uint64_t from = clock_ms();
        assert_false(client_login(&c, "SCRAM-SHA-256", "romeo", "wrong", NULL));
        client_expect(&c, "><not-authorized/></failure>");
        assert_in_range(clock_ms() - from, least_ms[i], least_ms[i] + 8000);
    }
    client_expect_error(&c, "policy-violation");
    client_close(&c);
    assert_int_equal(metric_read(METRIC_LOGIN_DELAYS), delays + 2);
    assert_int_equal(attacks(), 0);
    ready_from(&c, "127.0.0.6"); /* another connection: the account's count goes on */
    assert_false(client_login(&c, "PLAIN", "romeo", "wrong", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_int_equal(attacks(), 1);
    assert_false(client_login(&c, "PLAIN", "romeo", "wrong", NULL));
    client_expect(&c, "><temporary-auth-failure/></failure>");
    assert_int_equal(metric_read(METRIC_LOGIN_REFUSED), refused + 1);
    for (int i = 0; i < WAIT_MS / 10 && attacks() > 0; i++) usleep(10000);
    assert_int_equal(attacks(), 0);
    client_close(&c);
    ready_from(&c, "127.0.0.6");
    assert_false(client_login(&c, "PLAIN", "romeo", "wrong", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    client_close(&c);
}

/* c2s.address_failures=8 */
static void test_address_failures(void **state)
{
    UNIT_UNUSED(state);
    struct client c, old;
    int64_t cut = metric_read(METRIC_C2S_CUT_BLOCKED);
    ready_from(&old, "127.0.0.7");
    for (int i = 0; i < 8; i++) {
        char user[16];
        snprintf(user, sizeof user, "servant%d", i);
        if (i % 4 == 0) ready_from(&c, "127.0.0.7");
        assert_false(client_login(&c, "SCRAM-SHA-1", user, "wrong", NULL));
        client_expect(&c, "><not-authorized/></failure>");
        if (i == 3) client_close(&c);
    }
    client_expect_error(&c, "policy-violation");
    client_close(&c);
    client_open_from(&c, plain_port, "127.0.0.7");
    client_expect_error(&c, "policy-violation");
    client_close(&c);
    client_open_from(&c, tls_port, "127.0.0.7");
    client_expect_end(&c);
    client_close(&c);
    client_send(&old, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldABSMG0zMCBtaW5l</auth>"); /* right, but not from there */
    client_expect_error(&old, "policy-violation");
    client_close(&old);
    assert_int_equal(metric_read(METRIC_C2S_CUT_BLOCKED), cut + 4);
    online_from(&c, "127.0.0.8");
    client_close(&c);
    for (int i = 0; i < WAIT_MS / 10 && attacks() > 0; i++) usleep(10000);
    online_from(&c, "127.0.0.7");
    client_close(&c);
}

/* c2s.keepalive=1 */
static void test_keepalive(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    int64_t spaces = metric_read(METRIC_C2S_KEEPALIVES);
    online_from(&c, "127.0.0.10");
    client_expect(&c, " ");
    client_expect(&c, " ");
    assert_true(metric_read(METRIC_C2S_KEEPALIVES) >= spaces + 2);
    client_send(&c, "<message id='awake'/>");
    client_expect(&c, "awake");
    client_close(&c);
}

/* c2s.peer_timeout=1: what was sent stays in the kernel because the client does not take it. */
static void test_peer_timeout(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    struct buf b = {0};
    int small = 4096;
    wait_alone();
    int closed = seen_closed;
    buf_addf(&b, "<message id='big'><body>%028000d</body></message>", 0);
    online_from(&c, "127.0.0.9");
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 20; i++)
        if (SSL_write(c.ssl, b.data, (int)b.len) <= 0) break;
    wait_for(&seen_closed, closed + 1);
    client_close(&c);
    buf_free(&b);
}

static void test_advertised(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_open(&c, plain_port);
    client_tls(&c);
    client_send(&c, HEADER);
    client_expect(&c, "<stream:features><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>16384</max-bytes></limits>");
    client_expect(&c, "</stream:features>");
    assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
    client_send(&c, HEADER);
    client_expect(&c, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>30000</max-bytes></limits>");
    client_close(&c);
}

/* RFC 6120, 4.7.4 and 8.1.5 */
static void test_language(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *header, *message, *lang;
    } rows[] = {
        {" xml:lang='it-IT'", "<message id='1'/>", "xml:lang='it-IT'"},
        {" xml:lang='it'", "<message xml:lang='de' id='1'/>", "xml:lang='de'"},
        {" xml:lang='not a tag'", "<message id='1'/>", NULL},
        {" xml:lang='long-enough-to-be-nonsense-in-any-language-at-all'", "<message id='1'/>", NULL},
        {"", "<message id='1'/>", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client c;
        char header[512];
        snprintf(header, sizeof header, "<stream:stream to='" DOMAIN "'%s xmlns='jabber:client' xmlns:stream='" NS_STREAMS "' version='1.0'>", rows[i].header);
        ready_from(&c, "127.0.0.11");
        assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
        client_send(&c, header);
        client_expect(&c, "</stream:features>");
        client_send(&c, "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'><resource>balcony</resource></bind></iq>");
        client_expect(&c, "</iq>");
        client_send(&c, rows[i].message);
        const char *echo = strstr(client_expect(&c, "/>"), "<message");
        assert_non_null(echo);
        if (rows[i].lang)
            assert_non_null(strstr(echo, rows[i].lang));
        else
            assert_null(strstr(echo, "lang"));
        client_close(&c);
    }
}

/* RFC 6120, 11.6 */
static void test_encoding(void **state)
{
    UNIT_UNUSED(state);
    static const char *const rows[] = {HEADER "<message><body>\xff\xfe</body></message>", HEADER "<message><body>caf\xe9</body></message>"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client c;
        client_open(&c, plain_port);
        client_send(&c, rows[i]);
        client_expect(&c, "</stream:features>");
        client_expect_error(&c, "unsupported-encoding");
        client_close(&c);
    }
}

/* ---- certificates ---- */

static char extra[128];

static const char *extra_path(const char *name)
{
    snprintf(extra, sizeof extra, "%s/%s", data_dir, name);
    return extra;
}

static void make_pair(const char *name, const char *domain, char cert[128], char key[128])
{
    bool made;
    struct err err;
    snprintf(cert, 128, "%s/%s.crt", data_dir, name);
    snprintf(key, 128, "%s/%s.key", data_dir, name);
    assert_int_equal(tls_self_signed(cert, key, &domain, 1, &made, &err), 0);
}

static void drop_pair(const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "%s.crt", name);
    unlink(extra_path(file));
    snprintf(file, sizeof file, "%s.key", name);
    unlink(extra_path(file));
}

static struct tls_context *default_context(void)
{
    char cert[128], key[128];
    struct err err;
    snprintf(cert, sizeof cert, "%s/cert.pem", data_dir);
    snprintf(key, sizeof key, "%s/key.pem", data_dir);
    struct tls_context *t = tls_server_new(cert, key, "xmpp-client", &err);
    assert_non_null(t);
    return t;
}

/* The commonName of the certificate shown. */
static const char *shown_to(unsigned port, const char *sni)
{
    static char name[128];
    struct client c;
    client_open(&c, port);
    if (port == plain_port) {
        client_send(&c, HEADER "<starttls xmlns='" NS_TLS "'/>");
        client_expect(&c, "<proceed xmlns='" NS_TLS "'/>");
    }
    c.ssl = SSL_new(client_ctx);
    if (sni) SSL_set_tlsext_host_name(c.ssl, sni);
    SSL_set_fd(c.ssl, c.fd);
    assert_int_equal(SSL_connect(c.ssl), 1);
    X509 *cert = SSL_get1_peer_certificate(c.ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    X509_free(cert);
    client_close(&c);
    return name;
}

static void test_sni(void **state)
{
    UNIT_UNUSED(state);
    char cert[128], key[128];
    struct err err;
    struct tls_context *fresh = default_context();
    make_pair("montague", "montague.lit", cert, key);
    assert_int_equal(tls_server_add(fresh, "montague.lit", cert, key, &err), 0);
    drop_pair("montague");
    make_pair("buecher", "b\xc3\xbc" "cher.example", cert, key);
    assert_int_equal(tls_server_add(fresh, "b\xc3\xbc" "cher.example", cert, key, &err), 0);
    drop_pair("buecher");
    make_pair("capulet", "own." DOMAIN, cert, key); /* its name tells it from the default one */
    assert_int_equal(tls_server_add(fresh, DOMAIN, cert, key, &err), 0);
    drop_pair("capulet");
    assert_int_equal(tls_server_add(fresh, "verona.lit", "/nonexistent.crt", "/nonexistent.key", &err), -1);

    assert_string_equal(shown_to(tls_port, "montague.lit"), DOMAIN); /* not reloaded yet */
    c2s_set_tls(fresh);
    tls_unref(fresh);
    assert_string_equal(shown_to(tls_port, NULL), DOMAIN);
    assert_string_equal(shown_to(tls_port, "verona.lit"), DOMAIN);
    assert_string_equal(shown_to(tls_port, "Montague.LIT"), "montague.lit");
    assert_string_equal(shown_to(tls_port, "xn--bcher-kva.example"), "b\xc3\xbc" "cher.example");
    assert_string_equal(shown_to(plain_port, NULL), "own." DOMAIN); /* by the stream's 'to' */
    assert_string_equal(shown_to(plain_port, "montague.lit"), "montague.lit");
    c2s_set_tls(tls);
}

static void external_ready(struct client *c, SSL_CTX *ctx)
{
    client_open(c, tls_port);
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    assert_int_equal(SSL_connect(c->ssl), 1);
    client_send(c, HEADER);
}

static SSL_CTX *ctx_with(const char *name, const char *address, char cert[128])
{
    char key[128];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    make_pair(name, address, cert, key);
    assert_int_equal(SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM), 1);
    return ctx;
}

/* XEP-0178 */
static void test_external(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *auth, *answer;
    } rows[] = {
        {">=</auth>", "<success xmlns='" NS_SASL "'/>"},
        {">anVsaWV0QGNhcHVsZXQubGl0</auth>", "<success xmlns='" NS_SASL "'/>"}, /* juliet@capulet.lit */
        {">cm9tZW9AY2FwdWxldC5saXQ=</auth>", "<invalid-authzid/></failure>"},    /* romeo@capulet.lit */
        {"/>", "<challenge xmlns='" NS_SASL "'/>"},
    };
    char cert[128], stranger_cert[128];
    struct err err;
    struct client c;
    SSL_CTX *juliet_ctx = ctx_with("juliet", "juliet@" DOMAIN, cert);
    SSL_CTX *stranger_ctx = ctx_with("stranger", "juliet@" DOMAIN, stranger_cert);
    struct tls_context *fresh = default_context();
    assert_int_equal(tls_server_ask_clients(fresh, cert, &err), 0);
    c2s_set_tls(fresh);
    tls_unref(fresh);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        external_ready(&c, juliet_ctx);
        client_expect(&c, "<mechanism>EXTERNAL</mechanism>");
        client_expect(&c, "</stream:features>");
        client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'");
        client_send(&c, rows[i].auth);
        client_expect(&c, rows[i].answer);
        if (strstr(rows[i].answer, "challenge")) {
            client_send(&c, "<response xmlns='" NS_SASL "'/>");
            client_expect(&c, "<success xmlns='" NS_SASL "'/>");
        }
        if (!strstr(rows[i].answer, "failure")) client_bind(&c);
        client_close(&c);
    }
    /* A certificate nobody vouches for, and none: the handshake is fine, a password too, but not EXTERNAL. */
    SSL_CTX *others[] = {stranger_ctx, client_ctx};
    for (size_t i = 0; i < 2; i++) {
        external_ready(&c, others[i]);
        assert_null(strstr(client_expect(&c, "</stream:features>"), "EXTERNAL"));
        client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>=</auth>");
        client_expect(&c, "<invalid-mechanism/></failure>");
        assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
        client_close(&c);
    }
    c2s_set_tls(tls);
    drop_pair("juliet");
    drop_pair("stranger");
    SSL_CTX_free(juliet_ctx);
    SSL_CTX_free(stranger_ctx);
}

/* ---- c2s.plain_loopback ---- */

static void test_plain(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    for (int i = 0; i < 2; i++) {
        client_open(&c, plain_port);
        client_send(&c, HEADER);
        client_expect(&c, "<starttls xmlns='" NS_TLS "'/><mechanisms");
        assert_null(strstr(client_expect(&c, "</mechanisms></stream:features>"), "PLUS"));
        assert_true(client_login(&c, i == 0 ? "PLAIN" : "SCRAM-SHA-1", "juliet", PASSWORD, NULL));
        client_bind(&c);
        client_send(&c, "<message id='plain'/>");
        client_expect(&c, "id='plain'");
        client_close(&c);
    }
    client_open(&c, plain_port); /* whoever wants TLS has it */
    client_send(&c, HEADER);
    client_expect(&c, "</stream:features>");
    client_send(&c, "<starttls xmlns='" NS_TLS "'/>");
    client_expect(&c, "<proceed xmlns='" NS_TLS "'/>");
    client_handshake(&c, 0);
    client_send(&c, HEADER);
    assert_null(strstr(client_expect(&c, "</stream:features>"), "starttls"));
    client_send(&c, "<starttls xmlns='" NS_TLS "'/>");
    client_expect_error(&c, "unsupported-stanza-type");
    client_close(&c);
}

static int setup_limits(void **state)
{
    UNIT_UNUSED(state);
    static const char *const options[] = {
        "c2s.rate_stanzas=300", "c2s.rate_bytes=200000",    "c2s.rate_burst=1",    "c2s.rate_patience=2",  "c2s.auth_bytes=20000",
        "c2s.keepalive=1",      "c2s.login_delay=200",      "c2s.login_delay_max=400", "c2s.account_failures=6", "c2s.address_failures=8",
        "c2s.block_time=2",     "c2s.address_connections=3", "c2s.peer_timeout=1",  "c2s.trusted_addresses=127.0.0.9 127.0.0.1", "c2s.stanza_bytes=30000",
        "tls.client_ca=asked",  NULL};
    return c2s_setup(options);
}

/* The last one starts the service anew, with other options. */
static int setup_plain(void **state)
{
    static const char *const options[] = {"c2s.plain_loopback=yes", NULL};
    c2s_teardown(state);
    return c2s_setup(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_stanzas),
        cmocka_unit_test(test_rate_bytes),
        cmocka_unit_test(test_rate_far_over),
        cmocka_unit_test(test_trusted_rate),
        cmocka_unit_test(test_unbound_bytes),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_account_failures),
        cmocka_unit_test(test_address_failures),
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_peer_timeout),
        cmocka_unit_test(test_advertised),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_sni),
        cmocka_unit_test(test_external),
        cmocka_unit_test_setup(test_plain, setup_plain),
    };
    return cmocka_run_group_tests(tests, setup_limits, c2s_teardown);
}
