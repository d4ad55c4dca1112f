/* The bound on what one compliance server is given, with servers of many speeds, a clock of the test's own, and senders that always have more. */
#include "unit.h"
#include "broker/pace.h"
#include <stdlib.h>

enum { MOST = 10000, ANSWER_MS = 30000, EVENTS = 400000 };
struct server {
    double each_ms; /* what one event costs it; it works on one after the other */
    unsigned delay_ms; /* and so much later it answers, as often as may be at the same time */
    unsigned shuffles; /* it takes any of the oldest so many first; 0: in order */
    unsigned silent; /* the first so many are never answered */
};
struct outcome {
    uint64_t answered, late; /* late: after ANSWER_MS */
    uint32_t limit, backlog_max;
};
static uint64_t offered_ms[EVENTS + 1], queue[EVENTS + 1], done[EVENTS + 1], done_ms[EVENTS + 1];

/* Whoever sends keeps `demand` events under way, as far as the limit lets him. */
static struct outcome run(const struct server *s, uint32_t demand, uint64_t for_ms)
{
    struct outcome out = {0};
    struct pace p;
    pace_init(&p, MOST, ANSWER_MS);
    uint64_t newest = 0, now = 1000, end = now + for_ms, first = 0, n = 0, first_done = 0, n_done = 0;
    uint32_t held = 0;
    double free_at = (double)now;
    srand(1);
    for (; now < end && newest < EVENTS; now++) {
        while (newest < EVENTS && held < s->silent + demand && pace_backlog(&p, newest, held) < p.limit) {
            offered_ms[++newest] = now;
            held++;
            if (newest > s->silent) queue[n++] = newest;
        }
        uint32_t backlog = pace_backlog(&p, newest, held);
        if (backlog > out.backlog_max) out.backlog_max = backlog;
        if (n == first) free_at = (double)now; /* it has nothing to do */
        while (n > first && free_at <= (double)now) {
            uint64_t at = first + (s->shuffles > 1 ? (uint64_t)rand() % (n - first < s->shuffles ? n - first : s->shuffles) : 0), number = queue[at];
            queue[at] = queue[first++];
            free_at += s->each_ms;
            done[n_done] = number;
            done_ms[n_done++] = now + s->delay_ms;
        }
        for (; first_done < n_done && done_ms[first_done] <= now; first_done++) {
            uint64_t waited = now - offered_ms[done[first_done]];
            held--;
            out.answered++;
            out.late += waited > ANSWER_MS;
            pace_answered(&p, done[first_done], waited, newest, held, now);
        }
    }
    out.limit = p.limit;
    return out;
}

/* One that answers at once is given as much as may be. */
static void test_fast(void **state)
{
    (void)state;
    struct outcome o = run(&(struct server){.each_ms = 0.05}, 20000, 3000);
    assert_int_equal(o.limit, MOST);
    assert_int_equal(o.late, 0);
}

/* A slow one is kept busy all the time, and nothing waits longer than it may. */
static void test_slow(void **state)
{
    (void)state;
    static const unsigned rates[] = {40, 100, 300, 1000, 3000};
    for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct outcome o = run(&(struct server){.each_ms = 1000.0 / rates[i]}, 100000, 60000);
        assert_int_equal(o.late, 0);
        assert_true(o.answered > rates[i] * 60 * 95 / 100);
        assert_true(o.limit <= rates[i] * 15);
    }
}

/* So slow that what it is given at first is too much: that much is late, and then no more. */
static void test_very_slow(void **state)
{
    (void)state;
    struct outcome o = run(&(struct server){.each_ms = 200}, 100000, 600000);
    assert_true(o.late < 1000);
    assert_true(o.limit >= 16 && o.limit < 75);
}

static void test_in_any_order(void **state)
{
    (void)state;
    struct outcome o = run(&(struct server){.each_ms = 2, .shuffles = 100}, 100000, 60000);
    assert_int_equal(o.late, 0);
    assert_true(o.answered > 28000 && o.backlog_max < MOST / 2);
}

/* What takes its time but not its turn: a person who looks, say. Many at once are no overload. */
static void test_slow_but_wide(void **state)
{
    (void)state;
    struct outcome o = run(&(struct server){.each_ms = 0.05, .delay_ms = 5000}, 3000, 20000);
    assert_true(o.limit >= 1000);
}

/* Conversations it lets lie are in nobody's way. */
static void test_silent(void **state)
{
    (void)state;
    struct pace p;
    pace_init(&p, MOST, ANSWER_MS);
    uint64_t newest = 5000;
    uint32_t held = 5000;
    assert_int_equal(pace_backlog(&p, newest, held), 5000); /* it may just be slow */
    for (unsigned i = 0; i < 200; i++) {
        newest++;
        pace_answered(&p, newest, 2, newest, held, 1000 + i * 10);
    }
    assert_true(pace_backlog(&p, newest, held) < 20);
    assert_int_equal(pace_backlog(&p, newest, 1), 1); /* and never more than is held */
    struct outcome o = run(&(struct server){.each_ms = 1, .silent = 900}, 20, 5000);
    assert_true(o.answered > 4500);
}

/* After a quiet night the first answers are measured against their own time, not the night. */
static void test_idle(void **state)
{
    (void)state;
    struct pace p;
    pace_init(&p, MOST, ANSWER_MS);
    uint64_t now = 100000, number = 0;
    for (unsigned i = 0; i < 20; i++, number++) pace_answered(&p, number + 1, 10, number + 501, 500, now += 10);
    for (unsigned i = 0; i < 60; i++, number++) pace_answered(&p, number + 1, 8000, number + 501, 500, now += 10);
    assert_int_equal(p.limit, 562); /* 100 a second: three quarters of what that is in a quarter of 30 s */
    for (unsigned i = 0; i < 20; i++, number++) pace_answered(&p, number + 1, 10, number + 1, 0, now += 10);
    now += 36000000;
    for (unsigned i = 0; i < 40; i++, number++) pace_answered(&p, number + 1, 10, number + 501, 500, now += 10);
    for (unsigned i = 0; i < 60; i++, number++) pace_answered(&p, number + 1, 8000, number + 501, 500, now += 10);
    assert_in_range(p.limit, 500, 620);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fast),          cmocka_unit_test(test_slow),   cmocka_unit_test(test_very_slow), cmocka_unit_test(test_in_any_order),
                                       cmocka_unit_test(test_slow_but_wide), cmocka_unit_test(test_silent), cmocka_unit_test(test_idle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
