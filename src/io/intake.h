/* What is on its way to a place, and when those who send there have to wait: the brake that keeps queues from filling. A place is a link to a compliance server,
 * or another worker; it takes what comes, and tells from time to time what of that it still has, and how much may be.
 *
 * Who sent something to a place that has enough is told to wait, and later to go on (jsm/brake.c does that to sessions). They wait in turn: while one waits, each
 * that sends to the place goes to the end of the queue.
 *
 * The counters are shared by all workers, so that nobody has to hear of anything first: a worker that reads from five hundred sockets in one turn stops in
 * time. */
#ifndef SIGNET_IO_INTAKE_H
#define SIGNET_IO_INTAKE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intake;
struct intake_senders { /* of those who send; set once, before traffic */
    /* On the worker that sent something for this origin (a number other than 0 of those who send; stanza.h has one): the place has enough. hard: that for
     * certain; else others wait already. */
    void (*wait)(uint64_t origin, struct intake *in, bool hard);
    /* On each worker: at most so many of its own that wait for that place may go on, first come first served, and take so many turns (wait() calls that
     * are not hard) until they have to wait again. */
    void (*go_on)(struct intake *in, uint32_t senders, uint32_t turns);
};
void intake_set_senders(const struct intake_senders *senders);

struct intake *intake_new(uint32_t worker); /* of a place on that worker. Has enough when told so first */
void intake_free(struct intake *in); /* when no worker runs */

/* ---- those who send; any worker ---- */
void intake_hand(struct intake *in, size_t bytes); /* before it goes on its way */
/* After: calls wait() when the place has enough. patient: of what has no deadline, and makes nobody wait for a place that is away. */
void intake_check(struct intake *in, uint64_t origin, bool patient);
void intake_join(struct intake *in); /* somebody waits; go_on() will come, never before return */
void intake_leave(struct intake *in); /* and waits no more */

/* ---- the place; its worker ---- */
struct intake_level { /* what of all that came is still there, and what may be */
    uint64_t events, bytes;
    uint64_t most_events, most_bytes;
    bool away;
};
void intake_took(struct intake *in, size_t bytes); /* it has arrived, whatever becomes of it */
void intake_settle(struct intake *in, const struct intake_level *level);
uint32_t intake_waiting(const struct intake *in); /* how many senders wait */

#endif
