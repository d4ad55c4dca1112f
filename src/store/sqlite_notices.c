/* Notices of a domain to its users in SQLite, and what of them an account has seen. */
#include "store/sqlite.h"

int sqlite_noticed(int64_t account, uint64_t motd_seen, struct err *err)
{
    struct sql_call q = sql_call(SQL_NOTICED_SET);
    sql_bind_int(&q, account);
    sql_bind_int(&q, (int64_t)motd_seen);
    return sql_run(&q, err);
}

int sqlite_notice_load(struct arena *a, struct store_notice **out, size_t *n, struct err *err)
{
    struct sql_call q = sql_call(SQL_NOTICE_LIST);
    struct buf rows = {0};
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_notice row = {.domain = sql_text(&q, 0, a), .kind = sql_text(&q, 1, a), .version = (uint64_t)sql_int(&q, 2), .text = sql_text(&q, 3, a)};
        buf_add(&rows, &row, sizeof row);
    }
    sql_end(&q);
    *n = rows.len / sizeof **out;
    *out = sql_rows(&rows, a);
    return more;
}

int sqlite_notice_set(struct str domain, struct str kind, struct str text, bool anew, uint64_t *version, struct err *err)
{
    struct sql_call q = sql_call(SQL_NOTICE_SET);
    sql_bind_text(&q, domain);
    sql_bind_text(&q, kind);
    sql_bind_text(&q, text);
    sql_bind_int(&q, anew);
    int row = sql_row(&q, err);
    if (row > 0) *version = (uint64_t)sql_int(&q, 0);
    while (row > 0) row = sql_row(&q, err); /* to its end: only then it is done */
    sql_end(&q);
    return row;
}
