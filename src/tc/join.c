/* Presence to a nick (XEP-0045, 7.2, 7.6, 7.7, 10.1): entering a room, which may make it; changing the nick; changing the status. */
#include "base/clock.h"
#include "tc/directory.h"
#include "tc/presence.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include <stdlib.h>
#include <string.h>

enum join_kind { ENTERING, RETURNING, RENAMING, CHANGING, STRANGER };
struct join { /* what is asked for, by the room as it is now */
    enum join_kind kind;
    bool creates;
    struct str password;
    struct history_wish wish;
};

/* ---- what the client says ---- */
static int64_t count_attr(const struct xml_node *n, const char *name)
{
    struct str text = xml_node_attr(n, name);
    if (text.p == NULL || text.n == 0 || text.n > 9) return -1;
    int64_t value = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return -1;
        value = value * 10 + (text.p[i] - '0');
    }
    return value;
}

static void read_history(struct join *j, struct arena *a, const struct xml_node *history)
{
    j->wish.max_chars = count_attr(history, "maxchars");
    j->wish.max_stanzas = count_attr(history, "maxstanzas");
    int64_t seconds = count_attr(history, "seconds");
    struct str since = xml_node_attr(history, "since");
    uint64_t at;
    if (since.p != NULL && clock_parse_stamp(arena_strndup(a, since.p, since.n), &at) == 0) j->wish.since_wall_ms = at;
    if (seconds < 0) return;
    uint64_t now = clock_wall_ms(), back = (uint64_t)seconds * 1000;
    uint64_t from = now > back ? now - back : 0;
    if (from > j->wish.since_wall_ms) j->wish.since_wall_ms = from;
}

static void read_x(struct join *j, struct request *r)
{
    struct err err;
    const struct xml_child *child = stanza_child(r->stanza, "x", NS_MUC);
    const struct xml_node *x = child != NULL ? stanza_tree(r->stanza, child, r->arena, &err) : NULL;
    const struct xml_node *password = x != NULL ? xml_node_child(x, "password", NS_MUC) : NULL;
    const struct xml_node *history = x != NULL ? xml_node_child(x, "history", NS_MUC) : NULL;
    j->wish = (struct history_wish){-1, -1, 0};
    j->password = password != NULL ? xml_node_text(r->arena, password) : STR_NONE;
    if (history != NULL) read_history(j, r->arena, history);
}

/* ---- may he? ---- */
const char *may_create(struct request *r)
{
    const char *who = tc_settings->tc_room_creation;
    if (service_admin(&r->stanza->from) || strcmp(who, "everybody") == 0) return NULL;
    if (strcmp(who, "local") == 0 && router_domain_served(r->stanza->from.domain)) return NULL;
    return say(r, "not-allowed", "This room does not exist, and you may not make rooms here.");
}

/* XEP-0045 has no condition of its own for a service that is full. */
static const char *room_for_another(struct request *r)
{
    unsigned most = (unsigned)tc_settings->tc_user_rooms;
    if (service_admin(&r->stanza->from)) return NULL;
    if (directory_count() >= (size_t)tc_settings->tc_max_rooms)
        return say_limit(r, "resource-constraint", METRIC_ROOM_LIMIT_ROOMS, "This service has as many rooms as it may have.");
    if (most > 0 && directory_made_by(r->stanza->from.bare) >= most)
        return say_limit(r, "resource-constraint", METRIC_ROOM_LIMIT_USER_ROOMS, "You have made as many rooms as one account may make here.");
    return NULL;
}

static const char *nick_free(struct request *r, struct str nick)
{
    const struct jid *from = &r->stanza->from;
    const struct occupant *o = occupant_by_nick(r->room, nick);
    if (o != NULL && !jid_bare_eq(&o->user, from)) return say(r, "conflict", "Somebody in this room has that nick.");
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->room->affiliated, &it, &key, &value)) {
        const struct affiliated *a = value;
        if (a->nick != NULL && str_is(nick, a->nick) && !str_eq(key, from->bare))
            return say(r, "conflict", "That nick is registered to somebody else.");
    }
    return NULL;
}

/* Into the nick of another session of one's own nobody goes by a change of nick: that is an occupant by himself, and two do not become one. */
static const char *nick_changeable(struct request *r, struct str nick)
{
    const char *condition = nick_free(r, nick);
    if (condition == NULL && occupant_by_nick(r->room, nick) != NULL)
        return say(r, "conflict", "Another session of yours is in this room under that nick.");
    return condition;
}

static unsigned most_occupants(const struct room *room)
{
    unsigned most = (unsigned)tc_settings->tc_max_occupants;
    return room->config.max_occupants > 0 && room->config.max_occupants < most ? room->config.max_occupants : most;
}

static const char *may_enter(struct request *r, const struct join *j)
{
    const struct room *room = r->room;
    const struct jid *from = &r->stanza->from;
    enum affiliation a = room_affiliation(room, from->bare);
    bool master = a == AFFILIATION_OWNER || service_admin(from);
    if (a == AFFILIATION_OUTCAST) return say(r, "forbidden", "You are banned from this room.");
    if (room->state == ROOM_LOCKED && !master) return say(r, "item-not-found", "This room is not ready yet.");
    if (room->config.members_only && a < AFFILIATION_MEMBER && !master) return say(r, "registration-required", "Only members may enter this room.");
    bool wrong =
        room->config.password_protected && room->config.password != NULL && (j->password.p == NULL || !str_is(j->password, room->config.password));
    if (wrong && !master) return say(r, "not-authorized", "This room has a password.");
    const char *condition = nick_free(r, r->stanza->to.resource);
    if (condition != NULL) return condition;
    bool new_nick = occupant_by_nick(room, r->stanza->to.resource) == NULL;
    if (new_nick && room_occupants(room) >= most_occupants(room) && a < AFFILIATION_ADMIN && !master)
        return say_limit(r, "service-unavailable", METRIC_ROOM_LIMIT_OCCUPANTS, "This room is full.");
    return NULL;
}

static struct join *examine(struct request *r)
{
    struct join *j = arena_zalloc(r->arena, sizeof(*j));
    const struct attendee *here = room_exists(r->room) ? attendee_by_jid(r->room, &r->stanza->from) : NULL;
    bool muc = stanza_child(r->stanza, "x", NS_MUC) != NULL;
    read_x(j, r);
    j->creates = !room_exists(r->room);
    if (here != NULL && str_eq(here->occupant->jid.resource, r->stanza->to.resource))
        j->kind = muc ? RETURNING : CHANGING;
    else if (here != NULL)
        j->kind = RENAMING;
    else
        j->kind = muc ? ENTERING : STRANGER;
    return j;
}

const char *join_check(struct request *r)
{
    struct join *j = r->data = examine(r);
    if (!jid_is_full(&r->stanza->to)) return say(r, "jid-malformed", "Enter a room under a nick: room@service/nick.");
    const char *condition = NULL;
    switch (j->kind) {
    case STRANGER: return NULL;
    case CHANGING:
    case RETURNING: break;
    case RENAMING: condition = nick_changeable(r, r->stanza->to.resource); break;
    case ENTERING:
        condition = j->creates ? may_create(r) : may_enter(r, j);
        if (condition == NULL && j->creates) condition = room_for_another(r);
        if (condition != NULL) return condition;
        if (j->creates) request_needs(r, EVENT_onBeforeRoomCreate, 0);
        request_needs(r, EVENT_onBeforeJoin, 0);
        break;
    }
    if (condition == NULL) request_needs(r, EVENT_onBeforeChangeUser, 0);
    return condition;
}

/* ---- doing it ---- */
/* XEP-0045, 7.2.1: who sends presence without <x/> thinks that he is in the room, and learns that he is not. */
static void tell_stranger(struct request *r)
{
    send_reply(r, stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &r->stanza->to, &r->stanza->from, r->stanza->id,
                              STR("<x xmlns='" NS_MUC_USER "'><item affiliation='none' role='none'><reason>You are not in the room.</reason></item>"
                                  "<status code='110'/><status code='307'/></x>")));
}

static void welcome_codes(const struct room *room, bool created, struct notice *n)
{
    unsigned at = 0;
    if (room->config.whois == WHOIS_ANYONE) n->self_codes[at++] = 100;
    if (room->config.logged) n->self_codes[at++] = 170;
    if (created) n->self_codes[at++] = 201;
}

static void enter(struct request *r, struct join *j)
{
    struct room *room = r->room;
    const struct stanza *s = r->stanza;
    if (j->creates) {
        room_create(room, &s->from);
        room_raise_after(room, EVENT_onAfterRoomCreate, s);
    }
    enum affiliation a = room_affiliation(room, s->from.bare);
    enum role role = service_admin(&s->from) ? ROLE_MODERATOR : room_default_role(room, a);
    struct attendee *in = attendee_enter(room, s->to.resource, &s->from, s, role);
    room_linger(room, false);
    directory_set(room);
    presence_of_all(in, r);
    struct notice n = {0};
    welcome_codes(room, j->creates, &n);
    presence_broadcast(in->occupant, &n, r);
    struct stanza *seen = presence_full(in->occupant, &n, r);
    room_raise_after(room, EVENT_onAfterChangeUser, seen);
    stanza_unref(seen);
    room_raise_after(room, EVENT_onAfterJoin, s);
    history_send(in, &j->wish, r);
}

static void change(struct request *r, struct attendee *a)
{
    struct notice n = {0};
    attendee_presence(a, r->stanza);
    presence_broadcast(a->occupant, &n, r);
    struct stanza *seen = presence_full(a->occupant, &n, r);
    room_raise_after(r->room, EVENT_onAfterChangeUser, seen);
    stanza_unref(seen);
}

/* It is in the room and wants to enter it: it has lost what it knew, and is told all anew. */
static void again(struct request *r, struct attendee *a, struct join *j)
{
    struct notice n = {0};
    welcome_codes(r->room, false, &n);
    attendee_presence(a, r->stanza);
    presence_of_all(a, r);
    presence_broadcast(a->occupant, &n, r);
    history_send(a, &j->wish, r);
}

/* XEP-0045, 7.6: unavailable under the old nick, with the new one; then available under that. Of several sessions all go along. */
static void rename_occupant(struct request *r, struct attendee *a)
{
    struct occupant *o = a->occupant;
    struct notice old = {.gone = true, .no_content = true, .nick = r->stanza->to.resource, .codes = {303}};
    presence_broadcast(o, &old, r);
    occupant_rename(o, r->stanza->to.resource);
    change(r, a);
}

void join_apply(struct request *r)
{
    struct join *j = r->data;
    struct attendee *a = room_exists(r->room) ? attendee_by_jid(r->room, &r->stanza->from) : NULL;
    switch (j->kind) {
    case STRANGER: tell_stranger(r); break;
    case ENTERING: enter(r, j); break;
    case RETURNING: again(r, a, j); break;
    case RENAMING: rename_occupant(r, a); break;
    case CHANGING: change(r, a); break;
    }
}
