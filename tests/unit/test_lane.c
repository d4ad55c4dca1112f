/* Lanes: what may be sent when, who is head, and callbacks that come back in. */
#include "unit.h"
#include "base/list.h"
#include "broker/lane.h"

struct place {
    struct lane_entry entry; /* first: on_head gets it */
    struct lane_ask ask, second;
    char name;
    uint32_t era;
    bool last;
    bool leaves_as_head;
};
static char order[256];
static size_t length;

static void note(char what, char name)
{
    order[length++] = what;
    order[length++] = name;
    order[length] = '\0';
}
static void forget_order(void)
{
    length = 0;
    order[0] = '\0';
}
static void on_send(struct lane_ask *ask)
{
    struct place *p = CONTAINER_OF(ask, struct place, ask);
    assert_true(ask->sent);
    note('s', p->name);
    lane_ask_sent(ask, CONTAINER_OF(ask, struct place, ask)->last);
}
static void on_send_quietly(struct lane_ask *ask) { lane_ask_sent(ask, false); }
static void on_send_second(struct lane_ask *ask)
{
    note('t', CONTAINER_OF(ask, struct place, second)->name);
    lane_ask_sent(ask, false);
}
static void on_head(struct lane_entry *entry)
{
    struct place *p = CONTAINER_OF(entry, struct place, entry);
    note('h', p->name);
    if (p->leaves_as_head) lane_leave(entry);
}
static void enter(struct lane_set *set, struct place *p, char name)
{
    memset(p, 0, sizeof(*p));
    p->name = name;
    p->entry.on_head = on_head;
    p->ask.send_now = on_send;
    p->second.send_now = on_send_second;
    lane_enter(set, STR("romeo juliet"), &p->entry);
    lane_stage(&p->entry, 1);
}
static bool ask(struct place *p, uint32_t step)
{
    bool now = lane_ask(&p->entry, &p->ask, p->era, step);
    if (!now) return false;
    note('S', p->name);
    lane_ask_sent(&p->ask, p->last);
    return true;
}

static void test_pipelined(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b, c;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    enter(&set, &c, 'c');
    assert_int_equal(set.entries, 3);
    assert_true(lane_is_head(&a.entry) && !lane_is_head(&b.entry));
    assert_true(ask(&a, 0) && ask(&b, 0) && ask(&c, 0)); /* without waiting for answers */
    assert_false(ask(&b, 1)); /* b has its answer first: its next profile waits for a's */
    assert_false(ask(&c, 1));
    assert_true(ask(&a, 1)); /* lets both go, in order */
    assert_string_equal(order, "SaSbScSasbsc");
    lane_ask_done(&b.ask);
    lane_ask_done(&a.ask);
    lane_ask_done(&c.ask);
    forget_order();
    a.leaves_as_head = b.leaves_as_head = c.leaves_as_head = true;
    lane_leave(&a.entry);
    assert_string_equal(order, "hbhc");
    assert_int_equal(set.entries, 0);
    lane_set_free(&set);
}

/* Plans that ask in another order: whoever goes by another one than who is ahead waits until that one is sent for the last time. */
static void test_other_orders_wait(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b, c;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    enter(&set, &c, 'c');
    a.era = c.era = 1;
    b.era = 2;
    assert_true(ask(&a, 0));
    assert_false(ask(&b, 0)); /* newer than a */
    assert_false(ask(&c, 0)); /* older than b, which stands ahead of it */
    a.last = true;
    assert_true(ask(&a, 1)); /* a is sent for the last time: b goes, c still waits */
    assert_string_equal(order, "SaSasb");
    lane_ask_done(&a.ask);
    lane_leave(&a.entry);
    assert_string_equal(order, "SaSasbhb");
    lane_ask_done(&b.ask);
    assert_string_equal(order, "SaSasbhbsc");
    lane_ask_done(&c.ask);
    lane_leave(&b.entry);
    lane_leave(&c.entry);
    lane_set_free(&set);
}

static void test_first_goes_ahead(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b, again[2];
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    assert_true(ask(&a, 0));
    for (int i = 0; i < 2; i++) { /* in the order in which they come */
        again[i] = (struct place){.name = (char)('y' + i), .entry.on_head = on_head, .ask.send_now = on_send, .leaves_as_head = true};
        lane_enter_first(&set, STR("romeo juliet"), &again[i].entry);
        lane_stage(&again[i].entry, 1);
    }
    assert_true(lane_is_head(&again[0].entry) && !lane_is_head(&a.entry));
    assert_false(ask(&b, 0)); /* a has sent, those ahead of it have not */
    assert_false(ask(&again[1], 0));
    assert_true(ask(&again[0], 0));
    assert_string_equal(order, "SaSyszsb");
    lane_ask_done(&a.ask);
    lane_ask_done(&b.ask);
    lane_ask_done(&again[0].ask);
    lane_ask_done(&again[1].ask);
    forget_order();
    a.leaves_as_head = b.leaves_as_head = true;
    lane_leave(&again[0].entry);
    assert_string_equal(order, "hzhahb"); /* a was head before: it is told anew */
    lane_set_free(&set);
}

static void test_unasked_stands_before_its_stage(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b, c;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    enter(&set, &c, 'c');
    assert_false(ask(&b, 0)); /* a has yet to ask */
    assert_false(ask(&c, 0));
    assert_true(ask(&a, 0));
    assert_string_equal(order, "Sasbsc");
    lane_ask_done(&b.ask);
    lane_stage(&b.entry, 3);
    memset(&b.ask, 0, sizeof(b.ask));
    b.ask.send_now = on_send;
    assert_false(ask(&b, 0)); /* its es_IN waits for a, which is still at e_DELIVER */
    lane_ask_done(&a.ask);
    lane_stage(&a.entry, 3);
    forget_order();
    lane_skip(&a.entry); /* nobody is asked about a's es_IN: b's may go */
    assert_string_equal(order, "sb");
    lane_leave(&c.entry); /* died */
    lane_ask_done(&c.ask);
    lane_ask_done(&b.ask);
    lane_leave(&b.entry);
    lane_leave(&a.entry);
    lane_leave(&a.entry); /* no-op */
    lane_set_free(&set);
}

static void test_skipped_middle_holds_back_nothing_and_lets_nothing_past(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b, c;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    enter(&set, &c, 'c');
    lane_skip(&b.entry);
    assert_false(ask(&c, 0)); /* not past a, through b */
    assert_true(ask(&a, 0));
    assert_string_equal(order, "Sasc");
    lane_ask_done(&a.ask);
    lane_ask_done(&c.ask);
    forget_order();
    lane_leave(&a.entry);
    lane_leave(&b.entry);
    lane_leave(&c.entry);
    assert_string_equal(order, "hbhc");
    lane_set_free(&set);
}

static void test_more_keeps_a_fan_out_together(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    lane_more(&a.entry, true);
    assert_true(ask(&a, 0));
    assert_false(ask(&b, 0)); /* a's second session comes first */
    assert_true(lane_ask(&a.entry, &a.second, 0, 0));
    note('T', 'a');
    lane_ask_sent(&a.second, false);
    lane_more(&a.entry, false);
    assert_string_equal(order, "SaTasb");
    lane_ask_done(&a.ask);
    lane_ask_done(&a.second);
    lane_ask_done(&b.ask);
    lane_leave(&b.entry);
    lane_leave(&a.entry);
    lane_set_free(&set);
}

static void test_quiet_costs_those_behind_nothing(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b, c;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    enter(&set, &c, 'c');
    assert_true(ask(&a, 0) && ask(&b, 0) && ask(&c, 0));
    lane_ask_done(&b.ask); /* refused; a is not answered yet, so b stays */
    lane_ask_done(&c.ask);
    lane_stage(&c.entry, 3);
    memset(&c.ask, 0, sizeof(c.ask));
    c.ask.send_now = on_send;
    assert_false(ask(&c, 0));
    lane_quiet(&b.entry);
    assert_false(c.ask.sent); /* there is still a */
    lane_ask_done(&a.ask);
    forget_order();
    lane_quiet(&a.entry);
    assert_string_equal(order, "sc");
    lane_ask_done(&c.ask);
    lane_leave(&c.entry);
    lane_leave(&b.entry);
    lane_leave(&a.entry);
    lane_set_free(&set);
}

static void test_leaving_lets_its_asks_go(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place a, b;
    forget_order();
    enter(&set, &a, 'a');
    enter(&set, &b, 'b');
    assert_false(ask(&b, 0));
    lane_leave(&b.entry);
    assert_string_equal(order, "sb");
    assert_true(lane_ask(&b.entry, &b.ask, 0, 1)); /* in no order any more */
    lane_ask_sent(&b.ask, false);
    lane_ask_done(&b.ask);
    lane_leave(&a.entry);
    lane_set_free(&set);
}

static void test_without_a_lane_everything_is_allowed(void **state)
{
    (void)state;
    struct lane_entry alone = {0};
    struct lane_ask one = {0}, two = {0};
    assert_true(lane_is_head(&alone));
    assert_true(lane_ask(&alone, &one, 0, 0) && lane_ask(NULL, &two, 0, 0) && lane_ask(NULL, &two, 0, 1));
    lane_ask_sent(&one, false);
    lane_ask_done(&one);
    lane_ask_done(&two);
    lane_stage(&alone, 2);
    lane_skip(NULL);
    lane_leave(&alone);
}

enum { LONG = 20000 };
static void test_long_lane_does_not_recurse(void **state)
{
    (void)state;
    struct lane_set set = {0};
    struct place *all = test_calloc(LONG, sizeof(*all)), *first = &all[0];
    static char names[] = "abcdefghij";
    forget_order();
    for (int i = 0; i < LONG; i++) {
        enter(&set, &all[i], names[i % 10]);
        all[i].entry.on_head = NULL;
    }
    length = 0;
    for (int i = 1; i < LONG; i++) {
        length = 0;
        assert_false(ask(&all[i], 0));
    }
    for (int i = 1; i < LONG; i++) all[i].ask.send_now = on_send_quietly;
    assert_true(ask(first, 0));
    for (int i = 0; i < LONG; i++) {
        assert_true(all[i].ask.sent);
        lane_ask_done(&all[i].ask);
    }
    for (int i = 0; i < LONG; i++) all[i].entry.on_head = lane_leave;
    lane_leave(&first->entry);
    assert_int_equal(set.entries, 0);
    lane_set_free(&set);
    test_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_first_goes_ahead),
        cmocka_unit_test(test_other_orders_wait),
        cmocka_unit_test(test_unasked_stands_before_its_stage),
        cmocka_unit_test(test_skipped_middle_holds_back_nothing_and_lets_nothing_past),
        cmocka_unit_test(test_more_keeps_a_fan_out_together),
        cmocka_unit_test(test_quiet_costs_those_behind_nothing),
        cmocka_unit_test(test_leaving_lets_its_asks_go),
        cmocka_unit_test(test_without_a_lane_everything_is_allowed),
        cmocka_unit_test(test_long_lane_does_not_recurse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
