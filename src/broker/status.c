/* What the admin API is told of links. Workers are asked by message and put copies of what they know into one gathering. */
#include "base/buf.h"
#include "broker/plan.h"
#include "broker/private.h"
#include "io/worker.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct gathering {
    pthread_mutex_t lock;
    struct link_status *links;
    uint32_t *ids; /* of each */
    unsigned n;
    struct link_counts *counts; /* by link id: what the holds of all workers met with */
    uint32_t n_counts;
};

static void gather_link(void *arg, uint32_t id, const struct link_io *l)
{
    struct gathering *g = arg;
    g->links = x_realloc(g->links, (g->n + 1) * sizeof *g->links);
    g->ids = x_realloc(g->ids, (g->n + 1) * sizeof *g->ids);
    struct link_status *s = &g->links[g->n];
    g->ids[g->n++] = id;
    link_io_status(l, s);
    s->component = link_component(id); /* lives for ever */
    s->server = x_strdup(s->server);
    s->profile = x_strdup(s->profile);
    s->last_error = x_strdup(s->last_error);
}

static void gather(uint32_t worker, void *arg)
{
    (void)worker;
    struct gathering *g = arg;
    pthread_mutex_lock(&g->lock);
    broker_each_link(gather_link, g);
    for (uint32_t i = 0; i < g->n_counts; i++) {
        struct link_counts here = broker_counts(i);
        g->counts[i].timeouts += here.timeouts;
        g->counts[i].invalid += here.invalid;
    }
    pthread_mutex_unlock(&g->lock);
}

static int by_component(const void *a, const void *b)
{
    return strcmp(((const struct link_status *)a)->component, ((const struct link_status *)b)->component);
}

void broker_links(void (*fn)(void *arg, const struct link_status *link), void *arg)
{
    struct gathering g = {.lock = PTHREAD_MUTEX_INITIALIZER, .n_counts = link_id_count()};
    g.counts = x_calloc(g.n_counts + 1, sizeof *g.counts);
    worker_each(gather, NULL, &g);
    for (unsigned i = 0; i < g.n; i++) {
        if (g.ids[i] >= g.n_counts) continue; /* it came while we counted */
        g.links[i].timeouts = g.counts[g.ids[i]].timeouts;
        g.links[i].invalid = g.counts[g.ids[i]].invalid;
    }
    if (g.n > 0) qsort(g.links, g.n, sizeof *g.links, by_component);
    for (unsigned i = 0; i < g.n; i++) {
        fn(arg, &g.links[i]);
        free((char *)(uintptr_t)g.links[i].server);
        free((char *)(uintptr_t)g.links[i].profile);
        free((char *)(uintptr_t)g.links[i].last_error);
    }
    free(g.links);
    free(g.ids);
    free(g.counts);
}
