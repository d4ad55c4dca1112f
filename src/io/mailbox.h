/* A worker's mailbox: a lock-free stack that any thread pushes to and its owner takes whole, turned round into the order of sending.
 * The thread that finds it empty owes the owner one wake-up; the rest of the batch costs none. */
#ifndef SIGNET_IO_MAILBOX_H
#define SIGNET_IO_MAILBOX_H
#include "io/worker.h"
#include <stdalign.h>

struct mailbox {
    alignas(64) _Atomic(struct msg *) head;
    _Atomic uint64_t posted; /* messages ever accepted, those a worker sends itself included */
    _Atomic uint64_t woken;  /* wake-ups that have been given: one per batch */
    alignas(64) _Atomic uint64_t done; /* messages run; written by the owner only */
    uint64_t batches; /* batches taken, so wake-ups owed; owner only */
};
enum mailbox_push { MAILBOX_CLOSED, MAILBOX_PUSHED, MAILBOX_WAKE };

void mailbox_init(struct mailbox *m, bool closed);
/* MAILBOX_WAKE: the caller must now wake the owner and then call mailbox_woke(). MAILBOX_CLOSED: not taken. */
enum mailbox_push mailbox_push(struct mailbox *m, struct msg *msg);
void mailbox_woke(struct mailbox *m);
/* Owner: all that is there, oldest first; NULL when nothing. */
struct msg *mailbox_take(struct mailbox *m);
/* Owner: takes what is there and nothing more ever after. Returns when nobody is between pushing and waking any more, so that what
 * wakes the owner may be destroyed. */
struct msg *mailbox_close(struct mailbox *m);
static inline uint64_t mailbox_depth(const struct mailbox *m)
{
    uint64_t done = atomic_load_explicit(&m->done, memory_order_relaxed);
    uint64_t posted = atomic_load_explicit(&m->posted, memory_order_relaxed);
    return posted > done ? posted - done : 0;
}

#endif
