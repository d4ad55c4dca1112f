/* Private to src/xml. Expat parsers are lent, not owned: one holds about 10 kB and never forgets a name it has seen, so a stream has one only while a
 * stanza of it is half-read. A loan also carries the scratch memory in which a stanza is collected. One pool per thread; a loan stays on its thread.
 * Nearly all streams declare the same namespaces, so their synthetic headers are the same bytes: a parser given back between two stanzas keeps standing
 * behind its header, and the next stream with that header goes on with it. Resetting and reading the header again would cost twice the stanza itself. */
#ifndef SIGNET_XML_LOAN_H
#define SIGNET_XML_LOAN_H
#include <expat.h>
#include "xml/parser.h"

#define XML_NAMESPACE      "http://www.w3.org/XML/1998/namespace"
#define XML_NAME_SEPARATOR '\001' /* cannot occur in XML, so never in a namespace */

struct xml_qname {                /* what expat's "namespace SEP local SEP prefix" says; borrowed from it */
    struct str local, ns, prefix; /* ns: empty when in none; prefix: absent when none */
};
struct xml_qname xml_qname_of(const char *expat_name);

struct xml_span { /* a string in loan.strings, which may move while it grows */
    uint32_t at, n;
    bool present;
};
struct xml_attr_rec {
    struct xml_span name, ns, prefix, value;
};
struct xml_child_rec {
    struct xml_span name, ns;
    size_t begin, end; /* loan positions */
    bool relies;       /* on a declaration outside itself that will not be there */
};
struct xml_scope_rec {  /* a declaration inside a child, in force */
    const char *prefix; /* expat's own, stable until its reset; NULL: the default namespace */
    unsigned depth;
};

/* Positions ("loan positions") count the stream's bytes fed since the loan began, the synthetic header not among them. */
struct xml_loan {
    XML_Parser expat;
    struct xml_loan *next; /* in the pool */
    struct buf primed;     /* the synthetic header expat has been fed and stands behind, between two stanzas; empty: it is reset */
    size_t synthetic;      /* bytes fed before the loan began: the synthetic header, and stanzas of former loans */
    size_t fed;
    size_t last_end;  /* where the last complete token ended */
    const char *data; /* the bytes of the present feed call ... */
    int64_t data_at;  /* ... and the loan position of the first; negative when the loan began further on */

    struct xml_limits limits;
    unsigned depth;          /* open elements, the root included */
    unsigned declared;       /* namespace declarations of the tag being read */
    unsigned inner_defaults; /* default namespace declarations among the scopes */
    bool header_ready, element_ready, closed;
    enum xml_status status; /* set by handlers; XML_FED: fine */
    const char *why;
    size_t stanza_at, inner_at, inner_end; /* start tag; first and last byte between the tags */
    bool rewrite;                          /* some child relies on something outside */
    struct xml_span name, ns, default_ns;
    struct xml_span raw_name; /* of the root */

    struct buf captured; /* bytes of a half-read stanza from former feed calls */
    size_t captured_at;
    struct buf strings, declarations, rewritten;
    struct buf attrs, children, scopes; /* arrays of the records above */
    struct buf out_attrs, out_children; /* arrays of xml_attribute, xml_child for the callback */
};
struct xml_loan *xml_loan_take(void);   /* reset, no handlers, nothing fed */
void xml_loan_give(struct xml_loan *l); /* NULL is a no-op */
/* For a stream's stanzas. One that stands behind this very header already, handlers and all, or NULL: then take, feed and prime another. */
struct xml_loan *xml_loan_take_primed(struct str header);
void xml_loan_prime(struct xml_loan *l, struct str header); /* the header has been fed, the handlers are set */
void xml_loan_give_between(struct xml_loan *l);             /* expat has used all bytes up to a stanza's end: stays primed unless worn */

/* Feeds bytes in slices small enough for expat's own buffer to stay small. For whole documents only. */
enum XML_Status xml_loan_parse(struct xml_loan *l, struct str bytes);

struct xml_span xml_loan_keep(struct xml_loan *l, struct str s);
struct str xml_loan_str(const struct xml_loan *l, struct xml_span s);
void xml_loan_forget(struct xml_loan *l); /* what was collected for a stanza; the memory stays */
static inline unsigned xml_loan_count(const struct buf *array, size_t size)
{
    return (unsigned)(array->len / size);
}

/* element.c: the handlers that collect a stream's elements, and what they collected in the shape callbacks get. */
void xml_collect_start(struct xml_loan *l);                                          /* sets the handlers */
bool xml_collect_within(struct xml_loan *l, size_t token_at, size_t end, bool text); /* limits; false: the status is set */
void xml_collect_header(struct xml_loan *l, struct xml_header *out);
/* inner: the bytes between the tags. header: the synthetic root start tag, name_len the length of the name in it.
 * ERR_LIMIT: too big once re-serialised. */
must_check int xml_collect_element(struct xml_loan *l, struct str inner, struct str header, size_t name_len, struct xml_element *out,
                                   struct err *err);

/* tree.c: the nodes below skip_depth of before + bytes + after. */
must_check struct xml_node *xml_tree_parse_within(struct arena *a, struct str before, struct str bytes, struct str after, unsigned skip_depth,
                                                  struct err *err);
/* writer.c: xml_add_node until the buffer holds more than max bytes; false then, with what was written so far left in it. */
must_check bool xml_add_node_within(struct buf *b, const struct xml_node *n, const char *default_ns, size_t max);

#endif
