/* Requests about rooms. As those of requests.c. */
#include "store/request.h"

/* ---- reading ---- */
struct room_read {
    struct store_request r;
    struct str room;
    store_room_fn fn;
    store_rooms_fn list_fn;
    void *arg;
    struct store_room out, *all;
    size_t n;
    bool found;
};

static int room_load_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct room_read *q = REQUEST_OF(r, room_read);
    q->out = (struct store_room){0};
    int found = backend->room_load(q->room, r->arena, &q->out, err);
    q->found = found > 0;
    return found < 0 ? -1 : 0;
}

static void room_load_done(struct store_request *r)
{
    struct room_read *q = REQUEST_OF(r, room_read);
    q->fn(q->arg, !r->failed && q->found ? &q->out : NULL, store_request_err(r));
}

static int room_list_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct room_read *q = REQUEST_OF(r, room_read);
    return backend->room_list(r->arena, &q->all, &q->n, err);
}

static void room_list_done(struct store_request *r)
{
    struct room_read *q = REQUEST_OF(r, room_read);
    q->list_fn(q->arg, r->failed ? NULL : q->all, r->failed ? 0 : q->n, store_request_err(r));
}

static const struct store_op room_load_op = {"room load", false, room_load_run, room_load_done, NULL};
static const struct store_op room_list_op = {"room list", false, room_list_run, room_list_done, NULL};

void store_room_load(struct str room, store_room_fn fn, void *arg)
{
    struct room_read *q = REQUEST_NEW(room_read, &room_load_op);
    q->room = arena_str(q->r.arena, room);
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

void store_room_list(store_rooms_fn fn, void *arg)
{
    struct room_read *q = REQUEST_NEW(room_read, &room_list_op);
    q->list_fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

/* ---- writing ---- */
struct store_room_batch {
    struct store_request r;
    struct str room;
    struct store_room_step *first, **last;
    store_done_fn fn;
    void *arg;
};

static int room_batch_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct store_room_batch *b = REQUEST_OF(r, store_room_batch);
    return backend->room_batch(b->room, b->first, err);
}

static void room_batch_done(struct store_request *r)
{
    struct store_room_batch *b = REQUEST_OF(r, store_room_batch);
    if (b->fn != NULL) b->fn(b->arg, store_request_err(r));
}

static void room_batch_release(struct store_request *r)
{
    for (struct store_room_step *s = REQUEST_OF(r, store_room_batch)->first; s != NULL; s = s->next)
        if (s->kind == ROOM_STEP_PAST_ADD) stanza_unref(s->u.past.stanza);
}

static const struct store_op room_batch_op = {"room batch", true, room_batch_run, room_batch_done, room_batch_release};

struct store_room_batch *store_room_batch_new(struct str room)
{
    struct store_room_batch *b = REQUEST_NEW(store_room_batch, &room_batch_op);
    b->room = arena_str(b->r.arena, room);
    b->last = &b->first;
    return b;
}

static struct store_room_step *step(struct store_room_batch *b, enum store_room_step_kind kind)
{
    struct store_room_step *s = arena_zalloc(b->r.arena, sizeof(*s));
    s->kind = kind;
    *b->last = s;
    b->last = &s->next;
    return s;
}

void store_room_batch_set(struct store_room_batch *b, const struct store_room_fields *fields)
{
    struct store_room_step *s = step(b, ROOM_STEP_SET);
    s->u.fields = *fields;
    s->u.fields.config = arena_str(b->r.arena, fields->config);
    s->u.fields.subject = arena_str(b->r.arena, fields->subject);
    s->u.fields.vcard = arena_str(b->r.arena, fields->vcard);
}

void store_room_batch_delete(struct store_room_batch *b) { step(b, ROOM_STEP_DELETE); }

void store_room_batch_affiliated(struct store_room_batch *b, const struct store_affiliated *a)
{
    struct arena *arena = b->r.arena;
    step(b, ROOM_STEP_AFFILIATED)->u.affiliated =
        (struct store_affiliated){arena_str(arena, a->jid), arena_str(arena, a->affiliation), arena_str(arena, a->nick), arena_str(arena, a->reason)};
}

void store_room_batch_past_add(struct store_room_batch *b, const struct stanza *stanza, uint64_t wall_ms, unsigned keep)
{
    struct store_room_step *s = step(b, ROOM_STEP_PAST_ADD);
    s->u.past.stanza = stanza_ref(stanza);
    s->u.past.wall_ms = wall_ms;
    s->u.past.keep = keep;
}

void store_room_batch_past_delete(struct store_room_batch *b, uint64_t sid) { step(b, ROOM_STEP_PAST_DELETE)->u.sid = sid; }

void store_room_batch_commit(struct store_room_batch *take, store_done_fn fn, void *arg)
{
    take->fn = fn;
    take->arg = arg;
    store_request_submit(&take->r);
}

void store_room_batch_free(struct store_room_batch *b)
{
    if (b != NULL) store_request_free(&b->r);
}
