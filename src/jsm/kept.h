/* A message on its way to the sessions of a user, as one thing however many they are: whether one of them has it, and whether the store has it meanwhile. */
#ifndef SIGNET_JSM_KEPT_H
#define SIGNET_JSM_KEPT_H
#include "jsm/session.h"

enum kept_state { KEPT_NOWHERE, KEPT_WRITING, KEPT_STORED };
struct kept {
    struct list node; /* in jsm->kept_over, or among those being removed */
    struct user *user;
    uint64_t sid;
    unsigned refs;
    unsigned sessions; /* that have it in their queues */
    enum kept_state state;
    bool over; /* a session has it, or it was refused: nobody else gets it */
};
struct kept *kept_new(struct user *u, uint64_t sid, bool stored); /* one reference. stored: it was read from the store */
struct kept *kept_ref(struct kept *k); /* NULL is a no-op, and for the next too */
void kept_unref(struct kept *k); /* the last: what is stored and not over is an offline message like any other */
void kept_write(struct kept *k, struct store_batch *b, const struct stanza *s, uint64_t wall_ms, unsigned max_messages);
void kept_written(struct kept *k, const struct err *err); /* the batch's answer */
void kept_over(struct kept *k); /* removes it from the store, if it is there */
bool kept_under_way(const struct user *u, uint64_t sid); /* it may be found in the store, but sessions are about to get it, or have got it */

#endif
