/* The recipient's side: the choice of sessions (RFC 6121, 8.5), es_IN of each, and the write. Carbon copies of what passed are asked for meanwhile. */
#include "base/clock.h"
#include "base/metric.h"
#include "base/stages.h"
#include "xmpp/delay.h"
#include "jsm/features/features.h"
#include "jsm/had.h"
#include "jsm/incoming.h"
#include "jsm/resume.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- carbon copies ---- */
static void carbons_done(void *arg)
{
    struct incoming *in = arg;
    if (in->step == IN_CARBONS) incoming_finish(in);
}

/* They hold what was let through (EVENTS.md, refusal rule 6), are asked for without waiting for this stanza's turn, and written after it. */
void incoming_copy(struct incoming *in, const struct stanza *passed)
{
    if (!in->copied || in->alone || in->carbons != NULL || in->returned) return;
    incoming_stage(in, ASKS_COPIES);
    struct lane_entry *entry = in->lane.lane != NULL ? &in->lane : NULL;
    in->carbons = carbons_ask(in->user, passed, CARBON_RECEIVED, in->deliveries, in->n_deliveries, 0, entry, carbons_done, in);
}

static void ask_carbons_of_first(struct incoming *in)
{
    for (unsigned i = 0; i < in->n_deliveries; i++) {
        if (in->deliveries[i].result != DELIVERY_PASSED) continue;
        incoming_copy(in, in->deliveries[i].out);
        return;
    }
}

/* ---- order with what is stored (offline.c) ---- */
static bool wait_for_flush(struct incoming *in, void (*fn)(struct user_wait *wait))
{
    if (in->stanza->kind != STANZA_MESSAGE || (in->parcel->flags & PARCEL_NO_EVENTS) != 0 || !offline_waits(in->user, in->stanza)) return false;
    in->step = IN_FLUSH_WAIT;
    in->wait.fn = fn;
    list_push_back(&in->user->flush_waits, &in->wait.node);
    return true;
}

/* A client that takes no messages to the bare JID gets none of the store: what is addressed to it need not come after them. */
static bool is_behind(const struct incoming *in, const struct session *s) { return session_takes_messages(s) && offline_is_behind(in->user, in->stanza); }

/* ---- es_IN per session ---- */
static void copies_answered(struct incoming *in)
{
    stages_mark(in->stanza->sid, STAGE_IN_VERDICT);
    ask_carbons_of_first(in);
    in->step = IN_TURN;
    if (in->lane.lane == NULL || lane_is_head(&in->lane)) incoming_copies_turn(in);
}

static void copy_ready(struct delivery *d)
{
    struct incoming *in = d->owner;
    if (--in->asking == 0) copies_answered(in);
}

static void ask_sessions(struct incoming *in, struct session **chosen, unsigned n)
{
    incoming_deliveries_clear(in);
    in->step = IN_ASKED;
    incoming_stage(in, ASKS_IN);
    in->deliveries = n == 1 ? &in->one : x_calloc(n, sizeof(*in->deliveries));
    in->n_deliveries = n;
    in->asking = 1;
    lane_more(&in->lane, true);
    for (unsigned i = 0; i < n; i++) {
        struct delivery *d = &in->deliveries[i];
        enum event_copy copy = (in->parcel->flags & PARCEL_ROOM) != 0 && (in->parcel->flags & PARCEL_COPY) != 0 ? COPY_MUC : COPY_NONE;
        bool now = deliver_ask(d, chosen[i], stanza_ref(in->stanza), copy, in->lane.lane != NULL ? &in->lane : NULL, copy_ready);
        d->owner = in;
        if (!now) in->asking++;
    }
    lane_more(&in->lane, false);
    if (--in->asking == 0) copies_answered(in);
}

static void note_refused(struct incoming *in, struct delivery *d)
{
    in->refused = x_realloc(in->refused, (in->n_refused + 1) * sizeof(*in->refused));
    in->refused[in->n_refused++] = d->session;
    bool leaves = in->anew && d->verdict.outage; /* one of them may get it still */
    if (in->n_refused > 1 && !leaves) return;
    verdict_clear(&in->verdict);
    in->verdict = d->verdict; /* the first refusal is what the sender is told */
    memset(&d->verdict, 0, sizeof(d->verdict));
}

/* Since it was chosen it may have become unavailable, and messages ahead of this one be in the store: then this one is not for it any more. */
static bool takes_still(const struct incoming *in, const struct delivery *d)
{
    const struct session *s = session_get(d->session);
    if (s == NULL || in->stanza->kind != STANZA_MESSAGE) return true;
    return (jid_eq(&s->full, &in->stanza->to) || session_takes_messages(s)) && !is_behind(in, s);
}

/* When one of several ends without having acknowledged it, the others have it. */
static void wrote_one(struct incoming *in, struct session *s)
{
    in->reached = true;
    if (in->n_deliveries > 1 && in->stanza->kind == STANZA_MESSAGE && s != NULL) had_note(s, in->stanza->sid);
}

static bool write_copies(struct incoming *in)
{
    bool lost = false;
    for (unsigned i = 0; i < in->n_deliveries; i++) {
        struct delivery *d = &in->deliveries[i];
        d->kept = in->kept;
        if (in->stamped) d->since_wall_ms = in->came_wall_ms;
        bool wrote = (d->result != DELIVERY_PASSED || takes_still(in, d)) && deliver_write(d);
        if (d->result == DELIVERY_PASSED && wrote)
            wrote_one(in, session_get(d->session));
        else if (d->result == DELIVERY_PASSED)
            lost = true;
        else
            note_refused(in, d);
    }
    return lost;
}

/* Whoever was asked for has refused it. Rule 2: the sender of a 1:1 message gets an error only if no session took it. */
static void nobody_took_it(struct incoming *in)
{
    if (incoming_leave(in)) return;
    const struct stanza *s = in->stanza;
    bool copy = (in->parcel->flags & PARCEL_COPY) != 0 || s->type == MESSAGE_HEADLINE;
    stages_mark(s->sid, STAGE_REFUSED);
    if (s->kind != STANZA_PRESENCE && !copy) {
        metric_inc(METRIC_STANZAS_REFUSED);
        incoming_send_back(verdict_reply(&in->verdict, s));
    }
    incoming_finish(in);
}

/* Presence broadcast to somebody who is not subscribed: what made him a subscriber was refused on its way here. */
static bool unsubscribed_broadcast(const struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (s->type != PRESENCE_AVAILABLE || (in->parcel->flags & (PARCEL_COPY | PARCEL_ROOM)) != PARCEL_COPY || jid_bare_eq(&s->from, &in->user->jid)) return false;
    const struct roster_item *item = roster_find(in->user, s->from.bare);
    return item == NULL || (item->subscription != SUBSCRIPTION_TO && item->subscription != SUBSCRIPTION_BOTH);
}

static void write_turn(struct incoming *in)
{
    if (in->kept == NULL && in->n_deliveries > 1 && in->stanza->kind == STANZA_MESSAGE) in->kept = kept_new(in->user, in->stanza->sid, false);
    bool lost = write_copies(in);
    if (in->reached) {
        stages_mark(in->stanza->sid, STAGE_WRITTEN);
        metric_observe_us(METRIC_STAGE_IN_TIME, clock_us() - in->since_us);
    }
    if (!in->reached && lost && (in->parcel->flags & PARCEL_NO_EVENTS) == 0) {
        incoming_choose(in);
        return;
    }
    if (in->reached || in->n_refused == 0)
        incoming_finish(in);
    else
        nobody_took_it(in);
}

/* What would be lost with us though it counts as delivered: a message that only sessions without a stream take. What es_IN let through for the first of them;
 * NULL: none such. */
static const struct delivery *to_be_kept(const struct incoming *in)
{
    if (in->stanza->kind != STANZA_MESSAGE || jsm->config->offline_max_messages == 0 || !offline_storable(in->stanza)) return NULL;
    if (in->kept != NULL && in->kept->state != KEPT_NOWHERE) return NULL;
    const struct delivery *first = NULL;
    for (unsigned i = 0; i < in->n_deliveries; i++) {
        const struct delivery *d = &in->deliveries[i];
        const struct session *s = session_get(d->session);
        if (d->result != DELIVERY_PASSED || s == NULL || !session_takes(s) || !takes_still(in, d)) continue;
        if (!resume_stores_first(s)) return NULL;
        if (first == NULL) first = d;
    }
    return first;
}

static void now_kept(void *arg, const struct err *err)
{
    struct incoming *in = arg;
    kept_written(in->kept, err);
    if (err == NULL) {
        metric_inc(METRIC_UNACKED_STORED);
        in->step = IN_TURN; /* what an ended session left may have gone ahead of it */
        if (lane_is_head(&in->lane)) incoming_copies_turn(in);
        return;
    }
    kept_unref(in->kept);
    in->kept = NULL;
    incoming_reject(in, err->code == ERR_LIMIT ? "service-unavailable" : "internal-server-error");
}

static void keep_first(struct incoming *in, const struct delivery *d)
{
    incoming_ensure_lane(in);
    in->step = IN_KEEPING;
    if (in->kept == NULL) in->kept = kept_new(in->user, in->stanza->sid, false);
    struct store_batch *batch = store_batch_new(in->user->jid.bare);
    struct stanza *plain = in->stamped ? delay_unstamp(d->out) : stanza_ref(d->out);
    unsigned max = in->anew ? UINT_MAX : (unsigned)jsm->config->offline_max_messages;
    kept_write(in->kept, batch, plain, in->came_wall_ms != 0 ? in->came_wall_ms : clock_wall_ms(), max);
    stanza_unref(plain);
    store_batch_commit(batch, now_kept, in);
}

static void flush_over_copies(struct user_wait *wait)
{
    struct incoming *in = CONTAINER_OF(wait, struct incoming, wait);
    in->step = IN_TURN;
    if (in->lane.lane == NULL || lane_is_head(&in->lane)) incoming_copies_turn(in);
}

/* All es_IN are answered and it is this stanza's turn: write. A session that has gone meanwhile is chosen anew (EVENTS.md). */
void incoming_copies_turn(struct incoming *in)
{
    if (in->returned || unsubscribed_broadcast(in)) {
        incoming_finish(in);
        return;
    }
    if (blocking_matches(in->user, &in->stanza->from)) { /* since es_IN was asked */
        incoming_reject(in, "service-unavailable");
        return;
    }
    if (wait_for_flush(in, flush_over_copies)) return;
    const struct delivery *kept = to_be_kept(in);
    if (kept != NULL)
        keep_first(in, kept);
    else
        write_turn(in);
}

/* ---- the choice of sessions: RFC 6121, 8.5 ---- */
static void flush_over(struct user_wait *wait) { incoming_choose(CONTAINER_OF(wait, struct incoming, wait)); }

static bool takes(const struct stanza *s, const struct session *session, int best)
{
    if (s->kind == STANZA_PRESENCE) return session_available(session) && session_takes(session);
    if (s->kind == STANZA_IQ || !session_takes_messages(session)) return false;
    return s->type == MESSAGE_HEADLINE || session->priority == best;
}

static int best_priority(const struct user *u)
{
    int best = -1;
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (session_takes_messages(s) && s->priority > best) best = s->priority;
    }
    return best;
}

/* Whom a message to the user goes to, as the event says or else as RFC 6121 does. */
static unsigned to_bare(struct incoming *in, struct session **chosen)
{
    const struct stanza *s = in->stanza;
    unsigned n = 0;
    if (s->type == MESSAGE_GROUPCHAT || s->type == MESSAGE_ERROR) return 0;
    struct session *primary = incoming_primary(in);
    in->alone = primary != NULL;
    if (in->alone) chosen[n++] = primary;
    int best = best_priority(in->user);
    LIST_EACH(node, &in->user->sessions)
    {
        struct session *session = CONTAINER_OF(node, struct session, node);
        if (!in->alone && takes(s, session, best)) chosen[n++] = session;
    }
    return n;
}

/* For a session it was not meant for at first; and back, when that has gone too. */
static void stamp(struct incoming *in, bool stamped)
{
    struct stanza *s = stamped ? delay_stamp(in->stanza, in->user->jid.domain, in->came_wall_ms) : delay_unstamp(in->stanza);
    stanza_unref(in->stanza);
    in->stanza = s;
    in->stamped = stamped;
}

void incoming_unstamp(struct incoming *in)
{
    if (in->stamped) stamp(in, false);
}

#define FEW_SESSIONS 16 /* those of most users: no memory is allocated */
static unsigned sessions_of(const struct user *u)
{
    unsigned n = 0;
    LIST_EACH(node, &u->sessions) n++;
    return n;
}

static unsigned without_refused(const struct incoming *in, struct session **chosen, unsigned n)
{
    unsigned left = 0;
    for (unsigned i = 0; i < n; i++) {
        bool refused = false;
        for (unsigned r = 0; r < in->n_refused; r++) refused = refused || in->refused[r] == chosen[i]->id;
        if (!refused) chosen[left++] = chosen[i];
    }
    return left;
}

/* Of a message that a session left unacknowledged: who has got it with that one, or as a copy of it (XEP-0280), is not given it again. */
static bool another_had_it(struct incoming *in)
{
    bool any = false;
    LIST_EACH(node, &in->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!in->anew || !session_takes_messages(s) || !had_it(s, in->stanza->sid)) continue;
        in->stays = resume_stands_for(s, in->stanza, in->came_wall_ms, in->kept) || in->stays;
        any = true;
    }
    return any;
}

/* The session it is addressed to; or, when that has gone, whom the user's messages go to: the sender was told that it is accepted, and may be gone. */
static unsigned choose(struct incoming *in, struct session **chosen, bool *for_user)
{
    const struct stanza *s = in->stanza;
    struct session *exact = jid_is_full(&s->to) ? session_by_resource(in->user, s->to.resource) : NULL;
    bool there = exact != NULL && exact->state == SESSION_OPEN && session_takes(exact);
    bool of_room = (in->parcel->flags & PARCEL_ROOM) != 0; /* it is for that session alone */
    *for_user = !there && !of_room && (!jid_is_full(&s->to) || s->type == MESSAGE_CHAT || in->anew);
    unsigned n = 0;
    in->alone = false;
    if (there) chosen[n++] = exact;
    if (*for_user) n = to_bare(in, chosen);
    return without_refused(in, chosen, n);
}

static void go_on_with(struct incoming *in, struct session **chosen, unsigned n, bool for_user)
{
    in->behind = n > 0 && is_behind(in, chosen[0]);
    if (in->behind) {
        incoming_store(in);
        return;
    }
    if (n > 0 && for_user && incoming_ask_primary(in)) return;
    if (n > 0 && in->came_wall_ms != 0) stamp(in, true);
    if (n > 0)
        ask_sessions(in, chosen, n);
    else if (in->n_refused > 0)
        nobody_took_it(in);
    else
        incoming_nobody_there(in);
}

void incoming_choose(struct incoming *in)
{
    incoming_unstamp(in);
    if (in->returned || another_had_it(in)) {
        incoming_finish(in);
        return;
    }
    if (in->user->gone) { /* the account was deleted; one of the same name made since is another */
        incoming_reject(in, "service-unavailable");
        return;
    }
    if (wait_for_flush(in, flush_over)) return;
    unsigned most = sessions_of(in->user);
    struct session *few[FEW_SESSIONS], **chosen = most <= FEW_SESSIONS ? few : x_calloc(most, sizeof(*chosen));
    bool for_user;
    unsigned n = choose(in, chosen, &for_user);
    go_on_with(in, chosen, n, for_user);
    if (chosen != few) free(chosen);
}
