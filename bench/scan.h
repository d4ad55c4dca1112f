/* Cuts the bytes of an XMPP stream into the root's children. No parser: it finds where an element ends and nothing else, so that reading costs the
 * load generator far less than writing costs the server. It trusts the server under test to be well-formed, but never reads past what came. */
#ifndef SIGNET_BENCH_SCAN_H
#define SIGNET_BENCH_SCAN_H
#include "base/buf.h"

enum scan_result {
    SCAN_MORE,    /* no whole element yet; *used bytes are done with */
    SCAN_HEADER,  /* the root's start tag */
    SCAN_ELEMENT, /* a child of the root */
    SCAN_END,     /* the root's end tag */
    SCAN_BROKEN,  /* no XML that XMPP allows */
};
/* Looks at the n bytes; *out and *used (bytes up to the end of *out) are set. in_stream: the root's start tag was seen. */
enum scan_result scan_next(const char *p, size_t n, bool in_stream, struct str *out, size_t *used);
/* The value of an attribute of the element's start tag, as written; STR_NONE: not there. */
struct str scan_attribute(struct str element, const char *name);
/* The text of the first element of that local name with nothing but text in it, as written; STR_NONE: none. Goes on at *at, which it moves. */
struct str scan_text(struct str element, const char *name, size_t *at);
bool scan_contains(struct str element, const char *text);
/* The element's own name, with its prefix. */
struct str scan_name(struct str element);

#endif
