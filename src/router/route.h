/* The router: where does a stanza go? router_route() ends in "mine", "another worker" or "outside"; nothing above it knows which.
 * A domain is served by one service: the session manager's are those of server.domains, text conferencing has its own.
 * Owners: a worker owns users and rooms by a stable hash of the bare JID. */
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
    PARCEL_ENDED = 16, /* unavailable presence that the server has made: the session that it is from is no more */
    PARCEL_ROOM = 8, /* from a room to one session of an occupant: no e_DELIVER, that session or none */
};
struct parcel { /* a stanza on its way to its addressee; made by router_route(), the ops' to unref */
    struct msg msg;
    atomic_uint refs;
    struct stanza *stanza; /* a reference */
    struct ticket ticket; /* goes back with the last reference */
    unsigned flags;
    struct parcel *cause; /* a reference to what this was sent for, so that the ticket of that waits for this; NULL: nothing */
};
struct parcel *parcel_made(struct stanza *take); /* one that was never routed: it is where it belongs */
struct parcel *parcel_ref(struct parcel *p); /* thread-safe, as is the next */
void parcel_unref(struct parcel *p); /* NULL is a no-op */
struct router_ops {
    void (*arrive)(struct parcel *take); /* on the worker that owns parcel->stanza->to */
};
struct router_base_ops { /* of the session manager, which has the tickets */
    struct router_ops ops; /* for server.domains */
    void (*undeliverable)(struct parcel *take, const char *condition); /* outside and unreachable: on the routing worker */
    void (*finished)(struct ticket ticket); /* one copy is done; any worker */
};
must_check int router_start(const struct config *config, const struct router_base_ops *ops, struct err *err);
/* A further domain, served by another service. Before the workers' loops carry traffic. ERR_CONFLICT: it is served already. */
must_check int router_add_service(const char *domain, const struct router_ops *ops, struct err *err);
void router_stop(void);
/* Sends a stanza with a `to` on its way. Takes the reference. Order between two workers is kept. Worker threads only. */
void router_route(struct stanza *take, struct ticket ticket, unsigned flags);
void router_route_for(struct stanza *take, struct parcel *cause, unsigned flags); /* the same, sent because of that; cause may be NULL */
void router_finished(struct ticket ticket); /* one copy of an accepted stanza is done; a ticket without session is a no-op */
bool router_domain_served(struct str domain); /* by the session manager; any thread */
bool router_domain_of_rooms(struct str domain); /* by another service; any thread */
const char *router_default_domain(void);
const char *router_domain(unsigned i); /* all that are served, by whatever service; NULL: no more */
uint32_t router_owner(const struct jid *jid); /* the worker that owns a bare JID; any thread */
uint32_t router_owner_of(struct str bare);

/* One stanza for many sessions, each under its full JID: what a room sends to its occupants. One message per worker that owns some of them carries it, and
 * there each becomes a parcel of its own (PARCEL_ROOM), in the order of sending. */
struct fanout;
struct fanout *fanout_new(struct stanza *take, struct parcel *cause, unsigned flags); /* `to` of the stanza does not matter; cause may be NULL */
void fanout_add(struct fanout *f, const struct jid *to); /* a full JID; copied */
void fanout_send(struct fanout *take);

#endif
