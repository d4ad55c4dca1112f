/* The roster (RFC 6121, 2): get, set, remove, and pushes to every session that has asked for it. */
#include "base/metric.h"
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <stdio.h>
#include <stdlib.h>

#define NS_ROSTER "jabber:iq:roster"
#define ROSTER_NAME_BYTES 1023
#define ROSTER_GROUPS 64

static void write_row(struct buf *b, const struct store_roster_item *item)
{
    buf_adds(b, "<item");
    xml_add_attr(b, "jid", item->jid);
    xml_add_attr(b, "name", item->name);
    xml_add_attr(b, "subscription", str_of(subscription_name(item->subscription)));
    if (item->ask) buf_adds(b, " ask='subscribe'");
    if (item->approved) buf_adds(b, " approved='true'");
    buf_adds(b, item->n_groups > 0 ? ">" : "/>");
    for (unsigned i = 0; i < item->n_groups; i++) {
        buf_adds(b, "<group>");
        xml_add_text(b, item->groups[i]);
        buf_adds(b, "</group>");
    }
    if (item->n_groups > 0) buf_adds(b, "</item>");
}

static void write_item(struct buf *b, const struct roster_item *item)
{
    struct str groups[ROSTER_GROUPS_MAX];
    struct store_roster_item row = roster_row(item, groups);
    write_row(b, &row);
}

void roster_write(struct buf *b, const struct store_roster_item *items, size_t n)
{
    buf_adds(b, "<query xmlns='" NS_ROSTER "'>");
    for (size_t i = 0; i < n; i++)
        if (items[i].in_roster) write_row(b, &items[i]);
    buf_adds(b, "</query>");
}

/* RFC 6121, 2.6: the version is the number of the last change. */
static void add_version(struct buf *b, const struct user *u) { buf_addf(b, " ver='%llu'", (unsigned long long)u->roster_version); }

/* The version the client has; STR_NONE: it knows nothing of versions. */
static struct str known_version(const struct context *cx)
{
    struct err err;
    struct xml_node *tree = stanza_tree(cx->stanza, NULL, cx->arena, &err);
    struct xml_node *query = tree != NULL ? xml_node_child(tree, "query", NS_ROSTER) : NULL;
    return query != NULL ? xml_node_attr(query, "ver") : STR_NONE;
}

void roster_get_apply(const struct context *cx, struct effects *fx)
{
    cx->session->interested = true;
    struct str known = known_version(cx);
    cx->session->roster_versions = known.p != NULL;
    char current[24];
    snprintf(current, sizeof(current), "%llu", (unsigned long long)cx->user->roster_version);
    if (str_is(known, current)) { /* nothing has changed since */
        effect_reply(fx, stanza_result(cx->stanza, STR("")));
        return;
    }
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_ROSTER "'");
    if (known.p != NULL) add_version(&b, cx->user);
    buf_addc(&b, '>');
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&cx->user->roster, &it, &key, &value))
        if (((struct roster_item *)value)->in_roster) write_item(&b, value);
    buf_adds(&b, "</query>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

/* A push carries the version only for clients that have shown that they know of versions. */
void effect_roster_push(struct effects *fx, struct user *u, const struct roster_item *item, struct str removed)
{
    struct buf change = {0}, query = {0};
    if (item != NULL) {
        write_item(&change, item);
    } else {
        buf_adds(&change, "<item");
        xml_add_attr(&change, "jid", removed);
        buf_adds(&change, " subscription='remove'/>");
    }
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!s->interested || s->state != SESSION_OPEN) continue;
        buf_reset(&query);
        buf_adds(&query, "<query xmlns='" NS_ROSTER "'");
        if (s->roster_versions) add_version(&query, u);
        buf_addc(&query, '>');
        buf_add_str(&query, buf_str(&change));
        buf_adds(&query, "</query>");
        char id[STANZA_ID_SIZE + 8] = "push-";
        stanza_id_text(stanza_id_next(), id + 5);
        effect_deliver(fx, s, stanza_make(STANZA_IQ, IQ_SET, &u->jid, &s->full, str_of(id), buf_str(&query)), COPY_NONE);
    }
    buf_free(&change);
    buf_free(&query);
}

static struct xml_node *item_of(const struct context *cx)
{
    struct err err;
    struct xml_node *tree = stanza_tree(cx->stanza, NULL, cx->arena, &err);
    struct xml_node *query = tree != NULL ? xml_node_child(tree, "query", NS_ROSTER) : NULL;
    return query != NULL ? xml_node_child(query, "item", NS_ROSTER) : NULL;
}

bool roster_full(const struct user *u, struct str bare, bool listed)
{
    int64_t left = jsm->config->roster_max_items;
    const struct roster_item *known = roster_find(u, bare);
    if (known != NULL && (known->in_roster || !listed)) return false;
    if ((int64_t)u->roster.count < left) return false;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&u->roster, &it, &key, &value))
        if (((struct roster_item *)value)->in_roster == listed) left--;
    return left <= 0;
}

const char *roster_refuse_full(const struct context *cx, const char **text)
{
    static _Thread_local uint64_t counted; /* rows are checked before they are asked about and again when they are applied */
    if (counted != cx->stanza->sid) metric_inc(METRIC_ROSTER_OVER_LIMIT);
    counted = cx->stanza->sid;
    *text = "The roster has as many contacts as this service allows.";
    return "resource-constraint";
}

/* RFC 6121, 2.3.3: the errors of a roster set, before anything is changed. */
const char *roster_set_check(const struct context *cx, const char **text)
{
    struct xml_node *item = item_of(cx);
    struct jid jid;
    struct err err;
    *text = "A roster set holds exactly one item with a 'jid'.";
    if (item == NULL || xml_node_next(item, "item", NS_ROSTER) != NULL || xml_node_attr(item, "jid").p == NULL) return "bad-request";
    if (jid_parse(cx->arena, xml_node_attr(item, "jid"), &jid, &err) != 0) {
        *text = "The item's 'jid' is not a valid address.";
        return "bad-request";
    }
    if (jid_bare_eq(&jid, &cx->user->jid)) {
        *text = "A user cannot be in his own roster.";
        return "not-allowed";
    }
    if (xml_node_attr(item, "name").n > ROSTER_NAME_BYTES) {
        *text = "The item's 'name' is longer than 1023 bytes.";
        return "not-acceptable";
    }
    unsigned groups = 0;
    for (struct xml_node *g = xml_node_child(item, "group", NS_ROSTER); g != NULL; g = xml_node_next(g, "group", NS_ROSTER)) {
        struct str name = xml_node_text(cx->arena, g);
        if (name.n == 0 || name.n > ROSTER_NAME_BYTES || ++groups > ROSTER_GROUPS) {
            *text = "A group's name has 1 to 1023 bytes, and an item at most 64 groups.";
            return "not-acceptable";
        }
        for (struct xml_node *other = xml_node_child(item, "group", NS_ROSTER); other != g; other = xml_node_next(other, "group", NS_ROSTER)) {
            if (str_eq(xml_node_text(cx->arena, other), name)) {
                *text = "The same group is named twice.";
                return "bad-request";
            }
        }
    }
    if (str_is(xml_node_attr(item, "subscription"), "remove")) {
        const struct roster_item *known = roster_find(cx->user, jid.bare);
        *text = "There is no such item in the roster.";
        if (known == NULL || !known->in_roster) return "item-not-found";
    } else if (roster_full(cx->user, jid.bare, true)) {
        return roster_refuse_full(cx, text);
    }
    *text = NULL;
    return NULL;
}

/* RFC 6121, 2.5.2: removing an item also ends the subscriptions in both directions. Those who wait for the result may rely on the contact having heard of it. */
static void remove_item(const struct context *cx, struct effects *fx, const struct jid *contact)
{
    struct roster_item *item = roster_find(cx->user, contact->bare);
    struct jid bare = jid_to_bare(cx->arena, contact);
    bool to = item->subscription == SUBSCRIPTION_TO || item->subscription == SUBSCRIPTION_BOTH || item->ask;
    bool from = item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH;
    bool asks = item->pending_in != NULL;
    store_batch_roster_delete(effect_store(fx, cx->user), bare.bare, ++cx->user->roster_version);
    if (to) effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_UNSUBSCRIBE, &cx->user->jid, &bare, STR_NONE, STR("")), 0);
    if (from) presence_to_contact(cx, fx, &bare, false); /* while he is subscribed (3.2.2) */
    if (from || asks) effect_route(fx, stanza_make(STANZA_PRESENCE, PRESENCE_UNSUBSCRIBED, &cx->user->jid, &bare, STR_NONE, STR("")), 0);
    effect_roster_push(fx, cx->user, NULL, bare.bare); /* does not wait: another client's change would be told before it */
    effect_settle(fx);
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
    roster_drop(cx->user, bare.bare);
}

void roster_set_apply(const struct context *cx, struct effects *fx)
{
    struct xml_node *node = item_of(cx);
    struct jid jid;
    struct err err;
    if (node == NULL || jid_parse(cx->arena, xml_node_attr(node, "jid"), &jid, &err) != 0) {
        effect_error(fx, cx, "bad-request", NULL);
        return;
    }
    if (str_is(xml_node_attr(node, "subscription"), "remove")) {
        remove_item(cx, fx, &jid);
        return;
    }
    struct roster_item *item = roster_make(cx->user, jid.bare);
    item->in_roster = true;
    free(item->name);
    struct str name = xml_node_attr(node, "name");
    item->name = name.n > 0 ? str_dup(name) : NULL;
    struct str groups[ROSTER_GROUPS];
    unsigned n = 0;
    for (struct xml_node *g = xml_node_child(node, "group", NS_ROSTER); g != NULL && n < ROSTER_GROUPS; g = xml_node_next(g, "group", NS_ROSTER))
        groups[n++] = xml_node_text(cx->arena, g);
    roster_set_groups(item, groups, n);
    roster_save(effect_store(fx, cx->user), cx->user, item);
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
    effect_roster_push(fx, cx->user, item, STR_NONE);
}

/* RFC 6121, 2.3.3: only the account itself changes its roster. */
void roster_foreign_apply(const struct context *cx, struct effects *fx) { effect_error(fx, cx, "forbidden", "A roster is changed by its own user."); }
