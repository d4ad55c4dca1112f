/* The stanza table and the running of effects: store first, then send, in the order the feature named them. */
#include "jsm/dispatch.h"
#include "base/log.h"
#include "base/metric.h"
#include "jsm/deliver.h"
#include "jsm/features/features.h"
#include "jsm/ticket.h"
#include <stdlib.h>
#include <string.h>

#define T(type) (1u << (type))
const struct stanza_row stanza_table[] = {
#define STANZA(name, kind, types, element, ns, places, barrier, server_event, check, apply, what) \
    {#name, STANZA_##kind, types, element, ns, places, barrier, server_event, check, apply, what},
#include "tables/stanzas.def"
#undef STANZA
};
#undef T
const unsigned stanza_table_rows = sizeof(stanza_table) / sizeof(stanza_table[0]);

const struct stanza_row *dispatch_find(const struct stanza *s, unsigned place)
{
    const struct xml_child *payload = s->n_children > 0 ? &s->children[0] : NULL;
    for (unsigned i = 0; i < stanza_table_rows; i++) {
        const struct stanza_row *row = &stanza_table[i];
        if (row->kind != s->kind || (row->places & place) == 0 || (row->types & 1u << s->type) == 0) continue;
        if (row->element == NULL) return row;
        if (payload != NULL && str_is(payload->name, row->element) && str_is(payload->ns, row->ns)) return row;
    }
    return NULL;
}

enum effect_kind { EFFECT_REPLY, EFFECT_REFUSE, EFFECT_ROUTE, EFFECT_DELIVER, EFFECT_UNCHECKED, EFFECT_THEN, EFFECT_SETTLE, EFFECT_EVENT };
struct effect {
    struct list node;
    enum effect_kind kind;
    struct stanza *stanza;
    unsigned flags;
    uint64_t session;
    enum event_copy copy;
    void (*then)(uint64_t session);
    struct question *question; /* of EFFECT_EVENT; its subject is `stanza` */
    void (*asked)(struct effects *fx, const struct verdict *v);
};

static struct effect *effect_add(struct effects *fx, enum effect_kind kind, struct stanza *take)
{
    struct effect *e = arena_zalloc(fx->arena, sizeof(*e));
    e->kind = kind;
    e->stanza = take;
    list_push_back(&fx->items, &e->node);
    return e;
}

void effect_reply(struct effects *fx, struct stanza *take)
{
    if (take != NULL) effect_add(fx, EFFECT_REPLY, take);
}

void effect_error(struct effects *fx, const struct context *cx, const char *condition, const char *text)
{
    effect_reply(fx, stanza_error(cx->stanza, condition, NULL, text));
}

void effect_refuse(struct effects *fx, struct stanza *take)
{
    if (take != NULL) effect_add(fx, EFFECT_REFUSE, take);
}

static void event_done(void *arg, const struct verdict *v);
void effect_event(struct effects *fx, const struct question *q, void (*fn)(struct effects *fx, const struct verdict *v))
{
    struct effect *e = effect_add(fx, EFFECT_EVENT, stanza_ref(q->subject));
    e->question = arena_zalloc(fx->arena, sizeof(*e->question));
    *e->question = (struct question){
        .event = q->event,
        .subject = e->stanza,
        .session = arena_str(fx->arena, q->session),
        .room = arena_str(fx->arena, q->room),
        .key = arena_str(fx->arena, q->key),
        .entry = fx->entry,
        .done = event_done,
        .arg = fx,
    };
    e->asked = fn;
}

void effect_route(struct effects *fx, struct stanza *take, unsigned parcel_flags) { effect_add(fx, EFFECT_ROUTE, take)->flags = parcel_flags; }

void effect_settle(struct effects *fx) { effect_add(fx, EFFECT_SETTLE, NULL); }

void effect_forward(struct effects *fx, struct stanza *take)
{
    stanza_unref(fx->forward);
    fx->forward = take;
}

void effect_deliver(struct effects *fx, const struct session *to, struct stanza *take, enum event_copy copy)
{
    struct effect *e = effect_add(fx, EFFECT_DELIVER, take);
    e->session = to->id;
    e->copy = copy;
}

void effect_deliver_unchecked(struct effects *fx, const struct session *to, struct stanza *take)
{
    effect_add(fx, EFFECT_UNCHECKED, take)->session = to->id;
}

void effect_document(struct effects *fx, const char *area, struct str name, void (*fn)(struct effects *fx, struct str xml))
{
    fx->document_area = area;
    fx->document_name = arena_str(fx->arena, name);
    fx->document_fn = fn;
}

void effect_wait(struct effects *fx, void (*fn)(struct effects *fx), void *arg)
{
    fx->wait_fn = fn;
    fx->wait_arg = arg;
}

void effect_after(struct effects *fx, void (*fn)(uint64_t session)) { fx->after_fn = fn; }

void effect_then(struct effects *fx, void (*fn)(uint64_t session), uint64_t session)
{
    struct effect *e = effect_add(fx, EFFECT_THEN, NULL);
    e->then = fn;
    e->session = session;
}

struct store_batch *effect_store(struct effects *fx, struct user *u)
{
    if (fx->batch == NULL) fx->batch = store_batch_new(u->jid.bare);
    return fx->batch;
}

void effects_init(struct effects *fx, struct user *u, const struct session *s, struct ticket ticket, struct lane_entry *entry, const struct stanza *request)
{
    memset(fx, 0, sizeof(*fx));
    list_init(&fx->items);
    fx->arena = arena_new(0);
    fx->user = u;
    u->refs++;
    fx->session = s != NULL ? s->id : 0;
    fx->ticket = ticket;
    fx->entry = entry;
    fx->request = request;
}

/* One es_IN under way for an effect. A session gets what features deliver to it in the order in which they decided it, however the answers come: pushes and
 * the roster itself tell of states, and the last one told must be the last one there was. */
struct effect_delivery {
    struct list node; /* in session->arriving; in none: presence, or the session has gone */
    struct delivery d;
    struct effects *fx;
    bool ready;
};

static void one_done(struct effects *fx)
{
    if (--fx->under_way > 0) return;
    void (*after)(uint64_t session) = fx->after_fn;
    uint64_t session = fx->session;
    fx->done(fx, NULL);
    if (after != NULL) after(session);
}

static void delivery_finish(struct effect_delivery *ed)
{
    deliver_write(&ed->d);
    deliver_clear(&ed->d);
    struct effects *fx = ed->fx;
    free(ed);
    one_done(fx);
}

/* Finishing one may end the session, or write further ones. */
static void copies_go_on(uint64_t session)
{
    struct session *s;
    while ((s = session_get(session)) != NULL && !list_empty(&s->arriving)) {
        struct effect_delivery *ed = CONTAINER_OF(s->arriving.next, struct effect_delivery, node);
        if (!ed->ready) return;
        list_remove(&ed->node);
        delivery_finish(ed);
    }
}

static void delivery_ready(struct delivery *d)
{
    struct effect_delivery *ed = CONTAINER_OF(d, struct effect_delivery, d);
    ed->ready = true;
    if (list_linked(&ed->node))
        copies_go_on(d->session);
    else
        delivery_finish(ed);
}

void effects_session_gone(struct session *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->arriving)) != NULL) {
        struct effect_delivery *ed = CONTAINER_OF(node, struct effect_delivery, node);
        if (ed->ready) delivery_finish(ed);
    }
}

/* A refused reply to an IQ leaves the requester with an error of the same id: deliver sees to it. */
static void send_to_session(struct effects *fx, uint64_t session, struct stanza *take, enum event_copy copy)
{
    struct session *s = session_get(session);
    if (s == NULL || !session_takes(s)) {
        stanza_unref(take);
        return;
    }
    struct effect_delivery *ed = x_calloc(1, sizeof(*ed));
    ed->fx = fx;
    fx->under_way++;
    bool ordered = take->type != PRESENCE_AVAILABLE && take->type != PRESENCE_UNAVAILABLE; /* of one sender's presence a barrier keeps the order */
    if (ordered) list_push_back(&s->arriving, &ed->node);
    if (deliver_ask(&ed->d, s, take, copy, fx->entry, delivery_ready)) delivery_ready(&ed->d);
}

static void send_one(struct effects *fx, struct effect *e)
{
    struct stanza *stanza = e->stanza;
    e->stanza = NULL;
    switch (e->kind) {
    case EFFECT_REPLY:
        if (fx->session != 0)
            send_to_session(fx, fx->session, stanza, COPY_NONE);
        else
            router_route(stanza, (struct ticket){0}, 0);
        break;
    case EFFECT_ROUTE:
        ticket_more(fx->ticket, 1);
        router_route(stanza, fx->ticket.worker == worker_id() ? fx->ticket : (struct ticket){0}, e->flags);
        break;
    case EFFECT_DELIVER:
        send_to_session(fx, e->session, stanza, e->copy);
        break;
    case EFFECT_UNCHECKED:
        deliver_unchecked(session_get(e->session), stanza);
        break;
    case EFFECT_THEN:
        e->then(e->session);
        break;
    case EFFECT_REFUSE:
        if (fx->session != 0)
            deliver_unchecked(session_get(fx->session), stanza);
        else
            router_route(stanza, (struct ticket){0}, PARCEL_NO_EVENTS);
        break;
    case EFFECT_SETTLE:
    case EFFECT_EVENT: /* those that wait */
        break;
    }
}

/* What fn adds comes before what is left. */
static void event_taken(struct effects *fx, const struct verdict *v)
{
    struct effect *e = fx->asking;
    struct list *node, rest;
    fx->asking = NULL;
    list_init(&rest);
    while ((node = list_pop_front(&fx->items)) != NULL) list_push_back(&rest, node);
    if (v->kind != VERDICT_PASS) metric_inc(METRIC_STANZAS_REFUSED);
    e->asked(fx, v);
    while ((node = list_pop_front(&rest)) != NULL) list_push_back(&fx->items, node);
    stanza_unref(e->stanza);
}

static void effects_go_on(struct effects *fx);
static void event_done(void *arg, const struct verdict *v)
{
    struct effects *fx = arg;
    event_taken(fx, v);
    effects_go_on(fx);
}

static bool effects_asking(struct effects *fx, struct effect *e)
{
    struct verdict now;
    fx->asking = e;
    if (!broker_raise(e->question, &now)) return true;
    event_taken(fx, &now);
    return false;
}

static void effects_settled(struct ticket_wait *wait);
static void effects_settle_over(struct wheel_timer *timer);

static bool effects_settling(struct effects *fx)
{
    fx->settled.fn = effects_settled;
    if (!ticket_when_alone(fx->ticket, &fx->settled)) return false;
    fx->settle_timer.fn = effects_settle_over;
    worker_timer(&fx->settle_timer, EFFECTS_SETTLE_MS);
    return true;
}

static void effects_go_on(struct effects *fx)
{
    struct list *node;
    while ((node = list_pop_front(&fx->items)) != NULL) {
        struct effect *e = CONTAINER_OF(node, struct effect, node);
        if (e->kind == EFFECT_SETTLE && effects_settling(fx)) return;
        if (e->kind == EFFECT_EVENT && effects_asking(fx, e)) return;
        if (e->kind != EFFECT_EVENT) send_one(fx, e);
    }
    if (fx->entry != NULL) lane_more(fx->entry, false);
    one_done(fx);
}

static void effects_settled(struct ticket_wait *wait)
{
    struct effects *fx = CONTAINER_OF(wait, struct effects, settled);
    worker_timer_cancel(&fx->settle_timer);
    effects_go_on(fx);
}

static void effects_settle_over(struct wheel_timer *timer)
{
    struct effects *fx = CONTAINER_OF(timer, struct effects, settle_timer);
    list_remove(&fx->settled.node);
    effects_go_on(fx);
}

static void effects_send(struct effects *fx)
{
    fx->under_way = 1;
    if (fx->entry != NULL) lane_more(fx->entry, true); /* each delivery is a question of its own */
    effects_go_on(fx);
}

static void effects_committed(void *arg, const struct err *err)
{
    struct effects *fx = arg;
    if (err == NULL) {
        effects_send(fx);
        return;
    }
    if (err->code == ERR_LIMIT)
        log_info("jsm", "a change of '%s' is not stored: %s", fx->user->jid.full.p, err->text);
    else
        log_error("jsm", "cannot store a change of '%s': %s", fx->user->jid.full.p, err->text);
    user_reload(fx->user);
    fx->done(fx, err);
}

static void document_read(void *arg, struct str xml, const struct err *err)
{
    struct effects *fx = arg;
    if (err != NULL) {
        log_error("jsm", "cannot read the %s of '%s': %s", fx->document_area, fx->user->jid.full.p, err->text);
        fx->done(fx, err);
        return;
    }
    void (*fn)(struct effects *fx, struct str xml) = fx->document_fn;
    fx->document_fn = NULL;
    fn(fx, xml);
    effects_run(fx);
}

void effects_run(struct effects *fx)
{
    if (fx->wait_fn != NULL) {
        void (*fn)(struct effects *fx) = fx->wait_fn;
        fx->wait_fn = NULL;
        fn(fx);
        return;
    }
    if (fx->document_fn != NULL) {
        store_document_load(fx->user->jid.bare, fx->document_area, fx->document_name, document_read, fx);
        return;
    }
    if (fx->batch == NULL) {
        effects_send(fx);
        return;
    }
    if (fx->user->gone) { /* an account made since of the same name is another's */
        struct err err;
        err_set(&err, ERR_NOT_FOUND, "the account was deleted");
        fx->done(fx, &err);
        return;
    }
    struct store_batch *batch = fx->batch;
    fx->batch = NULL;
    fx->user->writes++;
    store_batch_commit(batch, effects_committed, fx);
}

void effects_clear(struct effects *fx)
{
    struct list *node;
    while ((node = list_pop_front(&fx->items)) != NULL) stanza_unref(CONTAINER_OF(node, struct effect, node)->stanza);
    stanza_unref(fx->forward);
    store_batch_free(fx->batch);
    arena_free(fx->arena);
    user_release(fx->user);
    memset(fx, 0, sizeof(*fx));
}
