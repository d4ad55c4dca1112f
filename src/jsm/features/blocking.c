/* Blocking (XEP-0191). The block list is loaded with the user and changed behind a barrier: when the answer to <block/> is out, nothing of the
 * contact comes any more. A stanza between the user and one he blocks gets one of the rows below instead of its own; so its events are raised as
 * ever (compliance servers see what was tried), and then nothing is delivered. The account itself is never blocked. */
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <stdlib.h>

#define NS_BLOCKING "urn:xmpp:blocking"
#define BLOCKED ((void *)1) /* the map is a set */

static bool sees_us(const struct roster_item *item) { return item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH; }
static bool seen_by_us(const struct roster_item *item) { return item->subscription == SUBSCRIPTION_TO || item->subscription == SUBSCRIPTION_BOTH; }

/* XEP-0191, 3.1: a domain blocks those below it too. */
static bool domain_blocked(const struct user *u, struct str domain)
{
    for (;;) {
        if (map_get(&u->blocked, domain) != NULL) return true;
        size_t dot = 0;
        while (dot < domain.n && domain.p[dot] != '.') dot++;
        if (dot == domain.n) return false;
        domain = (struct str){domain.p + dot + 1, domain.n - dot - 1};
    }
}

bool blocking_matches(const struct user *u, const struct jid *jid)
{
    if (u->blocked.count == 0 || !jid_present(jid) || jid_bare_eq(jid, &u->jid)) return false;
    return map_get(&u->blocked, jid->full) != NULL || map_get(&u->blocked, jid->bare) != NULL || domain_blocked(u, jid->domain);
}

/* ---- stanzas between the user and a blocked contact ---- */
static void in_apply(const struct context *cx, struct effects *fx)
{
    const struct stanza *s = cx->stanza;
    if (s->kind != STANZA_PRESENCE && s->type != MESSAGE_GROUPCHAT) effect_error(fx, cx, "service-unavailable", NULL);
}

static void out_apply(const struct context *cx, struct effects *fx)
{
    effect_reply(fx, stanza_error_with(cx->stanza, "not-acceptable", "cancel", NULL, "blocked", NS_BLOCKING ":errors"));
}

const struct stanza_row blocking_in_row = {.name = "blocked_in", .apply = in_apply, .what = "XEP-0191: a stanza of a blocked contact"};
const struct stanza_row blocking_out_row = {.name = "blocked_out", .apply = out_apply, .what = "XEP-0191: a stanza to a blocked contact"};

/* ---- the list ---- */
void blocking_fill(struct user *u, const struct store_user *data)
{
    map_free(&u->blocked);
    for (size_t i = 0; data != NULL && i < data->n_blocked; i++) map_put(&u->blocked, data->blocked[i], BLOCKED);
}

void blocking_list_apply(const struct context *cx, struct effects *fx)
{
    cx->session->blocking_interested = true;
    struct buf b = {0};
    buf_adds(&b, "<blocklist xmlns='" NS_BLOCKING "'>");
    size_t it = 0;
    struct str jid;
    void *value;
    while (map_next(&cx->user->blocked, &it, &jid, &value)) {
        buf_adds(&b, "<item");
        xml_add_attr(&b, "jid", jid);
        buf_adds(&b, "/>");
    }
    buf_adds(&b, "</blocklist>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

/* The JIDs of a <block/> or <unblock/>; *condition NULL: all are fine. */
static unsigned items_of(const struct context *cx, struct jid **jids, const char **condition)
{
    struct err err;
    unsigned n = 0, max = 0;
    *condition = NULL;
    struct xml_node *root = stanza_tree(cx->stanza, &cx->stanza->children[0], cx->arena, &err);
    if (root == NULL) {
        *condition = "bad-request";
        return 0;
    }
    for (struct xml_node *item = xml_node_child(root, "item", NS_BLOCKING); item != NULL; item = xml_node_next(item, "item", NS_BLOCKING)) max++;
    *jids = arena_zalloc(cx->arena, (max + 1) * sizeof(**jids));
    for (struct xml_node *item = xml_node_child(root, "item", NS_BLOCKING); item != NULL; item = xml_node_next(item, "item", NS_BLOCKING)) {
        struct str jid = xml_node_attr(item, "jid");
        if (jid.p == NULL)
            *condition = "bad-request";
        else if (jid_parse(cx->arena, jid, &(*jids)[n], &err) != 0)
            *condition = "jid-malformed";
        if (*condition != NULL) return 0;
        n++;
    }
    return n;
}

const char *block_check(const struct context *cx, const char **text)
{
    struct jid *jids;
    const char *condition;
    unsigned n = items_of(cx, &jids, &condition), added = 0;
    *text = "Name the addresses to block in 'jid' of <item/>.";
    if (condition != NULL) return condition;
    if (n == 0) return "bad-request";
    for (unsigned i = 0; i < n; i++) {
        if (map_get(&cx->user->blocked, jids[i].full) == NULL) added++;
        *text = "A user cannot block himself.";
        if (jid_bare_eq(&jids[i], &cx->user->jid)) return "not-allowed";
    }
    *text = "The block list is full.";
    if (added > 0 && cx->user->blocked.count + added > (size_t)jsm->config->blocking_max_items) return "policy-violation";
    *text = NULL;
    return NULL;
}

const char *unblock_check(const struct context *cx, const char **text)
{
    struct jid *jids;
    const char *condition;
    items_of(cx, &jids, &condition);
    *text = condition != NULL ? "Name the addresses to unblock in 'jid' of <item/>." : NULL;
    return condition;
}

/* To every session that has asked for the list: what was asked for, as it was asked for. */
static void push(const struct context *cx, struct effects *fx, const char *what, const struct jid *jids, unsigned n)
{
    struct buf b = {0};
    buf_addf(&b, "<%s xmlns='" NS_BLOCKING "'>", what);
    for (unsigned i = 0; i < n; i++) {
        buf_adds(&b, "<item");
        xml_add_attr(&b, "jid", jids[i].full);
        buf_adds(&b, "/>");
    }
    buf_addf(&b, "</%s>", what);
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!s->blocking_interested || s->state != SESSION_OPEN) continue;
        char id[STANZA_ID_SIZE + 8] = "push-";
        stanza_id_text(stanza_id_next(), id + 5);
        effect_deliver(fx, s, stanza_make(STANZA_IQ, IQ_SET, &cx->user->jid, &s->full, str_of(id), buf_str(&b)), COPY_NONE);
    }
    buf_free(&b);
}

/* Which contacts a change of the list concerns: one is told when it is blocked in one state of the list and not in the other. */
struct concerned {
    struct jid to;
    bool sees_us, seen_by_us, blocked;
};

static struct concerned *concerned_of(const struct context *cx, const struct jid *jids, unsigned n, unsigned *n_out)
{
    const struct user *u = cx->user;
    struct concerned *list = arena_zalloc(cx->arena, (u->roster.count + n + 1) * sizeof(*list));
    unsigned count = 0;
    size_t it = 0;
    struct str key;
    void *value;
    struct err err;
    while (map_next(&u->roster, &it, &key, &value)) {
        const struct roster_item *item = value;
        if ((!sees_us(item) && !seen_by_us(item)) || jid_parse(cx->arena, key, &list[count].to, &err) != 0) continue;
        list[count].sees_us = sees_us(item);
        list[count].seen_by_us = seen_by_us(item);
        list[count].blocked = blocking_matches(u, &list[count].to);
        count++;
    }
    for (unsigned i = 0; i < n; i++) { /* one resource of a contact */
        const struct roster_item *item = jid_is_full(&jids[i]) ? roster_find(u, jids[i].bare) : NULL;
        if (item == NULL) continue;
        list[count++] = (struct concerned){.to = jids[i], .sees_us = sees_us(item), .seen_by_us = false, .blocked = blocking_matches(u, &jids[i])};
    }
    *n_out = count;
    return list;
}

/* Those who got directed presence learn of the end of it, as long as they may be told. */
static void end_directed(const struct context *cx, struct effects *fx, const struct map *before)
{
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        size_t it = 0;
        struct str key;
        void *value;
        while (map_next(&s->directed, &it, &key, &value)) {
            struct jid to;
            struct err err;
            if (jid_parse(cx->arena, key, &to, &err) != 0 || !blocking_matches(cx->user, &to)) continue;
            if (map_get(before, to.bare) == NULL)
                effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &s->full, &to, STR_NONE, STR("")), PARCEL_COPY);
            free(map_del(&s->directed, to.full));
        }
    }
}

static void send_from_each(const struct context *cx, struct effects *fx, enum stanza_type type, const struct jid *to)
{
    LIST_EACH(node, &cx->user->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (session_available(s)) effect_route(fx, stanza_make(STANZA_PRESENCE, type, &s->full, to, STR_NONE, STR("")), PARCEL_COPY);
    }
}

void block_apply(const struct context *cx, struct effects *fx)
{
    struct jid *jids;
    const char *condition;
    unsigned n = items_of(cx, &jids, &condition), n_concerned;
    struct concerned *concerned = concerned_of(cx, jids, n, &n_concerned);
    struct store_batch *batch = effect_store(fx, cx->user);
    for (unsigned i = 0; i < n; i++) {
        map_put(&cx->user->blocked, jids[i].full, BLOCKED);
        store_batch_blocked_set(batch, jids[i].full, true);
    }
    struct map told = {0};
    for (unsigned i = 0; i < n_concerned; i++) {
        if (concerned[i].blocked || !concerned[i].sees_us || !blocking_matches(cx->user, &concerned[i].to)) continue;
        send_from_each(cx, fx, PRESENCE_UNAVAILABLE, &concerned[i].to);
        map_put(&told, concerned[i].to.bare, BLOCKED);
    }
    end_directed(cx, fx, &told);
    map_free(&told);
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
    push(cx, fx, "block", jids, n);
}

void unblock_apply(const struct context *cx, struct effects *fx)
{
    struct jid *jids;
    const char *condition;
    unsigned n = items_of(cx, &jids, &condition), n_concerned;
    struct concerned *concerned = concerned_of(cx, jids, n, &n_concerned);
    struct store_batch *batch = effect_store(fx, cx->user);
    for (unsigned i = 0; i < n; i++) {
        map_del(&cx->user->blocked, jids[i].full);
        store_batch_blocked_set(batch, jids[i].full, false);
    }
    if (n == 0) {
        map_free(&cx->user->blocked);
        store_batch_blocked_set(batch, STR_NONE, false);
    }
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
    push(cx, fx, "unblock", jids, n);
    for (unsigned i = 0; i < n_concerned; i++) {
        if (!concerned[i].blocked || blocking_matches(cx->user, &concerned[i].to)) continue;
        if (concerned[i].sees_us) presence_to_contact(cx, fx, &concerned[i].to, true);
        if (concerned[i].seen_by_us) send_from_each(cx, fx, PRESENCE_PROBE, &concerned[i].to); /* what he did meanwhile was dropped */
    }
}
