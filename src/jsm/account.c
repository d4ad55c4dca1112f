/* Accounts: the slow part (key derivation) on the pool, the changes by the store, and what an account's end means to others. */
#include "jsm/account.h"
#include "base/log.h"
#include "io/offload.h"
#include "jsm/session.h"
#include "router/route.h"
#include <stdlib.h>
#include <string.h>

int account_password_check(const struct config *config, struct str password, struct err *err)
{
    int64_t min = config->register_password_min;
    if (password.n >= (size_t)min) return 0;
    if (min == 1) return err_set(err, ERR_INVALID, "the password is empty");
    return err_set(err, ERR_INVALID, "the password has fewer than %lld bytes", (long long)min);
}

/* ---- made, or given another password ---- */
struct keys_job {
    char *user, *password;
    struct scram_keys keys[SCRAM_HASHES];
    struct err err;
    const struct config *config;
    bool create, failed;
    store_done_fn fn;
    void *arg;
};

static void keys_work(void *arg)
{
    struct keys_job *job = arg;
    struct str password = str_of(job->password);
    job->failed = account_password_check(job->config, password, &job->err) != 0;
    for (unsigned hash = 0; hash < SCRAM_HASHES && !job->failed; hash++)
        job->failed = scram_keys_make((enum scram_hash)hash, password, SCRAM_ITERATIONS, &job->keys[hash], &job->err) != 0;
    explicit_bzero(job->password, password.n);
}

static void keys_told(void *arg, const struct err *err)
{
    struct keys_job *job = arg;
    job->fn(job->arg, err);
    explicit_bzero(job->keys, sizeof(job->keys));
    free(job->user);
    free(job->password);
    free(job);
}

static void keys_done(void *arg)
{
    struct keys_job *job = arg;
    if (job->failed)
        keys_told(job, &job->err);
    else if (job->create)
        store_account_create(str_of(job->user), job->keys, keys_told, job);
    else
        store_account_set_keys(str_of(job->user), job->keys, keys_told, job);
}

static void keys_start(const struct jid *user, struct str password, bool create, store_done_fn fn, void *arg)
{
    struct keys_job *job = x_calloc(1, sizeof(*job));
    job->user = str_dup(user->bare);
    job->password = str_dup(password);
    job->config = jsm->config;
    job->create = create;
    job->fn = fn;
    job->arg = arg;
    worker_offload(keys_work, keys_done, job);
}

void account_create(const struct jid *user, struct str password, store_done_fn fn, void *arg) { keys_start(user, password, true, fn, arg); }
void account_set_password(const struct jid *user, struct str password, store_done_fn fn, void *arg) { keys_start(user, password, false, fn, arg); }

/* ---- removed, or changed in other ways that its sessions feel ---- */
struct removal {
    struct msg msg;
    enum account_change change;
    struct arena *arena;
    struct jid user;
    struct str resource; /* the only session meant; absent: all */
    uint64_t spare;
    uint32_t home; /* who asked; WORKER_NONE: no worker */
    bool failed;
    struct err err;
    store_done_fn fn;
    void *arg;
};

static void removal_told(struct removal *r)
{
    r->fn(r->arg, r->failed ? &r->err : NULL);
    arena_free(r->arena);
    free(r);
}

static void removal_at_home(struct msg *msg) { removal_told(CONTAINER_OF(msg, struct removal, msg)); }

static void removal_finish(struct removal *r, const struct err *err)
{
    r->failed = err != NULL;
    if (err != NULL) r->err = *err;
    if (r->home == WORKER_NONE || r->home == worker_id()) {
        removal_told(r);
        return;
    }
    r->msg.run = removal_at_home;
    worker_post(r->home, &r->msg);
}

static void sessions_close(const struct removal *r, struct user *u)
{
    u->refs++;
    if (r->change != ACCOUNT_END_SESSIONS) {
        u->gone = true;
        map_del(&jsm->users, u->jid.bare); /* the next stanza for this name finds the store's answer, not ours */
    }
    size_t n;
    uint64_t *ids = user_session_ids(u, &n);
    for (size_t i = 0; i < n; i++) {
        struct session *s = session_get(ids[i]);
        if (s == NULL || s->id == r->spare || (s->state != SESSION_OPEN && s->state != SESSION_BINDING)) continue;
        if (r->resource.p != NULL && !str_eq(r->resource, s->full.resource)) continue;
        if (r->change == ACCOUNT_END_SESSIONS)
            session_kick(s, "policy-violation", "The session was ended by an administrator.");
        else
            session_kick(s, "not-authorized", "The account was removed or disabled.");
    }
    free(ids);
    user_release(u);
}

static const char *const change_names[] = {"removed", "disabled", "enabled", "logged out"};

static void removal_stored(void *arg, const struct err *err)
{
    struct removal *r = arg;
    struct user *u = user_find(r->user.bare);
    if (u != NULL && err != NULL) user_reload(u);
    if (u != NULL && err == NULL) sessions_close(r, u);
    if (err == NULL) log_notice("jsm", "the account '%s' was %s", r->user.full.p, change_names[r->change]);
    removal_finish(r, err);
}

/* What is so already is left alone: no session of an account that is enabled ends because somebody enables it. */
static void removal_known(void *arg, const struct store_account *account, const struct err *err)
{
    struct removal *r = arg;
    struct err none;
    bool disable = r->change == ACCOUNT_DISABLE;
    if (err == NULL && account == NULL) {
        err_set(&none, ERR_NOT_FOUND, "there is no account '%s'", r->user.full.p);
        err = &none;
    }
    if (err != NULL || (r->change != ACCOUNT_END_SESSIONS && account->disabled == disable))
        removal_finish(r, err);
    else if (r->change == ACCOUNT_END_SESSIONS)
        removal_stored(r, NULL);
    else
        store_account_set_disabled(r->user.bare, disable, removal_stored, r);
}

static void say(const struct removal *r, const struct jid *contact, enum stanza_type type)
{
    router_route(stanza_make(STANZA_PRESENCE, type, &r->user, contact, STR_NONE, STR("")), (struct ticket){0}, 0);
}

/* To one contact: unavailable, then the end of the subscriptions, both ways (as RFC 6121, 2.5.2 has it for one that is removed from a roster). */
static void part_from(const struct removal *r, const struct store_roster_item *item)
{
    struct jid contact;
    struct err err;
    struct user *u = user_find(r->user.bare);
    if (jid_parse(r->arena, item->jid, &contact, &err) != 0) return;
    bool to = item->subscription == SUBSCRIPTION_TO || item->subscription == SUBSCRIPTION_BOTH;
    bool from = item->subscription == SUBSCRIPTION_FROM || item->subscription == SUBSCRIPTION_BOTH;
    if (from && u != NULL) {
        LIST_EACH(node, &u->sessions)
        {
            struct session *s = CONTAINER_OF(node, struct session, node);
            if (!session_available(s)) continue;
            struct stanza *gone = stanza_make(STANZA_PRESENCE, PRESENCE_UNAVAILABLE, &s->full, &contact, STR_NONE, STR(""));
            router_route(gone, (struct ticket){0}, PARCEL_COPY);
        }
    }
    if (to || item->ask) say(r, &contact, PRESENCE_UNSUBSCRIBE);
    if (from || item->pending_in.p != NULL) say(r, &contact, PRESENCE_UNSUBSCRIBED);
    if (u != NULL) roster_drop(u, contact.bare); /* its sessions' last presence has nobody to go to any more */
}

static void removal_loaded(void *arg, const struct store_user *user, const struct err *err)
{
    struct removal *r = arg;
    if (err != NULL) {
        removal_finish(r, err);
        return;
    }
    for (size_t i = 0; i < user->n_items; i++) part_from(r, &user->items[i]);
    store_account_delete(r->user.bare, removal_stored, r);
}

/* On the user's own worker. What was asked of the store for him before is done before. */
static void removal_start(struct msg *msg)
{
    struct removal *r = CONTAINER_OF(msg, struct removal, msg);
    if (r->change == ACCOUNT_REMOVE)
        store_user_load(r->user.bare, removal_loaded, r);
    else
        store_account_get(r->user.bare, removal_known, r);
}

void account_remove(const struct jid *user, uint64_t spare, store_done_fn fn, void *arg) { account_change(ACCOUNT_REMOVE, user, spare, fn, arg); }

void account_change(enum account_change change, const struct jid *user, uint64_t spare, store_done_fn fn, void *arg)
{
    struct removal *r = x_calloc(1, sizeof(*r));
    r->change = change;
    r->arena = arena_new(0);
    r->user = jid_to_bare(r->arena, user);
    if (change == ACCOUNT_END_SESSIONS) r->resource = arena_str(r->arena, user->resource);
    r->spare = spare;
    r->home = worker_id();
    r->fn = fn;
    r->arg = arg;
    r->msg.run = removal_start;
    worker_post(router_owner(&r->user), &r->msg);
}
