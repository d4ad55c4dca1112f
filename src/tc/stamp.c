/* Stamps. A client that sends one of the room's elements itself has forged it, or repeats what it received: it is left out. */
#include "tc/stamp.h"
#include "xml/writer.h"

#define NS_DELAY "urn:xmpp:delay"

/* Is an attribute of this child the room's address? */
static bool names_room(const struct stanza *s, const struct xml_child *c, const char *attribute)
{
    struct arena *a = arena_new(0);
    struct err err;
    struct jid by;
    struct xml_node *node = stanza_tree(s, c, a, &err);
    struct str text = node != NULL ? xml_node_attr(node, attribute) : STR_NONE;
    bool is = text.p != NULL && jid_parse(a, text, &by, &err) == 0 && jid_bare_eq(&by, &s->to);
    arena_free(a);
    return is;
}

static bool is_the_rooms(const struct stanza *s, const struct xml_child *c)
{
    if (str_is(c->ns, NS_MUC) || str_is(c->ns, NS_OCCUPANT_ID)) return true;
    if (str_is(c->ns, NS_MUC_USER)) return str_is(c->name, "x");
    if (str_is(c->ns, NS_SID)) return str_is(c->name, "stanza-id") && names_room(s, c, "by");
    return str_is(c->ns, NS_DELAY) && names_room(s, c, "from");
}

void stamp_content(struct buf *b, const struct stanza *s)
{
    for (unsigned i = 0; i < s->n_children; i++)
        if (!is_the_rooms(s, &s->children[i])) buf_add_str(b, stanza_child_bytes(s, &s->children[i]));
}

void stamp_occupant(struct buf *b, const struct occupant *o) { buf_addf(b, "<occupant-id xmlns='" NS_OCCUPANT_ID "' id='%s'/>", o->id); }

void stamp_message(struct buf *b, const struct room *r, uint64_t sid)
{
    char id[STANZA_ID_SIZE];
    buf_adds(b, "<stanza-id xmlns='" NS_SID "'");
    xml_add_attr(b, "by", r->jid.bare);
    xml_add_attr(b, "id", str_of(stanza_id_text(sid, id)));
    buf_adds(b, "/>");
}
