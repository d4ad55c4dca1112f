/* IQ between occupants (XEP-0045, 17.4): a request to a nick goes to one session of it, under the asking nick; its answer goes back to the session
 * that asked. On the way a request bears an id of the room's own, since ids of different askers may be the same. */
#include "base/clock.h"
#include "tc/rows.h"
#include "xml/writer.h"
#include <stdlib.h>

#define NS_PING "urn:xmpp:ping"
#define NS_VCARD "vcard-temp"
enum { RELAYS_MAX = 1000, RELAY_MS = 5 * 60 * 1000 };

struct relay { /* a request that waits for its answer; the oldest first in room->relays */
    struct list node;
    struct arena *arena;
    uint64_t number, since_ms;
    struct jid asker; /* full real JID */
    struct jid asked; /* full real JID, or bare for what an account answers */
    struct jid nick; /* room@service/nick it was sent to; of an invitation the room */
    struct str id; /* as the asker gave it */
};

static void relay_free(struct room *room, struct relay *w)
{
    list_remove(&w->node);
    room->n_relays--;
    arena_free(w->arena);
    free(w);
}

void relays_drop(struct room *room)
{
    while (!list_empty(&room->relays)) relay_free(room, CONTAINER_OF(room->relays.next, struct relay, node));
}

/* Whoever has not answered for so long will not. */
static void drop_old(struct room *room)
{
    uint64_t now = clock_ms();
    while (!list_empty(&room->relays)) {
        struct relay *w = CONTAINER_OF(room->relays.next, struct relay, node);
        if (room->n_relays < RELAYS_MAX && now - w->since_ms < RELAY_MS) return;
        relay_free(room, w);
    }
}

/* ---- there ---- */
static struct str relay_id(struct arena *a, const struct relay *w) { return str_of(arena_printf(a, "relay-%llu", (unsigned long long)w->number)); }

static struct relay *relay_new(struct request *r, const struct jid *asked, const struct jid *under)
{
    struct room *room = r->room;
    drop_old(room);
    struct relay *w = x_calloc(1, sizeof(*w));
    w->arena = arena_new(256);
    w->number = ++room->last_relay;
    w->since_ms = clock_ms();
    w->asker = jid_copy(w->arena, &r->stanza->from);
    w->asked = jid_copy(w->arena, asked);
    w->nick = jid_copy(w->arena, under);
    w->id = arena_str(w->arena, r->stanza->id);
    list_push_back(&room->relays, &w->node);
    room->n_relays++;
    return w;
}

/* An invitation goes the same way: the error that may come back is for who invited (XEP-0045, 7.8.2). */
struct str relay_invitation(struct request *r, const struct jid *invited) { return relay_id(r->arena, relay_new(r, invited, &r->room->jid)); }

static bool is_self_ping(const struct request *r, const struct attendee *a)
{
    return r->stanza->type == IQ_GET && stanza_child(r->stanza, "ping", NS_PING) != NULL && str_eq(a->occupant->jid.resource, r->stanza->to.resource);
}

static bool is_disco(const struct stanza *s)
{
    return stanza_child(s, "query", NS_DISCO_INFO) != NULL || stanza_child(s, "query", NS_DISCO_ITEMS) != NULL;
}

const char *relay_check(struct request *r)
{
    if (request_attendee(r) == NULL && is_disco(r->stanza))
        return say(r, "bad-request", "Only those in this room may ask its occupants."); /* XEP-0045, 6.6 */
    if (request_attendee(r) == NULL) return say(r, "not-acceptable", "You are not in this room.");
    if (occupant_by_nick(r->room, r->stanza->to.resource) == NULL) return say(r, "item-not-found", "Nobody in this room has that nick.");
    return NULL;
}

void relay_apply(struct request *r)
{
    struct room *room = r->room;
    const struct attendee *a = request_attendee(r);
    const struct occupant *o = occupant_by_nick(room, r->stanza->to.resource);
    if (is_self_ping(r, a)) { /* XEP-0410, 3.3: the room knows itself that he is there */
        send_reply(r, stanza_result(r->stanza, STR("")));
        return;
    }
    bool vcard = stanza_child(r->stanza, "vCard", NS_VCARD) != NULL; /* XEP-0045, 7.x: the account's, not the client's */
    struct relay *w = relay_new(r, vcard ? &o->user : &o->shown->full, &o->jid);
    struct str id = relay_id(r->arena, w);
    struct stanza_change change = {.from = &a->occupant->jid, .to = &w->asked, .id = &id};
    router_route_for(stanza_with(r->stanza, &change), r->parcel, vcard ? 0 : PARCEL_ROOM);
}

/* ---- and back ---- */
static struct relay *relay_find(const struct request *r)
{
    const struct stanza *s = r->stanza;
    LIST_EACH(node, &r->room->relays)
    {
        struct relay *w = CONTAINER_OF(node, struct relay, node);
        if (!str_eq(s->id, relay_id(r->arena, w))) continue;
        return jid_bare_eq(&s->from, &w->asked) ? w : NULL;
    }
    return NULL;
}

/* An answer to nothing that was asked, or to who has gone: nobody wants it. */
void relay_answer_apply(struct request *r)
{
    struct relay *w = relay_find(r);
    if (w == NULL) return;
    struct stanza_change change = {.from = &w->nick, .to = &w->asker, .id = &w->id};
    router_route_for(stanza_with(r->stanza, &change), r->parcel, PARCEL_ROOM | (r->parcel->flags & PARCEL_NO_EVENTS));
    relay_free(r->room, w);
}

bool relay_invitation_failed(struct request *r)
{
    static const char *const conditions[] = {"item-not-found", "service-unavailable", "gone", "jid-malformed", "remote-server-not-found"};
    struct relay *w = jid_is_full(&r->stanza->to) ? NULL : relay_find(r);
    if (w == NULL) return false;
    const char *came = stanza_error_condition(r->stanza), *condition = came;
    for (unsigned i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
        if (strcmp(came, conditions[i]) == 0) condition = "item-not-found"; /* servers do not say whether there is such an account */
    struct stanza *invitation = stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &w->asker, &w->nick, w->id, STR(""));
    struct stanza *error = stanza_error(invitation, condition, NULL, arena_printf(r->arena, "The invitation does not reach '%s'.", w->asked.full.p));
    stanza_unref(invitation);
    if (error != NULL) router_route_for(error, r->parcel, PARCEL_ROOM | (r->parcel->flags & PARCEL_NO_EVENTS));
    relay_free(r->room, w);
    return true;
}
