/* Runs plans, holds, lanes and links through schedules drawn from a seed, and checks the invariant of the event catalogue: each event has exactly one
 * verdict; delivered implies recorded by every awaited server whose errors bounce; effects happen in lane order; each server gets each lane's events in
 * lane order; nothing waits for ever; nothing is left.
 *
 *   sim [--schedules N] [--seed S] [--raises N] [--minutes M] [--verbose]
 *
 * Schedule i of a run has seed S + i. A failure prints the seed; `sim --seed S --schedules 1` runs it again. */
#include "base/log.h"
#include "world.h"
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct world w;

void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "sim: seed %llu, step %llu, at %llu ms: ", (unsigned long long)w.seed, (unsigned long long)w.steps, (unsigned long long)w.now_ms);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\nsim: again with --seed %llu --schedules 1\n", (unsigned long long)w.seed);
    va_end(args);
    abort();
}

uint64_t draw(uint64_t below)
{
    w.random += 0x9e3779b97f4a7c15u;
    uint64_t z = w.random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* ---- plans ---- */

#define SERVER(name) "{\"name\": \"" name "\", \"host\": \"h\", \"port\": 1, \"password\": \"x\"}"
#define ASSIGN(node, server, profile) "{\"node\": \"" node "\", \"server\": \"" server "\", \"profile\": \"" profile "\"}"

static void add_row(struct buf *b, const char *event, const char *packet, bool *first)
{
    bool bounce = chance(800), fire = chance(bounce ? 40 : 200);
    buf_addf(b, "%s{\"event\": \"%s\", %s%s%s\"handling\": \"%s\", \"fire_and_forget\": %s}", *first ? "" : ", ", event, packet != NULL ? "\"packet\": \"" : "",
             packet != NULL ? packet : "", packet != NULL ? "\", " : "", bounce ? "bounce" : "pass", fire ? "true" : "false");
    *first = false;
}

static void add_profile(struct buf *b, const char *name)
{
    bool first = true;
    buf_addf(b, ", {\"name\": \"%s\", \"rows\": [", name);
    if (chance(800)) add_row(b, "e_DELIVER", chance(200) ? "all" : "message", &first);
    if (chance(800)) add_row(b, "es_IN", chance(200) ? "all" : "message", &first);
    if (chance(500)) add_row(b, "es_END", "all", &first);
    if (chance(500)) add_row(b, "onLeave", NULL, &first);
    buf_adds(b, "]}");
}

/* Three profiles: one with two servers, one of them reached from two nodes; one with two servers; one with one. */
static struct plan *plan_draw(void)
{
    struct buf b = {0};
    struct err err;
    buf_adds(&b, "{\"servers\": [" SERVER("a1") ", " SERVER("a2") ", " SERVER("b1") ", " SERVER("b2") ", " SERVER("c1") "], "
                 "\"profiles\": [{\"name\": \"SystemDefaultComplianceProfile\"}");
    add_profile(&b, "A");
    add_profile(&b, "B");
    add_profile(&b, "C");
    buf_adds(&b, "], \"assignments\": [" ASSIGN("n1.x", "a1", "A") ", " ASSIGN("n1.x", "a2", "A") ", " ASSIGN("n2.x", "a2", "A") ", " ASSIGN("n1.x", "b1", "B"));
    if (chance(500)) buf_adds(&b, ", " ASSIGN("n1.x", "b2", "B"));
    if (chance(700)) buf_adds(&b, ", " ASSIGN("n1.x", "c1", "C"));
    buf_adds(&b, "]}");
    struct compliance_config *c = compliance_config_parse(buf_str(&b), 1, &err);
    CHECK(c != NULL, "%s: %s", buf_cstr(&b), err.text);
    for (uint64_t moves = draw(4); moves > 0; moves--) CHECK(compliance_profile_move(c, chance(500) ? "A" : "C", chance(500) ? -1 : 1, &err) == 0, "%s", err.text);
    struct plan *p = plan_compile(c, NULL);
    compliance_config_free(c);
    buf_free(&b);
    return p;
}

static void plan_swap(void)
{
    struct plan *p = w.plans[draw(PLANS)];
    w.swaps++;
    for (unsigned i = 0; i < WORKERS; i++) post(0, i, &(struct mail){.kind = MAIL_PLAN, .plan = plan_ref(p)});
}

/* ---- a schedule ---- */

static void time_pass(uint64_t ms)
{
    w.now_ms += ms;
    links_tick();
    for (unsigned i = 0; i < WORKERS; i++)
        if (holds_due_ms(w.workers[i].holds) <= w.now_ms) holds_tick(w.workers[i].holds);
}

static void woken_run(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        if (!w.workers[i].woken) continue;
        w.workers[i].woken = false;
        holds_run(w.workers[i].holds);
    }
}

struct temper { /* how this schedule is: per thousand steps */
    unsigned raise, fault, swap, answer;
    unsigned work; /* messages moved per step: the fewer, the more time-outs */
    bool sleeps;
};
static struct temper temper_draw(void)
{
    static const unsigned faults[] = {0, 1, 3, 20}, works[] = {4, 20, 60};
    return (struct temper){.raise = 20 + (unsigned)draw(400), .fault = faults[draw(4)], .swap = (unsigned)draw(6), .answer = 300 + (unsigned)draw(700),
                           .work = works[draw(3)], .sleeps = chance(300)};
}

static void step(const struct temper *t, bool calm)
{
    w.steps++;
    if (!calm && chance(t->raise)) raise_something();
    if (!calm && chance(t->fault)) fault();
    if (!calm && chance(t->swap)) plan_swap();
    for (uint64_t i = draw(t->work); i > 0; i--) {
        (void)mail_deliver_one();
        (void)wire_move_one();
        if (chance(t->answer)) (void)server_answer_one();
        if (chance(300)) (void)raisers_commit_one();
    }
    if (chance(300)) (void)dial_move_one();
    if (chance(300)) woken_run();
    if (chance(500)) time_pass(draw(8));
    if (!calm && t->sleeps && chance(1)) {
        uint64_t sleep = draw(WINDOW_MS);
        w.slept_ms += sleep;
        time_pass(sleep);
    }
}

static bool idle(void)
{
    size_t holds = 0;
    for (unsigned i = 0; i < WORKERS; i++) holds += holds_count(w.workers[i].holds);
    return holds == 0 && w.n_runs_open == 0 && w.waits_open == 0;
}

static void schedule(uint64_t seed, unsigned raises)
{
    enum { STEPS_MAX_CALM = 200000 };
    bool verbose = w.verbose;
    memset(&w, 0, sizeof(w));
    w.verbose = verbose;
    w.seed = w.random = seed;
    w.now_ms = 1000000;
    event_ids_start("n1.x", 1);
    const struct temper t = temper_draw();
    for (unsigned i = 0; i < PLANS; i++) w.plans[i] = plan_draw();
    links_start();
    raisers_start();
    for (unsigned i = 0; i < 200; i++) step(&t, true); /* links come up */
    while (w.raised < raises && w.steps < 20000) step(&t, false);
    links_recover(chance(500));
    uint64_t calm_from = w.now_ms;
    for (unsigned i = 0; !idle(); i++) {
        CHECK(i < STEPS_MAX_CALM, "still waiting %llu ms after the last event: %u verdicts, %u stanzas", (unsigned long long)(w.now_ms - calm_from), w.waits_open,
              w.n_runs_open);
        step(&t, true);
    }
    for (unsigned i = 0; i < 4000; i++) (void)mail_deliver_one();
    links_idle_check();
    raisers_end();
    links_stop();
    for (unsigned i = 0; i < PLANS; i++) plan_unref(w.plans[i]);
    if (w.verbose)
        printf("seed %llu: %llu steps, %u events, %u delivered, %u refused, %u rerouted, %u timed out, %u late\n", (unsigned long long)seed,
               (unsigned long long)w.steps, w.raised, w.delivered, w.refused, w.rerouted, w.timeouts, w.late);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"schedules", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'}, {"raises", required_argument, NULL, 'r'},
                                            {"minutes", required_argument, NULL, 'm'},   {"verbose", no_argument, NULL, 'v'},    {NULL, 0, NULL, 0}};
    uint64_t schedules = 300, seed = 1, total = 0, raises = 400, minutes = 0;
    uint64_t delivered = 0, refused = 0, rerouted = 0, timeouts = 0, late = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'n') schedules = strtoull(optarg, NULL, 10);
        if (c == 's') seed = strtoull(optarg, NULL, 10);
        if (c == 'r') raises = strtoull(optarg, NULL, 10);
        if (c == 'm') minutes = strtoull(optarg, NULL, 10);
        if (c == 'v') w.verbose = true;
        if (c == '?') return 2;
    }
    if (raises > ASKS_MAX - 1024) raises = ASKS_MAX - 1024;
    log_set_level(LOG_LEVEL_ERROR);
    time_t end = time(NULL) + (time_t)minutes * 60;
    for (uint64_t i = 0; minutes > 0 ? time(NULL) < end : i < schedules; i++) {
        schedule(seed + i, (unsigned)raises);
        total += w.raised;
        delivered += w.delivered;
        refused += w.refused;
        rerouted += w.rerouted;
        timeouts += w.timeouts;
        late += w.late;
        schedules = minutes > 0 ? i + 1 : schedules;
    }
    printf("sim: %llu schedules from seed %llu, %llu events: %llu copies delivered, %llu refused, %llu rerouted, %llu timed out, %llu late answers; the invariant held\n",
           (unsigned long long)schedules, (unsigned long long)seed, (unsigned long long)total, (unsigned long long)delivered, (unsigned long long)refused,
           (unsigned long long)rerouted, (unsigned long long)timeouts, (unsigned long long)late);
    return 0;
}
