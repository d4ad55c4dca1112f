/* XEP-0133, 4.1 to 4.7: accounts made, changed, removed. Several accounts are worked on one after the other, and what cannot be done with one is
 * said in a note of its own. */
#include "jsm/account.h"
#include "jsm/features/admin.h"
#include "router/route.h"

static bool account_read(struct adhoc_call *call, struct str text, bool full, struct jid *out)
{
    struct arena *a = call->fx->arena;
    struct err err;
    if (jid_parse(a, text, out, &err) != 0 || out->local.p == NULL) {
        adhoc_fail(call, arena_printf(a, "Please provide a valid JID: '" STR_FMT "' is no account's.", STR_ARG(text)));
        return false;
    }
    if (!router_domain_served(out->domain)) {
        adhoc_fail(call, arena_printf(a, "Cannot create remote user, or change one: '" STR_FMT "' is not of this service.", STR_ARG(text)));
        return false;
    }
    if (!full) *out = jid_to_bare(a, out);
    return true;
}

struct jid *admin_accounts(struct adhoc_call *call, const struct form_value *value, bool full, unsigned *n)
{
    struct jid *accounts = arena_zalloc(call->fx->arena, (value->n + 1) * sizeof(*accounts));
    *n = 0;
    if ((int64_t)value->n > jsm->config->adhoc_max_items) {
        adhoc_fail(call, arena_printf(call->fx->arena, "At most %lld accounts at once.", (long long)jsm->config->adhoc_max_items));
        return NULL;
    }
    for (unsigned i = 0; i < value->n; i++) {
        if (value->values[i].n == 0) continue; /* an empty line of a form */
        if (!account_read(call, value->values[i], full, &accounts[*n])) return NULL;
        (*n)++;
    }
    return accounts;
}

static void done(void *arg, const struct err *err)
{
    struct adhoc_call *call = arg;
    if (err == NULL)
        adhoc_done(call);
    else
        adhoc_failed(call, err);
}

void admin_add_user(struct adhoc_call *call)
{
    struct jid account;
    if (!account_read(call, form_first(&call->values[0]), false, &account)) return;
    if (!str_eq(form_first(&call->values[1]), form_first(&call->values[2])))
        adhoc_fail(call, "Passwords do not match.");
    else
        account_create(&account, form_first(&call->values[1]), done, call);
}

void admin_change_password(struct adhoc_call *call)
{
    struct jid account;
    if (account_read(call, form_first(&call->values[0]), false, &account)) account_set_password(&account, form_first(&call->values[1]), done, call);
}

/* ---- one account after the other ---- */
struct each {
    enum account_change change;
    const struct jid *accounts;
    unsigned n, at;
    bool failed, self;
};

/* The administrator's own session ends when it has been told. */
static void end_own(uint64_t session)
{
    struct session *s = session_get(session);
    if (s != NULL) session_kick(s, "not-authorized", "The session was ended, or its account removed or disabled.");
}

static void next_account(void *arg, const struct err *err)
{
    struct adhoc_call *call = arg;
    struct each *each = call->state;
    if (err != NULL) {
        adhoc_note(call, "error", err->text);
        each->failed = true;
    } else if (each->at > 0 && jid_bare_eq(&each->accounts[each->at - 1], &call->fx->user->jid) && each->change != ACCOUNT_ENABLE) {
        const struct session *own = session_get(call->fx->session);
        struct str resource = each->accounts[each->at - 1].resource;
        each->self = resource.p == NULL || (own != NULL && str_eq(resource, own->full.resource));
    }
    if (each->at < each->n) {
        const struct jid *account = &each->accounts[each->at++];
        account_change(each->change, account, call->fx->session, next_account, call);
        return;
    }
    if (each->self) effect_after(call->fx, end_own);
    adhoc_done(call);
}

static void each_account(struct adhoc_call *call, enum account_change change)
{
    struct each *each = call->state = arena_zalloc(call->fx->arena, sizeof(*each));
    each->change = change;
    each->accounts = admin_accounts(call, &call->values[0], change == ACCOUNT_END_SESSIONS, &each->n);
    if (each->accounts != NULL) next_account(call, NULL);
}

void admin_delete_user(struct adhoc_call *call) { each_account(call, ACCOUNT_REMOVE); }
void admin_disable_user(struct adhoc_call *call) { each_account(call, ACCOUNT_DISABLE); }
void admin_reenable_user(struct adhoc_call *call) { each_account(call, ACCOUNT_ENABLE); }
void admin_end_user_session(struct adhoc_call *call) { each_account(call, ACCOUNT_END_SESSIONS); }
