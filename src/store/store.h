/* The store: asynchronous, with its own thread; requests of one user are done in order, reads included; many share one transaction (group commit).
 * Backends: SQLite (store/sqlite*.c). Callers never see SQL.
 * Callbacks: on the worker that asked, from its mailbox, never before return; when a non-worker thread asks, on the store's own thread.
 * Results are borrowed until the callback returns. A write's callback comes after its commit is on disk (synchronous=FULL). */
#ifndef SIGNET_STORE_STORE_H
#define SIGNET_STORE_STORE_H
#include "base/config.h"
#include "xmpp/scram.h"
#include "xmpp/stanza.h"

must_check int store_start(const struct config *config, struct err *err); /* opens, migrates, starts the thread */
/* Not on a worker: waits until every request is answered and its callback has run, and those that callbacks made too. False: not within wait_ms. */
bool store_settle(uint64_t wait_ms);
void store_stop(void); /* commits what is queued, then closes */
uint32_t store_boot_number(void); /* counts starts of this store; for stanza_ids_start */

typedef void (*store_done_fn)(void *arg, const struct err *err); /* err NULL: done and durable */

/* ---- accounts ---- */
struct store_account {
    struct str user; /* bare JID */
    struct scram_keys keys[SCRAM_HASHES];
    bool disabled;
    uint64_t created_ms, last_login_ms; /* wall clock; 0: never */
    uint64_t generation; /* differs when an account is deleted and made again */
};
/* account NULL and err NULL: no such account */
typedef void (*store_account_fn)(void *arg, const struct store_account *account, const struct err *err);
void store_account_get(struct str user, store_account_fn fn, void *arg);
void store_account_create(struct str user, const struct scram_keys keys[SCRAM_HASHES], store_done_fn fn, void *arg); /* ERR_EXISTS */
void store_account_set_keys(struct str user, const struct scram_keys keys[SCRAM_HASHES], store_done_fn fn, void *arg); /* ERR_NOT_FOUND */
void store_account_set_disabled(struct str user, bool disabled, store_done_fn fn, void *arg);
/* With all its data, and with its unanswered subscription requests that wait at other users. Subscriptions at others stay: ending them is jsm's. */
void store_account_delete(struct str user, store_done_fn fn, void *arg);
void store_account_touch_login(struct str user, uint64_t wall_ms); /* no callback, may be lost */
void store_account_touch_logout(struct str user, uint64_t wall_ms, struct str status); /* no callback, may be lost */
typedef void (*store_accounts_fn)(void *arg, const struct store_account *accounts, size_t n, const struct err *err);
/* In order of bare JID, those after `after` (absent: from the first); domain absent: all. */
void store_account_list(struct str domain, struct str after, unsigned limit, store_accounts_fn fn, void *arg);
typedef void (*store_names_fn)(void *arg, const struct str *users, size_t n, uint64_t total, const struct err *err);
/* The bare JIDs of a domain's accounts (disabled: of the disabled ones only), at most limit of them, and how many there are in all. */
void store_account_names(struct str domain, bool disabled, unsigned limit, store_names_fn fn, void *arg);

/* ---- a user's data, loaded when his first session or a stanza for him needs it ---- */
enum subscription { SUBSCRIPTION_NONE, SUBSCRIPTION_TO, SUBSCRIPTION_FROM, SUBSCRIPTION_BOTH };
const char *subscription_name(enum subscription s); /* as in rosters (RFC 6121, 2.1.2.5): "none", "to", "from", "both" */
struct store_roster_item {
    struct str jid, name; /* bare JID; name absent: none */
    enum subscription subscription;
    bool ask; /* ask='subscribe': pending out */
    bool approved; /* pre-approval (RFC 6121, 3.4) */
    bool in_roster; /* false: only a pending-in request is kept, the contact is not a roster item */
    struct str pending_in; /* the stored subscribe stanza (RFC 6121, 3.1.3), serialised with xmlns; absent: none */
    const struct str *groups;
    unsigned n_groups;
};
struct store_user {
    bool exists; /* an enabled account; of a disabled one the rest is told all the same */
    const struct store_roster_item *items;
    size_t n_items;
    uint64_t roster_version;
    size_t offline_count;
    uint64_t last_ms; /* when he was last there: his last logout, else (it was not noted) login, else the making of the account */
    struct str last_status; /* of the unavailable presence of the last logout; absent: none */
    const struct str *blocked; /* JIDs of the block list (XEP-0191) */
    size_t n_blocked;
    uint64_t motd_seen; /* the version of the message of the day that was shown last; 0: none */
    bool greeted; /* has been there before */
};
typedef void (*store_user_fn)(void *arg, const struct store_user *user, const struct err *err);
void store_user_load(struct str user, store_user_fn fn, void *arg);

struct store_offline_item {
    uint64_t wall_ms; /* when it came */
    uint64_t sid; /* its stanza id */
    struct str stanza; /* serialised with xmlns='jabber:client' */
};
typedef void (*store_offline_fn)(void *arg, const struct store_offline_item *items, size_t n, const struct err *err);
/* In the order of their stanza ids, which is that of their arrival at the service, whenever they were stored. after_sid 0: from the first one. */
void store_offline_load(struct str user, uint64_t after_sid, unsigned limit, store_offline_fn fn, void *arg);

/* XML an extension keeps: area "vcard" (name empty) or "private" (name: the element's namespace and name). */
typedef void (*store_document_fn)(void *arg, struct str xml, const struct err *err); /* absent: none is kept */
void store_document_load(struct str user, const char *area, struct str name, store_document_fn fn, void *arg);

/* ---- writes: a batch is all or nothing; batches of one user commit in the order they were given ---- */
struct store_batch;
struct store_batch *store_batch_new(struct str user);
void store_batch_roster_set(struct store_batch *b, const struct store_roster_item *item, uint64_t roster_version);
void store_batch_roster_delete(struct store_batch *b, struct str jid, uint64_t roster_version);
/* Over max: ERR_LIMIT, nothing of the batch is done. */
void store_batch_offline_add(struct store_batch *b, const struct stanza *s, uint64_t wall_ms, unsigned max_messages);
void store_batch_offline_delete(struct store_batch *b, uint64_t sid); /* the message of that stanza id; none: no error */
/* xml absent: deletes. ERR_LIMIT: the area has max others. */
void store_batch_document_set(struct store_batch *b, const char *area, struct str name, struct str xml, unsigned max);
void store_batch_blocked_set(struct store_batch *b, struct str jid, bool blocked); /* jid absent, blocked false: the list is emptied */
void store_batch_noticed(struct store_batch *b, uint64_t motd_seen); /* he was there, and shown this version of the message of the day */
void store_batch_commit(struct store_batch *take, store_done_fn fn, void *arg); /* ERR_NOT_FOUND: no such account; fn may be NULL */
void store_batch_free(struct store_batch *b); /* one that is not committed after all; NULL is a no-op */

/* ---- notices of a domain to its users: kind "motd" or "welcome" (XEP-0133) ---- */
struct store_notice {
    struct str domain, kind;
    struct str text; /* absent: there was one, it was deleted */
    uint64_t version; /* from 1 */
};
typedef void (*store_notices_fn)(void *arg, const struct store_notice *notices, size_t n, const struct err *err);
void store_notice_load(store_notices_fn fn, void *arg); /* all */
/* text absent: deletes. anew: it has a new version, and so is new to everybody. fn gets the notice as it is now. */
void store_notice_set(struct str domain, const char *kind, struct str text, bool anew, store_notices_fn fn, void *arg);

/* ---- compliance configuration: a JSON document per version, written as a whole (broker/profile makes and checks it) ---- */
typedef void (*store_text_fn)(void *arg, int64_t version, struct str text, const struct err *err); /* version 0, text absent: none yet */
void store_compliance_load(int64_t version, store_text_fn fn, void *arg); /* version 0: the newest */
struct store_compliance_note { /* what is known of a version beside the document */
    int64_t version;
    uint64_t wall_ms;
    struct str by, what, comment; /* who made it; one line on what changed; what he said of it */
};
/* Stores version `base + 1`, and in the same transaction forgets all but the newest `keep` versions; ERR_CONFLICT when base is not the newest any more.
 * Of the note, by, what and comment are taken. */
void store_compliance_save(int64_t base, struct str json, const struct store_compliance_note *note, unsigned keep, store_text_fn fn, void *arg);
typedef void (*store_compliance_notes_fn)(void *arg, const struct store_compliance_note *notes, size_t n, const struct err *err);
void store_compliance_list(unsigned limit, store_compliance_notes_fn fn, void *arg); /* the newest first */

struct store_stats { uint64_t requests, commits, failures, queue_depth, busy_us; };
void store_stats_read(struct store_stats *out); /* any thread */

#endif
