/* Memory that is freed all at once. One arena per stanza or request; not thread-safe. */
#ifndef SIGNET_BASE_ARENA_H
#define SIGNET_BASE_ARENA_H
#include "base/buf.h"

struct arena;
struct arena *arena_new(size_t first_block_bytes); /* 0: a default of 1 KiB */
void arena_free(struct arena *a); /* NULL is a no-op */
void *arena_alloc(struct arena *a, size_t n); /* aligned to 16; never NULL; not zeroed */
void *arena_zalloc(struct arena *a, size_t n);
char *arena_strndup(struct arena *a, const char *p, size_t n); /* NUL-terminated copy */
struct str arena_str(struct arena *a, struct str s); /* a NUL-terminated copy of s; absent stays absent */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_bytes(const struct arena *a); /* held from the allocator */

#endif
