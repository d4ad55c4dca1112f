/* Rosters in SQLite. An item that is nothing any more (not in the roster, not approved, no request waiting) is a row less. */
#include "store/sqlite.h"

static int subscription_parse(struct str name, enum subscription *out, struct err *err)
{
    for (unsigned i = 0; i <= SUBSCRIPTION_BOTH; i++) {
        if (str_is(name, subscription_name((enum subscription)i))) {
            *out = (enum subscription)i;
            return 0;
        }
    }
    return sql_damaged(err, "a roster item has an unknown subscription");
}

static int roster_load_items(int64_t account, struct arena *a, struct buf *items, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROSTER_ITEMS);
    sql_bind_int(&q, account);
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_roster_item item = {
            .jid = sql_text(&q, 0, a),
            .name = sql_text(&q, 1, a),
            .ask = sql_int(&q, 3) != 0,
            .approved = sql_int(&q, 4) != 0,
            .in_roster = sql_int(&q, 5) != 0,
            .pending_in = sql_text(&q, 6, a),
        };
        if (subscription_parse(sql_text(&q, 2, a), &item.subscription, err) != 0) {
            more = -1;
            break;
        }
        buf_add(items, &item, sizeof item);
    }
    sql_end(&q);
    return more;
}

/* Items and groups come in the same order of JIDs: one walk over both. */
static int roster_load_groups(int64_t account, struct arena *a, struct store_roster_item *items, size_t n, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROSTER_GROUPS);
    sql_bind_int(&q, account);
    struct buf names = {0};
    size_t i = 0;
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct str jid = {(const char *)sqlite3_column_text(q.st, 0), (size_t)sqlite3_column_bytes(q.st, 0)};
        while (i < n && !str_eq(items[i].jid, jid)) i++;
        if (i == n) {
            more = sql_damaged(err, "a roster group belongs to no item");
            break;
        }
        struct str name = sql_text(&q, 1, a);
        buf_add(&names, &name, sizeof name);
        items[i].n_groups++;
    }
    sql_end(&q);
    const struct str *groups = sql_rows(&names, a);
    for (i = 0; i < n; i++) {
        if (items[i].n_groups == 0) continue;
        items[i].groups = groups;
        groups += items[i].n_groups;
    }
    return more;
}

int sqlite_user_load(struct str user, struct arena *a, struct store_user *out, struct err *err)
{
    struct sql_call q = sql_call(SQL_USER_LOAD);
    sql_bind_text(&q, user);
    int found = sql_row(&q, err);
    int64_t account = 0;
    if (found > 0) {
        account = sql_int(&q, 0);
        *out = (struct store_user){.exists = sql_int(&q, 5) == 0, .roster_version = (uint64_t)sql_int(&q, 1), .offline_count = (size_t)sql_int(&q, 2)};
        out->last_ms = (uint64_t)sql_int(&q, 3);
        out->last_status = sql_text(&q, 4, a);
        out->motd_seen = (uint64_t)sql_int(&q, 6);
        out->greeted = sql_int(&q, 7) != 0;
    }
    sql_end(&q);
    if (found <= 0) return found;

    struct buf loaded = {0};
    int rc = roster_load_items(account, a, &loaded, err);
    out->n_items = loaded.len / sizeof *out->items;
    struct store_roster_item *items = sql_rows(&loaded, a);
    out->items = items;
    if (rc == 0) rc = roster_load_groups(account, a, items, out->n_items, err);
    struct str *blocked = NULL;
    if (rc == 0) rc = sqlite_blocked_load(account, a, &blocked, &out->n_blocked, err);
    out->blocked = blocked;
    return rc;
}

static int roster_set_version(int64_t account, uint64_t version, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROSTER_SET_VERSION);
    sql_bind_int(&q, account);
    sql_bind_int(&q, (int64_t)version);
    return sql_run(&q, err);
}

static int roster_set_item(int64_t account, const struct store_roster_item *item, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROSTER_ITEM_SET);
    sql_bind_int(&q, account);
    sql_bind_text(&q, item->jid);
    sql_bind_text(&q, item->name);
    sql_bind_text(&q, str_of(subscription_name(item->subscription)));
    sql_bind_int(&q, item->ask);
    sql_bind_int(&q, item->approved);
    sql_bind_int(&q, item->in_roster);
    sql_bind_text(&q, item->pending_in);
    if (sql_run(&q, err) != 0) return -1;

    q = sql_call(SQL_ROSTER_GROUPS_DELETE);
    sql_bind_int(&q, account);
    sql_bind_text(&q, item->jid);
    if (sql_run(&q, err) != 0) return -1;
    for (unsigned i = 0; i < item->n_groups; i++) {
        q = sql_call(SQL_ROSTER_GROUP_ADD);
        sql_bind_int(&q, account);
        sql_bind_text(&q, item->jid);
        sql_bind_int(&q, i);
        sql_bind_text(&q, item->groups[i]);
        if (sql_run(&q, err) != 0) return -1;
    }
    return 0;
}

int sqlite_roster_set(int64_t account, const struct store_roster_item *item, uint64_t roster_version, struct err *err)
{
    if (!item->in_roster && !item->approved && item->pending_in.p == NULL) return sqlite_roster_delete(account, item->jid, roster_version, err);
    if (roster_set_item(account, item, err) != 0) return -1;
    return roster_set_version(account, roster_version, err);
}

int sqlite_roster_delete(int64_t account, struct str jid, uint64_t roster_version, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROSTER_ITEM_DELETE);
    sql_bind_int(&q, account);
    sql_bind_text(&q, jid);
    if (sql_run(&q, err) != 0) return -1;
    return roster_set_version(account, roster_version, err);
}

int sqlite_roster_forget_requests_of(struct str user, struct err *err)
{
    static const enum sql_id steps[] = {SQL_PENDING_FROM_DELETE, SQL_PENDING_FROM_FORGET};
    for (unsigned i = 0; i < 2; i++) {
        struct sql_call q = sql_call(steps[i]);
        sql_bind_text(&q, user);
        if (sql_run(&q, err) != 0) return -1;
    }
    return 0;
}
