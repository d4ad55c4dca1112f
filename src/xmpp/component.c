/* Component streams: the little state machine of XEP-0114 over io/conn and xml/parser, once for each direction.
 *
 *   connect:  DIALING → [TLS] → HEADER (ours sent, theirs awaited) → REPLY (handshake sent, <handshake/> awaited) → OPEN
 *   accept:   HEADER (theirs awaited) → HANDSHAKE (ours sent, theirs awaited) → VERIFIED (the owner decides) → OPEN
 *   both:     OPEN → CLOSING (ours ended, theirs awaited) → ENDED
 *
 * A graceful end is </stream:stream> from both sides, whoever began. Everything else, a FIN without it included, is a cut.
 * The struct is freed when the connection says that it is closed, and never earlier: callbacks may close the stream they run for. */
#include "xmpp/component.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/state.h"
#include "io/worker.h"
#include "xml/writer.h"
#include "xmpp/stanza.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_STREAM_ERRORS "urn:ietf:params:xml:ns:xmpp-streams"

enum component_state { DIALING, TLS, HEADER, HANDSHAKE, REPLY, VERIFIED, OPEN, CLOSING, ENDED };
#define TO(state) (1u << (state))
static const char *const component_states[] = {"DIALING", "TLS", "HEADER", "HANDSHAKE", "REPLY", "VERIFIED", "OPEN", "CLOSING", "ENDED"};
static const unsigned component_moves[] = {
    [DIALING] = TO(TLS) | TO(HEADER) | TO(ENDED),
    [TLS] = TO(HEADER) | TO(ENDED),
    [HEADER] = TO(HANDSHAKE) | TO(REPLY) | TO(ENDED),
    [HANDSHAKE] = TO(VERIFIED) | TO(ENDED),
    [REPLY] = TO(OPEN) | TO(ENDED),
    [VERIFIED] = TO(OPEN) | TO(ENDED),
    [OPEN] = TO(CLOSING) | TO(ENDED),
    [CLOSING] = TO(ENDED),
    [ENDED] = 0,
};
static const struct state_machine component_machine = {"component", component_states, component_moves, ENDED + 1};

struct component {
    struct conn *conn;
    struct xml_parser *xml;
    const struct component_ops *ops;
    void *owner;
    struct component_limits limits;
    struct wheel_timer timer; /* opening or closing takes too long */
    unsigned state;
    bool dialled; /* connect direction */
    bool they_ended; /* their </stream:stream> came */
    bool theirs; /* the stream error in `condition` was theirs */
    bool paused; /* verified, and not yet admitted or refused */
    char *name, *tls_name, *password;
    struct tls_context *tls;
    char stream_id[33];
    char condition[64]; /* the stream error that ends it */
    char why[200];
    struct buf scratch; /* what component_out() gives when nothing may be written */
    component_moved_fn moved;
    void *moved_arg;
};

static enum xml_next component_on_header(void *owner, const struct xml_header *header);
static enum xml_next component_on_element(void *owner, const struct xml_element *element);
static const struct xml_parser_ops component_xml_ops = {component_on_header, component_on_element};

static size_t component_on_data(void *owner, const char *data, size_t n);
static void component_on_connected(void *owner);
static void component_on_tls(void *owner);
static void component_on_drain(void *owner);
static void component_on_closed(void *owner, const struct err *why);
static const struct conn_ops component_conn_ops = {component_on_data, component_on_connected, component_on_tls, component_on_drain, component_on_closed};

void component_handshake(struct str stream_id, const char *password, char out[COMPONENT_HANDSHAKE_SIZE])
{
    struct buf both = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    buf_add_str(&both, stream_id);
    buf_adds(&both, password);
    EVP_Digest(both.data, both.len, digest, &n, EVP_sha1(), NULL);
    for (unsigned i = 0; i < 20; i++) snprintf(out + 2 * i, 3, "%02x", i < n ? digest[i] : 0);
    OPENSSL_cleanse(both.data, both.len);
    buf_free(&both);
}

static bool component_move_state(struct component *c, unsigned to)
{
    return state_move(&component_machine, c->name[0] != '\0' ? c->name : "component", &c->state, to);
}

static void component_free(struct component *c)
{
    xml_parser_free(c->xml);
    tls_unref(c->tls);
    if (c->password != NULL) OPENSSL_cleanse(c->password, strlen(c->password));
    free(c->password);
    free(c->tls_name);
    free(c->name);
    buf_free(&c->scratch);
    free(c);
}

/* The stream is over: what remains is the connection's on_closed. */
static void component_ended(struct component *c, const char *why)
{
    if (c->state == ENDED) return;
    worker_timer_cancel(&c->timer);
    snprintf(c->why, sizeof c->why, "%s", why);
    component_move_state(c, ENDED);
}

static void component_on_timer(struct wheel_timer *timer)
{
    struct component *c = CONTAINER_OF(timer, struct component, timer);
    component_abort(c, c->state == CLOSING ? "the peer did not end its stream in time" : "no handshake in time");
}

static struct component *component_new(const struct component_limits *limits, const struct component_ops *ops, void *owner)
{
    struct component *c = x_calloc(1, sizeof *c);
    struct xml_limits xml = xml_limits_default;
    xml.stanza_bytes = limits->element_bytes;
    c->limits = *limits;
    c->ops = ops;
    c->owner = owner;
    c->timer.fn = component_on_timer;
    c->xml = xml_parser_new(&xml, &component_xml_ops, c);
    return c;
}

struct component *component_dial(const struct component_target *target, const struct component_limits *limits, const struct component_ops *ops, void *owner)
{
    struct component *c = component_new(limits, ops, owner);
    c->dialled = true;
    c->state = DIALING;
    c->name = x_strdup(target->name);
    c->tls_name = x_strdup(target->tls_name != NULL ? target->tls_name : target->host);
    c->password = x_strdup(target->password);
    c->tls = target->tls != NULL ? tls_ref(target->tls) : NULL;
    c->conn = conn_dial(target->host, target->port, "broker", &component_conn_ops, c);
    conn_set_limits(c->conn, limits->out_high_bytes, limits->out_max_bytes);
    return c;
}

struct component *component_accept(struct conn *take, const struct component_limits *limits, const struct component_ops *ops, void *owner)
{
    struct component *c = component_new(limits, ops, owner);
    c->state = HEADER;
    c->name = x_strdup("");
    c->conn = take;
    conn_set_owner(take, &component_conn_ops, c);
    conn_set_limits(take, limits->out_high_bytes, limits->out_max_bytes);
    worker_timer(&c->timer, limits->open_ms);
    return c;
}

void component_set_limits(struct component *c, const struct component_limits *limits)
{
    c->limits = *limits;
    xml_parser_set_stanza_limit(c->xml, limits->element_bytes);
    conn_set_limits(c->conn, limits->out_high_bytes, limits->out_max_bytes);
}

struct conn *component_conn(const struct component *c) { return c->conn; }

void component_set_owner(struct component *c, const struct component_ops *ops, void *owner)
{
    c->ops = ops;
    c->owner = owner;
}

const char *component_stream_name(const struct component *c) { return c->name; }
const char *component_peer(const struct component *c) { return conn_peer(c->conn); }

/* ---- sending ---- */

static void component_write(struct component *c, struct buf *b)
{
    conn_write(c->conn, b->data, b->len);
    buf_free(b);
}

static void component_send_header(struct component *c)
{
    struct buf b = {0};
    BUF_ADD_LIT(&b, "<?xml version='1.0'?><stream:stream");
    xml_add_attr(&b, "xmlns", c->dialled ? STR(NS_COMPONENT_CONNECT) : STR(NS_COMPONENT_ACCEPT));
    xml_add_attr(&b, "xmlns:stream", STR(NS_STREAMS));
    if (c->name[0] != '\0') xml_add_attr(&b, "from", str_of(c->name));
    if (!c->dialled) xml_add_attr(&b, "id", str_of(c->stream_id));
    buf_addc(&b, '>');
    component_write(c, &b);
}

static void component_begin(struct component *c)
{
    component_move_state(c, HEADER);
    worker_timer(&c->timer, c->limits.open_ms);
    component_send_header(c);
    if (c->ops->on_connected != NULL) c->ops->on_connected(c->owner);
}

struct buf *component_out(struct component *c)
{
    if (c->state == OPEN) return conn_out(c->conn);
    buf_reset(&c->scratch);
    return &c->scratch;
}

void component_wrote(struct component *c)
{
    if (c->state == OPEN) conn_wrote(c->conn);
}

bool component_over(const struct component *c) { return c->state == OPEN && conn_over(c->conn); }

static void component_unpause(struct component *c)
{
    if (c->paused) conn_resume(c->conn);
    c->paused = false;
}

void component_admit(struct component *c)
{
    if (c->state != VERIFIED) return;
    component_move_state(c, OPEN);
    conn_write(c->conn, "<handshake/>", strlen("<handshake/>"));
    component_unpause(c);
    c->ops->on_open(c->owner);
}

void component_close(struct component *c)
{
    if (c->state == OPEN) {
        conn_write(c->conn, "</stream:stream>", strlen("</stream:stream>"));
        component_move_state(c, CLOSING);
        worker_timer(&c->timer, c->limits.close_ms);
    } else if (c->state < OPEN) {
        component_abort(c, "closed by this node before the handshake was done");
    }
}

void component_refuse(struct component *c, const char *condition, const char *text)
{
    if (c->state == ENDED) return;
    component_unpause(c);
    if (c->state > TLS && c->state != CLOSING) {
        struct buf b = {0};
        buf_addf(&b, "<stream:error><%s xmlns='" NS_STREAM_ERRORS "'/>", condition);
        if (text != NULL) {
            BUF_ADD_LIT(&b, "<text xmlns='" NS_STREAM_ERRORS "'>");
            xml_add_text(&b, str_of(text));
            BUF_ADD_LIT(&b, "</text>");
        }
        BUF_ADD_LIT(&b, "</stream:error></stream:stream>");
        component_write(c, &b);
    }
    snprintf(c->condition, sizeof c->condition, "%s", condition);
    component_ended(c, text != NULL ? text : condition);
    conn_close(c->conn);
}

void component_abort(struct component *c, const char *why)
{
    if (c->state == ENDED) return;
    component_ended(c, why);
    struct err err;
    err_set(&err, ERR_IO, "%s", why);
    conn_abort(c->conn, &err);
}

/* ---- receiving ---- */

static bool component_text_is(const struct xml_element *e, const char *want)
{
    /* The digest is 40 hex digits: no escaping to undo. White space around it is not part of it, and the time taken tells nothing of the difference. */
    const char *p = e->inner.p;
    size_t n = e->inner.n, size = strlen(want);
    while (n > 0 && strchr(" \t\r\n", p[0]) != NULL) p++, n--;
    while (n > 0 && strchr(" \t\r\n", p[n - 1]) != NULL) n--;
    return n == size && CRYPTO_memcmp(p, want, size) == 0;
}

static struct str header_attr(const struct xml_header *h, const char *name)
{
    for (unsigned i = 0; i < h->n_attributes; i++)
        if (h->attributes[i].ns.p == NULL && str_is(h->attributes[i].name, name)) return h->attributes[i].value;
    return STR_NONE;
}

static enum xml_next component_on_header(void *owner, const struct xml_header *h)
{
    struct component *c = owner;
    if (!c->dialled) {
        struct str to = header_attr(h, "to");
        unsigned char random[16];
        hash_random(random, sizeof random);
        for (unsigned i = 0; i < sizeof random; i++) snprintf(c->stream_id + 2 * i, 3, "%02x", random[i]);
        const char *condition = "host-unknown", *password = NULL;
        if (to.p != NULL && to.n <= 1023 && xml_text_ok(to)) password = c->ops->password_of(c->owner, to, &condition);
        if (password != NULL) {
            free(c->name);
            c->name = str_dup(to);
            c->password = x_strdup(password);
        }
        component_send_header(c);
        if (!str_is(h->name, "stream") || !str_is(h->ns, NS_STREAMS) || !str_is(h->default_ns, NS_COMPONENT_ACCEPT))
            component_refuse(c, "invalid-namespace", "expected a stream of namespace " NS_COMPONENT_ACCEPT);
        else if (password == NULL)
            component_refuse(c, condition,
                             strcmp(condition, "host-unknown") == 0 ? "no compliance server of direction accept has this component name" : "its configuration wants TLS");
        else
            component_move_state(c, HANDSHAKE);
        return c->state == HANDSHAKE ? XML_GO_ON : XML_STOP;
    }
    struct str id = header_attr(h, "id"), to = header_attr(h, "to");
    if (!str_is(h->name, "stream") || !str_is(h->ns, NS_STREAMS) || !str_is(h->default_ns, NS_COMPONENT_CONNECT)) {
        component_refuse(c, "invalid-namespace", "expected a stream of namespace " NS_COMPONENT_CONNECT);
        return XML_STOP;
    }
    if (id.p == NULL || (to.p != NULL && !str_is(to, c->name))) {
        /* A stream error with an unusual header may follow (RFC 6120, 4.9.1.2): host-unknown says more than our complaint would. */
        return XML_GO_ON;
    }
    char digest[COMPONENT_HANDSHAKE_SIZE];
    component_handshake(id, c->password, digest);
    struct buf b = {0};
    buf_addf(&b, "<handshake>%s</handshake>", digest);
    component_write(c, &b);
    component_move_state(c, REPLY);
    return XML_GO_ON;
}

/* <stream:error/>: remembers the condition and its text; the end is theirs to make, ours follows. */
static void component_on_error(struct component *c, const struct xml_element *e)
{
    snprintf(c->condition, sizeof c->condition, "undefined-condition");
    for (unsigned i = 0; i < e->n_children; i++) {
        const struct xml_child *child = &e->children[i];
        if (str_is(child->ns, NS_STREAM_ERRORS) && !str_is(child->name, "text"))
            snprintf(c->condition, sizeof c->condition, STR_FMT, STR_ARG(child->name));
    }
    c->theirs = true;
    char why[160];
    snprintf(why, sizeof why, "the peer ended the stream with the error %s", c->condition);
    if (c->state == OPEN || c->state == REPLY || c->state == HANDSHAKE) conn_write(c->conn, "</stream:stream>", strlen("</stream:stream>"));
    component_ended(c, why);
    conn_close(c->conn);
}

static enum xml_next component_on_element(void *owner, const struct xml_element *e)
{
    struct component *c = owner;
    bool handshake = str_is(e->name, "handshake") && str_is(e->ns, c->dialled ? NS_COMPONENT_CONNECT : NS_COMPONENT_ACCEPT);
    if (str_is(e->ns, NS_STREAMS) && str_is(e->name, "error")) {
        component_on_error(c, e);
    } else if (c->state == OPEN || c->state == CLOSING) {
        c->ops->on_element(c->owner, e);
    } else if (c->state == REPLY && handshake) {
        component_move_state(c, OPEN);
        worker_timer_cancel(&c->timer);
        c->ops->on_open(c->owner);
    } else if (c->state == HANDSHAKE && handshake) {
        char digest[COMPONENT_HANDSHAKE_SIZE];
        component_handshake(str_of(c->stream_id), c->password, digest);
        if (component_text_is(e, digest)) {
            component_move_state(c, VERIFIED);
            conn_pause(c->conn);
            c->paused = true;
            worker_timer_cancel(&c->timer);
            return XML_STOP; /* what follows belongs to the worker that will have the stream */
        }
        component_refuse(c, "not-authorized", "the handshake does not match the password configured for this component name");
    } else {
        component_refuse(c, c->state == HEADER ? "invalid-from" : "not-authorized",
                         c->state == HEADER ? "the stream header lacks an id or names another component" : "nothing may come before the handshake");
    }
    return c->state == ENDED ? XML_STOP : XML_GO_ON;
}

/* Their </stream:stream>. Ours answers it, unless ours was first; then the connection has served its purpose. */
static void component_on_their_end(struct component *c)
{
    c->they_ended = true;
    if (c->state == OPEN || c->state == CLOSING) {
        if (c->ops->on_closing != NULL && c->state == OPEN) c->ops->on_closing(c->owner);
        if (c->state == OPEN) conn_write(c->conn, "</stream:stream>", strlen("</stream:stream>"));
        component_ended(c, "the stream was ended gracefully");
    } else {
        component_ended(c, "the peer ended its stream before the handshake was done");
    }
    conn_close(c->conn);
}

static const char *status_condition(enum xml_status status)
{
    switch (status) {
    case XML_RESTRICTED: return "restricted-xml";
    case XML_TOO_BIG: return "policy-violation";
    case XML_BAD_NAMESPACE: return "bad-namespace-prefix";
    case XML_BAD_ENCODING: return "unsupported-encoding";
    default: return "not-well-formed";
    }
}

static size_t component_on_data(void *owner, const char *data, size_t n)
{
    struct component *c = owner;
    if (c->state == ENDED) return n;
    if (c->ops->on_heard != NULL) c->ops->on_heard(c->owner);
    size_t used = 0;
    enum xml_status status = XML_FED;
    if (c->state != ENDED) status = xml_parser_feed(c->xml, data, n, &used);
    if (c->state == ENDED) return n; /* nothing of a stream that has ended is of interest */
    switch (status) {
    case XML_FED: return n;
    case XML_STOPPED: /* verified: the rest travels to the link's worker. The last thing done here: the stream may be another thread's afterwards */
        c->ops->on_verified(c->owner);
        return used;
    case XML_CLOSED: component_on_their_end(c); return n;
    default: component_refuse(c, status_condition(status), xml_parser_problem(c->xml)); return n;
    }
}

/* ---- the connection's other callbacks ---- */

static void component_on_connected(void *owner)
{
    struct component *c = owner;
    if (c->state != DIALING) return;
    if (c->tls == NULL) {
        component_begin(c);
        return;
    }
    struct err err;
    component_move_state(c, TLS);
    worker_timer(&c->timer, c->limits.open_ms);
    if (conn_start_tls(c->conn, c->tls, false, c->tls_name, &err) != 0) component_abort(c, err.text);
}

static void component_on_tls(void *owner)
{
    struct component *c = owner;
    if (c->state == TLS) component_begin(c);
}

static void component_on_drain(void *owner)
{
    struct component *c = owner;
    if (c->state == OPEN && c->ops->on_drain != NULL) c->ops->on_drain(c->owner);
}

static void component_on_closed(void *owner, const struct err *why)
{
    struct component *c = owner;
    component_ended(c, why != NULL ? why->text : "the peer closed the connection without ending its stream");
    worker_timer_cancel(&c->timer);
    struct component_end end = {
        .graceful = c->they_ended && c->condition[0] == '\0', .condition = c->condition[0] != '\0' ? c->condition : NULL, .theirs = c->theirs, .text = c->why};
    c->ops->on_end(c->owner, &end);
    component_free(c);
}

/* ---- moving ---- */

static void component_arrived(void *arg, struct conn *conn)
{
    struct component *c = arg;
    component_moved_fn fn = c->moved;
    void *fn_arg = c->moved_arg;
    if (conn == NULL) {
        component_free(c);
        fn(fn_arg, NULL);
        return;
    }
    c->conn = conn;
    c->paused = true; /* as conns arrive */
    conn_set_owner(conn, &component_conn_ops, c);
    conn_set_limits(conn, c->limits.out_high_bytes, c->limits.out_max_bytes);
    fn(fn_arg, c);
}

void component_move(struct component *c, uint32_t worker, component_moved_fn fn, void *arg)
{
    c->moved = fn;
    c->moved_arg = arg;
    component_unpause(c); /* the move stops reading by itself */
    conn_move(c->conn, worker, component_arrived, c);
}
