/* Byte slices and growable buffers. */
#ifndef SIGNET_BASE_BUF_H
#define SIGNET_BASE_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes, not NUL-terminated unless its owner says so. p == NULL means "absent". */
struct str {
    const char *p;
    size_t n;
};
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""
/* In the header, since a stanza is compared with dozens of literals, whose length the compiler then knows. */
static inline struct str str_of(const char *cstr) /* NULL gives STR_NONE */
{
    return cstr != NULL ? (struct str){cstr, strlen(cstr)} : STR_NONE;
}
static inline bool str_eq(struct str a, struct str b) /* absent equals only absent: an empty attribute is not a missing one */
{
    if (a.p == NULL || b.p == NULL) return a.p == b.p;
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}
static inline bool str_is(struct str a, const char *cstr) { return str_eq(a, str_of(cstr)); }
char *str_dup(struct str s); /* malloc'ed, NUL-terminated; the caller frees it. Never NULL: out of memory aborts */
int str_cmp(struct str a, struct str b);
/* Writes n in hexadecimal, small letters, with at least min_digits (at most 16) and a NUL; returns the end. For what every stanza has. */
#define STR_HEX_SIZE 17
char *str_hex(char *out, uint64_t n, unsigned min_digits);

/* Zero-initialised is empty and valid. All growth aborts on out of memory. */
struct buf {
    char *data;
    size_t len;
    size_t cap;
};
void buf_free(struct buf *b); /* frees the bytes and zeroes *b */
void buf_reset(struct buf *b); /* len = 0, keeps the memory */
char *buf_grow(struct buf *b, size_t n); /* what buf_reserve() does when there is no room */
static inline char *buf_reserve(struct buf *b, size_t n) /* room for n more bytes; returns where they go; len unchanged */
{
    return n < b->cap - b->len ? b->data + b->len : buf_grow(b, n); /* one byte beyond is always there: buf_cstr() never moves the data */
}
static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0) return;
    memcpy(buf_reserve(b, n), p, n);
    b->len += n;
}
static inline void buf_adds(struct buf *b, const char *cstr) { buf_add(b, cstr, strlen(cstr)); }
static inline void buf_add_str(struct buf *b, struct str s) { buf_add(b, s.p, s.n); }
static inline void buf_addc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->len++;
}
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_addv(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */
const char *buf_cstr(struct buf *b); /* NUL-terminates (not counted in len) and returns data */
struct str buf_str(const struct buf *b);
#define BUF_ADD_LIT(b, lit) buf_add((b), "" lit, sizeof(lit) - 1)

/* malloc family that aborts with a clear message when memory is gone. */
void *x_malloc(size_t n);
void *x_calloc(size_t n, size_t size);
void *x_realloc(void *p, size_t n);
char *x_strdup(const char *s);

#endif
