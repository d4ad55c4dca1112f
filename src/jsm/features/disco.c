/* Service discovery (XEP-0030) and the server's entity capabilities (XEP-0115): both say what works, from one table and the settings. An account
 * tells others only when they may see its presence (XEP-0030, 8): to everybody else it is as if it were not there. */
#include "jsm/features/disco.h"
#include "jsm/features/adhoc.h"
#include "xml/writer.h"
#include "xmpp/caps.h"
#include "xmpp/rsm.h"
#include <string.h>

#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"
#define CAPS_NODE "urn:x-signet:server"
#define ITEMS_MAX 100 /* of one page; there are fewer */

/* ---- the table ---- */
enum { ON_SERVER = 1, ON_ACCOUNT = 2 };
static bool always(const struct context *cx)
{
    (void)cx;
    return true;
}

static bool with_admins(const struct context *cx)
{
    (void)cx;
    return adhoc_offered();
}

static bool with_registration(const struct context *cx)
{
    (void)cx;
    return jsm->config->register_enabled;
}

static bool asked_by_admin(const struct context *cx) { return adhoc_allowed(cx); }

static const struct {
    const char *var;
    unsigned places;
    bool (*when)(const struct context *cx); /* cx NULL: of the server, nobody asks */
} features[] = {
#define FEATURE(var, places, when, spec) {var, places, when},
#include "tables/features.def"
#undef FEATURE
};
#define FEATURES (sizeof(features) / sizeof(features[0]))

/* ---- contact addresses (XEP-0157) ---- */
#define CONTACTS_MAX 16
#define CONTACT_KINDS 7
struct contacts {
    struct caps_field fields[CONTACT_KINDS];
    const char *values[CONTACT_KINDS][CONTACTS_MAX];
    unsigned n;
};

static void contacts_add(struct contacts *c, struct arena *a, const char *var, const char *list)
{
    struct caps_field *field = &c->fields[c->n];
    const char **values = c->values[c->n];
    unsigned n = 0;
    for (const char *p = list + strspn(list, " "); *p != '\0' && n < CONTACTS_MAX; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");
        values[n++] = arena_strndup(a, p, length);
        p += length;
    }
    if (n == 0) return;
    *field = (struct caps_field){var, "list-multi", values, n};
    c->n++;
}

static void contacts_fill(struct contacts *c, struct arena *a)
{
    const struct config *config = jsm->config;
    contacts_add(c, a, "abuse-addresses", config->contact_abuse);
    contacts_add(c, a, "admin-addresses", config->contact_admin);
    contacts_add(c, a, "feedback-addresses", config->contact_feedback);
    contacts_add(c, a, "sales-addresses", config->contact_sales);
    contacts_add(c, a, "security-addresses", config->contact_security);
    contacts_add(c, a, "status-addresses", config->contact_status);
    contacts_add(c, a, "support-addresses", config->contact_support);
}

/* ---- what an entity is ---- */
struct description {
    struct caps_info info;
    const char *features[FEATURES];
    struct contacts contacts;
    struct caps_form form;
};
static const struct caps_identity server_identities[] = {{"server", "im", NULL, "Signet"}};
static const struct caps_identity account_identities[] = {{"account", "registered", NULL, NULL}};

static const struct caps_info *describe(struct arena *a, const struct context *cx, unsigned place)
{
    struct description *d = arena_zalloc(a, sizeof(*d));
    struct caps_info *info = &d->info;
    info->identities = place == ON_SERVER ? server_identities : account_identities;
    info->n_identities = 1;
    for (size_t i = 0; i < FEATURES; i++)
        if ((features[i].places & place) != 0 && features[i].when(cx)) d->features[info->n_features++] = features[i].var;
    info->features = d->features;
    if (place != ON_SERVER) return info;
    contacts_fill(&d->contacts, a);
    d->form = (struct caps_form){"http://jabber.org/network/serverinfo", d->contacts.fields, d->contacts.n};
    info->forms = &d->form;
    info->n_forms = d->contacts.n > 0;
    return info;
}

/* Made anew each time: it is always that of what disco#info answers now. */
static void server_ver(struct arena *a, char ver[CAPS_VER_SIZE]) { caps_ver(describe(a, NULL, ON_SERVER), ver); }

/* A client that knows the hash does not ask. So none is given while compliance servers are shown the answer, and may make another of it. */
void disco_write_stream_feature(struct buf *b)
{
    char ver[CAPS_VER_SIZE];
    if (broker_lists(EVENT_e_DISCOFEAT, PACKET_IQ)) return;
    struct arena *a = arena_new(0);
    server_ver(a, ver);
    arena_free(a);
    buf_addf(b, "<c xmlns='" NS_CAPS "' hash='sha-1' node='" CAPS_NODE "' ver='%s'/>", ver);
}

static bool is_caps_node(struct arena *a, struct str node)
{
    char ver[CAPS_VER_SIZE];
    server_ver(a, ver);
    return str_is(node, arena_printf(a, CAPS_NODE "#%s", ver));
}

/* ---- the request ---- */
/* A contact's account is hidden from those who have no subscription to it: as RFC 6121, 8.5.2.1.3 has it for an account that takes no IQ. */
bool account_visible(const struct context *cx)
{
    if (cx->session != NULL || jid_bare_eq(&cx->stanza->from, &cx->user->jid)) return true;
    const struct roster_item *item = roster_find(cx->user, cx->stanza->from.bare);
    return item != NULL && (item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH);
}

static const struct xml_node *query_of(const struct stanza *iq, struct arena *a)
{
    struct err err;
    const struct xml_node *root = stanza_tree(iq, NULL, a, &err);
    return root != NULL ? xml_node_child(root, "query", NULL) : NULL;
}

static struct str node_of(const struct xml_node *query)
{
    struct str node = query != NULL ? xml_node_attr(query, "node") : STR_NONE;
    return node.n > 0 ? node : STR_NONE; /* an empty one is as if it were absent */
}

static bool at_server(const struct context *cx) { return jid_present(&cx->stanza->to) && cx->stanza->to.local.p == NULL; }

/* Nodes stand at the server and at the own account; NULL: there is such a one (or none is named). */
static const char *node_problem(const struct context *cx, struct str node, const char **text)
{
    if (node.p == NULL || (at_server(cx) && is_caps_node(cx->arena, node))) return NULL;
    enum adhoc_node kind = cx->session != NULL ? adhoc_node(node) : ADHOC_NO_NODE;
    if (kind == ADHOC_LIST) return NULL;
    if (kind == ADHOC_COMMAND && adhoc_allowed(cx)) return NULL;
    if (kind == ADHOC_COMMAND) { /* XEP-0050, 2.2 */
        *text = "This is for administrators.";
        return "forbidden";
    }
    *text = "This entity has no such node.";
    return "item-not-found";
}

const char *disco_check(const struct context *cx, const char **text)
{
    const struct xml_node *query = query_of(cx->stanza, cx->arena);
    return query != NULL ? node_problem(cx, node_of(query), text) : "bad-request";
}

static void query_begin(struct buf *b, const char *ns, struct str node)
{
    buf_addf(b, "<query xmlns='%s'", ns);
    xml_add_attr(b, "node", node);
    buf_adds(b, ">");
}

static struct stanza *query_result(const struct context *cx, struct buf *b)
{
    buf_adds(b, "</query>");
    struct stanza *result = stanza_result(cx->stanza, buf_str(b));
    buf_free(b);
    return result;
}

/* ---- disco#info ---- */
static void info_asked(struct effects *fx, const struct verdict *v)
{
    if (v->kind == VERDICT_PASS)
        effect_reply(fx, stanza_ref(v->stanza));
    else if (v->kind == VERDICT_REFUSE)
        effect_refuse(fx, stanza_error(fx->request, v->condition, v->type, v->text));
    else
        effect_refuse(fx, stanza_error(fx->request, "service-unavailable", NULL, NULL));
}

/* e_DISCOFEAT: what is told may be changed, or not be told. */
static void info_reply(struct effects *fx, struct stanza *take)
{
    struct question q = {.event = EVENT_e_DISCOFEAT, .subject = take, .session = take->to.full};
    effect_event(fx, &q, info_asked);
    stanza_unref(take);
}

void disco_info_apply(const struct context *cx, struct effects *fx)
{
    struct str node = node_of(query_of(cx->stanza, cx->arena));
    const char *text = NULL;
    if (!account_visible(cx)) {
        effect_error(fx, cx, "service-unavailable", NULL);
        return;
    }
    const char *condition = node_problem(cx, node, &text);
    if (condition != NULL) {
        effect_error(fx, cx, condition, text);
        return;
    }
    struct buf b = {0};
    query_begin(&b, NS_DISCO_INFO, node);
    if (node.p != NULL && adhoc_node(node) != ADHOC_NO_NODE)
        adhoc_write_info(node, &b);
    else
        caps_write(&b, describe(cx->arena, cx, at_server(cx) ? ON_SERVER : ON_ACCOUNT));
    info_reply(fx, query_result(cx, &b));
}

/* ---- disco#items: the services of the server, and the commands for those who may carry them out ---- */
struct item {
    struct str jid, node, name;
};

static struct str item_id(const void *arg, uint64_t i)
{
    const struct item *item = (const struct item *)arg + i;
    return item->node.p != NULL ? item->node : item->jid;
}

static uint64_t commands(const struct context *cx, struct item **out)
{
    uint64_t n = adhoc_commands();
    struct str jid = jid_present(&cx->stanza->to) ? cx->stanza->to.bare : cx->user->jid.bare;
    *out = arena_zalloc(cx->arena, n * sizeof(**out));
    for (unsigned i = 0; i < n; i++) (*out)[i] = (struct item){jid, str_of(adhoc_command_node(i)), str_of(adhoc_command_title(i))};
    return n;
}

static bool is_below(struct str domain, struct str above)
{
    return domain.n > above.n && domain.p[domain.n - above.n - 1] == '.' && str_eq((struct str){domain.p + domain.n - above.n, above.n}, above);
}

/* A service stands at the served domain its name is below, and at each when it is below none. */
static bool stands_at(struct str service, struct str domain)
{
    if (is_below(service, domain)) return true;
    const char *other;
    for (unsigned i = 0; (other = router_domain(i)) != NULL; i++)
        if (router_domain_served(str_of(other)) && is_below(service, str_of(other))) return false;
    return true;
}

static uint64_t services(const struct context *cx, struct item **out)
{
    uint64_t n = 0;
    const char *domain;
    unsigned most = 0;
    while (router_domain(most) != NULL) most++;
    *out = arena_zalloc(cx->arena, (most + 1) * sizeof(**out));
    for (unsigned i = 0; (domain = router_domain(i)) != NULL; i++)
        if (router_domain_of_rooms(str_of(domain)) && stands_at(str_of(domain), cx->stanza->to.domain))
            (*out)[n++] = (struct item){str_of(domain), STR_NONE, STR("Chat rooms")};
    return n;
}

static uint64_t items_of(const struct context *cx, struct str node, struct item **out)
{
    *out = NULL;
    if (node.p == NULL) return at_server(cx) ? services(cx, out) : 0;
    return adhoc_node(node) == ADHOC_LIST && adhoc_allowed(cx) ? commands(cx, out) : 0;
}

static void write_items(struct buf *b, const struct item *items, const struct rsm_page *page)
{
    for (uint64_t i = page->first; i < page->first + page->n; i++) {
        buf_adds(b, "<item");
        xml_add_attr(b, "jid", items[i].jid);
        xml_add_attr(b, "node", items[i].node);
        xml_add_attr(b, "name", items[i].name);
        buf_adds(b, "/>");
    }
}

void disco_items_apply(const struct context *cx, struct effects *fx)
{
    const struct xml_node *query = query_of(cx->stanza, cx->arena);
    struct str node = node_of(query);
    struct rsm_request rq = {0};
    struct rsm_page page;
    struct item *items = NULL;
    const char *text = NULL;
    struct buf b = {0};
    query_begin(&b, NS_DISCO_ITEMS, node);
    if (!account_visible(cx)) { /* as of an account that is not there */
        effect_reply(fx, query_result(cx, &b));
        return;
    }
    const char *condition = node_problem(cx, node, &text);
    uint64_t n = condition == NULL ? items_of(cx, node, &items) : 0;
    if (condition == NULL && rsm_read(query, cx->arena, &rq, &text) != 0) condition = "bad-request";
    if (condition == NULL && rsm_page(&rq, n, ITEMS_MAX, item_id, items, &page) != 0) {
        condition = "item-not-found";
        text = "The item named in <set/> is not there.";
    }
    if (condition != NULL) {
        buf_free(&b);
        effect_error(fx, cx, condition, text);
        return;
    }
    write_items(&b, items, &page);
    bool any = page.n > 0;
    rsm_write(&b, &rq, &page, any ? item_id(items, page.first) : STR_NONE, any ? item_id(items, page.first + page.n - 1) : STR_NONE);
    effect_reply(fx, query_result(cx, &b));
}

struct stanza *disco_of_nobody(const struct stanza *s)
{
    if (s->type != IQ_GET || s->n_children == 0 || !str_is(s->children[0].name, "query") || !str_is(s->children[0].ns, NS_DISCO_ITEMS)) return NULL;
    struct arena *a = arena_new(0);
    struct buf b = {0};
    query_begin(&b, NS_DISCO_ITEMS, node_of(query_of(s, a)));
    buf_adds(&b, "</query>");
    struct stanza *reply = stanza_result(s, buf_str(&b));
    buf_free(&b);
    arena_free(a);
    return reply;
}
