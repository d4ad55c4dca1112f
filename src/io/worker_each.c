/* Calling a function on every worker: one message to each, and whoever runs the last one tells the caller. */
#include "io/worker.h"
#include "base/buf.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct each {
    void (*fn)(uint32_t worker, void *arg);
    void (*done)(void *arg);
    void *arg;
    uint32_t from; /* WORKER_NONE: a thread waits on `finished` */
    _Atomic unsigned left;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool finished, abandoned; /* abandoned: the thread waits no longer, the last worker does the rest */
};
struct each_msg {
    struct msg msg;
    struct each *each;
};

static void each_end(struct each *e)
{
    if (e->done != NULL) e->done(e->arg);
    if (e->from == WORKER_NONE) {
        pthread_mutex_destroy(&e->lock);
        pthread_cond_destroy(&e->changed);
    }
    free(e);
}

static void each_done_run(struct msg *msg)
{
    each_end(((struct each_msg *)msg)->each);
    free(msg);
}

static void each_run(struct msg *msg)
{
    struct each_msg *m = (struct each_msg *)msg;
    struct each *e = m->each;
    e->fn(worker_id(), e->arg);
    if (atomic_fetch_sub_explicit(&e->left, 1, memory_order_acq_rel) != 1) {
        free(m);
    } else if (e->from != WORKER_NONE) {
        m->msg.run = each_done_run;
        worker_post(e->from, &m->msg);
    } else {
        free(m);
        pthread_mutex_lock(&e->lock);
        bool mine = e->abandoned;
        e->finished = true;
        if (!mine) pthread_cond_signal(&e->changed);
        pthread_mutex_unlock(&e->lock);
        if (mine) each_end(e);
    }
}

static struct each *each_begin(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg)
{
    unsigned n = worker_count();
    assert(n > 0);
    struct each *e = x_calloc(1, sizeof *e);
    *e = (struct each){.fn = fn, .done = done, .arg = arg, .from = worker_id()};
    atomic_init(&e->left, n);
    if (e->from == WORKER_NONE) {
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_mutex_init(&e->lock, NULL);
        pthread_cond_init(&e->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
    }
    for (unsigned i = 0; i < n; i++) {
        struct each_msg *m = x_calloc(1, sizeof *m);
        m->msg.run = each_run;
        m->each = e;
        worker_post(i, &m->msg);
    }
    return e;
}

void worker_each(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg)
{
    bool wait = worker_id() == WORKER_NONE;
    struct each *e = each_begin(fn, done, arg);
    if (!wait) return; /* e may be gone already */
    pthread_mutex_lock(&e->lock);
    while (!e->finished) pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
    each_end(e);
}

unsigned worker_each_within(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg, uint64_t wait_ms)
{
    assert(worker_id() == WORKER_NONE);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    struct each *e = each_begin(fn, done, arg);
    pthread_mutex_lock(&e->lock);
    while (!e->finished && pthread_cond_timedwait(&e->changed, &e->lock, &until) == 0) {}
    bool finished = e->finished;
    unsigned left = atomic_load_explicit(&e->left, memory_order_relaxed);
    if (!finished && left == 0) left = 1; /* the last is about to say so */
    e->abandoned = !finished;
    pthread_mutex_unlock(&e->lock);
    if (!finished) return left; /* e may be gone already */
    each_end(e);
    return 0;
}
