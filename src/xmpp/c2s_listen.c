/* Where clients connect: the addresses of c2s.listen and c2s.listen_tls, each opened by every worker (SO_REUSEPORT spreads the connections), and the
 * TLS context that new connections get. Both are shared by the workers and guarded by one lock; it is taken per listener and per handshake, never
 * held long. */
#include "base/log.h"
#include "c2s_private.h"
#include "xmpp/guard.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LISTENERS_MAX 32

static struct c2s_address {
    char host[128];
    uint16_t port;
    bool direct_tls;
    uint16_t bound;                  /* the port the first worker got, which the others then ask for; 0: not open */
    struct conn_listener *open[256]; /* per worker, touched by that one only */
} addresses[LISTENERS_MAX];
static unsigned n_addresses;
static struct tls_context *tls_current;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* "host:port", "[v6]:port" */
static int address_add(const char *text, size_t n, bool direct_tls, struct err *err)
{
    const char *colon = NULL; /* the last one; not memrchr: gcc with -fsanitize=undefined takes text for NULL and says so */
    for (size_t i = 0; i < n; i++)
        if (text[i] == ':') colon = text + i;
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == text || end != text + n || end == colon + 1 || port > 65535)
        return err_set(err, ERR_INVALID, "c2s: '%.*s' is no address to listen on; right would be 127.0.0.1:5222 or [::]:5222", (int)n, text);
    if (n_addresses == LISTENERS_MAX) return err_set(err, ERR_LIMIT, "c2s: more than %d addresses to listen on", LISTENERS_MAX);
    struct c2s_address *a = &addresses[n_addresses];
    size_t host = (size_t)(colon - text);
    if (host >= sizeof a->host) return err_set(err, ERR_INVALID, "c2s: '%.*s' is too long for an address", (int)n, text);
    memset(a, 0, sizeof *a);
    memcpy(a->host, text, host);
    a->port = (uint16_t)port;
    a->direct_tls = direct_tls;
    n_addresses++;
    return 0;
}

static int addresses_add(const char *list, bool direct_tls, struct err *err)
{
    for (const char *p = list ? list : ""; *p;) {
        size_t n = strcspn(p, " \t");
        if (n && address_add(p, n, direct_tls, err) < 0) return -1;
        p += n;
        p += strspn(p, " \t");
    }
    return 0;
}

int c2s_start(const struct config *config, const struct c2s_ops *ops, struct tls_context *tls, struct err *err)
{
    struct buf path = {0};
    buf_addf(&path, "%s/scram-secret", config->server_data_dir);
    int rc = sasl_start(buf_cstr(&path), err);
    buf_free(&path);
    if (rc < 0) return err_prefix(err, "c2s");
    if (guard_start(config, err) < 0) {
        sasl_stop();
        return -1;
    }
    if (config->c2s_plain_loopback) log_warn("c2s", "c2s.plain_loopback is on: programs on this machine may log in without TLS");
    c2s_shared.config = config;
    c2s_shared.ops = ops;
    c2s_shared.default_domain = str_dup((struct str){config->server_domains, strcspn(config->server_domains, " \t")});
    c2s_set_tls(tls);
    n_addresses = 0;
    if (addresses_add(config->c2s_listen, false, err) < 0 || addresses_add(config->c2s_listen_tls, true, err) < 0) {
        c2s_stop();
        return -1;
    }
    return 0;
}

void c2s_stop(void)
{
    c2s_set_tls(NULL);
    free(c2s_shared.default_domain);
    c2s_shared = (struct c2s_shared){0};
    n_addresses = 0;
    guard_stop();
    sasl_stop();
}

void c2s_set_tls(struct tls_context *tls)
{
    struct tls_context *fresh = tls ? tls_ref(tls) : NULL;
    pthread_mutex_lock(&lock);
    struct tls_context *old = tls_current;
    tls_current = fresh;
    pthread_mutex_unlock(&lock);
    if (old) tls_unref(old);
}

int c2s_start_tls(struct c2s *c, const char *domain, struct err *err)
{
    pthread_mutex_lock(&lock);
    struct tls_context *tls = tls_current ? tls_ref(tls_current) : NULL;
    pthread_mutex_unlock(&lock);
    if (!tls) return err_set(err, ERR_CONFLICT, "there is no TLS certificate");
    int rc = conn_start_tls(c->conn, tls, true, domain, err);
    tls_unref(tls);
    if (rc == 0) c2s_move_to(c, C2S_HANDSHAKE);
    return rc;
}

static void on_accept(void *arg, struct conn *conn)
{
    const struct c2s_address *a = arg;
    c2s_accept(conn, a->direct_tls);
}

int c2s_listen(struct err *err)
{
    int rc = 0;
    c2s_worker()->closing = NULL;
    c2s_limits_start();
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n_addresses && rc == 0; i++) {
        struct c2s_address *a = &addresses[i];
        struct conn_listener **open = &a->open[worker_id()];
        if (*open) continue;
        *open = conn_listen(a->host, a->bound ? a->bound : a->port, on_accept, a, err);
        if (!*open) {
            rc = err_prefix(err, "c2s cannot listen on %s:%u", a->host, a->bound ? a->bound : a->port);
        } else if (!a->bound) {
            a->bound = conn_listener_port(*open);
            log_info("c2s", "listening on %s:%u%s", a->host, a->bound, a->direct_tls ? " (direct TLS)" : "");
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void c2s_listen_stop(void)
{
    c2s_limits_stop();
    for (unsigned i = 0; i < n_addresses; i++) {
        struct conn_listener **open = &addresses[i].open[worker_id()];
        if (*open) conn_listener_close(*open);
        *open = NULL;
    }
}

unsigned c2s_port(bool direct_tls)
{
    unsigned port = 0;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n_addresses && port == 0; i++)
        if (addresses[i].direct_tls == direct_tls) port = addresses[i].bound;
    pthread_mutex_unlock(&lock);
    return port;
}
