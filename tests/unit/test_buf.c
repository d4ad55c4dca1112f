/* buf: slices, growth, formatting across the growth boundary, consuming. */
#include "unit.h"

#include "base/buf.h"

static void test_str_compare(void **state)
{
    UNIT_UNUSED(state);
    assert_true(str_eq(STR("abc"), str_of("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("ab"), STR("abc")));
    assert_true(str_eq(STR_NONE, STR_NONE));
    assert_false(str_eq(STR_NONE, STR(""))); /* absent is not empty */
    assert_true(str_is(STR("x"), "x"));
    assert_false(str_is(STR_NONE, ""));
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("b"), STR("a")) > 0);
    assert_true(str_cmp(STR("a"), STR("aa")) < 0);
    assert_int_equal(str_cmp(STR("aa"), STR("aa")), 0);
    assert_true(str_cmp(STR_NONE, STR("")) < 0);
    assert_int_equal(str_cmp(STR_NONE, STR_NONE), 0);
}

static void test_str_dup(void **state)
{
    UNIT_UNUSED(state);
    char *copy = str_dup((struct str){"abcdef", 3});
    assert_string_equal(copy, "abc");
    free(copy);
    copy = str_dup(STR_NONE);
    assert_string_equal(copy, "");
    free(copy);
}

static void test_grows_and_keeps(void **state)
{
    UNIT_UNUSED(state);
    struct buf b = {0};
    assert_int_equal(buf_str(&b).n, 0);
    assert_string_equal(buf_cstr(&b), "");
    for (int i = 0; i < 10000; i++) buf_addc(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, 10000);
    for (int i = 0; i < 10000; i++) assert_int_equal(b.data[i], 'a' + i % 26);
    const char *text = buf_cstr(&b);
    assert_int_equal(strlen(text), 10000);
    size_t cap = b.cap;
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, cap);
    buf_free(&b);
    assert_null(b.data);
    buf_free(&b);
}

static void test_cstr_does_not_move(void **state)
{
    UNIT_UNUSED(state);
    struct buf b = {0};
    for (int i = 0; i < 300; i++) {
        buf_addc(&b, 'x');
        const char *data = b.data;
        assert_ptr_equal(buf_cstr(&b), data);
    }
    buf_free(&b);
}

static void test_format_of_every_length(void **state)
{
    UNIT_UNUSED(state);
    char expected[600];
    for (int n = 0; n < 500; n++) {
        struct buf b = {0};
        buf_adds(&b, "<");
        buf_addf(&b, "%0*d|", n, 7);
        snprintf(expected, sizeof(expected), "<%0*d|", n, 7);
        assert_string_equal(buf_cstr(&b), expected);
        assert_int_equal(b.len, strlen(expected));
        buf_free(&b);
    }
}

static void test_add_and_consume(void **state)
{
    UNIT_UNUSED(state);
    struct buf b = {0};
    BUF_ADD_LIT(&b, "head");
    buf_add_str(&b, STR("tail"));
    buf_add_str(&b, STR_NONE);
    buf_add(&b, NULL, 0);
    buf_consume(&b, 2);
    assert_string_equal(buf_cstr(&b), "adtail");
    buf_consume(&b, 0);
    buf_consume(&b, 6);
    assert_int_equal(b.len, 0);
    memcpy(buf_reserve(&b, 3), "abc", 3);
    b.len += 3;
    assert_true(str_is(buf_str(&b), "abc"));
    buf_free(&b);
}

static void test_allocation(void **state)
{
    UNIT_UNUSED(state);
    void *p = x_malloc(0);
    assert_non_null(p);
    p = x_realloc(p, 100);
    free(p);
    unsigned char *z = x_calloc(10, 10);
    for (int i = 0; i < 100; i++) assert_int_equal(z[i], 0);
    free(z);
    char *s = x_strdup("text");
    assert_string_equal(s, "text");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_compare),
        cmocka_unit_test(test_str_dup),
        cmocka_unit_test(test_grows_and_keeps),
        cmocka_unit_test(test_cstr_does_not_move),
        cmocka_unit_test(test_format_of_every_length),
        cmocka_unit_test(test_add_and_consume),
        cmocka_unit_test(test_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
