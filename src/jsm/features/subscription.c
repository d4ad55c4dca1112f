/* Presence subscriptions (RFC 6121, 3 and appendix A). The sender's side changes the sender's roster and lets the stanza go on; the recipient's side changes
 * the recipient's. Both rosters stay consistent because a refused stanza changes neither. */
#include "base/metric.h"
#include "jsm/features/features.h"
#include <stdlib.h>

enum { TO = 1, FROM = 2 };
static unsigned mask_of(const struct roster_item *item) { return (unsigned)item->subscription; }
_Static_assert(SUBSCRIPTION_NONE == 0 && (unsigned)SUBSCRIPTION_TO == TO && (unsigned)SUBSCRIPTION_FROM == FROM && (unsigned)SUBSCRIPTION_BOTH == (TO | FROM), "subscription is a mask");

static bool has(const struct roster_item *item, unsigned way) { return item != NULL && (mask_of(item) & way) != 0; }
static void grant(struct roster_item *item, unsigned way) { item->subscription = (enum subscription)(mask_of(item) | way); }
static void take(struct roster_item *item, unsigned way) { item->subscription = (enum subscription)(mask_of(item) & ~way); }

static void pending_clear(struct roster_item *item)
{
    free(item->pending_in);
    item->pending_in = NULL;
}

/* What the user's clients see of an item. A request that waits for the user is no part of it (RFC 6121, 3.1.3). */
struct shown {
    enum subscription subscription;
    bool ask, approved, in_roster;
};
static struct shown shown_of(const struct roster_item *item)
{
    if (item == NULL) return (struct shown){.subscription = SUBSCRIPTION_NONE};
    return (struct shown){.subscription = item->subscription, .ask = item->ask, .approved = item->approved, .in_roster = item->in_roster};
}

static bool shown_eq(struct shown a, struct shown b)
{
    return a.subscription == b.subscription && a.ask == b.ask && a.approved == b.approved && a.in_roster == b.in_roster;
}

/* Writes the item (or removes one that holds nothing any more) and pushes it when it is in the roster and not what the clients have. */
static void changed(const struct context *cx, struct effects *fx, struct roster_item *item, struct shown before)
{
    struct store_batch *batch = effect_store(fx, cx->user);
    if (!item->in_roster && item->pending_in == NULL && item->subscription == SUBSCRIPTION_NONE && !item->ask && !item->approved) {
        struct str jid = arena_str(cx->arena, str_of(item->jid));
        store_batch_roster_delete(batch, jid, ++cx->user->roster_version);
        roster_drop(cx->user, jid);
        return;
    }
    roster_save(batch, cx->user, item);
    if (item->in_roster && !shown_eq(before, shown_of(item))) effect_roster_push(fx, cx->user, item, STR_NONE);
}

/* Subscription stanzas travel between bare JIDs (RFC 6121, 3.1.2). */
static struct stanza *between_bares(const struct context *cx, const struct jid *from, const struct jid *to)
{
    struct jid from_bare = jid_to_bare(cx->arena, from), to_bare = jid_to_bare(cx->arena, to);
    struct stanza_change change = {.from = &from_bare, .to = &to_bare};
    return stanza_with(cx->stanza, &change);
}

const char *subscription_check(const struct context *cx, const char **text)
{
    if (jid_present(&cx->stanza->to) && !jid_bare_eq(&cx->stanza->to, &cx->user->jid)) {
        struct str contact = cx->stanza->to.bare;
        bool approves = cx->stanza->type == PRESENCE_SUBSCRIBED; /* perhaps beforehand: that is kept outside of the roster */
        bool full = (approves || cx->stanza->type == PRESENCE_SUBSCRIBE) && roster_full(cx->user, contact, true);
        full = full || (approves && roster_full(cx->user, contact, false));
        return full ? roster_refuse_full(cx, text) : NULL;
    }
    *text = "A subscription stanza names a contact in 'to'.";
    return "bad-request";
}

/* RFC 6121, 3.4: the approval of a request that has not come yet. Nothing is sent to the contact. */
static void approve_beforehand(const struct context *cx, struct effects *fx, struct str contact)
{
    struct roster_item *item = roster_make(cx->user, contact);
    struct shown before = shown_of(item);
    if (has(item, FROM) || item->approved) return;
    item->approved = true;
    item->in_roster = true;
    changed(cx, fx, item, before);
}

void subscription_out_apply(const struct context *cx, struct effects *fx)
{
    struct jid contact = jid_to_bare(cx->arena, &cx->stanza->to);
    struct roster_item *item = roster_find(cx->user, contact.bare);
    struct shown before = shown_of(item);
    struct stanza *on = between_bares(cx, &cx->stanza->from, &contact);
    bool goes_on = true;
    switch (cx->stanza->type) {
    case PRESENCE_SUBSCRIBE:
        item = roster_make(cx->user, contact.bare);
        item->in_roster = true;
        if (!has(item, TO)) item->ask = true;
        changed(cx, fx, item, before);
        break;
    case PRESENCE_SUBSCRIBED:
        goes_on = item != NULL && item->pending_in != NULL && !has(item, FROM);
        if (!goes_on) {
            approve_beforehand(cx, fx, contact.bare);
            break;
        }
        pending_clear(item);
        grant(item, FROM);
        item->in_roster = true;
        changed(cx, fx, item, before);
        break;
    case PRESENCE_UNSUBSCRIBE:
        if (item == NULL) break;
        take(item, TO);
        item->ask = false;
        changed(cx, fx, item, before);
        break;
    default: /* unsubscribed */
        goes_on = item != NULL && (item->pending_in != NULL || has(item, FROM));
        if (!goes_on && (item == NULL || !item->approved)) break;
        item->approved = false; /* RFC 6121, 3.4.2: an approval beforehand is cancelled by the same stanza */
        if (has(item, FROM)) presence_to_contact(cx, fx, &contact, false);
        pending_clear(item);
        take(item, FROM);
        changed(cx, fx, item, before);
        break;
    }
    if (!goes_on) {
        stanza_unref(on);
        return;
    }
    effect_route(fx, on, 0);
    if (cx->stanza->type == PRESENCE_SUBSCRIBED) presence_to_contact(cx, fx, &contact, true);
}

static void subscribe_in(const struct context *cx, struct effects *fx, const struct jid *contact, struct stanza *stanza)
{
    struct roster_item *item = roster_find(cx->user, contact->bare);
    if (has(item, FROM)) { /* RFC 6121, 3.1.3: answered on the user's behalf */
        effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_SUBSCRIBED, &cx->user->jid, contact, STR_NONE, STR("")), 0);
        return;
    }
    if (item != NULL && item->pending_in != NULL) return; /* appendix A.3.1: it waits already */
    if (roster_full(cx->user, contact->bare, false)) { /* so many wait already that this one is kept for nobody; who is there still sees it */
        metric_inc(METRIC_ROSTER_OVER_LIMIT);
        effect_forward(fx, stanza_ref(stanza));
        return;
    }
    if (item != NULL && item->approved) { /* RFC 6121, 3.4.2: approved beforehand; the user is not asked */
        struct shown before = shown_of(item);
        grant(item, FROM);
        effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_SUBSCRIBED, &cx->user->jid, contact, STR_NONE, STR("")), 0);
        changed(cx, fx, item, before);
        presence_to_contact(cx, fx, contact, true);
        return;
    }
    item = roster_make(cx->user, contact->bare);
    struct buf text = {0};
    stanza_write(&text, stanza, NS_CLIENT);
    free(item->pending_in);
    item->pending_in = str_dup(buf_str(&text));
    buf_free(&text);
    roster_save(effect_store(fx, cx->user), cx->user, item);
    effect_forward(fx, stanza_ref(stanza));
}

bool subscription_stands(const struct user *u, const struct stanza *s)
{
    const struct roster_item *item = roster_find(u, s->from.bare);
    if (s->type == PRESENCE_SUBSCRIBE) return has(item, FROM) || (item != NULL && item->pending_in != NULL);
    return s->type == PRESENCE_SUBSCRIBED && has(item, TO);
}

/* RFC 6121, 3.1.6, 3.2.3, 3.3.3: before the roster push, so that a client knows what the push comes of; to the sessions that are available or have asked for
 * the roster. */
static void to_sessions(const struct context *cx, struct effects *fx, const struct stanza *stanza)
{
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (s->state != SESSION_OPEN || (!s->interested && !session_available(s))) continue;
        if (cx->unchecked)
            effect_deliver_unchecked(fx, s, stanza_ref(stanza));
        else
            effect_deliver(fx, s, stanza_ref(stanza), COPY_NONE);
    }
}

/* The contact approved, and compliance refused to let it in: as if the user unsubscribed at once, so that neither side waits for the other. */
static void subscribed_refused_apply(const struct context *cx, struct effects *fx)
{
    struct jid contact = jid_to_bare(cx->arena, &cx->stanza->from);
    struct roster_item *item = roster_find(cx->user, contact.bare);
    struct shown before = shown_of(item);
    effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_UNSUBSCRIBE, &cx->user->jid, &contact, cx->stanza->id, STR("")), PARCEL_NO_EVENTS);
    if (item == NULL || !item->ask) return;
    item->ask = false;
    changed(cx, fx, item, before);
}

const struct stanza_row subscribed_refused_row = {.name = "subscribed_refused", .apply = subscribed_refused_apply, .what = "a refused approval of a subscription"};

void subscription_in_apply(const struct context *cx, struct effects *fx)
{
    struct jid contact = jid_to_bare(cx->arena, &cx->stanza->from);
    struct roster_item *item = roster_find(cx->user, contact.bare);
    struct shown before = shown_of(item);
    struct stanza *stanza = between_bares(cx, &cx->stanza->from, &cx->stanza->to);
    switch (cx->stanza->type) {
    case PRESENCE_SUBSCRIBE:
        subscribe_in(cx, fx, &contact, stanza);
        break;
    case PRESENCE_SUBSCRIBED:
        if (item == NULL || !item->ask || has(item, TO)) break;
        grant(item, TO);
        item->ask = false;
        to_sessions(cx, fx, stanza);
        changed(cx, fx, item, before);
        break;
    case PRESENCE_UNSUBSCRIBE:
        if (item == NULL || (!has(item, FROM) && item->pending_in == NULL)) break;
        if (has(item, FROM)) presence_to_contact(cx, fx, &contact, false); /* one who only waits for an answer learns of no session */
        pending_clear(item);
        take(item, FROM);
        to_sessions(cx, fx, stanza);
        changed(cx, fx, item, before);
        break;
    default: /* unsubscribed */
        if (item == NULL || (!has(item, TO) && !item->ask)) break;
        take(item, TO);
        item->ask = false;
        to_sessions(cx, fx, stanza);
        changed(cx, fx, item, before);
        break;
    }
    stanza_unref(stanza);
}
