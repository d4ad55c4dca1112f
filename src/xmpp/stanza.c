/* Stanzas: made from what a parser reports, from trees, from text, or by us; never changed afterwards. The header is parsed, the children stay bytes
 * with an index. Names and namespaces of the index point into those bytes where they occur there, which is nearly always, so a chat message costs one
 * allocation of its own size and a little. */
#include "xmpp/stanza_private.h"

#include <stdlib.h>
#include <string.h>
#include "xml/writer.h"

#define XML_NS     "http://www.w3.org/XML/1998/namespace"
#define NEAR_BYTES 256 /* how far into a child its namespace is looked for */

static const char *const kind_names[] = {[STANZA_MESSAGE] = "message", [STANZA_PRESENCE] = "presence", [STANZA_IQ] = "iq"};

static const struct {
    enum stanza_kind kind;
    const char *name;
} types[] = {
    [MESSAGE_NORMAL] = {STANZA_MESSAGE, "normal"},
    [MESSAGE_CHAT] = {STANZA_MESSAGE, "chat"},
    [MESSAGE_GROUPCHAT] = {STANZA_MESSAGE, "groupchat"},
    [MESSAGE_HEADLINE] = {STANZA_MESSAGE, "headline"},
    [MESSAGE_ERROR] = {STANZA_MESSAGE, "error"},
    [PRESENCE_AVAILABLE] = {STANZA_PRESENCE, NULL},
    [PRESENCE_UNAVAILABLE] = {STANZA_PRESENCE, "unavailable"},
    [PRESENCE_PROBE] = {STANZA_PRESENCE, "probe"},
    [PRESENCE_SUBSCRIBE] = {STANZA_PRESENCE, "subscribe"},
    [PRESENCE_SUBSCRIBED] = {STANZA_PRESENCE, "subscribed"},
    [PRESENCE_UNSUBSCRIBE] = {STANZA_PRESENCE, "unsubscribe"},
    [PRESENCE_UNSUBSCRIBED] = {STANZA_PRESENCE, "unsubscribed"},
    [PRESENCE_ERROR] = {STANZA_PRESENCE, "error"},
    [IQ_GET] = {STANZA_IQ, "get"},
    [IQ_SET] = {STANZA_IQ, "set"},
    [IQ_RESULT] = {STANZA_IQ, "result"},
    [IQ_ERROR] = {STANZA_IQ, "error"},
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

_Static_assert(N_TYPES == IQ_ERROR + 1, "a name for every type");

const char *stanza_kind_name(enum stanza_kind kind)
{
    return kind_names[kind];
}

const char *stanza_type_name(enum stanza_type type)
{
    return types[type].name;
}

static bool is_content_ns(struct str ns)
{
    return str_is(ns, NS_CLIENT) || str_is(ns, "jabber:server") || str_is(ns, "jabber:component:accept") || str_is(ns, "jabber:component:connect");
}

struct stanza *stanza_alloc(size_t room)
{
    struct arena *a = arena_new(sizeof(struct stanza) + sizeof(struct stanza_private) + 128 + room);
    struct stanza *s = arena_zalloc(a, sizeof(*s));
    s->priv = arena_zalloc(a, sizeof(*s->priv));
    s->priv->arena = a;
    atomic_init(&s->priv->refs, 1);
    return s;
}

struct stanza *stanza_ref(const struct stanza *s)
{
    atomic_fetch_add_explicit(&s->priv->refs, 1, memory_order_relaxed);
    return (struct stanza *)s; /* const for its users; the count is the one thing that changes */
}

void stanza_unref(struct stanza *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->priv->refs, 1, memory_order_acq_rel) != 1) return;
    stanza_unref(s->priv->owner);
    arena_free(s->priv->arena);
}

/* What is to become a stanza, borrowed: a parsed element's or a node's. */
struct source {
    struct str name, ns;
    const struct xml_attribute *attributes;
    unsigned n_attributes;
    struct str inner; /* default namespace: ns */
    const struct xml_child *children;
    unsigned n_children;
};

static int invalid(const char **condition, const char *which, struct err *err, const char *text)
{
    *condition = which;
    return err_set(err, ERR_INVALID, "%s", text);
}

static int set_kind_and_type(struct stanza *s, const struct source *src, struct str type, const char **condition, struct err *err)
{
    unsigned kind = 0;
    while (kind < 3 && !str_is(src->name, kind_names[kind])) kind++;
    if (kind == 3 || !is_content_ns(src->ns)) return invalid(condition, "bad-request", err, "this element is no stanza: not message, presence or iq");
    s->kind = (enum stanza_kind)kind;
    if (type.p == NULL) {
        s->type = s->kind == STANZA_MESSAGE ? MESSAGE_NORMAL : PRESENCE_AVAILABLE;
        return s->kind != STANZA_IQ ? 0 : invalid(condition, "bad-request", err, "an iq needs a type: get, set, result or error");
    }
    for (size_t i = 0; i < N_TYPES; i++) {
        if (types[i].kind != s->kind || types[i].name == NULL || !str_is(type, types[i].name)) continue;
        s->type = (enum stanza_type)i;
        return 0;
    }
    if (s->kind == STANZA_MESSAGE) { /* RFC 6121, 5.2.2: an unknown type is as if it were normal */
        s->type = MESSAGE_NORMAL;
        return 0;
    }
    return invalid(condition, "bad-request", err,
                   s->kind == STANZA_IQ
                       ? "an iq's type is one of get, set, result and error"
                       : "a presence has no type, or one of unavailable, probe, subscribe, subscribed, unsubscribe, unsubscribed and error");
}

static int set_jid(struct arena *a, struct jid *out, struct str text, const char *which, const char **condition, struct err *err)
{
    if (jid_parse(a, text, out, err) == 0) return 0;
    *condition = "jid-malformed";
    return err_prefix(err, "the '%s' address", which);
}

/* A copy; an empty text needs none. */
static struct str keep(struct arena *a, struct str s)
{
    return s.n > 0 ? arena_str(a, s) : s.p != NULL ? STR("") : STR_NONE;
}

struct xml_attribute stanza_attribute_copy(struct arena *a, const struct xml_attribute *from)
{
    return (struct xml_attribute){
        .name = keep(a, from->name), .ns = keep(a, from->ns), .prefix = keep(a, from->prefix), .value = keep(a, from->value)};
}

/* The five attributes we know become fields, the others are kept. */
static int set_attributes(struct stanza *s, const struct source *src, const char **condition, struct err *err)
{
    struct arena *a = s->priv->arena;
    struct str type = STR_NONE, from = STR_NONE, to = STR_NONE;
    struct xml_attribute *others = NULL;
    for (unsigned i = 0; i < src->n_attributes; i++) {
        const struct xml_attribute *at = &src->attributes[i];
        bool plain = at->ns.p == NULL;
        if (plain && str_is(at->name, "type")) {
            type = at->value;
        } else if (plain && str_is(at->name, "id")) {
            s->id = keep(a, at->value);
        } else if (plain && str_is(at->name, "from")) {
            from = at->value;
        } else if (plain && str_is(at->name, "to")) {
            to = at->value;
        } else if (!plain && str_is(at->name, "lang") && str_is(at->ns, XML_NS)) {
            s->lang = keep(a, at->value);
        } else {
            if (others == NULL) others = arena_alloc(a, (src->n_attributes - i) * sizeof(*others));
            others[s->n_others++] = stanza_attribute_copy(a, at);
        }
    }
    s->others = others;
    if (set_kind_and_type(s, src, type, condition, err) < 0) return -1;
    if (from.p != NULL && set_jid(a, &s->from, from, "from", condition, err) < 0) return -1;
    if (to.p != NULL && set_jid(a, &s->to, to, "to", condition, err) < 0) return -1;
    if (s->kind == STANZA_IQ && s->id.p == NULL) return invalid(condition, "bad-request", err, "an iq needs an id");
    return 0;
}

/* Where the text occurs in the bytes near the child's start: the index points there rather than at a copy. */
static struct str point_or_keep(struct arena *a, struct str inner, const struct xml_child *c, struct str text)
{
    if (text.n == 0) return STR("");
    size_t n = c->length < NEAR_BYTES ? c->length : NEAR_BYTES;
    const char *found = memmem(inner.p + c->offset, n, text.p, text.n);
    return found != NULL ? (struct str){found, text.n} : arena_str(a, text);
}

/* content_ns: the default namespace of the bytes, which is jabber:client from here on. */
static void set_children(struct stanza *s, struct str inner, struct str content_ns, const struct xml_child *children, unsigned n)
{
    struct arena *a = s->priv->arena;
    s->inner = keep(a, inner.p != NULL ? inner : STR(""));
    struct xml_child *out = n > 0 ? arena_alloc(a, n * sizeof(*out)) : NULL;
    for (unsigned i = 0; i < n; i++) {
        out[i] = children[i];
        out[i].name = point_or_keep(a, s->inner, &children[i], children[i].name);
        out[i].ns = str_eq(children[i].ns, content_ns) ? STR(NS_CLIENT) : point_or_keep(a, s->inner, &children[i], children[i].ns);
    }
    s->children = out;
    s->n_children = n;
}

int stanza_set_inner(struct stanza *s, struct str inner, struct err *err)
{
    struct arena *a = arena_new(0);
    struct xml_child *children;
    unsigned n;
    int rc = xml_children_index(a, inner, NS_CLIENT, &children, &n, err);
    if (rc == 0) set_children(s, inner, STR(NS_CLIENT), children, n);
    arena_free(a);
    return rc;
}

static void rename_ns(struct xml_node *n, struct str from)
{
    if (str_eq(n->ns, from)) n->ns = STR(NS_CLIENT);
    for (struct xml_node *c = n->first; c != NULL; c = c->next) rename_ns(c, from);
}

/* In bytes whose default namespace is another content namespace than jabber:client, that namespace may also be named. A character reference could
 * hide the name, so where there is one it is looked at closely too. */
static int set_foreign_children(struct stanza *s, const struct source *src, struct err *err)
{
    bool named =
        src->inner.n > 0 && (memmem(src->inner.p, src->inner.n, src->ns.p, src->ns.n) != NULL || memmem(src->inner.p, src->inner.n, "&#", 2) != NULL);
    if (!named) {
        set_children(s, src->inner, src->ns, src->children, src->n_children);
        return 0;
    }
    struct arena *a = arena_new(0);
    struct buf b = {0};
    char *ns = arena_strndup(a, src->ns.p, src->ns.n);
    struct xml_node *root = xml_tree_parse(a, src->inner, ns, err);
    int rc = -1;
    if (root != NULL) {
        rename_ns(root, src->ns);
        xml_add_node(&b, root, NS_CLIENT);
        rc = stanza_set_inner(s, buf_str(&b), err);
    }
    buf_free(&b);
    arena_free(a);
    return rc;
}

static size_t room_for(const struct source *src)
{
    size_t room = src->inner.n + 1 + src->n_children * sizeof(struct xml_child) + 64;
    for (unsigned i = 0; i < src->n_attributes; i++) room += src->attributes[i].value.n + 32;
    return room;
}

static struct stanza *from_source(const struct source *src, const char **condition, struct err *err)
{
    const char *which = "bad-request";
    struct stanza *s = stanza_alloc(room_for(src));
    int rc = set_attributes(s, src, &which, err);
    if (rc == 0) {
        if (!str_is(src->ns, NS_CLIENT))
            rc = set_foreign_children(s, src, err);
        else
            set_children(s, src->inner, src->ns, src->children, src->n_children);
    }
    if (rc == 0 && stanza_is_request(s) && s->n_children != 1)
        rc = invalid(&which, "bad-request", err, "an iq of type get or set has exactly one child element");
    if (rc == 0 && s->type == IQ_RESULT && s->n_children > 1)
        rc = invalid(&which, "bad-request", err, "an iq of type result has at most one child element");
    if (rc == 0) return s;
    if (condition != NULL) *condition = which;
    stanza_unref(s);
    return NULL;
}

struct stanza *stanza_from_element(const struct xml_element *e, const char **condition, struct err *err)
{
    struct source src = {e->name, e->ns, e->attributes, e->n_attributes, e->inner, e->children, e->n_children};
    return from_source(&src, condition, err);
}

struct stanza *stanza_from_node(const struct xml_node *n, const char **condition, struct err *err)
{
    struct buf inner = {0};
    char *ns = str_dup(n->ns.p != NULL ? n->ns : STR(""));
    for (const struct xml_node *c = n->first; c != NULL; c = c->next) xml_add_node(&inner, c, ns);
    struct source src = {.name = n->name, .ns = str_of(ns), .attributes = n->attributes, .n_attributes = n->n_attributes, .inner = buf_str(&inner)};
    struct arena *a = arena_new(0);
    struct xml_child *children = NULL;
    struct stanza *s = NULL;
    if (xml_children_index(a, src.inner, ns, &children, &src.n_children, err) == 0) {
        src.children = children;
        s = from_source(&src, condition, err);
    } else if (condition != NULL) {
        *condition = "bad-request";
    }
    arena_free(a);
    buf_free(&inner);
    free(ns);
    return s;
}

struct text_reader {
    struct stanza *s;
    struct err *err;
    unsigned elements;
};

static enum xml_next text_header(void *arg, const struct xml_header *header)
{
    (void)arg, (void)header;
    return XML_GO_ON;
}

static enum xml_next text_element(void *arg, const struct xml_element *e)
{
    struct text_reader *r = arg;
    if (r->elements++ == 0) r->s = stanza_from_element(e, NULL, r->err);
    return r->s != NULL ? XML_GO_ON : XML_STOP;
}

struct stanza *stanza_from_text(struct str text, struct err *err)
{
    static const struct xml_parser_ops ops = {text_header, text_element};
    /* What is in the store was within limits once, and may have been wrapped since. */
    static const struct xml_limits limits = {.stanza_bytes = 64 << 20, .tag_bytes = 1 << 20, .depth = 128, .attributes = 256, .children = 1 << 20};
    const struct str header = STR("<x xmlns='" NS_CLIENT "'>");
    struct text_reader r = {.err = err};
    struct xml_parser *p = xml_parser_new(&limits, &ops, &r);
    size_t used;
    enum xml_status status = xml_parser_feed(p, header.p, header.n, &used);
    if (status == XML_FED) status = xml_parser_feed(p, text.p, text.n, &used);
    bool whole = xml_parser_between(p) && r.elements == 1;
    if (status != XML_STOPPED && (status != XML_FED || !whole)) {
        const char *problem = xml_parser_problem(p);
        err_set(err, ERR_INVALID, "the text is not one whole stanza%s%s", problem[0] != '\0' ? ": " : "", problem);
        stanza_unref(r.s);
        r.s = NULL;
    }
    xml_parser_free(p);
    return r.s;
}
