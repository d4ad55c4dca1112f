/* Plans: the compliance configuration compiled into "event x packet type -> chain" (ARCHITECTURE.md, "The broker"). Immutable once made, reference-counted
 * (atomic), shared by all workers. A change of the configuration makes a new plan; holds keep the one they began with. Also the registry of link ids.
 *
 * Link ids are small numbers, one per component name, given at its first mention and kept until the process ends: a link that is taken out of the
 * configuration and put back has its old id, and an id in flight never means another link. */
#ifndef SIGNET_BROKER_PLAN_H
#define SIGNET_BROKER_PLAN_H
#include "broker/event.h"
#include "broker/profile.h"

#define LINK_ID_NONE UINT32_MAX
uint32_t link_id_for(const char *component); /* thread-safe; the first is 0, the next 1, ... */
const char *link_component(uint32_t link); /* thread-safe; lives for ever; "" for an id never given */
uint32_t link_id_count(void); /* thread-safe; ids given so far */

struct plan_server { /* a candidate of a step */
    struct str name;
    uint64_t hash; /* of its name */
    const struct plan_link { /* one per node it is assigned to */
        uint32_t id;
        uint64_t hash; /* of its component name */
    } *links;
    unsigned n_links;
};
struct plan_step { /* one profile that lists the event */
    struct str profile;
    uint32_t rank; /* the profile's in routing priority, from 0: the same in all chains of the plan, so that stanzas of other kinds keep their order too */
    bool bounce, fire_and_forget, shadow;
    const struct plan_server *servers;
    unsigned n_servers; /* at least one */
};
struct plan_chain { /* in routing priority */
    const struct plan_step *steps;
    unsigned n_steps;
};
struct plan;
/* One reference, the caller's. The configuration must have passed compliance_config_check(); it is copied from, not kept.
 * node: only this node's assignments count, their links being the ones it has; NULL: all nodes' assignments do. */
struct plan *plan_compile(const struct compliance_config *c, const char *node);
struct plan *plan_ref(const struct plan *p); /* thread-safe; returns p */
void plan_unref(struct plan *p); /* thread-safe; NULL is a no-op */
int64_t plan_version(const struct plan *p); /* the configuration's */
uint32_t plan_era(const struct plan *p); /* grows from each plan compiled in this process to the next */
bool plan_same_order(const struct plan *old, const struct plan *now); /* each server now has was there, and asked at the same rank */
/* The chain of an event whose subject has this packet type (one PACKET_* bit; of no matter for TC events). n_steps 0: nobody is asked.
 * p may be NULL: nobody is asked about anything. Lives as long as the plan. */
struct plan_chain plan_chain_of(const struct plan *p, enum event_id event, unsigned packet);
/* The server whose turn it is for this key, by rendezvous hashing over the usable servers of the step, then the link within it, by the same.
 * LINK_ID_NONE: none is usable. A server is usable when one of its links is. */
uint32_t plan_choose(const struct plan_step *step, struct str key, bool (*usable)(void *arg, uint32_t link), void *arg);

/* Frees what a request holds: its event and its `owner`, which is the plan the profile's name lives in. Any thread. Zeroes it. */
void event_request_clear(struct event_request *r);

#endif
