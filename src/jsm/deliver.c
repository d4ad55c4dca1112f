/* Delivery to a session: es_IN, then the write. */
#include "jsm/deliver.h"
#include "base/metric.h"
#include "jsm/csi.h"
#include "jsm/resume.h"
#include "jsm/unacked.h"
#include <string.h>

/* What a refusal leaves for this session (refusal rules 1, 3 and 4); everything else is dropped here and told to the owner. */
static void refused(struct delivery *d, const struct verdict *v)
{
    d->result = DELIVERY_REFUSED;
    verdict_keep(&d->verdict, v);
    metric_inc(METRIC_DELIVERIES_REFUSED);
    if (d->stanza->type == PRESENCE_UNAVAILABLE)
        d->out = presence_stripped(d->stanza);
    else
        d->out = verdict_substitute(&d->verdict, d->stanza);
}

static void answered(struct delivery *d, const struct verdict *v)
{
    if (v->kind == VERDICT_PASS) {
        d->result = DELIVERY_PASSED;
        d->out = stanza_ref(v->stanza);
    } else {
        refused(d, v);
    }
}

static void es_in_done(void *arg, const struct verdict *v)
{
    struct delivery *d = arg;
    answered(d, v);
    d->ready(d);
}

bool deliver_ask(struct delivery *d, struct session *s, struct stanza *take, enum event_copy copy, struct lane_entry *entry, void (*ready)(struct delivery *d))
{
    return deliver_ask_copy(d, s, take, copy, STR_NONE, entry, ready);
}

bool deliver_ask_copy(struct delivery *d, struct session *s, struct stanza *take, enum event_copy copy, struct str key, struct lane_entry *entry,
                      void (*ready)(struct delivery *d))
{
    memset(d, 0, sizeof(*d));
    d->session = s->id;
    d->stanza = take;
    d->copy = copy;
    d->entry = entry;
    d->ready = ready;
    struct question q = {
        .event = EVENT_es_IN,
        .subject = take,
        .session = s->full.full,
        .key = key,
        .copy = copy,
        .entry = entry,
        .done = es_in_done,
        .arg = d,
    };
    struct verdict now;
    if (!broker_raise(&q, &now)) return false;
    answered(d, &now);
    return true;
}

/* The only way out to a session: its stream, and what is kept for it until it is known to have it. */
static void put(struct session *s, struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept)
{
    if (s->resume == NULL) {
        written_keep(s, stanza, copy, since_wall_ms, kept, c2s_send_stanza(s->c2s, stanza));
    } else if (resume_keep(s, stanza, copy, since_wall_ms, kept)) {
        c2s_send_stanza(s->c2s, stanza);
        resume_written(s);
    }
}

/* To the client, after what it let wait (XEP-0352); or among that. */
static bool write_out(struct session *s, struct stanza *out, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept)
{
    if (s == NULL || !session_takes(s)) return false;
    if (csi_hold(s, out)) return true;
    deliver_held(s);
    put(s, out, copy, since_wall_ms, kept);
    return true;
}

void deliver_held(struct session *s)
{
    struct stanza *held;
    while ((held = csi_next(s)) != NULL) {
        put(s, held, COPY_NONE, 0, NULL);
        stanza_unref(held);
    }
}

void deliver_again(struct session *s, struct stanza *stanza) { c2s_send_stanza(s->c2s, stanza); }

bool deliver_write(struct delivery *d)
{
    if (d->out == NULL) return true;
    if (!write_out(session_get(d->session), d->out, d->copy, d->since_wall_ms, d->kept)) return false;
    metric_inc(METRIC_DELIVERIES);
    return true;
}

void deliver_clear(struct delivery *d)
{
    stanza_unref(d->stanza);
    stanza_unref(d->out);
    verdict_clear(&d->verdict);
    d->stanza = d->out = NULL;
}

void deliver_to_stream(struct c2s *c, struct stanza *take_reply)
{
    if (take_reply == NULL) return;
    c2s_send_stanza(c, take_reply);
    stanza_unref(take_reply);
}

void deliver_unchecked(struct session *s, struct stanza *take_reply)
{
    if (take_reply != NULL) write_out(s, take_reply, COPY_NONE, 0, NULL);
    stanza_unref(take_reply);
}
