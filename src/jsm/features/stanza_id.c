/* Stanza ids (XEP-0359): a message gets the id under which this service knows it, by the recipient's account, before any of his sessions or the
 * offline store sees it. Whoever sent one in that name has forged it. */
#include "jsm/carbons.h"
#include "jsm/features/features.h"
#include "xml/writer.h"
#include <string.h>

#define NS_SID "urn:xmpp:sid:0"
#define CHILDREN_MAX 256 /* as xml_limits_default */

static bool is_by(const struct stanza *s, const struct xml_child *c, const struct jid *account)
{
    struct arena *a = arena_new(0);
    struct err err;
    struct jid by;
    struct xml_node *node = stanza_tree(s, c, a, &err);
    struct str text = node != NULL ? xml_node_attr(node, "by") : STR_NONE;
    bool is = text.p != NULL && jid_parse(a, text, &by, &err) == 0 && jid_eq(&by, account);
    arena_free(a);
    return is;
}

/* XEP-0280, 9: <private/> has done its work here. */
static bool to_be_dropped(const struct stanza *s, const struct xml_child *c, const struct jid *account)
{
    if (str_is(c->ns, NS_CARBONS)) return str_is(c->name, "private");
    return str_is(c->ns, NS_SID) && str_is(c->name, "stanza-id") && is_by(s, c, account);
}

struct stanza *stanza_id_stamp(const struct stanza *s, const struct jid *account)
{
    bool drop[CHILDREN_MAX];
    if (s->n_children > CHILDREN_MAX) return stanza_ref(s);
    for (unsigned i = 0; i < s->n_children; i++) drop[i] = to_be_dropped(s, &s->children[i], account);
    char id[STANZA_ID_SIZE];
    struct buf b = {0};
    buf_adds(&b, "<stanza-id xmlns='" NS_SID "'");
    xml_add_attr(&b, "by", account->bare);
    xml_add_attr(&b, "id", str_of(stanza_id_text(s->sid, id)));
    buf_adds(&b, "/>");
    struct stanza *out = stanza_with_child(s, drop, "stanza-id", NS_SID, buf_str(&b));
    buf_free(&b);
    return out;
}
