/* Shared by the tests of client streams: two workers, a small upper layer that echoes stanzas, and a blocking client on a real socket with OpenSSL and
 * gsasl. Every login moves to the other worker. */
#ifndef SIGNET_TESTS_C2S_FIXTURE_H
#define SIGNET_TESTS_C2S_FIXTURE_H
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

static inline bool up_domain_served(struct str domain)
{
    return str_is(domain, DOMAIN);
}

struct account_answer {
    struct msg msg;
    uint64_t id;
    c2s_account_fn fn;
    char user[64];
};

static inline void account_run(struct msg *msg)
{
    struct account_answer *a = (struct account_answer *)msg;
    struct c2s_account account = {0};
    struct err err;
    if (strcmp(a->user, "fault@" DOMAIN) == 0) {
        err_set(&err, ERR_IO, "the disk is on fire");
        a->fn(a->id, NULL, &err);
    } else {
        account.disabled = strcmp(a->user, "paris@" DOMAIN) == 0;
        account.exists = account.disabled || strcmp(a->user, "juliet@" DOMAIN) == 0 || strcmp(a->user, "tybalt@" DOMAIN) == 0;
        memcpy(account.keys, juliet, sizeof juliet);
        a->fn(a->id, &account, NULL);
    }
    free(a);
}

static inline void up_account_get(const struct jid *user, uint64_t id, c2s_account_fn fn)
{
    struct account_answer *a = x_calloc(1, sizeof *a);
    a->msg.run = account_run;
    a->id = id;
    a->fn = fn;
    snprintf(a->user, sizeof a->user, STR_FMT, STR_ARG(user->bare));
    worker_post(worker_id(), &a->msg);
}

static inline uint32_t up_owner(const struct jid *user)
{
    UNIT_UNUSED(user);
    return (worker_id() + 1) % worker_count();
}

struct decision {
    struct msg msg;
    uint64_t id;
    bool refuse;
};

static inline void decision_run(struct msg *msg)
{
    struct decision *d = (struct decision *)msg;
    c2s_auth_result(d->id, d->refuse ? "temporary-auth-failure" : NULL);
    c2s_auth_result(d->id, NULL); /* a second answer changes nothing */
    free(d);
}

static inline void up_on_auth(struct c2s *c)
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

static inline void up_on_bind(struct c2s *c, struct stanza *take)
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

static inline void nap_over(struct wheel_timer *timer)
{
    struct nap *nap = CONTAINER_OF(timer, struct nap, timer);
    struct c2s *c = c2s_get(nap->id);
    if (c) {
        c2s_set_session(c, NULL);
        c2s_resume(c);
    }
    free(nap);
}

static inline void up_on_stanza(struct c2s *c, struct stanza *take)
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

static inline void up_on_reject(struct c2s *c, struct stanza *take_reply)
{
    if (take_reply == NULL) return;
    c2s_send_stanza(c, take_reply);
    stanza_unref(take_reply);
}

static inline void up_on_drain(struct c2s *c)
{
    UNIT_UNUSED(c);
    seen_drained++;
}

static inline void up_on_closed(struct c2s *c, bool graceful, const char *why)
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

static inline void client_open(struct client *c, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

static inline void client_close(struct client *c)
{
    SSL_free(c->ssl);
    if (c->fd >= 0) close(c->fd);
    buf_free(&c->in);
}

static inline void client_handshake(struct client *c, int max_version)
{
    c->ssl = SSL_new(client_ctx);
    SSL_set_max_proto_version(c->ssl, max_version);
    static const unsigned char alpn[] = "\x0bxmpp-client";
    SSL_set_alpn_protos(c->ssl, alpn, sizeof alpn - 1);
    SSL_set_fd(c->ssl, c->fd);
    assert_int_equal(SSL_connect(c->ssl), 1);
}

static inline void client_send_n(struct client *c, const char *p, size_t n)
{
    if (c->ssl) {
        assert_int_equal(SSL_write(c->ssl, p, (int)n), n);
    } else {
        assert_int_equal(send(c->fd, p, n, MSG_NOSIGNAL), n);
    }
}

static inline void client_send(struct client *c, const char *text)
{
    client_send_n(c, text, strlen(text));
}

static inline void client_read(struct client *c, int wait_ms)
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
static inline const char *client_expect(struct client *c, const char *text)
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

static inline void client_expect_end(struct client *c)
{
    for (int i = 0; i < WAIT_MS / 100 && !c->eof; i++) client_read(c, 100);
    assert_true(c->eof);
    assert_string_equal(buf_cstr(&c->in), "");
}

static inline void client_expect_error(struct client *c, const char *condition)
{
    char text[128];
    snprintf(text, sizeof text, "<stream:error><%s xmlns='%s'/>", condition, NS_STREAM_ERRORS);
    client_expect(c, text);
    client_expect(c, "</stream:error></stream:stream>");
    client_expect_end(c);
}

static inline void client_tls(struct client *c)
{
    client_send(c, HEADER);
    client_expect(c, "<starttls xmlns='" NS_TLS "'><required/></starttls></stream:features>");
    client_send(c, "<starttls xmlns='" NS_TLS "'/>");
    client_expect(c, "<proceed xmlns='" NS_TLS "'/>");
    client_handshake(c, 0);
}

/* A TLS stream with the mechanisms offered. */
static inline void client_ready(struct client *c)
{
    client_open(c, plain_port);
    client_tls(c);
    client_send(c, HEADER);
    client_expect(c, "</mechanisms>");
    client_expect(c, "</stream:features>");
}

static inline void client_bindings(struct client *c, Gsasl_session *session)
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
static inline bool client_login(struct client *c, const char *mechanism, const char *user, const char *password, const char *last)
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

static inline void client_bind(struct client *c)
{
    client_send(c, HEADER);
    client_expect(c, "<bind xmlns='" NS_BIND "'/><session xmlns='" NS_SESSION "'><optional/></session>");
    client_expect(c, "</stream:features>");
    client_send(c, "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'><resource>balcony</resource></bind></iq>");
    client_expect(c, "<jid>juliet@" DOMAIN "/balcony</jid></bind></iq>");
}

static inline void client_online(struct client *c)
{
    client_ready(c);
    assert_true(client_login(c, "SCRAM-SHA-256", "juliet", PASSWORD, NULL));
    client_bind(c);
}

/* Expects the counter to reach at least value. */
static inline void wait_for(atomic_int *counter, int value)
{
    for (int i = 0; i < WAIT_MS / 10 && *counter < value; i++) usleep(10000);
    assert_true(*counter >= value);
}

/* All streams of earlier tests are gone, so that counters tell of this one. */
static inline void wait_alone(void)
{
    for (int i = 0; i < WAIT_MS / 10 && metric_read(METRIC_C2S_STREAMS) > 0; i++) usleep(10000);
    assert_int_equal(metric_read(METRIC_C2S_STREAMS), 0);
}

/* ---- frame ---- */

static inline void on_stop(unsigned worker)
{
    UNIT_UNUSED(worker);
    c2s_listen_stop();
    c2s_close_all("system-shutdown");
}


static inline void on_start(unsigned worker)
{
    UNIT_UNUSED(worker);
    struct err err;
    must(c2s_listen(&err) == 0);
}

/* options: "section.name=value", NULL at the end. */
static inline int c2s_setup(const char *const *options)
{
    static const char *const domains[] = {DOMAIN};
    struct err err;
    char cert[96], key[96], dir[96];
    bool made;
    const char *overrides[32];
    unsigned n = 0;
    snprintf(data_dir, sizeof data_dir, "/tmp/signet-test-c2s-XXXXXX");
    if (!mkdtemp(data_dir)) return -1;
    snprintf(cert, sizeof cert, "%s/cert.pem", data_dir);
    snprintf(key, sizeof key, "%s/key.pem", data_dir);
    snprintf(dir, sizeof dir, "server.data_dir=%s", data_dir);
    const char *const always[] = {dir, "server.domains=" DOMAIN, "c2s.listen=127.0.0.1:0", "c2s.listen_tls=127.0.0.1:0"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) overrides[n++] = always[i];
    for (size_t i = 0; options[i]; i++) overrides[n++] = options[i];
    for (int hash = 0; hash < SCRAM_HASHES; hash++)
        if (scram_keys_make((enum scram_hash)hash, STR(PASSWORD), SCRAM_ITERATIONS, &juliet[hash], &err) < 0) goto bad;
    if (config_load(&config, NULL, overrides, n, &err) < 0) goto bad;
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

static inline int c2s_teardown(void **state)
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

#endif
