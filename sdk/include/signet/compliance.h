/* libsignet: write a compliance server for Signet.
 *
 * A node asks its compliance servers before anything goes further: each question is an *event* ("es_OUT: romeo is about to send this message"), and
 * what the server answers decides. This library speaks the open-port protocol (docs/, PROTOCOL): it keeps the links, parses the events, and carries
 * the answers back.
 *
 *     struct signet_server *s = signet_new();
 *     signet_on_event(s, NULL, on_event, NULL);                      // NULL: every event without a callback of its own
 *     signet_component(s, "op-wall.node1-example-com", password);    // the component name and password the node was given
 *     signet_listen(s, "0.0.0.0:7999", NULL);                        // the node dials us; or signet_dial(): we dial the node
 *     signet_run(s, 5000);                                           // until SIGTERM or SIGINT
 *
 * Threads: the library runs one thread of its own, and calls back on it, one call at a time; a callback that takes long keeps all links waiting, so
 * hand long work to your own threads. Answers may be given inside the callback or later, from any thread. Functions marked "before start" only then.
 *
 * Failing safe: an event that has no callback is answered with an error, so is an answer that would be wrong on the wire (a stanza that is not
 * well-formed or has changed addressing). An event whose link is gone before the answer came is sent again by the node, with the same event id.
 *
 * Strings are UTF-8 and NUL-terminated; what an event does not have is NULL. The library needs memory to go on: when malloc fails it ends the
 * process. */
#ifndef SIGNET_COMPLIANCE_H
#define SIGNET_COMPLIANCE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SIGNET_API __attribute__((visibility("default")))
#else
#define SIGNET_API
#endif

struct signet_server; /* one compliance server: its components, its links to nodes, its thread */
struct signet_node;   /* an element of a stanza, or a run of text in it */

/* ---- events ---- */

struct signet_candidate { /* e_PRISESSION: a session that could be made the primary one */
    const char *jid;
    int priority;
};

/* One event. Yours from the callback until you answer it; read it from one thread at a time. */
struct signet_event {
    const char *name;      /* "es_OUT", "onBeforeSend", ... */
    const char *id;        /* the same when the event is sent again: store it once */
    const char *stanza_id; /* the same on all events of one stanza */
    const char *node;      /* the node that asks, "node1.example.com" */
    const char *time;      /* when it was raised, XEP-0082: "2026-11-22T14:34:00.123Z" */
    uint64_t time_ms;      /* the same, milliseconds of Unix time */
    const char *profile;   /* the compliance profile on whose behalf we are asked */
    const char *key;       /* conversation key: "juliet@example.com romeo@example.com", or the room */
    const char *session;   /* the full JID whose session it is about, or NULL */
    const char *room;      /* the room's bare JID, or NULL */
    const char *copy;      /* "carbon", "muc", "offline": a copy of a message; NULL: the message itself */
    const char *component; /* the component name of the link it came over */
    bool fire_and_forget;  /* nobody waits for the answer; answer all the same (signet_done() or any other), which frees the event */
    const struct signet_candidate *candidates;
    unsigned n_candidates;
    /* The stanza. */
    const char *kind; /* "message", "presence" or "iq" */
    const char *type; /* "chat", "groupchat", "set", ... or NULL */
    const char *from;
    const char *to;
    const char *xmpp_id; /* the stanza's own id attribute, or NULL */
    const char *body;    /* text of a message's first <body/>, or NULL */
    const char *xml;     /* all of it, with its namespace; xml_length bytes */
    size_t xml_length;
};

/* Called once per event. The event is now yours: answer it exactly once, here or later. */
typedef void signet_event_fn(struct signet_event *event, void *arg);

/* ---- answers: any thread; each takes the event, which must not be used afterwards, whatever is returned ---- */

enum signet_result {
    SIGNET_OK = 0,       /* on its way */
    SIGNET_GONE = 1,     /* the link is gone, nothing was sent; the node will ask again, with the same event id */
    SIGNET_INVALID = -1, /* the answer would have been wrong: the node was given an error (internal-server-error) in its place */
};

SIGNET_API enum signet_result signet_pass(struct signet_event *take); /* go on */
/* Go on with this stanza instead: redaction, disclaimer. Kind, type, from, to and id must be unchanged. Without xmlns it is taken as jabber:client.
 */
SIGNET_API enum signet_result signet_pass_stanza(struct signet_event *take, const char *xml);
SIGNET_API enum signet_result signet_pass_session(struct signet_event *take, const char *full_jid); /* e_PRISESSION: this candidate alone receives */
SIGNET_API enum signet_result signet_handle(struct signet_event *take);                             /* stop: the node does nothing more with it */
SIGNET_API enum signet_result signet_handle_reply(struct signet_event *take, const char *xml);      /* the same, with the reply to an iq */
/* The node bounces the stanza or goes on, as the profile's Handling says. condition: a stanza error condition of RFC 6120, "policy-violation"; text:
 * for the sender, or NULL. */
SIGNET_API enum signet_result signet_refuse(struct signet_event *take, const char *condition, const char *text);
/* A fire and forget event is finished; another one is left unanswered and times out at the node. */
SIGNET_API void signet_done(struct signet_event *take);

/* ---- looking into a stanza, and changing it ---- */

SIGNET_API struct signet_node *signet_stanza(struct signet_event *event); /* its root element; lives as long as the event */
SIGNET_API const char *signet_node_name(const struct signet_node *node);  /* local name; NULL: a run of text */
SIGNET_API const char *signet_node_ns(const struct signet_node *node);    /* namespace of an element */
/* The value of an attribute without namespace, or NULL. */
SIGNET_API const char *signet_node_attr(struct signet_event *event, const struct signet_node *node, const char *name);
/* The n-th attribute of any namespace, n from 0; its value, or NULL past the end. */
SIGNET_API const char *signet_node_attr_at(struct signet_event *event, const struct signet_node *node, unsigned n, const char **name);
SIGNET_API const char *signet_node_text(struct signet_event *event, const struct signet_node *node); /* all text inside, at any depth; "" when none */
SIGNET_API struct signet_node *signet_node_first(const struct signet_node *node);                    /* first child, element or text */
SIGNET_API struct signet_node *signet_node_next(const struct signet_node *node);                     /* next sibling */
/* The first such child element; NULL: any name, any namespace. */
SIGNET_API struct signet_node *signet_node_child(const struct signet_node *node, const char *name, const char *ns);
/* Replaces all that is in the element. */
SIGNET_API void signet_node_set_text(struct signet_event *event, struct signet_node *node, const char *text);
SIGNET_API void signet_node_remove(struct signet_node *node);         /* not the root */
SIGNET_API const char *signet_stanza_xml(struct signet_event *event); /* as it is now, for signet_pass_stanza(); lives as long as the event */

/* ---- the server ---- */

SIGNET_API struct signet_server *signet_new(void);
SIGNET_API void signet_free(struct signet_server *s); /* stops at once when running; events not yet answered stay valid. NULL: no-op */
/* What was wrong, for a person, after one of the functions below returned -1. */
SIGNET_API const char *signet_error(const struct signet_server *s);

/* Before start. A callback for one event by name, or, with NULL, for all that have none of their own. An unknown name is an error. */
SIGNET_API int signet_on_event(struct signet_server *s, const char *name, signet_event_fn *fn, void *arg);

enum signet_link_state { SIGNET_LINK_CONNECTED, SIGNET_LINK_ACTIVE, SIGNET_LINK_GONE };
/* Before start. Told of every link: component is NULL while it is not known; peer is "address:port"; why is NULL but for GONE. Strings: during the
 * call only. */
typedef void signet_link_fn(enum signet_link_state state, const char *component, const char *peer, const char *why, void *arg);
SIGNET_API void signet_on_link(struct signet_server *s, signet_link_fn *fn, void *arg);

enum signet_log_level { SIGNET_LOG_ERROR, SIGNET_LOG_WARN, SIGNET_LOG_INFO, SIGNET_LOG_DEBUG };
typedef void signet_log_fn(enum signet_log_level level, const char *text, void *arg);
SIGNET_API void signet_on_log(struct signet_server *s, signet_log_fn *fn, void *arg);        /* before start; without it nothing is logged */
SIGNET_API void signet_log_stderr(enum signet_log_level level, const char *text, void *arg); /* a ready-made signet_log_fn: all but DEBUG */

/* Before start. A component name and its password; several for several nodes or profiles. */
SIGNET_API int signet_component(struct signet_server *s, const char *name, const char *password);

/* TLS of a listener: certificate_file (PEM, with its chain) and key_file. Of a dialled node: ca_file (PEM; NULL: the system's), and host, the name
 * its certificate must have (NULL: the one dialled). NULL for the whole: no TLS. */
struct signet_tls {
    const char *certificate_file;
    const char *key_file;
    const char *ca_file;
    const char *host;
};
/* Before start; address is "HOST:PORT", "[::1]:PORT" or ":PORT" (every address), port 0: any free one. Binds at once. Nodes dial us (their direction
 * `connect`) and are let in with the name and password of any component. */
SIGNET_API int signet_listen(struct signet_server *s, const char *address, const struct signet_tls *tls);
SIGNET_API unsigned signet_port(const struct signet_server *s, unsigned nth); /* of the nth listener, from 0; 0: no such */
/* Before start. We dial the node's component port (its direction `accept`) as this component, and again with growing pauses whenever the link is
 * lost. */
SIGNET_API int signet_dial(struct signet_server *s, const char *address, const char *component, const struct signet_tls *tls);

enum signet_limit {
    SIGNET_LIMIT_LINKS,            /* links at once, authenticated or not: 64 */
    SIGNET_LIMIT_EVENTS,           /* events of one link not yet answered; reading from it stops there: 4096 */
    SIGNET_LIMIT_EVENT_BYTES,      /* the same in bytes held for them: 64 MiB */
    SIGNET_LIMIT_OUTPUT_BYTES,     /* answers not yet taken by the node; reading from it stops there: 8 MiB */
    SIGNET_LIMIT_STANZA_BYTES,     /* one event, and one answer: 1 MiB */
    SIGNET_LIMIT_HANDSHAKE_MS,     /* from TCP (or dialling) to the finished handshake: 10 s */
    SIGNET_LIMIT_PING_INTERVAL_MS, /* a link silent for so long is pinged: 30 s */
    SIGNET_LIMIT_PING_TIMEOUT_MS,  /* and cut when it stays silent for so long after that: 10 s */
    SIGNET_LIMIT_RECONNECT_MIN_MS, /* first pause before dialling again: 0.5 s; doubles up to */
    SIGNET_LIMIT_RECONNECT_MAX_MS, /* this: 30 s */
};
SIGNET_API int signet_set_limit(struct signet_server *s, enum signet_limit limit, uint64_t value); /* before start */

SIGNET_API int signet_start(struct signet_server *s); /* starts the thread; once */
/* Stops and returns when it is done. grace_ms > 0: gracefully: no new event is taken up, those under way are answered (as long as grace_ms allows),
 * then the links are ended with </stream:stream>, so that the nodes re-route at once. grace_ms 0: at once; nodes take it for a crash. Not from a
 * callback. */
SIGNET_API int signet_stop(struct signet_server *s, unsigned grace_ms);
/* signet_start(), then waits for SIGTERM or SIGINT, then signet_stop(). Call it before other threads are started, that they leave these signals
 * alone. */
SIGNET_API int signet_run(struct signet_server *s, unsigned grace_ms);

#ifdef __cplusplus
}
#endif
#endif
