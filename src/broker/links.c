/* The links of one worker.
 *
 * A link that is taken out of the configuration is retired, not cut: events under way go by the plan they began with, and that one still asks it. It ends when
 * all of them, on all workers, have their verdicts and nothing is left in it. Should its connection fail before, or be down already, nobody will make it anew:
 * what waits there goes to another server of its profile, or the way its Handling says. A link that comes back into the configuration before its end goes on
 * as if it had never left. */
#include "broker/links.h"
#include "base/log.h"
#include "io/worker.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { RETIRED_LOOK_MS = 50 };

struct retired {
    struct list node;
    uint32_t id;
    uint32_t era; /* of the first plan without it */
    struct setup *setup; /* the last with it: its link goes by what lives in there */
};

static bool setup_has(const struct setup *s, uint32_t link)
{
    for (unsigned i = 0; i < s->n_specs; i++)
        if (s->specs[i].id == link) return true;
    return false;
}

static struct retired *retired_find(const struct links *links, uint32_t id)
{
    LIST_EACH (node, &links->retired) {
        struct retired *r = CONTAINER_OF(node, struct retired, node);
        if (r->id == id) return r;
    }
    return NULL;
}

static void retired_free(struct retired *r)
{
    list_remove(&r->node);
    setup_unref(r->setup);
    free(r);
}

static void retired_end(struct links *links, struct retired *r)
{
    struct link_io *l = links_find(links, r->id);
    imap_del(&links->by_id, r->id);
    link_io_stop(l, "taken out of the configuration");
    retired_free(r);
}

/* ---- looking after the retired ---- */

struct look {
    struct links *links;
    _Atomic uint32_t oldest;
};

static void look_here(uint32_t worker, void *arg)
{
    (void)worker;
    struct look *look = arg;
    uint32_t here = look->links->oldest_era(), known = atomic_load(&look->oldest);
    while (here < known && !atomic_compare_exchange_weak(&look->oldest, &known, here)) {}
}

static void links_look(struct links *links);

/* All workers have been asked; what any of them had sent before it answered is here now. */
static void look_done(void *arg)
{
    struct look *look = arg;
    struct links *links = look->links;
    uint32_t oldest = atomic_load(&look->oldest);
    free(look);
    links->asking = false;
    if (links->stopped) return;
    LIST_EACH_SAFE (node, next, &links->retired) {
        struct retired *r = CONTAINER_OF(node, struct retired, node);
        if (oldest >= r->era && !link_io_busy(links_find(links, r->id))) retired_end(links, r);
    }
    if (!list_empty(&links->retired)) worker_timer(&links->timer, RETIRED_LOOK_MS);
}

static void links_look(struct links *links)
{
    LIST_EACH_SAFE (node, next, &links->retired) {
        struct retired *r = CONTAINER_OF(node, struct retired, node);
        if (!link_io_active(links_find(links, r->id))) retired_end(links, r);
    }
    if (links->asking || list_empty(&links->retired)) return;
    links->asking = true;
    struct look *look = x_calloc(1, sizeof *look);
    look->links = links;
    atomic_init(&look->oldest, UINT32_MAX);
    worker_each(look_here, look_done, look);
}

static void on_timer(struct wheel_timer *timer) { links_look(CONTAINER_OF(timer, struct links, timer)); }

/* ---- configurations ---- */

void links_begin(struct links *links, const struct setup *s, struct intake *(*intake_here)(uint32_t link))
{
    if (links->stopped) return;
    for (unsigned i = 0; i < s->n_specs; i++) {
        const struct link_spec *spec = &s->specs[i];
        struct intake *intake = intake_here(spec->id);
        if (intake == NULL) continue;
        struct link_io *l = links_find(links, spec->id);
        if (l == NULL) {
            imap_put(&links->by_id, spec->id, link_io_new(spec, links->settings, intake));
            continue;
        }
        struct retired *r = retired_find(links, spec->id);
        link_io_update(l, spec);
        if (r == NULL) continue;
        log_info("broker", "Component %s is back in the configuration", spec->component);
        retired_free(r);
    }
}

void links_retire(struct links *links, struct setup *before, const struct setup *s)
{
    size_t it = 0;
    uint64_t id;
    void *value;
    if (links->stopped) return;
    while (imap_next(&links->by_id, &it, &id, &value)) {
        if (setup_has(s, (uint32_t)id) || retired_find(links, (uint32_t)id) != NULL) continue;
        struct retired *r = x_calloc(1, sizeof *r);
        *r = (struct retired){.id = (uint32_t)id, .era = plan_era(s->plan), .setup = setup_ref(before)};
        list_push_back(&links->retired, &r->node);
    }
    links_look(links);
}

unsigned links_coming(const struct links *links)
{
    unsigned n = 0;
    size_t it = 0;
    uint64_t id;
    void *value;
    while (imap_next(&links->by_id, &it, &id, &value)) n += link_io_coming(value);
    return n;
}

/* ---- the rest ---- */

struct link_io *links_find(const struct links *links, uint32_t id) { return imap_get(&links->by_id, id); }

void links_each(const struct links *links, void (*fn)(void *arg, uint32_t id, const struct link_io *l), void *arg)
{
    size_t it = 0;
    uint64_t id;
    void *value;
    while (imap_next(&links->by_id, &it, &id, &value)) fn(arg, (uint32_t)id, value);
}

void links_stop(struct links *links, const char *why)
{
    size_t it = 0;
    uint64_t id;
    void *value;
    links->stopped = true;
    worker_timer_cancel(&links->timer);
    while (imap_next(&links->by_id, &it, &id, &value)) {
        imap_del(&links->by_id, id);
        link_io_stop(value, why);
    }
    while (!list_empty(&links->retired)) retired_free(CONTAINER_OF(links->retired.next, struct retired, node));
}

void links_init(struct links *links, const struct link_io_settings *settings, uint32_t (*oldest_era)(void))
{
    *links = (struct links){.settings = settings, .oldest_era = oldest_era, .timer.fn = on_timer};
    list_init(&links->retired);
}

void links_free(struct links *links)
{
    while (!list_empty(&links->retired)) retired_free(CONTAINER_OF(links->retired.next, struct retired, node));
    imap_free(&links->by_id);
}
