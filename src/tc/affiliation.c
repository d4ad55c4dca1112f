/* Affiliations (XEP-0045, 5.2): long-lived, by bare JID, whether he is in the room or not. Registered nicks stand beside them (7.10). */
#include "tc/room.h"
#include "router/route.h"
#include <stdlib.h>
#include <string.h>

static const char *const affiliation_names[AFFILIATIONS] = {"none", "outcast", "member", "admin", "owner"};
static const char *const role_names[ROLES] = {"none", "visitor", "participant", "moderator"};

const char *affiliation_name(enum affiliation a) { return affiliation_names[a]; }
const char *role_name(enum role r) { return role_names[r]; }

static int by_name(const char *const *names, unsigned n, struct str name)
{
    for (unsigned i = 0; i < n; i++)
        if (str_is(name, names[i])) return (int)i;
    return -1;
}

int affiliation_by_name(struct str name) { return by_name(affiliation_names, AFFILIATIONS, name); }
int role_by_name(struct str name) { return by_name(role_names, ROLES, name); }

struct affiliated *room_affiliated(const struct room *r, struct str bare) { return map_get(&r->affiliated, bare); }

bool service_admin(const struct jid *jid)
{
    const char *list = tc_settings->server_admins;
    for (const char *p = list + strspn(list, " "); *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (str_eq((struct str){p, n}, jid->bare)) return true;
        p += n;
    }
    return false;
}

/* The address of a whole domain may be affiliated too, and a ban of one is a ban of the domains below it (XEP-0045, 9.2). One's own goes before. */
enum affiliation room_affiliation(const struct room *r, struct str bare)
{
    const struct affiliated *a = room_affiliated(r, bare);
    if (a != NULL && a->affiliation != AFFILIATION_NONE) return a->affiliation;
    const char *at = memchr(bare.p, '@', bare.n);
    if (at == NULL) return AFFILIATION_NONE;
    struct str domain = {at + 1, bare.n - (size_t)(at + 1 - bare.p)};
    a = room_affiliated(r, domain);
    if (a != NULL) return a->affiliation;
    for (const char *dot; (dot = memchr(domain.p, '.', domain.n)) != NULL;) {
        domain = (struct str){dot + 1, domain.n - (size_t)(dot + 1 - domain.p)};
        a = room_affiliated(r, domain);
        if (a != NULL && a->affiliation == AFFILIATION_OUTCAST) return AFFILIATION_OUTCAST;
    }
    return AFFILIATION_NONE;
}

enum role room_default_role(const struct room *r, enum affiliation a)
{
    switch (a) {
    case AFFILIATION_OUTCAST: return ROLE_NONE;
    case AFFILIATION_NONE: return r->config.moderated ? ROLE_VISITOR : ROLE_PARTICIPANT;
    case AFFILIATION_MEMBER: return ROLE_PARTICIPANT;
    default: return ROLE_MODERATOR;
    }
}

bool room_lists_full(const struct room *r, size_t more) { return r->affiliated.count + more > (size_t)tc_settings->tc_max_people; }

static void affiliated_free(struct affiliated *a)
{
    free(a->nick);
    free(a->reason);
    arena_free(a->arena);
    free(a);
}

static struct affiliated *affiliated_make(struct room *r, const struct jid *jid)
{
    struct affiliated *a = room_affiliated(r, jid->bare);
    if (a != NULL) return a;
    a = x_calloc(1, sizeof(*a));
    a->arena = arena_new(128);
    a->jid = jid_to_bare(a->arena, jid);
    map_put(&r->affiliated, a->jid.bare, a);
    return a;
}

static void drop_when_nothing(struct room *r, struct affiliated *a)
{
    if (a->affiliation != AFFILIATION_NONE || a->nick != NULL) return;
    map_del(&r->affiliated, a->jid.bare);
    affiliated_free(a);
}

void room_set_affiliation(struct room *r, const struct jid *jid, enum affiliation affiliation, struct str reason)
{
    struct affiliated *a = affiliated_make(r, jid);
    a->affiliation = affiliation;
    free(a->reason);
    a->reason = reason.n > 0 ? str_dup(reason) : NULL;
    if (affiliation == AFFILIATION_NONE || affiliation == AFFILIATION_OUTCAST) { /* whoever is no member has no nick there */
        free(a->nick);
        a->nick = NULL;
    }
    drop_when_nothing(r, a);
}

void room_set_nick(struct room *r, const struct jid *jid, struct str nick)
{
    struct affiliated *a = affiliated_make(r, jid);
    free(a->nick);
    a->nick = nick.p != NULL ? str_dup(nick) : NULL;
    drop_when_nothing(r, a);
}

struct standing room_standing(const struct room *r, struct str bare, struct arena *a)
{
    const struct affiliated *his = room_affiliated(r, bare);
    if (his == NULL) return (struct standing){.affiliation = AFFILIATION_NONE};
    return (struct standing){his->affiliation, arena_str(a, str_of(his->nick)), arena_str(a, str_of(his->reason))};
}

void room_set_standing(struct room *r, const struct jid *jid, const struct standing *s)
{
    room_set_affiliation(r, jid, s->affiliation, s->reason);
    room_set_nick(r, jid, s->nick);
}

void room_forget_affiliations(struct room *r)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->affiliated, &it, &key, &value)) affiliated_free(value);
    map_free(&r->affiliated);
}
