/* A request's way: arrival, the first event, check, further events, its turn, check again, apply, the commit, the end. */
#include "tc/request.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/stages.h"
#include "tc/change.h"
#include "tc/rows.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define T(type) (1u << (type))
const struct request_row request_table[] = {
#define REQUEST(name, kind, types, element, ns, targets, check, apply, what) {#name, STANZA_##kind, types, element, ns, targets, check, apply, what},
#include "tables/rooms.def"
#undef REQUEST
};
#undef T
const unsigned request_table_rows = sizeof(request_table) / sizeof(request_table[0]);

static unsigned target_of(const struct request *r)
{
    const struct jid *to = &r->stanza->to;
    if (to->local.p == NULL) return TO_SERVICE;
    if (!room_exists(r->room)) return TO_ABSENT;
    return jid_is_full(to) ? TO_NICK : TO_ROOM;
}

static const struct request_row *row_of(const struct request *r)
{
    const struct stanza *s = r->stanza;
    unsigned target = target_of(r);
    for (unsigned i = 0; i < request_table_rows; i++) {
        const struct request_row *row = &request_table[i];
        if (row->kind != s->kind || (row->targets & target) == 0 || (row->types & 1u << s->type) == 0) continue;
        if (row->element == NULL || stanza_child(s, row->element, row->ns) != NULL) return row;
    }
    return NULL;
}

/* ---- the end ---- */
static void request_finish(struct request *r)
{
    r->step = REQUEST_DONE;
    stages_mark(r->stanza->sid, STAGE_FINISHED);
    struct room *room = r->room;
    list_remove(&r->node);
    store_room_batch_free(r->batch);
    if (r->answered != NULL) r->answered(r->answered_arg, r->answer);
    stanza_unref(r->answer);
    verdict_clear(&r->verdict);
    for (unsigned i = 0; i < r->n_parts; i++) stanza_unref(r->parts[i].stanza);
    free(r->parts);
    stanza_unref(r->outgoing);
    stanza_unref(r->stanza);
    parcel_unref(r->parcel);
    arena_free(r->arena);
    free(r->needs);
    free(r->passed);
    lane_leave(&r->lane);
    free(r);
    room_release(room);
}

static bool is_leaving(const struct request *r) { return r->stanza->type == PRESENCE_UNAVAILABLE; }

/* A verdict's answer raises no event. Rule 7: whoever wanted to come in is told that he does not, even where a compliance server has said HANDLE. */
static void answer_refused(struct request *r)
{
    const struct stanza *s = r->stanza;
    metric_inc(METRIC_STANZAS_REFUSED);
    stages_mark(s->sid, STAGE_REFUSED);
    if (r->row == &close_row) close_refused(r);
    if ((r->parcel->flags & PARCEL_NO_EVENTS) != 0) return;
    struct stanza *answer = verdict_substitute(&r->verdict, s);
    if (answer == NULL) answer = verdict_reply(&r->verdict, s);
    if (answer == NULL && s->type == PRESENCE_AVAILABLE) answer = stanza_error(s, "not-allowed", NULL, "This was not allowed by policy.");
    answer = send_as_room(r, answer);
    if (r->self_made)
        send_reply(r, answer);
    else if (answer != NULL)
        router_route_for(answer, r->parcel, PARCEL_NO_EVENTS);
}

void request_fail(struct request *r, const char *condition, const char *text) { send_error(r, condition, NULL, text); }

/* ---- the change ---- */
static void request_stored(void *arg, const struct err *err)
{
    struct request *r = arg;
    if (err != NULL) {
        log_error("tc", "cannot store a change of room '%s': %s", r->room->jid.full.p, err->text);
        if (r->undo != NULL) r->undo(r);
        request_fail(r, "internal-server-error", "The change could not be stored.");
    } else if (r->then != NULL) {
        r->then(r);
    }
    request_finish(r);
}

struct store_room_batch *request_store(struct request *r)
{
    if (r->batch == NULL) r->batch = store_room_batch_new(r->room->jid.bare);
    return r->batch;
}

void request_then(struct request *r, void (*then)(struct request *r), void (*undo)(struct request *r))
{
    r->then = then;
    r->undo = undo;
}

static void request_apply(struct request *r)
{
    stages_mark(r->stanza->sid, STAGE_FEATURE);
    if (r->row != NULL)
        r->row->apply(r);
    else if (stanza_is_request(r->stanza) || r->stanza->kind == STANZA_MESSAGE)
        send_error(r, target_of(r) == TO_ABSENT ? "item-not-found" : "service-unavailable", NULL, NULL);
    if (r->batch != NULL) {
        struct store_room_batch *batch = r->batch;
        r->batch = NULL;
        r->step = REQUEST_STORING;
        store_room_batch_commit(batch, request_stored, r);
        return;
    }
    if (r->then != NULL) r->then(r);
    request_finish(r);
}

/* ---- checks and events ---- */
void request_needs(struct request *r, enum event_id event, unsigned item)
{
    if (r->n_needs == r->needs_cap) {
        r->needs_cap = r->needs_cap == 0 ? 4 : r->needs_cap * 2;
        r->needs = x_realloc(r->needs, r->needs_cap * sizeof(*r->needs));
    }
    r->needs[r->n_needs++] = (struct asked){event, item, false};
}

static bool has_passed(const struct request *r, const struct asked *a)
{
    for (unsigned i = 0; i < r->n_passed; i++)
        if (r->passed[i].event == a->event && r->passed[i].item == a->item) return true;
    return false;
}

static void note_passed(struct request *r, enum event_id event, unsigned item)
{
    if (r->n_passed == r->passed_cap) {
        r->passed_cap = r->passed_cap == 0 ? 4 : r->passed_cap * 2;
        r->passed = x_realloc(r->passed, r->passed_cap * sizeof(*r->passed));
    }
    r->passed[r->n_passed++] = (struct asked){event, item, true};
}

void request_ask_again(struct request *r, enum event_id event)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < r->n_passed; i++)
        if (r->passed[i].event != event) r->passed[kept++] = r->passed[i];
    r->n_passed = kept;
}

static const char *request_check(struct request *r)
{
    r->n_needs = 0;
    r->text = r->own_condition = r->own_ns = NULL;
    r->offending = STR_NONE;
    r->limit = METRIC_COUNT;
    if (!r->self_made) r->row = row_of(r);
    return r->row != NULL && r->row->check != NULL ? r->row->check(r) : NULL;
}

static void request_go_on(struct request *r);

static void request_answered(struct request *r, const struct verdict *v)
{
    enum event_id event = r->asking;
    if (v->kind == VERDICT_PASS) {
        if (event == EVENT_onPacket || event == EVENT_onServicePacket)
            r->examined = true;
        else
            note_passed(r, event, r->asking_item);
        request_accept(r, event, r->asking_item, v->stanza);
    } else if (is_leaving(r)) { /* rule 4 */
        r->examined = true;
        note_passed(r, event, r->asking_item);
        struct stanza *stripped = presence_stripped(r->stanza);
        stanza_unref(r->stanza);
        r->stanza = stripped;
    } else {
        r->refused = true;
        verdict_keep(&r->verdict, v);
        lane_quiet(&r->lane);
    }
    request_go_on(r);
}

static void request_asked_done(void *arg, const struct verdict *v) { request_answered(arg, v); }

/* True: the answer is awaited. */
static bool request_ask(struct request *r, enum event_id event, unsigned item, struct verdict *now)
{
    struct stanza *subject = request_subject(r, event, item);
    r->step = REQUEST_ASKED;
    r->asking = event;
    r->asking_item = item;
    lane_stage(&r->lane, ++r->stage);
    struct question q = {
        .event = event,
        .subject = subject,
        .room = r->room->jid.full,
        .entry = &r->lane,
        .done = request_asked_done,
        .arg = r,
    };
    bool known = broker_raise(&q, now);
    if (known && now->stanza != NULL) stanza_ref(now->stanza); /* it may be the subject, of which this was the last reference */
    stanza_unref(subject);
    return !known;
}

static void request_raise(struct request *r, enum event_id event, unsigned item)
{
    struct verdict now;
    if (request_ask(r, event, item, &now)) return;
    struct stanza *held = now.stanza;
    request_answered(r, &now);
    stanza_unref(held);
}

/* What is to be asked next of what the check wants; NULL: nothing. */
static const struct asked *next_need(const struct request *r)
{
    for (unsigned i = 0; i < r->n_needs; i++)
        if (!has_passed(r, &r->needs[i])) return &r->needs[i];
    return NULL;
}

static void request_turn(struct request *r)
{
    if (r->given_up) {
        request_finish(r);
        return;
    }
    if (r->refused) {
        answer_refused(r);
        request_finish(r);
        return;
    }
    const char *condition = request_check(r);
    const struct asked *need = condition == NULL ? next_need(r) : NULL;
    if (need != NULL) { /* the room is another than it was: this holds it, for once */
        request_raise(r, need->event, need->item);
        return;
    }
    if (condition != NULL) {
        if (r->limit != METRIC_COUNT) metric_inc(r->limit);
        if (condition[0] != '\0') send_error(r, condition, NULL, r->text);
        request_finish(r);
        return;
    }
    request_apply(r);
}

static void request_go_on(struct request *r)
{
    if (!r->refused && !r->given_up && !r->examined) {
        request_raise(r, room_exists(r->room) ? EVENT_onPacket : EVENT_onServicePacket, 0);
        return;
    }
    const struct asked *need = !r->refused && !r->given_up && request_check(r) == NULL ? next_need(r) : NULL;
    if (need != NULL && !lane_is_head(&r->lane)) {
        request_raise(r, need->event, need->item);
        return;
    }
    r->step = REQUEST_TURN;
    if (lane_is_head(&r->lane)) request_turn(r);
}

static void request_on_head(struct lane_entry *entry)
{
    struct request *r = CONTAINER_OF(entry, struct request, lane);
    if (r->step == REQUEST_TURN) request_turn(r);
}

/* ---- arrival ---- */
static void request_loaded(struct room_wait *wait)
{
    struct request *r = CONTAINER_OF(wait, struct request, wait);
    if (r->room->state == ROOM_FAILED) {
        send_error(r, "internal-server-error", "wait", "The room could not be loaded.");
        request_finish(r);
        return;
    }
    r->lane.on_head = request_on_head;
    /* What different people ask of the service itself is in no order. */
    lane_enter(&r->room->lane, r->stanza->to.local.p == NULL ? r->stanza->from.full : STR(""), &r->lane);
    if ((r->parcel->flags & PARCEL_NO_EVENTS) != 0 || r->self_made) r->examined = true;
    request_go_on(r);
}

static struct request *request_new(struct parcel *take)
{
    struct request *r = x_calloc(1, sizeof(*r));
    r->parcel = take;
    r->stanza = stanza_ref(take->stanza);
    r->arena = arena_new(0);
    r->room = room_hold(&take->stanza->to);
    list_push_back(&tc->requests, &r->node);
    r->wait.fn = request_loaded;
    return r;
}

void requests_return(void)
{
    LIST_EACH(node, &tc->requests)
    {
        struct request *r = CONTAINER_OF(node, struct request, node);
        if (r->given_up || r->self_made || (r->step != REQUEST_ASKED && r->step != REQUEST_TURN)) continue;
        r->given_up = true;
        struct stanza *error = r->parcel->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)
                                   ? NULL
                                   : stanza_error(r->stanza, "service-unavailable", "wait", "The service is shutting down.");
        if (error != NULL) router_route_for(error, r->parcel, PARCEL_NO_EVENTS);
    }
}

/* The session is no more: those of its joins that have not been carried out are not, so nobody ever sees him there. Messages he has sent stay. */
static void give_up_joins(const struct request *end)
{
    LIST_EACH(node, &tc->requests)
    {
        struct request *r = CONTAINER_OF(node, struct request, node);
        bool his = r->room == end->room && r->stanza->type == PRESENCE_AVAILABLE && jid_eq(&r->stanza->from, &end->stanza->from);
        if (!his || request_attendee(r) != NULL || (r->step != REQUEST_ASKED && r->step != REQUEST_TURN)) continue;
        r->given_up = true;
        lane_quiet(&r->lane);
    }
}

void request_arrive(struct parcel *take)
{
    stages_mark(take->stanza->sid, STAGE_ARRIVED);
    metric_inc(METRIC_ROOM_REQUESTS);
    struct request *r = request_new(take);
    if (tc->closing && (take->flags & PARCEL_NO_EVENTS) == 0) {
        send_error(r, "service-unavailable", "wait", "The service is shutting down.");
        request_finish(r);
        return;
    }
    if (take->flags & PARCEL_ENDED) give_up_joins(r);
    room_when_loaded(r->room, &r->wait);
}

void request_by_service(const struct request_row *row, struct stanza *take, void (*answered)(void *arg, const struct stanza *answer), void *arg)
{
    struct request *r = request_new(parcel_made(take));
    r->self_made = true;
    r->answered = answered;
    r->answered_arg = arg;
    r->row = row;
    room_when_loaded(r->room, &r->wait);
}
