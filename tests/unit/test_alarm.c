/* alarm: one entry per alarm and subject, counted, cleared, raised anew, and a bounded memory of cleared ones. */
#include "unit.h"

#include "base/alarm.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

struct seen {
    unsigned all, active;
    const char *subject; /* look at this one */
    struct alarm_view view;
    char detail[64];
};

static void look(void *arg, const struct alarm_view *view)
{
    struct seen *seen = arg;
    seen->all++;
    seen->active += view->active;
    if (seen->subject == NULL || strcmp(view->subject, seen->subject) != 0) return;
    seen->view = *view;
    snprintf(seen->detail, sizeof(seen->detail), "%s", view->detail);
}

static struct seen look_at(const char *subject)
{
    struct seen seen = {.subject = subject};
    alarm_each(look, &seen);
    return seen;
}

static void test_raise_count_clear(void **state)
{
    UNIT_UNUSED(state);
    clock_fake(1, 1000);
    alarm_raise(ALARM_LINK_LOST, "wall", "cut by %s", "peer");
    clock_fake(1, 2000);
    alarm_raise(ALARM_LINK_LOST, "wall", "refused");
    alarm_raise(ALARM_LINK_LOST, "recorder", "refused");
    alarm_raise(ALARM_EVENT_TIMEOUT, "other", "late");
    assert_int_equal(metric_read(METRIC_ALARMS_ACTIVE), 3);
    assert_int_equal(metric_read(METRIC_ALARMS_RAISED), 4);
    struct seen seen = look_at("wall");
    assert_int_equal(seen.all, 3);
    assert_int_equal(seen.active, 3);
    assert_true(seen.view.active);
    assert_int_equal(seen.view.count, 2);
    assert_int_equal(seen.view.since_wall_ms, 1000);
    assert_int_equal(seen.view.last_wall_ms, 2000);
    assert_string_equal(seen.detail, "refused");
    assert_string_equal(seen.view.name, "compliance-link-lost");
    assert_string_equal(seen.view.severity, "critical");
    alarm_clear(ALARM_EVENT_TIMEOUT, "wall"); /* never raised: nothing */
    clock_fake(1, 3000);
    alarm_clear(ALARM_LINK_LOST, "wall");
    alarm_clear(ALARM_LINK_LOST, "wall");
    assert_int_equal(metric_read(METRIC_ALARMS_ACTIVE), 2);
    seen = look_at("wall");
    assert_false(seen.view.active);
    assert_int_equal(seen.view.last_wall_ms, 3000);
    alarm_raise(ALARM_LINK_LOST, "wall", "again");
    seen = look_at("wall");
    assert_true(seen.view.active);
    assert_int_equal(seen.view.count, 1);
    assert_int_equal(seen.view.since_wall_ms, 3000);
    clock_fake(0, 0);
}

static void test_cleared_ones_are_bounded(void **state)
{
    UNIT_UNUSED(state);
    struct seen before = look_at(NULL);
    char subject[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(subject, sizeof(subject), "s%d", i);
        alarm_raise(ALARM_QUEUE_FULL, subject, "x");
        alarm_clear(ALARM_QUEUE_FULL, subject);
    }
    struct seen after = look_at("s999");
    assert_int_equal(after.active, before.active);
    assert_in_range(after.all, 100, 300);
    assert_string_equal(after.detail, "x"); /* the newest is there */
    assert_int_equal(look_at("s0").view.count, 0);
    alarm_raise(ALARM_QUEUE_FULL, NULL, "no subject");
    assert_int_equal(look_at("").view.count, 1);
    for (int i = 0; i < 1000; i++) alarm_raise(ALARM_QUEUE_FULL, "s999", "%d", i); /* a kept one comes back */
    assert_int_equal(look_at("s999").view.count, 1000);
}

static void test_every_row_is_complete(void **state)
{
    UNIT_UNUSED(state);
    for (int id = 0; id < ALARM_COUNT; id++) alarm_raise((enum alarm_id)id, "row", "x");
    struct seen seen = look_at("row");
    assert_true(*seen.view.cause != '\0' && *seen.view.remedy != '\0' && *seen.view.name != '\0');
    assert_true(strcmp(seen.view.severity, "critical") == 0 || strcmp(seen.view.severity, "warning") == 0);
}

int main(void)
{
    struct err err = {0};
    if (log_start(LOG_LEVEL_DEBUG, "text", "/dev/null", &err) != 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raise_count_clear),
        cmocka_unit_test(test_cleared_ones_are_bounded),
        cmocka_unit_test(test_every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
