/* Any bytes as a stanza's text, in each content namespace. Must hold: what is accepted, written and read again is the same stanza; its tree, changed
 * header and error reply can be made; a stanza from its tree is the same one. */
#include <string.h>
#include "fuzz.h"
#include "xml/writer.h"
#include "xmpp/stanza.h"

static struct stanza *made;

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    (void)owner, (void)h;
    return XML_GO_ON;
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    (void)owner;
    const char *condition = NULL;
    struct err err = {0};
    made = stanza_from_element(e, &condition, &err);
    MUST_HOLD(made != NULL || (condition != NULL && err.text[0] != '\0'));
    return XML_STOP;
}

static void check(const struct stanza *s)
{
    struct buf text = {0}, again = {0};
    struct err err = {0};
    stanza_write(&text, s, NULL);
    MUST_HOLD(xml_text_ok(buf_str(&text)));
    struct stanza *t = stanza_from_text(buf_str(&text), &err);
    MUST_HOLD(t != NULL && t->n_children == s->n_children && t->type == s->type);
    stanza_write(&again, t, NULL);
    MUST_HOLD(str_eq(buf_str(&text), buf_str(&again)));
    struct arena *a = arena_new(0);
    MUST_HOLD(stanza_tree(s, NULL, a, &err) != NULL);
    for (unsigned i = 0; i < s->n_children; i++) {
        struct xml_node *n = stanza_tree(s, &s->children[i], a, &err);
        MUST_HOLD(n != NULL && str_eq(n->name, s->children[i].name) && str_eq(n->ns, s->children[i].ns));
        MUST_HOLD(str_eq(t->children[i].name, s->children[i].name) && str_eq(t->children[i].ns, s->children[i].ns));
    }
    struct stanza *e = stanza_error(s, "not-allowed", NULL, "text");
    struct stanza *with = stanza_with(s, &(struct stanza_change){.inner = &s->inner});
    MUST_HOLD(with->n_children == s->n_children);
    stanza_unref(with);
    stanza_unref(e);
    stanza_unref(t);
    struct xml_node *root = xml_tree_parse(a, buf_str(&text), NS_CLIENT, &err);
    MUST_HOLD(root != NULL);
    t = stanza_from_node(root->first, NULL, &err);
    MUST_HOLD(t != NULL && t->n_children == s->n_children && t->type == s->type && jid_eq(&t->to, &s->to));
    stanza_unref(t);
    (void)stanza_error_condition(s);
    buf_free(&text);
    buf_free(&again);
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct xml_parser_ops ops = {on_header, on_element};
    static const char *const spaces[] = {"jabber:client", "jabber:component:accept"};
    struct stanza *s = stanza_from_text((struct str){(const char *)data, n}, NULL);
    if (s != NULL) check(s);
    stanza_unref(s);
    for (size_t i = 0; i < 2; i++) {
        struct xml_parser *p = xml_parser_new(&xml_limits_default, &ops, NULL);
        struct buf header = {0};
        buf_addf(&header, "<s:s xmlns='%s' xmlns:s='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>", spaces[i]);
        xml_parser_feed(p, header.data, header.len, NULL);
        made = NULL;
        xml_parser_feed(p, (const char *)data, n, NULL);
        if (made != NULL) check(made);
        stanza_unref(made);
        xml_parser_free(p);
        buf_free(&header);
    }
    xml_parsers_trim();
    return 0;
}
