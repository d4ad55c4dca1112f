/* What differs between two compliance configurations, object by object and field by field, for people. It works on their JSON form, so that every field there
 * is takes part; but for the passwords, which never get there: of them it is only said that they changed. */
#include "base/buf.h"
#include "broker/profile.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SUMMARY_MAX 400

struct differ {
    json_t *changes;
    const struct compliance_config *from, *to;
    const char *object; /* "server", ... */
    const char *name;
    bool added; /* the object is new: its fields are told as such */
};

static void differ_add(struct differ *d, const char *field, json_t *take_old, json_t *take_new)
{
    const char *change = d->added ? "added" : "changed";
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o}", "object", d->object, "name", d->name, "change", change, "old", take_old, "new", take_new);
    if (field != NULL) json_object_set_new(o, "field", json_string(field));
    json_array_append_new(d->changes, o);
}

static void differ_object(struct differ *d, const char *change)
{
    json_array_append_new(d->changes, json_pack("{s:s, s:s, s:s}", "object", d->object, "name", d->name, "change", change));
}

/* For a person; "" and what is not there are null. */
static json_t *value_text(const json_t *value)
{
    struct buf b = {0};
    if (json_is_string(value)) buf_adds(&b, json_string_value(value));
    if (json_is_integer(value)) buf_addf(&b, "%lld", (long long)json_integer_value(value));
    if (json_is_boolean(value)) buf_adds(&b, json_is_true(value) ? "yes" : "no");
    json_t *text = b.len > 0 ? json_string(buf_cstr(&b)) : json_null();
    buf_free(&b);
    return text;
}

static void differ_field(struct differ *d, const char *field, json_t *take_old, json_t *take_new)
{
    if (!json_equal(take_old, take_new)) {
        differ_add(d, field, take_old, take_new);
        return;
    }
    json_decref(take_old);
    json_decref(take_new);
}

/* ---- rows of a profile ---- */

/* "bounce, fire and forget": all a row says beside what it is about. */
static json_t *row_text(const json_t *row)
{
    const char *key;
    json_t *value;
    struct buf b = {0};
    if (row == NULL) return json_null();
    json_object_foreach ((json_t *)(uintptr_t)row, key, value) {
        if (strcmp(key, "event") == 0 || strcmp(key, "packet") == 0 || json_is_false(value)) continue;
        if (b.len > 0) buf_adds(&b, ", ");
        if (json_is_string(value)) {
            buf_adds(&b, json_string_value(value));
            continue;
        }
        for (const char *c = key; *c != '\0'; c++) buf_addc(&b, *c == '_' ? ' ' : *c);
        if (json_is_integer(value)) buf_addf(&b, " %lld", (long long)json_integer_value(value));
    }
    json_t *text = json_string(buf_cstr(&b));
    buf_free(&b);
    return text;
}

static const char *text_of(const json_t *o, const char *field)
{
    const char *text = json_string_value(json_object_get(o, field));
    return text != NULL ? text : "";
}

static bool same_row(const json_t *a, const json_t *b)
{
    return strcmp(text_of(a, "event"), text_of(b, "event")) == 0 && strcmp(text_of(a, "packet"), text_of(b, "packet")) == 0;
}

typedef bool (*same_fn)(const json_t *a, const json_t *b);
static const json_t *find_same(const json_t *list, const json_t *element, same_fn same)
{
    size_t i;
    json_t *other;
    json_array_foreach ((json_t *)(uintptr_t)list, i, other)
        if (same(other, element)) return other;
    return NULL;
}

static void differ_row(struct differ *d, const json_t *row, const json_t *old, const json_t *now)
{
    struct buf field = {0};
    const char *packet = text_of(row, "packet");
    buf_addf(&field, "row %s%s%s", text_of(row, "event"), *packet != '\0' ? " " : "", packet);
    differ_field(d, buf_cstr(&field), row_text(old), row_text(now));
    buf_free(&field);
}

static void differ_rows(struct differ *d, const json_t *old, const json_t *now)
{
    size_t i;
    json_t *row;
    json_array_foreach ((json_t *)(uintptr_t)now, i, row) differ_row(d, row, find_same(old, row, same_row), row);
    json_array_foreach ((json_t *)(uintptr_t)old, i, row)
        if (find_same(now, row, same_row) == NULL) differ_row(d, row, row, NULL);
}

/* ---- objects ---- */

static void differ_password(struct differ *d)
{
    if (strcmp(d->object, "server") != 0) return;
    const struct compliance_server *a = compliance_server_find(d->from, d->name), *b = compliance_server_find(d->to, d->name);
    const char *old = a != NULL && a->password != NULL ? a->password : "", *now = b != NULL && b->password != NULL ? b->password : "";
    if (strcmp(old, now) != 0) differ_add(d, "password", json_null(), json_string(d->added ? "set" : "changed"));
}

/* old NULL: it was added. */
static void differ_fields(struct differ *d, const json_t *old, const json_t *now)
{
    const char *key;
    json_t *value;
    d->added = old == NULL;
    if (d->added) differ_object(d, "added");
    json_object_foreach ((json_t *)(uintptr_t)now, key, value) {
        if (strcmp(key, "name") == 0 || strcmp(key, "password_set") == 0 || strcmp(key, "read_only") == 0) continue;
        if (strcmp(key, "rows") == 0)
            differ_rows(d, json_object_get(old, "rows"), value);
        else
            differ_field(d, key, value_text(json_object_get(old, key)), value_text(value));
    }
    differ_password(d);
}

static bool same_name(const json_t *a, const json_t *b) { return strcasecmp(text_of(a, "name"), text_of(b, "name")) == 0; }
static bool same_profile(const json_t *a, const json_t *b) { return strcmp(text_of(a, "name"), text_of(b, "name")) == 0; }
static bool same_assignment(const json_t *a, const json_t *b)
{
    return strcasecmp(text_of(a, "server"), text_of(b, "server")) == 0 && strcasecmp(text_of(a, "node"), text_of(b, "node")) == 0;
}

static char *object_name(const json_t *o)
{
    struct buf b = {0};
    buf_adds(&b, text_of(o, "name"));
    if (b.len == 0) buf_addf(&b, "%s on %s", text_of(o, "server"), text_of(o, "node"));
    char *name = x_strdup(buf_cstr(&b));
    buf_free(&b);
    return name;
}

static void differ_list(struct differ *d, const char *object, const json_t *old, const json_t *now, same_fn same)
{
    size_t i;
    json_t *o;
    d->object = object;
    json_array_foreach ((json_t *)(uintptr_t)now, i, o) {
        char *name = object_name(o);
        d->name = name;
        differ_fields(d, find_same(old, o, same), o);
        free(name);
    }
    d->added = false;
    json_array_foreach ((json_t *)(uintptr_t)old, i, o) {
        if (find_same(now, o, same) != NULL) continue;
        char *name = object_name(o);
        d->name = name;
        differ_object(d, "deleted");
        free(name);
    }
}

/* The profiles of c that the other one has too, in routing priority. */
static json_t *common_profiles(const struct compliance_config *c, const struct compliance_config *other)
{
    struct buf b = {0};
    for (unsigned i = 0; i < c->n_profiles; i++)
        if (compliance_profile_find(other, c->profiles[i].name) != NULL) buf_addf(&b, "%s%s", b.len > 0 ? ", " : "", c->profiles[i].name);
    json_t *text = json_string(buf_cstr(&b));
    buf_free(&b);
    return text;
}

json_t *compliance_config_diff(const struct compliance_config *from, const struct compliance_config *to)
{
    struct differ d = {.changes = json_array(), .from = from, .to = to};
    json_t *old = compliance_config_json(from, false), *now = compliance_config_json(to, false);
    differ_list(&d, "server", json_object_get(old, "servers"), json_object_get(now, "servers"), same_name);
    differ_list(&d, "profile", json_object_get(old, "profiles"), json_object_get(now, "profiles"), same_profile);
    differ_list(&d, "assignment", json_object_get(old, "assignments"), json_object_get(now, "assignments"), same_assignment);
    d.object = "routing priority";
    d.name = "";
    d.added = false;
    differ_field(&d, NULL, common_profiles(from, to), common_profiles(to, from));
    json_decref(old);
    json_decref(now);
    return d.changes;
}

/* ---- in a line ---- */

static void change_line(const json_t *change, struct buf *out)
{
    const char *field = text_of(change, "field"), *old = text_of(change, "old"), *now = text_of(change, "new");
    buf_addf(out, "%s%s%s", text_of(change, "object"), *text_of(change, "name") != '\0' ? " " : "", text_of(change, "name"));
    if (json_object_get(change, "new") == NULL) {
        buf_addf(out, " %s", text_of(change, "change"));
        return;
    }
    if (*field != '\0') buf_addf(out, ", %s", field);
    if (strcmp(field, "password") == 0)
        buf_addf(out, " %s", now);
    else
        buf_addf(out, ": %s -> %s", *old != '\0' ? old : "-", *now != '\0' ? now : "-");
}

void compliance_diff_line(const json_t *changes, struct buf *out)
{
    size_t i, left = 0, begin = out->len;
    json_t *change;
    json_array_foreach ((json_t *)(uintptr_t)changes, i, change) {
        if (strcmp(text_of(change, "change"), "added") == 0 && json_object_get(change, "new") != NULL) continue; /* the fields of what is new */
        if (out->len - begin >= SUMMARY_MAX) {
            left++;
            continue;
        }
        if (out->len > begin) buf_adds(out, "; ");
        change_line(change, out);
    }
    if (left > 0) buf_addf(out, "; and %zu more", left);
}
