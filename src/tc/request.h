/* A stanza that came for a room or the service, from its arrival until its last effect: check, events, then in the room's order check again, apply.
 *
 * Its row (src/tables/rooms.def) is data: which stanzas, and two functions. `check` looks at the room as it is now and says either what is wrong, or
 * which events stand before the change, in their order. They are raised one after the other without waiting for the requests ahead; when all have
 * passed and all ahead are done, `check` is asked once more: what has become wrong meanwhile is an error, what must be asked in addition is asked,
 * and then `apply` changes the room and sends. So a slow compliance server costs a room one round trip, not one for each request. */
#ifndef SIGNET_TC_REQUEST_H
#define SIGNET_TC_REQUEST_H
#include "base/metric.h"
#include "broker/broker.h"
#include "broker/verdict.h"
#include "tc/room.h"

enum request_target { /* where it is directed to, and in which state that is; a mask */
    TO_SERVICE = 1, /* the service's domain */
    TO_ROOM = 2, /* the bare JID of a room that exists */
    TO_NICK = 4, /* room@service/nick, the room exists */
    TO_ABSENT = 8, /* a room that does not exist, bare or with a nick */
};
struct part;
struct request;
struct request_row {
    const char *name;
    enum stanza_kind kind;
    unsigned types; /* mask of 1 << enum stanza_type */
    const char *element, *ns; /* a child that must be there; NULL: whatever */
    unsigned targets; /* mask of enum request_target */
    /* A stanza error condition (and *r->text), or NULL and request_needs() was called for each event before. Changes nothing. */
    const char *(*check)(struct request *r);
    void (*apply)(struct request *r);
    const char *what; /* for the documentation */
};
extern const struct request_row request_table[];
extern const unsigned request_table_rows;

struct asked { /* an event before the change */
    enum event_id event;
    unsigned item; /* of a request with several: which */
    bool passed;
};
enum request_step { REQUEST_LOADING, REQUEST_ASKED, REQUEST_TURN, REQUEST_STORING, REQUEST_DONE };
struct request {
    struct list node; /* in tc->requests */
    struct lane_entry lane;
    struct room_wait wait;
    struct room *room;
    struct parcel *parcel; /* what came; referred to by what is sent because of it: the ticket goes back when all that has arrived */
    struct arena *arena;
    struct stanza *stanza; /* as it is now: what was let through */
    const struct request_row *row;
    enum request_step step;
    uint32_t stage;
    bool examined; /* the first event, onPacket or onServicePacket, has passed */
    bool refused;
    bool given_up; /* a join whose session is no more, or at shutdown one that has been answered already: its turn passes and nothing comes of it */
    struct kept_verdict verdict; /* of a refusal */
    struct asked *needs; /* what the last check asked for, in order */
    unsigned n_needs, needs_cap;
    struct asked *passed; /* those that passed */
    unsigned n_passed, passed_cap;
    enum event_id asking;
    unsigned asking_item;
    const char *text; /* of an error, for a person */
    enum metric_id limit; /* what the last check has found exceeded; METRIC_COUNT: nothing */
    const char *own_condition, *own_ns; /* an application's own condition beside it */
    struct str offending; /* and what of the request it is about, as children of the stanza (borrowed); absent: it does not say */
    struct stanza *(*make_outgoing)(const struct request *r); /* set by the check that needs onBeforeBroadcast */
    struct stanza *outgoing; /* a message as the room sends it out, from the time it is made */
    struct part *parts; /* change.h: what it changes of whom, one by one */
    unsigned n_parts;
    void *data; /* the row's own, in the arena */
    struct store_room_batch *batch;
    void (*then)(struct request *r), (*undo)(struct request *r);
    bool self_made; /* by the service itself */
    struct stanza *answer; /* to that, once there is one */
    void (*answered)(void *arg, const struct stanza *answer); /* NULL: nobody wants to know */
    void *answered_arg;
};

/* ---- request.c ---- */
void request_arrive(struct parcel *take); /* router_ops.arrive */
/* Shutdown: what has not been carried out by now will not be; whoever asked for it is told. */
void requests_return(void);
/* Something the service does by itself goes the same way: a stanza as if it had come. answered (may be NULL) is called once, with its answer, or with
 * NULL when a compliance server has stopped it without one. */
void request_by_service(const struct request_row *row, struct stanza *take, void (*answered)(void *arg, const struct stanza *answer), void *arg);
/* In check: this event stands before the change. */
void request_needs(struct request *r, enum event_id event, unsigned item);
void request_ask_again(struct request *r, enum event_id event); /* in check: that it has passed counts no more */
/* In apply: the batch to be committed before `then` goes on (which sends); kept for persistent rooms only. */
struct store_room_batch *request_store(struct request *r);
void request_then(struct request *r, void (*then)(struct request *r), void (*undo)(struct request *r)); /* undo: the commit failed; may be NULL */
void request_fail(struct request *r, const char *condition, const char *text); /* in apply, after all: an error to the sender */

/* ---- events.c: what an event shows ---- */
struct stanza *request_subject(struct request *r, enum event_id event, unsigned item); /* a new reference */
void request_accept(struct request *r, enum event_id event, unsigned item, const struct stanza *passed); /* it was let through, perhaps changed */
/* After a change: nobody waits. subject: borrowed. */
void room_raise_after(const struct room *room, enum event_id event, const struct stanza *subject);

/* ---- send.c ---- */
void send_reply(struct request *r, struct stanza *take); /* to the sender; NULL: nothing */
/* The error of a presence that wanted to enter has the element by which clients tell what it is about (XEP-0045, 7.2); another stanza is as it was.
 */
struct stanza *send_as_room(const struct request *r, struct stanza *take);
void send_error(struct request *r, const char *condition, const char *type, const char *text);
void send_to(const struct attendee *a, struct stanza *take, const struct request *cause); /* one session; `to` is set here */
/* What one occupant has for a session of another: like all that is live, it waits behind the history. flags: of its parcel, beside PARCEL_ROOM. */
void send_private(struct attendee *a, const struct stanza *s, const struct request *cause, unsigned flags);
struct crowd { /* whom */
    bool (*fits)(const void *arg, const struct attendee *a); /* NULL: all */
    const void *arg;
};
void send_to_all(struct room *room, struct stanza *take, struct crowd crowd, const struct request *cause);

#endif
