/* What expat reports of a stream, collected: the root's start tag, then for each child of the root ("stanza") its name, its attributes and where its
 * children lie in the bytes. Handlers only collect and set flags; callbacks run later, outside expat, so that they may do what they like.
 *
 * Raw or not: a child's bytes are kept as received when they mean the same inside an element that declares the stanza's own namespace as the default
 * and no prefix. While a child is read, the declarations inside it are a stack; a name whose prefix is not on it relies on the stanza's start tag or
 * on the stream header. A name without prefix relies on the default namespace outside, which is harmless exactly when that is the stanza's namespace.
 *
 * Limits are checked at each token's end, here, and for the unfinished token after each slice, in parser.c, by the same rules: so the same bytes get
 * the same answer however they were cut into reads. */
#include <string.h>
#include "xml/loan.h"
#include "xml/writer.h"

#define SCOPES_MAX 256 /* declarations in force inside one child: each prefixed name searches them */

static void stop(struct xml_loan *l, enum xml_status status, const char *why)
{
    if (l->status == XML_FED) {
        l->status = status;
        l->why = why;
    }
    XML_StopParser(l->expat, XML_FALSE);
}

bool xml_collect_within(struct xml_loan *l, size_t token_at, size_t end, bool text)
{
    const char *why = NULL;
    if (!text && end - token_at > l->limits.tag_bytes)
        why = "a tag is longer than this service accepts";
    else if (l->depth == 0 && end > l->limits.tag_bytes)
        why = "the stream header is longer than this service accepts";
    else if (l->depth == 1 && !text && end - token_at > l->limits.stanza_bytes)
        why = "a stanza is larger than this service accepts";
    else if (l->depth > 1 && end - l->stanza_at > l->limits.stanza_bytes)
        why = "a stanza is larger than this service accepts";
    if (why == NULL) return true;
    if (l->status == XML_FED) {
        l->status = XML_TOO_BIG;
        l->why = why;
    }
    return false;
}

/* Notes where the present token lies; false: over a limit, expat is stopped. */
static bool token(struct xml_loan *l, size_t *begin, size_t *end, bool text)
{
    if (l->status != XML_FED) return false;
    *begin = (size_t)XML_GetCurrentByteIndex(l->expat) - l->synthetic;
    *end = *begin + (size_t)XML_GetCurrentByteCount(l->expat);
    l->last_end = *end;
    if (xml_collect_within(l, *begin, *end, text)) return true;
    XML_StopParser(l->expat, XML_FALSE);
    return false;
}

static void keep_attributes(struct xml_loan *l, const char **atts)
{
    buf_reset(&l->attrs);
    for (; atts[0] != NULL; atts += 2) {
        struct xml_qname q = xml_qname_of(atts[0]);
        struct xml_attr_rec rec = {
            .name = xml_loan_keep(l, q.local),
            .ns = xml_loan_keep(l, q.ns.n != 0 ? q.ns : STR_NONE),
            .prefix = xml_loan_keep(l, q.prefix),
            .value = xml_loan_keep(l, str_of(atts[1])),
        };
        buf_add(&l->attrs, &rec, sizeof(rec));
    }
}

static void start_header(struct xml_loan *l, struct xml_qname q, const char **atts)
{
    l->name = xml_loan_keep(l, q.local);
    l->ns = xml_loan_keep(l, q.ns);
    if (!l->default_ns.present) l->default_ns = xml_loan_keep(l, STR(""));
    size_t at = l->strings.len;
    if (q.prefix.p != NULL) {
        buf_add_str(&l->strings, q.prefix);
        buf_addc(&l->strings, ':');
    }
    buf_add_str(&l->strings, q.local);
    l->raw_name = (struct xml_span){(uint32_t)at, (uint32_t)(l->strings.len - at), true};
    buf_addc(&l->strings, '\0');
    keep_attributes(l, atts);
    l->header_ready = true;
    XML_StopParser(l->expat, XML_TRUE);
}

static void start_stanza(struct xml_loan *l, struct xml_qname q, const char **atts, size_t begin, size_t end)
{
    l->stanza_at = begin;
    l->inner_at = end;
    l->name = xml_loan_keep(l, q.local);
    l->ns = xml_loan_keep(l, q.ns);
    keep_attributes(l, atts);
    xml_collect_within(l, begin, end, false);
}

static struct xml_child_rec *last_child(struct xml_loan *l)
{
    return (struct xml_child_rec *)(void *)(l->children.data + l->children.len) - 1;
}

static bool declared_inside(const struct xml_loan *l, struct str prefix)
{
    const struct xml_scope_rec *scopes = (const struct xml_scope_rec *)(void *)l->scopes.data;
    for (unsigned i = xml_loan_count(&l->scopes, sizeof(*scopes)); i-- > 0;)
        if (scopes[i].prefix != NULL && str_is(prefix, scopes[i].prefix)) return true;
    return false;
}

static bool relies_on_outside(const struct xml_loan *l, struct xml_qname q, const char **atts)
{
    if (q.prefix.p != NULL) {
        if (!str_is(q.prefix, "xml") && !declared_inside(l, q.prefix)) return true;
    } else if (l->inner_defaults == 0 && !str_eq(q.ns, xml_loan_str(l, l->ns))) {
        return true;
    }
    for (; atts[0] != NULL; atts += 2) {
        if (strchr(atts[0], XML_NAME_SEPARATOR) == NULL) continue;
        struct str prefix = xml_qname_of(atts[0]).prefix;
        if (prefix.p != NULL && !str_is(prefix, "xml") && !declared_inside(l, prefix)) return true;
    }
    return false;
}

static void XMLCALL on_start(void *arg, const char *name, const char **atts)
{
    struct xml_loan *l = arg;
    size_t begin, end;
    if (l->status != XML_FED) return;
    if (!token(l, &begin, &end, false)) return;
    unsigned count = l->declared + (unsigned)XML_GetSpecifiedAttributeCount(l->expat) / 2;
    l->declared = 0;
    if (count > l->limits.attributes) return stop(l, XML_TOO_BIG, "an element has more attributes than this service accepts");
    struct xml_qname q = xml_qname_of(name);
    l->depth++;
    if (l->depth == 1) return start_header(l, q, atts);
    if (l->depth == 2) {
        start_stanza(l, q, atts, begin, end);
        return;
    }
    if (l->depth - 1 > l->limits.depth) return stop(l, XML_TOO_BIG, "elements are nested deeper than this service accepts");
    if (l->depth == 3) {
        if (xml_loan_count(&l->children, sizeof(struct xml_child_rec)) >= l->limits.children)
            return stop(l, XML_TOO_BIG, "a stanza has more children than this service accepts");
        struct xml_child_rec rec = {.name = xml_loan_keep(l, q.local), .ns = xml_loan_keep(l, q.ns), .begin = begin};
        buf_add(&l->children, &rec, sizeof(rec));
    }
    struct xml_child_rec *child = last_child(l);
    if (!child->relies && relies_on_outside(l, q, atts)) child->relies = l->rewrite = true;
}

static void leave_scope(struct xml_loan *l)
{
    while (l->scopes.len > 0) {
        const struct xml_scope_rec *top = (const struct xml_scope_rec *)(void *)(l->scopes.data + l->scopes.len) - 1;
        if (top->depth != l->depth) return;
        if (top->prefix == NULL) l->inner_defaults--;
        l->scopes.len -= sizeof(*top);
    }
}

static void XMLCALL on_end(void *arg, const char *name)
{
    (void)name;
    struct xml_loan *l = arg;
    size_t begin, end;
    if (!token(l, &begin, &end, false)) return;
    leave_scope(l);
    l->depth--;
    if (l->depth == 2) {
        last_child(l)->end = end;
    } else if (l->depth == 1) {
        l->inner_end = begin;
        l->element_ready = true;
        XML_StopParser(l->expat, XML_TRUE);
    } else if (l->depth == 0) {
        l->closed = true;
        XML_StopParser(l->expat, XML_TRUE);
    }
}

/* Comes before the start of the element that declares. */
static void XMLCALL on_declaration(void *arg, const char *prefix, const char *uri)
{
    struct xml_loan *l = arg;
    if (l->status != XML_FED) return;
    l->declared++;
    if (l->depth >= 2) { /* inside a stanza */
        struct xml_scope_rec rec = {.prefix = prefix, .depth = l->depth + 1};
        if (xml_loan_count(&l->scopes, sizeof(rec)) >= SCOPES_MAX)
            return stop(l, XML_TOO_BIG, "more namespace declarations are in force than this service accepts");
        buf_add(&l->scopes, &rec, sizeof(rec));
        if (prefix == NULL) l->inner_defaults++;
        return;
    }
    if (l->depth == 0 && prefix == NULL) l->default_ns = xml_loan_keep(l, uri != NULL ? str_of(uri) : STR(""));
    BUF_ADD_LIT(&l->declarations, " xmlns");
    if (prefix != NULL) {
        buf_addc(&l->declarations, ':');
        buf_adds(&l->declarations, prefix);
    }
    BUF_ADD_LIT(&l->declarations, "='");
    xml_add_attr_value(&l->declarations, uri != NULL ? str_of(uri) : STR(""));
    buf_addc(&l->declarations, '\'');
}

static void XMLCALL on_text(void *arg, const char *text, int n)
{
    struct xml_loan *l = arg;
    size_t begin, end;
    if (!token(l, &begin, &end, true) || l->depth > 1) return;
    for (int i = 0; i < n; i++)
        if (strchr(" \t\r\n", text[i]) == NULL) return stop(l, XML_STRAY_TEXT, "there is text between stanzas");
}

/* Between stanzas even an empty one is no white space (RFC 6120, 11.7). */
static void XMLCALL on_cdata_start(void *arg)
{
    struct xml_loan *l = arg;
    size_t begin, end;
    if (token(l, &begin, &end, false) && l->depth <= 1) stop(l, XML_STRAY_TEXT, "there is text between stanzas");
}

static void XMLCALL on_cdata_end(void *arg)
{
    size_t begin, end;
    (void)token(arg, &begin, &end, false);
}

static void XMLCALL on_other(void *arg, const char *text, int n) /* white space before the root, and the like */
{
    (void)text, (void)n;
    size_t begin, end;
    (void)token(arg, &begin, &end, true);
}

static void XMLCALL on_comment(void *arg, const char *text)
{
    (void)text;
    size_t begin, end;
    if (token(arg, &begin, &end, false)) stop(arg, XML_RESTRICTED, "comments are not allowed in XMPP");
}

static void XMLCALL on_pi(void *arg, const char *target, const char *text)
{
    (void)target, (void)text;
    size_t begin, end;
    if (token(arg, &begin, &end, false)) stop(arg, XML_RESTRICTED, "processing instructions are not allowed in XMPP");
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *system_id, const char *public_id, int internal)
{
    (void)name, (void)system_id, (void)public_id, (void)internal;
    stop(arg, XML_RESTRICTED, "document type declarations are not allowed in XMPP");
}

static void XMLCALL on_xml_decl(void *arg, const char *version, const char *encoding, int standalone)
{
    (void)version, (void)standalone;
    size_t begin, end;
    if (token(arg, &begin, &end, false) && encoding != NULL && strcasecmp(encoding, "UTF-8") != 0) stop(arg, XML_BAD_ENCODING, "XMPP is UTF-8 only");
}

void xml_collect_start(struct xml_loan *l)
{
    XML_SetUserData(l->expat, l);
    XML_SetElementHandler(l->expat, on_start, on_end);
    XML_SetStartNamespaceDeclHandler(l->expat, on_declaration);
    XML_SetCharacterDataHandler(l->expat, on_text);
    XML_SetCdataSectionHandler(l->expat, on_cdata_start, on_cdata_end);
    XML_SetCommentHandler(l->expat, on_comment);
    XML_SetProcessingInstructionHandler(l->expat, on_pi);
    XML_SetStartDoctypeDeclHandler(l->expat, on_doctype);
    XML_SetXmlDeclHandler(l->expat, on_xml_decl);
    XML_SetDefaultHandler(l->expat, on_other);
}

static const struct xml_attribute *attributes_out(struct xml_loan *l, unsigned *n)
{
    const struct xml_attr_rec *recs = (const struct xml_attr_rec *)(void *)l->attrs.data;
    *n = xml_loan_count(&l->attrs, sizeof(*recs));
    buf_reset(&l->out_attrs);
    for (unsigned i = 0; i < *n; i++) {
        struct xml_attribute a = {
            .name = xml_loan_str(l, recs[i].name),
            .ns = xml_loan_str(l, recs[i].ns),
            .prefix = xml_loan_str(l, recs[i].prefix),
            .value = xml_loan_str(l, recs[i].value),
        };
        buf_add(&l->out_attrs, &a, sizeof(a));
    }
    return (const struct xml_attribute *)(void *)l->out_attrs.data;
}

void xml_collect_header(struct xml_loan *l, struct xml_header *out)
{
    *out = (struct xml_header){.name = xml_loan_str(l, l->name), .ns = xml_loan_str(l, l->ns), .default_ns = xml_loan_str(l, l->default_ns)};
    out->attributes = attributes_out(l, &out->n_attributes);
}

/* A child as a tree, parsed within everything that was declared around it, written for a place with nothing but the default namespace. */
static int child_rewrite(struct xml_loan *l, struct str bytes, struct str header, size_t name_len, struct err *err)
{
    struct buf before = {0};
    BUF_ADD_LIT(&before, "<x");
    buf_add(&before, header.p + 1 + name_len, header.n - 1 - name_len);
    BUF_ADD_LIT(&before, "<y");
    buf_add_str(&before, buf_str(&l->declarations));
    buf_addc(&before, '>');
    struct arena *a = arena_new(0);
    struct xml_node *n = xml_tree_parse_within(a, buf_str(&before), bytes, STR("</y></x>"), 2, err);
    buf_free(&before);
    /* Prefixes written out at each use can make a lot of a little: the result is held to the same limit. */
    int rc = n != NULL ? 0 : -1;
    if (n != NULL && !xml_add_node_within(&l->rewritten, n, xml_loan_str(l, l->ns).p, l->limits.stanza_bytes))
        rc = err_set(err, ERR_LIMIT, "a stanza is larger than this service accepts once its prefixes are written out");
    arena_free(a);
    return rc;
}

int xml_collect_element(struct xml_loan *l, struct str inner, struct str header, size_t name_len, struct xml_element *out, struct err *err)
{
    const struct xml_child_rec *recs = (const struct xml_child_rec *)(void *)l->children.data;
    *out = (struct xml_element){.name = xml_loan_str(l, l->name), .ns = xml_loan_str(l, l->ns), .inner = inner};
    out->content_ns = out->ns;
    out->attributes = attributes_out(l, &out->n_attributes);
    out->n_children = xml_loan_count(&l->children, sizeof(*recs));
    buf_reset(&l->out_children);
    size_t done = 0; /* of inner, in the rewritten bytes already */
    for (unsigned i = 0; i < out->n_children; i++) {
        size_t begin = recs[i].begin - l->inner_at, end = recs[i].end - l->inner_at;
        struct xml_child c = {.name = xml_loan_str(l, recs[i].name), .ns = xml_loan_str(l, recs[i].ns), .offset = (uint32_t)begin};
        if (l->rewrite) {
            buf_add(&l->rewritten, inner.p + done, begin - done);
            c.offset = (uint32_t)l->rewritten.len;
            struct str bytes = {inner.p + begin, end - begin};
            if (!recs[i].relies)
                buf_add_str(&l->rewritten, bytes);
            else if (child_rewrite(l, bytes, header, name_len, err) < 0)
                return -1;
            c.length = (uint32_t)(l->rewritten.len - c.offset);
            done = end;
        } else {
            c.length = (uint32_t)(end - begin);
        }
        buf_add(&l->out_children, &c, sizeof(c));
    }
    if (l->rewrite) {
        buf_add(&l->rewritten, inner.p + done, inner.n - done);
        out->inner = buf_str(&l->rewritten);
    }
    out->children = (const struct xml_child *)(void *)l->out_children.data;
    return 0;
}
