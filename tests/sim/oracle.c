/* What must come of each event, worked out beside the product: which profile is to be asked next, where it may be sent, until when it may wait, and which verdict
 * follows from what was told to the holds. Each thing the holds do is held against it. */
#include "base/hash.h"
#include "runs.h"
#include <string.h>

struct ask *ask_of(const struct event *e)
{
    CHECK(e->seq > 0 && e->seq < ASKS_MAX, "event %llu: more events than the simulation has room for", (unsigned long long)e->seq);
    return &w.asks[e->seq];
}

static const char *name_of(const struct ask *a) { return event_catalogue[a->event].name; }
static bool refusable(const struct ask *a) { return event_catalogue[a->event].refusable; }
static bool awaited_at(const struct ask *a, unsigned step) { return !a->steps[step].fire && event_catalogue[a->event].answers != ANSWERS_NONE; }

/* ---- how it goes on ---- */

static void decide(struct ask *a, enum verdict_kind kind, bool outage)
{
    a->decided = true;
    a->expect = kind;
    a->outage = outage;
}

static void step_on(struct ask *a)
{
    a->step++;
    a->returned = false;
    if (a->step == a->n_steps) decide(a, VERDICT_PASS, false);
}

static void waits_no_more(struct ask *a)
{
    a->link = LINKS;
    list_remove(&a->node);
}

static void without_word(struct ask *a)
{
    waits_no_more(a);
    if (refusable(a) && a->steps[a->step].bounce)
        decide(a, VERDICT_REFUSE, true);
    else
        step_on(a);
}

static void answered(struct ask *a, const struct event_answer *answer, bool allowed)
{
    bool valid = answer->kind != ANSWER_PASS_STANZA || allowed || event_catalogue[a->event].answers != ANSWERS_ANY;
    if (answer->kind == ANSWER_INVALID || !valid) {
        without_word(a);
        return;
    }
    waits_no_more(a);
    if (answer->kind == ANSWER_PASS || answer->kind == ANSWER_PASS_STANZA) {
        a->changed = a->changed || (answer->kind == ANSWER_PASS_STANZA && event_catalogue[a->event].answers == ANSWERS_ANY);
        bool names = a->event == EVENT_e_PRISESSION && answer->session != NULL && strncmp(answer->session, "session", 7) == 0;
        if (names) a->session_named = answer->session[7] == '0' ? "session0" : "session1";
        step_on(a);
    } else if (!refusable(a)) {
        step_on(a);
    } else if (answer->kind == ANSWER_HANDLE) {
        decide(a, VERDICT_HANDLE, false);
    } else if (a->steps[a->step].bounce) {
        decide(a, VERDICT_REFUSE, false);
    } else {
        step_on(a);
    }
}

/* Answers to an earlier turn, from another link, or for what has been decided count for nothing: NULL. */
static struct ask *waits_for(unsigned worker, const struct event_answer *answer)
{
    struct ask *a = answer->hold < ASKS_MAX ? w.by_hold[worker][answer->hold] : NULL;
    return a != NULL && !a->decided && a->link != LINKS && a->turns == answer->turn + 1 && a->link == link_index(answer->link) ? a : NULL;
}

bool answer_waited_for(unsigned worker, const struct event_answer *answer) { return waits_for(worker, answer) != NULL; }

void answer_told(unsigned worker, const struct event_answer *answer, bool allowed)
{
    struct ask *a = waits_for(worker, answer);
    if (a == NULL) return;
    TRACE("  event %u, step %u: told answer %d", (unsigned)(a - w.asks), a->step, (int)answer->kind);
    if (answer->kind == ANSWER_RETURNED)
        a->returned = true; /* now another link, or none */
    else if (answer->kind == ANSWER_QUEUE_FULL)
        without_word(a);
    else
        answered(a, answer, allowed);
}

/* ---- holds' owner ---- */

static uint64_t now_us(void *owner)
{
    (void)owner;
    return w.now_ms * 1000;
}
static unsigned worker_of(const void *owner) { return (unsigned)((const struct sim_worker *)owner - w.workers); }

/* Who may be asked at this step: servers the profile had when the event was raised, or, when none of them takes events, those it has now. */
static unsigned candidates_of(const struct ask *a, const struct event *e, unsigned worker, unsigned except)
{
    const struct setting *now = w.workers[worker].setting;
    unsigned usable = w.workers[worker].view & ~except, profile = a->steps[a->step].profile;
    struct rule rule;
    if ((a->steps[a->step].links & usable) != 0) return a->steps[a->step].links & usable;
    return rule_of(now, profile, e->id, e->subject, &rule) ? now->links[profile] & usable : 0;
}

/* Of one conversation all goes to one link, as long as the same ones take events: whenever and whoever asks. */
static void check_choice(const struct ask *a, const struct event *e, unsigned worker, unsigned link)
{
    static struct {
        uint64_t what;
        unsigned link;
    } choices[4096];
    unsigned usable = candidates_of(a, e, worker, 0);
    const struct stanza *s = e->subject;
    uint64_t from = hash_stable(s->from.bare.p, s->from.bare.n), to = jid_present(&s->to) ? hash_stable(s->to.bare.p, s->to.bare.n) : from;
    uint64_t what = hash_mix(from == to ? from : from ^ to, usable << 8 | a->steps[a->step].profile);
    if (choices[what % 4096].what == what)
        CHECK(choices[what % 4096].link == link, "%s of the same conversation went to %s, and now to %s", name_of(a),
              link_names[choices[what % 4096].link], link_names[link]);
    choices[what % 4096].what = what;
    choices[what % 4096].link = link;
}

static void check_request(const struct ask *a, const struct event_request *r, unsigned worker, unsigned link)
{
    CHECK(r->worker == worker && a->worker == worker, "a request of worker %u from worker %u", r->worker, worker);
    CHECK(!a->decided && a->verdicts == 0, "%s is asked further, though its verdict is settled", name_of(a));
    CHECK(a->step < a->n_steps && r->turn == a->turns && a->turns < TURNS_MAX, "%s is asked in turn %u, and turn %u is due", name_of(a), r->turn, a->turns);
    CHECK(str_is(r->profile, profile_names[a->steps[a->step].profile]), "%s: profile %.*s is asked at step %u", name_of(a), (int)r->profile.n, r->profile.p, a->step);
    CHECK(candidates_of(a, r->event, worker, a->sends[a->step] > 0 ? 1u << a->link : 0) & 1u << link, "%s goes to %s, which is not its profile's", name_of(a), link_names[link]);
    CHECK(w.workers[worker].view & 1u << link, "%s goes to %s, which takes no events", name_of(a), link_names[link]);
    CHECK((r->hold != 0) == awaited_at(a, a->step), "%s at step %u: an answer is waited for, or not, against its row", name_of(a), a->step);
    CHECK(r->hold == 0 || a->hold == 0 || a->hold == r->hold, "%s has another hold", name_of(a));
}

static void on_send(void *owner, uint32_t id, struct event_request *take)
{
    struct ask *a = ask_of(take->event);
    unsigned worker = worker_of(owner), link = link_index(id);
    check_request(a, take, worker, link);
    TRACE("  event %u %s place %u, step %u to %s%s", (unsigned)(a - w.asks), name_of(a), a->place, a->step, link_names[link], a->sends[a->step] > 0 ? ", anew" : "");
    a->step_of_turn[a->turns++] = (unsigned char)a->step;
    if (a->sends[a->step]++ == 0) {
        check_choice(a, take->event, worker, link);
        a->deadline_ms = w.now_ms + w.workers[worker].timeout_ms;
    } else {
        CHECK(a->link != link && (a->returned || (w.workers[worker].view & 1u << a->link) == 0), "%s leaves %s, which takes events", name_of(a), link_names[a->link]);
    }
    a->returned = false;
    if (take->hold != 0) {
        CHECK(take->hold < ASKS_MAX, "hold %llu", (unsigned long long)take->hold);
        a->hold = take->hold;
        w.by_hold[worker][take->hold] = a;
        a->link = link;
        if (!list_linked(&a->node)) list_push_back(&w.waiting, &a->node);
    } else if (a->steps[a->step].fire && a->steps[a->step].bounce && refusable(a)) {
        decide(a, VERDICT_DISCARD, false);
    } else {
        step_on(a);
    }
    unsigned there = w.links[link].worker;
    if (there == worker)
        link_request(link, take);
    else
        post(worker, there, &(struct mail){.kind = MAIL_REQUEST, .link = link, .request = *take});
}

static void on_forget(void *owner, uint32_t id, uint64_t hold)
{
    unsigned worker = worker_of(owner), link = link_index(id), there = w.links[link].worker;
    if (there == worker)
        link_forget_here(link, worker, hold);
    else
        post(worker, there, &(struct mail){.kind = MAIL_FORGET, .link = link, .worker = worker, .hold = hold});
}

static void on_wake(void *owner) { ((struct sim_worker *)owner)->woken = true; }

static void learn(struct ask *a, const struct event *e)
{
    const struct setting *s = w.workers[w.raising->worker].setting;
    *a = *w.raising;
    a->event = e->id;
    a->link = LINKS;
    for (unsigned i = 0; i < PROFILES; i++) {
        struct rule rule;
        if (!rule_of(s, s->order[i], e->id, e->subject, &rule)) continue;
        a->steps[a->n_steps].profile = s->order[i];
        a->steps[a->n_steps].links = s->links[s->order[i]];
        a->steps[a->n_steps].bounce = rule.bounce;
        a->steps[a->n_steps++].fire = rule.fire;
    }
    CHECK(a->n_steps > 0, "%s is raised, and no profile lists it", name_of(a));
}

static void on_no_server(struct ask *a, const struct event *e, unsigned worker)
{
    CHECK(candidates_of(a, e, worker, a->returned ? 1u << a->link : 0) == 0, "%s found no server of profile %s, and there is one", name_of(a), profile_names[a->steps[a->step].profile]);
    without_word(a);
}

static void on_timeout(struct ask *a)
{
    CHECK(a->link != LINKS && w.now_ms >= a->deadline_ms, "%s at step %u was given up %llu ms too early", name_of(a), a->step,
          (unsigned long long)(a->deadline_ms - w.now_ms));
    without_word(a);
}

static void on_report(void *owner, const struct hold_report *r)
{
    struct ask *a = r->event != NULL ? ask_of(r->event) : NULL;
    if (r->news == HOLD_RAISED && a != NULL) {
        CHECK(w.raising != NULL && a != w.raising, "an event was raised twice");
        w.raising->worker = worker_of(owner);
        learn(a, r->event);
        w.raising = a;
    }
    if (a != NULL && (r->news == HOLD_NO_SERVER || r->news == HOLD_TIMEOUT)) TRACE("  event %u: %s", (unsigned)(a - w.asks), hold_news_name(r->news));
    if (r->news == HOLD_NO_SERVER) on_no_server(a, r->event, worker_of(owner));
    if (r->news == HOLD_TIMEOUT) on_timeout(a);
    w.sums.rerouted += r->news == HOLD_REROUTED;
    w.sums.timeouts += r->news == HOLD_TIMEOUT;
    w.sums.late += r->news == HOLD_LATE;
}
const struct hold_ops hold_ops = {now_us, on_send, on_forget, on_wake, on_report, NULL};

void asks_check_deadlines(void)
{
    LIST_EACH (node, &w.waiting) {
        const struct ask *a = CONTAINER_OF(node, struct ask, node);
        CHECK(w.now_ms < a->deadline_ms, "%s at step %u still waits, %llu ms after its time", name_of(a), a->step,
              (unsigned long long)(w.now_ms - a->deadline_ms));
    }
}

/* ---- verdicts ---- */

static const char *const verdict_names[] = {"PASS", "HANDLE", "REFUSE", "DISCARD"};

static void verdict_check(struct ask *a, const struct verdict *v)
{
    a->verdicts++;
    TRACE("  event %u %s place %u: %s%s", (unsigned)(a - w.asks), name_of(a), a->place, verdict_names[v->kind], v->outage ? " (outage)" : "");
    CHECK(a->verdicts == 1, "%s has a second verdict", name_of(a));
    CHECK(a->decided, "%s: %s while step %u of %u is open", name_of(a), verdict_names[v->kind], a->step, a->n_steps);
    CHECK(v->kind == a->expect, "%s: %s, and %s was due", name_of(a), verdict_names[v->kind], verdict_names[a->expect]);
    for (unsigned i = 0; i < a->n_steps && refusable(a) && v->kind == VERDICT_PASS; i++)
        CHECK(a->recorded[i] || a->steps[i].fire || !a->steps[i].bounce, "%s passed unrecorded at step %u", name_of(a), i);
    CHECK(v->kind != VERDICT_REFUSE || v->outage == a->outage, "%s was refused by %s, and it was not", name_of(a), v->outage ? "an outage" : "an error");
    CHECK(v->kind != VERDICT_REFUSE || (v->condition != NULL && v->type != NULL), "refused without a condition");
    CHECK(v->kind != VERDICT_PASS || (v->stanza != NULL && v->changed == a->changed), "%s: changed, or not, against what was answered", name_of(a));
    const char *named = v->kind == VERDICT_PASS ? v->session : NULL;
    CHECK(v->kind != VERDICT_PASS || (named == NULL ? a->session_named == NULL : a->session_named != NULL && strcmp(named, a->session_named) == 0),
          "another session was named last");
}

static void on_done(void *arg, const struct verdict *v)
{
    struct ask *a = arg;
    CHECK(w.raising == NULL, "done() from within a raise");
    CHECK(a->awaited, "done() for what was known at once");
    verdict_check(a, v);
    a->awaited = false;
    w.waits_open--;
    if (a->run != NULL) run_verdict(a->run, a, v);
}

/* ---- raising ---- */

static const struct event_candidate candidates[] = {{{"session0", 8}, 1}, {{"session1", 8}, 0}};

static bool raise_it(struct question *q, struct ask *facts, unsigned worker, struct verdict *now, struct ask **out)
{
    struct holds *holds = w.workers[worker].holds;
    struct ask *next = &w.asks[w.asked + 1]; /* done()'s arg has to be known before the event is: ids are given in order */
    CHECK(w.asked + 1 < ASKS_MAX, "more events than the simulation has room for");
    bool planned = false;
    for (unsigned i = 0; i < PROFILES; i++) {
        struct rule rule;
        planned = planned || rule_of(w.workers[worker].setting, i, q->event, q->subject, &rule);
    }
    CHECK(planned == holds_planned(holds, q->event, q->subject), "%s is planned, or not, against the profiles", event_catalogue[q->event].name);
    w.raising = facts;
    q->arg = next;
    bool at_once = holds_raise(holds, q, now);
    *out = w.raising;
    w.raising = NULL;
    if (!planned) {
        CHECK(at_once && now->kind == VERDICT_PASS && *out == facts && now->stanza == q->subject, "an event nobody lists was not simply passed");
        return true;
    }
    w.asked++;
    CHECK(*out == next, "an event id that is not the next one");
    if (q->done == NULL) {
        CHECK(at_once, "an event nobody waits for is waited for");
    } else if (at_once) {
        verdict_check(*out, now);
    } else {
        (*out)->awaited = true;
        w.waits_open++;
    }
    return at_once;
}

void ask(const struct ask_facts *f, unsigned worker)
{
    struct ask facts = {.run = f->run, .kind = f->kind, .event = f->event, .session = f->session, .unordered = f->unordered}, *a;
    struct question q = {.event = f->event, .subject = f->subject, .done = on_done};
    struct verdict now;
    if (f->run->entry.lane != NULL) {
        q.entry = &f->run->entry;
        facts.lane = f->run->lane;
        facts.place = f->run->place;
    }
    if (f->event == EVENT_e_PRISESSION) {
        q.candidates = candidates;
        q.n_candidates = 2;
    }
    if (raise_it(&q, &facts, worker, &now, &a)) run_verdict(f->run, a, &now);
}

void ask_nobody_waits(unsigned worker, enum event_id event, const struct stanza *subject)
{
    struct ask facts = {0}, *a;
    struct question q = {.event = event, .subject = subject};
    struct verdict now;
    (void)raise_it(&q, &facts, worker, &now, &a);
}

void ask_outside(unsigned worker, const struct stanza *subject)
{
    struct ask facts = {0}, *a;
    struct question q = {.event = EVENT_onLeave, .subject = subject, .done = on_done};
    struct verdict now;
    (void)raise_it(&q, &facts, worker, &now, &a);
}
