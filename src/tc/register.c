/* Registering with a room (XEP-0045, 7.10): a nick that is one's own there, and membership with it. */
#include "tc/change.h"
#include "tc/keep.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include "xmpp/form.h"

#define NS_REGISTER "jabber:iq:register"
static const struct form_field fields[] = {{"muc#register_roomnick", FIELD_TEXT_SINGLE, "Nick", true, NULL}};
static const struct form register_form = {NS_MUC "#register", "Registration with the room", "Choose the nick that is to be yours in this room.",
                                          fields, 1};

struct registration {
    bool removes;
    struct str nick;
    struct standing old; /* while the new one is committed */
};

static const struct affiliated *mine(const struct request *r) { return room_affiliated(r->room, r->stanza->from.bare); }

static const struct xml_node *query_of(struct request *r)
{
    struct err err;
    return stanza_tree(r->stanza, stanza_child(r->stanza, "query", NS_REGISTER), r->arena, &err);
}

const char *register_room_get_check(struct request *r)
{
    enum affiliation his = room_affiliation(r->room, r->stanza->from.bare);
    if (his == AFFILIATION_OUTCAST) return say(r, "forbidden", "You are banned from this room.");
    if (r->room->config.members_only && his < AFFILIATION_MEMBER)
        return say(r, "not-allowed", "The members of this room are chosen by its administrators.");
    return NULL;
}

void register_room_get_apply(struct request *r)
{
    const struct affiliated *a = mine(r);
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_REGISTER "'>");
    if (a != NULL && a->nick != NULL) {
        buf_adds(&b, "<registered/><username>");
        xml_add_text(&b, str_of(a->nick));
        buf_adds(&b, "</username>");
    } else {
        buf_adds(&b, "<instructions>Choose the nick that is to be yours in this room.</instructions>");
    }
    form_write(&b, &register_form, NULL);
    buf_adds(&b, "</query>");
    send_reply(r, stanza_result(r->stanza, buf_str(&b)));
    buf_free(&b);
}

static const char *read_nick(struct request *r, struct registration *reg, const struct xml_node *query)
{
    struct form_value values[FORM_FIELDS_MAX];
    const struct xml_node *x = xml_node_child(query, "x", NS_DATA);
    struct err err;
    if (x == NULL) return say(r, "bad-request", "Fill in the form.");
    if (form_read(&register_form, x, r->arena, values, &r->text) != 0) return "bad-request";
    if (jid_prep_resource(r->arena, form_first(&values[0]), &reg->nick, &err) != 0) return say(r, "not-acceptable", "This cannot be a nick.");
    return NULL;
}

static const char *nick_taken(struct request *r, struct str nick)
{
    const struct occupant *o = occupant_by_nick(r->room, nick);
    bool taken = o != NULL && !jid_bare_eq(&o->user, &r->stanza->from);
    size_t it = 0;
    struct str key;
    void *value;
    while (!taken && map_next(&r->room->affiliated, &it, &key, &value)) {
        const struct affiliated *a = value;
        taken = a->nick != NULL && str_is(nick, a->nick) && !str_eq(key, r->stanza->from.bare);
    }
    return taken ? say(r, "conflict", "Somebody has that nick.") : NULL;
}

const char *register_room_set_check(struct request *r)
{
    struct registration *reg = r->data = arena_zalloc(r->arena, sizeof(*reg));
    const struct xml_node *query = query_of(r);
    const struct affiliated *a = mine(r);
    enum affiliation his = a != NULL ? a->affiliation : AFFILIATION_NONE;
    if (query == NULL) return "bad-request";
    reg->removes = xml_node_child(query, "remove", NS_REGISTER) != NULL;
    if (reg->removes) {
        if (a == NULL || a->nick == NULL) return say(r, "registration-required", "You are not registered with this room.");
        if (his == AFFILIATION_MEMBER) request_needs(r, EVENT_onBeforeRemoveAffiliation, 0);
        return NULL;
    }
    const char *condition = register_room_get_check(r);
    if (condition == NULL) condition = read_nick(r, reg, query);
    if (condition == NULL) condition = nick_taken(r, reg->nick);
    if (condition == NULL && a == NULL && room_lists_full(r->room, 1))
        condition = say_limit(r, "resource-constraint", METRIC_ROOM_LIMIT_PEOPLE, "The lists of this room are full.");
    if (condition == NULL && his == AFFILIATION_NONE) request_needs(r, EVENT_onBeforeChangeAffiliation, 0);
    return condition;
}

static void registered(struct request *r)
{
    const struct registration *reg = r->data;
    struct occupant *o = occupant_by_user(r->room, r->stanza->from.bare);
    room_raise_after(r->room, reg->removes ? EVENT_onAfterRemoveAffiliation : EVENT_onAfterChangeAffiliation, r->stanza);
    if (o != NULL) presence_broadcast(o, &(struct notice){0}, r);
    send_reply(r, stanza_result(r->stanza, STR("")));
}

static void register_undo(struct request *r)
{
    const struct registration *reg = r->data;
    const struct jid bare = jid_to_bare(r->arena, &r->stanza->from);
    room_set_standing(r->room, &bare, &reg->old);
}

void register_room_set_apply(struct request *r)
{
    struct registration *reg = r->data;
    enum affiliation now = room_affiliation(r->room, r->stanza->from.bare);
    reg->old = room_standing(r->room, r->stanza->from.bare, r->arena);
    room_set_nick(r->room, &r->stanza->from, reg->removes ? STR_NONE : reg->nick);
    if (reg->removes && now == AFFILIATION_MEMBER) room_set_affiliation(r->room, &r->stanza->from, AFFILIATION_NONE, STR_NONE);
    if (!reg->removes && now == AFFILIATION_NONE) room_set_affiliation(r->room, &r->stanza->from, AFFILIATION_MEMBER, STR_NONE);
    keep_affiliated(r, r->stanza->from.bare);
    request_then(r, registered, register_undo);
}
