/* What is on its way to a place.
 *
 * Two counters tell how much there is: handed, by those who send, which only grows; and passed, by the place, which knows what it has received and what of that
 * it still has, or counts. So what travels between two workers counts too.
 *
 * Nobody may be left waiting. Who waits is counted first and looks at the level then; the place puts down the level first and looks for waiting ones then: one
 * of the two sees the other. Whoever finds waiting ones and room asks the place's worker to let some go on (intake_ease), and that is repeated, turn
 * after turn, until nobody waits or the room is used. */
#include "io/intake.h"
#include "io/worker.h"
#include "base/buf.h"
#include <stdlib.h>

enum { ROOM_MAX = 1000000 };

struct intake {
    _Atomic uint64_t handed, handed_bytes; /* by those who send */
    _Atomic uint64_t passed, passed_bytes; /* by the place: received, and not held any more */
    _Atomic uint64_t most, most_bytes;
    _Atomic bool away;
    _Atomic uint32_t waiting;
    uint32_t worker; /* the place's */
    /* of the place's worker */
    uint64_t received, received_bytes;
    bool easing;
    struct turn_hook again;
};

static const struct intake_senders *the_senders; /* set before traffic */

void intake_set_senders(const struct intake_senders *senders) { the_senders = senders; }

static void again(struct turn_hook *hook);

struct intake *intake_new(uint32_t worker)
{
    struct intake *in = x_calloc(1, sizeof(*in));
    atomic_init(&in->most, UINT64_MAX);
    atomic_init(&in->most_bytes, UINT64_MAX);
    in->worker = worker;
    in->again.fn = again;
    return in;
}

void intake_free(struct intake *in) { free(in); }

/* ---- the level ---- */

static uint64_t level_of(const _Atomic uint64_t *handed, const _Atomic uint64_t *passed)
{
    uint64_t gone = atomic_load(passed), came = atomic_load(handed);
    return came > gone ? came - gone : 0;
}

static uint64_t events_of(const struct intake *in) { return level_of(&in->handed, &in->passed); }
static uint64_t bytes_of(const struct intake *in) { return level_of(&in->handed_bytes, &in->passed_bytes); }

static bool is_full(const struct intake *in)
{
    return events_of(in) >= atomic_load_explicit(&in->most, memory_order_relaxed) || bytes_of(in) >= atomic_load_explicit(&in->most_bytes, memory_order_relaxed);
}

/* A quarter must be free until somebody may go on. */
static uint64_t low(const _Atomic uint64_t *most)
{
    uint64_t n = atomic_load_explicit(most, memory_order_relaxed);
    return n - n / 4;
}

static bool has_room(const struct intake *in) { return events_of(in) < low(&in->most) && bytes_of(in) < low(&in->most_bytes); }

/* For how many events of the size of those that are there. */
static uint64_t room_of(const struct intake *in)
{
    uint64_t events = events_of(in), bytes = bytes_of(in);
    uint64_t most = atomic_load_explicit(&in->most, memory_order_relaxed), most_bytes = atomic_load_explicit(&in->most_bytes, memory_order_relaxed);
    uint64_t room = most > events ? most - events : 0, room_bytes = most_bytes > bytes ? most_bytes - bytes : 0;
    if (events > 0 && bytes > 0 && room_bytes / (bytes / events + 1) < room) room = room_bytes / (bytes / events + 1);
    if (room > ROOM_MAX) room = ROOM_MAX;
    return room > 0 ? room : 1;
}

/* ---- letting go on ---- */

struct ease {
    struct intake *intake;
    uint32_t senders, turns;
};

static void ease_worker(uint32_t worker, void *arg)
{
    (void)worker;
    const struct ease *e = arg;
    the_senders->go_on(e->intake, e->senders, e->turns);
}

static void ease_done(void *arg)
{
    struct ease *e = arg;
    worker_at_turn_end(&e->intake->again); /* behind the reading of those let go */
    free(e);
}

static void intake_ease(struct intake *in)
{
    uint32_t waiting = atomic_load(&in->waiting);
    if (waiting == 0 || in->easing || the_senders == NULL || !has_room(in)) return;
    in->easing = true;
    uint64_t room = room_of(in);
    struct ease *e = x_calloc(1, sizeof(*e));
    *e = (struct ease){.intake = in, .senders = waiting, .turns = (uint32_t)(room / waiting)};
    if (room < waiting) e->senders = (uint32_t)room / worker_count() + 1;
    worker_each(ease_worker, ease_done, e);
}

static void again(struct turn_hook *hook)
{
    struct intake *in = CONTAINER_OF(hook, struct intake, again);
    in->easing = false;
    intake_ease(in);
}

struct ease_msg {
    struct msg msg;
    struct intake *intake;
};

static void ease_run(struct msg *msg)
{
    intake_ease(((struct ease_msg *)msg)->intake);
    free(msg);
}

/* ---- those who send ---- */

void intake_hand(struct intake *in, size_t bytes)
{
    atomic_fetch_add_explicit(&in->handed, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&in->handed_bytes, bytes, memory_order_relaxed);
}

void intake_check(struct intake *in, uint64_t origin, bool patient)
{
    if (origin == 0 || the_senders == NULL || (patient && atomic_load_explicit(&in->away, memory_order_relaxed))) return;
    bool full = is_full(in);
    if (full || atomic_load_explicit(&in->waiting, memory_order_relaxed) > 0) the_senders->wait(origin, in, full);
}

void intake_join(struct intake *in)
{
    atomic_fetch_add(&in->waiting, 1);
    if (!has_room(in)) return;
    struct ease_msg *m = x_calloc(1, sizeof(*m));
    m->msg.run = ease_run;
    m->intake = in;
    worker_post(in->worker, &m->msg);
}

void intake_leave(struct intake *in) { atomic_fetch_sub(&in->waiting, 1); }

/* ---- the place ---- */

void intake_took(struct intake *in, size_t bytes)
{
    in->received++;
    in->received_bytes += bytes;
}

void intake_settle(struct intake *in, const struct intake_level *level)
{
    atomic_store_explicit(&in->most, level->most_events, memory_order_relaxed);
    atomic_store_explicit(&in->most_bytes, level->most_bytes, memory_order_relaxed);
    atomic_store_explicit(&in->away, level->away, memory_order_relaxed);
    atomic_store_explicit(&in->passed_bytes, in->received_bytes - level->bytes, memory_order_relaxed);
    atomic_store(&in->passed, in->received - level->events);
    if (atomic_load(&in->waiting) > 0) intake_ease(in);
}

uint32_t intake_waiting(const struct intake *in) { return atomic_load_explicit(&in->waiting, memory_order_relaxed); }
