/* One hold at one step of its chain: the choice of a link, the hand-over, what an answer or the lack of one means, and the end.
 *
 * Each function that may end a step returns what comes next; hold_proceed() goes on from there. A hold that is finished may be freed by then. */
#include "broker/answer.h"
#include "broker/hold_private.h"
#include "broker/secret.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void report_fault(const struct hold *hold, enum hold_news news, enum answer_fault fault, const char *detail)
{
    bool in_chain = hold->step < hold->chain.n_steps;
    struct hold_report r = {
        .news = news,
        .id = hold->event->id,
        .event = hold->event,
        .link = hold->asked,
        .profile = in_chain ? hold_step(hold)->profile.p : NULL,
        .detail = detail,
        .fault = fault,
    };
    bool shadow = news >= HOLD_SHADOW_PASS && news <= HOLD_SHADOW_UNLOGGED;
    if (news == HOLD_VERDICT || shadow) {
        r.verdict = shadow ? hold_news_text(news) : hold->last;
        r.took_us = hold->h->ops->now_us(hold->h->owner) - hold->raised_us;
    }
    hold->h->ops->report(hold->h->owner, &r);
}

void hold_report(const struct hold *hold, enum hold_news news, const char *detail) { report_fault(hold, news, ANSWER_FAULTS, detail); }

/* ---- links ---- */

struct link_view *hold_view(struct holds *h, uint32_t link)
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
    list_push_back(&hold_view(hold->h, link)->holds, &hold->node);
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

void hold_take_back(struct hold *hold)
{
    list_remove(&hold->node);
    list_remove(&hold->due);
    hold->link = LINK_ID_NONE;
}

/* ---- the end ---- */

void hold_free(struct hold *hold)
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
            report_fault(hold, HOLD_OVERRULED, ANSWER_FAULT_OVERRULED, j->meaning == MEANS_HANDLE ? "by HANDLE" : j->condition);
            return HOLD_SHADOW_PASS;
        }
        if (j->meaning == MEANS_HANDLE) return HOLD_SHADOW_HANDLE;
        return hold_step(hold)->bounce ? HOLD_SHADOW_REFUSE : HOLD_SHADOW_PASS;
    case MEANS_INVALID: break;
    }
    report_fault(hold, HOLD_INVALID, j->fault, j->problem);
    return shadow_without_word(hold);
}

/* This profile has no word on the event. */
enum next hold_without_word(struct hold *hold, const char *last)
{
    if (hold->shadow) return shadow_end(hold, shadow_without_word(hold));
    hold->last = last;
    if (hold_row(hold)->refusable && hold_step(hold)->bounce) return hold_refuse(hold, true, OUTAGE_CONDITION, OUTAGE_TYPE, NULL);
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
    return hold_without_word(hold, "error");
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

void hold_proceed(struct hold *hold, enum next next)
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

void hold_turn(struct lane_ask *ask)
{
    struct hold *hold = CONTAINER_OF(ask, struct hold, ask);
    hold_proceed(hold, hold_do_step(hold));
}

/* Its link takes no events any more: another one of the profile, within the same deadline, or failure. */
enum next hold_reroute(struct hold *hold, uint32_t lost)
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
        report_fault(hold, HOLD_OVERRULED, ANSWER_FAULT_OVERRULED, j->meaning == MEANS_HANDLE ? "by HANDLE" : j->condition);
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

enum next hold_answered(struct hold *hold, const struct event_answer *a)
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
        report_fault(hold, HOLD_INVALID, j.fault, j.problem);
        next = hold_without_word(hold, "invalid");
        break;
    }
    stanza_unref(j.stanza);
    return next;
}

