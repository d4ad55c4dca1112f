/* Private to the recipient's side (receive*.c): a stanza on its way to the sessions of a user, and how its parts hand it on. */
#ifndef SIGNET_JSM_INCOMING_H
#define SIGNET_JSM_INCOMING_H
#include "jsm/carbons.h"
#include "jsm/dispatch.h"
#include "jsm/kept.h"

enum incoming_step {
    IN_LOADING,
    IN_DELIVER_ASKED,
    IN_DELIVER_TURN, /* refused, or a feature takes it: waits for its turn */
    IN_SERVER_ASKED, /* e_SERVER, at the head of the lane */
    IN_EFFECTS,
    IN_FLUSH_WAIT,
    IN_PRIMARY_ASKED, /* e_PRISESSION */
    IN_PRIMARY_TURN, /* refused there: waits for its turn */
    IN_ASKED, /* es_IN of each chosen session */
    IN_TURN,
    IN_OFFLINE_ASKED,
    IN_OFFLINE_TURN,
    IN_STORING,
    IN_KEEPING, /* in the store before the sessions get it */
    IN_CARBONS, /* done but for the other sessions' copies */
    IN_DONE,
};
/* Where a stanza may ask something, in that order: it stands at one of these in its lane, and what comes behind it is asked nothing that lies further on. So a
 * compliance server sees the stanzas of a lane in their order, event by event, whichever ways they take. Whoever must choose anew goes through them once more. */
enum incoming_asks { ASKS_DELIVER = 1, ASKS_SERVER, ASKS_FEATURE, ASKS_PRISESSION, ASKS_IN, ASKS_OFFLINE, ASKS_COPIES, ASKS_ROUND };
struct incoming {
    struct list node; /* in jsm->incoming */
    struct lane_entry lane;
    struct user_wait wait; /* for the user's data, or the end of an offline flush */
    struct user *user;
    struct parcel *parcel;
    struct stanza *stanza; /* as it is now */
    const struct stanza_row *row;
    enum incoming_step step;
    uint64_t since_us; /* its arrival */
    uint32_t stage; /* enum incoming_asks, + ASKS_ROUND for each time it chose anew */
    struct kept_verdict verdict;
    struct effects fx;
    bool fx_used;
    bool returned; /* to its sender, at shutdown: nothing comes of it any more */
    bool looked_again; /* e_OFFLINE has passed already */
    bool primary_asked; /* e_PRISESSION was raised: once for each stanza */
    bool alone; /* the primary session is the only one that it is for */
    char *primary; /* the full JID that an answer named; NULL: none */
    bool behind; /* it is stored since earlier ones of its sender are, though there is a session for it */
    bool anew; /* a session was sent it already and never acknowledged it */
    uint64_t came_wall_ms; /* of one delivered anew: when it came first; 0: now */
    bool stamped; /* it bears a stamp of that */
    struct kept *kept; /* several sessions get it, or the store has it; or NULL */
    bool left; /* an outage leaves it in the store, though its sender was told that it is accepted */
    bool stays; /* in the store, as it is there */
    bool rewritten; /* e_PRISESSION or e_OFFLINE made it another than the store has */
    bool reached; /* some session took it, or was refused it explicitly by HANDLE */
    bool copied; /* other sessions may get a copy (XEP-0280) */
    struct carbons *carbons;
    struct delivery *deliveries;
    unsigned n_deliveries, asking;
    struct delivery one; /* the usual case */
    uint64_t *refused; /* sessions whose es_IN was refused: they are not asked for again when others have gone */
    unsigned n_refused;
};

/* ---- receive.c ---- */
void incoming_finish(struct incoming *in); /* frees it, once its carbon copies are answered */
void incoming_reject(struct incoming *in, const char *condition); /* an error to its originator, where one is due; finishes it */
void incoming_refused(struct incoming *in); /* by in->verdict, before any session was asked for; finishes it */
void incoming_send_back(struct stanza *take_reply); /* to the originator, without an event; NULL: nothing */
void incoming_ensure_lane(struct incoming *in);
void incoming_stage(struct incoming *in, enum incoming_asks at); /* on to that one, of the next round when it has been there */
void incoming_deliveries_clear(struct incoming *in);

/* ---- receive_sessions.c ---- */
void incoming_unstamp(struct incoming *in);
void incoming_choose(struct incoming *in); /* sessions, each of which is asked for by es_IN; or the offline store */
void incoming_copies_turn(struct incoming *in); /* it is head of its lane, and es_IN is answered */
void incoming_copy(struct incoming *in, const struct stanza *passed); /* carbon copies of what was let through; not more than once */

/* ---- receive_primary.c ---- */
/* The choice among several sessions is to be made: e_PRISESSION, where it is due. true: incoming_choose() follows, or a refusal; never before return, but when
 * nobody is asked: then false. */
bool incoming_ask_primary(struct incoming *in);
void incoming_primary_turn(struct incoming *in); /* it is head of its lane, and was refused */
struct session *incoming_primary(const struct incoming *in); /* the session named, as long as it takes messages; or NULL */

/* ---- receive_offline.c ---- */
void incoming_nobody_there(struct incoming *in); /* no session takes it: it is stored, returned, or dropped */
void incoming_store(struct incoming *in); /* e_OFFLINE, another look for sessions, then the store */
void incoming_offline_turn(struct incoming *in); /* it is head of its lane, and e_OFFLINE is answered */
/* It is refused, by in->verdict. true: it is left in the store instead, since only an outage did that, and its sender was told before that it is accepted. */
bool incoming_leave(struct incoming *in);
void incoming_leave_now(struct incoming *in); /* the same at shutdown, wherever it waits: whatever its verdict will be, it is in the store */

#endif
