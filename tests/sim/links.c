/* The links' side of the simulation: mailboxes, links with connections that break, and compliance servers. A server answers in any order, twice, late, never,
 * with changes allowed and not; it hangs, ends its stream, dies, and comes back with nothing in its memory. */
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
    if (m->kind == MAIL_PLAN) plan_unref(m->plan);
    free(m);
}

static void plan_put(struct sim_worker *worker, struct plan *take)
{
    plan_unref(worker->plan);
    worker->plan = take;
    holds_set_plan(worker->holds, take);
}

bool mail_deliver_one(void)
{
    unsigned from = (unsigned)draw(WORKERS), to = (unsigned)draw(WORKERS);
    struct list *node = list_pop_front(&w.mail[from][to]);
    if (node == NULL) return false;
    struct mail *m = CONTAINER_OF(node, struct mail, node);
    struct holds *holds = w.workers[to].holds;
    switch (m->kind) {
    case MAIL_REQUEST: link_request(m->link, &m->request); break;
    case MAIL_ANSWER: holds_answer(holds, &m->answer); break;
    case MAIL_KEEPS: holds_link(holds, m->link, m->keeps); break;
    case MAIL_FORGET: link_forget_here(m->link, m->worker, m->hold); break;
    case MAIL_PLAN: plan_put(&w.workers[to], plan_ref(m->plan)); break;
    }
    mail_clear(m);
    return true;
}

/* ---- links' owner ---- */

struct sim_link *link_by_id(uint32_t id)
{
    for (unsigned i = 0; i < LINKS; i++)
        if (w.links[i].id == id) return &w.links[i];
    fail("there is no link %u", id);
}

static void answer_post(const struct sim_link *l, enum answer_kind kind, const struct event_request *r)
{
    struct event_answer a = {.kind = kind, .hold = r->hold, .step = r->step, .link = l->id};
    post(l->worker, r->worker, &(struct mail){.kind = MAIL_ANSWER, .answer = a});
}

static void on_dial(void *owner)
{
    struct sim_link *l = owner;
    CHECK(l->phase == PHASE_IDLE, "%s dials while it has a connection", link_name(l->link));
    l->phase = PHASE_DIALLING;
}
static uint64_t on_send(void *owner, uint64_t number, const struct event_request *r, bool resent)
{
    struct sim_link *l = owner;
    (void)resent;
    CHECK(l->phase == PHASE_STREAM, "%s sends without a stream", link_name(l->link));
    struct wire *wire = x_calloc(1, sizeof(*wire));
    *wire = (struct wire){.kind = WIRE_EVENT, .number = number, .hold = r->hold, .step = r->step, .event = event_ref(r->event)};
    list_push_back(&l->to_server, &wire->node);
    return w.now_ms;
}
static void on_ping(void *owner, uint64_t number)
{
    struct sim_link *l = owner;
    struct wire *wire = x_calloc(1, sizeof(*wire));
    wire->kind = WIRE_PING;
    wire->number = number;
    list_push_back(&l->to_server, &wire->node);
}

static void wires_clear(struct list *wires)
{
    for (struct list *node; (node = list_pop_front(wires)) != NULL;) {
        struct wire *wire = CONTAINER_OF(node, struct wire, node);
        event_unref(wire->event);
        free(wire);
    }
}
static void connection_over(struct sim_link *l)
{
    wires_clear(&l->to_server);
    wires_clear(&l->in_server);
    for (struct list *node; (node = list_pop_front(&l->to_link)) != NULL;) {
        struct wire_answer *a = CONTAINER_OF(node, struct wire_answer, node);
        event_answer_clear(&a->answer);
        free(a);
    }
    l->phase = PHASE_IDLE;
}
static void on_cut(void *owner, const char *why)
{
    (void)why;
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
    (void)from, (void)to, (void)why;
    bool keeps = link_keeps(l->link);
    if (keeps == l->kept) return;
    l->kept = keeps;
    for (unsigned i = 0; i < WORKERS; i++) post(l->worker, i, &(struct mail){.kind = MAIL_KEEPS, .link = l->id, .keeps = keeps});
}
static const struct link_ops link_ops = {on_dial, on_send, on_ping, on_cut, on_returned, on_dropped, on_moved};

void link_request(uint32_t link, struct event_request *take)
{
    struct sim_link *l = link_by_id(link);
    enum link_offer offer = link_offer(l->link, take, w.now_ms);
    if (offer != LINK_TAKEN && take->hold != 0) answer_post(l, offer == LINK_FULL ? ANSWER_QUEUE_FULL : ANSWER_RETURNED, take);
    if (offer == LINK_TAKEN)
        *take = (struct event_request){0};
    else
        event_request_clear(take);
}

void link_forget_here(uint32_t link, unsigned worker, uint64_t hold) { (void)link_forget(link_by_id(link)->link, worker, hold); }

/* ---- what arrives at a server ---- */

/* Each lane's events come in lane order: those sent once, and when they come for the first time. (One that was moved here from a lost server comes when it
 * comes.) */
static void arrival_check(struct sim_link *l, const struct wire *wire)
{
    struct ask *ask = ask_of(wire->event);
    uint64_t at = wire->event->seq;
    if (l->arrived[at][wire->step]) return;
    l->arrived[at][wire->step] = true;
    if (ask->place == 0 || ask->unordered || ask->sends[wire->step] != 1) return;
    unsigned *last = &l->last[ask->worker][ask->lane][ask->event == EVENT_es_IN][ask->session];
    CHECK(*last < ask->place, "%s of place %u came to %s after that of place %u", event_catalogue[ask->event].name, ask->place, link_name(l->link), *last);
    *last = ask->place;
}

static void answer_put(struct sim_link *l, const struct wire_answer *a)
{
    struct wire_answer *copy = x_malloc(sizeof(*copy));
    *copy = *a;
    copy->node = (struct list){0};
    list_push_back(&l->to_link, &copy->node);
}

static bool server_take_one(struct sim_link *l)
{
    if (l->hung) return false;
    struct list *node = list_pop_front(&l->to_server);
    if (node == NULL) return false;
    struct wire *wire = CONTAINER_OF(node, struct wire, node);
    if (wire->kind == WIRE_EVENT) arrival_check(l, wire);
    if (wire->kind == WIRE_PING) answer_put(l, &(struct wire_answer){.pong = true, .number = wire->number});
    bool waits = wire->kind == WIRE_EVENT && wire->hold != 0 && !chance(5); /* else never answered */
    if (waits) {
        list_push_back(&l->in_server, &wire->node);
        return true;
    }
    event_unref(wire->event);
    free(wire);
    return true;
}

static bool link_hear_one(struct sim_link *l)
{
    struct list *node = list_pop_front(&l->to_link);
    if (node == NULL) return false;
    struct wire_answer *a = CONTAINER_OF(node, struct wire_answer, node);
    struct event_request request;
    uint64_t stamp;
    link_heard(l->link, w.now_ms);
    if (a->pong) {
        link_pong(l->link, a->number, w.now_ms);
    } else if (link_answer(l->link, a->number, &request, &stamp, w.now_ms)) {
        struct mail m = {.kind = MAIL_ANSWER, .answer = a->answer};
        m.answer.hold = request.hold;
        m.answer.step = request.step;
        m.answer.link = l->id;
        post(l->worker, request.worker, &m);
        event_request_clear(&request);
    } else {
        event_answer_clear(&a->answer);
    }
    free(a);
    return true;
}

bool wire_move_one(void)
{
    struct sim_link *l = &w.links[draw(LINKS)];
    return chance(500) ? server_take_one(l) : link_hear_one(l);
}

/* ---- what a server says ---- */

static struct stanza *redacted(const struct stanza *s, bool allowed)
{
    static const struct str inner = {"<body>***</body>", 16}, id = {"another", 7};
    return stanza_with(s, allowed ? &(struct stanza_change){.inner = &inner} : &(struct stanza_change){.inner = &inner, .id = &id});
}

static void answer_draw(struct ask *ask, const struct wire *wire, struct event_answer *a)
{
    uint64_t what = draw(1000);
    bool recorded = what < 900, any_allowed = event_catalogue[ask->event].answers == ANSWERS_ANY;
    a->kind = ANSWER_PASS;
    if (what >= 820 && what < 900) {
        a->kind = ANSWER_PASS_STANZA;
        a->stanza = redacted(wire->event->subject, true);
        ask->changed = ask->changed || any_allowed;
    } else if (what >= 900 && what < 930) {
        a->kind = ANSWER_HANDLE;
        ask->handled = true;
    } else if (what >= 930 && what < 970) {
        a->kind = ANSWER_ERROR;
        memcpy(a->condition, "policy-violation", sizeof("policy-violation"));
        ask->refused = true;
    } else if (what >= 970 && what < 985) {
        a->kind = ANSWER_PASS_STANZA;
        a->stanza = redacted(wire->event->subject, false);
    } else if (what >= 985) {
        a->kind = ANSWER_INVALID;
        a->text = x_strdup("too large");
    }
    if (recorded) ask->recorded[wire->step] = true;
}

bool server_answer_one(void)
{
    struct sim_link *l = &w.links[draw(LINKS)];
    if (l->hung || list_empty(&l->in_server)) return false;
    struct list *node = l->in_server.next;
    for (uint64_t skip = draw(8); skip > 0 && node->next != &l->in_server; skip--) node = node->next; /* any order */
    struct wire *wire = CONTAINER_OF(node, struct wire, node);
    struct wire_answer a = {.number = wire->number};
    answer_draw(ask_of(wire->event), wire, &a.answer);
    answer_put(l, &a);
    if (chance(20)) answer_put(l, &(struct wire_answer){.number = wire->number, .answer = {.kind = ANSWER_HANDLE}}); /* twice, and differently */
    if (chance(10)) { /* out of the blue: for another step, from another link */
        struct event_answer stray = {.kind = ANSWER_HANDLE, .hold = wire->hold, .step = wire->step + (unsigned)draw(2), .link = w.links[draw(LINKS)].id};
        if (stray.step != wire->step) ask_of(wire->event)->handled = true; /* it may come when just that is waited for */
        if (stray.step != wire->step) post(l->worker, ask_of(wire->event)->worker, &(struct mail){.kind = MAIL_ANSWER, .answer = stray});
    }
    list_remove(&wire->node);
    event_unref(wire->event);
    free(wire);
    return true;
}

/* ---- connections and faults ---- */

bool dial_move_one(void)
{
    struct sim_link *l = &w.links[draw(LINKS)];
    if (l->phase != PHASE_DIALLING && l->phase != PHASE_TCP) return false;
    if (!l->up || l->hung) {
        if (l->hung && chance(900)) return false; /* neither answered nor refused */
        connection_over(l);
        link_lost(l->link, false, "connection refused", w.now_ms);
        return true;
    }
    l->phase++;
    if (l->phase == PHASE_TCP)
        link_connected(l->link, w.now_ms);
    else
        link_active(l->link, w.now_ms);
    return true;
}

static void server_down(struct sim_link *l, bool graceful)
{
    l->up = false;
    if (l->phase == PHASE_IDLE || l->phase == PHASE_DIALLING) return;
    connection_over(l);
    link_lost(l->link, graceful, graceful ? "stream closed" : "connection reset", w.now_ms);
}

void fault(void)
{
    struct sim_link *l = &w.links[draw(LINKS)];
    switch (draw(5)) {
    case 0: server_down(l, true); break;
    case 1: server_down(l, false); break;
    case 2: l->hung = !l->hung; break;
    default:
        l->up = true;
        l->hung = false;
    }
}

void links_recover(bool up)
{
    for (unsigned i = 0; i < LINKS; i++) {
        if (!up) server_down(&w.links[i], chance(500));
        w.links[i].up = up;
        w.links[i].hung = false;
    }
}

void links_tick(void)
{
    for (unsigned i = 0; i < LINKS; i++) {
        struct link *l = w.links[i].link;
        if (link_due(l) <= w.now_ms) link_tick(l, w.now_ms);
        CHECK(link_bytes(l) <= 1 << 16, "%s holds %llu bytes", link_name(l), (unsigned long long)link_bytes(l));
    }
}

void links_start(void)
{
    static const char *const names[LINKS] = {"op-a1.n1-x", "op-a2.n1-x", "op-a2.n2-x", "op-b1.n1-x", "op-b2.n1-x", "op-c1.n1-x"};
    const struct link_limits limits = {.outage_window_ms = WINDOW_MS, .ping_interval_ms = 300, .ping_timeout_ms = 300, .connect_ms = 1000,
                                       .outstanding = 4 + (uint32_t)draw(100), .queue_bytes = 1 << 16};
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned j = 0; j < WORKERS; j++) list_init(&w.mail[i][j]);
    for (unsigned i = 0; i < LINKS; i++) {
        struct sim_link *l = &w.links[i];
        l->id = link_id_for(names[i]);
        l->worker = i % WORKERS;
        l->up = !chance(100);
        list_init(&l->to_server);
        list_init(&l->in_server);
        list_init(&l->to_link);
        l->link = link_new(names[i], true, &limits, w.seed + i, &link_ops, l);
        link_start(l->link, w.now_ms);
    }
}

void links_idle_check(void)
{
    for (unsigned i = 0; i < LINKS; i++)
        CHECK(link_outstanding(w.links[i].link) == 0, "%s keeps %u events nobody waits for", link_name(w.links[i].link), link_outstanding(w.links[i].link));
}

void links_stop(void)
{
    for (unsigned i = 0; i < LINKS; i++) {
        struct sim_link *l = &w.links[i];
        connection_over(l);
        link_stop(l->link, "the schedule is over");
        link_free(l->link);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned j = 0; j < WORKERS; j++)
            for (struct list *node; (node = list_pop_front(&w.mail[i][j])) != NULL;) mail_clear(CONTAINER_OF(node, struct mail, node));
    }
}
