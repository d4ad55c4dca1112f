/* The daemon as a whole: status, alarms, metrics, reload, shutdown. */
#include "signetctl/ctl.h"
#include <stdio.h>
#include <string.h>

static void fact_number(struct table *t, const char *name, const json_t *object, const char *field)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", json_number(object, field));
    table_fact(t, name, text);
}

static void fact_port(struct table *t, const char *name, const json_t *object, const char *field)
{
    char text[24];
    long long port = json_number(object, field);
    snprintf(text, sizeof(text), "%lld", port);
    table_fact(t, name, port > 0 ? text : "none");
}

static void print_status(const json_t *status)
{
    struct table t = {0};
    const json_t *store = json_object_get(status, "store");
    const char *component;
    json_t *state, *worker;
    size_t i;
    table_fact(&t, "version", json_text(status, "version"));
    table_fact(&t, "node", json_text(status, "node"));
    table_fact(&t, "domains", json_text(status, "domains"));
    table_fact(&t, "running since", json_text(status, "since"));
    fact_port(&t, "port for clients", status, "port");
    fact_port(&t, "port for clients, TLS", status, "port_tls");
    fact_port(&t, "port for compliance servers", status, "port_component");
    fact_number(&t, "sessions", status, "sessions");
    fact_number(&t, "client streams", status, "streams");
    fact_number(&t, "stanzas under way", status, "stanzas_under_way");
    fact_number(&t, "events waiting", status, "events_waiting");
    fact_number(&t, "store commits", store, "commits");
    fact_number(&t, "store requests waiting", store, "queue_depth");
    fact_number(&t, "store failures", store, "failures");
    if (json_object_size(json_object_get(status, "links")) == 0) table_fact(&t, "links", "none: nothing is asked of compliance servers");
    json_object_foreach (json_object_get(status, "links"), component, state) {
        struct buf name = {0};
        buf_addf(&name, "link %s", component);
        table_fact(&t, buf_cstr(&name), json_string_value(state));
        buf_free(&name);
    }
    table_print(&t);
    putchar('\n');
    struct table workers = {.columns = 4, .head = {"WORKER", "MAILBOX", "LONGEST TURN", "MESSAGES"}};
    json_array_foreach (json_object_get(status, "workers"), i, worker) {
        table_addf(&workers, "%zu", i);
        table_addf(&workers, "%lld", json_number(worker, "mailbox_depth"));
        table_addf(&workers, "%.1f ms", (double)json_number(worker, "loop_lag_us_max") / 1000.0);
        table_addf(&workers, "%lld", json_number(worker, "messages"));
    }
    table_print(&workers);
}

enum outcome status_show(const struct invocation *in, struct err *err) { return api_show(in, x_strdup("/v1/status"), print_status, err); }

static void print_alarms(const json_t *answer)
{
    json_t *alarm;
    size_t i;
    struct table t = {.columns = 7, .head = {"ALARM", "SEVERITY", "STATE", "SUBJECT", "SINCE", "LAST", "COUNT"}}, texts = {0};
    json_array_foreach (json_object_get(answer, "alarms"), i, alarm) {
        bool active = json_is_true(json_object_get(alarm, "active"));
        table_add(&t, json_text(alarm, "name"));
        table_add(&t, json_text(alarm, "severity"));
        table_add(&t, active ? "active" : "cleared");
        table_add(&t, json_text(alarm, "subject"));
        table_add(&t, json_text(alarm, "since"));
        table_add(&t, json_text(alarm, "last"));
        table_addf(&t, "%lld", json_number(alarm, "count"));
        if (!active) continue;
        struct buf line = {0};
        buf_addf(&line, "%s: %s", json_text(alarm, "name"), json_text(alarm, "subject"));
        table_fact(&texts, buf_cstr(&line), json_text(alarm, "detail"));
        table_fact(&texts, "  likely cause", json_text(alarm, "cause"));
        table_fact(&texts, "  what to do", json_text(alarm, "remedy"));
        buf_free(&line);
    }
    table_print(&t);
    if (texts.n_cells > 0) {
        putchar('\n');
        table_print(&texts);
    }
}

enum outcome alarm_list(const struct invocation *in, struct err *err) { return api_show(in, x_strdup("/v1/alarms"), print_alarms, err); }

enum outcome metrics_print(const struct invocation *in, struct err *err)
{
    struct buf text = {0};
    enum outcome rc = OUTCOME_OK;
    if ((in->given & OPT_JSON) != 0) return fail(OUTCOME_USAGE, err, "metrics are in the text format of Prometheus only; leave out --json");
    rc = api_text("/v1/metrics", &text, err);
    if (rc == OUTCOME_OK) fwrite(text.data != NULL ? text.data : "", 1, text.len, stdout);
    buf_free(&text);
    return rc;
}

static enum outcome tell(const struct invocation *in, const char *path, const char *did, struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = api_call("POST", path, NULL, &answer, err);
    if (rc == OUTCOME_OK) print_done(in, answer, "%s", did);
    json_decref(answer);
    return rc;
}

enum outcome daemon_reload(const struct invocation *in, struct err *err)
{
    return tell(in, "/v1/reload", "signetd reloads; its log says what came of it", err);
}
