/* The sender's side. A stanza from a session is stamped, given a ticket, and goes through steps; where it must wait (a verdict, its turn in the lane, a
 * commit) the step returns and the answer resumes it. The session may be gone meanwhile, so it is looked up by id. */
#include "jsm/send.h"
#include "base/log.h"
#include "base/clock.h"
#include "base/metric.h"
#include "base/stages.h"
#include "jsm/brake.h"
#include "jsm/carbons.h"
#include "jsm/dispatch.h"
#include "jsm/features/features.h"
#include "jsm/invitation.h"
#include "jsm/resume.h"
#include "jsm/ticket.h"
#include <stdlib.h>
#include <string.h>

enum outgoing_step { OUT_ASK, OUT_ASKED, OUT_TURN, OUT_SERVER_ASKED, OUT_EFFECTS, OUT_CARBONS, OUT_DONE };
enum { STAGE_OUT = 1, STAGE_SERVER = 2, STAGE_IN = 3 };

struct outgoing {
    struct gate_entry gate; /* of its session */
    struct list node; /* in jsm->outgoing */
    struct lane_entry lane;
    uint64_t session;
    struct user *user;
    struct ticket ticket;
    bool ticket_passed_on; /* with the stanza, to the recipient's side */
    struct stanza *stanza;
    const struct stanza_row *row;
    unsigned place; /* one of enum stanza_place */
    enum outgoing_step step;
    struct kept_verdict verdict;
    struct carbons *carbons; /* sent copies under way; the ticket has a copy open for them */
    uint64_t since_us;
    struct effects fx;
    bool fx_used;
    bool returned; /* to its sender, at shutdown: nothing comes of it any more */
};

static void outgoing_apply(struct outgoing *o);

static void outgoing_finish(struct outgoing *o)
{
    if (o->carbons != NULL && !carbons_ready(o->carbons)) {
        o->step = OUT_CARBONS;
        return;
    }
    o->step = OUT_DONE;
    if (o->carbons != NULL) {
        carbons_end(o->carbons, o->ticket_passed_on, NULL, 0);
        ticket_done(o->ticket);
    }
    if (!o->ticket_passed_on) ticket_done(o->ticket);
    if (o->fx_used) effects_clear(&o->fx);
    verdict_clear(&o->verdict);
    stanza_unref(o->stanza);
    list_remove(&o->node);
    uint64_t session = o->session;
    struct user *u = o->user;
    lane_leave(&o->lane);
    free(o);
    struct session *s = session_get(session);
    if (s != NULL) session_finished_one(s);
    user_release(u);
}

/* A refusal is answered without an event; the originator is this session. */
static void outgoing_refused(struct outgoing *o)
{
    metric_inc(METRIC_STANZAS_REFUSED);
    stages_mark(o->stanza->sid, STAGE_REFUSED);
    struct stanza *instead = jid_present(&o->stanza->to) ? verdict_substitute(&o->verdict, o->stanza) : NULL;
    if (instead != NULL)
        router_route(instead, (struct ticket){0}, PARCEL_NO_EVENTS);
    else
        deliver_unchecked(session_get(o->session), verdict_reply(&o->verdict, o->stanza));
    outgoing_finish(o);
}

static void outgoing_pass_on(struct outgoing *o, struct stanza *take)
{
    stages_mark(o->stanza->sid, STAGE_ROUTED);
    o->ticket_passed_on = true;
    router_route(take, o->ticket, brake_count(take));
}

static void effects_done(struct effects *fx, const struct err *failed)
{
    struct outgoing *o = CONTAINER_OF(fx, struct outgoing, fx);
    if (failed != NULL) {
        bool limit = failed->code == ERR_LIMIT;
        deliver_unchecked(session_get(o->session), stanza_error(o->stanza, limit ? "policy-violation" : "internal-server-error", NULL,
                                                                limit ? "This is more than the service keeps for a user." : "The change could not be stored."));
    } else if (fx->forward != NULL) {
        struct stanza *forward = fx->forward;
        fx->forward = NULL;
        outgoing_pass_on(o, forward);
    }
    outgoing_finish(o);
}

static void outgoing_run_row(struct outgoing *o)
{
    struct session *s = session_get(o->session);
    if (s == NULL) {
        outgoing_finish(o);
        return;
    }
    o->step = OUT_EFFECTS;
    stages_mark(o->stanza->sid, STAGE_FEATURE);
    lane_stage(&o->lane, STAGE_IN);
    o->fx_used = true;
    effects_init(&o->fx, o->user, s, o->ticket, o->lane.lane != NULL ? &o->lane : NULL, o->stanza);
    o->fx.done = effects_done;
    struct context cx = {.stanza = o->stanza, .user = o->user, .session = s, .ticket = o->ticket, .arena = o->fx.arena};
    const char *text = NULL;
    const char *condition = o->row->check != NULL ? o->row->check(&cx, &text) : NULL;
    if (condition != NULL)
        effect_error(&o->fx, &cx, condition, text);
    else
        o->row->apply(&cx, &o->fx);
    effects_run(&o->fx);
}

/* The stanza is now another one, perhaps with another payload: then another row is its own. */
static void outgoing_becomes(struct outgoing *o, struct stanza *stanza)
{
    if (stanza == o->stanza) return;
    stanza_unref(o->stanza);
    o->stanza = stanza_ref(stanza);
    o->row = dispatch_find(o->stanza, o->place);
}

static void outgoing_local(struct outgoing *o);

static void server_answered(struct outgoing *o, const struct verdict *v)
{
    if (o->returned) {
        outgoing_finish(o);
        return;
    }
    verdict_clear(&o->verdict);
    verdict_keep(&o->verdict, v);
    if (v->kind != VERDICT_PASS) {
        outgoing_refused(o);
        return;
    }
    outgoing_becomes(o, v->stanza);
    if (o->row != NULL)
        outgoing_run_row(o);
    else
        outgoing_local(o);
}

static void server_done(void *arg, const struct verdict *v) { server_answered(arg, v); }

/* What the row's own rules refuse is not asked about. They are checked once more when it is applied: much may happen until e_SERVER is answered. */
static bool fails_check(const struct outgoing *o)
{
    struct session *s = session_get(o->session);
    if (s == NULL || o->row->check == NULL) return false;
    struct context cx = {.stanza = o->stanza, .user = o->user, .session = s, .ticket = o->ticket, .arena = arena_new(0)};
    const char *text = NULL;
    bool fails = o->row->check(&cx, &text) != NULL;
    arena_free(cx.arena);
    return fails;
}

/* At the server or the own account: e_SERVER, then the row. A stanza without a row is answered as RFC 6120, 8.4 and RFC 6121, 8.5 say. */
static void outgoing_local(struct outgoing *o)
{
    if (o->row == NULL) {
        deliver_unchecked(session_get(o->session),
                          stanza_is_request(o->stanza) || o->stanza->kind == STANZA_MESSAGE ? stanza_error(o->stanza, "service-unavailable", NULL, NULL) : NULL);
        outgoing_finish(o);
        return;
    }
    if (!o->row->server_event || fails_check(o)) {
        outgoing_run_row(o);
        return;
    }
    o->step = OUT_SERVER_ASKED;
    lane_stage(&o->lane, STAGE_SERVER);
    struct question q = {
        .event = EVENT_e_SERVER,
        .subject = o->stanza,
        .session = o->stanza->from.full,
        .entry = o->lane.lane != NULL ? &o->lane : NULL,
        .done = server_done,
        .arg = o,
    };
    struct verdict now;
    if (broker_raise(&q, &now)) server_answered(o, &now);
}

/* es_OUT is answered and it is this stanza's turn. */
static void outgoing_apply(struct outgoing *o)
{
    if (o->returned) {
        outgoing_finish(o);
        return;
    }
    stages_mark(o->stanza->sid, STAGE_OUT_TURN);
    metric_observe_us(METRIC_STAGE_OUT_TIME, clock_us() - o->since_us);
    if (o->verdict.kind != VERDICT_PASS) {
        if (o->stanza->type != PRESENCE_UNAVAILABLE) {
            outgoing_refused(o);
            return;
        }
        o->verdict.kind = VERDICT_PASS;
        stanza_unref(o->verdict.stanza);
        o->verdict.stanza = presence_stripped(o->stanza);
    }
    if (o->verdict.stanza != NULL) outgoing_becomes(o, o->verdict.stanza);
    if (o->place == AT_CONTACT_OUT && blocking_matches(o->user, &o->stanza->to)) o->row = &blocking_out_row;
    if (o->place != AT_CONTACT_OUT) {
        outgoing_local(o);
    } else if (o->row != NULL) {
        outgoing_run_row(o);
    } else {
        outgoing_pass_on(o, stanza_ref(o->stanza));
        outgoing_finish(o);
    }
}

static void outgoing_on_head(struct lane_entry *entry)
{
    struct outgoing *o = CONTAINER_OF(entry, struct outgoing, lane);
    if (o->step == OUT_TURN) outgoing_apply(o);
}

static void carbons_done(void *arg)
{
    struct outgoing *o = arg;
    if (o->step == OUT_CARBONS) outgoing_finish(o);
}

/* es_OUT has passed: the other sessions' copies are asked for now and written after the message has gone. To himself he gets it as received. */
static void ask_carbons(struct outgoing *o, const struct stanza *message)
{
    if (message->kind != STANZA_MESSAGE || o->place != AT_CONTACT_OUT || jid_bare_eq(&message->to, &o->user->jid)) return;
    if (!carbons_eligible(o->user, message, CARBON_SENT) || blocking_matches(o->user, &message->to)) return;
    lane_stage(&o->lane, STAGE_IN);
    o->carbons = carbons_ask(o->user, message, CARBON_SENT, NULL, 0, o->session, o->lane.lane != NULL ? &o->lane : NULL, carbons_done, o);
    if (o->carbons == NULL) return;
    carbons_remember(o->user, message);
    ticket_more(o->ticket, 1);
}

static void all_answered(struct outgoing *o, const struct verdict *v)
{
    verdict_keep(&o->verdict, v);
    if (v->kind == VERDICT_PASS && !o->returned) ask_carbons(o, v->stanza);
    stages_mark(o->stanza->sid, STAGE_OUT_VERDICT);
    o->step = OUT_TURN;
    if (o->lane.lane == NULL || lane_is_head(&o->lane)) outgoing_apply(o);
}

static void invite_done(void *arg, const struct verdict *v) { all_answered(arg, v); }

/* EVENTS.md: es_OUT, then onBeforeInvite, whose key is the room's. True: it was asked, or its answer was known. */
static bool ask_invitation(struct outgoing *o, const struct stanza *message)
{
    if (message->kind != STANZA_MESSAGE || o->place != AT_CONTACT_OUT || !broker_planned(EVENT_onBeforeInvite, message)) return false;
    struct arena *a = arena_new(0);
    struct jid room;
    bool is = invitation_to_room(message, a, &room);
    if (is) {
        lane_stage(&o->lane, STAGE_SERVER);
        struct question q = {
            .event = EVENT_onBeforeInvite,
            .subject = message,
            .session = message->from.full,
            .room = room.full,
            .entry = o->lane.lane != NULL ? &o->lane : NULL,
            .done = invite_done,
            .arg = o,
        };
        struct verdict now;
        if (broker_raise(&q, &now)) all_answered(o, &now);
    }
    arena_free(a);
    return is;
}

static void out_answered(struct outgoing *o, const struct verdict *v)
{
    if (v->kind == VERDICT_PASS && !o->returned && ask_invitation(o, v->stanza)) return;
    all_answered(o, v);
}

static void out_done(void *arg, const struct verdict *v) { out_answered(arg, v); }

/* Would any event of the way ahead be asked, or is something ahead in a lane? es_IN is that of copies and replies. */
static bool needs_lane(const struct session *s, const struct outgoing *o)
{
    if (s->sending.entries > 0 || broker_planned(EVENT_es_OUT, o->stanza) || broker_planned(EVENT_es_IN, o->stanza)) return true;
    if (broker_planned(EVENT_onBeforeInvite, o->stanza)) return true;
    if (o->row == NULL) return false;
    return (o->row->server_event && broker_planned(EVENT_e_SERVER, o->stanza)) || (o->stanza->type == IQ_GET && broker_lists(EVENT_e_DISCOFEAT, PACKET_IQ));
}

static void outgoing_ask(struct session *s, struct outgoing *o)
{
    o->step = OUT_ASKED;
    if (needs_lane(s, o)) {
        o->lane.on_head = outgoing_on_head;
        lane_enter(&s->sending, jid_present(&o->stanza->to) ? o->stanza->to.bare : STR(""), &o->lane);
        lane_stage(&o->lane, STAGE_OUT);
    }
    struct question q = {
        .event = EVENT_es_OUT,
        .subject = o->stanza,
        .session = s->full.full,
        .entry = o->lane.lane != NULL ? &o->lane : NULL,
        .done = out_done,
        .arg = o,
    };
    struct verdict now;
    if (broker_raise(&q, &now)) out_answered(o, &now);
}

void outgoing_begin(struct gate_entry *entry)
{
    struct outgoing *o = CONTAINER_OF(entry, struct outgoing, gate);
    if (o->returned)
        outgoing_finish(o);
    else
        outgoing_ask(session_get(o->session), o);
}

/* RFC 6120, 8.1.2.1: `from` is the full JID, but for subscriptions, where RFC 6121, 3.1.2 wants the bare one: the subscription feature sees to that when the
 * stanza leaves. A message without `to` is for the own account (RFC 6120, 10.3.1). */
static struct stanza *stamped(const struct session *s, const struct stanza *raw)
{
    uint64_t sid = stanza_id_next();
    struct stanza_change change = {.from = &s->full, .sid = &sid, .origin = &s->id};
    if (raw->kind == STANZA_MESSAGE && !jid_present(&raw->to)) change.to = &s->user->jid;
    return stanza_with(raw, &change);
}

static unsigned place_of(const struct session *s, const struct stanza *stanza)
{
    const struct jid *to = &stanza->to;
    if (!jid_present(to)) return AT_ACCOUNT;
    if (to->local.p == NULL && router_domain_served(to->domain)) return to->resource.p == NULL ? AT_SERVER : AT_NOTHING;
    if (stanza->kind == STANZA_IQ && !jid_is_full(to) && jid_bare_eq(to, &s->user->jid)) return AT_ACCOUNT;
    return AT_CONTACT_OUT;
}

void session_receive(struct session *s, struct stanza *take)
{
    s->heard_ms = worker_now_ms();
    struct ticket ticket = ticket_open(s);
    if (s->resume != NULL && resume_came_again(s, take, ticket.number)) {
        stanza_unref(take);
        ticket_done(ticket);
        return;
    }
    struct outgoing *o = x_calloc(1, sizeof(*o));
    o->stanza = stamped(s, take);
    stanza_unref(take);
    o->session = s->id;
    o->user = s->user;
    o->user->refs++;
    o->place = place_of(s, o->stanza);
    o->row = dispatch_find(o->stanza, o->place);
    o->ticket = ticket;
    o->since_us = clock_us();
    stages_mark(o->stanza->sid, STAGE_ACCEPTED);
    list_push_back(&jsm->outgoing, &o->node);
    metric_inc(METRIC_STANZAS_IN);
    if (jsm->draining) {
        deliver_unchecked(s, stanza_error(o->stanza, "service-unavailable", "wait", "The service is shutting down."));
        gate_join(&s->gate);
        outgoing_finish(o);
        return;
    }
    o->gate.barrier = o->row != NULL && o->row->barrier;
    uint64_t sid = o->stanza->sid;
    if (!gate_enter(&s->gate, &o->gate)) stages_mark(sid, STAGE_HELD_BACK);
}

void outgoing_refuse_all(const char *condition, const char *text)
{
    LIST_EACH(node, &jsm->outgoing)
    {
        struct outgoing *o = CONTAINER_OF(node, struct outgoing, node);
        struct session *s = session_get(o->session);
        if (s == NULL || o->step >= OUT_EFFECTS) continue;
        o->returned = true;
        deliver_unchecked(s, stanza_error(o->stanza, condition, "wait", text));
    }
}
