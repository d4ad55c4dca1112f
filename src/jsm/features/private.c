/* Private XML storage (XEP-0049): an element per namespace and name, for the account's own sessions. An empty element says as much as none, so none
 * is kept. */
#include "jsm/features/features.h"
#include "xml/writer.h"

#define NS_PRIVATE "jabber:iq:private"
#define AREA "private"

static struct xml_node *query_of(const struct stanza *iq, struct arena *a)
{
    struct err err;
    return stanza_tree(iq, &iq->children[0], a, &err);
}

static struct str key_of(struct arena *a, const struct xml_node *node)
{
    return str_of(arena_printf(a, "{" STR_FMT "}" STR_FMT, STR_ARG(node->ns), STR_ARG(node->name)));
}

static void found(struct effects *fx, struct str xml)
{
    struct xml_node *query = query_of(fx->request, fx->arena);
    struct xml_node *asked = query != NULL ? xml_node_child(query, NULL, NULL) : NULL;
    struct buf b = {0};
    buf_adds(&b, "<query xmlns='" NS_PRIVATE "'>");
    if (xml.p != NULL)
        buf_add_str(&b, xml);
    else if (asked != NULL)
        xml_add_node(&b, asked, NS_PRIVATE);
    buf_adds(&b, "</query>");
    effect_reply(fx, stanza_result(fx->request, buf_str(&b)));
    buf_free(&b);
}

const char *private_get_check(const struct context *cx, const char **text)
{
    struct xml_node *query = query_of(cx->stanza, cx->arena);
    struct xml_node *asked = query != NULL ? xml_node_child(query, NULL, NULL) : NULL;
    *text = "Name one element of a namespace of its own.";
    if (asked == NULL || xml_node_next(asked, NULL, NULL) != NULL) return "bad-request";
    return str_is(asked->ns, NS_PRIVATE) || asked->ns.n == 0 ? "not-acceptable" : NULL;
}

void private_get_apply(const struct context *cx, struct effects *fx)
{
    struct xml_node *asked = xml_node_child(query_of(cx->stanza, cx->arena), NULL, NULL);
    effect_document(fx, AREA, key_of(fx->arena, asked), found);
}

static bool empty(const struct xml_node *node) { return node->first == NULL && node->n_attributes == 0; }

const char *private_set_check(const struct context *cx, const char **text)
{
    struct xml_node *query = query_of(cx->stanza, cx->arena);
    struct xml_node *first = query != NULL ? xml_node_child(query, NULL, NULL) : NULL;
    *text = "Give at least one element, each of a namespace of its own.";
    if (first == NULL) return "not-acceptable";
    for (struct xml_node *node = first; node != NULL; node = xml_node_next(node, NULL, NULL))
        if (str_is(node->ns, NS_PRIVATE) || node->ns.n == 0) return "not-acceptable";
    if (cx->stanza->children[0].length <= (size_t)jsm->config->private_max_bytes) return NULL;
    *text = "This is more than the service stores in one request.";
    return "policy-violation";
}

void private_set_apply(const struct context *cx, struct effects *fx)
{
    struct xml_node *query = query_of(cx->stanza, cx->arena);
    struct store_batch *batch = effect_store(fx, cx->user);
    for (struct xml_node *node = xml_node_child(query, NULL, NULL); node != NULL; node = xml_node_next(node, NULL, NULL)) {
        struct buf b = {0};
        xml_add_node(&b, node, NS_PRIVATE);
        struct str xml = empty(node) ? STR_NONE : buf_str(&b);
        store_batch_document_set(batch, AREA, key_of(cx->arena, node), xml, (unsigned)jsm->config->private_max_elements);
        buf_free(&b);
    }
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
}

void private_foreign_apply(const struct context *cx, struct effects *fx) { effect_error(fx, cx, "forbidden", "Private XML is its owner's."); }
