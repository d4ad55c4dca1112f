/* Assignments: a compliance server asked by a node with a profile. */
#include "signetctl/compliance.h"
#include <stdlib.h>
#include <string.h>

static void print_assignments(const json_t *answer)
{
    json_t *assignment;
    size_t i;
    struct table t = {.columns = 4, .head = {"NODE", "SERVER", "PROFILE", "COMPONENT"}};
    json_array_foreach (json_object_get(answer, "assignments"), i, assignment) {
        table_add(&t, json_text(assignment, "node"));
        table_add(&t, json_text(assignment, "server"));
        table_add(&t, json_text(assignment, "profile"));
        table_add(&t, json_text(assignment, "component"));
    }
    table_print(&t);
}

enum outcome assignment_list(const struct invocation *in, struct err *err)
{
    return api_show(in, x_strdup("/v1/compliance/assignments"), print_assignments, err);
}

/* --node, else the name of the node that answers. The caller frees it. */
static enum outcome node_meant(const struct invocation *in, char **node, struct err *err)
{
    json_t *status = NULL;
    *node = NULL;
    if (in->values[SWITCH_NODE] != NULL) {
        *node = x_strdup(in->values[SWITCH_NODE]);
        return **node != '\0' ? OUTCOME_OK : fail(OUTCOME_USAGE, err, "--node is empty");
    }
    enum outcome rc = api_call("GET", "/v1/status", NULL, &status, err);
    if (rc == OUTCOME_OK) *node = x_strdup(json_text(status, "node"));
    json_decref(status);
    return rc;
}

static enum outcome tell_component(const struct invocation *in, const char *node, struct err *err)
{
    json_t *answer = NULL, *list, *a;
    size_t i;
    enum outcome rc = compliance_get("assignments", &answer, &list, err);
    if (rc != OUTCOME_OK) return rc;
    json_array_foreach (list, i, a) {
        if (strcmp(json_text(a, "server"), in->args[0]) != 0 || strcmp(json_text(a, "node"), node) != 0) continue;
        if ((in->given & OPT_JSON) != 0) {
            json_print(a, JSON_INDENT(2));
            break;
        }
        struct table t = {0};
        table_fact(&t, "server", json_text(a, "server"));
        table_fact(&t, "node", json_text(a, "node"));
        table_fact(&t, "profile", json_text(a, "profile"));
        table_fact(&t, "component", json_text(a, "component"));
        table_print(&t);
        break;
    }
    json_decref(answer);
    return rc;
}

enum outcome assignment_add(const struct invocation *in, struct err *err)
{
    char *node = NULL;
    const char *profile = in->values[SWITCH_PROFILE];
    enum outcome rc = node_meant(in, &node, err);
    json_t *body = rc == OUTCOME_OK ? json_pack("{s:s, s:s}", "server", in->args[0], "node", node) : NULL;
    if (rc == OUTCOME_OK && (body == NULL || (profile != NULL && json_object_set_new(body, "profile", json_string(profile)) != 0))) {
        json_decref(body);
        rc = fail(OUTCOME_USAGE, err, "a name is not UTF-8 text");
    }
    if (rc == OUTCOME_OK) rc = compliance_call(in, "POST", x_strdup("/v1/compliance/assignments"), body, NULL, err);
    if (rc == OUTCOME_OK) rc = tell_component(in, node, err);
    free(node);
    return rc;
}

enum outcome assignment_set(const struct invocation *in, struct err *err)
{
    char *node = NULL;
    const char *profile = in->values[SWITCH_PROFILE];
    if (profile == NULL) return fail(OUTCOME_USAGE, err, "--profile says which compliance profile it is to have");
    json_t *body = json_pack("{s:s}", "profile", profile);
    if (body == NULL) return fail(OUTCOME_USAGE, err, "--profile is not UTF-8 text");
    enum outcome rc = node_meant(in, &node, err);
    if (rc == OUTCOME_OK)
        rc = compliance_change(in, "PATCH", api_path("/v1/compliance/assignments/", node, "/", in->args[0], NULL), body, "has another profile", err);
    else
        json_decref(body);
    free(node);
    return rc;
}

enum outcome assignment_delete(const struct invocation *in, struct err *err)
{
    char *node = NULL;
    enum outcome rc = node_meant(in, &node, err);
    char *path = rc == OUTCOME_OK ? api_path("/v1/compliance/assignments/", node, "/", in->args[0], NULL) : NULL;
    if (rc == OUTCOME_OK) rc = compliance_change(in, "DELETE", path, NULL, "is not assigned any more", err);
    free(node);
    return rc;
}
