/* Service discovery (XEP-0030): lists exactly what works. An account tells others only when they may see its presence (XEP-0030, 8). */
#include "jsm/features/features.h"
#include "xml/writer.h"

#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"

static const char *const server_features[] = {
    NS_DISCO_INFO, NS_DISCO_ITEMS, "jabber:iq:roster", "msgoffline", "urn:xmpp:ping",
};
static const char *const account_features[] = {NS_DISCO_INFO, NS_DISCO_ITEMS, "urn:xmpp:ping"};

/* A contact's account is hidden from those who have no subscription to it: as RFC 6121, 8.5.2.1.3 has it for an account that takes no IQ. */
static bool may_see(const struct context *cx)
{
    if (cx->session != NULL || jid_bare_eq(&cx->stanza->from, &cx->user->jid)) return true;
    const struct roster_item *item = roster_find(cx->user, cx->stanza->from.bare);
    return item != NULL && (item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH);
}

const char *disco_check(const struct context *cx, const char **text)
{
    struct err err;
    struct xml_node *tree = stanza_tree(cx->stanza, &cx->stanza->children[0], cx->arena, &err);
    struct xml_node *query = tree != NULL ? xml_node_child(tree, "query", NULL) : NULL;
    if (query == NULL) query = tree;
    if (query == NULL) return "bad-request";
    if (xml_node_attr(query, "node").p == NULL) return NULL;
    *text = "This entity has no such node.";
    return "item-not-found";
}

void disco_info_apply(const struct context *cx, struct effects *fx)
{
    if (!may_see(cx)) {
        effect_error(fx, cx, "service-unavailable", NULL);
        return;
    }
    bool server = jid_present(&cx->stanza->to) && cx->stanza->to.local.p == NULL;
    const char *const *features = server ? server_features : account_features;
    size_t n = server ? sizeof(server_features) / sizeof(server_features[0]) : sizeof(account_features) / sizeof(account_features[0]);
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_DISCO_INFO "'>");
    buf_adds(&b, server ? "<identity category='server' type='im' name='Signet'/>" : "<identity category='account' type='registered'/>");
    for (size_t i = 0; i < n; i++) buf_addf(&b, "<feature var='%s'/>", features[i]);
    buf_adds(&b, "</query>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

void disco_items_apply(const struct context *cx, struct effects *fx)
{
    if (!may_see(cx)) {
        effect_error(fx, cx, "service-unavailable", NULL);
        return;
    }
    effect_reply(fx, stanza_result(cx->stanza, STR("<query xmlns='" NS_DISCO_ITEMS "'/>")));
}
