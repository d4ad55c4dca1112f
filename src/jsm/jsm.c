/* The session manager's workers, and what the daemon and the admin API ask of them: views, kicks, the drain. */
#include "jsm/jsm.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stages.h"
#include "jsm/brake.h"
#include "jsm/deliver.h"
#include "jsm/features/features.h"
#include "jsm/receive.h"
#include "jsm/resume.h"
#include "jsm/send.h"
#include "jsm/service.h"
#include "jsm/stats.h"
#include "jsm/ticket.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

void jsm_worker_start(const struct config *config)
{
    static _Thread_local struct jsm_worker own; /* as long as the thread: the store may still answer when the worker stops */
    jsm = &own;
    jsm->config = config;
    jsm->started_ms = clock_ms();
    list_init(&jsm->incoming);
    list_init(&jsm->outgoing);
    list_init(&jsm->settling);
    list_init(&jsm->slow);
    list_init(&jsm->kept_over);
    list_init(&jsm->braked);
    brake_worker_start();
    stats_worker_start();
}

void jsm_worker_stop(void)
{
    if (jsm == NULL) return;
    if (jsm->sessions.count > 0) log_warn("jsm", "%zu sessions are left at the end", jsm->sessions.count);
    adhoc_worker_stop();
    service_worker_stop();
    stats_worker_stop();
    tickets_worker_stop();
    resume_worker_stop();
    stages_thread_stop();
    imap_free(&jsm->sessions);
    map_free(&jsm->users);
}

struct view_call {
    void (*fn)(void *arg, const struct session_view *session);
    void *arg;
    pthread_mutex_t lock;
};

static void view_worker(uint32_t worker, void *arg)
{
    (void)worker;
    struct view_call *call = arg;
    size_t it = 0;
    uint64_t key;
    void *value;
    pthread_mutex_lock(&call->lock); /* workers run at the same time */
    while (imap_next(&jsm->sessions, &it, &key, &value)) {
        const struct session *s = value;
        if (s->state != SESSION_OPEN || !session_takes(s)) continue;
        struct session_view view = {
            .jid = s->full.full,
            .peer = s->c2s != NULL ? c2s_peer(s->c2s) : NULL,
            .mechanism = s->c2s != NULL ? c2s_mechanism(s->c2s) : NULL,
            .tls = s->c2s != NULL ? c2s_tls_version(s->c2s) : NULL,
            .detached = s->detached,
            .available = session_available(s),
            .priority = s->priority,
            .since_wall_ms = s->since_wall_ms,
            .under_way = s->window.open,
        };
        call->fn(call->arg, &view);
    }
    pthread_mutex_unlock(&call->lock);
}

void jsm_sessions(void (*fn)(void *arg, const struct session_view *session), void *arg)
{
    struct view_call call = {.fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER};
    worker_each(view_worker, NULL, &call);
}

struct stage_call {
    uint64_t stanza;
    void (*fn)(void *arg, const struct stage_view *view);
    void *arg;
    pthread_mutex_t lock;
};

static void stages_worker(uint32_t worker, void *arg)
{
    struct stage_call *call = arg;
    struct stage_mark marks[64];
    size_t n = stages_find(call->stanza, marks, sizeof(marks) / sizeof(marks[0]));
    pthread_mutex_lock(&call->lock);
    for (size_t i = 0; i < n; i++) {
        struct stage_view view = {
            .worker = worker, .stage = stage_name(marks[i].stage), .what = stage_what(marks[i].stage), .wall_ms = marks[i].wall_ms, .us = marks[i].us};
        call->fn(call->arg, &view);
    }
    pthread_mutex_unlock(&call->lock);
}

void jsm_trace(uint64_t stanza, void (*fn)(void *arg, const struct stage_view *view), void *arg)
{
    struct stage_call call = {.stanza = stanza, .fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER};
    worker_each(stages_worker, NULL, &call);
}

struct kick_call {
    const struct jid *jid;
    const char *condition, *text;
    atomic_uint kicked;
};

static void kick_worker(uint32_t worker, void *arg)
{
    struct kick_call *call = arg;
    if (worker != router_owner(call->jid)) return;
    struct user *u = user_find(call->jid->bare);
    if (u == NULL) return;
    u->refs++;
    size_t n;
    uint64_t *ids = user_session_ids(u, &n);
    for (size_t i = 0; i < n; i++) {
        struct session *s = session_get(ids[i]);
        if (s == NULL || (jid_is_full(call->jid) && !str_eq(call->jid->resource, s->full.resource))) continue;
        if (s->state != SESSION_OPEN && s->state != SESSION_BINDING) continue;
        atomic_fetch_add(&call->kicked, 1);
        session_kick(s, call->condition, call->text);
    }
    free(ids);
    user_release(u);
}

unsigned jsm_kick(const struct jid *jid, const char *condition, const char *text)
{
    struct kick_call call = {.jid = jid, .condition = condition, .text = text};
    worker_each(kick_worker, NULL, &call);
    return atomic_load(&call.kicked);
}

static void stop_reading(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    jsm->draining = true;
    size_t it = 0;
    uint64_t key;
    void *value;
    while (imap_next(&jsm->sessions, &it, &key, &value)) {
        struct session *s = value;
        if (s->c2s != NULL) c2s_pause(s->c2s);
    }
}

static void return_the_rest(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    jsm->returning = true;
    outgoing_refuse_all("service-unavailable", "The service is shutting down; this stanza was not delivered.");
    incoming_refuse_all("service-unavailable", "The service is shutting down; this stanza was not delivered.");
}

/* Ending one session may end others (a bind that waited for it), so first their ids are noted, then each is looked up. */
static void end_sessions(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    size_t n = 0, it = 0;
    uint64_t key;
    void *value;
    uint64_t *ids = x_calloc(jsm->sessions.count + 1, sizeof(*ids));
    while (imap_next(&jsm->sessions, &it, &key, &value)) ids[n++] = key;
    for (size_t i = 0; i < n; i++) {
        struct session *s = session_get(ids[i]);
        if (s == NULL) continue;
        if (s->c2s != NULL) c2s_set_session(s->c2s, NULL);
        session_end(s, false);
        if ((s = session_get(ids[i])) != NULL) session_abandon(s);
    }
    free(ids);
    c2s_close_all("system-shutdown");
}

static void count_anew(uint32_t worker, void *arg)
{
    (void)worker;
    atomic_uint *n = arg;
    atomic_fetch_add(n, jsm->anew);
}

static void leave_the_rest(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    incoming_leave_all();
}

/* What ended sessions had not acknowledged is on its way into the offline store. */
static unsigned delivered_anew(void)
{
    atomic_uint n = 0;
    worker_each(count_anew, NULL, &n);
    return atomic_load(&n);
}

void jsm_drain(uint64_t wait_ms, void (*before_end)(void))
{
    worker_each(stop_reading, NULL, NULL);
    struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    for (uint64_t waited = 0; tickets_under_way() > 0 && waited < wait_ms; waited += 5) nanosleep(&pause, NULL);
    if (tickets_under_way() > 0) {
        log_warn("jsm", "%llu stanzas did not finish within shutdown_wait and go back to their senders as errors", (unsigned long long)tickets_under_way());
        worker_each(return_the_rest, NULL, NULL);
        nanosleep(&pause, NULL);
    }
    before_end();
    worker_each(end_sessions, NULL, NULL);
    for (uint64_t waited = 0; delivered_anew() > 0 && waited < wait_ms; waited += 5) nanosleep(&pause, NULL);
    worker_each(leave_the_rest, NULL, NULL); /* nobody has answered what was asked about it */
}
