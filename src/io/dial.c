/* Outgoing connections: resolve on the pool, then try each address until one answers.
 *
 * The log lines are the ones operators know from the specification, with the descriptor's number; therefore the socket is made before libuv
 * connects it. Each attempt uses the connection's own handle; after a failure it is closed and opened anew. */
#include "io/private.h"
#include "base/log.h"
#include "base/metric.h"
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dial {
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    struct conn *conn; /* NULL: dropped while the resolver was busy; its callback frees this */
    bool resolving;
    bool failed; /* the running attempt has failed; its connect callback no longer counts */
    struct addrinfo *list, *next;
    char host[256];
    uint16_t port;
    const char *area;
    struct err last;
};

static void dial_destroy(struct dial *d)
{
    uv_freeaddrinfo(d->list);
    free(d);
}

void dial_free(struct conn *c)
{
    struct dial *d = c->dial;
    c->dial = NULL;
    if (d == NULL) return;
    if (d->resolving) {
        d->conn = NULL;
        uv_cancel((uv_req_t *)&d->resolve);
    } else {
        dial_destroy(d);
    }
}

/* One address did not do. The handle, if it has a socket, must be closed before the next attempt. */
static void attempt_failed(struct conn *c, int errnum)
{
    struct dial *d = c->dial;
    char text[128];
    const char *name = io_strerror(errnum, text, sizeof text);
    d->failed = true;
    worker_timer_cancel(&c->timer);
    err_set(&d->last, ERR_IO, "Unable to connect to host '%s', port %u:(%d) %s", d->host, d->port, errnum, name);
    log_warn(d->area, "%s", d->last.text);
    uv_close((uv_handle_t *)&c->tcp, conn_handle_closed);
}

static void connected(struct conn *c)
{
    worker_timer_cancel(&c->timer);
    dial_free(c);
    conn_to(c, CONN_OPEN);
    uv_tcp_nodelay(&c->tcp, 1);
    conn_name_peer(c);
    conn_touch(c);
    if (c->ops != NULL && c->ops->on_connected != NULL) c->ops->on_connected(c->owner);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct dial *d = req->data;
    struct conn *c = d->conn;
    if (c->state != CONN_DIALING || d->failed) return; /* dropped or timed out: the close callback goes on */
    if (status < 0) {
        attempt_failed(c, -status);
    } else {
        connected(c);
    }
}

static void attempt(struct conn *c)
{
    struct dial *d = c->dial;
    const struct addrinfo *a = d->next;
    d->next = a->ai_next;
    d->failed = false;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        attempt_failed(c, errno);
        return;
    }
    log_notice(d->area, "Connecting on fd %d to host '%s', port %u", fd, d->host, d->port);
    int rc = uv_tcp_open(&c->tcp, fd);
    if (rc != 0) {
        close(fd);
        attempt_failed(c, -rc);
        return;
    }
    d->connect.data = d;
    worker_timer(&c->timer, CONN_DIAL_MS);
    rc = uv_tcp_connect(&d->connect, &c->tcp, a->ai_addr, on_connect);
    if (rc != 0) attempt_failed(c, -rc);
}

void dial_next(struct conn *c)
{
    struct dial *d = c->dial;
    if (d->next == NULL) { /* the handle is closed: a new one, only for closing it in the one way there is */
        uv_tcp_init(worker_loop(), &c->tcp);
        metric_inc(METRIC_CONN_DIAL_FAILED);
        struct err why = d->last;
        conn_drop(c, &why);
        return;
    }
    uv_tcp_init(worker_loop(), &c->tcp);
    attempt(c);
}

static void resolve_failed(struct conn *c, const char *text)
{
    struct dial *d = c->dial;
    struct err why;
    err_set(&why, ERR_NOT_FOUND, "Unable to resolve host '%s': %s", d->host, text);
    log_warn(d->area, "%s", why.text);
    metric_inc(METRIC_CONN_DIAL_FAILED);
    conn_drop(c, &why);
}

void dial_timeout(struct conn *c)
{
    struct dial *d = c->dial;
    if (d->resolving) {
        resolve_failed(c, "no answer in time");
    } else if (!d->failed) {
        attempt_failed(c, ETIMEDOUT);
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct dial *d = req->data;
    struct conn *c = d->conn;
    d->list = list;
    d->resolving = false;
    if (c == NULL) {
        dial_destroy(d);
    } else if (c->state != CONN_DIALING) {
        return; /* being dropped: its close callback frees */
    } else if (status != 0 || list == NULL) {
        resolve_failed(c, status != 0 ? uv_strerror(status) : "it has no address");
    } else {
        d->next = list;
        attempt(c);
    }
}

struct conn *conn_dial(const char *host, uint16_t port, const char *log_area, const struct conn_ops *ops, void *owner)
{
    struct conn *c = conn_new(CONN_DIALING);
    struct dial *d = x_calloc(1, sizeof *d);
    conn_set_owner(c, ops, owner);
    c->dial = d;
    d->conn = c;
    d->port = port;
    d->area = log_area;
    size_t n = strlen(host);
    bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
    snprintf(d->host, sizeof d->host, "%.*s", (int)(brackets ? n - 2 : n), brackets ? host + 1 : host);
    snprintf(c->peer, sizeof c->peer, "%.54s:%u", host, port);
    metric_inc(METRIC_CONN_DIALED);
    if (n >= sizeof d->host) {
        resolve_failed(c, "the name is too long");
        return c;
    }
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    d->resolve.data = d;
    d->resolving = true;
    worker_timer(&c->timer, CONN_DIAL_MS);
    int rc = uv_getaddrinfo(worker_loop(), &d->resolve, on_resolved, d->host, service, &hints);
    if (rc != 0) {
        d->resolving = false;
        resolve_failed(c, uv_strerror(rc));
    }
    return c;
}
