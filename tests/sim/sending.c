/* The sender's side of a stanza: through the gate of its session, es_OUT in the sending lane, e_SERVER for what is for the server, copies to the
 * user's other sessions; effects at the head of the lane, in which it stays until they are done. */
#include "runs.h"

static void out_finish(struct run *run);

struct sim_session *run_session(const struct run *run)
{
    struct sim_session *s = &w.users[run->incoming ? run->from : run->user].sessions[run->session];
    return s->generation == run->generation && s->step != SESSION_AWAY ? s : NULL;
}

static void ticket_done(const struct run *run)
{
    ticket_back(&(struct parcel){.from = run->user, .session = run->session, .generation = run->generation, .ticket = run->ticket});
}

/* ---- where it goes ---- */

static void pass_on(struct run *run, unsigned to, enum stanza_sort sort, uint64_t ticket, const struct stanza *stanza)
{
    struct parcel p = {.stanza = stanza_ref(stanza), .sort = sort, .from = run->user, .to = to, .session = run->session,
        .generation = run->generation, .ticket = ticket};
    unsigned from = worker_of_user(run->user), there = worker_of_user(to);
    if (from == there) {
        parcel_arrived(&p);
        return;
    }
    w.n_runs++; /* it is under way */
    post(from, there, &(struct mail){.kind = MAIL_PARCEL, .parcel = p});
}

static void broadcast(struct run *run)
{
    struct sim_session *s = run_session(run);
    for (unsigned i = 0; i < w.n_users; i++) {
        if (i == run->user) continue;
        window_more(&s->window, run->ticket, 1);
        pass_on(run, i, SORT_DIRECTED, run->ticket, stanza_of(s, SORT_DIRECTED, i));
    }
}

static void effects_over(struct run *run)
{
    if (--run->waiting > 0) return;
    if (run->sort == SORT_SUBSCRIBE) {
        run->ticket_passed_on = true;
        pass_on(run, run->target, SORT_SUBSCRIBE, run->ticket, run->stanza);
    }
    out_finish(run);
}

/* What a feature lets be sent: a reply to its own session, presence to the contacts. */
static void out_effects(struct run *run)
{
    run->step = STEP_EFFECTS;
    run->waiting = 1; /* this function */
    lane_more(&run->entry, true);
    if (run->sort == SORT_PRESENCE) broadcast(run);
    if (run->sort == SORT_ROSTER || run->sort == SORT_PING) {
        run->waiting++;
        ask(&(struct ask_facts){run, ASK_PUSH, EVENT_es_IN, stanza_of(run_session(run), SORT_PING, TO_SERVER), run->session, false},
            worker_of_user(run->user));
    }
    lane_more(&run->entry, false);
    effects_over(run);
}

static void out_run_row(struct run *run)
{
    run_applies(run);
    lane_stage(&run->entry, STAGE_OUT_IN);
    run->step = STEP_COMMIT;
    if (run->sort == SORT_ROSTER || run->sort == SORT_SUBSCRIBE)
        run_commit(run);
    else
        out_effects(run);
}

void sending_committed(struct run *run) { out_effects(run); }

/* es_OUT is answered and it is its turn. */
static void out_apply(struct run *run)
{
    if (run->refused) {
        run_applies(run);
        w.sums.refused++;
        out_finish(run);
    } else if (run->sort == SORT_ROSTER || run->sort == SORT_PING) {
        run->step = STEP_SERVER_ASKED;
        lane_stage(&run->entry, STAGE_OUT_SERVER);
        ask(&(struct ask_facts){run, ASK_SERVER, EVENT_e_SERVER, run->stanza, 0, false}, worker_of_user(run->user));
    } else if (run->sort == SORT_PRESENCE || run->sort == SORT_SUBSCRIBE) {
        out_run_row(run);
    } else {
        run_applies(run);
        run->ticket_passed_on = true;
        pass_on(run, run->target, run->sort, run->ticket, run->stanza);
        out_finish(run);
    }
}

static void on_head(struct lane_entry *entry)
{
    struct run *run = (struct run *)entry;
    if (run->step == STEP_TURN) out_apply(run);
}

static void out_finish(struct run *run)
{
    run->step = STEP_COPIES;
    if (run->copies > 0) return;
    run->step = STEP_DONE;
    if (run->copied) ticket_done(run);
    if (!run->ticket_passed_on) ticket_done(run);
    struct sim_session *s = run_session(run);
    CHECK(s != NULL, "a session has gone before its stanzas");
    CHECK(s->begun > 0 && (run->barrier ? s->begun == 1 : true), "a barrier is done while others are under way");
    s->begun--;
    s->barriers -= run->barrier;
    lane_leave(&run->entry);
    run_free(run);
    gate_leave(&s->gate);
    if (s->step == SESSION_LEAVING) session_leaves(s);
}

/* ---- verdicts ---- */

static void ask_copies(struct run *run)
{
    struct sim_session *s = run_session(run);
    bool others = false;
    for (unsigned i = 0; i < w.n_sessions; i++) others = others || (i != run->session && w.users[run->user].sessions[i].step == SESSION_THERE);
    if (run->sort != SORT_MESSAGE || !others || !chance(300)) return;
    lane_stage(&run->entry, STAGE_OUT_IN);
    run->copied = true;
    window_more(&s->window, run->ticket, 1);
    run->copies = 1; /* this function */
    lane_more(&run->entry, true);
    for (unsigned i = 0; i < w.n_sessions; i++) {
        if (i == run->session || w.users[run->user].sessions[i].step != SESSION_THERE) continue;
        run->copies++;
        ask(&(struct ask_facts){run, ASK_COPY, EVENT_es_IN, run->stanza, i, false}, worker_of_user(run->user));
    }
    lane_more(&run->entry, false);
    run->copies--;
}

void sending_verdict(struct run *run, struct ask *a, const struct verdict *v)
{
    if (a->kind == ASK_COPY) {
        if (--run->copies == 0 && run->step == STEP_COPIES) out_finish(run);
    } else if (a->kind == ASK_PUSH) {
        effects_over(run);
    } else if (a->kind == ASK_OUT) {
        run->refused = v->kind != VERDICT_PASS;
        if (!run->refused) ask_copies(run);
        run->step = STEP_TURN;
        if (lane_is_head(&run->entry)) out_apply(run);
    } else {
        run->refused = v->kind != VERDICT_PASS;
        if (run->refused) {
            run_applies(run);
            w.sums.refused++;
            out_finish(run);
        } else {
            out_run_row(run);
        }
    }
}

/* ---- the beginning ---- */

static bool needs_lane(const struct sim_session *s, const struct run *run)
{
    const struct holds *h = w.workers[worker_of_user(s->user)].holds;
    bool local = run->sort == SORT_ROSTER || run->sort == SORT_PING;
    return s->sending.entries > 0 || holds_planned(h, EVENT_es_OUT, run->stanza) || holds_planned(h, EVENT_es_IN, run->stanza) ||
           (local && holds_planned(h, EVENT_e_SERVER, run->stanza));
}

void sending_begin(struct gate_entry *gate)
{
    static const char *const keys[TARGETS] = {"0", "1", "2", "3", "server", ""};
    struct run *run = CONTAINER_OF(gate, struct run, gate);
    struct sim_session *s = run_session(run);
    CHECK(s != NULL, "a session has gone before what it sent has begun");
    CHECK(run->given == ++s->next_begin, "the gate lets a stanza through out of turn");
    CHECK(s->barriers == 0, "a stanza begins while a barrier is under way");
    CHECK(!run->barrier || s->begun == 0, "a barrier begins while %u stanzas are under way", s->begun);
    s->begun++;
    s->barriers += run->barrier;
    run->held = false;
    TRACE(" u%u/s%u: %u begins%s", run->user, run->session, run->given, run->barrier ? ", a barrier" : "");
    run->step = STEP_ASKED;
    if (needs_lane(s, run)) {
        run->entry.on_head = on_head;
        run->lane = &s->lanes[run->target];
        run->place = ++w.place;
        lane_enter(&s->sending, str_of(keys[run->target]), &run->entry);
        lane_stage(&run->entry, STAGE_OUT);
    }
    ask(&(struct ask_facts){run, ASK_OUT, EVENT_es_OUT, run->stanza, 0, false}, worker_of_user(run->user));
}
