/* Named schedules: what the simulator or anybody else has found once in the broker, said step by step, so that it stays found however the generator
 * changes. The checks of the simulation hold here as everywhere; a schedule adds what else must be.
 *
 * A step that is not said does not happen: servers answer when told to, time passes when told to. User n lives on worker n % 2, link n too. To add
 * one: a function, and a row in `schedules`, with the title of the commit that repaired it. */
#include "world.h"
#include <stdio.h>
#include <string.h>

enum { A1, A2_N1, A2_N2, B1, B2, C1, D1 };

static struct setting *said[PLANS];

/* ---- what is said ---- */

static void settle(void)
{
    while (work_one_but_answers()) {}
}

static void begin(const char *rows_a, const char *rows_b, unsigned links)
{
    const char *rows[PROFILES] = {rows_a, rows_b, NULL, NULL};
    for (unsigned i = 0; i < PLANS; i++) w.settings[i] = said[i] = setting_said(rows, links, i > 0);
    w.n_users = 2;
    w.n_sessions = 1;
    w.session_window = 10;
    world_start(0);
    for (unsigned i = 0; i < w.n_users; i++) session_comes(&w.users[i].sessions[0]);
    settle();
}

/* Everything is answered, and all comes to its end. */
static void finish(void)
{
    for (unsigned i = 0; i < LINKS; i++) link_heal(i);
    for (unsigned n = 0; !world_idle(); n++) {
        CHECK(n < 1000, "it does not come to an end");
        while (work_one()) {}
        uint64_t due = time_due();
        if (!world_idle()) time_pass(due > w.now_ms ? due - w.now_ms : 0);
    }
    world_end();
    for (unsigned i = 0; i < PLANS; i++) setting_free(said[i]);
}

static void message(unsigned from, unsigned to) { session_send(&w.users[from].sessions[0], SORT_MESSAGE, to); }

static void has(unsigned link, unsigned n)
{
    unsigned is = server_has(&w.links[link]);
    CHECK(is == n, "%s was asked about %u, and not %u", link_names[link], is, n);
}

static void answers(unsigned link, unsigned nth, enum answer_kind kind)
{
    server_answers(&w.links[link], nth, kind);
    while (link_hear_one(&w.links[link])) {}
}

static void mails(unsigned from, unsigned to, unsigned n)
{
    for (unsigned i = 0; i < n; i++) CHECK(mail_move(from, to), "no mail from worker %u to %u", from, to);
}

static void connects(unsigned link)
{
    link_heal(link);
    for (unsigned n = 0; w.links[link].phase != PHASE_STREAM; n++) {
        CHECK(n < 100, "%s does not connect", link_names[link]);
        if (!link_move(link)) time_pass(20);
    }
}

/* ---- the schedules ---- */

/* The first message waits for es_IN's answer, the second is refused and waits for its turn, the third must be asked about nevertheless. */
static void refused_among_passed(void)
{
    begin("e_DELIVER message bounce", "es_IN message bounce", 1u << A1 | 1u << B1);
    for (unsigned i = 0; i < 3; i++) message(0, 1);
    settle();
    has(A1, 3);
    answers(A1, 0, ANSWER_PASS);
    settle();
    has(B1, 1);
    answers(A1, 0, ANSWER_ERROR);
    answers(A1, 0, ANSWER_PASS);
    settle();
    has(B1, 2);
    finish();
}

/* A message is about to be written to a session when another one ends that had not acknowledged an earlier message: that goes first. */
static void unacknowledged_first(void)
{
    begin("", "es_IN message bounce", 1u << B1);
    message(0, 1);
    settle();
    has(B1, 1);
    receive_again(1, 0);
    settle();
    has(B1, 2);
    answers(B1, 0, ANSWER_PASS); /* the later one's */
    settle();
    CHECK(w.n_runs == 2, "it did not wait for what goes first");
    finish();
}

/* One message is at the first of two profiles when their priority is turned around: the next one is not asked about before that was asked about
 * everywhere. */
static void priority_turned_around(void)
{
    begin("es_OUT message bounce", "es_OUT message bounce", 1u << A1 | 1u << B1);
    message(0, 1);
    settle();
    has(A1, 1);
    setting_swap(said[1]);
    settle();
    message(0, 1);
    settle();
    has(B1, 0);
    answers(A1, 0, ANSWER_PASS);
    settle();
    has(B1, 2);
    finish();
}

/* An event is asked at a2, moved to a1 when a2 is lost, and back to a2. What a2 gave back of it when it was lost once more, before it was told to
 * forget, arrives last: a2 has it again, in another turn, and nobody may think that it has not. */
static void given_back_in_an_earlier_turn(void)
{
    begin("es_OUT message bounce", "", 1u << A1 | 1u << A2_N1); /* a2 dials by itself, at once */
    link_fault(A1, FAULT_END);
    settle();
    link_fault(A2_N1, FAULT_END); /* worker 0 has not heard of it */
    message(0, 1);
    connects(A1);
    connects(A2_N1);
    mails(0, 0, 1); /* a1 is there */
    mails(1, 0, 1); /* a2 was lost: the event goes to a1, and a2 is to forget it */
    mails(1, 0, 1); /* a2 is there */
    link_fault(A1, FAULT_END);
    mails(0, 0, 1); /* given back by a1: the event goes to a2 */
    mails(0, 1, 2); /* a2 is asked for the first time */
    link_fault(A2_N1, FAULT_END);
    connects(A2_N1);
    while (mail_move(0, 1)) {} /* it forgets, and is asked again */
    CHECK(link_outstanding(w.links[A2_N1].link) == 1, "a2 was not asked again");
    mails(1, 0, 1); /* given back, in the first turn */
    CHECK(w.waits_open == 1, "it is refused though its server has it");
    finish();
}

/* What was sent before a cut is sent again first, in its order and under its numbers (links.c looks at each). */
static void sent_again_first(void)
{
    begin("es_OUT message bounce", "", 1u << A1);
    for (unsigned i = 0; i < 3; i++) message(0, 1);
    settle();
    has(A1, 3);
    link_fault(A1, FAULT_CUT);
    message(0, 1);
    settle();
    connects(A1);
    settle();
    has(A1, 4);
    finish();
}

/* A barrier waits for what its session sent before, and keeps what it sends after; another session's does not matter. */
static void barrier_between(void)
{
    begin("es_OUT message bounce", "", 1u << A1);
    message(0, 1);
    session_send(&w.users[0].sessions[0], SORT_PRESENCE, TO_SELF);
    message(0, 0);
    message(1, 1);
    settle();
    has(A1, 2);
    answers(A1, 0, ANSWER_PASS);
    settle();
    has(A1, 2); /* of the barrier nobody is asked: it is done, and what came after it is asked about */
    finish();
}

static const struct {
    const char *name, *repaired; /* by the commit of this title; NULL: has never been wrong, and is not to become so */
    void (*run)(void);
} schedules[] = {
    {"refused-among-passed", "tests: Simulate the broker against its invariant, schedule by schedule", refused_among_passed},
    {"unacknowledged-first", "jsm: Let what a session left unacknowledged go ahead of later messages", unacknowledged_first},
    {"priority-turned-around", "broker, admin: Keep versions of the compliance configuration, and change it without touching what waits",
        priority_turned_around},
    {"given-back-in-an-earlier-turn", "broker: Tell what a link gave back in an earlier turn from what it has now", given_back_in_an_earlier_turn},
    {"sent-again-first", NULL, sent_again_first},
    {"barrier-between", NULL, barrier_between},
};

unsigned named_run(const char *name)
{
    unsigned n = 0;
    w.said = true;
    for (unsigned i = 0; i < sizeof(schedules) / sizeof(schedules[0]); i++) {
        if (name != NULL && strcmp(name, schedules[i].name) != 0) continue;
        printf("%s\n", schedules[i].name);
        schedules[i].run();
        n++;
    }
    w.said = false;
    return n;
}
