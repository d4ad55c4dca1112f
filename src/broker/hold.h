/* Holds: the events of one worker that wait for answers, and what an answer means (EVENTS.md, "Answers"). Pure state: questions, answers, views of links
 * and time come in; requests, verdicts and reports go out. One `struct holds` per worker, all calls on it.
 *
 * A raise walks the chain of its event. At each step it waits for its turn in the lane, chooses a link, sends, and parks under an id until the answer, the
 * deadline, or the loss of the link. Nothing outside ever holds a pointer to a hold: answers name its id and turn, and the link they come from. */
#ifndef SIGNET_BROKER_HOLD_H
#define SIGNET_BROKER_HOLD_H
#include "base/alarm.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "broker/plan.h"

struct holds;

/* What happened, for counters, alarms, the log and tracing. */
enum hold_news {
#define HOLD_NEWS(id, name, metric, alarm, level, text) HOLD_##id,
#include "tables/hold_news.def"
#undef HOLD_NEWS
    HOLD_NEWS_COUNT
};
struct seldom;
struct hold_report {
    enum hold_news news;
    enum event_id id;
    const struct event *event; /* NULL: none was made, nobody was asked; or an answer to no hold */
    uint32_t link; /* LINK_ID_NONE: none is concerned */
    const char *profile; /* whose step it is; NULL: none */
    const char *detail; /* for a person; NULL: nothing to say */
    enum answer_fault fault; /* HOLD_INVALID, HOLD_OVERRULED: the kind */
    const char *verdict; /* HOLD_VERDICT: "pass", "pass-stanza", "handle", "error", "timeout", "discard", "invalid"; HOLD_SHADOW_*: "shadow: would pass" ... */
    uint64_t took_us; /* with a verdict: since the raise; of a shadow row: since it was asked */
};
struct hold_ops {
    uint64_t (*now_us)(void *owner); /* monotonic, microseconds */
    /* Hands a request to a link: request->hold 0: fire and forget. Its contents are the callee's (event_request_clear). Never calls back before return: a
     * link that can't take it says so later, by ANSWER_RETURNED or ANSWER_QUEUE_FULL. */
    void (*send)(void *owner, uint32_t link, struct event_request *take);
    /* The hold has given up on what it sent there (time-out, moved to another server): nothing need be sent or kept for it any more. */
    void (*forget)(void *owner, uint32_t link, uint64_t hold);
    /* Verdicts are ready that could not be told from inside the present call: holds_run() is to be called soon, before the loop blocks, from no raiser's stack. */
    void (*wake)(void *owner);
    void (*report)(void *owner, const struct hold_report *report);
    bool (*is_room_domain)(void *owner, struct str domain); /* is it the TC service's? NULL: there is none */
};

struct holds *holds_new(uint32_t worker, uint64_t event_timeout_ms, const struct hold_ops *ops, void *owner);
void holds_free(struct holds *h); /* those still waiting are dropped untold: shutdown and tests only. NULL is a no-op */
void holds_set_timeout(struct holds *h, uint64_t event_timeout_ms);
void holds_set_plan(struct holds *h, const struct plan *plan); /* takes its own reference; from the next raise on; NULL: ask nobody */

/* broker_raise() on this worker. With q->done NULL (nobody waits) it returns true and PASS, q->entry is not used, and the chain goes on by itself.
 * Returns false when done() is to come: from holds_answer, _link, _tick or _run, never from within a raise or a lane function. done() may raise. */
bool holds_raise(struct holds *h, const struct question *q, struct verdict *now);
bool holds_lists(const struct holds *h, enum event_id event, unsigned packet); /* broker_lists() */
bool holds_planned(const struct holds *h, enum event_id event, const struct stanza *subject);

void holds_answer(struct holds *h, struct event_answer *take); /* clears it */
/* The worker's view of a link changed: does it take events: link_keeps(), i.e. ACTIVE, or cut and within its outage window. One never mentioned does not.
 * When it no longer does, events of this worker waiting there are routed anew at once, in the order in which they were sent; their ANSWER_RETURNED, before or
 * after, makes no difference. */
void holds_link(struct holds *h, uint32_t link, bool keeps);
uint64_t holds_due_ms(const struct holds *h); /* when holds_tick() wants to be called; UINT64_MAX: never */
void holds_tick(struct holds *h); /* early or late calls do no harm */
void holds_run(struct holds *h);

size_t holds_count(const struct holds *h); /* events waiting */
/* The era of the oldest plan that an event which waits began with, or that the next one will; UINT32_MAX: there is none. What was sent under an older one was
 * sent before. */
uint32_t holds_oldest_era(const struct holds *h);

/* What a report counts and alarms, by a table: metrics of src/tables/metrics.def, alarms of alarms.def, one log line where it matters. The subject of an alarm
 * is the link's component, or the profile when no link is concerned. For the owner's report op; thread-safe, but
 * for `said`, the caller's own: what it says of one link is logged once per kind and minute. NULL: all is logged. */
void hold_report_count(const struct hold_report *report, struct seldom *said, uint64_t now_ms);
const char *hold_news_name(enum hold_news news);
const char *hold_news_text(enum hold_news news);

/* The conversation key (EVENTS.md, "Vocabulary"), appended to out. is_room_domain may be NULL. */
void event_key_compute(struct buf *out, const struct question *q, bool (*is_room_domain)(void *owner, struct str domain), void *owner);

#endif
