/* Sessions: their life from bind to es_END, and the stop of the reader at the window. */
#include "jsm/session.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/state.h"
#include "broker/broker.h"
#include "jsm/brake.h"
#include "jsm/csi.h"
#include "jsm/features/features.h"
#include "jsm/had.h"
#include "jsm/resume.h"
#include "jsm/send.h"
#include "jsm/ticket.h"
#include "jsm/unacked.h"
#include <stdlib.h>

_Thread_local struct jsm_worker *jsm;

static const char *const state_names[] = {"BINDING", "OPEN", "ENDING", "ENDED"};
static const unsigned state_moves[] = {
    [SESSION_BINDING] = 1u << SESSION_OPEN | 1u << SESSION_ENDING,
    [SESSION_OPEN] = 1u << SESSION_ENDING,
    [SESSION_ENDING] = 1u << SESSION_ENDED,
    [SESSION_ENDED] = 0,
};
static const struct state_machine session_states = {"session", state_names, state_moves, SESSION_STATES};

struct session *session_new(struct user *u, struct c2s *c2s, struct str resource)
{
    struct session *s = x_calloc(1, sizeof(*s));
    s->id = (uint64_t)(worker_id() + 1) << SESSION_WORKER_SHIFT | ++jsm->next_session;
    s->user = u;
    u->refs++;
    s->arena = arena_new(256);
    s->full = jid_with_resource(s->arena, &u->jid, resource);
    s->c2s = c2s;
    s->state = SESSION_BINDING;
    s->since_wall_ms = clock_wall_ms();
    window_init(&s->window);
    gate_init(&s->gate, outgoing_begin);
    list_init(&s->brakes);
    list_init(&s->end_waits);
    list_init(&s->ticket_waits);
    list_init(&s->arriving);
    list_init(&s->written);
    list_push_back(&u->sessions, &s->node);
    imap_put(&jsm->sessions, s->id, s);
    metric_inc(METRIC_SESSIONS);
    return s;
}

void session_open(struct session *s)
{
    s->heard_ms = worker_now_ms();
    state_move(&session_states, s->full.full.p, &s->state, SESSION_OPEN);
}

struct session *session_get(uint64_t id) { return imap_get(&jsm->sessions, id); }

bool session_takes(const struct session *s)
{
    if (s->c2s == NULL) return s->detached;
    return c2s_get(c2s_id(s->c2s)) != NULL || (c2s_lost(s->c2s) && resume_possible(s));
}

bool session_takes_messages(const struct session *s) { return session_available(s) && session_takes(s) && s->priority >= 0; }

struct session *session_by_resource(const struct user *u, struct str resource)
{
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (str_eq(s->full.resource, resource)) return s;
    }
    return NULL;
}

uint64_t *user_session_ids(const struct user *u, size_t *n)
{
    *n = 0;
    LIST_EACH(node, &u->sessions) ++*n;
    uint64_t *ids = x_calloc(*n + 1, sizeof(*ids));
    size_t i = 0;
    LIST_EACH(node, &u->sessions) ids[i++] = CONTAINER_OF(node, struct session, node)->id;
    return ids;
}

static struct stanza *last_presence(const struct session *s)
{
    return stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &s->full, NULL, STR_NONE, STR(""));
}

/* Exactly once; nobody waits for the answer. */
static void tell_end(struct session *s, const struct stanza *subject)
{
    if (s->end_told) return;
    s->end_told = true;
    struct question q = {.event = EVENT_es_END, .subject = subject, .session = s->full.full};
    struct verdict now;
    broker_raise(&q, &now);
}

void session_abandon(struct session *s)
{
    if (s->state != SESSION_ENDING) return;
    struct stanza *subject = last_presence(s);
    tell_end(s, subject);
    stanza_unref(subject);
}

/* Unavailable presence the server makes itself raises no es_OUT. */
static void session_gone(struct session *s)
{
    state_move(&session_states, s->full.full.p, &s->state, SESSION_ENDED);
    list_remove(&s->node);
    imap_del(&jsm->sessions, s->id);
    struct stanza *subject = last_presence(s);
    effects_session_gone(s);
    if (s->presence != NULL || s->directed.count > 0) presence_session_gone(s, subject);
    tell_end(s, subject);
    stanza_unref(subject);
    log_info("jsm", "session '%s' has ended", s->full.full.p);
    struct list *node;
    while ((node = list_pop_front(&s->end_waits)) != NULL) {
        struct session_wait *wait = CONTAINER_OF(node, struct session_wait, node);
        wait->fn(wait);
    }
    tickets_wait_no_more(s);
    brake_session_gone(s);
    stanza_unref(s->presence);
    stanza_unref(s->hidden);
    presence_directed_clear(s);
    csi_free(s);
    had_free(s);
    lane_set_free(&s->sending);
    tickets_close(s);
    metric_add(METRIC_SESSIONS, -1);
    struct user *u = s->user;
    arena_free(s->arena);
    free(s);
    user_release(u);
}

static void session_end_when_quiet(struct session *s)
{
    if (s->state == SESSION_ENDING && gate_quiet(&s->gate)) session_gone(s);
}

void session_end(struct session *s, bool graceful)
{
    struct list left;
    list_init(&left);
    written_end(s, &left);
    if (s->c2s != NULL) c2s_set_session(s->c2s, NULL); /* it may be closing, and tell so when the session is no more */
    s->c2s = NULL;
    if (s->state == SESSION_BINDING || s->state == SESSION_OPEN) {
        s->end_graceful = graceful;
        resume_ending(s, &left);
        state_move(&session_states, s->full.full.p, &s->state, SESSION_ENDING);
    }
    struct user *u = s->user;
    u->refs++;
    session_end_when_quiet(s);
    unacked_elsewhere(&left, u); /* now, even if the session must wait: what comes for the user from now on comes after it */
    user_release(u);
}

void session_kick(struct session *s, const char *condition, const char *text)
{
    if (s->c2s != NULL) c2s_close(s->c2s, condition, text);
    session_end(s, false);
}

void session_finished_one(struct session *s)
{
    gate_leave(&s->gate);
    session_end_when_quiet(s);
}

void session_read_control(struct session *s)
{
    if (s->c2s == NULL) return;
    if (window_reading(&s->window, (uint32_t)jsm->config->c2s_session_window) == WINDOW_READING_STOPS) metric_inc(METRIC_SESSION_WINDOW_STOPS);
    bool stop = s->window.stopped || !list_empty(&s->brakes);
    if (stop == s->reading_stopped) return;
    s->reading_stopped = stop;
    if (stop)
        c2s_pause(s->c2s);
    else
        c2s_resume(s->c2s);
}
