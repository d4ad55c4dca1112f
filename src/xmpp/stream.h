/* What every XML stream has in common (RFC 6120, 4): headers, stream features, stream errors. Client streams use it; server and component
 * streams can. */
#ifndef SIGNET_XMPP_STREAM_H
#define SIGNET_XMPP_STREAM_H
#include "xml/parser.h"

#define NS_TLS "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_SESSION "urn:ietf:params:xml:ns:xmpp-session"
#define NS_SM "urn:xmpp:sm:3"
#define NS_STREAM_ERRORS "urn:ietf:params:xml:ns:xmpp-streams"
#define STREAM_END "</stream:stream>"

#define STREAM_ID_SIZE 33
void stream_id_make(char out[STREAM_ID_SIZE]); /* 128 random bits as hex digits */

struct stream_header { /* what we send; absent fields are left out */
    const char *content_ns; /* "jabber:client" */
    struct str from, to, id;
};
void stream_write_header(struct buf *b, const struct stream_header *h);
/* <stream:error> and </stream:stream>. condition: RFC 6120, 4.9.3; text may be NULL. Our own header must have been written before. */
void stream_write_error(struct buf *b, const char *condition, const char *text);

/* A received header's form: root name, namespaces, version (RFC 6120, 4.7, 4.8). NULL: fine; else the stream error condition, *text says why. */
const char *stream_header_problem(const struct xml_header *h, const char *content_ns, const char **text);
struct str stream_header_attr(const struct xml_header *h, const char *name); /* without namespace; STR_NONE when absent */
/* The stream error condition for a parser's error status; NULL: the status is no error. */
const char *stream_xml_condition(enum xml_status status);

/* Stream features are rows of a table, each written when it is offered to this stream now. */
struct stream_feature {
    bool (*offered)(const void *stream); /* NULL: always */
    void (*write)(struct buf *b, const void *stream);
};
void stream_write_features(struct buf *b, const struct stream_feature *rows, size_t n, const void *stream);

#endif
