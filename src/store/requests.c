/* What can be asked of the store: each function of store.h makes a request, with copies of all it needs in one arena, and queues it.
 *
 * A kind of request is a struct that begins with struct store_request, a run function for the store's thread, a done function that calls the
 * asker back, and a row in the table of kinds. */
#include "base/clock.h"
#include "base/list.h"
#include "store/request.h"
#include <string.h>

static const struct store_op store_ops[];
enum store_op_id {
    OP_ACCOUNT_GET,
    OP_ACCOUNT_LIST,
    OP_ACCOUNT_CREATE,
    OP_ACCOUNT_SET_KEYS,
    OP_ACCOUNT_SET_DISABLED,
    OP_ACCOUNT_SET_LOGIN,
    OP_ACCOUNT_SET_LOGOUT,
    OP_ACCOUNT_DELETE,
    OP_USER_LOAD,
    OP_OFFLINE_LOAD,
    OP_DOCUMENT_LOAD,
    OP_BATCH,
};

struct store_request *store_request_new(size_t size, const struct store_op *op)
{
    struct arena *a = arena_new(0);
    struct store_request *r = arena_zalloc(a, size);
    r->arena = a;
    r->op = op;
    return r;
}

/* ---- accounts ---- */

struct account_get {
    struct store_request r;
    struct str user;
    store_account_fn fn;
    void *arg;
    struct store_account out;
    bool found;
};

static int account_get_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_get *q = REQUEST_OF(r, account_get);
    int found = backend->account_get(q->user, r->arena, &q->out, err);
    q->found = found > 0;
    return found < 0 ? -1 : 0;
}

static void account_get_done(struct store_request *r)
{
    struct account_get *q = REQUEST_OF(r, account_get);
    q->fn(q->arg, !r->failed && q->found ? &q->out : NULL, store_request_err(r));
}

void store_account_get(struct str user, store_account_fn fn, void *arg)
{
    struct account_get *q = REQUEST_NEW(account_get, &store_ops[OP_ACCOUNT_GET]);
    q->user = arena_str(q->r.arena, user);
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

struct account_list {
    struct store_request r;
    struct str domain, after;
    unsigned limit;
    store_accounts_fn fn;
    void *arg;
    struct store_account *out;
    size_t n;
};

static int account_list_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_list *q = REQUEST_OF(r, account_list);
    return backend->account_list(q->domain, q->after, q->limit, r->arena, &q->out, &q->n, err);
}

static void account_list_done(struct store_request *r)
{
    struct account_list *q = REQUEST_OF(r, account_list);
    q->fn(q->arg, r->failed ? NULL : q->out, r->failed ? 0 : q->n, store_request_err(r));
}

void store_account_list(struct str domain, struct str after, unsigned limit, store_accounts_fn fn, void *arg)
{
    struct account_list *q = REQUEST_NEW(account_list, &store_ops[OP_ACCOUNT_LIST]);
    q->domain = arena_str(q->r.arena, domain);
    q->after = arena_str(q->r.arena, after);
    q->limit = limit;
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

/* The writes to one account differ only in what they call. */
struct account_write {
    struct store_request r;
    struct str user;
    struct scram_keys keys[SCRAM_HASHES];
    bool disabled;
    uint64_t wall_ms;
    struct str status;
    store_done_fn fn;
    void *arg;
};

static int account_create_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    return backend->account_create(q->user, q->keys, q->wall_ms, err);
}

static int account_set_keys_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    return backend->account_set_keys(q->user, q->keys, err);
}

static int account_set_disabled_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    return backend->account_set_disabled(q->user, q->disabled, err);
}

static int account_set_login_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    return backend->account_set_login(q->user, q->wall_ms, err);
}

static int account_set_logout_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    return backend->account_set_logout(q->user, q->wall_ms, q->status, err);
}

static int account_delete_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    return backend->account_delete(q->user, err);
}

static void account_write_done(struct store_request *r)
{
    struct account_write *q = REQUEST_OF(r, account_write);
    if (q->fn != NULL) q->fn(q->arg, store_request_err(r));
}

/* Keys outlive their use here no longer than necessary. */
static void account_write_release(struct store_request *r)
{
    explicit_bzero(REQUEST_OF(r, account_write)->keys, sizeof(struct scram_keys[SCRAM_HASHES]));
}

static struct account_write *account_write_new(enum store_op_id op, struct str user, store_done_fn fn, void *arg)
{
    struct account_write *q = REQUEST_NEW(account_write, &store_ops[op]);
    q->user = arena_str(q->r.arena, user);
    q->fn = fn;
    q->arg = arg;
    return q;
}

void store_account_create(struct str user, const struct scram_keys keys[SCRAM_HASHES], store_done_fn fn, void *arg)
{
    struct account_write *q = account_write_new(OP_ACCOUNT_CREATE, user, fn, arg);
    memcpy(q->keys, keys, sizeof q->keys);
    q->wall_ms = clock_wall_ms();
    store_request_submit(&q->r);
}

void store_account_set_keys(struct str user, const struct scram_keys keys[SCRAM_HASHES], store_done_fn fn, void *arg)
{
    struct account_write *q = account_write_new(OP_ACCOUNT_SET_KEYS, user, fn, arg);
    memcpy(q->keys, keys, sizeof q->keys);
    store_request_submit(&q->r);
}

void store_account_set_disabled(struct str user, bool disabled, store_done_fn fn, void *arg)
{
    struct account_write *q = account_write_new(OP_ACCOUNT_SET_DISABLED, user, fn, arg);
    q->disabled = disabled;
    store_request_submit(&q->r);
}

void store_account_delete(struct str user, store_done_fn fn, void *arg)
{
    struct account_write *q = account_write_new(OP_ACCOUNT_DELETE, user, fn, arg);
    store_request_submit(&q->r);
}

void store_account_touch_login(struct str user, uint64_t wall_ms)
{
    struct account_write *q = account_write_new(OP_ACCOUNT_SET_LOGIN, user, NULL, NULL);
    q->wall_ms = wall_ms;
    store_request_submit(&q->r);
}

void store_account_touch_logout(struct str user, uint64_t wall_ms, struct str status)
{
    struct account_write *q = account_write_new(OP_ACCOUNT_SET_LOGOUT, user, NULL, NULL);
    q->wall_ms = wall_ms;
    q->status = arena_str(q->r.arena, status);
    store_request_submit(&q->r);
}

/* ---- a user's data ---- */

struct user_load {
    struct store_request r;
    struct str user;
    store_user_fn fn;
    void *arg;
    struct store_user out;
};

static int user_load_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct user_load *q = REQUEST_OF(r, user_load);
    q->out = (struct store_user){0};
    return backend->user_load(q->user, r->arena, &q->out, err);
}

static void user_load_done(struct store_request *r)
{
    struct user_load *q = REQUEST_OF(r, user_load);
    q->fn(q->arg, r->failed ? NULL : &q->out, store_request_err(r));
}

void store_user_load(struct str user, store_user_fn fn, void *arg)
{
    struct user_load *q = REQUEST_NEW(user_load, &store_ops[OP_USER_LOAD]);
    q->user = arena_str(q->r.arena, user);
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

struct offline_load {
    struct store_request r;
    struct str user;
    uint64_t after_sid;
    unsigned limit;
    store_offline_fn fn;
    void *arg;
    struct store_offline_item *out;
    size_t n;
};

static int offline_load_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct offline_load *q = REQUEST_OF(r, offline_load);
    return backend->offline_load(q->user, q->after_sid, q->limit, r->arena, &q->out, &q->n, err);
}

static void offline_load_done(struct store_request *r)
{
    struct offline_load *q = REQUEST_OF(r, offline_load);
    q->fn(q->arg, r->failed ? NULL : q->out, r->failed ? 0 : q->n, store_request_err(r));
}

void store_offline_load(struct str user, uint64_t after_sid, unsigned limit, store_offline_fn fn, void *arg)
{
    struct offline_load *q = REQUEST_NEW(offline_load, &store_ops[OP_OFFLINE_LOAD]);
    q->user = arena_str(q->r.arena, user);
    q->after_sid = after_sid;
    q->limit = limit;
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

struct document_load {
    struct store_request r;
    struct str user, area, name;
    store_document_fn fn;
    void *arg;
    struct str out;
};

static int document_load_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct document_load *q = REQUEST_OF(r, document_load);
    q->out = STR_NONE;
    return backend->document_load(q->user, q->area, q->name, r->arena, &q->out, err) < 0 ? -1 : 0;
}

static void document_load_done(struct store_request *r)
{
    struct document_load *q = REQUEST_OF(r, document_load);
    q->fn(q->arg, r->failed ? STR_NONE : q->out, store_request_err(r));
}

void store_document_load(struct str user, const char *area, struct str name, store_document_fn fn, void *arg)
{
    struct document_load *q = REQUEST_NEW(document_load, &store_ops[OP_DOCUMENT_LOAD]);
    q->user = arena_str(q->r.arena, user);
    q->area = arena_str(q->r.arena, str_of(area));
    q->name = arena_str(q->r.arena, name);
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

const char *subscription_name(enum subscription s)
{
    static const char *const names[] = {[SUBSCRIPTION_NONE] = "none", [SUBSCRIPTION_TO] = "to", [SUBSCRIPTION_FROM] = "from", [SUBSCRIPTION_BOTH] = "both"};
    return names[s];
}

/* ---- batches ---- */

struct store_batch {
    struct store_request r;
    struct str user;
    struct store_step *steps;
    unsigned n, cap;
    store_done_fn fn;
    void *arg;
};

static int batch_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct store_batch *b = REQUEST_OF(r, store_batch);
    return backend->batch(b->user, b->steps, b->n, err);
}

static void batch_done(struct store_request *r)
{
    struct store_batch *b = REQUEST_OF(r, store_batch);
    if (b->fn != NULL) b->fn(b->arg, store_request_err(r));
}

static void batch_release(struct store_request *r)
{
    struct store_batch *b = REQUEST_OF(r, store_batch);
    for (unsigned i = 0; i < b->n; i++) {
        if (b->steps[i].kind == STEP_OFFLINE_ADD) stanza_unref(b->steps[i].u.add.stanza);
    }
}

struct store_batch *store_batch_new(struct str user)
{
    struct store_batch *b = REQUEST_NEW(store_batch, &store_ops[OP_BATCH]);
    b->user = arena_str(b->r.arena, user);
    return b;
}

static struct store_step *batch_step(struct store_batch *b, enum store_step_kind kind)
{
    if (b->n == b->cap) {
        unsigned cap = b->cap == 0 ? 2 : b->cap * 2;
        struct store_step *steps = arena_zalloc(b->r.arena, cap * sizeof *steps);
        if (b->n > 0) memcpy(steps, b->steps, b->n * sizeof *steps);
        b->steps = steps;
        b->cap = cap;
    }
    struct store_step *s = &b->steps[b->n++];
    s->kind = kind;
    return s;
}

void store_batch_roster_set(struct store_batch *b, const struct store_roster_item *item, uint64_t roster_version)
{
    struct arena *a = b->r.arena;
    struct store_step *s = batch_step(b, STEP_ROSTER_SET);
    s->roster_version = roster_version;
    s->u.item = *item;
    s->u.item.jid = arena_str(a, item->jid);
    s->u.item.name = arena_str(a, item->name);
    s->u.item.pending_in = arena_str(a, item->pending_in);
    struct str *groups = NULL;
    if (item->n_groups > 0) groups = arena_alloc(a, item->n_groups * sizeof *groups);
    for (unsigned i = 0; i < item->n_groups; i++) groups[i] = arena_str(a, item->groups[i]);
    s->u.item.groups = groups;
}

void store_batch_roster_delete(struct store_batch *b, struct str jid, uint64_t roster_version)
{
    struct store_step *s = batch_step(b, STEP_ROSTER_DELETE);
    s->roster_version = roster_version;
    s->u.jid = arena_str(b->r.arena, jid);
}

void store_batch_offline_add(struct store_batch *b, const struct stanza *stanza, uint64_t wall_ms, unsigned max_messages)
{
    struct store_step *s = batch_step(b, STEP_OFFLINE_ADD);
    s->u.add.stanza = stanza_ref(stanza);
    s->u.add.wall_ms = wall_ms;
    s->u.add.max = max_messages;
}

void store_batch_offline_delete(struct store_batch *b, uint64_t sid)
{
    batch_step(b, STEP_OFFLINE_DELETE)->u.sid = sid;
}

void store_batch_document_set(struct store_batch *b, const char *area, struct str name, struct str xml, unsigned max)
{
    struct arena *a = b->r.arena;
    batch_step(b, STEP_DOCUMENT_SET)->u.document =
        (struct store_document){.area = arena_str(a, str_of(area)), .name = arena_str(a, name), .xml = arena_str(a, xml), .max = max};
}

void store_batch_blocked_set(struct store_batch *b, struct str jid, bool blocked)
{
    struct store_step *s = batch_step(b, STEP_BLOCKED_SET);
    s->u.blocked.jid = arena_str(b->r.arena, jid);
    s->u.blocked.blocked = blocked;
}

void store_batch_noticed(struct store_batch *b, uint64_t motd_seen) { batch_step(b, STEP_NOTICED)->u.motd_seen = motd_seen; }

void store_batch_commit(struct store_batch *take, store_done_fn fn, void *arg)
{
    take->fn = fn;
    take->arg = arg;
    store_request_submit(&take->r);
}

void store_batch_free(struct store_batch *b)
{
    if (b != NULL) store_request_free(&b->r);
}

/* ---- the kinds ---- */

static const struct store_op store_ops[] = {
    [OP_ACCOUNT_GET] = {"account get", false, account_get_run, account_get_done, NULL},
    [OP_ACCOUNT_LIST] = {"account list", false, account_list_run, account_list_done, NULL},
    [OP_ACCOUNT_CREATE] = {"account create", true, account_create_run, account_write_done, account_write_release},
    [OP_ACCOUNT_SET_KEYS] = {"account set keys", true, account_set_keys_run, account_write_done, account_write_release},
    [OP_ACCOUNT_SET_DISABLED] = {"account set disabled", true, account_set_disabled_run, account_write_done, NULL},
    [OP_ACCOUNT_SET_LOGIN] = {"account set login", true, account_set_login_run, account_write_done, NULL},
    [OP_ACCOUNT_SET_LOGOUT] = {"account set logout", true, account_set_logout_run, account_write_done, NULL},
    [OP_ACCOUNT_DELETE] = {"account delete", true, account_delete_run, account_write_done, NULL},
    [OP_USER_LOAD] = {"user load", false, user_load_run, user_load_done, NULL},
    [OP_OFFLINE_LOAD] = {"offline load", false, offline_load_run, offline_load_done, NULL},
    [OP_DOCUMENT_LOAD] = {"document load", false, document_load_run, document_load_done, NULL},
    [OP_BATCH] = {"batch", true, batch_run, batch_done, batch_release},
};
