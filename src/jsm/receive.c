/* The recipient's side. e_DELIVER and es_IN are asked in lane order without waiting for the stanza ahead to be done; handlers, writes and refusals happen
 * only at the head of the lane.
 * Here: arrival, e_DELIVER, the features of the recipient's side, and every end but one; then receive_sessions.c, which has receive_primary.c ask
 * e_PRISESSION in between. */
#include "jsm/receive.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/stages.h"
#include "jsm/brake.h"
#include "jsm/features/disco.h"
#include "jsm/incoming.h"
#include "jsm/invitation.h"
#include "jsm/ticket.h"
#include <stdlib.h>
#include <string.h>

void incoming_deliveries_clear(struct incoming *in)
{
    for (unsigned i = 0; i < in->n_deliveries; i++) deliver_clear(&in->deliveries[i]);
    if (in->deliveries != &in->one) free(in->deliveries);
    in->deliveries = NULL;
    in->n_deliveries = 0;
}

void incoming_finish(struct incoming *in)
{
    if (in->carbons != NULL && !carbons_ready(in->carbons)) {
        in->step = IN_CARBONS;
        return;
    }
    in->step = IN_DONE;
    if (in->carbons != NULL) carbons_end(in->carbons, in->reached, in->deliveries, in->n_deliveries);
    if (in->anew) jsm->anew--;
    stages_mark(in->stanza->sid, STAGE_FINISHED);
    if (!in->reached && !in->stays) kept_over(in->kept);
    kept_unref(in->kept);
    parcel_unref(in->parcel);
    if (in->fx_used) effects_clear(&in->fx);
    incoming_deliveries_clear(in);
    free(in->refused);
    free(in->primary);
    verdict_clear(&in->verdict);
    stanza_unref(in->stanza);
    list_remove(&in->node);
    struct user *u = in->user;
    lane_leave(&in->lane);
    free(in);
    user_release(u);
}

/* To the originator, without an event. */
void incoming_send_back(struct stanza *take_reply)
{
    if (take_reply != NULL) router_route(take_reply, (struct ticket){0}, PARCEL_NO_EVENTS);
}

void incoming_reject(struct incoming *in, const char *condition)
{
    const struct stanza *s = in->stanza;
    bool answered = (in->parcel->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) == 0 && s->kind != STANZA_PRESENCE;
    if (answered) incoming_send_back(stanza_error(s, condition, NULL, NULL));
    incoming_finish(in);
}

/* A stanza that found nothing ahead and nobody to ask has no place in a lane; when it must wait after all, it takes one (and is its head). */
void incoming_ensure_lane(struct incoming *in)
{
    if (in->lane.lane != NULL) return;
    lane_enter(&in->user->receiving, in->stanza->from.bare, &in->lane);
    lane_stage(&in->lane, in->stage);
}

void incoming_stage(struct incoming *in, enum incoming_asks at)
{
    uint32_t round = in->stage / ASKS_ROUND;
    if (in->stage % ASKS_ROUND >= at) round++;
    in->stage = round * ASKS_ROUND + at;
    lane_stage(&in->lane, in->stage);
}

/* ---- refusals at e_DELIVER ---- */
static void incoming_run_row(struct incoming *in);

void incoming_refused(struct incoming *in)
{
    if (incoming_leave(in)) return;
    const struct stanza *s = in->stanza;
    metric_inc(METRIC_STANZAS_REFUSED);
    stages_mark(s->sid, STAGE_REFUSED);
    struct stanza *substitute = verdict_substitute(&in->verdict, s);
    if (substitute != NULL) {
        incoming_send_back(substitute);
    } else if (subscription_stands(in->user, s)) {
        /* it would have changed nothing, and so does its refusal: an answer would end for one side what the other has */
    } else if (s->type == PRESENCE_SUBSCRIBE) {
        incoming_send_back(stanza_make(STANZA_PRESENCE, PRESENCE_UNSUBSCRIBED, &in->user->jid, &s->from, s->id, STR("")));
    } else if (s->type == PRESENCE_SUBSCRIBED) {
        in->row = &subscribed_refused_row;
        incoming_run_row(in);
        return;
    } else if ((in->parcel->flags & PARCEL_COPY) == 0) {
        incoming_send_back(verdict_reply(&in->verdict, s));
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
    incoming_choose(in);
}

static void incoming_run_row(struct incoming *in)
{
    in->step = IN_EFFECTS;
    stages_mark(in->stanza->sid, STAGE_FEATURE);
    incoming_stage(in, ASKS_FEATURE);
    in->fx_used = true;
    effects_init(&in->fx, in->user, NULL, in->parcel->ticket, in->lane.lane != NULL ? &in->lane : NULL, in->stanza);
    in->fx.done = in_effects_done;
    struct context cx = {.stanza = in->stanza, .user = in->user, .ticket = in->parcel->ticket, .arena = in->fx.arena,
                         .unchecked = (in->parcel->flags & PARCEL_NO_EVENTS) != 0};
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
        incoming_choose(in);
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
    incoming_stage(in, ASKS_SERVER);
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
    if ((in->parcel->flags & PARCEL_COPY) == 0 && !router_domain_of_rooms(in->stanza->from.domain)) invitation_sent(in->stanza);
    if (in->row != NULL) {
        incoming_feature(in);
        return;
    }
    if (in->stanza->kind == STANZA_MESSAGE && (in->parcel->flags & PARCEL_COPY) == 0) stamp(in);
    incoming_choose(in);
}

static void deliver_answered(struct incoming *in, const struct verdict *v)
{
    verdict_keep(&in->verdict, v);
    if (v->kind == VERDICT_PASS && v->changed) in->row = row_of(in, v->stanza);
    stages_mark(in->stanza->sid, STAGE_DELIVER_VERDICT);
    metric_observe_us(METRIC_STAGE_DELIVER_TIME, clock_us() - in->since_us);
    in->step = IN_DELIVER_TURN;
    bool pipelined = v->kind == VERDICT_PASS && in->row == NULL; /* es_IN may be asked before the stanza ahead is done */
    bool over = v->kind != VERDICT_PASS && !never_refused(in->stanza) && in->stanza->type != PRESENCE_SUBSCRIBED; /* whose refusal changes the roster */
    if (over) lane_quiet(&in->lane); /* those behind need not wait to ask */
    if (pipelined || in->lane.lane == NULL || lane_is_head(&in->lane)) deliver_turn(in);
}

static void deliver_done(void *arg, const struct verdict *v) { deliver_answered(arg, v); }

static void incoming_on_head(struct lane_entry *entry)
{
    struct incoming *in = CONTAINER_OF(entry, struct incoming, lane);
    if (in->step == IN_DELIVER_TURN)
        deliver_turn(in);
    else if (in->step == IN_PRIMARY_TURN)
        incoming_primary_turn(in);
    else if (in->step == IN_TURN)
        incoming_copies_turn(in);
    else if (in->step == IN_OFFLINE_TURN)
        incoming_offline_turn(in);
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
    if (in->user->receiving.entries > 0 || in->row != NULL || !list_empty(&in->user->flushes)) return true;
    return ((in->parcel->flags & PARCEL_ROOM) == 0 && broker_planned(EVENT_e_DELIVER, s)) || broker_planned(EVENT_es_IN, s);
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
    struct stanza *nothing = (in->parcel->flags & PARCEL_NO_EVENTS) == 0 ? disco_of_nobody(s) : NULL;
    if (nothing != NULL) {
        router_route(nothing, (struct ticket){0}, 0);
        incoming_finish(in);
        return;
    }
    incoming_reject(in, "service-unavailable");
}

/* A room's to one of its occupants: the room has asked about it, e_DELIVER is not raised, and it is for that session alone. */
static void from_room(struct incoming *in)
{
    if (blocking_matches(in->user, &in->stanza->from)) {
        incoming_reject(in, "service-unavailable");
        return;
    }
    in->row = NULL;
    if (in->parcel->flags & PARCEL_NO_EVENTS) {
        write_unchecked(in);
        return;
    }
    in->lane.on_head = incoming_on_head;
    if (needs_lane(in)) {
        lane_enter(&in->user->receiving, in->stanza->from.bare, &in->lane);
        lane_stage(&in->lane, in->stage = 1);
    }
    incoming_choose(in);
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
    if (in->parcel->flags & PARCEL_ROOM) {
        from_room(in);
        return;
    }
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
        incoming_stage(in, ASKS_DELIVER);
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
    if (in->stanza->kind != STANZA_PRESENCE) incoming_send_back(stanza_error(in->stanza, condition, "wait", text));
}

void receive_parcel(struct parcel *take)
{
    struct stanza *s = take->stanza;
    if (take->flags & PARCEL_COUNTED) brake_arrived(s);
    if (s->to.local.p == NULL) { /* a resource of the server itself has nothing; results and errors it gets end here */
        bool answered = (stanza_is_request(s) || s->kind == STANZA_MESSAGE) && (take->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) == 0;
        if (answered) incoming_send_back(stanza_error(s, "service-unavailable", NULL, NULL));
        parcel_unref(take);
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
    in->stays = in->user->state == USER_FAILED && in->kept != NULL && in->kept->state == KEPT_STORED;
    if (in->stays) {
        incoming_finish(in);
        return;
    }
    if (in->user->state != USER_READY || in->user->gone) {
        incoming_reject(in, in->user->state == USER_FAILED ? "internal-server-error" : "service-unavailable");
        return;
    }
    in->lane.on_head = incoming_on_head;
    lane_enter_first(&in->user->receiving, in->stanza->from.bare, &in->lane); /* all others there came after it */
    incoming_stage(in, ASKS_DELIVER);
    incoming_choose(in);
}

void receive_again(struct stanza *take, uint64_t since_wall_ms, struct kept *kept)
{
    struct incoming *in = x_calloc(1, sizeof(*in));
    in->parcel = parcel_made(take);
    in->stanza = stanza_ref(take);
    in->since_us = clock_us();
    in->user = user_hold(&take->to);
    list_push_back(&jsm->incoming, &in->node);
    in->anew = true;
    jsm->anew++;
    in->came_wall_ms = since_wall_ms;
    in->kept = kept_ref(kept);
    in->wait.fn = again_loaded;
    user_when_loaded(in->user, &in->wait);
}

void receive_undeliverable(struct parcel *take, const char *condition)
{
    bool answered = (take->flags & (PARCEL_NO_EVENTS | PARCEL_COPY)) == 0;
    if (answered) incoming_send_back(stanza_error(take->stanza, condition, NULL, "This service does not reach other domains."));
    parcel_unref(take);
}

void incoming_refuse_all(const char *condition, const char *text)
{
    LIST_EACH_SAFE(node, next, &jsm->incoming)
    {
        struct incoming *in = CONTAINER_OF(node, struct incoming, node);
        if (in->step == IN_EFFECTS || in->step >= IN_STORING || in->anew || (in->parcel->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) != 0) continue;
        incoming_return(in, condition, text);
    }
}

void incoming_leave_all(void)
{
    LIST_EACH_SAFE(node, next, &jsm->incoming)
    {
        struct incoming *in = CONTAINER_OF(node, struct incoming, node);
        if (in->step < IN_STORING) incoming_leave_now(in);
    }
}
