/* A stanza: parsed header + the raw bytes of its children + an index of them (RFC 6120, 8). Immutable once made, reference-counted, shared between workers.
 * Rewriting the header makes a new stanza over the same bytes. The inner bytes' default namespace is always jabber:client. */
#ifndef SIGNET_XMPP_STANZA_H
#define SIGNET_XMPP_STANZA_H
#include "xml/parser.h"
#include "xmpp/jid.h"

#define NS_CLIENT "jabber:client"
#define NS_STANZAS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define NS_STREAMS "http://etherx.jabber.org/streams"

enum stanza_kind { STANZA_MESSAGE, STANZA_PRESENCE, STANZA_IQ };
enum stanza_type {
    /* message */ MESSAGE_NORMAL, MESSAGE_CHAT, MESSAGE_GROUPCHAT, MESSAGE_HEADLINE, MESSAGE_ERROR,
    /* presence */ PRESENCE_AVAILABLE, PRESENCE_UNAVAILABLE, PRESENCE_PROBE, PRESENCE_SUBSCRIBE, PRESENCE_SUBSCRIBED, PRESENCE_UNSUBSCRIBE,
    PRESENCE_UNSUBSCRIBED, PRESENCE_ERROR,
    /* iq */ IQ_GET, IQ_SET, IQ_RESULT, IQ_ERROR,
};
struct stanza {
    /* Header: const for everyone but the maker. */
    enum stanza_kind kind;
    enum stanza_type type;
    struct str id, lang; /* absent when not there */
    struct jid from, to;
    const struct xml_attribute *others; /* further root attributes */
    unsigned n_others;
    uint64_t sid; /* the stanza id: minted when it entered the service; see stanza_id_text */
    uint64_t origin; /* the session it came from, or whose stanza led to it; 0: none of this process */
    /* Children. */
    struct str inner;
    const struct xml_child *children;
    unsigned n_children;
    /* private: refcount, arena, the stanza whose bytes are shared */
    struct stanza_private *priv;
};
struct stanza_change { /* which header fields to replace; a NULL pointer keeps the old one */
    const struct jid *from, *to; /* a zeroed jid removes it */
    const struct str *id;
    const enum stanza_type *type;
    const uint64_t *sid, *origin;
    const struct str *inner; /* other children bytes (jabber:client context), indexed anew */
};

/* From a parsed element of a stream whose content namespace is ns (jabber:client, jabber:server, jabber:component:*). NULL + err: not a stanza, bad type,
 * malformed JID; *condition is then the stanza error condition ("bad-request", "jid-malformed"). What can't be kept raw is re-serialised. */
must_check struct stanza *stanza_from_element(const struct xml_element *e, const char **condition, struct err *err);
/* From a tree node (an answer's inner stanza). */
must_check struct stanza *stanza_from_node(const struct xml_node *n, const char **condition, struct err *err);
/* From text such as "<message xmlns='jabber:client' ...>": offline storage, tests. */
must_check struct stanza *stanza_from_text(struct str text, struct err *err);
/* Made by the server. inner: serialised children in jabber:client context, well-formed by contract (copied). from/to/id may be NULL. Has a stanza id of its own. */
struct stanza *stanza_make(enum stanza_kind kind, enum stanza_type type, const struct jid *from, const struct jid *to, struct str id, struct str inner);
/* xml:lang of a stanza that has none. Only for whoever made it, before anyone else has it. */
void stanza_set_lang(struct stanza *s, struct str lang);
struct stanza *stanza_with(const struct stanza *s, const struct stanza_change *change); /* new header, same bytes */
/* The same header; the children but those of which drop[i] is set (drop NULL: all of them), and then one more, well-formed by contract, unless its
 * bytes are absent. Nothing is parsed. */
struct stanza *stanza_with_child(const struct stanza *s, const bool *drop, const char *name, const char *ns, struct str bytes);
/* The reply to an iq get/set: result (inner may be empty), addresses swapped, the same stanza id (as stanza_error()). */
struct stanza *stanza_result(const struct stanza *iq, struct str inner);
/* An error reply (RFC 6120, 8.3): addresses swapped, condition e.g. "not-allowed" with its standard error type (type NULL) or another; text may be NULL.
 * NULL when s is itself of type error or an iq result: nothing may be answered to it. Children of s are not echoed. */
struct stanza *stanza_error(const struct stanza *s, const char *condition, const char *type, const char *text);
/* The same, with an application's own condition beside the general one (RFC 6120, 8.3.4). */
struct stanza *stanza_error_with(const struct stanza *s, const char *condition, const char *type, const char *text, const char *own, const char *own_ns);
/* The condition of an error stanza ("undefined-condition" when none), its type and text, in the arena. */
const char *stanza_error_condition(const struct stanza *s);
const char *stanza_condition_type(const char *condition); /* "cancel", "auth", ... ; NULL: not a defined condition (RFC 6120, 8.3.3) */

struct stanza *stanza_ref(const struct stanza *s); /* thread-safe; returns s */
void stanza_unref(struct stanza *s); /* thread-safe; NULL is a no-op */
void stanza_write(struct buf *b, const struct stanza *s, const char *xmlns); /* xmlns NULL: the stream's default namespace is jabber:client, say nothing */
size_t stanza_size(const struct stanza *s); /* serialised bytes, about */
const struct xml_child *stanza_child(const struct stanza *s, const char *name, const char *ns); /* NULL name: any; NULL ns: any */
struct str stanza_child_bytes(const struct stanza *s, const struct xml_child *c);
/* A tree of one child (or of all: c NULL, a nameless root), in the arena. */
must_check struct xml_node *stanza_tree(const struct stanza *s, const struct xml_child *c, struct arena *a, struct err *err);
const char *stanza_kind_name(enum stanza_kind kind); /* "message" */
const char *stanza_type_name(enum stanza_type type); /* "chat"; NULL for available presence; "normal" */
static inline bool stanza_is_request(const struct stanza *s) { return s->type == IQ_GET || s->type == IQ_SET; }
static inline bool stanza_is_error(const struct stanza *s) { return s->type == MESSAGE_ERROR || s->type == PRESENCE_ERROR || s->type == IQ_ERROR; }

/* Stanza ids: boot number and counter, "6a1b-0000012c"; unique over restarts. Thread-safe. */
void stanza_ids_start(uint32_t boot);
uint64_t stanza_id_next(void);
#define STANZA_ID_SIZE 28
const char *stanza_id_text(uint64_t sid, char out[STANZA_ID_SIZE]);
int stanza_id_parse(const char *text, uint64_t *sid); /* -1: no stanza id */

#endif
