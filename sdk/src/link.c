/* One link's bytes: reading into the parser, writing what has gathered, TLS between them, back-pressure, time-outs, and the ways it ends.
 * A link is never freed in the middle of a turn: it is doomed, and the loop reaps it. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <openssl/err.h>
#include "core.h"
#include "base/clock.h"

#define READ_BYTES     (64 * 1024)
#define READS_PER_TURN 8 /* then the other links have their turn */

static void name_peer(char *out, size_t n, const struct sockaddr *peer, socklen_t length)
{
    char host[64], port[8];
    if (getnameinfo(peer, length, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, n, "unknown");
    else
        snprintf(out, n, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

struct link *link_new(struct signet_server *s, int fd, SSL *ssl, const struct sockaddr *peer, socklen_t length, struct dialer *dialer)
{
    struct link *l = x_calloc(1, sizeof(*l));
    struct xml_limits limits = xml_limits_default;
    limits.stanza_bytes = s->limits[SIGNET_LIMIT_STANZA_BYTES];
    l->server = server_ref(s);
    l->id = s->next_id++;
    l->fd = fd;
    l->ssl = ssl;
    l->dialer = dialer;
    l->component = dialer != NULL ? dialer->component : NULL;
    l->state = dialer != NULL ? LINK_CONNECTING : ssl != NULL ? LINK_TLS : LINK_OPENING;
    l->heard_ms = clock_ms();
    l->deadline_ms = l->heard_ms + s->limits[SIGNET_LIMIT_HANDSHAKE_MS];
    l->parser = xml_parser_new(&limits, &stream_ops, l);
    l->watching = EPOLLIN | (dialer != NULL ? EPOLLOUT : 0u);
    name_peer(l->peer, sizeof(l->peer), peer, length);
    list_push_back(&s->links, &l->node);
    s->n_links++;
    pthread_mutex_lock(&s->mutex);
    (void)imap_put(&s->by_id, l->id, l);
    pthread_mutex_unlock(&s->mutex);
    struct epoll_event ev = {.events = l->watching, .data.u64 = l->id};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) link_doom(l, "epoll: %s", strerror(errno));
    if (dialer == NULL) server_log(s, SIGNET_LOG_INFO, "connection from %s on fd %d", l->peer, fd);
    return l;
}

/* From here on answers find the link gone. */
static void refuse_answers(struct link *l)
{
    struct signet_server *s = l->server;
    pthread_mutex_lock(&s->mutex);
    (void)imap_del(&s->by_id, l->id);
    pthread_mutex_unlock(&s->mutex);
}

void link_free(struct link *l, bool redial)
{
    struct signet_server *s = l->server;
    refuse_answers(l);
    const char *name = l->component != NULL ? l->component->name : NULL;
    if (l->was_active || l->state != LINK_CONNECTING)
        server_log(s, l->was_active && !l->peer_closed && !l->close_sent ? SIGNET_LOG_WARN : SIGNET_LOG_INFO, "Component %s (%s) is GONE: %s",
                   name != NULL ? name : "?", l->peer, l->why);
    if (s->on_link != NULL) s->on_link(SIGNET_LINK_GONE, name, l->peer, l->why, s->on_link_arg);
    if (l->dialer != NULL && redial) {
        if (l->was_active) l->dialer->pause_ms = 0; /* it worked: begin with the shortest pause again */
        transport_redial(s, l->dialer);
    } else if (l->dialer != NULL) {
        l->dialer->link = NULL;
    }
    list_remove(&l->node);
    s->n_links--;
    if (l->ssl != NULL) {
        if (l->was_active || l->close_sent) (void)SSL_shutdown(l->ssl); /* our close_notify, if it goes out at once */
        SSL_free(l->ssl);
        ERR_clear_error();
    }
    close(l->fd);
    xml_parser_free(l->parser);
    buf_free(&l->out);
    buf_free(&l->mail);
    free(l->broker);
    free(l);
    server_unref(s);
}

void link_doom(struct link *l, const char *fmt, ...)
{
    if (l->doomed) return;
    l->doomed = true;
    if (l->why[0] != '\0') return; /* the first reason is the reason */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->why, sizeof(l->why), fmt, ap);
    va_end(ap);
}

void link_close(struct link *l, const char *fmt, ...)
{
    if (l->doomed || l->state == LINK_CLOSING) return;
    if (l->why[0] == '\0') {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(l->why, sizeof(l->why), fmt, ap);
        va_end(ap);
    }
    /* Answers given up to now still go before the end tag; later ones find the link gone. */
    refuse_answers(l);
    buf_add(&l->out, l->mail.data, l->mail.len); /* nobody else reaches the mail any more */
    buf_reset(&l->mail);
    BUF_ADD_LIT(&l->out, "</stream:stream>");
    l->close_sent = true;
    l->state = LINK_CLOSING;
    l->deadline_ms = clock_ms() + CLOSE_WAIT_MS;
}

/* ---- writing ---- */

/* Bytes written; 0: not now; -1: the link is doomed. */
static ssize_t write_some(struct link *l, const char *data, size_t n)
{
    if (l->ssl == NULL) {
        ssize_t rc = send(l->fd, data, n, MSG_NOSIGNAL);
        if (rc >= 0) return rc;
        if (errno == EAGAIN || errno == EINTR) return 0;
        link_doom(l, "%s", strerror(errno));
        return -1;
    }
    ERR_clear_error();
    int rc = SSL_write(l->ssl, data, n > (1u << 30) ? 1 << 30 : (int)n);
    if (rc > 0) return rc;
    int why = SSL_get_error(l->ssl, rc);
    if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ) {
        l->ssl_wants_write = why == SSL_ERROR_WANT_WRITE;
        return 0;
    }
    char problem[160];
    transport_ssl_problem(problem, sizeof(problem));
    link_doom(l, "TLS: %s", problem);
    return -1;
}

static void watch(struct link *l)
{
    bool wants_out = l->state == LINK_CONNECTING || l->ssl_wants_write || (l->out.len > 0 && l->state != LINK_TLS);
    uint32_t want = (l->reading_paused || l->peer_closed ? 0u : (uint32_t)EPOLLIN) | (wants_out ? (uint32_t)EPOLLOUT : 0u);
    if (want == l->watching) return;
    struct epoll_event ev = {.events = want, .data.u64 = l->id};
    if (epoll_ctl(l->server->epoll_fd, EPOLL_CTL_MOD, l->fd, &ev) < 0) link_doom(l, "epoll: %s", strerror(errno));
    l->watching = want;
}

void link_flush(struct link *l)
{
    if (l->state != LINK_CONNECTING && l->state != LINK_TLS) {
        size_t sent = 0;
        while (sent < l->out.len) {
            ssize_t n = write_some(l, l->out.data + sent, l->out.len - sent);
            if (n < 0) return;
            if (n == 0) break;
            sent += (size_t)n;
        }
        if (sent > 0 && sent == l->out.len)
            buf_reset(&l->out);
        else if (sent > 0)
            buf_consume(&l->out, sent);
        if (l->out.len == 0 && l->out.cap > (1u << 20)) buf_free(&l->out); /* a burst is over */
    }
    if (l->out.len == 0 && l->close_sent && l->peer_closed)
        link_doom(l, "stream closed");
    else
        watch(l);
}

/* ---- reading ---- */

static bool over_limits(struct link *l)
{
    struct signet_server *s = l->server;
    if (l->state == LINK_CLOSING) return false; /* what comes now is dropped */
    if (l->out.len > s->limits[SIGNET_LIMIT_OUTPUT_BYTES]) return true;
    pthread_mutex_lock(&s->mutex);
    bool over = l->outstanding >= s->limits[SIGNET_LIMIT_EVENTS] || l->outstanding_bytes >= s->limits[SIGNET_LIMIT_EVENT_BYTES] ||
                l->mail.len > s->limits[SIGNET_LIMIT_OUTPUT_BYTES];
    pthread_mutex_unlock(&s->mutex);
    return over;
}

/* Bytes read; 0: nothing now; -1: the end (the link is doomed or half-closed). */
static ssize_t read_some(struct link *l, char *data, size_t n)
{
    if (l->ssl == NULL) {
        ssize_t rc = recv(l->fd, data, n, 0);
        if (rc > 0) return rc;
        if (rc < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
        if (rc < 0)
            link_doom(l, "%s", strerror(errno));
        else
            link_doom(l, l->state == LINK_ACTIVE ? "cut without </stream:stream>" : "connection closed");
        return -1;
    }
    ERR_clear_error();
    int rc = SSL_read(l->ssl, data, (int)n);
    if (rc > 0) return rc;
    int why = SSL_get_error(l->ssl, rc);
    if (why == SSL_ERROR_WANT_READ) return 0;
    if (why == SSL_ERROR_WANT_WRITE) {
        l->ssl_wants_write = true;
        return 0;
    }
    if (why == SSL_ERROR_ZERO_RETURN) {
        link_doom(l, l->state == LINK_ACTIVE ? "cut without </stream:stream>" : "connection closed");
        return -1;
    }
    char problem[160];
    transport_ssl_problem(problem, sizeof(problem));
    link_doom(l, "TLS: %s", problem);
    return -1;
}

static const char *stream_condition(enum xml_status status)
{
    switch (status) {
    case XML_RESTRICTED:
        return "restricted-xml";
    case XML_TOO_BIG:
        return "policy-violation";
    case XML_BAD_NAMESPACE:
        return "bad-namespace-prefix";
    default:
        return "not-well-formed";
    }
}

static void feed(struct link *l, const char *data, size_t n)
{
    size_t used = 0;
    enum xml_status status = xml_parser_feed(l->parser, data, n, &used);
    if (status == XML_FED || status == XML_STOPPED) return; /* stopped: the link is ending, the rest does not matter */
    l->peer_closed = true;
    if (status == XML_CLOSED) {
        link_close(l, "the node ended the stream");
        return;
    }
    server_log(l->server, SIGNET_LOG_ERROR, "%s sent wrong XML: %s", l->peer, xml_parser_problem(l->parser));
    stream_error(l, stream_condition(status), xml_parser_problem(l->parser));
}

static void read_turn(struct link *l)
{
    static _Thread_local char data[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN && !l->doomed && !l->peer_closed; i++) {
        if (over_limits(l)) {
            l->reading_paused = true;
            return;
        }
        ssize_t n = read_some(l, data, sizeof(data));
        if (n <= 0) return;
        l->heard_ms = clock_ms();
        l->ping_sent_ms = 0;
        feed(l, data, (size_t)n);
        if (l->ssl == NULL && (size_t)n < sizeof(data)) return;
    }
    if (l->peer_closed || l->doomed) return;
    if (l->ssl != NULL && SSL_has_pending(l->ssl)) l->reading_paused = true; /* epoll does not know of bytes inside OpenSSL: come back next turn */
}

void link_resume(struct link *l)
{
    if (over_limits(l)) return;
    l->reading_paused = false;
    l->ping_sent_ms = 0;
    l->heard_ms = clock_ms(); /* it could not be heard meanwhile */
    read_turn(l);
    if (l->reading_paused && !over_limits(l)) { /* more inside OpenSSL: make sure the loop turns */
        pthread_mutex_lock(&l->server->mutex);
        server_wake(l->server);
        pthread_mutex_unlock(&l->server->mutex);
    }
}

/* ---- becoming usable ---- */

static void tls_turn(struct link *l)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(l->ssl);
    l->ssl_wants_write = false;
    if (rc == 1) {
        l->state = LINK_OPENING;
        if (l->dialer != NULL) stream_open(l);
        return;
    }
    int why = SSL_get_error(l->ssl, rc);
    if (why == SSL_ERROR_WANT_READ) return;
    if (why == SSL_ERROR_WANT_WRITE) {
        l->ssl_wants_write = true;
        return;
    }
    char problem[160];
    long verify = SSL_get_verify_result(l->ssl);
    transport_ssl_problem(problem, sizeof(problem));
    if (l->dialer != NULL && verify != X509_V_OK)
        link_doom(l, "TLS: the node's certificate: %s", X509_verify_cert_error_string(verify));
    else
        link_doom(l, "TLS: %s", problem);
}

static void connected(struct link *l)
{
    int problem = 0;
    socklen_t length = sizeof(problem);
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &problem, &length) < 0) problem = errno;
    if (problem != 0) {
        server_log(l->server, SIGNET_LOG_WARN, "Unable to connect to host '%s', port %s:(%d) %s", l->dialer->host, l->dialer->port, problem,
                   strerror(problem));
        link_doom(l, "%s", strerror(problem));
        return;
    }
    l->state = l->ssl != NULL ? LINK_TLS : LINK_OPENING;
    if (l->ssl == NULL) stream_open(l);
}

void link_ready(struct link *l, uint32_t events)
{
    if (l->state == LINK_CONNECTING) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(l);
        if (l->doomed) return;
    }
    l->ssl_wants_write = false;
    if (l->state == LINK_TLS)
        tls_turn(l);
    else if (!l->reading_paused && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        read_turn(l);
    else if (events & EPOLLERR || (events & EPOLLHUP && l->reading_paused))
        link_doom(l, "connection reset");
    else if (l->ssl != NULL && !l->reading_paused)
        read_turn(l);                                                                                 /* a read that had wanted to write */
    if (l->state == LINK_OPENING && !l->doomed && l->ssl != NULL && !l->reading_paused) read_turn(l); /* bytes that came with the TLS handshake */
}

void link_timers(struct link *l, uint64_t now, uint64_t *next)
{
    struct signet_server *s = l->server;
    if (l->doomed) return;
    if (l->deadline_ms != 0 && now >= l->deadline_ms) {
        link_doom(l, "%s", l->state == LINK_CLOSING ? "the stream's end was not answered" : "the handshake took too long");
        return;
    }
    uint64_t due = l->deadline_ms;
    if (l->state == LINK_ACTIVE && !l->reading_paused) {
        uint64_t interval = s->limits[SIGNET_LIMIT_PING_INTERVAL_MS], patience = s->limits[SIGNET_LIMIT_PING_TIMEOUT_MS];
        bool waiting = l->ping_sent_ms != 0;
        if (waiting && now >= l->ping_sent_ms + patience) {
            link_doom(l, "pings are not answered");
            return;
        }
        if (!waiting && now >= l->heard_ms + interval) {
            stream_ping(l);
            l->ping_sent_ms = now;
            waiting = true;
        }
        due = waiting ? l->ping_sent_ms + patience : l->heard_ms + interval;
    }
    if (due != 0 && due < *next) *next = due;
}
