/* The compliance configuration in SQLite: a row per version, whole documents, newest wins. */
#include "store/sqlite.h"

int sqlite_compliance_load(int64_t version, struct arena *a, struct store_compliance *out, struct err *err)
{
    struct sql_call q = sql_call(version == 0 ? SQL_COMPLIANCE_NEWEST : SQL_COMPLIANCE_GET);
    if (version != 0) sql_bind_int(&q, version);
    int found = sql_row(&q, err);
    if (found > 0) *out = (struct store_compliance){sql_int(&q, 0), sql_text(&q, 1, a)};
    sql_end(&q);
    return found;
}

int sqlite_compliance_add(struct str json, const struct store_compliance_note *note, unsigned keep, struct err *err)
{
    struct sql_call q = sql_call(SQL_COMPLIANCE_ADD);
    sql_bind_int(&q, note->version);
    sql_bind_text(&q, json);
    sql_bind_text(&q, note->by);
    sql_bind_text(&q, note->what);
    sql_bind_text(&q, note->comment);
    sql_bind_int(&q, (int64_t)note->wall_ms);
    if (sql_run(&q, err) != 0) return -1;
    q = sql_call(SQL_COMPLIANCE_FORGET);
    sql_bind_int(&q, note->version - (int64_t)keep);
    return sql_run(&q, err);
}

int sqlite_compliance_list(unsigned limit, struct arena *a, struct store_compliance_note **out, size_t *n, struct err *err)
{
    struct sql_call q = sql_call(SQL_COMPLIANCE_LIST);
    struct buf rows = {0};
    sql_bind_int(&q, limit);
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_compliance_note row = {.version = sql_int(&q, 0),
                                            .wall_ms = (uint64_t)sql_int(&q, 1),
                                            .by = sql_text(&q, 2, a),
                                            .what = sql_text(&q, 3, a),
                                            .comment = sql_text(&q, 4, a)};
        buf_add(&rows, &row, sizeof row);
    }
    sql_end(&q);
    *n = rows.len / sizeof **out;
    *out = sql_rows(&rows, a);
    return more;
}
