/* Groups stand in lists by their size, so that the largest is found without looking for it; each group's members stand in order of their coming. */
#include "xmpp/door.h"
#include <stdlib.h>
#include <string.h>

struct door_group {
    struct list node; /* in door.sized[n] */
    struct list places;
    unsigned n;
    char address[];
};

void door_open(struct door *d, unsigned room)
{
    *d = (struct door){.room = room, .sized = x_calloc((size_t)room + 1, sizeof *d->sized)};
    for (unsigned i = 0; i <= room; i++) list_init(&d->sized[i]);
}

void door_close(struct door *d)
{
    map_free(&d->groups);
    free(d->sized);
    *d = (struct door){0};
}

/* The group has become so large. */
static void resize(struct door *d, struct door_group *g, unsigned n)
{
    list_remove(&g->node);
    g->n = n;
    if (n > 0) list_push_back(&d->sized[n], &g->node);
    if (n > d->largest) d->largest = n;
    while (d->largest > 0 && list_empty(&d->sized[d->largest])) d->largest--;
    if (n > 0) return;
    map_del(&d->groups, str_of(g->address));
    free(g);
}

void door_leave(struct door *d, struct door_place *p)
{
    struct door_group *g = p->group;
    if (g == NULL) return;
    list_remove(&p->node);
    p->group = NULL;
    d->n--;
    resize(d, g, g->n - 1);
}

static void stand(struct door *d, struct str address, struct door_place *p)
{
    struct door_group *g = map_get(&d->groups, address);
    if (g == NULL) {
        g = x_calloc(1, sizeof *g + address.n + 1);
        memcpy(g->address, address.p, address.n);
        list_init(&g->places);
        map_put(&d->groups, address, g);
    }
    list_push_back(&g->places, &p->node);
    p->group = g;
    d->n++;
    resize(d, g, g->n + 1);
}

struct door_place *door_enter(struct door *d, struct str address, struct door_place *p)
{
    if (d->room == 0) return NULL;
    struct door_place *out = NULL;
    if (d->n >= d->room) {
        const struct door_group *own = map_get(&d->groups, address);
        if (d->largest <= (own != NULL ? own->n : 0) + 1) return p; /* in its place, it would be the one that takes most */
        struct door_group *largest = CONTAINER_OF(d->sized[d->largest].next, struct door_group, node);
        out = CONTAINER_OF(largest->places.next, struct door_place, node);
        door_leave(d, out);
    }
    stand(d, address, p);
    return out;
}
