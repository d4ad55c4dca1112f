/* Orders and visits: a message to the room's worker, and a thread that waits. */
#include "tc/service.h"
#include "base/waiter.h"
#include "tc/rows.h"
#include <stdlib.h>
#include <string.h>

bool room_address_check(const struct jid *jid, struct err *err)
{
    if (jid->local.p != NULL && !jid_is_full(jid) && router_domain_of_rooms(jid->domain)) return true;
    err_set(err, ERR_INVALID, "'%s' is no room of this service: write room@domain, with a domain of tc.domains", jid->full.p);
    return false;
}

/* ---- orders ---- */
struct order {
    struct msg msg;
    const struct request_row *row;
    const struct jid *room;
    struct str inner;
    struct waiter waiter;
};

static enum err_code code_of(const char *condition)
{
    static const struct {
        const char *condition;
        enum err_code code;
    } codes[] = {
        {"item-not-found", ERR_NOT_FOUND}, {"conflict", ERR_CONFLICT}, {"internal-server-error", ERR_INTERNAL}, {"policy-violation", ERR_LIMIT}};
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(codes[i].condition, condition) == 0) return codes[i].code;
    return ERR_INVALID;
}

static void fill_error(const struct stanza *answer, struct err *err)
{
    struct arena *a = arena_new(0);
    struct err problem;
    const char *condition = stanza_error_condition(answer);
    const struct xml_node *root = stanza_tree(answer, NULL, a, &problem);
    const struct xml_node *error = root != NULL ? xml_node_child(root, "error", NULL) : NULL;
    const struct xml_node *text = error != NULL ? xml_node_child(error, "text", NS_STANZAS) : NULL;
    struct str said = text != NULL ? xml_node_text(a, text) : str_of(condition);
    err_set(err, code_of(condition), STR_FMT " (%s)", STR_ARG(said), condition);
    arena_free(a);
}

static void answered(void *arg, const struct stanza *answer)
{
    struct order *o = arg;
    struct err err;
    bool good = answer != NULL && answer->type == IQ_RESULT;
    if (answer == NULL)
        err_set(&err, ERR_INVALID, "a compliance server did not allow this");
    else if (!good)
        fill_error(answer, &err);
    waiter_answer(&o->waiter, good ? NULL : &err);
}

static void order_run(struct msg *msg)
{
    struct order *o = CONTAINER_OF(msg, struct order, msg);
    struct arena *a = arena_new(0);
    struct jid service;
    struct err err;
    if (jid_parse(a, o->room->domain, &service, &err) == 0)
        request_by_service(o->row, stanza_make(STANZA_IQ, IQ_SET, &service, o->room, STR("order"), o->inner), answered, o);
    else
        waiter_answer(&o->waiter, &err);
    arena_free(a);
}

static const struct request_row *row_of_order(enum room_order order)
{
    static const struct request_row configure = {.name = "configure", .kind = STANZA_IQ, .check = owner_set_check, .apply = owner_set_apply};
    static const struct request_row people = {.name = "people", .kind = STANZA_IQ, .check = admin_set_check, .apply = admin_set_apply};
    switch (order) {
    case ORDER_CREATE: return &create_row;
    case ORDER_CONFIGURE: return &configure;
    case ORDER_PEOPLE: return &people;
    case ORDER_DESTROY: break;
    }
    return &destroy_row;
}

int room_order(enum room_order order, const struct jid *room, struct str inner, struct err *err)
{
    if (!room_address_check(room, err)) return -1;
    struct order o = {.msg.run = order_run, .row = row_of_order(order), .room = room, .inner = inner, .waiter = WAITER_INIT};
    worker_post(router_owner(room), &o.msg);
    return waiter_wait(&o.waiter, err);
}

/* ---- visits ---- */
struct visit {
    struct msg msg;
    struct room_wait wait;
    const struct jid *jid;
    struct room *room;
    void (*fn)(void *arg, const struct room *r);
    void *arg;
    struct waiter waiter;
};

static void visit_loaded(struct room_wait *wait)
{
    struct visit *v = CONTAINER_OF(wait, struct visit, wait);
    struct room *room = v->room;
    struct err err;
    bool there = room_exists(room);
    if (there)
        v->fn(v->arg, room);
    else
        err_set(&err, room->state == ROOM_FAILED ? ERR_INTERNAL : ERR_NOT_FOUND,
                room->state == ROOM_FAILED ? "the room could not be loaded" : "there is no room '%s'", v->jid->full.p);
    waiter_answer(&v->waiter, there ? NULL : &err);
    room_release(room);
}

static void visit_run(struct msg *msg)
{
    struct visit *v = CONTAINER_OF(msg, struct visit, msg);
    v->room = room_hold(v->jid);
    v->wait.fn = visit_loaded;
    room_when_loaded(v->room, &v->wait);
}

int room_visit(const struct jid *jid, void (*fn)(void *arg, const struct room *r), void *arg, struct err *err)
{
    if (!room_address_check(jid, err)) return -1;
    struct visit v = {.msg.run = visit_run, .jid = jid, .fn = fn, .arg = arg, .waiter = WAITER_INIT};
    worker_post(router_owner(jid), &v.msg);
    return waiter_wait(&v.waiter, err);
}
