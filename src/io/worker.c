/* Worker threads.
 *
 * The order of a turn is libuv's: timers, idle, prepare, poll (reads, and through the async handle the mailbox), closing callbacks. All work is
 * done in timers, poll and closing; prepare, the last thing before the loop blocks, runs the turn hooks, which write what was gathered.
 * What hooks and self-sent messages cause is run in further rounds there; should it not come to rest, an idle handle keeps the next poll from
 * blocking, so that sockets get their turn too.
 *
 * Loop lag is what a turn took less the time spent blocked in poll (libuv's idle-time metric): how late an event may have been seen. The
 * loop itself reports a turn above a second once it is over; the watchdog thread reports one that does not end.
 *
 * Stopping: after stop_fn a worker is quiet when no handle but its own is open and nothing waits. When all are quiet and no message is under
 * way, the loops are ended. */
#include "io/mailbox.h"
#include "io/private.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WORKERS_MAX = 256, /* the bound of server.workers */
    ROUNDS_MAX = 16,
    TIMER_GRAIN_MS = 10,
    STALL_MS = 1000,
    STOP_WAIT_MS = 30000,
};

struct worker {
    struct mailbox mailbox;
    unsigned id;
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_idle_t idle;
    pthread_t thread;
    struct wheel *wheel;
    uint64_t armed_for; /* the wheel time uv_timer is set for; UINT64_MAX: none */
    uint64_t now_ms, now_of; /* clock_ms() as read when uv_now() was now_of */
    struct msg *own_head, **own_tail; /* messages to itself */
    struct turn_hook *hooks, **hooks_tail;
    uint64_t turn_ns, idle_ns; /* when the last turn ended, and libuv's idle time then */
    char *read_buf, *plain_buf;
    bool stopping, ended;
    _Atomic bool quiet;
    _Atomic uint64_t lag_us_max, turns;
};

static struct worker workers[WORKERS_MAX];
static _Atomic unsigned worker_n;
static _Thread_local struct worker *self;

/* Start, stop and the watchdog; not on any hot path. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned running; /* workers whose start_fn has returned */
    bool watch_end;
    pthread_t watchdog;
    void (*start_fn)(unsigned worker);
    void (*stop_fn)(unsigned worker);
} life = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Before the first start every mailbox is closed, not merely empty. */
__attribute__((constructor)) static void close_mailboxes(void)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) mailbox_init(&workers[i].mailbox, true);
}

const char *io_strerror(int errnum, char *buf, size_t size) { return strerror_r(errnum, buf, size); }
unsigned worker_count(void) { return atomic_load_explicit(&worker_n, memory_order_acquire); }
uint32_t worker_id(void) { return self == NULL ? WORKER_NONE : self->id; }

struct uv_loop_s *worker_loop(void)
{
    assert(self != NULL);
    return &self->loop;
}

struct wheel *worker_wheel(void)
{
    assert(self != NULL);
    return self->wheel;
}

char *worker_read_buf(void) { return self->read_buf; }
char *worker_plain_buf(void) { return self->plain_buf; }

uint64_t worker_now_ms(void)
{
    assert(self != NULL);
    uint64_t loop_now = uv_now(&self->loop);
    if (loop_now != self->now_of) {
        self->now_of = loop_now;
        self->now_ms = clock_ms();
    }
    return self->now_ms;
}

/* ---- messages ---- */

void worker_post(uint32_t to, struct msg *take)
{
    assert(to < WORKERS_MAX);
    struct worker *w = &workers[to];
    if (w == self && !w->ended) {
        take->next = NULL;
        *w->own_tail = take;
        w->own_tail = &take->next;
        atomic_fetch_add_explicit(&w->mailbox.posted, 1, memory_order_relaxed);
        metric_add(METRIC_MAILBOX_DEPTH, 1);
        return;
    }
    metric_add(METRIC_MAILBOX_DEPTH, 1);
    /* Counted before it is there: for the stop, a message may be seen too early but never too late. */
    atomic_fetch_add(&w->mailbox.posted, 1);
    switch (mailbox_push(&w->mailbox, take)) {
    case MAILBOX_WAKE:
        uv_async_send(&w->async);
        mailbox_woke(&w->mailbox);
        break;
    case MAILBOX_PUSHED:
        break;
    case MAILBOX_CLOSED: /* the worker has ended; a message is the start of its malloc'ed struct */
        metric_add(METRIC_MAILBOX_DEPTH, -1);
        free(take);
        break;
    }
}

static void run_messages(struct worker *w, struct msg *list)
{
    uint64_t n = 0;
    if (list == NULL) return;
    atomic_store(&w->quiet, false);
    while (list != NULL) {
        struct msg *m = list;
        list = m->next;
        n++;
        m->run(m);
    }
    metric_add(METRIC_MAILBOX_DEPTH, -(int64_t)n);
    metric_add(METRIC_MAILBOX_MESSAGES, (int64_t)n);
    atomic_fetch_add(&w->mailbox.done, n);
}

static struct msg *own_take(struct worker *w)
{
    struct msg *list = w->own_head;
    w->own_head = NULL;
    w->own_tail = &w->own_head;
    return list;
}

static void on_async(uv_async_t *async)
{
    struct worker *w = async->data;
    run_messages(w, mailbox_take(&w->mailbox));
}

/* ---- the end of a turn ---- */

void worker_at_turn_end(struct turn_hook *hook)
{
    assert(self != NULL);
    if (hook->queued) return;
    hook->queued = true;
    hook->next = NULL;
    *self->hooks_tail = hook;
    self->hooks_tail = &hook->next;
}

static void run_hooks(struct worker *w)
{
    struct turn_hook *hook = w->hooks;
    w->hooks = NULL;
    w->hooks_tail = &w->hooks;
    while (hook != NULL) {
        struct turn_hook *next = hook->next; /* the hook may register again, or its owner be freed */
        hook->queued = false;
        hook->fn(hook);
        hook = next;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    w->armed_for = UINT64_MAX;
    w->now_of = uv_now(&w->loop);
    w->now_ms = clock_ms();
    atomic_store(&w->quiet, false);
    wheel_advance(w->wheel, w->now_ms);
}

static void on_idle(uv_idle_t *idle) { (void)idle; /* that it is active is its whole effect */ }

static void arm_timer(struct worker *w)
{
    uint64_t next = wheel_next_ms(w->wheel);
    if (next == w->armed_for) return;
    w->armed_for = next;
    if (next == UINT64_MAX) {
        uv_timer_stop(&w->timer);
        return;
    }
    uv_update_time(&w->loop); /* libuv counts from its cached time, which this turn has made old */
    uint64_t now = clock_ms();
    uint64_t after = 0;
    if (next > now) after = (next + TIMER_GRAIN_MS - 1) / TIMER_GRAIN_MS * TIMER_GRAIN_MS - now;
    uv_timer_start(&w->timer, on_timer, after, 0);
}

/* What the turn took without the time blocked in poll. */
static void account_turn(struct worker *w)
{
    uint64_t now = uv_hrtime();
    uint64_t idle = uv_metrics_idle_time(&w->loop);
    uint64_t whole = now - w->turn_ns;
    uint64_t blocked = idle - w->idle_ns;
    uint64_t busy_us = whole > blocked ? (whole - blocked) / 1000 : 0;
    w->turn_ns = now;
    w->idle_ns = idle;
    atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
    metric_observe_us(METRIC_LOOP_LAG, busy_us);
    if (busy_us > atomic_load_explicit(&w->lag_us_max, memory_order_relaxed)) atomic_store_explicit(&w->lag_us_max, busy_us, memory_order_relaxed);
    if (busy_us / 1000 > STALL_MS) {
        metric_inc(METRIC_LOOP_STALLS);
        log_warn("io", "One turn of this loop took %llu ms; all its connections waited.", (unsigned long long)(busy_us / 1000));
    }
}

/* The worker's own handles do not count: all but the async one are never referenced. */
static bool others_open(struct worker *w)
{
    uv_unref((uv_handle_t *)&w->async);
    bool alive = uv_loop_alive(&w->loop) != 0;
    uv_ref((uv_handle_t *)&w->async);
    return alive;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct worker *w = prepare->data;
    for (int round = 0; round < ROUNDS_MAX && (w->own_head != NULL || w->hooks != NULL); round++) {
        run_messages(w, own_take(w));
        run_hooks(w);
    }
    bool more = w->own_head != NULL || w->hooks != NULL;
    if (more) {
        uv_idle_start(&w->idle, on_idle);
    } else {
        uv_idle_stop(&w->idle);
    }
    arm_timer(w);
    account_turn(w);
    if (w->stopping) atomic_store(&w->quiet, !more && !others_open(w));
}

/* ---- the thread ---- */

static void worker_close(struct worker *w)
{
    struct msg *list = mailbox_close(&w->mailbox);
    if (list != NULL) log_debug("io", "Messages for a worker that has ended are dropped.");
    while (list != NULL) {
        struct msg *m = list;
        list = m->next;
        free(m);
    }
    list = own_take(w);
    while (list != NULL) {
        struct msg *m = list;
        list = m->next;
        free(m);
    }
    bool leftovers = others_open(w);
    uv_close((uv_handle_t *)&w->async, NULL);
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_close((uv_handle_t *)&w->prepare, NULL);
    uv_close((uv_handle_t *)&w->idle, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    if (leftovers || uv_loop_close(&w->loop) != 0) log_error("io", "Handles of worker %u are still open at its end; their memory is left.", w->id);
    wheel_free(w->wheel);
    free(w->read_buf);
    free(w->plain_buf);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    char name[16];
    self = w;
    snprintf(name, sizeof name, "worker-%u", w->id);
    pthread_setname_np(pthread_self(), name);
    log_set_thread(name);
    w->turn_ns = uv_hrtime();
    if (life.start_fn != NULL) life.start_fn(w->id);
    pthread_mutex_lock(&life.lock);
    life.running++;
    pthread_cond_broadcast(&life.changed);
    pthread_mutex_unlock(&life.lock);
    w->turn_ns = uv_hrtime(); /* what starting took is no lag */
    while (!w->ended) uv_run(&w->loop, UV_RUN_DEFAULT);
    worker_close(w);
    self = NULL;
    return NULL;
}

static int worker_init(struct worker *w, unsigned id, struct err *err)
{
    int rc = uv_loop_init(&w->loop);
    if (rc != 0) return err_set(err, ERR_INTERNAL, "cannot make the event loop of worker %u: %s", id, uv_strerror(rc));
    uv_loop_configure(&w->loop, UV_METRICS_IDLE_TIME);
    rc = uv_async_init(&w->loop, &w->async, on_async);
    if (rc != 0) {
        uv_loop_close(&w->loop);
        return err_set(err, ERR_INTERNAL, "cannot make the mailbox of worker %u: %s", id, uv_strerror(rc));
    }
    uv_timer_init(&w->loop, &w->timer);
    uv_prepare_init(&w->loop, &w->prepare);
    uv_idle_init(&w->loop, &w->idle);
    uv_prepare_start(&w->prepare, on_prepare);
    uv_unref((uv_handle_t *)&w->timer);
    uv_unref((uv_handle_t *)&w->prepare);
    uv_unref((uv_handle_t *)&w->idle);
    w->async.data = w->timer.data = w->prepare.data = w->idle.data = w;
    w->id = id;
    w->wheel = wheel_new(clock_ms());
    w->armed_for = UINT64_MAX;
    w->now_of = UINT64_MAX;
    w->own_head = NULL;
    w->own_tail = &w->own_head;
    w->hooks = NULL;
    w->hooks_tail = &w->hooks;
    w->read_buf = x_malloc(WORKER_BUF_BYTES);
    w->plain_buf = x_malloc(WORKER_BUF_BYTES);
    w->turn_ns = w->idle_ns = 0;
    w->stopping = w->ended = false;
    atomic_store(&w->quiet, false);
    atomic_store(&w->lag_us_max, 0);
    atomic_store(&w->turns, 0);
    mailbox_init(&w->mailbox, false);
    return 0;
}

/* ---- the watchdog ---- */

/* A loop that is neither turning nor blocked in poll is stuck in somebody's callback. Says so once a second until it turns. */
static void *watchdog_main(void *arg)
{
    static uint64_t turns[WORKERS_MAX], idle_ns[WORKERS_MAX], stuck_s[WORKERS_MAX];
    (void)arg;
    memset(stuck_s, 0, sizeof stuck_s);
    log_set_thread("watchdog");
    pthread_mutex_lock(&life.lock);
    while (!life.watch_end) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&life.changed, &life.lock, &until);
        for (unsigned i = 0; i < worker_count() && !life.watch_end; i++) {
            uint64_t t = atomic_load_explicit(&workers[i].turns, memory_order_relaxed);
            uint64_t idle = uv_metrics_idle_time(&workers[i].loop);
            stuck_s[i] = t != turns[i] || idle != idle_ns[i] ? 0 : stuck_s[i] + 1;
            turns[i] = t;
            idle_ns[i] = idle;
            if (stuck_s[i] > 1) log_warn("io", "The loop of worker-%u has not turned for more than %llu s.", i, (unsigned long long)stuck_s[i] - 1);
        }
    }
    pthread_mutex_unlock(&life.lock);
    return NULL;
}

/* ---- start and stop ---- */

static void end_run(struct msg *msg)
{
    self->ended = true;
    uv_stop(&self->loop);
    free(msg);
}

static void end_all(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct msg *m = x_calloc(1, sizeof *m);
        m->run = end_run;
        worker_post(i, m);
    }
    for (unsigned i = 0; i < n; i++) pthread_join(workers[i].thread, NULL);
}

/* Signals belong to the thread that starts the workers, so they are blocked while it starts others. */
static int start_threads(unsigned n, unsigned *started, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0;
    for (*started = 0; *started < n && rc == 0; *started += rc == 0) {
        rc = pthread_create(&workers[*started].thread, NULL, worker_main, &workers[*started]);
    }
    pthread_mutex_lock(&life.lock);
    while (life.running < *started) pthread_cond_wait(&life.changed, &life.lock);
    pthread_mutex_unlock(&life.lock);
    if (rc == 0) rc = pthread_create(&life.watchdog, NULL, watchdog_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    char text[128];
    return rc == 0 ? 0 : err_set(err, ERR_INTERNAL, "cannot start a worker thread: %s", io_strerror(rc, text, sizeof text));
}

int workers_start(unsigned n, void (*start_fn)(unsigned worker), struct err *err)
{
    if (worker_count() != 0) return err_set(err, ERR_CONFLICT, "the workers run already");
    if (n == 0) n = uv_available_parallelism();
    if (n > WORKERS_MAX) return err_set(err, ERR_LIMIT, "at most %d workers are possible (server.workers), not %u", WORKERS_MAX, n);
    signal(SIGPIPE, SIG_IGN); /* a peer that has gone is an error of write(), not a reason to die */
    life.start_fn = start_fn;
    life.running = 0;
    life.watch_end = false;
    for (unsigned i = 0; i < n; i++) {
        if (worker_init(&workers[i], i, err) == 0) continue;
        while (i-- > 0) worker_close(&workers[i]);
        return -1;
    }
    atomic_store_explicit(&worker_n, n, memory_order_release);
    unsigned started;
    if (start_threads(n, &started, err) == 0) return 0;
    end_all(started);
    for (unsigned i = started; i < n; i++) worker_close(&workers[i]);
    atomic_store(&worker_n, 0);
    return -1;
}

static void stop_run(struct msg *msg)
{
    if (life.stop_fn != NULL) life.stop_fn(self->id);
    self->stopping = true;
    free(msg);
}

/* All quiet, and as many messages run as were ever posted. The sum of those run is taken first and both only grow: if they are equal, no
 * message was under way from the first reading to the last, so nothing could wake a worker that was found quiet. */
static bool all_quiet(unsigned n)
{
    uint64_t done = 0, posted = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!atomic_load(&workers[i].quiet)) return false;
        done += atomic_load(&workers[i].mailbox.done);
    }
    for (unsigned i = 0; i < n; i++) posted += atomic_load(&workers[i].mailbox.posted);
    return done == posted;
}

static void wait_quiet(unsigned n)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    uint64_t end = uv_hrtime() / 1000000 + STOP_WAIT_MS;
    while (!all_quiet(n)) {
        if (uv_hrtime() / 1000000 > end) {
            log_error("io", "Workers are still busy %d s after the stop; they are ended all the same.", STOP_WAIT_MS / 1000);
            return;
        }
        nanosleep(&pause, NULL);
    }
}

void workers_stop(void (*stop_fn)(unsigned worker))
{
    assert(self == NULL);
    unsigned n = worker_count();
    if (n == 0) return;
    life.stop_fn = stop_fn;
    for (unsigned i = 0; i < n; i++) {
        struct msg *m = x_calloc(1, sizeof *m);
        m->run = stop_run;
        worker_post(i, m);
    }
    wait_quiet(n);
    pthread_mutex_lock(&life.lock);
    life.watch_end = true;
    pthread_cond_broadcast(&life.changed);
    pthread_mutex_unlock(&life.lock);
    pthread_join(life.watchdog, NULL);
    end_all(n);
    atomic_store_explicit(&worker_n, 0, memory_order_release);
}

void worker_stats_read(uint32_t worker, struct worker_stats *out)
{
    assert(worker < WORKERS_MAX);
    struct worker *w = &workers[worker];
    out->mailbox_depth = mailbox_depth(&w->mailbox);
    out->messages = atomic_load_explicit(&w->mailbox.done, memory_order_relaxed);
    out->loop_lag_us_max = atomic_load_explicit(&w->lag_us_max, memory_order_relaxed);
    out->turns = atomic_load_explicit(&w->turns, memory_order_relaxed);
}
