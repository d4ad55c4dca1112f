/* map: against a plain array as the model, and deletion during iteration, where every entry must be met exactly once. */
#include "unit.h"

#include "base/map.h"

enum { KEYS = 4096 };
static int values[KEYS];

static struct str key_of(unsigned i, char out[32])
{
    int n = snprintf(out, 32, "user-%u@example.com", i);
    return (struct str){out, (size_t)n};
}

static void test_empty(void **state)
{
    UNIT_UNUSED(state);
    struct map m = {0};
    struct imap im = {0};
    size_t it = 0;
    assert_null(map_get(&m, STR("x")));
    assert_null(map_del(&m, STR("x")));
    assert_false(map_next(&m, &it, NULL, NULL));
    assert_null(imap_get(&im, 0));
    assert_null(imap_del(&im, 0));
    it = 0;
    assert_false(imap_next(&im, &it, NULL, NULL));
    map_free(&m);
    imap_free(&im);
}

static void test_keys_are_bytes(void **state)
{
    UNIT_UNUSED(state);
    struct map m = {0};
    int a, b, c;
    assert_null(map_put(&m, (struct str){"a\0b", 3}, &a));
    assert_null(map_put(&m, STR("a"), &b));
    assert_null(map_put(&m, STR(""), &c));
    assert_ptr_equal(map_get(&m, (struct str){"a\0b", 3}), &a);
    assert_ptr_equal(map_get(&m, STR("a")), &b);
    assert_ptr_equal(map_get(&m, STR("")), &c);
    char key[] = "kept"; /* the map has its own copy */
    map_put(&m, str_of(key), &a);
    key[0] = 'x';
    assert_ptr_equal(map_get(&m, STR("kept")), &a);
    assert_ptr_equal(map_put(&m, STR("kept"), &b), &a);
    assert_int_equal(m.count, 4);
    map_free(&m);
}

/* A reproducible sequence; not the libc's, so that a failure is the same everywhere. */
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static void test_map_against_model(void **state)
{
    UNIT_UNUSED(state);
    struct map m = {0};
    void *model[KEYS] = {0};
    char text[32];
    uint32_t seed = 1;
    size_t count = 0;
    for (int step = 0; step < 100000; step++) {
        unsigned i = next_random(&seed) % KEYS;
        if (next_random(&seed) % 3 != 0) {
            void *value = &values[next_random(&seed) % KEYS];
            count += model[i] == NULL;
            assert_ptr_equal(map_put(&m, key_of(i, text), value), model[i]);
            model[i] = value;
        } else {
            count -= model[i] != NULL;
            assert_ptr_equal(map_del(&m, key_of(i, text)), model[i]);
            model[i] = NULL;
        }
        assert_int_equal(m.count, count);
    }
    for (unsigned i = 0; i < KEYS; i++) assert_ptr_equal(map_get(&m, key_of(i, text)), model[i]);
    map_free(&m);
}

static void test_imap_against_model(void **state)
{
    UNIT_UNUSED(state);
    struct imap m = {0};
    void *model[KEYS] = {0};
    uint32_t seed = 2;
    size_t count = 0;
    for (int step = 0; step < 200000; step++) {
        uint64_t i = next_random(&seed) % KEYS;
        if (next_random(&seed) % 2 != 0) {
            void *value = &values[next_random(&seed) % KEYS];
            count += model[i] == NULL;
            assert_ptr_equal(imap_put(&m, i, value), model[i]);
            model[i] = value;
        } else {
            count -= model[i] != NULL;
            assert_ptr_equal(imap_del(&m, i), model[i]);
            model[i] = NULL;
        }
        assert_int_equal(m.count, count);
    }
    for (uint64_t i = 0; i < KEYS; i++) assert_ptr_equal(imap_get(&m, i), model[i]);
    imap_free(&m);
}

static void test_delete_while_iterating(void **state)
{
    UNIT_UNUSED(state);
    for (unsigned keep_every = 1; keep_every < 5; keep_every++) {
        struct map m = {0};
        struct imap im = {0};
        unsigned char seen[KEYS] = {0};
        unsigned char iseen[KEYS] = {0};
        char text[32];
        for (unsigned i = 0; i < KEYS; i++) {
            map_put(&m, key_of(i, text), &values[i]);
            imap_put(&im, i, &values[i]);
        }
        size_t it = 0;
        struct str key;
        void *value;
        while (map_next(&m, &it, &key, &value)) {
            size_t i = (size_t)((int *)value - values);
            seen[i]++;
            if (keep_every == 1 || i % keep_every != 0) assert_ptr_equal(map_del(&m, key), value);
        }
        uint64_t number;
        it = 0;
        while (imap_next(&im, &it, &number, &value)) {
            iseen[number]++;
            if (keep_every == 1 || number % keep_every != 0) assert_ptr_equal(imap_del(&im, number), value);
        }
        for (unsigned i = 0; i < KEYS; i++) {
            assert_int_equal(seen[i], 1);
            assert_int_equal(iseen[i], 1);
            bool kept = keep_every != 1 && i % keep_every == 0;
            assert_ptr_equal(map_get(&m, key_of(i, text)), kept ? &values[i] : NULL);
            assert_ptr_equal(imap_get(&im, i), kept ? &values[i] : NULL);
        }
        map_free(&m);
        imap_free(&im);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_map_against_model),
        cmocka_unit_test(test_imap_against_model),
        cmocka_unit_test(test_delete_while_iterating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
