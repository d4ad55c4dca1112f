/* Workers: order of messages over many senders, turn hooks, timers, worker_each, and an end that loses nobody. Also run under TSan. */
#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/metric.h"
#include "io/worker.h"
#include <pthread.h>
#include <unistd.h>

enum { WORKERS = 3, SENDERS = 4, EACH = 20000 };

struct numbered {
    struct msg msg;
    unsigned sender;
    uint64_t number;
};
static uint64_t seen[WORKERS][SENDERS + WORKERS]; /* [receiver][sender]; touched by the receiver only */
static _Atomic uint64_t arrived;

static void wait_for(_Atomic uint64_t *what, uint64_t n)
{
    for (int i = 0; i < 20000 && atomic_load(what) < n; i++) usleep(1000);
    assert_int_equal(atomic_load(what), n);
}

static void numbered_run(struct msg *msg)
{
    struct numbered *m = (struct numbered *)msg;
    uint64_t *last = &seen[worker_id()][m->sender];
    assert_int_equal(m->number, *last + 1);
    *last = m->number;
    free(m);
    atomic_fetch_add(&arrived, 1);
}

static void send_numbered(uint32_t to, unsigned sender, uint64_t number)
{
    struct numbered *m = x_calloc(1, sizeof *m);
    m->msg.run = numbered_run;
    m->sender = sender;
    m->number = number;
    worker_post(to, &m->msg);
}

static void *sender_main(void *arg)
{
    unsigned sender = *(unsigned *)arg;
    for (uint64_t i = 1; i <= EACH; i++) {
        for (uint32_t w = 0; w < WORKERS; w++) send_numbered(w, sender, i);
    }
    return NULL;
}

/* Workers send to each other and themselves. */
static void send_from_worker(uint32_t worker, void *arg)
{
    (void)arg;
    for (uint64_t i = 1; i <= EACH; i++) {
        for (uint32_t w = 0; w < WORKERS; w++) send_numbered(w, SENDERS + worker, i);
    }
}

static _Atomic uint64_t started, stopped;
static void on_start(unsigned worker)
{
    assert_int_equal(worker, worker_id());
    atomic_fetch_add(&started, 1);
}
static void on_stop(unsigned worker)
{
    assert_int_equal(worker, worker_id());
    atomic_fetch_add(&stopped, 1);
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    atomic_store(&started, 0);
    atomic_store(&stopped, 0);
    assert_int_equal(workers_start(WORKERS, on_start, &err), 0);
    assert_int_equal(atomic_load(&started), WORKERS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    workers_stop(on_stop);
    assert_int_equal(atomic_load(&stopped), WORKERS);
    assert_int_equal(worker_count(), 0);
    return 0;
}

static void test_fifo(void **state)
{
    pthread_t threads[SENDERS];
    unsigned ids[SENDERS];
    (void)state;
    assert_int_equal(worker_id(), WORKER_NONE);
    for (unsigned i = 0; i < SENDERS; i++) {
        ids[i] = i;
        pthread_create(&threads[i], NULL, sender_main, &ids[i]);
    }
    worker_each(send_from_worker, NULL, NULL);
    for (unsigned i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    wait_for(&arrived, (uint64_t)EACH * WORKERS * (SENDERS + WORKERS));
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct worker_stats stats;
        worker_stats_read(w, &stats);
        assert_true(stats.messages >= (uint64_t)EACH * (SENDERS + WORKERS));
        assert_true(stats.turns > 0);
    }
}

/* ---- turn hooks and timers ---- */

static struct {
    struct turn_hook hook;
    struct wheel_timer timer;
    unsigned hook_runs, queued;
    uint64_t set_at, fired_at;
    _Atomic uint64_t done;
} turn;

static void hook_again(struct turn_hook *hook)
{
    assert_false(hook->queued);
    if (++turn.hook_runs < 100) { /* more than one prepare runs: the loop must not block in between */
        worker_at_turn_end(hook);
    } else {
        atomic_fetch_add(&turn.done, 1);
    }
}

static void timer_fired(struct wheel_timer *t)
{
    (void)t;
    turn.fired_at = clock_ms();
    turn.hook.fn = hook_again;
    worker_at_turn_end(&turn.hook);
    worker_at_turn_end(&turn.hook);
}

static void turn_run(struct msg *msg)
{
    free(msg);
    turn.timer.fn = timer_fired;
    turn.set_at = worker_now_ms();
    worker_timer(&turn.timer, 50);
}

static void test_turn_end_and_timer(void **state)
{
    struct msg *m = x_calloc(1, sizeof *m);
    (void)state;
    m->run = turn_run;
    worker_post(1, m);
    wait_for(&turn.done, 1);
    assert_int_equal(turn.hook_runs, 100);
    assert_true(turn.fired_at >= turn.set_at + 50);
}

static _Atomic uint64_t stalled;
static void stall_run(struct msg *msg)
{
    usleep(1100000);
    atomic_fetch_add(&stalled, 1);
    free(msg);
}

/* A turn above a second is counted (and warned of), the time blocked in poll is not. */
static void test_stall_is_seen(void **state)
{
    struct worker_stats stats;
    struct msg *m = x_calloc(1, sizeof *m);
    UNIT_UNUSED(state);
    usleep(100000);
    worker_stats_read(0, &stats);
    assert_true(stats.loop_lag_us_max < 90000 || stats.turns > 2); /* a busy machine may hold up a turn */
    m->run = stall_run;
    worker_post(0, m);
    wait_for(&stalled, 1);
    usleep(10000);
    worker_stats_read(0, &stats);
    assert_true(stats.loop_lag_us_max >= 1000000);
    assert_int_equal(metric_read(METRIC_LOOP_STALLS), 1);
}

/* ---- worker_each ---- */

static _Atomic bool stuck;
static _Atomic unsigned within_ran, within_done;
static void get_stuck(struct msg *msg)
{
    free(msg);
    while (atomic_load(&stuck)) usleep(1000);
}
static void within_fn(uint32_t worker, void *arg)
{
    (void)worker;
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}
static void within_done_fn(void *arg) { atomic_fetch_add((_Atomic unsigned *)arg, 1 << 16); }
/* One is stuck: the others run it, the caller is told, and the last of all does the rest. */
static void test_each_within(void **state)
{
    (void)state;
    assert_int_equal(worker_each_within(within_fn, within_done_fn, &within_ran, 10000), 0);
    assert_int_equal(atomic_load(&within_ran), WORKERS | 1 << 16);
    atomic_store(&stuck, true);
    struct msg *m = x_calloc(1, sizeof *m);
    m->run = get_stuck;
    worker_post(1, m);
    uint64_t began = clock_ms();
    assert_int_equal(worker_each_within(within_fn, within_done_fn, &within_done, 100), 1);
    assert_in_range(clock_ms() - began, 100, 5000);
    assert_int_equal(atomic_load(&within_done), WORKERS - 1);
    atomic_store(&stuck, false);
    for (unsigned i = 0; atomic_load(&within_done) != (WORKERS | 1 << 16); i++) {
        assert_true(i < 5000);
        usleep(1000);
    }
}

static _Atomic uint64_t each_ran, each_done;
static void each_fn(uint32_t worker, void *arg)
{
    assert_int_equal(worker, worker_id());
    assert_ptr_equal(arg, &each_ran);
    atomic_fetch_add(&each_ran, 1);
}
static void each_done_fn(void *arg)
{
    assert_ptr_equal(arg, &each_ran);
    assert_int_equal(worker_id(), 2);
    assert_int_equal(atomic_load(&each_ran), 2 * WORKERS);
    atomic_fetch_add(&each_done, 1);
}
static void each_run(struct msg *msg)
{
    free(msg);
    worker_each(each_fn, each_done_fn, &each_ran);
}

static void test_each(void **state)
{
    (void)state;
    worker_each(each_fn, NULL, &each_ran);
    assert_int_equal(atomic_load(&each_ran), WORKERS); /* it has waited */
    struct msg *m = x_calloc(1, sizeof *m);
    m->run = each_run;
    worker_post(2, m);
    wait_for(&each_done, 1);
}

/* ---- stopping under fire ---- */

static _Atomic bool fire_on;
static void noop_run(struct msg *msg) { free(msg); }
static void *fire_main(void *arg)
{
    (void)arg;
    for (unsigned i = 0; atomic_load(&fire_on); i++) {
        struct msg *m = x_calloc(1, sizeof *m);
        m->run = noop_run;
        worker_post(i % WORKERS, m);
        if (i % 64 == 0) usleep(100);
    }
    return NULL;
}

static void test_stop_while_others_send(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        pthread_t thread;
        atomic_store(&fire_on, true);
        setup(NULL);
        pthread_create(&thread, NULL, fire_main, NULL);
        usleep(2000);
        teardown(NULL); /* the sender goes on into closed mailboxes */
        usleep(500);
        atomic_store(&fire_on, false);
        pthread_join(thread, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fifo, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turn_end_and_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stall_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_within, setup, teardown),
        cmocka_unit_test(test_stop_while_others_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
