/* Users and their sessions: who is there, what they send, the windows that stop them, and the order in which effects happen. */
#include "runs.h"
#include <stdlib.h>
#include <string.h>

struct list runs_alive, committing;
static struct stanza *stanzas[USERS][SESSIONS][SORTS][TARGETS];

/* ---- stanzas: made once ---- */

static struct stanza *stanza_text(const struct buf *text)
{
    struct err err;
    struct stanza *s = stanza_from_text((struct str){text->data, text->len}, &err);
    CHECK(s != NULL, "%s", err.text);
    return s;
}

static struct stanza *stanza_make_one(unsigned user, unsigned session, enum stanza_sort sort, unsigned target)
{
    static const char *const heads[SORTS] = {"message type='chat' id='m'", "presence", "presence", "presence type='subscribe'",
        "iq type='set' id='r'", "iq type='get' id='p'"};
    static const char *const children[SORTS] = {"<body>hello</body>", "", "", "", "<query xmlns='jabber:iq:roster'/>",
        "<ping xmlns='urn:xmpp:ping'/>"};
    static const char *const ends[SORTS] = {"message", "presence", "presence", "presence", "iq", "iq"};
    struct buf b = {0};
    buf_addf(&b, "<%s xmlns='jabber:client' from='u%u@x/s%u'", heads[sort], user, session);
    if (target < USERS) buf_addf(&b, " to='u%u@x'", target);
    if (target == TO_SERVER) buf_adds(&b, " to='x'");
    buf_addf(&b, ">%s</%s>", children[sort], ends[sort]);
    struct stanza *s = stanza_text(&b);
    buf_free(&b);
    return s;
}

const struct stanza *stanza_of(const struct sim_session *s, enum stanza_sort sort, unsigned target)
{
    struct stanza **at = &stanzas[s->user][s->index][sort][target];
    if (*at == NULL) *at = stanza_make_one(s->user, s->index, sort, target);
    return *at;
}

void stanzas_free(void)
{
    for (struct stanza **at = &stanzas[0][0][0][0]; at < &stanzas[0][0][0][0] + sizeof(stanzas) / sizeof(*at); at++) stanza_unref(*at);
}

/* ---- stanzas on their way ---- */

struct run *run_new(struct stanza *take, enum stanza_sort sort)
{
    struct run *run = x_calloc(1, sizeof(*run));
    run->stanza = take;
    run->sort = sort;
    list_push_back(&runs_alive, &run->alive);
    w.n_runs++;
    return run;
}

void run_free(struct run *run)
{
    CHECK(!list_linked(&run->node), "a stanza is done while the store has it");
    w.n_runs--;
    list_remove(&run->alive);
    stanza_unref(run->stanza);
    free(run);
}

/* Effects are applied in the order of the lane: only by its head, those delivered anew before all others. */
void run_applies(struct run *run)
{
    struct lane_view *lane = run->lane;
    if (lane == NULL) return;
    CHECK(lane_is_head(&run->entry), "place %u is applied, and is not head of its lane", run->place);
    if (run->again) {
        CHECK(lane->again_applied <= run->place, "place %u, delivered anew, is applied after %u", run->place, lane->again_applied);
        lane->again_applied = run->place;
        return;
    }
    CHECK(lane->again == 0, "place %u is applied before what is delivered anew", run->place);
    CHECK(lane->applied <= run->place, "place %u of a lane is applied after %u", run->place, lane->applied);
    lane->applied = run->place;
}

void run_verdict(struct run *run, struct ask *a, const struct verdict *v)
{
    if (run->incoming)
        receiving_verdict(run, a, v);
    else
        sending_verdict(run, a, v);
}

void run_committed(struct run *run)
{
    if (run->incoming)
        receiving_committed(run);
    else
        sending_committed(run);
}

void run_commit(struct run *run)
{
    if ((w.without & WITHOUT_COMMITS) == 0 && chance(500))
        list_push_back(&committing, &run->node);
    else
        run_committed(run);
}

bool commits_waiting(void) { return !list_empty(&committing); }

bool commit_one(void)
{
    if (list_empty(&committing)) return false;
    struct list *node = committing.next;
    for (uint64_t skip = draw(3); skip > 0 &&
        node->next != &committing; skip--) node = node->next; /* users' commits are in order; those of many are not */
    list_remove(node);
    run_committed(CONTAINER_OF(node, struct run, node));
    return true;
}

/* ---- sessions ---- */

static bool reading(const struct sim_session *s) { return !s->window.stopped; }

static void read_control(struct sim_session *s)
{
    enum window_reading now = window_reading(&s->window, w.session_window);
    w.sums.stops += now == WINDOW_READING_STOPS;
    CHECK(s->window.open <= w.session_window, "%u stanzas are open in a window of %u", s->window.open, w.session_window);
    CHECK(reading(s) || s->window.open > 0, "a session is not read, and nothing of it is under way");
    CHECK(!reading(s) || s->window.open < w.session_window, "a session is read though its window is full");
}

void ticket_back(const struct parcel *p)
{
    if (p->ticket == UINT64_MAX) return;
    struct sim_session *s = &w.users[p->from].sessions[p->session];
    if (s->generation != p->generation || s->step == SESSION_AWAY) return;
    CHECK(window_done(&s->window, p->ticket), "a ticket came back once too often");
    read_control(s);
}

bool session_may_send(const struct sim_session *s) { return s->step == SESSION_THERE && reading(s); }

void session_send(struct sim_session *s, enum stanza_sort sort, unsigned target)
{
    struct run *run = run_new(stanza_ref(stanza_of(s, sort, target)), sort);
    run->user = s->user;
    run->session = s->index;
    run->generation = s->generation;
    run->target = target;
    run->barrier = sort == SORT_PRESENCE || sort == SORT_SUBSCRIBE || sort == SORT_ROSTER;
    run->ticket = window_open(&s->window);
    run->given = ++s->next_given;
    run->gate.barrier = run->barrier;
    run->held = true;
    read_control(s);
    w.sent++;
    w.sums.stanzas++;
    TRACE(" u%u/s%u sends sort %d to %u: %u", s->user, s->index, (int)sort, target, run->given);
    (void)gate_enter(&s->gate, &run->gate);
}

void session_comes(struct sim_session *s)
{
    s->step = SESSION_THERE;
    s->generation++;
    s->begun = s->barriers = s->next_begin = s->next_given = 0;
    gate_init(&s->gate, sending_begin);
    window_init(&s->window);
    for (unsigned i = 0; i < TARGETS; i++) s->lanes[i] = (struct lane_view){.id = s->lanes[i].id};
}

/* Once what it sent has begun and is done, it is gone. */
void session_leaves(struct sim_session *s)
{
    s->step = SESSION_LEAVING;
    if (!gate_quiet(&s->gate)) return;
    CHECK(s->begun == 0 && s->next_begin == s->next_given, "a session is quiet, and %u of its stanzas are not done",
        s->next_given - s->next_begin + s->begun);
    s->step = SESSION_AWAY;
    TRACE(" u%u/s%u is gone", s->user, s->index);
    ask_nobody_waits(worker_of_user(s->user), EVENT_es_END, stanza_of(s, SORT_PRESENCE, TO_SELF));
    lane_set_free(&s->sending);
    window_free(&s->window);
}

static void send_something(struct sim_session *s)
{
    static const unsigned char sorts[] = {SORT_MESSAGE, SORT_MESSAGE, SORT_MESSAGE, SORT_MESSAGE, SORT_MESSAGE, SORT_DIRECTED, SORT_PING,
        SORT_PRESENCE, SORT_ROSTER, SORT_SUBSCRIBE};
    enum stanza_sort sort = sorts[draw((w.without & WITHOUT_BARRIERS) != 0 ? 7 : sizeof(sorts))];
    unsigned target = (unsigned)draw(w.n_users);
    if (sort == SORT_PING) target = TO_SERVER;
    if (sort == SORT_PRESENCE || sort == SORT_ROSTER) target = TO_SELF;
    session_send(s, sort, target);
}

void users_do_something(void)
{
    struct sim_session *s = &w.users[draw(w.n_users)].sessions[draw(w.n_sessions)];
    if (chance(40)) ask_outside(worker_of_user(s->user), stanza_of(s, SORT_DIRECTED, (s->user + 1) % w.n_users));
    if (s->step == SESSION_AWAY) {
        session_comes(s);
    } else if (s->step == SESSION_THERE && (w.without & WITHOUT_LEAVING) == 0 && chance(60)) {
        session_leaves(s);
        if (chance(400)) receive_again(s->user, (unsigned)draw(w.n_users));
    } else if (session_may_send(s)) {
        send_something(s);
    }
}

/* ---- silence ---- */

bool same_conversation(const struct stanza *s)
{
    unsigned a = (unsigned)(s->from.local.p[0] != '\0' ? s->from.local.p[1] - '0' : 0);
    unsigned b = s->to.local.p != NULL ? (unsigned)(s->to.local.p[1] - '0') : TARGETS;
    return (a == w.silent_a && b == w.silent_b) || (a == w.silent_b && b == w.silent_a);
}

/* es_IN is asked, too, unless a stanza ahead has not come as far: those that were refused, and only wait for their turn, keep nobody. */
static void check_in_asked(const struct run *run)
{
    bool may_wait = false;
    for (unsigned i = 1; i <= w.asked; i++) {
        const struct ask *a = &w.asks[i];
        bool ahead = a->lane == run->lane && a->place < run->place && a->link != LINKS && (a->kind != ASK_IN || a->step + 1 < a->n_steps);
        may_wait = may_wait || (a->run == run && a->kind == ASK_IN && a->sends[0] > 0) || ahead;
    }
    LIST_EACH (node, &runs_alive) {
        const struct run *other = CONTAINER_OF(node, struct run, alive);
        bool feature = other->sort != SORT_MESSAGE && other->place < run->place; /* acts at the head only */
        may_wait = may_wait || (other != run && other->lane == run->lane && (feature || other->again));
    }
    CHECK(may_wait, "es_IN of place %u is not asked, and nothing ahead is to be asked before", run->place);
}

/* Servers are silent on one conversation and have answered everything else: nothing else may be waiting, but for what a barrier of its own session
 * keeps. And of that one conversation each stanza has been asked about as far as those ahead of it have been: none waits for another's answer. */
void silence_check(void)
{
    LIST_EACH (node, &runs_alive) {
        const struct run *run = CONTAINER_OF(node, struct run, alive);
        bool theirs = same_conversation(run->stanza);
        CHECK(theirs || run->held, "a stanza of u%u to %u waits, though only the conversation of u%u and u%u is not answered",
            run->incoming ? run->from : run->user,
              run->incoming ? run->user : run->target, w.silent_a, w.silent_b);
    }
    LIST_EACH (node, &runs_alive) {
        const struct run *run = CONTAINER_OF(node, struct run, alive);
        if (run->incoming && run->step == STEP_IN_ASKED) check_in_asked(run);
        if (run->held || run->step != STEP_ASKED) continue;
        bool asked = false; /* or one ahead waits for an answer at a step before its last: then it may be asked what this one would be */
        for (unsigned i = 1; i <= w.asked; i++) {
            const struct ask *a = &w.asks[i];
            bool ahead = a->lane == run->lane && a->place < run->place && a->link != LINKS && a->step + 1 < a->n_steps;
            asked = asked || (a->run == run && a->sends[0] > 0) || ahead;
        }
        CHECK(asked, "place %u is not asked about, though those ahead are", run->place);
    }
}

/* ---- the whole ---- */

void users_start(void)
{
    list_init(&runs_alive);
    list_init(&committing);
    unsigned char id = 0;
    for (unsigned i = 0; i < USERS; i++) {
        struct sim_user *u = &w.users[i];
        *u = (struct sim_user){0};
        for (unsigned j = 0; j < USERS; j++) u->lanes[j].id = id++;
        for (unsigned j = 0; j < SESSIONS; j++) {
            u->sessions[j].user = i;
            u->sessions[j].index = j;
            for (unsigned k = 0; k < TARGETS; k++) u->sessions[j].lanes[k].id = id++;
        }
    }
}

static void user_end(struct sim_user *u)
{
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct sim_session *s = &u->sessions[i];
        if (s->step == SESSION_THERE) session_leaves(s);
        CHECK(s->step == SESSION_AWAY, "a session cannot end: %u of its stanzas are under way, %u tickets are out", s->begun, s->window.open);
    }
    CHECK(u->receiving.entries == 0, "%zu stanzas are left in the lanes", u->receiving.entries);
    lane_set_free(&u->receiving);
}

void users_end(void)
{
    CHECK(w.n_runs == 0 && list_empty(&runs_alive), "%u stanzas never came to an end", w.n_runs);
    for (unsigned i = 0; i < USERS; i++) {
        for (unsigned j = 0; j < SESSIONS; j++) {
            const struct sim_session *s = &w.users[i].sessions[j];
            CHECK(s->step != SESSION_THERE || (s->window.open == 0 && s->window.first == s->window.next), "%u tickets never came back",
                s->window.open);
        }
        user_end(&w.users[i]);
    }
}
