/* One link: one open-port component, the connection of this node to one compliance server, and the events that wait for it. Pure state: time and input come
 * in, actions go out through link_ops. Knows neither sockets nor XML. All calls on the worker that owns the link; ops may not call back into the link, but
 * link_blocked(l, true) from within send(). */
#ifndef SIGNET_BROKER_LINK_H
#define SIGNET_BROKER_LINK_H
#include "base/list.h"
#include "base/map.h"
#include "broker/event.h"

enum link_state { LINK_GONE, LINK_CONNECTING, LINK_CONNECTED, LINK_ACTIVE, LINK_QUEUEING };
const char *link_state_name(enum link_state state); /* "GONE", ... */

struct link_limits {
    uint64_t outage_window_ms; /* an ungraceful cut: how long the events are kept */
    uint64_t ping_interval_ms, ping_timeout_ms;
    uint64_t connect_ms; /* dial to handshake */
    uint64_t answer_ms; /* the time an event has for its answer */
    uint32_t outstanding; /* sent and not answered */
    uint64_t queue_bytes; /* of all events held: sent and unanswered, and waiting */
};
struct link;
struct link_ops {
    void (*dial)(void *owner); /* start a connection (connect direction only); the outcome is told by link_connected / link_lost */
    /* Write this event now, under this number. request->hold 0: nobody waits. resent: it was written before, on an earlier connection. The value returned
     * comes back with the answer: when it was sent, in the owner's own units. */
    uint64_t (*send)(void *owner, uint64_t number, const struct event_request *request, bool resent);
    void (*ping)(void *owner, uint64_t number);
    void (*cut)(void *owner, const char *why); /* the connection is to be aborted; the link counts it as lost already: no link_lost() for it, please */
    void (*returned)(void *owner, struct event_request *take); /* given back, in order; never one of which nobody waits */
    void (*dropped)(void *owner, struct event_request *take); /* an event of which nobody waits can't be sent any more */
    /* The state, or whether events are kept for it, has changed. Called after what was to be returned was returned. why: "" or the reason. */
    void (*moved)(void *owner, enum link_state from, enum link_state to, const char *why);
};
struct link_stats {
    uint64_t events, answers, resent, returned, forgotten, late, unknown, full;
};

struct link *link_new(const char *name, bool dials, const struct link_limits *limits, uint64_t seed, const struct link_ops *ops, void *owner);
void link_free(struct link *l); /* must hold no events: link_stop() first */
void link_set_limits(struct link *l, const struct link_limits *limits);

/* ---- events ---- */
enum link_offer { LINK_TAKEN, LINK_FULL, LINK_REFUSED };
/* Offers an event. LINK_TAKEN: the request is the link's now, sent or queued. LINK_FULL: the bound on bytes was reached. LINK_REFUSED: the link is GONE
 * (keeps nothing). In both last cases the request stays the caller's. */
enum link_offer link_offer(struct link *l, const struct event_request *request, uint64_t now_ms);
/* An answer to `number` came. true: *request is the caller's now. false: nobody waits (counted as late, or unknown when no such number was ever given). */
bool link_answer(struct link *l, uint64_t number, struct event_request *request, uint64_t *stamp, uint64_t now_ms);
/* What such an answer was: ANSWER_FAULT_LATE, ANSWER_FAULT_DOUBLE, ANSWER_FAULT_EARLY or ANSWER_FAULT_UNKNOWN. For a number that link_answer() has just refused. */
enum answer_fault link_answer_fault(const struct link *l, uint64_t number);
/* Its raiser has given up (time-out): nothing is kept or sent for that hold any more; an answer will be late. No-op when it is not here. */
bool link_forget(struct link *l, uint32_t worker, uint64_t hold);
void link_blocked(struct link *l, bool blocked); /* the connection takes no more output for now, or takes it again */

/* ---- the connection ---- */
void link_start(struct link *l, uint64_t now_ms); /* dials (connect direction) or waits to be dialled */
void link_connected(struct link *l, uint64_t now_ms); /* TCP (and TLS) is up */
void link_active(struct link *l, uint64_t now_ms); /* the handshake is done */
void link_heard(struct link *l, uint64_t now_ms); /* bytes came from it */
void link_pong(struct link *l, uint64_t number, uint64_t now_ms);
/* The connection is over. graceful: the server ended its stream. why: for a person. */
void link_lost(struct link *l, bool graceful, const char *why, uint64_t now_ms);
/* Is it alive? Pings now; a silent one is cut after wait_ms (a second connection has asked for its name). */
void link_probe(struct link *l, uint64_t wait_ms, uint64_t now_ms);
bool link_probing(const struct link *l); /* the probe's outcome is still open */
/* The configuration changed: a new connection, with the events kept (dials: connect direction). A connection that there was must be ended by the caller. */
void link_restart(struct link *l, bool dials, uint64_t now_ms);
void link_pause(struct link *l, uint64_t pause_ms, uint64_t now_ms); /* not ACTIVE: the next dial is not before that */
void link_stop(struct link *l, const char *why); /* for good: returns all events, GONE, no reconnect. The caller ends the connection */

/* ---- time ---- */
uint64_t link_due(const struct link *l); /* when link_tick() wants to be called; UINT64_MAX: never */
void link_tick(struct link *l, uint64_t now_ms); /* early or late calls do no harm */

/* ---- to look at ---- */
enum link_state link_state(const struct link *l);
bool link_keeps(const struct link *l); /* does it take events: ACTIVE, or within its outage window */
const char *link_name(const struct link *l);
const char *link_last_error(const struct link *l); /* "" : none */
uint32_t link_outstanding(const struct link *l);
uint32_t link_waiting(const struct link *l);
uint64_t link_bytes(const struct link *l);
/* What those who send to it should know: how many events are in the server's way, how many may be before they have to wait, and the bytes held. What nobody
 * waits for does not count while the link is not ACTIVE: it has no deadline, and an outage is not to stop anybody for its sake. */
uint32_t link_backlog(const struct link *l);
uint32_t link_room_for(const struct link *l);
uint64_t link_backlog_bytes(const struct link *l);
uint64_t link_window_end(const struct link *l); /* 0: no window is open */
const struct link_stats *link_stats(const struct link *l);

#endif
