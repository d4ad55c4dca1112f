/* Finding secrets: by the first child's namespace, so that a stanza which can hold none costs one comparison; then by names in its tree. */
#include "broker/secret.h"
#include "xml/writer.h"

#define NS_REGISTER "jabber:iq:register"
#define NS_COMMANDS "http://jabber.org/protocol/commands"
#define NS_DATA "jabber:x:data"

static bool may_hold(const struct stanza *s)
{
    if (s->kind != STANZA_IQ || s->type != IQ_SET || s->n_children == 0) return false;
    return str_is(s->children[0].ns, NS_REGISTER) || str_is(s->children[0].ns, NS_COMMANDS);
}

static bool is_secret(const struct xml_node *n)
{
    if (n->name.p == NULL) return false;
    if (str_is(n->name, "password")) return str_is(n->ns, NS_REGISTER);
    if (!str_is(n->name, "field") || !str_is(n->ns, NS_DATA)) return false;
    struct str var = xml_node_attr(n, "var");
    return str_is(var, "password") || str_is(var, "password-verify") || str_is(var, "old_password");
}

/* The next node in document order; below: also into this one's children. */
static struct xml_node *following(struct xml_node *n, bool below)
{
    if (below && n->first != NULL) return n->first;
    while (n != NULL && n->next == NULL) n = n->parent;
    return n != NULL ? n->next : NULL;
}

static struct xml_node *next_secret(struct xml_node *n, bool below)
{
    for (n = following(n, below); n != NULL; n = following(n, true))
        if (is_secret(n)) return n;
    return NULL;
}

static bool is_blank(struct arena *a, const struct xml_node *n)
{
    const struct xml_node *value = str_is(n->name, "field") ? xml_node_child(n, "value", NULL) : n;
    return value == NULL || xml_node_text(a, value).n == 0;
}

static struct stanza *with_tree(const struct stanza *s, const struct xml_node *root)
{
    struct buf inner = {0};
    for (const struct xml_node *n = root->first; n != NULL; n = n->next) xml_add_node(&inner, n, NS_CLIENT);
    struct str bytes = buf_str(&inner);
    struct stanza_change change = {.inner = &bytes};
    struct stanza *made = stanza_with(s, &change);
    buf_free(&inner);
    return made;
}

struct stanza *secret_blank(const struct stanza *s)
{
    if (!may_hold(s)) return NULL;
    struct err err;
    struct arena *a = arena_new(0);
    struct xml_node *root = stanza_tree(s, NULL, a, &err);
    struct stanza *blank = NULL;
    bool found = false;
    for (struct xml_node *n = root != NULL ? next_secret(root, true) : NULL; n != NULL; n = next_secret(n, false)) {
        n->first = n->last = NULL;
        found = true;
    }
    if (found) blank = with_tree(s, root);
    arena_free(a);
    return blank;
}

/* The secret of the same name and field as this one. */
static const struct xml_node *same_secret(struct xml_node *root, const struct xml_node *n)
{
    struct str var = xml_node_attr(n, "var");
    for (struct xml_node *o = next_secret(root, true); o != NULL; o = next_secret(o, false)) {
        struct str other = xml_node_attr(o, "var");
        if (str_eq(o->name, n->name) && (var.p != NULL) == (other.p != NULL) && (var.p == NULL || str_eq(var, other))) return o;
    }
    return NULL;
}

struct stanza *secret_restore(const struct stanza *original, const struct stanza *changed)
{
    if (!may_hold(changed)) return stanza_ref(changed);
    struct err err;
    struct arena *a = arena_new(0);
    struct xml_node *old = stanza_tree(original, NULL, a, &err), *root = stanza_tree(changed, NULL, a, &err);
    struct stanza *restored = NULL;
    for (struct xml_node *n = old != NULL && root != NULL ? next_secret(root, true) : NULL; n != NULL; n = next_secret(n, false)) {
        const struct xml_node *known = is_blank(a, n) ? same_secret(old, n) : NULL;
        if (known == NULL) continue;
        n->first = known->first; /* both trees live in this arena */
        n->last = known->last;
    }
    if (root != NULL) restored = with_tree(changed, root);
    arena_free(a);
    return restored != NULL ? restored : stanza_ref(changed);
}
