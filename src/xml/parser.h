/* Streaming XML for XMPP: a stream header, then one callback per complete child of the root ("stanza" or nonza). The only user of expat.
 * DTDs, comments, processing instructions and entity references other than the five predefined ones are refused (RFC 6120, 11.1).
 * Between children no expat parser is held (it goes back to a per-thread pool). */
#ifndef SIGNET_XML_PARSER_H
#define SIGNET_XML_PARSER_H
#include "base/arena.h"
#include "base/err.h"

struct xml_attribute {
    struct str name; /* local name */
    struct str ns; /* STR_NONE: none */
    struct str prefix; /* as written; STR_NONE: none */
    struct str value; /* decoded */
};
struct xml_child { /* a child element of a stanza: where its bytes are and what it is */
    struct str name, ns; /* ns is resolved, never absent */
    uint32_t offset, length; /* within the stanza's inner bytes */
};
/* A complete child of the root. Everything is borrowed until the callback returns. */
struct xml_element {
    struct str name, ns;
    const struct xml_attribute *attributes;
    unsigned n_attributes;
    /* Inner bytes: as received, or re-serialised where they would mean something else outside this stream. They mean the same inside any element that
     * declares default namespace `content_ns` and no prefix but xml. Text of the element itself is kept too. */
    struct str inner;
    const struct xml_child *children;
    unsigned n_children;
    struct str content_ns; /* the default namespace in force for the inner bytes */
};
struct xml_header { /* the root's start tag */
    struct str name, ns, default_ns; /* "stream", "http://etherx.jabber.org/streams", "jabber:client" */
    const struct xml_attribute *attributes;
    unsigned n_attributes;
};
enum xml_status {
    XML_FED, /* all bytes used, more wanted */
    XML_STOPPED, /* a callback asked to stop; *used tells how far; feed the rest later */
    XML_CLOSED, /* the root's end tag came */
    XML_NOT_WELL_FORMED, /* stream errors of RFC 6120, 4.9.3: not-well-formed */
    XML_STRAY_TEXT, /* bad-format: text between stanzas */
    XML_RESTRICTED, /* restricted-xml */
    XML_TOO_BIG, /* policy-violation: stanza, tag, depth or attribute limit */
    XML_BAD_ENCODING, /* unsupported-encoding / bad UTF-8: not-well-formed */
    XML_BAD_NAMESPACE, /* bad-namespace-prefix */
};
enum xml_next { XML_GO_ON, XML_STOP };
struct xml_parser_ops {
    enum xml_next (*on_header)(void *owner, const struct xml_header *header);
    enum xml_next (*on_element)(void *owner, const struct xml_element *element);
};
struct xml_limits {
    size_t stanza_bytes; /* one child of the root, start tag included */
    size_t tag_bytes; /* one tag: 16 KiB */
    unsigned depth; /* 64 */
    unsigned attributes; /* per element: 64 */
    unsigned children; /* per stanza: 256 */
};
extern const struct xml_limits xml_limits_default; /* 256 KiB, 16 KiB, 64, 64, 256 */
struct xml_parser;
struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_parser_ops *ops, void *owner);
void xml_parser_free(struct xml_parser *p);
void xml_parser_set_owner(struct xml_parser *p, const struct xml_parser_ops *ops, void *owner);
void xml_parser_set_stanza_limit(struct xml_parser *p, size_t bytes);
/* Feeds bytes; after an error the parser only takes xml_parser_restart or free. White space between stanzas is used and ignored. */
enum xml_status xml_parser_feed(struct xml_parser *p, const char *data, size_t n, size_t *used);
const char *xml_parser_problem(const struct xml_parser *p); /* text for a person, after an error status */
void xml_parser_restart(struct xml_parser *p); /* a new stream header is expected (after SASL, STARTTLS) */
bool xml_parser_between(const struct xml_parser *p); /* at a stanza boundary: nothing half-read, may move to another worker */
void xml_parsers_trim(void); /* frees this thread's pool (thread end, tests) */

/* A tree, for features that look inside: parsed on demand from inner bytes into an arena. */
struct xml_node {
    struct str name; /* absent for text nodes */
    struct str ns;
    struct str text; /* text nodes only, decoded */
    const struct xml_attribute *attributes;
    unsigned n_attributes;
    struct xml_node *parent, *first, *last, *next;
};
/* Parses a sequence of elements and text whose default namespace is default_ns; returns a nameless root holding them, or NULL. */
must_check struct xml_node *xml_tree_parse(struct arena *a, struct str bytes, const char *default_ns, struct err *err);
/* Finds the elements of such a sequence without making a tree: *children is in the arena. */
must_check int xml_children_index(struct arena *a, struct str bytes, const char *default_ns, struct xml_child **children, unsigned *n_children, struct err *err);
struct xml_node *xml_node_child(const struct xml_node *n, const char *name, const char *ns); /* first match; NULL name or ns: any; elements only */
struct xml_node *xml_node_next(const struct xml_node *n, const char *name, const char *ns); /* next matching sibling */
struct str xml_node_attr(const struct xml_node *n, const char *name); /* without namespace; STR_NONE when absent */
struct str xml_node_text(struct arena *a, const struct xml_node *n); /* direct text joined; empty string when none */
struct str xml_element_attr(const struct xml_element *e, const char *name);

#endif
