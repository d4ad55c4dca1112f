/* What extensions keep, in SQLite: documents (vCard, private XML), the block list, the last logout. */
#include "store/sqlite.h"

int sqlite_account_set_logout(struct str user, uint64_t wall_ms, struct str status, struct err *err)
{
    struct sql_call q = sql_call(SQL_LOGOUT_SET);
    sql_bind_text(&q, user);
    sql_bind_int(&q, (int64_t)wall_ms);
    sql_bind_text(&q, status);
    return sql_run(&q, err);
}

int sqlite_document_load(struct str user, struct str area, struct str name, struct arena *a, struct str *xml, struct err *err)
{
    struct sql_call q = sql_call(SQL_DOCUMENT_GET);
    sql_bind_text(&q, user);
    sql_bind_text(&q, area);
    sql_bind_text(&q, name);
    int found = sql_row(&q, err);
    if (found > 0) *xml = sql_text(&q, 0, a);
    sql_end(&q);
    return found;
}

static int document_room(int64_t account, const struct store_document *d, struct err *err)
{
    struct sql_call q = sql_call(SQL_DOCUMENT_COUNT);
    sql_bind_int(&q, account);
    sql_bind_text(&q, d->area);
    sql_bind_text(&q, d->name);
    int found = sql_row(&q, err);
    int64_t others = found > 0 ? sql_int(&q, 0) : 0;
    sql_end(&q);
    if (found < 0) return -1;
    if (others < (int64_t)d->max) return 0;
    return err_set(err, ERR_LIMIT, "%lld documents of the kind '" STR_FMT "' are kept already; at most %u may be", (long long)others,
                   STR_ARG(d->area), d->max);
}

int sqlite_document_set(int64_t account, const struct store_document *d, struct err *err)
{
    if (d->xml.p != NULL && document_room(account, d, err) != 0) return -1;
    struct sql_call q = sql_call(d->xml.p != NULL ? SQL_DOCUMENT_SET : SQL_DOCUMENT_DELETE);
    sql_bind_int(&q, account);
    sql_bind_text(&q, d->area);
    sql_bind_text(&q, d->name);
    if (d->xml.p != NULL) sql_bind_text(&q, d->xml);
    return sql_run(&q, err);
}

int sqlite_blocked_set(int64_t account, struct str jid, bool blocked, struct err *err)
{
    struct sql_call q = sql_call(blocked ? SQL_BLOCKED_ADD : jid.p != NULL ? SQL_BLOCKED_DELETE : SQL_BLOCKED_DELETE_ALL);
    sql_bind_int(&q, account);
    if (jid.p != NULL) sql_bind_text(&q, jid);
    return sql_run(&q, err);
}

int sqlite_blocked_load(int64_t account, struct arena *a, struct str **out, size_t *n, struct err *err)
{
    struct sql_call q = sql_call(SQL_BLOCKED_LIST);
    sql_bind_int(&q, account);
    struct buf jids = {0};
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct str jid = sql_text(&q, 0, a);
        buf_add(&jids, &jid, sizeof jid);
    }
    sql_end(&q);
    *n = jids.len / sizeof **out;
    *out = sql_rows(&jids, a);
    return more;
}
