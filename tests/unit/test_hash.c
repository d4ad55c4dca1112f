/* hash: the stable one never changes (users would move to other workers and nodes), the keyed one is well spread, rendezvous moves little. */
#include "unit.h"

#include "base/hash.h"

static void test_stable_is_frozen(void **state)
{
    UNIT_UNUSED(state);
    /* Computed once with a second implementation of SipHash-1-3; they may never change. */
    static const struct {
        const char *text;
        uint64_t hash;
    } frozen[] = {
        {"", 0x81f8cff561625e53U},
        {"a", 0x67927c6ca70c7b14U},
        {"ada@example.com", 0xe3c94dcc476b5765U},
        {"exactly8", 0x176923d2c5e7f953U},
        {"room@conference.example.com", 0x2659d77bf4488289U},
        {"0123456789abcdef", 0xfb8da84a435c5737U},
    };
    for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
        assert_int_equal(hash_stable(frozen[i].text, strlen(frozen[i].text)), frozen[i].hash);
    }
}

static void test_every_length_and_bit_matters(void **state)
{
    UNIT_UNUSED(state);
    unsigned char data[40] = {0};
    for (size_t n = 0; n < sizeof(data); n++) {
        uint64_t hash = hash_keyed(data, n);
        assert_int_equal(hash_keyed(data, n), hash);
        if (n > 0) assert_int_not_equal(hash_keyed(data, n - 1), hash);
        for (size_t bit = 0; bit < n * 8; bit++) {
            data[bit / 8] ^= (unsigned char)(1U << (bit % 8));
            assert_int_not_equal(hash_keyed(data, n), hash);
            data[bit / 8] ^= (unsigned char)(1U << (bit % 8));
        }
    }
}

static void test_stable_spreads_over_workers(void **state)
{
    UNIT_UNUSED(state);
    enum { WORKERS = 16, USERS = 16000 };
    unsigned load[WORKERS] = {0};
    char jid[64];
    for (int i = 0; i < USERS; i++) {
        int n = snprintf(jid, sizeof(jid), "user%d@example.com", i);
        load[hash_stable(jid, (size_t)n) % WORKERS]++;
    }
    for (int w = 0; w < WORKERS; w++) assert_in_range(load[w], 850, 1150);
}

static uint64_t score(const char *key, const char *candidate) { return hash_mix(hash_stable(key, strlen(key)), hash_stable(candidate, strlen(candidate))); }

static unsigned best_node(const char *key, unsigned nodes)
{
    static const char *const names[] = {"node1.example.com", "node2.example.com", "node3.example.com", "node4.example.com", "node5.example.com"};
    unsigned best = 0;
    for (unsigned i = 1; i < nodes; i++) {
        if (score(key, names[i]) > score(key, names[best])) best = i;
    }
    return best;
}

static void test_rendezvous_moves_only_to_the_new(void **state)
{
    UNIT_UNUSED(state);
    unsigned moved = 0;
    char key[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "u%d", i);
        unsigned before = best_node(key, 4);
        unsigned after = best_node(key, 5);
        if (before == after) continue;
        assert_int_equal(after, 4);
        moved++;
    }
    assert_in_range(moved, 1800, 2200);
}

static void test_mix_and_random(void **state)
{
    UNIT_UNUSED(state);
    assert_int_not_equal(hash_mix(1, 2), hash_mix(2, 1));
    assert_int_not_equal(hash_mix(0, 1), hash_mix(0, 2));
    assert_int_not_equal(hash_random_u64(), hash_random_u64());
    unsigned char zeros[256] = {0};
    unsigned char bytes[256] = {0};
    hash_random(bytes, sizeof(bytes));
    assert_memory_not_equal(bytes, zeros, sizeof(bytes));
    hash_random(bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stable_is_frozen),
        cmocka_unit_test(test_every_length_and_bit_matters),
        cmocka_unit_test(test_stable_spreads_over_workers),
        cmocka_unit_test(test_rendezvous_moves_only_to_the_new),
        cmocka_unit_test(test_mix_and_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
