/* Dispatch: which feature takes a stanza (one table, src/tables/stanzas.def), and the effects it returns.
 * Features never send: they fill an effect list. It runs after the store has committed, and the stanza keeps its lane place meanwhile. */
#ifndef SIGNET_JSM_DISPATCH_H
#define SIGNET_JSM_DISPATCH_H
#include "broker/broker.h"
#include "jsm/session.h"
#include "jsm/ticket.h"

enum stanza_place { /* where a stanza is when its row is looked for */
    AT_NOTHING = 0, /* to a resource of a served domain, which has none (RFC 6120, 10.5.2): no row */
    AT_SERVER = 1, /* to a served domain itself */
    AT_ACCOUNT = 2, /* to the sender's own account (no `to`, or the own bare JID) */
    AT_CONTACT_OUT = 4, /* to somebody else, at the sender's side */
    AT_CONTACT_IN = 8, /* to a bare JID, at the recipient's side, from anyone */
    AT_SESSION_IN = 16, /* to a full JID, at the recipient's side */
};
#define EFFECTS_SETTLE_MS 1000
struct effects;
struct effect;
struct context { /* what a feature sees; borrowed during the call */
    const struct stanza *stanza;
    struct user *user; /* whose data it works on: the sender at AT_SERVER, AT_ACCOUNT, AT_CONTACT_OUT; the recipient at AT_CONTACT_IN */
    struct session *session; /* the sender's; NULL at AT_CONTACT_IN */
    struct ticket ticket;
    bool unchecked; /* a reply caused by a verdict: its own way raises no event (EVENTS.md, refusal rule 1) */
    struct arena *arena; /* freed when the effects are done */
};
struct stanza_row {
    const char *name;
    enum stanza_kind kind;
    unsigned types; /* mask of 1 << enum stanza_type */
    const char *element, *ns; /* of the first child; NULL: whatever */
    unsigned places; /* mask of enum stanza_place */
    bool barrier; /* waits for everything earlier of the session and holds back everything later */
    bool server_event; /* e_SERVER is raised before */
    const char *(*check)(const struct context *cx, const char **text); /* before any event of this row: a stanza error condition or NULL; may be NULL */
    void (*apply)(const struct context *cx, struct effects *fx);
    const char *what; /* for the documentation */
};
extern const struct stanza_row stanza_table[];
extern const unsigned stanza_table_rows;
const struct stanza_row *dispatch_find(const struct stanza *s, unsigned place); /* NULL: no feature takes it */

/* ---- effects: each takes the stanza reference given ---- */
void effect_reply(struct effects *fx, struct stanza *take); /* to the requester: delivered to his session (es_IN), or routed back */
void effect_error(struct effects *fx, const struct context *cx, const char *condition, const char *text); /* a reply of type error */
void effect_refuse(struct effects *fx, struct stanza *take); /* a reply caused by a verdict: to the requester, without an event */
/* In its turn, after the store has committed, an event is raised (event, session, room, key and subject of q; copied), and what comes after it waits for the
 * verdict. fn gets that; what it adds comes next. */
void effect_event(struct effects *fx, const struct question *q, void (*fn)(struct effects *fx, const struct verdict *v));
void effect_route(struct effects *fx, struct stanza *take, unsigned parcel_flags); /* into the router; the requester's ticket waits for it */
/* What comes after the effects so far waits until what was routed has arrived, or for EFFECTS_SETTLE_MS: an answer says then that it was done. */
void effect_settle(struct effects *fx);
void effect_forward(struct effects *fx, struct stanza *take); /* the stanza itself goes on: routed (sender's side), or to the user's sessions (recipient's side) */
void effect_deliver(struct effects *fx, const struct session *to, struct stanza *take, enum event_copy copy); /* a copy for one session of this user */
void effect_deliver_unchecked(struct effects *fx, const struct session *to, struct stanza *take); /* of a reply caused by a verdict: no event */
void effect_roster_push(struct effects *fx, struct user *u, const struct roster_item *item, struct str removed); /* item NULL: `removed` was removed */
struct store_batch *effect_store(struct effects *fx, struct user *u); /* the batch committed before anything is sent */
/* Before anything is stored or sent, a document of the user (store_document_load) is read; fn then adds the effects that depend on it. At most one. */
void effect_document(struct effects *fx, const char *area, struct str name, void (*fn)(struct effects *fx, struct str xml));
/* Before anything is stored or sent, fn runs; it lets something be done elsewhere, and once that is done more effects are added and effects_run() is called
 * again, not before fn has returned. At most one. */
void effect_wait(struct effects *fx, void (*fn)(struct effects *fx), void *arg); /* arg: as fx->wait_arg */
void effect_after(struct effects *fx, void (*fn)(uint64_t session)); /* of the requester's session, when everything was written and done */
void effect_then(struct effects *fx, void (*fn)(uint64_t session), uint64_t session); /* after everything was sent */

struct effects {
    struct list items;
    struct arena *arena;
    struct store_batch *batch;
    struct user *user; /* held while the effects live */
    uint64_t session; /* requester's session; 0: replies are routed */
    struct ticket ticket;
    struct lane_entry *entry;
    struct stanza *forward;
    void (*document_fn)(struct effects *fx, struct str xml); /* NULL: none is to be read */
    const char *document_area;
    struct str document_name;
    void (*wait_fn)(struct effects *fx); /* NULL: nothing is to be waited for */
    void *wait_arg;
    void (*after_fn)(uint64_t session); /* NULL: nothing */
    unsigned under_way; /* deliveries not finished, +1 while sending */
    struct effect *asking; /* effect_event() that waits for its verdict; NULL: none */
    struct ticket_wait settled; /* effect_settle() */
    struct wheel_timer settle_timer;
    const struct stanza *request; /* borrowed from the owner */
    void (*done)(struct effects *fx, const struct err *failed); /* once; failed: the commit failed and nothing was sent */
};
void effects_init(struct effects *fx, struct user *u, const struct session *s, struct ticket ticket, struct lane_entry *entry, const struct stanza *request);
void effects_run(struct effects *fx); /* done may be called before return */
void effects_clear(struct effects *fx);
void effects_session_gone(struct session *s); /* nothing can be delivered to it any more */

#endif
