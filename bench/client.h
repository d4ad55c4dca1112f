/* One XMPP client of the load: negotiates (RFC 6120) until it may send stanzas, then hands every element that comes to its scenario. */
#ifndef SIGNET_BENCH_CLIENT_H
#define SIGNET_BENCH_CLIENT_H
#include "login.h"
#include "net.h"
#include "options.h"

enum client_until {
    CLIENT_FEATURES, /* the features before login, over TLS if asked for: for in-band registration */
    CLIENT_PRESENT,  /* logged in, bound, the roster fetched, initial presence sent and seen to be taken */
};
enum client_state {
    CLIENT_CONNECTING,
    CLIENT_TLS,
    CLIENT_NEGOTIATING,
    CLIENT_AUTHENTICATING,
    CLIENT_BINDING,
    CLIENT_SETTLING, /* the roster and the initial presence are under way */
    CLIENT_READY,
    CLIENT_GONE,
};
struct client {
    unsigned index; /* of the account */
    enum client_state state;
    bool in_stream, secure, authenticated;
    enum client_until until;
    struct net_conn *net;
    struct login login;
    char *jid; /* full, once bound */
    void *owner;
    const struct client_ops *ops;
};
struct client_ops {
    void (*on_ready)(struct client *c);
    void (*on_element)(struct client *c, struct str element, uint64_t now_ns); /* when ready; now_ns: when its bytes were read */
    void (*on_gone)(struct client *c, const char *why); /* it never was, or no more is, ready; c->net is no more */
};
void client_setup(const struct options *o); /* once */
/* c: zeroed or gone. */
void client_start(struct client *c, unsigned index, enum client_until until, const struct client_ops *ops);
void client_close(struct client *c); /* no further callback */

#endif
