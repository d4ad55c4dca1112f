/* XEP-0133, 4.8 to 4.10: an account's roster, last login, statistics. What the store has is read from it; of sessions their worker is asked. */
#include "base/clock.h"
#include "io/worker.h"
#include "jsm/features/admin.h"
#include "router/route.h"

/* ---- several accounts, one after the other ---- */
struct facts {
    struct jid *accounts;
    unsigned n, at;
    struct str *names, *values; /* of each account */
    struct buf rosters;
};

static struct facts *facts_new(struct adhoc_call *call)
{
    struct facts *f = call->state = arena_zalloc(call->fx->arena, sizeof(*f));
    f->accounts = admin_accounts(call, &call->values[0], false, &f->n);
    if (f->accounts == NULL) return NULL;
    f->names = arena_zalloc(call->fx->arena, (f->n + 1) * sizeof(*f->names));
    f->values = arena_zalloc(call->fx->arena, (f->n + 1) * sizeof(*f->values));
    for (unsigned i = 0; i < f->n; i++) f->names[i] = f->accounts[i].bare;
    return f;
}

static void facts_failed(struct adhoc_call *call, const struct jid *account, const struct err *err)
{
    struct err none;
    if (err == NULL) err_set(&none, ERR_NOT_FOUND, "There is no account '%s'.", account->full.p);
    adhoc_failed(call, err != NULL ? err : &none);
}

/* ---- 4.8 ---- */
static void roster_next(struct adhoc_call *call);

static void roster_read(void *arg, const struct store_account *account, const struct err *err);

static void roster_loaded(void *arg, const struct store_user *user, const struct err *err)
{
    struct adhoc_call *call = arg;
    struct facts *f = call->state;
    if (err != NULL) {
        buf_free(&f->rosters);
        adhoc_failed(call, err);
        return;
    }
    roster_write(&f->rosters, user->items, user->n_items);
    f->at++;
    roster_next(call);
}

static void roster_read(void *arg, const struct store_account *account, const struct err *err)
{
    struct adhoc_call *call = arg;
    struct facts *f = call->state;
    if (account != NULL) { /* a disabled one has a roster too */
        store_user_load(f->accounts[f->at].bare, roster_loaded, call);
        return;
    }
    buf_free(&f->rosters);
    facts_failed(call, &f->accounts[f->at], err);
}

static void roster_next(struct adhoc_call *call)
{
    struct facts *f = call->state;
    if (f->at < f->n) {
        store_account_get(f->accounts[f->at].bare, roster_read, call);
        return;
    }
    struct buf b = {0};
    form_result_begin(&b, &call->command->form);
    form_result_field(&b, "accountjids", FIELD_JID_MULTI, NULL, f->names, f->n);
    buf_add_str(&b, buf_str(&f->rosters));
    form_result_end(&b);
    buf_free(&f->rosters);
    adhoc_result(call, buf_str(&b));
    buf_free(&b);
}

void admin_get_roster(struct adhoc_call *call)
{
    if (facts_new(call) != NULL) roster_next(call);
}

/* ---- 4.9 ---- */
static void lastlogin_next(struct adhoc_call *call);

static void lastlogin_read(void *arg, const struct store_account *account, const struct err *err)
{
    struct adhoc_call *call = arg;
    struct facts *f = call->state;
    if (account == NULL) {
        facts_failed(call, &f->accounts[f->at], err);
        return;
    }
    char stamp[CLOCK_STAMP_SIZE] = "";
    if (account->last_login_ms != 0) clock_stamp(account->last_login_ms, stamp);
    f->values[f->at++] = arena_str(call->fx->arena, str_of(stamp)); /* never: an empty value in its place */
    lastlogin_next(call);
}

static void lastlogin_next(struct adhoc_call *call)
{
    struct facts *f = call->state;
    if (f->at < f->n) {
        store_account_get(f->accounts[f->at].bare, lastlogin_read, call);
        return;
    }
    struct buf b = {0};
    form_result_begin(&b, &call->command->form);
    form_result_field(&b, "accountjids", FIELD_JID_MULTI, NULL, f->names, f->n);
    form_result_field(&b, "lastlogin", f->n > 1 ? FIELD_TEXT_MULTI : FIELD_TEXT_SINGLE, NULL, f->values, f->n);
    form_result_end(&b);
    adhoc_result(call, buf_str(&b));
    buf_free(&b);
}

void admin_get_lastlogin(struct adhoc_call *call)
{
    if (facts_new(call) != NULL) lastlogin_next(call);
}

/* ---- 4.10 ---- */
#define SESSIONS_SHOWN 256
struct stats {
    struct adhoc_call *call;
    struct jid account;
    size_t roster;
    struct str addresses[SESSIONS_SHOWN], resources[SESSIONS_SHOWN];
    unsigned n, n_addresses;
    double per_second;
};

static void stats_of_session(struct stats *st, const struct session *s)
{
    struct arena *a = st->call->fx->arena; /* its owner waits: nobody else uses it meanwhile */
    uint64_t now = clock_wall_ms(), ms = now > s->since_wall_ms ? now - s->since_wall_ms : 1;
    st->per_second += (double)s->window.next * 1000 / (double)ms;
    st->resources[st->n++] = arena_str(a, s->full.resource);
    if (s->c2s == NULL) return;
    char address[64];
    c2s_peer_address(s->c2s, address, sizeof(address));
    for (unsigned i = 0; i < st->n_addresses; i++)
        if (str_is(st->addresses[i], address)) return;
    st->addresses[st->n_addresses++] = arena_str(a, str_of(address));
}

static void stats_on_worker(uint32_t worker, void *arg)
{
    struct stats *st = arg;
    const struct user *u = worker == router_owner(&st->account) ? user_find(st->account.bare) : NULL;
    if (u == NULL) return;
    LIST_EACH(node, &u->sessions)
    {
        const struct session *s = CONTAINER_OF(node, struct session, node);
        if (s->state == SESSION_OPEN && session_takes(s) && st->n < SESSIONS_SHOWN) stats_of_session(st, s);
    }
}

static void stats_gathered(void *arg)
{
    struct stats *st = arg;
    struct adhoc_call *call = st->call;
    struct arena *a = call->fx->arena;
    struct str roster = str_of(arena_printf(a, "%zu", st->roster)), rate = str_of(arena_printf(a, "%.3f", st->per_second));
    struct buf b = {0};
    form_result_begin(&b, &call->command->form);
    form_result_field(&b, "ipaddresses", FIELD_LIST_MULTI, "The IP addresses of the online sessions", st->addresses, st->n_addresses);
    form_result_field(&b, "rostersize", FIELD_TEXT_SINGLE, "Number of roster items", &roster, 1);
    form_result_field(&b, "onlineresources", FIELD_TEXT_MULTI, "The names of the online sessions", st->resources, st->n);
    form_result_field(&b, "stanzaspersecond", FIELD_TEXT_SINGLE, "Stanzas sent per second, on average since login", &rate, 1);
    form_result_end(&b);
    adhoc_result(call, buf_str(&b));
    buf_free(&b);
}

static void stats_loaded(void *arg, const struct store_user *user, const struct err *err)
{
    struct stats *st = arg;
    if (err != NULL) {
        adhoc_failed(st->call, err);
        return;
    }
    for (size_t i = 0; i < user->n_items; i++) st->roster += user->items[i].in_roster;
    worker_each(stats_on_worker, stats_gathered, st);
}

static void stats_read(void *arg, const struct store_account *account, const struct err *err)
{
    struct stats *st = arg;
    if (account != NULL)
        store_user_load(st->account.bare, stats_loaded, st);
    else
        facts_failed(st->call, &st->account, err);
}

void admin_user_stats(struct adhoc_call *call)
{
    struct stats *st = call->state = arena_zalloc(call->fx->arena, sizeof(*st));
    unsigned n;
    const struct form_value *value = form_first(&call->values[0]).n > 0 ? &call->values[0] : &call->values[1];
    const struct jid *accounts = admin_accounts(call, value, false, &n);
    if (accounts == NULL) return;
    if (n != 1) {
        adhoc_fail(call, "Name one account.");
        return;
    }
    st->call = call;
    st->account = accounts[0];
    store_account_get(st->account.bare, stats_read, st);
}
