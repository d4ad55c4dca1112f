/* The gate of a session: what it sends begins in the order it came, and most of it is then under way side by side (lanes keep the order that matters). A barrier
 * (presence without `to`, a change of the roster, a block) waits until everything earlier is done, and everything later waits for it. Pure state. */
#ifndef SIGNET_BROKER_GATE_H
#define SIGNET_BROKER_GATE_H
#include "base/list.h"

struct gate_entry { /* embedded in what is to begin; zeroed at first, but for `barrier` */
    struct list node; /* in held_back */
    bool barrier;
};
struct gate {
    struct list held_back;
    unsigned under_way; /* begun and not done */
    bool barrier; /* one is under way */
    bool beginning; /* entries held back are let through */
    void (*begin)(struct gate_entry *entry); /* may call gate_leave() */
};
void gate_init(struct gate *g, void (*begin)(struct gate_entry *entry));
bool gate_enter(struct gate *g, struct gate_entry *entry); /* true: begin() was called; false: it will be, from gate_leave() */
void gate_join(struct gate *g); /* something is under way that waits for nothing; gate_leave() ends it */
void gate_leave(struct gate *g); /* one that has begun is done: what it held back begins */
bool gate_quiet(const struct gate *g); /* nothing is under way or held back */

#endif
