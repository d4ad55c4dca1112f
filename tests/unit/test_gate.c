/* Gates: what begins when, behind and ahead of barriers. Windows: what is accounted for, and when the reader stops. */
#include "unit.h"
#include "broker/gate.h"
#include "broker/window.h"

struct guest {
    struct gate_entry entry; /* first: begin() gets it */
    char name;
    bool done_at_once;
};
static char order[64];
static size_t length;
static struct gate gate;

static void begin(struct gate_entry *entry)
{
    struct guest *guest = CONTAINER_OF(entry, struct guest, entry);
    order[length++] = guest->name;
    order[length] = '\0';
    if (guest->done_at_once) gate_leave(&gate);
}
static bool enter(struct guest *guest, char name, bool barrier)
{
    *guest = (struct guest){.name = name, .entry.barrier = barrier};
    return gate_enter(&gate, &guest->entry);
}
static int fresh(void **state)
{
    UNIT_UNUSED(state);
    gate_init(&gate, begin);
    length = 0;
    order[0] = '\0';
    return 0;
}

static void test_side_by_side(void **state)
{
    UNIT_UNUSED(state);
    struct guest a, b;
    assert_true(gate_quiet(&gate));
    assert_true(enter(&a, 'a', false));
    assert_true(enter(&b, 'b', false));
    assert_string_equal(order, "ab");
    gate_leave(&gate);
    assert_false(gate_quiet(&gate));
    gate_leave(&gate);
    assert_true(gate_quiet(&gate));
}

static void test_barrier(void **state)
{
    UNIT_UNUSED(state);
    struct guest a, b, barrier, c, d;
    assert_true(enter(&a, 'a', false));
    assert_true(enter(&b, 'b', false));
    assert_false(enter(&barrier, 'B', true));
    assert_false(enter(&c, 'c', false)); /* behind it, though nothing else would keep it */
    gate_leave(&gate);
    assert_string_equal(order, "ab");
    gate_leave(&gate);
    assert_string_equal(order, "abB");
    assert_false(enter(&d, 'd', false));
    assert_string_equal(order, "abB");
    gate_leave(&gate);
    assert_string_equal(order, "abBcd");
}

static void test_barriers_one_by_one(void **state)
{
    UNIT_UNUSED(state);
    struct guest a, b, c;
    assert_true(enter(&a, 'A', true));
    assert_false(enter(&b, 'B', true));
    assert_false(enter(&c, 'c', false));
    gate_leave(&gate);
    assert_string_equal(order, "AB");
    gate_leave(&gate);
    assert_string_equal(order, "ABc");
    gate_leave(&gate);
    assert_true(gate_quiet(&gate));
}

/* What is done as soon as it begins comes back while others are being let through: none is passed by, and none overtakes. */
static void test_done_at_once(void **state)
{
    UNIT_UNUSED(state);
    struct guest a, b, c, d;
    assert_true(enter(&a, 'A', true));
    assert_false(enter(&b, 'b', false));
    assert_false(enter(&c, 'C', true));
    assert_false(enter(&d, 'd', false));
    b.done_at_once = c.done_at_once = d.done_at_once = true;
    gate_leave(&gate);
    assert_string_equal(order, "AbCd");
    assert_true(gate_quiet(&gate));
}

static void test_joined(void **state)
{
    UNIT_UNUSED(state);
    struct guest a, b;
    gate_join(&gate);
    assert_true(enter(&a, 'a', false));
    assert_false(enter(&b, 'B', true));
    gate_leave(&gate);
    gate_leave(&gate);
    assert_string_equal(order, "aB");
}

static void test_window(void **state)
{
    UNIT_UNUSED(state);
    struct window w;
    window_init(&w);
    for (uint64_t i = 0; i < 40; i++) assert_int_equal(window_open(&w), i); /* more than the ring has room for at first */
    assert_int_equal(w.open, 40);
    window_more(&w, 3, 2);
    assert_int_equal(window_copies(&w, 3), 3);
    assert_int_equal(window_copies(&w, 40), 0);
    assert_false(window_done(&w, 40));
    for (uint64_t i = 39; i > 0; i--) assert_true(window_done(&w, i));
    assert_int_equal(w.first, 0); /* not while the first is open */
    assert_int_equal(w.open, 2);
    assert_true(window_done(&w, 0));
    assert_int_equal(w.first, 3);
    assert_true(window_done(&w, 3));
    assert_int_equal(w.open, 1);
    assert_true(window_done(&w, 3));
    assert_int_equal(w.first, 40);
    assert_int_equal(w.open, 0);
    assert_false(window_done(&w, 3));
    window_more(&w, 3, 1); /* it is finished: there is nothing to wait for */
    assert_int_equal(window_copies(&w, 3), 0);
    window_free(&w);
}

static void test_reading(void **state)
{
    UNIT_UNUSED(state);
    for (uint32_t limit = 1; limit <= 8; limit++) {
        struct window w;
        window_init(&w);
        for (uint32_t i = 1; i < limit; i++) {
            window_open(&w);
            assert_int_equal(window_reading(&w, limit), WINDOW_READING_STAYS);
        }
        window_open(&w);
        assert_int_equal(window_reading(&w, limit), WINDOW_READING_STOPS);
        window_open(&w); /* was read already */
        assert_int_equal(window_reading(&w, limit), WINDOW_READING_STAYS);
        window_done(&w, 0);
        assert_int_equal(window_reading(&w, limit), WINDOW_READING_STAYS); /* it is as full as it may be */
        for (uint64_t i = 1; w.stopped && i <= limit; i++) {
            window_done(&w, i);
            (void)window_reading(&w, limit);
        }
        assert_false(w.stopped);
        assert_true(w.open < limit);
        window_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_side_by_side, fresh), cmocka_unit_test_setup(test_barrier, fresh), cmocka_unit_test_setup(test_barriers_one_by_one, fresh),
        cmocka_unit_test_setup(test_done_at_once, fresh), cmocka_unit_test_setup(test_joined, fresh),  cmocka_unit_test(test_window),
        cmocka_unit_test(test_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
