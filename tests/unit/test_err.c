/* err: codes, texts, prefixes, and what happens when they do not fit. */
#include "unit.h"

#include "base/err.h"

static void test_set_returns_minus_one_and_fills(void **state)
{
    UNIT_UNUSED(state);
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, "no user '%s'", "ada@example.com"), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.text, "no user 'ada@example.com'");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody asked"), -1);
    assert_int_equal(err_prefix(NULL, "nobody"), -1);
}

static void test_set_may_quote_itself(void **state)
{
    UNIT_UNUSED(state);
    struct err err = {0};
    err_set(&err, ERR_IO, "disk full");
    err_set(&err, ERR_INTERNAL, "store: %s", err.text);
    assert_string_equal(err.text, "store: disk full");
}

static void test_prefix_keeps_code(void **state)
{
    UNIT_UNUSED(state);
    struct err err = {0};
    err_set(&err, ERR_INVALID, "'x' is not a number");
    assert_int_equal(err_prefix(&err, "%s:%d", "signet.conf", 12), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, "signet.conf:12: 'x' is not a number");
}

static void test_long_texts_are_cut(void **state)
{
    UNIT_UNUSED(state);
    struct err err = {0};
    char longer[2000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    err_set(&err, ERR_INVALID, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    err_prefix(&err, "here");
    assert_memory_equal(err.text, "here: xxx", 9);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    err_prefix(&err, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_every_code_has_a_name(void **state)
{
    UNIT_UNUSED(state);
    for (int a = ERR_NONE; a <= ERR_INTERNAL; a++) {
        assert_non_null(err_code_name((enum err_code)a));
        for (int b = ERR_NONE; b < a; b++) assert_string_not_equal(err_code_name((enum err_code)a), err_code_name((enum err_code)b));
    }
    assert_string_equal(err_code_name(ERR_NOT_FOUND), "not-found");
    assert_string_equal(err_code_name((enum err_code)99), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_returns_minus_one_and_fills),
        cmocka_unit_test(test_set_may_quote_itself),
        cmocka_unit_test(test_prefix_keeps_code),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_every_code_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
