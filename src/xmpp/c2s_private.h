/* Inside of client streams, shared by c2s.c (objects and the calls from above), c2s_listen.c (listeners), c2s_negotiate.c (bytes in, headers,
 * features, STARTTLS, bind, stanzas) and c2s_auth.c (SASL, the hand-over). */
#ifndef SIGNET_XMPP_C2S_PRIVATE_H
#define SIGNET_XMPP_C2S_PRIVATE_H
#include "base/map.h"
#include "io/conn.h"
#include "io/worker.h"
#include "xmpp/c2s.h"
#include "xmpp/sasl.h"
#include "xmpp/stream.h"

enum c2s_state {
    C2S_HEADER,    /* a stream header is expected: at first, after TLS, after SASL */
    C2S_PLAIN,     /* features are out, without TLS: only <starttls/> is taken */
    C2S_HANDSHAKE, /* TLS handshake */
    C2S_AUTH,      /* mechanisms are offered */
    C2S_SASL,      /* a challenge is out */
    C2S_SASL_WAIT, /* parked: the account is being fetched, or the pool works */
    C2S_MOVING,    /* verified; on the way to the owner's worker */
    C2S_AUTH_WAIT, /* parked on the owner's worker, until c2s_auth_result() */
    C2S_READY,     /* logged in, bind is offered */
    C2S_BINDING,   /* parked until c2s_bound() or c2s_bind_refused() */
    C2S_BOUND,     /* stanzas */
    C2S_CLOSING,   /* nothing is read or written any more; on_closed is due or has been called */
    C2S_STATES
};

struct c2s {
    uint64_t id; /* the worker that accepted it in the top 16 bits, its count below: unique over workers */
    struct conn *conn; /* NULL: gone */
    struct xml_parser *parser;
    struct arena *arena; /* user, domain */
    unsigned state; /* enum c2s_state */
    unsigned paused; /* our own conn_pause()s */
    unsigned failures; /* SASL attempts that failed */
    bool direct_tls;
    bool header_sent; /* of the present stream: after a restart again false */
    bool feeding; /* inside xml_parser_feed */
    bool starttls; /* <starttls/> was read; TLS begins when the parser has returned */
    bool told; /* the upper layer knows of it and hears on_closed */
    bool over; /* on_closed has been called; only the connection's end is awaited */
    bool graceful;
    char *why;
    struct sasl *sasl; /* NULL: no exchange, or the pool has it */
    struct str domain; /* that the client asked for; absent before the first header */
    struct jid claimed; /* the header's 'from': repeated in ours, believed nowhere */
    struct jid user;
    void *session;
    const char *mechanism, *tls_version;
    struct wheel_timer timer; /* until bound: the time limit; while closing: the call of on_closed */
    uint64_t deadline_ms;
    char peer[64];
};

struct c2s_worker { /* of one worker, touched by no other */
    struct imap streams;
    uint64_t made;
    const char *closing; /* c2s_close_all()'s condition: streams that arrive later get it too */
};
extern struct c2s_shared { /* set by c2s_start, then only read */
    const struct config *config;
    const struct c2s_ops *ops;
    char *default_domain;
} c2s_shared;

/* c2s.c */
struct c2s_worker *c2s_worker(void);
void c2s_accept(struct conn *conn, bool direct_tls);
void c2s_move_to(struct c2s *c, enum c2s_state to);
void c2s_register(struct c2s *c); /* in this worker's map, with its time limit */
void c2s_unregister(struct c2s *c);
void c2s_free(struct c2s *c);
/* The end: no more input or output but what was written already. on_closed follows from the loop. */
void c2s_end(struct c2s *c, bool graceful, const char *why);
void c2s_write(struct c2s *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
must_check int c2s_start_tls(struct c2s *c, struct err *err);
void c2s_peer_address(const struct c2s *c, char *out, size_t n); /* without the port, for the log */

extern const struct conn_ops c2s_conn_ops;

/* c2s_negotiate.c */
extern const struct xml_parser_ops c2s_parser_ops;
void c2s_write_header(struct c2s *c);
size_t c2s_feed(void *owner, const char *data, size_t n);

/* c2s_auth.c */
void c2s_sasl_context(const struct c2s *c, struct sasl_context *out);
void c2s_on_auth(struct c2s *c, const struct xml_element *e);
void c2s_on_response(struct c2s *c, const struct xml_element *e);
void c2s_on_abort(struct c2s *c, const struct xml_element *e);
void c2s_hand_over(struct c2s *c); /* in C2S_MOVING, outside of the parser */

#endif
