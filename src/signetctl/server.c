/* Compliance servers. A change sends only what an option named: what signetd keeps of the rest is not touched. */
#include "signetctl/compliance.h"
#include <stdlib.h>
#include <string.h>

static const struct {
    enum switch_id id;
    const char *field, *name;
} limits[] = {{SWITCH_LINK_OUTSTANDING, "link_outstanding", "events outstanding"}, {SWITCH_LINK_QUEUE_BYTES, "link_queue_bytes", "bytes queued"},
              {SWITCH_ANSWER_BYTES, "answer_bytes", "bytes of an answer"}};
enum { LIMITS = sizeof(limits) / sizeof(limits[0]) };

static bool is_on(const json_t *server) { return json_is_true(json_object_get(server, "tls")); }

static void print_servers(const json_t *answer)
{
    json_t *server;
    size_t i;
    struct table t = {.columns = 6, .head = {"NAME", "DIRECTION", "HOST", "PORT", "TLS", "DESCRIPTION"}};
    json_array_foreach (json_object_get(answer, "servers"), i, server) {
        bool connects = strcmp(json_text(server, "direction"), "accept") != 0;
        table_add(&t, json_text(server, "name"));
        table_add(&t, json_text(server, "direction"));
        table_add(&t, connects ? json_text(server, "host") : "");
        table_addf(&t, connects ? "%lld" : "-", json_number(server, "port"));
        table_add(&t, is_on(server) ? "on" : "off");
        table_add(&t, json_text(server, "description"));
    }
    table_print(&t);
}

enum outcome server_list(const struct invocation *in, struct err *err)
{
    return api_show(in, x_strdup("/v1/compliance/servers"), print_servers, err);
}

static void show_assignments(struct table *t, json_t *assignments, const char *name)
{
    size_t i;
    json_t *assignment;
    bool first = true;
    json_array_foreach (assignments, i, assignment) {
        if (strcmp(json_text(assignment, "server"), name) != 0) continue;
        struct buf line = {0};
        buf_addf(&line, "to %s with %s as %s", json_text(assignment, "node"), json_text(assignment, "profile"), json_text(assignment, "component"));
        table_fact(t, first ? "assigned" : " ", buf_cstr(&line));
        buf_free(&line);
        first = false;
    }
    if (first) table_fact(t, "assigned", "nowhere");
}

static void show_tls(struct table *t, const json_t *server, bool connects)
{
    const char *ca = json_text(server, "tls_ca"), *name = json_text(server, "tls_name"), *cert = json_text(server, "tls_cert");
    table_fact(t, "TLS", is_on(server) ? "on" : "off");
    if (!is_on(server)) return;
    table_fact(t, "TLS authorities", *ca != '\0' ? ca : connects ? "the system's" : "none: no certificate is asked for");
    table_fact(t, "TLS name", *name != '\0' ? name : connects ? json_text(server, "host") : "any");
    if (connects) table_fact(t, "TLS certificate", *cert != '\0' ? cert : "none is shown");
    if (connects && *cert != '\0') table_fact(t, "TLS key", json_text(server, "tls_key"));
}

static void show_limits(struct table *t, const json_t *server)
{
    for (unsigned i = 0; i < LIMITS; i++) {
        struct buf line = {0};
        if (json_number(server, limits[i].field) != 0)
            buf_addf(&line, "%lld", json_number(server, limits[i].field));
        else
            buf_addf(&line, "as broker.%s says", limits[i].field);
        table_fact(t, limits[i].name, buf_cstr(&line));
        buf_free(&line);
    }
}

static void show_server(const json_t *server, json_t *assignments)
{
    struct table t = {0};
    char port[24];
    bool connects = strcmp(json_text(server, "direction"), "accept") != 0;
    snprintf(port, sizeof(port), "%lld", json_number(server, "port"));
    table_fact(&t, "name", json_text(server, "name"));
    table_fact(&t, "description", json_text(server, "description"));
    table_fact(&t, "direction", json_text(server, "direction"));
    table_fact(&t, "host", connects ? json_text(server, "host") : "");
    table_fact(&t, "port", connects ? port : "");
    show_tls(&t, server, connects);
    table_fact(&t, "password", json_is_true(json_object_get(server, "password_set")) ? "set" : "not set");
    show_limits(&t, server);
    show_assignments(&t, assignments, json_text(server, "name"));
    table_print(&t);
}

enum outcome server_show(const struct invocation *in, struct err *err)
{
    json_t *answer = NULL, *list, *assigned = NULL, *assignments = NULL;
    enum outcome rc = compliance_get("servers", &answer, &list, err);
    if (rc != OUTCOME_OK) return rc;
    json_t *server = compliance_named(list, in->args[0]);
    if (server == NULL) {
        rc = fail(OUTCOME_REFUSED, err, "there is no compliance server '%.200s'; signetctl compliance server list names them", in->args[0]);
    } else if ((in->given & OPT_JSON) != 0) {
        json_print(server, JSON_INDENT(2));
    } else {
        rc = compliance_get("assignments", &assigned, &assignments, err);
        if (rc == OUTCOME_OK) show_server(server, assignments);
    }
    json_decref(assigned);
    json_decref(answer);
    return rc;
}

static int number_field(json_t *fields, const char *field, const char *text, long long min, long long max)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || n < min || n > max) return -1;
    return json_object_set_new(fields, field, json_integer(n));
}

/* Their bounds are signetd's to know. */
static enum outcome limit_fields(const struct invocation *in, json_t *fields, struct err *err)
{
    for (unsigned i = 0; i < LIMITS; i++) {
        const char *value = in->values[limits[i].id];
        if (value != NULL && number_field(fields, limits[i].field, value, 0, INT64_MAX) != 0)
            return fail(OUTCOME_USAGE, err, "the limit of %s is a number, not '%.64s'", limits[i].name, value);
    }
    return OUTCOME_OK;
}

/* The fields that options named, and the password. */
static enum outcome server_fields(const struct invocation *in, bool add, json_t *fields, struct err *err)
{
    static const struct {
        enum switch_id id;
        const char *field;
    } texts[] = {{SWITCH_HOST, "host"}, {SWITCH_DIRECTION, "direction"}, {SWITCH_DESCRIPTION, "description"}, {SWITCH_TLS_CA, "tls_ca"},
                 {SWITCH_TLS_NAME, "tls_name"}, {SWITCH_TLS_CERT, "tls_cert"}, {SWITCH_TLS_KEY, "tls_key"}};
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *value = in->values[texts[i].id];
        if (value != NULL && json_object_set_new(fields, texts[i].field, json_string(value)) != 0)
            return fail(OUTCOME_USAGE, err, "the %s is not UTF-8 text", texts[i].field);
    }
    const char *direction = in->values[SWITCH_DIRECTION], *port = in->values[SWITCH_PORT], *tls = in->values[SWITCH_TLS];
    if (direction != NULL && strcmp(direction, "connect") != 0 && strcmp(direction, "accept") != 0)
        return fail(OUTCOME_USAGE, err, "--direction is connect or accept, not '%.64s'", direction);
    if (tls != NULL && strcmp(tls, "on") != 0 && strcmp(tls, "off") != 0) return fail(OUTCOME_USAGE, err, "--tls is on or off, not '%.64s'", tls);
    if (tls != NULL) json_object_set_new(fields, "tls", json_boolean(strcmp(tls, "on") == 0));
    if (port != NULL && number_field(fields, "port", port, 1, 65535) != 0) return fail(OUTCOME_USAGE, err, "--port is a number from 1 to 65535, not '%.64s'", port);
    if (limit_fields(in, fields, err) != OUTCOME_OK) return OUTCOME_USAGE;
    if (!add && (in->given & (OPT_PASSWORD_FILE | OPT_PASSWORD_STDIN | OPT_PASSWORD_ASK)) == 0) return OUTCOME_OK;
    struct buf what = {0};
    char *password = NULL;
    buf_addf(&what, "password of %s", in->args[0]);
    enum outcome rc = secret_get(in, buf_cstr(&what), &password, err);
    if (rc == OUTCOME_OK && json_object_set_new(fields, "password", json_string(password)) != 0)
        rc = fail(OUTCOME_USAGE, err, "the password is not UTF-8 text");
    secret_free(password);
    buf_free(&what);
    return rc;
}

static enum outcome put(const struct invocation *in, bool add, struct err *err)
{
    json_t *fields = json_object();
    enum outcome rc = server_fields(in, add, fields, err);
    if (rc == OUTCOME_OK && add && json_object_set_new(fields, "name", json_string(in->args[0])) != 0)
        rc = fail(OUTCOME_USAGE, err, "the name is not UTF-8 text");
    if (rc == OUTCOME_OK && !add && json_object_size(fields) == 0)
        rc = fail(OUTCOME_USAGE, err, "no option says what to change; see signetctl compliance server set --help");
    if (rc != OUTCOME_OK) {
        json_decref(fields);
        return rc;
    }
    if (add) return compliance_change(in, "POST", x_strdup("/v1/compliance/servers"), fields, "added", err);
    return compliance_change(in, "PATCH", api_path("/v1/compliance/servers/", in->args[0], NULL), fields, "changed", err);
}

enum outcome server_add(const struct invocation *in, struct err *err) { return put(in, true, err); }
enum outcome server_set(const struct invocation *in, struct err *err) { return put(in, false, err); }

enum outcome server_rename(const struct invocation *in, struct err *err) { return compliance_rename(in, "/v1/compliance/servers/", err); }

enum outcome server_delete(const struct invocation *in, struct err *err)
{
    return compliance_change(in, "DELETE", api_path("/v1/compliance/servers/", in->args[0], NULL), NULL, "deleted", err);
}
