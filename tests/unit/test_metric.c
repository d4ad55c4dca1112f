/* metric: sums over living and ended threads, and an exposition that Prometheus can read. Any row of the right type will do. */
#include "unit.h"

#include <pthread.h>

#include "base/metric.h"

static const enum metric_type types[METRIC_COUNT] = {
#define METRIC(id, type, name, label, help) [METRIC_##id] = type,
#include "tables/metrics.def"
#undef METRIC
};

static int find_type(enum metric_type type)
{
    for (int id = 0; id < METRIC_COUNT; id++) {
        if (types[id] == type) return id;
    }
    return -1;
}

enum { THREADS = 6, ROUNDS = 20000 };
static void *count(void *arg)
{
    enum metric_id id = *(enum metric_id *)arg;
    for (int i = 0; i < ROUNDS; i++) metric_inc(id);
    return NULL;
}

static void test_threads_are_summed_and_outlived(void **state)
{
    UNIT_UNUSED(state);
    enum metric_id id = METRIC_LOG_RECORDS;
    int64_t before = metric_read(id);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, count, &id), 0);
    int64_t last = before;
    for (int i = 0; i < 1000; i++) {
        int64_t now = metric_read(id);
        assert_true(now >= last); /* folding a thread never lets a counter go back */
        last = now;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(metric_read(id) - before, THREADS * ROUNDS);
}

static void *count_down(void *arg)
{
    metric_add(*(enum metric_id *)arg, -3);
    return NULL;
}

static void test_gauge_goes_down_on_another_thread(void **state)
{
    UNIT_UNUSED(state);
    enum metric_id id = METRIC_ALARMS_ACTIVE;
    pthread_t thread;
    metric_add(id, 5);
    assert_int_equal(pthread_create(&thread, NULL, count_down, &id), 0);
    pthread_join(thread, NULL);
    assert_int_equal(metric_read(id), 2);
    metric_add(id, -2);
}

static void test_histogram(void **state)
{
    UNIT_UNUSED(state);
    int found = find_type(METRIC_HISTOGRAM);
    if (found < 0) skip();
    enum metric_id id = (enum metric_id)found;
    int64_t before = metric_read(id);
    metric_observe_us(id, 1);
    metric_observe_us(id, 10);
    metric_observe_us(id, 11);
    metric_observe_us(id, 1500000);
    metric_observe_us(id, UINT64_MAX); /* cannot overflow the sum */
    assert_int_equal(metric_read(id) - before, 5);
    metric_observe_us(METRIC_LOG_RECORDS, 5); /* not a histogram: nothing */
}

static void test_exposition(void **state)
{
    UNIT_UNUSED(state);
    metric_inc(METRIC_LOG_RECORDS);
    struct buf out = {0};
    metric_render(&out);
    const char *text = buf_cstr(&out);
    assert_non_null(
        strstr(text, "# HELP signet_log_records_total Log records written.\n# TYPE signet_log_records_total counter\nsignet_log_records_total "));
    assert_int_equal(text[out.len - 1], '\n');
    if (find_type(METRIC_HISTOGRAM) >= 0) {
        assert_non_null(strstr(text, "le=\"0.00001\"} "));
        assert_non_null(strstr(text, "le=\"2.5\"} "));
        assert_non_null(strstr(text, "le=\"300\"} "));
        assert_non_null(strstr(text, "le=\"+Inf\"} "));
        assert_non_null(strstr(text, "_sum"));
    }
    /* Every name has one TYPE line and its samples follow it. */
    for (const char *p = text; (p = strstr(p, "# TYPE ")) != NULL;) {
        const char *name = p + 7;
        size_t n = strcspn(name, " ");
        char again[160];
        snprintf(again, sizeof(again), "# TYPE %.*s ", (int)n, name);
        p = name + n;
        assert_null(strstr(p, again));
        const char *sample = strchr(p, '\n') + 1;
        assert_memory_equal(sample, name, n);
    }
    buf_free(&out);
}

static void each_one(void *arg, const struct metric_view *m)
{
    unsigned *id = arg;
    assert_true(m->name != NULL && m->label != NULL);
    assert_int_equal(m->value, metric_read((enum metric_id)(*id)++));
    if (m->type == METRIC_HISTOGRAM && strcmp(m->name, "event_seconds") == 0) assert_true(m->value == 2 && m->sum_us == 1700);
}

static void test_each_is_as_read(void **state)
{
    UNIT_UNUSED(state);
    unsigned n = 0;
    metric_observe_us(METRIC_EVENTS_TIME, 200);
    metric_observe_us(METRIC_EVENTS_TIME, 1500);
    metric_each(each_one, &n);
    assert_int_equal(n, METRIC_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_are_summed_and_outlived),
        cmocka_unit_test(test_gauge_goes_down_on_another_thread),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_exposition),
        cmocka_unit_test(test_each_is_as_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
