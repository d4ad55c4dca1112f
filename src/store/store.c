/* The queue of the store, its thread, and group commit.
 *
 * Any thread appends a request to one queue; the store's thread takes all that wait (a group), in order. Reads ahead of the group's first write are
 * answered at once. The first write begins a transaction, and all that follows in the group runs inside it, so that one fsync makes all of it
 * durable: the slower the disk, the more requests share a commit. Each write stands under a mark (savepoint) and one that fails is undone alone.
 * Nothing that ran inside the transaction is answered before the commit: a read there may have seen what would not last. When the transaction
 * is lost, its writes fail with the reason and its reads are run again on what is really stored, before anything later runs.
 *
 * One queue and one thread give more than the order per user that store.h promises; callers must not rely on more.
 *
 * Nothing is ever dropped. A worker can't wait, so its requests are always taken: what bounds them are the windows of the sessions whose
 * stanzas they serve. Other threads wait for room when the queue is at store.queue_requests; beyond that an alarm says that the disk is too slow. */
#include "store/store.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metric.h"
#include "io/worker.h"
#include "store/fault.h"
#include "store/request.h"
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STORE_SUBJECT "store"

static struct {
    const struct store_backend *backend; /* one is linked in; a choice between several belongs into store_start */
    pthread_t thread;
    uint32_t boot;
    size_t queue_max, group_max;
    bool failing, slow; /* alarms raised; the store's thread only */

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake;  /* the thread: there is work */
    pthread_cond_t room;  /* others: there is room */
    struct store_request *first, **last;
    size_t depth;
    bool idle, running, stopping;

    atomic_uint_fast64_t requests, commits, failures, busy_us;
    atomic_size_t depth_seen;
} store = {.backend = &store_sqlite, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .room = PTHREAD_COND_INITIALIZER};
static _Thread_local bool on_store_thread;

/* ---- completion ---- */

/* All answers of a group that go to one worker, in one message. A worker that has ended drops its messages, with the struct they begin and no more;
 * the answers themselves are therefore kept in a list until they are given. What remains there at the end of the process was for nobody. */
struct delivery {
    struct list node;
    struct store_request *first, **last;
};
struct delivery_msg {
    struct msg msg;
    struct delivery *delivery;
};
static struct list deliveries_open = {&deliveries_open, &deliveries_open};
static pthread_mutex_t deliveries_lock = PTHREAD_MUTEX_INITIALIZER;
struct deliveries {
    struct delivery **by_worker;
    uint32_t n;
};
struct request_list {
    struct store_request *first, **last;
};

static void list_reset(struct request_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void list_append(struct request_list *l, struct store_request *r)
{
    r->next = NULL;
    *l->last = r;
    l->last = &r->next;
}

static struct store_request *list_take(struct request_list *l)
{
    struct store_request *r = l->first;
    if (r != NULL) {
        l->first = r->next;
        if (l->first == NULL) l->last = &l->first;
    }
    return r;
}

void store_request_free(struct store_request *r)
{
    if (r->op->release != NULL) r->op->release(r);
    arena_free(r->arena);
}

static void request_finish(struct store_request *r)
{
    r->op->done(r);
    store_request_free(r);
}

static void delivery_run(struct msg *msg)
{
    struct delivery_msg *m = CONTAINER_OF(msg, struct delivery_msg, msg);
    struct delivery *d = m->delivery;
    free(m);
    pthread_mutex_lock(&deliveries_lock);
    list_remove(&d->node);
    pthread_mutex_unlock(&deliveries_lock);
    for (struct store_request *r = d->first, *next; r != NULL; r = next) {
        next = r->next;
        request_finish(r);
    }
    free(d);
}

static void delivery_post(uint32_t worker, struct delivery *d)
{
    pthread_mutex_lock(&deliveries_lock);
    list_push_back(&deliveries_open, &d->node);
    pthread_mutex_unlock(&deliveries_lock);
    struct delivery_msg *m = x_calloc(1, sizeof *m);
    m->msg.run = delivery_run;
    m->delivery = d;
    worker_post(worker, &m->msg);
}

static void deliveries_add(struct deliveries *out, struct store_request *r)
{
    if (r->worker >= out->n) {
        uint32_t n = r->worker + 1;
        out->by_worker = x_realloc(out->by_worker, n * sizeof *out->by_worker);
        memset(out->by_worker + out->n, 0, (n - out->n) * sizeof *out->by_worker);
        out->n = n;
    }
    struct delivery *d = out->by_worker[r->worker];
    if (d == NULL) {
        d = out->by_worker[r->worker] = x_calloc(1, sizeof *d);
        d->last = &d->first;
    }
    r->next = NULL;
    *d->last = r;
    d->last = &r->next;
}

/* Answers all in the list, in order. Those asked by other threads than workers are answered here and now. */
static void store_answer(struct request_list *ready)
{
    struct deliveries out = {0};
    struct store_request *r;
    size_t n = 0, failures = 0;
    struct request_list own;
    list_reset(&own);
    while ((r = list_take(ready)) != NULL) {
        n++;
        if (r->failed && (r->err.code == ERR_IO || r->err.code == ERR_INTERNAL) && failures++ == 0) {
            log_warn("store", "%s failed: %s", r->op->name, r->err.text); /* the others of the group mostly say the same */
        }
        if (r->worker == WORKER_NONE) {
            list_append(&own, r);
        } else {
            deliveries_add(&out, r);
        }
    }
    for (uint32_t i = 0; i < out.n; i++) {
        if (out.by_worker[i] != NULL) delivery_post(i, out.by_worker[i]);
    }
    free(out.by_worker);
    while ((r = list_take(&own)) != NULL) request_finish(r);
    if (n == 0) return;
    if (failures > 1) log_warn("store", "%zu more requests failed with it", failures - 1);
    metric_add(METRIC_STORE_FAILURES, (int64_t)failures);
    atomic_fetch_add_explicit(&store.failures, failures, memory_order_relaxed);
    metric_add(METRIC_STORE_QUEUE, -(int64_t)n);
    pthread_mutex_lock(&store.lock);
    store.depth -= n;
    atomic_store_explicit(&store.depth_seen, store.depth, memory_order_relaxed);
    pthread_cond_broadcast(&store.room);
    pthread_mutex_unlock(&store.lock);
}

/* ---- a group ---- */

struct group {
    struct request_list inside; /* ran in the open transaction, not answered yet */
    struct request_list ready;  /* to be answered */
    bool open;
    bool refused; /* no transaction could be begun: the later writes of the group fail alike, instead of each waiting for the lock anew */
    struct err refusal;
};

static void request_fail(struct store_request *r, const struct err *why)
{
    r->failed = true;
    r->err = *why;
}

static void request_run(struct store_request *r)
{
    r->failed = r->op->run(r, store.backend, &r->err) != 0;
}

static void store_set_failing(const struct err *why)
{
    store.failing = true;
    alarm_raise(ALARM_STORE_FAILING, STORE_SUBJECT, "%s", why->text);
}

/* The transaction is lost. */
static void group_abandon(struct group *g, const struct err *why)
{
    store.backend->rollback();
    g->open = false;
    store_set_failing(why);
    struct store_request *r;
    while ((r = list_take(&g->inside)) != NULL) {
        if (r->op->writes) {
            request_fail(r, why);
        } else {
            request_run(r);
        }
        list_append(&g->ready, r);
    }
}

static void group_commit(struct group *g)
{
    struct err err;
    uint64_t start = clock_us();
    store_fault_wait();
    if (store.backend->commit(&err) != 0) {
        err_prefix(&err, "nothing was stored");
        group_abandon(g, &err);
        return;
    }
    g->open = false;
    metric_observe_us(METRIC_STORE_COMMIT_TIME, clock_us() - start);
    metric_inc(METRIC_STORE_COMMITS);
    atomic_fetch_add_explicit(&store.commits, 1, memory_order_relaxed);
    if (store.failing) {
        store.failing = false;
        alarm_clear(ALARM_STORE_FAILING, STORE_SUBJECT);
    }
    struct store_request *r;
    while ((r = list_take(&g->inside)) != NULL) list_append(&g->ready, r);
}

/* Opens the group's transaction if it isn't. What is ready by then need not wait for the commit. */
static int group_begin(struct group *g)
{
    if (g->open) return 0;
    if (g->refused) return -1;
    store_answer(&g->ready);
    if (store.backend->begin(&g->refusal) != 0) {
        g->refused = true;
        store.backend->rollback();
        store_set_failing(&g->refusal);
        return -1;
    }
    g->open = true;
    return 0;
}

static void group_write(struct group *g, struct store_request *r)
{
    if (group_begin(g) != 0) {
        request_fail(r, &g->refusal);
        list_append(&g->ready, r);
        return;
    }
    bool marked = store.backend->mark(&r->err) == 0;
    r->failed = !(marked && r->op->run(r, store.backend, &r->err) == 0 && store.backend->keep(&r->err) == 0);
    list_append(&g->inside, r);
    if (r->failed) {
        /* A failed mark left nothing behind unless the transaction is gone: undo() finds out. */
        struct err undo;
        if (store.backend->undo(&undo) != 0) {
            struct err why = r->err;
            err_prefix(&why, "nothing was stored");
            group_abandon(g, &why);
        }
    }
}

static void store_run_group(struct request_list *todo)
{
    struct group g = {0};
    list_reset(&g.inside);
    list_reset(&g.ready);
    struct store_request *r;
    while ((r = list_take(todo)) != NULL) {
        if (r->op->writes) {
            group_write(&g, r);
        } else {
            request_run(r);
            list_append(g.open ? &g.inside : &g.ready, r);
        }
    }
    if (g.open) group_commit(&g);
    store_answer(&g.ready);
}

/* ---- the thread ---- */

static void store_watch_depth(size_t depth)
{
    if (!store.slow && depth > store.queue_max) {
        store.slow = true;
        alarm_raise(ALARM_STORE_SLOW, STORE_SUBJECT, "%zu requests wait; store.queue_requests is %zu", depth, store.queue_max);
    } else if (store.slow && depth < store.queue_max / 2) {
        store.slow = false;
        alarm_clear(ALARM_STORE_SLOW, STORE_SUBJECT);
    }
}

/* Takes the next group; false: the store is stopping and nothing is left. */
static bool store_next_group(struct request_list *out)
{
    list_reset(out);
    pthread_mutex_lock(&store.lock);
    while (store.first == NULL && !store.stopping) {
        store.idle = true;
        pthread_cond_wait(&store.wake, &store.lock);
    }
    store.idle = false;
    if (store.first == NULL) store.running = false;
    bool more = store.running;
    size_t depth = store.depth;
    for (size_t n = 0; store.first != NULL && n < store.group_max; n++) {
        struct store_request *r = store.first;
        store.first = r->next;
        list_append(out, r);
    }
    if (store.first == NULL) store.last = &store.first;
    pthread_mutex_unlock(&store.lock);
    store_watch_depth(depth);
    return more;
}

static void *store_thread(void *arg)
{
    (void)arg;
    on_store_thread = true;
    log_set_thread("store");
    struct request_list group;
    while (store_next_group(&group)) {
        uint64_t start = clock_us();
        store_run_group(&group);
        store_watch_depth(atomic_load_explicit(&store.depth_seen, memory_order_relaxed)); /* else the alarm would stay until the next request */
        atomic_fetch_add_explicit(&store.busy_us, clock_us() - start, memory_order_relaxed);
    }
    return NULL;
}

/* A request after the store has stopped: the service is going down, the asker learns it the usual way. A thread that isn't a worker is told
 * right here, as there is no store thread any more that could. */
static void request_refuse(struct store_request *r)
{
    r->failed = true;
    err_set(&r->err, ERR_CONFLICT, "the store has stopped");
    if (r->worker == WORKER_NONE) {
        request_finish(r);
        return;
    }
    struct deliveries out = {0};
    uint32_t worker = r->worker;
    deliveries_add(&out, r);
    delivery_post(worker, out.by_worker[worker]);
    free(out.by_worker);
}

void store_request_submit(struct store_request *r)
{
    r->worker = worker_id();
    r->next = NULL;
    pthread_mutex_lock(&store.lock);
    while (r->worker == WORKER_NONE && !on_store_thread && store.running && store.depth >= store.queue_max) {
        pthread_cond_wait(&store.room, &store.lock);
    }
    if (!store.running) {
        pthread_mutex_unlock(&store.lock);
        request_refuse(r);
        return;
    }
    bool writes = r->op->writes; /* r isn't ours any more once the lock is open */
    *store.last = r;
    store.last = &r->next;
    store.depth++;
    atomic_store_explicit(&store.depth_seen, store.depth, memory_order_relaxed);
    if (store.idle) {
        store.idle = false;
        pthread_cond_signal(&store.wake);
    }
    pthread_mutex_unlock(&store.lock);
    metric_add(METRIC_STORE_QUEUE, 1);
    metric_inc(writes ? METRIC_STORE_WRITES : METRIC_STORE_READS);
    atomic_fetch_add_explicit(&store.requests, 1, memory_order_relaxed);
}

/* ---- start and stop ---- */

int store_start(const struct config *config, struct err *err)
{
    assert(!store.running);
    if (store.backend->open(config, &store.boot, err) != 0) {
        store.backend->close();
        return -1;
    }
    store.queue_max = (size_t)config->store_queue_requests;
    store.group_max = (size_t)config->store_group_requests;
    store.first = NULL;
    store.last = &store.first;
    store.depth = 0;
    store.idle = store.stopping = false;
    store.running = true;
    atomic_store(&store.depth_seen, 0);
    sigset_t all, old; /* signals are for the main thread, but for those that tell of a fault in this one */
    sigfillset(&all);
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&store.thread, NULL, store_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        store.running = false;
        store.backend->close();
        return err_set(err, ERR_INTERNAL, "cannot start the store's thread: %s", strerror(rc));
    }
    log_info("store", "%s store open in %s, start number %u", store.backend->name, config->server_data_dir, (unsigned)store.boot);
    return 0;
}

static void nothing_more(uint32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
}

static bool all_answered(void)
{
    pthread_mutex_lock(&store.lock);
    bool waiting = store.depth > 0;
    pthread_mutex_unlock(&store.lock);
    pthread_mutex_lock(&deliveries_lock);
    bool under_way = !list_empty(&deliveries_open);
    pthread_mutex_unlock(&deliveries_lock);
    return !waiting && !under_way;
}

/* An answer may lead to the next request, by way of another worker too, so it is over when some rounds of all workers have brought no new one. */
#define QUIET_ROUNDS 4
bool store_settle(uint64_t wait_ms)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (uint64_t until = clock_ms() + wait_ms;;) {
        uint64_t before = atomic_load(&store.requests);
        if (all_answered()) {
            for (unsigned round = 0; round < QUIET_ROUNDS; round++) worker_each(nothing_more, NULL, NULL);
            if (atomic_load(&store.requests) == before && all_answered()) return true;
        }
        if (clock_ms() >= until) return false;
        nanosleep(&pause, NULL);
    }
}

void store_stop(void)
{
    pthread_mutex_lock(&store.lock);
    bool running = store.running && !store.stopping;
    store.stopping = true;
    pthread_cond_signal(&store.wake);
    pthread_mutex_unlock(&store.lock);
    if (!running) return;
    pthread_join(store.thread, NULL);
    pthread_mutex_lock(&store.lock);
    pthread_cond_broadcast(&store.room);
    pthread_mutex_unlock(&store.lock);
    store.backend->close();
}

uint32_t store_boot_number(void)
{
    return store.boot;
}

void store_stats_read(struct store_stats *out)
{
    *out = (struct store_stats){
        .requests = atomic_load_explicit(&store.requests, memory_order_relaxed),
        .commits = atomic_load_explicit(&store.commits, memory_order_relaxed),
        .failures = atomic_load_explicit(&store.failures, memory_order_relaxed),
        .queue_depth = atomic_load_explicit(&store.depth_seen, memory_order_relaxed),
        .busy_us = atomic_load_explicit(&store.busy_us, memory_order_relaxed),
    };
}
