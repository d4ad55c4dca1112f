/* Holds: the events of one worker that wait, each at one step of its chain.
 *
 * A hold is in one of four places. It waits for its turn in the lane (link is LINK_ID_NONE, the lane has its ask); it waits at a link (in that link's list,
 * in the order of sending, and in the list of deadlines); it has its verdict and waits to be told (in `finished`, out of the map of ids); or it is on the
 * stack of one of the functions here or in hold_step.c, where hold_proceed() takes it from the last to one of the others.
 *
 * Verdicts are told by holds_run() only, which the functions that bring input call last. What becomes known inside a raise about other holds, or inside a
 * lane function, waits for a call of holds_run() from outside, which the owner was asked for: so a raiser is never called back while it is half-way
 * through something.
 *
 * When a link is lost its list is routed anew at once, in order. Otherwise events raised later could overtake on the new server those that are still on
 * their way back. */
#include "broker/hold.h"
#include "broker/hold_private.h"
#include "broker/secret.h"
#include <stdlib.h>

static void verdict_of(const struct hold *hold, struct verdict *out)
{
    const struct hold_verdict *v = &hold->verdict;
    bool refused = v->kind == VERDICT_REFUSE;
    struct stanza *subject = hold->original != NULL ? hold->original : hold->event->subject;
    *out = (struct verdict){
        .kind = v->kind,
        .changed = v->kind == VERDICT_PASS && hold->changed,
        .outage = v->outage,
        .stanza = v->kind == VERDICT_PASS ? subject : v->reply,
        .session = hold->session,
        .condition = refused ? v->condition : NULL,
        .type = refused ? v->type : NULL,
        .text = v->text,
    };
}

void holds_run(struct holds *h)
{
    if (h->running) return;
    h->running = true;
    h->woken = false;
    for (struct list *node; (node = list_pop_front(&h->finished)) != NULL;) {
        struct hold *hold = CONTAINER_OF(node, struct hold, node);
        struct verdict verdict;
        verdict_of(hold, &verdict);
        hold->done(hold->arg, &verdict);
        hold_free(hold);
    }
    h->running = false;
}

/* ---- answers and links ---- */

static void holds_enter(struct holds *h) { h->depth++; }

static void holds_leave(struct holds *h)
{
    if (--h->depth == 0) holds_run(h);
}

static void report_late(struct holds *h, const struct event_answer *a)
{
    /* Given back, but routed anew already: nobody's fault and nobody's loss. */
    if (a->kind == ANSWER_RETURNED) return;
    h->ops->report(h->owner, &(struct hold_report){.news = HOLD_LATE, .link = a->link});
}

void holds_answer(struct holds *h, struct event_answer *take)
{
    struct hold *hold = imap_get(&h->by_id, take->hold);
    bool expected = hold != NULL && hold->link != LINK_ID_NONE && hold->link == take->link && hold->turn == take->turn + 1;
    holds_enter(h);
    if (!expected) {
        report_late(h, take);
    } else if (take->kind == ANSWER_RETURNED) {
        hold_proceed(hold, hold_reroute(hold, take->link));
    } else if (take->kind == ANSWER_QUEUE_FULL) {
        hold_report(hold, HOLD_QUEUE_FULL, take->text);
        hold_take_back(hold);
        hold_proceed(hold, hold_without_word(hold, "error"));
    } else {
        hold_take_back(hold);
        hold_proceed(hold, hold_answered(hold, take));
    }
    event_answer_clear(take);
    holds_leave(h);
}

void holds_link(struct holds *h, uint32_t link, bool keeps)
{
    struct link_view *view = hold_view(h, link);
    view->keeps = keeps;
    if (keeps) return;
    holds_enter(h);
    while (!list_empty(&view->holds)) {
        struct hold *hold = CONTAINER_OF(view->holds.next, struct hold, node);
        /* It may be back by now, and have taken what was sent after its loss. */
        h->ops->forget(h->owner, link, hold->id);
        hold_proceed(hold, hold_reroute(hold, link));
    }
    holds_leave(h);
}

/* ---- time ---- */

static struct hold *first_due(const struct holds *h) { return list_empty(&h->due) ? NULL : CONTAINER_OF(h->due.next, struct hold, due); }

uint64_t holds_due_ms(const struct holds *h)
{
    const struct hold *first = first_due(h);
    return first == NULL ? UINT64_MAX : (first->deadline_us + 999) / 1000;
}

void holds_tick(struct holds *h)
{
    uint64_t now = h->ops->now_us(h->owner);
    struct hold *hold;
    holds_enter(h);
    while ((hold = first_due(h)) != NULL && hold->deadline_us <= now) {
        hold_report(hold, HOLD_TIMEOUT, NULL);
        h->ops->forget(h->owner, hold->link, hold->id);
        hold_take_back(hold);
        hold_proceed(hold, hold_without_word(hold, "timeout"));
    }
    holds_leave(h);
}

/* ---- raising ---- */

static void verdict_pass(const struct question *q, struct verdict *now)
{
    *now = (struct verdict){.kind = VERDICT_PASS, .stanza = (struct stanza *)q->subject};
}

static struct event *question_event(struct holds *h, const struct question *q, const struct stanza *blank)
{
    struct event_facts facts = {
        .id = q->event,
        .subject = blank != NULL ? blank : q->subject,
        .session = q->session,
        .room = q->room,
        .key = q->key,
        .copy = q->copy,
        .candidates = q->candidates,
        .n_candidates = q->n_candidates,
    };
    if (facts.key.p == NULL) {
        buf_reset(&h->key);
        event_key_compute(&h->key, q, h->ops->is_room_domain, h->owner);
        facts.key = buf_str(&h->key);
    }
    return event_new(&facts);
}

static struct hold *hold_new(struct holds *h, const struct question *q, struct plan_chain chain)
{
    struct hold *hold = x_calloc(1, sizeof(*hold));
    hold->h = h;
    hold->id = ++h->next_id;
    hold->raised_us = h->ops->now_us(h->owner);
    struct stanza *blank = secret_blank(q->subject);
    hold->event = question_event(h, q, blank);
    hold->original = blank != NULL ? stanza_ref(q->subject) : NULL;
    stanza_unref(blank);
    hold->plan = plan_ref(h->plan);
    hold->era = h->era;
    hold->chain = chain;
    hold->link = hold->asked = LINK_ID_NONE;
    hold->last = "pass";
    hold->ask.send_now = hold_turn;
    hold->done = q->done;
    hold->arg = q->arg;
    hold->entry = q->done != NULL ? q->entry : NULL;
    imap_put(&h->by_id, hold->id, hold);
    list_push_back(&h->all, &hold->all);
    return hold;
}

/* Known at once, so no answer had a part in it: PASS unchanged, discarded, or refused by an outage. */
static void verdict_at_once(const struct hold *hold, const struct question *q, struct verdict *now)
{
    verdict_pass(q, now);
    now->kind = hold->verdict.kind;
    if (now->kind != VERDICT_PASS) now->stanza = NULL;
    if (now->kind != VERDICT_REFUSE) return;
    now->outage = true;
    now->condition = OUTAGE_CONDITION;
    now->type = OUTAGE_TYPE;
}

bool holds_raise(struct holds *h, const struct question *q, struct verdict *now)
{
    struct plan_chain chain = plan_chain_of(h->plan, q->event, packet_type_of(q->subject));
    if (chain.n_steps == 0) {
        verdict_pass(q, now);
        lane_skip(q->done != NULL ? q->entry : NULL);
        h->ops->report(h->owner, &(struct hold_report){.news = HOLD_RAISED, .id = q->event, .link = LINK_ID_NONE});
        return true;
    }
    struct hold *hold = hold_new(h, q, chain);
    uint64_t id = hold->id;
    hold_report(hold, HOLD_RAISED, NULL);
    hold->in_raise = true;
    hold_proceed(hold, NEXT_STEP);
    bool finished = imap_get(&h->by_id, id) == NULL;
    if (finished && q->done != NULL)
        verdict_at_once(hold, q, now);
    else
        verdict_pass(q, now); /* nobody waits, or not known yet */
    hold->in_raise = false;
    if (finished) hold_free(hold);
    return finished || q->done == NULL;
}

bool holds_lists(const struct holds *h, enum event_id event, unsigned packet) { return plan_chain_of(h->plan, event, packet).n_steps > 0; }

bool holds_planned(const struct holds *h, enum event_id event, const struct stanza *subject) { return holds_lists(h, event, packet_type_of(subject)); }

/* ---- the whole ---- */

struct holds *holds_new(uint32_t worker, uint64_t event_timeout_ms, const struct hold_ops *ops, void *owner)
{
    struct holds *h = x_calloc(1, sizeof(*h));
    h->worker = worker;
    h->ops = ops;
    h->owner = owner;
    list_init(&h->all);
    list_init(&h->due);
    list_init(&h->finished);
    holds_set_timeout(h, event_timeout_ms);
    return h;
}

void holds_set_timeout(struct holds *h, uint64_t event_timeout_ms) { h->timeout_us = event_timeout_ms * 1000; }

void holds_set_plan(struct holds *h, const struct plan *plan)
{
    struct plan *old = h->plan;
    h->plan = plan != NULL ? plan_ref(plan) : NULL;
    if (old != NULL && plan != NULL && !plan_same_order(old, plan)) h->era++;
    plan_unref(old);
}

size_t holds_count(const struct holds *h) { return h->by_id.count; }

uint32_t holds_oldest_era(const struct holds *h)
{
    const struct plan *oldest = list_empty(&h->all) ? h->plan : CONTAINER_OF(h->all.next, struct hold, all)->plan;
    return oldest != NULL ? plan_era(oldest) : UINT32_MAX;
}

void holds_free(struct holds *h)
{
    if (h == NULL) return;
    uint64_t id;
    void *hold;
    for (size_t it = 0; imap_next(&h->by_id, &it, &id, &hold);) {
        ((struct hold *)hold)->ask.entry = NULL; /* lanes may be gone before */
        hold_free(hold);
    }
    for (struct list *node; (node = list_pop_front(&h->finished)) != NULL;) hold_free(CONTAINER_OF(node, struct hold, node));
    for (uint32_t i = 0; i < h->n_views; i++) free(h->views[i]);
    free(h->views);
    imap_free(&h->by_id);
    plan_unref(h->plan);
    buf_free(&h->key);
    free(h);
}
