/* The session manager (JSM) as the daemon and the admin API see it. */
#ifndef SIGNET_JSM_JSM_H
#define SIGNET_JSM_JSM_H
#include "base/config.h"
#include "router/route.h"
#include "xmpp/c2s.h"

extern const struct c2s_ops jsm_c2s_ops; /* for c2s_start() */
extern const struct router_base_ops jsm_router_ops; /* for router_start() */
void jsm_worker_start(const struct config *config); /* on each worker, before traffic; config is borrowed for the life of the process */
void jsm_worker_stop(void); /* on each worker, when no session is left */

/* Shutdown, from a non-worker thread; blocks. Stops reading, waits up to wait_ms for stanzas under way, returns the rest to their senders as errors, ends all
 * sessions (es_END raised, streams closed with system-shutdown). before_end: called when no stanza is under way any more, and all sessions are still there. */
void jsm_drain(uint64_t wait_ms, void (*before_end)(void));

struct session_view { /* borrowed during the callback */
    struct str jid;
    const char *peer, *mechanism, *tls; /* NULL: none, as of one without a stream */
    bool detached; /* its stream was cut, it may be resumed */
    bool available;
    int priority;
    uint64_t since_wall_ms;
    unsigned under_way; /* stanzas accepted and not finished */
};
/* Calls fn for every session, one worker after the other, from a non-worker thread; blocks. */
void jsm_sessions(void (*fn)(void *arg, const struct session_view *session), void *arg);
struct stage_view {
    uint32_t worker;
    const char *stage, *what;
    uint64_t wall_ms, us;
};
/* The way of a stanza, of those that went through lately: fn per stage, worker by worker, in order of time within each. Non-worker threads; blocks. */
void jsm_trace(uint64_t stanza, void (*fn)(void *arg, const struct stage_view *view), void *arg);
/* Ends a user's sessions (all, or the one of that full JID) with a stream error; returns how many. Non-worker threads; blocks. */
unsigned jsm_kick(const struct jid *jid, const char *condition, const char *text);

#endif
