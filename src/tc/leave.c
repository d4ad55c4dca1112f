/* Leaving (XEP-0045, 7.14), and the end of a room in which nobody is left. */
#include "tc/directory.h"
#include "tc/presence.h"
#include "tc/rows.h"

struct attendee *request_attendee(const struct request *r) { return room_exists(r->room) ? attendee_by_jid(r->room, &r->stanza->from) : NULL; }

const char *leave_check(struct request *r)
{
    if (request_attendee(r) != NULL) request_needs(r, EVENT_onBeforeChangeUser, 0);
    return NULL;
}

/* Who is told of whom: with the occupant's last session everybody, else that session only, and the others of what the rest shows. When the room is
 * destroyed or the service ends, each is told of himself (XEP-0045, 10.9). */
static void tell_of_leaving(struct attendee *a, const struct notice *n, const struct request *cause)
{
    struct occupant *o = a->occupant;
    bool last = o->attendees.next == &a->node && a->node.next == &o->attendees;
    if (last && !n->alone) {
        presence_broadcast(o, n, cause);
    } else {
        presence_to_self(a, n, cause);
        if (n->after_subject != NULL) room_raise_after(o->room, n->after_event, n->after_subject);
    }
}

/* others_stay: the occupant's other sessions do, and the room sees what they show. */
static void session_leave(struct attendee *a, const struct notice *n, const struct stanza *leaving, const struct request *cause, bool others_stay)
{
    struct occupant *o = a->occupant;
    struct room *room = o->room;
    bool shown = o->shown == a, last = o->attendees.next == &a->node && a->node.next == &o->attendees;
    a->history_asked = false; /* what waits for it is not wanted any more */
    copies_drop(a);
    if (leaving != NULL) attendee_presence(a, leaving);
    tell_of_leaving(a, n, cause);
    struct stanza *seen = presence_full(o, n, cause);
    struct stanza *left =
        leaving != NULL ? stanza_ref(leaving) : stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &a->full, &o->jid, STR_NONE, STR(""));
    if (leaving == NULL && cause != NULL) left->sid = cause->stanza->sid;
    room->refs++; /* the occupant's reference may be the last */
    attendee_leave(a);
    directory_set(room);
    if (!last && shown && others_stay) presence_broadcast(o, &(struct notice){0}, cause);
    room_raise_after(room, EVENT_onLeave, left);
    room_raise_after(room, EVENT_onAfterChangeUser, seen);
    stanza_unref(left);
    stanza_unref(seen);
    room_close_when_empty(room);
    room_release(room);
}

void leave_room(struct attendee *a, const struct notice *n, const struct stanza *leaving, const struct request *cause)
{
    session_leave(a, n, leaving, cause, true);
}

void occupant_leave_room(struct occupant *o, const struct notice *n, const struct request *cause)
{
    struct notice once = *n;
    while (o->attendees.next->next != &o->attendees) {
        struct attendee *a = CONTAINER_OF(o->attendees.next, struct attendee, node);
        session_leave(a, &once, NULL, cause, false);
        once.after_subject = NULL; /* the event after it is raised with the first exit */
    }
    session_leave(CONTAINER_OF(o->attendees.next, struct attendee, node), &once, NULL, cause, false);
}

/* From who is not there: he may think he is, and learns what he wanted to hear. */
void leave_apply(struct request *r)
{
    struct attendee *a = request_attendee(r);
    if (a == NULL) return;
    leave_room(a, &(struct notice){.gone = true}, r->stanza, r);
}

/* ---- the end of a temporary room ---- */
const struct request_row close_row = {
    .name = "close", .kind = STANZA_IQ, .check = close_check, .apply = close_apply, .what = "a room in which nobody is left"};

struct stanza *close_request(const struct room *room)
{
    const struct jid service = {.domain = room->jid.domain, .bare = room->jid.domain, .full = room->jid.domain};
    return stanza_make(STANZA_IQ, IQ_SET, &service, &room->jid, STR("close"), STR("<query xmlns='" NS_MUC_OWNER "'><destroy/></query>"));
}

void room_close_when_empty(struct room *room)
{
    if (!room_exists(room) || room->config.persistent || room->occupants.count > 0 || room->ending) return;
    room->ending = true;
    request_by_service(&close_row, close_request(room), NULL, NULL);
}

static bool to_be_closed(const struct request *r) { return room_exists(r->room) && !r->room->config.persistent && r->room->occupants.count == 0; }

const char *close_check(struct request *r)
{
    if (to_be_closed(r)) request_needs(r, EVENT_onClose, 0);
    return NULL;
}

/* It stays, empty, until the next one has been there. */
void close_refused(struct request *r)
{
    r->room->ending = false;
    if (to_be_closed(r)) room_linger(r->room, true);
}

/* Somebody may have come meanwhile. */
void close_apply(struct request *r)
{
    r->room->ending = false;
    if (to_be_closed(r)) room_vanish(r->room);
}
