/* What is an invitation, and the event after it. The one before is asked by who sends it (send.c), in the order of its conversation. */
#include "jsm/invitation.h"
#include "broker/broker.h"
#include "router/route.h"

#define NS_CONFERENCE "jabber:x:conference"

bool invitation_to_room(const struct stanza *s, struct arena *a, struct jid *room)
{
    if (s->kind != STANZA_MESSAGE || s->type == MESSAGE_ERROR || s->type == MESSAGE_GROUPCHAT) return false;
    const struct xml_child *child = stanza_child(s, "x", NS_CONFERENCE);
    struct err err;
    const struct xml_node *x = child != NULL ? stanza_tree(s, child, a, &err) : NULL;
    if (x == NULL || jid_parse(a, xml_node_attr(x, "jid"), room, &err) != 0) return false;
    *room = jid_to_bare(a, room);
    return room->local.p != NULL && router_domain_of_rooms(room->domain);
}

void invitation_sent(const struct stanza *s)
{
    if (s->kind != STANZA_MESSAGE || stanza_child(s, "x", NS_CONFERENCE) == NULL) return;
    struct arena *a = arena_new(0);
    struct jid room;
    if (invitation_to_room(s, a, &room)) {
        struct question q = {.event = EVENT_onAfterInvite, .subject = s, .room = room.full};
        struct verdict now;
        broker_raise(&q, &now);
    }
    arena_free(a);
}
