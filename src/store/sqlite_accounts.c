/* Accounts and their SCRAM keys in SQLite. */
#include "store/sqlite.h"
#include <string.h>

static const char *const hash_names[SCRAM_HASHES] = {[SCRAM_SHA1] = "SHA-1", [SCRAM_SHA256] = "SHA-256"};

int sqlite_account_id(struct str user, int64_t *id, struct err *err)
{
    struct sql_call q = sql_call(SQL_ACCOUNT_ID);
    sql_bind_text(&q, user);
    int found = sql_row(&q, err);
    if (found > 0) *id = sql_int(&q, 0);
    sql_end(&q);
    if (found == 0) return err_set(err, ERR_NOT_FOUND, "there is no account " STR_FMT, STR_ARG(user));
    return found < 0 ? -1 : 0;
}

static int key_column(const struct sql_call *q, int column, size_t n, unsigned char *out, struct err *err)
{
    if ((size_t)sqlite3_column_bytes(q->st, column) != n) return sql_damaged(err, "a SCRAM key has the wrong length");
    memcpy(out, sqlite3_column_blob(q->st, column), n);
    return 0;
}

static int keys_load(int64_t account, struct scram_keys keys[SCRAM_HASHES], struct err *err)
{
    memset(keys, 0, SCRAM_HASHES * sizeof *keys);
    struct sql_call q = sql_call(SQL_KEY_GET);
    sql_bind_int(&q, account);
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        for (unsigned h = 0; h < SCRAM_HASHES; h++) {
            if (strcmp((const char *)sqlite3_column_text(q.st, 0), hash_names[h]) != 0) continue;
            size_t n = scram_hash_size((enum scram_hash)h);
            keys[h].iterations = (unsigned)sql_int(&q, 1);
            if (key_column(&q, 2, sizeof keys[h].salt, keys[h].salt, err) != 0 || key_column(&q, 3, n, keys[h].stored_key, err) != 0 ||
                key_column(&q, 4, n, keys[h].server_key, err) != 0) {
                sql_end(&q);
                return -1;
            }
        }
    }
    sql_end(&q);
    return more;
}

static int keys_add(int64_t account, const struct scram_keys keys[SCRAM_HASHES], struct err *err)
{
    for (unsigned h = 0; h < SCRAM_HASHES; h++) {
        if (keys[h].iterations == 0) continue;
        size_t n = scram_hash_size((enum scram_hash)h);
        struct sql_call q = sql_call(SQL_KEY_ADD);
        sql_bind_int(&q, account);
        sql_bind_text(&q, str_of(hash_names[h]));
        sql_bind_int(&q, keys[h].iterations);
        sql_bind_blob(&q, keys[h].salt, sizeof keys[h].salt);
        sql_bind_blob(&q, keys[h].stored_key, n);
        sql_bind_blob(&q, keys[h].server_key, n);
        if (sql_run(&q, err) != 0) return -1;
    }
    return 0;
}

/* The account of the row a call stands on; its keys are loaded once the call has ended. */
static struct store_account account_of_row(const struct sql_call *q, struct arena *a)
{
    return (struct store_account){
        .generation = (uint64_t)sql_int(q, 0),
        .user = sql_text(q, 1, a),
        .disabled = sql_int(q, 2) != 0,
        .created_ms = (uint64_t)sql_int(q, 3),
        .last_login_ms = (uint64_t)sql_int(q, 4),
    };
}

int sqlite_account_get(struct str user, struct arena *a, struct store_account *out, struct err *err)
{
    struct sql_call q = sql_call(SQL_ACCOUNT_GET);
    sql_bind_text(&q, user);
    int found = sql_row(&q, err);
    if (found > 0) *out = account_of_row(&q, a);
    sql_end(&q);
    if (found > 0 && keys_load((int64_t)out->generation, out->keys, err) != 0) return -1;
    return found;
}

int sqlite_account_list(struct str domain, struct str after, unsigned limit, struct arena *a, struct store_account **out, size_t *n, struct err *err)
{
    struct sql_call q = sql_call(domain.p != NULL ? SQL_ACCOUNT_LIST_OF_DOMAIN : SQL_ACCOUNT_LIST);
    sql_bind_text(&q, after.p != NULL ? after : STR(""));
    sql_bind_int(&q, limit);
    if (domain.p != NULL) sql_bind_text(&q, domain);
    struct buf rows = {0};
    int rc;
    while ((rc = sql_row(&q, err)) > 0) {
        struct store_account account = account_of_row(&q, a);
        buf_add(&rows, &account, sizeof account);
    }
    sql_end(&q);
    *n = rows.len / sizeof **out;
    *out = sql_rows(&rows, a);
    for (size_t i = 0; rc == 0 && i < *n; i++) rc = keys_load((int64_t)(*out)[i].generation, (*out)[i].keys, err);
    return rc;
}

int sqlite_account_names(struct str domain, bool disabled, unsigned limit, struct arena *a, struct str **out, size_t *n, uint64_t *total, struct err *err)
{
    struct sql_call count = sql_call(SQL_ACCOUNT_COUNT);
    sql_bind_text(&count, domain);
    sql_bind_int(&count, disabled);
    int rc = sql_row(&count, err);
    if (rc > 0) *total = (uint64_t)sql_int(&count, 0);
    sql_end(&count);
    if (rc < 0) return -1;

    struct sql_call q = sql_call(SQL_ACCOUNT_NAMES);
    sql_bind_text(&q, domain);
    sql_bind_int(&q, disabled);
    sql_bind_int(&q, limit);
    struct buf names = {0};
    while ((rc = sql_row(&q, err)) > 0) {
        struct str name = sql_text(&q, 0, a);
        buf_add(&names, &name, sizeof name);
    }
    sql_end(&q);
    *n = names.len / sizeof **out;
    *out = sql_rows(&names, a);
    return rc;
}

int sqlite_account_create(struct str user, const struct scram_keys keys[SCRAM_HASHES], uint64_t wall_ms, struct err *err)
{
    const char *at = user.n == 0 ? NULL : memchr(user.p, '@', user.n);
    if (at == NULL) return err_set(err, ERR_INVALID, "\"" STR_FMT "\" is not an account: it must be name@domain", STR_ARG(user));
    struct sql_call q = sql_call(SQL_ACCOUNT_ADD);
    sql_bind_text(&q, user);
    sql_bind_text(&q, (struct str){at + 1, user.n - (size_t)(at + 1 - user.p)});
    sql_bind_int(&q, (int64_t)wall_ms);
    if (sql_run(&q, err) != 0) return -1;
    if (sql_changes() == 0) return err_set(err, ERR_EXISTS, "there is an account " STR_FMT " already", STR_ARG(user));
    return keys_add(sql_insert_id(), keys, err);
}

int sqlite_account_set_keys(struct str user, const struct scram_keys keys[SCRAM_HASHES], struct err *err)
{
    int64_t account;
    if (sqlite_account_id(user, &account, err) != 0) return -1;
    struct sql_call q = sql_call(SQL_KEY_DELETE_ALL);
    sql_bind_int(&q, account);
    if (sql_run(&q, err) != 0) return -1;
    return keys_add(account, keys, err);
}

static int account_update(enum sql_id id, struct str user, int64_t value, struct err *err)
{
    struct sql_call q = sql_call(id);
    sql_bind_text(&q, user);
    sql_bind_int(&q, value);
    if (sql_run(&q, err) != 0) return -1;
    if (sql_changes() == 0) return err_set(err, ERR_NOT_FOUND, "there is no account " STR_FMT, STR_ARG(user));
    return 0;
}

int sqlite_account_set_disabled(struct str user, bool disabled, struct err *err)
{
    return account_update(SQL_ACCOUNT_SET_DISABLED, user, disabled, err);
}

int sqlite_account_set_login(struct str user, uint64_t wall_ms, struct err *err)
{
    return account_update(SQL_ACCOUNT_SET_LOGIN, user, (int64_t)wall_ms, err);
}

/* What belongs to the account goes with it by foreign keys. Its requests on other users' rosters go too: nobody is left who asks, and an
 * account made again under this name must not be granted what its predecessor asked for. */
int sqlite_account_delete(struct str user, struct err *err)
{
    struct sql_call q = sql_call(SQL_ACCOUNT_DELETE);
    sql_bind_text(&q, user);
    if (sql_run(&q, err) != 0) return -1;
    if (sql_changes() == 0) return err_set(err, ERR_NOT_FOUND, "there is no account " STR_FMT, STR_ARG(user));
    return sqlite_roster_forget_requests_of(user, err);
}
