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

int sqlite_compliance_add(int64_t version, struct str json, struct str by, struct str what, uint64_t wall_ms, struct err *err)
{
    struct sql_call q = sql_call(SQL_COMPLIANCE_ADD);
    sql_bind_int(&q, version);
    sql_bind_text(&q, json);
    sql_bind_text(&q, by.p != NULL ? by : STR(""));
    sql_bind_text(&q, what.p != NULL ? what : STR(""));
    sql_bind_int(&q, (int64_t)wall_ms);
    return sql_run(&q, err);
}
