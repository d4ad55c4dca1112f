/* Service discovery (XEP-0030): lists exactly what works. An account tells others only when they may see its presence (XEP-0030, 8). */
#include "jsm/features/features.h"
#include "xml/writer.h"

#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"

enum { ON_SERVER = 1, ON_ACCOUNT = 2 };
static const struct {
    const char *var;
    unsigned places;
} features[] = {
#define FEATURE(var, places, spec) {var, places},
#include "tables/features.def"
#undef FEATURE
};

/* A contact's account is hidden from those who have no subscription to it: as RFC 6121, 8.5.2.1.3 has it for an account that takes no IQ. */
bool account_visible(const struct context *cx)
{
    if (cx->session != NULL || jid_bare_eq(&cx->stanza->from, &cx->user->jid)) return true;
    const struct roster_item *item = roster_find(cx->user, cx->stanza->from.bare);
    return item != NULL && (item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH);
}

static struct xml_node *query_of(const struct context *cx)
{
    struct err err;
    struct xml_node *tree = stanza_tree(cx->stanza, &cx->stanza->children[0], cx->arena, &err);
    struct xml_node *query = tree != NULL ? xml_node_child(tree, "query", NULL) : NULL;
    return query != NULL ? query : tree;
}

static bool at_server(const struct context *cx) { return jid_present(&cx->stanza->to) && cx->stanza->to.local.p == NULL; }

const char *disco_check(const struct context *cx, const char **text)
{
    struct xml_node *query = query_of(cx);
    if (query == NULL) return "bad-request";
    struct str node = xml_node_attr(query, "node");
    if (node.p == NULL || (at_server(cx) && adhoc_node(node))) return NULL;
    *text = "This entity has no such node.";
    return "item-not-found";
}

void disco_info_apply(const struct context *cx, struct effects *fx)
{
    if (!account_visible(cx)) {
        effect_error(fx, cx, "service-unavailable", NULL);
        return;
    }
    bool server = at_server(cx);
    struct xml_node *query = query_of(cx);
    struct str node = query != NULL ? xml_node_attr(query, "node") : STR_NONE;
    struct buf b = {0};
    if (node.p != NULL) { /* one of the nodes that disco_check() let through */
        buf_adds(&b, "<query xmlns='" NS_DISCO_INFO "'");
        xml_add_attr(&b, "node", node);
        buf_adds(&b, ">");
        adhoc_write_info(node, &b);
        buf_adds(&b, "</query>");
        effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
        buf_free(&b);
        return;
    }
    buf_adds(&b, "<query xmlns='" NS_DISCO_INFO "'>");
    buf_adds(&b, server ? "<identity category='server' type='im' name='Signet'/>" : "<identity category='account' type='registered'/>");
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (features[i].places & (server ? ON_SERVER : ON_ACCOUNT)) buf_addf(&b, "<feature var='%s'/>", features[i].var);
    if (server && adhoc_offered()) buf_adds(&b, "<feature var='http://jabber.org/protocol/commands'/>");
    if (server && jsm->config->register_enabled) buf_adds(&b, "<feature var='jabber:iq:register'/>");
    buf_adds(&b, "</query>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}

void disco_items_apply(const struct context *cx, struct effects *fx)
{
    if (!account_visible(cx)) {
        effect_error(fx, cx, "service-unavailable", NULL);
        return;
    }
    struct xml_node *query = query_of(cx);
    struct str node = query != NULL ? xml_node_attr(query, "node") : STR_NONE;
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_DISCO_ITEMS "'");
    xml_add_attr(&b, "node", node);
    buf_adds(&b, ">");
    if (node.p != NULL && str_is(node, "http://jabber.org/protocol/commands")) adhoc_write_items(cx, &b);
    buf_adds(&b, "</query>");
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}
