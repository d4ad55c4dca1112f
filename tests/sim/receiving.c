/* The recipient's side of a stanza: e_DELIVER, the choice of sessions (e_PRISESSION), es_IN of each, or e_OFFLINE and the store. What is asked is
 * asked in lane order without waiting for the stanza ahead; handlers, writes and refusals happen at the head. A session that goes meanwhile makes it
 * choose anew. */
#include "runs.h"

static void in_choose(struct run *run);
static void in_copies_turn(struct run *run);

static unsigned worker_of(const struct run *run) { return worker_of_user(run->user); }

static void in_stage(struct run *run, enum stage at)
{
    uint32_t round = run->stage / STAGE_ROUND;
    if (run->stage % STAGE_ROUND >= at) round++;
    run->stage = round * STAGE_ROUND + at;
    lane_stage(&run->entry, run->stage);
}

static void in_ask(struct run *run, enum ask_kind kind, enum event_id event, unsigned session)
{
    bool unordered = run->again || run->stage > STAGE_ROUND;
    ask(&(struct ask_facts){run, kind, event, run->stanza, session, unordered}, worker_of(run));
}

static void ensure_lane(struct run *run)
{
    if (run->entry.lane != NULL) return;
    run->lane = &w.users[run->user].lanes[run->from];
    run->place = ++w.place;
    lane_enter(&w.users[run->user].receiving, (struct str){(const char *[]){"0", "1", "2", "3"}[run->from], 1}, &run->entry);
    lane_stage(&run->entry, run->stage);
}

static void in_finish(struct run *run)
{
    run->step = STEP_COPIES;
    if (run->copies > 0) return;
    run->step = STEP_DONE;
    if (run->again) run->lane->again--;
    struct parcel back = {.from = run->from, .session = run->session, .generation = run->generation, .ticket = run->ticket};
    lane_leave(&run->entry);
    run_free(run);
    ticket_back(&back);
}

static void in_refused(struct run *run)
{
    run_applies(run);
    w.sums.refused++;
    in_finish(run);
}

/* ---- es_IN ---- */

static void copies_answered(struct run *run)
{
    if (run->sort == SORT_MESSAGE && !run->copied && chance(200)) { /* a carbon copy, of what passed */
        run->copied = true;
        in_stage(run, STAGE_COPIES);
        run->copies++;
        in_ask(run, ASK_COPY, EVENT_es_IN, (run->chosen[0] + 1) % w.n_sessions);
    }
    run->step = STEP_IN_TURN;
    if (lane_is_head(&run->entry)) in_copies_turn(run);
}

static void in_ask_sessions(struct run *run)
{
    run->step = STEP_IN_ASKED;
    in_stage(run, STAGE_IN);
    unsigned n = run->n_chosen;
    run->waiting = 1; /* this function */
    lane_more(&run->entry, true);
    for (unsigned i = 0; i < n; i++) {
        run->waiting++;
        in_ask(run, ASK_IN, EVENT_es_IN, run->chosen[i]);
    }
    lane_more(&run->entry, false);
    if (--run->waiting == 0) copies_answered(run);
}

static bool all_gone(const struct run *run)
{
    for (unsigned i = 0; i < run->n_chosen; i++) {
        const struct sim_session *s = &w.users[run->user].sessions[run->chosen[i]];
        if (s->step == SESSION_THERE && s->generation == run->chosen_generation[i]) return false;
    }
    return true;
}

/* All es_IN are answered and it is its turn. */
static void in_copies_turn(struct run *run)
{
    run_applies(run);
    if (all_gone(run) && run->round++ < 2) {
        in_choose(run);
        return;
    }
    run->step = STEP_KEEPING;
    run_commit(run);
}

static void in_write(struct run *run)
{
    w.sums.delivered++;
    in_finish(run);
}

/* ---- nobody there ---- */

static void in_offline_turn(struct run *run)
{
    if (run->refused) {
        in_refused(run);
        return;
    }
    run_applies(run);
    run->looked_again = true;
    in_choose(run);
}

static void in_nobody_there(struct run *run)
{
    if (run->sort != SORT_MESSAGE) {
        in_finish(run);
        return;
    }
    ensure_lane(run);
    if (run->looked_again) {
        run->step = STEP_STORING;
        run_commit(run);
        return;
    }
    run->step = STEP_OFFLINE_ASKED;
    in_stage(run, STAGE_OFFLINE);
    in_ask(run, ASK_OFFLINE, EVENT_e_OFFLINE, 0);
}

/* ---- the choice ---- */

static void in_choose(struct run *run)
{
    struct sim_user *u = &w.users[run->user];
    run->n_chosen = 0;
    for (unsigned i = 0; i < w.n_sessions; i++) {
        if (u->sessions[i].step != SESSION_THERE) continue;
        run->chosen[run->n_chosen] = i;
        run->chosen_generation[run->n_chosen++] = u->sessions[i].generation;
    }
    if (run->n_chosen == 0) {
        in_nobody_there(run);
    } else if (run->n_chosen > 1 && run->sort == SORT_MESSAGE && !run->primary_asked) {
        run->primary_asked = true;
        run->step = STEP_PRIMARY_ASKED;
        ensure_lane(run);
        in_stage(run, STAGE_PRISESSION);
        in_ask(run, ASK_PRISESSION, EVENT_e_PRISESSION, 0);
    } else {
        in_ask_sessions(run);
    }
}

/* ---- e_DELIVER ---- */

static void feature_over(struct run *run)
{
    if (--run->waiting == 0) in_choose(run);
}

static void in_feature(struct run *run)
{
    run_applies(run);
    in_stage(run, STAGE_FEATURE);
    run->step = STEP_COMMIT;
    run_commit(run);
}

static void in_effects(struct run *run)
{
    struct sim_user *u = &w.users[run->user];
    run->step = STEP_EFFECTS;
    run->waiting = 1; /* this function */
    lane_more(&run->entry, true);
    for (unsigned i = 0; i < w.n_sessions; i++) { /* roster pushes */
        if (u->sessions[i].step != SESSION_THERE) continue;
        run->waiting++;
        ask(&(struct ask_facts){run, ASK_PUSH, EVENT_es_IN, stanza_of(&u->sessions[i], SORT_PING, TO_SERVER), i, run->stage > STAGE_ROUND},
            worker_of(run));
    }
    lane_more(&run->entry, false);
    feature_over(run);
}

static void deliver_turn(struct run *run)
{
    if (run->refused)
        in_refused(run);
    else if (run->sort == SORT_SUBSCRIBE)
        in_feature(run);
    else
        in_choose(run);
}

/* ---- verdicts and turns ---- */

void receiving_verdict(struct run *run, struct ask *a, const struct verdict *v)
{
    bool passed = v->kind == VERDICT_PASS;
    switch (a->kind) {
    case ASK_DELIVER:
        run->refused = !passed;
        run->step = STEP_TURN;
        if (!passed) lane_quiet(&run->entry);
        if ((passed && run->sort != SORT_SUBSCRIBE) || lane_is_head(&run->entry)) deliver_turn(run);
        break;
    case ASK_PRISESSION:
        if (passed) {
            in_choose(run);
            break;
        }
        run->refused = true;
        lane_quiet(&run->entry);
        run->step = STEP_PRIMARY_TURN;
        if (lane_is_head(&run->entry)) in_refused(run);
        break;
    case ASK_IN:
        if (--run->waiting == 0) copies_answered(run);
        break;
    case ASK_OFFLINE:
        run->refused = !passed;
        run->step = STEP_OFFLINE_TURN;
        if (lane_is_head(&run->entry)) in_offline_turn(run);
        break;
    case ASK_COPY:
        if (--run->copies == 0 && run->step == STEP_COPIES) in_finish(run);
        break;
    case ASK_PUSH: feature_over(run); break;
    default: fail("a verdict at the wrong side");
    }
}

void receiving_committed(struct run *run)
{
    if (run->step == STEP_COMMIT) {
        in_effects(run);
    } else if (run->step == STEP_KEEPING) {
        run->step = STEP_IN_TURN; /* what an ended session left may have gone ahead of it */
        if (!lane_is_head(&run->entry)) return;
        run_applies(run);
        in_write(run);
    } else {
        in_finish(run);
    }
}

static void on_head(struct lane_entry *entry)
{
    struct run *run = (struct run *)entry;
    if (run->step == STEP_TURN)
        deliver_turn(run);
    else if (run->step == STEP_PRIMARY_TURN)
        in_refused(run);
    else if (run->step == STEP_IN_TURN)
        in_copies_turn(run);
    else if (run->step == STEP_OFFLINE_TURN)
        in_offline_turn(run);
}

/* ---- arrival ---- */

static struct run *arrival(struct stanza *stanza, enum stanza_sort sort, unsigned user, unsigned from)
{
    struct run *run = run_new(stanza, sort);
    run->incoming = true;
    run->user = user;
    run->from = from;
    run->ticket = UINT64_MAX;
    run->entry.on_head = on_head;
    return run;
}

void parcel_arrived(const struct parcel *p)
{
    const struct holds *h = w.workers[worker_of_user(p->to)].holds;
    struct run *run = arrival(p->stanza, p->sort, p->to, p->from);
    run->session = p->session;
    run->generation = p->generation;
    run->ticket = p->ticket;
    run->step = STEP_ASKED;
    bool lane = w.users[p->to].receiving.entries > 0 || p->sort == SORT_SUBSCRIBE || holds_planned(h, EVENT_e_DELIVER, p->stanza) || holds_planned(h,
        EVENT_es_IN, p->stanza);
    if (lane) {
        ensure_lane(run);
        in_stage(run, STAGE_DELIVER);
    }
    in_ask(run, ASK_DELIVER, EVENT_e_DELIVER, 0);
}

/* It goes ahead of all others of its lane but those that came in this way. */
void receive_again(unsigned user, unsigned from)
{
    const struct stanza *s = stanza_of(&w.users[from].sessions[0], SORT_MESSAGE, user);
    struct run *run = arrival(stanza_ref(s), SORT_MESSAGE, user, from);
    run->again = true;
    run->lane = &w.users[user].lanes[from];
    run->lane->again++;
    run->place = ++w.place;
    TRACE(" u%u: a message of u%u is delivered anew, place %u", user, from, run->place);
    lane_enter_first(&w.users[user].receiving, (struct str){(const char *[]){"0", "1", "2", "3"}[from], 1}, &run->entry);
    in_stage(run, STAGE_DELIVER);
    in_choose(run);
}
