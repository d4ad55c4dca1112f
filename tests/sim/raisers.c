/* The raisers' side of the simulation: stanzas in lanes, as a receiving lane has them (e_DELIVER, then es_IN per session, effects at the head), and events
 * outside any lane. Each verdict is held against what the servers are known to have said. */
#include "world.h"
#include <stdlib.h>
#include <string.h>

enum { STAGE_DELIVER = 1, STAGE_IN = 3 };

struct ask *ask_of(const struct event *e)
{
    CHECK(e->seq < ASKS_MAX, "event %llu: more events than the simulation has room for", (unsigned long long)e->seq);
    return &w.asks[e->seq];
}

/* ---- holds' owner ---- */

static uint64_t now_us(void *owner)
{
    (void)owner;
    return w.now_ms * 1000;
}
static unsigned worker_of(void *owner) { return (unsigned)((struct sim_worker *)owner - w.workers); }

static void on_send(void *owner, uint32_t link, struct event_request *take)
{
    struct ask *ask = ask_of(take->event);
    const struct sim_link *l = link_by_id(link);
    CHECK(take->step < STEPS_MAX && take->worker == worker_of(owner), "a request with step %u of worker %u", take->step, take->worker);
    ask->sends[take->step]++;
    if (l->worker == worker_of(owner))
        link_request(link, take);
    else
        post(worker_of(owner), l->worker, &(struct mail){.kind = MAIL_REQUEST, .link = link, .request = *take});
}
static void on_forget(void *owner, uint32_t link, uint64_t hold)
{
    const struct sim_link *l = link_by_id(link);
    if (l->worker == worker_of(owner))
        link_forget_here(link, l->worker, hold);
    else
        post(worker_of(owner), l->worker, &(struct mail){.kind = MAIL_FORGET, .link = link, .worker = worker_of(owner), .hold = hold});
}
static void on_wake(void *owner) { ((struct sim_worker *)owner)->woken = true; }

static void ask_learn(struct ask *ask, const struct event *e)
{
    *ask = *w.raising;
    struct plan_chain chain = plan_chain_of(w.workers[ask->worker].plan, e->id, packet_type_of(e->subject));
    CHECK(chain.n_steps <= STEPS_MAX, "a chain of %u steps", chain.n_steps);
    ask->n_steps = chain.n_steps;
    for (unsigned i = 0; i < chain.n_steps; i++) {
        ask->await_bounce[i] = chain.steps[i].bounce && !chain.steps[i].fire_and_forget;
        ask->fire_bounce[i] = chain.steps[i].bounce && chain.steps[i].fire_and_forget;
    }
}
static void on_report(void *owner, const struct hold_report *r)
{
    (void)owner;
    if (r->news == HOLD_RAISED && r->event != NULL) {
        struct ask *ask = ask_of(r->event);
        ask_learn(ask, r->event);
        w.raising = ask;
    }
    w.rerouted += r->news == HOLD_REROUTED;
    w.timeouts += r->news == HOLD_TIMEOUT;
    w.late += r->news == HOLD_LATE;
}
static const struct hold_ops hold_ops = {now_us, on_send, on_forget, on_wake, on_report, NULL};

/* ---- verdicts ---- */

static bool any(const bool *flags, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (flags[i]) return true;
    return false;
}

/* The heart of it: delivered implies recorded; refused, handled and discarded imply that somebody said so, or that there was an outage. */
static void verdict_check(struct ask *ask, const struct verdict *v)
{
    bool refusable = event_catalogue[ask->event].refusable;
    ask->verdicts++;
    CHECK(ask->verdicts == 1, "%s has a second verdict", event_catalogue[ask->event].name);
    CHECK(refusable || v->kind == VERDICT_PASS, "%s cannot be refused, and was", event_catalogue[ask->event].name);
    for (unsigned i = 0; i < ask->n_steps && refusable && v->kind == VERDICT_PASS; i++) {
        CHECK(!ask->await_bounce[i] || ask->recorded[i], "%s passed unrecorded at step %u", event_catalogue[ask->event].name, i);
        CHECK(!ask->fire_bounce[i], "%s passed a step that discards", event_catalogue[ask->event].name);
    }
    CHECK(v->kind != VERDICT_HANDLE || ask->handled, "HANDLE that nobody said");
    CHECK(v->kind != VERDICT_DISCARD || any(ask->fire_bounce, ask->n_steps), "discarded without bounce and fire and forget");
    CHECK(v->kind != VERDICT_REFUSE || v->outage || ask->refused, "refused by nobody");
    CHECK(v->kind != VERDICT_REFUSE || (v->condition != NULL && v->type != NULL), "refused without a condition");
    CHECK(!v->changed || ask->changed, "changed by nobody");
    CHECK(v->kind != VERDICT_PASS || v->stanza != NULL, "PASS without a stanza");
    /* Nobody waits longer than the time-outs of all places ahead of him in the order, however many stanzas those are; and as long again for each other order. */
    uint64_t bound = 2 * STEPS_MAX * TIMEOUT_MS * (1 + w.swaps), took = w.now_ms - ask->raised_ms - (w.slept_ms - ask->slept_ms);
    CHECK(took <= bound, "a verdict after %llu ms", (unsigned long long)took);
}

static void run_turn(struct run *run);
static void run_copies(struct run *run);

static void run_verdict(struct ask *ask, const struct verdict *v)
{
    struct run *run = ask->run;
    if (v->kind != VERDICT_PASS && ask->event == EVENT_e_DELIVER) {
        run->refused = true;
        lane_quiet(&run->entry);
    }
    if (v->kind == VERDICT_PASS && ask->event == EVENT_es_IN)
        w.delivered++;
    else if (v->kind != VERDICT_PASS)
        w.refused++;
    CHECK(run->waiting > 0, "a verdict for a stanza that waits for none");
    run->waiting--;
    if (ask->event == EVENT_e_DELIVER && !run->refused && !run->died) run_copies(run);
    if (run->waiting > 0) return;
    run->ready = true;
    run_turn(run);
}

static void on_done(void *arg, const struct verdict *v)
{
    struct ask *ask = arg;
    CHECK(w.raising == NULL, "done() from within a raise");
    CHECK(ask->awaited, "done() for what was known at once");
    verdict_check(ask, v);
    ask->awaited = false;
    w.waits_open--;
    if (ask->run != NULL) run_verdict(ask, v);
}

/* Where the event's record is, once the raise has returned; what is told at once is checked here. */
static struct ask *ask_raise(struct ask *facts, struct question *q, bool *at_once, struct verdict *now)
{
    static struct ask unasked;
    struct sim_worker *worker = &w.workers[facts->worker];
    struct ask *next = &w.asks[w.raised + 1]; /* done()'s arg has to be known before the event is: ids are given in order */
    facts->raised_ms = w.now_ms;
    facts->slept_ms = w.slept_ms;
    facts->event = q->event;
    w.raising = facts;
    bool planned = holds_planned(worker->holds, q->event, q->subject);
    q->arg = next;
    *at_once = holds_raise(worker->holds, q, now);
    struct ask *ask = w.raising;
    w.raising = NULL;
    if (!planned) {
        CHECK(*at_once && now->kind == VERDICT_PASS && ask == facts, "an event nobody lists was not simply passed");
        unasked = *facts;
        return &unasked;
    }
    w.raised++;
    CHECK(ask == next, "an event id that is not the next one");
    if (q->done == NULL) {
        CHECK(*at_once, "an event nobody waits for is waited for");
        return ask;
    }
    if (*at_once) {
        verdict_check(ask, now);
    } else {
        ask->awaited = true;
        w.waits_open++;
    }
    return ask;
}

/* ---- stanzas in lanes ---- */

static struct ask *run_raise(struct run *run, enum event_id event, const struct stanza *subject, unsigned session)
{
    unsigned lane = (unsigned)(run->lane - w.workers[run->lane->worker].lanes);
    struct ask facts = {.run = run, .worker = run->lane->worker, .lane = lane, .session = session, .place = run->place};
    struct question q = {.event = event, .subject = subject, .done = on_done, .entry = &run->entry};
    struct verdict now;
    bool at_once;
    run->waiting++;
    struct ask *ask = ask_raise(&facts, &q, &at_once, &now);
    if (at_once) run_verdict(ask, &now);
    return ask;
}

static void run_copies(struct run *run)
{
    lane_stage(&run->entry, STAGE_IN);
    unsigned n = 1 + (unsigned)draw(SESSIONS_MAX);
    run->waiting++; /* this function */
    lane_more(&run->entry, true);
    for (unsigned i = 0; i < n; i++) (void)run_raise(run, EVENT_es_IN, run->lane->message, i);
    lane_more(&run->entry, false);
    run->waiting--;
}

static void run_finish(struct run *run)
{
    struct sim_lane *lane = run->lane;
    CHECK(run->died || lane->applied <= run->place, "place %u of a lane is applied after %u", run->place, lane->applied);
    if (!run->died) lane->applied = run->place;
    w.n_runs_open--;
    lane_leave(&run->entry);
    free(run);
}

static struct run *committing[ASKS_MAX];
static unsigned n_committing;

static void run_turn(struct run *run)
{
    if (!run->ready || run->committing || !lane_is_head(&run->entry)) return;
    if (chance(500)) {
        run_finish(run);
        return;
    }
    run->committing = true;
    committing[n_committing++] = run;
}

bool raisers_commit_one(void)
{
    if (n_committing == 0) return false;
    unsigned at = (unsigned)draw(n_committing);
    struct run *run = committing[at];
    committing[at] = committing[--n_committing];
    run_finish(run);
    return true;
}

static void on_head(struct lane_entry *entry) { run_turn((struct run *)entry); }

static void run_start(struct sim_lane *lane)
{
    struct run *run = x_calloc(1, sizeof(*run));
    run->lane = lane;
    run->place = ++lane->next_place;
    run->entry.on_head = on_head;
    w.n_runs_open++;
    lane_enter(&lane->set, lane->key, &run->entry);
    lane_stage(&run->entry, STAGE_DELIVER);
    run->waiting = 1; /* this function: the stanza may be finished before it returns */
    struct ask *ask = run_raise(run, EVENT_e_DELIVER, chance(150) ? lane->presence : lane->message, 0);
    if (ask->awaited && chance(20)) {
        run->died = ask->unordered = true;
        lane_leave(&run->entry);
    }
    if (--run->waiting > 0) return;
    run->ready = true;
    run_turn(run);
}

static void raise_outside(unsigned worker)
{
    struct ask facts = {.worker = worker};
    struct sim_lane *lane = &w.workers[worker].lanes[draw(LANES)];
    bool waited = chance(500), at_once;
    struct question q = {.event = waited ? EVENT_onLeave : EVENT_es_END, .subject = waited ? lane->message : lane->presence, .done = waited ? on_done : NULL};
    struct verdict now;
    (void)ask_raise(&facts, &q, &at_once, &now);
}

void raise_something(void)
{
    unsigned worker = (unsigned)draw(WORKERS);
    if (chance(100))
        raise_outside(worker);
    else
        run_start(&w.workers[worker].lanes[draw(LANES)]);
}

/* ---- the whole ---- */

static struct stanza *stanza_text(const char *text)
{
    struct err err;
    struct stanza *s = stanza_from_text(str_of(text), &err);
    CHECK(s != NULL, "%s", err.text);
    return s;
}

void raisers_start(void)
{
    n_committing = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        struct sim_worker *worker = &w.workers[i];
        worker->holds = holds_new(i, TIMEOUT_MS, &hold_ops, worker);
        worker->plan = plan_ref(w.plans[0]);
        holds_set_plan(worker->holds, worker->plan);
        for (unsigned j = 0; j < LANES; j++) {
            struct buf text = {0};
            buf_addf(&text, "<message xmlns='jabber:client' type='chat' id='m' from='a%u@x/r' to='b%u@x'><body>w%u</body></message>", j, i, i);
            worker->lanes[j].message = stanza_text(buf_cstr(&text));
            buf_reset(&text);
            buf_addf(&text, "<presence xmlns='jabber:client' from='a%u@x/r' to='b%u@x'/>", j, i);
            worker->lanes[j].presence = stanza_text(buf_cstr(&text));
            buf_free(&text);
            worker->lanes[j].worker = i;
            worker->lanes[j].key = worker->lanes[j].message->from.bare;
        }
    }
}

void raisers_end(void)
{
    CHECK(w.waits_open == 0, "%u verdicts never came", w.waits_open);
    CHECK(w.n_runs_open == 0, "%u stanzas never left their lanes", w.n_runs_open);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct sim_worker *worker = &w.workers[i];
        CHECK(holds_count(worker->holds) == 0, "%zu holds are left on worker %u", holds_count(worker->holds), i);
        CHECK(holds_due_ms(worker->holds) == UINT64_MAX, "a deadline is left");
        for (unsigned j = 0; j < LANES; j++) {
            lane_set_free(&worker->lanes[j].set);
            stanza_unref(worker->lanes[j].message);
            stanza_unref(worker->lanes[j].presence);
        }
        holds_free(worker->holds);
        plan_unref(worker->plan);
    }
}
