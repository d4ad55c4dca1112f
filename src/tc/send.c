/* What a room sends: to whoever asked, to one session, to all or some of those in it. Each is sent because of a request, whose ticket waits for it.
 */
#include "tc/request.h"
#include <stdlib.h>

static struct parcel *parcel_of(const struct request *cause) { return cause != NULL ? cause->parcel : NULL; }

void send_reply(struct request *r, struct stanza *take)
{
    if (take == NULL) return;
    if (r->self_made) {
        stanza_unref(r->answer);
        r->answer = take;
        return;
    }
    router_route_for(take, r->parcel, PARCEL_ROOM);
}

static struct stanza *with_offending(const struct request *r, struct stanza *take)
{
    struct buf b = {0};
    buf_add_str(&b, r->offending);
    buf_add_str(&b, take->inner);
    struct str inner = buf_str(&b);
    struct stanza_change change = {.inner = &inner};
    struct stanza *error = stanza_with(take, &change);
    buf_free(&b);
    stanza_unref(take);
    return error;
}

struct stanza *send_as_room(const struct request *r, struct stanza *take)
{
    bool enters = r->stanza->kind == STANZA_PRESENCE && stanza_child(r->stanza, "x", NS_MUC) != NULL;
    if (take == NULL || !enters || take->kind != STANZA_PRESENCE || take->type != PRESENCE_ERROR || stanza_child(take, "x", NS_MUC) != NULL)
        return take;
    struct stanza *marked = stanza_with_child(take, NULL, "x", NS_MUC, STR("<x xmlns='" NS_MUC "'/>"));
    stanza_unref(take);
    return marked;
}

void send_error(struct request *r, const char *condition, const char *type, const char *text)
{
    if (r->parcel->flags & (PARCEL_COPY | PARCEL_NO_EVENTS)) return;
    struct stanza *error = stanza_error_with(r->stanza, condition, type, text, r->own_condition, r->own_ns);
    if (error != NULL && r->offending.n > 0) error = with_offending(r, error);
    send_reply(r, send_as_room(r, error));
}

/* ---- behind the history ---- */
struct copy {
    struct list node; /* in attendee->waiting */
    struct stanza *stanza;
    struct parcel *cause; /* a reference, or NULL */
    unsigned flags;
};

static void copy_wait(struct attendee *a, const struct stanza *s, struct parcel *cause, unsigned flags)
{
    struct copy *c = x_calloc(1, sizeof(*c));
    c->stanza = stanza_ref(s);
    c->cause = cause != NULL ? parcel_ref(cause) : NULL;
    c->flags = flags;
    list_push_back(&a->waiting, &c->node);
}

static void copies_over(struct attendee *a, bool send)
{
    struct list *node;
    while ((node = list_pop_front(&a->waiting)) != NULL) {
        struct copy *c = CONTAINER_OF(node, struct copy, node);
        struct stanza_change change = {.to = &a->full};
        if (send) router_route_for(stanza_with(c->stanza, &change), c->cause, PARCEL_ROOM | c->flags);
        parcel_unref(c->cause);
        stanza_unref(c->stanza);
        free(c);
    }
}

void copies_send(struct attendee *a) { copies_over(a, true); }
void copies_drop(struct attendee *a) { copies_over(a, false); }

/* ---- to those in the room ---- */
void send_private(struct attendee *a, const struct stanza *s, const struct request *cause, unsigned flags)
{
    if (a->history_asked) {
        copy_wait(a, s, cause->parcel, flags);
        return;
    }
    struct stanza_change change = {.to = &a->full};
    router_route_for(stanza_with(s, &change), cause->parcel, PARCEL_ROOM | flags);
}

void send_to(const struct attendee *a, struct stanza *take, const struct request *cause)
{
    struct stanza_change change = {.to = &a->full};
    struct stanza *out = stanza_with(take, &change);
    stanza_unref(take);
    router_route_for(out, parcel_of(cause), PARCEL_ROOM | PARCEL_COPY);
}

void send_to_all(struct room *room, struct stanza *take, struct crowd crowd, const struct request *cause)
{
    struct fanout *f = fanout_new(take, parcel_of(cause), PARCEL_COPY);
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&room->attendees, &it, &key, &value)) {
        struct attendee *a = value;
        if (crowd.fits != NULL && !crowd.fits(crowd.arg, a)) continue;
        if (a->history_asked)
            copy_wait(a, take, parcel_of(cause), PARCEL_COPY);
        else
            fanout_add(f, &a->full);
    }
    fanout_send(f);
}
