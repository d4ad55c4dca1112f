/* Log lines of what goes wrong often: the first of each kind is said, then one a minute, and none is forgotten in the count. */
#include "unit.h"
#include "broker/seldom.h"
#include <stdio.h>

static void test_once_per_kind_and_minute(void **state)
{
    (void)state;
    struct seldom s = {0};
    uint64_t quiet = 99;
    assert_true(seldom_say(&s, "late", 5, &quiet)); /* soon after the start, too */
    assert_int_equal(quiet, 0);
    for (unsigned i = 0; i < 7; i++) assert_false(seldom_say(&s, "late", 5 + i, &quiet));
    assert_true(seldom_say(&s, "invalid", 12, &quiet)); /* another kind has its own line */
    assert_int_equal(quiet, 0);
    assert_false(seldom_say(&s, "late", 5 + SELDOM_MS - 1, &quiet));
    assert_true(seldom_say(&s, "late", 5 + SELDOM_MS, &quiet));
    assert_int_equal(quiet, 8);
    assert_true(seldom_say(&s, "late", 5 + 2 * SELDOM_MS, &quiet));
    assert_int_equal(quiet, 0);
}

static void test_kinds_without_end_share_a_line(void **state)
{
    (void)state;
    struct seldom s = {0};
    unsigned said = 0;
    uint64_t quiet;
    for (unsigned i = 0; i < 1000; i++) {
        char kind[32];
        (void)snprintf(kind, sizeof kind, "kind %u", i);
        said += seldom_say(&s, kind, 1, &quiet);
    }
    assert_int_equal(said, SELDOM_KINDS);
    assert_false(seldom_say(&s, "kind 3", 2, &quiet)); /* those that came first keep their place */
    assert_true(seldom_say(&s, "kind 3", 1 + SELDOM_MS, &quiet));
    assert_int_equal(quiet, 1);
    assert_true(seldom_say(&s, "kind 1000", 1 + SELDOM_MS, &quiet));
    assert_int_equal(quiet, 1000 - SELDOM_KINDS);
}

static void test_a_long_kind_is_cut_and_known_again(void **state)
{
    (void)state;
    struct seldom s = {0};
    uint64_t quiet;
    static const char kind[] = "a text that is longer than the place there is for the name of a kind, by far";
    assert_true(sizeof kind > SELDOM_KIND_SIZE);
    assert_true(seldom_say(&s, kind, 1, &quiet));
    assert_false(seldom_say(&s, kind, 2, &quiet));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_per_kind_and_minute),
        cmocka_unit_test(test_kinds_without_end_share_a_line),
        cmocka_unit_test(test_a_long_kind_is_cut_and_known_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
