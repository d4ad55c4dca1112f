/* The SQLite backend: opening, settings, statements, transactions. The operations are in sqlite_<area>.c.
 *
 * WAL with synchronous=FULL: a commit appends to the log and syncs it once, readers (a backup, a curious sqlite3 shell) hinder nobody. The file
 * and those SQLite puts beside it are readable by us alone: they hold everybody's messages. The directory is locked while the store is open, as
 * two servers on one store would each believe the other's users its own. */
#include "store/sqlite.h"
#include "base/log.h"
#include "store/fault.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_FILE "store.db"

static struct {
    sqlite3 *db;
    char *path;
    int64_t lock_wait_ms;
    int dir_fd; /* holds the lock; -1: none */
    bool marked;
    sqlite3_stmt *statements[SQL_COUNT];
} lite = {.dir_fd = -1};

/* ---- errors ---- */

int sqlite_fail(sqlite3 *db, const char *path, int rc, struct err *err)
{
    const char *why = db != NULL && sqlite3_extended_errcode(db) == rc ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return err_set(err, ERR_IO, "the disk is full: %s could not grow", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_IO, "another program keeps %s locked, for more than the %lld ms of store.lock_wait", path,
                       (long long)lite.lock_wait_ms);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(err, ERR_IO, "%s is damaged (%s): restore it from a backup", path, why);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return err_set(err, ERR_IO, "%s cannot be opened for writing (%s): check its owner and mode, and the file system", path, why);
    case SQLITE_IOERR:
        return err_set(err, ERR_IO, "reading or writing %s failed: %s (code %d)", path, why, rc);
    default:
        return err_set(err, ERR_INTERNAL, "%s: %s (code %d)", path, why, rc);
    }
}

int sql_damaged(struct err *err, const char *what)
{
    return err_set(err, ERR_IO, "%s is damaged (%s): restore it from a backup", lite.path, what);
}

static int fail(int rc, struct err *err)
{
    return sqlite_fail(lite.db, lite.path, rc, err);
}

/* ---- statements ---- */

static const char *const statement_texts[SQL_COUNT] = {
#define STATEMENT(id, sql) [SQL_##id] = sql,
#include "store/statements.def"
#undef STATEMENT
};

struct sql_call sql_call(enum sql_id id)
{
    struct sql_call q = {0};
    if (lite.statements[id] == NULL) {
        q.rc = sqlite3_prepare_v3(lite.db, statement_texts[id], -1, SQLITE_PREPARE_PERSISTENT, &lite.statements[id], NULL);
    }
    q.st = lite.statements[id];
    return q;
}

static void bound(struct sql_call *q, int rc)
{
    if (q->rc == SQLITE_OK) q->rc = rc;
}

void sql_bind_int(struct sql_call *q, int64_t value)
{
    if (q->st != NULL) bound(q, sqlite3_bind_int64(q->st, ++q->at, value));
}

void sql_bind_text(struct sql_call *q, struct str s)
{
    if (q->st != NULL) bound(q, sqlite3_bind_text64(q->st, ++q->at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8));
}

void sql_bind_blob(struct sql_call *q, const void *p, size_t n)
{
    if (q->st != NULL) bound(q, sqlite3_bind_blob64(q->st, ++q->at, p, n, SQLITE_STATIC));
}

int sql_row(struct sql_call *q, struct err *err)
{
    if (q->rc == SQLITE_OK && store_fault_hit(STORE_FAULT_STATEMENT)) q->rc = SQLITE_IOERR_WRITE;
    if (q->rc == SQLITE_OK && store_fault_hit(STORE_FAULT_ABANDON)) {
        if (!sqlite3_get_autocommit(lite.db)) (void)sqlite3_exec(lite.db, "ROLLBACK", NULL, NULL, NULL);
        q->rc = SQLITE_FULL;
    }
    int rc = q->rc == SQLITE_OK ? sqlite3_step(q->st) : q->rc;
    if (rc == SQLITE_ROW) return 1;
    if (rc == SQLITE_DONE) return 0;
    q->rc = rc;
    return fail(rc, err);
}

void sql_end(struct sql_call *q)
{
    if (q->st == NULL) return;
    (void)sqlite3_reset(q->st); /* repeats the error of the step, which has been reported */
    (void)sqlite3_clear_bindings(q->st);
}

int sql_run(struct sql_call *q, struct err *err)
{
    int more;
    while ((more = sql_row(q, err)) > 0) continue;
    sql_end(q);
    return more;
}

int64_t sql_changes(void)
{
    return sqlite3_changes64(lite.db);
}

int64_t sql_insert_id(void)
{
    return sqlite3_last_insert_rowid(lite.db);
}

struct str sql_text(const struct sql_call *q, int column, struct arena *a)
{
    const char *p = (const char *)sqlite3_column_text(q->st, column);
    return p == NULL ? STR_NONE : arena_str(a, (struct str){p, (size_t)sqlite3_column_bytes(q->st, column)});
}

void *sql_rows(struct buf *take, struct arena *a)
{
    void *rows = NULL;
    if (take->len > 0) {
        rows = arena_alloc(a, take->len);
        memcpy(rows, take->data, take->len);
    }
    buf_free(take);
    return rows;
}

/* ---- transactions ---- */

static int simple(enum sql_id id, struct err *err)
{
    struct sql_call q = sql_call(id);
    return sql_run(&q, err);
}

static int lost(struct err *err)
{
    return err_set(err, ERR_IO, "%s: an error before this made the database give up the transaction", lite.path);
}

static int sqlite_begin(struct err *err)
{
    lite.marked = false;
    return simple(SQL_BEGIN, err);
}

static int sqlite_commit(struct err *err)
{
    if (sqlite3_get_autocommit(lite.db)) return lost(err);
    if (store_fault_hit(STORE_FAULT_COMMIT)) return fail(SQLITE_IOERR_FSYNC, err);
    return simple(SQL_COMMIT, err);
}

static void sqlite_rollback(void)
{
    lite.marked = false;
    if (!sqlite3_get_autocommit(lite.db)) (void)sqlite3_exec(lite.db, "ROLLBACK", NULL, NULL, NULL);
}

static int sqlite_mark(struct err *err)
{
    if (sqlite3_get_autocommit(lite.db)) return lost(err); /* a savepoint would quietly begin another one */
    int rc = simple(SQL_MARK, err);
    lite.marked = rc == 0;
    return rc;
}

static int sqlite_keep(struct err *err)
{
    int rc = simple(SQL_KEEP, err);
    if (rc == 0) lite.marked = false;
    return rc;
}

static int sqlite_undo(struct err *err)
{
    if (sqlite3_get_autocommit(lite.db)) return lost(err);
    if (!lite.marked) return 0;
    if (simple(SQL_UNDO, err) != 0) return -1;
    return sqlite_keep(err);
}

static int sqlite_batch(struct str user, const struct store_step *steps, unsigned n, struct err *err)
{
    int64_t account;
    if (sqlite_account_id(user, &account, err) != 0) return -1;
    for (unsigned i = 0; i < n; i++) {
        const struct store_step *s = &steps[i];
        int rc = -1;
        switch (s->kind) {
        case STEP_ROSTER_SET:
            rc = sqlite_roster_set(account, &s->u.item, s->roster_version, err);
            break;
        case STEP_ROSTER_DELETE:
            rc = sqlite_roster_delete(account, s->u.jid, s->roster_version, err);
            break;
        case STEP_OFFLINE_ADD:
            rc = sqlite_offline_add(account, s->u.add.stanza, s->u.add.wall_ms, s->u.add.max, err);
            break;
        case STEP_OFFLINE_DELETE:
            rc = sqlite_offline_delete(account, s->u.sid, err);
            break;
        case STEP_DOCUMENT_SET:
            rc = sqlite_document_set(account, &s->u.document, err);
            break;
        case STEP_BLOCKED_SET:
            rc = sqlite_blocked_set(account, s->u.blocked.jid, s->u.blocked.blocked, err);
            break;
        case STEP_NOTICED:
            rc = sqlite_noticed(account, s->u.motd_seen, err);
            break;
        }
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- opening ---- */

/* Creates the directory and those above it that are missing. */
static int make_dir(char *path, struct err *err)
{
    for (char *p = path; p != NULL;) {
        p = strchr(p + 1, '/');
        if (p != NULL) *p = '\0';
        int rc = mkdir(path, 0700);
        int error = errno;
        if (rc != 0 && error != EEXIST) err_set(err, ERR_IO, "cannot create the directory %s: %s (server.data_dir)", path, strerror(error));
        if (p != NULL) *p = '/';
        if (rc != 0 && error != EEXIST) return -1;
    }
    return 0;
}

static int open_dir(const char *dir, struct err *err)
{
    struct stat st;
    if (dir[0] == '\0') return err_set(err, ERR_INVALID, "server.data_dir is empty: it must name the directory for the store");
    if (stat(dir, &st) != 0) {
        if (errno != ENOENT) return err_set(err, ERR_IO, "cannot use the directory %s: %s (server.data_dir)", dir, strerror(errno));
        char *copy = x_strdup(dir);
        int rc = make_dir(copy, err);
        free(copy);
        if (rc != 0) return -1;
    }
    lite.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lite.dir_fd < 0) return err_set(err, ERR_IO, "cannot open the directory %s: %s (server.data_dir)", dir, strerror(errno));
    if (fstat(lite.dir_fd, &st) == 0 && (st.st_mode & S_IWOTH) != 0) {
        return err_set(err, ERR_DENIED, "everybody may write to %s: a store is only safe in a directory of its own (chmod 700 %s)", dir, dir);
    }
    if (access(dir, R_OK | W_OK | X_OK) != 0) {
        return err_set(err, ERR_IO, "no right to write to the directory %s: give it to the user that runs Signet (server.data_dir)", dir);
    }
    if (flock(lite.dir_fd, LOCK_EX | LOCK_NB) != 0) {
        return err_set(err, ERR_CONFLICT, "the store in %s is in use by another signetd that runs already (%s)", dir, strerror(errno));
    }
    return 0;
}

/* SQLite gives the files it makes beside it the mode of this one. */
static int make_file(struct err *err)
{
    int fd = open(lite.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return err_set(err, ERR_IO, "cannot open %s: %s", lite.path, strerror(errno));
    struct stat st;
    int rc = fstat(fd, &st);
    if (rc == 0 && (st.st_mode & 0777) != 0600) {
        log_warn("store", "%s had mode %04o, it is 0600 now", lite.path, (unsigned)(st.st_mode & 0777));
        rc = fchmod(fd, 0600);
    }
    if (rc != 0) err_set(err, ERR_IO, "cannot protect %s: %s", lite.path, strerror(errno));
    (void)close(fd);
    return rc;
}

static int set_wal(struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(lite.db, "PRAGMA journal_mode = WAL", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    int result = 0;
    if (rc != SQLITE_ROW) {
        result = fail(rc, err);
    } else if (sqlite3_stricmp((const char *)sqlite3_column_text(st, 0), "wal") != 0) {
        result = err_set(err, ERR_IO, "%s: the file system does not allow a write-ahead log; set server.data_dir to a local disk", lite.path);
    }
    sqlite3_finalize(st);
    return result;
}

static int open_database(struct err *err)
{
    /* One thread at a time: no mutexes. */
    int rc = sqlite3_open_v2(lite.path, &lite.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK) return fail(rc, err);
    (void)sqlite3_busy_timeout(lite.db, (int)lite.lock_wait_ms);
    (void)sqlite3_db_config(lite.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* secure_delete=FAST: deleted messages and keys are overwritten where that costs no further writing. */
    rc = sqlite3_exec(lite.db,
                      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA secure_delete = FAST;"
                      "PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 67108864",
                      NULL, NULL, NULL);
    if (rc != SQLITE_OK) return fail(rc, err);
    /* Before anything is written to it, the file must turn out to be ours. */
    if (sqlite_migrate(lite.db, lite.path, sqlite_migrations, sqlite_n_migrations, err) != 0) return -1;
    return set_wal(err);
}

static int count_boot(uint32_t *boot, struct err *err)
{
    struct sql_call q = sql_call(SQL_BOOT);
    int found = sql_row(&q, err);
    if (found > 0) *boot = (uint32_t)sql_int(&q, 0);
    if (found == 0) sql_damaged(err, "the counter of starts is gone");
    int rest = found > 0 ? sql_row(&q, err) : -1; /* to the end: only then it is committed */
    sql_end(&q);
    return rest;
}

static int sqlite_open(const struct config *config, uint32_t *boot, struct err *err)
{
    lite.lock_wait_ms = config->store_lock_wait;
    if (open_dir(config->server_data_dir, err) != 0) return -1;
    struct buf path = {0};
    buf_addf(&path, "%s/%s", config->server_data_dir, STORE_FILE);
    lite.path = x_strdup(buf_cstr(&path));
    buf_free(&path);
    if (make_file(err) != 0 || open_database(err) != 0 || count_boot(boot, err) != 0) return -1;
    return 0;
}

static void sqlite_close(void)
{
    for (unsigned i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(lite.statements[i]);
        lite.statements[i] = NULL;
    }
    if (sqlite3_close(lite.db) != SQLITE_OK) log_error("store", "closing %s failed: %s", lite.path, sqlite3_errmsg(lite.db));
    lite.db = NULL;
    free(lite.path);
    lite.path = NULL;
    if (lite.dir_fd >= 0) (void)close(lite.dir_fd);
    lite.dir_fd = -1;
}

const struct store_backend store_sqlite = {
    .name = "SQLite",
    .open = sqlite_open,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .mark = sqlite_mark,
    .keep = sqlite_keep,
    .undo = sqlite_undo,
    .account_get = sqlite_account_get,
    .account_list = sqlite_account_list,
    .account_names = sqlite_account_names,
    .notice_load = sqlite_notice_load,
    .notice_set = sqlite_notice_set,
    .account_create = sqlite_account_create,
    .account_set_keys = sqlite_account_set_keys,
    .account_set_disabled = sqlite_account_set_disabled,
    .account_set_login = sqlite_account_set_login,
    .account_set_logout = sqlite_account_set_logout,
    .account_delete = sqlite_account_delete,
    .user_load = sqlite_user_load,
    .offline_load = sqlite_offline_load,
    .document_load = sqlite_document_load,
    .batch = sqlite_batch,
    .room_load = sqlite_room_load,
    .room_list = sqlite_room_list,
    .room_batch = sqlite_room_batch,
    .compliance_load = sqlite_compliance_load,
    .compliance_add = sqlite_compliance_add,
    .compliance_list = sqlite_compliance_list,
};
