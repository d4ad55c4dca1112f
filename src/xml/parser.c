/* A stream of XML, fed as it comes. The parser of a stream is small: the root's start tag, rewritten as a synthetic header that a borrowed expat
 * parser (loan.h) is fed first, so that the next child of the root means what it would have meant with the whole stream before it. A loan is taken
 * when bytes of a stanza come, kept while the stanza is half-read, given back at a boundary, and renewed at the first boundary after RENEW_BYTES.
 *
 * Handlers (element.c) suspend expat at a header, a stanza's end and the root's end; the callbacks run from here, outside expat, and may stop,
 * restart or free the parser. A stanza that lies in one read is handed out where it lies; one that does not is captured as its pieces come.
 *
 * Chunking must not matter, so whatever happens past a limit is XML_TOO_BIG. Expat places an error at a byte, but finds it at the token's end, or up
 * to three bytes later (UTF-8 sequences): such an error counts as past a limit when those bytes are. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "xml/loan.h"
#include "xml/writer.h"

#define SLICE       (16 * 1024)
#define RENEW_BYTES (64 * 1024)
#define HEADER_MAX  (4 * 1024) /* of the synthetic header: it is parsed again with loans */
#define ERROR_REACH 4

const struct xml_limits xml_limits_default = {.stanza_bytes = 256 * 1024, .tag_bytes = 16 * 1024, .depth = 64, .attributes = 64, .children = 256};

enum phase { PHASE_HEADER, PHASE_OPEN, PHASE_CLOSED, PHASE_FAILED };

struct xml_parser {
    struct xml_limits limits;
    const struct xml_parser_ops *ops;
    void *owner;
    struct xml_loan *loan;
    char *header; /* synthetic: "<stream:stream xmlns='...' ...>"; NULL before the header */
    uint32_t header_len;
    uint32_t name_len; /* of "stream:stream" */
    char *problem;
    enum xml_status failed;
    enum phase phase;
    bool feeding, restart_wanted, free_wanted; /* asked for in a callback, done after it */
};

struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_parser_ops *ops, void *owner)
{
    struct xml_parser *p = x_calloc(1, sizeof(*p));
    p->limits = limits != NULL ? *limits : xml_limits_default;
    xml_parser_set_owner(p, ops, owner);
    return p;
}

void xml_parser_set_owner(struct xml_parser *p, const struct xml_parser_ops *ops, void *owner)
{
    p->ops = ops;
    p->owner = owner;
}

void xml_parser_set_stanza_limit(struct xml_parser *p, size_t bytes)
{
    p->limits.stanza_bytes = bytes;
    if (p->loan != NULL) p->loan->limits.stanza_bytes = bytes;
}

const char *xml_parser_problem(const struct xml_parser *p)
{
    return p->problem != NULL ? p->problem : "";
}

bool xml_parser_between(const struct xml_parser *p)
{
    return p->loan == NULL;
}

static void loan_end(struct xml_parser *p)
{
    xml_loan_give(p->loan);
    p->loan = NULL;
}

static void clear(struct xml_parser *p)
{
    loan_end(p);
    free(p->header);
    free(p->problem);
    p->header = p->problem = NULL;
}

void xml_parser_free(struct xml_parser *p)
{
    if (p == NULL) return;
    if (p->feeding) {
        p->free_wanted = true;
        return;
    }
    clear(p);
    free(p);
}

void xml_parser_restart(struct xml_parser *p)
{
    if (p->feeding) {
        p->restart_wanted = true;
        return;
    }
    clear(p);
    p->phase = PHASE_HEADER;
    p->failed = XML_FED;
    p->restart_wanted = false;
}

static __attribute__((format(printf, 3, 4))) void fail(struct xml_parser *p, enum xml_status status, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    loan_end(p);
    free(p->problem);
    p->problem = x_strdup(text);
    p->failed = status;
    p->phase = PHASE_FAILED;
}

static void loan_begin(struct xml_parser *p)
{
    struct str header = {p->header, p->header_len};
    struct xml_loan *l = p->loan = p->phase == PHASE_OPEN ? xml_loan_take_primed(header) : NULL;
    if (l == NULL) {
        l = p->loan = xml_loan_take();
        if (p->phase == PHASE_OPEN) { /* before the handlers are set: it was reported once */
            (void)xml_loan_parse(l, header);
            l->synthetic = header.n;
            l->fed = 0;
            xml_loan_prime(l, header);
        }
        xml_collect_start(l);
    }
    l->limits = p->limits;
    if (p->phase == PHASE_OPEN) l->depth = 1;
}

/* The bytes [from, to) of the loan, in one piece: where they were fed, or captured. */
static struct str bytes_at(struct xml_loan *l, size_t from, size_t to)
{
    int64_t at = (int64_t)from - l->data_at;
    if (at >= 0) return (struct str){l->data + at, to - from};
    size_t have = l->captured_at + l->captured.len;
    if (have < to) buf_add(&l->captured, l->data + ((int64_t)have - l->data_at), to - have);
    return (struct str){l->captured.data + (from - l->captured_at), to - from};
}

/* The feed call is over and a stanza is half-read: its bytes are kept. */
static void capture(struct xml_loan *l)
{
    size_t from = l->depth > 1 ? l->stanza_at : l->last_end;
    if (l->captured.len == 0) l->captured_at = (int64_t)from > l->data_at ? from : (size_t)(l->data_at > 0 ? l->data_at : 0);
    size_t have = l->captured_at + l->captured.len;
    if (have < l->fed) buf_add(&l->captured, l->data + ((int64_t)have - l->data_at), l->fed - have);
}

static const char *const names_of_status[] = {
    [XML_NOT_WELL_FORMED] = "the XML is not well-formed",
    [XML_STRAY_TEXT] = "there is text where only elements may be",
    [XML_RESTRICTED] = "the XML has what XMPP does not allow",
    [XML_BAD_NAMESPACE] = "a namespace prefix is not declared, or wrongly declared",
    [XML_BAD_ENCODING] = "the text is not UTF-8, or has a letter where XML has none",
};

static size_t skip_space(const char *data, size_t n, size_t off)
{
    while (off < n && (data[off] == ' ' || data[off] == '\n' || data[off] == '\r' || data[off] == '\t')) off++;
    return off;
}

static enum xml_status status_of_expat(struct xml_loan *l, enum XML_Error code, size_t at)
{
    switch (code) {
    case XML_ERROR_UNBOUND_PREFIX:
    case XML_ERROR_UNDECLARING_PREFIX:
    case XML_ERROR_RESERVED_PREFIX_XML:
    case XML_ERROR_RESERVED_PREFIX_XMLNS:
    case XML_ERROR_RESERVED_NAMESPACE_URI:
        return XML_BAD_NAMESPACE;
    case XML_ERROR_UNDEFINED_ENTITY:
    case XML_ERROR_RECURSIVE_ENTITY_REF:
    case XML_ERROR_ASYNC_ENTITY:
    case XML_ERROR_BINARY_ENTITY_REF:
    case XML_ERROR_AMPLIFICATION_LIMIT_BREACH:
        return XML_RESTRICTED;
    case XML_ERROR_UNKNOWN_ENCODING:
    case XML_ERROR_INCORRECT_ENCODING:
        return XML_BAD_ENCODING;
    default:
        break;
    }
    size_t from = l->last_end;
    struct str rest = bytes_at(l, from, l->fed);
    /* "<!" that begins neither a comment nor a CDATA section is a declaration in the wrong place: say what it is. */
    if (rest.n > 2 && memcmp(rest.p, "<!", 2) == 0 && rest.p[2] != '-' && rest.p[2] != '[') return XML_RESTRICTED;
    /* Judged by the first byte alone: the rest of the character may not have come. */
    if (code == XML_ERROR_INVALID_TOKEN && at < l->fed && (unsigned char)rest.p[at - from] >= 0x80) return XML_BAD_ENCODING;
    /* "x]]>" between stanzas: read in one piece, the x is never reported as the text that it is. */
    size_t begin = skip_space(rest.p, rest.n, 0);
    if (l->depth == 1 && begin < rest.n && rest.p[begin] != '<') return XML_STRAY_TEXT;
    return XML_NOT_WELL_FORMED;
}

/* How far expat had to read to find an error at a byte: to the end of the token when that is complete as far as its letters go. */
static size_t error_end(struct xml_loan *l, enum XML_Error code, size_t at)
{
    struct str rest = bytes_at(l, l->last_end, l->fed);
    if (code == XML_ERROR_INVALID_TOKEN || rest.n < 2) return at + ERROR_REACH;
    bool instruction = rest.p[0] == '<' && rest.p[1] == '?';
    char quote = '\0';
    for (size_t i = instruction ? 3 : 1; i < rest.n; i++) {
        char c = rest.p[i];
        if (quote != '\0') {
            if (c == quote) quote = '\0';
        } else if (rest.p[0] == '<' && !instruction && (c == '\'' || c == '"')) {
            quote = c;
        } else if (c == (rest.p[0] == '<' ? '>' : ';') && (!instruction || rest.p[i - 1] == '?')) {
            return l->last_end + i + 1;
        }
    }
    return at + ERROR_REACH;
}

/* Expat stopped with an error, its own or one that a handler gave. */
static enum xml_status expat_failed(struct xml_parser *p)
{
    struct xml_loan *l = p->loan;
    enum xml_status status = l->status;
    if (status != XML_FED) {
        fail(p, status, "%s", l->why != NULL ? l->why : names_of_status[status]);
        return status;
    }
    enum XML_Error code = XML_GetErrorCode(l->expat);
    XML_Index index = XML_GetErrorByteIndex(l->expat) - (XML_Index)l->synthetic;
    size_t at = index < (XML_Index)l->last_end ? l->last_end : (size_t)index;
    if (l->depth > 0 && !xml_collect_within(l, l->last_end, error_end(l, code, at), false)) {
        status = l->status;
        fail(p, status, "%s", l->why);
        return status;
    }
    status = status_of_expat(l, code, at < l->fed ? at : l->fed);
    fail(p, status, "%s: %s", names_of_status[status], XML_ErrorString(code));
    return status;
}

/* Makes the synthetic header of what was collected of the root. */
static int header_keep(struct xml_parser *p)
{
    struct xml_loan *l = p->loan;
    struct str name = xml_loan_str(l, l->raw_name), declarations = buf_str(&l->declarations);
    size_t n = 1 + name.n + declarations.n + 1;
    if (n > HEADER_MAX) {
        fail(p, XML_TOO_BIG, "the stream header declares more namespaces than this service accepts");
        return -1;
    }
    struct buf b = {0};
    buf_addc(&b, '<');
    buf_add_str(&b, name);
    buf_add_str(&b, declarations);
    buf_addc(&b, '>');
    p->header = str_dup(buf_str(&b));
    p->header_len = (uint32_t)n;
    p->name_len = (uint32_t)name.n;
    buf_free(&b);
    return 0;
}

/* Hands out what made expat suspend. XML_FED: go on. */
static enum xml_status deliver(struct xml_parser *p)
{
    struct xml_loan *l = p->loan;
    enum xml_next next = XML_GO_ON;
    if (l->header_ready) {
        struct xml_header header;
        if (header_keep(p) < 0) return p->failed;
        xml_collect_header(l, &header);
        p->phase = PHASE_OPEN;
        next = p->ops->on_header(p->owner, &header);
    } else if (l->element_ready) {
        struct xml_element element;
        struct err err;
        struct str header = {p->header, p->header_len};
        if (xml_collect_element(l, bytes_at(l, l->inner_at, l->inner_end), header, p->name_len, &element, &err) < 0) {
            enum xml_status status = err.code == ERR_LIMIT ? XML_TOO_BIG : XML_NOT_WELL_FORMED;
            fail(p, status, "%.120s", err.text);
            return status;
        }
        next = p->ops->on_element(p->owner, &element);
    }
    xml_loan_forget(l);
    if (l->closed && !p->restart_wanted) p->phase = PHASE_CLOSED;
    if (next == XML_STOP) return XML_STOPPED;
    return p->phase == PHASE_CLOSED ? XML_CLOSED : XML_FED;
}

/* Feeds one slice. XML_FED: all of it was used, or the loan was dropped at a boundary; *off says where the next byte is. */
static enum xml_status feed_slice(struct xml_parser *p, const char *data, size_t n, size_t *off)
{
    struct xml_loan *l = p->loan;
    size_t len = n - *off < SLICE ? n - *off : SLICE;
    /* The header ends within its limit or not at all: expat never sees more than one byte past it. */
    size_t room = l->fed < l->limits.tag_bytes ? l->limits.tag_bytes - l->fed : 1;
    if (p->phase == PHASE_HEADER && len > room) len = room;
    l->fed += len;
    enum XML_Status st = XML_Parse(l->expat, data + *off, (int)len, 0);
    while (st == XML_STATUS_SUSPENDED) {
        enum xml_status status = deliver(p);
        if (p->phase == PHASE_FAILED) return status;
        bool renew = l->depth == 1 && l->last_end > RENEW_BYTES;
        if (status != XML_FED || p->restart_wanted || p->free_wanted || renew) {
            *off = (size_t)((int64_t)l->last_end - l->data_at);
            loan_end(p);
            return p->free_wanted ? XML_STOPPED : status;
        }
        st = XML_ResumeParser(l->expat);
    }
    if (st != XML_STATUS_OK || l->status != XML_FED) return expat_failed(p);
    *off += len;
    if (l->fed > l->last_end && !xml_collect_within(l, l->last_end, l->fed, false)) return expat_failed(p);
    if (l->depth > 1 && !xml_collect_within(l, l->fed, l->fed, true)) return expat_failed(p);
    if (l->depth == 1 && l->fed == l->last_end) {
        xml_loan_give_between(l);
        p->loan = NULL;
    }
    return XML_FED;
}

/* Expat takes UTF-16 for UTF-16 whatever it was told, by a byte order mark or a NUL among the first two bytes. XML begins with "<", perhaps after
 * UTF-8's mark, which expat checks. */
static enum xml_status first_bytes_check(const struct xml_parser *p, const char *data, size_t n)
{
    size_t at = p->loan->fed;
    unsigned char c = (unsigned char)data[0];
    if (at == 0 && (c == 0 || c >= 0xfe)) return XML_BAD_ENCODING;
    if (at == 0 && c != '<' && c != 0xef) return XML_NOT_WELL_FORMED;
    if ((at == 1 && c == 0) || (at == 0 && n > 1 && data[1] == '\0')) return XML_BAD_ENCODING;
    return XML_FED;
}

static enum xml_status feed_all(struct xml_parser *p, const char *data, size_t n, size_t *off)
{
    if (p->loan != NULL) {
        p->loan->data = data;
        p->loan->data_at = (int64_t)p->loan->fed;
    }
    while (*off < n) {
        if (p->loan == NULL) {
            *off = skip_space(data, n, *off);
            if (*off == n) break;
            loan_begin(p);
            p->loan->data = data;
            p->loan->data_at = -(int64_t)*off;
        }
        enum xml_status status = p->phase == PHASE_HEADER ? first_bytes_check(p, data + *off, n - *off) : XML_FED;
        if (status != XML_FED) {
            fail(p, status, "%s: this is no XML stream in UTF-8", names_of_status[status]);
            return status;
        }
        status = feed_slice(p, data, n, off);
        if (p->restart_wanted && !p->free_wanted && p->phase != PHASE_FAILED) {
            p->feeding = false;
            xml_parser_restart(p);
            p->feeding = true;
        }
        if (status != XML_FED) return status;
    }
    if (p->loan != NULL) capture(p->loan);
    return XML_FED;
}

enum xml_status xml_parser_feed(struct xml_parser *p, const char *data, size_t n, size_t *used)
{
    size_t off = 0;
    enum xml_status status;
    if (p->phase == PHASE_FAILED) {
        status = p->failed;
    } else if (p->phase == PHASE_CLOSED) {
        status = XML_CLOSED;
    } else {
        p->feeding = true;
        status = feed_all(p, data, n, &off);
        p->feeding = false;
    }
    if (used != NULL) *used = off;
    if (p->free_wanted) xml_parser_free(p);
    return status;
}

struct str xml_element_attr(const struct xml_element *e, const char *name)
{
    for (unsigned i = 0; i < e->n_attributes; i++)
        if (e->attributes[i].ns.p == NULL && str_is(e->attributes[i].name, name)) return e->attributes[i].value;
    return STR_NONE;
}
