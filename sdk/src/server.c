/* The public face of a server: making it, what may be set before it starts, starting and stopping it. */
#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "core.h"

static const struct {
    uint64_t def, min, max;
} limit_rows[N_LIMITS] = {
    [SIGNET_LIMIT_LINKS] = {64, 1, 4096},
    [SIGNET_LIMIT_EVENTS] = {4096, 1, 1u << 20},
    [SIGNET_LIMIT_EVENT_BYTES] = {64u << 20, 4096, 1ull << 34},
    [SIGNET_LIMIT_OUTPUT_BYTES] = {8u << 20, 4096, 1ull << 32},
    [SIGNET_LIMIT_STANZA_BYTES] = {1u << 20, 4096, 1u << 28},
    [SIGNET_LIMIT_HANDSHAKE_MS] = {10000, 10, 600000},
    [SIGNET_LIMIT_PING_INTERVAL_MS] = {30000, 10, 3600000},
    [SIGNET_LIMIT_PING_TIMEOUT_MS] = {10000, 10, 3600000},
    [SIGNET_LIMIT_RECONNECT_MIN_MS] = {500, 1, 3600000},
    [SIGNET_LIMIT_RECONNECT_MAX_MS] = {30000, 1, 3600000},
};

static const char *const event_names[] = {
#define EVENT(name, ...) #name,
#include "tables/events.def"
#undef EVENT
};

struct signet_server *signet_new(void)
{
    struct signet_server *s = x_calloc(1, sizeof(*s));
    atomic_init(&s->refs, 1);
    for (unsigned i = 0; i < N_LIMITS; i++) s->limits[i] = limit_rows[i].def;
    list_init(&s->components);
    list_init(&s->listeners);
    list_init(&s->dialers);
    list_init(&s->links);
    list_init(&s->resolved);
    pthread_mutex_init(&s->mutex, NULL);
    s->epoll_fd = s->wake_fd = -1;
    s->next_id = 1;
    return s;
}

struct signet_server *server_ref(struct signet_server *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

static void free_dialer(struct dialer *d)
{
    SSL_CTX_free(d->tls);
    free(d->host);
    free(d->port);
    free(d->tls_host);
    free(d);
}

void server_unref(struct signet_server *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1) return;
    size_t it = 0;
    void *handler;
    while (map_next(&s->handlers, &it, NULL, &handler)) free(handler);
    map_free(&s->handlers);
    imap_free(&s->by_id);
    LIST_EACH_SAFE(n, tmp, &s->resolved) free(CONTAINER_OF(n, struct resolved, node));
    LIST_EACH_SAFE(n, tmp, &s->dialers) free_dialer(CONTAINER_OF(n, struct dialer, node));
    LIST_EACH_SAFE(n, tmp, &s->listeners)
    {
        struct listener *l = CONTAINER_OF(n, struct listener, node);
        if (l->fd >= 0) close(l->fd);
        SSL_CTX_free(l->tls);
        free(l->address);
        free(l);
    }
    LIST_EACH_SAFE(n, tmp, &s->components)
    {
        struct component *c = CONTAINER_OF(n, struct component, node);
        OPENSSL_cleanse(c->password, strlen(c->password));
        free(c->password);
        free(c->name);
        free(c);
    }
    if (s->epoll_fd >= 0) close(s->epoll_fd);
    if (s->wake_fd >= 0) close(s->wake_fd);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

void signet_free(struct signet_server *s)
{
    if (s == NULL) return;
    if (s->started && !s->stopped) (void)signet_stop(s, 0);
    LIST_EACH(n, &s->listeners)
    {
        struct listener *l = CONTAINER_OF(n, struct listener, node);
        if (l->fd >= 0) close(l->fd);
        l->fd = -1;
    }
    server_unref(s);
}

const char *signet_error(const struct signet_server *s)
{
    return s->err.text;
}

void server_log(struct signet_server *s, enum signet_log_level level, const char *fmt, ...)
{
    if (s->on_log == NULL) return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *p = text; *p != '\0'; p++) { /* a peer's words must not forge lines */
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
    }
    s->on_log(level, text, s->on_log_arg);
}

void signet_log_stderr(enum signet_log_level level, const char *text, void *arg)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)arg;
    if (level < SIGNET_LOG_DEBUG) fprintf(stderr, "%s: %s\n", names[level], text);
}

void signet_on_log(struct signet_server *s, signet_log_fn *fn, void *arg)
{
    s->on_log = fn;
    s->on_log_arg = arg;
}

void signet_on_link(struct signet_server *s, signet_link_fn *fn, void *arg)
{
    s->on_link = fn;
    s->on_link_arg = arg;
}

static int before_start(struct signet_server *s, const char *what)
{
    return s->started ? err_set(&s->err, ERR_CONFLICT, "%s: the server has been started already", what) : 0;
}

int signet_on_event(struct signet_server *s, const char *name, signet_event_fn *fn, void *arg)
{
    if (before_start(s, "signet_on_event") < 0) return -1;
    if (fn == NULL) return err_set(&s->err, ERR_INVALID, "signet_on_event: the callback is NULL");
    if (name == NULL) {
        s->other = (struct handler){fn, arg};
        return 0;
    }
    size_t i = 0;
    while (i < sizeof(event_names) / sizeof(event_names[0]) && strcmp(event_names[i], name) != 0) i++;
    if (i == sizeof(event_names) / sizeof(event_names[0])) {
        for (i = 0; i < sizeof(event_names) / sizeof(event_names[0]); i++) {
            if (strcasecmp(event_names[i], name) == 0)
                return err_set(&s->err, ERR_INVALID, "there is no event '%s'; did you mean %s?", name, event_names[i]);
        }
        return err_set(&s->err, ERR_INVALID, "there is no event '%s'", name);
    }
    struct handler *h = x_malloc(sizeof(*h));
    *h = (struct handler){fn, arg};
    free(map_put(&s->handlers, str_of(name), h));
    return 0;
}

int signet_set_limit(struct signet_server *s, enum signet_limit limit, uint64_t value)
{
    if (before_start(s, "signet_set_limit") < 0) return -1;
    if ((unsigned)limit >= N_LIMITS) return err_set(&s->err, ERR_INVALID, "there is no limit number %d", (int)limit);
    if (value < limit_rows[limit].min || value > limit_rows[limit].max)
        return err_set(&s->err, ERR_INVALID, "limit number %d must be between %llu and %llu, not %llu", (int)limit,
                       (unsigned long long)limit_rows[limit].min, (unsigned long long)limit_rows[limit].max, (unsigned long long)value);
    s->limits[limit] = value;
    return 0;
}

static struct component *find_component(struct signet_server *s, const char *name)
{
    LIST_EACH(n, &s->components)
    {
        struct component *c = CONTAINER_OF(n, struct component, node);
        if (strcasecmp(c->name, name) == 0) return c;
    }
    return NULL;
}

int signet_component(struct signet_server *s, const char *name, const char *password)
{
    if (before_start(s, "signet_component") < 0) return -1;
    size_t n = name == NULL ? 0 : strlen(name);
    if (n == 0 || n > 1023 || strpbrk(name, " \t\r\n@/<>&'\"") != NULL)
        return err_set(&s->err, ERR_INVALID, "a component name is a domain, like op-wall.node1-example-com, not '%s'", n == 0 ? "" : name);
    if (password == NULL || *password == '\0') return err_set(&s->err, ERR_INVALID, "component %s: the password is empty", name);
    if (find_component(s, name) != NULL) return err_set(&s->err, ERR_EXISTS, "component %s is there already", name);
    struct component *c = x_calloc(1, sizeof(*c));
    c->name = x_strdup(name);
    c->password = x_strdup(password);
    list_push_back(&s->components, &c->node);
    return 0;
}

int address_split(const char *address, char **host, char **port, struct err *err)
{
    const char *colon = address == NULL ? NULL : strrchr(address, ':');
    size_t n = colon == NULL ? 0 : (size_t)(colon - address);
    bool bracketed = n >= 2 && address[0] == '[' && address[n - 1] == ']';
    bool good = colon != NULL && colon[1] != '\0' && strspn(colon + 1, "0123456789") == strlen(colon + 1) && strlen(colon + 1) <= 5 &&
                strtol(colon + 1, NULL, 10) <= 65535 && (bracketed || memchr(address, ':', n) == NULL);
    if (!good) return err_set(err, ERR_INVALID, "'%s' is not an address: HOST:PORT, [IPV6]:PORT or :PORT", address == NULL ? "" : address);
    if (n == 0) {
        *host = NULL;
    } else {
        struct str part = bracketed ? (struct str){address + 1, n - 2} : (struct str){address, n};
        *host = str_dup(part);
    }
    *port = x_strdup(colon + 1);
    return 0;
}

int signet_listen(struct signet_server *s, const char *address, const struct signet_tls *tls)
{
    if (before_start(s, "signet_listen") < 0) return -1;
    struct listener *l = x_calloc(1, sizeof(*l));
    l->fd = -1;
    l->address = x_strdup(address == NULL ? "" : address);
    if ((tls != NULL && transport_tls_server(&l->tls, tls, &s->err) < 0) || transport_listen(s, l, &s->err) < 0) {
        SSL_CTX_free(l->tls);
        free(l->address);
        free(l);
        return -1;
    }
    list_push_back(&s->listeners, &l->node);
    return 0;
}

unsigned signet_port(const struct signet_server *s, unsigned nth)
{
    LIST_EACH(n, &s->listeners)
    {
        if (nth-- == 0) return CONTAINER_OF(n, struct listener, node)->port;
    }
    return 0;
}

int signet_dial(struct signet_server *s, const char *address, const char *component, const struct signet_tls *tls)
{
    if (before_start(s, "signet_dial") < 0) return -1;
    struct component *c = component == NULL ? NULL : find_component(s, component);
    if (c == NULL)
        return err_set(&s->err, ERR_NOT_FOUND, "signet_dial: no component '%s'; name it with signet_component() first", component ? component : "");
    struct dialer *d = x_calloc(1, sizeof(*d));
    if (address_split(address, &d->host, &d->port, &s->err) < 0) {
        free(d);
        return -1;
    }
    if (d->host == NULL || strtol(d->port, NULL, 10) == 0) {
        free_dialer(d);
        return err_set(&s->err, ERR_INVALID, "'%s': to dial, both host and port are needed", address);
    }
    if (tls != NULL && transport_tls_client(&d->tls, tls, &s->err) < 0) {
        free_dialer(d);
        return -1;
    }
    d->tls_host = x_strdup(tls != NULL && tls->host != NULL ? tls->host : d->host);
    d->component = c;
    list_push_back(&s->dialers, &d->node);
    return 0;
}

static int watch_fd(struct signet_server *s, int fd, uint64_t id)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = id};
    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int signet_start(struct signet_server *s)
{
    if (before_start(s, "signet_start") < 0) return -1;
    if (list_empty(&s->listeners) && list_empty(&s->dialers))
        return err_set(&s->err, ERR_INVALID, "nothing to do: neither signet_listen() nor signet_dial() was called");
    if (list_empty(&s->components))
        return err_set(&s->err, ERR_INVALID, "no component: call signet_component() with the name and password the node was given");
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = s->epoll_fd >= 0 && s->wake_fd >= 0 && watch_fd(s, s->wake_fd, 0) == 0;
    LIST_EACH(n, &s->listeners) ok = ok && watch_fd(s, CONTAINER_OF(n, struct listener, node)->fd, s->next_id++) == 0;
    LIST_EACH(n, &s->dialers) CONTAINER_OF(n, struct dialer, node)->id = s->next_id++;
    if (!ok) return err_set(&s->err, ERR_IO, "cannot set up epoll: %s", strerror(errno));

    sigset_t all, old; /* signals are the program's business, never the library's thread's; this also keeps SIGPIPE of TLS writes from it */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&s->thread, NULL, loop_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) return err_set(&s->err, ERR_IO, "cannot start the thread: %s", strerror(rc));
    s->started = true;
    return 0;
}

void server_wake(struct signet_server *s)
{
    if (s->woken || s->wake_fd < 0) return;
    s->woken = true;
    uint64_t one = 1;
    if (write(s->wake_fd, &one, sizeof(one)) < 0) s->woken = false; /* only when the counter is full: then it is awake anyway */
}

int signet_stop(struct signet_server *s, unsigned grace_ms)
{
    if (loop_is_here(s)) return err_set(&s->err, ERR_CONFLICT, "signet_stop: not from a callback, it waits for the library's thread");
    if (!s->started || s->stopped) return err_set(&s->err, ERR_CONFLICT, "signet_stop: the server is not running");
    pthread_mutex_lock(&s->mutex);
    s->stop_asked = true;
    s->stop_grace_ms = grace_ms;
    server_wake(s);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    s->stopped = true;
    return 0;
}

int signet_run(struct signet_server *s, unsigned grace_ms)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    int rc = signet_start(s);
    if (rc == 0) {
        int sig = 0;
        (void)sigwait(&set, &sig);
        rc = signet_stop(s, grace_ms);
        const struct timespec at_once = {0};
        while (sigtimedwait(&set, NULL, &at_once) > 0) { /* asked twice: it has stopped, and the program may end in its own way */
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}
