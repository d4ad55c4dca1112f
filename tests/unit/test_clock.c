/* clock: faking, stamps there and back, and what is no stamp. */
#include "unit.h"

#include "base/clock.h"

static void test_real_and_fake(void **state)
{
    UNIT_UNUSED(state);
    uint64_t a = clock_us();
    uint64_t b = clock_us();
    assert_true(b >= a);
    assert_true(clock_wall_ms() > 1700000000000U);
    clock_fake(1000, 5000);
    assert_int_equal(clock_ms(), 1000);
    assert_int_equal(clock_us(), 1000000);
    assert_int_equal(clock_wall_ms(), 5000);
    clock_fake(0, 0);
    assert_true(clock_wall_ms() > 1700000000000U);
}

static void test_stamp(void **state)
{
    UNIT_UNUSED(state);
    char out[CLOCK_STAMP_SIZE];
    assert_string_equal(clock_stamp(0, out), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_stamp(1795358040123U, out), "2026-11-22T14:34:00.123Z");
    assert_string_equal(clock_stamp(UINT64_MAX, out), "9999-12-31T23:59:59.999Z");
}

static void test_parse(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *text;
        uint64_t wall_ms;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T14:34:00.123Z", 1795358040123U},
        {"2026-11-22T14:34:00.1Z", 1795358040100U},
        {"2026-11-22T14:34:00.123456789Z", 1795358040123U},
        {"2026-11-22T16:34:00.123+02:00", 1795358040123U},
        {"2026-11-22T09:04:00-05:30", 1795358040000U},
        {"2024-02-29T00:00:00Z", 1709164800000U},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t ms = 1;
        assert_int_equal(clock_parse_stamp(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].wall_ms);
    }
}

static void test_parse_refuses(void **state)
{
    UNIT_UNUSED(state);
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T14:34:00",
        "2026-11-22 14:34:00Z",
        "2026-11-22T14:34:00.Z",
        "2026-11-22T14:34:00ZZ",
        "2026-13-22T14:34:00Z",
        "2026-00-22T14:34:00Z",
        "2026-02-29T14:34:00Z",
        "2026-11-31T14:34:00Z",
        "2026-11-22T24:34:00Z",
        "2026-11-22T14:60:00Z",
        "2026-11-22T14:34:61Z",
        "2026-11-22T14:34:00+2:00",
        "2026-11-22T14:34:00+15:00",
        "26-11-22T14:34:00Z",
        "1969-12-31T23:59:59Z",
        "2026-11-22T14:34:00+02:00x",
        "+026-11-22T14:34:00Z",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t ms;
        if (clock_parse_stamp(bad[i], &ms) != -1) fail_msg("'%s' was taken for a stamp", bad[i]);
    }
}

static void test_round_trip(void **state)
{
    UNIT_UNUSED(state);
    char out[CLOCK_STAMP_SIZE];
    for (uint64_t ms = 7; ms < 250000000000000U; ms += 2345678901234U) {
        uint64_t back;
        assert_int_equal(clock_parse_stamp(clock_stamp(ms, out), &back), 0);
        assert_int_equal(back, ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_and_fake), cmocka_unit_test(test_stamp),      cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses), cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
