/* What the compliance nouns (server, profile, assignment, link) have in common, and links, which are only listed. */
#include "signetctl/compliance.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum outcome compliance_get(const char *member, json_t **answer, json_t **list, struct err *err)
{
    char *path = api_path("/v1/compliance/", member, NULL);
    enum outcome rc = api_call("GET", path, NULL, answer, err);
    free(path);
    if (rc == OUTCOME_OK) *list = json_object_get(*answer, member);
    return rc;
}

json_t *compliance_named(json_t *list, const char *name)
{
    size_t i;
    json_t *element;
    json_array_foreach (list, i, element)
        if (strcmp(json_text(element, "name"), name) == 0) return element;
    return NULL;
}

enum outcome compliance_call(const struct invocation *in, const char *method, char *take_path, json_t *take, json_t **out, struct err *err)
{
    struct buf path = {0};
    buf_adds(&path, take_path);
    free(take_path);
    if ((in->given & OPT_COMMENT) != 0) {
        char *comment = api_path(strchr(buf_cstr(&path), '?') != NULL ? "&comment=" : "?comment=", in->values[SWITCH_COMMENT], NULL);
        buf_adds(&path, comment);
        free(comment);
    }
    enum outcome rc = api_call(method, buf_cstr(&path), take, out, err);
    buf_free(&path);
    return rc;
}

enum outcome compliance_change(const struct invocation *in, const char *method, char *take_path, json_t *take, const char *did, struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = compliance_call(in, method, take_path, take, &answer, err);
    if (rc == OUTCOME_OK)
        print_done(in, answer, "%s %s; compliance configuration version %lld is in force", in->args[0], did, json_number(answer, "version"));
    json_decref(answer);
    return rc;
}

enum outcome compliance_rename(const struct invocation *in, const char *path, struct err *err)
{
    json_t *body = json_pack("{s:s}", "name", in->args[1]);
    if (body == NULL) return fail(OUTCOME_USAGE, err, "the name is not UTF-8 text");
    struct buf did = {0};
    buf_addf(&did, "renamed %s", in->args[1]);
    enum outcome rc = compliance_change(in, "PATCH", api_path(path, in->args[0], NULL), body, buf_cstr(&did), err);
    buf_free(&did);
    return rc;
}

enum outcome compliance_change_warned(const struct invocation *in, const char *method, char *take_path, json_t *take, const char *did, struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = OUTCOME_OK;
    if ((in->given & OPT_YES) == 0 && isatty(STDIN_FILENO)) {
        struct buf path = {0};
        buf_addf(&path, "%s?check=yes", take_path);
        rc = api_call(method, buf_cstr(&path), json_deep_copy(take), &answer, err);
        buf_free(&path);
        api_warned();
    }
    if (rc == OUTCOME_OK && json_array_size(json_object_get(answer, "warnings")) > 0) rc = confirm(in, "Is that meant?", err);
    json_decref(answer);
    if (rc == OUTCOME_OK) return compliance_change(in, method, take_path, take, did, err);
    free(take_path);
    json_decref(take);
    return rc;
}

static void print_links(const json_t *answer)
{
    json_t *link, *n;
    const char *kind;
    size_t i;
    static const char *const numbers[] = {"events", "answers", "timeouts", "invalid"};
    struct table t = {.columns = 14, .head = {"COMPONENT", "SERVER", "PROFILE", "DIRECTION", "STATE", "SINCE",
                                              "EVENTS", "ANSWERS", "TIMEOUTS", "INVALID", "WAITING", "QUEUED", "BYTES", "FAULTS"}};
    json_array_foreach (json_object_get(answer, "links"), i, link) {
        table_add(&t, json_text(link, "component"));
        table_add(&t, json_text(link, "server"));
        table_add(&t, json_text(link, "profile"));
        table_add(&t, json_text(link, "direction"));
        table_add(&t, json_text(link, "state"));
        table_add(&t, json_text(link, "since"));
        const json_t *bounds = json_object_get(link, "limits");
        for (unsigned k = 0; k < 4; k++) table_addf(&t, "%lld", json_number(link, numbers[k]));
        table_addf(&t, "%lld of %lld", json_number(link, "outstanding"), json_number(bounds, "outstanding"));
        table_addf(&t, "%lld", json_number(link, "queued"));
        table_addf(&t, "%lld of %lld", json_number(link, "queued_bytes"), json_number(bounds, "queued_bytes"));
        struct buf faults = {0};
        json_object_foreach (json_object_get(link, "faults"), kind, n) buf_addf(&faults, "%s%s %lld", faults.len > 0 ? ", " : "", kind, (long long)json_integer_value(n));
        table_add(&t, faults.len > 0 ? buf_cstr(&faults) : "-");
        buf_free(&faults);
    }
    table_print(&t);
    struct table errors = {0};
    json_array_foreach (json_object_get(answer, "links"), i, link)
        if (*json_text(link, "last_error") != '\0') table_fact(&errors, json_text(link, "component"), json_text(link, "last_error"));
    if (errors.n_cells > 0) {
        fputs("\nlast errors:\n", stdout);
        table_print(&errors);
    }
}

enum outcome link_list(const struct invocation *in, struct err *err) { return api_show(in, x_strdup("/v1/compliance/links"), print_links, err); }
