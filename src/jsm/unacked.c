/* The queues of what sessions are not known to have, and what becomes of it.
 *
 * With stream management the client acknowledges. Without it, the kernel's taking of the bytes is all we can know: what a slow reader had not taken when it was
 * cut is still ours and goes on; what the kernel had is gone. Such a queue is bounded by the output that may wait (c2s.output_bytes), and for a client that
 * reads it is empty again when the turn of the loop ends. */
#include "jsm/unacked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "xmpp/delay.h"
#include "jsm/features/features.h"
#include "jsm/receive.h"
#include <limits.h>
#include <stdlib.h>

#define SETTLE_MS 500

static bool rerouted(const struct stanza *s, enum event_copy copy)
{
    return (copy == COPY_NONE || copy == COPY_OFFLINE) && s->kind == STANZA_MESSAGE && s->type != MESSAGE_ERROR && jid_present(&s->to);
}

/* Of somebody else, or of another session: never unanswered. */
static bool answered(const struct stanza *s)
{
    bool own = jid_is_full(&s->to) && jid_bare_eq(&s->from, &s->to) && !jid_is_full(&s->from);
    return stanza_is_request(s) && jid_present(&s->from) && s->from.local.p != NULL && !own;
}

struct unacked *unacked_new(struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept)
{
    struct unacked *one = x_malloc(sizeof(*one));
    *one = (struct unacked){
        .stanza = stanza_ref(stanza),
        .kept = kept_ref(kept),
        .bytes = stanza_size(stanza) + sizeof(*one),
        .since_wall_ms = since_wall_ms != 0 ? since_wall_ms : clock_wall_ms(),
        .copy = copy,
        .stamped = since_wall_ms != 0,
    };
    if (kept != NULL) kept->sessions++;
    return one;
}

static void unacked_free(struct unacked *one)
{
    if (one->kept != NULL) one->kept->sessions--;
    kept_unref(one->kept);
    stanza_unref(one->stanza);
    stanza_unref(one->stands_for);
    free(one);
}

void unacked_came(struct unacked *take)
{
    kept_over(take->kept);
    unacked_free(take);
}

void unacked_stands_for(struct unacked *copy, struct stanza *message, uint64_t since_wall_ms, struct kept *kept)
{
    copy->stands_for = stanza_ref(message);
    copy->since_wall_ms = since_wall_ms;
    copy->kept = kept_ref(kept);
    if (kept != NULL) kept->sessions++;
}

/* ---- into the store ---- */

/* What nobody else gets when this session does not; NULL: nothing. */
static struct stanza *message_of(const struct unacked *one)
{
    if (one->stands_for != NULL) return one->stands_for;
    return rerouted(one->stanza, one->copy) ? one->stanza : NULL;
}

bool unacked_unstored(const struct unacked *one)
{
    const struct stanza *message = message_of(one);
    if (jsm->config->offline_max_messages == 0 || message == NULL || !offline_storable(message)) return false;
    return one->kept == NULL || (one->kept->state == KEPT_NOWHERE && !one->kept->over);
}

/* As it was before its delivery: it may get another stamp. A new reference. */
static struct stanza *plain_of(const struct unacked *one)
{
    struct stanza *message = message_of(one);
    return one->stamped && message == one->stanza ? delay_unstamp(message) : stanza_ref(message);
}

struct storing {
    unsigned n;
    struct kept *kept[];
};

static void stored(void *arg, const struct err *err)
{
    struct storing *st = arg;
    for (unsigned i = 0; i < st->n; i++) {
        kept_written(st->kept[i], err);
        kept_unref(st->kept[i]);
    }
    if (err == NULL)
        metric_add(METRIC_UNACKED_STORED, st->n);
    else
        log_error("jsm", "%u unacknowledged messages could not be stored, a crash would lose them: %s", st->n, err->text);
    free(st);
}

void unacked_store(struct user *u, struct list *all, uint64_t until_ms)
{
    unsigned n = 0;
    LIST_EACH(node, all)
    {
        const struct unacked *one = CONTAINER_OF(node, struct unacked, node);
        if (one->mark > until_ms) break;
        if (unacked_unstored(one)) n++;
    }
    if (n == 0) return;
    struct storing *st = x_malloc(sizeof(*st) + n * sizeof(*st->kept));
    struct store_batch *batch = store_batch_new(u->jid.bare);
    st->n = 0;
    LIST_EACH(node, all)
    {
        struct unacked *one = CONTAINER_OF(node, struct unacked, node);
        if (one->mark > until_ms) break;
        if (!unacked_unstored(one)) continue;
        if (one->kept == NULL) {
            one->kept = kept_new(u, one->stanza->sid, false);
            one->kept->sessions = 1;
        }
        struct stanza *plain = plain_of(one);
        kept_write(one->kept, batch, plain, one->since_wall_ms, UINT_MAX); /* bounded by c2s.unacked_stanzas */
        stanza_unref(plain);
        st->kept[st->n++] = kept_ref(one->kept);
    }
    store_batch_commit(batch, stored, st);
}

/* ---- elsewhere ---- */

/* Offline messages that the session was sent lie in the store still, and there they stay, but for another session that is there. */
static void back_to_offline(struct list *left, struct user *u)
{
    unsigned n = 0;
    LIST_EACH_SAFE(node, next, left)
    {
        struct unacked *one = CONTAINER_OF(node, struct unacked, node);
        if (one->copy != COPY_OFFLINE || one->kept == NULL || one->kept->state != KEPT_STORED || one->kept->over) continue;
        list_remove(node);
        unacked_free(one);
        metric_inc(METRIC_UNACKED_REROUTED);
        n++;
    }
    if (n == 0) return;
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (!session_takes_messages(s)) continue;
        offline_flush(s->id);
        return;
    }
}

/* Another session of the user has it, or may still get it. */
static bool others_have_it(const struct unacked *one) { return one->kept != NULL && (one->kept->over || one->kept->sessions > 1); }

void unacked_elsewhere(struct list *take, struct user *u)
{
    u->refs++;
    back_to_offline(take, u);
    struct list *node;
    while ((node = list_pop_front(take)) != NULL) {
        struct unacked *one = CONTAINER_OF(node, struct unacked, node);
        if (message_of(one) != NULL && !others_have_it(one)) {
            metric_inc(METRIC_UNACKED_REROUTED);
            receive_again(plain_of(one), one->since_wall_ms, one->kept);
        } else if (answered(one->stanza)) {
            router_route(stanza_error(one->stanza, "service-unavailable", NULL, NULL), (struct ticket){0}, PARCEL_NO_EVENTS);
        }
        unacked_free(one);
    }
    user_release(u);
}

/* ---- clients without stream management ---- */

static void settle(struct session *s)
{
    if (list_empty(&s->written) || s->c2s == NULL) return;
    uint64_t taken = c2s_taken(s->c2s);
    while (!list_empty(&s->written)) {
        struct unacked *one = CONTAINER_OF(s->written.next, struct unacked, node);
        if (one->mark > taken) return;
        list_remove(&one->node);
        unacked_came(one);
    }
}

static void settle_slow(struct wheel_timer *timer)
{
    LIST_EACH_SAFE(node, next, &jsm->slow)
    {
        struct session *s = CONTAINER_OF(node, struct session, settling);
        settle(s);
        if (list_empty(&s->written)) list_remove(&s->settling);
    }
    if (!list_empty(&jsm->slow)) worker_timer(timer, SETTLE_MS);
}

static void settle_written(struct turn_hook *hook)
{
    (void)hook;
    struct list *node;
    while ((node = list_pop_front(&jsm->settling)) != NULL) {
        struct session *s = CONTAINER_OF(node, struct session, settling);
        settle(s);
        if (!list_empty(&s->written)) list_push_back(&jsm->slow, &s->settling);
    }
    if (list_empty(&jsm->slow) || list_linked(&jsm->slow_timer.node)) return;
    jsm->slow_timer.fn = settle_slow;
    worker_timer(&jsm->slow_timer, SETTLE_MS);
}

void written_keep(struct session *s, struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept, uint64_t end)
{
    if (!rerouted(stanza, copy) && !answered(stanza)) return;
    struct unacked *one = unacked_new(stanza, copy, since_wall_ms, kept);
    one->mark = end;
    list_push_back(&s->written, &one->node);
    list_remove(&s->settling);
    list_push_back(&jsm->settling, &s->settling);
    jsm->settle_hook.fn = settle_written;
    worker_at_turn_end(&jsm->settle_hook);
}

void written_end(struct session *s, struct list *left)
{
    settle(s);
    list_remove(&s->settling);
    if (list_empty(&s->written)) return;
    if (s->c2s != NULL) c2s_abort(s->c2s, "what waited for the client is kept for another session of its user");
    struct list *node;
    while ((node = list_pop_front(&s->written)) != NULL) list_push_back(left, node);
}
