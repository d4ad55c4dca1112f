/* The links' side of the simulation: mailboxes, links with connections that break, links that are taken out of the configuration and put back. */
#include "world.h"
#include <stdlib.h>
#include <string.h>

/* ---- mailboxes ---- */

void post(unsigned from, unsigned to, const struct mail *m)
{
    struct mail *copy = x_malloc(sizeof(*copy));
    *copy = *m;
    copy->node = (struct list){0};
    list_push_back(&w.mail[from][to], &copy->node);
}

static void mail_clear(struct mail *m)
{
    if (m->kind == MAIL_REQUEST) event_request_clear(&m->request);
    if (m->kind == MAIL_ANSWER) event_answer_clear(&m->answer);
    if (m->kind == MAIL_PARCEL) stanza_unref(m->parcel.stanza);
    free(m);
}

static void setting_put(unsigned worker, const struct setting *s);

static void keeps_told(unsigned worker, unsigned link, bool keeps)
{
    unsigned bit = 1u << link;
    w.workers[worker].view = keeps ? w.workers[worker].view | bit : w.workers[worker].view & ~bit;
    if (keeps && w.asked > 0) { /* later events may go there */
        w.lost_before = true;
        w.lost_once = false;
    }
    TRACE(" worker %u hears that %s %s", worker, link_names[link], keeps ? "takes events" : "takes no events");
    holds_link(w.workers[worker].holds, w.links[link].id, keeps);
}

static void mail_deliver(unsigned to, struct mail *m)
{
    struct holds *holds = w.workers[to].holds;
    switch (m->kind) {
    case MAIL_REQUEST: link_request(m->link, &m->request); break;
    case MAIL_ANSWER:
        if (m->stray && answer_waited_for(to, &m->answer)) break; /* by now it would be right, which no link can make it */
        answer_told(to, &m->answer, m->allowed);
        holds_answer(holds, &m->answer);
        break;
    case MAIL_KEEPS: keeps_told(to, m->link, m->keeps); break;
    case MAIL_FORGET: link_forget_here(m->link, m->worker, m->hold); break;
    case MAIL_SETTING: setting_put(to, m->setting); break;
    case MAIL_PARCEL:
        w.n_runs--;
        parcel_arrived(&m->parcel);
        m->parcel.stanza = NULL;
        break;
    case MAIL_TICKET: ticket_back(&m->parcel); break;
    }
    mail_clear(m);
}

/* ---- links' owner ---- */

unsigned link_index(uint32_t id)
{
    for (unsigned i = 0; i < LINKS; i++)
        if (w.links[i].id == id) return i;
    fail("there is no link %u", id);
}

static void answer_post(const struct sim_link *l, enum answer_kind kind, const struct event_request *r)
{
    struct event_answer a = {.kind = kind, .hold = r->hold, .turn = r->turn, .link = l->id};
    post(l->worker, r->worker, &(struct mail){.kind = MAIL_ANSWER, .answer = a});
}

static void on_dial(void *owner)
{
    struct sim_link *l = owner;
    CHECK(l->phase == PHASE_IDLE && l->dials, "%s dials while it has a connection", link_names[l->index]);
    l->phase = PHASE_DIALLING;
}

/* On one connection numbers only grow: what is sent again goes first, in its old order and under its old number. */
static void check_number(struct sim_link *l, uint64_t number, struct ask *a, bool resent)
{
    CHECK(number > l->number, "%s sends number %llu after %llu", link_names[l->index], (unsigned long long)number, (unsigned long long)l->number);
    l->number = number;
    CHECK(resent == (a->number[l->index] == number), "%s: number %llu is sent again, or not, against what was sent", link_names[l->index],
        (unsigned long long)number);
    a->number[l->index] = number;
}

static uint64_t on_send(void *owner, uint64_t number, const struct event_request *r, bool resent)
{
    struct sim_link *l = owner;
    CHECK(l->phase == PHASE_STREAM && !l->blocked, "%s sends without a stream that takes output", link_names[l->index]);
    CHECK((number != 0) == (r->hold != 0), "%s: a number of which nobody waits", link_names[l->index]);
    if (number != 0) check_number(l, number, ask_of(r->event), resent);
    struct wire *wire = x_calloc(1, sizeof(*wire));
    *wire = (struct wire){.number = number, .hold = r->hold, .step = ask_of(r->event)->step_of_turn[r->turn], .event = event_ref(r->event)};
    list_push_back(&l->to_server, &wire->node);
    if (++l->n_to_server > 6 && (w.seed & 1) != 0) { /* the connection takes no more for now */
        l->blocked = true;
        link_blocked(l->link, true);
    }
    return w.now_ms;
}

static void on_ping(void *owner, uint64_t number)
{
    struct sim_link *l = owner;
    struct wire *wire = x_calloc(1, sizeof(*wire));
    wire->ping = true;
    wire->number = number;
    list_push_back(&l->to_server, &wire->node);
    l->n_to_server++;
}

static void wires_clear(struct list *wires)
{
    for (struct list *node; (node = list_pop_front(wires)) != NULL;) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        event_unref(wire->event);
        free(wire);
    }
}
void connection_over(struct sim_link *l)
{
    wires_clear(&l->to_server);
    wires_clear(&l->in_server);
    for (struct list *node; (node = list_pop_front(&l->to_link)) != NULL;) {
        struct wire_answer *a = CONTAINER_OF(node, struct wire_answer, node);
        event_answer_clear(&a->answer);
        free(a);
    }
    l->phase = PHASE_IDLE;
    l->number = 0;
    l->n_to_server = 0;
    l->blocked = false;
}
static void on_cut(void *owner, const char *why)
{
    TRACE(" %s is cut: %s", link_names[((struct sim_link *)owner)->index], why);
    connection_over(owner);
}
static void on_returned(void *owner, struct event_request *take)
{
    struct sim_link *l = owner;
    CHECK(take->hold != 0, "an event of which nobody waits was returned");
    answer_post(l, ANSWER_RETURNED, take);
    event_request_clear(take);
}
static void on_dropped(void *owner, struct event_request *take)
{
    (void)owner;
    event_request_clear(take);
}
static void on_moved(void *owner, enum link_state from, enum link_state to, const char *why)
{
    struct sim_link *l = owner;
    bool keeps = link_keeps(l->link);
    TRACE(" %s: %s -> %s %s", link_names[l->index], link_state_name(from), link_state_name(to), why);
    CHECK((to != LINK_ACTIVE || l->phase == PHASE_STREAM) && (keeps || (link_outstanding(l->link) == 0 && link_waiting(l->link) == 0)),
          "%s keeps nothing, and holds events", link_names[l->index]);
    if (keeps == l->kept) return;
    l->kept = keeps;
    w.lost_once = !keeps && w.asked > 0 && !w.lost_before;
    w.lost_before = w.lost_before || (!keeps && w.asked > 0);
    for (unsigned i = 0; i < WORKERS; i++) post(l->worker, i, &(struct mail){.kind = MAIL_KEEPS, .link = l->index, .keeps = keeps});
}
static const struct link_ops link_ops = {on_dial, on_send, on_ping, on_cut, on_returned, on_dropped, on_moved};

void link_request(unsigned link, struct event_request *take)
{
    struct sim_link *l = &w.links[link];
    enum link_offer offer = l->link != NULL ? link_offer(l->link, take, w.now_ms) : LINK_REFUSED;
    if (offer != LINK_TAKEN && take->hold != 0) answer_post(l, offer == LINK_FULL ? ANSWER_QUEUE_FULL : ANSWER_RETURNED, take);
    if (offer == LINK_TAKEN)
        *take = (struct event_request){0};
    else
        event_request_clear(take);
}

void link_forget_here(unsigned link, unsigned worker, uint64_t hold)
{
    if (w.links[link].link != NULL) (void)link_forget(w.links[link].link, worker, hold);
}

/* ---- configurations ---- */

static void link_make(struct sim_link *l)
{
    l->kept = false;
    l->link = link_new(link_names[l->index], l->dials, &w.limits, w.seed + l->index, &link_ops, l);
    for (unsigned i = 1; i <= w.asked; i++) w.asks[i].number[l->index] = 0;
    link_start(l->link, w.now_ms);
}

static void link_unmake(struct sim_link *l)
{
    connection_over(l);
    link_stop(l->link, "taken out of the configuration");
    link_free(l->link);
    l->link = NULL;
}

static void setting_put(unsigned worker, const struct setting *s)
{
    unsigned all = s->links[0] | s->links[1] | s->links[2] | s->links[3];
    for (unsigned i = 0; i < LINKS; i++) {
        struct sim_link *l = &w.links[i];
        bool wanted = (all & 1u << i) != 0;
        if (l->worker != worker) continue;
        l->retired = !wanted && l->link != NULL;
        if (wanted == (l->link != NULL)) continue;
        TRACE(" %s is %s", link_names[i], wanted ? "configured" : "taken out");
        if (wanted) link_make(l);
    }
    w.workers[worker].setting = s;
    holds_set_plan(w.workers[worker].holds, s->plan);
}

void setting_swap(const struct setting *s)
{
    w.lost_before = true; /* links may come and go */
    w.lost_once = false;
    for (unsigned i = 0; i < WORKERS; i++) post(0, i, &(struct mail){.kind = MAIL_SETTING, .setting = s});
}

/* ---- connections and faults ---- */

static bool can_move(const struct sim_link *l)
{
    if (l->link == NULL) return false;
    if (l->phase == PHASE_DIALLING || l->phase == PHASE_TCP) return !l->hung || !l->up;
    bool waits = link_state(l->link) == LINK_GONE || link_state(l->link) == LINK_QUEUEING;
    return !l->dials && l->phase == PHASE_IDLE && l->up && !l->hung && waits; /* the server dials */
}

static void connection_moves(struct sim_link *l)
{
    if (!l->up) {
        connection_over(l);
        link_lost(l->link, false, "connection refused", w.now_ms);
    } else if (l->phase == PHASE_TCP) {
        l->phase = PHASE_STREAM;
        l->heard_ms = w.now_ms;
        link_active(l->link, w.now_ms);
    } else {
        l->phase = PHASE_TCP;
        link_connected(l->link, w.now_ms);
    }
}

static void server_down(struct sim_link *l, bool graceful)
{
    l->up = false;
    bool active = l->phase == PHASE_STREAM;
    if (l->link == NULL || l->phase == PHASE_IDLE || l->phase == PHASE_DIALLING) return;
    connection_over(l);
    link_lost(l->link, graceful, graceful ? "stream closed" : "connection reset", w.now_ms);
    CHECK(!active || link_keeps(l->link) == (!graceful && w.limits.outage_window_ms > 0), "%s keeps its events, or not, against how it ended",
        link_names[l->index]);
}

void link_fault(unsigned link, enum fault fault)
{
    struct sim_link *l = &w.links[link];
    TRACE(" %s: fault %d", link_names[link], (int)fault);
    switch (fault) {
    case FAULT_END: server_down(l, true); break;
    case FAULT_CUT: server_down(l, false); break;
    case FAULT_HANG: l->hung = !l->hung; break;
    case FAULT_RESTART: /* its configuration was changed */
        if (l->link == NULL) return;
        connection_over(l);
        link_restart(l->link, l->dials, w.now_ms);
        break;
    case FAULT_PROBE:
        if (l->link != NULL) link_probe(l->link, 100, w.now_ms);
        break;
    default: stray_answer(l); break;
    }
}

void link_heal(unsigned link)
{
    w.links[link].up = true;
    w.links[link].hung = false;
}

void links_recover(bool up)
{
    for (unsigned i = 0; i < LINKS; i++) {
        if (!up) server_down(&w.links[i], chance(500));
        w.links[i].up = up;
        w.links[i].hung = false;
    }
}

/* ---- time ---- */

/* One that was taken out of the configuration goes when nobody asks it any more; or at once, as when the node is in a hurry. */
static void links_go(void)
{
    unsigned asked = 0;
    for (unsigned i = 1; i <= w.asked; i++)
        for (unsigned step = w.asks[i].step; step < w.asks[i].n_steps && !w.asks[i].decided; step++) asked |= w.asks[i].steps[step].links;
    for (unsigned i = 0; i < LINKS; i++) {
        struct sim_link *l = &w.links[i];
        if (!l->retired || ((asked & 1u << i) != 0 && !chance(200))) continue;
        l->retired = false;
        link_unmake(l);
    }
}

void links_tick(void)
{
    bool any = false;
    for (unsigned i = 0; i < LINKS; i++) any = any || w.links[i].retired;
    if (any) links_go();
    for (unsigned i = 0; i < LINKS; i++) {
        struct link *l = w.links[i].link;
        if (l == NULL) continue;
        if (link_due(l) <= w.now_ms) link_tick(l, w.now_ms);
        CHECK(link_bytes(l) <= w.limits.queue_bytes, "%s holds %llu bytes", link_name(l), (unsigned long long)link_bytes(l));
        uint64_t patience = w.limits.ping_interval_ms + w.limits.ping_timeout_ms + 200;
        bool active = link_state(l) == LINK_ACTIVE;
        CHECK(!active || w.said || w.now_ms - w.links[i].heard_ms <= patience, "%s is silent, and stays", link_name(l));
        CHECK(!active || w.links[i].blocked || link_waiting(l) == 0 || link_outstanding(l) == w.limits.outstanding, "%s could send, and does not",
            link_name(l));
        CHECK(link_outstanding(l) <= w.limits.outstanding, "%s has %u outstanding", link_name(l), link_outstanding(l));
    }
}

uint64_t links_due(void)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < LINKS; i++)
        if (w.links[i].link != NULL && link_due(w.links[i].link) < due) due = link_due(w.links[i].link);
    return due;
}

/* ---- what can be done without time passing ---- */

enum { WORK_MOST = WORKERS * WORKERS + LINKS * 4 + 2 };

static void link_work(struct sim_link *l, unsigned what)
{
    if (what == 0) {
        (void)server_take_one(l);
        if (l->blocked && l->n_to_server < 3) {
            l->blocked = false;
            link_blocked(l->link, false);
        }
    } else if (what == 1) {
        (void)server_answer_one(l);
    } else if (what == 2) {
        (void)link_hear_one(l);
    } else {
        connection_moves(l);
    }
}

static unsigned work_of_links(unsigned short *can, unsigned n, bool answers)
{
    for (unsigned i = 0; i < LINKS; i++) {
        const struct sim_link *l = &w.links[i];
        if (l->link == NULL) continue;
        if (!l->hung && !list_empty(&l->to_server)) can[n++] = (unsigned short)(0x100 | i << 4);
        if (answers && !l->hung && !list_empty(&l->in_server)) can[n++] = (unsigned short)(0x101 | i << 4);
        if (!list_empty(&l->to_link)) can[n++] = (unsigned short)(0x102 | i << 4);
        if (can_move(l)) can[n++] = (unsigned short)(0x103 | i << 4);
    }
    return n;
}

static bool work(bool answers)
{
    unsigned short can[WORK_MOST];
    unsigned n = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned j = 0; j < WORKERS; j++)
            if (!list_empty(&w.mail[i][j])) can[n++] = (unsigned short)(i * WORKERS + j);
    n = work_of_links(can, n, answers);
    if (commits_waiting()) can[n++] = 0x200;
    if (w.workers[0].woken || w.workers[1].woken) can[n++] = 0x201;
    if (n == 0) return false;
    unsigned what = can[draw(n)];
    if (what == 0x200)
        (void)commit_one();
    else if (what == 0x201)
        woken_run();
    else if (what >= 0x100)
        link_work(&w.links[what >> 4 & 15], what & 15);
    else
        mail_deliver(what % WORKERS, CONTAINER_OF(list_pop_front(&w.mail[what / WORKERS][what % WORKERS]), struct mail, node));
    return true;
}

bool mail_move(unsigned from, unsigned to)
{
    struct list *node = list_pop_front(&w.mail[from][to]);
    if (node != NULL) mail_deliver(to, CONTAINER_OF(node, struct mail, node));
    return node != NULL;
}

bool link_move(unsigned link)
{
    bool can = can_move(&w.links[link]);
    if (can) connection_moves(&w.links[link]);
    return can;
}

bool work_one(void) { return work(true); }
bool work_one_but_answers(void) { return work(false); }

/* ---- the whole ---- */

void links_start(void)
{
    static const uint32_t outstanding[] = {1, 2, 5, 100};
    static const uint64_t windows[] = {0, 300, 5000, 5000}, bytes[] = {3000, 20000, 1 << 18, 1 << 18};
    w.limits = (struct link_limits){.outage_window_ms = windows[draw(4)], .ping_interval_ms = 300, .ping_timeout_ms = 300, .connect_ms = 1000,
        .answer_ms = 1000,
                                    .outstanding = outstanding[draw(4)], .queue_bytes = bytes[draw(4)]};
    if (w.silent || w.said) w.limits = (struct link_limits){5000, 300, 300, 1000, 1000, 1000, 1 << 20};
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned j = 0; j < WORKERS; j++) list_init(&w.mail[i][j]);
    for (unsigned i = 0; i < LINKS; i++) {
        struct sim_link *l = &w.links[i];
        uint32_t id = l->id;
        *l = (struct sim_link){.index = i, .id = id, .worker = i % WORKERS, .up = w.silent || !chance(60), .dials = i != 1 && i != 5};
        if (w.place == 0) l->id = link_id_for(link_names[i]);
        list_init(&l->to_server);
        list_init(&l->in_server);
        list_init(&l->to_link);
    }
    for (unsigned i = 0; i < WORKERS; i++) setting_put(i, w.workers[i].setting);
}

void links_idle_check(void)
{
    for (unsigned i = 0; i < LINKS; i++) {
        const struct link *l = w.links[i].link;
        CHECK(l == NULL || link_outstanding(l) == 0, "%s keeps %u events nobody waits for", link_names[i], l == NULL ? 0 : link_outstanding(l));
    }
}

void links_stop(void)
{
    for (unsigned i = 0; i < LINKS; i++)
        if (w.links[i].link != NULL) link_unmake(&w.links[i]);
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned j = 0; j < WORKERS; j++)
            for (struct list *node; (node = list_pop_front(&w.mail[i][j])) != NULL;) mail_clear(CONTAINER_OF(node, struct mail, node));
    }
}
