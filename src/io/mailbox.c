/* Mailboxes.
 *
 * Senders push with one compare-and-swap; the owner takes everything with one exchange and reverses it. Messages of one sender are in the
 * stack in the order it pushed them, so reversing gives FIFO per pair of threads. A push that finds the stack empty starts a batch, and its
 * sender gives the only wake-up of that batch.
 *
 * Closing is the delicate part: libuv must not be asked to wake a loop whose handle is closing, and a sender may be suspended between its
 * push and its wake-up for as long as the scheduler likes. Both sides count: the owner batches taken, the senders wake-ups given. When the
 * counts are equal and the stack is closed, nobody will touch the handle again. */
#include "io/mailbox.h"
#include <sched.h>

static struct msg closed_mark; /* its address stands for "closed" */

void mailbox_init(struct mailbox *m, bool closed)
{
    atomic_init(&m->posted, 0);
    atomic_init(&m->woken, 0);
    atomic_init(&m->done, 0);
    m->batches = 0;
    atomic_store(&m->head, closed ? &closed_mark : NULL);
}

enum mailbox_push mailbox_push(struct mailbox *m, struct msg *msg)
{
    struct msg *old = atomic_load_explicit(&m->head, memory_order_relaxed);
    do {
        if (old == &closed_mark) return MAILBOX_CLOSED;
        msg->next = old;
    } while (!atomic_compare_exchange_weak_explicit(&m->head, &old, msg, memory_order_acq_rel, memory_order_relaxed));
    return old == NULL ? MAILBOX_WAKE : MAILBOX_PUSHED;
}

void mailbox_woke(struct mailbox *m) { atomic_fetch_add_explicit(&m->woken, 1, memory_order_release); }

static struct msg *reversed(struct msg *list)
{
    struct msg *out = NULL;
    while (list != NULL) {
        struct msg *next = list->next;
        list->next = out;
        out = list;
        list = next;
    }
    return out;
}

struct msg *mailbox_take(struct mailbox *m)
{
    if (atomic_load_explicit(&m->head, memory_order_relaxed) == NULL) return NULL;
    struct msg *list = atomic_exchange_explicit(&m->head, NULL, memory_order_acq_rel);
    if (list != NULL) m->batches++;
    return reversed(list);
}

struct msg *mailbox_close(struct mailbox *m)
{
    struct msg *list = atomic_exchange_explicit(&m->head, &closed_mark, memory_order_acq_rel);
    if (list != NULL) m->batches++;
    while (atomic_load_explicit(&m->woken, memory_order_acquire) != m->batches) sched_yield();
    return reversed(list);
}
