/* The pool of expat parsers, one per thread. What a reset clears and must be set again is in one place here: the hash salt, the switch of the
 * reparse deferral (with it on, a complete stanza may not be reported until more bytes come), triplets, the handlers. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "xml/loan.h"

#define POOL_SIZE  16
#define KEEP_BYTES (64 * 1024)  /* a buffer larger than this is not kept in the pool */
#define WORN_BYTES (128 * 1024) /* a parser that has seen this much in one loan is freed: its tables only grow */
#define PRIMED_BYTES (64 * 1024) /* and one that has seen this much in several is reset */
#define SLICE      (16 * 1024)

static _Thread_local struct xml_loan *pool;
static _Thread_local unsigned pool_size;
static unsigned long salt;
static pthread_once_t salt_once = PTHREAD_ONCE_INIT;

static void salt_make(void)
{
    do salt = (unsigned long)hash_random_u64();
    while (salt == 0); /* 0 tells expat to ask the kernel for a salt at every reset */
}

static void prepare(struct xml_loan *l)
{
    XML_SetHashSalt(l->expat, salt);
    XML_SetReturnNSTriplet(l->expat, 1);
#ifdef HAVE_XML_REPARSE_DEFERRAL
    XML_SetReparseDeferralEnabled(l->expat, XML_FALSE);
#endif
}

static void loan_free(struct xml_loan *l)
{
    struct buf *buffers[] = {&l->captured, &l->strings, &l->declarations, &l->rewritten,   &l->attrs,
                             &l->children, &l->scopes,  &l->out_attrs,    &l->out_children, &l->primed};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) buf_free(buffers[i]);
    XML_ParserFree(l->expat);
    free(l);
}

static struct xml_loan *pool_remove(struct xml_loan **at)
{
    struct xml_loan *l = *at;
    *at = l->next;
    l->next = NULL;
    pool_size--;
    return l;
}

static void pool_add(struct xml_loan *l)
{
    l->next = pool;
    pool = l;
    pool_size++;
}

/* As new: nothing fed, no handlers. False: it is good for nothing any more. */
static bool reset(struct xml_loan *l)
{
    if (!XML_ParserReset(l->expat, "UTF-8")) return false;
    prepare(l);
    buf_reset(&l->primed);
    l->synthetic = 0;
    return true;
}

struct xml_loan *xml_loan_take(void)
{
    pthread_once(&salt_once, salt_make);
    struct xml_loan **at = &pool;
    while (*at != NULL && (*at)->primed.len > 0) at = &(*at)->next;
    if (*at != NULL) return pool_remove(at);
    if (pool_size == POOL_SIZE) { /* all stand behind some header */
        struct xml_loan *l = pool_remove(&pool);
        if (reset(l)) return l;
        loan_free(l);
    }
    struct xml_loan *l = x_calloc(1, sizeof(*l));
    l->expat = XML_ParserCreateNS("UTF-8", XML_NAME_SEPARATOR);
    if (l->expat == NULL) abort(); /* out of memory, as everywhere in base */
    prepare(l);
    return l;
}

struct xml_loan *xml_loan_take_primed(struct str header)
{
    for (struct xml_loan **at = &pool; *at != NULL; at = &(*at)->next)
        if ((*at)->primed.len == header.n && memcmp((*at)->primed.data, header.p, header.n) == 0) return pool_remove(at);
    return NULL;
}

void xml_loan_prime(struct xml_loan *l, struct str header)
{
    buf_reset(&l->primed);
    buf_add_str(&l->primed, header);
}

static void buffer_trim(struct buf *b)
{
    if (b->cap > KEEP_BYTES) buf_free(b);
    buf_reset(b);
}

void xml_loan_forget(struct xml_loan *l)
{
    buffer_trim(&l->captured);
    buffer_trim(&l->strings);
    buffer_trim(&l->declarations);
    buffer_trim(&l->rewritten);
    buffer_trim(&l->attrs);
    buffer_trim(&l->children);
    buffer_trim(&l->scopes);
    buffer_trim(&l->out_attrs);
    buffer_trim(&l->out_children);
    l->header_ready = l->element_ready = l->rewrite = false;
    l->default_ns = (struct xml_span){0};
    l->inner_defaults = 0;
    l->declared = 0;
}

/* What is of one loan only. */
static void forget_all(struct xml_loan *l)
{
    xml_loan_forget(l);
    l->closed = false;
    l->status = XML_FED;
    l->why = NULL;
    l->depth = 0;
    l->fed = l->last_end = l->captured_at = 0;
    l->data = NULL;
    l->data_at = 0;
}

void xml_loan_give(struct xml_loan *l)
{
    if (l == NULL) return;
    if (pool_size >= POOL_SIZE || l->fed > WORN_BYTES || !reset(l)) {
        loan_free(l);
        return;
    }
    forget_all(l);
    pool_add(l);
}

void xml_loan_give_between(struct xml_loan *l)
{
    if (l->primed.len == 0 || pool_size >= POOL_SIZE || l->synthetic + l->fed > PRIMED_BYTES) {
        xml_loan_give(l);
        return;
    }
    l->synthetic += l->fed;
    forget_all(l);
    pool_add(l);
}

void xml_parsers_trim(void)
{
    while (pool != NULL) {
        struct xml_loan *l = pool;
        pool = l->next;
        loan_free(l);
    }
    pool_size = 0;
}

enum XML_Status xml_loan_parse(struct xml_loan *l, struct str bytes)
{
    for (size_t at = 0; at < bytes.n;) {
        size_t n = bytes.n - at < SLICE ? bytes.n - at : SLICE;
        enum XML_Status st = XML_Parse(l->expat, bytes.p + at, (int)n, 0);
        if (st != XML_STATUS_OK) return st;
        at += n;
        l->fed += n;
    }
    return XML_STATUS_OK;
}

struct xml_qname xml_qname_of(const char *expat_name)
{
    struct xml_qname q = {.ns = STR("")};
    const char *first = strchr(expat_name, XML_NAME_SEPARATOR);
    if (first == NULL) {
        q.local = str_of(expat_name);
        return q;
    }
    q.ns = (struct str){expat_name, (size_t)(first - expat_name)};
    const char *local = first + 1;
    const char *second = strchr(local, XML_NAME_SEPARATOR);
    q.local = (struct str){local, second != NULL ? (size_t)(second - local) : strlen(local)};
    if (second != NULL) q.prefix = str_of(second + 1);
    return q;
}

struct xml_span xml_loan_keep(struct xml_loan *l, struct str s)
{
    if (s.p == NULL) return (struct xml_span){0};
    struct xml_span span = {.at = (uint32_t)l->strings.len, .n = (uint32_t)s.n, .present = true};
    buf_add(&l->strings, s.p, s.n);
    buf_addc(&l->strings, '\0');
    return span;
}

struct str xml_loan_str(const struct xml_loan *l, struct xml_span s)
{
    if (!s.present) return STR_NONE;
    assert((size_t)s.at + s.n < l->strings.len);
    return (struct str){l->strings.data + s.at, s.n};
}
