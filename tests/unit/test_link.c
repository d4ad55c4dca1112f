/* The link's state machine with a clock of its own: every legal move, the order of what is sent, returned and re-sent, limits, pings and back-off. */
#include "base/state.h"
#include "broker/link.h"
#include "broker/event.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

struct fixture {
    struct link *link;
    struct buf log; /* what the link did: "d" dial, "s3" send, "r3" resend, "f" fire and forget, "p" ping, "c" cut, "R7" returned hold, "x" dropped, "[ACTIVE]" */
    uint64_t now;
    bool block_on_send;
};

static struct event the_event; /* the link looks at `bytes` only */

static void on_dial(void *o) { buf_adds(&((struct fixture *)o)->log, "d "); }
static uint64_t on_send(void *o, uint64_t number, const struct event_request *r, bool resent)
{
    struct fixture *f = o;
    if (r->hold == 0)
        buf_adds(&f->log, "f ");
    else
        buf_addf(&f->log, "%c%llu ", resent ? 'r' : 's', (unsigned long long)number);
    if (f->block_on_send) link_blocked(f->link, true);
    return number * 10;
}
static void on_ping(void *o, uint64_t number) { buf_addf(&((struct fixture *)o)->log, "p%llu ", (unsigned long long)number); }
static void on_cut(void *o, const char *why)
{
    (void)why;
    buf_adds(&((struct fixture *)o)->log, "c ");
}
static void on_returned(void *o, struct event_request *r) { buf_addf(&((struct fixture *)o)->log, "R%llu ", (unsigned long long)r->hold); }
static void on_dropped(void *o, struct event_request *r) { buf_addf(&((struct fixture *)o)->log, "x%llu ", (unsigned long long)r->hold); }
static void on_moved(void *o, enum link_state from, enum link_state to, const char *why)
{
    (void)from, (void)why;
    buf_addf(&((struct fixture *)o)->log, "[%s] ", link_state_name(to));
}
static const struct link_ops ops = {on_dial, on_send, on_ping, on_cut, on_returned, on_dropped, on_moved};
static const struct link_limits limits = {
    .outage_window_ms = 300000, .ping_interval_ms = 15000, .ping_timeout_ms = 15000, .connect_ms = 10000, .outstanding = 100, .queue_bytes = 1 << 20};

static struct fixture *make(bool dials, const struct link_limits *with)
{
    struct fixture *f = x_calloc(1, sizeof *f);
    f->now = 1000000;
    f->link = link_new("op-wall.node1", dials, with != NULL ? with : &limits, 42, &ops, f);
    return f;
}
static void done(struct fixture *f)
{
    link_stop(f->link, "test over");
    link_free(f->link);
    buf_free(&f->log);
    free(f);
}
/* What happened since the last look. */
static void saw(struct fixture *f, const char *want)
{
    assert_string_equal(buf_cstr(&f->log), want);
    buf_reset(&f->log);
}
static enum link_offer offer(struct fixture *f, uint64_t hold)
{
    the_event.bytes = 1000;
    struct event_request r = {.event = &the_event, .worker = 1, .hold = hold};
    return link_offer(f->link, &r, f->now);
}
static uint64_t answered(struct fixture *f, uint64_t number)
{
    struct event_request r;
    uint64_t stamp;
    if (!link_answer(f->link, number, &r, &stamp, f->now)) return 0;
    assert_int_equal(stamp, number * 10);
    return r.hold;
}
/* Lets time pass to the link's next due moment; tells how much. */
static uint64_t pass(struct fixture *f)
{
    uint64_t due = link_due(f->link), took = due > f->now ? due - f->now : 0;
    assert_true(due != UINT64_MAX);
    f->now += took;
    link_tick(f->link, f->now);
    return took;
}
static void up(struct fixture *f)
{
    link_start(f->link, f->now);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    buf_reset(&f->log);
}

static void test_connects_and_sends(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    assert_int_equal(offer(f, 9), LINK_REFUSED); /* GONE keeps nothing */
    link_start(f->link, f->now);
    saw(f, "[CONNECTING] d ");
    assert_int_equal(offer(f, 9), LINK_REFUSED);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    saw(f, "[CONNECTED] [ACTIVE] ");
    for (uint64_t i = 11; i <= 13; i++) assert_int_equal(offer(f, i), LINK_TAKEN);
    saw(f, "s1 s2 s3 ");
    assert_int_equal(answered(f, 3), 13); /* in any order */
    assert_int_equal(answered(f, 1), 11);
    assert_int_equal(answered(f, 1), 0);
    assert_int_equal(answered(f, 77), 0);
    assert_int_equal(link_stats(f->link)->late, 1);
    assert_int_equal(link_stats(f->link)->unknown, 1);
    assert_int_equal(link_outstanding(f->link), 1);
    assert_int_equal(offer(f, 0), LINK_TAKEN);
    saw(f, "f x0 ");
    done(f);
}

static void test_graceful_end_returns_at_once(void **state)
{
    (void)state;
    struct link_limits two = limits;
    two.outstanding = 2;
    struct fixture *f = make(true, &two);
    up(f);
    for (uint64_t i = 1; i <= 4; i++) offer(f, i);
    offer(f, 0);
    saw(f, "s1 s2 ");
    link_lost(f->link, true, "ended", f->now);
    saw(f, "R1 R2 R3 R4 x0 [GONE] ");
    assert_int_equal(link_bytes(f->link), 0);
    assert_int_equal(answered(f, 1), 0);
    assert_false(link_keeps(f->link));
    assert_string_equal(link_last_error(f->link), "ended");
    assert_in_range(pass(f), 100, 400); /* the first retry comes soon */
    saw(f, "[CONNECTING] d ");
    done(f);
}

static void test_never_active_has_no_window(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    link_start(f->link, f->now);
    link_lost(f->link, false, "refused", f->now);
    saw(f, "[CONNECTING] d [GONE] ");
    assert_int_equal(link_window_end(f->link), 0);
    pass(f);
    link_connected(f->link, f->now);
    link_lost(f->link, false, "cut", f->now);
    saw(f, "[CONNECTING] d [CONNECTED] [GONE] ");
    done(f);
}

static void test_cut_resends_in_order(void **state)
{
    (void)state;
    struct link_limits three = limits;
    three.outstanding = 3;
    struct fixture *f = make(true, &three);
    up(f);
    for (uint64_t i = 1; i <= 5; i++) offer(f, i);
    assert_int_equal(answered(f, 2), 2);
    saw(f, "s1 s2 s3 s4 ");
    link_lost(f->link, false, "cut", f->now);
    saw(f, "[QUEUEING] ");
    assert_true(link_keeps(f->link));
    assert_int_equal(offer(f, 6), LINK_TAKEN); /* its events wait */
    assert_int_equal(answered(f, 3), 0); /* nothing sent on this connection */
    pass(f);
    link_lost(f->link, false, "refused", f->now); /* a failed retry within the window */
    saw(f, "[CONNECTING] d [QUEUEING] ");
    pass(f);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    saw(f, "[CONNECTING] d [CONNECTED] [ACTIVE] r1 r3 r4 ");
    assert_int_equal(link_window_end(f->link), 0);
    assert_int_equal(answered(f, 4), 4);
    assert_int_equal(answered(f, 1), 1);
    saw(f, "s5 s6 ");
    assert_int_equal(link_stats(f->link)->resent, 3);
    done(f);
}

static void test_window_ends(void **state)
{
    (void)state;
    struct fixture *f = make(false, NULL); /* accept direction: nothing is dialled meanwhile */
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    offer(f, 1);
    offer(f, 2);
    link_lost(f->link, false, "cut", f->now);
    buf_reset(&f->log);
    assert_int_equal(pass(f), 300000);
    saw(f, "R1 R2 [GONE] ");
    assert_int_equal(link_due(f->link), UINT64_MAX);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    saw(f, "[CONNECTED] [ACTIVE] ");
    done(f);
}

static void test_window_ends_while_connecting(void **state)
{
    (void)state;
    struct link_limits l = limits;
    l.outage_window_ms = 5000;
    struct fixture *f = make(true, &l);
    up(f);
    offer(f, 1);
    link_lost(f->link, false, "cut", f->now);
    pass(f);
    saw(f, "s1 [QUEUEING] [CONNECTING] d ");
    pass(f); /* the window, before the connection's own deadline */
    saw(f, "R1 [CONNECTING] ");
    assert_false(link_keeps(f->link));
    pass(f);
    saw(f, "c [GONE] ");
    l.outage_window_ms = 0; /* no window at all: as a graceful end */
    link_set_limits(f->link, &l);
    pass(f);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    offer(f, 2);
    link_lost(f->link, false, "cut", f->now);
    saw(f, "[CONNECTING] d [CONNECTED] [ACTIVE] s2 R2 [GONE] ");
    done(f);
}

/* What nobody waits for, shadow rows' events among it, is in nobody's way while the link is away; what is awaited is. */
static void test_backlog(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    up(f);
    struct event_request shadow = {.event = &the_event, .worker = 1, .hold = 21, .shadow = true};
    the_event.bytes = 1000;
    assert_int_equal(offer(f, 11), LINK_TAKEN);
    uint64_t one = link_backlog_bytes(f->link);
    assert_int_equal(link_offer(f->link, &shadow, f->now), LINK_TAKEN);
    assert_int_equal(link_backlog(f->link), 2);
    assert_int_equal(link_backlog_bytes(f->link), 2 * one);
    link_lost(f->link, false, "cut", f->now); /* both were sent, and wait again */
    shadow.hold = 22;
    assert_int_equal(link_offer(f->link, &shadow, f->now), LINK_TAKEN);
    assert_int_equal(offer(f, 0), LINK_TAKEN);
    assert_int_equal(link_backlog(f->link), 1);
    assert_int_equal(link_backlog_bytes(f->link), one);
    assert_true(link_forget(f->link, 1, 22));
    assert_int_equal(link_backlog(f->link), 1);
    assert_true(link_forget(f->link, 1, 11));
    assert_int_equal(link_backlog(f->link), 0);
    assert_int_equal(link_backlog_bytes(f->link), 0);
    done(f);
}

static void test_limits(void **state)
{
    (void)state;
    struct link_limits small = limits;
    small.queue_bytes = 3500;
    small.outstanding = 1;
    struct fixture *f = make(true, &small);
    up(f);
    for (uint64_t i = 1; i <= 3; i++) assert_int_equal(offer(f, i), LINK_TAKEN);
    assert_int_equal(offer(f, 4), LINK_FULL);
    assert_int_equal(link_stats(f->link)->full, 1);
    saw(f, "s1 ");
    assert_int_equal(answered(f, 1), 1);
    assert_int_equal(offer(f, 4), LINK_TAKEN);
    assert_int_equal(link_waiting(f->link), 2);
    saw(f, "s2 ");
    done(f);
}

static void test_forgets(void **state)
{
    (void)state;
    struct link_limits one = limits;
    one.outstanding = 1;
    struct fixture *f = make(true, &one);
    up(f);
    for (uint64_t i = 1; i <= 4; i++) offer(f, i);
    saw(f, "s1 ");
    assert_true(link_forget(f->link, 1, 3)); /* waiting: never sent */
    assert_false(link_forget(f->link, 1, 3));
    assert_false(link_forget(f->link, 2, 2)); /* another worker's hold of that number */
    saw(f, "x3 ");
    assert_true(link_forget(f->link, 1, 1)); /* sent: makes room for the next */
    saw(f, "x1 s2 ");
    assert_int_equal(answered(f, 1), 0);
    assert_int_equal(link_stats(f->link)->late, 1);
    link_lost(f->link, false, "cut", f->now);
    assert_true(link_forget(f->link, 1, 2)); /* in the outage */
    saw(f, "[QUEUEING] x2 ");
    link_lost(f->link, true, "no effect when not connected", f->now);
    saw(f, "");
    done(f);
}

static void test_blocked_output(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    up(f);
    f->block_on_send = true;
    for (uint64_t i = 1; i <= 3; i++) offer(f, i);
    saw(f, "s1 ");
    link_blocked(f->link, false);
    saw(f, "s2 ");
    f->block_on_send = false;
    link_blocked(f->link, false);
    saw(f, "s3 ");
    done(f);
}

static void test_pings(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    up(f);
    assert_int_equal(pass(f), 15000);
    saw(f, "p1 ");
    f->now += 100;
    link_pong(f->link, 1, f->now);
    assert_int_equal(pass(f), 15000);
    f->now += 14000;
    link_heard(f->link, f->now); /* anything at all is a sign of life */
    assert_int_equal(pass(f), 15000);
    saw(f, "p2 p3 ");
    offer(f, 1);
    assert_int_equal(pass(f), 15000);
    saw(f, "s1 c [QUEUEING] ");
    assert_string_equal(link_last_error(f->link), "a ping was not answered");
    done(f);
}

static void test_probe(void **state)
{
    (void)state;
    struct fixture *f = make(false, NULL);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    buf_reset(&f->log);
    link_probe(f->link, 5000, f->now);
    assert_true(link_probing(f->link));
    saw(f, "p1 ");
    link_pong(f->link, 1, f->now);
    assert_false(link_probing(f->link)); /* alive: the second connection is refused */
    assert_int_equal(link_state(f->link), LINK_ACTIVE);
    link_probe(f->link, 5000, f->now);
    assert_int_equal(pass(f), 5000);
    saw(f, "p2 c [QUEUEING] ");
    assert_false(link_probing(f->link));
    done(f);
}

static void test_back_off(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    uint64_t base[] = {200, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    link_start(f->link, f->now);
    for (unsigned i = 0; i < sizeof base / sizeof base[0]; i++) {
        link_lost(f->link, false, "refused", f->now);
        assert_in_range(pass(f), base[i] * 3 / 4, base[i] * 5 / 4);
        assert_int_equal(link_state(f->link), LINK_CONNECTING);
    }
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    link_lost(f->link, true, "fell at once", f->now);
    assert_true(pass(f) > 20000);
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    f->now += 6000;
    link_lost(f->link, true, "stood for a while", f->now);
    assert_true(pass(f) < 300);
    done(f);
}

static void test_deadline_of_the_handshake(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    link_start(f->link, f->now);
    link_connected(f->link, f->now);
    assert_int_equal(pass(f), 10000);
    saw(f, "[CONNECTING] d [CONNECTED] c [GONE] ");
    done(f);
}

static void test_restart_and_stop(void **state)
{
    (void)state;
    struct fixture *f = make(true, NULL);
    up(f);
    offer(f, 1);
    link_restart(f->link, true, f->now); /* another host or password: the events are kept for it */
    saw(f, "s1 [QUEUEING] [CONNECTING] d ");
    link_connected(f->link, f->now);
    link_active(f->link, f->now);
    saw(f, "[CONNECTED] [ACTIVE] r1 ");
    offer(f, 2);
    link_stop(f->link, "removed");
    saw(f, "s2 R1 R2 [GONE] ");
    assert_int_equal(offer(f, 3), LINK_REFUSED);
    link_start(f->link, f->now);
    assert_int_equal(link_due(f->link), UINT64_MAX);
    saw(f, "");
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects_and_sends),
        cmocka_unit_test(test_graceful_end_returns_at_once),
        cmocka_unit_test(test_never_active_has_no_window),
        cmocka_unit_test(test_cut_resends_in_order),
        cmocka_unit_test(test_window_ends),
        cmocka_unit_test(test_window_ends_while_connecting),
        cmocka_unit_test(test_backlog), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_blocked_output),
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_deadline_of_the_handshake),
        cmocka_unit_test(test_restart_and_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
