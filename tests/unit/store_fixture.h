/* For the tests of the store: a store in a directory of its own, and calls that wait for their answer. */
#ifndef SIGNET_TESTS_STORE_FIXTURE_H
#define SIGNET_TESTS_STORE_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/fault.h"
#include "store/sqlite.h"
#include "store/store.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char fixture_dir[64];
static struct config fixture_config;

static inline const char *fixture_path(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", fixture_dir, name);
    return path;
}

static inline int fixture_make(void **state)
{
    (void)state;
    struct err err;
    snprintf(fixture_dir, sizeof fixture_dir, "%s", "/tmp/signet-store-XXXXXX");
    if (mkdtemp(fixture_dir) == NULL) return -1;
    char option[128];
    snprintf(option, sizeof option, "server.data_dir=%s", fixture_dir);
    const char *const overrides[] = {option};
    return config_load(&fixture_config, NULL, overrides, 1, &err);
}

static inline void fixture_start(void)
{
    struct err err = {0};
    if (store_start(&fixture_config, &err) != 0) fail_msg("store_start: %s", err.text);
}

static inline int fixture_drop(void **state)
{
    (void)state;
    static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm"};
    for (unsigned i = 0; i < STORE_FAULT_KINDS; i++) store_fault_arm((enum store_fault)i, 0, 0);
    store_fault_slow(0);
    store_fault_hold(false);
    store_stop();
    xml_parsers_trim();
    for (unsigned i = 0; i < 3; i++) unlink(fixture_path(names[i]));
    config_free(&fixture_config);
    return rmdir(fixture_dir);
}

static inline int fixture_setup(void **state)
{
    int rc = fixture_make(state);
    if (rc == 0) fixture_start();
    return rc;
}

/* ---- waiting for one answer ---- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    struct err err;         /* code ERR_NONE: it went well */
    struct arena *arena;    /* holds copies of results; freed by the next ask */
    struct store_account *accounts;
    struct store_user user;
    struct store_offline_item *offline;
    size_t n;
    int64_t version;
    struct str text;
};
static struct answer answer = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static inline struct answer *ask(void)
{
    arena_free(answer.arena);
    answer = (struct answer){.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .arena = arena_new(0)};
    return &answer;
}

static inline void answered(struct answer *a, const struct err *err)
{
    pthread_mutex_lock(&a->lock);
    if (err != NULL) a->err = *err;
    a->done = true;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
}

static inline enum err_code wait_answer(void)
{
    pthread_mutex_lock(&answer.lock);
    while (!answer.done) pthread_cond_wait(&answer.cond, &answer.lock);
    pthread_mutex_unlock(&answer.lock);
    return answer.err.code;
}

static inline void on_done(void *arg, const struct err *err)
{
    answered(arg, err);
}

static inline void on_accounts(void *arg, const struct store_account *accounts, size_t n, const struct err *err)
{
    struct answer *a = arg;
    a->accounts = arena_zalloc(a->arena, (n + 1) * sizeof *accounts);
    for (size_t i = 0; i < n; i++) {
        a->accounts[i] = accounts[i];
        a->accounts[i].user = arena_str(a->arena, accounts[i].user);
    }
    a->n = n;
    answered(a, err);
}

static inline void on_account(void *arg, const struct store_account *account, const struct err *err)
{
    on_accounts(arg, account, account != NULL, err);
}

static inline void on_user(void *arg, const struct store_user *user, const struct err *err)
{
    struct answer *a = arg;
    if (user != NULL) {
        a->user = *user;
        struct store_roster_item *items = arena_zalloc(a->arena, (user->n_items + 1) * sizeof *items);
        for (size_t i = 0; i < user->n_items; i++) {
            items[i] = user->items[i];
            items[i].jid = arena_str(a->arena, items[i].jid);
            items[i].name = arena_str(a->arena, items[i].name);
            items[i].pending_in = arena_str(a->arena, items[i].pending_in);
            struct str *groups = arena_zalloc(a->arena, (items[i].n_groups + 1) * sizeof *groups);
            for (unsigned g = 0; g < items[i].n_groups; g++) groups[g] = arena_str(a->arena, items[i].groups[g]);
            items[i].groups = groups;
        }
        a->user.items = items;
    }
    answered(a, err);
}

static inline void on_offline(void *arg, const struct store_offline_item *items, size_t n, const struct err *err)
{
    struct answer *a = arg;
    a->offline = arena_zalloc(a->arena, (n + 1) * sizeof *items);
    for (size_t i = 0; i < n; i++) {
        a->offline[i] = items[i];
        a->offline[i].stanza = arena_str(a->arena, items[i].stanza);
    }
    a->n = n;
    answered(a, err);
}

static inline void on_text(void *arg, int64_t version, struct str text, const struct err *err)
{
    struct answer *a = arg;
    a->version = version;
    a->text = arena_str(a->arena, text);
    answered(a, err);
}

/* ---- the calls ---- */

static inline void some_keys(struct scram_keys keys[SCRAM_HASHES], unsigned char fill)
{
    memset(keys, 0, SCRAM_HASHES * sizeof *keys);
    for (unsigned h = 0; h < SCRAM_HASHES; h++) {
        keys[h].iterations = 4096 + h;
        memset(keys[h].salt, fill, sizeof keys[h].salt);
        memset(keys[h].stored_key, fill + 1, scram_hash_size((enum scram_hash)h));
        memset(keys[h].server_key, fill + 2, scram_hash_size((enum scram_hash)h));
    }
}

static inline enum err_code do_create(const char *user)
{
    struct scram_keys keys[SCRAM_HASHES];
    some_keys(keys, 1);
    store_account_create(str_of(user), keys, on_done, ask());
    return wait_answer();
}

static inline enum err_code do_load(const char *user)
{
    store_user_load(str_of(user), on_user, ask());
    return wait_answer();
}

static inline enum err_code do_commit(struct store_batch *b)
{
    store_batch_commit(b, on_done, ask());
    return wait_answer();
}

static inline struct stanza *some_message(const char *body)
{
    char text[256];
    struct err err;
    static const char *const format =
        "<message xmlns='jabber:client' type='chat' from='bob@x.example/b' to='ann@x.example'><body>%.64s</body></message>";
    snprintf(text, sizeof text, format, body);
    struct stanza *s = stanza_from_text(str_of(text), &err);
    if (s == NULL) fail_msg("%s", err.text);
    return s;
}

static inline void add_message(struct store_batch *b, const char *body, unsigned max)
{
    struct stanza *s = some_message(body);
    s->sid = stanza_id_next();
    store_batch_offline_add(b, s, 1000, max);
    stanza_unref(s);
}

static inline void set_item(struct store_batch *b, const char *jid, uint64_t version)
{
    struct store_roster_item item = {.jid = str_of(jid), .subscription = SUBSCRIPTION_BOTH, .in_roster = true};
    store_batch_roster_set(b, &item, version);
}

/* One number straight from the file, with a connection of its own. */
static inline int64_t query_int(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(fixture_path("store.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return value;
}

static inline void execute(const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(fixture_path("store.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

#endif
