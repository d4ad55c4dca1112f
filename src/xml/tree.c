/* Trees and indexes of bytes that were parsed before, or that come from a neighbour we trust less: the same refusals as on a stream, a depth that
 * bounds recursion, and namespaces shared between nodes, so that a long one used a thousand times is kept once. */
#include <string.h>
#include "xml/loan.h"
#include "xml/writer.h"

#define DEPTH_MAX 256 /* streams allow 64; wrappers of our own come on top */
#define NS_SHARED 32

struct builder {
    struct xml_loan *l;
    struct arena *a;
    struct xml_node *root, *at;
    unsigned skip, depth;
    struct buf text;
    struct str shared[NS_SHARED];
    unsigned n_shared;
    const char *problem;
};

static void problem(struct builder *t, const char *text)
{
    if (t->problem == NULL) t->problem = text;
    XML_StopParser(t->l->expat, XML_FALSE);
}

static struct str share_ns(struct builder *t, struct str ns)
{
    unsigned n = t->n_shared < NS_SHARED ? t->n_shared : NS_SHARED;
    for (unsigned i = 0; i < n; i++)
        if (str_eq(t->shared[i], ns)) return t->shared[i];
    return t->shared[t->n_shared++ % NS_SHARED] = arena_str(t->a, ns);
}

static void flush_text(struct builder *t)
{
    if (t->text.len == 0) return;
    xml_node_add_text(t->a, t->at, buf_str(&t->text));
    buf_reset(&t->text);
}

static void append(struct xml_node *parent, struct xml_node *n)
{
    n->parent = parent;
    if (parent->last != NULL)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
}

static void XMLCALL tree_start(void *arg, const char *name, const char **atts)
{
    struct builder *t = arg;
    if (t->problem != NULL) return;
    if (++t->depth <= t->skip) return;
    if (t->depth > DEPTH_MAX) return problem(t, "elements are nested too deep");
    flush_text(t);
    struct xml_qname q = xml_qname_of(name);
    struct xml_node *n = arena_zalloc(t->a, sizeof(*n));
    n->name = arena_str(t->a, q.local);
    n->ns = share_ns(t, q.ns);
    n->n_attributes = (unsigned)XML_GetSpecifiedAttributeCount(t->l->expat) / 2;
    struct xml_attribute *out = n->n_attributes > 0 ? arena_alloc(t->a, n->n_attributes * sizeof(*out)) : NULL;
    for (unsigned i = 0; i < n->n_attributes; i++) {
        q = xml_qname_of(atts[2 * i]);
        out[i] = (struct xml_attribute){
            .name = arena_str(t->a, q.local),
            .ns = q.ns.n != 0 ? share_ns(t, q.ns) : STR_NONE,
            .prefix = arena_str(t->a, q.prefix),
            .value = arena_str(t->a, str_of(atts[2 * i + 1])),
        };
    }
    n->attributes = out;
    append(t->at, n);
    t->at = n;
}

static void XMLCALL tree_end(void *arg, const char *name)
{
    (void)name;
    struct builder *t = arg;
    if (t->problem != NULL) return;
    flush_text(t);
    if (t->depth-- <= t->skip) return;
    t->at = t->at->parent;
}

static void XMLCALL tree_text(void *arg, const char *text, int n)
{
    struct builder *t = arg;
    if (t->depth >= t->skip) buf_add(&t->text, text, (size_t)n);
}

/* A doctype, comment or instruction: whichever handler, the first argument is the builder. */
static void refuse(struct builder *t)
{
    problem(t, "comments, processing instructions and document types are not allowed");
}

static void XMLCALL tree_comment(void *arg, const char *text)
{
    (void)text;
    refuse(arg);
}

static void XMLCALL tree_pi(void *arg, const char *target, const char *text)
{
    (void)target, (void)text;
    refuse(arg);
}

static void XMLCALL tree_doctype(void *arg, const char *name, const char *system_id, const char *public_id, int internal)
{
    (void)name, (void)system_id, (void)public_id, (void)internal;
    refuse(arg);
}

/* Parses before + bytes + after. The wrapper may end only where `after` says: bytes that close it are refused by the depth. */
static int run(struct builder *t, struct str before, struct str bytes, struct str after, struct err *err)
{
    XML_Parser expat = t->l->expat;
    XML_SetUserData(expat, t);
    XML_SetCommentHandler(expat, tree_comment);
    XML_SetProcessingInstructionHandler(expat, tree_pi);
    XML_SetStartDoctypeDeclHandler(expat, tree_doctype);
    bool ok = xml_loan_parse(t->l, before) == XML_STATUS_OK && t->depth == t->skip;
    ok = ok && xml_loan_parse(t->l, bytes) == XML_STATUS_OK;
    if (ok && t->depth != t->skip) return err_set(err, ERR_INVALID, "the XML is not well-formed: an element is not closed, or one too many is");
    ok = ok && xml_loan_parse(t->l, after) == XML_STATUS_OK && XML_Parse(expat, "", 0, 1) == XML_STATUS_OK;
    if (ok) return 0;
    if (t->problem != NULL) return err_set(err, ERR_INVALID, "%s", t->problem);
    return err_set(err, ERR_INVALID, "the XML is not well-formed: %s", XML_ErrorString(XML_GetErrorCode(expat)));
}

struct xml_node *xml_tree_parse_within(struct arena *a, struct str before, struct str bytes, struct str after, unsigned skip_depth, struct err *err)
{
    struct builder t = {.l = xml_loan_take(), .a = a, .skip = skip_depth};
    t.root = t.at = arena_zalloc(a, sizeof(*t.root));
    XML_SetElementHandler(t.l->expat, tree_start, tree_end);
    XML_SetCharacterDataHandler(t.l->expat, tree_text);
    int rc = run(&t, before, bytes, after, err);
    buf_free(&t.text);
    xml_loan_give(t.l);
    return rc == 0 ? t.root : NULL;
}

static void wrapper(struct buf *b, const char *default_ns)
{
    BUF_ADD_LIT(b, "<x");
    if (default_ns != NULL && default_ns[0] != '\0') xml_add_attr(b, "xmlns", str_of(default_ns));
    buf_addc(b, '>');
}

struct xml_node *xml_tree_parse(struct arena *a, struct str bytes, const char *default_ns, struct err *err)
{
    struct buf before = {0};
    wrapper(&before, default_ns);
    struct xml_node *root = xml_tree_parse_within(a, buf_str(&before), bytes, STR("</x>"), 1, err);
    buf_free(&before);
    return root;
}

/* The index: only the wrapper's children are looked at. */
struct indexer {
    struct builder t; /* first: handlers shared with trees see it as their argument */
    size_t wrapper;
    struct buf found; /* struct xml_child */
};

static void XMLCALL index_start(void *arg, const char *name, const char **atts)
{
    (void)atts;
    struct indexer *x = arg;
    if (x->t.problem != NULL) return;
    if (++x->t.depth > DEPTH_MAX) return problem(&x->t, "elements are nested too deep");
    if (x->t.depth != 2) return;
    struct xml_qname q = xml_qname_of(name);
    struct xml_child c = {.name = arena_str(x->t.a, q.local), .ns = share_ns(&x->t, q.ns)};
    c.offset = (uint32_t)((size_t)XML_GetCurrentByteIndex(x->t.l->expat) - x->wrapper);
    buf_add(&x->found, &c, sizeof(c));
}

static void XMLCALL index_end(void *arg, const char *name)
{
    (void)name;
    struct indexer *x = arg;
    if (x->t.problem != NULL || --x->t.depth != 1) return;
    size_t end = (size_t)XML_GetCurrentByteIndex(x->t.l->expat) + (size_t)XML_GetCurrentByteCount(x->t.l->expat) - x->wrapper;
    struct xml_child *c = (struct xml_child *)(void *)(x->found.data + x->found.len) - 1;
    c->length = (uint32_t)(end - c->offset);
}

int xml_children_index(struct arena *a, struct str bytes, const char *default_ns, struct xml_child **children, unsigned *n_children, struct err *err)
{
    *children = NULL;
    *n_children = 0;
    if (bytes.n == 0) return 0;
    if (bytes.n > UINT32_MAX / 2) return err_set(err, ERR_LIMIT, "more than 2 GiB of XML in one piece");
    struct buf before = {0};
    wrapper(&before, default_ns);
    struct indexer x = {.t = {.l = xml_loan_take(), .a = a, .skip = 1}, .wrapper = before.len};
    XML_SetElementHandler(x.t.l->expat, index_start, index_end);
    int rc = run(&x.t, buf_str(&before), bytes, STR("</x>"), err);
    if (rc == 0 && x.found.len > 0) {
        *children = arena_alloc(a, x.found.len);
        memcpy(*children, x.found.data, x.found.len);
        *n_children = xml_loan_count(&x.found, sizeof(struct xml_child));
    }
    buf_free(&x.found);
    buf_free(&before);
    xml_loan_give(x.t.l);
    return rc;
}

static bool node_matches(const struct xml_node *n, const char *name, const char *ns)
{
    return n->name.p != NULL && (name == NULL || str_is(n->name, name)) && (ns == NULL || str_is(n->ns, ns));
}

struct xml_node *xml_node_child(const struct xml_node *n, const char *name, const char *ns)
{
    for (struct xml_node *c = n->first; c != NULL; c = c->next)
        if (node_matches(c, name, ns)) return c;
    return NULL;
}

struct xml_node *xml_node_next(const struct xml_node *n, const char *name, const char *ns)
{
    for (struct xml_node *c = n->next; c != NULL; c = c->next)
        if (node_matches(c, name, ns)) return c;
    return NULL;
}

struct str xml_node_attr(const struct xml_node *n, const char *name)
{
    for (unsigned i = 0; i < n->n_attributes; i++)
        if (n->attributes[i].ns.p == NULL && str_is(n->attributes[i].name, name)) return n->attributes[i].value;
    return STR_NONE;
}

struct str xml_node_text(struct arena *a, const struct xml_node *n)
{
    const struct xml_node *only = NULL;
    size_t total = 0;
    for (const struct xml_node *c = n->first; c != NULL; c = c->next) {
        if (c->name.p != NULL) continue;
        only = total == 0 ? c : NULL;
        total += c->text.n;
    }
    if (total == 0) return STR("");
    if (only != NULL) return only->text;
    char *out = arena_alloc(a, total + 1);
    size_t at = 0;
    for (const struct xml_node *c = n->first; c != NULL; c = c->next) {
        if (c->name.p != NULL || c->text.n == 0) continue;
        memcpy(out + at, c->text.p, c->text.n);
        at += c->text.n;
    }
    out[at] = '\0';
    return (struct str){out, total};
}

struct xml_node *xml_node_new(struct arena *a, const char *name, const char *ns)
{
    struct xml_node *n = arena_zalloc(a, sizeof(*n));
    n->name = arena_str(a, str_of(name));
    n->ns = arena_str(a, str_of(ns != NULL ? ns : ""));
    return n;
}

struct xml_node *xml_node_add(struct arena *a, struct xml_node *parent, const char *name, const char *ns)
{
    struct xml_node *n = arena_zalloc(a, sizeof(*n));
    n->name = arena_str(a, str_of(name));
    n->ns = ns != NULL ? arena_str(a, str_of(ns)) : parent->ns.p != NULL ? parent->ns : STR("");
    append(parent, n);
    return n;
}

void xml_node_add_text(struct arena *a, struct xml_node *parent, struct str text)
{
    if (text.n == 0) return;
    struct xml_node *n = arena_zalloc(a, sizeof(*n));
    n->text = arena_str(a, text);
    append(parent, n);
}

void xml_node_set(struct arena *a, struct xml_node *n, const char *name, struct str value)
{
    if (value.p == NULL) return;
    /* "xml:lang" is how everyone writes it: kept as the attribute of that namespace. */
    bool xml = strncmp(name, "xml:", 4) == 0;
    struct xml_attribute fresh = {.name = arena_str(a, str_of(xml ? name + 4 : name))};
    if (xml) fresh.ns = STR(XML_NAMESPACE), fresh.prefix = STR("xml");
    struct xml_attribute *all = arena_alloc(a, (n->n_attributes + 1) * sizeof(*all));
    if (n->n_attributes > 0) memcpy(all, n->attributes, n->n_attributes * sizeof(*all));
    unsigned i = 0;
    while (i < n->n_attributes && !(str_eq(all[i].ns, fresh.ns) && str_eq(all[i].name, fresh.name))) i++;
    if (i == n->n_attributes) all[n->n_attributes++] = fresh;
    all[i].value = arena_str(a, value);
    n->attributes = all;
}
