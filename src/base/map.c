/* Hash maps: open addressing with linear probing, at most three quarters full, keyed SipHash so that a peer cannot choose colliding keys.
 *
 * Deletion shifts the rest of the run back instead of leaving a tombstone, so a map that lives for months with much coming and going
 * never needs cleaning. Two things make that safe to do while iterating: runs do not wrap around (behind the `cap` home places are some
 * overflow places; a run that would leave them makes the table grow), and iteration goes from the last place to the first, so that what
 * a deletion moves into the place just visited was visited before.
 *
 * An empty place is one whose value is NULL. A string key is copied into an allocation of its own; its full hash is kept beside it, so
 * that probing and growing rarely touch keys. */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { MAP_FIRST = 8, MAP_OVERFLOW = 128 };

struct map_slot {
    uint64_t hash;
    char *key;
    size_t key_n;
    void *value;
};

struct imap_slot {
    uint64_t hash;
    uint64_t key;
    void *value;
};

static size_t map_places(size_t cap)
{
    return cap == 0 ? 0 : cap + (cap < MAP_OVERFLOW ? cap : MAP_OVERFLOW);
}

static bool map_is_full(size_t count, size_t cap)
{
    return (count + 1) * 4 > cap * 3;
}

static uint64_t imap_hash(uint64_t key)
{
    return hash_keyed(&key, sizeof(key));
}

/* The place of the key, or the empty place where it would go, or `places` when the run leaves the table. */
static size_t map_find(const struct map *m, uint64_t hash, struct str key)
{
    size_t places = map_places(m->cap);
    size_t i = m->cap == 0 ? 0 : (size_t)hash & (m->cap - 1);
    for (; i < places && m->slots[i].value != NULL; i++) {
        const struct map_slot *slot = &m->slots[i];
        if (slot->hash == hash && slot->key_n == key.n && (key.n == 0 || memcmp(slot->key, key.p, key.n) == 0)) break;
    }
    return i;
}

static bool map_grow_to(struct map *m, size_t cap)
{
    struct map bigger = {.slots = x_calloc(map_places(cap), sizeof(*bigger.slots)), .count = m->count, .cap = cap};
    for (size_t i = 0; i < map_places(m->cap); i++) {
        if (m->slots[i].value == NULL) continue;
        size_t at = (size_t)m->slots[i].hash & (cap - 1);
        while (at < map_places(cap) && bigger.slots[at].value != NULL) at++;
        if (at == map_places(cap)) {
            free(bigger.slots);
            return false;
        }
        bigger.slots[at] = m->slots[i];
    }
    free(m->slots);
    *m = bigger;
    return true;
}

static void map_grow(struct map *m)
{
    size_t cap = m->cap != 0 ? m->cap * 2 : MAP_FIRST;
    while (!map_grow_to(m, cap)) cap *= 2;
}

void *map_get(const struct map *m, struct str key)
{
    if (m->count == 0) return NULL;
    size_t i = map_find(m, hash_keyed(key.p, key.n), key);
    return i < map_places(m->cap) ? m->slots[i].value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
    assert(value != NULL);
    uint64_t hash = hash_keyed(key.p, key.n);
    size_t i = map_find(m, hash, key);
    if (i < map_places(m->cap) && m->slots[i].value != NULL) {
        void *old = m->slots[i].value;
        m->slots[i].value = value;
        return old;
    }
    while (map_is_full(m->count, m->cap) || i == map_places(m->cap)) {
        map_grow(m);
        i = map_find(m, hash, key);
    }
    m->slots[i] = (struct map_slot){.hash = hash, .key = str_dup(key), .key_n = key.n, .value = value};
    m->count++;
    return NULL;
}

void *map_del(struct map *m, struct str key)
{
    if (m->count == 0) return NULL;
    size_t places = map_places(m->cap);
    size_t hole = map_find(m, hash_keyed(key.p, key.n), key);
    if (hole == places || m->slots[hole].value == NULL) return NULL;
    void *old = m->slots[hole].value;
    free(m->slots[hole].key);
    for (size_t i = hole + 1; i < places && m->slots[i].value != NULL; i++) {
        if (((size_t)m->slots[i].hash & (m->cap - 1)) > hole) continue; /* its home is behind the hole */
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct map_slot){0};
    m->count--;
    return old;
}

void map_free(struct map *m)
{
    for (size_t i = 0; i < map_places(m->cap); i++) free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}

bool map_next(const struct map *m, size_t *it, struct str *key, void **value)
{
    size_t places = map_places(m->cap);
    while (*it < places) {
        const struct map_slot *slot = &m->slots[places - 1 - (*it)++];
        if (slot->value == NULL) continue;
        if (key != NULL) *key = (struct str){slot->key, slot->key_n};
        if (value != NULL) *value = slot->value;
        return true;
    }
    return false;
}

static size_t imap_find(const struct imap *m, uint64_t hash, uint64_t key)
{
    size_t places = map_places(m->cap);
    size_t i = m->cap == 0 ? 0 : (size_t)hash & (m->cap - 1);
    while (i < places && m->slots[i].value != NULL && m->slots[i].key != key) i++;
    return i;
}

static bool imap_grow_to(struct imap *m, size_t cap)
{
    struct imap bigger = {.slots = x_calloc(map_places(cap), sizeof(*bigger.slots)), .count = m->count, .cap = cap};
    for (size_t i = 0; i < map_places(m->cap); i++) {
        if (m->slots[i].value == NULL) continue;
        size_t at = imap_find(&bigger, m->slots[i].hash, m->slots[i].key);
        if (at == map_places(cap)) {
            free(bigger.slots);
            return false;
        }
        bigger.slots[at] = m->slots[i];
    }
    free(m->slots);
    *m = bigger;
    return true;
}

static void imap_grow(struct imap *m)
{
    size_t cap = m->cap != 0 ? m->cap * 2 : MAP_FIRST;
    while (!imap_grow_to(m, cap)) cap *= 2;
}

void *imap_get(const struct imap *m, uint64_t key)
{
    if (m->count == 0) return NULL;
    size_t i = imap_find(m, imap_hash(key), key);
    return i < map_places(m->cap) ? m->slots[i].value : NULL;
}

void *imap_put(struct imap *m, uint64_t key, void *value)
{
    assert(value != NULL);
    uint64_t hash = imap_hash(key);
    size_t i = imap_find(m, hash, key);
    if (i < map_places(m->cap) && m->slots[i].value != NULL) {
        void *old = m->slots[i].value;
        m->slots[i].value = value;
        return old;
    }
    while (map_is_full(m->count, m->cap) || i == map_places(m->cap)) {
        imap_grow(m);
        i = imap_find(m, hash, key);
    }
    m->slots[i] = (struct imap_slot){.hash = hash, .key = key, .value = value};
    m->count++;
    return NULL;
}

void *imap_del(struct imap *m, uint64_t key)
{
    if (m->count == 0) return NULL;
    size_t places = map_places(m->cap);
    size_t hole = imap_find(m, imap_hash(key), key);
    if (hole == places || m->slots[hole].value == NULL) return NULL;
    void *old = m->slots[hole].value;
    for (size_t i = hole + 1; i < places && m->slots[i].value != NULL; i++) {
        if (((size_t)m->slots[i].hash & (m->cap - 1)) > hole) continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct imap_slot){0};
    m->count--;
    return old;
}

void imap_free(struct imap *m)
{
    free(m->slots);
    *m = (struct imap){0};
}

bool imap_next(const struct imap *m, size_t *it, uint64_t *key, void **value)
{
    size_t places = map_places(m->cap);
    while (*it < places) {
        const struct imap_slot *slot = &m->slots[places - 1 - (*it)++];
        if (slot->value == NULL) continue;
        if (key != NULL) *key = slot->key;
        if (value != NULL) *value = slot->value;
        return true;
    }
    return false;
}
