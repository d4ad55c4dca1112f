/* Writing the archive. What may be asked for has an index; words of bodies have an FTS5 index when SQLite has FTS5.
 * A file that was moved away or replaced under us would swallow records that nobody finds: every transaction checks that the path is still our file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "archive.h"

#define APPLICATION_ID 0x5347524e /* "SGRN" */
#define SCHEMA_VERSION 1

static const char schema[] =
    "CREATE TABLE event ("
    " seq INTEGER PRIMARY KEY,"
    " event_id TEXT NOT NULL," /* the same when sent again: stored once (per profile: another profile may be shown another text) */
    " stanza_id TEXT,"
    " event TEXT NOT NULL,"
    " node TEXT,"
    " time TEXT,"
    " time_ms INTEGER NOT NULL,"
    " profile TEXT NOT NULL,"
    " key TEXT,"
    " session TEXT,"
    " room TEXT,"
    " copy TEXT,"
    " kind TEXT NOT NULL,"
    " type TEXT,"
    " \"from\" TEXT,"
    " \"to\" TEXT,"
    " from_bare TEXT,"
    " to_bare TEXT,"
    " session_bare TEXT,"
    " body TEXT,"
    " xml TEXT NOT NULL,"
    " passed_body TEXT," /* what was let through in its place; NULL: as it was */
    " passed_xml TEXT,"
    " component TEXT NOT NULL,"
    " fire_and_forget INTEGER NOT NULL,"
    " received_ms INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX event_by_id ON event(event_id, profile);"
    "CREATE INDEX event_by_stanza ON event(stanza_id);"
    "CREATE INDEX event_by_time ON event(time_ms);"
    "CREATE INDEX event_by_from ON event(from_bare, time_ms);"
    "CREATE INDEX event_by_to ON event(to_bare, time_ms);"
    "CREATE INDEX event_by_session ON event(session_bare, time_ms) WHERE session_bare IS NOT NULL;"
    "CREATE INDEX event_by_room ON event(room, time_ms) WHERE room IS NOT NULL;";
static const char words_schema[] =
    "CREATE VIRTUAL TABLE event_words USING fts5(body, passed_body, content='event', content_rowid='seq', tokenize='unicode61 remove_diacritics 2')";

static const char insert_sql[] = "INSERT INTO event (event_id, stanza_id, event, node, time, time_ms, profile, key, session, room, copy, kind, type, "
                                 "\"from\", \"to\", from_bare, to_bare,"
                                 " session_bare, body, xml, passed_body, passed_xml, component, fire_and_forget, received_ms)"
                                 " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING";

struct archive {
    sqlite3 *db;
    sqlite3_stmt *insert, *insert_words; /* insert_words: NULL without FTS5 */
    char *path;
    dev_t device;
    ino_t inode;
    int failure; /* SQLite's code of the last failure */
};

static int fail(struct archive *a, struct err *err, const char *doing)
{
    a->failure = sqlite3_errcode(a->db);
    return err_set(err, ERR_IO, "%s: cannot %s: %s", a->path, doing, sqlite3_errmsg(a->db));
}

static int run(struct archive *a, const char *sql, const char *doing, struct err *err)
{
    return sqlite3_exec(a->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(a, err, doing);
}

static int64_t number(sqlite3 *db, const char *sql) /* -1: no answer */
{
    sqlite3_stmt *q = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW) n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

bool archive_has_words(sqlite3 *db)
{
    return number(db, "SELECT count(*) FROM sqlite_schema WHERE name='event_words'") == 1;
}

/* The file must be empty or an archive we understand. */
static int check_kind(sqlite3 *db, const char *path, bool *empty, struct err *err)
{
    int64_t tables = number(db, "SELECT count(*) FROM sqlite_schema"), id = number(db, "PRAGMA application_id"),
            version = number(db, "PRAGMA user_version");
    *empty = tables == 0 && id == 0;
    if (tables < 0) return err_set(err, ERR_INVALID, "%s: cannot read it as a database: %s", path, sqlite3_errmsg(db));
    if (*empty) return 0;
    if (id != APPLICATION_ID) return err_set(err, ERR_INVALID, "%s is a database, but not an archive of signet-recorder", path);
    if (version > SCHEMA_VERSION)
        return err_set(err, ERR_INVALID, "%s was made by a newer signet-recorder (schema %lld, this one knows %d)", path, (long long)version,
                       SCHEMA_VERSION);
    return 0;
}

static int make_tables(struct archive *a, struct err *err)
{
    char pragmas[100];
    if (run(a, "BEGIN IMMEDIATE", "begin", err) < 0) return -1;
    bool empty;
    if (check_kind(a->db, a->path, &empty, err) < 0) return -1; /* another recorder may have made them meanwhile */
    if (empty) {
        sqlite3_snprintf(sizeof(pragmas), pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID, SCHEMA_VERSION);
        if (run(a, schema, "make its tables", err) < 0 || run(a, pragmas, "mark it", err) < 0) return -1;
        (void)sqlite3_exec(a->db, words_schema, NULL, NULL, NULL); /* no FTS5: search uses LIKE */
    }
    return run(a, "COMMIT", "commit its tables", err);
}

/* A new file is safe only when its directory entry is. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? x_strdup(".") : slash == path ? x_strdup("/") : str_dup((struct str){path, (size_t)(slash - path)});
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(dir);
}

static int prepare(struct archive *a, struct err *err)
{
    if (sqlite3_prepare_v3(a->db, insert_sql, -1, SQLITE_PREPARE_PERSISTENT, &a->insert, NULL) != SQLITE_OK) return fail(a, err, "prepare");
    if (!archive_has_words(a->db)) return 0;
    return sqlite3_prepare_v3(a->db, "INSERT INTO event_words(rowid, body, passed_body) VALUES (?,?,?)", -1, SQLITE_PREPARE_PERSISTENT,
                              &a->insert_words, NULL) == SQLITE_OK
               ? 0
               : fail(a, err, "prepare");
}

static int set_up(struct archive *a, struct err *err)
{
    struct stat st;
    bool empty;
    sqlite3_busy_timeout(a->db, 5000);
    if (check_kind(a->db, a->path, &empty, err) < 0) return -1;
    if (run(a, "PRAGMA journal_mode=WAL", "switch to WAL", err) < 0 || run(a, "PRAGMA synchronous=FULL", "set synchronous", err) < 0) return -1;
    if (empty && make_tables(a, err) < 0) return -1;
    if (prepare(a, err) < 0) return -1;
    if (stat(a->path, &st) < 0) return err_set(err, ERR_IO, "%s: %s", a->path, strerror(errno));
    a->device = st.st_dev;
    a->inode = st.st_ino;
    sync_directory(a->path);
    return 0;
}

int archive_open(struct archive **out, const char *path, struct err *err)
{
    struct archive *a = x_calloc(1, sizeof(*a));
    a->path = x_strdup(path);
    mode_t mask = umask(077); /* what people say is nobody else's business */
    int rc = sqlite3_open_v2(path, &a->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    rc = rc != SQLITE_OK ? err_set(err, ERR_IO, "cannot open %s: %s", path, a->db ? sqlite3_errmsg(a->db) : "no memory") : set_up(a, err);
    umask(mask);
    if (rc < 0) {
        archive_close(a);
        return -1;
    }
    *out = a;
    return 0;
}

void archive_close(struct archive *a)
{
    if (a == NULL) return;
    sqlite3_finalize(a->insert);
    sqlite3_finalize(a->insert_words);
    sqlite3_close(a->db);
    free(a->path);
    free(a);
}

int archive_begin(struct archive *a, struct err *err)
{
    struct stat st;
    if (stat(a->path, &st) < 0 || st.st_dev != a->device || st.st_ino != a->inode) {
        a->failure = SQLITE_CORRUPT;
        return err_set(err, ERR_IO, "%s was removed or replaced while in use", a->path);
    }
    return run(a, "BEGIN IMMEDIATE", "begin", err);
}

int archive_commit(struct archive *a, struct err *err)
{
    return run(a, "COMMIT", "commit", err);
}

void archive_rollback(struct archive *a)
{
    if (!sqlite3_get_autocommit(a->db)) (void)sqlite3_exec(a->db, "ROLLBACK", NULL, NULL, NULL);
}

bool archive_out_of_space(const struct archive *a)
{
    int code = a->failure & 0xff;
    return code == SQLITE_FULL || code == SQLITE_BUSY || code == SQLITE_NOMEM || code == SQLITE_LOCKED;
}

static void bind_text(sqlite3_stmt *q, int *column, const char *text)
{
    ++*column;
    if (text != NULL)
        sqlite3_bind_text(q, *column, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(q, *column);
}

static void bind_bare(sqlite3_stmt *q, int *column, const char *jid)
{
    ++*column;
    if (jid != NULL)
        sqlite3_bind_text(q, *column, jid, (int)strcspn(jid, "/"), SQLITE_STATIC);
    else
        sqlite3_bind_null(q, *column);
}

static void bind_event(sqlite3_stmt *q, const struct signet_event *e, const char *passed_xml, const char *passed_body, uint64_t received_ms)
{
    int c = 0;
    bind_text(q, &c, e->id);
    bind_text(q, &c, e->stanza_id);
    bind_text(q, &c, e->name);
    bind_text(q, &c, e->node);
    bind_text(q, &c, e->time);
    sqlite3_bind_int64(q, ++c, (sqlite3_int64)e->time_ms);
    bind_text(q, &c, e->profile != NULL ? e->profile : "");
    bind_text(q, &c, e->key);
    bind_text(q, &c, e->session);
    bind_text(q, &c, e->room);
    bind_text(q, &c, e->copy);
    bind_text(q, &c, e->kind);
    bind_text(q, &c, e->type);
    bind_text(q, &c, e->from);
    bind_text(q, &c, e->to);
    bind_bare(q, &c, e->from);
    bind_bare(q, &c, e->to);
    bind_bare(q, &c, e->session);
    bind_text(q, &c, e->body);
    bind_text(q, &c, e->xml);
    bind_text(q, &c, passed_body);
    bind_text(q, &c, passed_xml);
    bind_text(q, &c, e->component);
    sqlite3_bind_int(q, ++c, e->fire_and_forget);
    sqlite3_bind_int64(q, ++c, (sqlite3_int64)received_ms);
}

static int step(sqlite3_stmt *q)
{
    int rc = sqlite3_step(q);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return rc;
}

static int add_words(struct archive *a, const struct signet_event *e, const char *passed_body)
{
    if (a->insert_words == NULL || (e->body == NULL && passed_body == NULL)) return SQLITE_DONE;
    int c = 1;
    sqlite3_bind_int64(a->insert_words, 1, sqlite3_last_insert_rowid(a->db));
    bind_text(a->insert_words, &c, e->body);
    bind_text(a->insert_words, &c, passed_body);
    return step(a->insert_words);
}

enum archive_result archive_add(struct archive *a, const struct signet_event *e, const char *passed_xml, const char *passed_body,
                                uint64_t received_ms, struct err *err)
{
    bind_event(a->insert, e, passed_xml, passed_body, received_ms);
    int rc = step(a->insert);
    if (rc == SQLITE_DONE && sqlite3_changes(a->db) == 0) return ARCHIVE_KNOWN;
    if (rc == SQLITE_DONE) rc = add_words(a, e, passed_body);
    if (rc == SQLITE_DONE) return ARCHIVE_STORED;
    (void)fail(a, err, "store an event");
    bool alone = (rc & 0xff) == SQLITE_TOOBIG && !sqlite3_get_autocommit(a->db);
    return alone ? ARCHIVE_REFUSED : ARCHIVE_FAILED;
}

int archive_open_reader(sqlite3 **out, const char *path, struct err *err)
{
    bool empty;
    if (access(path, F_OK) != 0) return err_set(err, ERR_NOT_FOUND, "there is no archive %s: %s", path, strerror(errno));
    int rc = sqlite3_open_v2(path, out, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_busy_timeout(*out, 5000);
    if (rc != SQLITE_OK)
        rc = err_set(err, ERR_IO, "cannot open %s: %s", path, *out ? sqlite3_errmsg(*out) : "no memory");
    else
        rc = check_kind(*out, path, &empty, err);
    if (rc == 0 && empty) rc = err_set(err, ERR_NOT_FOUND, "%s is empty: nothing was ever recorded in it", path);
    if (rc == 0) return 0;
    sqlite3_close(*out);
    *out = NULL;
    return -1;
}
