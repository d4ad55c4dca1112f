/* What an administrator of the service has done to a room (service.h), beside what owners do: making one without entering it, and ending one. It is
 * made with its configuration, or not at all. */
#include "tc/change.h"
#include "tc/config.h"
#include "tc/directory.h"
#include "tc/keep.h"
#include "tc/rows.h"

/* ---- making ---- */
struct creation {
    struct jid owner;
    const struct xml_node *form;
};

/* The form, upon what every room has at first. The caller clears wish->config when this returns 0. */
static int read_form(struct request *r, const struct xml_node *form, struct room_wish *wish)
{
    struct room fresh = {0};
    room_config_default(&fresh.config);
    fresh.config.persistent = true;
    int rc = config_read_form(&fresh, form, r->arena, wish, &r->text);
    room_config_clear(&fresh.config);
    return rc;
}

static const char *create_check(struct request *r)
{
    struct err err;
    struct room_wish wish;
    struct creation *c = r->data = arena_zalloc(r->arena, sizeof(*c));
    const struct xml_child *child = stanza_child(r->stanza, "query", NS_MUC_OWNER);
    const struct xml_node *query = child != NULL ? stanza_tree(r->stanza, child, r->arena, &err) : NULL;
    if (room_exists(r->room)) return say(r, "conflict", "There is a room of that name already.");
    c->form = query != NULL ? xml_node_child(query, "x", NS_DATA) : NULL;
    if (c->form == NULL) return say(r, "bad-request", "The query has a form of type submit.");
    if (read_form(r, c->form, &wish) != 0) return "not-acceptable";
    bool persistent = wish.config.persistent;
    room_config_clear(&wish.config);
    if (!persistent) return say(r, "not-acceptable", "A room that an administrator makes is persistent, since nobody is in it yet.");
    if (!wish.owners.set || wish.owners.n == 0) return say(r, "conflict", "A room has at least one owner.");
    if (room_lists_full(r->room, wish.owners.n + wish.admins.n))
        return say_limit(r, "resource-constraint", METRIC_ROOM_LIMIT_PEOPLE, "These are more people than the lists of a room may have.");
    c->owner = wish.owners.jids[0];
    request_needs(r, EVENT_onBeforeRoomCreate, 0);
    request_needs(r, EVENT_onBeforeMetaInfoSet, 0);
    return NULL;
}

static void created(struct request *r)
{
    directory_set(r->room);
    room_raise_after(r->room, EVENT_onAfterRoomCreate, r->stanza);
    room_raise_after(r->room, EVENT_onAfterMetaInfoSet, r->stanza);
    send_reply(r, stanza_result(r->stanza, STR("")));
}

static void not_created(struct request *r) { room_vanish(r->room); }

static void add_people(struct room *room, const struct room_people *people, enum affiliation affiliation)
{
    for (unsigned i = 0; i < people->n; i++)
        if (room_affiliation(room, people->jids[i].bare) < affiliation) room_set_affiliation(room, &people->jids[i], affiliation, STR_NONE);
}

static void create_apply(struct request *r)
{
    const struct creation *c = r->data;
    struct room *room = r->room;
    struct room_wish wish;
    room_create(room, &c->owner);
    room->state = ROOM_OPEN;
    room->config.persistent = true; /* nobody is in it */
    if (config_read_form(room, c->form, r->arena, &wish, &r->text) == 0) { /* it was checked in this turn */
        room_config_clear(&room->config);
        room->config = wish.config;
        add_people(room, &wish.owners, AFFILIATION_OWNER);
        add_people(room, &wish.admins, AFFILIATION_ADMIN);
    }
    keep_everything(r);
    request_then(r, created, not_created);
}

const struct request_row create_row = {
    .name = "create",
    .kind = STANZA_IQ,
    .check = create_check,
    .apply = create_apply,
    .what = "an administrator makes a room",
};

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

const struct request_row destroy_row = {
    .name = "destroy",
    .kind = STANZA_IQ,
    .check = destroy_check,
    .apply = destroy_apply,
    .what = "an administrator ends a room",
};
