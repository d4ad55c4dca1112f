/* What the daemon is and does right now: status, the event catalogue, alarms, metrics, the trace, reload. */
#include "admin/private.h"
#include "base/alarm.h"
#include "base/metric.h"
#include "base/stages.h"
#include "broker/broker.h"
#include "io/worker.h"
#include "jsm/jsm.h"
#include "jsm/ticket.h"
#include "store/store.h"
#include "xmpp/c2s.h"
#include <stdlib.h>

static void link_state(void *arg, const struct link_status *l) { json_object_set_new(arg, l->component, json_string(l->state)); }

static int status(struct request *rq, struct err *err)
{
    (void)err;
    struct store_stats store;
    store_stats_read(&store);
    json_t *workers = json_array(), *links = json_object();
    for (uint32_t w = 0; w < worker_count(); w++) {
        struct worker_stats s;
        worker_stats_read(w, &s);
        json_array_append_new(workers, json_pack("{s:I, s:I, s:I}", "mailbox_depth", (json_int_t)s.mailbox_depth, "loop_lag_us_max", (json_int_t)s.loop_lag_us_max,
                                                 "messages", (json_int_t)s.messages));
    }
    broker_links(link_state, links);
    rq->out = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:{s:I, s:I, s:I}, s:i, s:i, s:i}", "version", SIGNET_VERSION, "node", admin.node, "domains",
                        admin.config->server_domains, "sessions", (json_int_t)metric_read(METRIC_SESSIONS), "streams", (json_int_t)metric_read(METRIC_C2S_STREAMS),
                        "stanzas_under_way", (json_int_t)tickets_under_way(), "events_waiting", (json_int_t)broker_holds(), "workers", workers, "links", links, "store",
                        "commits", (json_int_t)store.commits, "queue_depth", (json_int_t)store.queue_depth, "failures", (json_int_t)store.failures, "port",
                        (int)c2s_port(false), "port_tls", (int)c2s_port(true), "port_component", (int)broker_port(false));
    if (broker_port(true) != 0) json_object_set_new(rq->out, "port_component_tls", json_integer((json_int_t)broker_port(true)));
    json_stamp(rq->out, "since", admin.started_wall_ms);
    return 0;
}

static int catalogue(struct request *rq, struct err *err)
{
    (void)err;
    static const char *const answers[] = {"any", "pass", "pass-unmodified", "pass-empty", "none"}, *const keys[] = {"pair", "user", "room"};
    static const char *const system_rows[] = {"", "pass", "bounce", "messages, bounce"};
    json_t *list = json_array();
    for (int i = 0; i < EVENT_COUNT; i++) {
        const struct event_row *row = &event_catalogue[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s}", "name", row->name, "service",
                                              row->service == SERVICE_JSM ? "JSM" : "TC", "packets", row->service == SERVICE_JSM ? packet_type_name(row->kinds) : "",
                                              "answers", answers[row->answers], "refusable", row->refusable, "refused", row->refused, "key", keys[row->key],
                                              "system_profile", system_rows[row->system], "subject", row->subject, "raised", row->raised));
    }
    rq->out = json_pack("{s:o}", "events", list);
    return 0;
}

static void alarm_add(void *arg, const struct alarm_view *a)
{
    json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:I, s:b}", "name", a->name, "severity", a->severity, "subject", json_text(a->subject), "detail",
                          json_text(a->detail), "cause", a->cause, "remedy", a->remedy, "count", (json_int_t)a->count, "active", a->active);
    json_stamp(o, "since", a->since_wall_ms);
    json_stamp(o, "last", a->last_wall_ms);
    json_array_append_new(arg, o);
}

static int alarms(struct request *rq, struct err *err)
{
    (void)err;
    json_t *list = json_array();
    alarm_each(alarm_add, list);
    rq->out = json_pack("{s:o}", "alarms", list);
    return 0;
}

static int metrics(struct request *rq, struct err *err)
{
    (void)err;
    metric_render(&rq->text);
    return 0;
}

static int number_argument(struct request *rq, const char *name, uint64_t most, uint64_t *out, struct err *err)
{
    const char *text = rq->query(rq, name);
    *out = 0;
    if (text == NULL) return 0;
    char *end;
    *out = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0' || *out > most) return err_set(err, ERR_INVALID, "%s: a number from 0 to %llu", name, (unsigned long long)most);
    return 0;
}

static int trace(struct request *rq, struct err *err)
{
    uint64_t after, wait_ms;
    if (number_argument(rq, "after", UINT64_MAX - 1, &after, err) != 0 || number_argument(rq, "wait_ms", 30000, &wait_ms, err) != 0) return -1;
    rq->out = trace_read(after, (unsigned)wait_ms);
    return 0;
}

static void stage_add(void *arg, const struct stage_view *view)
{
    json_t *o = json_pack("{s:s, s:s, s:i, s:I}", "stage", view->stage, "what", view->what, "worker", (int)view->worker, "us", (json_int_t)view->us);
    json_stamp(o, "time", view->wall_ms);
    json_array_append_new(arg, o);
}

static int by_time(const void *a, const void *b)
{
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "us")), y = json_integer_value(json_object_get(*(json_t *const *)b, "us"));
    return (x > y) - (x < y);
}

/* A stanza's way over all workers, in order of time; "us" counts from its first stage. */
static int stanza_trace(struct request *rq, struct err *err)
{
    uint64_t sid;
    if (stanza_id_parse(rq->parts[0], &sid) != 0) return err_set(err, ERR_INVALID, "'%s' is no stanza id; it looks like 1-0000002a, as in events and the log", rq->parts[0]);
    json_t *found = json_array(), *sorted = json_array(), *rows[1024];
    jsm_trace(sid, stage_add, found);
    size_t n = json_array_size(found) < 1024 ? json_array_size(found) : 1024;
    for (size_t i = 0; i < n; i++) rows[i] = json_array_get(found, i);
    qsort(rows, n, sizeof(rows[0]), by_time);
    json_int_t first = n > 0 ? json_integer_value(json_object_get(rows[0], "us")) : 0;
    for (size_t i = 0; i < n; i++) {
        json_object_set_new(rows[i], "us", json_integer(json_integer_value(json_object_get(rows[i], "us")) - first));
        json_array_append(sorted, rows[i]);
    }
    json_decref(found);
    if (n == 0) {
        json_decref(sorted);
        return err_set(err, ERR_NOT_FOUND, "no stanza '%s' went through lately; each worker remembers its last %d stages", rq->parts[0], STAGES_RING);
    }
    rq->out = json_pack("{s:o}", "stages", sorted);
    return 0;
}

static int reload(struct request *rq, struct err *err)
{
    (void)rq;
    (void)err;
    admin.ops->reload();
    return 0;
}

const struct route status_routes[] = {
    {"GET", "/v1/status", status},   {"GET", "/v1/events", catalogue}, {"GET", "/v1/events/trace", trace},   {"GET", "/v1/alarms", alarms},
    {"GET", "/v1/trace/*", stanza_trace},
    {"GET", "/v1/metrics", metrics}, {"POST", "/v1/reload", reload},   {NULL, NULL, NULL},
};
