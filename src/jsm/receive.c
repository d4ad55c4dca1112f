/* The recipient's side. e_DELIVER and es_IN are asked in lane order without waiting for the stanza ahead to be done; handlers, writes and refusals happen
 * only at the head of the lane. Delivery rules: RFC 6121, 8.5. */
#include "jsm/receive.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/stages.h"
#include "jsm/carbons.h"
#include "jsm/dispatch.h"
#include "jsm/features/features.h"
#include "jsm/ticket.h"
#include <stdlib.h>
#include <string.h>

enum incoming_step {
    IN_LOADING,
    IN_DELIVER_ASKED,
    IN_DELIVER_TURN, /* refused, or a feature takes it: waits for its turn */
    IN_SERVER_ASKED, /* e_SERVER, at the head of the lane */
    IN_EFFECTS,
    IN_FLUSH_WAIT,
    IN_ASKED, /* es_IN of each chosen session */
    IN_TURN,
    IN_OFFLINE_ASKED,
    IN_OFFLINE_TURN,
    IN_STORING,
    IN_CARBONS, /* done but for the other sessions' copies */
    IN_DONE,
};
struct incoming {
    struct list node; /* in jsm->incoming */
    struct lane_entry lane;
    struct user_wait wait; /* for the user's data, or the end of an offline flush */
    struct user *user;
    struct parcel *parcel;
    struct stanza *stanza; /* as it is now */
    const struct stanza_row *row;
    enum incoming_step step;
    uint64_t since_us; /* its arrival */
    uint32_t stage;
    struct kept_verdict verdict;
    struct effects fx;
    bool fx_used;
    bool returned; /* to its sender, at shutdown: nothing comes of it any more */
    bool looked_again; /* e_OFFLINE has passed already */
    bool anew; /* a session was sent it already and never acknowledged it */
    uint64_t came_wall_ms; /* of one delivered anew: when it came first; 0: now */
    bool reached; /* some session took it, or was refused it explicitly by HANDLE */
    bool copied; /* other sessions may get a copy (XEP-0280) */
    struct carbons *carbons;
    struct delivery *deliveries;
    unsigned n_deliveries, asking;
    struct delivery one; /* the usual case */
    uint64_t *refused; /* sessions whose es_IN was refused: they are not asked for again when others have gone */
    unsigned n_refused;
};

static void choose_sessions(struct incoming *in);
static void copies_turn(struct incoming *in);

static void deliveries_clear(struct incoming *in)
{
    for (unsigned i = 0; i < in->n_deliveries; i++) deliver_clear(&in->deliveries[i]);
    if (in->deliveries != &in->one) free(in->deliveries);
    in->deliveries = NULL;
    in->n_deliveries = 0;
}

static void incoming_finish(struct incoming *in)
{
    if (in->carbons != NULL && !carbons_ready(in->carbons)) {
        in->step = IN_CARBONS;
        return;
    }
    in->step = IN_DONE;
    if (in->carbons != NULL) carbons_end(in->carbons, in->reached, in->deliveries, in->n_deliveries);
    if (in->anew) jsm->anew--;
    stages_mark(in->stanza->sid, STAGE_FINISHED);
    ticket_done(in->parcel->ticket);
    stanza_unref(in->parcel->stanza);
    free(in->parcel);
    if (in->fx_used) effects_clear(&in->fx);
    deliveries_clear(in);
    free(in->refused);
    verdict_clear(&in->verdict);
    stanza_unref(in->stanza);
    list_remove(&in->node);
    struct user *u = in->user;
    lane_leave(&in->lane);
    free(in);
    user_release(u);
}

/* To the originator, without an event. */
static void send_back(struct stanza *take_reply)
{
    if (take_reply != NULL) router_route(take_reply, (struct ticket){0}, PARCEL_NO_EVENTS);
}

static void incoming_reject(struct incoming *in, const char *condition)
{
    const struct stanza *s = in->stanza;
    if ((in->parcel->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) == 0 && s->kind != STANZA_PRESENCE) send_back(stanza_error(s, condition, NULL, NULL));
    incoming_finish(in);
}

/* A stanza that found nothing ahead and nobody to ask has no place in a lane; when it must wait after all, it takes one (and is its head). */
static void ensure_lane(struct incoming *in)
{
    if (in->lane.lane != NULL) return;
    lane_enter(&in->user->receiving, in->stanza->from.bare, &in->lane);
    lane_stage(&in->lane, in->stage);
}

/* ---- refusals at e_DELIVER ---- */
static void incoming_refused(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    metric_inc(METRIC_STANZAS_REFUSED);
    stages_mark(s->sid, STAGE_REFUSED);
    struct stanza *substitute = verdict_substitute(&in->verdict, s);
    if (substitute != NULL) {
        send_back(substitute);
    } else if (subscription_stands(in->user, s)) {
        /* it would have changed nothing, and so does its refusal: an answer would end for one side what the other has */
    } else if (s->type == PRESENCE_SUBSCRIBE || s->type == PRESENCE_SUBSCRIBED) {
        enum stanza_type answer = s->type == PRESENCE_SUBSCRIBE ? PRESENCE_UNSUBSCRIBED : PRESENCE_UNSUBSCRIBE;
        send_back(stanza_make(STANZA_PRESENCE, answer, &in->user->jid, &s->from, s->id, STR("")));
    } else if ((in->parcel->flags & PARCEL_COPY) == 0) {
        send_back(verdict_reply(&in->verdict, s));
    }
    incoming_finish(in);
}

static bool never_refused(const struct stanza *s)
{
    return s->type == PRESENCE_UNAVAILABLE || s->type == PRESENCE_UNSUBSCRIBE || s->type == PRESENCE_UNSUBSCRIBED;
}

/* ---- features at the recipient's side ---- */
static void in_effects_done(struct effects *fx, const struct err *failed)
{
    struct incoming *in = CONTAINER_OF(fx, struct incoming, fx);
    if (failed != NULL) {
        incoming_reject(in, "internal-server-error");
        return;
    }
    if (fx->forward == NULL) {
        incoming_finish(in);
        return;
    }
    stanza_unref(in->stanza);
    in->stanza = fx->forward;
    fx->forward = NULL;
    choose_sessions(in);
}

static void incoming_run_row(struct incoming *in)
{
    in->step = IN_EFFECTS;
    stages_mark(in->stanza->sid, STAGE_FEATURE);
    lane_stage(&in->lane, ++in->stage);
    in->fx_used = true;
    effects_init(&in->fx, in->user, NULL, in->parcel->ticket, in->lane.lane != NULL ? &in->lane : NULL, in->stanza);
    in->fx.done = in_effects_done;
    struct context cx = {.stanza = in->stanza, .user = in->user, .ticket = in->parcel->ticket, .arena = in->fx.arena};
    in->row->apply(&cx, &in->fx);
    effects_run(&in->fx);
}

static const struct stanza_row *row_of(const struct incoming *in, const struct stanza *s)
{
    if ((in->parcel->flags & PARCEL_NO_EVENTS) == 0 && blocking_matches(in->user, &s->from)) return &blocking_in_row;
    bool subscription = s->type == PRESENCE_SUBSCRIBED || s->type == PRESENCE_SUBSCRIBE || s->type == PRESENCE_UNSUBSCRIBE || s->type == PRESENCE_UNSUBSCRIBED;
    return dispatch_find(s, !jid_is_full(&s->to) || subscription || s->type == PRESENCE_PROBE ? AT_CONTACT_IN : AT_SESSION_IN);
}

static void server_answered(struct incoming *in, const struct verdict *v)
{
    if (in->returned) {
        incoming_finish(in);
        return;
    }
    if (v->kind != VERDICT_PASS) {
        verdict_keep(&in->verdict, v);
        incoming_refused(in);
        return;
    }
    if (v->stanza != in->stanza) {
        stanza_unref(in->stanza);
        in->stanza = stanza_ref(v->stanza);
        in->row = row_of(in, in->stanza);
    }
    if (in->row != NULL)
        incoming_run_row(in);
    else
        choose_sessions(in);
}

static void server_done(void *arg, const struct verdict *v) { server_answered(arg, v); }

/* A feature is about to answer or act for the user: e_SERVER, where its row says so. */
static void incoming_feature(struct incoming *in)
{
    if (!in->row->server_event) {
        incoming_run_row(in);
        return;
    }
    in->step = IN_SERVER_ASKED;
    lane_stage(&in->lane, ++in->stage);
    struct question q = {
        .event = EVENT_e_SERVER,
        .subject = in->stanza,
        .entry = in->lane.lane != NULL ? &in->lane : NULL,
        .done = server_done,
        .arg = in,
    };
    struct verdict now;
    if (broker_raise(&q, &now)) server_answered(in, &now);
}

/* ---- carbon copies ---- */
static void carbons_done(void *arg)
{
    struct incoming *in = arg;
    if (in->step == IN_CARBONS) incoming_finish(in);
}

/* They hold what was let through (EVENTS.md, refusal rule 6), are asked for without waiting for this stanza's turn, and written after it. */
static void ask_carbons(struct incoming *in, const struct stanza *passed)
{
    if (!in->copied || in->carbons != NULL || in->returned) return;
    lane_stage(&in->lane, ++in->stage);
    struct lane_entry *entry = in->lane.lane != NULL ? &in->lane : NULL;
    in->carbons = carbons_ask(in->user, passed, CARBON_RECEIVED, in->deliveries, in->n_deliveries, 0, entry, carbons_done, in);
}

static void ask_carbons_of_first(struct incoming *in)
{
    for (unsigned i = 0; i < in->n_deliveries; i++) {
        if (in->deliveries[i].result != DELIVERY_PASSED) continue;
        ask_carbons(in, in->deliveries[i].out);
        return;
    }
}

/* ---- es_IN per session ---- */
static void copies_answered(struct incoming *in)
{
    stages_mark(in->stanza->sid, STAGE_IN_VERDICT);
    ask_carbons_of_first(in);
    in->step = IN_TURN;
    if (in->lane.lane == NULL || lane_is_head(&in->lane)) copies_turn(in);
}

static void copy_ready(struct delivery *d)
{
    struct incoming *in = d->owner;
    if (--in->asking == 0) copies_answered(in);
}

static void ask_sessions(struct incoming *in, struct session **chosen, unsigned n)
{
    deliveries_clear(in);
    in->step = IN_ASKED;
    lane_stage(&in->lane, ++in->stage);
    in->deliveries = n == 1 ? &in->one : x_calloc(n, sizeof(*in->deliveries));
    in->n_deliveries = n;
    in->asking = 1;
    lane_more(&in->lane, true);
    for (unsigned i = 0; i < n; i++) {
        struct delivery *d = &in->deliveries[i];
        bool now = deliver_ask(d, chosen[i], stanza_ref(in->stanza), COPY_NONE, in->lane.lane != NULL ? &in->lane : NULL, copy_ready);
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
    if (in->n_refused > 1) return;
    in->verdict = d->verdict; /* the first refusal is what the sender is told */
    memset(&d->verdict, 0, sizeof(d->verdict));
}

static bool write_copies(struct incoming *in)
{
    bool lost = false;
    for (unsigned i = 0; i < in->n_deliveries; i++) {
        struct delivery *d = &in->deliveries[i];
        bool wrote = deliver_write(d);
        if (d->result == DELIVERY_PASSED && wrote)
            in->reached = true;
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
    const struct stanza *s = in->stanza;
    bool copy = (in->parcel->flags & PARCEL_COPY) != 0 || s->type == MESSAGE_HEADLINE;
    stages_mark(s->sid, STAGE_REFUSED);
    if (s->kind != STANZA_PRESENCE && !copy) {
        metric_inc(METRIC_STANZAS_REFUSED);
        send_back(verdict_reply(&in->verdict, s));
    }
    incoming_finish(in);
}

/* Presence broadcast to somebody who is not subscribed: what made him a subscriber was refused on its way here. */
static bool unsubscribed_broadcast(const struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (s->type != PRESENCE_AVAILABLE || (in->parcel->flags & PARCEL_COPY) == 0 || jid_bare_eq(&s->from, &in->user->jid)) return false;
    const struct roster_item *item = roster_find(in->user, s->from.bare);
    return item == NULL || (item->subscription != SUBSCRIPTION_TO && item->subscription != SUBSCRIPTION_BOTH);
}

/* All es_IN are answered and it is this stanza's turn: write. A session that has gone meanwhile is chosen anew (EVENTS.md). */
static void copies_turn(struct incoming *in)
{
    if (in->returned || unsubscribed_broadcast(in)) {
        incoming_finish(in);
        return;
    }
    if (blocking_matches(in->user, &in->stanza->from)) { /* since es_IN was asked */
        incoming_reject(in, "service-unavailable");
        return;
    }
    bool lost = write_copies(in);
    if (in->reached) {
        stages_mark(in->stanza->sid, STAGE_WRITTEN);
        metric_observe_us(METRIC_STAGE_IN_TIME, clock_us() - in->since_us);
    }
    if (!in->reached && lost && (in->parcel->flags & PARCEL_NO_EVENTS) == 0) {
        choose_sessions(in);
        return;
    }
    if (in->reached || in->n_refused == 0)
        incoming_finish(in);
    else
        nobody_took_it(in);
}

/* ---- e_OFFLINE and the offline store ---- */
static void offline_stored(void *arg, const struct err *err)
{
    struct incoming *in = arg;
    if (err == NULL) {
        metric_inc(METRIC_OFFLINE_STORED);
        in->reached = true;
        deliveries_clear(in);
        ask_carbons(in, in->stanza); /* as e_OFFLINE let it through */
        stages_mark(in->stanza->sid, STAGE_STORED);
        incoming_finish(in);
        return;
    }
    incoming_reject(in, err->code == ERR_LIMIT ? "service-unavailable" : "internal-server-error");
}

static void offline_turn(struct incoming *in)
{
    if (in->returned) {
        incoming_finish(in);
        return;
    }
    if (in->verdict.kind != VERDICT_PASS) {
        incoming_refused(in);
        return;
    }
    stanza_unref(in->stanza);
    in->stanza = stanza_ref(in->verdict.stanza);
    verdict_clear(&in->verdict);
    in->looked_again = true;
    choose_sessions(in);
}

static void offline_answered(struct incoming *in, const struct verdict *v)
{
    verdict_clear(&in->verdict);
    verdict_keep(&in->verdict, v);
    stages_mark(in->stanza->sid, STAGE_OFFLINE_VERDICT);
    in->step = IN_OFFLINE_TURN;
    if (in->lane.lane == NULL || lane_is_head(&in->lane)) offline_turn(in);
}

static void offline_done(void *arg, const struct verdict *v) { offline_answered(arg, v); }

static void nobody_there(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (s->kind != STANZA_MESSAGE) {
        if (stanza_is_request(s))
            incoming_reject(in, "service-unavailable");
        else
            incoming_finish(in);
        return;
    }
    bool for_one_session = jid_is_full(&s->to) && s->type != MESSAGE_CHAT; /* RFC 6121, 8.5.3.2.1: meant for it and no other */
    if (for_one_session || !offline_storable(s)) {
        if (s->type == MESSAGE_GROUPCHAT || (for_one_session && s->type == MESSAGE_NORMAL))
            incoming_reject(in, "service-unavailable");
        else
            incoming_finish(in);
        return;
    }
    ensure_lane(in);
    if (in->looked_again) {
        in->step = IN_STORING;
        struct store_batch *batch = store_batch_new(in->user->jid.bare);
        store_batch_offline_add(batch, s, in->came_wall_ms != 0 ? in->came_wall_ms : clock_wall_ms(), (unsigned)jsm->config->offline_max_messages);
        store_batch_commit(batch, offline_stored, in);
        return;
    }
    in->step = IN_OFFLINE_ASKED;
    lane_stage(&in->lane, ++in->stage);
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

/* ---- the choice of sessions: RFC 6121, 8.5 ---- */
static void flush_over(struct user_wait *wait) { choose_sessions(CONTAINER_OF(wait, struct incoming, wait)); }

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

#define MAX_SESSIONS 256
static unsigned to_bare(const struct incoming *in, struct session *chosen[MAX_SESSIONS])
{
    const struct stanza *s = in->stanza;
    unsigned n = 0;
    if (s->type == MESSAGE_GROUPCHAT || s->type == MESSAGE_ERROR) return 0;
    int best = best_priority(in->user);
    LIST_EACH(node, &in->user->sessions)
    {
        struct session *session = CONTAINER_OF(node, struct session, node);
        if (n < MAX_SESSIONS && takes(s, session, best)) chosen[n++] = session;
    }
    return n;
}

/* XEP-0203: for a session it was not meant for at first. */
static void delay_stamp(struct incoming *in)
{
    char stamp[CLOCK_STAMP_SIZE];
    struct buf inner = {0};
    buf_add_str(&inner, in->stanza->inner);
    buf_addf(&inner, "<delay xmlns='urn:xmpp:delay' from='" STR_FMT "' stamp='%s'/>", STR_ARG(in->user->jid.domain), clock_stamp(in->came_wall_ms, stamp));
    struct str bytes = buf_str(&inner);
    struct stanza_change change = {.inner = &bytes};
    struct stanza *stamped = stanza_with(in->stanza, &change);
    buf_free(&inner);
    stanza_unref(in->stanza);
    in->stanza = stamped;
    in->came_wall_ms = 0;
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

static void choose_sessions(struct incoming *in)
{
    if (in->returned) {
        incoming_finish(in);
        return;
    }
    if (in->user->gone) { /* the account was deleted; one of the same name made since is another */
        incoming_reject(in, "service-unavailable");
        return;
    }
    const struct stanza *s = in->stanza;
    if (!list_empty(&in->user->flushes) && s->kind == STANZA_MESSAGE && (in->parcel->flags & PARCEL_NO_EVENTS) == 0) {
        in->step = IN_FLUSH_WAIT;
        in->wait.fn = flush_over;
        list_push_back(&in->user->flush_waits, &in->wait.node);
        return;
    }
    struct session *chosen[MAX_SESSIONS];
    unsigned n = 0;
    if (jid_is_full(&s->to)) {
        struct session *exact = session_by_resource(in->user, s->to.resource);
        if (exact != NULL && exact->state == SESSION_OPEN && session_takes(exact))
            chosen[n++] = exact;
        else if (s->type == MESSAGE_CHAT)
            n = to_bare(in, chosen);
    } else {
        n = to_bare(in, chosen);
    }
    n = without_refused(in, chosen, n);
    if (n > 0 && in->came_wall_ms != 0) delay_stamp(in);
    if (n > 0)
        ask_sessions(in, chosen, n);
    else if (in->n_refused > 0)
        nobody_took_it(in);
    else
        nobody_there(in);
}

/* ---- arrival ---- */
static void stamp(struct incoming *in)
{
    in->copied = carbons_eligible(in->user, in->stanza, CARBON_RECEIVED);
    if (in->stanza->type == MESSAGE_ERROR) return;
    struct stanza *stamped = stanza_id_stamp(in->stanza, &in->user->jid);
    stanza_unref(in->stanza);
    in->stanza = stamped;
}

static void deliver_turn(struct incoming *in)
{
    if (in->returned) {
        incoming_finish(in);
        return;
    }
    if (in->verdict.kind != VERDICT_PASS) {
        if (!never_refused(in->stanza)) {
            incoming_refused(in);
            return;
        }
        stanza_unref(in->verdict.stanza);
        in->verdict.stanza = presence_stripped(in->stanza);
    }
    stanza_unref(in->stanza);
    in->stanza = stanza_ref(in->verdict.stanza);
    verdict_clear(&in->verdict);
    if (in->row != NULL) {
        incoming_feature(in);
        return;
    }
    if (in->stanza->kind == STANZA_MESSAGE && (in->parcel->flags & PARCEL_COPY) == 0) stamp(in);
    choose_sessions(in);
}

static void deliver_answered(struct incoming *in, const struct verdict *v)
{
    verdict_keep(&in->verdict, v);
    if (v->kind == VERDICT_PASS && v->changed) in->row = row_of(in, v->stanza);
    stages_mark(in->stanza->sid, STAGE_DELIVER_VERDICT);
    metric_observe_us(METRIC_STAGE_DELIVER_TIME, clock_us() - in->since_us);
    in->step = IN_DELIVER_TURN;
    bool pipelined = v->kind == VERDICT_PASS && in->row == NULL; /* es_IN may be asked before the stanza ahead is done */
    if (v->kind != VERDICT_PASS && !never_refused(in->stanza)) lane_quiet(&in->lane); /* those behind need not wait to ask */
    if (pipelined || in->lane.lane == NULL || lane_is_head(&in->lane)) deliver_turn(in);
}

static void deliver_done(void *arg, const struct verdict *v) { deliver_answered(arg, v); }

static void incoming_on_head(struct lane_entry *entry)
{
    struct incoming *in = CONTAINER_OF(entry, struct incoming, lane);
    if (in->step == IN_DELIVER_TURN)
        deliver_turn(in);
    else if (in->step == IN_TURN)
        copies_turn(in);
    else if (in->step == IN_OFFLINE_TURN)
        offline_turn(in);
}

/* A reply caused by a verdict: to its session, no event, no lane. */
static void write_unchecked(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (jid_is_full(&s->to)) {
        deliver_unchecked(session_by_resource(in->user, s->to.resource), stanza_ref(in->stanza));
        carbons_unchecked(in->user, s);
    } else if (s->kind != STANZA_IQ) { /* what an account itself was answered is for none of its sessions */
        LIST_EACH(node, &in->user->sessions)
        {
            struct session *session = CONTAINER_OF(node, struct session, node);
            if (session_available(session)) deliver_unchecked(session, stanza_ref(in->stanza));
        }
    }
    incoming_finish(in);
}

/* Would any event of the way ahead be asked, or is something ahead in a lane? Only then a place in the lane is needed. */
static bool needs_lane(const struct incoming *in)
{
    const struct stanza *s = in->stanza;
    return in->user->receiving.entries > 0 || in->row != NULL || !list_empty(&in->user->flushes) || broker_planned(EVENT_e_DELIVER, s) || broker_planned(EVENT_es_IN, s);
}

/* RFC 6121, 4.3.2: whoever asks for the presence of an account that is not there is told that he is not subscribed to it: so do contacts of a deleted account
 * learn of its end. */
static void nobody_of_that_name(struct incoming *in)
{
    const struct stanza *s = in->stanza;
    if (s->type == PRESENCE_PROBE && (in->parcel->flags & PARCEL_NO_EVENTS) == 0) {
        struct arena *a = arena_new(0);
        struct jid prober = jid_to_bare(a, &s->from);
        router_route(stanza_make(STANZA_PRESENCE, PRESENCE_UNSUBSCRIBED, &in->user->jid, &prober, STR_NONE, STR("")), (struct ticket){0}, PARCEL_COPY);
        arena_free(a);
    }
    incoming_reject(in, "service-unavailable");
}

static void incoming_loaded(struct user_wait *wait)
{
    struct incoming *in = CONTAINER_OF(wait, struct incoming, wait);
    const struct stanza *s = in->stanza;
    if (in->returned) {
        incoming_finish(in);
        return;
    }
    if (in->user->state == USER_FAILED) {
        incoming_reject(in, "internal-server-error");
        return;
    }
    if (in->user->state != USER_READY || in->user->gone) {
        nobody_of_that_name(in);
        return;
    }
    in->row = row_of(in, s);
    if (in->parcel->flags & PARCEL_NO_EVENTS && in->row == NULL) {
        write_unchecked(in);
        return;
    }
    if (in->parcel->flags & PARCEL_NO_EVENTS) {
        incoming_run_row(in);
        return;
    }
    in->step = IN_DELIVER_ASKED;
    in->lane.on_head = incoming_on_head;
    if (needs_lane(in)) {
        lane_enter(&in->user->receiving, s->from.bare, &in->lane);
        lane_stage(&in->lane, in->stage = 1);
    }
    struct question q = {
        .event = EVENT_e_DELIVER,
        .subject = s,
        .entry = in->lane.lane != NULL ? &in->lane : NULL,
        .done = deliver_done,
        .arg = in,
    };
    struct verdict now;
    if (broker_raise(&q, &now)) deliver_answered(in, &now);
}

static void incoming_return(struct incoming *in, const char *condition, const char *text)
{
    in->returned = true;
    if (in->stanza->kind != STANZA_PRESENCE) send_back(stanza_error(in->stanza, condition, "wait", text));
}

void receive_parcel(struct parcel *take)
{
    struct stanza *s = take->stanza;
    if (s->to.local.p == NULL) { /* a resource of the server itself has nothing; results and errors it gets end here */
        if (stanza_is_request(s) && (take->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) == 0) send_back(stanza_error(s, "service-unavailable", NULL, NULL));
        ticket_done(take->ticket);
        stanza_unref(s);
        free(take);
        return;
    }
    struct incoming *in = x_calloc(1, sizeof(*in));
    in->parcel = take;
    in->stanza = stanza_ref(s);
    in->since_us = clock_us();
    stages_mark(s->sid, STAGE_ARRIVED);
    in->user = user_hold(&s->to);
    list_push_back(&jsm->incoming, &in->node);
    if (jsm->returning && (take->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) == 0) { /* it was on its way from another worker when the rest went back */
        incoming_return(in, "service-unavailable", "The service is shutting down; this stanza was not delivered.");
        incoming_finish(in);
        return;
    }
    in->wait.fn = incoming_loaded;
    user_when_loaded(in->user, &in->wait);
}

static void again_loaded(struct user_wait *wait)
{
    struct incoming *in = CONTAINER_OF(wait, struct incoming, wait);
    if (in->user->state != USER_READY || in->user->gone) {
        incoming_reject(in, in->user->state == USER_FAILED ? "internal-server-error" : "service-unavailable");
        return;
    }
    in->lane.on_head = incoming_on_head;
    lane_enter(&in->user->receiving, in->stanza->from.bare, &in->lane);
    lane_stage(&in->lane, in->stage = 1);
    choose_sessions(in);
}

void receive_again(struct stanza *take, uint64_t since_wall_ms)
{
    struct incoming *in = x_calloc(1, sizeof(*in));
    in->parcel = x_calloc(1, sizeof(*in->parcel));
    in->parcel->stanza = take;
    in->stanza = stanza_ref(take);
    in->since_us = clock_us();
    in->user = user_hold(&take->to);
    list_push_back(&jsm->incoming, &in->node);
    in->anew = true;
    jsm->anew++;
    in->came_wall_ms = since_wall_ms;
    in->wait.fn = again_loaded;
    user_when_loaded(in->user, &in->wait);
}

void receive_undeliverable(struct parcel *take, const char *condition)
{
    if ((take->flags & (PARCEL_NO_EVENTS | PARCEL_COPY)) == 0) send_back(stanza_error(take->stanza, condition, NULL, "This service does not reach other domains."));
    ticket_done(take->ticket);
    stanza_unref(take->stanza);
    free(take);
}

void incoming_refuse_all(const char *condition, const char *text)
{
    LIST_EACH_SAFE(node, next, &jsm->incoming)
    {
        struct incoming *in = CONTAINER_OF(node, struct incoming, node);
        if (in->step == IN_EFFECTS || in->step >= IN_STORING || (in->parcel->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) != 0) continue;
        incoming_return(in, condition, text);
    }
}
