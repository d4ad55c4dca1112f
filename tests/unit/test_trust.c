/* When a link is believed no more. */
#include "broker/trust.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct trust trust;

static int setup(void **state)
{
    (void)state;
    trust = (struct trust){.window_ms = 10000, .least = 20};
    return 0;
}

static void say(unsigned n, bool lie, uint64_t now)
{
    for (unsigned i = 0; i < n; i++) trust_said(&trust, lie, now);
}

static void test_only_lies(void **state)
{
    (void)state;
    say(1000, true, 5000);
    assert_false(trust_lost(&trust, 14999)); /* not long enough */
    assert_true(trust_lost(&trust, 15000));
    assert_false(trust_lost(&trust, 90000)); /* another window */
}

static void test_too_little_was_said(void **state)
{
    (void)state;
    say(19, true, 0);
    assert_false(trust_lost(&trust, 3600000));
    say(1, true, 3600000);
    assert_true(trust_lost(&trust, 3600000));
}

static void test_an_honest_part(void **state)
{
    (void)state;
    say(94, true, 1000);
    say(6, false, 1000);
    assert_false(trust_lost(&trust, 11000));
    say(95, true, 11000); /* the next window */
    say(5, false, 11000);
    assert_false(trust_lost(&trust, 20999));
    assert_true(trust_lost(&trust, 21000));
}

static void test_every_answer_twice(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        trust_said(&trust, false, 1000 + i * 100);
        trust_said(&trust, true, 1000 + i * 100);
        assert_false(trust_lost(&trust, 1000 + i * 100));
    }
}

static void test_what_turns_out_to_be_a_lie(void **state)
{
    (void)state;
    say(30, false, 1000);
    for (unsigned i = 0; i < 29; i++) trust_was_lie(&trust);
    assert_true(trust_lost(&trust, 11000));
    trust_was_lie(&trust); /* of an earlier window: it spoils none */
    assert_int_equal(trust.lies, 0);
    say(30, true, 12000);
    trust_anew(&trust); /* a new connection */
    assert_false(trust_lost(&trust, 40000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_only_lies, setup),          cmocka_unit_test_setup(test_too_little_was_said, setup),
        cmocka_unit_test_setup(test_an_honest_part, setup),     cmocka_unit_test_setup(test_every_answer_twice, setup),
        cmocka_unit_test_setup(test_what_turns_out_to_be_a_lie, setup),
    };
    return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
