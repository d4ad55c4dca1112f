/* Runs plans, gates, lanes, windows, holds and links through schedules drawn from a seed, and checks the invariant of the event catalogue
 * (HACKING.md, "The simulator", says what is checked and how to read a failure).
 *
 *   sim [--schedules N] [--seed S] [--stanzas N] [--minutes M] [--trace] [--without MASK] [--no-shrinking] [--named[=NAME]]
 *
 * Schedule i of a run has seed S + i. A failure prints the seed, looks for the smallest schedule of it that still fails, and says how to run that
 * again. */
#include "base/log.h"
#include "world.h"
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct world w;
static unsigned most_stanzas = 12, given_without;
static bool shrinking, unshrunk;

/* ---- failure ---- */

static void schedule(uint64_t seed);

/* In a child of its own, since the world is as the failure left it. */
static bool fails_with(unsigned stanzas, unsigned without)
{
    pid_t child = fork();
    if (child == 0) {
        shrinking = true;
        most_stanzas = stanzas;
        given_without = without;
        w.tracing = false;
        alarm(20);
        schedule(w.seed);
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void shrink(void)
{
    unsigned without = given_without, stanzas = most_stanzas;
    for (unsigned bit = 1; bit < WITHOUT_ALL; bit <<= 1)
        if (fails_with(stanzas, without | bit)) without |= bit;
    for (unsigned n = 1; n < w.sent && n < 200; n++) {
        if (!fails_with(n, without)) continue;
        stanzas = n;
        break;
    }
    fprintf(stderr, "sim: again with --seed %llu --schedules 1 --stanzas %u", (unsigned long long)w.seed, stanzas);
    if (without != 0) fprintf(stderr, " --without %u", without);
    fprintf(stderr, " --trace\n");
}

static void say_failure(void)
{
    static bool said;
    if (shrinking || said || w.said) return;
    said = true;
    fprintf(stderr, "sim: seed %llu, step %llu, %u stanzas sent, at %llu ms\n", (unsigned long long)w.seed, (unsigned long long)w.steps, w.sent,
        (unsigned long long)w.now_ms);
    if (!unshrunk) shrink();
}

void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    if (!shrinking) {
        fprintf(stderr, "sim: ");
        vfprintf(stderr, fmt, args);
        fprintf(stderr, "\n");
    }
    va_end(args);
    say_failure();
    _exit(1);
}

static void on_abort(int signal_number) /* an assertion of the product */
{
    say_failure();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void trace(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("%7llu ", (unsigned long long)w.now_ms);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

uint64_t draw(uint64_t below)
{
    if (w.said) return 0;
    w.random += 0x9e3779b97f4a7c15u;
    uint64_t z = w.random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* ---- the world ---- */

void world_start(uint64_t seed)
{
    memset(w.asks, 0, (w.asked + 1) * sizeof(w.asks[0]));
    for (unsigned i = 0; i < WORKERS; i++) memset(w.by_hold[i], 0, (w.asked + 1) * sizeof(w.by_hold[0][0]));
    w.seed = w.random = seed;
    w.now_ms = 1000000;
    w.steps = 0;
    w.n_runs = w.waits_open = w.asked = w.sent = 0;
    w.raising = NULL;
    w.lost_once = w.lost_before = false;
    w.without = given_without;
    list_init(&w.waiting);
    event_ids_start("n1.x", 1);
    for (unsigned i = 0; i < WORKERS; i++) {
        w.workers[i] = (struct sim_worker){.timeout_ms = 1000, .setting = w.settings[0]};
        w.workers[i].holds = holds_new(i, 1000, &hold_ops, &w.workers[i]);
    }
    users_start();
    links_start();
}

bool world_idle(void)
{
    size_t holds = 0;
    for (unsigned i = 0; i < WORKERS; i++) holds += holds_count(w.workers[i].holds);
    return holds == 0 && w.n_runs == 0 && w.waits_open == 0;
}

void world_end(void)
{
    CHECK(w.waits_open == 0, "%u verdicts never came", w.waits_open);
    while (work_one()) {}
    links_idle_check();
    users_end();
    while (work_one()) {}
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned n = 0; holds_count(w.workers[i].holds) > 0 && n < 100; n++) { /* es_END */
            time_pass(500);
            while (work_one()) {}
        }
        CHECK(holds_count(w.workers[i].holds) == 0, "%zu holds are left on worker %u", holds_count(w.workers[i].holds), i);
        CHECK(holds_due_ms(w.workers[i].holds) == UINT64_MAX, "a deadline is left");
    }
    CHECK(list_empty(&w.waiting), "an event is thought to wait, and no hold does");
    links_stop();
    for (unsigned i = 0; i < WORKERS; i++) holds_free(w.workers[i].holds);
    w.sums.events += w.asked;
}

void time_pass(uint64_t ms)
{
    w.now_ms += ms;
    links_tick();
    for (unsigned i = 0; i < WORKERS; i++)
        if (holds_due_ms(w.workers[i].holds) <= w.now_ms) holds_tick(w.workers[i].holds);
    asks_check_deadlines();
}

uint64_t time_due(void)
{
    uint64_t due = links_due();
    for (unsigned i = 0; i < WORKERS; i++)
        if (holds_due_ms(w.workers[i].holds) < due) due = holds_due_ms(w.workers[i].holds);
    return due;
}

static void time_to_due(void)
{
    uint64_t due = time_due();
    if (due == UINT64_MAX) {
        CHECK(work_one() || w.n_runs + w.waits_open == 0, "%u stanzas and %u verdicts wait, and nothing will ever happen", w.n_runs, w.waits_open);
        return;
    }
    time_pass((due > w.now_ms ? due - w.now_ms : 0) + draw(3));
}

void woken_run(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        if (!w.workers[i].woken) continue;
        w.workers[i].woken = false;
        holds_run(w.workers[i].holds);
    }
}

/* ---- a schedule ---- */

struct temper { /* how this schedule is: per thousand steps */
    unsigned send, fault, swap, time;
};

static void fault(void)
{
    unsigned link = (unsigned)draw(LINKS);
    uint64_t what = draw(FAULTS * 2);
    if (what < FAULTS)
        link_fault(link, (enum fault)what);
    else
        link_heal(link);
}

static void change_timeout(void)
{
    struct sim_worker *worker = &w.workers[draw(WORKERS)];
    worker->timeout_ms = 300 + draw(1000);
    holds_set_timeout(worker->holds, worker->timeout_ms);
}

static void step(const struct temper *t, bool calm)
{
    w.steps++;
    uint64_t what = draw(1000);
    if (!calm && what < t->send) {
        users_do_something();
        return;
    }
    if (what >= 1000 - t->time) {
        if (chance(400))
            time_to_due();
        else
            time_pass(draw(60));
        return;
    }
    if (!calm && what >= 700 && what < 700 + t->fault && (w.without & WITHOUT_FAULTS) == 0) fault();
    if (!calm && what >= 800 && what < 800 + t->swap && (w.without & WITHOUT_SWAPS) == 0) {
        if (chance(100))
            change_timeout();
        else
            setting_swap(w.settings[draw(PLANS)]);
    }
    if (work_one()) return;
    if (calm && w.n_runs + w.waits_open == 0)
        time_pass(50);
    else if (calm || chance(500))
        time_to_due();
}

static void sessions_come(void)
{
    for (unsigned i = 0; i < w.n_users; i++)
        for (unsigned j = 0; j < w.n_sessions; j++)
            if (j == 0 || chance(600)) session_comes(&w.users[i].sessions[j]);
}

static unsigned shape_draw(struct temper *t)
{
    static const unsigned faults[] = {0, 10, 30, 80}, swaps[] = {0, 0, 5, 20}, times[] = {0, 5, 20, 60};
    *t = (struct temper){.send = 20 + (unsigned)draw(300), .fault = faults[draw(4)], .swap = swaps[draw(4)], .time = times[draw(4)]};
    unsigned longest = w.silent ? 1000000 : 600 + most_stanzas * 200;
    w.n_users = 2 + (unsigned)draw(USERS - 1);
    w.n_sessions = 1 + (unsigned)draw(SESSIONS);
    w.session_window = 2 + (unsigned)draw(most_stanzas > 40 ? 60 : 10);
    return longest;
}

/* All but one conversation is answered; then the clock stands still until nothing more can be done. */
static void silence(void)
{
    while (work_one()) w.steps++;
    silence_check();
    for (unsigned i = 0; i < w.n_users; i++)
        for (unsigned j = 0; j < w.n_sessions; j++) {
            const struct sim_session *s = &w.users[i].sessions[j];
            CHECK(s->step != SESSION_THERE || s->window.stopped == (s->window.open > w.session_window - (w.session_window + 3) / 4 &&
                s->window.stopped),
                  "a session is not read though its window is free");
        }
}

static void silent_schedule(const struct temper *t)
{
    w.silent_a = (unsigned)draw(w.n_users);
    w.silent_b = (unsigned)draw(w.n_users);
    while (work_one()) {}
    for (unsigned rounds = 0; rounds < 3; rounds++) {
        for (unsigned n = 0; w.sent < most_stanzas && n < 40; n++) {
            users_do_something();
            for (uint64_t i = draw(1000) < t->send ? 0 : draw(10); i > 0; i--) (void)work_one();
        }
        silence();
        time_to_due();
    }
}

static void schedule(uint64_t seed)
{
    struct temper t;
    w.random = seed;
    w.silent = chance(100);
    w.half_silent = chance(500);
    for (unsigned i = 0; i < PLANS; i++) w.settings[i] = setting_draw();
    unsigned longest = shape_draw(&t);
    uint64_t began = w.random;
    world_start(seed);
    w.random = began;
    sessions_come();
    if (w.silent) {
        silent_schedule(&t);
    } else {
        if (chance(700))
            for (unsigned i = 0; i < 60 && work_one(); i++) {} /* links come up */
        unsigned stanzas = 1 + (unsigned)draw(most_stanzas);
        while (w.sent < stanzas && w.sent < most_stanzas && w.steps < longest) step(&t, false);
        links_recover(chance(500));
    }
    t.time = t.time > 20 ? 20 : t.time;
    for (unsigned i = 0; !world_idle(); i++) {
        CHECK(i < 2000 + w.asked * 200, "%u verdicts and %u stanzas still wait, long after the last was sent", w.waits_open, w.n_runs);
        step(&t, true);
    }
    world_end();
}

/* ---- many ---- */

static void sums_print(uint64_t schedules, uint64_t seed)
{
    printf("sim: %llu schedules from seed %llu, %llu stanzas, %llu events: %llu delivered, %llu refused, %llu rerouted, %llu timed out, %llu late answers, "
           "%llu stops of a reader; the invariant held\n",
           (unsigned long long)schedules, (unsigned long long)seed, (unsigned long long)w.sums.stanzas, (unsigned long long)w.sums.events,
           (unsigned long long)w.sums.delivered, (unsigned long long)w.sums.refused, (unsigned long long)w.sums.rerouted,
               (unsigned long long)w.sums.timeouts,
           (unsigned long long)w.sums.late, (unsigned long long)w.sums.stops);
}

static void run_many(uint64_t schedules, uint64_t seed, uint64_t minutes)
{
    enum { WARM = 3000 };
    size_t before = 0;
    time_t end = time(NULL) + (time_t)minutes * 60;
    uint64_t i = 0;
    for (; minutes > 0 ? time(NULL) < end : i < schedules; i++) {
        schedule(seed + i);
        if (i == WARM) before = mallinfo2().uordblks;
    }
    size_t after = mallinfo2().uordblks;
    if (i > WARM && after > before + 65536) { /* where there is no LeakSanitizer */
        fprintf(stderr, "sim: %zu bytes in use after %d schedules, %zu after %llu\n", before, WARM, after, (unsigned long long)i);
        exit(1);
    }
    sums_print(i, seed);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"schedules", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'},  {"stanzas",
        required_argument, NULL, 'r'},
                                            {"minutes", required_argument, NULL, 'm'},   {"trace", no_argument, NULL, 't'},       {"without",
                                                required_argument, NULL, 'w'},
                                            {"named", optional_argument, NULL, 'N'},     {"no-shrinking", no_argument, NULL, 'x'},   {NULL, 0, NULL,
                                                0}};
    uint64_t schedules = 1000, seed = 1, minutes = 0;
    bool named = false;
    const char *name = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'n') schedules = strtoull(optarg, NULL, 10);
        if (c == 's') seed = strtoull(optarg, NULL, 10);
        if (c == 'r') most_stanzas = (unsigned)strtoul(optarg, NULL, 10);
        if (c == 'm') minutes = strtoull(optarg, NULL, 10);
        if (c == 't') w.tracing = true;
        if (c == 'w') given_without = (unsigned)strtoul(optarg, NULL, 10);
        if (c == 'x') unshrunk = true;
        if (c == 'N') named = true, name = optarg;
        if (c == '?') return 2;
    }
    if (most_stanzas > 300) most_stanzas = 300;
    log_set_level(LOG_LEVEL_ERROR);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    if (__sanitizer_set_death_callback != NULL) __sanitizer_set_death_callback(say_failure);
    if (named) {
        unsigned n = named_run(name);
        printf("sim: %u named schedules; the invariant held\n", n);
        if (n == 0) return 1;
    } else {
        run_many(schedules, seed, minutes);
    }
    settings_free();
    stanzas_free();
    return 0;
}
