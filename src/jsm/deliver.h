/* The only place that writes to a session, and so the only place where es_IN is raised: for messages, roster pushes, copies, replies, offline flush alike.
 * (Replies caused by a verdict are the one thing written without an event.) */
#ifndef SIGNET_JSM_DELIVER_H
#define SIGNET_JSM_DELIVER_H
#include "jsm/session.h"
#include "broker/verdict.h"

struct kept;

enum delivery_result { DELIVERY_ASKING, DELIVERY_PASSED, DELIVERY_REFUSED };
struct delivery { /* one stanza for one session; embedded in its owner */
    uint64_t session;
    struct stanza *stanza; /* a reference */
    struct stanza *out; /* what may be written once the verdict is there */
    enum event_copy copy;
    uint64_t since_wall_ms; /* when it came for this user, of one that bears a stamp of that; 0: now */
    struct kept *kept; /* borrowed; NULL: no other session gets it, and the store has it not */
    struct lane_entry *entry;
    enum delivery_result result;
    struct kept_verdict verdict; /* of a refusal */
    void *owner;
    void (*ready)(struct delivery *d); /* the verdict has come (when deliver_ask returned false) */
};
/* Raises es_IN. true: the result is there at once. */
bool deliver_ask(struct delivery *d, struct session *s, struct stanza *take, enum event_copy copy, struct lane_entry *entry, void (*ready)(struct delivery *d));
/* The same for a copy of something else, whose conversation's key it keeps. */
bool deliver_ask_copy(struct delivery *d, struct session *s, struct stanza *take, enum event_copy copy, struct str key, struct lane_entry *entry,
                      void (*ready)(struct delivery *d));
bool deliver_write(struct delivery *d); /* writes what passed; false: the session has gone */
void deliver_held(struct session *s); /* XEP-0352: the client is active again */
void deliver_again(struct session *s, struct stanza *stanza); /* what the session has not acknowledged, on its new stream (XEP-0198): no event */
void deliver_clear(struct delivery *d);
void deliver_unchecked(struct session *s, struct stanza *take_reply); /* a reply caused by a verdict: no event */
void deliver_to_stream(struct c2s *c, struct stanza *take_reply); /* the same before a session is bound (bind results, rejects) */

#endif
