/* Requests about the service as a whole: the names and number of its accounts, its notices. As those of requests.c. */
#include "store/request.h"

/* ---- names of accounts ---- */
struct account_names {
    struct store_request r;
    struct str domain;
    bool disabled;
    unsigned limit;
    store_names_fn fn;
    void *arg;
    struct str *out;
    size_t n;
    uint64_t total;
};

static int account_names_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct account_names *q = REQUEST_OF(r, account_names);
    return backend->account_names(q->domain, q->disabled, q->limit, r->arena, &q->out, &q->n, &q->total, err);
}

static void account_names_done(struct store_request *r)
{
    struct account_names *q = REQUEST_OF(r, account_names);
    q->fn(q->arg, r->failed ? NULL : q->out, r->failed ? 0 : q->n, r->failed ? 0 : q->total, store_request_err(r));
}

static const struct store_op account_names_op = {"account names", false, account_names_run, account_names_done, NULL};

void store_account_names(struct str domain, bool disabled, unsigned limit, store_names_fn fn, void *arg)
{
    struct account_names *q = REQUEST_NEW(account_names, &account_names_op);
    q->domain = arena_str(q->r.arena, domain);
    q->disabled = disabled;
    q->limit = limit;
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

/* ---- notices ---- */
struct notice {
    struct store_request r;
    struct store_notice one; /* to be set */
    bool anew;
    store_notices_fn fn;
    void *arg;
    struct store_notice *out;
    size_t n;
};

static int notice_load_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct notice *q = REQUEST_OF(r, notice);
    return backend->notice_load(r->arena, &q->out, &q->n, err);
}

static int notice_set_run(struct store_request *r, const struct store_backend *backend, struct err *err)
{
    struct notice *q = REQUEST_OF(r, notice);
    q->out = &q->one;
    q->n = 1;
    return backend->notice_set(q->one.domain, q->one.kind, q->one.text, q->anew, &q->one.version, err);
}

static void notice_done(struct store_request *r)
{
    struct notice *q = REQUEST_OF(r, notice);
    q->fn(q->arg, r->failed ? NULL : q->out, r->failed ? 0 : q->n, store_request_err(r));
}

static const struct store_op notice_load_op = {"notice load", false, notice_load_run, notice_done, NULL};
static const struct store_op notice_set_op = {"notice set", true, notice_set_run, notice_done, NULL};

void store_notice_load(store_notices_fn fn, void *arg)
{
    struct notice *q = REQUEST_NEW(notice, &notice_load_op);
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}

void store_notice_set(struct str domain, const char *kind, struct str text, bool anew, store_notices_fn fn, void *arg)
{
    struct notice *q = REQUEST_NEW(notice, &notice_set_op);
    q->one.domain = arena_str(q->r.arena, domain);
    q->one.kind = arena_str(q->r.arena, str_of(kind));
    q->one.text = arena_str(q->r.arena, text);
    q->anew = anew;
    q->fn = fn;
    q->arg = arg;
    store_request_submit(&q->r);
}
