/* Lanes: order without waiting. Each is a FIFO of entries on one worker (ARCHITECTURE.md, "Order, completion, back-pressure").
 *
 * An entry goes through stages (a number that only grows; e.g. e_DELIVER 1, es_IN 3); in each it may have asks under way, each at a place in its chain.
 * An ask at (stage, step) may be SENT only when the entry ahead has sent everything it will ever send at or below (stage, step), i.e. progress(ahead) >= it.
 * Steps are those of a plan; between stage and step stands an era, which grows when a plan asks in another order than the one
 * before: an ask is sent when those ahead that are of other eras have been sent for the last time, their steps being others.
 * progress(entry) = the least (stage, era, step) that an ask of it has yet to send or has sent last. An entry that has come to a stage and asked nothing yet stands
 * just before it; once its asks of a stage are done, or it had none to make (lane_skip), it stands at the stage's end; one that has left is infinitely far.
 * Effects are APPLIED only by the head of the lane. Pure state: no time, no I/O. */
#ifndef SIGNET_BROKER_LANE_H
#define SIGNET_BROKER_LANE_H
#include "base/list.h"
#include "base/map.h"

struct lane;
struct lane_set { /* the lanes of one owner (a session's sending lanes, a user's receiving lanes, a room's lane). Zeroed is empty. */
    struct map lanes;
    size_t entries;
};
struct lane_entry; /* embedded in the raiser's own struct; zeroed before lane_enter */
struct lane_ask { /* embedded in a hold: one question under way for an entry; zeroed at first */
    struct list node; /* in entry->asks */
    struct list ready; /* in the lane's list of those whose turn has come */
    struct lane_entry *entry; /* NULL: in no order, or its entry has left */
    uint64_t place; /* (stage, era, step) it has sent or waits to send */
    bool sent, last;
    void (*send_now)(struct lane_ask *ask); /* its turn in the order has come */
};
struct lane_entry {
    struct list node; /* in lane */
    struct lane *lane; /* NULL: in none, everything is allowed at once */
    struct list asks;
    uint32_t stage;
    uint64_t reach; /* private: those behind may send at places below it, */
    uint32_t newest; /* private: but not at those of older eras than this */
    bool asked, more, quiet, told, first; /* private */
    /* The entry has become head of its lane: waiting effects may be applied. Called from lane_leave of the one ahead (never before return of lane_enter).
     * May call lane_leave. */
    void (*on_head)(struct lane_entry *entry);
};
void lane_enter(struct lane_set *set, struct str key, struct lane_entry *entry); /* at the tail of that key's lane, which is made when needed */
/* Ahead of all that are in the lane but those that came in this way. What they have sent is sent; the one that was head becomes it anew (on_head is called)
 * once this one has left. */
void lane_enter_first(struct lane_set *set, struct str key, struct lane_entry *entry);
bool lane_is_head(const struct lane_entry *entry);
void lane_leave(struct lane_entry *entry); /* its effect is done (or it died); the next becomes head; no-op when in no lane */
void lane_stage(struct lane_entry *entry, uint32_t stage); /* the entry has gone on to this stage; lets those behind send */
/* true: several raises of this stage follow (es_IN per session): those behind don't send at it until false says that the last was made. */
void lane_more(struct lane_entry *entry, bool more);
/* It will ask nothing more at any stage (it was refused, say): those behind may send as if it were not there, though it waits for its turn to leave. Without
 * this, one refused stanza among passed ones would cost those behind a round trip. */
void lane_quiet(struct lane_entry *entry);

/* The hold's side. Wants to send at (current stage, step), era being that of its plan's order (it only grows). Returns true: send now (ask->sent is set), then call lane_ask_sent(); false: send_now() will be
 * called, never before return. Repeated for each step; an ask keeps the stage it began with, and goes by ask->entry from then on (entry is not looked at). */
bool lane_ask(struct lane_entry *entry, struct lane_ask *ask, uint32_t era, uint32_t step);
void lane_ask_sent(struct lane_ask *ask, bool last); /* it is sent: those behind may follow (send_now() of theirs may be called). last: its chain ends here */
void lane_ask_done(struct lane_ask *ask); /* its final verdict is there; no-op when it is in no order */
void lane_skip(struct lane_entry *entry); /* a question was raised that asks nobody */
void lane_set_free(struct lane_set *set); /* must be empty of entries */

#endif
