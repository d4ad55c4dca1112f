/* Who may change what of whom (XEP-0045, 5.1, 5.2, 8, 9, 10), and what it does to those in the room. */
#include "tc/change.h"
#include "tc/keep.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include <stdlib.h>

enum { PARTS_MAX = 500 };

/* ---- parts ---- */
unsigned part_add(struct request *r, struct stanza *take)
{
    r->parts = x_realloc(r->parts, (r->n_parts + 1) * sizeof(*r->parts));
    r->parts[r->n_parts] = (struct part){.stanza = take, .wanted = true};
    return r->n_parts++;
}

void parts_unwanted(struct request *r)
{
    for (unsigned i = 0; i < r->n_parts; i++) r->parts[i].wanted = false;
}

void part_want_affiliation(struct request *r, const struct jid *jid, enum affiliation affiliation)
{
    for (unsigned i = 0; i < r->n_parts; i++) {
        if (r->parts[i].wanted || !jid_bare_eq(&r->parts[i].change.jid, jid)) continue;
        r->parts[i].wanted = true;
        return;
    }
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_MUC_ADMIN "'><item");
    xml_add_attr(&b, "affiliation", str_of(affiliation_name(affiliation)));
    xml_add_attr(&b, "jid", jid->bare);
    buf_adds(&b, "/></query>");
    struct stanza *iq = stanza_make(STANZA_IQ, IQ_SET, &r->stanza->from, &r->room->jid, r->stanza->id, buf_str(&b));
    iq->sid = r->stanza->sid;
    buf_free(&b);
    unsigned part = part_add(r, iq); /* may move them */
    r->parts[part].change.jid = jid_to_bare(r->arena, jid);
}

/* ---- reading an item ---- */
/* XEP-0045, 8.2, 9.8: a role may be changed by the real address too: of one session, or of whoever is there first of the account. */
static const struct occupant *occupant_by_address(struct request *r, struct str text)
{
    struct jid jid;
    struct err err;
    if (jid_parse(r->arena, text, &jid, &err) != 0) return NULL;
    const struct attendee *a = attendee_by_jid(r->room, &jid);
    return a != NULL ? a->occupant : jid_is_full(&jid) ? NULL : occupant_by_user(r->room, jid.bare);
}

static const char *read_who(struct request *r, struct change *c, const struct xml_node *item)
{
    struct err err;
    struct str jid = xml_node_attr(item, "jid");
    c->nick = xml_node_attr(item, "nick");
    if (jid.n > 0) {
        if (jid_parse(r->arena, jid, &c->jid, &err) != 0) return say(r, "jid-malformed", arena_printf(r->arena, "%s", err.text));
        c->jid = jid_to_bare(r->arena, &c->jid);
    }
    if (c->nick.p == NULL && jid.n == 0) return say(r, "bad-request", "An item names somebody by nick or jid.");
    if (!c->by_role && jid.n > 0) return NULL;
    const struct occupant *o = c->nick.p != NULL ? occupant_by_nick(r->room, c->nick) : occupant_by_address(r, jid);
    if (o == NULL) return say(r, "item-not-found", "Nobody in this room has that nick or address.");
    c->jid = jid_copy(r->arena, &o->user);
    c->nick = arena_str(r->arena, o->jid.resource);
    return NULL;
}

static const char *read_item(struct request *r, struct part *p)
{
    struct err err;
    struct change *c = &p->change;
    const struct xml_node *query = stanza_tree(p->stanza, stanza_child(p->stanza, "query", NS_MUC_ADMIN), r->arena, &err);
    const struct xml_node *item = query != NULL ? xml_node_child(query, "item", NS_MUC_ADMIN) : NULL;
    *c = (struct change){0};
    if (item == NULL) return say(r, "bad-request", "The query has no <item/>.");
    struct str role = xml_node_attr(item, "role"), affiliation = xml_node_attr(item, "affiliation");
    if ((role.p != NULL) == (affiliation.p != NULL)) return say(r, "bad-request", "An item has either a role or an affiliation.");
    c->by_role = role.p != NULL;
    int value = c->by_role ? role_by_name(role) : affiliation_by_name(affiliation);
    if (value < 0) return say(r, "bad-request", "There is no such role or affiliation.");
    if (c->by_role)
        c->role = (enum role)value;
    else
        c->affiliation = (enum affiliation)value;
    const struct xml_node *reason = xml_node_child(item, "reason", NS_MUC_ADMIN);
    if (reason != NULL) c->reason = xml_node_text(r->arena, reason);
    return read_who(r, c, item);
}

/* ---- may he? ---- */
struct actor {
    enum affiliation affiliation;
    enum role role;
    bool service; /* a service administrator, or the service itself */
};

/* XEP-0045, 8, asks for the bare address of a moderator: another session of his may do it too. */
static enum role role_of(const struct room *room, struct str bare)
{
    enum role highest = ROLE_NONE;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&room->occupants, &it, &key, &value)) {
        const struct occupant *o = value;
        if (o->role > highest && str_eq(o->user.bare, bare)) highest = o->role;
    }
    return highest;
}

static struct actor actor_of(const struct request *r)
{
    struct actor who = {
        .affiliation = room_affiliation(r->room, r->stanza->from.bare),
        .role = role_of(r->room, r->stanza->from.bare),
        .service = r->self_made || service_admin(&r->stanza->from),
    };
    if (who.service) who.affiliation = AFFILIATION_OWNER, who.role = ROLE_MODERATOR;
    return who;
}

static const char *may_change_role(struct request *r, const struct change *c, struct actor who)
{
    const struct occupant *o = occupant_by_nick(r->room, c->nick);
    enum affiliation his = room_affiliation(r->room, o->user.bare);
    if (who.role != ROLE_MODERATOR) return say(r, "forbidden", "Only moderators may do that.");
    bool lowers = c->role < o->role;
    if (lowers && his > who.affiliation) return say(r, "not-allowed", "You may not take anything from somebody of a higher affiliation.");
    if (lowers && c->role != ROLE_NONE && his >= AFFILIATION_ADMIN) return say(r, "not-allowed", "Administrators and owners are moderators.");
    bool moderators = c->role == ROLE_MODERATOR || (o->role == ROLE_MODERATOR && c->role != ROLE_NONE);
    if (moderators && who.affiliation < AFFILIATION_ADMIN)
        return say(r, "forbidden", "Only administrators and owners make moderators, and revoke that.");
    return NULL;
}

static unsigned owners_of(const struct room *room)
{
    unsigned n = 0;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&room->affiliated, &it, &key, &value)) n += ((const struct affiliated *)value)->affiliation == AFFILIATION_OWNER;
    return n;
}

/* Owners that would be left if all that is wanted were done. */
static unsigned owners_after(const struct request *r)
{
    unsigned n = owners_of(r->room);
    for (unsigned i = 0; i < r->n_parts; i++) {
        const struct change *c = &r->parts[i].change;
        if (!r->parts[i].wanted || c->by_role) continue;
        n -= c->before == AFFILIATION_OWNER;
        n += c->affiliation == AFFILIATION_OWNER;
    }
    return n;
}

static const char *may_change_affiliation(struct request *r, struct change *c, struct actor who)
{
    const struct affiliated *a = room_affiliated(r->room, c->jid.bare);
    c->before = a != NULL ? a->affiliation : AFFILIATION_NONE;
    if (who.affiliation < AFFILIATION_ADMIN) return say(r, "forbidden", "Only administrators and owners change affiliations.");
    if (c->affiliation == AFFILIATION_OUTCAST && jid_bare_eq(&c->jid, &r->stanza->from)) return say(r, "conflict", "You cannot ban yourself.");
    if (who.affiliation == AFFILIATION_OWNER) return NULL;
    if (c->affiliation >= AFFILIATION_ADMIN) return say(r, "forbidden", "Only owners make administrators and owners.");
    if (c->before < AFFILIATION_ADMIN) return NULL;
    /* XEP-0045, 9.1 and 10.5, 10.8: to ban them is not allowed, to change the lists of them is forbidden. */
    return say(r, c->affiliation == AFFILIATION_OUTCAST ? "not-allowed" : "forbidden",
               "Only owners change the affiliation of administrators and owners.");
}

static void needs_of(struct request *r, unsigned part)
{
    const struct change *c = &r->parts[part].change;
    if (c->by_role)
        request_needs(r, EVENT_onBeforeChangeUser, part);
    else if (c->affiliation == AFFILIATION_NONE && c->before != AFFILIATION_NONE)
        request_needs(r, EVENT_onBeforeRemoveAffiliation, part);
    else
        request_needs(r, EVENT_onBeforeChangeAffiliation, part);
}

static bool adds_too_many(const struct request *r)
{
    size_t more = 0;
    for (unsigned i = 0; i < r->n_parts; i++) {
        const struct change *c = &r->parts[i].change;
        bool adds = r->parts[i].wanted && !c->by_role && c->affiliation != AFFILIATION_NONE;
        more += adds && room_affiliated(r->room, c->jid.bare) == NULL;
    }
    return more > 0 && room_lists_full(r->room, more);
}

const char *parts_check(struct request *r)
{
    const char *condition = NULL;
    struct actor who = actor_of(r);
    if (r->n_parts > PARTS_MAX) return say(r, "policy-violation", "These are too many items for one request.");
    for (unsigned i = 0; i < r->n_parts && condition == NULL; i++) {
        struct part *p = &r->parts[i];
        if (!p->wanted) continue;
        condition = read_item(r, p);
        if (condition == NULL) condition = p->change.by_role ? may_change_role(r, &p->change, who) : may_change_affiliation(r, &p->change, who);
        if (condition != NULL && stanza_child(r->stanza, "query", NS_MUC_ADMIN) != NULL) r->offending = p->stanza->inner; /* XEP-0045, 8.4 */
    }
    if (condition == NULL && adds_too_many(r))
        condition = say_limit(r, "resource-constraint", METRIC_ROOM_LIMIT_PEOPLE, "The lists of this room are full.");
    if (condition == NULL && owners_of(r->room) > 0 && owners_after(r) == 0) condition = say(r, "conflict", "A room has at least one owner.");
    for (unsigned i = 0; i < r->n_parts && condition == NULL; i++)
        if (r->parts[i].wanted) needs_of(r, i);
    return condition;
}

/* ---- doing it ---- */
void parts_apply(struct request *r)
{
    for (unsigned i = 0; i < r->n_parts; i++) {
        struct change *c = &r->parts[i].change;
        if (!r->parts[i].wanted || c->by_role) continue;
        c->old = room_standing(r->room, c->jid.bare, r->arena);
        room_set_affiliation(r->room, &c->jid, c->affiliation, c->reason);
        keep_affiliated(r, c->jid.bare);
    }
}

/* Backwards: one address may have been changed twice. */
void parts_undo(struct request *r)
{
    for (unsigned i = r->n_parts; i-- > 0;) {
        const struct change *c = &r->parts[i].change;
        if (r->parts[i].wanted && !c->by_role) room_set_standing(r->room, &c->jid, &c->old);
    }
}

static struct str actor_nick(const struct request *r)
{
    const struct attendee *a = request_attendee(r);
    return a != NULL ? a->occupant->jid.resource : STR_NONE;
}

static void raise_after_presence(struct request *r, struct occupant *o, const struct notice *n)
{
    presence_broadcast(o, n, r);
    struct stanza *seen = presence_full(o, n, r);
    room_raise_after(r->room, EVENT_onAfterChangeUser, seen);
    stanza_unref(seen);
}

/* Who has been seen until now is seen going into a role that is not. */
static bool is_seen(const struct occupant *o) { return (o->room->config.presence_of & 1u << o->role) != 0; }

static void tell_role(struct request *r, const struct change *c)
{
    struct occupant *o = occupant_by_nick(r->room, c->nick);
    if (o == NULL) return; /* another part has put him out */
    struct notice n = {.reason = c->reason, .actor = actor_nick(r)};
    if (c->role == ROLE_NONE) {
        n.gone = n.no_content = true;
        n.codes[0] = 307;
        occupant_leave_room(o, &n, r);
        return;
    }
    n.seen = is_seen(o);
    o->role = c->role;
    raise_after_presence(r, o, &n);
}

static enum event_id after_event(const struct change *c)
{
    return c->affiliation == AFFILIATION_NONE && c->before != AFFILIATION_NONE ? EVENT_onAfterRemoveAffiliation : EVENT_onAfterChangeAffiliation;
}

/* Nobody sees it in a presence, as he is not there: those who may know his address are told by a message (XEP-0045, 9.3). */
static bool may_know(const void *arg, const struct attendee *a)
{
    (void)arg;
    return sees_addresses(a);
}

static void tell_absent(struct request *r, const struct change *c)
{
    struct buf b = {0};
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'><item");
    xml_add_attr(&b, "affiliation", str_of(affiliation_name(c->affiliation)));
    xml_add_attr(&b, "jid", c->jid.bare);
    buf_adds(&b, " role='none'/></x>");
    send_to_all(r->room, stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &r->room->jid, NULL, STR_NONE, buf_str(&b)), (struct crowd){may_know, NULL}, r);
    buf_free(&b);
}

static void tell_occupant(struct request *r, struct occupant *o, const struct change *c, const struct stanza *iq)
{
    struct notice n = {.reason = c->reason, .actor = actor_nick(r), .after_event = after_event(c), .after_subject = iq};
    bool banned = c->affiliation == AFFILIATION_OUTCAST;
    if (banned || (c->affiliation == AFFILIATION_NONE && r->room->config.members_only)) {
        n.gone = n.no_content = true;
        n.codes[0] = banned ? 301 : 321;
        occupant_leave_room(o, &n, r);
        return;
    }
    enum role usual = room_default_role(r->room, c->affiliation);
    bool rises = c->affiliation > c->before;
    n.seen = is_seen(o);
    if (rises ? usual > o->role : usual < o->role) o->role = usual; /* what he was given beside his affiliation he keeps */
    raise_after_presence(r, o, &n);
}

/* Is it of this occupant? One of a whole domain is, unless he has one of his own. */
static bool concerns(const struct change *c, const struct occupant *o)
{
    if (jid_bare_eq(&o->user, &c->jid)) return true;
    if (c->jid.local.p != NULL) return false;
    const struct affiliated *own = room_affiliated(o->room, o->user.bare);
    if (own != NULL && own->affiliation != AFFILIATION_NONE) return false;
    return str_eq(o->user.domain, c->jid.domain) ||
           (c->affiliation == AFFILIATION_OUTCAST && room_affiliation(o->room, o->user.bare) == AFFILIATION_OUTCAST);
}

/* XEP-0045, 15.6.2, status 101: he learns what has become of what he was here. Strangers hear nothing: a room is no means to write to anybody one
 * likes. */
static void tell_himself(struct request *r, const struct change *c)
{
    if (c->before < AFFILIATION_MEMBER || c->affiliation == c->before || c->jid.local.p == NULL) return;
    struct buf b = {0};
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'><item");
    xml_add_attr(&b, "affiliation", str_of(affiliation_name(c->affiliation)));
    xml_add_attr(&b, "jid", c->jid.bare);
    buf_adds(&b, " role='none'/><status code='101'/></x>");
    router_route_for(stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &r->room->jid, &c->jid, STR_NONE, buf_str(&b)), r->parcel, 0);
    buf_free(&b);
}

/* XEP-0045, 9.5: who has been made a member of a members-only room is invited to it. */
static void invite_member(struct request *r, const struct change *c)
{
    bool invited = r->room->config.members_only && c->affiliation == AFFILIATION_MEMBER && c->before == AFFILIATION_NONE && c->jid.local.p != NULL;
    if (!invited) return;
    struct buf b = {0};
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'><invite");
    xml_add_attr(&b, "to", c->jid.bare);
    buf_adds(&b, "/></x>");
    request_by_service(&invite_row, stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &r->stanza->from, &r->room->jid, r->stanza->id, buf_str(&b)), NULL,
                       NULL);
    buf_free(&b);
}

static void tell_affiliation(struct request *r, const struct change *c, const struct stanza *iq)
{
    struct occupant *o;
    struct arena *a = arena_new(0);
    struct str *nicks = arena_alloc(a, (r->room->occupants.count + 1) * sizeof(*nicks));
    unsigned n = 0;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->room->occupants, &it, &key, &value))
        if (concerns(c, value)) nicks[n++] = arena_str(a, key);
    for (unsigned i = 0; i < n; i++)
        if ((o = occupant_by_nick(r->room, nicks[i])) != NULL) tell_occupant(r, o, c, i == 0 ? iq : NULL);
    if (n == 0) {
        tell_absent(r, c);
        tell_himself(r, c);
        room_raise_after(r->room, after_event(c), iq);
        invite_member(r, c);
    }
    arena_free(a);
}

void parts_tell(struct request *r)
{
    for (unsigned i = 0; i < r->n_parts; i++) {
        const struct part *p = &r->parts[i];
        if (!p->wanted) continue;
        if (p->change.by_role)
            tell_role(r, &p->change);
        else
            tell_affiliation(r, &p->change, p->stanza);
    }
}
