/* Compliance profiles: which events, what becomes of a stanza when nobody answers, and in which order profiles are asked. */
#include "signetctl/compliance.h"
#include <stdlib.h>
#include <string.h>

static void print_profiles(const json_t *answer)
{
    json_t *profile;
    size_t i;
    struct table t = {.columns = 5, .head = {"PRIORITY", "NAME", "EVENTS", "CHANGEABLE", "DESCRIPTION"}};
    json_array_foreach (json_object_get(answer, "profiles"), i, profile) {
        table_addf(&t, "%zu", i + 1);
        table_add(&t, json_text(profile, "name"));
        table_addf(&t, "%zu", json_array_size(json_object_get(profile, "rows")));
        table_add(&t, json_is_true(json_object_get(profile, "read_only")) ? "no" : "yes");
        table_add(&t, json_text(profile, "description"));
    }
    table_print(&t);
}

enum outcome profile_list(const struct invocation *in, struct err *err)
{
    return api_show(in, x_strdup("/v1/compliance/profiles"), print_profiles, err);
}

/* A warning begins with the row it is about: "es_OUT message: ...", "onLeave: ...". */
static bool warned_of(const json_t *profile, const json_t *row)
{
    size_t i;
    json_t *warning;
    bool found = false;
    struct buf head = {0};
    const char *packet = json_text(row, "packet");
    buf_addf(&head, "%s%s%s:", json_text(row, "event"), *packet != '\0' ? " " : "", packet);
    json_array_foreach (json_object_get(profile, "warnings"), i, warning)
        if (strncmp(json_string_value(warning), buf_cstr(&head), head.len) == 0) found = true;
    buf_free(&head);
    return found;
}

static void show_profile(const json_t *profile)
{
    size_t i;
    json_t *row, *warning;
    bool warned = json_array_size(json_object_get(profile, "warnings")) > 0;
    struct table facts = {0}, t = {.columns = warned ? 6 : 5, .head = {"EVENT", "PACKET", "HANDLING", "FIRE AND FORGET", "SHADOW", warned ? "WARNING" : NULL}};
    table_fact(&facts, "name", json_text(profile, "name"));
    table_fact(&facts, "description", json_text(profile, "description"));
    table_fact(&facts, "changeable", json_is_true(json_object_get(profile, "read_only")) ? "no" : "yes");
    table_print(&facts);
    putchar('\n');
    json_array_foreach (json_object_get(profile, "rows"), i, row) {
        table_add(&t, json_text(row, "event"));
        table_add(&t, json_text(row, "packet"));
        table_add(&t, json_text(row, "handling"));
        table_add(&t, json_is_true(json_object_get(row, "fire_and_forget")) ? "yes" : "no");
        table_add(&t, json_is_true(json_object_get(row, "shadow")) ? "yes" : "no");
        if (warned) table_add(&t, warned_of(profile, row) ? "see below" : "");
    }
    table_print(&t);
    json_array_foreach (json_object_get(profile, "warnings"), i, warning) printf("%swarning: %s\n", i == 0 ? "\n" : "", json_string_value(warning));
}

static enum outcome no_profile(const char *name, struct err *err)
{
    return fail(OUTCOME_REFUSED, err, "there is no compliance profile '%.200s'; signetctl compliance profile list names them", name);
}

enum outcome profile_show(const struct invocation *in, struct err *err)
{
    json_t *answer = NULL, *list;
    enum outcome rc = compliance_get("profiles", &answer, &list, err);
    if (rc != OUTCOME_OK) return rc;
    json_t *profile = compliance_named(list, in->args[0]);
    if (profile == NULL)
        rc = no_profile(in->args[0], err);
    else if ((in->given & OPT_JSON) != 0)
        json_print(profile, JSON_INDENT(2));
    else
        show_profile(profile);
    json_decref(answer);
    return rc;
}

/* NAME[:PACKET][,bounce|pass][,forget|wait|shadow]: *row has event, packet, and what else is said. Names are checked by signetd, which has the catalogue. */
static enum outcome parse_row(const char *text, json_t **row, struct err *err)
{
    size_t n = strcspn(text, ","), name = strcspn(text, ":,");
    const char *packets = name < n ? text + name + 1 : "all", *handling = NULL;
    size_t n_packets = name < n ? n - name - 1 : 3;
    const char *mode = NULL;
    if (name == 0 || n_packets == 0)
        return fail(OUTCOME_USAGE, err, "event '%.100s': it is NAME[:PACKET][,bounce|pass][,forget|wait|shadow], e.g. es_OUT:message,bounce", text);
    for (const char *at = text + n; *at == ',';) {
        const char *word = at + 1;
        size_t length = strcspn(word, ",");
        struct str s = {word, length};
        at = word + length;
        if ((str_is(s, "forget") || str_is(s, "wait") || str_is(s, "shadow")) && mode == NULL)
            mode = word;
        else if ((str_is(s, "bounce") || str_is(s, "pass")) && handling == NULL)
            handling = *word == 'b' ? "bounce" : "pass";
        else
            return fail(OUTCOME_USAGE, err, "event '%.100s': after a comma come bounce or pass, and forget, wait or shadow, each once at most; not '%.*s'", text,
                        (int)(length < 64 ? length : 64), word);
    }
    *row = json_pack("{s:s%, s:s%}", "event", text, name, "packet", packets, n_packets);
    if (*row == NULL) return fail(OUTCOME_USAGE, err, "event: not UTF-8 text");
    if (handling != NULL) json_object_set_new(*row, "handling", json_string(handling));
    if (mode != NULL) json_object_set_new(*row, "fire_and_forget", json_boolean(*mode == 'f'));
    if (mode != NULL) json_object_set_new(*row, "shadow", json_boolean(*mode == 's'));
    return OUTCOME_OK;
}

/* The same of a row that is new: what is not said is bounce and wait. */
static enum outcome new_row(const char *text, json_t **row, struct err *err)
{
    enum outcome rc = parse_row(text, row, err);
    if (rc != OUTCOME_OK) return rc;
    if (json_object_get(*row, "handling") == NULL) json_object_set_new(*row, "handling", json_string("bounce"));
    if (json_object_get(*row, "fire_and_forget") == NULL) json_object_set_new(*row, "fire_and_forget", json_false());
    if (json_object_get(*row, "shadow") == NULL) json_object_set_new(*row, "shadow", json_false());
    return OUTCOME_OK;
}

static enum outcome profile_fields(const struct invocation *in, bool add, json_t *fields, struct err *err)
{
    const char *description = in->values[SWITCH_DESCRIPTION];
    if (description != NULL && json_object_set_new(fields, "description", json_string(description)) != 0)
        return fail(OUTCOME_USAGE, err, "the description is not UTF-8 text");
    if (add && json_object_set_new(fields, "name", json_string(in->args[0])) != 0) return fail(OUTCOME_USAGE, err, "the name is not UTF-8 text");
    json_t *rows = json_array();
    enum outcome rc = OUTCOME_OK;
    for (unsigned i = 0; rc == OUTCOME_OK && i < in->n_events; i++) {
        json_t *row = NULL;
        rc = new_row(in->events[i], &row, err);
        if (rc == OUTCOME_OK) json_array_append_new(rows, row);
    }
    if (rc == OUTCOME_OK && (add || in->n_events > 0))
        json_object_set_new(fields, "rows", rows);
    else
        json_decref(rows);
    if (rc == OUTCOME_OK && json_object_size(fields) == 0)
        rc = fail(OUTCOME_USAGE, err, "no option says what to change; see signetctl compliance profile set --help");
    return rc;
}

static enum outcome put(const struct invocation *in, bool add, struct err *err)
{
    json_t *fields = json_object();
    enum outcome rc = profile_fields(in, add, fields, err);
    if (rc != OUTCOME_OK) {
        json_decref(fields);
        return rc;
    }
    if (add) return compliance_change_warned(in, "POST", x_strdup("/v1/compliance/profiles"), fields, "added", err);
    return compliance_change_warned(in, "PATCH", api_path("/v1/compliance/profiles/", in->args[0], NULL), fields, "changed", err);
}

enum outcome profile_add(const struct invocation *in, struct err *err) { return put(in, true, err); }
enum outcome profile_set(const struct invocation *in, struct err *err) { return put(in, false, err); }

enum outcome profile_rename(const struct invocation *in, struct err *err) { return compliance_rename(in, "/v1/compliance/profiles/", err); }

enum outcome profile_copy(const struct invocation *in, struct err *err)
{
    json_t *answer = NULL, *list;
    enum outcome rc = compliance_get("profiles", &answer, &list, err);
    if (rc != OUTCOME_OK) return rc;
    json_t *profile = compliance_named(list, in->args[0]);
    const char *description = in->values[SWITCH_DESCRIPTION];
    json_t *body = profile != NULL ? json_pack("{s:s, s:s, s:O}", "name", in->args[1], "description", description != NULL ? description : json_text(profile, "description"),
                                               "rows", json_object_get(profile, "rows")) : NULL;
    if (body != NULL)
        rc = compliance_change_warned(in, "POST", x_strdup("/v1/compliance/profiles"), body, "copied", err);
    else if (profile == NULL)
        rc = no_profile(in->args[0], err);
    else
        rc = fail(OUTCOME_USAGE, err, "the name or the description is not UTF-8 text");
    json_decref(answer);
    return rc;
}

/* ---- single events ---- */

enum outcome profile_event_add(const struct invocation *in, struct err *err)
{
    json_t *row = NULL;
    enum outcome rc = new_row(in->args[1], &row, err);
    if (rc != OUTCOME_OK) return rc;
    return compliance_change_warned(in, "POST", api_path("/v1/compliance/profiles/", in->args[0], "/rows", NULL), row, "has one event more", err);
}

/* The path of the row that the command's second argument names; what it says beyond is left in *row. */
static enum outcome row_path(const struct invocation *in, char **path, json_t **row, struct err *err)
{
    enum outcome rc = parse_row(in->args[1], row, err);
    if (rc != OUTCOME_OK) return rc;
    *path = api_path("/v1/compliance/profiles/", in->args[0], "/rows/", json_text(*row, "event"), "/", json_text(*row, "packet"), NULL);
    json_object_del(*row, "event");
    json_object_del(*row, "packet");
    return OUTCOME_OK;
}

enum outcome profile_event_set(const struct invocation *in, struct err *err)
{
    char *path = NULL;
    json_t *row = NULL;
    enum outcome rc = row_path(in, &path, &row, err);
    if (rc != OUTCOME_OK) return rc;
    if (json_object_size(row) > 0) return compliance_change_warned(in, "PATCH", path, row, "has a changed event", err);
    free(path);
    json_decref(row);
    return fail(OUTCOME_USAGE, err, "event '%.100s': what is to be different is said after a comma, e.g. es_OUT:message,pass", in->args[1]);
}

enum outcome profile_event_delete(const struct invocation *in, struct err *err)
{
    char *path = NULL;
    json_t *row = NULL;
    enum outcome rc = row_path(in, &path, &row, err);
    if (rc != OUTCOME_OK) return rc;
    bool more = json_object_size(row) > 0;
    json_decref(row);
    if (!more) return compliance_change(in, "DELETE", path, NULL, "has one event less", err);
    free(path);
    return fail(OUTCOME_USAGE, err, "event '%.100s': to name an event, NAME[:PACKET] is enough", in->args[1]);
}

enum outcome profile_delete(const struct invocation *in, struct err *err)
{
    return compliance_change(in, "DELETE", api_path("/v1/compliance/profiles/", in->args[0], NULL), NULL, "deleted", err);
}

static enum outcome move(const struct invocation *in, int by, const char *did, struct err *err)
{
    return compliance_change(in, "POST", api_path("/v1/compliance/profiles/", in->args[0], "/move", NULL), json_pack("{s:i}", "by", by), did, err);
}

enum outcome profile_up(const struct invocation *in, struct err *err) { return move(in, -1, "moved up", err); }
enum outcome profile_down(const struct invocation *in, struct err *err) { return move(in, 1, "moved down", err); }
