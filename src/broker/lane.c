/* Lanes: order without waiting.
 *
 * What an entry lets those behind do is one number, its `reach`: they may send at places (stage, step) below it. It is the least of what the entry itself
 * allows (its bound) and of the reach of the entry ahead, so one compare with the entry ahead tells whether an ask may be sent, however long the lane is.
 * A change of one entry's bound is carried towards the tail until it makes no difference any more; each entry's reach changes a few times in its life, so
 * the work per entry is constant.
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

static uint64_t place_of(uint32_t stage, uint32_t step) { return (uint64_t)stage << 32 | step; }

static struct lane_entry *entry_of(struct list *node) { return CONTAINER_OF(node, struct lane_entry, node); }

static uint64_t entry_bound(const struct lane_entry *e)
{
    uint64_t stage = place_of(e->stage, 0);
    uint64_t bound = list_empty(&e->asks) ? stage + place_of(1, 0) : UINT64_MAX;
    if (!e->asked || e->more) bound = stage;
    if (e->quiet) bound = UINT64_MAX;
    LIST_EACH (node, &e->asks) {
        const struct lane_ask *ask = CONTAINER_OF(node, struct lane_ask, node);
        uint64_t allows = ask->sent ? ask->place + 1 : ask->place;
        if (allows < bound) bound = allows;
    }
    return bound;
}

/* Places at which this entry itself may send: all below it. */
static uint64_t entry_limit(const struct lane_entry *e)
{
    const struct list *ahead = e->node.prev;
    return ahead == &e->lane->entries ? UINT64_MAX : CONTAINER_OF(ahead, const struct lane_entry, node)->reach;
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
        uint64_t limit = entry_limit(e);
        LIST_EACH (it, &e->asks) {
            struct lane_ask *ask = CONTAINER_OF(it, struct lane_ask, node);
            if (!ask->sent && ask->place < limit) ask_make_ready(lane, ask);
        }
        uint64_t reach = entry_bound(e);
        if (limit < reach) reach = limit;
        if (reach == e->reach) return;
        e->reach = reach;
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
    uint64_t limit = entry_limit(entry);
    entry->reach = entry_bound(entry);
    if (limit < entry->reach) entry->reach = limit;
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

bool lane_ask(struct lane_entry *entry, struct lane_ask *ask, uint32_t step)
{
    bool first = ask->place == 0 && ask->entry == NULL && !ask->sent;
    if (first && entry != NULL && entry->lane != NULL) {
        ask->entry = entry;
        ask->place = place_of(entry->stage, 0);
        list_push_back(&entry->asks, &ask->node);
        entry->asked = true;
    }
    ask->sent = true;
    if (ask->entry == NULL) return true;
    struct lane *lane = ask->entry->lane;
    ask->place = (ask->place & ~(uint64_t)UINT32_MAX) | step;
    if (list_empty(&lane->ready) && ask->place < entry_limit(ask->entry)) return true;
    ask->sent = false;
    /* Its turn may have come, only there are others to be told first: then it stands behind them. */
    if (ask->place < entry_limit(ask->entry)) ask_make_ready(lane, ask);
    entry_changed(ask->entry);
    return false;
}

void lane_ask_sent(struct lane_ask *ask)
{
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
