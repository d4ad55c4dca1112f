/* Byte slices, growable buffers, and the allocation that cannot fail. A service that has run out of memory cannot keep its promise
 * about what has been witnessed, and every bound of ours is below what the machine has; so running out is an abort with a message,
 * not a return value that a thousand callers would have to carry. */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void memory_gone(size_t n)
{
    fprintf(stderr, "signet: out of memory: %zu bytes could not be had\n", n);
    abort();
}

void *x_malloc(size_t n)
{
    void *p = malloc(n != 0 ? n : 1);
    if (p == NULL) memory_gone(n);
    return p;
}

void *x_calloc(size_t n, size_t size)
{
    void *p = calloc(n != 0 ? n : 1, size != 0 ? size : 1);
    if (p == NULL) memory_gone(size != 0 && n > SIZE_MAX / size ? SIZE_MAX : n * size);
    return p;
}

void *x_realloc(void *p, size_t n)
{
    void *q = realloc(p, n != 0 ? n : 1);
    if (q == NULL) memory_gone(n);
    return q;
}

char *x_strdup(const char *s)
{
    return str_dup(str_of(s));
}

char *str_dup(struct str s)
{
    char *copy = x_malloc(s.n + 1);
    if (s.n != 0) memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

int str_cmp(struct str a, struct str b)
{
    if (a.p == NULL || b.p == NULL) return (a.p != NULL) - (b.p != NULL);
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

char *str_hex(char *out, uint64_t n, unsigned min_digits)
{
    static const char digits[] = "0123456789abcdef";
    unsigned count = min_digits != 0 ? min_digits : 1;
    while (count < 16 && n >> (4 * count) != 0) count++;
    for (unsigned i = 0; i < count; i++) out[i] = digits[n >> (4 * (count - 1 - i)) & 15];
    out[count] = '\0';
    return out + count;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
}

char *buf_grow(struct buf *b, size_t n)
{
    if (n >= SIZE_MAX / 2 - b->len) memory_gone(n);
    size_t need = b->len + n + 1, cap = b->cap != 0 ? b->cap * 2 : 64;
    while (cap < need) cap *= 2;
    b->data = x_realloc(b->data, cap);
    b->cap = cap;
    return b->data + b->len;
}

void buf_addv(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *at = buf_reserve(b, 64);
    size_t room = b->cap - b->len;
    int n = vsnprintf(at, room, fmt, ap);
    assert(n >= 0); /* only a wrong format or wide character of our own makes it fail */
    if ((size_t)n >= room) {
        at = buf_reserve(b, (size_t)n);
        vsnprintf(at, (size_t)n + 1, fmt, again);
    }
    b->len += (size_t)n;
    va_end(again);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_addv(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0) return;
    b->len -= n;
    if (b->len != 0) memmove(b->data, b->data + n, b->len);
}

const char *buf_cstr(struct buf *b)
{
    *buf_reserve(b, 0) = '\0';
    return b->data;
}

struct str buf_str(const struct buf *b)
{
    /* An empty buffer is empty, not absent. */
    return (struct str){b->data != NULL ? b->data : "", b->len};
}
