/* log: what a record looks like, that nothing in it can forge another, rotation, levels, and refusals that say what would be right. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

static char path[] = "/tmp/signet-unit-log-XXXXXX";
static char moved[64];

static int make_file(void **state)
{
    UNIT_UNUSED(state);
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    snprintf(moved, sizeof(moved), "%s.1", path);
    clock_fake(1, 1795358040123U);
    return close(fd);
}

static int remove_file(void **state)
{
    UNIT_UNUSED(state);
    log_stop();
    clock_fake(0, 0);
    unlink(moved);
    return unlink(path);
}

static char *read_all(const char *file)
{
    struct buf b = {0};
    FILE *f = fopen(file, "re");
    assert_non_null(f);
    size_t n;
    while ((n = fread(buf_reserve(&b, 4096), 1, 4096, f)) > 0) b.len += n;
    fclose(f);
    buf_cstr(&b);
    return b.data;
}

static void start(const char *format)
{
    struct err err = {0};
    assert_int_equal(truncate(path, 0), 0);
    if (log_start(LOG_LEVEL_INFO, format, path, &err) != 0) fail_msg("%s", err.text);
}

static void expect_file(const char *file, const char *expected)
{
    char *text = read_all(file);
    assert_string_equal(text, expected);
    free(text);
}

static void test_text_record(void **state)
{
    UNIT_UNUSED(state);
    start("text");
    log_notice("c2s", "%d clients", 3);
    log_set_thread("worker-1");
    log_set_stanza("abc");
    log_error("store", "disk full");
    log_set_thread(NULL);
    log_set_stanza(NULL);
    log_debug("c2s", "not at this level");
    expect_file(path, "2026-11-22T14:34:00.123Z notice c2s: 3 clients\n"
                      "2026-11-22T14:34:00.123Z error  store [worker-1] {abc}: disk full\n");
}

static void test_json_record(void **state)
{
    UNIT_UNUSED(state);
    start("json");
    log_set_thread("store");
    log_set_stanza("a\"b");
    log_warn("broker", "back\\slash and \"quotes\"\nline \x1b[31m");
    log_set_thread(NULL);
    log_set_stanza(NULL);
    expect_file(path, "{\"time\":\"2026-11-22T14:34:00.123Z\",\"level\":\"warn\",\"area\":\"broker\",\"thread\":\"store\",\"stanza\":\"a\\\"b\","
                      "\"text\":\"back\\\\slash and \\\"quotes\\\"\\nline \\u001b[31m\"}\n");
}

static void test_nothing_forges_a_record(void **state)
{
    UNIT_UNUSED(state);
    start("text");
    log_info("c2s", "user %s", "a\nb\r\x7f\xc2\x9b\xff\xc0\xaf\xed\xa0\x80\xe2\x82 \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_file(path, "2026-11-22T14:34:00.123Z info   c2s: user a\\nb\\x0d\\x7f\\x9b\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xe2\\x82 "
                      "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n");
    start("json");
    log_info("c2s", "%s", "\xff");
    char *text = read_all(path);
    assert_non_null(strstr(text, "\"text\":\"\\\\xff\"}"));
    free(text);
}

static void test_long_text_is_whole_up_to_a_bound(void **state)
{
    UNIT_UNUSED(state);
    char *longer = x_malloc(100001);
    memset(longer, 'y', 100000);
    longer[5000] = '\0';
    start("text");
    log_info("x", "%s", longer);
    char *text = read_all(path);
    assert_int_equal(strlen(text), strlen("2026-11-22T14:34:00.123Z info   x: ") + 5000 + 1);
    free(text);
    longer[5000] = 'y';
    longer[100000] = '\0';
    start("text");
    log_info("x", "%s", longer);
    text = read_all(path);
    assert_in_range(strlen(text), 16000, 17000);
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
    free(longer);
}

static void test_reopen_after_rotation(void **state)
{
    UNIT_UNUSED(state);
    struct err err = {0};
    start("text");
    log_info("x", "one");
    assert_int_equal(rename(path, moved), 0);
    log_info("x", "two");
    assert_int_equal(log_reopen(&err), 0);
    log_info("x", "three");
    expect_file(moved, "2026-11-22T14:34:00.123Z info   x: one\n2026-11-22T14:34:00.123Z info   x: two\n");
    expect_file(path, "2026-11-22T14:34:00.123Z info   x: three\n");
}

static void test_levels(void **state)
{
    UNIT_UNUSED(state);
    assert_int_equal(log_level_parse("warn"), LOG_LEVEL_WARN);
    assert_int_equal(log_level_parse("WARN"), -1);
    assert_int_equal(log_level_parse(""), -1);
    log_set_level(LOG_LEVEL_WARN);
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    assert_true(log_enabled(LOG_LEVEL_WARN));
    assert_false(log_enabled(LOG_LEVEL_NOTICE));
    log_set_level(LOG_LEVEL_INFO);
}

static void test_errno_survives(void **state)
{
    UNIT_UNUSED(state);
    start("text");
    errno = EXDEV;
    log_info("x", "%s", "between a failure and its report");
    assert_int_equal(errno, EXDEV);
}

static void test_refusals(void **state)
{
    UNIT_UNUSED(state);
    struct err err = {0};
    assert_int_equal(log_start(LOG_LEVEL_INFO, "xml", "stderr", &err), -1);
    assert_non_null(strstr(err.text, "use text or json"));
    assert_int_equal(log_start(LOG_LEVEL_INFO, "text", "", &err), -1);
    assert_non_null(strstr(err.text, "stderr, journald or the path"));
    assert_int_equal(log_start(LOG_LEVEL_INFO, "text", "/nowhere/at/all.log", &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.text, "/nowhere/at/all.log"));
}

enum { THREADS = 4, RECORDS = 500 };
static void *write_records(void *arg)
{
    UNIT_UNUSED(arg);
    for (int i = 0; i < RECORDS; i++) log_info("x", "%s", "0123456789012345678901234567890123456789");
    return NULL;
}

static void test_records_of_threads_do_not_mix(void **state)
{
    UNIT_UNUSED(state);
    pthread_t threads[THREADS];
    int64_t before = metric_read(METRIC_LOG_RECORDS);
    start("text");
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_records, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(metric_read(METRIC_LOG_RECORDS) - before, THREADS * RECORDS);
    char *text = read_all(path);
    const char *line = "2026-11-22T14:34:00.123Z info   x: 0123456789012345678901234567890123456789\n";
    assert_int_equal(strlen(text), strlen(line) * THREADS * RECORDS);
    for (size_t at = 0; text[at] != '\0'; at += strlen(line)) assert_memory_equal(text + at, line, strlen(line));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_record),
        cmocka_unit_test(test_json_record),
        cmocka_unit_test(test_nothing_forges_a_record),
        cmocka_unit_test(test_long_text_is_whole_up_to_a_bound),
        cmocka_unit_test(test_reopen_after_rotation),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_errno_survives),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_records_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
