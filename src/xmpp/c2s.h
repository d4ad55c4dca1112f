/* Client streams (RFC 6120): negotiation, STARTTLS, direct TLS, SASL, the hand-over to the worker that owns the user, bind, then stanzas.
 * Knows nothing of sessions or compliance: calls up through c2s_ops. All calls on the worker that has the stream. */
#ifndef SIGNET_XMPP_C2S_H
#define SIGNET_XMPP_C2S_H
#include "base/config.h"
#include "io/tls.h"
#include "xmpp/scram.h"
#include "xmpp/stanza.h"

struct c2s; /* one client stream; freed after on_closed returns. Others keep its id, not its pointer, while they wait. */

struct c2s_account { /* what SASL needs to know of an account */
    bool exists; /* false: SASL goes through the motions and fails */
    bool disabled; /* who knows the password is told so, and nobody else */
    struct scram_keys keys[SCRAM_HASHES];
};
typedef void (*c2s_account_fn)(uint64_t c2s_id, const struct c2s_account *account, const struct err *err); /* err: temporary failure */

struct c2s_ops {
    bool (*domain_served)(struct str domain);
    /* Fetches an account; fn is called on the calling worker, never before return. */
    void (*account_get)(const struct jid *user, uint64_t c2s_id, c2s_account_fn fn);
    uint32_t (*owner)(const struct jid *user); /* the worker that owns this bare JID; any thread */
    /* SASL verified the credentials and the stream is on the owner's worker; <success/> is not sent yet: answer with c2s_auth_result(), not before
     * return. From here on the upper layer knows the stream and hears on_closed; of streams that never came so far it hears nothing. */
    void (*on_auth)(struct c2s *c);
    /* An in-band registration request (XEP-0077, an iq get or set) before login, when register.enabled; the reader is parked until
     * c2s_registration_done() or the stream's end. Answers are sent as to a bound stream. Of the stream's end the upper layer hears nothing: it keeps the
     * id. The op takes the stanza. */
    void (*on_register)(struct c2s *c, struct stanza *take);
    void (*write_features)(struct buf *b); /* of the layer above, once logged in; NULL: none */
    /* A bind request (an iq set), checked; the reader is parked until c2s_bound() or the stream's end. The op takes the stanza. */
    void (*on_bind)(struct c2s *c, struct stanza *take);
    /* A stanza of a bound stream; `from` is as received (absent mostly). May pause the reader. The op takes the stanza. */
    void (*on_stanza)(struct c2s *c, struct stanza *take);
    /* Input that was no valid stanza: an error stanza to be written to this client, or NULL when none may be. The op takes it. */
    void (*on_reject)(struct c2s *c, struct stanza *take_reply);
    void (*on_client_state)(struct c2s *c, bool active); /* XEP-0352, of a bound stream; NULL: not offered */
    void (*on_drain)(struct c2s *c); /* output fell below the mark again */
    /* Stream management (XEP-0198); NULL: not offered. Each is answered with c2s_sm_*(), which may be called before return. */
    void (*on_sm_enable)(struct c2s *c, bool resume, uint32_t max_s); /* on a bound stream; max_s: the time asked for, UINT32_MAX when none was */
    void (*on_sm_resume)(struct c2s *c, struct str previd, uint32_t h); /* in place of bind; the reader is parked until the answer */
    bool (*on_sm_request)(struct c2s *c); /* <r/>; false: not enabled */
    bool (*on_sm_ack)(struct c2s *c, uint32_t h); /* <a/>; false: not enabled */
    /* The stream is over (graceful: the client closed it). Last call. */
    void (*on_closed)(struct c2s *c, bool graceful, const char *why);
};
/* Once, before listening. config and ops are borrowed for the life of the process. */
must_check int c2s_start(const struct config *config, const struct c2s_ops *ops, struct tls_context *tls, struct err *err);
void c2s_stop(void); /* after the workers have stopped */
void c2s_set_tls(struct tls_context *tls); /* a reloaded certificate, for new connections; any thread; takes a reference */
must_check int c2s_listen(struct err *err); /* on each worker: opens config's c2s_listen and c2s_listen_tls */
void c2s_listen_stop(void); /* on each worker */
void c2s_close_all(const char *condition); /* on each worker: stream error (system-shutdown) to every stream */
unsigned c2s_port(bool direct_tls); /* of the first listener, for tests with port 0; 0: none */

struct c2s *c2s_get(uint64_t id); /* NULL: gone (this worker) */
uint64_t c2s_id(const struct c2s *c);
void *c2s_session(const struct c2s *c); /* the upper layer's own pointer */
void c2s_set_session(struct c2s *c, void *session);
const struct jid *c2s_user(const struct c2s *c); /* bare JID after SASL; full after c2s_bound */
const char *c2s_peer(const struct c2s *c);
const char *c2s_mechanism(const struct c2s *c);
bool c2s_secure(const struct c2s *c);
const char *c2s_tls_version(const struct c2s *c);

/* Ends the wait of on_auth: <success/>, or <failure> with a SASL condition ("not-authorized", "temporary-auth-failure"); ignored when gone. */
void c2s_auth_result(uint64_t id, const char *failure_condition);
/* The reader goes on; ignored when gone. With an account made, the stream has register.stream_timeout, and c2s.auth_bytes anew, for what comes next. */
void c2s_registration_done(uint64_t id, bool account_made);
struct str c2s_lang(const struct c2s *c); /* xml:lang of its stream header; absent: none. Stanzas without one of their own are given it */
struct str c2s_domain(const struct c2s *c); /* that the client asked for */
void c2s_peer_address(const struct c2s *c, char *out, size_t n); /* without the port, for the log */
void c2s_bound(struct c2s *c, const struct jid *full); /* the bind result itself is sent with c2s_send_stanza; the reader goes on */
void c2s_bind_refused(struct c2s *c); /* the error itself is sent with c2s_send_stanza; the client may try again */
/* Writes a stanza to the client. ONLY jsm/deliver may call this (checked by tests/lint). Returns where its last byte stands in the stream's output;
 * UINT64_MAX: it is not sent any more. */
uint64_t c2s_send_stanza(struct c2s *c, const struct stanza *s);
uint64_t c2s_taken(struct c2s *c); /* up to where the kernel has the output, after it was offered what waits; until on_closed returns */
void c2s_abort(struct c2s *c, const char *why); /* what waits for the client is not sent any more */
bool c2s_lost(const struct c2s *c); /* in on_closed: the connection was cut, neither side ended the stream */
/* ---- XEP-0198 ---- */
void c2s_sm_enabled(struct c2s *c, const char *token, uint32_t max_s); /* token NULL: acknowledgements, no resumption */
void c2s_sm_failed(struct c2s *c, const char *condition, const uint32_t *h); /* h NULL: not known */
void c2s_sm_resumed(struct c2s *c, const struct jid *full, const char *token, uint32_t h); /* from now on the stream is as after c2s_bound() */
void c2s_sm_ack(struct c2s *c, uint32_t h);
void c2s_sm_request(struct c2s *c);
void c2s_sm_too_high(struct c2s *c, uint32_t h, uint32_t sent); /* stream error: more acknowledged than was sent */
bool c2s_full(const struct c2s *c); /* so much output waits that on_drain will tell when it has gone */
size_t c2s_pending(const struct c2s *c); /* output bytes not yet taken by the kernel */
void c2s_pause(struct c2s *c); /* stop reading; counts */
void c2s_resume(struct c2s *c);
/* Stream error and close; condition NULL: just </stream:stream>. on_closed comes from the loop. */
void c2s_close(struct c2s *c, const char *condition, const char *text);

#endif
