/* Rooms in SQLite. */
#include "store/sqlite.h"
#include <string.h>

static void read_fields(const struct sql_call *q, struct arena *a, struct store_room_fields *f)
{
    f->config = sql_text(q, 1, a);
    int n = sqlite3_column_bytes(q->st, 2);
    if (n == STORE_ROOM_SECRET) memcpy(f->secret, sqlite3_column_blob(q->st, 2), STORE_ROOM_SECRET);
    f->created_ms = (uint64_t)sql_int(q, 3);
    f->subject = sql_text(q, 4, a);
    f->subject_ms = (uint64_t)sql_int(q, 5);
    f->vcard = sql_text(q, 6, a);
}

static int load_affiliated(int64_t id, struct arena *a, struct store_room *out, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_AFFILIATED);
    sql_bind_int(&q, id);
    struct buf rows = {0};
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_affiliated one = {sql_text(&q, 0, a), sql_text(&q, 1, a), sql_text(&q, 2, a), sql_text(&q, 3, a)};
        buf_add(&rows, &one, sizeof(one));
    }
    sql_end(&q);
    out->n_affiliated = rows.len / sizeof(struct store_affiliated);
    out->affiliated = sql_rows(&rows, a);
    return more;
}

static int load_past(int64_t id, struct arena *a, struct store_room *out, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_PAST);
    sql_bind_int(&q, id);
    struct buf rows = {0};
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_past one = {.wall_ms = (uint64_t)sql_int(&q, 0), .sid = (uint64_t)sql_int(&q, 1), .stanza = sql_text(&q, 2, a)};
        buf_add(&rows, &one, sizeof(one));
    }
    sql_end(&q);
    out->n_past = rows.len / sizeof(struct store_past);
    out->past = sql_rows(&rows, a);
    return more;
}

int sqlite_room_load(struct str room, struct arena *a, struct store_room *out, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_GET);
    sql_bind_text(&q, room);
    int found = sql_row(&q, err);
    int64_t id = 0;
    if (found > 0) {
        id = sql_int(&q, 0);
        out->room = arena_str(a, room);
        read_fields(&q, a, &out->fields);
    }
    sql_end(&q);
    if (found <= 0) return found;
    if (load_affiliated(id, a, out, err) < 0 || load_past(id, a, out, err) < 0) return -1;
    return 1;
}

int sqlite_room_list(struct arena *a, struct store_room **out, size_t *n, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_LIST);
    struct buf rows = {0};
    int more;
    while ((more = sql_row(&q, err)) > 0) {
        struct store_room one = {.room = sql_text(&q, 0, a), .fields.config = sql_text(&q, 1, a)};
        buf_add(&rows, &one, sizeof(one));
    }
    sql_end(&q);
    *n = rows.len / sizeof(struct store_room);
    *out = sql_rows(&rows, a);
    return more;
}

static int room_id(struct str room, int64_t *id, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_ID);
    sql_bind_text(&q, room);
    int found = sql_row(&q, err);
    if (found > 0) *id = sql_int(&q, 0);
    sql_end(&q);
    if (found < 0) return -1;
    return found > 0 ? 0 : err_set(err, ERR_NOT_FOUND, "there is no room '" STR_FMT "'", STR_ARG(room));
}

static int set_fields(struct str room, const struct store_room_fields *f, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_SET);
    sql_bind_text(&q, room);
    sql_bind_text(&q, f->config);
    sql_bind_blob(&q, f->secret, STORE_ROOM_SECRET);
    sql_bind_int(&q, (int64_t)f->created_ms);
    sql_bind_text(&q, f->subject);
    sql_bind_int(&q, (int64_t)f->subject_ms);
    sql_bind_text(&q, f->vcard);
    return sql_run(&q, err);
}

static int set_affiliated(int64_t id, const struct store_affiliated *a, struct err *err)
{
    bool nothing = str_is(a->affiliation, "none") && a->nick.p == NULL;
    struct sql_call q = sql_call(nothing ? SQL_ROOM_AFFILIATED_DELETE : SQL_ROOM_AFFILIATED_SET);
    sql_bind_int(&q, id);
    sql_bind_text(&q, a->jid);
    if (!nothing) {
        sql_bind_text(&q, a->affiliation);
        sql_bind_text(&q, a->nick);
        sql_bind_text(&q, a->reason);
    }
    return sql_run(&q, err);
}

static int add_past(int64_t id, const struct store_room_step *s, struct err *err)
{
    struct buf text = {0};
    stanza_write(&text, s->u.past.stanza, NS_CLIENT);
    struct sql_call q = sql_call(SQL_ROOM_PAST_ADD);
    sql_bind_int(&q, id);
    sql_bind_int(&q, (int64_t)s->u.past.wall_ms);
    sql_bind_int(&q, (int64_t)s->u.past.stanza->sid);
    sql_bind_text(&q, buf_str(&text));
    int rc = sql_run(&q, err);
    buf_free(&text);
    if (rc != 0) return rc;
    struct sql_call trim = sql_call(SQL_ROOM_PAST_TRIM);
    sql_bind_int(&trim, id);
    sql_bind_int(&trim, s->u.past.keep);
    return sql_run(&trim, err);
}

static int one_of(int64_t id, const struct store_room_step *s, struct err *err)
{
    if (s->kind == ROOM_STEP_AFFILIATED) return set_affiliated(id, &s->u.affiliated, err);
    if (s->kind == ROOM_STEP_PAST_ADD) return add_past(id, s, err);
    struct sql_call q = sql_call(SQL_ROOM_PAST_DELETE);
    sql_bind_int(&q, id);
    sql_bind_int(&q, (int64_t)s->u.sid);
    return sql_run(&q, err);
}

static int delete_room(struct str room, struct err *err)
{
    struct sql_call q = sql_call(SQL_ROOM_DELETE);
    sql_bind_text(&q, room);
    return sql_run(&q, err);
}

int sqlite_room_batch(struct str room, const struct store_room_step *steps, struct err *err)
{
    int64_t id = 0;
    for (const struct store_room_step *s = steps; s != NULL; s = s->next) {
        int rc = 0;
        if (s->kind == ROOM_STEP_SET) {
            rc = set_fields(room, &s->u.fields, err);
        } else if (s->kind == ROOM_STEP_DELETE) {
            rc = delete_room(room, err);
            id = 0;
        } else {
            if (id == 0) rc = room_id(room, &id, err);
            if (rc == 0) rc = one_of(id, s, err);
        }
        if (rc != 0) return rc;
    }
    return 0;
}
