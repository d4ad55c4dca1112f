/* Calling a function on every worker: one message to each, and whoever runs the last one tells the caller. */
#include "io/worker.h"
#include "base/buf.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct each {
    void (*fn)(uint32_t worker, void *arg);
    void (*done)(void *arg);
    void *arg;
    uint32_t from; /* WORKER_NONE: a thread waits on `finished` */
    _Atomic unsigned left;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool finished;
};
struct each_msg {
    struct msg msg;
    struct each *each;
};

static void each_done_run(struct msg *msg)
{
    struct each *e = ((struct each_msg *)msg)->each;
    if (e->done != NULL) e->done(e->arg);
    free(e);
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
        e->finished = true;
        pthread_cond_signal(&e->changed);
        pthread_mutex_unlock(&e->lock);
    }
}

void worker_each(void (*fn)(uint32_t worker, void *arg), void (*done)(void *arg), void *arg)
{
    unsigned n = worker_count();
    assert(n > 0);
    struct each *e = x_calloc(1, sizeof *e);
    *e = (struct each){.fn = fn, .done = done, .arg = arg, .from = worker_id()};
    atomic_init(&e->left, n);
    bool wait = e->from == WORKER_NONE;
    if (wait) {
        pthread_mutex_init(&e->lock, NULL);
        pthread_cond_init(&e->changed, NULL);
    }
    for (unsigned i = 0; i < n; i++) {
        struct each_msg *m = x_calloc(1, sizeof *m);
        m->msg.run = each_run;
        m->each = e;
        worker_post(i, &m->msg);
    }
    if (!wait) return; /* e may be gone already */
    pthread_mutex_lock(&e->lock);
    while (!e->finished) pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->changed);
    free(e);
    if (done != NULL) done(arg);
}
