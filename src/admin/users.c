/* Accounts and sessions in the admin API. Passwords come in, are turned into SCRAM keys, and never go out. */
#include "admin/private.h"
#include "base/clock.h"
#include "jsm/account.h"
#include "jsm/jsm.h"
#include "router/route.h"
#include "store/store.h"
#include <stdlib.h>
#include <string.h>

int request_jid(struct request *rq, const char *text, bool account, struct jid *out, struct err *err)
{
    if (jid_parse(rq->arena, str_of(text), out, err) != 0) return err_prefix(err, "'%s'", text);
    if (!account) return 0;
    if (out->local.p == NULL || jid_is_full(out)) return err_set(err, ERR_INVALID, "'%s' is not an account: write user@domain", text);
    if (!router_domain_served(out->domain))
        return err_set(err, ERR_INVALID, "'%s': the domain is not served here; server.domains has: %s", text, admin.config->server_domains);
    return 0;
}

static int keys_of(const char *password, struct scram_keys keys[SCRAM_HASHES], struct err *err)
{
    if (account_password_check(admin.config, str_of(password), err) != 0) return -1;
    if (scram_keys_make(SCRAM_SHA1, str_of(password), SCRAM_ITERATIONS, &keys[SCRAM_SHA1], err) != 0) return -1;
    return scram_keys_make(SCRAM_SHA256, str_of(password), SCRAM_ITERATIONS, &keys[SCRAM_SHA256], err);
}

static int user_add(struct request *rq, struct err *err)
{
    struct jid jid;
    struct scram_keys keys[SCRAM_HASHES] = {0};
    const char *text = body_text(rq, "jid", err), *password = text != NULL ? body_text(rq, "password", err) : NULL;
    if (password == NULL || request_jid(rq, text, true, &jid, err) != 0 || keys_of(password, keys, err) != 0) return -1;
    struct waiter w = WAITER_INIT;
    store_account_create(jid.bare, keys, waiter_done, &w);
    if (waiter_wait(&w, err) != 0) return -1;
    rq->out = json_pack("{s:s%}", "jid", jid.bare.p, jid.bare.n);
    return 0;
}

static json_t *account_json(const struct store_account *a)
{
    json_t *o = json_pack("{s:s%, s:b}", "jid", a->user.p, a->user.n, "disabled", a->disabled);
    json_stamp(o, "created", a->created_ms);
    json_stamp(o, "last_login", a->last_login_ms);
    return o;
}

struct account_call {
    struct waiter w;
    json_t *out;
    bool more;
    unsigned limit;
};

static void account_got(void *arg, const struct store_account *account, const struct err *err)
{
    struct account_call *call = arg;
    if (account != NULL) call->out = account_json(account);
    waiter_answer(&call->w, err);
}

static int account_of_path(struct request *rq, struct jid *jid, json_t **account, struct err *err)
{
    if (request_jid(rq, rq->parts[0], true, jid, err) != 0) return -1;
    struct account_call call = {.w = WAITER_INIT};
    store_account_get(jid->bare, account_got, &call);
    if (waiter_wait(&call.w, err) != 0) return -1;
    if (call.out == NULL) return err_set(err, ERR_NOT_FOUND, "there is no account '" STR_FMT "'", STR_ARG(jid->bare));
    *account = call.out;
    return 0;
}

static void count_sessions(void *arg, const struct session_view *view)
{
    struct {
        struct str bare;
        json_t *list;
    } *call = arg;
    const char *slash = memchr(view->jid.p, '/', view->jid.n);
    struct str bare = {view->jid.p, slash != NULL ? (size_t)(slash - view->jid.p) : view->jid.n};
    if (call->bare.p != NULL && !str_eq(bare, call->bare)) return;
    json_t *o = json_pack("{s:s%, s:s, s:s, s:s, s:b, s:b, s:i, s:i}", "jid", view->jid.p, view->jid.n, "peer", view->peer != NULL ? view->peer : "", "mechanism",
                          view->mechanism != NULL ? view->mechanism : "", "tls", view->tls != NULL ? view->tls : "", "detached", view->detached, "available", view->available, "priority",
                          view->priority, "under_way", (int)view->under_way);
    json_stamp(o, "since", view->since_wall_ms);
    json_array_append_new(call->list, o);
}

static json_t *sessions_json(struct str bare)
{
    struct {
        struct str bare;
        json_t *list;
    } call = {bare, json_array()};
    jsm_sessions(count_sessions, &call);
    return call.list;
}

struct kept_call { /* what is kept for an account */
    struct waiter w;
    size_t contacts, requests, offline;
};

static void kept_got(void *arg, const struct store_user *user, const struct err *err)
{
    struct kept_call *call = arg;
    for (size_t i = 0; err == NULL && i < user->n_items; i++) {
        call->contacts += user->items[i].in_roster;
        call->requests += user->items[i].pending_in.p != NULL;
    }
    if (err == NULL) call->offline = user->offline_count;
    waiter_answer(&call->w, err);
}

static int user_show(struct request *rq, struct err *err)
{
    struct jid jid;
    if (account_of_path(rq, &jid, &rq->out, err) != 0) return -1;
    struct kept_call kept = {.w = WAITER_INIT};
    store_user_load(jid.bare, kept_got, &kept);
    if (waiter_wait(&kept.w, err) != 0) return -1;
    json_object_set_new(rq->out, "contacts", json_integer((json_int_t)kept.contacts));
    json_object_set_new(rq->out, "requests", json_integer((json_int_t)kept.requests));
    json_object_set_new(rq->out, "offline_messages", json_integer((json_int_t)kept.offline));
    json_object_set_new(rq->out, "sessions", sessions_json(jid.bare));
    return 0;
}

struct roster_call {
    struct waiter w;
    json_t *out;
};

static void roster_got(void *arg, const struct store_user *user, const struct err *err)
{
    struct roster_call *call = arg;
    for (size_t i = 0; err == NULL && i < user->n_items; i++) {
        const struct store_roster_item *item = &user->items[i];
        if (!item->in_roster) continue;
        json_t *groups = json_array(), *o = json_pack("{s:s%, s:s, s:b}", "jid", item->jid.p, item->jid.n, "subscription", subscription_name(item->subscription),
                                                      "asked", item->ask);
        for (unsigned g = 0; g < item->n_groups; g++) json_array_append_new(groups, json_stringn(item->groups[g].p, item->groups[g].n));
        json_object_set_new(o, "name", item->name.p != NULL ? json_stringn(item->name.p, item->name.n) : json_null());
        json_object_set_new(o, "groups", groups);
        json_array_append_new(call->out, o);
    }
    waiter_answer(&call->w, err);
}

static int user_roster(struct request *rq, struct err *err)
{
    struct jid jid;
    json_t *account;
    if (account_of_path(rq, &jid, &account, err) != 0) return -1;
    json_decref(account);
    struct roster_call call = {.w = WAITER_INIT, .out = json_array()};
    store_user_load(jid.bare, roster_got, &call);
    int rc = waiter_wait(&call.w, err);
    if (rc == 0) rq->out = json_pack("{s:O}", "roster", call.out);
    json_decref(call.out);
    return rc;
}

static void accounts_got(void *arg, const struct store_account *accounts, size_t n, const struct err *err)
{
    struct account_call *call = arg;
    call->out = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(call->out, account_json(&accounts[i]));
    call->more = n == call->limit;
    waiter_answer(&call->w, err);
}

static int user_list(struct request *rq, struct err *err)
{
    const char *domain = rq->query(rq, "domain"), *after = rq->query(rq, "after"), *limit = rq->query(rq, "limit");
    struct account_call call = {.w = WAITER_INIT, .limit = 1000};
    if (limit != NULL) {
        char *end;
        unsigned long n = strtoul(limit, &end, 10);
        if (*end != '\0' || n < 1 || n > 10000) return err_set(err, ERR_INVALID, "limit: a number from 1 to 10000");
        call.limit = (unsigned)n;
    }
    store_account_list(str_of(domain), str_of(after), call.limit, accounts_got, &call);
    int rc = waiter_wait(&call.w, err);
    if (rc != 0) {
        json_decref(call.out);
        return -1;
    }
    rq->out = json_pack("{s:o, s:b}", "users", call.out, "more", call.more);
    return 0;
}

static int user_password(struct request *rq, struct err *err)
{
    struct jid jid;
    struct scram_keys keys[SCRAM_HASHES] = {0};
    const char *password = body_text(rq, "password", err);
    if (password == NULL || request_jid(rq, rq->parts[0], true, &jid, err) != 0 || keys_of(password, keys, err) != 0) return -1;
    struct waiter w = WAITER_INIT;
    store_account_set_keys(jid.bare, keys, waiter_done, &w);
    return waiter_wait(&w, err);
}

static int change_account(struct request *rq, enum account_change change, struct err *err)
{
    struct jid jid;
    if (request_jid(rq, rq->parts[0], true, &jid, err) != 0) return -1;
    struct waiter w = WAITER_INIT;
    account_change(change, &jid, 0, waiter_done, &w);
    return waiter_wait(&w, err);
}

static int user_disable(struct request *rq, struct err *err) { return change_account(rq, ACCOUNT_DISABLE, err); }
static int user_enable(struct request *rq, struct err *err) { return change_account(rq, ACCOUNT_ENABLE, err); }
static int user_delete(struct request *rq, struct err *err) { return change_account(rq, ACCOUNT_REMOVE, err); }

static int session_list(struct request *rq, struct err *err)
{
    (void)err;
    rq->out = json_pack("{s:o}", "sessions", sessions_json(STR_NONE));
    return 0;
}

static int session_kick(struct request *rq, struct err *err)
{
    struct jid jid;
    if (request_jid(rq, rq->parts[0], false, &jid, err) != 0) return -1;
    unsigned n = jsm_kick(&jid, "policy-violation", "The session was ended by an administrator.");
    if (n == 0) return err_set(err, ERR_NOT_FOUND, "'%s' has no session", rq->parts[0]);
    rq->out = json_pack("{s:i}", "ended", (int)n);
    return 0;
}

const struct route user_routes[] = {
    {"GET", "/v1/users", user_list},
    {"POST", "/v1/users", user_add},
    {"GET", "/v1/users/*", user_show},
    {"GET", "/v1/users/*/roster", user_roster},
    {"DELETE", "/v1/users/*", user_delete},
    {"PUT", "/v1/users/*/password", user_password},
    {"POST", "/v1/users/*/disable", user_disable},
    {"POST", "/v1/users/*/enable", user_enable},
    {"GET", "/v1/sessions", session_list},
    {"DELETE", "/v1/sessions/*", session_kick},
    {NULL, NULL, NULL},
};
