/* Client streams end to end: two workers, a small upper layer, and a blocking client on a real socket with OpenSSL and gsasl.
 * Every login moves to the other worker. The upper layer echoes stanzas. */
#include "unit.h"
#include "base/metric.h"
#include "io/worker.h"
#include "xmpp/c2s.h"
#include "xmpp/stream.h"
#include <arpa/inet.h>
#include <gsasl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOMAIN   "capulet.lit"
#define PASSWORD "R0m30 mine"
#define HEADER   "<?xml version='1.0'?><stream:stream to='" DOMAIN "' xmlns='jabber:client' xmlns:stream='" NS_STREAMS "' version='1.0'>"
#define WAIT_MS  10000
#define OUTPUT   1048576 /* c2s.output_bytes */
/* For the workers' threads, where cmocka's assertions may not jump. */
#define must(x) ((x) ? (void)0 : abort())

/* ---- the upper layer ---- */

static struct config config;
static struct tls_context *tls;
static struct scram_keys juliet[SCRAM_HASHES];
static char data_dir[64];
static atomic_int seen_closed, seen_graceful, seen_auth, seen_moved, seen_bound, seen_over, seen_drained, paused_early;
static _Atomic unsigned tls_port, plain_port;

static bool up_domain_served(struct str domain)
{
    return str_is(domain, DOMAIN);
}

struct account_answer {
    struct msg msg;
    uint64_t id;
    c2s_account_fn fn;
    char user[64];
};

static void account_run(struct msg *msg)
{
    struct account_answer *a = (struct account_answer *)msg;
    struct c2s_account account = {0};
    struct err err;
    if (strcmp(a->user, "fault@" DOMAIN) == 0) {
        err_set(&err, ERR_IO, "the disk is on fire");
        a->fn(a->id, NULL, &err);
    } else {
        account.exists = strcmp(a->user, "juliet@" DOMAIN) == 0 || strcmp(a->user, "tybalt@" DOMAIN) == 0;
        memcpy(account.keys, juliet, sizeof juliet);
        a->fn(a->id, &account, NULL);
    }
    free(a);
}

static void up_account_get(const struct jid *user, uint64_t id, c2s_account_fn fn)
{
    struct account_answer *a = x_calloc(1, sizeof *a);
    a->msg.run = account_run;
    a->id = id;
    a->fn = fn;
    snprintf(a->user, sizeof a->user, STR_FMT, STR_ARG(user->bare));
    worker_post(worker_id(), &a->msg);
}

static uint32_t up_owner(const struct jid *user)
{
    UNIT_UNUSED(user);
    return (worker_id() + 1) % worker_count();
}

struct decision {
    struct msg msg;
    uint64_t id;
    bool refuse;
};

static void decision_run(struct msg *msg)
{
    struct decision *d = (struct decision *)msg;
    c2s_auth_result(d->id, d->refuse ? "temporary-auth-failure" : NULL);
    c2s_auth_result(d->id, NULL); /* a second answer changes nothing */
    free(d);
}

static void up_on_auth(struct c2s *c)
{
    seen_auth++;
    if (c2s_id(c) >> 48 != worker_id()) seen_moved++;
    must(c2s_get(c2s_id(c)) == c);
    struct decision *d = x_calloc(1, sizeof *d);
    d->msg.run = decision_run;
    d->id = c2s_id(c);
    d->refuse = str_is(c2s_user(c)->local, "tybalt");
    worker_post(worker_id(), &d->msg);
}

static void up_on_bind(struct c2s *c, struct stanza *take)
{
    struct arena *a = arena_new(0);
    struct err err;
    struct xml_node *root = stanza_tree(take, NULL, a, &err);
    must(root != NULL);
    struct str resource = xml_node_text(a, xml_node_child(xml_node_child(root, "bind", NS_BIND), "resource", NS_BIND));
    if (str_is(resource, "taken")) {
        struct stanza *error = stanza_error(take, "conflict", NULL, NULL);
        c2s_send_stanza(c, error);
        stanza_unref(error);
        c2s_bind_refused(c);
    } else {
        struct jid full = jid_with_resource(a, c2s_user(c), resource);
        struct buf b = {0};
        buf_addf(&b, "<bind xmlns='%s'><jid>" STR_FMT "</jid></bind>", NS_BIND, STR_ARG(full.full));
        struct stanza *result = stanza_result(take, buf_str(&b));
        c2s_bound(c, &full);
        c2s_send_stanza(c, result);
        stanza_unref(result);
        buf_free(&b);
        seen_bound++;
    }
    stanza_unref(take);
    arena_free(a);
}

struct nap { /* a reader that was paused: nothing may come until it goes on */
    struct wheel_timer timer;
    uint64_t id;
};

static void nap_over(struct wheel_timer *timer)
{
    struct nap *nap = CONTAINER_OF(timer, struct nap, timer);
    struct c2s *c = c2s_get(nap->id);
    if (c) {
        c2s_set_session(c, NULL);
        c2s_resume(c);
    }
    free(nap);
}

static void up_on_stanza(struct c2s *c, struct stanza *take)
{
    if (c2s_session(c)) paused_early++;
    struct jid none = {0};
    struct stanza *echo = stanza_with(take, &(struct stanza_change){.from = &none, .to = c2s_user(c)});
    c2s_send_stanza(c, echo);
    stanza_unref(echo);
    if (c2s_pending(c) > OUTPUT / 4 + 60000) seen_over++;
    if (str_is(take->id, "pause")) {
        struct nap *nap = x_calloc(1, sizeof *nap);
        nap->id = c2s_id(c);
        nap->timer.fn = nap_over;
        c2s_set_session(c, nap);
        c2s_pause(c);
        worker_timer(&nap->timer, 100);
    }
    if (str_is(take->id, "kick")) c2s_close(c, "conflict", "replaced");
    stanza_unref(take);
}

static void up_on_reject(struct c2s *c, struct stanza *take_reply)
{
    c2s_send_stanza(c, take_reply);
    stanza_unref(take_reply);
}

static void up_on_drain(struct c2s *c)
{
    UNIT_UNUSED(c);
    seen_drained++;
}

static void up_on_closed(struct c2s *c, bool graceful, const char *why)
{
    UNIT_UNUSED(c);
    must(why != NULL);
    seen_closed++;
    if (graceful) seen_graceful++;
}

static const struct c2s_ops up_ops = {
    .domain_served = up_domain_served,
    .account_get = up_account_get,
    .owner = up_owner,
    .on_auth = up_on_auth,
    .on_bind = up_on_bind,
    .on_stanza = up_on_stanza,
    .on_reject = up_on_reject,
    .on_drain = up_on_drain,
    .on_closed = up_on_closed,
};

/* ---- the client ---- */

struct client {
    int fd;
    SSL *ssl;
    struct buf in;
    bool eof;
};
static SSL_CTX *client_ctx;
static Gsasl *client_library;

static void client_open(struct client *c, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

static void client_close(struct client *c)
{
    SSL_free(c->ssl);
    if (c->fd >= 0) close(c->fd);
    buf_free(&c->in);
}

static void client_handshake(struct client *c, int max_version)
{
    c->ssl = SSL_new(client_ctx);
    SSL_set_max_proto_version(c->ssl, max_version);
    static const unsigned char alpn[] = "\x0bxmpp-client";
    SSL_set_alpn_protos(c->ssl, alpn, sizeof alpn - 1);
    SSL_set_fd(c->ssl, c->fd);
    assert_int_equal(SSL_connect(c->ssl), 1);
}

static void client_send_n(struct client *c, const char *p, size_t n)
{
    if (c->ssl) {
        assert_int_equal(SSL_write(c->ssl, p, (int)n), n);
    } else {
        assert_int_equal(send(c->fd, p, n, MSG_NOSIGNAL), n);
    }
}

static void client_send(struct client *c, const char *text)
{
    client_send_n(c, text, strlen(text));
}

static void client_read(struct client *c, int wait_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (!(c->ssl && SSL_pending(c->ssl)) && poll(&p, 1, wait_ms) <= 0) return;
    char *to = buf_reserve(&c->in, 65536);
    ssize_t n = c->ssl ? SSL_read(c->ssl, to, 65536) : recv(c->fd, to, 65536, 0);
    if (n > 0)
        c->in.len += (size_t)n;
    else if (!c->ssl || SSL_get_error(c->ssl, (int)n) != SSL_ERROR_WANT_READ)
        c->eof = true;
}

/* Reads until text has come; what came before it and the text itself are taken away and returned (until the next call). */
static const char *client_expect(struct client *c, const char *text)
{
    static char taken[65536];
    for (int i = 0; i < WAIT_MS / 100; i++) {
        const char *at = strstr(buf_cstr(&c->in), text);
        if (at) {
            size_t n = (size_t)(at - c->in.data) + strlen(text);
            snprintf(taken, sizeof taken, "%.*s", (int)n, c->in.data);
            buf_consume(&c->in, n);
            return taken;
        }
        if (c->eof) break;
        client_read(c, 100);
    }
    fail_msg("expected %s%s, got: %s", text, c->eof ? " but the connection ended" : "", buf_cstr(&c->in));
    return NULL;
}

static void client_expect_end(struct client *c)
{
    for (int i = 0; i < WAIT_MS / 100 && !c->eof; i++) client_read(c, 100);
    assert_true(c->eof);
    assert_string_equal(buf_cstr(&c->in), "");
}

static void client_expect_error(struct client *c, const char *condition)
{
    char text[128];
    snprintf(text, sizeof text, "<stream:error><%s xmlns='%s'/>", condition, NS_STREAM_ERRORS);
    client_expect(c, text);
    client_expect(c, "</stream:error></stream:stream>");
    client_expect_end(c);
}

static void client_tls(struct client *c)
{
    client_send(c, HEADER);
    client_expect(c, "<starttls xmlns='" NS_TLS "'><required/></starttls></stream:features>");
    client_send(c, "<starttls xmlns='" NS_TLS "'/>");
    client_expect(c, "<proceed xmlns='" NS_TLS "'/>");
    client_handshake(c, 0);
}

/* A TLS stream with the mechanisms offered. */
static void client_ready(struct client *c)
{
    client_open(c, plain_port);
    client_tls(c);
    client_send(c, HEADER);
    client_expect(c, "</mechanisms>");
    client_expect(c, "</stream:features>");
}

static void client_bindings(struct client *c, Gsasl_session *session)
{
    unsigned char data[64];
    char *text = NULL;
    size_t n = 32;
    Gsasl_property property = GSASL_CB_TLS_EXPORTER;
    if (SSL_version(c->ssl) == TLS1_3_VERSION) {
        assert_int_equal(SSL_export_keying_material(c->ssl, data, 32, "EXPORTER-Channel-Binding", 24, NULL, 0, 1), 1);
    } else {
        n = SSL_get_finished(c->ssl, data, sizeof data);
        property = GSASL_CB_TLS_UNIQUE;
    }
    assert_int_equal(gsasl_base64_to((const char *)data, n, &text, NULL), GSASL_OK);
    assert_int_equal(gsasl_property_set(session, property, text), GSASL_OK);
    gsasl_free(text);
}

/* Returns whether the login succeeded; last: sent in the same write as the last message of SASL. */
static bool client_login(struct client *c, const char *mechanism, const char *user, const char *password, const char *last)
{
    Gsasl_session *session;
    char *says = NULL, *said = NULL;
    bool success = false;
    struct buf b = {0};
    assert_int_equal(gsasl_client_start(client_library, mechanism, &session), GSASL_OK);
    assert_int_equal(gsasl_property_set(session, GSASL_AUTHID, user), GSASL_OK);
    assert_int_equal(gsasl_property_set(session, GSASL_PASSWORD, password), GSASL_OK);
    if (strstr(mechanism, "-PLUS")) client_bindings(c, session);
    bool plain = strcmp(mechanism, "PLAIN") == 0;
    for (int round = 0;; round++) {
        assert_in_range(gsasl_step64(session, said ? said : "", &says), 0, 1);
        free(said);
        said = NULL;
        if (round == 0)
            buf_addf(&b, "<auth xmlns='%s' mechanism='%s'>%s</auth>", NS_SASL, mechanism, says);
        else
            buf_addf(&b, "<response xmlns='%s'>%s</response>", NS_SASL, says);
        gsasl_free(says);
        if (last && (plain || round == 1)) buf_adds(&b, last);
        client_send_n(c, b.data, b.len);
        buf_reset(&b);
        const char *answer = client_expect(c, " xmlns='" NS_SASL "'");
        if (strstr(answer, "<challenge")) {
            answer = client_expect(c, "</challenge>");
            said = str_dup((struct str){answer + 1, strlen(answer) - strlen("></challenge>")});
            continue;
        }
        success = strstr(answer, "<success") != NULL;
        if (success && !plain) {
            answer = client_expect(c, "</success>");
            said = str_dup((struct str){answer + 1, strlen(answer) - strlen("></success>")});
            assert_int_equal(gsasl_step64(session, said, &says), GSASL_OK); /* the server proved itself */
            gsasl_free(says);
            free(said);
        } else if (success) {
            client_expect(c, "/>");
        }
        break;
    }
    buf_free(&b);
    gsasl_finish(session);
    return success;
}

static void client_bind(struct client *c)
{
    client_send(c, HEADER);
    client_expect(c, "<bind xmlns='" NS_BIND "'/><session xmlns='" NS_SESSION "'><optional/></session></stream:features>");
    client_send(c, "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'><resource>balcony</resource></bind></iq>");
    client_expect(c, "<jid>juliet@" DOMAIN "/balcony</jid></bind></iq>");
}

static void client_online(struct client *c)
{
    client_ready(c);
    assert_true(client_login(c, "SCRAM-SHA-256", "juliet", PASSWORD, NULL));
    client_bind(c);
}

/* Expects the counter to reach at least value. */
static void wait_for(atomic_int *counter, int value)
{
    for (int i = 0; i < WAIT_MS / 10 && *counter < value; i++) usleep(10000);
    assert_true(*counter >= value);
}

/* All streams of earlier tests are gone, so that counters tell of this one. */
static void wait_alone(void)
{
    for (int i = 0; i < WAIT_MS / 10 && metric_read(METRIC_C2S_STREAMS) > 0; i++) usleep(10000);
    assert_int_equal(metric_read(METRIC_C2S_STREAMS), 0);
}

/* ---- tests ---- */

static void test_login_and_echo(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    wait_alone();
    int moved = seen_moved, closed = seen_closed, graceful = seen_graceful;
    client_open(&c, plain_port);
    client_send(&c, "<?xml version='1.0'?><stream:stream from='Juliet@" DOMAIN "' to='CAPULET.lit' xmlns='jabber:client' xmlns:stream='" NS_STREAMS
                    "' version='1.0' xml:lang='it'>");
    const char *header = client_expect(&c, "<stream:features>");
    assert_non_null(strstr(header, "from='" DOMAIN "'"));
    assert_non_null(strstr(header, "to='juliet@" DOMAIN "'"));
    assert_non_null(strstr(header, " id='"));
    assert_non_null(strstr(header, "version='1.0'"));
    assert_non_null(strstr(header, "xml:lang='en'"));
    client_expect(&c, "<starttls xmlns='" NS_TLS "'><required/></starttls></stream:features>");
    client_send(&c, "<starttls xmlns='" NS_TLS "'/>\n");
    client_expect(&c, "<proceed xmlns='" NS_TLS "'/>");
    client_handshake(&c, 0);
    client_send(&c, HEADER);
    client_expect(&c, "<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>"
                      "<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>");
    client_expect(&c, "<channel-binding type='tls-exporter'/></sasl-channel-binding></stream:features>");
    assert_true(client_login(&c, "SCRAM-SHA-256", "juliet", PASSWORD, NULL));
    assert_int_equal(seen_moved, moved + 1);
    client_bind(&c);
    client_send(&c, " \n");
    client_send(&c, "<message to='romeo@" DOMAIN "' id='1'><body>Art thou not Romeo?</body></message>");
    client_expect(&c, "<body>Art thou not Romeo?</body></message>");
    client_send(&c, "</stream:stream>");
    client_expect(&c, "</stream:stream>");
    client_expect_end(&c);
    wait_for(&seen_closed, closed + 1);
    assert_int_equal(seen_graceful, graceful + 1);
    client_close(&c);
}

static void test_direct_tls(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *mechanism;
        int version;
    } rows[] = {{"PLAIN", 0}, {"SCRAM-SHA-1", 0}, {"SCRAM-SHA-256-PLUS", 0}, {"SCRAM-SHA-1-PLUS", TLS1_2_VERSION}, {"PLAIN", TLS1_2_VERSION}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client c;
        client_open(&c, tls_port);
        client_handshake(&c, rows[i].version);
        const unsigned char *alpn;
        unsigned n;
        SSL_get0_alpn_selected(c.ssl, &alpn, &n);
        assert_int_equal(n, 11);
        client_send(&c, HEADER);
        assert_null(strstr(client_expect(&c, "</mechanisms>"), "starttls"));
        client_expect(&c, rows[i].version ? "tls-unique" : "tls-exporter");
        client_expect(&c, "</stream:features>");
        assert_true(client_login(&c, rows[i].mechanism, "juliet", PASSWORD, NULL));
        client_bind(&c);
        client_close(&c); /* and gone without a word */
    }
}

static void test_failed_logins(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_ready(&c);
    assert_false(client_login(&c, "SCRAM-SHA-256", "juliet", "tybalt", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_false(client_login(&c, "PLAIN", "juliet", "tybalt", NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_false(client_login(&c, "SCRAM-SHA-1", "nobody", PASSWORD, NULL));
    client_expect(&c, "><not-authorized/></failure>");
    assert_true(client_login(&c, "SCRAM-SHA-1", "juliet", PASSWORD, NULL));
    client_bind(&c);
    client_close(&c);

    client_ready(&c);
    static const struct {
        const char *text, *condition;
    } rows[] = {
        {"<auth xmlns='" NS_SASL "' mechanism='CRAM-MD5'/>", "invalid-mechanism"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'>!</auth>", "incorrect-encoding"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'>cm9tZW9AY2FwdWxldC5saXQAanVsaWV0AHg=</auth>", "invalid-authzid"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGZhdWx0AHg=</auth>", "temporary-auth-failure"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "<failure xmlns='%s'><%s/></failure>", NS_SASL, rows[i].condition);
        client_send(&c, rows[i].text);
        client_expect(&c, text);
    }
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='SCRAM-SHA-256'/>");
    client_expect(&c, "<challenge xmlns='" NS_SASL "'/>");
    client_send(&c, "<abort xmlns='" NS_SASL "'/>");
    client_expect(&c, "<aborted/></failure>"); /* the fifth */
    client_expect_error(&c, "policy-violation");
    client_close(&c);
}

/* Credentials fine, but the layer above says no: back to where it was, on the other worker. */
static void test_refused_above(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_ready(&c);
    assert_false(client_login(&c, "SCRAM-SHA-256", "tybalt", PASSWORD, NULL));
    client_expect(&c, "><temporary-auth-failure/></failure>");
    assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
    client_bind(&c);
    client_close(&c);
}

static void test_injected_plain_text(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    wait_alone();
    int64_t errors = metric_read(METRIC_C2S_STREAM_ERRORS);
    client_open(&c, plain_port);
    client_send(&c, HEADER);
    client_expect(&c, "</stream:features>");
    client_send(&c, "<starttls xmlns='" NS_TLS "'/><stream:stream to='" DOMAIN "'>");
    client_expect(&c, "<failure xmlns='" NS_TLS "'/></stream:stream>");
    client_expect_end(&c);
    client_close(&c);
    assert_int_equal(metric_read(METRIC_C2S_STREAM_ERRORS), errors + 1);
}

#define ROOT(attributes) "<stream:stream xmlns:stream='" NS_STREAMS "' " attributes ">"
static const struct {
    const char *text, *condition;
} stream_errors[] = {
    {"<stream:stream to='" DOMAIN "' version='1.0' xmlns='jabber:client' xmlns:stream='urn:example:streams'>", "invalid-namespace"},
    {ROOT("to='" DOMAIN "' version='1.0' xmlns='jabber:server'"), "invalid-namespace"},
    {ROOT("to='" DOMAIN "' version='1.0'"), "invalid-namespace"},
    {"<s:river to='" DOMAIN "' version='1.0' xmlns='jabber:client' xmlns:s='" NS_STREAMS "'>", "bad-format"},
    {ROOT("to='montague.lit' version='1.0' xmlns='jabber:client'"), "host-unknown"},
    {ROOT("to='juliet@" DOMAIN "' version='1.0' xmlns='jabber:client'"), "improper-addressing"},
    {ROOT("version='1.0' xmlns='jabber:client'"), "improper-addressing"},
    {ROOT("to='" DOMAIN "' xmlns='jabber:client'"), "unsupported-version"},
    {ROOT("to='" DOMAIN "' version='0.9' xmlns='jabber:client'"), "unsupported-version"},
    {ROOT("to='" DOMAIN "' version='one' xmlns='jabber:client'"), "unsupported-version"},
    {"GET / HTTP/1.1\r\n\r\n", "not-well-formed"},
    {"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "restricted-xml"},
    {HEADER "<!-- hm -->", "restricted-xml"},
    {HEADER "<a></b>", "not-well-formed"},
    {HEADER "<a:b/>", "bad-namespace-prefix"},
    {HEADER "<message to='romeo@" DOMAIN "'/>", "not-authorized"},
    {HEADER "<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>", "not-authorized"},
    {HEADER "<enable xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"},
    {HEADER "<response xmlns='" NS_SASL "'/>", "unsupported-stanza-type"},
};

static void test_stream_errors(void **state)
{
    UNIT_UNUSED(state);
    for (size_t i = 0; i < sizeof stream_errors / sizeof stream_errors[0]; i++) {
        struct client c;
        client_open(&c, plain_port);
        client_send(&c, stream_errors[i].text);
        const char *header = client_expect(&c, "version='1.0' xml:lang='en'>"); /* our header, always, before the error */
        assert_non_null(strstr(header, "from='" DOMAIN "'"));
        client_expect_error(&c, stream_errors[i].condition);
        client_close(&c);
    }
    /* Version 1.x and later: answered with 1.0. */
    struct client c;
    client_open(&c, plain_port);
    client_send(&c, ROOT("to='" DOMAIN "' version='1.7' xmlns='jabber:client'"));
    client_expect(&c, "</stream:features>");
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldAB4</auth>");
    client_expect(&c, "<failure xmlns='" NS_SASL "'><encryption-required/></failure>");
    client_send(&c, "</stream:stream>");
    client_expect(&c, "</stream:stream>");
    client_expect_end(&c);
    client_close(&c);
}

/* On a stream that is logged in, before bind and after. */
static void test_stanza_errors(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_ready(&c);
    assert_true(client_login(&c, "PLAIN", "juliet", PASSWORD, NULL));
    client_send(&c, HEADER);
    client_expect(&c, "</stream:features>");
    client_send(&c, "<iq type='set' id='b0'><bind xmlns='" NS_BIND "'><resource>taken</resource></bind></iq>");
    client_expect(&c, "<conflict");
    client_send(&c, "<message to='romeo@" DOMAIN "'/>");
    client_expect_error(&c, "not-authorized");
    client_close(&c);

    static const struct {
        const char *text, *condition;
    } rows[] = {
        {"<message from='romeo@" DOMAIN "' to='a@b'/>", "invalid-from"},
        {"<message from='juliet@" DOMAIN "/orchard' to='a@b'/>", "invalid-from"},
        {"<note/>", "unsupported-stanza-type"},
        {"<auth xmlns='" NS_SASL "' mechanism='PLAIN'/>", "unsupported-stanza-type"},
        {"<message id='kick'/>", "conflict"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wait_alone();
        int closed = seen_closed;
        client_online(&c);
        client_send(&c, "<message from='juliet@" DOMAIN "/balcony' to='a@b' id='1'/><message from='juliet@" DOMAIN "' to='a@b' id='2'/>");
        client_expect(&c, "id='2'");
        client_send(&c, "<message to='@' id='j1'/><iq type='result' to='@' id='j2'/><presence type='nonsense' id='j3'/>");
        const char *reply = client_expect(&c, "<jid-malformed");
        assert_non_null(strstr(reply, "j1"));
        reply = client_expect(&c, "<bad-request");
        assert_null(strstr(reply, "j2"));
        client_send(&c, rows[i].text);
        client_expect(&c, "</presence>");
        if (strstr(rows[i].text, "kick")) client_expect(&c, "/>");
        client_expect_error(&c, rows[i].condition);
        client_close(&c);
        wait_for(&seen_closed, closed + 1);
    }
}

static void test_oversize(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    char *text = x_malloc(40001);
    memset(text, 'x', 40000);
    text[40000] = 0;
    client_ready(&c); /* before login little is taken */
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>");
    client_send_n(&c, text, 17000);
    client_expect_error(&c, "policy-violation");
    client_close(&c);

    client_online(&c); /* c2s.stanza_bytes is 30000 here */
    client_send(&c, "<message id='1'><body>");
    client_send_n(&c, text, 29000);
    client_send(&c, "</body></message>");
    client_expect(&c, "</body></message>");
    client_send(&c, "<message id='2'><body>");
    client_send_n(&c, text, 30000);
    client_expect_error(&c, "policy-violation");
    client_close(&c);
    free(text);
}

static void test_auth_timeout(void **state)
{
    UNIT_UNUSED(state);
    struct client silent, shy, plain, bound;
    client_online(&bound);
    client_open(&silent, plain_port);
    client_open(&shy, tls_port); /* never begins its handshake */
    client_ready(&plain);
    assert_true(client_login(&plain, "PLAIN", "juliet", PASSWORD, NULL)); /* the limit moved along */
    client_expect_error(&silent, "connection-timeout");
    client_expect_end(&shy);
    client_expect_error(&plain, "connection-timeout");
    client_send(&bound, "<message id='still'/>");
    client_expect(&bound, "still");
    client_close(&silent);
    client_close(&shy);
    client_close(&plain);
    client_close(&bound);
}

/* What the client pipelined behind its last SASL message is unread when the connection moves, and comes out in order on the other worker. */
static void test_pipelined_hand_over(void **state)
{
    UNIT_UNUSED(state);
    static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1"};
    for (int i = 0; i < 12; i++) {
        struct client c;
        struct buf b = {0};
        buf_adds(&b, HEADER "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'><resource>orchard</resource></bind></iq>");
        for (int j = 0; j < 50; j++) buf_addf(&b, "<message id='n%d'><body>%0*d</body></message>", j, j * 20 + 1, j);
        client_ready(&c);
        assert_true(client_login(&c, mechanisms[i % 3], "juliet", PASSWORD, buf_cstr(&b)));
        client_expect(&c, "<jid>juliet@" DOMAIN "/orchard</jid>");
        for (int j = 0; j < 50; j++) {
            char id[32];
            snprintf(id, sizeof id, "id='n%d'", j);
            assert_null(strstr(client_expect(&c, id) + 1, "id='n0' "));
            client_expect(&c, "</message>");
        }
        client_close(&c);
        buf_free(&b);
    }
}

static void test_pause(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_online(&c);
    client_send(&c, "<message id='a'/><message id='pause'/><message id='b'/><message id='pause'/><message id='c'/> ");
    client_expect(&c, "id='a'");
    client_expect(&c, "id='b'");
    client_expect(&c, "id='c'");
    assert_int_equal(paused_early, 0);
    client_close(&c);
}

/* A client that sends and does not read: its echoes pile up to c2s.output_bytes, then it is cut off. */
static void test_slow_reader(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    wait_alone();
    int closed = seen_closed;
    struct buf b = {0};
    buf_addf(&b, "<message id='big'><body>%028000d</body></message>", 0);
    client_online(&c);
    client_send_n(&c, b.data, b.len);
    client_expect(&c, "</message>");
    int sent = 0;
    while (sent < 10000 && seen_closed == closed && SSL_write(c.ssl, b.data, (int)b.len) > 0) sent++;
    wait_for(&seen_closed, closed + 1);
    assert_in_range(sent, 1, 9999);
    client_close(&c);

    /* Over the mark, but read in time: on_drain. */
    client_online(&c);
    seen_over = 0;
    for (sent = 0; sent < 2000 && seen_over == 0; sent++) {
        client_send_n(&c, b.data, b.len);
        if (sent > 50) usleep(1000);
    }
    assert_true(seen_over > 0);
    seen_drained = 0;
    for (int i = 0; i < sent; i++) client_expect(&c, "</message>");
    wait_for(&seen_drained, 1);
    client_close(&c);
    buf_free(&b);
}

/* The client goes away at every step of the negotiation; nothing is left behind (the sanitizers and the last test look). */
static void test_sudden_ends(void **state)
{
    UNIT_UNUSED(state);
    struct client c;
    client_open(&c, plain_port);
    client_close(&c);
    client_open(&c, plain_port);
    client_send(&c, HEADER "<starttls xmlns='" NS_TLS "'/>");
    client_close(&c);
    client_open(&c, tls_port);
    client_send(&c, "\x16\x03\x01 this is no handshake");
    client_expect_end(&c);
    client_close(&c);
    client_ready(&c);
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldABSMG0zMCBtaW5l</auth>"); /* right; gone before the answer */
    client_close(&c);
    client_ready(&c);
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGp1bGlldABSMG0zMCBtaW5l</auth>");
    client_expect(&c, "<success");
    client_close(&c);
    client_ready(&c);
    client_send(&c, "<auth xmlns='" NS_SASL "' mechanism='SCRAM-SHA-256'/>");
    client_close(&c);
    client_ready(&c);
    shutdown(c.fd, SHUT_WR);
    client_expect_end(&c);
    client_close(&c);
}

static void on_stop(unsigned worker)
{
    UNIT_UNUSED(worker);
    c2s_listen_stop();
    c2s_close_all("system-shutdown");
}

/* The last one: stops the workers with streams in several states. */
static void test_shutdown(void **state)
{
    UNIT_UNUSED(state);
    struct client fresh, ready, bound;
    client_open(&fresh, plain_port);
    client_send(&fresh, HEADER);
    client_expect(&fresh, "</stream:features>");
    client_ready(&ready);
    client_online(&bound);
    workers_stop(on_stop);
    client_expect_error(&fresh, "system-shutdown");
    client_expect_error(&ready, "system-shutdown");
    client_expect_error(&bound, "system-shutdown");
    client_close(&fresh);
    client_close(&ready);
    client_close(&bound);
    assert_int_equal(metric_read(METRIC_C2S_STREAMS), 0);
}

/* ---- frame ---- */

static void on_start(unsigned worker)
{
    UNIT_UNUSED(worker);
    struct err err;
    must(c2s_listen(&err) == 0);
}

static int setup(void **state)
{
    UNIT_UNUSED(state);
    struct err err;
    char cert[96], key[96], dir[96];
    bool made;
    static const char *const domains[] = {DOMAIN};
    snprintf(data_dir, sizeof data_dir, "/tmp/signet-test-c2s-XXXXXX");
    if (!mkdtemp(data_dir)) return -1;
    snprintf(cert, sizeof cert, "%s/cert.pem", data_dir);
    snprintf(key, sizeof key, "%s/key.pem", data_dir);
    snprintf(dir, sizeof dir, "server.data_dir=%s", data_dir);
    const char *overrides[] = {dir,
                               "server.domains=" DOMAIN,
                               "c2s.listen=127.0.0.1:0",
                               "c2s.listen_tls=127.0.0.1:0",
                               "c2s.auth_timeout=4",
                               "c2s.channel_binding=true",
                               "c2s.stanza_bytes=30000"};
    for (int hash = 0; hash < SCRAM_HASHES; hash++)
        if (scram_keys_make((enum scram_hash)hash, STR(PASSWORD), SCRAM_ITERATIONS, &juliet[hash], &err) < 0) goto bad;
    if (config_load(&config, NULL, overrides, sizeof overrides / sizeof overrides[0], &err) < 0) goto bad;
    if (tls_self_signed(cert, key, domains, 1, &made, &err) < 0) goto bad;
    tls = tls_server_new(cert, key, "xmpp-client", &err);
    if (!tls || c2s_start(&config, &up_ops, tls, &err) < 0 || workers_start(2, on_start, &err) < 0) goto bad;
    plain_port = c2s_port(false);
    tls_port = c2s_port(true);
    client_ctx = SSL_CTX_new(TLS_client_method());
    return gsasl_init(&client_library) == GSASL_OK ? 0 : -1;
bad:
    print_error("%s\n", err.text);
    return -1;
}

static int teardown(void **state)
{
    UNIT_UNUSED(state);
    char path[96];
    static const char *const files[] = {"cert.pem", "key.pem", "scram-secret"};
    workers_stop(on_stop); /* no-op after the last test */
    c2s_stop();
    tls_unref(tls);
    config_free(&config);
    gsasl_done(client_library);
    SSL_CTX_free(client_ctx);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", data_dir, files[i]);
        unlink(path);
    }
    rmdir(data_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_and_echo),
        cmocka_unit_test(test_direct_tls),
        cmocka_unit_test(test_failed_logins),
        cmocka_unit_test(test_refused_above),
        cmocka_unit_test(test_injected_plain_text),
        cmocka_unit_test(test_stream_errors),
        cmocka_unit_test(test_stanza_errors),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_auth_timeout),
        cmocka_unit_test(test_pipelined_hand_over),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_sudden_ends),
        cmocka_unit_test(test_shutdown),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
