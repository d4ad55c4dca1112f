/* A stream, fed at once and in pieces whose sizes the first bytes choose. Must hold: the same elements and the same end; every element's inner bytes
 * are a tree by themselves, in the namespace they claim, with the children the index says; what the tree is written as is that tree again. */
#include <string.h>
#include "fuzz.h"
#include "xml/parser.h"
#include "xml/writer.h"

struct reader {
    struct buf log;
    unsigned stop_every, seen;
};

static void log_text(struct buf *b, struct str s)
{
    buf_addf(b, "%zu:", s.n);
    buf_add_str(b, s);
}

static void log_attributes(struct buf *b, const struct xml_attribute *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        log_text(b, a[i].ns);
        log_text(b, a[i].name);
        log_text(b, a[i].value);
        MUST_HOLD(xml_text_ok(a[i].value));
    }
}

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    struct reader *r = owner;
    BUF_ADD_LIT(&r->log, "H");
    log_text(&r->log, h->name);
    log_text(&r->log, h->ns);
    log_text(&r->log, h->default_ns);
    log_attributes(&r->log, h->attributes, h->n_attributes);
    return XML_GO_ON;
}

static void check_inner(const struct xml_element *e)
{
    struct arena *a = arena_new(0);
    char *ns = str_dup(e->content_ns);
    struct err err;
    struct xml_node *root = xml_tree_parse(a, e->inner, ns, &err);
    MUST_HOLD(root != NULL);
    struct xml_node *n = xml_node_child(root, NULL, NULL);
    for (unsigned i = 0; i < e->n_children; i++) {
        MUST_HOLD(n != NULL && str_eq(n->name, e->children[i].name) && str_eq(n->ns, e->children[i].ns));
        n = xml_node_next(n, NULL, NULL);
    }
    MUST_HOLD(n == NULL);
    struct buf once = {0}, twice = {0};
    xml_add_node(&once, root, "other");
    struct xml_node *again = xml_tree_parse(a, buf_str(&once), "other", &err);
    MUST_HOLD(again != NULL);
    xml_add_node(&twice, again, "other");
    MUST_HOLD(str_eq(buf_str(&once), buf_str(&twice)) || once.len == 0);
    buf_free(&once);
    buf_free(&twice);
    free(ns);
    arena_free(a);
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct reader *r = owner;
    BUF_ADD_LIT(&r->log, "E");
    log_text(&r->log, e->name);
    log_text(&r->log, e->ns);
    log_attributes(&r->log, e->attributes, e->n_attributes);
    log_text(&r->log, e->inner);
    for (unsigned i = 0; i < e->n_children; i++) buf_addf(&r->log, "C%u+%u", e->children[i].offset, e->children[i].length);
    check_inner(e);
    return r->stop_every != 0 && ++r->seen % r->stop_every == 0 ? XML_STOP : XML_GO_ON;
}

static enum xml_status feed(struct reader *r, const char *data, size_t n, unsigned step)
{
    static const struct xml_parser_ops ops = {on_header, on_element};
    static const struct xml_limits limits = {.stanza_bytes = 3000, .tag_bytes = 400, .depth = 10, .attributes = 8, .children = 20};
    struct xml_parser *p = xml_parser_new(&limits, &ops, r);
    enum xml_status status = XML_FED;
    for (size_t at = 0; at < n && (status == XML_FED || status == XML_STOPPED);) {
        size_t used, piece = step != 0 ? 1 + (at * 7 + step) % step : n;
        if (piece > n - at) piece = n - at;
        status = xml_parser_feed(p, data + at, piece, &used);
        MUST_HOLD(used <= piece && (status != XML_FED || used == piece));
        MUST_HOLD(status != XML_STOPPED || xml_parser_between(p));
        at += used;
    }
    xml_parser_free(p);
    return status == XML_STOPPED ? XML_FED : status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2) return 0;
    struct reader whole = {0}, bytes = {0}, pieces = {.stop_every = data[1] % 4};
    const char *text = (const char *)data + 2;
    enum xml_status status = feed(&whole, text, n - 2, 0);
    MUST_HOLD(feed(&bytes, text, n - 2, 1) == status);
    MUST_HOLD(feed(&pieces, text, n - 2, 1 + data[0]) == status);
    MUST_HOLD(str_eq(buf_str(&whole.log), buf_str(&bytes.log)));
    MUST_HOLD(str_eq(buf_str(&whole.log), buf_str(&pieces.log)));
    buf_free(&whole.log);
    buf_free(&bytes.log);
    buf_free(&pieces.log);
    xml_parsers_trim();
    return 0;
}
