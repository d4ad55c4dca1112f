/* What an event shows, and what its answer changes. Most show the stanza as it came; the last one of a message shows it as the room will send it. */
#include "base/stages.h"
#include "tc/change.h"
#include "tc/rows.h"
#include "tc/stamp.h"

/* The message under the sender's nick, with the room's stamps, to nobody yet. */
struct stanza *outgoing_message(const struct request *r)
{
    const struct attendee *a = request_attendee(r);
    if (a == NULL) return stanza_ref(r->stanza); /* he has left meanwhile; the next check says so */
    struct buf b = {0};
    stamp_content(&b, r->stanza);
    stamp_occupant(&b, a->occupant);
    stamp_message(&b, r->room, r->stanza->sid);
    struct str inner = buf_str(&b);
    struct jid nobody = {0};
    struct stanza_change change = {.from = &a->occupant->jid, .to = &nobody, .inner = &inner};
    struct stanza *out = stanza_with(r->stanza, &change);
    buf_free(&b);
    return out;
}

/* Does the event show one part of the request? */
static bool of_part(const struct request *r, enum event_id event, unsigned item)
{
    bool changes = event == EVENT_onBeforeChangeUser || event == EVENT_onBeforeChangeAffiliation || event == EVENT_onBeforeRemoveAffiliation;
    return changes && item < r->n_parts;
}

struct stanza *request_subject(struct request *r, enum event_id event, unsigned item)
{
    if (of_part(r, event, item)) return stanza_ref(r->parts[item].stanza);
    if (event != EVENT_onBeforeBroadcast) return stanza_ref(r->stanza);
    stanza_unref(r->outgoing);
    r->outgoing = r->make_outgoing(r);
    return stanza_ref(r->outgoing);
}

void request_accept(struct request *r, enum event_id event, unsigned item, const struct stanza *passed)
{
    struct stanza **now = event == EVENT_onBeforeBroadcast ? &r->outgoing : of_part(r, event, item) ? &r->parts[item].stanza : &r->stanza;
    if (*now == passed) return;
    stanza_unref(*now);
    *now = stanza_ref(passed);
}

void room_raise_after(const struct room *room, enum event_id event, const struct stanza *subject)
{
    struct question q = {.event = event, .subject = subject, .room = room->jid.full};
    struct verdict now;
    broker_raise(&q, &now);
}
