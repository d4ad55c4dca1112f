/* See net.h. epoll is level-triggered; a connection asks for EPOLLOUT only while the kernel does not take its output. TLS works on the descriptor
 * itself, with read-ahead, so that a record costs one recv(). Connections that ended are freed at the end of the turn, since events of the same
 * epoll_wait() may still name them. */
#include "net.h"
#include "base/list.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS = 256, KEPT_MAX = 1048576, SMALL_BUF = 4096 };

struct net_conn {
    int fd;
    bool connected, handshaking, dead, wants_write;
    SSL *ssl;
    struct buf in, out;
    const struct net_ops *ops; /* NULL: nobody is told any more */
    void *owner;
    struct list dirty, dying;
    char why[160];
};

static struct {
    int epoll;
    struct sockaddr_storage to;
    socklen_t to_len;
    SSL_CTX *tls;
    struct list dirty, dying;
    char read_buf[READ_BYTES];
} net = {.epoll = -1};

uint64_t net_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

int net_start(const char *host, uint16_t port, struct err *err)
{
    char service[8];
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) return err_set(err, ERR_NOT_FOUND, "the host '%s' cannot be found: %s", host, gai_strerror(rc));
    memcpy(&net.to, list->ai_addr, list->ai_addrlen);
    net.to_len = list->ai_addrlen;
    freeaddrinfo(list);
    list_init(&net.dirty);
    list_init(&net.dying);
    net.epoll = epoll_create1(EPOLL_CLOEXEC);
    net.tls = SSL_CTX_new(TLS_client_method());
    if (net.epoll < 0 || net.tls == NULL) return err_set(err, ERR_INTERNAL, "cannot make an epoll descriptor or a TLS context");
    SSL_CTX_set_mode(net.tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(net.tls, 1);
    prctl(PR_SET_TIMERSLACK, 1UL); /* open loop: stanzas leave when they are due, not 50 us later */
    return 0;
}

void net_stop(void)
{
    if (net.epoll >= 0) close(net.epoll);
    SSL_CTX_free(net.tls);
}

static __attribute__((format(printf, 2, 3))) void die(struct net_conn *c, const char *fmt, ...)
{
    va_list ap;
    if (c->dead) return;
    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->dead = true;
    list_push_back(&net.dying, &c->dying);
}

static void watch(struct net_conn *c, int op, bool writing)
{
    struct epoll_event ev = {.events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    c->wants_write = writing;
    if (epoll_ctl(net.epoll, op, c->fd, &ev) != 0) die(c, "epoll: %s", strerror(errno));
}

struct net_conn *net_open(const struct net_ops *ops, void *owner)
{
    struct net_conn *c = x_calloc(1, sizeof *c);
    int one = 1;
    c->ops = ops;
    c->owner = owner;
    c->fd = socket(net.to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        die(c, "cannot make a socket: %s", strerror(errno));
        return c;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (const struct sockaddr *)&net.to, net.to_len) != 0 && errno != EINPROGRESS) {
        die(c, "cannot connect: %s", strerror(errno));
    } else {
        watch(c, EPOLL_CTL_ADD, true);
    }
    return c;
}

/* ---- writing ---- */

static ssize_t tls_result(struct net_conn *c, int rc)
{
    int e = SSL_get_error(c->ssl, rc);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return -1;
    const char *reason = ERR_reason_error_string(ERR_get_error());
    die(c, "TLS: %s", e == SSL_ERROR_ZERO_RETURN ? "closed by the server" : reason != NULL ? reason : "cut by the server");
    return -1;
}

static ssize_t write_some(struct net_conn *c)
{
    if (c->ssl != NULL) {
        ERR_clear_error();
        int rc = SSL_write(c->ssl, c->out.data, c->out.len > READ_BYTES ? READ_BYTES : (int)c->out.len);
        return rc > 0 ? rc : tls_result(c, rc);
    }
    ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) die(c, "writing: %s", strerror(errno));
    return n;
}

void net_flush(struct net_conn *c)
{
    list_remove(&c->dirty);
    while (!c->dead && c->connected && !c->handshaking && c->out.len > 0) {
        ssize_t n = write_some(c);
        if (n < 0) break;
        buf_consume(&c->out, (size_t)n);
    }
    bool waits = !c->dead && c->connected && !c->handshaking && c->out.len > 0;
    if (c->out.len == 0 && c->out.cap > SMALL_BUF) buf_free(&c->out);
    if (!c->dead && c->connected && waits != c->wants_write) watch(c, EPOLL_CTL_MOD, waits);
}

struct buf *net_out(struct net_conn *c) { return &c->out; }

void net_touch(struct net_conn *c)
{
    if (!list_linked(&c->dirty)) list_push_back(&net.dirty, &c->dirty);
}

void net_close(struct net_conn *c)
{
    net_flush(c);
    c->ops = NULL;
    die(c, "closed by us");
}

/* ---- reading ---- */

static void offer(struct net_conn *c, const char *data, size_t n)
{
    bool kept = c->in.len > 0;
    if (kept) {
        buf_add(&c->in, data, n);
        data = c->in.data;
        n = c->in.len;
    }
    size_t used = c->ops == NULL ? n : c->ops->on_data(c->owner, data, n);
    if (kept) {
        buf_consume(&c->in, used);
    } else if (used < n) {
        buf_add(&c->in, data + used, n - used);
    }
    if (c->in.len == 0) buf_free(&c->in);
    if (c->in.len > KEPT_MAX) die(c, "the server sent an element of more than %d bytes", KEPT_MAX);
}

static void handshake(struct net_conn *c)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(c->ssl);
    if (rc != 1) {
        (void)tls_result(c, rc);
        return;
    }
    c->handshaking = false;
    if (c->ops != NULL) c->ops->on_open(c->owner);
}

static void readable_tls(struct net_conn *c)
{
    if (c->handshaking) handshake(c);
    while (!c->dead && !c->handshaking) {
        ERR_clear_error();
        int n = SSL_read(c->ssl, net.read_buf, READ_BYTES);
        if (n <= 0) {
            (void)tls_result(c, n);
            return;
        }
        offer(c, net.read_buf, (size_t)n);
        if (SSL_pending(c->ssl) == 0 && !SSL_has_pending(c->ssl)) return; /* the rest, if any, makes epoll speak again */
    }
}

static void readable(struct net_conn *c)
{
    if (c->ssl != NULL) {
        readable_tls(c);
        return;
    }
    ssize_t n = recv(c->fd, net.read_buf, READ_BYTES, 0);
    if (n > 0) {
        offer(c, net.read_buf, (size_t)n);
    } else if (n == 0) {
        die(c, "closed by the server");
    } else if (errno != EAGAIN && errno != EINTR) {
        die(c, "reading: %s", strerror(errno));
    }
}

void net_start_tls(struct net_conn *c, const char *name)
{
    c->ssl = SSL_new(net.tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 || SSL_set_tlsext_host_name(c->ssl, name) != 1) {
        die(c, "cannot make a TLS session");
        return;
    }
    SSL_set_connect_state(c->ssl);
    c->handshaking = true;
    handshake(c);
}

static void on_connect(struct net_conn *c)
{
    int e = 0;
    socklen_t len = sizeof e;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
    if (e != 0) {
        die(c, "cannot connect: %s", strerror(e));
        return;
    }
    c->connected = true;
    watch(c, EPOLL_CTL_MOD, false);
    if (c->ops != NULL) c->ops->on_open(c->owner);
}

static void end_turn(void)
{
    struct list *node;
    while ((node = list_pop_front(&net.dirty)) != NULL) net_flush(CONTAINER_OF(node, struct net_conn, dirty));
    while ((node = list_pop_front(&net.dying)) != NULL) {
        struct net_conn *c = CONTAINER_OF(node, struct net_conn, dying);
        if (c->ops != NULL) c->ops->on_closed(c->owner, c->why);
        list_remove(&c->dirty);
        if (c->fd >= 0) close(c->fd);
        SSL_free(c->ssl);
        buf_free(&c->in);
        buf_free(&c->out);
        free(c);
    }
}

void net_turn(uint64_t wait_ns)
{
    struct epoll_event events[EVENTS];
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000U), .tv_nsec = (long)(wait_ns % 1000000000U)};
    end_turn();
    int n = epoll_pwait2(net.epoll, events, EVENTS, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct net_conn *c = events[i].data.ptr;
        if (c->dead) continue;
        if (!c->connected) {
            on_connect(c);
            continue;
        }
        if ((events[i].events & EPOLLOUT) != 0) net_flush(c);
        if (!c->dead && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable(c);
    }
    end_turn();
}
