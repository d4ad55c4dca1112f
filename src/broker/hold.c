/* Holds: the events of one worker that wait, each at one step of its chain.
 *
 * A hold is in one of four places. It waits for its turn in the lane (link is LINK_ID_NONE, the lane has its ask); it waits at a link (in that link's list,
 * in the order of sending, and in the list of deadlines); it has its verdict and waits to be told (in `finished`, out of the map of ids); or it is on the
 * stack of one of the functions here. hold_proceed() takes it from the last to one of the others.
 *
 * Verdicts are told by holds_run() only, which the functions that bring input call last. What becomes known inside a raise about other holds, or inside a
 * lane function, waits for a call of holds_run() from outside, which the owner was asked for: so a raiser is never called back while it is half-way
 * through something.
 *
 * When a link is lost its list is routed anew at once, in order. Otherwise events raised later could overtake on the new server those that are still on
 * their way back. */
#include "broker/hold.h"
#include "broker/answer.h"
#include "broker/secret.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const char outage_condition[] = "internal-server-error", outage_type[] = "cancel";
enum next { NEXT_STEP, WAIT, FINISHED };

static const struct plan_step *hold_step(const struct hold *hold) { return &hold->chain.steps[hold->step]; }
static const struct event_row *hold_row(const struct hold *hold) { return &event_catalogue[hold->event->id]; }

static void hold_report(const struct hold *hold, enum hold_news news, const char *detail)
{
    bool in_chain = hold->step < hold->chain.n_steps;
    struct hold_report r = {
        .news = news,
        .id = hold->event->id,
        .event = hold->event,
        .link = hold->asked,
        .profile = in_chain ? hold_step(hold)->profile.p : NULL,
        .detail = detail,
    };
    bool shadow = news >= HOLD_SHADOW_PASS && news <= HOLD_SHADOW_UNLOGGED;
    if (news == HOLD_VERDICT || shadow) {
        r.verdict = shadow ? hold_news_text(news) : hold->last;
        r.took_us = hold->h->ops->now_us(hold->h->owner) - hold->raised_us;
    }
    hold->h->ops->report(hold->h->owner, &r);
}

/* ---- links ---- */

static struct link_view *view_of(struct holds *h, uint32_t link)
{
    if (link >= h->n_views) {
        uint32_t n = link + 16;
        h->views = x_realloc(h->views, n * sizeof(struct link_view *));
        memset(h->views + h->n_views, 0, (n - h->n_views) * sizeof(struct link_view *));
        h->n_views = n;
    }
    if (h->views[link] == NULL) {
        h->views[link] = x_calloc(1, sizeof(struct link_view));
        list_init(&h->views[link]->holds);
    }
    return h->views[link];
}

struct usable_arg {
    const struct holds *h;
    uint32_t except;
};
static bool link_usable(void *arg, uint32_t link)
{
    const struct usable_arg *u = arg;
    return link != u->except && link < u->h->n_views && u->h->views[link] != NULL && u->h->views[link]->keeps;
}

/* The same profile's step in the plan of now; NULL: there is none, or the hold goes by that plan anyway. */
static const struct plan_step *step_of_now(const struct hold *hold)
{
    if (hold->plan == hold->h->plan) return NULL;
    struct plan_chain now = plan_chain_of(hold->h->plan, hold->event->id, packet_type_of(hold->event->subject));
    for (unsigned i = 0; i < now.n_steps; i++)
        if (str_eq(now.steps[i].profile, hold_step(hold)->profile)) return &now.steps[i];
    return NULL;
}

/* A hold goes by the plan it began with, profile by profile. But when no server that served the profile then takes events, those do that serve it now: who
 * replaces a server that has failed need not see refused what waits for it. */
static uint32_t hold_choose(const struct hold *hold, uint32_t except)
{
    struct usable_arg arg = {hold->h, except};
    uint32_t link = plan_choose(hold_step(hold), hold->event->key, link_usable, &arg);
    if (link != LINK_ID_NONE) return link;
    const struct plan_step *now = step_of_now(hold);
    return now != NULL ? plan_choose(now, hold->event->key, link_usable, &arg) : LINK_ID_NONE;
}

static void hold_send(struct hold *hold, uint32_t link, bool awaited)
{
    struct holds *h = hold->h;
    struct event_request request = {
        .event = event_ref(hold->event),
        .worker = h->worker,
        .hold = awaited ? hold->id : 0,
        .turn = hold->turn++,
        .shadow = hold_step(hold)->shadow,
        .profile = hold_step(hold)->profile,
        .owner = plan_ref(hold->plan),
    };
    h->ops->send(h->owner, link, &request);
}

static void hold_wait_at(struct hold *hold, uint32_t link)
{
    hold->link = hold->asked = link;
    list_push_back(&view_of(hold->h, link)->holds, &hold->node);
    hold_send(hold, link, true);
}

static void hold_set_deadline(struct hold *hold)
{
    struct list *at = &hold->h->due;
    hold->deadline_us = hold->h->ops->now_us(hold->h->owner) + hold->h->timeout_us;
    /* Deadlines come in order unless the time-out was made shorter. */
    while (at->prev != &hold->h->due && CONTAINER_OF(at->prev, struct hold, due)->deadline_us > hold->deadline_us) at = at->prev;
    list_insert_before(at, &hold->due);
}

/* It no longer waits at its link; the step's deadline goes with it. */
static void hold_take_back(struct hold *hold)
{
    list_remove(&hold->node);
    list_remove(&hold->due);
    hold->link = LINK_ID_NONE;
}

/* ---- the end ---- */

static void hold_free(struct hold *hold)
{
    lane_ask_done(&hold->ask);
    list_remove(&hold->all);
    event_unref(hold->event);
    stanza_unref(hold->original);
    plan_unref(hold->plan);
    stanza_unref(hold->verdict.reply);
    free(hold->verdict.text);
    free(hold->session);
    free(hold);
}

static void holds_want_run(struct holds *h)
{
    if (h->depth > 0 || h->running || h->woken) return;
    h->woken = true;
    h->ops->wake(h->owner);
}

static enum next hold_finish(struct hold *hold, enum verdict_kind kind)
{
    struct holds *h = hold->h;
    hold->verdict.kind = kind;
    if (kind == VERDICT_DISCARD) hold->last = "discard";
    imap_del(&h->by_id, hold->id);
    hold_report(hold, HOLD_VERDICT, NULL);
    lane_ask_done(&hold->ask);
    if (hold->in_raise) return FINISHED; /* the raise tells it, or frees it */
    if (hold->done == NULL) {
        hold_free(hold);
        return FINISHED;
    }
    list_push_back(&h->finished, &hold->node);
    holds_want_run(h);
    return FINISHED;
}

static enum next hold_refuse(struct hold *hold, bool outage, const char *condition, const char *type, const char *text)
{
    struct hold_verdict *v = &hold->verdict;
    v->outage = outage;
    snprintf(v->condition, sizeof(v->condition), "%s", condition);
    snprintf(v->type, sizeof(v->type), "%s", type);
    if (text != NULL) v->text = x_strdup(text);
    return hold_finish(hold, VERDICT_REFUSE);
}

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

/* ---- a step's failure ---- */

static enum next step_over(struct hold *hold)
{
    hold->step++;
    return NEXT_STEP;
}

/* ---- shadow rows ----
 *
 * A shadow row's step is a hold of its own, which has nothing but this step, waits at the link like others, and of which nobody waits for the end. It is sent
 * in the event's turn, so that the server sees the events of a lane in their order; then the event goes on as if the step were not there. */

static enum next shadow_end(struct hold *hold, enum hold_news would)
{
    hold_report(hold, would, NULL);
    imap_del(&hold->h->by_id, hold->id);
    hold_free(hold);
    return FINISHED;
}

static enum hold_news shadow_without_word(const struct hold *hold)
{
    return hold_row(hold)->refusable && hold_step(hold)->bounce ? HOLD_SHADOW_OUTAGE : HOLD_SHADOW_UNLOGGED;
}

static struct hold *shadow_new(struct hold *of)
{
    struct holds *h = of->h;
    struct hold *hold = x_calloc(1, sizeof(*hold));
    hold->h = h;
    hold->shadow = true;
    hold->id = ++h->next_id;
    hold->raised_us = h->ops->now_us(h->owner);
    hold->event = event_ref(of->event);
    hold->plan = plan_ref(of->plan);
    hold->era = of->era;
    hold->chain = (struct plan_chain){hold_step(of), 1};
    hold->link = hold->asked = LINK_ID_NONE;
    imap_put(&h->by_id, hold->id, hold);
    list_insert_before(of->all.next, &hold->all); /* beside it, for holds_oldest_era() */
    return hold;
}

static enum hold_news shadow_judged(const struct hold *hold, const struct judgement *j)
{
    switch (j->meaning) {
    case MEANS_PASS: return j->stanza != NULL ? HOLD_SHADOW_CHANGE : HOLD_SHADOW_PASS;
    case MEANS_HANDLE:
    case MEANS_ERROR:
        if (!hold_row(hold)->refusable) {
            hold_report(hold, HOLD_OVERRULED, j->meaning == MEANS_HANDLE ? "by HANDLE" : j->condition);
            return HOLD_SHADOW_PASS;
        }
        if (j->meaning == MEANS_HANDLE) return HOLD_SHADOW_HANDLE;
        return hold_step(hold)->bounce ? HOLD_SHADOW_REFUSE : HOLD_SHADOW_PASS;
    case MEANS_INVALID: break;
    }
    hold_report(hold, HOLD_INVALID, j->problem);
    return shadow_without_word(hold);
}

/* Nobody was asked, or nobody answered, or with what can't be understood: this profile has no word on the event. */
static enum next step_without_word(struct hold *hold, const char *last)
{
    if (hold->shadow) return shadow_end(hold, shadow_without_word(hold));
    hold->last = last;
    if (hold_row(hold)->refusable && hold_step(hold)->bounce) return hold_refuse(hold, true, outage_condition, outage_type, NULL);
    hold_report(hold, HOLD_UNLOGGED, NULL);
    hold->last = "pass";
    return step_over(hold);
}

static enum next step_no_server(struct hold *hold)
{
    hold_report(hold, HOLD_NO_SERVER, NULL);
    if (hold_step(hold)->shadow && !hold->shadow) { /* it could not even be asked */
        hold_report(hold, shadow_without_word(hold), NULL);
        return step_over(hold);
    }
    return step_without_word(hold, "error");
}

/* ---- a step ---- */

static bool step_awaited(const struct hold *hold) { return !hold_step(hold)->fire_and_forget && hold_row(hold)->answers != ANSWERS_NONE; }

static void hold_ask(struct hold *hold, uint32_t link)
{
    hold_set_deadline(hold);
    hold_wait_at(hold, link);
    hold_report(hold, HOLD_ASKED, NULL);
}

/* The hold's turn at its step has come. */
static enum next hold_do_step(struct hold *hold)
{
    uint32_t link = hold_choose(hold, LINK_ID_NONE);
    hold->asked = LINK_ID_NONE;
    if (link == LINK_ID_NONE) return step_no_server(hold);
    if (step_awaited(hold) && hold_step(hold)->shadow) {
        hold_ask(shadow_new(hold), link);
        lane_ask_sent(&hold->ask, hold->step + 1 == hold->chain.n_steps);
        return step_over(hold);
    }
    if (step_awaited(hold)) {
        hold_ask(hold, link);
        lane_ask_sent(&hold->ask, hold->step + 1 == hold->chain.n_steps);
        return WAIT;
    }
    hold_send(hold, link, false);
    hold->asked = link;
    hold_report(hold, HOLD_TOLD, NULL);
    lane_ask_sent(&hold->ask, hold->step + 1 == hold->chain.n_steps);
    bool discard = hold_step(hold)->fire_and_forget && hold_step(hold)->bounce && hold_row(hold)->refusable;
    if (discard) return hold_finish(hold, VERDICT_DISCARD);
    return step_over(hold);
}

static void hold_proceed(struct hold *hold, enum next next)
{
    while (next == NEXT_STEP) {
        if (hold->step == hold->chain.n_steps)
            next = hold_finish(hold, VERDICT_PASS);
        else if (lane_ask(hold->entry, &hold->ask, hold->era, hold_step(hold)->rank))
            next = hold_do_step(hold);
        else
            next = WAIT;
    }
}

static void hold_turn(struct lane_ask *ask)
{
    struct hold *hold = CONTAINER_OF(ask, struct hold, ask);
    hold_proceed(hold, hold_do_step(hold));
}

/* Its link takes no events any more: another one of the profile, within the same deadline, or failure. */
static enum next hold_reroute(struct hold *hold, uint32_t lost)
{
    list_remove(&hold->node);
    uint32_t link = hold_choose(hold, lost);
    if (link == LINK_ID_NONE) {
        hold_take_back(hold);
        return step_no_server(hold);
    }
    hold_wait_at(hold, link);
    hold_report(hold, HOLD_REROUTED, link_component(lost));
    return WAIT;
}

/* ---- answers ---- */

/* From now on it is about this stanza: with the secrets it left blank, and those of its own blank for the profiles to come. */
static void hold_change(struct hold *hold, const struct stanza *stanza)
{
    struct stanza *restored = secret_restore(hold->original, stanza), *blank = secret_blank(restored);
    struct event *changed = event_with_subject(hold->event, blank != NULL ? blank : restored);
    event_unref(hold->event);
    stanza_unref(hold->original);
    hold->event = changed;
    hold->original = blank != NULL ? stanza_ref(restored) : NULL;
    hold->changed = true;
    stanza_unref(blank);
    stanza_unref(restored);
}

static enum next answer_passed(struct hold *hold, struct judgement *j)
{
    hold->last = "pass";
    if (j->session != NULL) {
        free(hold->session);
        hold->session = x_strdup(j->session);
    }
    if (j->stanza != NULL) {
        hold_change(hold, j->stanza);
        hold->last = "pass-stanza";
    }
    return step_over(hold);
}

static enum next answer_refused(struct hold *hold, struct judgement *j, const char *text)
{
    hold->last = j->meaning == MEANS_HANDLE ? "handle" : "error";
    if (!hold_row(hold)->refusable) {
        hold_report(hold, HOLD_OVERRULED, j->meaning == MEANS_HANDLE ? "by HANDLE" : j->condition);
        hold->last = "pass";
        return step_over(hold);
    }
    if (j->meaning == MEANS_HANDLE) {
        hold->verdict.reply = j->stanza;
        j->stanza = NULL;
        return hold_finish(hold, VERDICT_HANDLE);
    }
    if (hold_step(hold)->bounce) return hold_refuse(hold, false, j->condition, j->type, text);
    hold->last = "pass";
    return step_over(hold);
}

static enum next hold_answered(struct hold *hold, const struct event_answer *a)
{
    struct judgement j;
    enum next next = WAIT;
    answer_judge(hold->event, a, &j);
    if (j.ignored != NULL) hold_report(hold, HOLD_IGNORED, j.ignored);
    if (hold->shadow) {
        next = shadow_end(hold, shadow_judged(hold, &j));
        stanza_unref(j.stanza);
        return next;
    }
    switch (j.meaning) {
    case MEANS_PASS: next = answer_passed(hold, &j); break;
    case MEANS_HANDLE:
    case MEANS_ERROR: next = answer_refused(hold, &j, a->text); break;
    case MEANS_INVALID:
        hold_report(hold, HOLD_INVALID, j.problem);
        next = step_without_word(hold, "invalid");
        break;
    }
    stanza_unref(j.stanza);
    return next;
}

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
        hold_proceed(hold, step_without_word(hold, "error"));
    } else {
        hold_take_back(hold);
        hold_proceed(hold, hold_answered(hold, take));
    }
    event_answer_clear(take);
    holds_leave(h);
}

void holds_link(struct holds *h, uint32_t link, bool keeps)
{
    struct link_view *view = view_of(h, link);
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
        hold_proceed(hold, step_without_word(hold, "timeout"));
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
    now->condition = outage_condition;
    now->type = outage_type;
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
