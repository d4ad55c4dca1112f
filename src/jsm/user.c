/* Users of this worker: made when a session or a stanza needs one, loaded from the store, gone when nothing refers to them. The roster in memory follows the
 * store: it is changed where a change is decided and written in the same step; when a commit fails it is loaded anew. */
#include "base/log.h"
#include "base/metric.h"
#include "jsm/features/features.h"
#include <stdlib.h>
#include <string.h>

static void item_free(struct roster_item *item)
{
    for (unsigned i = 0; i < item->n_groups; i++) free(item->groups[i]);
    free(item->groups);
    free(item->jid);
    free(item->name);
    free(item->pending_in);
    free(item);
}

static void roster_clear(struct user *u)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&u->roster, &it, &key, &value)) item_free(value);
    map_free(&u->roster);
}

struct roster_item *roster_find(const struct user *u, struct str bare) { return map_get(&u->roster, bare); }

struct roster_item *roster_make(struct user *u, struct str bare)
{
    struct roster_item *item = map_get(&u->roster, bare);
    if (item != NULL) return item;
    item = x_calloc(1, sizeof(*item));
    item->jid = str_dup(bare);
    map_put(&u->roster, bare, item);
    return item;
}

void roster_drop(struct user *u, struct str bare)
{
    struct roster_item *item = map_del(&u->roster, bare);
    if (item != NULL) item_free(item);
}

void roster_set_groups(struct roster_item *item, const struct str *groups, unsigned n)
{
    for (unsigned i = 0; i < item->n_groups; i++) free(item->groups[i]);
    free(item->groups);
    item->groups = n > 0 ? x_calloc(n, sizeof(char *)) : NULL;
    item->n_groups = n;
    for (unsigned i = 0; i < n; i++) item->groups[i] = str_dup(groups[i]);
}

struct store_roster_item roster_row(const struct roster_item *item, struct str groups[ROSTER_GROUPS_MAX])
{
    unsigned n = item->n_groups < ROSTER_GROUPS_MAX ? item->n_groups : ROSTER_GROUPS_MAX;
    for (unsigned i = 0; i < n; i++) groups[i] = str_of(item->groups[i]);
    return (struct store_roster_item){
        .jid = str_of(item->jid),
        .name = str_of(item->name),
        .subscription = item->subscription,
        .ask = item->ask,
        .approved = item->approved,
        .in_roster = item->in_roster,
        .pending_in = str_of(item->pending_in),
        .groups = groups,
        .n_groups = n,
    };
}

void roster_save(struct store_batch *b, struct user *u, const struct roster_item *item)
{
    struct str groups[ROSTER_GROUPS_MAX];
    struct store_roster_item row = roster_row(item, groups);
    store_batch_roster_set(b, &row, ++u->roster_version);
}

static void user_fill(struct user *u, const struct store_user *data)
{
    roster_clear(u);
    u->roster_version = data->roster_version;
    free(u->last_status);
    u->last_status = data->last_status.p != NULL ? str_dup(data->last_status) : NULL;
    u->last_ms = data->last_ms;
    u->motd_seen = data->motd_seen;
    u->greeted = data->greeted;
    blocking_fill(u, data);
    for (size_t i = 0; i < data->n_items; i++) {
        const struct store_roster_item *row = &data->items[i];
        struct roster_item *item = roster_make(u, row->jid);
        if (row->name.p != NULL) item->name = str_dup(row->name);
        item->subscription = row->subscription;
        item->ask = row->ask;
        item->approved = row->approved;
        item->in_roster = row->in_roster;
        if (row->pending_in.p != NULL) item->pending_in = str_dup(row->pending_in);
        roster_set_groups(item, row->groups, row->n_groups);
    }
}

/* What one of them does may have the user loaded anew: then those behind it wait again. */
static void run_waits(struct user *u)
{
    struct list waits, *node;
    list_init(&waits);
    while ((node = list_pop_front(&u->load_waits)) != NULL) list_push_back(&waits, node);
    while ((node = list_pop_front(&waits)) != NULL) user_when_loaded(u, CONTAINER_OF(node, struct user_wait, node));
}

static void user_load(struct user *u);

static void user_loaded(void *arg, const struct store_user *data, const struct err *err)
{
    struct user *u = arg;
    if (err != NULL) {
        log_error("jsm", "cannot load '%s': %s", u->jid.full.p, err->text);
        u->state = USER_FAILED;
    } else if (!data->exists || u->gone) {
        u->state = USER_UNKNOWN;
    } else if (u->writes != u->writes_before_load) { /* what was written since it was asked for is in memory only: read that too */
        user_load(u);
        user_release(u);
        return;
    } else {
        user_fill(u, data);
        u->state = USER_READY;
    }
    run_waits(u);
    user_release(u);
}

static void user_load(struct user *u)
{
    u->state = USER_LOADING;
    u->refs++;
    u->writes_before_load = u->writes;
    store_user_load(u->jid.bare, user_loaded, u);
}

struct user *user_find(struct str bare) { return map_get(&jsm->users, bare); }

struct user *user_hold(const struct jid *jid)
{
    struct user *u = map_get(&jsm->users, jid->bare);
    if (u != NULL) {
        u->refs++;
        if (u->state == USER_FAILED) user_load(u);
        return u;
    }
    u = x_calloc(1, sizeof(*u));
    u->arena = arena_new(256);
    u->jid = jid_to_bare(u->arena, jid);
    u->refs = 1;
    list_init(&u->sessions);
    list_init(&u->load_waits);
    list_init(&u->flush_waits);
    list_init(&u->flushes);
    map_put(&jsm->users, u->jid.bare, u);
    metric_inc(METRIC_USERS_IN_MEMORY);
    user_load(u);
    return u;
}

void user_release(struct user *u)
{
    if (--u->refs > 0) return;
    if (map_get(&jsm->users, u->jid.bare) == u) map_del(&jsm->users, u->jid.bare);
    roster_clear(u);
    lane_set_free(&u->receiving);
    blocking_fill(u, NULL);
    offline_left_clear(u);
    free(u->last_status);
    free(u->carbon_ids);
    imap_free(&u->kept);
    arena_free(u->arena);
    free(u);
    metric_add(METRIC_USERS_IN_MEMORY, -1);
}

void user_when_loaded(struct user *u, struct user_wait *wait)
{
    if (u->state == USER_LOADING) {
        list_push_back(&u->load_waits, &wait->node);
        return;
    }
    wait->fn(wait);
}

void user_reload(struct user *u)
{
    if (u->state != USER_LOADING) user_load(u);
}
