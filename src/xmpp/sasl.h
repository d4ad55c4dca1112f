/* The server's side of SASL (RFC 6120, 6) on GNU gsasl, without I/O: SCRAM-SHA-256, SCRAM-SHA-1, their -PLUS variants, EXTERNAL
 * with the addresses of a client certificate (XEP-0178), and PLAIN, which needs TLS.
 * gsasl asks for secrets synchronously; so the user's name is read from the client's first message here, the account is fetched by the
 * caller in its own time, and only then gsasl sees the message. An unknown user goes the same way as a known one, with a salt that is the same every time. */
#ifndef SIGNET_XMPP_SASL_H
#define SIGNET_XMPP_SASL_H
#include "xmpp/jid.h"
#include "xmpp/scram.h"

/* Once, before the first exchange. secret_path: a file of random bytes that unknown users' salts are made from; made (mode 0600) where it does not
 * exist, and kept, so that a salt tells nothing even over restarts. */
must_check int sasl_start(const char *secret_path, struct err *err);
void sasl_stop(void); /* after the last exchange */

struct sasl_binding { /* channel binding of the stream's TLS connection */
    const char *type; /* "tls-exporter" (RFC 9266) or "tls-unique" (RFC 5929); NULL: none, and no -PLUS mechanisms */
    unsigned char data[64];
    size_t n;
};
struct sasl_context { /* of one stream; copied */
    struct str domain; /* prepared */
    bool tls; /* or something as good: then PLAIN is offered */
    struct sasl_binding binding;
    const char *identities; /* addresses in a verified client certificate, each with a NUL behind it, and one more NUL: EXTERNAL; NULL: none */
};
void sasl_write_mechanisms(struct buf *b, const struct sasl_context *context); /* <mechanism/> elements, best first */

enum sasl_next {
    SASL_CHALLENGE, /* send sasl_output(), then give the response to sasl_input() */
    SASL_ACCOUNT,   /* fetch sasl_user()'s account, then call sasl_account() */
    SASL_WORK,      /* call sasl_work() on a pool thread, then sasl_worked() */
    SASL_VERIFIED,  /* the credentials are right; sasl_output() goes with the success */
    SASL_FAILED,    /* sasl_condition(), sasl_reason() */
};
struct sasl;
/* NULL: a mechanism that is not offered in this context. */
struct sasl *sasl_new(struct str mechanism, const struct sasl_context *context);
void sasl_free(struct sasl *s); /* NULL is a no-op; cleanses */
/* text: the element's content in base64, as received. initial: of <auth/>, where empty means "no initial response" and "=" an empty one. */
enum sasl_next sasl_input(struct sasl *s, struct str text, bool initial);
/* exists false: unknown or disabled; keys may then be NULL. */
enum sasl_next sasl_account(struct sasl *s, bool exists, const struct scram_keys keys[SCRAM_HASHES]);
void sasl_work(struct sasl *s); /* on any thread, while nobody else uses s */
enum sasl_next sasl_worked(struct sasl *s);

struct str sasl_output(const struct sasl *s); /* base64; empty: nothing to say */
const struct jid *sasl_user(const struct sasl *s); /* once known, a bare JID; zeroed before */
const char *sasl_user_text(const struct sasl *s); /* for the log, harmless characters only; "" when no name came yet */
const char *sasl_mechanism(const struct sasl *s);
const char *sasl_condition(const struct sasl *s); /* RFC 6120, 6.5: "not-authorized", "malformed-request", ... */
const char *sasl_reason(const struct sasl *s); /* for the log, never for the client: "wrong password", "no such account", ... */

#endif
