/* Rooms of this worker: made when a stanza for one comes, loaded from the store when they are persistent, gone when nothing needs them. */
#include "tc/room.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "tc/directory.h"
#include "tc/keep.h"
#include <stdlib.h>
#include <string.h>

_Thread_local struct room_service *tc;
const struct config *_Atomic tc_settings;

static const unsigned everybody = 1u << ROLE_VISITOR | 1u << ROLE_PARTICIPANT | 1u << ROLE_MODERATOR;

void room_config_default(struct room_config *c)
{
    *c = (struct room_config){
        .public = true,
        .private_messages = everybody,
        .presence_of = everybody,
        .member_list = everybody,
        .history = (unsigned)tc_settings->tc_history,
    };
}

void room_config_clear(struct room_config *c)
{
    if (c->password != NULL) explicit_bzero(c->password, strlen(c->password));
    free(c->name);
    free(c->description);
    free(c->lang);
    free(c->maker);
    free(c->password);
    *c = (struct room_config){0};
}

bool room_exists(const struct room *r) { return r->state == ROOM_OPEN || r->state == ROOM_LOCKED; }

/* ---- loading ---- */
static void run_waits(struct room *r)
{
    struct list waits, *node;
    list_init(&waits);
    while ((node = list_pop_front(&r->load_waits)) != NULL) list_push_back(&waits, node);
    while ((node = list_pop_front(&waits)) != NULL) room_when_loaded(r, CONTAINER_OF(node, struct room_wait, node));
}

static void room_loaded(void *arg, const struct store_room *data, const struct err *err)
{
    struct room *r = arg;
    if (err != NULL) {
        log_error("tc", "cannot load room '%s': %s", r->jid.full.p, err->text);
        r->state = ROOM_FAILED;
    } else if (data == NULL) {
        r->state = ROOM_ABSENT;
    } else if (keep_fill(r, data) != 0) {
        r->state = ROOM_FAILED;
    } else {
        r->state = ROOM_OPEN;
    }
    run_waits(r);
    room_release(r);
}

/* The directory knows which rooms are kept: of the others the store need not be asked. */
static void room_load(struct room *r)
{
    if (r->jid.local.p == NULL || !directory_persistent(r->jid.bare)) {
        r->state = ROOM_ABSENT;
        return;
    }
    r->state = ROOM_LOADING;
    r->refs++;
    store_room_load(r->jid.bare, room_loaded, r);
}

struct room *room_hold(const struct jid *jid)
{
    struct room *r = map_get(&tc->rooms, jid->bare);
    if (r != NULL) {
        r->refs++;
        if (r->state == ROOM_FAILED) room_load(r);
        return r;
    }
    r = x_calloc(1, sizeof(*r));
    r->arena = arena_new(256);
    r->jid = jid_to_bare(r->arena, jid);
    r->refs = 1;
    list_init(&r->load_waits);
    list_init(&r->history);
    list_init(&r->relays);
    map_put(&tc->rooms, r->jid.bare, r);
    metric_inc(METRIC_ROOMS_IN_MEMORY);
    room_load(r);
    return r;
}

static void room_clear(struct room *r)
{
    struct list *node;
    while ((node = list_pop_front(&r->history)) != NULL) {
        struct past *p = CONTAINER_OF(node, struct past, node);
        stanza_unref(p->stanza);
        free(p);
    }
    r->n_history = 0;
    stanza_unref(r->subject);
    r->subject = NULL;
    free(r->vcard);
    r->vcard = NULL;
    relays_drop(r);
    room_forget_affiliations(r);
    room_config_clear(&r->config);
}

void room_release(struct room *r)
{
    if (--r->refs > 0) return;
    if (map_get(&tc->rooms, r->jid.bare) == r) map_del(&tc->rooms, r->jid.bare);
    if (room_exists(r) && !r->config.persistent) room_vanish(r);
    room_clear(r);
    map_free(&r->occupants);
    map_free(&r->attendees);
    lane_set_free(&r->lane);
    arena_free(r->arena);
    free(r);
    metric_add(METRIC_ROOMS_IN_MEMORY, -1);
}

void room_when_loaded(struct room *r, struct room_wait *wait)
{
    if (r->state == ROOM_LOADING) {
        list_push_back(&r->load_waits, &wait->node);
        return;
    }
    wait->fn(wait);
}

/* ---- life ---- */
void room_create(struct room *r, const struct jid *owner)
{
    room_config_default(&r->config);
    hash_random(r->secret, sizeof(r->secret));
    r->created_wall_ms = clock_wall_ms();
    r->config.maker = str_dup(owner->bare);
    r->state = ROOM_LOCKED;
    room_set_affiliation(r, owner, AFFILIATION_OWNER, STR_NONE);
    directory_set(r);
    metric_inc(METRIC_ROOMS_CREATED);
}

void room_vanish(struct room *r)
{
    if (!room_exists(r)) return;
    room_linger(r, false);
    directory_remove(r->jid.bare);
    room_clear(r);
    r->state = ROOM_ABSENT;
}

void room_linger(struct room *r, bool lingers)
{
    if (r->lingers == lingers) return;
    r->lingers = lingers;
    if (lingers)
        r->refs++;
    else
        room_release(r);
}

void rooms_worker_stop(void) { map_free(&tc->rooms); }
