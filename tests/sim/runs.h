/* Stanzas on their way: at the sender's side (sending.c, as jsm/send.c has it) and at the recipient's (receiving.c, as jsm/receive*.c). */
#ifndef SIGNET_TESTS_SIM_RUNS_H
#define SIGNET_TESTS_SIM_RUNS_H
#include "world.h"

enum run_step { STEP_ASKED, STEP_TURN, STEP_SERVER_ASKED, STEP_COMMIT, STEP_EFFECTS, STEP_PRIMARY_ASKED, STEP_PRIMARY_TURN, STEP_IN_ASKED,
    STEP_IN_TURN, STEP_KEEPING,
                STEP_OFFLINE_ASKED, STEP_OFFLINE_TURN, STEP_STORING, STEP_COPIES, STEP_DONE };
/* The order in which a lane's stanzas are asked at the recipient's side: as enum incoming_asks. At the sender's: out, server, in. */
enum stage { STAGE_OUT = 1, STAGE_OUT_SERVER, STAGE_OUT_IN, STAGE_DELIVER = 1, STAGE_FEATURE = 3, STAGE_PRISESSION, STAGE_IN, STAGE_OFFLINE,
    STAGE_COPIES, STAGE_ROUND };

struct run {
    struct lane_entry entry; /* first: on_head gets it */
    struct gate_entry gate;
    struct list node; /* in committing, or none */
    struct list alive;
    bool incoming, refused, again, barrier, held;
    enum run_step step;
    struct lane_view *lane;
    unsigned place, user, session, generation, target, given; /* user, session: the sender's; at the recipient's side user is the recipient */
    unsigned from; /* at the recipient's side */
    enum stanza_sort sort;
    struct stanza *stanza;
    uint64_t ticket;
    bool ticket_passed_on;
    unsigned waiting, copies; /* es_IN not answered, of it and of its copies */
    uint32_t stage;
    bool primary_asked, looked_again, copied, lost_all;
    unsigned chosen[SESSIONS], chosen_generation[SESSIONS], n_chosen, round;
};
extern struct list runs_alive, committing;
struct run *run_new(struct stanza *take, enum stanza_sort sort);
void run_free(struct run *run); /* it is in no lane any more */
void run_applies(struct run *run); /* its effect happens now: is it its turn? */
void run_commit(struct run *run); /* it waits for the store, perhaps */
void run_committed(struct run *run); /* sending.c or receiving.c go on */

struct sim_session *run_session(const struct run *run); /* the sender's; NULL: it has gone */
void sending_begin(struct gate_entry *entry);
void sending_verdict(struct run *run, struct ask *a, const struct verdict *v);
void sending_committed(struct run *run);
void receiving_verdict(struct run *run, struct ask *a, const struct verdict *v);
void receiving_committed(struct run *run);

#endif
