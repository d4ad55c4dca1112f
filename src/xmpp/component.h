/* Component streams (XEP-0114): the connection between a node and a compliance server, in both directions.
 *
 * Connect (namespace jabber:component:connect): the node dials, names the component in `from` and supplies the handshake.
 * Accept (namespace jabber:component:accept): the compliance server dials, names the component in `to` and supplies the handshake.
 * Handshake: lower-case hex SHA-1 of stream id and password, the password's bytes as configured.
 *
 * Knows nothing of events: elements of an open stream go up through component_ops, and what the owner appends to component_out() goes out.
 * All calls on the worker that has the stream; callbacks come from the loop and never before the call that started the stream returns. */
#ifndef SIGNET_XMPP_COMPONENT_H
#define SIGNET_XMPP_COMPONENT_H
#include "io/conn.h"
#include "xml/parser.h"

#define NS_COMPONENT_ACCEPT "jabber:component:accept"
#define NS_COMPONENT_CONNECT "jabber:component:connect"

struct component; /* freed after on_end returns */
struct component_end {
    bool graceful; /* both sides ended their streams with </stream:stream> */
    const char *condition; /* the stream error that ended it, theirs or ours ("host-unknown"); NULL: none */
    bool theirs; /* the condition came from the peer */
    const char *text; /* for a person; never NULL */
};
struct component_ops {
    void (*on_connected)(void *owner); /* TCP (and TLS, when asked for) is up; may be NULL */
    /* Accept direction: the password of the component the peer claims to be, borrowed for the call; NULL: refused with *condition, which is host-unknown at first. */
    const char *(*password_of)(void *owner, struct str name, const char **condition);
    /* Accept direction: the handshake is right. Reading is paused; the owner now calls component_move(), component_admit() or component_refuse(),
     * at once or later. */
    void (*on_verified)(void *owner);
    void (*on_open)(void *owner); /* the handshake is done: elements may go both ways */
    void (*on_element)(void *owner, const struct xml_element *element); /* of an open stream; may close or abort */
    void (*on_heard)(void *owner); /* bytes came: a sign of life; may be NULL */
    void (*on_drain)(void *owner); /* component_over() is no longer true; may be NULL */
    void (*on_closing)(void *owner); /* the peer ended its stream gracefully; ours is being ended; on_end follows. May be NULL */
    void (*on_end)(void *owner, const struct component_end *end); /* last callback */
};
struct component_target { /* strings are borrowed for the call */
    const char *name, *host, *password;
    uint16_t port;
    struct tls_context *tls; /* NULL: plain TCP; else direct TLS with the name checked */
    const char *tls_name; /* asked for (SNI) and looked for in the certificate; NULL: host */
};
struct component_limits {
    size_t element_bytes; /* one element of the peer; a larger one is a stream error policy-violation */
    size_t out_high_bytes, out_max_bytes; /* see conn_set_limits */
    uint64_t open_ms; /* connected, but no handshake by then: cut */
    uint64_t close_ms; /* our </stream:stream> unanswered by then: cut */
};

struct component *component_dial(const struct component_target *target, const struct component_limits *limits, const struct component_ops *ops, void *owner);
struct component *component_accept(struct conn *take, const struct component_limits *limits, const struct component_ops *ops, void *owner);
void component_set_limits(struct component *c, const struct component_limits *limits); /* open_ms counts for what comes after */
struct conn *component_conn(const struct component *c); /* to look at its TLS */
void component_set_owner(struct component *c, const struct component_ops *ops, void *owner);

const char *component_stream_name(const struct component *c); /* accept direction: "" before the peer said it */
const char *component_peer(const struct component *c);
void component_admit(struct component *c); /* a verified stream: sends <handshake/>; on_open comes before return */
/* A verified stream to another worker (or this one): fn runs there with it, or with NULL when it died; no callback of the old owner comes any more. */
typedef void (*component_moved_fn)(void *arg, struct component *c);
void component_move(struct component *c, uint32_t worker, component_moved_fn fn, void *arg);

struct buf *component_out(struct component *c); /* append elements, then call component_wrote(); contents are dropped when the stream isn't open */
void component_wrote(struct component *c);
bool component_over(const struct component *c); /* more output pending than the high-water mark */
void component_close(struct component *c); /* </stream:stream>, then waits for the peer's; elements still come; on_end follows */
void component_refuse(struct component *c, const char *condition, const char *text); /* stream error, then the connection is closed */
void component_abort(struct component *c, const char *why); /* cut at once; on_end comes from the loop */

#define COMPONENT_HANDSHAKE_SIZE 41
/* Lower-case hex SHA-1 of stream id and password, NUL-terminated. */
void component_handshake(struct str stream_id, const char *password, char out[COMPONENT_HANDSHAKE_SIZE]);

#endif
