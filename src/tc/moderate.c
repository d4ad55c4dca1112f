/* Moderators take back messages of others (XEP-0425): all are told, and the history has it no more. */
#include "tc/keep.h"
#include "tc/rows.h"
#include "tc/stamp.h"
#include "xml/writer.h"

#define NS_MODERATE "urn:xmpp:message-moderate:1"
#define NS_RETRACT "urn:xmpp:message-retract:1"

struct moderation {
    struct str id; /* the message's stanza id */
    uint64_t sid;
    struct str reason;
};

static const char *read(struct request *r, struct moderation *m)
{
    struct err err;
    const struct xml_node *node = stanza_tree(r->stanza, stanza_child(r->stanza, "moderate", NS_MODERATE), r->arena, &err);
    const struct xml_node *reason = node != NULL ? xml_node_child(node, "reason", NULL) : NULL;
    if (node == NULL || xml_node_child(node, "retract", NS_RETRACT) == NULL) return say(r, "bad-request", "A message is moderated by <retract/>.");
    m->id = xml_node_attr(node, "id");
    if (m->id.p == NULL || stanza_id_parse(arena_strndup(r->arena, m->id.p, m->id.n), &m->sid) != 0)
        return say(r, "item-not-found", "'id' is the stanza id that this room has given the message.");
    if (reason != NULL) m->reason = xml_node_text(r->arena, reason);
    return NULL;
}

static struct stanza *announcement(const struct request *r)
{
    const struct moderation *m = r->data;
    const struct attendee *a = request_attendee(r);
    struct buf b = {0};
    buf_adds(&b, "<retract xmlns='" NS_RETRACT "'");
    xml_add_attr(&b, "id", m->id);
    buf_adds(&b, "><moderated xmlns='" NS_MODERATE "'");
    if (a != NULL) xml_add_attr(&b, "by", a->occupant->jid.full);
    buf_adds(&b, ">");
    if (a != NULL) stamp_occupant(&b, a->occupant);
    buf_adds(&b, "</moderated>");
    if (m->reason.n > 0) {
        buf_adds(&b, "<reason>");
        xml_add_text(&b, m->reason);
        buf_adds(&b, "</reason>");
    }
    buf_adds(&b, "</retract>");
    stamp_message(&b, r->room, r->stanza->sid);
    struct stanza *out = stanza_make(STANZA_MESSAGE, MESSAGE_GROUPCHAT, &r->room->jid, NULL, STR_NONE, buf_str(&b));
    out->sid = r->stanza->sid;
    buf_free(&b);
    return out;
}

const char *moderate_check(struct request *r)
{
    struct moderation *m = r->data = arena_zalloc(r->arena, sizeof(*m));
    const struct attendee *a = request_attendee(r);
    if (a == NULL) return say(r, "not-acceptable", "You are not in this room.");
    if (a->occupant->role != ROLE_MODERATOR) return say(r, "forbidden", "Only moderators take back messages of others.");
    const char *condition = read(r, m);
    if (condition != NULL) return condition;
    r->make_outgoing = announcement;
    request_needs(r, EVENT_onBeforeBroadcast, 0);
    return NULL;
}

void moderate_apply(struct request *r)
{
    const struct moderation *m = r->data;
    history_remove(r->room, m->sid);
    keep_no_message(r, m->sid);
    send_to_all(r->room, stanza_ref(r->outgoing), (struct crowd){0}, r);
    send_reply(r, stanza_result(r->stanza, STR("")));
}
