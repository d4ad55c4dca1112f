/* Plans and link ids. A plan is one arena: per event and packet type an array of steps, each step an array of servers, each server an array of link ids.
 *
 * The steps of a chain are the profiles that list the event, in routing priority, and only those that are assigned somewhere on this node. A profile whose
 * row names several packet types stands in the chains of each. TC events have one chain, whatever their stanza is. */
#include "broker/plan.h"
#include "base/arena.h"
#include "base/hash.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PACKETS = 4 };

struct plan {
    atomic_uint refs;
    struct arena *arena;
    int64_t version;
    uint32_t era;
    struct plan_step *profiles; /* those with servers, in routing priority; what their rows say is in the chains */
    unsigned n_profiles;
    struct plan_chain chains[EVENT_COUNT][PACKETS];
};

/* ---- link ids ---- */

static struct {
    pthread_mutex_t lock;
    char **components;
    uint32_t count, cap;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint32_t link_id_for(const char *component)
{
    pthread_mutex_lock(&registry.lock);
    uint32_t id = 0;
    while (id < registry.count && strcmp(registry.components[id], component) != 0) id++;
    if (id == registry.count) {
        if (registry.count == registry.cap) {
            registry.cap = registry.cap == 0 ? 16 : registry.cap * 2;
            registry.components = x_realloc(registry.components, registry.cap * sizeof(*registry.components));
        }
        registry.components[registry.count++] = x_strdup(component);
    }
    pthread_mutex_unlock(&registry.lock);
    return id;
}

const char *link_component(uint32_t link)
{
    pthread_mutex_lock(&registry.lock);
    const char *name = link < registry.count ? registry.components[link] : "";
    pthread_mutex_unlock(&registry.lock);
    return name;
}

uint32_t link_id_count(void)
{
    pthread_mutex_lock(&registry.lock);
    uint32_t n = registry.count;
    pthread_mutex_unlock(&registry.lock);
    return n;
}

/* ---- compiling ---- */

struct compiler {
    struct plan *plan;
    const struct compliance_config *config;
    const char *node;
};

static bool counts(const struct compiler *k, const struct compliance_assignment *a, const char *profile)
{
    return strcmp(a->profile, profile) == 0 && (k->node == NULL || strcmp(a->node, k->node) == 0);
}

static void server_add_link(struct compiler *k, struct plan_server *server, const char *component)
{
    struct plan_link *links = arena_alloc(k->plan->arena, (server->n_links + 1) * sizeof(*links));
    if (server->n_links > 0) memcpy(links, server->links, server->n_links * sizeof(*links));
    links[server->n_links++] = (struct plan_link){link_id_for(component), hash_stable(component, strlen(component))};
    server->links = links;
}

/* The servers a profile is assigned to, each with its links. */
static struct plan_server *compile_servers(struct compiler *k, const char *profile, unsigned *n)
{
    const struct compliance_config *c = k->config;
    struct plan_server *servers = arena_zalloc(k->plan->arena, (c->n_assignments + 1) * sizeof(*servers));
    *n = 0;
    for (unsigned i = 0; i < c->n_assignments; i++) {
        const struct compliance_assignment *a = &c->assignments[i];
        if (!counts(k, a, profile)) continue;
        unsigned at = 0;
        while (at < *n && !str_is(servers[at].name, a->server)) at++;
        if (at == *n) servers[(*n)++] = (struct plan_server){.name = arena_str(k->plan->arena, str_of(a->server)), .hash = hash_stable(a->server, strlen(a->server))};
        server_add_link(k, &servers[at], a->component);
    }
    return servers;
}

static unsigned steps_of(const struct plan *p, enum event_id event, unsigned packet) { return p->chains[event][packet].n_steps; }

static void chain_add(struct plan *p, struct plan_chain *chain, const struct plan_step *step, unsigned room_for)
{
    if (chain->steps == NULL) chain->steps = arena_alloc(p->arena, room_for * sizeof(*step));
    ((struct plan_step *)chain->steps)[chain->n_steps++] = *step;
}

static void compile_profile(struct compiler *k, const struct compliance_profile *profile)
{
    struct plan *p = k->plan;
    struct plan_step step = {0};
    step.servers = compile_servers(k, profile->name, &step.n_servers);
    if (step.n_servers == 0) return;
    step.profile = arena_str(p->arena, str_of(profile->name));
    step.rank = (uint32_t)(profile - k->config->profiles);
    p->profiles[p->n_profiles++] = step;
    for (unsigned i = 0; i < profile->n_rows; i++) {
        const struct profile_row *row = &profile->rows[i];
        step.bounce = row->bounce;
        step.fire_and_forget = row->fire_and_forget;
        step.shadow = row->shadow;
        for (unsigned packet = 0; packet < PACKETS; packet++) {
            bool listed = event_catalogue[row->event].service == SERVICE_TC ? packet == 0 : (row->packets & 1u << packet) != 0;
            if (!listed) continue;
            assert(steps_of(p, row->event, packet) < k->config->n_profiles);
            chain_add(p, &p->chains[row->event][packet], &step, k->config->n_profiles);
        }
    }
}

static _Atomic uint32_t eras;

struct plan *plan_compile(const struct compliance_config *c, const char *node)
{
    struct plan *p = x_calloc(1, sizeof(*p));
    struct compiler k = {p, c, node};
    atomic_init(&p->refs, 1);
    p->era = atomic_fetch_add_explicit(&eras, 1, memory_order_relaxed) + 1;
    p->arena = arena_new(0);
    p->version = c->version;
    p->profiles = arena_zalloc(p->arena, (c->n_profiles + 1) * sizeof(*p->profiles));
    for (unsigned i = 0; i < c->n_profiles; i++) compile_profile(&k, &c->profiles[i]);
    return p;
}

struct plan *plan_ref(const struct plan *p)
{
    struct plan *shared = (struct plan *)p;
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

void plan_unref(struct plan *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1) return;
    arena_free(p->arena);
    free(p);
}

int64_t plan_version(const struct plan *p) { return p->version; }
uint32_t plan_era(const struct plan *p) { return p->era; }

static const struct plan_step *profile_of_server(const struct plan *p, struct str server)
{
    for (unsigned i = 0; i < p->n_profiles; i++)
        for (unsigned j = 0; j < p->profiles[i].n_servers; j++)
            if (str_eq(p->profiles[i].servers[j].name, server)) return &p->profiles[i];
    return NULL;
}

bool plan_same_order(const struct plan *old, const struct plan *now)
{
    for (unsigned i = 0; i < now->n_profiles; i++) {
        for (unsigned j = 0; j < now->profiles[i].n_servers; j++) {
            const struct plan_step *before = profile_of_server(old, now->profiles[i].servers[j].name);
            if (before == NULL || before->rank != now->profiles[i].rank) return false;
        }
    }
    return true;
}

struct plan_chain plan_chain_of(const struct plan *p, enum event_id event, unsigned packet)
{
    if (p == NULL) return (struct plan_chain){NULL, 0};
    unsigned at = 0;
    if (event_catalogue[event].service == SERVICE_JSM)
        while (at + 1 < PACKETS && (packet & 1u << at) == 0) at++;
    return p->chains[event][at];
}

/* ---- choosing ---- */

static uint32_t choose_link(const struct plan_server *server, uint64_t key, bool (*usable)(void *arg, uint32_t link), void *arg)
{
    uint32_t best = LINK_ID_NONE;
    uint64_t best_score = 0;
    for (unsigned i = 0; i < server->n_links; i++) {
        const struct plan_link *link = &server->links[i];
        if (!usable(arg, link->id)) continue;
        uint64_t score = hash_mix(key, link->hash);
        if (best == LINK_ID_NONE || score > best_score) {
            best = link->id;
            best_score = score;
        }
    }
    return best;
}

uint32_t plan_choose(const struct plan_step *step, struct str key, bool (*usable)(void *arg, uint32_t link), void *arg)
{
    uint32_t best = LINK_ID_NONE;
    uint64_t best_score = 0;
    bool only = step->n_servers == 1 && step->servers[0].n_links == 1; /* no choice, so no key */
    uint64_t hash = only ? 0 : hash_stable(key.p, key.n);
    for (unsigned i = 0; i < step->n_servers; i++) {
        const struct plan_server *server = &step->servers[i];
        uint32_t link = choose_link(server, hash, usable, arg);
        if (link == LINK_ID_NONE) continue;
        uint64_t score = hash_mix(hash, server->hash);
        if (best == LINK_ID_NONE || score > best_score) {
            best = link;
            best_score = score;
        }
    }
    return best;
}

void event_request_clear(struct event_request *r)
{
    event_unref(r->event);
    plan_unref(r->owner);
    *r = (struct event_request){0};
}
