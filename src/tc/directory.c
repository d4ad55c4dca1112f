/* The directory: a map under a lock, since every worker has rooms and any may be asked for all. */
#include "tc/directory.h"
#include "base/metric.h"
#include <pthread.h>
#include <stdlib.h>

struct entry {
    char *name, *maker; /* NULL: none; not known */
    bool public, persistent;
    unsigned occupants;
};
static struct {
    pthread_mutex_t lock;
    struct map rooms;
    struct map makers; /* bare JID -> struct maker, of those who have made some */
} directory = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct maker {
    unsigned rooms;
};

static void maker_count(const char *bare)
{
    struct maker *m = map_get(&directory.makers, str_of(bare));
    if (m == NULL) {
        m = x_calloc(1, sizeof(*m));
        map_put(&directory.makers, str_of(bare), m);
    }
    m->rooms++;
}

static void maker_discount(const char *bare)
{
    struct maker *m = map_get(&directory.makers, str_of(bare));
    if (--m->rooms > 0) return;
    map_del(&directory.makers, str_of(bare));
    free(m);
}

static void entry_set(struct str bare, const struct room_config *config, bool listed, unsigned occupants)
{
    pthread_mutex_lock(&directory.lock);
    struct entry *e = map_get(&directory.rooms, bare);
    if (e == NULL) {
        e = x_calloc(1, sizeof(*e));
        map_put(&directory.rooms, bare, e);
        metric_inc(METRIC_ROOMS);
        if (config->maker != NULL) {
            e->maker = x_strdup(config->maker);
            maker_count(e->maker);
        }
    }
    free(e->name);
    e->name = config->name != NULL ? x_strdup(config->name) : NULL;
    e->public = listed && config->public;
    e->persistent = config->persistent;
    e->occupants = occupants;
    pthread_mutex_unlock(&directory.lock);
}

/* XEP-0045, 10.1.3: for others a room that is not configured yet is not there. */
void directory_set(const struct room *r) { entry_set(r->jid.bare, &r->config, r->state != ROOM_LOCKED, (unsigned)r->occupants.count); }

void directory_add(struct str bare, const struct room_config *config) { entry_set(bare, config, true, 0); }

void directory_occupants(struct str bare, unsigned n)
{
    pthread_mutex_lock(&directory.lock);
    struct entry *e = map_get(&directory.rooms, bare);
    if (e != NULL) e->occupants = n;
    pthread_mutex_unlock(&directory.lock);
}

static void entry_free(struct entry *e)
{
    if (e == NULL) return;
    metric_add(METRIC_ROOMS, -1);
    if (e->maker != NULL) maker_discount(e->maker);
    free(e->maker);
    free(e->name);
    free(e);
}

void directory_remove(struct str bare)
{
    pthread_mutex_lock(&directory.lock);
    entry_free(map_del(&directory.rooms, bare));
    pthread_mutex_unlock(&directory.lock);
}

bool directory_persistent(struct str bare)
{
    pthread_mutex_lock(&directory.lock);
    const struct entry *e = map_get(&directory.rooms, bare);
    bool persistent = e != NULL && e->persistent;
    pthread_mutex_unlock(&directory.lock);
    return persistent;
}

size_t directory_count(void)
{
    pthread_mutex_lock(&directory.lock);
    size_t n = directory.rooms.count;
    pthread_mutex_unlock(&directory.lock);
    return n;
}

unsigned directory_made_by(struct str bare)
{
    pthread_mutex_lock(&directory.lock);
    const struct maker *m = map_get(&directory.makers, bare);
    unsigned n = m != NULL ? m->rooms : 0;
    pthread_mutex_unlock(&directory.lock);
    return n;
}

static int by_room(const void *a, const void *b)
{
    return str_cmp(((const struct directory_entry *)a)->room, ((const struct directory_entry *)b)->room);
}

static bool of_domain(struct str bare, struct str domain)
{
    return bare.n > domain.n + 1 && bare.p[bare.n - domain.n - 1] == '@' && str_eq((struct str){bare.p + bare.n - domain.n, domain.n}, domain);
}

size_t directory_list(struct arena *a, struct str domain, bool public_only, struct directory_entry **out)
{
    size_t n = 0, it = 0;
    struct str key;
    void *value;
    pthread_mutex_lock(&directory.lock);
    *out = arena_alloc(a, (directory.rooms.count + 1) * sizeof(**out));
    while (map_next(&directory.rooms, &it, &key, &value)) {
        const struct entry *e = value;
        if (!of_domain(key, domain) || (public_only && !e->public)) continue;
        (*out)[n++] = (struct directory_entry){
            arena_str(a, key), arena_str(a, str_of(e->name)), e->public, e->persistent, e->occupants,
        };
    }
    pthread_mutex_unlock(&directory.lock);
    qsort(*out, n, sizeof(**out), by_room);
    return n;
}

void directory_clear(void)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&directory.rooms, &it, &key, &value)) entry_free(value);
    map_free(&directory.rooms);
    map_free(&directory.makers);
}
