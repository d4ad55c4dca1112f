/* The brake on those who send: a session of whose stanzas an event was handed to a link that has enough is read no further, and its client, in the end, waits
 * in its own kernel. Nothing that was accepted is touched, so what would make room is never behind what waits for it.
 *
 * The same for what goes from one worker to another: without a bound there, a worker could read any amount before the other one, which raises the recipient's
 * events, had raised the first of them. */
#include "jsm/brake.h"
#include "base/metric.h"
#include "router/route.h"
#include <stdlib.h>

enum { WORKERS_MAX = 256, STANZA_BYTES = 512, ON_THE_WAY_MOST = 1000, ON_THE_WAY_BYTES = 8 << 20 };

struct brake_msg {
    struct msg msg;
    uint64_t session;
    struct intake *intake;
    bool hard;
};

/* A session that waits for an intake. It may wait for several: what it sent goes on while it is not read. */
struct brake {
    struct list node; /* in jsm->braked */
    struct list of_session; /* in session->brakes */
    struct session *session;
    struct intake *intake;
};

static bool waits_for(const struct session *s, const struct intake *intake)
{
    LIST_EACH(node, &s->brakes)
    {
        if (CONTAINER_OF(node, struct brake, of_session)->intake == intake) return true;
    }
    return false;
}

static void brake(uint64_t session, struct intake *intake, bool hard)
{
    struct session *s = session_get(session);
    if (s == NULL || s->state != SESSION_OPEN || jsm->draining || waits_for(s, intake)) return;
    if (!hard && s->turns > 0) {
        s->turns--;
        return;
    }
    struct brake *b = x_calloc(1, sizeof(*b));
    b->session = s;
    b->intake = intake;
    if (list_empty(&s->brakes)) {
        metric_inc(METRIC_SESSION_LINK_STOPS);
        metric_add(METRIC_SESSIONS_BRAKED, 1);
    }
    list_push_back(&s->brakes, &b->of_session);
    list_push_back(&jsm->braked, &b->node);
    intake_join(intake);
    session_read_control(s);
}

static void release(struct brake *b)
{
    intake_leave(b->intake);
    list_remove(&b->node);
    list_remove(&b->of_session);
    if (list_empty(&b->session->brakes)) metric_add(METRIC_SESSIONS_BRAKED, -1);
    free(b);
}

static void brake_run(struct msg *msg)
{
    struct brake_msg *m = (struct brake_msg *)msg;
    brake(m->session, m->intake, m->hard);
    free(m);
}

/* The event may be raised at the recipient's side, on another worker than the sender's. */
static void on_wait(uint64_t origin, struct intake *intake, bool hard)
{
    uint32_t worker = session_worker(origin);
    if (worker == worker_id()) {
        brake(origin, intake, hard);
        return;
    }
    struct brake_msg *m = x_calloc(1, sizeof(*m));
    m->msg.run = brake_run;
    m->session = origin;
    m->intake = intake;
    m->hard = hard;
    worker_post(worker, &m->msg);
}

static void on_go_on(struct intake *intake, uint32_t senders, uint32_t turns)
{
    LIST_EACH_SAFE(node, next, &jsm->braked)
    {
        struct brake *b = CONTAINER_OF(node, struct brake, node);
        if (senders == 0) return;
        if (b->intake != intake) continue;
        struct session *s = b->session;
        senders--;
        s->turns = turns;
        release(b);
        session_read_control(s);
    }
}

const struct intake_senders jsm_senders = {.wait = on_wait, .go_on = on_go_on};

void brake_session_gone(struct session *s)
{
    while (!list_empty(&s->brakes)) release(CONTAINER_OF(s->brakes.next, struct brake, of_session));
}

/* ---- between workers ---- */

static struct intake *on_the_way[WORKERS_MAX]; /* to each worker */
static _Thread_local struct turn_hook settle_hook;

static size_t bytes_of(const struct stanza *s) { return s->inner.n + STANZA_BYTES; }

unsigned brake_count(const struct stanza *s)
{
    if (worker_count() == 1 || s->origin == 0 || !router_domain_served(s->to.domain)) return 0;
    uint32_t to = router_owner(&s->to);
    if (to == worker_id()) return 0;
    intake_hand(on_the_way[to], bytes_of(s));
    intake_check(on_the_way[to], s->origin, false);
    return PARCEL_COUNTED;
}

static void settle(struct turn_hook *hook)
{
    (void)hook;
    intake_settle(on_the_way[worker_id()], &(struct intake_level){.most_events = ON_THE_WAY_MOST, .most_bytes = ON_THE_WAY_BYTES});
}

void brake_arrived(const struct stanza *s)
{
    intake_took(on_the_way[worker_id()], bytes_of(s));
    worker_at_turn_end(&settle_hook);
}

void brake_worker_start(void)
{
    uint32_t worker = worker_id();
    if (on_the_way[worker] == NULL) on_the_way[worker] = intake_new(worker);
    settle_hook.fn = settle;
    settle(NULL);
}
