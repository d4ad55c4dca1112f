/* The trace: the last events and verdicts in a ring, read by long polling. Workers pay for it only while somebody reads. No message content in it. */
#include "admin/private.h"
#include "base/clock.h"
#include "broker/broker.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RING 4096
#define IDLE_MS 60000 /* tracing stops when nobody has read for so long */
struct trace_row {
    uint64_t wall_ms, took_us;
    const char *event, *verdict; /* static names */
    char id[96], stanza[STANZA_ID_SIZE], component[128], key[256];
};
static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct trace_row ring[RING];
    uint64_t next; /* number of the next row; rows are numbered from 2: a reader who has seen none goes on after 1, for 0 means "from now on" */
    uint64_t last_read_ms;
    bool on, stopped;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .next = 2};

static void on_trace(const struct event_trace *t)
{
    pthread_mutex_lock(&trace.lock);
    if (clock_ms() - trace.last_read_ms > IDLE_MS) {
        trace.on = false;
        broker_trace(NULL);
        pthread_mutex_unlock(&trace.lock);
        return;
    }
    struct trace_row *row = &trace.ring[trace.next++ % RING];
    *row = (struct trace_row){.wall_ms = clock_wall_ms(), .took_us = t->took_us, .event = event_catalogue[t->id].name, .verdict = t->verdict};
    if (t->event != NULL) {
        char id[EVENT_ID_SIZE];
        snprintf(row->id, sizeof(row->id), "%s", event_id_text(t->event, id));
        stanza_id_text(t->event->subject->sid, row->stanza);
        snprintf(row->key, sizeof(row->key), STR_FMT, STR_ARG(t->event->key));
    }
    if (t->component != NULL) snprintf(row->component, sizeof(row->component), "%s", t->component);
    pthread_cond_broadcast(&trace.cond);
    pthread_mutex_unlock(&trace.lock);
}

static json_t *row_json(const struct trace_row *row)
{
    json_t *o = json_pack("{s:s, s:o, s:s, s:o, s:o}", "event", row->event, "id", json_text(row->id), "stanza", row->stanza, "key", json_text(row->key), "component",
                          json_text(row->component));
    json_object_set_new(o, "verdict", row->verdict != NULL ? json_string(row->verdict) : json_null());
    if (row->verdict != NULL) json_object_set_new(o, "took_us", json_integer((json_int_t)row->took_us));
    json_stamp(o, "time", row->wall_ms);
    return o;
}

json_t *trace_read(uint64_t after, unsigned wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
    pthread_mutex_lock(&trace.lock);
    trace.last_read_ms = clock_ms();
    if (!trace.on && !trace.stopped) {
        trace.on = true;
        broker_trace(on_trace);
    }
    if (after == 0) after = trace.next - 1; /* from now on */
    while (trace.next <= after + 1 && !trace.stopped)
        if (pthread_cond_timedwait(&trace.cond, &trace.lock, &until) != 0) break;
    uint64_t first = after + 1, lost = 0;
    if (trace.next > RING && first < trace.next - RING) {
        lost = trace.next - RING - first;
        first = trace.next - RING;
    }
    json_t *events = json_array();
    for (uint64_t i = first; i < trace.next; i++) json_array_append_new(events, row_json(&trace.ring[i % RING]));
    json_t *out = json_pack("{s:I, s:I, s:o}", "next", (json_int_t)(trace.next - 1), "lost", (json_int_t)lost, "events", events);
    trace.last_read_ms = clock_ms();
    pthread_mutex_unlock(&trace.lock);
    return out;
}

void trace_stop(void)
{
    broker_trace(NULL);
    pthread_mutex_lock(&trace.lock);
    trace.stopped = true;
    pthread_cond_broadcast(&trace.cond);
    pthread_mutex_unlock(&trace.lock);
}
