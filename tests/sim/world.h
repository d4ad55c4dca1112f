/* The simulated world: users with sessions on workers with holds, gates, lanes and windows; mailboxes between the workers; links; and compliance
 * servers that answer, lie, hang and die. Everything that happens is drawn from one seed, so a schedule that fails can be run again; or it is said
 * step by step (named.c). */
#ifndef SIGNET_TESTS_SIM_WORLD_H
#define SIGNET_TESTS_SIM_WORLD_H
#include "base/list.h"
#include "broker/gate.h"
#include "broker/hold.h"
#include "broker/link.h"
#include "broker/window.h"

enum { TURNS_MAX = 64, WORKERS = 2, LINKS = 7, USERS = 4, SESSIONS = 3, PROFILES = 4, STEPS_MAX = PROFILES, PLANS = 3, ASKS_MAX = 8192,
    RUNS_MAX = 4096, PACKETS = 4 };
enum { TO_SERVER = USERS, TO_SELF = USERS + 1, TARGETS }; /* beside the users: where a session's stanza goes */

void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn)); /* prints the seed */
#define CHECK(condition, ...) \
    do { \
        if (!(condition)) fail(__VA_ARGS__); \
    } while (0)
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define TRACE(...) \
    do { \
        if (w.tracing) trace(__VA_ARGS__); \
    } while (0)
uint64_t draw(uint64_t below); /* 0 .. below-1; 0 while steps are said one by one */
static inline bool chance(unsigned per_thousand) { return draw(1000) + 1 > 1000 - per_thousand; }

/* ---- configurations (config.c) ---- */
struct rule { /* what a profile says about an event, as it was drawn: the compiled plan is held against it */
    bool listed, bounce, fire;
};
struct setting {
    struct plan *plan;
    unsigned order[PROFILES]; /* profiles, by routing priority */
    struct rule rules[PROFILES][EVENT_COUNT][PACKETS];
    unsigned links[PROFILES]; /* masks of links, those assigned */
};
extern const char *const profile_names[PROFILES], *const link_names[LINKS];
const struct setting *setting_draw(void); /* one of a pool made once */
struct setting *setting_said(const char *rows[PROFILES], unsigned links,
    bool backwards); /* "es_OUT message bounce; es_IN all pass forget"; to be freed */
void setting_free(struct setting *s);
void settings_free(void); /* the pool */

/* ---- what is asked, and what must come of it (oracle.c) ---- */
enum ask_kind { ASK_OUT, ASK_SERVER, ASK_DELIVER, ASK_PRISESSION, ASK_IN, ASK_OFFLINE, ASK_COPY, ASK_PUSH, ASK_KINDS };
struct run;
struct lane_view;
struct ask { /* one raise and what is known of it outside the product */
    struct list node; /* in w.waiting, while it waits at a link */
    struct run *run; /* NULL: nobody's any more */
    struct lane_view *lane; /* NULL: in no order */
    unsigned worker, place, session;
    bool unordered; /* asked once more, or its stanza left the lane before the verdict */
    enum ask_kind kind;
    enum event_id event;
    unsigned n_steps, step; /* step: where it is */
    struct {
        unsigned profile, links;
        bool bounce, fire;
    } steps[STEPS_MAX];
    bool recorded[STEPS_MAX]; /* a server said PASS at this step */
    unsigned sends[STEPS_MAX];
    unsigned char arrived[STEPS_MAX]; /* a mask of links */
    unsigned turns; /* hand-overs, and to which step each belongs */
    unsigned char step_of_turn[TURNS_MAX];
    uint64_t hold, number[LINKS]; /* number: on the wire */
    uint32_t link; /* index of where it waits; LINKS: nowhere */
    bool returned; /* that one gave it back */
    uint64_t deadline_ms;
    bool decided; /* the verdict is settled: */
    enum verdict_kind expect;
    bool outage, changed, awaited;
    const char *session_named;
    unsigned verdicts;
};
struct ask_facts {
    struct run *run;
    enum ask_kind kind;
    enum event_id event;
    const struct stanza *subject;
    unsigned session;
    bool unordered; /* a server may see it late: it is asked anew */
};
void ask(const struct ask_facts *facts, unsigned worker); /* run_verdict() is called for it, at once or later */
void ask_nobody_waits(unsigned worker, enum event_id event, const struct stanza *subject);
void ask_outside(unsigned worker, const struct stanza *subject); /* a TC event, in no lane */
void run_verdict(struct run *run, struct ask *ask, const struct verdict *v); /* users.c */
struct ask *ask_of(const struct event *e);
bool answer_waited_for(unsigned worker, const struct event_answer *a);
void answer_told(unsigned worker, const struct event_answer *a, bool allowed); /* it is about to be given to the holds */
void asks_check_deadlines(void);
extern const struct hold_ops hold_ops;
bool rule_of(const struct setting *s, unsigned profile, enum event_id event, const struct stanza *subject, struct rule *out);

/* ---- users and their stanzas (users.c, runs.c) ---- */
struct lane_view { /* one lane, seen from outside */
    unsigned applied; /* the place applied last */
    unsigned again, again_applied; /* those delivered anew, which go first */
    unsigned char id;
};
enum session_step { SESSION_AWAY, SESSION_THERE, SESSION_LEAVING };
struct sim_session {
    enum session_step step;
    unsigned user, index, generation;
    struct gate gate;
    struct lane_set sending;
    struct window window;
    struct lane_view lanes[TARGETS];
    unsigned begun, barriers; /* stanzas under way as the simulation counts them */
    unsigned next_begin, next_given; /* the order at the gate */
};
struct sim_user {
    struct lane_set receiving;
    struct lane_view lanes[USERS];
    struct sim_session sessions[SESSIONS];
};
enum stanza_sort { SORT_MESSAGE, SORT_PRESENCE, SORT_DIRECTED, SORT_SUBSCRIBE, SORT_ROSTER, SORT_PING, SORTS };
struct sim_worker {
    struct holds *holds;
    const struct setting *setting;
    bool woken;
    unsigned view; /* a mask of links: those that take events, as far as it knows */
    uint64_t timeout_ms;
};
struct parcel {
    struct stanza *stanza; /* a reference */
    enum stanza_sort sort;
    unsigned from, to; /* users */
    unsigned session, generation;
    uint64_t ticket; /* UINT64_MAX: none */
};
static inline unsigned worker_of_user(unsigned user) { return user % WORKERS; }
void users_start(void);
void users_end(void); /* checks that nothing is left */
bool session_may_send(const struct sim_session *s);
void session_send(struct sim_session *s, enum stanza_sort sort, unsigned target);
void session_comes(struct sim_session *s);
void session_leaves(struct sim_session *s);
void users_do_something(void);
bool commit_one(void); /* false: nothing to commit */
bool commits_waiting(void);
void parcel_arrived(const struct parcel *p);
void ticket_back(const struct parcel *p);
void receive_again(unsigned user, unsigned from); /* what a session had not acknowledged */
void silence_check(void); /* all is at rest but one conversation: nothing else may be waiting */
const struct stanza *stanza_of(const struct sim_session *s, enum stanza_sort sort, unsigned target);
void stanzas_free(void);
bool same_conversation(const struct stanza *s); /* as the silent one */

/* ---- mailboxes, links, servers (links.c, servers.c) ---- */
enum mail_kind { MAIL_REQUEST, MAIL_ANSWER, MAIL_KEEPS, MAIL_FORGET, MAIL_SETTING, MAIL_PARCEL, MAIL_TICKET };
struct mail {
    struct list node;
    enum mail_kind kind;
    unsigned link;
    bool keeps, allowed, stray;
    struct event_request request;
    struct event_answer answer;
    uint64_t hold;
    unsigned worker;
    const struct setting *setting;
    struct parcel parcel;
};
struct wire { /* on its way to a server, or waiting in it */
    struct list node;
    bool ping;
    uint64_t number, hold;
    uint32_t step;
    struct event *event;
};
struct wire_answer {
    struct list node;
    bool pong, allowed;
    uint64_t number;
    struct event_answer answer;
};
enum phase { PHASE_IDLE, PHASE_DIALLING, PHASE_TCP, PHASE_STREAM };
struct sim_link {
    struct link *link; /* NULL: not configured */
    unsigned index, worker, n_to_server;
    uint32_t id;
    bool dials, kept, up, hung, blocked, retired; /* retired: not in the configuration, and still asked about what began before */
    enum phase phase;
    uint64_t number; /* the last that went out on this connection */
    uint64_t heard_ms;
    struct list to_server, in_server, to_link;
};
void links_start(void);
void links_stop(void);
void post(unsigned from, unsigned to, const struct mail *m);
bool work_one(void); /* a message, a wire, an answer, a commit ...; false: nothing can be done without time passing */
bool work_one_but_answers(void);
bool mail_move(unsigned from, unsigned to); /* one; false: there is none */
bool link_move(unsigned link); /* its connection gets on by one step; false: it does not, now */
enum fault { FAULT_END, FAULT_CUT, FAULT_HANG, FAULT_RESTART, FAULT_PROBE, FAULT_STRAY, FAULTS };
void link_fault(unsigned link, enum fault fault);
void link_heal(unsigned link);
void links_recover(bool up); /* the end: all servers run again, or all are down */
void links_tick(void);
void links_idle_check(void); /* no hold waits: so nothing may be kept for one */
uint64_t links_due(void);
void link_request(unsigned link, struct event_request *take);
void link_forget_here(unsigned link, unsigned worker, uint64_t hold);
unsigned link_index(uint32_t id);
void setting_swap(const struct setting *s);

/* servers.c */
void connection_over(struct sim_link *l);
bool server_take_one(struct sim_link *l);
bool server_answer_one(struct sim_link *l);
void server_answers(struct sim_link *l, unsigned nth, enum answer_kind kind); /* the nth it has */
bool link_hear_one(struct sim_link *l);
void stray_answer(struct sim_link *l);
unsigned server_has(const struct sim_link *l);

enum without { WITHOUT_FAULTS = 1, WITHOUT_SWAPS = 2, WITHOUT_LIES = 4, WITHOUT_LEAVING = 8, WITHOUT_BARRIERS = 16, WITHOUT_COMMITS = 32,
    WITHOUT_ALL = 64 };
struct world {
    uint64_t seed, random, now_ms, steps;
    bool said, tracing, silent, half_silent; /* said: step by step; silent: servers keep quiet on one conversation, or on half of its events */
    unsigned silent_a, silent_b;
    bool lost_once, lost_before; /* one link does not take events any more since events are raised, and nothing else has changed; or more than that */
    unsigned without; /* mask of enum without */
    struct sim_worker workers[WORKERS];
    struct sim_user users[USERS];
    struct list mail[WORKERS][WORKERS]; /* from, to */
    struct sim_link links[LINKS];
    const struct setting *settings[PLANS];
    unsigned n_users, n_sessions, session_window;
    struct link_limits limits;
    struct list waiting; /* asks */
    struct ask *raising;
    unsigned n_runs, waits_open; /* stanzas on their way, verdicts to come */
    unsigned asked, sent; /* events raised, stanzas accepted */
    struct {
        uint64_t stanzas, events, delivered, refused, rerouted, timeouts, late, stops;
    } sums; /* of all schedules */
    unsigned place; /* never begins anew: what is known of an earlier schedule is then always before */
    struct ask asks[ASKS_MAX]; /* by event seq */
    struct ask *by_hold[WORKERS][ASKS_MAX];
};
extern struct world w;

/* sim.c */
void world_start(uint64_t seed);
void world_end(void); /* once all is done */
bool world_idle(void);
void time_pass(uint64_t ms);
uint64_t time_due(void);
void woken_run(void);
/* named.c */
unsigned named_run(const char *name); /* NULL: all; how many there were */

#endif
