/* One link, as pure state.
 *
 * Two lists hold its events. `sent` is in the order of sending: events on the wire and not answered. `waiting` is what could not be sent yet: no
 * connection, too many outstanding, or output that does not drain. An ungraceful cut puts `sent` back in front of `waiting`, so a reconnect sends the
 * unanswered ones first, in their old order and under their old numbers, and then the rest: a compliance server sees every event at least once and the
 * order never changes. Events of which nobody waits have no answer, so they are never in `sent`.
 *
 * A cut of a link that was ACTIVE opens the outage window. While it is open events are kept, whatever the attempts to reconnect run through (QUEUEING,
 * CONNECTING, CONNECTED); when it ends without ACTIVE having been reached, everything is returned and the link is GONE to those who ask, and still goes on
 * dialling, for ever. A graceful end, and a link that has never been ACTIVE, open no window.
 *
 * Reconnects: the first soon, then with doubled delays from 1 s to 30 s, each jittered by a quarter so that many nodes don't dial one server in step. A
 * connection that stood for a while makes the next delay short again; one that fell at once does not. */
#include "broker/link.h"
#include "base/hash.h"
#include "base/state.h"
#include "broker/pace.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_RETRY_MS = 200, RETRY_MIN_MS = 1000, RETRY_MAX_MS = 30000, STOOD_MS = 5000, ANSWERED_KEPT = 256 };

#define TO(state) (1u << (state))
static const char *const link_states[] = {"GONE", "CONNECTING", "CONNECTED", "ACTIVE", "QUEUEING"};
static const unsigned link_moves[] = {
    [LINK_GONE] = TO(LINK_CONNECTING) | TO(LINK_CONNECTED),
    [LINK_CONNECTING] = TO(LINK_CONNECTED) | TO(LINK_GONE) | TO(LINK_QUEUEING),
    [LINK_CONNECTED] = TO(LINK_ACTIVE) | TO(LINK_GONE) | TO(LINK_QUEUEING),
    [LINK_ACTIVE] = TO(LINK_GONE) | TO(LINK_QUEUEING),
    [LINK_QUEUEING] = TO(LINK_CONNECTING) | TO(LINK_CONNECTED) | TO(LINK_GONE),
};
static const struct state_machine link_machine = {"link", link_states, link_moves, LINK_QUEUEING + 1};

struct entry {
    struct list node; /* in sent or waiting */
    uint64_t number;
    uint64_t stamp; /* what send() returned */
    uint64_t offered_ms;
    struct event_request request;
    bool is_sent; /* on this connection; in `sent` */
    bool sent_before; /* on an earlier one */
};

struct link {
    char *name;
    bool dials;
    bool stopped;
    bool blocked;
    bool sending; /* in link_pump: it does not nest */
    unsigned state;
    struct link_limits limits;
    const struct link_ops *ops;
    void *owner;
    struct list sent, waiting;
    struct imap by_number; /* entries somebody waits for */
    struct imap by_hold;
    uint32_t n_sent, n_waiting, n_told; /* n_told: of both, what nobody waits for */
    uint64_t bytes, told_bytes;
    struct pace pace;
    uint64_t next_number, next_ping;
    uint64_t random;
    uint64_t heard_ms; /* the last sign of life */
    uint64_t pinged; /* the ping that is out; 0: none */
    uint64_t ping_due; /* it must be answered by then */
    uint64_t window_end; /* 0: no outage window is open */
    uint64_t retry_at; /* 0: no dial is planned */
    uint64_t connect_by; /* handshake deadline; 0: none */
    uint64_t active_since;
    unsigned failures; /* dials in a row that led to nothing lasting */
    bool probing; /* a second connection asked for this name */
    uint64_t answered[ANSWERED_KEPT]; /* the numbers answered last, a ring: to tell a second answer from a late one */
    unsigned answered_at;
    char last_error[200];
    struct link_stats stats;
};

const char *link_state_name(enum link_state state) { return state_name(&link_machine, state); }
enum link_state link_state(const struct link *l) { return (enum link_state)l->state; }
bool link_keeps(const struct link *l) { return !l->stopped && (l->state == LINK_ACTIVE || l->window_end != 0); }
const char *link_name(const struct link *l) { return l->name; }
const char *link_last_error(const struct link *l) { return l->last_error; }
uint32_t link_outstanding(const struct link *l) { return l->n_sent; }
uint32_t link_waiting(const struct link *l) { return l->n_waiting; }
uint64_t link_bytes(const struct link *l) { return l->bytes; }

static bool told_counts(const struct link *l) { return l->state == LINK_ACTIVE; }
uint32_t link_backlog(const struct link *l)
{
    uint32_t awaited = pace_backlog(&l->pace, l->next_number - 1, l->n_sent + l->n_waiting - l->n_told);
    return told_counts(l) ? awaited + l->n_told : awaited;
}
uint32_t link_room_for(const struct link *l) { return l->pace.limit; }
uint64_t link_backlog_bytes(const struct link *l) { return told_counts(l) ? l->bytes : l->bytes - l->told_bytes; }
uint64_t link_window_end(const struct link *l) { return l->window_end; }
const struct link_stats *link_stats(const struct link *l) { return &l->stats; }
bool link_probing(const struct link *l) { return l->probing; }

struct link *link_new(const char *name, bool dials, const struct link_limits *limits, uint64_t seed, const struct link_ops *ops, void *owner)
{
    struct link *l = x_calloc(1, sizeof *l);
    l->name = x_strdup(name);
    l->dials = dials;
    l->limits = *limits;
    l->ops = ops;
    l->owner = owner;
    l->random = seed;
    l->next_number = l->next_ping = 1;
    pace_init(&l->pace, limits->outstanding, limits->answer_ms);
    list_init(&l->sent);
    list_init(&l->waiting);
    return l;
}

void link_free(struct link *l)
{
    if (l == NULL) return;
    assert(list_empty(&l->sent) && list_empty(&l->waiting));
    imap_free(&l->by_number);
    imap_free(&l->by_hold);
    free(l->name);
    free(l);
}

static void link_error(struct link *l, const char *why) { snprintf(l->last_error, sizeof l->last_error, "%s", why); }

static void link_move(struct link *l, enum link_state to, const char *why)
{
    enum link_state from = (enum link_state)l->state;
    if (from != to && !state_move(&link_machine, l->name, &l->state, to)) return;
    l->ops->moved(l->owner, from, to, why);
}

/* ---- entries ---- */

/* Holds are numbered per worker, so both together name one. A hold is at one step of its chain, so it has at most one event here. */
static uint64_t hold_key(uint32_t worker, uint64_t hold) { return hash_mix(hold, worker); }

static uint64_t entry_bytes(const struct entry *e) { return event_request_bytes(&e->request); }

/* One of which nobody waits comes, or goes. */
static void told_count(struct link *l, const struct entry *e, bool comes)
{
    if (!event_request_is_patient(&e->request)) return;
    l->n_told = comes ? l->n_told + 1 : l->n_told - 1;
    l->told_bytes = comes ? l->told_bytes + entry_bytes(e) : l->told_bytes - entry_bytes(e);
}

/* Takes an entry out of everything; its request is the caller's. */
static struct event_request entry_take(struct link *l, struct entry *e)
{
    struct event_request request = e->request;
    if (request.hold != 0) {
        imap_del(&l->by_number, e->number);
        if (imap_get(&l->by_hold, hold_key(request.worker, request.hold)) == e) imap_del(&l->by_hold, hold_key(request.worker, request.hold));
    }
    if (e->is_sent)
        l->n_sent--;
    else
        l->n_waiting--;
    l->bytes -= entry_bytes(e);
    told_count(l, e, false);
    list_remove(&e->node);
    free(e);
    return request;
}

/* Sends what may be sent, in order. */
static void link_pump(struct link *l)
{
    if (l->sending) return;
    l->sending = true;
    while (l->state == LINK_ACTIVE && !l->blocked && l->n_sent < l->limits.outstanding && !list_empty(&l->waiting)) {
        struct entry *e = CONTAINER_OF(l->waiting.next, struct entry, node);
        bool resent = e->sent_before;
        l->stats.resent += resent;
        if (e->request.hold == 0) {
            struct event_request request = entry_take(l, e);
            (void)l->ops->send(l->owner, 0, &request, false);
            l->ops->dropped(l->owner, &request); /* sent and forgotten */
            continue;
        }
        list_remove(&e->node);
        list_push_back(&l->sent, &e->node);
        e->is_sent = e->sent_before = true;
        l->n_waiting--;
        l->n_sent++;
        e->stamp = l->ops->send(l->owner, e->number, &e->request, resent);
    }
    l->sending = false;
}

/* The unanswered ones go back to the head of the queue, in their order. */
static void link_unsend(struct link *l)
{
    while (!list_empty(&l->sent)) {
        struct entry *e = CONTAINER_OF(l->sent.prev, struct entry, node);
        list_remove(&e->node);
        list_push_front(&l->waiting, &e->node);
        e->is_sent = false;
        l->n_sent--;
        l->n_waiting++;
    }
}

static void link_return_all(struct link *l)
{
    link_unsend(l);
    while (!list_empty(&l->waiting)) {
        struct event_request request = entry_take(l, CONTAINER_OF(l->waiting.next, struct entry, node));
        if (request.hold == 0) {
            l->ops->dropped(l->owner, &request);
        } else {
            l->stats.returned++;
            l->ops->returned(l->owner, &request);
        }
    }
}

void link_set_limits(struct link *l, const struct link_limits *limits)
{
    l->limits = *limits;
    pace_bound(&l->pace, limits->outstanding);
    link_pump(l);
}

enum link_offer link_offer(struct link *l, const struct event_request *request, uint64_t now_ms)
{
    if (!link_keeps(l)) return LINK_REFUSED;
    if (l->bytes + event_request_bytes(request) > l->limits.queue_bytes) {
        l->stats.full++;
        return LINK_FULL;
    }
    struct entry *e = x_calloc(1, sizeof *e);
    e->request = *request;
    e->number = l->next_number++;
    e->offered_ms = now_ms;
    l->stats.events++;
    l->n_waiting++;
    l->bytes += entry_bytes(e);
    told_count(l, e, true);
    list_push_back(&l->waiting, &e->node);
    if (request->hold != 0) {
        imap_put(&l->by_number, e->number, e);
        imap_put(&l->by_hold, hold_key(request->worker, request->hold), e);
    }
    link_pump(l);
    return LINK_TAKEN;
}

bool link_answer(struct link *l, uint64_t number, struct event_request *request, uint64_t *stamp, uint64_t now_ms)
{
    struct entry *e = imap_get(&l->by_number, number);
    if (e == NULL || !e->is_sent) { /* not there, or not sent on this connection: an answer can't be meant for it */
        if (e == NULL && number != 0 && number < l->next_number)
            l->stats.late++;
        else
            l->stats.unknown++;
        return false;
    }
    *stamp = e->stamp;
    uint64_t waited_ms = now_ms > e->offered_ms ? now_ms - e->offered_ms : 0;
    l->stats.answers++;
    l->answered[l->answered_at++ % ANSWERED_KEPT] = number;
    *request = entry_take(l, e);
    pace_answered(&l->pace, number, waited_ms, l->next_number - 1, l->n_sent + l->n_waiting - l->n_told, now_ms);
    link_pump(l);
    return true;
}

enum answer_fault link_answer_fault(const struct link *l, uint64_t number)
{
    if (imap_get(&l->by_number, number) != NULL) return ANSWER_FAULT_EARLY;
    if (number == 0 || number >= l->next_number) return ANSWER_FAULT_UNKNOWN;
    for (unsigned i = 0; i < ANSWERED_KEPT; i++)
        if (l->answered[i] == number) return ANSWER_FAULT_DOUBLE;
    return ANSWER_FAULT_LATE;
}

bool link_forget(struct link *l, uint32_t worker, uint64_t hold)
{
    struct entry *e = hold != 0 ? imap_get(&l->by_hold, hold_key(worker, hold)) : NULL;
    if (e == NULL || e->request.worker != worker || e->request.hold != hold) return false;
    struct event_request request = entry_take(l, e);
    l->stats.forgotten++;
    l->ops->dropped(l->owner, &request);
    link_pump(l);
    return true;
}

void link_blocked(struct link *l, bool blocked)
{
    l->blocked = blocked;
    if (!blocked) link_pump(l);
}

/* ---- the connection ---- */

static uint64_t link_jittered(struct link *l, uint64_t ms)
{
    l->random = hash_mix(l->random, 0x6c696e6b);
    return ms - ms / 4 + l->random % (ms / 2 + 1);
}

static void link_plan_retry(struct link *l, uint64_t now_ms)
{
    if (!l->dials || l->stopped) return;
    uint64_t delay = FIRST_RETRY_MS;
    if (l->failures > 0) {
        unsigned doublings = l->failures - 1 < 5 ? l->failures - 1 : 5;
        delay = (uint64_t)RETRY_MIN_MS << doublings;
        if (delay > RETRY_MAX_MS) delay = RETRY_MAX_MS;
    }
    l->failures++;
    l->retry_at = now_ms + link_jittered(l, delay);
}

static void link_dial(struct link *l, uint64_t now_ms)
{
    l->retry_at = 0;
    l->connect_by = now_ms + l->limits.connect_ms;
    link_move(l, LINK_CONNECTING, "");
    l->ops->dial(l->owner);
}

void link_start(struct link *l, uint64_t now_ms)
{
    if (l->dials && !l->stopped && (l->state == LINK_GONE || l->state == LINK_QUEUEING)) link_dial(l, now_ms);
}

void link_connected(struct link *l, uint64_t now_ms)
{
    if (l->state != LINK_CONNECTING && l->state != LINK_GONE && l->state != LINK_QUEUEING) return;
    l->retry_at = 0;
    if (l->connect_by == 0) l->connect_by = now_ms + l->limits.connect_ms;
    l->heard_ms = now_ms;
    l->blocked = false;
    link_move(l, LINK_CONNECTED, "");
}

void link_active(struct link *l, uint64_t now_ms)
{
    if (l->state != LINK_CONNECTED) return;
    l->connect_by = 0;
    l->window_end = 0;
    l->heard_ms = now_ms;
    l->pinged = 0;
    l->active_since = now_ms;
    l->last_error[0] = '\0';
    link_move(l, LINK_ACTIVE, "");
    link_pump(l);
}

void link_heard(struct link *l, uint64_t now_ms)
{
    l->heard_ms = now_ms;
    l->probing = false;
    l->pinged = 0; /* whatever it says, it lives; the ping's own answer is then no news */
}

void link_pong(struct link *l, uint64_t number, uint64_t now_ms)
{
    if (number == 0 || number >= l->next_ping) l->stats.unknown++;
    link_heard(l, now_ms);
}

void link_lost(struct link *l, bool graceful, const char *why, uint64_t now_ms)
{
    if (l->state != LINK_CONNECTING && l->state != LINK_CONNECTED && l->state != LINK_ACTIVE) return;
    bool was_active = l->state == LINK_ACTIVE;
    l->pinged = l->connect_by = 0;
    l->blocked = l->probing = false;
    link_error(l, why);
    if (was_active && now_ms - l->active_since >= STOOD_MS) l->failures = 0;
    if (was_active && !graceful && l->limits.outage_window_ms > 0) l->window_end = now_ms + l->limits.outage_window_ms;
    if (l->window_end != 0) {
        link_unsend(l);
        link_plan_retry(l, now_ms);
        link_move(l, LINK_QUEUEING, why);
        return;
    }
    /* Those told of the returned events look for another link at once: they may not find this one. So the state is not ACTIVE while they are returned,
     * and the others hear of GONE after it. */
    link_plan_retry(l, now_ms);
    enum link_state from = (enum link_state)l->state;
    if (!state_move(&link_machine, l->name, &l->state, LINK_GONE)) return;
    link_return_all(l);
    l->ops->moved(l->owner, from, LINK_GONE, why);
}

static void link_ping(struct link *l, uint64_t wait_ms, uint64_t now_ms)
{
    l->pinged = l->next_ping++;
    l->ping_due = now_ms + wait_ms;
    l->ops->ping(l->owner, l->pinged);
}

void link_probe(struct link *l, uint64_t wait_ms, uint64_t now_ms)
{
    if (l->state != LINK_ACTIVE || l->probing) return;
    l->probing = true;
    link_ping(l, wait_ms, now_ms);
}

void link_restart(struct link *l, bool dials, uint64_t now_ms)
{
    link_lost(l, false, "the configuration was changed", now_ms);
    l->dials = dials;
    l->failures = 0;
    l->retry_at = 0;
    link_start(l, now_ms);
}

void link_pause(struct link *l, uint64_t pause_ms, uint64_t now_ms)
{
    if (l->retry_at != 0 && l->retry_at < now_ms + pause_ms) l->retry_at = now_ms + pause_ms;
}

void link_stop(struct link *l, const char *why)
{
    enum link_state from = (enum link_state)l->state;
    l->stopped = true;
    l->window_end = l->retry_at = l->connect_by = l->pinged = 0;
    l->probing = false;
    if (l->state != LINK_GONE) (void)state_move(&link_machine, l->name, &l->state, LINK_GONE);
    link_return_all(l);
    if (from != LINK_GONE) l->ops->moved(l->owner, from, LINK_GONE, why);
}

/* ---- time ---- */

static uint64_t sooner(uint64_t a, uint64_t b) { return b != 0 && b < a ? b : a; }

uint64_t link_due(const struct link *l)
{
    uint64_t due = UINT64_MAX;
    due = sooner(due, l->window_end);
    due = sooner(due, l->retry_at);
    due = sooner(due, l->connect_by);
    if (l->state == LINK_ACTIVE) due = sooner(due, l->pinged != 0 ? l->ping_due : l->heard_ms + l->limits.ping_interval_ms);
    return due;
}

static void link_cut(struct link *l, const char *why, uint64_t now_ms)
{
    l->ops->cut(l->owner, why);
    link_lost(l, false, why, now_ms);
}

void link_tick(struct link *l, uint64_t now_ms)
{
    if (l->window_end != 0 && now_ms >= l->window_end) {
        l->window_end = 0;
        enum link_state from = (enum link_state)l->state;
        if (from == LINK_QUEUEING) (void)state_move(&link_machine, l->name, &l->state, LINK_GONE);
        link_return_all(l);
        l->ops->moved(l->owner, from, (enum link_state)l->state, "the outage window has ended");
    }
    if (l->connect_by != 0 && now_ms >= l->connect_by) link_cut(l, "no connection and handshake in time", now_ms);
    if (l->state == LINK_ACTIVE && l->pinged != 0 && now_ms >= l->ping_due) {
        link_cut(l, "a ping was not answered", now_ms);
    } else if (l->state == LINK_ACTIVE && l->pinged == 0 && now_ms >= l->heard_ms + l->limits.ping_interval_ms) {
        link_ping(l, l->limits.ping_timeout_ms, now_ms);
    }
    if (l->retry_at != 0 && now_ms >= l->retry_at) link_dial(l, now_ms);
}
