/* What owners do (XEP-0045, 10): configuring a room, making a new one usable, destroying it. */
#include "tc/change.h"
#include "tc/config.h"
#include "tc/directory.h"
#include "tc/keep.h"
#include "tc/presence.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include <stdlib.h>

static bool is_owner(const struct request *r)
{
    return r->self_made || room_affiliation(r->room, r->stanza->from.bare) == AFFILIATION_OWNER || service_admin(&r->stanza->from);
}

/* ---- the form ---- */
const char *config_get_check(struct request *r)
{
    if (!is_owner(r)) return say(r, "forbidden", "Only owners see the configuration of a room.");
    request_needs(r, EVENT_onMetaInfoGet, 0);
    return NULL;
}

void config_get_apply(struct request *r)
{
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_MUC_OWNER "'>");
    config_write_form(&b, r->room, r->arena);
    buf_adds(&b, "</query>");
    send_reply(r, stanza_result(r->stanza, buf_str(&b)));
    buf_free(&b);
}

/* ---- what was sent in ---- */
struct owner_set {
    enum { SUBMITS, CANCELS, DESTROYS } kind;
    const struct xml_node *x;
    struct room_config old; /* while the new one is committed */
    struct room_wish wish;
};

static const char *examine(struct request *r, struct owner_set *set)
{
    struct err err;
    const struct xml_node *query = stanza_tree(r->stanza, stanza_child(r->stanza, "query", NS_MUC_OWNER), r->arena, &err);
    set->x = query != NULL ? xml_node_child(query, "x", NS_DATA) : NULL;
    if (query != NULL && xml_node_child(query, "destroy", NS_MUC_OWNER) != NULL) {
        set->kind = DESTROYS;
        return NULL;
    }
    if (set->x == NULL) return say(r, "bad-request", "The query has a form of type submit or cancel, or <destroy/>.");
    if (str_is(xml_node_attr(set->x, "type"), "cancel")) {
        set->kind = CANCELS;
        return NULL;
    }
    set->kind = SUBMITS;
    if (config_read_form(r->room, set->x, r->arena, &set->wish, &r->text) != 0) return "not-acceptable";
    room_config_clear(&set->wish.config); /* it is read again when it is applied */
    if (set->wish.owners.set && set->wish.owners.n == 0) return say(r, "conflict", "A room has at least one owner.");
    return NULL;
}

/* XEP-0045, 10.2: the form's lists replace those of the room; each change is one of its own. Who is not in the list any more is one step less than he
 * was: an owner an administrator, unless the form says otherwise, an administrator a member. */
static enum affiliation wished(const struct owner_set *set, struct str bare, enum affiliation now)
{
    const struct room_wish *w = &set->wish;
    for (unsigned i = 0; w->owners.set && i < w->owners.n; i++)
        if (str_eq(w->owners.jids[i].bare, bare)) return AFFILIATION_OWNER;
    for (unsigned i = 0; w->admins.set && i < w->admins.n; i++)
        if (str_eq(w->admins.jids[i].bare, bare)) return now == AFFILIATION_OWNER && !w->owners.set ? now : AFFILIATION_ADMIN;
    if (now == AFFILIATION_OWNER && w->owners.set) return w->admins.set ? AFFILIATION_MEMBER : AFFILIATION_ADMIN;
    return now == AFFILIATION_ADMIN && w->admins.set ? AFFILIATION_MEMBER : now;
}

static void want_people(struct request *r, const struct owner_set *set)
{
    const struct room_people *lists[] = {&set->wish.owners, &set->wish.admins};
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->room->affiliated, &it, &key, &value)) {
        const struct affiliated *a = value;
        enum affiliation wish = wished(set, key, a->affiliation);
        if (wish != a->affiliation) part_want_affiliation(r, &a->jid, wish);
    }
    for (unsigned l = 0; l < 2; l++)
        for (unsigned i = 0; lists[l]->set && i < lists[l]->n; i++) {
            const struct jid *jid = &lists[l]->jids[i];
            if (room_affiliated(r->room, jid->bare) == NULL) part_want_affiliation(r, jid, wished(set, jid->bare, AFFILIATION_NONE));
        }
}

const char *owner_set_check(struct request *r)
{
    struct owner_set *set = r->data = arena_zalloc(r->arena, sizeof(*set));
    if (!is_owner(r)) return say(r, "forbidden", "Only owners may do this to a room.");
    const char *condition = examine(r, set);
    if (condition != NULL || set->kind != SUBMITS) return condition;
    request_needs(r, EVENT_onBeforeMetaInfoSet, 0);
    parts_unwanted(r);
    want_people(r, set);
    return parts_check(r);
}

/* ---- destroying (10.9) ---- */
static void write_destroy(struct buf *b, struct arena *a, const struct xml_node *wish)
{
    static const char *const children[] = {"reason", "password"};
    buf_adds(b, "<destroy");
    if (wish != NULL) xml_add_attr(b, "jid", xml_node_attr(wish, "jid"));
    buf_adds(b, ">");
    for (unsigned i = 0; wish != NULL && i < 2; i++) {
        const struct xml_node *child = xml_node_child(wish, children[i], NS_MUC_OWNER);
        if (child == NULL) continue;
        buf_addf(b, "<%s>", children[i]);
        xml_add_text(b, xml_node_text(a, child));
        buf_addf(b, "</%s>", children[i]);
    }
    buf_adds(b, "</destroy>");
}

static void tell_destroyed(struct request *r, const struct xml_node *wish)
{
    struct room *room = r->room;
    struct buf b = {0};
    write_destroy(&b, r->arena, wish);
    struct notice n = {.gone = true, .no_content = true, .alone = true, .destroyed = true, .inner = buf_str(&b)};
    size_t it = 0;
    struct str key;
    void *value;
    room->ending = true; /* nobody asks onClose */
    while (map_next(&room->occupants, &it, &key, &value)) {
        occupant_leave_room(value, &n, r);
        it = 0;
    }
    room->ending = false;
    buf_free(&b);
    room_vanish(room);
    send_reply(r, stanza_result(r->stanza, STR("")));
}

void room_destroy(struct request *r)
{
    struct err err;
    const struct xml_node *query = stanza_tree(r->stanza, stanza_child(r->stanza, "query", NS_MUC_OWNER), r->arena, &err);
    tell_destroyed(r, query != NULL ? xml_node_child(query, "destroy", NS_MUC_OWNER) : NULL);
}

static void destroyed(struct request *r)
{
    room_raise_after(r->room, EVENT_onDestroy, r->stanza);
    room_destroy(r);
}

/* ---- configuring ---- */
static void add_code(struct buf *b, bool when, unsigned code)
{
    if (when) buf_addf(b, "<status code='%u'/>", code);
}

/* XEP-0045, 10.2.1: all learn that, and what of their privacy, has changed. */
static void tell_change(struct request *r, const struct room_config *old)
{
    static const unsigned anonymity[] = {[WHOIS_ANYONE] = 172, [WHOIS_MODERATORS] = 173, [WHOIS_NOBODY] = 174};
    const struct room_config *now = &r->room->config;
    struct buf b = {0};
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'>");
    size_t before = b.len;
    add_code(&b, old->logged != now->logged, now->logged ? 170 : 171);
    add_code(&b, old->whois != now->whois, anonymity[now->whois]);
    add_code(&b, b.len == before, 104);
    buf_adds(&b, "</x>");
    send_to_all(r->room, stanza_make(STANZA_MESSAGE, MESSAGE_GROUPCHAT, &r->room->jid, NULL, STR_NONE, buf_str(&b)), (struct crowd){0}, r);
    buf_free(&b);
}

/* A room that has become members-only keeps its members (322). */
static void remove_strangers(struct request *r)
{
    struct room *room = r->room;
    const struct notice n = {.gone = true, .no_content = true, .codes = {322}};
    size_t it = 0;
    struct str key;
    void *value;
    while (room->config.members_only && map_next(&room->occupants, &it, &key, &value)) {
        struct occupant *o = value;
        if (room_affiliation(room, o->user.bare) >= AFFILIATION_MEMBER || service_admin(&o->user)) continue;
        occupant_leave_room(o, &n, r);
        it = 0;
    }
}

static void configured(struct request *r)
{
    struct owner_set *set = r->data;
    struct room *room = r->room;
    bool made = room->state == ROOM_LOCKED;
    room->state = ROOM_OPEN;
    directory_set(room);
    send_reply(r, stanza_result(r->stanza, STR("")));
    if (!made) tell_change(r, &set->old);
    history_trim(room);
    room_raise_after(room, EVENT_onAfterMetaInfoSet, r->stanza);
    parts_tell(r);
    remove_strangers(r);
    room_config_clear(&set->old);
    room_close_when_empty(room);
}

static void config_undo(struct request *r)
{
    struct owner_set *set = r->data;
    room_config_clear(&r->room->config);
    r->room->config = set->old;
    parts_undo(r);
}

static void configure(struct request *r, struct owner_set *set)
{
    struct room *room = r->room;
    if (config_read_form(room, set->x, r->arena, &set->wish, &r->text) != 0) { /* cannot be: it was checked in this turn */
        request_fail(r, "not-acceptable", r->text);
        return;
    }
    set->old = room->config;
    room->config = set->wish.config;
    if (room->config.persistent && !set->old.persistent) {
        keep_everything(r);
    } else if (room->config.persistent) {
        keep_room(r);
        keep_less_history(r);
    } else if (set->old.persistent) {
        keep_nothing(r);
    }
    parts_apply(r);
    request_then(r, configured, config_undo);
}

void owner_set_apply(struct request *r)
{
    struct owner_set *set = r->data;
    bool fresh = r->room->state == ROOM_LOCKED;
    if (set->kind == SUBMITS) {
        configure(r, set);
    } else if (set->kind == CANCELS && !fresh) {
        send_reply(r, stanza_result(r->stanza, STR("")));
    } else {
        if (r->room->config.persistent) keep_nothing(r);
        request_then(r, destroyed, NULL);
    }
}
