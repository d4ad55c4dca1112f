/* What an event shows, and what its answer changes. Most show the stanza as it came; the last one of a message shows it as the room will send it. */
#include "base/stages.h"
#include "tc/rows.h"
#include "tc/stamp.h"

/* The message under the sender's nick, with the room's stamps, to nobody yet. */
static struct stanza *outgoing_message(const struct request *r)
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

struct stanza *request_subject(struct request *r, enum event_id event, unsigned item)
{
    (void)item;
    if (event != EVENT_onBeforeBroadcast) return stanza_ref(r->stanza);
    stanza_unref(r->outgoing);
    r->outgoing = outgoing_message(r);
    return stanza_ref(r->outgoing);
}

void request_accept(struct request *r, enum event_id event, unsigned item, const struct stanza *passed)
{
    (void)item;
    struct stanza **now = event == EVENT_onBeforeBroadcast ? &r->outgoing : &r->stanza;
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
