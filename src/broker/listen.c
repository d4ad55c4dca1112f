/* Where compliance servers of direction accept dial in, with direct TLS or without. Every worker opens every address (SO_REUSEPORT); whoever accepts a stream checks its handshake and
 * hands it to the worker that has the link of that name. Until then it is an arrival: few are allowed at a time, and none for long. */
#include "base/list.h"
#include "base/log.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "broker/private.h"
#include "io/worker.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 16, WORKERS_MAX = 256, ARRIVALS_MAX = 256 };

static struct address {
    char host[128];
    const char *option; /* "component.listen" */
    bool tls;
    uint16_t port; /* once bound with 0, the port that was given: the other workers ask for that one */
    struct conn_listener *open[WORKERS_MAX]; /* each touched by its own worker only */
} addresses[ADDRESSES_MAX];
static unsigned n_addresses;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the ports and certificate */
static struct tls_context *certificate;
static _Atomic unsigned arrivals;

struct arrival {
    struct list node;
    struct component *component;
    uint32_t worker; /* where the link lives */
};
static _Thread_local struct list here; /* this worker's arrivals */
static _Thread_local unsigned n_here;

unsigned listen_streams(void) { return atomic_load(&arrivals); }

static int address_add(struct str text, const char *option, bool tls, struct err *err)
{
    size_t host = text.n; /* up to the last colon */
    while (host > 0 && text.p[host - 1] != ':') host--;
    if (host > 0) host--;
    unsigned long port = 0;
    bool good = host > 0 && host < sizeof addresses[0].host && host + 1 < text.n && text.n - host <= 6;
    for (size_t i = host + 1; good && i < text.n; i++) {
        good = text.p[i] >= '0' && text.p[i] <= '9';
        port = port * 10 + (unsigned)(text.p[i] - '0');
    }
    if (!good || port > 65535)
        return err_set(err, ERR_INVALID, "%s: '" STR_FMT "' is no address to listen on; right would be 0.0.0.0:5347 or [::]:5347", option, STR_ARG(text));
    if (n_addresses == ADDRESSES_MAX) return err_set(err, ERR_LIMIT, "%s: more than %d addresses for components", option, ADDRESSES_MAX);
    struct address *a = &addresses[n_addresses++];
    memset(a, 0, sizeof *a);
    memcpy(a->host, text.p, host);
    a->port = (uint16_t)port;
    a->option = option;
    a->tls = tls;
    return 0;
}

static int addresses_add(const char *list, const char *option, bool tls, struct err *err)
{
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, " \t");
        if (n > 0 && address_add((struct str){p, n}, option, tls, err) != 0) return -1;
        p += n;
        p += strspn(p, " \t");
    }
    return 0;
}

int listen_start(const char *plain, const char *tls, struct err *err)
{
    n_addresses = 0;
    if (plain != NULL && addresses_add(plain, "component.listen", false, err) != 0) return -1;
    return tls != NULL ? addresses_add(tls, "component.listen_tls", true, err) : 0;
}

bool listen_has(bool tls)
{
    for (unsigned i = 0; i < n_addresses; i++)
        if (addresses[i].tls || !tls) return true; /* who need not come with TLS may */
    return false;
}

void broker_set_tls(struct tls_context *tls)
{
    pthread_mutex_lock(&lock);
    tls_unref(certificate);
    certificate = tls != NULL ? tls_ref(tls) : NULL;
    pthread_mutex_unlock(&lock);
}

/* ---- arrivals ---- */

static void arrival_free(struct arrival *a)
{
    list_remove(&a->node);
    n_here--;
    atomic_fetch_sub(&arrivals, 1);
    free(a);
}

/* Does it come with the TLS that its server's configuration wants? */
static int tls_check(const struct link_spec *spec, const struct component *c, struct err *err)
{
    if (!spec->wants_tls) return 0;
    if (!conn_is_tls(component_conn(c))) return err_set(err, ERR_DENIED, "it comes without TLS; its server's field tls is on: it must dial an address of component.listen_tls");
    return spec->tls != NULL ? conn_tls_check_client(component_conn(c), spec->tls, spec->tls_name, err) : 0;
}

static const char *arrival_password(void *owner, struct str name, const char **condition)
{
    struct arrival *a = owner;
    struct err err;
    const char *peer = component_peer(a->component);
    const struct link_spec *spec = broker_accept_spec(name, &a->worker);
    if (spec == NULL) {
        log_warn("broker", "%s wants to be component " STR_FMT ", which no assignment of direction accept has", peer, STR_ARG(name));
        return NULL;
    }
    if (tls_check(spec, a->component, &err) == 0) return spec->password;
    log_warn("broker", "%s wants to be component %s and is refused: %s", peer, spec->component, err.text);
    metric_inc(METRIC_LINK_HANDSHAKES_REFUSED);
    *condition = "policy-violation";
    return NULL;
}

static void arrival_moved(void *arg, struct component *c)
{
    (void)arg;
    if (c != NULL) broker_accept(c);
}

static void arrival_verified(void *owner)
{
    struct arrival *a = owner;
    struct component *c = a->component;
    uint32_t worker = a->worker;
    arrival_free(a);
    component_move(c, worker, arrival_moved, NULL);
}

static void arrival_open(void *owner) { (void)owner; }
static void arrival_element(void *owner, const struct xml_element *e) { (void)owner, (void)e; }
static void arrival_end(void *owner, const struct component_end *end)
{
    struct arrival *a = owner;
    const char *name = component_stream_name(a->component);
    bool named = name[0] != '\0';
    log_at(named && !end->theirs ? LOG_LEVEL_WARN : LOG_LEVEL_NOTICE, "broker", "%s%sA connection from %s is over before its handshake was accepted: %s",
           named ? name : "", named ? ": " : "", component_peer(a->component), end->text);
    arrival_free(a);
}
static const struct component_ops arrival_ops = {.password_of = arrival_password,
                                                 .on_verified = arrival_verified,
                                                 .on_open = arrival_open,
                                                 .on_element = arrival_element,
                                                 .on_end = arrival_end};

static void flood_closed(void *owner, const struct err *why) { (void)owner, (void)why; }
static size_t flood_data(void *owner, const char *data, size_t n)
{
    (void)owner, (void)data;
    return n;
}
static const struct conn_ops flood_ops = {.on_data = flood_data, .on_closed = flood_closed};

static int begin_tls(struct conn *conn, struct err *err)
{
    pthread_mutex_lock(&lock);
    struct tls_context *tls = certificate != NULL ? tls_ref(certificate) : NULL;
    pthread_mutex_unlock(&lock);
    int rc = tls != NULL ? conn_start_tls(conn, tls, true, NULL, err) : err_set(err, ERR_INTERNAL, "there is no certificate to show");
    tls_unref(tls);
    return rc;
}

static void on_accept(void *arg, struct conn *conn)
{
    const struct address *address = arg;
    struct err err;
    int rc = n_here >= ARRIVALS_MAX ? err_set(&err, ERR_LIMIT, "%d connections wait for their handshake already", ARRIVALS_MAX) : 0;
    if (rc == 0 && address->tls) rc = begin_tls(conn, &err);
    if (rc != 0) {
        log_warn("broker", "A connection from %s was refused: %s", conn_peer(conn), err.text);
        conn_set_owner(conn, &flood_ops, NULL);
        conn_abort(conn, &err);
        return;
    }
    struct arrival *a = x_calloc(1, sizeof *a);
    list_push_back(&here, &a->node);
    n_here++;
    atomic_fetch_add(&arrivals, 1);
    a->component = component_accept(conn, broker_component_limits(), &arrival_ops, a);
}

/* ---- listeners ---- */

int broker_listen(struct err *err)
{
    int rc = 0;
    if (here.next == NULL) list_init(&here);
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n_addresses && rc == 0; i++) {
        struct address *a = &addresses[i];
        struct conn_listener **open = &a->open[worker_id()];
        if (*open != NULL) continue;
        *open = conn_listen(a->host, a->port, on_accept, a, err);
        if (*open == NULL) {
            rc = err_prefix(err, "%s", a->option);
            break;
        }
        if (a->port == 0) a->port = conn_listener_port(*open);
        if (worker_id() == 0) log_info("broker", "Compliance servers may dial %s, port %u%s", a->host, a->port, a->tls ? ", with TLS" : "");
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

unsigned broker_port(bool tls)
{
    unsigned i = 0;
    pthread_mutex_lock(&lock);
    while (i < n_addresses && addresses[i].tls != tls) i++;
    unsigned port = i < n_addresses ? addresses[i].port : 0;
    pthread_mutex_unlock(&lock);
    return port;
}

void listen_stop(void)
{
    for (unsigned i = 0; i < n_addresses; i++) {
        struct conn_listener **open = &addresses[i].open[worker_id()];
        if (*open != NULL) conn_listener_close(*open);
        *open = NULL;
    }
    if (here.next == NULL) return;
    LIST_EACH_SAFE(it, next, &here) component_abort(CONTAINER_OF(it, struct arrival, node)->component, "this node is shutting down");
}
