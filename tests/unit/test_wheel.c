/* The timing wheel against a naive list of the same timers, over seeded random schedules. */
#include "unit.h"

#include "base/buf.h"
#include "io/wheel.h"

enum { TIMERS = 300, STEPS = 20000 };

struct rig {
    struct wheel_timer timer;
    bool set;
    uint64_t due; /* as asked for */
    unsigned fired;
};
static struct rig rigs[TIMERS];
static struct wheel *wheel;
static uint64_t now, last_fired, seed;
static bool order_matters;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void set_rig(struct rig *r, uint64_t due)
{
    r->set = true;
    r->due = due;
    wheel_set(wheel, &r->timer, due);
}

static void on_fire(struct wheel_timer *t)
{
    struct rig *r = CONTAINER_OF(t, struct rig, timer);
    assert_true(r->set);
    assert_false(list_linked(&t->node));
    assert_true(r->due <= now); /* never early */
    if (order_matters) assert_true(r->due >= last_fired);
    last_fired = r->due;
    r->set = false;
    r->fired++;
    if (order_matters) return;
    uint64_t what = next_random() % 8; /* callbacks may do all that others may */
    struct rig *other = &rigs[next_random() % TIMERS];
    if (what == 0) set_rig(r, now + next_random() % 500);
    if (what == 1) set_rig(r, now > 50 ? now - 50 : 0);
    if (what == 2) {
        wheel_cancel(wheel, &other->timer);
        other->set = false;
    }
    if (what == 3) set_rig(other, now + next_random() % 100000);
}

static uint64_t random_span(void)
{
    static const uint64_t spans[] = {1, 10, 64, 1000, 4096, 100000, UINT64_C(1) << 24, UINT64_C(1) << 40};
    return next_random() % (spans[next_random() % 8] + 1);
}

static uint64_t naive_next(void)
{
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < TIMERS; i++) {
        if (rigs[i].set && rigs[i].due < best) best = rigs[i].due;
    }
    return best;
}

static void run_property(uint64_t start_seed, bool ordered)
{
    seed = start_seed;
    now = next_random() % 100000;
    order_matters = ordered;
    memset(rigs, 0, sizeof rigs);
    for (unsigned i = 0; i < TIMERS; i++) rigs[i].timer.fn = on_fire;
    wheel = wheel_new(now);
    assert_true(wheel_next_ms(wheel) == UINT64_MAX);
    for (unsigned step = 0; step < STEPS; step++) {
        struct rig *r = &rigs[next_random() % TIMERS];
        uint64_t what = next_random() % 10;
        if (what < 6) {
            set_rig(r, now + (ordered ? 1 : 0) + random_span());
        } else if (what < 8) {
            wheel_cancel(wheel, &r->timer);
            r->set = false;
        } else {
            bool due[TIMERS];
            unsigned before[TIMERS];
            now += next_random() % 2 ? random_span() : next_random() % 3;
            for (unsigned i = 0; i < TIMERS; i++) {
                due[i] = rigs[i].set && rigs[i].due <= now;
                before[i] = rigs[i].fired;
            }
            last_fired = 0;
            wheel_advance(wheel, now);
            for (unsigned i = 0; ordered && i < TIMERS; i++) assert_int_equal(rigs[i].fired - before[i], due[i]);
        }
        uint64_t naive = naive_next();
        uint64_t told = wheel_next_ms(wheel);
        if (naive == UINT64_MAX) {
            assert_true(told == UINT64_MAX);
        } else {
            assert_true(told <= (naive > now ? naive : now));
            assert_true(naive > now || told <= now);
        }
    }
    /* Following wheel_next_ms alone reaches every timer. */
    order_matters = true;
    while (wheel_next_ms(wheel) != UINT64_MAX) {
        uint64_t next = wheel_next_ms(wheel);
        now = next > now ? next : now;
        last_fired = 0;
        wheel_advance(wheel, now);
    }
    for (unsigned i = 0; i < TIMERS; i++) assert_false(rigs[i].set);
    wheel_free(wheel);
}

static void test_against_naive(void **state)
{
    (void)state;
    for (uint64_t s = 1; s <= 10; s++) run_property(s * UINT64_C(0x9E3779B97F4A7C15), true);
}

static void test_callbacks_set_and_cancel(void **state)
{
    (void)state;
    for (uint64_t s = 1; s <= 10; s++) run_property(s * UINT64_C(0xD1B54A32D192ED03), false);
}

static unsigned again_count;
static void fire_again(struct wheel_timer *t)
{
    again_count++;
    wheel_set(wheel, t, 0); /* in the past: the next advance */
}

static void test_past_fires_at_next_advance(void **state)
{
    (void)state;
    struct wheel_timer t = {.fn = fire_again};
    wheel = wheel_new(1000);
    wheel_set(wheel, &t, 5);
    assert_true(wheel_next_ms(wheel) <= 1000);
    wheel_advance(wheel, 1000);
    assert_int_equal(again_count, 1);
    wheel_advance(wheel, 1000);
    assert_int_equal(again_count, 2);
    wheel_cancel(wheel, &t);
    wheel_cancel(wheel, &t);
    wheel_advance(wheel, UINT64_MAX);
    assert_int_equal(again_count, 2);
    wheel_set(wheel, &t, UINT64_MAX);
    wheel_free(wheel);
    assert_false(list_linked(&t.node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive),
        cmocka_unit_test(test_callbacks_set_and_cancel),
        cmocka_unit_test(test_past_fires_at_next_advance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
