/* What a session was sent and is not known to have: until its client acknowledges it (XEP-0198), or, of a client that does not, until the kernel has it. */
#ifndef SIGNET_JSM_UNACKED_H
#define SIGNET_JSM_UNACKED_H
#include "broker/broker.h"
#include "jsm/kept.h"

struct unacked {
    struct list node;
    struct stanza *stanza;
    struct kept *kept; /* a reference; NULL: no other session got it, and it is not in the store */
    size_t bytes;
    uint64_t since_wall_ms; /* when it came for this user */
    uint64_t mark; /* with stream management: when it was queued, by the worker's clock; else where it ends in the stream's output */
    enum event_copy copy;
    bool stamped; /* its last child is our delay stamp */
    struct stanza *stands_for; /* of a carbon copy: what this session was not given because it has the copy; NULL: nothing */
};
/* since_wall_ms: when it came, of one that bears a stamp of that; 0: now. */
struct unacked *unacked_new(struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept);
void unacked_stands_for(struct unacked *copy, struct stanza *message, uint64_t since_wall_ms, struct kept *kept);
void unacked_came(struct unacked *take); /* the client has it */
bool unacked_unstored(const struct unacked *one); /* it belongs into the store, and is not there */
/* Writes what belongs there and was queued until then into the store, should we die before the client has it. */
void unacked_store(struct user *u, struct list *all, uint64_t until_ms);
/* The session is not there any more: messages go where they would have gone without it, requests are answered. Empties the list. */
void unacked_elsewhere(struct list *take, struct user *u);

/* ---- clients without stream management ---- */
/* It was written, and ends there in the stream's output (c2s_send_stanza). */
void written_keep(struct session *s, struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept, uint64_t end);
/* The stream is about to be given up: what the kernel has not taken is moved to the list, and the client does not get it any more. */
void written_end(struct session *s, struct list *left);

#endif
