/* Tickets. The window of a session (broker/window.h) counts open copies per accepted stanza. A copy finished on another worker comes back in a batch: one mailbox message per
 * worker and loop turn, however many stanzas it carries. */
#include "jsm/ticket.h"
#include "base/metric.h"
#include "jsm/resume.h"
#include <stdatomic.h>
#include <stdlib.h>

static atomic_uint_fast64_t all_open;

struct ticket ticket_open(struct session *s)
{
    struct ticket t = {.worker = worker_id(), .session = s->id, .number = window_open(&s->window)};
    atomic_fetch_add_explicit(&all_open, 1, memory_order_relaxed);
    session_read_control(s);
    return t;
}

void ticket_more(struct ticket t, unsigned copies)
{
    struct session *s = t.session != 0 ? session_get(t.session) : NULL;
    if (s != NULL) window_more(&s->window, t.number, copies);
}

bool ticket_when_alone(struct ticket t, struct ticket_wait *wait)
{
    struct session *s = t.session != 0 && t.worker == worker_id() ? session_get(t.session) : NULL;
    if (s == NULL || window_copies(&s->window, t.number) <= 1) return false;
    wait->number = t.number;
    list_push_back(&s->ticket_waits, &wait->node);
    return true;
}

static void alone_now(struct session *s, uint64_t number)
{
    LIST_EACH (node, &s->ticket_waits) {
        struct ticket_wait *wait = CONTAINER_OF(node, struct ticket_wait, node);
        if (wait->number != number) continue;
        list_remove(&wait->node);
        wait->fn(wait);
        return; /* one per ticket; and the list may be another now */
    }
}

void tickets_wait_no_more(struct session *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->ticket_waits)) != NULL) {
        struct ticket_wait *wait = CONTAINER_OF(node, struct ticket_wait, node);
        wait->fn(wait);
    }
}

static void ticket_returned(struct ticket t)
{
    struct session *s = session_get(t.session);
    if (s == NULL || !window_done(&s->window, t.number)) return;
    uint32_t left = window_copies(&s->window, t.number);
    if (left == 1) alone_now(s, t.number);
    if (left > 0) return;
    atomic_fetch_sub_explicit(&all_open, 1, memory_order_relaxed);
    session_read_control(s);
    if (s->resume != NULL) resume_ticket_returned(s);
}

#define BATCH 128
struct ticket_batch {
    struct msg msg;
    unsigned n;
    struct ticket tickets[BATCH];
};
struct ticket_outbox {
    struct turn_hook hook;
    struct ticket_batch **to; /* per worker */
};
static _Thread_local struct ticket_outbox outbox;

static void batch_arrived(struct msg *msg)
{
    struct ticket_batch *batch = CONTAINER_OF(msg, struct ticket_batch, msg);
    for (unsigned i = 0; i < batch->n; i++) ticket_returned(batch->tickets[i]);
    free(batch);
}

static void outbox_flush(struct turn_hook *hook)
{
    (void)hook;
    for (unsigned w = 0; w < worker_count(); w++) {
        if (outbox.to[w] == NULL) continue;
        worker_post(w, &outbox.to[w]->msg);
        outbox.to[w] = NULL;
    }
}

void ticket_done(struct ticket t)
{
    if (t.session == 0) return;
    if (t.worker == worker_id()) {
        ticket_returned(t);
        return;
    }
    if (outbox.to == NULL) outbox.to = x_calloc(worker_count(), sizeof(struct ticket_batch *));
    struct ticket_batch *batch = outbox.to[t.worker];
    if (batch == NULL) {
        batch = outbox.to[t.worker] = x_malloc(sizeof(*batch));
        batch->n = 0;
        batch->msg.run = batch_arrived;
        outbox.hook.fn = outbox_flush;
        worker_at_turn_end(&outbox.hook);
    }
    batch->tickets[batch->n++] = t;
    if (batch->n == BATCH) {
        outbox.to[t.worker] = NULL;
        worker_post(t.worker, &batch->msg);
    }
}

uint64_t ticket_finished_prefix(const struct session *s) { return s->window.first; }

uint64_t tickets_under_way(void) { return atomic_load_explicit(&all_open, memory_order_relaxed); }

void tickets_close(struct session *s)
{
    atomic_fetch_sub_explicit(&all_open, s->window.open, memory_order_relaxed);
    window_free(&s->window);
}

void tickets_worker_stop(void)
{
    for (unsigned w = 0; outbox.to != NULL && w < worker_count(); w++) free(outbox.to[w]);
    free(outbox.to);
    outbox.to = NULL;
}
