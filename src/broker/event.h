/* What travels between the worker that raised an event and the worker that has the link, and what the raiser is told. */
#ifndef SIGNET_BROKER_EVENT_H
#define SIGNET_BROKER_EVENT_H
#include "broker/catalogue.h"

enum event_copy { COPY_NONE, COPY_CARBON, COPY_MUC, COPY_OFFLINE };
struct event_candidate { /* e_PRISESSION */
    struct str jid;
    int priority;
};
/* One event: made once per raise, immutable, reference-counted (atomic), shared by all profiles of its chain. */
struct event {
    enum event_id id;
    uint64_t seq; /* event id "node-boot-seq": the same when sent again; minted by the raiser */
    struct stanza *subject;
    uint64_t wall_ms; /* when it was raised */
    struct str session, room; /* either or none */
    struct str key; /* conversation key: "juliet@example.com romeo@example.com" */
    enum event_copy copy;
    const struct event_candidate *candidates;
    unsigned n_candidates;
    size_t bytes; /* about what it costs in a queue */
    struct event_private *priv;
};
struct event_facts { /* what an event is made of; all borrowed and copied, the subject referenced */
    enum event_id id;
    const struct stanza *subject;
    struct str session, room, key;
    enum event_copy copy;
    const struct event_candidate *candidates;
    unsigned n_candidates;
};
struct event *event_new(const struct event_facts *facts); /* raised now, a new id */
struct event *event_with_subject(const struct event *e, const struct stanza *subject); /* the same event, its stanza changed by an answer */
struct event *event_ref(const struct event *e);
void event_unref(struct event *e);
void event_ids_start(const char *node, uint32_t boot); /* before any is made */
const char *event_node(void);
#define EVENT_ID_SIZE 320
const char *event_id_text(const struct event *e, char out[EVENT_ID_SIZE]); /* "node1-6a1b-000001f3": first label of the node */

/* Raiser -> link. */
struct event_request {
    struct event *event; /* a reference */
    uint32_t worker; /* where the hold is */
    uint64_t hold; /* its id; 0: fire and forget, no answer is wanted */
    uint32_t turn; /* how often the hold had asked before: an answer to an earlier turn is only counted */
    bool shadow; /* its verdict is not enforced */
    struct str profile; /* name; lives as long as `owner` */
    void *owner; /* refcounted holder of profile (the plan) */
};

/* Nobody is held up by it, so nobody is to be held up for it: its server is told of the event, or asked only to see what it would say. */
static inline bool event_request_is_patient(const struct event_request *r) { return r->hold == 0 || r->shadow; }

/* About what it costs while it waits. */
static inline size_t event_request_bytes(const struct event_request *r) { return r->event->bytes + 128; }

/* What can be wrong with what a compliance server says. */
enum answer_fault {
#define ANSWER_FAULT(id, name, lie, text, becomes) ANSWER_FAULT_##id,
#include "tables/answer_faults.def"
#undef ANSWER_FAULT
    ANSWER_FAULTS, /* none */
};
const char *answer_fault_name(enum answer_fault fault);
const char *answer_fault_text(enum answer_fault fault);
bool answer_fault_is_lie(enum answer_fault fault);

/* Link -> raiser. */
enum answer_kind {
    ANSWER_PASS,
    ANSWER_PASS_STANZA, /* with stanza */
    ANSWER_HANDLE, /* stanza: the reply, or NULL */
    ANSWER_ERROR, /* condition, text */
    ANSWER_INVALID, /* not well-formed inside, too large, nothing the protocol knows: counts as an error; text says what */
    ANSWER_RETURNED, /* the link gave the event back: it is GONE, or its outage window ended; route it anew */
    ANSWER_QUEUE_FULL, /* refused at once: counts as an error */
};
struct event_answer {
    enum answer_kind kind;
    uint64_t hold;
    uint32_t turn; /* the request's */
    uint32_t link; /* link id it came from */
    struct stanza *stanza; /* a reference, or NULL */
    char *session; /* e_PRISESSION: the named session, malloc'ed, or NULL */
    char condition[48]; /* stanza error condition, for ANSWER_ERROR */
    char type[12]; /* its error type, "" when not given */
    char *text; /* malloc'ed, or NULL */
    enum answer_fault fault; /* of ANSWER_INVALID */
};
void event_answer_clear(struct event_answer *a); /* frees what it holds */

/* What the raiser is told in the end. */
enum verdict_kind {
    VERDICT_PASS, /* go on; stanza is what to go on with (a changed one when changed is set) */
    VERDICT_HANDLE, /* stop; stanza: a reply to an IQ, or NULL */
    VERDICT_REFUSE, /* bounce: error with condition, type and text to the originator */
    VERDICT_DISCARD, /* fire and forget + bounce: sent, then discarded */
};
struct verdict {
    enum verdict_kind kind;
    bool changed;
    bool outage; /* VERDICT_REFUSE because of an outage, a time-out or a full queue, not by an explicit error (offline flush keeps the message) */
    struct stanza *stanza; /* borrowed until done() returns: PASS: the stanza to go on with; HANDLE: the reply */
    const char *session; /* e_PRISESSION: the primary session named last, or NULL; borrowed */
    const char *condition, *type, *text; /* VERDICT_REFUSE; text may be NULL; borrowed */
};

#endif
