/* arena: alignment, growth, large pieces, copies. The address sanitizer sees whether pieces overlap their blocks. */
#include "unit.h"

#include "base/arena.h"

static void test_aligned_and_disjoint(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(0);
    enum { PIECES = 2000 };
    unsigned char *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = arena_alloc(a, i % 97);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i % 251), i % 97);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t j = 0; j < i % 97; j++) assert_int_equal(pieces[i][j], i % 251);
    }
    assert_true(arena_bytes(a) >= 1024);
    assert_true(arena_bytes(a) < 512 * 1024);
    arena_free(a);
}

static void test_large_piece_keeps_the_block(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(4096);
    char *before = arena_alloc(a, 16);
    size_t bytes = arena_bytes(a);
    char *large = arena_alloc(a, 1000000);
    memset(large, 'x', 1000000);
    char *after = arena_alloc(a, 16);
    assert_ptr_equal(after, before + 16);
    assert_true(arena_bytes(a) >= bytes + 1000000);
    arena_free(a);
}

static void test_tiny_first_block(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(1);
    for (int i = 0; i < 100; i++) memset(arena_alloc(a, 100), i, 100);
    arena_free(a);
    arena_free(NULL);
}

static void test_copies(void **state)
{
    UNIT_UNUSED(state);
    struct arena *a = arena_new(64);
    assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    struct str s = arena_str(a, STR("text"));
    assert_true(str_is(s, "text"));
    assert_int_equal(s.p[4], '\0');
    assert_null(arena_str(a, STR_NONE).p);
    assert_non_null(arena_str(a, STR("")).p);
    assert_string_equal(arena_printf(a, "%s-%d", "x", 42), "x-42");
    char *longer = arena_printf(a, "%0500d", 1);
    assert_int_equal(strlen(longer), 500);
    const unsigned char *z = arena_zalloc(a, 300);
    for (int i = 0; i < 300; i++) assert_int_equal(z[i], 0);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned_and_disjoint),
        cmocka_unit_test(test_large_piece_keeps_the_block),
        cmocka_unit_test(test_tiny_first_block),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
