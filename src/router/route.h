/* The router: where does a stanza go? router_route() ends in "mine", "another worker" or "outside"; nothing above it knows which.
 * Owners: a worker owns users (and rooms) by a stable hash of the bare JID. */
#ifndef SIGNET_ROUTER_ROUTE_H
#define SIGNET_ROUTER_ROUTE_H
#include "base/config.h"
#include "io/worker.h"
#include "xmpp/stanza.h"

/* A stanza accepted from a session: given back when its last copy is done (written, stored, refused, handled). Plain data, copied freely. */
struct ticket {
    uint32_t worker; /* of the session */
    uint64_t session; /* its id; 0: nobody waits */
    uint64_t number;
};
enum parcel_flags {
    PARCEL_NO_EVENTS = 1, /* a reply caused by a verdict: raises no event (EVENTS.md, refusal rule 1) */
    PARCEL_COPY = 2, /* a copy (broadcast, push): refusal drops it without an error (rule 2) */
    PARCEL_COUNTED = 4, /* its sender counted it as on its way to another worker (jsm/brake.c) */
};
struct parcel { /* a stanza on its way to its addressee; allocated by router_route(), freed by the ops */
    struct msg msg;
    struct stanza *stanza; /* a reference */
    struct ticket ticket;
    unsigned flags;
};
struct router_ops {
    void (*arrive)(struct parcel *take); /* on the worker that owns parcel->stanza->to; for served domains only */
    void (*undeliverable)(struct parcel *take, const char *condition); /* outside and unreachable: on the routing worker */
};
must_check int router_start(const struct config *config, const struct router_ops *ops, struct err *err);
void router_stop(void);
/* Sends a stanza with a `to` on its way. Takes the reference. Order between two workers is kept. Worker threads only. */
void router_route(struct stanza *take, struct ticket ticket, unsigned flags);
bool router_domain_served(struct str domain); /* any thread */
const char *router_default_domain(void);
uint32_t router_owner(const struct jid *jid); /* the worker that owns a bare JID; any thread */
uint32_t router_owner_of(struct str bare);

#endif
