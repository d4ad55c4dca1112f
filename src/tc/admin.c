/* What moderators and administrators do (XEP-0045, 8 and 9): lists of people, and changes of them, one or many at once. */
#include "tc/change.h"
#include "tc/rows.h"
#include "xml/writer.h"

static const struct xml_node *query_of(struct request *r)
{
    struct err err;
    return stanza_tree(r->stanza, stanza_child(r->stanza, "query", NS_MUC_ADMIN), r->arena, &err);
}

/* ---- lists ---- */
struct list_wish {
    bool by_role;
    enum role role;
    enum affiliation affiliation;
};

static const char *read_list(struct request *r, struct list_wish *wish)
{
    const struct xml_node *query = query_of(r);
    const struct xml_node *item = query != NULL ? xml_node_child(query, "item", NS_MUC_ADMIN) : NULL;
    struct str role = item != NULL ? xml_node_attr(item, "role") : STR_NONE,
               affiliation = item != NULL ? xml_node_attr(item, "affiliation") : STR_NONE;
    wish->by_role = role.p != NULL;
    int value = wish->by_role ? role_by_name(role) : affiliation.p != NULL ? affiliation_by_name(affiliation) : -1;
    if (value <= 0) return say(r, "bad-request", "Ask for a list by an item with a role or an affiliation.");
    wish->role = (enum role)value;
    wish->affiliation = (enum affiliation)value;
    return NULL;
}

static bool may_see(const struct request *r, const struct list_wish *wish)
{
    const struct attendee *in = request_attendee(r);
    enum affiliation his = room_affiliation(r->room, r->stanza->from.bare);
    bool moderator = in != NULL && in->occupant->role == ROLE_MODERATOR;
    if (service_admin(&r->stanza->from) || his == AFFILIATION_OWNER) return true;
    if (wish->by_role) return his >= AFFILIATION_ADMIN || (moderator && wish->role != ROLE_MODERATOR);
    switch (wish->affiliation) {
    case AFFILIATION_OUTCAST: return his >= AFFILIATION_ADMIN;
    case AFFILIATION_MEMBER: /* 9.5: for those in the room where nobody else is let in */
        return his >= AFFILIATION_ADMIN ||
               (in != NULL && r->room->config.members_only && (r->room->config.member_list & 1u << in->occupant->role) != 0);
    default: /* owners and administrators, for owners (10.5, 10.8): but where everybody may know who is who, members may know that too */
        return his >= AFFILIATION_MEMBER && r->room->config.members_only && r->room->config.whois == WHOIS_ANYONE;
    }
}

const char *admin_get_check(struct request *r)
{
    struct list_wish wish;
    const char *condition = read_list(r, &wish);
    if (condition != NULL) return condition;
    return may_see(r, &wish) ? NULL : say(r, "forbidden", "You may not see this list.");
}

static void write_occupants(struct buf *b, const struct room *room, enum role role)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&room->occupants, &it, &key, &value)) {
        const struct occupant *o = value;
        if (o->role != role) continue;
        buf_adds(b, "<item");
        xml_add_attr(b, "affiliation", str_of(affiliation_name(room_affiliation(room, o->user.bare))));
        xml_add_attr(b, "role", str_of(role_name(o->role)));
        if (room->config.whois != WHOIS_NOBODY) xml_add_attr(b, "jid", o->shown != NULL ? o->shown->full.full : o->user.full);
        xml_add_attr(b, "nick", o->jid.resource);
        buf_adds(b, "/>");
    }
}

/* Of one who is there, to one who may know who is who: the nick and the role. */
static void write_presence(struct buf *b, const struct request *r, const struct affiliated *a)
{
    const struct attendee *in = request_attendee(r);
    if (r->room->config.whois == WHOIS_NOBODY) return;
    bool knows = r->self_made || room_affiliation(r->room, r->stanza->from.bare) >= AFFILIATION_ADMIN || service_admin(&r->stanza->from);
    const struct occupant *o = knows || (in != NULL && sees_addresses(in)) ? occupant_by_user(r->room, a->jid.bare) : NULL;
    xml_add_attr(b, "nick", o != NULL ? o->jid.resource : str_of(a->nick));
    if (o != NULL) xml_add_attr(b, "role", str_of(role_name(o->role)));
}

static void write_affiliated(struct buf *b, const struct request *r, enum affiliation affiliation)
{
    const struct room *room = r->room;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&room->affiliated, &it, &key, &value)) {
        const struct affiliated *a = value;
        if (a->affiliation != affiliation) continue;
        buf_adds(b, "<item");
        xml_add_attr(b, "affiliation", str_of(affiliation_name(a->affiliation)));
        xml_add_attr(b, "jid", key);
        write_presence(b, r, a);
        buf_adds(b, ">");
        if (a->reason != NULL) {
            buf_adds(b, "<reason>");
            xml_add_text(b, str_of(a->reason));
            buf_adds(b, "</reason>");
        }
        buf_adds(b, "</item>");
    }
}

void admin_get_apply(struct request *r)
{
    struct list_wish wish;
    struct buf b = {0};
    if (read_list(r, &wish) != NULL) return; /* the check has passed in this turn */
    buf_adds(&b, "<query xmlns='" NS_MUC_ADMIN "'>");
    if (wish.by_role)
        write_occupants(&b, r->room, wish.role);
    else
        write_affiliated(&b, r, wish.affiliation);
    buf_adds(&b, "</query>");
    send_reply(r, stanza_result(r->stanza, buf_str(&b)));
    buf_free(&b);
}

/* ---- changes ---- */
/* Each item in an iq of its own: what its event shows. */
static const char *split(struct request *r)
{
    const struct xml_node *query = query_of(r);
    const struct xml_node *item = query != NULL ? xml_node_child(query, "item", NS_MUC_ADMIN) : NULL;
    if (item == NULL) return say(r, "bad-request", "The query has no <item/>.");
    for (; item != NULL; item = xml_node_next(item, "item", NS_MUC_ADMIN)) {
        struct buf b = {0};
        buf_adds(&b, "<query xmlns='" NS_MUC_ADMIN "'>");
        xml_add_node(&b, item, NS_MUC_ADMIN);
        buf_adds(&b, "</query>");
        struct str inner = buf_str(&b);
        struct stanza_change change = {.inner = &inner};
        part_add(r, stanza_with(r->stanza, &change));
        buf_free(&b);
    }
    return NULL;
}

const char *admin_set_check(struct request *r)
{
    const char *condition = r->n_parts == 0 ? split(r) : NULL;
    return condition != NULL ? condition : parts_check(r);
}

/* XEP-0045, 8 and 9: success first, then everybody learns it. */
static void changed(struct request *r)
{
    send_reply(r, stanza_result(r->stanza, STR("")));
    parts_tell(r);
}

void admin_set_apply(struct request *r)
{
    parts_apply(r);
    request_then(r, changed, parts_undo);
}
