/* What an administrator of the service has done to a room (service.h), beside what owners do: making one without entering it, and ending one. */
#include "tc/change.h"
#include "tc/directory.h"
#include "tc/keep.h"
#include "tc/rows.h"

static const char *say(struct request *r, const char *condition, const char *text)
{
    r->text = text;
    return condition;
}

/* ---- making ---- */
static const struct xml_node *owner_item(struct request *r)
{
    struct err err;
    const struct xml_node *query = stanza_tree(r->stanza, stanza_child(r->stanza, "query", NS_MUC_ADMIN), r->arena, &err);
    return query != NULL ? xml_node_child(query, "item", NS_MUC_ADMIN) : NULL;
}

static const char *create_check(struct request *r)
{
    struct jid *owner = r->data = arena_zalloc(r->arena, sizeof(*owner));
    const struct xml_node *item = owner_item(r);
    struct err err;
    if (room_exists(r->room)) return say(r, "conflict", "There is a room of that name already.");
    if (item == NULL || jid_parse(r->arena, xml_node_attr(item, "jid"), owner, &err) != 0) return say(r, "jid-malformed", "The owner of a room is an account: user@domain.");
    request_needs(r, EVENT_onBeforeRoomCreate, 0);
    return NULL;
}

static void created(struct request *r)
{
    directory_set(r->room);
    room_raise_after(r->room, EVENT_onAfterRoomCreate, r->stanza);
    send_reply(r, stanza_result(r->stanza, STR("")));
}

static void not_created(struct request *r) { room_vanish(r->room); }

static void create_apply(struct request *r)
{
    room_create(r->room, r->data);
    r->room->state = ROOM_OPEN;
    r->room->config.persistent = true; /* nobody is in it */
    keep_everything(r);
    request_then(r, created, not_created);
}

const struct request_row create_row = {.name = "create", .kind = STANZA_IQ, .check = create_check, .apply = create_apply, .what = "an administrator makes a room"};

/* ---- ending ---- */
static const char *destroy_check(struct request *r)
{
    if (!room_exists(r->room)) return say(r, "item-not-found", "There is no such room.");
    request_needs(r, EVENT_onClose, 0);
    return NULL;
}

static void destroy_apply(struct request *r)
{
    if (r->room->config.persistent) keep_nothing(r);
    request_then(r, room_destroy, NULL);
}

const struct request_row destroy_row = {.name = "destroy", .kind = STANZA_IQ, .check = destroy_check, .apply = destroy_apply, .what = "an administrator ends a room"};
