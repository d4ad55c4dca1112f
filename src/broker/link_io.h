/* A link with its connection: binds the pure link to a component stream, the worker's clock and timing wheel, the log, alarms and metrics. On the worker
 * that owns the link. */
#ifndef SIGNET_BROKER_LINK_IO_H
#define SIGNET_BROKER_LINK_IO_H
#include "broker/broker.h"
#include "broker/link.h"
#include "io/intake.h"
#include "io/tls.h"
#include "xmpp/component.h"

struct link_spec { /* one assignment of this node; strings and tls are shared by the copies made of it */
    uint32_t id;
    const char *component, *server, *profile, *host, *password;
    uint16_t port;
    bool dials;
    bool wants_tls;
    struct tls_context *tls; /* dials: how it is dialled, NULL: plain TCP. Else: what its certificate must be issued under, NULL: none is asked for */
    const char *tls_ca, *tls_cert; /* only to tell a change */
    const char *tls_name; /* of the certificate; NULL: the host's, or with direction accept any */
    uint32_t outstanding; /* these three: 0: as link_io_settings has it */
    uint64_t queue_bytes;
    size_t answer_bytes;
};
struct link_io_settings { /* the same for all links, set once */
    struct link_limits link;
    struct component_limits component;
    size_t answer_bytes;
    uint64_t lies_window_ms, lies_pause_ms; /* a link that says nearly nothing but lies within the window is closed, and not back before the pause is over */
    uint32_t lies_least; /* things said in a window, for it to count; 0: no link is closed for that */
    const char *broker; /* the node's side of the addresses: "event-broker.example.com" */
    void (*answer)(uint32_t worker, struct event_answer *take); /* to the worker of the hold */
    void (*keeps)(uint32_t link, bool keeps); /* to all workers: does it take events. After what was returned was answered */
};

size_t link_io_element_bytes(size_t answer_bytes); /* beyond answer_bytes an answer is invalid; beyond this it isn't read to its end */

struct link_io;
/* Starts it. spec's strings and tls must live until the link is stopped or updated with another. */
struct link_io *link_io_new(const struct link_spec *spec, const struct link_io_settings *settings, struct intake *intake);
void link_io_update(struct link_io *l, const struct link_spec *spec); /* a changed host, port, password, direction or TLS connects anew, events are kept */
void link_io_stop(struct link_io *l, const char *why); /* returns its events, ends its stream gracefully and frees it */
void link_io_offer(struct link_io *l, struct event_request *take);
void link_io_forget(struct link_io *l, uint32_t worker, uint64_t hold);
/* An alarm was raised: full: its queue refused an event; else an event timed out (ANSWER_FAULTS) or was answered with what is not allowed. The link ends the alarm
 * when the queue is half empty again, or after a calm minute. */
void link_io_trouble(struct link_io *l, bool full, enum answer_fault fault);
void link_io_arrived(struct link_io *l, struct component *take); /* accept direction: a verified stream of that name, on this worker */
bool link_io_busy(const struct link_io *l); /* ACTIVE, with events sent and unanswered or waiting */
bool link_io_active(const struct link_io *l);
bool link_io_coming(const struct link_io *l); /* it is being dialled for the first time, and how that ends isn't known yet */
const struct link_spec *link_io_spec(const struct link_io *l);
void link_io_status(const struct link_io *l, struct link_status *out); /* timeouts and invalid stay 0. Strings borrowed until the next call on the link */
unsigned link_io_streams(void); /* streams that have not ended yet, those of stopped links included; any thread */
void link_io_refuse(struct component *take, const char *condition, const char *text); /* refuses a verified stream that is nobody's */

#endif
