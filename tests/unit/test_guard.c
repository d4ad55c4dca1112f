/* Counting connections and failed logins, with a clock that stands still unless told: windows, blocks, delays, trusted networks, the bound on memory. */
#include "unit.h"
#include "base/clock.h"
#include "base/metric.h"
#include "xmpp/guard.h"

static struct config config;
static uint64_t now_ms;

static void later(uint64_t ms)
{
    now_ms += ms;
    clock_fake(now_ms, 1700000000000 + now_ms);
}

static int setup(void **state)
{
    UNIT_UNUSED(state);
    struct err err;
    static const char *const options[] = {
        "c2s.address_connections=2", "c2s.address_failures=5",  "c2s.account_failures=4",
        "c2s.login_window=100",      "c2s.block_time=50",       "c2s.login_delay=500",
        "c2s.login_delay_max=3000",  "c2s.failures_tracked=100", "c2s.trusted_addresses=10.1.0.0/16 192.0.2.77 2001:db8:7::/48",
    };
    now_ms = 1000000;
    later(0);
    assert_int_equal(config_load(&config, NULL, options, sizeof options / sizeof options[0], &err), 0);
    assert_int_equal(guard_start(&config, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    UNIT_UNUSED(state);
    guard_stop();
    config_free(&config);
    clock_fake(0, 0);
    assert_int_equal(metric_read(METRIC_LOGIN_FAILURES_TRACKED), 0);
    assert_int_equal(metric_read(METRIC_LOGIN_BLOCKED), 0);
    return 0;
}

static void test_connections(void **state)
{
    UNIT_UNUSED(state);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_OK);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_OK);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_FULL);
    assert_int_equal(guard_connect("192.0.2.2"), GUARD_OK);
    guard_disconnect("192.0.2.1");
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_OK);
    /* All of a /64 is one address, its neighbour another. */
    assert_int_equal(guard_connect("2001:db8:1:2::1"), GUARD_OK);
    assert_int_equal(guard_connect("2001:db8:1:2:ffff::9"), GUARD_OK);
    assert_int_equal(guard_connect("2001:db8:1:2::2"), GUARD_FULL);
    assert_int_equal(guard_connect("2001:db8:1:3::2"), GUARD_OK);
}

static void test_trusted(void **state)
{
    UNIT_UNUSED(state);
    static const struct {
        const char *address;
        bool trusted;
    } rows[] = {{"10.1.2.3", true},        {"10.2.0.1", false},      {"192.0.2.77", true},      {"192.0.2.78", false},
                {"2001:db8:7:1::5", true}, {"2001:db8:8::5", false}, {"::ffff:10.1.0.9", true}, {"(unknown)", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) assert_int_equal(guard_trusted(rows[i].address), rows[i].trusted);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(guard_connect("10.1.2.3"), GUARD_OK);
        assert_int_equal(guard_failed("10.1.2.3", STR_NONE), 0);
    }
    assert_false(guard_address_blocked("10.1.2.3"));

    static const char *const wrong[] = {"10.1.0.0/33", "example.com", "10.1.0.0/", "10.1.0.0/8x", "::/129"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err err;
        struct config other = config;
        other.c2s_trusted_addresses = (char *)(uintptr_t)wrong[i];
        assert_int_equal(guard_start(&other, &err), -1);
        assert_non_null(strstr(err.text, wrong[i]));
    }
    struct err err;
    assert_int_equal(guard_start(&config, &err), 0);
}

static void test_delays(void **state)
{
    UNIT_UNUSED(state);
    static const uint64_t delays[] = {0, 0, 0, 0, 500, 1000, 2000, 3000, 3000};
    for (unsigned i = 0; i < sizeof delays / sizeof delays[0]; i++) assert_int_equal(guard_delay_ms(i), delays[i]);
    assert_int_equal(guard_delay_ms(1000000), 3000);
}

static void test_account_block(void **state)
{
    UNIT_UNUSED(state);
    struct str who = STR("juliet@capulet.lit");
    for (unsigned i = 1; i <= 3; i++) {
        char address[32];
        snprintf(address, sizeof address, "192.0.2.%u", i);
        assert_int_equal(guard_failed(address, who), i);
    }
    assert_false(guard_account_blocked(who));
    guard_succeeded(who); /* she remembered */
    for (unsigned i = 1; i <= 3; i++) assert_int_equal(guard_failed("198.51.100.1", who), i);
    later(100001); /* the window is over */
    for (unsigned i = 1; i <= 4; i++) assert_int_equal(guard_failed("10.1.0.1", who), i);
    assert_true(guard_account_blocked(who));
    assert_false(guard_account_blocked(STR("romeo@montague.lit")));
    assert_int_equal(metric_read(METRIC_LOGIN_BLOCKED), 1);
    later(49999);
    assert_true(guard_account_blocked(who));
    later(1);
    assert_false(guard_account_blocked(who));
    guard_sweep();
    assert_int_equal(metric_read(METRIC_LOGIN_BLOCKED), 0);
    later(100000);
    guard_sweep();
    assert_int_equal(metric_read(METRIC_LOGIN_FAILURES_TRACKED), 0);
}

static void test_address_block(void **state)
{
    UNIT_UNUSED(state);
    int64_t blocks = metric_read(METRIC_LOGIN_BLOCKS_ADDRESS);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_OK);
    for (unsigned i = 0; i < 5; i++) { /* another account each time */
        char account[32];
        snprintf(account, sizeof account, "user%u@capulet.lit", i);
        assert_false(guard_address_blocked("192.0.2.1"));
        assert_int_equal(guard_failed("192.0.2.1", str_of(account)), 1);
    }
    assert_true(guard_address_blocked("192.0.2.1"));
    assert_int_equal(metric_read(METRIC_LOGIN_BLOCKS_ADDRESS), blocks + 1);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_BLOCKED);
    assert_int_equal(guard_connect("192.0.2.2"), GUARD_OK);
    guard_failed("192.0.2.1", STR_NONE); /* does not make it longer */
    later(50000);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_OK);
    assert_int_equal(guard_connect("192.0.2.1"), GUARD_FULL); /* the first connection is still there */
}

/* Names made up without end do not fill the memory, and the connections that are open stay counted. */
static void test_bound(void **state)
{
    UNIT_UNUSED(state);
    assert_int_equal(guard_connect("203.0.113.1"), GUARD_OK);
    assert_int_equal(guard_connect("203.0.113.1"), GUARD_OK);
    guard_failed("203.0.113.1", STR_NONE);
    for (unsigned i = 0; i < 1000; i++) {
        char address[32], account[32];
        snprintf(address, sizeof address, "100.64.%u.%u", i / 250, i % 250);
        snprintf(account, sizeof account, "user%u@capulet.lit", i);
        guard_failed(address, str_of(account));
    }
    assert_int_equal(metric_read(METRIC_LOGIN_FAILURES_TRACKED), 200);
    assert_true(metric_read(METRIC_LOGIN_FAILURES_FORGOTTEN) >= 1800);
    assert_int_equal(guard_connect("203.0.113.1"), GUARD_FULL);
    guard_disconnect("203.0.113.1");
    guard_disconnect("203.0.113.1");
    guard_disconnect("203.0.113.1"); /* one too many: nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connections, setup, teardown),   cmocka_unit_test_setup_teardown(test_trusted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delays, setup, teardown),        cmocka_unit_test_setup_teardown(test_account_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_address_block, setup, teardown), cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
