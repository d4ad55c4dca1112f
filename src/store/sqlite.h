/* The SQLite backend, between its files. Private to src/store.
 *
 * A statement is used as a call: sql_call(), one bind per parameter in order, sql_row() until 0 or sql_run(), sql_end(). Bind errors surface at
 * the first step. Bound bytes are borrowed until sql_end(); columns until the next row. */
#ifndef SIGNET_STORE_SQLITE_H
#define SIGNET_STORE_SQLITE_H
#include "store/backend.h"
#include <sqlite3.h>

struct sqlite_migration {
    const char *name, *sql;
};
extern const struct sqlite_migration sqlite_migrations[]; /* [i] leads to schema i + 1 */
extern const unsigned sqlite_n_migrations;
/* Brings the database to schema n, each step in a transaction of its own. Refuses one that is newer or isn't ours. path: for the errors. */
must_check int sqlite_migrate(sqlite3 *db, const char *path, const struct sqlite_migration *migrations, unsigned n, struct err *err);
int sqlite_fail(sqlite3 *db, const char *path, int rc, struct err *err); /* fills err for people; returns -1 */

enum sql_id {
#define STATEMENT(id, sql) SQL_##id,
#include "store/statements.def"
#undef STATEMENT
    SQL_COUNT
};
struct sql_call {
    sqlite3_stmt *st; /* NULL: preparing it failed */
    int rc;           /* the first error, or SQLITE_OK */
    int at;           /* the last parameter bound */
};
struct sql_call sql_call(enum sql_id id);
void sql_bind_int(struct sql_call *q, int64_t value);
void sql_bind_text(struct sql_call *q, struct str s); /* absent: NULL */
void sql_bind_blob(struct sql_call *q, const void *p, size_t n);
must_check int sql_row(struct sql_call *q, struct err *err); /* 1: a row; 0: no more; -1 */
void sql_end(struct sql_call *q);
must_check int sql_run(struct sql_call *q, struct err *err); /* steps to the end, and ends it */
int64_t sql_changes(void); /* rows the last INSERT, UPDATE, DELETE changed itself */
int64_t sql_insert_id(void);
static inline int64_t sql_int(const struct sql_call *q, int column) { return sqlite3_column_int64(q->st, column); }
struct str sql_text(const struct sql_call *q, int column, struct arena *a); /* a copy; NULL: absent */
void *sql_rows(struct buf *take, struct arena *a); /* gathered rows as an array in the arena; NULL when there are none */
int sql_damaged(struct err *err, const char *what); /* the database holds what was never written; returns -1 */

/* The operations, by area. */
must_check int sqlite_account_id(struct str user, int64_t *id, struct err *err); /* ERR_NOT_FOUND */
must_check int sqlite_account_get(struct str user, struct arena *a, struct store_account *out, struct err *err);
must_check int sqlite_account_list(struct str domain, struct str after, unsigned limit, struct arena *a, struct store_account **out, size_t *n,
                                   struct err *err);
must_check int sqlite_account_create(struct str user, const struct scram_keys keys[SCRAM_HASHES], uint64_t wall_ms, struct err *err);
must_check int sqlite_account_set_keys(struct str user, const struct scram_keys keys[SCRAM_HASHES], struct err *err);
must_check int sqlite_account_set_disabled(struct str user, bool disabled, struct err *err);
must_check int sqlite_account_set_login(struct str user, uint64_t wall_ms, struct err *err);
must_check int sqlite_account_delete(struct str user, struct err *err);
must_check int sqlite_user_load(struct str user, struct arena *a, struct store_user *out, struct err *err);
must_check int sqlite_roster_set(int64_t account, const struct store_roster_item *item, uint64_t roster_version, struct err *err);
must_check int sqlite_roster_delete(int64_t account, struct str jid, uint64_t roster_version, struct err *err);
must_check int sqlite_roster_forget_requests_of(struct str user, struct err *err); /* on all rosters */
must_check int sqlite_offline_add(int64_t account, const struct stanza *s, uint64_t wall_ms, unsigned max, struct err *err);
must_check int sqlite_offline_delete(int64_t account, uint64_t sid, struct err *err);
must_check int sqlite_offline_load(struct str user, uint64_t after_sid, unsigned limit, struct arena *a, struct store_offline_item **out, size_t *n,
                                   struct err *err);
must_check int sqlite_account_set_logout(struct str user, uint64_t wall_ms, struct str status, struct err *err);
must_check int sqlite_document_load(struct str user, struct str area, struct str name, struct arena *a, struct str *xml, struct err *err);
must_check int sqlite_document_set(int64_t account, const struct store_document *d, struct err *err); /* xml absent: deletes */
must_check int sqlite_blocked_set(int64_t account, struct str jid, bool blocked, struct err *err); /* jid absent: all, with blocked false */
must_check int sqlite_blocked_load(int64_t account, struct arena *a, struct str **out, size_t *n, struct err *err);
must_check int sqlite_account_names(struct str domain, bool disabled, unsigned limit, struct arena *a, struct str **out, size_t *n, uint64_t *total,
                                    struct err *err);
must_check int sqlite_noticed(int64_t account, uint64_t motd_seen, struct err *err);
must_check int sqlite_notice_load(struct arena *a, struct store_notice **out, size_t *n, struct err *err);
must_check int sqlite_notice_set(struct str domain, struct str kind, struct str text, bool anew, uint64_t *version, struct err *err);
must_check int sqlite_room_load(struct str room, struct arena *a, struct store_room *out, struct err *err);
must_check int sqlite_room_list(struct arena *a, struct store_room **out, size_t *n, struct err *err);
must_check int sqlite_room_batch(struct str room, const struct store_room_step *steps, struct err *err);
must_check int sqlite_compliance_load(int64_t version, struct arena *a, struct store_compliance *out, struct err *err);
must_check int sqlite_compliance_add(struct str json, const struct store_compliance_note *note, unsigned keep, struct err *err);
must_check int sqlite_compliance_list(unsigned limit, struct arena *a, struct store_compliance_note **out, size_t *n, struct err *err);

#endif
