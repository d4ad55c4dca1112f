/* The Event Broker on the workers: holds where events are raised, links where they belong, messages in between.
 *
 * Each worker has a broker of its own: the holds of the events raised on it, and those links whose component name hashes to it. A request travels from the
 * worker of the hold to the worker of the link, its answer back, by mailbox, in the order of sending. On the same worker a request goes straight in.
 * Whether a link takes events is told to all workers, after the events it gave back: whoever hears of the loss has the returned ones already.
 *
 * Configurations: see setup.h, and change.c for how they come into force on all workers. */
#include "broker/broker.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "broker/hold.h"
#include "io/intake.h"
#include "broker/private.h"
#include "io/worker.h"
#include "router/route.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS_MAX = 256, CLOSE_MS = 5000, OUT_HIGH_BYTES = 256 * 1024 };

struct broker {
    struct holds *holds;
    struct setup *setup; /* what the links go by; NULL: none yet */
    struct setup *before; /* the one before, until what it alone had is retired */
    struct links links; /* those that live here */
    struct wheel_timer timer;
    struct turn_hook run;
    struct link_counts *counts; /* by link id: what this worker's holds met with */
    struct owner { /* by link id */
        uint32_t worker; /* where it lives */
        struct intake *intake; /* what is on its way to it */
    } *owners;
    uint32_t n_counts, n_owners;
    bool stopped; /* no links any more */
    _Atomic uint64_t waiting; /* holds, for other threads */
};

static struct {
    char *node, *broker;
    uint64_t event_timeout_ms;
    struct link_io_settings links;
    struct broker *workers[WORKERS_MAX];
    _Atomic(void (*)(const struct event_trace *)) trace;
    pthread_mutex_t lock; /* guards the next two */
    struct intake **intakes; /* by link id, for all workers */
    uint32_t n_intakes;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct broker *self;

/* ---- messages ---- */

struct request_msg {
    struct msg msg;
    uint32_t link;
    struct event_request request;
};
struct answer_msg {
    struct msg msg;
    struct event_answer answer;
};
struct forget_msg {
    struct msg msg;
    uint32_t link, worker;
    uint64_t hold; /* 0: no hold is to be forgotten, but the link is to know what its alarms were raised for */
    bool full; /* an event was refused by its queue; else one timed out or was answered with what is not allowed */
    enum answer_fault fault; /* of what was not allowed */
};
struct keeps_msg {
    struct msg msg;
    uint32_t link;
    bool keeps;
};

static void holds_settle(void)
{
    uint64_t due = holds_due_ms(self->holds);
    atomic_store_explicit(&self->waiting, holds_count(self->holds), memory_order_relaxed);
    if (due == UINT64_MAX)
        worker_timer_cancel(&self->timer);
    else if (!list_linked(&self->timer.node) || self->timer.due_ms != due)
        wheel_set(worker_wheel(), &self->timer, due);
}

static void answer_run(struct msg *msg)
{
    struct answer_msg *m = (struct answer_msg *)msg;
    holds_answer(self->holds, &m->answer);
    free(m);
    holds_settle();
}

/* The link's way to the holds: always by message, so that no link calls a hold that is just calling it. */
static void answer_post(uint32_t worker, struct event_answer *take)
{
    struct answer_msg *m = x_calloc(1, sizeof *m);
    m->msg.run = answer_run;
    m->answer = *take;
    worker_post(worker, &m->msg);
}

static void keeps_run(struct msg *msg)
{
    struct keeps_msg *m = (struct keeps_msg *)msg;
    holds_link(self->holds, m->link, m->keeps);
    free(m);
    holds_settle();
}

static void keeps_post(uint32_t link, bool keeps)
{
    for (uint32_t i = 0; i < worker_count(); i++) {
        struct keeps_msg *m = x_calloc(1, sizeof *m);
        m->msg.run = keeps_run;
        m->link = link;
        m->keeps = keeps;
        worker_post(i, &m->msg);
    }
}

static const struct owner *link_owner(uint32_t link);

static void request_here(uint32_t link, struct event_request *take)
{
    struct link_io *l = links_find(&self->links, link);
    struct intake *intake = link_owner(link)->intake;
    intake_took(intake, event_request_bytes(take));
    if (l != NULL) {
        link_io_offer(l, take);
        return;
    }
    intake_settle(intake, &(struct intake_level){.most_events = UINT64_MAX, .most_bytes = UINT64_MAX, .away = true});
    if (take->hold != 0) { /* taken out of the configuration while the request travelled */
        struct event_answer a = {.kind = ANSWER_RETURNED, .hold = take->hold, .turn = take->turn, .link = link};
        answer_post(take->worker, &a);
    } else {
        metric_inc(METRIC_LINK_DROPPED);
    }
    event_request_clear(take);
}

static void request_run(struct msg *msg)
{
    struct request_msg *m = (struct request_msg *)msg;
    request_here(m->link, &m->request);
    free(m);
}

static void forget_here(uint32_t link, uint32_t worker, uint64_t hold)
{
    struct link_io *l = links_find(&self->links, link);
    if (l != NULL) link_io_forget(l, worker, hold);
}

static void forget_run(struct msg *msg)
{
    struct forget_msg *m = (struct forget_msg *)msg;
    struct link_io *l = m->hold == 0 ? links_find(&self->links, m->link) : NULL;
    if (m->hold != 0)
        forget_here(m->link, m->worker, m->hold);
    else if (l != NULL)
        link_io_trouble(l, m->full, m->fault);
    free(m);
}

static struct intake *intake_of(uint32_t link, uint32_t worker)
{
    pthread_mutex_lock(&shared.lock);
    if (link >= shared.n_intakes) {
        shared.intakes = x_realloc(shared.intakes, (link + 1) * sizeof *shared.intakes);
        memset(shared.intakes + shared.n_intakes, 0, (link + 1 - shared.n_intakes) * sizeof *shared.intakes);
        shared.n_intakes = link + 1;
    }
    if (shared.intakes[link] == NULL) shared.intakes[link] = intake_new(worker);
    struct intake *in = shared.intakes[link];
    pthread_mutex_unlock(&shared.lock);
    return in;
}

static void intakes_forget(void)
{
    for (uint32_t i = 0; i < shared.n_intakes; i++) intake_free(shared.intakes[i]);
    free(shared.intakes);
    shared.intakes = NULL;
    shared.n_intakes = 0;
}

/* The worker a link lives on goes by its name, so that it is the same under each configuration. */
static const struct owner *link_owner(uint32_t link)
{
    while (link >= self->n_owners) {
        uint32_t id = self->n_owners++;
        const char *name = link_component(id);
        uint32_t worker = (uint32_t)(hash_stable(name, strlen(name)) % worker_count());
        self->owners = x_realloc(self->owners, self->n_owners * sizeof *self->owners);
        self->owners[id] = (struct owner){worker, intake_of(id, worker)};
    }
    return &self->owners[link];
}

static uint32_t link_worker(uint32_t link) { return link_owner(link)->worker; }

/* ---- what the holds want ---- */

static uint64_t do_now_us(void *owner)
{
    (void)owner;
    return clock_us();
}

static void do_send(void *owner, uint32_t link, struct event_request *take)
{
    (void)owner;
    struct owner to = *link_owner(link);
    uint64_t origin = take->event->subject->origin;
    bool patient = event_request_is_patient(take);
    intake_hand(to.intake, event_request_bytes(take));
    if (to.worker == worker_id()) {
        request_here(link, take);
    } else {
        struct request_msg *m = x_calloc(1, sizeof *m);
        m->msg.run = request_run;
        m->link = link;
        m->request = *take;
        worker_post(to.worker, &m->msg);
    }
    intake_check(to.intake, origin, patient);
}

static void do_forget(void *owner, uint32_t link, uint64_t hold)
{
    (void)owner;
    uint32_t worker = link_worker(link);
    if (worker == worker_id()) {
        forget_here(link, worker, hold);
        return;
    }
    struct forget_msg *m = x_calloc(1, sizeof *m);
    m->msg.run = forget_run;
    m->link = link;
    m->worker = worker_id();
    m->hold = hold;
    worker_post(worker, &m->msg);
}

static void do_wake(void *owner)
{
    struct broker *b = owner;
    worker_at_turn_end(&b->run);
}

static void on_turn_end(struct turn_hook *hook)
{
    struct broker *b = CONTAINER_OF(hook, struct broker, run);
    holds_run(b->holds);
    holds_settle();
}

static void on_timer(struct wheel_timer *timer)
{
    struct broker *b = CONTAINER_OF(timer, struct broker, timer);
    holds_tick(b->holds);
    holds_settle();
}

/* What goes wrong with a link's events; returns what was said of it. NULL: it concerns no link. */
static struct seldom *count_for_link(struct broker *b, const struct hold_report *r)
{
    bool full = r->news == HOLD_QUEUE_FULL;
    if (r->link == LINK_ID_NONE || (r->news != HOLD_TIMEOUT && r->news != HOLD_INVALID && r->news != HOLD_OVERRULED && !full)) return NULL;
    struct forget_msg *m = x_calloc(1, sizeof *m); /* the alarm is up now, and the link is who knows when it is over */
    m->msg.run = forget_run;
    m->link = r->link;
    m->full = full;
    m->fault = r->fault;
    worker_post(link_worker(r->link), &m->msg);
    if (r->link >= b->n_counts) {
        b->counts = x_realloc(b->counts, (r->link + 1) * sizeof *b->counts);
        memset(b->counts + b->n_counts, 0, (r->link + 1 - b->n_counts) * sizeof *b->counts);
        b->n_counts = r->link + 1;
    }
    b->counts[r->link].timeouts += r->news == HOLD_TIMEOUT;
    b->counts[r->link].invalid += r->news == HOLD_INVALID || r->news == HOLD_OVERRULED;
    return &b->counts[r->link].said;
}

static void do_report(void *owner, const struct hold_report *r)
{
    hold_report_count(r, count_for_link(owner, r), worker_now_ms());
    if (r->news == HOLD_RAISED && r->event != NULL) metric_inc(event_catalogue[r->id].service == SERVICE_JSM ? METRIC_EVENTS_JSM : METRIC_EVENTS_TC);
    if (r->news != HOLD_RAISED && r->verdict == NULL) return;
    void (*trace)(const struct event_trace *) = atomic_load_explicit(&shared.trace, memory_order_acquire);
    if (trace == NULL) return;
    struct event_trace t = {.event = r->event,
                            .id = r->id,
                            .verdict = r->verdict,
                            .component = r->link != LINK_ID_NONE ? link_component(r->link) : NULL,
                            .took_us = r->took_us};
    trace(&t);
}

static bool do_is_room_domain(void *owner, struct str domain)
{
    (void)owner;
    return router_domain_of_rooms(domain);
}

static const struct hold_ops hold_ops = {
    .now_us = do_now_us, .send = do_send, .forget = do_forget, .wake = do_wake, .report = do_report, .is_room_domain = do_is_room_domain};

/* ---- raising ---- */

bool broker_raise(const struct question *q, struct verdict *now)
{
    size_t before = holds_count(self->holds);
    bool known = holds_raise(self->holds, q, now);
    if (before != holds_count(self->holds)) holds_settle(); /* known or not: a chain of which nobody waits goes on by itself */
    return known;
}

bool broker_lists(enum event_id event, unsigned packet) { return holds_lists(self->holds, event, packet); }

bool broker_planned(enum event_id event, const struct stanza *subject) { return holds_planned(self->holds, event, subject); }

uint64_t broker_holds(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < worker_count(); i++)
        if (shared.workers[i] != NULL) n += atomic_load_explicit(&shared.workers[i]->waiting, memory_order_relaxed);
    return n;
}

void broker_trace(void (*fn)(const struct event_trace *trace)) { atomic_store_explicit(&shared.trace, fn, memory_order_release); }

/* ---- what change.c needs ---- */

const char *broker_node(void) { return shared.node; }
uint32_t broker_oldest_era(void) { return self != NULL ? holds_oldest_era(self->holds) : UINT32_MAX; }
unsigned broker_links_coming(void) { return self != NULL ? links_coming(&self->links) : 0; }

static struct intake *intake_here(uint32_t link)
{
    const struct owner *owner = link_owner(link);
    return owner->worker == worker_id() ? owner->intake : NULL;
}

void broker_links_begin(struct setup *s)
{
    struct broker *b = self;
    if (b == NULL || b->stopped || (b->setup != NULL && plan_era(b->setup->plan) >= plan_era(s->plan))) return;
    links_begin(&b->links, s, intake_here);
    b->before = b->setup;
    b->setup = setup_ref(s);
}

void broker_plan_begin(struct setup *s)
{
    if (self == NULL || self->setup != s) return;
    holds_set_plan(self->holds, s->plan);
    holds_settle();
}

void broker_links_retire(struct setup *s)
{
    if (self == NULL || self->setup != s) return;
    links_retire(&self->links, self->before, s);
    setup_unref(self->before);
    self->before = NULL;
}

int broker_check_server(const struct compliance_server *s, struct err *err)
{
    struct tls_context *tls;
    if (setup_tls(s, &tls, err) != 0) return -1;
    tls_unref(tls);
    if (s->direction == LINK_CONNECT || listen_has(s->tls)) return 0;
    return err_set(err, ERR_CONFLICT, "compliance server %s: direction accept%s needs an address in the option component.%s of signet.conf, and there is none", s->name,
                   s->tls ? " with TLS" : "", s->tls ? "listen_tls" : "listen");
}

/* ---- what listen.c needs ---- */

const struct link_spec *broker_accept_spec(struct str component, uint32_t *worker)
{
    const struct link_spec *spec = self->stopped ? NULL : setup_link(self->setup, component);
    if (spec == NULL || spec->dials) return NULL;
    *worker = link_worker(spec->id);
    return spec;
}

void broker_accept(struct component *take)
{
    const struct link_spec *spec = self->stopped ? NULL : setup_link(self->setup, str_of(component_stream_name(take)));
    struct link_io *l = spec != NULL ? links_find(&self->links, spec->id) : NULL;
    if (l == NULL)
        link_io_refuse(take, "host-unknown", NULL);
    else if (spec->wants_tls && !conn_is_tls(component_conn(take))) /* since its handshake was looked at */
        link_io_refuse(take, "policy-violation", "its configuration wants TLS");
    else
        link_io_arrived(l, take);
}

const struct component_limits *broker_component_limits(void) { return &shared.links.component; }

/* ---- what status.c needs ---- */

void broker_each_link(void (*fn)(void *arg, uint32_t id, const struct link_io *l), void *arg)
{
    if (self != NULL) links_each(&self->links, fn, arg);
}

struct link_counts broker_counts(uint32_t link) { return self != NULL && link < self->n_counts ? self->counts[link] : (struct link_counts){0}; }

/* ---- start and stop ---- */

int broker_start(const struct config *config, const char *node, uint32_t boot, struct err *err)
{
    struct buf name = {0};
    size_t domain = strcspn(config->server_domains, " \t");
    if (domain == 0) return err_set(err, ERR_INVALID, "broker: server.domains names no domain");
    buf_adds(&name, "event-broker.");
    buf_add(&name, config->server_domains, domain);
    free(shared.node);
    free(shared.broker);
    shared.node = x_strdup(node);
    shared.broker = str_dup(buf_str(&name));
    buf_free(&name);
    shared.event_timeout_ms = (uint64_t)config->broker_event_timeout;
    size_t answer = (size_t)config->broker_answer_bytes;
    shared.links = (struct link_io_settings){
        .link = {.outage_window_ms = (uint64_t)config->broker_outage_window,
                 .ping_interval_ms = (uint64_t)config->broker_ping_interval,
                 .ping_timeout_ms = (uint64_t)config->broker_ping_timeout,
                 .connect_ms = (uint64_t)config->broker_connect_timeout,
                 .answer_ms = shared.event_timeout_ms,
                 .outstanding = (uint32_t)config->broker_link_outstanding,
                 .queue_bytes = (uint64_t)config->broker_link_queue_bytes},
        .lies_window_ms = (uint64_t)config->broker_lies_window,
        .lies_least = (uint32_t)config->broker_lies_answers,
        .lies_pause_ms = (uint64_t)config->broker_lies_pause,
        .component = {.element_bytes = link_io_element_bytes(answer),
                      .out_high_bytes = OUT_HIGH_BYTES,
                      .out_max_bytes = OUT_HIGH_BYTES + (size_t)config->broker_link_queue_bytes,
                      .open_ms = (uint64_t)config->broker_connect_timeout,
                      .close_ms = CLOSE_MS},
        .answer_bytes = answer,
        .broker = shared.broker,
        .answer = answer_post,
        .keeps = keeps_post,
    };
    event_ids_start(node, boot);
    intakes_forget(); /* of an earlier start in this process */
    return listen_start(config->component_listen, config->component_listen_tls, err);
}

static void broker_free(struct broker *b)
{
    if (b == NULL) return;
    holds_free(b->holds);
    setup_unref(b->setup);
    setup_unref(b->before);
    links_free(&b->links);
    free(b->counts);
    free(b->owners);
    free(b);
}

void broker_worker_start(void)
{
    struct broker *b = x_calloc(1, sizeof *b);
    b->timer.fn = on_timer;
    b->run.fn = on_turn_end;
    b->holds = holds_new(worker_id(), shared.event_timeout_ms, &hold_ops, b);
    self = b;
    links_init(&b->links, &shared.links, broker_oldest_era);
    broker_free(shared.workers[worker_id()]); /* of an earlier start in this process */
    shared.workers[worker_id()] = b;
    struct setup *s = change_current();
    if (s == NULL) return;
    broker_links_begin(s);
    broker_plan_begin(s);
    broker_links_retire(s);
    setup_unref(s);
}

static void count_if_busy(void *arg, uint32_t id, const struct link_io *l)
{
    (void)id;
    if (link_io_busy(l)) atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static void count_busy(uint32_t worker, void *arg)
{
    (void)worker;
    broker_each_link(count_if_busy, arg);
}

static void stop_links(uint32_t worker, void *arg)
{
    (void)worker, (void)arg;
    if (self == NULL || self->stopped) return;
    self->stopped = true;
    listen_stop();
    links_stop(&self->links, "this node is shutting down");
}

static void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

void broker_stop(uint64_t wait_ms)
{
    uint64_t until = clock_ms() + wait_ms;
    for (;;) { /* events under way, those of which nobody waits included */
        _Atomic unsigned busy = 0;
        worker_each(count_busy, NULL, &busy);
        if ((broker_holds() == 0 && busy == 0) || clock_ms() >= until) break;
        sleep_ms(5);
    }
    worker_each(stop_links, NULL, NULL);
    until = clock_ms() + CLOSE_MS + 1000; /* the streams' own limit comes first */
    while ((link_io_streams() > 0 || listen_streams() > 0) && clock_ms() < until) sleep_ms(2);
    change_end();
}
