/* The schema and its versions. PRAGMA user_version holds the version, PRAGMA application_id says that the file is ours. Migrations are the files
 * of schema/, embedded at build time; each runs in a transaction together with the new version number, so a crash leaves a whole version. */
#include "base/log.h"
#include "store/sqlite.h"

#define APPLICATION_ID 0x5369676e /* "Sign" */

static int pragma_read(sqlite3 *db, const char *path, const char *sql, int64_t *out, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(st, 0);
    int result = rc == SQLITE_ROW ? 0 : sqlite_fail(db, path, rc, err);
    sqlite3_finalize(st);
    return result;
}

static int exec(sqlite3 *db, const char *path, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_fail(db, path, rc, err);
}

/* 0: nothing refers to something that isn't there. */
static int check_references(sqlite3 *db, const char *path, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA foreign_key_check", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    int result = 0;
    if (rc == SQLITE_ROW) {
        result = err_set(err, ERR_INTERNAL, "%s: a row of %s would refer to nothing", path, sqlite3_column_text(st, 0));
    } else if (rc != SQLITE_DONE) {
        result = sqlite_fail(db, path, rc, err);
    }
    sqlite3_finalize(st);
    return result;
}

static int migrate_step(sqlite3 *db, const char *path, const struct sqlite_migration *m, unsigned version, struct err *err)
{
    char pragma[96];
    (void)sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA application_id = %d; PRAGMA user_version = %u", APPLICATION_ID, version);
    if (exec(db, path, "BEGIN IMMEDIATE", err) == 0 && exec(db, path, m->sql, err) == 0 && check_references(db, path, err) == 0 &&
        exec(db, path, pragma, err) == 0 && exec(db, path, "COMMIT", err) == 0) {
        return 0;
    }
    if (!sqlite3_get_autocommit(db)) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return err_prefix(err, "schema %u (%s)", version, m->name);
}

int sqlite_migrate(sqlite3 *db, const char *path, const struct sqlite_migration *migrations, unsigned n, struct err *err)
{
    int64_t version = 0, application = 0, tables = 0;
    if (pragma_read(db, path, "PRAGMA user_version", &version, err) != 0) return -1;
    if (pragma_read(db, path, "PRAGMA application_id", &application, err) != 0) return -1;
    if (pragma_read(db, path, "SELECT count(*) FROM sqlite_schema", &tables, err) != 0) return -1;
    if (application != APPLICATION_ID && (version != 0 || tables != 0)) {
        return err_set(err, ERR_CONFLICT, "%s is a database of some other program: move it away, or set server.data_dir to another directory", path);
    }
    if (version > (int64_t)n) {
        return err_set(err, ERR_CONFLICT,
                       "%s was written by a newer version of Signet (its schema is %lld, this program knows up to %u): run that version, "
                       "or restore a backup made before the upgrade",
                       path, (long long)version, n);
    }
    if (version == (int64_t)n) return 0;
    /* A migration may rebuild tables that others refer to; references are checked as a whole before each commit instead. */
    if (exec(db, path, "PRAGMA foreign_keys = OFF", err) != 0) return -1;
    int64_t from = version;
    for (; version < (int64_t)n; version++) {
        if (migrate_step(db, path, &migrations[version], (unsigned)version + 1, err) != 0) return -1;
    }
    log_notice("store", "%s: schema brought from version %lld to %u", path, (long long)from, n);
    return exec(db, path, "PRAGMA foreign_keys = ON", err);
}
