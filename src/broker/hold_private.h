/* Between hold.c and hold_step.c: a hold, and the holds of a worker. */
#ifndef SIGNET_BROKER_HOLD_PRIVATE_H
#define SIGNET_BROKER_HOLD_PRIVATE_H
#include "broker/hold.h"

struct link_view {
    bool keeps;
    struct list holds; /* waiting there, in the order of sending */
};

struct holds {
    uint32_t worker;
    uint64_t timeout_us;
    const struct hold_ops *ops;
    void *owner;
    struct plan *plan;
    uint32_t era; /* grows with each plan that asks in another order than the one before */
    struct imap by_id;
    uint64_t next_id;
    struct list all; /* not freed yet, in the order of raising */
    struct list due; /* by deadline */
    struct list finished; /* verdicts to be told */
    struct link_view **views; /* by link id; NULL: never mentioned */
    uint32_t n_views;
    unsigned depth; /* inputs on the stack: holds_run() will follow */
    bool running, woken;
    struct buf key; /* scratch */
};

/* A verdict's own copy: answers are gone when it is told. */
struct hold_verdict {
    enum verdict_kind kind;
    bool outage;
    struct stanza *reply;
    char condition[48], type[12];
    char *text;
};
struct hold {
    struct holds *h;
    struct lane_ask ask;
    struct list node; /* at a link, or in finished */
    struct list due, all;
    uint64_t id, raised_us, deadline_us;
    uint32_t era;
    struct event *event;
    struct stanza *original; /* the event's stanza as it is, its secrets not blank; NULL: it holds none */
    struct plan *plan;
    struct plan_chain chain;
    struct lane_entry *entry; /* for the first ask only */
    uint32_t step, link;
    uint32_t turn; /* hand-overs so far */
    uint32_t asked; /* the link last handed to at this step, for reports */
    bool in_raise, changed;
    bool shadow; /* of a shadow row: nobody waits, it takes part in no lane, and its end is only reported */
    char *session;
    const char *last; /* how the last step ended, for tracing */
    void (*done)(void *arg, const struct verdict *verdict);
    void *arg;
    struct hold_verdict verdict;
};

#define OUTAGE_CONDITION "internal-server-error" /* what a refusal by nobody's word says (EVENTS.md, "Answers") */
#define OUTAGE_TYPE "cancel"
enum next { NEXT_STEP, WAIT, FINISHED };

static inline const struct plan_step *hold_step(const struct hold *hold) { return &hold->chain.steps[hold->step]; }
static inline const struct event_row *hold_row(const struct hold *hold) { return &event_catalogue[hold->event->id]; }

/* ---- hold_step.c ---- */
struct link_view *hold_view(struct holds *h, uint32_t link); /* found or made */
void hold_report(const struct hold *hold, enum hold_news news, const char *detail);
void hold_free(struct hold *hold);
void hold_proceed(struct hold *hold, enum next next); /* through its steps, until it waits or is finished */
void hold_turn(struct lane_ask *ask); /* its turn in the lane has come */
void hold_take_back(struct hold *hold); /* it no longer waits at its link; the step's deadline goes with it */
enum next hold_without_word(struct hold *hold, const char *last); /* nobody was asked, or nobody answered, or with what can't be understood */
enum next hold_reroute(struct hold *hold, uint32_t lost);
enum next hold_answered(struct hold *hold, const struct event_answer *a);

#endif
