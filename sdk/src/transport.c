/* Getting a socket: listening for nodes, dialling them (names are looked up on a thread of their own, for getaddrinfo blocks), and the TLS contexts.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core.h"
#include "base/clock.h"
#include "base/hash.h"

/* ---- TLS ---- */

void transport_ssl_problem(char *out, size_t n)
{
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    snprintf(out, n, "%s", reason != NULL ? reason : "connection cut during TLS");
}

static SSL_CTX *tls_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL) return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    return ctx;
}

static int tls_fail(SSL_CTX *ctx, struct err *err, const char *what, const char *file)
{
    char problem[200];
    transport_ssl_problem(problem, sizeof(problem));
    SSL_CTX_free(ctx);
    return err_set(err, ERR_INVALID, "%s%s%s: %s", what, file != NULL ? " " : "", file != NULL ? file : "", problem);
}

int transport_tls_server(SSL_CTX **out, const struct signet_tls *tls, struct err *err)
{
    if (tls->certificate_file == NULL || tls->key_file == NULL)
        return err_set(err, ERR_INVALID, "TLS on a listener needs certificate_file and key_file");
    SSL_CTX *ctx = tls_context(TLS_server_method());
    if (ctx == NULL) return tls_fail(ctx, err, "cannot make a TLS context", NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, tls->certificate_file) != 1)
        return tls_fail(ctx, err, "cannot use the certificate", tls->certificate_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, tls->key_file, SSL_FILETYPE_PEM) != 1) return tls_fail(ctx, err, "cannot use the key", tls->key_file);
    if (SSL_CTX_check_private_key(ctx) != 1) return tls_fail(ctx, err, "the key does not belong to the certificate:", tls->key_file);
    *out = ctx;
    return 0;
}

int transport_tls_client(SSL_CTX **out, const struct signet_tls *tls, struct err *err)
{
    SSL_CTX *ctx = tls_context(TLS_client_method());
    if (ctx == NULL) return tls_fail(ctx, err, "cannot make a TLS context", NULL);
    int rc = tls->ca_file != NULL ? SSL_CTX_load_verify_locations(ctx, tls->ca_file, NULL) : SSL_CTX_set_default_verify_paths(ctx);
    if (rc != 1) return tls_fail(ctx, err, "cannot use the CA file", tls->ca_file);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    *out = ctx;
    return 0;
}

static SSL *tls_open(SSL_CTX *ctx, int fd, const char *host)
{
    if (ctx == NULL) return NULL;
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL) return NULL;
    SSL_set_fd(ssl, fd);
    if (host == NULL) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    SSL_set_connect_state(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1) {
        (void)SSL_set_tlsext_host_name(ssl, host);
        (void)SSL_set1_host(ssl, host);
    }
    ERR_clear_error();
    return ssl;
}

/* ---- listening ---- */

static int bind_one(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0) return -1;
    int on = 1, off = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 128) == 0) return fd;
    int keep = errno;
    close(fd);
    errno = keep;
    return -1;
}

int transport_listen(struct signet_server *s, struct listener *l, struct err *err)
{
    (void)s;
    char *host = NULL, *port = NULL;
    if (address_split(l->address, &host, &port, err) < 0) return -1;
    /* ":PORT" is every address: a v6 socket that takes v4 too, or a v4 one on a machine without v6. */
    struct addrinfo hints = {.ai_family = host == NULL ? AF_INET6 : AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc == 0) l->fd = bind_one(found);
    if (host == NULL && l->fd < 0 && (rc != 0 || errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        if (rc == 0) freeaddrinfo(found);
        hints.ai_family = AF_INET;
        rc = getaddrinfo(host, port, &hints, &found);
        if (rc == 0) l->fd = bind_one(found);
    }
    int problem = errno;
    if (rc == 0) freeaddrinfo(found);
    free(host);
    free(port);
    if (rc != 0) return err_set(err, ERR_IO, "cannot listen on %s: %s", l->address, gai_strerror(rc));
    if (l->fd < 0) return err_set(err, ERR_IO, "cannot listen on %s: %s", l->address, strerror(problem));
    struct sockaddr_storage bound;
    socklen_t length = sizeof(bound);
    if (getsockname(l->fd, (struct sockaddr *)&bound, &length) == 0)
        l->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port : ((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

static void set_nodelay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                     sizeof(on)); /* answers are gathered by us; waiting in the kernel would add to every message */
}

void transport_accept(struct signet_server *s, struct listener *l)
{
    for (int i = 0; i < 16; i++) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof(peer);
        int fd = accept4(l->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                server_log(s, SIGNET_LOG_ERROR, "accept on %s: %s", l->address, strerror(errno));
            return;
        }
        if (s->stopping || s->n_links >= s->limits[SIGNET_LIMIT_LINKS]) {
            server_log(s, SIGNET_LOG_WARN, "refusing a connection on %s: %u links are open already", l->address, s->n_links);
            close(fd);
            continue;
        }
        set_nodelay(fd);
        SSL *ssl = tls_open(l->tls, fd, NULL);
        if (l->tls != NULL && ssl == NULL) {
            close(fd);
            continue;
        }
        (void)link_new(s, fd, ssl, (struct sockaddr *)&peer, length, NULL);
    }
}

/* ---- dialling ---- */

struct look_up {
    struct signet_server *server; /* a reference */
    uint64_t dialer;
    char *host, *port;
};

static void *look_up_main(void *arg)
{
    struct look_up *q = arg;
    struct resolved *r = x_calloc(1, sizeof(*r));
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(q->host, q->port, &hints, &found);
    r->dialer = q->dialer;
    r->found = rc == 0;
    if (rc == 0) {
        unsigned n = 0;
        for (struct addrinfo *ai = found; ai != NULL; ai = ai->ai_next) n++;
        unsigned pick = (unsigned)(hash_random_u64() % n); /* a name with several addresses: one of them may be down, so not always the first */
        struct addrinfo *ai = found;
        while (pick-- > 0) ai = ai->ai_next;
        memcpy(&r->address, ai->ai_addr, ai->ai_addrlen);
        r->length = ai->ai_addrlen;
        freeaddrinfo(found);
    } else {
        snprintf(r->problem, sizeof(r->problem), "%s", gai_strerror(rc));
    }
    pthread_mutex_lock(&q->server->mutex);
    list_push_back(&q->server->resolved, &r->node);
    server_wake(q->server);
    pthread_mutex_unlock(&q->server->mutex);
    server_unref(q->server);
    free(q->host);
    free(q->port);
    free(q);
    return NULL;
}

void transport_resolve(struct signet_server *s, struct dialer *d)
{
    struct look_up *q = x_calloc(1, sizeof(*q));
    q->server = server_ref(s);
    q->dialer = d->id;
    q->host = x_strdup(d->host);
    q->port = x_strdup(d->port);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    d->resolving = true;
    int rc = pthread_create(&thread, &attr, look_up_main, q); /* inherits the loop's mask: no signals */
    pthread_attr_destroy(&attr);
    if (rc == 0) return;
    server_log(s, SIGNET_LOG_ERROR, "cannot look up %s: %s", d->host, strerror(rc));
    server_unref(s);
    free(q->host);
    free(q->port);
    free(q);
    transport_redial(s, d);
}

void transport_redial(struct signet_server *s, struct dialer *d)
{
    uint64_t min = s->limits[SIGNET_LIMIT_RECONNECT_MIN_MS], max = s->limits[SIGNET_LIMIT_RECONNECT_MAX_MS];
    d->resolving = false;
    d->link = NULL;
    d->pause_ms = d->pause_ms == 0 ? min : d->pause_ms * 2;
    if (d->pause_ms > max) d->pause_ms = max;
    /* Up to a quarter less, so that many servers of one node do not come back in step. */
    d->due_ms = clock_ms() + d->pause_ms - hash_random_u64() % (d->pause_ms / 4 + 1);
}

void transport_dial(struct signet_server *s, struct dialer *d, const struct resolved *r)
{
    d->resolving = false;
    if (!r->found) {
        server_log(s, SIGNET_LOG_WARN, "Unable to connect to host '%s', port %s: %s", d->host, d->port, r->problem);
        transport_redial(s, d);
        return;
    }
    int fd = socket(r->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) set_nodelay(fd);
    if (fd < 0 || (connect(fd, (const struct sockaddr *)&r->address, r->length) < 0 && errno != EINPROGRESS)) {
        server_log(s, SIGNET_LOG_WARN, "Unable to connect to host '%s', port %s:(%d) %s", d->host, d->port, errno, strerror(errno));
        if (fd >= 0) close(fd);
        transport_redial(s, d);
        return;
    }
    server_log(s, SIGNET_LOG_INFO, "Connecting on fd %d to host '%s', port %s", fd, d->host, d->port);
    SSL *ssl = tls_open(d->tls, fd, d->tls_host);
    if (d->tls != NULL && ssl == NULL) {
        close(fd);
        transport_redial(s, d);
        return;
    }
    d->link = link_new(s, fd, ssl, (const struct sockaddr *)&r->address, r->length, d);
}
