/* What the files of libsignet share. One thread, the loop, owns sockets, parsers and link states; other threads touch only what the mutex guards: the
 * map of links, and each link's mail and counts of outstanding events. The server is reference-counted, because events not yet answered may outlive
 * signet_free(). */
#ifndef SIGNET_SDK_CORE_H
#define SIGNET_SDK_CORE_H
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <openssl/ssl.h>
#include "signet/compliance.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "xml/parser.h"

#define NS_BROKER     "urn:signet:event-broker:0"
#define NS_CONNECT    "jabber:component:connect"
#define NS_ACCEPT     "jabber:component:accept"
#define NS_CLIENT     "jabber:client"
#define NS_STREAM     "http://etherx.jabber.org/streams"
#define NS_STREAMS    "urn:ietf:params:xml:ns:xmpp-streams"
#define NS_STANZAS    "urn:ietf:params:xml:ns:xmpp-stanzas"
#define NS_FORWARD    "urn:xmpp:forward:0"
#define NS_PING       "urn:xmpp:ping"
#define N_LIMITS      (SIGNET_LIMIT_RECONNECT_MAX_MS + 1)
#define CLOSE_WAIT_MS 2000 /* how long a closed stream waits for the other side's end */

struct component {
    struct list node;
    char *name;
    char *password;
};
struct handler {
    signet_event_fn *fn;
    void *arg;
};
struct listener {
    struct list node;
    char *address;
    int fd;
    unsigned port;
    SSL_CTX *tls; /* NULL: none */
};
/* A node we dial. It outlives its links: at most one at a time, or a pause until due_ms, or a look-up of its name. */
struct dialer {
    struct list node;
    uint64_t id;
    char *host, *port;
    struct component *component;
    SSL_CTX *tls;
    char *tls_host;
    uint64_t due_ms, pause_ms;
    bool resolving;
    struct link *link;
};

enum link_state {
    LINK_CONNECTING, /* dialled, TCP not yet up */
    LINK_TLS,
    LINK_OPENING,   /* waiting for the stream header */
    LINK_HANDSHAKE, /* waiting for <handshake> (listening) or its acknowledgement (dialling) */
    LINK_ACTIVE,
    LINK_CLOSING, /* our </stream:stream> is written or about to be; waiting for theirs */
};
struct link {
    struct list node;
    uint64_t id;
    struct signet_server *server;
    struct dialer *dialer;       /* NULL: the node dialled us */
    struct component *component; /* NULL: not known yet */
    enum link_state state;
    char peer[80];
    char *broker; /* the node's broker address, from its last stanza */
    char stream_id[33];
    int fd;
    SSL *ssl;
    bool ssl_wants_write; /* TLS handshake or renegotiation */
    uint32_t watching;    /* epoll mask in force */
    struct xml_parser *parser;
    struct buf out;
    bool reading_paused;
    bool was_active, close_sent, peer_closed, doomed;
    char why[200];                   /* when doomed or closing */
    uint64_t deadline_ms;            /* 0: none */
    uint64_t heard_ms, ping_sent_ms; /* ping_sent_ms: 0 when nothing was pinged since something was heard */
    uint64_t pings;
    /* guarded by the server's mutex */
    struct buf mail; /* answers given by other threads */
    uint64_t outstanding;
    size_t outstanding_bytes;
};

/* A finished name look-up, on its way from its thread to the loop. */
struct resolved {
    struct list node;
    uint64_t dialer;
    bool found;
    struct sockaddr_storage address;
    socklen_t length;
    char problem[160];
};

struct signet_server {
    atomic_uint refs;
    struct err err;
    uint64_t limits[N_LIMITS];
    struct list components, listeners, dialers, links;
    struct map handlers; /* event name -> struct handler */
    struct handler other;
    signet_link_fn *on_link;
    void *on_link_arg;
    signet_log_fn *on_log;
    void *on_log_arg;
    pthread_t thread;
    bool started, stopped;
    int epoll_fd, wake_fd;
    uint64_t next_id;
    unsigned n_links;
    bool stopping; /* loop's own: no new links, no new events */
    uint64_t stop_deadline_ms;
    pthread_mutex_t mutex;
    /* guarded by the mutex */
    struct imap by_id; /* links that take answers */
    struct list resolved;
    bool woken, stop_asked;
    unsigned stop_grace_ms;
};

struct event {
    struct signet_event pub;
    struct signet_server *server; /* a reference */
    uint64_t link;
    struct arena *arena; /* this struct is in it too */
    struct xml_node *stanza;
    const char *iq_id, *broker;
    size_t bytes; /* as counted in the link's outstanding_bytes */
};

/* server.c */
struct signet_server *server_ref(struct signet_server *s);
void server_unref(struct signet_server *s);
void server_log(struct signet_server *s, enum signet_log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void server_wake(struct signet_server *s); /* any thread, mutex held */
/* Splits "HOST:PORT", "[v6]:PORT", ":PORT"; *host is NULL for the last form. The caller frees both. */
must_check int address_split(const char *address, char **host, char **port, struct err *err);

/* loop.c */
void *loop_main(void *server);
bool loop_is_here(const struct signet_server *s); /* is the caller this server's own thread? */
uint64_t loop_pass(struct signet_server *s);      /* mail, output and timers; returns milliseconds to the next timer, UINT64_MAX: none */

/* transport.c: listening, dialling, TLS */
must_check int transport_listen(struct signet_server *s, struct listener *l, struct err *err);
must_check int transport_tls_server(SSL_CTX **out, const struct signet_tls *tls, struct err *err);
must_check int transport_tls_client(SSL_CTX **out, const struct signet_tls *tls, struct err *err);
void transport_accept(struct signet_server *s, struct listener *l);
void transport_resolve(struct signet_server *s, struct dialer *d); /* starts a look-up; ends in s->resolved */
void transport_dial(struct signet_server *s, struct dialer *d, const struct resolved *r);
void transport_redial(struct signet_server *s, struct dialer *d); /* plans the next attempt */
void transport_ssl_problem(char *out, size_t n);                  /* the OpenSSL error queue as text */

/* link.c: one link's bytes */
struct link *link_new(struct signet_server *s, int fd, SSL *ssl, const struct sockaddr *peer, socklen_t length, struct dialer *dialer);
void link_ready(struct link *l, uint32_t epoll_events);
void link_flush(struct link *l);                                                             /* writes what it can; sets what epoll watches */
void link_resume(struct link *l);                                                            /* reads again after a pause, when limits allow */
void link_doom(struct link *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* to be freed at the end of this turn */
void link_close(struct link *l, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* </stream:stream>, then waits for theirs */
void link_free(struct link *l, bool redial);
void link_timers(struct link *l, uint64_t now, uint64_t *next);

/* stream.c: what the bytes mean */
extern const struct xml_parser_ops stream_ops;
void stream_open(struct link *l); /* dialled and TCP (TLS) up: our header */
void stream_ping(struct link *l);
void stream_error(struct link *l, const char *condition, const char *text);

/* event.c */
/* Makes an event of an <iq/> or <message/>; NULL and *problem when it is not one. */
struct event *event_new(struct link *l, const struct xml_element *e, bool fire_and_forget, const char **problem);
void event_free(struct event *e);
void event_dispatch(struct event *e); /* takes it */

/* answer.c */
void answer_add_iq(struct buf *b, const char *type, const char *id, const char *from, const char *to); /* <iq ...> */
void answer_add_error(struct buf *b, const char *condition, const char *text);                         /* <error>...</error> */

#endif
