/* A room's history: the last messages, for those who come (XEP-0045, 7.2.13 to 7.2.15), and after it the subject (7.2.16). onHistory is asked before;
 * what the room sends meanwhile to that session waits behind. */
#include "tc/presence.h"
#include "tc/rows.h"
#include "xmpp/delay.h"
#include <stdlib.h>

static void drop_oldest(struct room *r)
{
    struct past *p = CONTAINER_OF(list_pop_front(&r->history), struct past, node);
    stanza_unref(p->stanza);
    free(p);
    r->n_history--;
}

void history_trim(struct room *r)
{
    while (r->n_history > r->config.history) drop_oldest(r);
}

void history_remove(struct room *r, uint64_t sid)
{
    LIST_EACH_SAFE(node, next, &r->history)
    {
        struct past *p = CONTAINER_OF(node, struct past, node);
        if (p->stanza->sid != sid) continue;
        list_remove(&p->node);
        stanza_unref(p->stanza);
        free(p);
        r->n_history--;
    }
}

void history_add(struct room *r, const struct stanza *message, uint64_t wall_ms)
{
    if (r->config.history == 0 || stanza_child(message, "body", NS_CLIENT) == NULL) return;
    struct past *p = x_calloc(1, sizeof(*p));
    p->stanza = stanza_ref(message);
    p->wall_ms = wall_ms;
    list_push_back(&r->history, &p->node);
    r->n_history++;
    history_trim(r);
}

/* The first of those that are wanted: the last ones that keep within all limits. */
static const struct list *first_wanted(const struct room *r, const struct history_wish *wish)
{
    int64_t chars = 0, n = 0;
    const struct list *node = r->history.prev;
    for (; node != &r->history; node = node->prev) {
        const struct past *p = CONTAINER_OF(node, struct past, node);
        chars += (int64_t)stanza_size(p->stanza);
        n++;
        if (p->wall_ms < wish->since_wall_ms || (wish->max_stanzas >= 0 && n > wish->max_stanzas) ||
            (wish->max_chars >= 0 && chars > wish->max_chars))
            break;
    }
    return node->next;
}

static void send_subject(const struct attendee *a, const struct request *cause)
{
    const struct room *r = a->occupant->room;
    struct stanza *s = r->subject != NULL ? stanza_ref(r->subject)
                                          : stanza_make(STANZA_MESSAGE, MESSAGE_GROUPCHAT, &r->jid, NULL, STR_NONE, STR("<subject/>"));
    if (r->subject != NULL) {
        struct stanza *stamped = delay_stamp(s, r->jid.bare, r->subject_wall_ms);
        stanza_unref(s);
        s = stamped;
    }
    send_to(a, s, cause);
}

static void send_now(struct attendee *a, const struct history_wish *wish, const struct request *cause)
{
    const struct room *r = a->occupant->room;
    for (const struct list *node = first_wanted(r, wish); node != &r->history; node = node->next) {
        const struct past *p = CONTAINER_OF(node, struct past, node);
        send_to(a, delay_stamp(p->stanza, r->jid.bare, p->wall_ms), cause);
    }
    send_subject(a, cause);
}

struct history_wait { /* onHistory is not answered yet */
    struct room *room; /* a reference */
    struct arena *arena;
    struct jid who;
    struct history_wish wish;
};

static void history_answered(void *arg, const struct verdict *v)
{
    (void)v;
    struct history_wait *w = arg;
    struct attendee *a = attendee_by_jid(w->room, &w->who);
    if (a != NULL && a->history_asked) {
        a->history_asked = false;
        send_now(a, &w->wish, NULL);
        copies_send(a);
    }
    room_release(w->room);
    arena_free(w->arena);
    free(w);
}

void history_send(struct attendee *a, const struct history_wish *wish, const struct request *cause)
{
    struct history_wait *w = x_calloc(1, sizeof(*w));
    w->room = a->occupant->room;
    w->arena = arena_new(128);
    w->who = jid_copy(w->arena, &a->full);
    w->wish = *wish;
    struct question q = {.event = EVENT_onHistory, .subject = a->presence, .room = w->room->jid.full, .done = history_answered, .arg = w};
    struct verdict now;
    if (broker_raise(&q, &now)) {
        arena_free(w->arena);
        free(w);
        send_now(a, wish, cause);
        return;
    }
    w->room->refs++;
    a->history_asked = true;
}
