/* Messages: to the room (XEP-0045, 7.4), its subject (8.1), to one occupant (7.5), and what comes back as an error. */
#include "base/clock.h"
#include "tc/presence.h"
#include "tc/rows.h"
#include "tc/stamp.h"
#include "tc/keep.h"
#include "xml/writer.h"

/* ---- to everybody ---- */
/* XEP-0045, 8.1: a message with a subject and neither body nor thread changes the subject; with one it is a message that has a subject. */
static bool sets_subject(const struct stanza *s)
{
    return stanza_child(s, "subject", NS_CLIENT) != NULL && stanza_child(s, "body", NS_CLIENT) == NULL &&
           stanza_child(s, "thread", NS_CLIENT) == NULL;
}

static const char *may_speak(struct request *r, const struct occupant *o)
{
    if (sets_subject(r->stanza)) {
        if (o->role == ROLE_MODERATOR || (o->role == ROLE_PARTICIPANT && r->room->config.change_subject)) return NULL;
        return say(r, "forbidden", "You may not change the subject of this room.");
    }
    return o->role >= ROLE_PARTICIPANT ? NULL : say(r, "forbidden", "In this room you need to be given voice before you may speak.");
}

static const char *not_too_large(struct request *r)
{
    size_t most = (size_t)tc_settings->tc_max_message;
    if (stanza_size(r->stanza) <= most) return NULL;
    return say_limit(r, "policy-violation", METRIC_ROOM_LIMIT_MESSAGE, arena_printf(r->arena, "A message to a room may have %zu bytes.", most));
}

const char *groupchat_check(struct request *r)
{
    const struct attendee *a = request_attendee(r);
    if (a == NULL) return say(r, "not-acceptable", "You are not in this room.");
    if (jid_is_full(&r->stanza->to)) return say(r, "bad-request", "A message of type groupchat goes to the room, not to one nick.");
    const char *condition = may_speak(r, a->occupant);
    if (condition == NULL) condition = not_too_large(r);
    if (condition != NULL) return condition;
    r->make_outgoing = outgoing_message;
    /* He has another nick since it was asked about: it goes out under that one, which is to be seen by who decides about it. */
    if (r->outgoing != NULL && !jid_eq(&r->outgoing->from, &a->occupant->jid)) request_ask_again(r, EVENT_onBeforeBroadcast);
    request_needs(r, sets_subject(r->stanza) ? EVENT_onBeforeSubject : EVENT_onBeforeSend, 0);
    request_needs(r, EVENT_onBeforeBroadcast, 0);
    return NULL;
}

void groupchat_apply(struct request *r)
{
    struct room *room = r->room;
    struct stanza *out = r->outgoing;
    uint64_t now = clock_wall_ms();
    if (sets_subject(out)) {
        stanza_unref(room->subject);
        room->subject = stanza_ref(out);
        room->subject_wall_ms = now;
        keep_subject(r);
        room_raise_after(room, EVENT_onAfterSubject, r->stanza);
    } else {
        history_add(room, out, now);
        keep_message(r, out, now);
    }
    send_to_all(room, stanza_ref(out), (struct crowd){0}, r);
}

/* ---- to one ---- */
const char *private_check(struct request *r)
{
    const struct attendee *a = request_attendee(r);
    if (a == NULL) return say(r, "not-acceptable", "You are not in this room.");
    if ((r->room->config.private_messages & 1u << a->occupant->role) == 0)
        return say(r, "forbidden", "Private messages are not allowed to you in this room.");
    if (occupant_by_nick(r->room, r->stanza->to.resource) == NULL) return say(r, "item-not-found", "Nobody in this room has that nick.");
    const char *condition = not_too_large(r);
    if (condition != NULL) return condition;
    request_needs(r, EVENT_onBeforeSend, 0);
    return NULL;
}

void private_apply(struct request *r)
{
    const struct attendee *a = request_attendee(r);
    const struct occupant *to = occupant_by_nick(r->room, r->stanza->to.resource);
    struct buf b = {0};
    stamp_content(&b, r->stanza);
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'/>");
    stamp_occupant(&b, a->occupant);
    struct str inner = buf_str(&b);
    struct stanza_change change = {.from = &a->occupant->jid, .inner = &inner};
    struct stanza *out = stanza_with(r->stanza, &change);
    buf_free(&b);
    bool one = to->attendees.next == to->attendees.prev; /* with several, some may take it that others do not */
    LIST_EACH(node, &to->attendees) send_private(CONTAINER_OF(node, struct attendee, node), out, r, one ? 0 : PARCEL_COPY);
    stanza_unref(out);
}

/* ---- errors ---- */
/* XEP-0045, 18.1.2: an error that says that nobody is there any more ends the stay of a ghost. */
static bool says_gone(const struct stanza *s)
{
    static const char *const conditions[] = {"gone",      "item-not-found",          "recipient-unavailable", "redirect",
                                             "jid-malformed", "remote-server-not-found", "remote-server-timeout"};
    const char *condition = stanza_error_condition(s);
    for (unsigned i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
        if (str_is(str_of(conditions[i]), condition)) return true;
    return false;
}

const char *error_check(struct request *r)
{
    (void)r;
    return NULL;
}

/* The error of a private message goes to who sent that; one of what the room sent says something of the session it comes from. */
void error_apply(struct request *r)
{
    struct attendee *a = request_attendee(r);
    if (r->stanza->kind == STANZA_MESSAGE && relay_invitation_failed(r)) return;
    if (a == NULL) return;
    const struct occupant *to = r->stanza->kind == STANZA_MESSAGE ? occupant_by_nick(r->room, r->stanza->to.resource) : NULL;
    if (to != NULL) {
        struct stanza_change change = {.from = &a->occupant->jid};
        struct stanza *out = stanza_with(r->stanza, &change);
        LIST_EACH(node, &to->attendees) send_private(CONTAINER_OF(node, struct attendee, node), out, r, r->parcel->flags & PARCEL_NO_EVENTS);
        stanza_unref(out);
    }
    if (says_gone(r->stanza))
        leave_room(a, &(struct notice){.gone = true, .no_content = true, .codes = {333}, .reason = STR("The connection was lost.")}, NULL, r);
}
