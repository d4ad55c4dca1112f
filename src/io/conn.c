/* Connections: reading, gathered writing, ending. TLS is in conn_tls.c, moving in conn_move.c, dialing in dial.c.
 *
 * Output goes out -> kernel, or with TLS out -> (records) wire -> kernel. The turn hook writes what a turn has gathered with one
 * uv_try_write; what the kernel does not take becomes tx and is libuv's until its callback. While tx is under way nothing is encrypted or
 * written, so a slow peer costs what its owner has queued and one chunk of records.
 *
 * Every end is conn_drop(): it closes the handle, and the close callback, which comes from the loop, tells the owner and frees the
 * connection. Therefore nothing here is freed under an owner's feet, whatever its callbacks do, and every function that has called the
 * owner looks at the state again before going on. */
#include "io/private.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/state.h"
#include <assert.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_HIGH_DEFAULT = 262144, OUT_MAX_DEFAULT = 4194304 };

#define MAY(state) (1u << (CONN_##state))
static const char *const state_names[] = {"DIALING", "OPEN", "CLOSING", "SHUT", "LINGER", "MOVING", "GONE"};
static const unsigned state_moves[] = {
    [CONN_DIALING] = MAY(OPEN) | MAY(GONE),
    [CONN_OPEN] = MAY(CLOSING) | MAY(MOVING) | MAY(GONE),
    [CONN_CLOSING] = MAY(SHUT) | MAY(GONE),
    [CONN_SHUT] = MAY(LINGER) | MAY(GONE),
    [CONN_LINGER] = MAY(GONE),
    [CONN_MOVING] = MAY(GONE),
    [CONN_GONE] = 0,
};
static const struct state_machine machine = {"conn", state_names, state_moves, CONN_GONE + 1};

bool conn_to(struct conn *c, enum conn_state to) { return state_move(&machine, c->peer, &c->state, to); }

static void on_turn(struct turn_hook *hook);
static void on_timer(struct wheel_timer *timer);
static void progress(struct conn *c);

struct conn *conn_new(enum conn_state state)
{
    struct conn *c = x_calloc(1, sizeof *c);
    c->state = state;
    c->worker = worker_id();
    c->out_high = OUT_HIGH_DEFAULT;
    c->out_max = OUT_MAX_DEFAULT;
    c->hook.fn = on_turn;
    c->timer.fn = on_timer;
    uv_tcp_init(worker_loop(), &c->tcp); /* without a socket: cannot fail */
    c->tcp.data = c;
    metric_inc(METRIC_CONN_OPEN);
    return c;
}

void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner)
{
    assert(c->worker == worker_id());
    c->ops = ops;
    c->owner = owner;
}

void conn_set_limits(struct conn *c, size_t out_high_bytes, size_t out_max_bytes)
{
    c->out_high = out_high_bytes;
    c->out_max = out_max_bytes;
}

void conn_set_peer_timeout(struct conn *c, unsigned ms)
{
    uv_os_fd_t fd;
    if (ms == 0 || uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0) return;
    if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms) != 0) log_debug("io", "%s: no time limit for acknowledgements", c->peer);
}

void conn_name_peer(struct conn *c)
{
    struct sockaddr_storage ss;
    int len = sizeof ss;
    char ip[INET6_ADDRSTRLEN] = "";
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&ss, &len) != 0) {
        snprintf(c->peer, sizeof c->peer, "(unknown)");
        return;
    }
    uv_ip_name((const struct sockaddr *)&ss, ip, sizeof ip);
    if (ss.ss_family == AF_INET) {
        snprintf(c->peer, sizeof c->peer, "%s:%u", ip, ntohs(((const struct sockaddr_in *)&ss)->sin_port));
        return;
    }
    unsigned port = ntohs(((const struct sockaddr_in6 *)&ss)->sin6_port);
    bool mapped = IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)&ss)->sin6_addr);
    if (mapped && strncmp(ip, "::ffff:", 7) == 0) {
        snprintf(c->peer, sizeof c->peer, "%s:%u", ip + 7, port);
    } else {
        snprintf(c->peer, sizeof c->peer, "[%s]:%u", ip, port);
    }
}

const char *conn_peer(const struct conn *c) { return c->peer; }

void conn_touch(struct conn *c) { worker_at_turn_end(&c->hook); }

/* Empties a buffer; its memory is kept only when small. */
static void settle(struct buf *b)
{
    if (b->cap > CONN_SMALL_BUF) {
        buf_free(b);
    } else {
        buf_reset(b);
    }
}

/* ---- ending ---- */

static void report(struct conn *c, const struct err *why)
{
    const struct conn_ops *ops = c->ops;
    c->ops = NULL;
    if (ops != NULL && ops->on_closed != NULL) ops->on_closed(c->owner, why);
}

static void destroy(struct conn *c)
{
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->junk);
    buf_free(&c->wire);
    buf_free(&c->tx);
    SSL_free(c->ssl); /* NULL is a no-op */
    free(c->marks);
    free(c->why);
    free(c);
}

void conn_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    if (c->state == CONN_DIALING) { /* only an attempt has ended */
        dial_next(c);
        return;
    }
    assert(c->state == CONN_GONE);
    dial_free(c);
    report(c, c->why);
    worker_timer_cancel(&c->timer);
    metric_add(METRIC_CONN_OPEN, -1);
    if (c->hook.queued) {
        c->finished = true; /* the hook frees it */
    } else {
        destroy(c);
    }
}

static void drop(struct conn *c, const struct err *why, bool reset)
{
    if (c->state == CONN_GONE) return;
    if (c->peer_ended) why = NULL;
    if (why != NULL) {
        c->why = x_malloc(sizeof *c->why); /* idle connections are many, errors rare */
        *c->why = *why;
    }
    worker_timer_cancel(&c->timer);
    c->taken = conn_taken(c); /* closing takes the rest of tx away from libuv */
    c->writing = false;
    conn_to(c, CONN_GONE);
    if (c->move != NULL) conn_move_lost(c);
    if (uv_is_closing((uv_handle_t *)&c->tcp)) return; /* between two attempts of dialing: that callback finds us GONE */
    if (reset && uv_tcp_close_reset(&c->tcp, conn_handle_closed) == 0) return;
    uv_close((uv_handle_t *)&c->tcp, conn_handle_closed);
}

void conn_drop(struct conn *c, const struct err *why) { drop(c, why, false); }

void conn_fail(struct conn *c, enum err_code code, const char *fmt, ...)
{
    struct err why = {.code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why.text, sizeof why.text, fmt, ap);
    va_end(ap);
    conn_drop(c, &why);
}

void conn_abort(struct conn *c, const struct err *why)
{
    assert(c->worker == worker_id());
    if (c->state == CONN_MOVING || c->state == CONN_LINGER) return; /* not the caller's any more */
    drop(c, why, conn_pending(c) > 0);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *c = req->data;
    if (c->state != CONN_SHUT) return; /* dropped meanwhile; status tells nothing more */
    if (status < 0 || c->peer_done) {
        conn_drop(c, NULL);
        return;
    }
    conn_to(c, CONN_LINGER);
    worker_timer(&c->timer, CONN_LINGER_MS);
    report(c, NULL);
}

void conn_end(struct conn *c)
{
    if (c->state == CONN_DIALING) {
        conn_drop(c, NULL);
        return;
    }
    if (c->state != CONN_OPEN) return;
    conn_to(c, CONN_CLOSING);
    worker_timer(&c->timer, CONN_CLOSE_MS);
    conn_touch(c);
}

void conn_close(struct conn *c)
{
    assert(c->worker == worker_id());
    conn_end(c);
}

static void on_timer(struct wheel_timer *timer)
{
    struct conn *c = CONTAINER_OF(timer, struct conn, timer);
    struct err why;
    switch ((enum conn_state)c->state) {
    case CONN_DIALING:
        dial_timeout(c);
        break;
    case CONN_CLOSING:
    case CONN_SHUT:
    case CONN_MOVING:
        err_set(&why, ERR_IO, "%s did not take the last %zu bytes in time", c->peer, conn_pending(c));
        drop(c, &why, true);
        break;
    case CONN_LINGER:
        conn_drop(c, NULL);
        break;
    case CONN_OPEN:
    case CONN_GONE:
        break;
    }
}

/* ---- writing ---- */

size_t conn_pending(const struct conn *c)
{
    size_t n = c->out.len - c->out_done + c->wire.len;
    return c->writing ? n + uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : n;
}

uint64_t conn_written(const struct conn *c)
{
    if (c->state != CONN_OPEN && c->state != CONN_DIALING) return UINT64_MAX;
    return c->out_gone + c->out.len;
}

/* The part of tx that the kernel has. */
static size_t tx_done(const struct conn *c)
{
    size_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    return left < c->tx.len ? c->tx.len - left : 0;
}

uint64_t conn_taken(const struct conn *c)
{
    if (!c->writing) return c->taken;
    size_t done = tx_done(c);
    if (c->ssl == NULL) return c->taken + done;
    uint64_t taken = c->taken;
    for (unsigned i = 0; c->marks != NULL && i < c->marks->n && c->marks->marks[i].wire_end <= done; i++) taken = c->marks->marks[i].plain_end;
    return taken;
}

bool conn_over(const struct conn *c) { return conn_pending(c) > c->out_high; }
struct buf *conn_out(struct conn *c) { return c->state == CONN_OPEN || c->state == CONN_DIALING ? &c->out : &c->junk; }

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->data;
    if (status == 0) metric_add(METRIC_CONN_BYTES_OUT, (int64_t)c->tx.len);
    if (status == 0 && c->state != CONN_GONE) c->taken = conn_taken(c);
    c->writing = false;
    free(c->marks);
    c->marks = NULL;
    buf_free(&c->tx);
    if (c->state == CONN_GONE) return;
    if (status < 0) {
        conn_fail(c, ERR_IO, "writing to %s failed: %s", c->peer, uv_strerror(status));
    } else {
        progress(c);
    }
}

/* The kernel has taken the first `done` bytes of wire: so it has what the records that end there held. The marks of others are kept, as bytes of tx. */
static void marks_keep(struct conn *c, const struct conn_marks *made, size_t done)
{
    unsigned first = 0;
    for (; first < made->n && made->marks[first].wire_end <= done; first++) c->taken = made->marks[first].plain_end;
    if (first == made->n) return;
    assert(c->marks == NULL);
    unsigned n = made->n - first;
    c->marks = x_malloc(sizeof *c->marks + n * sizeof *c->marks->marks);
    c->marks->n = n;
    for (unsigned i = 0; i < n; i++) {
        c->marks->marks[i] = made->marks[first + i];
        c->marks->marks[i].wire_end -= done;
    }
}

/* The kernel is full: the rest of *src becomes tx. */
static void write_later(struct conn *c, struct buf *src, size_t done)
{
    if (done > 0) buf_consume(src, done);
    c->tx = *src;
    *src = (struct buf){0};
    c->writing = true;
    c->write_req.data = c;
    uv_buf_t b = uv_buf_init(c->tx.data, (unsigned)c->tx.len);
    int rc = uv_write(&c->write_req, (uv_stream_t *)&c->tcp, &b, 1, on_written);
    if (rc == 0) return;
    c->writing = false;
    conn_fail(c, ERR_IO, "writing to %s failed: %s", c->peer, uv_strerror(rc));
}

void conn_flush(struct conn *c)
{
    while (!c->writing && (c->state == CONN_OPEN || c->state == CONN_CLOSING || c->state == CONN_MOVING)) {
        const struct conn_marks *made = c->ssl != NULL ? conn_tls_encrypt(c) : NULL;
        struct buf *src = c->ssl != NULL ? &c->wire : &c->out;
        if (src->len == 0 || c->state == CONN_GONE) return;
        uv_buf_t b = uv_buf_init(src->data, src->len > UINT32_MAX ? UINT32_MAX : (unsigned)src->len);
        int rc = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
        if (rc < 0 && rc != UV_EAGAIN) {
            conn_fail(c, ERR_IO, "writing to %s failed: %s", c->peer, uv_strerror(rc));
            return;
        }
        size_t done = rc < 0 ? 0 : (size_t)rc;
        metric_add(METRIC_CONN_BYTES_OUT, (int64_t)done);
        if (made != NULL) {
            marks_keep(c, made, done);
        } else {
            c->taken += done;
            c->out_gone += src->len;
        }
        if (done == src->len) {
            settle(src);
        } else {
            write_later(c, src, done);
        }
    }
}

/* After more output, and whenever some has gone: what has to happen next. Comes from the loop. */
static void progress(struct conn *c)
{
    conn_flush(c);
    size_t pending = conn_pending(c);
    if (c->state == CONN_CLOSING && pending == 0 && !c->writing) {
        if (c->ssl != NULL && !c->tls_bye) {
            conn_tls_bye(c);
            conn_flush(c);
            if (c->state != CONN_CLOSING || c->writing || conn_pending(c) > 0) return; /* comes here again when written */
        }
        conn_to(c, CONN_SHUT);
        c->shutdown_req.data = c;
        if (uv_shutdown(&c->shutdown_req, (uv_stream_t *)&c->tcp, on_shutdown) != 0) conn_drop(c, NULL);
    } else if (c->state == CONN_MOVING && !c->writing && c->wire.len == 0 && (pending == 0 || (c->ssl != NULL && !c->tls_up))) {
        conn_move_now(c);
    } else if (c->state == CONN_OPEN && pending > c->out_high) {
        c->over = true;
    } else if (c->state == CONN_OPEN && c->over && pending <= c->out_high / 2) {
        c->over = false;
        if (c->ops != NULL && c->ops->on_drain != NULL) c->ops->on_drain(c->owner);
    }
}

void conn_wrote(struct conn *c)
{
    assert(c->worker == worker_id());
    if (c->state != CONN_OPEN && c->state != CONN_DIALING) {
        buf_free(&c->junk);
        return;
    }
    conn_touch(c);
    size_t pending = conn_pending(c);
    if (pending > c->out_high) c->over = true;
    if (pending > c->out_max) { /* perhaps only this turn wrote much, and the kernel takes it */
        conn_flush(c);
        pending = conn_pending(c);
    }
    if (pending <= c->out_max || c->state == CONN_GONE) return;
    struct err why;
    metric_inc(METRIC_CONN_OVERRUN);
    err_set(&why, ERR_LIMIT, "%s does not read: %zu bytes are waiting for it, more than the %zu allowed", c->peer, pending, c->out_max);
    drop(c, &why, true);
}

void conn_write(struct conn *c, const void *p, size_t n)
{
    if (c->state != CONN_OPEN && c->state != CONN_DIALING) return;
    buf_add(&c->out, p, n);
    conn_wrote(c);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b)
{
    (void)handle;
    (void)suggested;
    *b = uv_buf_init(worker_read_buf(), WORKER_BUF_BYTES);
}

void conn_offer(struct conn *c, const char *data, size_t n)
{
    bool kept = c->in.len > 0;
    if (kept) {
        buf_add(&c->in, data, n);
        data = c->in.data;
        n = c->in.len;
    }
    if (n == 0 || c->ops == NULL) return;
    c->offering = true;
    size_t used = c->ops->on_data(c->owner, data, n);
    c->offering = false;
    assert(used <= n);
    if (c->state == CONN_MOVING) conn_touch(c);
    if (c->state != CONN_OPEN && c->state != CONN_MOVING) {
        buf_free(&c->in);
        return;
    }
    if (!kept) {
        if (used < n) buf_add(&c->in, data + used, n - used);
    } else if (used < n) {
        buf_consume(&c->in, used);
    } else {
        settle(&c->in);
    }
    if (c->tls_fresh) {
        c->tls_fresh = false;
        if (c->in.len > 0) conn_fail(c, ERR_INVALID, "%s sent plain bytes after asking for TLS", c->peer);
    } else if (c->state == CONN_OPEN && c->paused == 0 && c->in.len >= CONN_KEPT_MAX) {
        conn_fail(c, ERR_LIMIT, "%zu bytes of input from %s make no whole, more than the %d allowed", c->in.len, c->peer, CONN_KEPT_MAX);
    }
}

static void on_eof(struct conn *c)
{
    c->peer_done = true;
    c->reading = false;
    if (c->state == CONN_LINGER) {
        conn_drop(c, NULL);
    } else if (c->state == CONN_OPEN && c->ssl != NULL) {
        conn_fail(c, ERR_IO, "%s cut the connection %s", c->peer, c->tls_up ? "without TLS close_notify" : "during the TLS handshake");
    } else if (c->state == CONN_OPEN) {
        c->peer_ended = true;
        conn_end(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct conn *c = stream->data;
    if (n == 0) return; /* EAGAIN */
    if (n == UV_EOF) {
        on_eof(c);
    } else if (n < 0) {
        c->reading = false;
        if (c->state == CONN_OPEN || c->state == CONN_CLOSING) {
            conn_fail(c, ERR_IO, "the connection to %s failed: %s", c->peer, uv_strerror((int)n));
        } else {
            conn_drop(c, NULL); /* all was sent; what the peer does then is its own affair */
        }
    } else {
        metric_add(METRIC_CONN_BYTES_IN, (int64_t)n);
        if (c->state != CONN_OPEN) return;
        if (c->ssl != NULL) {
            conn_tls_feed(c, b->base, (size_t)n);
        } else {
            conn_offer(c, b->base, (size_t)n);
        }
    }
}

void conn_read_off(struct conn *c)
{
    if (c->reading) uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
}

void conn_read_on(struct conn *c)
{
    if (c->reading || c->peer_done || c->state == CONN_DIALING || c->state == CONN_MOVING || c->state == CONN_GONE) return;
    if (c->state == CONN_OPEN && c->paused > 0) return;
    int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    c->reading = rc == 0;
    if (rc != 0) conn_fail(c, ERR_IO, "cannot read from %s: %s", c->peer, uv_strerror(rc));
}

void conn_pause(struct conn *c)
{
    assert(c->worker == worker_id());
    c->paused++;
    if (c->state == CONN_OPEN) conn_read_off(c);
}

void conn_resume(struct conn *c)
{
    assert(c->worker == worker_id() && c->paused > 0);
    if (--c->paused > 0 || c->state != CONN_OPEN) return;
    c->offer_due = true;
    conn_touch(c);
}

static void on_turn(struct turn_hook *hook)
{
    struct conn *c = CONTAINER_OF(hook, struct conn, hook);
    if (c->finished) {
        destroy(c);
        return;
    }
    if (c->state == CONN_OPEN && c->offer_due && c->paused == 0) {
        c->offer_due = false;
        if (c->in.len > 0) conn_offer(c, NULL, 0);
        if (c->ssl != NULL) conn_tls_pump(c);
    }
    if (c->state == CONN_OPEN && c->paused == 0 && !c->offer_due) conn_read_on(c);
    if (c->state == CONN_CLOSING) conn_read_on(c); /* to notice that the peer goes, and to leave nothing unread that would make a reset */
    if (c->state != CONN_GONE && c->state != CONN_DIALING) progress(c);
}
