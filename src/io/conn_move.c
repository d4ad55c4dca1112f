/* Handing a connection to another worker.
 *
 * The old side stops reading and flushes, duplicates the socket, closes its handle (which takes the old descriptor out of its epoll set) and
 * sends everything else (TLS session with what its BIOs hold, unread plain-text bytes, limits) in one message. Nothing can be lost: bytes
 * the old side has read are in the message, all others are still in the kernel. The answer is one message in every case, with the
 * connection or without it. */
#include "io/private.h"
#include "base/log.h"
#include "base/metric.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conn_move {
    struct msg msg;
    uint32_t worker;
    conn_moved_fn fn;
    void *arg;
    int fd; /* -1: the connection died */
    SSL *ssl;
    bool tls_up, tls_server, tls_begun;
    struct buf in;
    struct buf out; /* only while the handshake is not done: it cannot be encrypted yet */
    size_t out_high, out_max;
    char peer[64];
};

/* On the target. */
static struct conn *unpack(struct conn_move *m)
{
    if (m->fd < 0) return NULL;
    struct conn *c = conn_new(CONN_OPEN);
    c->ssl = m->ssl;
    c->tls_up = m->tls_up;
    c->tls_server = m->tls_server;
    c->tls_begun = m->tls_begun;
    c->in = m->in;
    c->out = m->out;
    c->out_high = m->out_high;
    c->out_max = m->out_max;
    c->paused = 1;
    memcpy(c->peer, m->peer, sizeof c->peer);
    int rc = uv_tcp_open(&c->tcp, m->fd);
    if (rc == 0) return c;
    close(m->fd);
    conn_fail(c, ERR_IO, "cannot take over the connection to %s: %s", c->peer, uv_strerror(rc)); /* it has no owner */
    return NULL;
}

static void arrive_run(struct msg *msg)
{
    struct conn_move *m = (struct conn_move *)msg;
    struct conn *c = unpack(m);
    m->fn(m->arg, c);
    if (c != NULL && c->ops == NULL && c->state == CONN_OPEN) conn_drop(c, NULL); /* nobody wanted it */
    free(m);
}

static void send_off(struct conn *c)
{
    struct conn_move *m = c->move;
    c->move = NULL;
    m->msg.run = arrive_run;
    worker_post(m->worker, &m->msg);
}

void conn_move_lost(struct conn *c)
{
    log_debug("io", "The connection to %s died while moving: %s", c->peer, c->why != NULL ? c->why->text : "closed");
    c->ops = NULL;
    send_off(c);
}

void conn_move_now(struct conn *c)
{
    struct conn_move *m = c->move;
    uv_os_fd_t fd = -1;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0) m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (m->fd < 0) {
        char text[128];
        conn_fail(c, ERR_IO, "cannot duplicate the socket of %s: %s", c->peer, io_strerror(errno, text, sizeof text));
        return;
    }
    m->ssl = c->ssl;
    m->tls_up = c->tls_up;
    m->tls_server = c->tls_server;
    m->tls_begun = c->tls_begun;
    m->in = c->in;
    m->out = c->out;
    m->out_high = c->out_high;
    m->out_max = c->out_max;
    memcpy(m->peer, c->peer, sizeof m->peer);
    c->ssl = NULL;
    c->in = (struct buf){0};
    c->out = (struct buf){0};
    metric_inc(METRIC_CONN_MOVES);
    send_off(c);
    conn_drop(c, NULL);
}

void conn_move(struct conn *c, uint32_t worker, conn_moved_fn fn, void *arg)
{
    assert(c->worker == worker_id() && c->move == NULL);
    struct conn_move *m = x_calloc(1, sizeof *m);
    m->worker = worker;
    m->fn = fn;
    m->arg = arg;
    m->fd = -1;
    c->move = m;
    c->ops = NULL;
    if (c->state != CONN_OPEN) {
        bool dialing = c->state == CONN_DIALING;
        conn_move_lost(c); /* it is ending already */
        if (dialing) conn_drop(c, NULL);
        return;
    }
    conn_to(c, CONN_MOVING);
    conn_read_off(c); /* at once: libuv reads several times in one callback's turn, and those bytes would be nobody's */
    worker_timer(&c->timer, CONN_MOVE_MS);
    conn_touch(c);
}
