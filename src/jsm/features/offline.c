/* Offline messages (XEP-0160): which are kept, and their delivery when the user is back. Each goes through es_IN like anything else; what an outage kept from
 * being asked stays stored, what was refused is removed (EVENTS.md, refusal rule 6). The next page is read when one has been delivered, so that memory is
 * bounded; live messages wait until all is done. A message leaves the store when the client has it (unacked.c); until then other flushes pass it by. A user has
 * one flush at a time: what a second session would get is what the first did not take.
 *
 * Where one message stays in the store, all that its sender sent after it must come after it. So those behind it in the flush stay too, and so do new ones: the
 * sender is in user->left, and what he sends is kept though there is a session for it (receive_sessions.c). What is left is tried again after offline.retry,
 * by a flush of these senders' messages alone, for which the others' do not wait. */
#include "base/log.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "xmpp/delay.h"
#include "jsm/deliver.h"
#include "jsm/features/features.h"
#include "jsm/had.h"
#include "jsm/kept.h"
#include "jsm/resume.h"
#include "router/route.h"
#include <stdlib.h>
#include <string.h>

#define NS_CHATSTATES "http://jabber.org/protocol/chatstates"
#define NS_SID "urn:xmpp:sid:0"
#define NS_HINTS "urn:xmpp:hints"
#define FLUSH_PAGE 100

/* Says nothing by itself: a chat state, the thread it belongs to, a hint, an id. */
static bool is_trimmings(struct str name, struct str ns)
{
    if (str_is(ns, NS_CLIENT)) return str_is(name, "thread");
    return str_is(ns, NS_CHATSTATES) || str_is(ns, NS_HINTS) || str_is(ns, NS_SID);
}

bool node_is_chat_state(const struct xml_node *message)
{
    for (const struct xml_node *c = xml_node_child(message, NULL, NULL); c != NULL; c = xml_node_next(c, NULL, NULL))
        if (!is_trimmings(c->name, c->ns)) return false;
    return xml_node_child(message, NULL, NS_CHATSTATES) != NULL;
}

bool message_is_chat_state(const struct stanza *s)
{
    for (unsigned i = 0; i < s->n_children; i++)
        if (!is_trimmings(s->children[i].name, s->children[i].ns)) return false;
    return stanza_child(s, NULL, NS_CHATSTATES) != NULL;
}

bool offline_storable(const struct stanza *s)
{
    if (s->kind != STANZA_MESSAGE || (s->type != MESSAGE_NORMAL && s->type != MESSAGE_CHAT)) return false;
    if (stanza_child(s, "no-store", NS_HINTS) != NULL) return false; /* no-permanent-store is about archives */
    if (stanza_child(s, "store", NS_HINTS) != NULL) return true;
    for (unsigned i = 0; i < s->n_children; i++)
        if (!is_trimmings(s->children[i].name, s->children[i].ns)) return true;
    return false;
}

bool offline_content(const struct stanza *s)
{
    return s->kind == STANZA_MESSAGE && (s->type == MESSAGE_NORMAL || s->type == MESSAGE_CHAT) && stanza_child(s, "body", NS_CLIENT) != NULL;
}

struct flush {
    struct list node; /* in user->flushes: the first is under way, the others wait for their turn */
    struct user *user;
    uint64_t session;
    bool again; /* of user->left alone */
    struct left left; /* what will be, after it */
    struct lane_set lane;
    uint64_t after; /* the last one read */
    unsigned under_way;
    bool last_page;
    bool lost; /* the session went before it took all */
};
struct flush_item {
    struct lane_entry lane;
    struct delivery d;
    struct flush *flush;
    struct kept *kept;
    bool answered;
};

static void page_read(void *arg, const struct store_offline_item *items, size_t n, const struct err *err);
static void flush_start(struct user *u, uint64_t session, bool again);

/* ---- what is left in the store while a session takes messages ---- */
static void left_add(struct left *l, struct str sender)
{
    if (map_get(&l->senders, sender) == NULL) map_put(&l->senders, sender, l);
}

static bool left_has(const struct left *l, const struct stanza *s) { return l->all || map_get(&l->senders, s->from.bare) != NULL; }
static bool left_any(const struct left *l) { return l->all || l->senders.count > 0; }

static struct session *taker(const struct user *u, uint64_t but)
{
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (s->id != but && session_takes_messages(s)) return s;
    }
    return NULL;
}

static void flush_again(struct wheel_timer *timer)
{
    struct user *u = CONTAINER_OF(timer, struct user, left.retry);
    const struct session *s = taker(u, 0);
    if (s != NULL && !u->gone && list_empty(&u->flushes)) flush_start(u, s->id, true);
}

void offline_left_clear(struct user *u)
{
    worker_timer_cancel(&u->left.retry);
    map_free(&u->left.senders);
    memset(&u->left, 0, sizeof(u->left));
}

/* Without a session that takes messages they will wait for one like any others. */
static void left_try_again(struct user *u)
{
    if (!left_any(&u->left) || taker(u, 0) == NULL || list_linked(&u->left.retry.node)) return;
    u->left.retry.fn = flush_again;
    worker_timer(&u->left.retry, (uint64_t)jsm->config->offline_retry * 1000);
}

static void left_after(struct flush *f)
{
    struct user *u = f->user;
    offline_left_clear(u);
    u->left = f->left;
    left_try_again(u);
}

/* A flush under way may have read past it. */
void offline_leave(struct user *u, struct str sender)
{
    metric_inc(METRIC_OFFLINE_LEFT);
    LIST_EACH(node, &u->flushes) left_add(&CONTAINER_OF(node, struct flush, node)->left, sender);
    if (!list_empty(&u->flushes) || taker(u, 0) == NULL) return;
    left_add(&u->left, sender);
    left_try_again(u);
}

bool offline_waits(const struct user *u, const struct stanza *s)
{
    LIST_EACH(node, &u->flushes)
    {
        if (!CONTAINER_OF(node, struct flush, node)->again || left_has(&u->left, s)) return true;
    }
    return false;
}

bool offline_is_behind(const struct user *u, const struct stanza *s) { return left_has(&u->left, s) && offline_storable(s); }

/* ---- the flush ---- */
static void flush_next(struct user *u)
{
    if (list_empty(&u->flushes)) return;
    struct flush *f = CONTAINER_OF(u->flushes.next, struct flush, node);
    store_offline_load(u->jid.bare, 0, FLUSH_PAGE, page_read, f);
}

/* What a session that went left behind is for another one that is there: its user is not offline. */
static bool flush_goes_on(struct flush *f)
{
    const struct session *s = f->lost && !f->user->gone ? taker(f->user, f->session) : NULL;
    if (s == NULL) return false;
    f->session = s->id;
    f->after = 0;
    f->lost = false;
    store_offline_load(f->user->jid.bare, 0, FLUSH_PAGE, page_read, f);
    return true;
}

static void flush_end(struct flush *f)
{
    if (flush_goes_on(f)) return;
    struct user *u = f->user;
    list_remove(&f->node);
    left_after(f);
    lane_set_free(&f->lane);
    free(f);
    flush_next(u);
    struct list waits; /* a stanza that waits again goes into the user's own list */
    list_init(&waits);
    struct list *node;
    while ((node = list_pop_front(&u->flush_waits)) != NULL) list_push_back(&waits, node);
    while ((node = list_pop_front(&waits)) != NULL) {
        struct user_wait *wait = CONTAINER_OF(node, struct user_wait, node);
        wait->fn(wait);
    }
    user_release(u);
}

static void one_finished(struct flush *f)
{
    if (--f->under_way > 0) return;
    if (f->last_page || f->lost)
        flush_end(f);
    else
        store_offline_load(f->user->jid.bare, f->after, FLUSH_PAGE, page_read, f);
}

/* XEP-0191: what was stored before its sender was blocked. He is told as of any message of his now: nobody will get it. */
static void drop_blocked(struct kept *kept, const struct stanza *stanza)
{
    struct stanza *error = stanza_error(stanza, "service-unavailable", NULL, NULL);
    if (error != NULL) router_route(error, (struct ticket){0}, 0);
    kept_over(kept);
}

/* The session's queue keeps what it was sent in the store until its client has it; what was refused is over now. */
static void item_apply(struct flush_item *item)
{
    struct flush *f = item->flush;
    struct delivery *d = &item->d;
    bool passed = d->result == DELIVERY_PASSED;
    d->kept = item->kept;
    if (blocking_matches(f->user, &d->stanza->from)) { /* since es_IN was asked */
        drop_blocked(item->kept, d->stanza);
    } else if ((passed && left_has(&f->left, d->stanza)) || (!passed && d->verdict.outage)) {
        left_add(&f->left, d->stanza->from.bare);
        metric_inc(METRIC_OFFLINE_LEFT);
    } else if (!deliver_write(d)) {
        f->lost = f->lost || passed;
    } else if (passed) {
        metric_inc(METRIC_OFFLINE_DELIVERED);
    }
    if (!passed && !d->verdict.outage) kept_over(item->kept);
    deliver_clear(d);
    kept_unref(item->kept);
    lane_leave(&item->lane);
    free(item);
    one_finished(f);
}

static void item_on_head(struct lane_entry *entry)
{
    struct flush_item *item = CONTAINER_OF(entry, struct flush_item, lane);
    if (item->answered) item_apply(item);
}

static void item_ready(struct delivery *d)
{
    struct flush_item *item = CONTAINER_OF(d, struct flush_item, d);
    item->answered = true;
    if (lane_is_head(&item->lane)) item_apply(item);
}

static struct stanza *read_item(const struct store_offline_item *row, const struct user *u)
{
    struct err err;
    struct stanza *s = stanza_from_text(row->stanza, &err);
    if (s == NULL) {
        log_error("jsm", "a stored offline message of '%s' cannot be read: %s", u->jid.full.p, err.text);
        return NULL;
    }
    struct stanza_change change = {.sid = &row->sid};
    struct stanza *out = stanza_with(s, &change);
    stanza_unref(s);
    return out;
}

/* What the session got as a copy when it was stored is not given to it again (XEP-0280). */
static bool had_as_copy(struct session *s, const struct store_offline_item *row, struct stanza *stanza, struct kept *kept)
{
    if (!had_it(s, row->sid)) return false;
    if (!resume_stands_for(s, stanza, row->wall_ms, kept)) kept_over(kept);
    return true;
}

static void deliver_item(struct flush *f, struct session *s, const struct store_offline_item *row)
{
    struct stanza *stanza = read_item(row, f->user);
    if (stanza == NULL) return;
    if (left_has(&f->left, stanza) || (f->again && !left_has(&f->user->left, stanza))) {
        stanza_unref(stanza);
        return;
    }
    struct kept *kept = kept_new(f->user, row->sid, true);
    bool blocked = blocking_matches(f->user, &stanza->from);
    if (blocked) drop_blocked(kept, stanza);
    if (blocked || had_as_copy(s, row, stanza, kept)) {
        kept_unref(kept);
        stanza_unref(stanza);
        return;
    }
    struct flush_item *item = x_calloc(1, sizeof(*item));
    item->flush = f;
    item->kept = kept;
    item->lane.on_head = item_on_head;
    lane_enter(&f->lane, STR("offline"), &item->lane);
    lane_stage(&item->lane, 1);
    f->under_way++;
    struct stanza *stamped = delay_stamp(stanza, f->user->jid.domain, row->wall_ms);
    stanza_unref(stanza);
    bool now = deliver_ask(&item->d, s, stamped, COPY_OFFLINE, &item->lane, item_ready);
    item->d.since_wall_ms = row->wall_ms;
    if (now) item_ready(&item->d);
}

static void page_read(void *arg, const struct store_offline_item *items, size_t n, const struct err *err)
{
    struct flush *f = arg;
    if (err != NULL) log_error("jsm", "offline messages of '%s' cannot be read: %s", f->user->jid.full.p, err->text);
    f->left.all = f->left.all || err != NULL;
    struct session *s = session_get(f->session);
    bool takes = s != NULL && session_takes_messages(s);
    f->lost = f->lost || (!takes && n > 0);
    if (err != NULL || !takes || f->user->gone || n == 0) {
        flush_end(f);
        return;
    }
    f->last_page = n < FLUSH_PAGE;
    f->under_way = 1;
    for (size_t i = 0; i < n; i++) {
        f->after = items[i].sid;
        if (!kept_under_way(f->user, items[i].sid)) deliver_item(f, s, &items[i]);
    }
    one_finished(f);
}

static void flush_start(struct user *u, uint64_t session, bool again)
{
    struct flush *f = x_calloc(1, sizeof(*f));
    f->user = u;
    u->refs++;
    f->session = session;
    f->again = again;
    bool first = list_empty(&u->flushes);
    list_push_back(&u->flushes, &f->node);
    if (first) flush_next(u);
}

void offline_flush(uint64_t session)
{
    struct session *s = session_get(session);
    if (s == NULL) return;
    LIST_EACH(node, &s->user->flushes)
    {
        bool waits = node != s->user->flushes.next;
        if (waits && CONTAINER_OF(node, struct flush, node)->session == session) return; /* it came, went and came again */
    }
    flush_start(s->user, session, false);
}
