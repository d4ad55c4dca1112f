/* One stanza for many sessions. Recipients are gathered per worker; what travels is one message with the addresses of that worker's, and one reference to
 * the stanza. Each copy made of it refers to what it was sent for, whose ticket waits for all of them. */
#include "base/list.h"
#include "router/private.h"
#include <stdatomic.h>
#include <stdlib.h>

struct part { /* what one worker gets */
    struct msg msg;
    struct fanout *all;
    struct arena *arena; /* has the addresses */
    struct jid *to;
    size_t n, cap;
};
struct fanout {
    atomic_uint refs; /* parts under way, +1 while sending */
    struct stanza *stanza;
    struct parcel *cause; /* a reference, or NULL */
    unsigned flags;
    struct part **parts; /* by worker */
};

struct fanout *fanout_new(struct stanza *take, struct parcel *cause, unsigned flags)
{
    struct fanout *f = x_calloc(1, sizeof(*f));
    f->stanza = take;
    if (cause != NULL) f->cause = parcel_ref(cause);
    f->flags = flags | PARCEL_ROOM;
    f->parts = x_calloc(worker_count(), sizeof(*f->parts));
    return f;
}

void fanout_add(struct fanout *f, const struct jid *to)
{
    uint32_t worker = router_owner(to);
    struct part *p = f->parts[worker];
    if (p == NULL) {
        p = f->parts[worker] = x_calloc(1, sizeof(*p));
        p->all = f;
        p->arena = arena_new(0);
    }
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 8 : p->cap * 2;
        p->to = x_realloc(p->to, p->cap * sizeof(*p->to));
    }
    p->to[p->n++] = jid_copy(p->arena, to);
}

static void fanout_unref(struct fanout *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
    parcel_unref(f->cause);
    stanza_unref(f->stanza);
    free(f);
}

static void part_arrive(struct part *p)
{
    struct fanout *f = p->all;
    for (size_t i = 0; i < p->n; i++) {
        struct stanza_change change = {.to = &p->to[i]};
        router_arrive_copy(stanza_with(f->stanza, &change), f->cause, f->flags);
    }
    arena_free(p->arena);
    free(p->to);
    free(p);
    fanout_unref(f);
}

static void part_arrived(struct msg *msg) { part_arrive(CONTAINER_OF(msg, struct part, msg)); }

void fanout_send(struct fanout *take)
{
    unsigned n = worker_count();
    struct part *here = NULL, **parts = take->parts;
    take->parts = NULL;
    atomic_init(&take->refs, 1);
    for (unsigned i = 0; i < n; i++) {
        if (parts[i] == NULL) continue;
        atomic_fetch_add_explicit(&take->refs, 1, memory_order_relaxed);
        if (i == worker_id()) {
            here = parts[i];
            continue;
        }
        parts[i]->msg.run = part_arrived;
        worker_post(i, &parts[i]->msg);
    }
    free(parts);
    if (here != NULL) part_arrive(here);
    fanout_unref(take);
}
