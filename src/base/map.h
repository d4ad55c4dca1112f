/* Hash maps keyed by bytes or by 64-bit numbers, seeded at start against chosen keys. Not thread-safe. */
#ifndef SIGNET_BASE_MAP_H
#define SIGNET_BASE_MAP_H
#include "base/buf.h"

/* Keys are copied, values are borrowed. Zero-initialised is empty and valid. */
struct map {
    struct map_slot *slots;
    size_t count;
    size_t cap;
};
void *map_get(const struct map *m, struct str key); /* NULL when absent */
void *map_put(struct map *m, struct str key, void *value); /* returns the value replaced, or NULL; value must not be NULL */
void *map_del(struct map *m, struct str key); /* returns the value removed, or NULL */
void map_free(struct map *m); /* frees the table and keys, not the values */
/* Iteration: size_t it = 0; while (map_next(m, &it, &key, &value)). Deleting the entry just returned is allowed. */
bool map_next(const struct map *m, size_t *it, struct str *key, void **value);

struct imap {
    struct imap_slot *slots;
    size_t count;
    size_t cap;
};
void *imap_get(const struct imap *m, uint64_t key);
void *imap_put(struct imap *m, uint64_t key, void *value);
void *imap_del(struct imap *m, uint64_t key);
void imap_free(struct imap *m);
bool imap_next(const struct imap *m, size_t *it, uint64_t *key, void **value);

#endif
