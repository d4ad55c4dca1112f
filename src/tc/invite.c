/* Invitations through the room (XEP-0045, 7.8.2), and their refusal by who was invited. */
#include "tc/change.h"
#include "tc/keep.h"
#include "tc/rows.h"
#include "xml/writer.h"

enum { INVITED_MAX = 50 };
#define NS_CONFERENCE "jabber:x:conference"

struct invite {
    const struct xml_node *first; /* <invite/>; NULL: it is a decline */
    const struct xml_node *decline;
    const struct occupant *inviter; /* whom the decline is for */
    struct jid *members; /* who has become one; none again when that cannot be committed */
    unsigned n_members;
};

static const struct xml_node *x_of(struct request *r)
{
    struct err err;
    return stanza_tree(r->stanza, stanza_child(r->stanza, "x", NS_MUC_USER), r->arena, &err);
}

static const char *may_invite(struct request *r)
{
    const struct attendee *a = request_attendee(r);
    enum affiliation his = room_affiliation(r->room, r->stanza->from.bare);
    bool master = his >= AFFILIATION_ADMIN || r->self_made || service_admin(&r->stanza->from);
    if (a == NULL && !master) return say(r, "not-acceptable", "You are not in this room.");
    bool may = !r->room->config.members_only || r->room->config.allow_invites || master;
    return may ? NULL : say(r, "forbidden", "In this room only administrators invite others.");
}

static const char *check_invites(struct request *r, const struct invite *i)
{
    unsigned n = 0;
    const char *condition = may_invite(r);
    for (const struct xml_node *one = i->first; one != NULL && condition == NULL; one = xml_node_next(one, "invite", NS_MUC_USER)) {
        struct jid to;
        struct err err;
        if (n == INVITED_MAX) return say(r, "policy-violation", "These are too many invitations for one message.");
        if (jid_parse(r->arena, xml_node_attr(one, "to"), &to, &err) != 0)
            return say(r, "jid-malformed", "An invitation names in 'to' who is invited.");
        request_needs(r, EVENT_onBeforeInvite, n++);
    }
    return condition;
}

/* `to` of a decline is what `from` of the invitation was: a nick of this room, or the real address. */
static const struct occupant *inviter_of(struct request *r, const struct xml_node *decline)
{
    struct jid to;
    struct err err;
    if (jid_parse(r->arena, xml_node_attr(decline, "to"), &to, &err) != 0) return NULL;
    return jid_bare_eq(&to, &r->room->jid) ? occupant_by_nick(r->room, to.resource) : occupant_by_user(r->room, to.bare);
}

const char *invite_check(struct request *r)
{
    struct invite *i = r->data = arena_zalloc(r->arena, sizeof(*i));
    const struct xml_node *x = x_of(r);
    if (!room_exists(r->room)) return ""; /* it was destroyed before the room could invite to it */
    i->first = x != NULL ? xml_node_child(x, "invite", NS_MUC_USER) : NULL;
    i->decline = x != NULL ? xml_node_child(x, "decline", NS_MUC_USER) : NULL;
    if (i->first != NULL) return check_invites(r, i);
    if (i->decline == NULL) return say(r, "bad-request", "A message to the room that is not of type groupchat invites, declines or asks for voice.");
    i->inviter = inviter_of(r, i->decline);
    return i->inviter != NULL ? NULL : say(r, "item-not-found", "Whoever invited you is not in the room any more.");
}

/* ---- sending ---- */
static void add_reason(struct buf *b, struct arena *a, const struct xml_node *from)
{
    const struct xml_node *reason = xml_node_child(from, "reason", NS_MUC_USER);
    if (reason == NULL) return;
    buf_adds(b, "<reason>");
    xml_add_text(b, xml_node_text(a, reason));
    buf_adds(b, "</reason>");
}

static void write_invitation(struct buf *b, struct request *r, const struct xml_node *one)
{
    const struct attendee *a = request_attendee(r);
    const struct room_config *c = &r->room->config;
    const struct xml_node *reason = xml_node_child(one, "reason", NS_MUC_USER);
    buf_adds(b, "<x xmlns='" NS_MUC_USER "'><invite");
    xml_add_attr(b, "from", a == NULL ? r->stanza->from.bare : c->whois == WHOIS_ANYONE ? r->stanza->from.full : a->occupant->jid.full);
    buf_adds(b, ">");
    add_reason(b, r->arena, one);
    if (xml_node_child(one, "continue", NS_MUC_USER) != NULL) xml_add_node(b, xml_node_child(one, "continue", NS_MUC_USER), NS_MUC_USER);
    buf_adds(b, "</invite>");
    if (c->password_protected && c->password != NULL) {
        buf_adds(b, "<password>");
        xml_add_text(b, str_of(c->password));
        buf_adds(b, "</password>");
    }
    buf_adds(b, "</x><x xmlns='" NS_CONFERENCE "'");
    xml_add_attr(b, "jid", r->room->jid.bare);
    if (c->password_protected && c->password != NULL) xml_add_attr(b, "password", str_of(c->password));
    if (reason != NULL) xml_add_attr(b, "reason", xml_node_text(r->arena, reason));
    buf_adds(b, "/>");
}

static void send_invitation(struct request *r, const struct xml_node *one)
{
    struct jid to;
    struct err err;
    struct buf b = {0};
    if (jid_parse(r->arena, xml_node_attr(one, "to"), &to, &err) != 0) return; /* the check has read it */
    write_invitation(&b, r, one);
    struct str id = r->self_made ? r->stanza->id : relay_invitation(r, &to);
    struct stanza *out = stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &r->room->jid, &to, id, buf_str(&b));
    buf_free(&b);
    router_route_for(out, r->parcel, 0);
    room_raise_after(r->room, EVENT_onAfterInvite, r->stanza);
}

static void send_decline(struct request *r, const struct invite *i)
{
    struct buf b = {0};
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'><decline");
    xml_add_attr(&b, "from", r->stanza->from.bare);
    buf_adds(&b, ">");
    add_reason(&b, r->arena, i->decline);
    buf_adds(&b, "</decline></x>");
    struct stanza *out = stanza_make(STANZA_MESSAGE, MESSAGE_NORMAL, &r->room->jid, NULL, r->stanza->id, buf_str(&b));
    buf_free(&b);
    LIST_EACH(node, &i->inviter->attendees) send_to(CONTAINER_OF(node, struct attendee, node), stanza_ref(out), r);
    stanza_unref(out);
}

static void invited(struct request *r)
{
    const struct invite *i = r->data;
    for (const struct xml_node *one = i->first; one != NULL; one = xml_node_next(one, "invite", NS_MUC_USER)) send_invitation(r, one);
}

/* XEP-0045, 7.8.2: who is invited to a members-only room may enter it. */
static void make_members(struct request *r, struct invite *i)
{
    if (!r->room->config.members_only) return;
    i->members = arena_zalloc(r->arena, INVITED_MAX * sizeof(*i->members));
    for (const struct xml_node *one = i->first; one != NULL; one = xml_node_next(one, "invite", NS_MUC_USER)) {
        struct jid to;
        struct err err;
        if (jid_parse(r->arena, xml_node_attr(one, "to"), &to, &err) != 0 || room_affiliation(r->room, to.bare) != AFFILIATION_NONE) continue;
        room_set_affiliation(r->room, &to, AFFILIATION_MEMBER, STR_NONE);
        keep_affiliated(r, to.bare);
        i->members[i->n_members++] = to;
    }
}

static void no_members(struct request *r)
{
    const struct invite *i = r->data;
    for (unsigned m = 0; m < i->n_members; m++) room_set_affiliation(r->room, &i->members[m], AFFILIATION_NONE, STR_NONE);
}

const struct request_row invite_row = {
    .name = "invite", .kind = STANZA_MESSAGE, .check = invite_check, .apply = invite_apply, .what = "a new member is invited"};

void invite_apply(struct request *r)
{
    struct invite *i = r->data;
    if (i->first == NULL) {
        send_decline(r, i);
        return;
    }
    make_members(r, i);
    request_then(r, invited, no_members);
}
