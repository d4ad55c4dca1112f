/* The compliance configuration as JSON: the document in the store, and the fields of the admin API. One table per object says which fields there are and of
 * what type, so that reading, writing and refusing unknown ones agree. */
#include "base/buf.h"
#include "broker/profile_private.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- fields ---- */

static int field_unknown(const char *what, const char *field, const char *known, struct err *err)
{
    return err_set(err, ERR_INVALID, "a %s has no field \"%.60s\"; its fields are %s", what, field, known);
}

static int fields_check(const char *what, const json_t *o, const char *const *known, const char *list, struct err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o)) return err_set(err, ERR_INVALID, "a %s is a JSON object with the fields %s", what, list);
    json_object_foreach ((json_t *)o, key, value) {
        unsigned i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0) i++;
        if (known[i] == NULL) return field_unknown(what, key, list, err);
    }
    return 0;
}

/* Absent: *out stays. null: "" stays what it is for text, see text_field. */
static int text_field(const json_t *o, const char *field, const char **out, struct err *err)
{
    const json_t *v = json_object_get(o, field);
    if (v == NULL) return 0;
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v)) return err_set(err, ERR_INVALID, "\"%s\" must be a string", field);
    *out = json_string_value(v);
    return 0;
}

static int bool_field(const json_t *o, const char *field, bool *out, struct err *err)
{
    const json_t *v = json_object_get(o, field);
    if (v == NULL) return 0;
    if (!json_is_boolean(v)) return err_set(err, ERR_INVALID, "\"%s\" must be true or false", field);
    *out = json_is_true(v);
    return 0;
}

static int copied_field(const json_t *o, const char *field, char **out, struct err *err)
{
    const char *text = NULL;
    if (json_is_null(json_object_get(o, field))) {
        free(*out);
        *out = NULL;
        return 0;
    }
    if (text_field(o, field, &text, err) != 0) return -1;
    if (text == NULL) return 0;
    free(*out);
    *out = x_strdup(text);
    return 0;
}

/* ---- servers ---- */

static const char *const server_fields[] = {"name",     "description", "host",     "port",    "password",         "direction",        "tls",
                                            "tls_ca",   "tls_name",    "tls_cert", "tls_key", "link_outstanding", "link_queue_bytes", "answer_bytes", NULL};
#define SERVER_FIELDS \
    "name, description, host, port, password, direction, tls, tls_ca, tls_name, tls_cert, tls_key, link_outstanding, link_queue_bytes and answer_bytes"
static const char *const directions[] = {[LINK_CONNECT] = "connect", [LINK_ACCEPT] = "accept"};

static int direction_field(const json_t *o, enum link_direction *out, struct err *err)
{
    const char *text = directions[*out];
    if (text_field(o, "direction", &text, err) != 0) return -1;
    for (unsigned i = LINK_CONNECT; i <= LINK_ACCEPT; i++) {
        if (strcmp(text, directions[i]) != 0) continue;
        *out = (enum link_direction)i;
        return 0;
    }
    return err_set(err, ERR_INVALID, "\"direction\" must be connect (this node dials the server) or accept (the server dials this node)");
}

static int port_field(const json_t *o, uint16_t *out, struct err *err)
{
    const json_t *v = json_object_get(o, "port");
    if (v == NULL) return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT16_MAX)
        return err_set(err, ERR_INVALID, "\"port\" must be a number from 1 to 65535 (0: none, direction accept)");
    *out = (uint16_t)json_integer_value(v);
    return 0;
}

/* Text that may be absent: "" and null are NULL. */
static int optional_field(const json_t *o, const char *field, char **out, struct err *err)
{
    if (copied_field(o, field, out, err) != 0) return -1;
    if (*out == NULL || **out != '\0') return 0;
    free(*out);
    *out = NULL;
    return 0;
}

static int limit_field(const json_t *o, const char *field, uint64_t *out, struct err *err)
{
    const json_t *v = json_object_get(o, field);
    if (v == NULL) return 0;
    if (!json_is_null(v) && (!json_is_integer(v) || json_integer_value(v) < 0))
        return err_set(err, ERR_INVALID, "\"%s\" must be a number (0: as the option broker.%s of signet.conf says)", field, field);
    *out = (uint64_t)json_integer_value(v); /* null: 0 */
    return 0;
}

int server_from_json(struct compliance_server *s, const json_t *fields, const char **name, struct err *err)
{
    if (fields_check("compliance server", fields, server_fields, SERVER_FIELDS, err) != 0) return -1;
    if (text_field(fields, "name", name, err) != 0 || copied_field(fields, "description", &s->description, err) != 0) return -1;
    if (copied_field(fields, "host", &s->host, err) != 0 || copied_field(fields, "password", &s->password, err) != 0) return -1;
    if (bool_field(fields, "tls", &s->tls, err) != 0) return -1;
    if (optional_field(fields, "tls_ca", &s->tls_ca, err) != 0 || optional_field(fields, "tls_name", &s->tls_name, err) != 0) return -1;
    if (optional_field(fields, "tls_cert", &s->tls_cert, err) != 0 || optional_field(fields, "tls_key", &s->tls_key, err) != 0) return -1;
    if (limit_field(fields, "link_outstanding", &s->link_outstanding, err) != 0) return -1;
    if (limit_field(fields, "link_queue_bytes", &s->link_queue_bytes, err) != 0 || limit_field(fields, "answer_bytes", &s->answer_bytes, err) != 0) return -1;
    if (port_field(fields, &s->port, err) != 0) return -1;
    return direction_field(fields, &s->direction, err);
}

static const char *or_empty(const char *s) { return s != NULL ? s : ""; }

static json_t *server_json(const struct compliance_server *s, bool with_password)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "name", s->name, "description", or_empty(s->description), "host",
                          or_empty(s->host), "port", (int)s->port, "direction", directions[s->direction], "tls", (int)s->tls, "tls_ca", or_empty(s->tls_ca), "tls_name",
                          or_empty(s->tls_name), "tls_cert", or_empty(s->tls_cert), "tls_key", or_empty(s->tls_key), "link_outstanding", (json_int_t)s->link_outstanding,
                          "link_queue_bytes", (json_int_t)s->link_queue_bytes, "answer_bytes", (json_int_t)s->answer_bytes);
    if (with_password)
        json_object_set_new(o, "password", json_string(or_empty(s->password)));
    else
        json_object_set_new(o, "password_set", json_boolean(s->password != NULL && s->password[0] != '\0'));
    return o;
}

/* ---- profiles ---- */

static const char *const profile_fields[] = {"name", "description", "rows", NULL};
static const char *const stored_profile_fields[] = {"name", "description", "rows", "read_only", NULL};
static const char *const row_fields[] = {"event", "packet", "handling", "fire_and_forget", "shadow", NULL};

int row_from_json(const json_t *o, struct profile_row *row, bool add, struct err *err)
{
    const char *event = add ? NULL : event_catalogue[row->event].name, *packet = add ? "all" : packet_type_name(row->packets);
    const char *handling = add ? NULL : row->bounce ? "bounce" : "pass";
    if (fields_check("profile's row", o, row_fields, "event, packet, handling, fire_and_forget and shadow", err) != 0) return -1;
    if (text_field(o, "event", &event, err) != 0 || text_field(o, "packet", &packet, err) != 0) return -1;
    if (text_field(o, "handling", &handling, err) != 0 || bool_field(o, "fire_and_forget", &row->fire_and_forget, err) != 0) return -1;
    if (bool_field(o, "shadow", &row->shadow, err) != 0) return -1;
    int id = event != NULL ? event_by_name(event) : -1;
    if (id < 0) return err_set(err, ERR_INVALID, "\"%.60s\" is not an event; GET /v1/events lists them", or_empty(event));
    int mask = packet_type_by_name(packet);
    if (mask < 0) return err_set(err, ERR_INVALID, "%s: packet type \"%.60s\" is none of iq, message, presence, subscription, all", event, packet);
    if (handling == NULL || (strcmp(handling, "bounce") != 0 && strcmp(handling, "pass") != 0))
        return err_set(err, ERR_INVALID, "%s: \"handling\" must be bounce (errors go back to the originator) or pass (errors are discarded)", event);
    row->event = (enum event_id)id;
    row->packets = (unsigned)mask;
    row->bounce = strcmp(handling, "bounce") == 0;
    return 0;
}

static int rows_from_json(struct compliance_profile *p, const json_t *rows, struct err *err)
{
    size_t i;
    json_t *o;
    if (!json_is_array(rows)) return err_set(err, ERR_INVALID, "\"rows\" must be an array");
    free(p->rows);
    p->rows = NULL;
    p->n_rows = 0;
    json_array_foreach (rows, i, o) {
        struct profile_row row = {0};
        if (row_from_json(o, &row, true, err) != 0) return -1;
        profile_add_row(p, &row);
    }
    return 0;
}

int profile_from_json(struct compliance_profile *p, const json_t *fields, const char **name, struct err *err)
{
    if (fields_check("compliance profile", fields, profile_fields, "name, description and rows", err) != 0) return -1;
    if (text_field(fields, "name", name, err) != 0 || copied_field(fields, "description", &p->description, err) != 0) return -1;
    const json_t *rows = json_object_get(fields, "rows");
    return rows != NULL ? rows_from_json(p, rows, err) : 0;
}

json_t *row_json(const struct profile_row *row)
{
    json_t *o = json_pack("{s:s, s:s, s:b, s:b}", "event", event_catalogue[row->event].name, "handling", row->bounce ? "bounce" : "pass", "fire_and_forget",
                          (int)row->fire_and_forget, "shadow", (int)row->shadow);
    if (event_catalogue[row->event].service == SERVICE_JSM) json_object_set_new(o, "packet", json_string(packet_type_name(row->packets)));
    return o;
}

/* stored: without what is only told. */
static json_t *profile_json(const struct compliance_profile *p, bool stored)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < p->n_rows; i++) json_array_append_new(rows, row_json(&p->rows[i]));
    json_t *o = json_pack("{s:s, s:s, s:b, s:o}", "name", p->name, "description", or_empty(p->description), "read_only", (int)p->read_only, "rows", rows);
    if (stored) return o;
    json_t *warnings = json_array();
    profile_warn(p, NULL, warnings);
    json_object_set_new(o, "warnings", warnings);
    return o;
}

/* ---- the document ---- */

json_t *compliance_config_json(const struct compliance_config *c, bool with_passwords)
{
    json_t *servers = json_array(), *profiles = json_array(), *assignments = json_array();
    for (unsigned i = 0; i < c->n_servers; i++) json_array_append_new(servers, server_json(&c->servers[i], with_passwords));
    for (unsigned i = 0; i < c->n_profiles; i++) json_array_append_new(profiles, profile_json(&c->profiles[i], with_passwords));
    for (unsigned i = 0; i < c->n_assignments; i++) {
        const struct compliance_assignment *a = &c->assignments[i];
        json_array_append_new(assignments, json_pack("{s:s, s:s, s:s, s:s}", "node", a->node, "server", a->server, "profile", a->profile, "component", a->component));
    }
    return json_pack("{s:o, s:o, s:o}", "servers", servers, "profiles", profiles, "assignments", assignments);
}

static int named(const char *what, const char *name, char **out, struct err *err)
{
    if (name == NULL) return err_set(err, ERR_INVALID, "a %s has no name", what);
    *out = x_strdup(name);
    return 0;
}

static int read_server(struct compliance_config *c, const json_t *o, struct err *err)
{
    const char *name = NULL;
    struct compliance_server *s = config_add_server(c);
    s->name = x_strdup("");
    if (server_from_json(s, o, &name, err) != 0) return -1;
    free(s->name);
    s->name = NULL;
    return named("compliance server", name, &s->name, err) != 0 ? (s->name = x_strdup(""), -1) : 0;
}

/* The built-in profile is made anew, whatever the document says of it: only its place counts. */
static int read_profile(struct compliance_config *c, const json_t *o, struct err *err)
{
    const char *name = NULL;
    struct compliance_profile *p = config_add_profile(c);
    p->name = x_strdup("");
    if (fields_check("stored compliance profile", o, stored_profile_fields, "name, description, rows and read_only", err) != 0) return -1;
    if (text_field(o, "name", &name, err) != 0) return -1;
    if (name == NULL) return err_set(err, ERR_INVALID, "a compliance profile has no name");
    profile_clear(p);
    if (strcmp(name, SYSTEM_PROFILE) == 0) {
        profile_make_system(p);
        return 0;
    }
    p->name = x_strdup(name);
    if (copied_field(o, "description", &p->description, err) != 0) return -1;
    if (json_object_get(o, "rows") != NULL && rows_from_json(p, json_object_get(o, "rows"), err) != 0) return -1;
    profile_merge_rows(p);
    return 0;
}

static int read_assignment(struct compliance_config *c, const json_t *o, struct err *err)
{
    static const char *const fields[] = {"node", "server", "profile", "component", NULL};
    const char *node = NULL, *server = NULL, *profile = NULL, *component = NULL;
    if (fields_check("assignment", o, fields, "node, server, profile and component", err) != 0) return -1;
    if (text_field(o, "node", &node, err) != 0 || text_field(o, "server", &server, err) != 0) return -1;
    if (text_field(o, "profile", &profile, err) != 0 || text_field(o, "component", &component, err) != 0) return -1;
    if (node == NULL || server == NULL || profile == NULL) return err_set(err, ERR_INVALID, "an assignment needs node, server and profile");
    /* Component names are stored, not recomputed: the compliance server is configured with them. */
    *config_add_assignment(c) =
        (struct compliance_assignment){x_strdup(node), x_strdup(server), x_strdup(profile), component != NULL ? x_strdup(component) : component_name(server, node)};
    return 0;
}

static int read_each(struct compliance_config *c, const json_t *doc, const char *member, int (*read)(struct compliance_config *c, const json_t *o, struct err *err),
                     struct err *err)
{
    size_t i;
    json_t *o;
    const json_t *array = json_object_get(doc, member);
    if (array != NULL && !json_is_array(array)) return err_set(err, ERR_INVALID, "\"%s\" must be an array", member);
    json_array_foreach (array, i, o)
        if (read(c, o, err) != 0) return err_prefix(err, "%s[%zu]", member, i);
    return 0;
}

static int read_document(struct compliance_config *c, const json_t *doc, struct err *err)
{
    static const char *const members[] = {"servers", "profiles", "assignments", NULL};
    if (fields_check("compliance configuration", doc, members, "servers, profiles and assignments", err) != 0) return -1;
    if (read_each(c, doc, "servers", read_server, err) != 0 || read_each(c, doc, "profiles", read_profile, err) != 0) return -1;
    if (read_each(c, doc, "assignments", read_assignment, err) != 0) return -1;
    if (compliance_profile_find(c, SYSTEM_PROFILE) == NULL) profile_make_system(config_add_profile(c));
    return compliance_config_check(c, err);
}

struct compliance_config *compliance_config_parse(struct str json, int64_t version, struct err *err)
{
    json_error_t problem;
    json_t *doc = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &problem);
    if (doc == NULL) {
        err_set(err, ERR_INVALID, "not JSON: line %d, column %d: %s", problem.line, problem.column, problem.text);
        return NULL;
    }
    struct compliance_config *c = x_calloc(1, sizeof(*c));
    c->version = version;
    int rc = read_document(c, doc, err);
    json_decref(doc);
    if (rc == 0) return c;
    compliance_config_free(c);
    return NULL;
}
