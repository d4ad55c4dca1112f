/* Inside of client streams, shared by c2s.c (objects and the calls from above), c2s_listen.c (listeners), c2s_negotiate.c (bytes in, headers,
 * features, STARTTLS, bind, stanzas), c2s_sm.c (stream management), c2s_auth.c (SASL, the hand-over) and c2s_limits.c (rates, limits before login, keepalive). */
#ifndef SIGNET_XMPP_C2S_PRIVATE_H
#define SIGNET_XMPP_C2S_PRIVATE_H
#include "base/map.h"
#include "base/metric.h"
#include "io/conn.h"
#include "io/worker.h"
#include "xmpp/c2s.h"
#include "xmpp/door.h"
#include "xmpp/sasl.h"
#include "xmpp/stream.h"

#define C2S_UNBOUND_STANZA 16384 /* bytes of one stanza until a resource is bound */

enum c2s_state {
    C2S_HEADER,    /* a stream header is expected: at first, after TLS, after SASL */
    C2S_PLAIN,     /* features are out, without TLS: only <starttls/> is taken */
    C2S_HANDSHAKE, /* TLS handshake */
    C2S_AUTH,      /* mechanisms are offered */
    C2S_SASL,      /* a challenge is out */
    C2S_SASL_WAIT, /* parked: the account is being fetched, or the pool works */
    C2S_DELAY,     /* parked: the login failed, and the answer waits */
    C2S_MOVING,    /* verified; on the way to the owner's worker */
    C2S_AUTH_WAIT, /* parked on the owner's worker, until c2s_auth_result() */
    C2S_READY,     /* logged in, bind is offered */
    C2S_BINDING,   /* parked until c2s_bound() or c2s_bind_refused() */
    C2S_BOUND,     /* stanzas */
    C2S_CLOSING,   /* nothing is read or written any more; on_closed is due or has been called */
    C2S_STATES
};

/* What a client may still send: a bucket of bytes and one of stanzas, in thousandths, filled as time goes by (c2s.rate_*). */
struct c2s_rate {
    int64_t bytes, stanzas;
    uint64_t filled_ms;
    uint64_t over_since_ms; /* the first stop of a row without a rest; 0: none */
    uint64_t resumed_ms;    /* the end of the last stop */
    struct wheel_timer timer; /* the end of this stop */
    bool stopped;
    bool exempt; /* a trusted address */
};

struct c2s {
    uint64_t id; /* the worker that accepted it in the top 16 bits, its count below: unique over workers */
    struct conn *conn; /* NULL: gone */
    uint64_t taken; /* of its output, once it is gone */
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
    bool lost; /* the connection went before the stream was closed */
    struct door_place waits; /* at this worker's door, until the credentials are verified */
    bool turned_away; /* from there */
    bool curt; /* at its end the connection is dropped, whatever has been written */
    bool counted; /* among its address's connections */
    bool plain_ok; /* may log in without TLS: c2s.plain_loopback */
    bool disabled; /* the account that is logging in, by its administrator */
    bool heard; /* something came since the timer last looked */
    char *why;
    char *identities; /* of a client certificate: addresses, each with a NUL, and one more NUL; NULL: none */
    char lang[36]; /* xml:lang of the client's stream header; "": none */
    struct c2s_rate rate;
    size_t unbound_bytes; /* sent before a resource was bound */
    const char *failure; /* in C2S_DELAY: the condition that will be told */
    struct wheel_timer delay;
    struct sasl *sasl; /* NULL: no exchange, or the pool has it */
    struct str domain; /* that the client asked for; absent before the first header */
    struct jid claimed; /* the header's 'from': repeated in ours, believed nowhere */
    struct jid user;
    void *session;
    const char *mechanism, *tls_version;
    struct wheel_timer timer; /* until bound: the time limit; then: keepalive; while closing: the call of on_closed */
    uint64_t deadline_ms;
    char peer[64];
};

struct c2s_worker { /* of one worker, touched by no other */
    struct imap streams;
    struct door door;
    unsigned turned_away; /* that are not gone yet */
    bool crowded; /* the alarm stands */
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
/* domain: whose certificate, unless the client names another by SNI; NULL: the default one. */
must_check int c2s_start_tls(struct c2s *c, const char *domain, struct err *err);

extern const struct conn_ops c2s_conn_ops;

/* c2s_negotiate.c */
extern const struct xml_parser_ops c2s_parser_ops;
void c2s_write_header(struct c2s *c);
size_t c2s_feed(void *owner, const char *data, size_t n);

/* c2s_sm.c */
bool c2s_sm_offered(const void *stream);
void c2s_sm_write_feature(struct buf *b, const void *stream);
void c2s_sm_farewell(struct c2s *c);
void c2s_on_enable(struct c2s *c, const struct xml_element *e);
void c2s_on_resume(struct c2s *c, const struct xml_element *e);
void c2s_on_ack_request(struct c2s *c, const struct xml_element *e);
void c2s_on_ack(struct c2s *c, const struct xml_element *e);

/* c2s_limits.c */
void c2s_limits_begin(struct c2s *c); /* after accept; may end the stream */
void c2s_limits_unverified(struct c2s *c); /* on this worker, with credentials still to come: takes a place at the door; may end this stream, or another */
void c2s_limits_verified(struct c2s *c); /* or gone: leaves the door */
void c2s_limits_register(struct c2s *c); /* on this worker's wheel from now on */
void c2s_limits_unregister(struct c2s *c);
void c2s_limits_free(struct c2s *c);
void c2s_cut(struct c2s *c, enum metric_id limit, const char *text); /* policy-violation, counted */
void c2s_took_bytes(struct c2s *c, size_t n); /* may stop the reading for a while, or end the stream */
void c2s_took_stanza(struct c2s *c);
void c2s_keepalive(struct c2s *c); /* the stream's timer, once it is bound */
void c2s_limits_start(void); /* on each worker: opens its door; the first one forgets old failures now and then */
void c2s_limits_stop(void);

/* c2s_auth.c */
void c2s_delay_over(struct c2s *c); /* in C2S_DELAY: tells the failure */
void c2s_sasl_context(const struct c2s *c, struct sasl_context *out);
void c2s_on_auth(struct c2s *c, const struct xml_element *e);
void c2s_on_response(struct c2s *c, const struct xml_element *e);
void c2s_on_abort(struct c2s *c, const struct xml_element *e);
void c2s_hand_over(struct c2s *c); /* in C2S_MOVING, outside of the parser */

#endif
