/* Those who are in a room. An occupant is a nick; the same user may be there with several sessions under one. */
#include "tc/room.h"
#include "base/metric.h"
#include "io/worker.h"
#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

struct occupant *occupant_by_nick(const struct room *r, struct str nick) { return nick.p != NULL ? map_get(&r->occupants, nick) : NULL; }

struct attendee *attendee_by_jid(const struct room *r, const struct jid *full) { return map_get(&r->attendees, full->full); }

struct occupant *occupant_by_user(const struct room *r, struct str bare)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->occupants, &it, &key, &value)) {
        struct occupant *o = value;
        if (str_eq(o->user.bare, bare)) return o;
    }
    return NULL;
}

unsigned room_occupants(const struct room *r) { return (unsigned)r->occupants.count; }

/* XEP-0421, 4: the same for one user in one room, whatever his nick, and of no meaning in any other. */
static void occupant_set_id(struct occupant *o)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    const struct room *r = o->room;
    HMAC(EVP_sha256(), r->secret, (int)sizeof(r->secret), (const unsigned char *)o->user.bare.p, o->user.bare.n, md, &n);
    EVP_EncodeBlock((unsigned char *)o->id, md, 32); /* 44 characters */
}

static struct occupant *occupant_new(struct room *r, struct str nick, const struct jid *user, enum role role)
{
    struct occupant *o = x_calloc(1, sizeof(*o));
    o->room = r;
    r->refs++;
    o->arena = arena_new(256);
    o->jid = jid_with_resource(o->arena, &r->jid, nick);
    o->user = jid_to_bare(o->arena, user);
    o->role = role;
    list_init(&o->attendees);
    occupant_set_id(o);
    map_put(&r->occupants, nick, o);
    metric_inc(METRIC_ROOM_OCCUPANTS);
    return o;
}

struct attendee *attendee_enter(struct room *r, struct str nick, const struct jid *full, const struct stanza *presence, enum role role)
{
    struct occupant *o = occupant_by_nick(r, nick);
    if (o == NULL) o = occupant_new(r, nick, full, role);
    struct attendee *a = x_calloc(1, sizeof(*a));
    a->occupant = o;
    a->arena = arena_new(128);
    a->full = jid_copy(a->arena, full);
    a->joined_ms = worker_now_ms();
    list_init(&a->waiting);
    list_push_back(&o->attendees, &a->node);
    map_put(&r->attendees, a->full.full, a);
    attendee_presence(a, presence);
    return a;
}

void attendee_presence(struct attendee *a, const struct stanza *presence)
{
    stanza_unref(a->presence);
    a->presence = stanza_ref(presence);
    a->occupant->shown = a;
}

void occupant_rename(struct occupant *o, struct str nick)
{
    struct room *r = o->room;
    struct arena *old = o->arena;
    assert(occupant_by_nick(r, nick) == NULL);
    map_del(&r->occupants, o->jid.resource);
    o->arena = arena_new(256);
    o->jid = jid_with_resource(o->arena, &r->jid, nick);
    o->user = jid_to_bare(o->arena, &o->user);
    map_put(&r->occupants, o->jid.resource, o);
    arena_free(old);
}

static void occupant_free(struct occupant *o)
{
    struct room *r = o->room;
    map_del(&r->occupants, o->jid.resource);
    arena_free(o->arena);
    free(o);
    metric_add(METRIC_ROOM_OCCUPANTS, -1);
    room_release(r);
}

void attendee_leave(struct attendee *a)
{
    struct occupant *o = a->occupant;
    map_del(&o->room->attendees, a->full.full);
    list_remove(&a->node);
    copies_drop(a);
    stanza_unref(a->presence);
    if (o->shown == a) o->shown = list_empty(&o->attendees) ? NULL : CONTAINER_OF(o->attendees.prev, struct attendee, node);
    arena_free(a->arena);
    free(a);
    if (list_empty(&o->attendees)) occupant_free(o);
}
