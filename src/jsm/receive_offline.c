/* The recipient's side, when no session takes a message: e_OFFLINE, then the offline store (XEP-0160), or nothing. */
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/stages.h"
#include "jsm/features/features.h"
#include "jsm/incoming.h"
#include <limits.h>

static void offline_stored(void *arg, const struct err *err)
{
    struct incoming *in = arg;
    if (err == NULL) {
        metric_inc(METRIC_OFFLINE_STORED);
        in->reached = true;
        if (in->left) offline_leave(in->user, in->stanza->from.bare);
        incoming_deliveries_clear(in);
        if (!in->behind) incoming_copy(in, in->stanza); /* as e_OFFLINE let it through; a session that is there will get the message itself */
        stages_mark(in->stanza->sid, STAGE_STORED);
        incoming_finish(in);
        return;
    }
    incoming_reject(in, err->code == ERR_LIMIT ? "service-unavailable" : "internal-server-error");
}

void incoming_offline_turn(struct incoming *in)
{
    if (in->returned) {
        incoming_finish(in);
        return;
    }
    if (in->verdict.kind != VERDICT_PASS) {
        incoming_refused(in);
        return;
    }
    in->rewritten = in->rewritten || in->verdict.stanza != in->stanza;
    stanza_unref(in->stanza);
    in->stanza = stanza_ref(in->verdict.stanza);
    verdict_clear(&in->verdict);
    in->looked_again = true;
    incoming_choose(in);
}

static void offline_answered(struct incoming *in, const struct verdict *v)
{
    verdict_clear(&in->verdict);
    verdict_keep(&in->verdict, v);
    stages_mark(in->stanza->sid, STAGE_OFFLINE_VERDICT);
    in->step = IN_OFFLINE_TURN;
    if (in->lane.lane == NULL || lane_is_head(&in->lane)) incoming_offline_turn(in);
}

static void offline_done(void *arg, const struct verdict *v) { offline_answered(arg, v); }

/* One that lies in the store already stays there, in its place. */
static void store_offline(struct incoming *in)
{
    in->step = IN_STORING;
    bool there = in->kept != NULL && in->kept->state != KEPT_NOWHERE;
    in->stays = there && in->kept->state == KEPT_STORED && !in->rewritten;
    if (in->stays) {
        offline_stored(in, NULL);
        return;
    }
    struct store_batch *batch = store_batch_new(in->user->jid.bare);
    if (there) store_batch_offline_delete(batch, in->stanza->sid);
    unsigned max = there || in->anew ? UINT_MAX : (unsigned)jsm->config->offline_max_messages;
    store_batch_offline_add(batch, in->stanza, in->came_wall_ms != 0 ? in->came_wall_ms : clock_wall_ms(), max);
    store_batch_commit(batch, offline_stored, in);
}

/* ---- what a session left unacknowledged ----
 *
 * Its sender was told that it is accepted, and may be gone: where nobody answers what is asked about it now, it does not go back to him. As an offline message does
 * then (EVENTS.md, refusal rule 6), it stays stored, as es_IN let it through for that session, and is asked about when it goes to a session from there. */
static bool may_be_left(const struct incoming *in)
{
    return in->anew && !in->returned && !in->user->gone && jsm->config->offline_max_messages > 0 && offline_storable(in->stanza);
}

bool incoming_leave(struct incoming *in)
{
    if (!in->verdict.outage || !may_be_left(in)) return false;
    incoming_unstamp(in);
    verdict_clear(&in->verdict);
    in->left = true;
    store_offline(in);
    return true;
}

static void left_stored(void *arg, const struct err *err)
{
    struct kept *k = arg;
    if (err != NULL) log_error("jsm", "a message that a session left unacknowledged cannot be stored, and is lost: %s", err->text);
    kept_written(k, err);
    kept_unref(k);
}

void incoming_leave_now(struct incoming *in)
{
    if (!may_be_left(in)) return;
    in->returned = in->stays = true;
    if (in->kept != NULL && in->kept->state != KEPT_NOWHERE) return;
    if (in->kept == NULL) in->kept = kept_new(in->user, in->stanza->sid, false);
    incoming_unstamp(in);
    struct store_batch *batch = store_batch_new(in->user->jid.bare);
    kept_write(in->kept, batch, in->stanza, in->came_wall_ms, UINT_MAX);
    store_batch_commit(batch, left_stored, kept_ref(in->kept));
}

/* The session that a room has as an occupant is no more, and the room was not told, or not yet: now it is. */
static void not_there_for_room(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (!stanza_is_error(s) && s->type != PRESENCE_UNAVAILABLE && s->type != IQ_RESULT) {
        struct arena *a = arena_new(0);
        struct jid room = jid_to_bare(a, &s->from);
        router_route(stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &s->to, &room, STR_NONE, STR("")), (struct ticket){0}, PARCEL_NO_EVENTS);
        arena_free(a);
    }
    incoming_reject(in, "recipient-unavailable");
}

void incoming_nobody_there(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (in->parcel->flags & PARCEL_ROOM) {
        not_there_for_room(in);
        return;
    }
    if (s->kind != STANZA_MESSAGE) {
        if (stanza_is_request(s))
            incoming_reject(in, "service-unavailable");
        else
            incoming_finish(in);
        return;
    }
    bool for_one_session = jid_is_full(&s->to) && s->type != MESSAGE_CHAT && !in->anew; /* RFC 6121, 8.5.3.2.1: meant for it and no other */
    if (for_one_session || !offline_storable(s)) {
        if (s->type == MESSAGE_GROUPCHAT || (for_one_session && s->type == MESSAGE_NORMAL) || offline_content(s))
            incoming_reject(in, "service-unavailable");
        else
            incoming_finish(in);
        return;
    }
    incoming_store(in);
}

void incoming_store(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    incoming_ensure_lane(in);
    if (in->looked_again) {
        store_offline(in);
        return;
    }
    in->step = IN_OFFLINE_ASKED;
    incoming_stage(in, ASKS_OFFLINE);
    struct question q = {
        .event = EVENT_e_OFFLINE,
        .subject = s,
        .entry = &in->lane,
        .done = offline_done,
        .arg = in,
    };
    struct verdict now;
    if (broker_raise(&q, &now)) offline_answered(in, &now);
}
