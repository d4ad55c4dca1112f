/* Client streams: the objects and what the layer above may do with them.
 *
 * A stream lives on one worker at a time, in that worker's map of ids; it changes worker once per login, between SASL's success and on_auth. Whoever
 * waits for something (an account, the pool, compliance servers) keeps the id and looks it up again: when it is not there, the answer is dropped.
 *
 * The end comes in two steps. c2s_end() stops all input and output and asks the connection to flush and close, which a dead peer can hold up for
 * seconds; so the layer above is told by a timer at once, and the object stays behind, unreachable, until the connection's last callback. */
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/state.h"
#include "c2s_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C2S_ID_BITS     48
#define C2S_WORKERS_MAX 256 /* as option server.workers */

#define M(state) (1u << C2S_##state)
static const char *const state_names[C2S_STATES] = {"header", "plain",     "handshake", "auth",    "sasl",  "sasl-wait", "delay",
                                                    "moving", "auth-wait", "ready",     "binding", "bound", "closing"};
static const unsigned state_moves[C2S_STATES] = {
    [C2S_HEADER] = M(PLAIN) | M(AUTH) | M(READY) | M(HANDSHAKE) | M(CLOSING),
    [C2S_PLAIN] = M(HANDSHAKE) | M(CLOSING),
    [C2S_HANDSHAKE] = M(HEADER) | M(CLOSING),
    [C2S_AUTH] = M(SASL) | M(SASL_WAIT) | M(DELAY) | M(HANDSHAKE) | M(CLOSING),
    [C2S_SASL] = M(AUTH) | M(SASL_WAIT) | M(DELAY) | M(MOVING) | M(CLOSING),
    [C2S_SASL_WAIT] = M(AUTH) | M(SASL) | M(DELAY) | M(MOVING) | M(CLOSING),
    [C2S_DELAY] = M(AUTH) | M(CLOSING),
    [C2S_MOVING] = M(AUTH_WAIT) | M(CLOSING),
    [C2S_AUTH_WAIT] = M(HEADER) | M(AUTH) | M(DELAY) | M(CLOSING),
    [C2S_READY] = M(BINDING) | M(CLOSING),
    [C2S_BINDING] = M(READY) | M(BOUND) | M(CLOSING),
    [C2S_BOUND] = M(CLOSING),
    [C2S_CLOSING] = 0,
};
#undef M
static const struct state_machine stream_states = {"c2s", state_names, state_moves, C2S_STATES};

struct c2s_shared c2s_shared;
static struct c2s_worker workers[C2S_WORKERS_MAX];

struct c2s_worker *c2s_worker(void)
{
    return &workers[worker_id()];
}

/* ---- objects ---- */

void c2s_move_to(struct c2s *c, enum c2s_state to)
{
    state_move(&stream_states, c->peer, &c->state, to);
}

static void c2s_tell_closed(struct c2s *c)
{
    if (c->over) return;
    c->over = true;
    c2s_unregister(c);
    if (c->told) c2s_shared.ops->on_closed(c, c->graceful, c->why ? c->why : "connection closed");
}

static void c2s_on_timer(struct wheel_timer *timer)
{
    struct c2s *c = CONTAINER_OF(timer, struct c2s, timer);
    if (c->state == C2S_CLOSING) {
        c2s_tell_closed(c);
    } else if (c->state == C2S_BOUND) {
        c2s_keepalive(c);
    } else {
        metric_inc(METRIC_C2S_CUT_AUTH_TIME);
        c2s_close(c, "connection-timeout", "no resource was bound in time");
    }
}

void c2s_register(struct c2s *c)
{
    imap_put(&c2s_worker()->streams, c->id, c);
    c->timer.fn = c2s_on_timer;
    c2s_limits_register(c);
    uint64_t now = worker_now_ms();
    worker_timer(&c->timer, c->deadline_ms > now ? c->deadline_ms - now : 0);
}

/* The last stream has gone from a worker that stops. */
static void worker_empty(struct c2s_worker *w)
{
    imap_free(&w->streams);
    if (w->door.sized) door_close(&w->door);
}

void c2s_unregister(struct c2s *c)
{
    struct c2s_worker *w = c2s_worker();
    worker_timer_cancel(&c->timer);
    c2s_limits_unregister(c);
    imap_del(&w->streams, c->id);
    if (w->streams.count == 0 && w->closing) worker_empty(w);
}

void c2s_free(struct c2s *c)
{
    c2s_limits_free(c);
    sasl_free(c->sasl);
    xml_parser_free(c->parser);
    arena_free(c->arena);
    free(c->why);
    free(c);
    metric_add(METRIC_C2S_STREAMS, -1);
    if (c2s_worker()->closing) xml_parsers_trim(); /* the thread will end, and its pool with it */
}

static struct xml_limits c2s_limits(void)
{
    struct xml_limits limits = xml_limits_default;
    limits.stanza_bytes = C2S_UNBOUND_STANZA; /* what is not logged in has nothing large to say; raised at c2s_bound() */
    return limits;
}

void c2s_accept(struct conn *conn, bool direct_tls)
{
    struct c2s_worker *w = c2s_worker();
    struct c2s *c = x_calloc(1, sizeof *c);
    struct xml_limits limits = c2s_limits();
    c->id = (uint64_t)worker_id() << C2S_ID_BITS | ++w->made;
    c->conn = conn;
    c->direct_tls = direct_tls;
    c->arena = arena_new(512);
    c->parser = xml_parser_new(&limits, &c2s_parser_ops, c);
    c->deadline_ms = worker_now_ms() + (uint64_t)c2s_shared.config->c2s_auth_timeout * 1000;
    snprintf(c->peer, sizeof c->peer, "%s", conn_peer(conn));
    metric_inc(METRIC_C2S_ACCEPTED);
    metric_add(METRIC_C2S_STREAMS, 1);
    size_t max = (size_t)c2s_shared.config->c2s_output_bytes;
    conn_set_owner(conn, &c2s_conn_ops, c);
    conn_set_limits(conn, max / 4, max);
    c2s_register(c);
    struct err err;
    c2s_limits_begin(c);
    if (direct_tls && c->state != C2S_CLOSING && c2s_start_tls(c, NULL, &err) < 0) c2s_end(c, false, err.text);
    if (w->closing) c2s_close(c, w->closing, NULL);
}

/* "192.0.2.1:52110" and "[2001:db8::1]:5222" without port and brackets; a mapped IPv4 address as IPv4, since that is what one blocks. */
struct str c2s_lang(const struct c2s *c) { return c->lang[0] != '\0' ? str_of(c->lang) : STR_NONE; }

void c2s_peer_address(const struct c2s *c, char *out, size_t n)
{
    const char *p = c->peer;
    const char *colon = strrchr(p, ':');
    size_t length = colon ? (size_t)(colon - p) : strlen(p);
    if (length >= 2 && p[0] == '[' && p[length - 1] == ']') {
        p++;
        length -= 2;
    }
    if (length > 7 && strncmp(p, "::ffff:", 7) == 0 && memchr(p, '.', length)) {
        p += 7;
        length -= 7;
    }
    snprintf(out, n, "%.*s", (int)length, p);
}

/* ---- the end ---- */

void c2s_end(struct c2s *c, bool graceful, const char *why)
{
    if (c->state == C2S_CLOSING) return;
    bool abrupt = c->curt || c->state == C2S_HANDSHAKE; /* nothing can be said in the middle of a handshake */
    c2s_move_to(c, C2S_CLOSING);
    c->graceful = graceful;
    c->why = x_strdup(why);
    sasl_free(c->sasl);
    c->sasl = NULL;
    worker_timer(&c->timer, 0);
    log_debug("c2s", "%s: the stream ends: %s", c->peer, why);
    if (!c->conn) return;
    if (abrupt)
        conn_abort(c->conn, NULL);
    else
        conn_close(c->conn);
}

void c2s_close(struct c2s *c, const char *condition, const char *text)
{
    if (c->state == C2S_CLOSING) return;
    if (c->state != C2S_HANDSHAKE && c->conn) {
        if (!c->header_sent) c2s_write_header(c);
        if (condition)
            stream_write_error(conn_out(c->conn), condition, text);
        else
            BUF_ADD_LIT(conn_out(c->conn), STREAM_END);
        conn_wrote(c->conn);
    }
    if (condition) {
        metric_inc(METRIC_C2S_STREAM_ERRORS);
        log_info("c2s", "%s: stream error %s%s%s", c->peer, condition, text ? ": " : "", text ? text : "");
    }
    c2s_end(c, false, condition ? condition : "closed by the server");
}

/* The connection is gone: by our conn_close(), by the peer, or by failure. */
static void c2s_on_conn_closed(void *owner, const struct err *why)
{
    struct c2s *c = owner;
    c->taken = conn_taken(c->conn);
    c->conn = NULL;
    c->lost = c->state != C2S_CLOSING;
    if (c->lost) c2s_end(c, false, why ? why->text : "the client closed the connection without closing the stream");
    c2s_tell_closed(c);
    c2s_free(c);
}

static void c2s_on_conn_drain(void *owner)
{
    struct c2s *c = owner;
    if (c->state == C2S_BOUND && c2s_shared.ops->on_drain) c2s_shared.ops->on_drain(c);
}

static void c2s_on_conn_tls(void *owner)
{
    struct c2s *c = owner;
    if (c->state != C2S_HANDSHAKE) return;
    c->tls_version = conn_tls_version(c->conn);
    if (*c2s_shared.config->tls_client_ca) {
        struct buf b = {0};
        if (conn_tls_client_addresses(c->conn, &b) > 0) {
            buf_addc(&b, '\0');
            c->identities = b.data;
        } else {
            buf_free(&b);
        }
    }
    c2s_move_to(c, C2S_HEADER);
}

const struct conn_ops c2s_conn_ops = {
    .on_data = c2s_feed,
    .on_tls = c2s_on_conn_tls,
    .on_drain = c2s_on_conn_drain,
    .on_closed = c2s_on_conn_closed,
};

void c2s_close_all(const char *condition)
{
    struct c2s_worker *w = c2s_worker();
    size_t it = 0;
    uint64_t id;
    void *value;
    w->closing = condition;
    while (imap_next(&w->streams, &it, &id, &value)) c2s_close(value, condition, NULL);
    if (w->streams.count == 0) worker_empty(w);
    xml_parsers_trim();
}

/* ---- what the layer above asks and does ---- */

struct c2s *c2s_get(uint64_t id)
{
    struct c2s *c = imap_get(&c2s_worker()->streams, id);
    return c && c->state != C2S_CLOSING ? c : NULL;
}

uint64_t c2s_id(const struct c2s *c)
{
    return c->id;
}

void *c2s_session(const struct c2s *c)
{
    return c->session;
}

void c2s_set_session(struct c2s *c, void *session)
{
    c->session = session;
}

const struct jid *c2s_user(const struct c2s *c)
{
    return &c->user;
}

struct str c2s_domain(const struct c2s *c)
{
    return c->domain;
}

const char *c2s_peer(const struct c2s *c)
{
    return c->peer;
}

const char *c2s_mechanism(const struct c2s *c)
{
    return c->mechanism;
}

bool c2s_secure(const struct c2s *c)
{
    return c->tls_version != NULL;
}

const char *c2s_tls_version(const struct c2s *c)
{
    return c->tls_version;
}

void c2s_bound(struct c2s *c, const struct jid *full)
{
    if (c->state != C2S_BINDING) return;
    c->user = jid_copy(c->arena, full);
    worker_timer_cancel(&c->timer);
    xml_parser_set_stanza_limit(c->parser, (size_t)c2s_shared.config->c2s_stanza_bytes);
    c2s_move_to(c, C2S_BOUND);
    c->heard = true;
    c2s_keepalive(c);
    c2s_resume(c);
}

void c2s_bind_refused(struct c2s *c)
{
    if (c->state != C2S_BINDING) return;
    c2s_move_to(c, C2S_READY);
    c2s_resume(c);
}

uint64_t c2s_send_stanza(struct c2s *c, const struct stanza *s)
{
    bool registering = c->state == C2S_AUTH && c->paused;
    if (c->state != C2S_BOUND && c->state != C2S_BINDING && c->state != C2S_READY && !registering) return UINT64_MAX;
    stanza_write(conn_out(c->conn), s, NULL);
    uint64_t end = conn_written(c->conn);
    conn_wrote(c->conn);
    return end;
}

uint64_t c2s_taken(struct c2s *c)
{
    if (c->conn == NULL) return c->taken;
    conn_flush(c->conn);
    return conn_taken(c->conn);
}

void c2s_abort(struct c2s *c, const char *why)
{
    struct err err;
    err_set(&err, ERR_LIMIT, "%s", why);
    if (c->conn != NULL) conn_abort(c->conn, &err);
}

/* Who makes accounts for others keeps the stream for the next one, and is long in between. It costs no more than accounts do, which are limited. */
void c2s_registration_done(uint64_t id, bool account_made)
{
    struct c2s *c = c2s_get(id);
    if (!c || c->state != C2S_AUTH) return;
    if (account_made) {
        uint64_t more_ms = (uint64_t)c2s_shared.config->register_stream_timeout * 1000;
        c->deadline_ms = worker_now_ms() + more_ms;
        c->unbound_bytes = 0;
        worker_timer(&c->timer, more_ms);
    }
    c2s_resume(c);
}

void c2s_write(struct c2s *c, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) abort();
    conn_write(c->conn, text, (size_t)n);
    free(text);
}

bool c2s_lost(const struct c2s *c)
{
    return c->lost;
}

bool c2s_full(const struct c2s *c)
{
    return c->conn && conn_over(c->conn);
}

size_t c2s_pending(const struct c2s *c)
{
    return c->conn ? conn_pending(c->conn) : 0;
}

void c2s_pause(struct c2s *c)
{
    if (c->state == C2S_CLOSING) return;
    c->paused++;
    conn_pause(c->conn);
}

void c2s_resume(struct c2s *c)
{
    if (c->state == C2S_CLOSING || c->paused == 0) return;
    c->paused--;
    conn_resume(c->conn);
}
