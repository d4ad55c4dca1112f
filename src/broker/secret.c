/* Finding secrets: by the namespaces of the stanza's children, so that one which can hold none costs a comparison for each child; then by names in its tree. */
#include "broker/secret.h"
#include "xml/writer.h"
#include <string.h>

struct carrier {
    unsigned kinds;
    struct str ns;
};
enum place { TEXT, ATTRIBUTE, VALUE };
struct secret {
    const char *element, *ns;
    enum place place;
    const char *name;
};

#define K(kind) (1u << STANZA_##kind)
#define CARRIER(kinds, ns) {kinds, STR(ns)},
#define SECRET(element, ns, where, name, what)
static const struct carrier carriers[] = {
#include "tables/secrets.def"
};
#undef CARRIER
#undef SECRET
#define CARRIER(kinds, ns)
#define SECRET(element, ns, where, name, what) {element, ns, where, name},
static const struct secret secrets[] = {
#include "tables/secrets.def"
};
#undef CARRIER
#undef SECRET
enum { CARRIERS = sizeof(carriers) / sizeof(carriers[0]), SECRETS = sizeof(secrets) / sizeof(secrets[0]) };

/* The lengths of the carriers' namespaces, a bit for each: nearly every other namespace differs by its length already. */
#define SECRET(element, ns, where, name, what)
#define CARRIER(kinds, ns) | ((kinds) & KIND ? UINT64_C(1) << (sizeof(ns) - 1) : 0)
static const uint64_t lengths[] = {
#define KIND K(MESSAGE)
    [STANZA_MESSAGE] = 0
#include "tables/secrets.def"
#undef KIND
#define KIND K(PRESENCE)
    , [STANZA_PRESENCE] = 0
#include "tables/secrets.def"
#undef KIND
#define KIND K(IQ)
    , [STANZA_IQ] = 0
#include "tables/secrets.def"
#undef KIND
};
#undef CARRIER
#undef SECRET

static bool is_carrier(enum stanza_kind kind, struct str ns)
{
    for (unsigned i = 0; i < CARRIERS; i++)
        if ((carriers[i].kinds & 1u << kind) != 0 && str_eq(carriers[i].ns, ns)) return true;
    return false;
}

static bool may_hold(const struct stanza *s)
{
    for (unsigned i = 0; i < s->n_children; i++) {
        struct str ns = s->children[i].ns;
        if (ns.n < 64 && (lengths[s->kind] & UINT64_C(1) << ns.n) != 0 && is_carrier(s->kind, ns)) return true;
    }
    return false;
}

/* The row of an element that is a secret; SECRETS: it is none. */
static unsigned secret_of(const struct xml_node *n)
{
    unsigned i = 0;
    for (; i < SECRETS && n->name.p != NULL; i++) {
        const struct secret *r = &secrets[i];
        if (!str_is(n->name, r->element) || !str_is(n->ns, r->ns)) continue;
        if (r->place == TEXT || (r->place == ATTRIBUTE && xml_node_attr(n, r->name).p != NULL)) return i;
        if (r->place == VALUE && str_is(xml_node_attr(n, "var"), r->name)) return i;
    }
    return SECRETS;
}

static struct xml_node *following(const struct xml_node *n)
{
    if (n->first != NULL) return n->first;
    while (n != NULL && n->next == NULL) n = n->parent;
    return n != NULL ? n->next : NULL;
}

/* The next secret in document order and its row; only: of that row. */
static struct xml_node *next_secret(const struct xml_node *after, unsigned *row, unsigned only)
{
    for (struct xml_node *n = following(after); n != NULL; n = following(n)) {
        *row = secret_of(n);
        if (*row < SECRETS && (only == SECRETS || only == *row)) return n;
    }
    return NULL;
}

static bool is_value(const struct xml_node *n) { return str_is(n->name, "value") && str_is(n->ns, "jabber:x:data"); }

static bool is_blank(struct arena *a, const struct xml_node *n, const struct secret *r)
{
    if (r->place == ATTRIBUTE) return xml_node_attr(n, r->name).n == 0;
    if (r->place == TEXT) return xml_node_text(a, n).n == 0;
    for (const struct xml_node *child = n->first; child != NULL; child = child->next)
        if (child->name.p != NULL && is_value(child) && xml_node_text(a, child).n > 0) return false;
    return true;
}

/* Takes its values from a field and puts those of another one there; NULL: none. */
static void set_values(struct xml_node *field, struct xml_node *from)
{
    struct xml_node *all[2] = {field->first, from != NULL ? from->first : NULL};
    field->first = field->last = NULL;
    if (from != NULL) from->first = from->last = NULL; /* whoever goes on through that tree must not come into this one */
    for (unsigned i = 0; i < 2; i++) {
        for (struct xml_node *n = all[i], *next; n != NULL; n = next) {
            next = n->next;
            bool value = n->name.p != NULL && is_value(n);
            if (value != (i == 1)) continue;
            n->next = NULL;
            n->parent = field;
            if (field->last != NULL) field->last->next = n;
            if (field->last == NULL) field->first = n;
            field->last = n;
        }
    }
}

/* Both are in trees of this arena; from is of no use afterwards. NULL: blank. */
static void set_secret(struct arena *a, struct xml_node *n, const struct secret *r, struct xml_node *from)
{
    if (r->place == ATTRIBUTE) {
        xml_node_set(a, n, r->name, from != NULL ? xml_node_attr(from, r->name) : STR(""));
    } else if (r->place == VALUE) {
        set_values(n, from);
    } else {
        struct str text = from != NULL ? xml_node_text(a, from) : STR_NONE;
        n->first = n->last = NULL;
        if (text.n > 0) xml_node_add_text(a, n, text);
    }
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
    unsigned row;
    bool found = false;
    for (struct xml_node *n = root != NULL ? next_secret(root, &row, SECRETS) : NULL; n != NULL; n = next_secret(n, &row, SECRETS)) {
        set_secret(a, n, &secrets[row], NULL);
        found = true;
    }
    if (found) blank = with_tree(s, root);
    arena_free(a);
    return blank;
}

static void count_secrets(const struct xml_node *root, unsigned counts[SECRETS])
{
    unsigned row;
    memset(counts, 0, SECRETS * sizeof(*counts));
    for (const struct xml_node *n = root; (n = next_secret(n, &row, SECRETS)) != NULL;) counts[row]++;
}

/* false: there was nothing to restore */
static bool restore_all(struct arena *a, struct xml_node *old, struct xml_node *root)
{
    unsigned had[SECRETS], has[SECRETS], row, ignored;
    struct xml_node *at[SECRETS]; /* in the old tree, how far each row has come */
    count_secrets(old, had);
    count_secrets(root, has);
    bool any = false;
    for (unsigned i = 0; i < SECRETS; i++) at[i] = old;
    for (struct xml_node *n = root; (n = next_secret(n, &row, SECRETS)) != NULL;) {
        if (had[row] != has[row]) continue;
        struct xml_node *known = at[row] = next_secret(at[row], &ignored, row);
        if (!is_blank(a, n, &secrets[row])) continue;
        set_secret(a, n, &secrets[row], known);
        any = true;
    }
    return any;
}

struct stanza *secret_restore(const struct stanza *original, const struct stanza *changed)
{
    if (original == NULL || !may_hold(original) || !may_hold(changed)) return stanza_ref(changed);
    struct err err;
    struct arena *a = arena_new(0);
    struct xml_node *old = stanza_tree(original, NULL, a, &err), *root = stanza_tree(changed, NULL, a, &err);
    struct stanza *restored = NULL;
    if (old != NULL && root != NULL && restore_all(a, old, root)) restored = with_tree(changed, root);
    arena_free(a);
    return restored != NULL ? restored : stanza_ref(changed);
}
