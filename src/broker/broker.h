/* The Event Broker as jsm and tc see it: raise an event, get a verdict. Everything on a worker but where said. */
#ifndef SIGNET_BROKER_BROKER_H
#define SIGNET_BROKER_BROKER_H
#include "base/config.h"
#include "broker/event.h"
#include "broker/lane.h"
#include "broker/profile.h"
#include "io/tls.h"

must_check int broker_start(const struct config *config, const char *node, uint32_t boot, struct err *err); /* once, before the workers' loops carry traffic */
void broker_worker_start(void); /* on each worker */
/* A configuration comes into force on all workers without restart, in two steps, so that between them it can be stored: what is stored can be in force.
 * Prepared, it is compiled and its files are read; NULL: it can't be in force. Any thread; copies. setup_unref() drops it. */
struct setup;
struct setup *broker_config_prepare(const struct compliance_config *c, struct err *err);
/* In force: holds in flight keep the plan they began with. Not from a worker: returns when all workers go by it, or with ERR_TIMEOUT when one is stuck, which
 * takes it as soon as it turns. One call at a time. On a worker: returns at once. */
must_check int broker_config_enforce(struct setup *take, struct err *err);
must_check int broker_set_config(const struct compliance_config *c, struct err *err); /* both */
must_check int broker_check_server(const struct compliance_server *s, struct err *err); /* can its TLS files be used, does this node listen for it? Any thread */
void broker_set_tls(struct tls_context *tls); /* what is shown on component.listen_tls, from the next connection on. Any thread */
must_check int broker_listen(struct err *err); /* on each worker: component.listen and listen_tls, for direction accept */
unsigned broker_port(bool tls); /* of the first component listener of that kind; 0: none */
/* Shutdown: closes links gracefully (after the sessions' es_END were raised and events under way answered, at most wait_ms). Any non-worker thread; blocks. */
void broker_stop(uint64_t wait_ms);

struct question {
    enum event_id event;
    const struct stanza *subject; /* borrowed */
    struct str session, room; /* context; the key is computed from subject, room and session user unless `key` is given */
    struct str key; /* a copy keeps its original's key; absent: computed */
    enum event_copy copy;
    const struct event_candidate *candidates;
    unsigned n_candidates;
    struct lane_entry *entry; /* the place in the order; NULL: none */
    void (*done)(void *arg, const struct verdict *verdict); /* NULL: nobody waits (es_END, e_STATS) */
    void *arg;
};
/* Raises an event. true: the verdict is known at once and in *now (no profile lists the event: PASS, nothing allocated), done() is not called;
 * now->stanza is then the subject itself. false: done() is called later, exactly once, never before return. */
bool broker_raise(const struct question *q, struct verdict *now);
bool broker_planned(enum event_id event, const struct stanza *subject); /* would a raise ask anybody? */
bool broker_lists(enum event_id event, unsigned packet); /* the same, of any subject of this packet type (one PACKET_ bit) */

/* For the admin API: blocks, non-worker threads only. */
struct link_status {
    const char *component, *server, *profile, *state, *last_error, *direction;
    uint64_t since_wall_ms, events, answers, timeouts, invalid, outstanding, queued, queued_bytes;
    uint64_t faults[ANSWER_FAULTS]; /* what it said wrong, by kind */
    uint64_t outstanding_max, queued_bytes_max, answer_bytes_max;
};
void broker_links(void (*fn)(void *arg, const struct link_status *link), void *arg);
uint64_t broker_holds(void); /* events waiting, all workers; any thread */

/* Tracing for `signetctl events`: fn is called on workers for each event raised and each verdict; NULL stops. Any thread. */
struct event_trace {
    const struct event *event; /* NULL: none was made, nobody was asked */
    enum event_id id;
    const char *verdict; /* NULL: raised just now; else "pass", "pass-stanza", "handle", "error", "timeout", "discard", "invalid", or what a shadow
                          * row's would have been: "shadow: would refuse" ... */
    const char *component;
    uint64_t took_us;
};
void broker_trace(void (*fn)(const struct event_trace *trace));

#endif
