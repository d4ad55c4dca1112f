/* The gate of a session. An entry is in held_back, or it is counted in under_way; the gate knows it no more once it has begun.
 *
 * What begins may be done at once and come back into gate_leave(): the loop that lets entries through is then further up the stack, and goes on. */
#include "broker/gate.h"
#include <assert.h>

void gate_init(struct gate *g, void (*begin)(struct gate_entry *entry))
{
    *g = (struct gate){.begin = begin};
    list_init(&g->held_back);
}

static bool may_begin(const struct gate *g, const struct gate_entry *entry) { return !g->barrier && (!entry->barrier || g->under_way == 0); }

static void let_through(struct gate *g, struct gate_entry *entry)
{
    g->under_way++;
    if (entry->barrier) g->barrier = true;
    g->begin(entry);
}

bool gate_enter(struct gate *g, struct gate_entry *entry)
{
    if (!list_empty(&g->held_back) || g->beginning || !may_begin(g, entry)) {
        list_push_back(&g->held_back, &entry->node);
        return false;
    }
    let_through(g, entry);
    return true;
}

void gate_join(struct gate *g) { g->under_way++; }

void gate_leave(struct gate *g)
{
    assert(g->under_way > 0);
    if (--g->under_way == 0) g->barrier = false;
    if (g->beginning) return;
    g->beginning = true;
    while (!list_empty(&g->held_back) && may_begin(g, CONTAINER_OF(g->held_back.next, struct gate_entry, node)))
        let_through(g, CONTAINER_OF(list_pop_front(&g->held_back), struct gate_entry, node));
    g->beginning = false;
}

bool gate_quiet(const struct gate *g) { return g->under_way == 0 && list_empty(&g->held_back) && !g->beginning; }
