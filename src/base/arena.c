/* Memory that lives as long as one stanza or one request and is freed all at once. Blocks are chained and grow; the first one holds
 * the arena itself, so a small stanza costs a single allocation. Something large gets a block of its own, so that it does not waste
 * what is left of the current one. */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 1024, ARENA_BLOCK_MAX = 64 * 1024 };

struct block {
    struct block *next;
    size_t bytes; /* as allocated, this header included */
} __attribute__((aligned(ARENA_ALIGN)));

struct arena {
    struct block *blocks; /* all but the first, which is this allocation */
    char *at;
    char *end;
    size_t bytes;
    size_t next_block; /* size of the next one */
} __attribute__((aligned(ARENA_ALIGN)));

struct arena *arena_new(size_t first_block_bytes)
{
    size_t bytes = first_block_bytes != 0 ? first_block_bytes : ARENA_FIRST;
    if (bytes < sizeof(struct arena) + ARENA_ALIGN) bytes = sizeof(struct arena) + ARENA_ALIGN;
    struct arena *a = x_malloc(bytes);
    char *base = (char *)a;
    *a = (struct arena){.at = base + sizeof(*a), .end = base + bytes, .bytes = bytes, .next_block = bytes};
    return a;
}

void arena_free(struct arena *a)
{
    if (a == NULL) return;
    struct block *next;
    for (struct block *b = a->blocks; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
}

static struct block *arena_add_block(struct arena *a, size_t payload)
{
    struct block *b = x_malloc(sizeof(*b) + payload);
    b->bytes = sizeof(*b) + payload;
    b->next = a->blocks;
    a->blocks = b;
    a->bytes += b->bytes;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2) x_malloc(n); /* cannot be had: aborts with the message */
    size_t need = n == 0 ? ARENA_ALIGN : (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if ((size_t)(a->end - a->at) >= need) {
        void *p = a->at;
        a->at += need;
        return p;
    }
    if (a->next_block < ARENA_BLOCK_MAX) a->next_block *= 2;
    if (need > a->next_block / 2) return arena_add_block(a, need) + 1;
    struct block *b = arena_add_block(a, a->next_block);
    a->at = (char *)(b + 1) + need;
    a->end = (char *)b + b->bytes;
    return b + 1;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

char *arena_strndup(struct arena *a, const char *p, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n != 0) memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    return s.p != NULL ? (struct str){arena_strndup(a, s.p, s.n), s.n} : STR_NONE;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    char *copy = arena_strndup(a, text.data, text.len);
    buf_free(&text);
    return copy;
}

size_t arena_bytes(const struct arena *a)
{
    return a->bytes;
}
