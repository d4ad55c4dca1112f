/* The library's thread: epoll over listeners, links and one eventfd for everything other threads have to say. After the sockets of a turn come the
 * mail (answers given elsewhere), one write per link, and the timers; there are few links, so these are plain walks. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core.h"
#include "base/clock.h"

#define TURN_EVENTS 64

/* Ids are given in order: 0 the eventfd, then the listeners, then the dialers, then links. */
static struct listener *listener_by_id(struct signet_server *s, uint64_t id)
{
    LIST_EACH(n, &s->listeners)
    {
        if (--id == 0) return CONTAINER_OF(n, struct listener, node);
    }
    return NULL;
}

static struct link *link_by_id(struct signet_server *s, uint64_t id)
{
    LIST_EACH(n, &s->links)
    {
        struct link *l = CONTAINER_OF(n, struct link, node);
        if (l->id == id) return l;
    }
    return NULL;
}

static void take_mail(struct signet_server *s)
{
    pthread_mutex_lock(&s->mutex);
    LIST_EACH(n, &s->links)
    {
        struct link *l = CONTAINER_OF(n, struct link, node);
        if (l->mail.len == 0) continue;
        if (l->out.len == 0) { /* the usual case: no copy */
            struct buf empty = l->out;
            l->out = l->mail;
            l->mail = empty;
        } else {
            buf_add(&l->out, l->mail.data, l->mail.len);
            buf_reset(&l->mail);
        }
    }
    pthread_mutex_unlock(&s->mutex);
}

static void take_resolved(struct signet_server *s)
{
    struct list *n;
    do {
        pthread_mutex_lock(&s->mutex);
        n = list_pop_front(&s->resolved);
        pthread_mutex_unlock(&s->mutex);
        if (n == NULL) break;
        struct resolved *r = CONTAINER_OF(n, struct resolved, node);
        LIST_EACH(dn, &s->dialers)
        {
            struct dialer *d = CONTAINER_OF(dn, struct dialer, node);
            if (d->id == r->dialer && !s->stopping) transport_dial(s, d, r);
        }
        free(r);
    } while (true);
}

static void begin_stop(struct signet_server *s, unsigned grace_ms)
{
    s->stopping = true;
    s->stop_deadline_ms = clock_ms() + grace_ms;
    LIST_EACH(n, &s->listeners)
    {
        struct listener *l = CONTAINER_OF(n, struct listener, node);
        if (l->fd >= 0) close(l->fd); /* closing takes it out of epoll */
        l->fd = -1;
    }
    server_log(s, SIGNET_LOG_INFO, grace_ms > 0 ? "stopping: answering what is under way" : "stopping at once");
}

static uint64_t outstanding(struct signet_server *s, const struct link *l)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t n = l->outstanding + l->mail.len;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

/* While stopping: ends each link whose events are all answered. True when nothing is left to wait for. */
static bool drain(struct signet_server *s, uint64_t now, uint64_t *next)
{
    bool late = now >= s->stop_deadline_ms;
    LIST_EACH(n, &s->links)
    {
        struct link *l = CONTAINER_OF(n, struct link, node);
        if (l->doomed || l->state == LINK_CLOSING) continue;
        if (l->state != LINK_ACTIVE) {
            link_doom(l, "stopping");
        } else if (late || outstanding(s, l) == 0) {
            link_close(l, late ? "stopping, with events unanswered" : "stopping");
        }
    }
    if (!late && s->stop_deadline_ms < *next) *next = s->stop_deadline_ms;
    return list_empty(&s->links);
}

static void timers(struct signet_server *s, uint64_t now, uint64_t *next)
{
    LIST_EACH(n, &s->links) link_timers(CONTAINER_OF(n, struct link, node), now, next);
    if (s->stopping) return;
    LIST_EACH(n, &s->dialers)
    {
        struct dialer *d = CONTAINER_OF(n, struct dialer, node);
        if (d->link != NULL || d->resolving) continue;
        if (now >= d->due_ms)
            transport_resolve(s, d);
        else if (d->due_ms < *next)
            *next = d->due_ms;
    }
}

/* True when one was: its dialler has a new time to wake us for. */
static bool reap(struct signet_server *s)
{
    bool any = false;
    LIST_EACH_SAFE(n, tmp, &s->links)
    {
        struct link *l = CONTAINER_OF(n, struct link, node);
        if (!l->doomed) continue;
        link_free(l, !s->stopping);
        any = true;
    }
    return any;
}

uint64_t loop_pass(struct signet_server *s)
{
    uint64_t next = UINT64_MAX, now = clock_ms();
    take_resolved(s);
    take_mail(s);
    if (s->stopping) (void)drain(s, now, &next);
    LIST_EACH(n, &s->links)
    {
        struct link *l = CONTAINER_OF(n, struct link, node);
        if (l->doomed) continue;
        link_flush(l);
        if (l->reading_paused && !l->doomed) link_resume(l);
    }
    timers(s, now, &next);
    LIST_EACH(n, &s->links)
    { /* what timers and resumed reading wrote */
        struct link *l = CONTAINER_OF(n, struct link, node);
        if (!l->doomed) link_flush(l);
    }
    if (reap(s)) return 0;
    now = clock_ms();
    return next == UINT64_MAX ? UINT64_MAX : next > now ? next - now : 0;
}

static void handle_ready(struct signet_server *s, const struct epoll_event *ev)
{
    uint64_t id = ev->data.u64;
    if (id == 0) {
        uint64_t count;
        (void)!read(s->wake_fd, &count, sizeof(count));
        return; /* woken is reset below, before the mail is taken */
    }
    struct listener *listener = listener_by_id(s, id);
    if (listener != NULL) {
        if (listener->fd >= 0) transport_accept(s, listener);
        return;
    }
    struct link *l = link_by_id(s, id);
    if (l != NULL && !l->doomed) link_ready(l, ev->events);
}

/* True: stop at once. */
static bool take_wake(struct signet_server *s)
{
    pthread_mutex_lock(&s->mutex);
    s->woken = false;
    bool asked = s->stop_asked;
    unsigned grace = s->stop_grace_ms;
    pthread_mutex_unlock(&s->mutex);
    if (asked && !s->stopping) begin_stop(s, grace);
    return asked && grace == 0;
}

static _Thread_local const struct signet_server *here;

bool loop_is_here(const struct signet_server *s)
{
    return here == s;
}

void *loop_main(void *arg)
{
    struct signet_server *s = arg;
    here = s;
    struct epoll_event ready[TURN_EVENTS];
    bool at_once = false;
    while (!at_once) {
        uint64_t wait = loop_pass(s);
        if (s->stopping && list_empty(&s->links)) break;
        int n = epoll_wait(s->epoll_fd, ready, TURN_EVENTS, wait > 60000 ? 60000 : (int)wait);
        for (int i = 0; i < n; i++) handle_ready(s, &ready[i]);
        at_once = take_wake(s);
    }
    LIST_EACH(n, &s->links) link_doom(CONTAINER_OF(n, struct link, node), "stopped at once");
    (void)reap(s);
    xml_parsers_trim();
    OPENSSL_thread_stop();
    return NULL;
}
