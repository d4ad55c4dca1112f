/* Stanzas that we make, alone or from another's bytes, and what is done with any stanza: write it, look at its children. */
#include <string.h>
#include "base/log.h"
#include "xml/writer.h"
#include "xmpp/stanza_private.h"

static struct jid jid_keep(struct arena *a, const struct jid *jid)
{
    return jid != NULL ? jid_copy(a, jid) : (struct jid){0};
}

/* Bytes we made and that are not XML are our own bug; whatever it is, it must not end the stream of the one who gets it. */
static void inner_set(struct stanza *s, struct str inner)
{
    struct err err;
    s->inner = STR("");
    if (inner.n == 0 || stanza_set_inner(s, inner, &err) == 0) return;
    log_error("stanza", "a %s made by this server has bad content, which is left out: %s", stanza_kind_name(s->kind), err.text);
}

struct stanza *stanza_make(enum stanza_kind kind, enum stanza_type type, const struct jid *from, const struct jid *to, struct str id,
                           struct str inner)
{
    size_t room = inner.n + id.n + (from != NULL ? from->full.n : 0) + (to != NULL ? to->full.n : 0) + 2 * sizeof(struct xml_child);
    struct stanza *s = stanza_alloc(room);
    struct arena *a = s->priv->arena;
    s->kind = kind;
    s->type = type;
    s->from = jid_keep(a, from);
    s->to = jid_keep(a, to);
    s->id = arena_str(a, id);
    s->sid = stanza_id_next();
    inner_set(s, inner);
    return s;
}

/* The other attributes live with the bytes; a stanza with bytes of its own has a copy. */
static void others_copy(struct stanza *s, const struct stanza *from)
{
    if (from->n_others == 0) return;
    struct xml_attribute *others = arena_alloc(s->priv->arena, from->n_others * sizeof(*others));
    for (unsigned i = 0; i < from->n_others; i++) others[i] = stanza_attribute_copy(s->priv->arena, &from->others[i]);
    s->others = others;
    s->n_others = from->n_others;
}

void stanza_set_lang(struct stanza *s, struct str lang)
{
    s->lang = arena_str(s->priv->arena, lang);
}

struct stanza *stanza_with(const struct stanza *s, const struct stanza_change *change)
{
    const struct jid *from = change->from != NULL ? change->from : &s->from, *to = change->to != NULL ? change->to : &s->to;
    struct str id = change->id != NULL ? *change->id : s->id;
    size_t room = from->full.n + to->full.n + id.n + s->lang.n;
    if (change->inner != NULL) room += change->inner->n + 2 * sizeof(struct xml_child) + s->n_others * (sizeof(struct xml_attribute) + 64);
    struct stanza *out = stanza_alloc(room);
    struct arena *a = out->priv->arena;
    out->kind = s->kind;
    out->type = change->type != NULL ? *change->type : s->type;
    out->id = arena_str(a, id);
    out->lang = arena_str(a, s->lang);
    out->from = jid_copy(a, from);
    out->to = jid_copy(a, to);
    out->sid = change->sid != NULL ? *change->sid : s->sid;
    out->origin = change->origin != NULL ? *change->origin : s->origin;
    if (change->inner != NULL) {
        others_copy(out, s);
        inner_set(out, *change->inner);
        return out;
    }
    out->priv->owner = stanza_ref(s->priv->owner != NULL ? s->priv->owner : s);
    out->others = s->others;
    out->n_others = s->n_others;
    out->inner = s->inner;
    out->children = s->children;
    out->n_children = s->n_children;
    return out;
}

/* A name of the index: where it points into the bytes it does so in the copy too. */
static struct str name_moved(struct arena *a, struct str name, struct str from, size_t at, size_t length, const char *to)
{
    uintptr_t p = (uintptr_t)name.p, begin = (uintptr_t)from.p + at;
    if (p >= begin && p + name.n <= begin + length) return (struct str){to + (p - begin), name.n};
    return arena_str(a, name);
}

static void add_bytes(char *inner, size_t *used, struct str bytes)
{
    if (bytes.n > 0) memcpy(inner + *used, bytes.p, bytes.n);
    *used += bytes.n;
}

struct stanza *stanza_with_child(const struct stanza *s, const bool *drop, const char *name, const char *ns, struct str bytes)
{
    size_t room = s->from.full.n + s->to.full.n + s->id.n + s->lang.n + s->inner.n + bytes.n + (s->n_children + 1) * (sizeof(struct xml_child) + 64) +
                  s->n_others * (sizeof(struct xml_attribute) + 64);
    struct stanza *out = stanza_alloc(room);
    struct arena *a = out->priv->arena;
    out->kind = s->kind;
    out->type = s->type;
    out->id = arena_str(a, s->id);
    out->lang = arena_str(a, s->lang);
    out->from = jid_copy(a, &s->from);
    out->to = jid_copy(a, &s->to);
    out->sid = s->sid;
    out->origin = s->origin;
    others_copy(out, s);
    struct xml_child *children = arena_alloc(a, (s->n_children + 1) * sizeof(*children));
    char *inner = arena_alloc(a, s->inner.n + bytes.n + 1);
    size_t used = 0, from = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_children; i++) {
        const struct xml_child *c = &s->children[i];
        add_bytes(inner, &used, (struct str){s->inner.p + from, c->offset - from}); /* what stands between children */
        from = c->offset + c->length;
        if (drop != NULL && drop[i]) continue;
        const char *to = inner + used;
        children[n++] = (struct xml_child){.name = name_moved(a, c->name, s->inner, c->offset, c->length, to),
                                           .ns = name_moved(a, c->ns, s->inner, c->offset, c->length, to),
                                           .offset = (uint32_t)used,
                                           .length = c->length};
        add_bytes(inner, &used, stanza_child_bytes(s, c));
    }
    add_bytes(inner, &used, (struct str){s->inner.p + from, s->inner.n - from});
    if (bytes.p != NULL) {
        children[n++] = (struct xml_child){
            .name = arena_str(a, str_of(name)), .ns = arena_str(a, str_of(ns)), .offset = (uint32_t)used, .length = (uint32_t)bytes.n};
        add_bytes(inner, &used, bytes);
    }
    out->inner = (struct str){inner, used};
    out->children = children;
    out->n_children = n;
    return out;
}

struct stanza *stanza_result(const struct stanza *iq, struct str inner)
{
    struct stanza *result = stanza_make(STANZA_IQ, IQ_RESULT, &iq->to, &iq->from, iq->id, inner);
    result->sid = iq->sid; /* an answer is traced with what it answers */
    result->origin = iq->origin;
    return result;
}

void stanza_write(struct buf *b, const struct stanza *s, const char *xmlns)
{
    const char *name = stanza_kind_name(s->kind);
    buf_reserve(b, stanza_size(s) + 64);
    buf_addc(b, '<');
    buf_adds(b, name);
    xml_add_attr(b, "xmlns", str_of(xmlns));
    xml_add_attr(b, "from", s->from.full);
    xml_add_attr(b, "to", s->to.full);
    xml_add_attr(b, "id", s->id);
    if (s->type != MESSAGE_NORMAL) xml_add_attr(b, "type", str_of(stanza_type_name(s->type)));
    xml_add_attr(b, "xml:lang", s->lang);
    xml_add_attributes(b, s->others, s->n_others);
    if (s->inner.n == 0) {
        BUF_ADD_LIT(b, "/>");
        return;
    }
    buf_addc(b, '>');
    buf_add_str(b, s->inner);
    BUF_ADD_LIT(b, "</");
    buf_adds(b, name);
    buf_addc(b, '>');
}

size_t stanza_size(const struct stanza *s)
{
    size_t n = 2 * sizeof("<presence>") + sizeof(" from='' to='' id='' type='unsubscribed' xml:lang=''");
    n += s->from.full.n + s->to.full.n + s->id.n + s->lang.n + s->inner.n;
    for (unsigned i = 0; i < s->n_others; i++) n += s->others[i].name.n + s->others[i].ns.n + s->others[i].value.n + 16;
    return n;
}

const struct xml_child *stanza_child(const struct stanza *s, const char *name, const char *ns)
{
    for (unsigned i = 0; i < s->n_children; i++) {
        const struct xml_child *c = &s->children[i];
        if ((name == NULL || str_is(c->name, name)) && (ns == NULL || str_is(c->ns, ns))) return c;
    }
    return NULL;
}

struct str stanza_child_bytes(const struct stanza *s, const struct xml_child *c)
{
    return (struct str){s->inner.p + c->offset, c->length};
}

struct xml_node *stanza_tree(const struct stanza *s, const struct xml_child *c, struct arena *a, struct err *err)
{
    if (c == NULL) return xml_tree_parse(a, s->inner, NS_CLIENT, err);
    struct xml_node *root = xml_tree_parse(a, stanza_child_bytes(s, c), NS_CLIENT, err);
    if (root == NULL) return NULL;
    struct xml_node *n = root->first;
    n->parent = NULL;
    return n;
}
