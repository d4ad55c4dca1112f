/* Putting a configuration in force on all workers, in three rounds. A round begins when all workers have done the one before:
 * 1. Links that are new begin to connect, those that were changed connect anew. Nobody asks the new ones yet, and a moment is waited for them, so that the
 *    first event the plan sends there finds them.
 * 2. The plan: what is raised from then on goes by it. What waits keeps the plan it began with.
 * 3. Links that are no more in the configuration are retired (links.c). No worker sends them anything new.
 * Should a worker be stuck, the others do not wait for it for ever, nor does who asked: it gets the rounds in their order when it turns again. */
#include "base/clock.h"
#include "broker/broker.h"
#include "broker/private.h"
#include "io/worker.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { ENFORCE_MS = 5000, COMING_MS = 500, COMING_LOOK_MS = 2 };

static struct {
    pthread_mutex_t lock;
    struct setup *current; /* that of workers which start */
} change = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct setup *change_current(void)
{
    pthread_mutex_lock(&change.lock);
    struct setup *s = change.current != NULL ? setup_ref(change.current) : NULL;
    pthread_mutex_unlock(&change.lock);
    return s;
}

static void change_set_current(struct setup *s)
{
    pthread_mutex_lock(&change.lock);
    struct setup *old = change.current;
    change.current = s != NULL ? setup_ref(s) : NULL;
    pthread_mutex_unlock(&change.lock);
    setup_unref(old);
}

void change_end(void) { change_set_current(NULL); }

/* ---- rounds ---- */

static void round_links(uint32_t worker, void *arg) { (void)worker, broker_links_begin(arg); }
static void round_plan(uint32_t worker, void *arg) { (void)worker, broker_plan_begin(arg); }
static void round_retire(uint32_t worker, void *arg) { (void)worker, broker_links_retire(arg); }

static void round_all(uint32_t worker, void *arg)
{
    round_links(worker, arg);
    round_plan(worker, arg);
    round_retire(worker, arg);
}

static void round_done(void *arg) { setup_unref(arg); }

/* How many workers have not done it by then. */
static unsigned round_run(void (*fn)(uint32_t worker, void *arg), struct setup *s, uint64_t until_ms)
{
    uint64_t now = clock_ms();
    return worker_each_within(fn, round_done, setup_ref(s), now < until_ms ? until_ms - now : 0);
}

struct coming {
    _Atomic unsigned refs, links;
};

static void coming_count(uint32_t worker, void *arg)
{
    (void)worker;
    atomic_fetch_add(&((struct coming *)arg)->links, broker_links_coming());
}

static void coming_unref(void *arg)
{
    if (atomic_fetch_sub(&((struct coming *)arg)->refs, 1) == 1) free(arg);
}

static bool links_are_coming(void)
{
    struct coming *c = x_calloc(1, sizeof *c);
    atomic_init(&c->refs, 2);
    bool any = worker_each_within(coming_count, coming_unref, c, COMING_MS) == 0 && atomic_load(&c->links) > 0;
    coming_unref(c);
    return any;
}

static void coming_wait(void)
{
    struct timespec nap = {.tv_nsec = COMING_LOOK_MS * 1000000L};
    for (uint64_t until = clock_ms() + COMING_MS; clock_ms() < until && links_are_coming();) nanosleep(&nap, NULL);
}

/* ---- the two steps ---- */

struct setup *broker_config_prepare(const struct compliance_config *c, struct err *err) { return setup_new(c, broker_node(), err); }

int broker_config_enforce(struct setup *take, struct err *err)
{
    unsigned stuck = 0, n = worker_count();
    long long version = plan_version(take->plan);
    change_set_current(take);
    if (n > 0 && worker_id() != WORKER_NONE) {
        worker_each(round_all, round_done, take);
        return 0;
    }
    if (n > 0) {
        uint64_t until = clock_ms() + ENFORCE_MS;
        stuck = round_run(round_links, take, until);
        if (stuck == 0) coming_wait();
        unsigned without_plan = round_run(round_plan, take, until), with_old_links = round_run(round_retire, take, until);
        stuck = without_plan > stuck ? without_plan : stuck;
        stuck = with_old_links > stuck ? with_old_links : stuck;
    }
    setup_unref(take);
    if (stuck == 0) return 0;
    return err_set(err, ERR_TIMEOUT,
                   "version %lld of the compliance configuration is stored, but %u of %u workers are stuck and have not taken it within %d s; it is in force there as soon "
                   "as they turn again (see the log), at the latest after a restart",
                   version, stuck, n, ENFORCE_MS / 1000);
}

int broker_set_config(const struct compliance_config *c, struct err *err)
{
    struct setup *s = broker_config_prepare(c, err);
    return s != NULL ? broker_config_enforce(s, err) : -1;
}
