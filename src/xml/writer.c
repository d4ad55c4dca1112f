/* XML out. Everything that goes to a peer is escaped here; what XML 1.0 cannot hold at all (control characters) becomes U+FFFD, so that no text of
 * ours, wherever it came from, can end a stream. */
#include <stdio.h>
#include <string.h>
#include "xml/loan.h"
#include "xml/writer.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* What is to be escaped: 1 in text, 2 in attribute values, 3 in both. */
static const unsigned char escaped[256] = {
    [0 ... 8] = 3, ['\t'] = 2, ['\n'] = 2, [11] = 3, [12] = 3, ['\r'] = 3, [14 ... 31] = 3,
    ['&'] = 3, ['<'] = 3, ['>'] = 3, ['\''] = 2, ['"'] = 2,
};

static const char *escape_of(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\r':
        return "&#13;"; /* literally, it would be read as a newline */
    case '\'':
        return "&apos;";
    case '"':
        return "&quot;";
    case '\t':
        return "&#9;";
    case '\n':
        return "&#10;";
    default:
        return REPLACEMENT;
    }
}

static void add_escaped(struct buf *b, struct str text, bool attribute)
{
    size_t done = 0;
    const unsigned char *p = (const unsigned char *)text.p;
    unsigned mask = attribute ? 2 : 1;
    for (size_t i = 0; i < text.n; i++) {
        if ((escaped[p[i]] & mask) == 0) continue;
        buf_add(b, text.p + done, i - done);
        buf_adds(b, escape_of(p[i]));
        done = i + 1;
    }
    if (text.n > done) buf_add(b, text.p + done, text.n - done);
}

void xml_add_text(struct buf *b, struct str text)
{
    add_escaped(b, text, false);
}

void xml_add_attr_value(struct buf *b, struct str text)
{
    add_escaped(b, text, true);
}

void xml_add_attr(struct buf *b, const char *name, struct str value)
{
    if (value.p == NULL) return;
    buf_addc(b, ' ');
    buf_adds(b, name);
    BUF_ADD_LIT(b, "='");
    xml_add_attr_value(b, value);
    buf_addc(b, '\'');
}

/* Is the i-th attribute's own prefix free to be declared on this element for its namespace? */
static bool prefix_usable(const struct xml_attribute *attributes, unsigned i)
{
    struct str prefix = attributes[i].prefix;
    if (prefix.n == 0 || (prefix.n >= 3 && strncasecmp(prefix.p, "xml", 3) == 0)) return false;
    if (prefix.n >= 2 && prefix.p[0] == 'n' && prefix.p[1] == 's') return false; /* what made-up ones look like */
    for (unsigned j = 0; j < i; j++)
        if (str_eq(attributes[j].prefix, prefix) && !str_eq(attributes[j].ns, attributes[i].ns)) return false;
    return true;
}

static bool prefix_declared(const struct xml_attribute *attributes, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (str_eq(attributes[j].prefix, attributes[i].prefix) && prefix_usable(attributes, j)) return true;
    return false;
}

static void add_attribute(struct buf *b, const struct xml_attribute *attributes, unsigned i)
{
    const struct xml_attribute *a = &attributes[i];
    char made_up[16];
    struct str prefix = STR_NONE;
    if (a->ns.n != 0 && str_is(a->ns, XML_NAMESPACE)) {
        prefix = STR("xml");
    } else if (a->ns.n != 0) {
        prefix = a->prefix;
        bool usable = prefix_usable(attributes, i);
        if (!usable) {
            snprintf(made_up, sizeof(made_up), "ns%u", i);
            prefix = str_of(made_up);
        }
        if (!usable || !prefix_declared(attributes, i)) {
            BUF_ADD_LIT(b, " xmlns:");
            buf_add_str(b, prefix);
            BUF_ADD_LIT(b, "='");
            xml_add_attr_value(b, a->ns);
            buf_addc(b, '\'');
        }
    }
    buf_addc(b, ' ');
    if (prefix.p != NULL) {
        buf_add_str(b, prefix);
        buf_addc(b, ':');
    }
    buf_add_str(b, a->name);
    BUF_ADD_LIT(b, "='");
    xml_add_attr_value(b, a->value);
    buf_addc(b, '\'');
}

void xml_add_attributes(struct buf *b, const struct xml_attribute *attributes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) add_attribute(b, attributes, i);
}

static bool add_node(struct buf *b, const struct xml_node *n, struct str default_ns, size_t max)
{
    if (n->name.p == NULL && n->text.p != NULL) xml_add_text(b, n->text);
    if (n->name.p != NULL) {
        struct str ns = n->ns.p != NULL ? n->ns : STR("");
        buf_addc(b, '<');
        buf_add_str(b, n->name);
        if (!str_eq(ns, default_ns)) xml_add_attr(b, "xmlns", ns);
        default_ns = ns;
        xml_add_attributes(b, n->attributes, n->n_attributes);
        if (n->first == NULL) buf_addc(b, '/');
        buf_addc(b, '>');
    }
    bool ok = b->len <= max;
    for (const struct xml_node *c = n->first; ok && c != NULL; c = c->next) ok = add_node(b, c, default_ns, max);
    if (ok && n->name.p != NULL && n->first != NULL) {
        BUF_ADD_LIT(b, "</");
        buf_add_str(b, n->name);
        buf_addc(b, '>');
    }
    return ok && b->len <= max;
}

bool xml_add_node_within(struct buf *b, const struct xml_node *n, const char *default_ns, size_t max)
{
    return add_node(b, n, str_of(default_ns != NULL ? default_ns : ""), max);
}

void xml_add_node(struct buf *b, const struct xml_node *n, const char *default_ns)
{
    (void)!xml_add_node_within(b, n, default_ns, SIZE_MAX);
}

/* Length of the UTF-8 character at p that XML 1.0 allows, 0 when there is none. */
static size_t char_length(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) return p[0] >= 0x20 || p[0] == '\t' || p[0] == '\n' || p[0] == '\r';
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len) return 0;
    uint32_t code = p[0] & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) || code == 0xfffe || code == 0xffff) return 0;
    return len;
}

bool xml_text_ok(struct str text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    for (size_t i = 0; i < text.n;) {
        size_t len = char_length(p + i, text.n - i);
        if (len == 0) return false;
        i += len;
    }
    return true;
}
