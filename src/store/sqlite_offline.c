/* Offline messages in SQLite. The count with the account is kept by triggers of the schema. */
#include "store/sqlite.h"

int sqlite_offline_add(int64_t account, const struct stanza *s, uint64_t wall_ms, unsigned max, struct err *err)
{
    struct sql_call count = sql_call(SQL_OFFLINE_COUNT);
    sql_bind_int(&count, account);
    int found = sql_row(&count, err);
    int64_t n = found > 0 ? sql_int(&count, 0) : 0;
    sql_end(&count);
    if (found < 0) return -1;
    if (n >= (int64_t)max) return err_set(err, ERR_LIMIT, "%lld messages are kept already; offline.max_messages is %u", (long long)n, max);

    struct buf text = {0};
    stanza_write(&text, s, NS_CLIENT);
    struct sql_call q = sql_call(SQL_OFFLINE_ADD);
    sql_bind_int(&q, account);
    sql_bind_int(&q, (int64_t)wall_ms);
    sql_bind_int(&q, (int64_t)s->sid);
    sql_bind_text(&q, buf_str(&text));
    int rc = sql_run(&q, err);
    buf_free(&text);
    return rc;
}

/* One that is gone already is no error: it is what was wanted. */
int sqlite_offline_delete(int64_t account, uint64_t sid, struct err *err)
{
    struct sql_call q = sql_call(SQL_OFFLINE_DELETE);
    sql_bind_int(&q, account);
    sql_bind_int(&q, (int64_t)sid);
    return sql_run(&q, err);
}

int sqlite_offline_load(struct str user, uint64_t after_sid, unsigned limit, struct arena *a, struct store_offline_item **out, size_t *n,
                        struct err *err)
{
    struct sql_call q = sql_call(SQL_OFFLINE_LOAD);
    sql_bind_text(&q, user);
    sql_bind_int(&q, after_sid == 0 ? INT64_MIN : (int64_t)after_sid);
    sql_bind_int(&q, limit);
    struct buf items = {0};
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_offline_item item = {.wall_ms = (uint64_t)sql_int(&q, 0), .sid = (uint64_t)sql_int(&q, 1), .stanza = sql_text(&q, 2, a)};
        buf_add(&items, &item, sizeof item);
    }
    sql_end(&q);
    *n = items.len / sizeof **out;
    *out = sql_rows(&items, a);
    return more;
}
