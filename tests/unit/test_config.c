/* config: defaults, values, overrides, and above all the errors: each must name its line and what would be right. */
#include "unit.h"

#include <unistd.h>

#include "base/config.h"

static char path[] = "/tmp/signet-unit-config-XXXXXX";

static int make_file(void **state)
{
    UNIT_UNUSED(state);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    UNIT_UNUSED(state);
    return unlink(path);
}

static void write_bytes(const char *text, size_t n)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int load(struct config *c, const char *text, struct err *err)
{
    write_bytes(text, strlen(text));
    return config_load(c, path, NULL, 0, err);
}

static void test_defaults(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct err err = {0};
    assert_int_equal(config_load(&c, NULL, NULL, 0, &err), 0);
    assert_string_equal(c.server_domains, "localhost");
    assert_int_equal(c.broker_event_timeout, 30000);
    assert_string_equal(c.tls_key, "");
    config_free(&c);
    config_free(&c);
}

static void test_values(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct err err = {0};
    int rc = load(&c,
                  "\xef\xbb\xbf# a comment\r\n; another\r\n[server]\r\n  domains =  a.example b.example  \r\n\r\n[broker]\nevent_timeout=500\n"
                  "link_queue_bytes = 4294967296\n[log]\nlevel = debug\ntarget = /var/log/with ; semicolon #1\n[c2s]\nlisten =",
                  &err);
    if (rc != 0) fail_msg("%s", err.text);
    assert_string_equal(c.server_domains, "a.example b.example");
    assert_int_equal(c.broker_event_timeout, 500);
    assert_int_equal(c.broker_link_queue_bytes, 4294967296);
    assert_string_equal(c.log_level, "debug");
    assert_string_equal(c.log_target, "/var/log/with ; semicolon #1"); /* nothing is cut off */
    assert_string_equal(c.c2s_listen, "");
    config_free(&c);
}

static void test_long_value(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct err err = {0};
    struct buf text = {0};
    BUF_ADD_LIT(&text, "[server]\ndomains =");
    for (int i = 0; i < 3000; i++) buf_addf(&text, " d%d.example", i);
    size_t n = text.len;
    BUF_ADD_LIT(&text, "\n[log]\nlevel = loud\n");
    assert_int_equal(load(&c, buf_cstr(&text), &err), -1);
    assert_non_null(strstr(err.text, ":4: log.level")); /* a long line counts once */
    text.len = n;
    assert_int_equal(load(&c, buf_cstr(&text), &err), 0);
    assert_int_equal(strlen(c.server_domains), n - strlen("[server]\ndomains = "));
    config_free(&c);
    buf_free(&text);
}

static void test_overrides(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct err err = {0};
    write_bytes("[log]\nlevel = warn\n", 19);
    const char *good[] = {"log.level=debug", "server.node=a=b.c", "c2s.listen="};
    assert_int_equal(config_load(&c, path, good, 3, &err), 0);
    assert_string_equal(c.log_level, "debug");
    assert_string_equal(c.server_node, "a=b.c");
    assert_string_equal(c.c2s_listen, "");
    config_free(&c);
    static const char *const bad[][2] = {
        {"nonsense", "section.name=value"},
        {"=", "section.name=value"},
        {"log.levle=debug", "did you mean 'level'"},
        {"broker.event_timeout=soon", "from 10 to 600000 ms"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(config_load(&c, NULL, &bad[i][0], 1, &err), -1);
        if (strstr(err.text, bad[i][1]) == NULL || strstr(err.text, bad[i][0]) == NULL) fail_msg("'%s' gave: %s", bad[i][0], err.text);
    }
}

/* The file, the line that must be named, and what the text must contain. */
static const struct {
    const char *text;
    int line;
    const char *says;
} errors[] = {
    {"[c2s]\nlisten_tsl = x\n", 2, "no option 'listen_tsl' in [c2s]; did you mean 'listen_tls'?"},
    {"[c2s]\n\n# x\nlistne = x\n", 4, "did you mean 'listen'?"},
    {"[tls]\nlisten_tls = x\n", 2, "did you mean the one of [c2s]?"},
    {"[tls]\nquite_something_else = x\n", 2, "it has certificate, key"},
    {"[brokr]\nevent_timeout = 5\n", 2, "no section [brokr]; did you mean [broker]?"},
    {"[zzzzzzzzzzzz]\nx = 5\n", 2, "the sections are [server], "},
    {"level = debug\n", 1, "before any section"},
    {"[log]\nlevel debug\n", 2, "'level debug' is not understood; a line is [section], name = value"},
    {"[log\nlevel = debug\n", 1, "'[log' is not understood"},
    {"[log]\nlevel = loud\n", 2, "'loud' is not one of its words; use error, warn, notice, info or debug"},
    {"[log]\nlevel = info ; the usual\n", 2, "a comment needs a line of its own"},
    {"[broker]\nevent_timeout = 9\n", 2, "'9' is not a whole number from 10 to 600000 ms, for instance 30000"},
    {"[broker]\nevent_timeout = 30s\n", 2, "'30s' is not a whole number"},
    {"[broker]\nevent_timeout =\n", 2, "'' is not a whole number"},
    {"[broker]\nevent_timeout = 99999999999999999999\n", 2, "is not a whole number"},
    {"[log]\nlevel = info\n[c2s]\n[log]\nlevel = info\n", 5, "log.level is given twice, first in line 2"},
    {"[c2s]\nlisten = a:1\nlisten = b:2\n", 3, "several values are separated by spaces"},
};

static void test_every_error_names_its_line(void **state)
{
    UNIT_UNUSED(state);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct config c;
        struct err err = {0};
        char place[128];
        snprintf(place, sizeof(place), "%s:%d: ", path, errors[i].line);
        if (load(&c, errors[i].text, &err) == 0) fail_msg("accepted: %s", errors[i].text);
        if (strncmp(err.text, place, strlen(place)) != 0 || strstr(err.text, errors[i].says) == NULL)
            fail_msg("%s gave: %s", errors[i].text, err.text);
        assert_int_equal(err.code, ERR_INVALID);
        config_free(&c); /* harmless after a failure */
    }
}

static void test_files_that_are_none(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct err err = {0};
    assert_int_equal(config_load(&c, "/nowhere/signet.conf", NULL, 0, &err), -1);
    assert_non_null(strstr(err.text, "/nowhere/signet.conf: cannot open"));
    assert_int_equal(config_load(&c, "/tmp", NULL, 0, &err), -1);
    assert_non_null(strstr(err.text, "/tmp: cannot"));
    write_bytes("[log]\nlevel = in\0fo\n", 20);
    assert_int_equal(config_load(&c, path, NULL, 0, &err), -1);
    assert_non_null(strstr(err.text, ":2: there is a NUL byte"));
    struct buf text = {0};
    BUF_ADD_LIT(&text, "[server]\nnode = ");
    for (int i = 0; i < 70000; i++) buf_addc(&text, 'x');
    assert_int_equal(load(&c, buf_cstr(&text), &err), -1);
    assert_non_null(strstr(err.text, ":2: the line has 70007 bytes; the most is"));
    buf_free(&text);
}

static void test_rules_over_several_options(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct err err = {0};
    assert_int_equal(load(&c, "[tls]\ncertificate = /x.pem\n", &err), -1);
    assert_non_null(strstr(err.text, "tls.certificate is set but tls.key is not"));
    assert_int_equal(load(&c, "[server]\ndomains =\n", &err), -1);
    assert_non_null(strstr(err.text, "server.domains is empty"));
}

static void test_printed_config_loads_again(void **state)
{
    UNIT_UNUSED(state);
    struct config c;
    struct config again;
    struct err err = {0};
    struct buf first = {0};
    struct buf second = {0};
    assert_int_equal(load(&c, "[server]\ndomains = a b\nworkers = 3\n[log]\nformat = json\n", &err), 0);
    config_print(&c, &first);
    if (load(&again, buf_cstr(&first), &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(again.server_workers, 3);
    config_print(&again, &second);
    assert_string_equal(buf_cstr(&first), buf_cstr(&second));
    assert_non_null(strstr(first.data, "[server]\ndomains = a b\n"));
    buf_free(&first);
    buf_free(&second);
    config_free(&c);
    config_free(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_long_value),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_every_error_names_its_line),
        cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_rules_over_several_options),
        cmocka_unit_test(test_printed_config_loads_again),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
