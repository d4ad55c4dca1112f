/* The simulated world: workers with holds and lanes, mailboxes between them, links, and compliance servers that answer, lie, hang and die. Everything that
 * happens is drawn from one seed, so a schedule that fails can be run again. */
#ifndef SIGNET_TESTS_SIM_WORLD_H
#define SIGNET_TESTS_SIM_WORLD_H
#include "base/list.h"
#include "broker/hold.h"
#include "broker/link.h"

enum { WORKERS = 2, LINKS = 6, LANES = 3, STEPS_MAX = 4, SESSIONS_MAX = 3, PLANS = 3, ASKS_MAX = 4096, TIMEOUT_MS = 1000, WINDOW_MS = 5000 };

void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn)); /* prints the seed */
#define CHECK(condition, ...) \
    do { \
        if (!(condition)) fail(__VA_ARGS__); \
    } while (0)
uint64_t draw(uint64_t below); /* 0 .. below-1 */
static inline bool chance(unsigned per_thousand) { return draw(1000) < per_thousand; }

struct sim_lane;
struct run;
/* One raise and what is known of it outside the product: what the servers did. */
struct ask {
    struct run *run; /* NULL: in no lane */
    unsigned worker, lane, session;
    bool unordered; /* its stanza left the lane before the verdict */
    enum event_id event;
    unsigned n_steps, place; /* place: in its lane */
    bool await_bounce[STEPS_MAX], fire_bounce[STEPS_MAX];
    bool recorded[STEPS_MAX]; /* a server of the step answered PASS */
    unsigned sends[STEPS_MAX];
    bool refused, handled, changed; /* a server said so */
    bool awaited; /* done() is to come */
    unsigned verdicts;
    uint64_t raised_ms, slept_ms; /* the clock, and how much of it the machine had slept */
};
struct run { /* one stanza on its way through a lane */
    struct lane_entry entry; /* first */
    struct sim_lane *lane;
    unsigned place, waiting;
    bool refused, died, ready, committing;
};
struct sim_lane {
    struct lane_set set;
    unsigned worker, next_place, applied;
    struct stanza *message, *presence;
    struct str key;
};
struct sim_worker {
    struct holds *holds;
    struct plan *plan;
    bool woken;
    struct sim_lane lanes[LANES];
};

enum mail_kind { MAIL_REQUEST, MAIL_ANSWER, MAIL_KEEPS, MAIL_FORGET, MAIL_PLAN };
struct mail {
    struct list node;
    enum mail_kind kind;
    uint32_t link;
    bool keeps;
    struct event_request request;
    struct event_answer answer;
    uint64_t hold;
    uint32_t worker;
    struct plan *plan;
};

enum wire_kind { WIRE_EVENT, WIRE_PING };
struct wire { /* on its way to a server, or waiting in it */
    struct list node;
    enum wire_kind kind;
    uint64_t number, hold;
    uint32_t step;
    struct event *event;
};
struct wire_answer {
    struct list node;
    bool pong;
    uint64_t number;
    struct event_answer answer;
};
enum phase { PHASE_IDLE, PHASE_DIALLING, PHASE_TCP, PHASE_STREAM };
struct sim_link {
    struct link *link;
    uint32_t id;
    unsigned worker;
    bool kept, up, hung;
    enum phase phase;
    struct list to_server, in_server, to_link;
    /* Per lane of each worker, stage and session: the place of the last event that arrived, for the order, which holds over plans with other steps. */
    unsigned last[WORKERS][LANES][2][SESSIONS_MAX];
    bool arrived[ASKS_MAX][STEPS_MAX];
};

struct world {
    uint64_t seed, random, now_ms, slept_ms, steps;
    struct sim_worker workers[WORKERS];
    struct list mail[WORKERS][WORKERS]; /* from, to */
    struct sim_link links[LINKS];
    struct plan *plans[PLANS];
    struct ask asks[ASKS_MAX]; /* by event seq */
    struct ask *raising;
    unsigned n_runs_open, waits_open; /* verdicts to come */
    unsigned raised, delivered, refused, rerouted, timeouts, late, swaps;
    bool verbose;
};
extern struct world w;
struct ask *ask_of(const struct event *e);

/* raisers.c */
void raisers_start(void);
void raise_something(void);
bool raisers_commit_one(void); /* false: nothing to commit */
void raisers_end(void); /* checks that nothing is left */

/* links.c */
void links_start(void);
void post(unsigned from, unsigned to, const struct mail *m);
bool mail_deliver_one(void);
bool wire_move_one(void);
bool server_answer_one(void);
bool dial_move_one(void);
void fault(void);
void links_recover(bool up); /* the end: all servers run again, or all are down */
void links_tick(void);
void links_idle_check(void); /* no hold waits: so nothing may be kept for one */
void links_stop(void);
void link_request(uint32_t link, struct event_request *take);
void link_forget_here(uint32_t link, unsigned worker, uint64_t hold);
struct sim_link *link_by_id(uint32_t id);

#endif
