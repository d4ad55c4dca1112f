/* Stream management (XEP-0198), the state of it.
 *
 * To the client: every stanza written to the session is kept, by reference, until the client acknowledges it. A session whose stream is cut stays as it is,
 * present and addressed, and what it would be sent joins the queue. When it resumes, the queue is written again, no faster than the client reads; when its
 * time is over, messages go where they would have gone without this session (RFC 6121, 8.5), and IQ requests are answered with an error (unacked.c).
 *
 * Should we die meanwhile: messages are in the store too from when the stream was cut, or when the client has not acknowledged them for a while
 * (c2s.unacked_store), until it does; one that comes for a session without a stream is stored before its sender hears that it was handled.
 *
 * From the client: `h` is the longest finished prefix of its tickets, so that what it need not keep any more is delivered, stored or refused, and not only
 * read. A client that resumes waits for stanzas under way (resume_wait), since it sends again what is not covered. What is still open then is known by a
 * print of each stanza: of those that come again first, the ones already under way are dropped.
 *
 * A token names a session of the user who logged in and no other's: it is looked for among his sessions alone, on the worker that owns him. */
#include "jsm/resume.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "jsm/csi.h"
#include "jsm/deliver.h"
#include "jsm/features/features.h"
#include "jsm/ticket.h"
#include "jsm/unacked.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_BYTES 24
#define TOKEN_SIZE  (2 * TOKEN_BYTES + 1)

struct resume {
    struct session *session;
    char token[TOKEN_SIZE]; /* empty: acknowledgements only */
    uint32_t max_s; /* how long the session lives without a stream */
    /* from the client */
    uint64_t base; /* h = finished tickets - base */
    uint64_t floor; /* and none of those below */
    uint64_t *prints; /* ring as that of session->window: what came under each open number */
    uint32_t prints_size;
    uint64_t *again; /* prints of what the client will send again though it is under way */
    size_t again_n, again_at;
    /* to the client */
    struct list unacked;
    struct list *unsent; /* the first that was not written on this stream; NULL: all were */
    uint32_t n;
    size_t bytes;
    uint32_t acked; /* the client's last h, modulo 2^32 */
    uint32_t unasked; /* written since the last <r/> */
    bool full;
    uint64_t waiting; /* the stream that wants to resume, until tickets are back; 0: none */
    struct wheel_timer ask, store, timer; /* timer: the end of the time without a stream, of resume_wait, or (full) of the session */
};

/* Sessions that ended without being resumed, the latest of each worker: one who comes too late learns what was handled. */
#define LATE_ONES 256
struct late_one {
    char token[TOKEN_SIZE];
    uint64_t user;
    uint32_t h;
};
static _Thread_local struct {
    struct late_one *ones;
    unsigned next;
} late;

/* ---- from the client ---- */

static uint32_t handled(const struct session *s)
{
    uint64_t finished = ticket_finished_prefix(s);
    return (uint32_t)((finished > s->resume->floor ? finished : s->resume->floor) - s->resume->base);
}

static uint64_t print_of(const struct stanza *s)
{
    uint64_t print = hash_mix((uint64_t)s->kind << 32 | (uint64_t)s->type, hash_keyed(s->inner.p, s->inner.n));
    print = hash_mix(print, hash_keyed(s->id.p, s->id.n));
    return hash_mix(print, hash_keyed(s->to.full.p, s->to.full.n));
}

static void remember_print(struct session *s, uint64_t number, uint64_t print)
{
    struct resume *r = s->resume;
    if (r->prints_size < s->window.size) {
        uint64_t *grown = x_calloc(s->window.size, sizeof(*grown));
        for (uint64_t i = s->window.first; i < number && r->prints_size > 0; i++) grown[i & (s->window.size - 1)] = r->prints[i & (r->prints_size - 1)];
        free(r->prints);
        r->prints = grown;
        r->prints_size = s->window.size;
    }
    r->prints[number & (r->prints_size - 1)] = print;
}

static void again_end(struct resume *r)
{
    free(r->again);
    r->again = NULL;
    r->again_n = r->again_at = 0;
}

/* The client is about to send what is not handled: what it has sent since it was last resumed, and then what it had not yet sent again by now. */
static void again_expect(struct session *s)
{
    struct resume *r = s->resume;
    uint64_t from = s->window.first > r->floor ? s->window.first : r->floor;
    size_t since = r->prints_size > 0 ? (size_t)(s->window.next - from) : 0, left = r->again_n - r->again_at;
    uint64_t *again = since + left > 0 ? x_calloc(since + left, sizeof(*again)) : NULL;
    for (size_t i = 0; i < since; i++) again[i] = r->prints[(from + i) & (r->prints_size - 1)];
    for (size_t i = 0; i < left; i++) again[since + i] = r->again[r->again_at + i];
    again_end(r);
    r->again = again;
    r->again_n = since + left;
}

bool resume_came_again(struct session *s, const struct stanza *raw, uint64_t number)
{
    struct resume *r = s->resume;
    if (r->token[0] == '\0') return false;
    uint64_t print = print_of(raw);
    remember_print(s, number, print);
    for (size_t i = r->again_at; i < r->again_n; i++) {
        if (r->again[i] != print) continue;
        r->again_at = i + 1;
        if (r->again_at == r->again_n) again_end(r);
        metric_inc(METRIC_RESUME_KNOWN);
        return true;
    }
    again_end(r); /* they come first: this is new, and so is all that follows */
    return false;
}

/* ---- to the client ---- */

static void unacked_drop_first(struct resume *r)
{
    struct unacked *u = CONTAINER_OF(list_pop_front(&r->unacked), struct unacked, node);
    if (r->unsent == &u->node) r->unsent = list_empty(&r->unacked) ? NULL : r->unacked.next;
    r->n--;
    r->bytes -= u->bytes;
    metric_add(METRIC_UNACKED, -1);
    unacked_came(u);
}

bool resume_stands_for(struct session *s, struct stanza *message, uint64_t since_wall_ms, struct kept *kept)
{
    if (s->resume == NULL) return false;
    LIST_EACH(node, &s->resume->unacked)
    {
        struct unacked *u = CONTAINER_OF(node, struct unacked, node);
        if (u->copy != COPY_CARBON || u->stanza->sid != message->sid || u->stands_for != NULL) continue;
        unacked_stands_for(u, message, since_wall_ms, kept);
        return true;
    }
    return false;
}

static void on_store(struct wheel_timer *timer)
{
    struct resume *r = CONTAINER_OF(timer, struct resume, store);
    uint64_t wait = (uint64_t)jsm->config->c2s_unacked_store, now = worker_now_ms();
    unacked_store(r->session->user, &r->unacked, now - wait);
    LIST_EACH(node, &r->unacked)
    {
        const struct unacked *one = CONTAINER_OF(node, struct unacked, node);
        if (!unacked_unstored(one)) continue;
        worker_timer(timer, one->mark + wait - now);
        return;
    }
}

/* A client that acknowledges in time costs a look at the queue now and then, and nothing in the store. */
static void store_later(struct resume *r, const struct unacked *one)
{
    if (jsm->config->c2s_unacked_store > 0 && !list_linked(&r->store.node) && unacked_unstored(one)) worker_timer(&r->store, (uint64_t)jsm->config->c2s_unacked_store);
}

bool resume_stores_first(const struct session *s)
{
    if (s->resume == NULL) return false;
    return jsm->config->c2s_unacked_store == 0 || s->c2s == NULL || c2s_get(c2s_id(s->c2s)) == NULL;
}

bool resume_keep(struct session *s, struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept)
{
    struct resume *r = s->resume;
    struct unacked *u = unacked_new(stanza, copy, since_wall_ms, kept);
    u->mark = worker_now_ms();
    list_push_back(&r->unacked, &u->node);
    r->n++;
    r->bytes += u->bytes;
    metric_add(METRIC_UNACKED, 1);
    if (!r->full && (r->n > (uint64_t)jsm->config->c2s_unacked_stanzas || r->bytes > (size_t)jsm->config->c2s_unacked_bytes)) {
        r->full = true;
        worker_timer(&r->timer, 0); /* not here: the caller is in the middle of a delivery */
    }
    if (!s->detached) store_later(r, u);
    if (s->c2s != NULL && r->unsent == NULL) return true;
    if (r->unsent == NULL && s->detached) r->unsent = &u->node;
    return false;
}

static void ask(struct resume *r)
{
    r->unasked = 0;
    worker_timer_cancel(&r->ask);
    if (r->session->c2s != NULL) c2s_sm_request(r->session->c2s);
}

static void on_ask(struct wheel_timer *timer) { ask(CONTAINER_OF(timer, struct resume, ask)); }

void resume_written(struct session *s)
{
    struct resume *r = s->resume;
    if (++r->unasked >= (uint32_t)jsm->config->c2s_ack_stanzas)
        ask(r);
    else if (r->unasked == 1)
        worker_timer(&r->ask, (uint64_t)jsm->config->c2s_ack_wait);
}

/* false: more than there is. */
static bool acknowledge(struct resume *r, uint32_t h)
{
    uint32_t more = h - r->acked; /* modulo 2^32 */
    if (more > r->n) return false;
    for (uint32_t i = 0; i < more; i++) unacked_drop_first(r);
    r->acked = h;
    return true;
}

/* Writes what is unsent, as much as the connection takes; resume_on_drain() goes on. */
static void pump(struct session *s)
{
    struct resume *r = s->resume;
    while (r->unsent != NULL && s->c2s != NULL && !c2s_full(s->c2s)) {
        struct unacked *u = CONTAINER_OF(r->unsent, struct unacked, node);
        r->unsent = u->node.next == &r->unacked ? NULL : u->node.next;
        deliver_again(s, u->stanza);
        resume_written(s);
    }
}

void resume_on_drain(struct c2s *c)
{
    struct session *s = c2s_session(c);
    if (s != NULL && s->resume != NULL) pump(s);
}

/* ---- enable ---- */

static void on_timer(struct wheel_timer *timer);

static void token_make(char out[TOKEN_SIZE])
{
    unsigned char random[TOKEN_BYTES];
    hash_random(random, sizeof(random));
    for (size_t i = 0; i < TOKEN_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", random[i]);
}

void resume_on_enable(struct c2s *c, bool resume, uint32_t max_s)
{
    struct session *s = c2s_session(c);
    if (s == NULL || s->state != SESSION_OPEN || s->resume != NULL) {
        c2s_sm_failed(c, "unexpected-request", NULL);
        return;
    }
    struct resume *r = s->resume = x_calloc(1, sizeof(*r));
    r->session = s;
    r->base = r->floor = s->window.next;
    list_init(&r->unacked);
    r->ask.fn = on_ask;
    r->store.fn = on_store;
    r->timer.fn = on_timer;
    uint32_t most = (uint32_t)jsm->config->c2s_resume_timeout;
    r->max_s = max_s < most ? max_s : most;
    if (resume && r->max_s > 0) token_make(r->token);
    c2s_sm_enabled(c, r->token[0] != '\0' ? r->token : NULL, r->max_s);
}

bool resume_on_request(struct c2s *c)
{
    struct session *s = c2s_session(c);
    if (s == NULL || s->resume == NULL) return false;
    c2s_sm_ack(c, handled(s));
    return true;
}

bool resume_on_ack(struct c2s *c, uint32_t h)
{
    struct session *s = c2s_session(c);
    if (s == NULL || s->resume == NULL) return false;
    struct resume *r = s->resume;
    if (!acknowledge(r, h)) c2s_sm_too_high(c, h, r->acked + r->n);
    return true;
}

/* ---- without a stream ---- */

static void detached(struct session *s)
{
    struct list left; /* from before acknowledgements were enabled */
    list_init(&left);
    written_end(s, &left);
    s->c2s = NULL;
    s->detached = true;
    s->window.stopped = s->reading_stopped = false; /* the pause was the stream's */
    worker_timer_cancel(&s->resume->ask);
    s->resume->unasked = 0;
    worker_timer_cancel(&s->resume->store);
    unacked_store(s->user, &s->resume->unacked, UINT64_MAX);
    if (!s->resume->full) worker_timer(&s->resume->timer, (uint64_t)s->resume->max_s * 1000);
    unacked_elsewhere(&left, s->user);
}

bool resume_possible(const struct session *s) { return s->resume != NULL && s->resume->token[0] != '\0' && s->state == SESSION_OPEN && !jsm->draining; }

bool resume_detach(struct session *s)
{
    if (!resume_possible(s)) return false;
    detached(s);
    metric_inc(METRIC_SESSIONS_DETACHED);
    log_info("jsm", "session '%s' lost its stream and may be resumed for %u s", s->full.full.p, s->resume->max_s);
    presence_session_detached(s);
    return true;
}

static void resume_complete(struct session *s)
{
    struct resume *r = s->resume;
    struct c2s *c = c2s_get(r->waiting);
    r->waiting = 0;
    if (c == NULL) {
        worker_timer(&r->timer, (uint64_t)r->max_s * 1000);
        return;
    }
    worker_timer_cancel(&r->timer);
    uint32_t h = handled(s);
    again_expect(s);
    /* The client counts on from h: so do the numbers to come. */
    r->floor = s->window.next;
    r->base = s->window.next - h;
    s->c2s = c;
    s->detached = false;
    metric_add(METRIC_SESSIONS_DETACHED, -1);
    metric_inc(METRIC_SESSIONS_RESUMED);
    c2s_set_session(c, s);
    c2s_sm_resumed(c, &s->full, r->token, h);
    log_info("jsm", "session '%s' is resumed, from %s", s->full.full.p, c2s_peer(c));
    session_read_control(s);
    r->unsent = list_empty(&r->unacked) ? NULL : r->unacked.next;
    pump(s);
    csi_set(s, true); /* XEP-0352, 5.2: a resumed client is active until it says otherwise */
    deliver_held(s);
    csi_free(s);
    presence_session_resumed(s);
}

void resume_ticket_returned(struct session *s)
{
    /* From the loop: the stanza that has finished is still being put away. */
    if (s->resume->waiting != 0 && s->window.open == 0) worker_timer(&s->resume->timer, 0);
}

static void on_timer(struct wheel_timer *timer)
{
    struct resume *r = CONTAINER_OF(timer, struct resume, timer);
    struct session *s = r->session;
    if (r->full) {
        log_notice("jsm", "session '%s' ends: it acknowledged too little of what it was sent, %u stanzas, %zu bytes", s->full.full.p, r->n, r->bytes);
        session_kick(s, "resource-constraint", "too much that was sent is not acknowledged");
    } else if (r->waiting != 0) {
        resume_complete(s);
    } else if (s->detached) {
        log_info("jsm", "session '%s' was not resumed in time", s->full.full.p);
        session_end(s, false);
    }
}

/* ---- resume ---- */

/* In time that tells nothing of how much of a token was right. */
static bool same_token(const char token[TOKEN_SIZE], struct str given)
{
    if (given.n != TOKEN_SIZE - 1) return false;
    unsigned char differ = 0;
    for (size_t i = 0; i < TOKEN_SIZE - 1; i++) differ = (unsigned char)(differ | (token[i] ^ given.p[i]));
    return differ == 0;
}

static struct session *session_of_token(const struct jid *bare, struct str token)
{
    struct user *u = user_find(bare->bare);
    if (u == NULL) return NULL;
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (s->state != SESSION_OPEN || s->resume == NULL || s->resume->token[0] == '\0') continue;
        if (same_token(s->resume->token, token)) return s;
    }
    return NULL;
}

static void too_late(struct c2s *c, struct str token)
{
    uint64_t user = hash_stable(c2s_user(c)->bare.p, c2s_user(c)->bare.n);
    for (unsigned i = 0; late.ones != NULL && i < LATE_ONES; i++) {
        if (late.ones[i].user != user || !same_token(late.ones[i].token, token)) continue;
        c2s_sm_failed(c, "item-not-found", &late.ones[i].h);
        return;
    }
    c2s_sm_failed(c, "item-not-found", NULL);
}

void resume_on_resume(struct c2s *c, struct str previd, uint32_t h)
{
    struct session *s = session_of_token(c2s_user(c), previd);
    if (s == NULL || s->resume->full || jsm->draining) {
        too_late(c, previd);
        return;
    }
    struct resume *r = s->resume;
    if (!acknowledge(r, h)) {
        c2s_sm_too_high(c, h, r->acked + r->n);
        return;
    }
    struct c2s *rival = r->waiting != 0 ? c2s_get(r->waiting) : NULL;
    if (rival != NULL) c2s_close(rival, "conflict", "The session is resumed by another stream.");
    struct c2s *old = s->c2s;
    if (old != NULL) { /* cut, and we have not noticed */
        metric_inc(METRIC_SESSIONS_DETACHED);
        detached(s);
        c2s_set_session(old, NULL);
        c2s_close(old, "conflict", "The session is resumed by another stream.");
    }
    if (r->unsent == NULL && !list_empty(&r->unacked)) r->unsent = r->unacked.next; /* nothing overtakes what waits */
    r->waiting = c2s_id(c);
    if (s->window.open == 0)
        resume_complete(s);
    else
        worker_timer(&r->timer, (uint64_t)jsm->config->c2s_resume_wait * 1000);
}

/* ---- the end ---- */

void resume_ending(struct session *s, struct list *left)
{
    struct resume *r = s->resume;
    if (r == NULL) return;
    /* A client that ends its stream reads on until we have ended ours (RFC 6120, 4.4), and few acknowledge before: what was written has reached it. */
    while (s->end_graceful && r->n > 0 && r->unacked.next != r->unsent) unacked_drop_first(r);
    if (s->detached) metric_add(METRIC_SESSIONS_DETACHED, -1);
    s->detached = false;
    worker_timer_cancel(&r->timer);
    worker_timer_cancel(&r->ask);
    worker_timer_cancel(&r->store);
    if (r->token[0] != '\0') {
        if (late.ones == NULL) late.ones = x_calloc(LATE_ONES, sizeof(*late.ones));
        struct late_one *one = &late.ones[late.next++ % LATE_ONES];
        memcpy(one->token, r->token, sizeof(one->token));
        one->user = hash_stable(s->user->jid.bare.p, s->user->jid.bare.n);
        one->h = (uint32_t)(s->window.next - r->base); /* all of it will be seen to, with or without the session */
    }
    struct c2s *c = r->waiting != 0 ? c2s_get(r->waiting) : NULL;
    r->waiting = 0;
    if (c != NULL) too_late(c, str_of(r->token));
    struct list *node;
    while ((node = list_pop_front(&r->unacked)) != NULL) list_push_back(left, node);
    metric_add(METRIC_UNACKED, -(int64_t)r->n);
    again_end(r);
    free(r->prints);
    free(r);
    s->resume = NULL;
}

void resume_worker_stop(void)
{
    free(late.ones);
    late.ones = NULL;
}
