/* Lanes: order without waiting.
 *
 * What an entry lets those behind do is one number, its `reach`: they may send at places (stage, step) below it. It is the least of what the entry itself
 * allows (its bound) and of the reach of the entry ahead, so one compare with the entry ahead tells whether an ask may be sent, however long the lane is.
 * A change of one entry's bound is carried towards the tail until it makes no difference any more; each entry's reach changes a few times in its life, so
 * the work per entry is constant.
 *
 * Plans change. Between asks of different plans the numbers of steps say nothing, so an ask waits until those ahead of it that go by another order have been
 * sent for the last time: those of older plans by the era in a place, which makes their reach end below it; those of newer ones (they were raised later, though they stand
 * ahead) by the second number that is carried along, the newest era ahead.
 *
 * Asks whose turn comes are put into the lane's `ready` list first and told afterwards, in that order, by the outermost call: what they do when told
 * (send, fail, finish, ask for the next step) comes back into this file, and must neither overtake nor recurse. Heads are told in the same way. */
#include "broker/lane.h"
#include <assert.h>
#include <stdlib.h>

struct lane {
    struct lane_set *set; /* NULL: empty, and out of the set; freed by the outermost call */
    struct list entries;
    struct list ready;
    unsigned busy; /* calls on the stack */
    bool telling, heading;
    struct str key;
};

/* A place is a stage, an era and a step, in this order: 8, 32 and 24 bits. */
enum { STAGE_SHIFT = 56, ERA_SHIFT = 24, STEP_MAX = (1 << ERA_SHIFT) - 1 };
static uint64_t place_of(uint32_t stage, uint32_t era, uint32_t step)
{
    assert(stage < 1u << (64 - STAGE_SHIFT) && step <= STEP_MAX);
    return (uint64_t)stage << STAGE_SHIFT | (uint64_t)era << ERA_SHIFT | step;
}

static struct lane_entry *entry_of(struct list *node) { return CONTAINER_OF(node, struct lane_entry, node); }

static uint64_t entry_bound(const struct lane_entry *e)
{
    uint64_t stage = place_of(e->stage, 0, 0);
    uint64_t bound = list_empty(&e->asks) ? stage + place_of(1, 0, 0) : UINT64_MAX;
    if (!e->asked || e->more) bound = stage;
    if (e->quiet) bound = UINT64_MAX;
    LIST_EACH (node, &e->asks) {
        const struct lane_ask *ask = CONTAINER_OF(node, struct lane_ask, node);
        uint64_t allows = ask->last ? stage + place_of(1, 0, 0) : ask->sent ? ask->place + 1 : ask->place;
        if (allows < bound) bound = allows;
    }
    return bound;
}

static uint32_t era_of(uint64_t place) { return (uint32_t)(place >> ERA_SHIFT); }

/* The newest era of which it has an ask that is not sent for the last time. */
static uint32_t entry_era(const struct lane_entry *e)
{
    uint32_t era = 0;
    LIST_EACH (node, &e->asks) {
        const struct lane_ask *ask = CONTAINER_OF(node, struct lane_ask, node);
        if (!ask->last && era_of(ask->place) > era) era = era_of(ask->place);
    }
    return era;
}

struct lane_limit {
    uint64_t reach; /* the entry may send at places below it, */
    uint32_t era; /* if they are not of an older era */
};
static struct lane_limit entry_limit(const struct lane_entry *e)
{
    const struct list *node = e->node.prev;
    if (node == &e->lane->entries) return (struct lane_limit){UINT64_MAX, 0};
    const struct lane_entry *ahead = CONTAINER_OF(node, const struct lane_entry, node);
    return (struct lane_limit){ahead->reach, ahead->newest};
}

static bool limit_allows(struct lane_limit limit, uint64_t place) { return place < limit.reach && era_of(place) >= limit.era; }

/* What it lets those behind do. false: no change. */
static bool entry_carry(struct lane_entry *e, struct lane_limit limit)
{
    uint64_t reach = entry_bound(e);
    uint32_t newest = entry_era(e);
    if (limit.reach < reach) reach = limit.reach;
    if (limit.era > newest) newest = limit.era;
    if (reach == e->reach && newest == e->newest) return false;
    e->reach = reach;
    e->newest = newest;
    return true;
}

static void ask_make_ready(struct lane *lane, struct lane_ask *ask)
{
    ask->sent = true;
    list_push_back(&lane->ready, &ask->ready);
}

/* Something changed at this node of the lane, or just ahead of it. */
static void lane_update(struct lane *lane, struct list *node)
{
    for (; node != &lane->entries; node = node->next) {
        struct lane_entry *e = entry_of(node);
        struct lane_limit limit = entry_limit(e);
        LIST_EACH (it, &e->asks) {
            struct lane_ask *ask = CONTAINER_OF(it, struct lane_ask, node);
            if (!ask->sent && limit_allows(limit, ask->place)) ask_make_ready(lane, ask);
        }
        if (!entry_carry(e, limit)) return;
    }
}

static void lane_tell(struct lane *lane)
{
    if (lane->telling) return;
    lane->telling = true;
    for (struct list *node; (node = list_pop_front(&lane->ready)) != NULL;) {
        struct lane_ask *ask = CONTAINER_OF(node, struct lane_ask, ready);
        ask->send_now(ask);
    }
    lane->telling = false;
}

static void lane_tell_head(struct lane *lane)
{
    if (lane->heading) return;
    lane->heading = true;
    while (!list_empty(&lane->entries)) {
        struct lane_entry *head = entry_of(lane->entries.next);
        if (head->told) break;
        head->told = true;
        if (head->on_head != NULL) head->on_head(head);
    }
    lane->heading = false;
}

static void lane_exit(struct lane *lane)
{
    if (--lane->busy > 0 || lane->set != NULL) return;
    free((void *)lane->key.p);
    free(lane);
}

static void entry_changed(struct lane_entry *e)
{
    struct lane *lane = e->lane;
    lane->busy++;
    lane_update(lane, &e->node);
    lane_tell(lane);
    lane_exit(lane);
}

static struct lane *lane_get(struct lane_set *set, struct str key)
{
    struct lane *lane = map_get(&set->lanes, key);
    if (lane != NULL) return lane;
    lane = x_calloc(1, sizeof(*lane));
    lane->set = set;
    lane->key = (struct str){str_dup(key), key.n};
    list_init(&lane->entries);
    list_init(&lane->ready);
    map_put(&set->lanes, key, lane);
    return lane;
}

/* Before the node given. */
static void lane_insert(struct lane *lane, struct list *before, struct lane_entry *entry)
{
    assert(entry->lane == NULL);
    entry->lane = lane;
    entry->asked = entry->more = entry->quiet = false;
    entry->told = lane->entries.next == before;
    list_init(&entry->asks);
    list_push_back(before, &entry->node);
    lane->set->entries++;
    (void)entry_carry(entry, entry_limit(entry));
}

void lane_enter(struct lane_set *set, struct str key, struct lane_entry *entry)
{
    struct lane *lane = lane_get(set, key);
    entry->first = false;
    lane_insert(lane, &lane->entries, entry);
}

void lane_enter_first(struct lane_set *set, struct str key, struct lane_entry *entry)
{
    struct lane *lane = lane_get(set, key);
    struct list *before = lane->entries.next;
    while (before != &lane->entries && entry_of(before)->first) before = before->next;
    entry->first = true;
    if (before != &lane->entries && before == lane->entries.next) entry_of(before)->told = false;
    lane_insert(lane, before, entry);
    lane->busy++;
    lane_update(lane, before);
    lane_tell(lane);
    lane_exit(lane);
}

bool lane_is_head(const struct lane_entry *entry) { return entry->lane == NULL || entry->lane->entries.next == &entry->node; }

/* The asks of an entry that leaves are in no order any more: those that waited go at once. */
static void entry_let_go(struct lane_entry *entry)
{
    for (struct list *node; (node = list_pop_front(&entry->asks)) != NULL;) {
        struct lane_ask *ask = CONTAINER_OF(node, struct lane_ask, node);
        ask->entry = NULL;
        if (!ask->sent) ask_make_ready(entry->lane, ask);
    }
}

void lane_leave(struct lane_entry *entry)
{
    struct lane *lane = entry->lane;
    if (lane == NULL) return;
    struct list *next = entry->node.next;
    lane->busy++;
    entry_let_go(entry);
    list_remove(&entry->node);
    entry->lane = NULL;
    lane->set->entries--;
    lane_update(lane, next);
    if (list_empty(&lane->entries)) {
        map_del(&lane->set->lanes, lane->key);
        lane->set = NULL;
    }
    lane_tell(lane);
    lane_tell_head(lane);
    lane_exit(lane);
}

void lane_stage(struct lane_entry *entry, uint32_t stage)
{
    assert(stage >= entry->stage);
    entry->stage = stage;
    entry->asked = false;
    if (entry->lane != NULL) entry_changed(entry);
}

void lane_more(struct lane_entry *entry, bool more)
{
    entry->more = more;
    if (entry->lane != NULL) entry_changed(entry);
}

void lane_quiet(struct lane_entry *entry)
{
    entry->quiet = true;
    if (entry->lane != NULL) entry_changed(entry);
}

void lane_skip(struct lane_entry *entry)
{
    if (entry == NULL || entry->lane == NULL || entry->asked) return;
    entry->asked = true;
    entry_changed(entry);
}

bool lane_ask(struct lane_entry *entry, struct lane_ask *ask, uint32_t era, uint32_t step)
{
    bool first = ask->place == 0 && ask->entry == NULL && !ask->sent;
    if (first && entry != NULL && entry->lane != NULL) {
        ask->entry = entry;
        ask->place = place_of(entry->stage, era, 0);
        list_push_back(&entry->asks, &ask->node);
        entry->asked = true;
    }
    ask->sent = true;
    if (ask->entry == NULL) return true;
    struct lane *lane = ask->entry->lane;
    ask->place = place_of((uint32_t)(ask->place >> STAGE_SHIFT), era, step);
    bool allowed = limit_allows(entry_limit(ask->entry), ask->place);
    if (allowed && list_empty(&lane->ready)) return true;
    ask->sent = false;
    /* Its turn may have come, only there are others to be told first: then it stands behind them. */
    if (allowed) ask_make_ready(lane, ask);
    entry_changed(ask->entry);
    return false;
}

void lane_ask_sent(struct lane_ask *ask, bool last)
{
    ask->last = last;
    if (ask->entry != NULL) entry_changed(ask->entry);
}

void lane_ask_done(struct lane_ask *ask)
{
    struct lane_entry *entry = ask->entry;
    list_remove(&ask->ready);
    if (entry == NULL) return;
    list_remove(&ask->node);
    ask->entry = NULL;
    entry_changed(entry);
}

void lane_set_free(struct lane_set *set)
{
    assert(set->entries == 0);
    map_free(&set->lanes);
}
