/* The counters of stream management where they wrap round (XEP-0198, 4: h is modulo 2^32). A client would have to send and receive four thousand million
 * stanzas to get there, so the file is included and the counters are set. */
#include "../../src/jsm/resume.c"
#include "unit.h"

static struct session session;
static struct resume state_of_session;

static struct resume *begin(uint32_t acked, unsigned unacked)
{
    struct resume *r = &state_of_session;
    *r = (struct resume){.session = &session, .acked = acked};
    session = (struct session){.resume = r};
    list_init(&r->unacked);
    for (unsigned i = 0; i < unacked; i++) {
        struct unacked *u = x_calloc(1, sizeof *u);
        u->stanza = stanza_make(STANZA_MESSAGE, MESSAGE_CHAT, NULL, NULL, STR("m"), STR(""));
        u->bytes = 100;
        list_push_back(&r->unacked, &u->node);
        r->n++;
        r->bytes += u->bytes;
        metric_add(METRIC_UNACKED, 1);
    }
    return r;
}

static void end(struct resume *r)
{
    while (r->n > 0) unacked_drop_first(r);
    assert_int_equal(r->bytes, 0);
    assert_int_equal(metric_read(METRIC_UNACKED), 0);
}

static void test_acknowledged_over_the_end(void **state)
{
    UNIT_UNUSED(state);
    struct resume *r = begin(UINT32_MAX - 1, 5);
    assert_true(acknowledge(r, UINT32_MAX - 1)); /* nothing new */
    assert_int_equal(r->n, 5);
    assert_true(acknowledge(r, UINT32_MAX));
    assert_int_equal(r->n, 4);
    assert_true(acknowledge(r, 1)); /* 0 and 1 */
    assert_int_equal(r->n, 2);
    assert_false(acknowledge(r, 4)); /* one more than there is */
    assert_false(acknowledge(r, 0)); /* less than before is nearly 2^32 more */
    assert_false(acknowledge(r, UINT32_MAX));
    assert_int_equal(r->n, 2);
    assert_int_equal(r->acked, 1);
    assert_int_equal((uint32_t)(r->acked + r->n), 3); /* what resume_on_ack() says was sent */
    assert_true(acknowledge(r, 3));
    assert_int_equal(r->n, 0);
    end(r);
}

static void test_all_at_once_over_the_end(void **state)
{
    UNIT_UNUSED(state);
    struct resume *r = begin(UINT32_MAX, 3);
    assert_true(acknowledge(r, 2));
    assert_int_equal(r->n, 0);
    assert_int_equal(r->acked, 2);
    end(r);
    r = begin(UINT32_MAX - 2, 3);
    assert_false(acknowledge(r, 1)); /* four */
    assert_true(acknowledge(r, 0));
    end(r);
}

/* Our h: the tickets' numbers have 64 bits, what is said of them 32. */
static void test_handled_over_the_end(void **state)
{
    UNIT_UNUSED(state);
    struct resume *r = begin(0, 0);
    const uint64_t enabled_at = 7; /* stanzas before <enable/> do not count */
    r->base = r->floor = enabled_at;
    session.window.first = session.window.next = enabled_at;
    assert_int_equal(handled(&session), 0);
    session.window.first = enabled_at + UINT32_MAX;
    assert_int_equal(handled(&session), UINT32_MAX);
    session.window.first++;
    assert_int_equal(handled(&session), 0);
    session.window.first += 5;
    assert_int_equal(handled(&session), 5);
    /* Resumed there, as resume_complete() counts on. */
    session.window.next = session.window.first + 3;
    uint32_t h = handled(&session);
    r->floor = session.window.next;
    r->base = session.window.next - h;
    assert_int_equal(handled(&session), 5);
    session.window.first = session.window.next += 2;
    assert_int_equal(handled(&session), 7);
    end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledged_over_the_end),
        cmocka_unit_test(test_all_at_once_over_the_end),
        cmocka_unit_test(test_handled_over_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
