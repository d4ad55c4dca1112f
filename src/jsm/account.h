/* Accounts made, given a password and removed while the service runs: for in-band registration, ad-hoc administration and the admin API alike. */
#ifndef SIGNET_JSM_ACCOUNT_H
#define SIGNET_JSM_ACCOUNT_H
#include "base/config.h"
#include "store/store.h"
#include "xmpp/jid.h"

/* Whether a password may be set: register.password_min. Any thread. */
must_check int account_password_check(const struct config *config, struct str password, struct err *err);
/* Workers only; fn is called on the same worker, never before return. The keys are derived on a pool thread. ERR_EXISTS, ERR_NOT_FOUND,
 * ERR_INVALID (a password that cannot be used). */
void account_create(const struct jid *user, struct str password, store_done_fn fn, void *arg);
void account_set_password(const struct jid *user, struct str password, store_done_fn fn, void *arg);
/* Removes an account with all its data. Before, its presence and its subscriptions end with everybody, so that no other roster keeps what nobody
 * answers for. Its sessions are closed, but for `spare` (0: none), which the caller closes once it has told it. ERR_NOT_FOUND. Any thread: fn is
 * called on the worker that called, for other threads on one of the workers; never before return on a worker. */
void account_remove(const struct jid *user, uint64_t spare, store_done_fn fn, void *arg);
enum account_change {
    ACCOUNT_REMOVE,
    ACCOUNT_DISABLE, /* its sessions end, nobody logs in; nothing when it is disabled */
    ACCOUNT_ENABLE, /* nothing when it is enabled */
    ACCOUNT_END_SESSIONS, /* all, or that of the full JID; not an error when there is none */
};
/* The others in the same way. */
void account_change(enum account_change change, const struct jid *user, uint64_t spare, store_done_fn fn, void *arg);

#endif
