/* Tickets: each accepted stanza is accounted for until its last copy has been written, stored, refused or handled. */
#ifndef SIGNET_JSM_TICKET_H
#define SIGNET_JSM_TICKET_H
#include "jsm/session.h"

struct ticket ticket_open(struct session *s); /* one copy open */
void ticket_more(struct ticket t, unsigned copies); /* on the session's worker: that many further copies */
void ticket_done(struct ticket t); /* one copy is done; any worker, batched; a ticket without session is a no-op */
struct ticket_wait {
    struct list node;
    uint64_t number;
    void (*fn)(struct ticket_wait *wait); /* once, with the wait in no list any more */
};
/* On the session's worker: fn is called when one copy of the ticket is left open, that of the caller, or when the session ends. False: it is so already, and
 * fn is not called. list_remove(&wait->node) ends the wait. */
bool ticket_when_alone(struct ticket t, struct ticket_wait *wait);
void tickets_wait_no_more(struct session *s); /* calls them all */
uint64_t ticket_finished_prefix(const struct session *s); /* XEP-0198 h: how many are finished without a gap */
uint64_t tickets_under_way(void); /* all workers; any thread */

void tickets_close(struct session *s); /* the session is freed: what is still open is nobody's any more */
void tickets_worker_stop(void);

#endif
