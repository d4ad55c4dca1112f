/* What a session remembers of messages it had: the last 1024, each once. */
#include "jsm/had.h"
#include "unit.h"

static void test_nothing(void **state)
{
    UNIT_UNUSED(state);
    struct session s = {0};
    assert_false(had_it(&s, 1));
    had_free(&s);
}

static void test_the_oldest_go(void **state)
{
    UNIT_UNUSED(state);
    struct session s = {0};
    for (uint64_t sid = 1; sid <= 3000; sid++) {
        had_note(&s, sid);
        assert_true(had_it(&s, sid));
        uint64_t oldest = sid > 1024 ? sid - 1023 : 1;
        assert_true(had_it(&s, oldest));
        assert_false(had_it(&s, oldest - 1));
    }
    had_free(&s);
    assert_false(had_it(&s, 3000));
}

static void test_twice_is_once(void **state)
{
    UNIT_UNUSED(state);
    struct session s = {0};
    had_note(&s, 7);
    for (unsigned i = 0; i < 2000; i++) had_note(&s, 8);
    assert_true(had_it(&s, 7));
    had_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing), cmocka_unit_test(test_the_oldest_go), cmocka_unit_test(test_twice_is_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
