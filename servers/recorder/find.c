/* Questions to the archive. A question is a list of conditions with their values; user input only ever becomes a bound value. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "archive.h"
#include "find.h"
#include "print.h"

struct question {
    struct buf where; /* "1 AND ... ?1 ..." */
    struct {
        char *text; /* NULL: a number */
        int64_t number;
    } values[32];
    int n;
};

static void question_free(struct question *q)
{
    for (int i = 0; i < q->n; i++) free(q->values[i].text);
    buf_free(&q->where);
}

/* In condition each # stands for the value. */
static int add(struct question *q, const char *condition, char *take_text, int64_t number, struct err *err)
{
    if (q->n == (int)(sizeof(q->values) / sizeof(q->values[0]))) {
        free(take_text);
        return err_set(err, ERR_LIMIT, "too many words: at most %d", q->n);
    }
    q->values[q->n].text = take_text;
    q->values[q->n++].number = number;
    BUF_ADD_LIT(&q->where, " AND (");
    for (const char *p = condition; *p != '\0'; p++) {
        if (*p == '#')
            buf_addf(&q->where, "?%d", q->n);
        else
            buf_addc(&q->where, *p);
    }
    BUF_ADD_LIT(&q->where, ")");
    return 0;
}

static char *bare_jid(const char *jid)
{
    char *bare = str_dup((struct str){jid, strcspn(jid, "/")});
    for (char *p = bare; *p != '\0'; p++) *p = (char)tolower((unsigned char)*p); /* nodes send prepared JIDs; typed ones often are not */
    return bare;
}

/* FTS5: every word quoted, so that nothing in it is syntax; a * at its end still finds beginnings. */
static int add_words_index(struct question *q, const char *words, struct err *err)
{
    struct buf match = {0};
    for (const char *p = words; *p != '\0';) {
        size_t gap = strspn(p, " \t\r\n"), n = strcspn(p + gap, " \t\r\n");
        p += gap;
        if (n == 0) break;
        bool beginning = n > 1 && p[n - 1] == '*';
        BUF_ADD_LIT(&match, "\"");
        for (size_t i = 0; i < n - beginning; i++) {
            if (p[i] == '"') buf_addc(&match, '"');
            buf_addc(&match, p[i]);
        }
        buf_adds(&match, beginning ? "\"* " : "\" ");
        p += n;
    }
    char *text = str_dup(buf_str(&match));
    buf_free(&match);
    return add(q, "seq IN (SELECT rowid FROM event_words WHERE event_words MATCH #)", text, 0, err);
}

static int add_words_like(struct question *q, const char *words, struct err *err)
{
    for (const char *p = words; *p != '\0';) {
        size_t gap = strspn(p, " \t\r\n"), n = strcspn(p + gap, " \t\r\n");
        struct buf like = {0};
        p += gap;
        if (n == 0) break;
        BUF_ADD_LIT(&like, "%");
        for (size_t i = 0; i < n - (n > 1 && p[n - 1] == '*'); i++) {
            if (strchr("%_\\", p[i]) != NULL) buf_addc(&like, '\\');
            buf_addc(&like, p[i]);
        }
        BUF_ADD_LIT(&like, "%");
        char *text = str_dup(buf_str(&like));
        buf_free(&like);
        if (add(q, "body LIKE # ESCAPE '\\' OR passed_body LIKE # ESCAPE '\\'", text, 0, err) < 0) return -1;
        p += n;
    }
    return 0;
}

static int ask(struct question *q, const struct options *o, sqlite3 *db, struct err *err)
{
    uint64_t ms = 0;
    BUF_ADD_LIT(&q->where, "1");
    if (o->user != NULL && add(q, "from_bare=# OR to_bare=# OR session_bare=#", bare_jid(o->user), 0, err) < 0) return -1;
    if (o->with != NULL && add(q, "from_bare=# OR to_bare=# OR room=#", bare_jid(o->with), 0, err) < 0) return -1;
    if (o->event != NULL && add(q, "event=#", x_strdup(o->event), 0, err) < 0) return -1;
    if (o->stanza != NULL && add(q, "stanza_id=# OR event_id=#", x_strdup(o->stanza), 0, err) < 0) return -1;
    if (o->since != NULL && (options_parse_time(o->since, &ms, err) < 0 || add(q, "time_ms>=#", NULL, (int64_t)ms, err) < 0)) return -1;
    if (o->until != NULL && (options_parse_time(o->until, &ms, err) < 0 || add(q, "time_ms<#", NULL, (int64_t)ms, err) < 0)) return -1;
    if (o->text == NULL) return 0;
    return archive_has_words(db) ? add_words_index(q, o->text, err) : add_words_like(q, o->text, err);
}

/* format holds one %s for the conditions. */
static sqlite3_stmt *prepare(sqlite3 *db, struct question *q, const char *before, const char *after, struct err *err)
{
    struct buf sql = {0};
    sqlite3_stmt *stmt = NULL;
    buf_adds(&sql, before);
    buf_adds(&sql, buf_cstr(&q->where));
    buf_adds(&sql, after);
    if (sqlite3_prepare_v2(db, sql.data, (int)sql.len, &stmt, NULL) != SQLITE_OK) {
        err_set(err, ERR_INTERNAL, "cannot search: %s", sqlite3_errmsg(db));
    } else {
        for (int i = 0; i < q->n; i++) {
            if (q->values[i].text != NULL)
                sqlite3_bind_text(stmt, i + 1, q->values[i].text, -1, SQLITE_STATIC);
            else
                sqlite3_bind_int64(stmt, i + 1, q->values[i].number);
        }
    }
    buf_free(&sql);
    return stmt;
}

/* Prints what the statement gives; the number of rows, or -1. *last_seq: of the last one. */
static int64_t show(sqlite3 *db, sqlite3_stmt *stmt, const struct options *o, int64_t *last_seq, struct err *err)
{
    int64_t n = 0;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *last_seq = print_row(stmt, o);
        n++;
    }
    if (rc != SQLITE_DONE) return err_set(err, ERR_IO, "cannot read the archive: %s", sqlite3_errmsg(db));
    if (fflush(stdout) != 0) return err_set(err, ERR_IO, "cannot write: %s", strerror(errno));
    return n;
}

#define NEWEST_FIRST "SELECT * FROM (SELECT " PRINT_COLUMNS " FROM event WHERE "

int find_search(const struct options *o, struct err *err)
{
    sqlite3 *db;
    struct question q = {0};
    int64_t n = -1, last = 0;
    char after[100];
    if (archive_open_reader(&db, o->database, err) < 0) return -1;
    snprintf(after, sizeof(after), " ORDER BY time_ms DESC, seq DESC LIMIT %lld) ORDER BY time_ms, seq", o->limit == 0 ? -1 : (long long)o->limit);
    sqlite3_stmt *stmt = ask(&q, o, db, err) < 0 ? NULL : prepare(db, &q, NEWEST_FIRST, after, err);
    if (stmt != NULL) n = show(db, stmt, o, &last, err);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    question_free(&q);
    if (n == 0 && !o->json) fprintf(stderr, "nothing found\n");
    if (n > 0 && n == o->limit && !o->json) fprintf(stderr, "the newest %lld are shown; --limit 0 shows all\n", (long long)n);
    return n < 0 ? -1 : 0;
}

int find_count(const struct options *o, struct err *err)
{
    sqlite3 *db;
    struct question q = {0};
    int rc = -1;
    if (archive_open_reader(&db, o->database, err) < 0) return -1;
    sqlite3_stmt *stmt = ask(&q, o, db, err) < 0 ? NULL : prepare(db, &q, "SELECT count(*) FROM event WHERE ", "", err);
    if (stmt != NULL && sqlite3_step(stmt) == SQLITE_ROW) {
        printf("%lld\n", (long long)sqlite3_column_int64(stmt, 0));
        rc = 0;
    } else if (stmt != NULL) {
        err_set(err, ERR_IO, "cannot read the archive: %s", sqlite3_errmsg(db));
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    question_free(&q);
    return rc;
}

static int follow(sqlite3 *db, const struct options *o, int64_t last, struct err *err)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    while (nanosleep(&pause, NULL) == 0) {
        struct question q = {0};
        BUF_ADD_LIT(&q.where, "1");
        sqlite3_stmt *stmt =
            add(&q, "seq>#", NULL, last, err) < 0 ? NULL : prepare(db, &q, "SELECT " PRINT_COLUMNS " FROM event WHERE ", " ORDER BY seq", err);
        int64_t n = stmt == NULL ? -1 : show(db, stmt, o, &last, err);
        sqlite3_finalize(stmt);
        question_free(&q);
        if (n < 0) return -1;
    }
    return 0;
}

int find_tail(const struct options *o, struct err *err)
{
    sqlite3 *db;
    struct question q = {0};
    int64_t n = -1, last = 0;
    char after[100];
    if (archive_open_reader(&db, o->database, err) < 0) return -1;
    snprintf(after, sizeof(after), " ORDER BY seq DESC LIMIT %lld) ORDER BY seq", (long long)o->lines);
    BUF_ADD_LIT(&q.where, "1");
    sqlite3_stmt *newest = prepare(db, &q, "SELECT max(seq) FROM event WHERE ", "", err); /* with -n 0 too, --follow begins here */
    if (newest != NULL && sqlite3_step(newest) == SQLITE_ROW) last = sqlite3_column_int64(newest, 0);
    sqlite3_finalize(newest);
    sqlite3_stmt *stmt = prepare(db, &q, NEWEST_FIRST, after, err);
    if (stmt != NULL) n = show(db, stmt, o, &last, err);
    sqlite3_finalize(stmt);
    if (n >= 0 && o->follow && follow(db, o, last, err) < 0) n = -1;
    sqlite3_close(db);
    question_free(&q);
    return n < 0 ? -1 : 0;
}
