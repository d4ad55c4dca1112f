/* Versions of the compliance configuration: which there are, what differs between two, and back to one. */
#include "signetctl/compliance.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum outcome number_check(const char *text, const char *what, struct err *err)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (*end == '\0' && errno == 0 && n > 0) return OUTCOME_OK;
    return fail(OUTCOME_USAGE, err, "'%.64s' is not %s", text, what);
}

static enum outcome version_check(const char *text, struct err *err)
{
    return number_check(text, "the number of a version; signetctl compliance history lists them", err);
}

/* ---- history ---- */

static void print_history(const json_t *answer)
{
    size_t i;
    json_t *v;
    struct table t = {.columns = 6, .head = {"VERSION", "IN FORCE", "TIME", "BY", "WHAT CHANGED", "COMMENT"}};
    json_array_foreach (json_object_get(answer, "versions"), i, v) {
        table_addf(&t, "%lld", json_number(v, "version"));
        table_add(&t, json_is_true(json_object_get(v, "in_force")) ? "yes" : "");
        table_add(&t, json_text(v, "time"));
        table_add(&t, json_text(v, "by"));
        table_add(&t, json_text(v, "what"));
        table_add(&t, json_text(v, "comment"));
    }
    table_print(&t);
}

enum outcome compliance_history(const struct invocation *in, struct err *err)
{
    const char *limit = in->values[SWITCH_LIMIT];
    if (limit != NULL && number_check(limit, "a number of versions, from 1 to 1000", err) != OUTCOME_OK) return OUTCOME_USAGE;
    char *path = limit != NULL ? api_path("/v1/compliance/versions?limit=", limit, NULL) : x_strdup("/v1/compliance/versions");
    return api_show(in, path, print_history, err);
}

/* ---- diff ---- */

static void print_changes(const json_t *answer)
{
    size_t i;
    json_t *c;
    struct table t = {.columns = 5, .head = {"OBJECT", "NAME", "FIELD", "OLD", "NEW"}};
    const json_t *changes = json_object_get(answer, "changes");
    if (json_array_size(changes) == 0) {
        printf("versions %lld and %lld do not differ\n", json_number(answer, "from"), json_number(answer, "to"));
        return;
    }
    json_array_foreach ((json_t *)(uintptr_t)changes, i, c) {
        bool whole = json_object_get(c, "new") == NULL;
        table_add(&t, json_text(c, "object"));
        table_add(&t, json_text(c, "name"));
        table_add(&t, whole ? json_text(c, "change") : json_text(c, "field"));
        table_add(&t, whole ? "" : json_string_value(json_object_get(c, "old")));
        table_add(&t, whole ? "" : json_string_value(json_object_get(c, "new")));
    }
    table_print(&t);
}

enum outcome compliance_diff(const struct invocation *in, struct err *err)
{
    const char *from = in->args[0], *to = in->args[1];
    if (version_check(from, err) != OUTCOME_OK || (to != NULL && version_check(to, err) != OUTCOME_OK)) return OUTCOME_USAGE;
    char *path = to != NULL ? api_path("/v1/compliance/diff?from=", from, "&to=", to, NULL) : api_path("/v1/compliance/diff?from=", from, NULL);
    return api_show(in, path, print_changes, err);
}

/* ---- rollback ---- */

/* What it would change is shown to who is asked. *base: the version in force, to which that applies. */
static enum outcome ask(const struct invocation *in, long long *base, struct err *err)
{
    json_t *answer = NULL;
    char *path = api_path("/v1/compliance/diff?to=", in->args[0], NULL), question[120];
    enum outcome rc = api_call("GET", path, NULL, &answer, err);
    free(path);
    if (rc != OUTCOME_OK) return rc;
    *base = json_number(answer, "from");
    if ((in->given & (OPT_YES | OPT_JSON)) == 0) print_changes(answer);
    json_decref(answer);
    fflush(stdout);
    snprintf(question, sizeof(question), "Version %.20s of the compliance configuration is put in force again.", in->args[0]);
    return confirm(in, question, err);
}

enum outcome compliance_rollback(const struct invocation *in, struct err *err)
{
    long long base = 0;
    char path[80];
    json_t *answer = NULL;
    if (version_check(in->args[0], err) != OUTCOME_OK) return OUTCOME_USAGE;
    enum outcome rc = ask(in, &base, err);
    if (rc != OUTCOME_OK) return rc;
    snprintf(path, sizeof(path), "/v1/compliance/rollback?base=%lld", base);
    json_t *body = json_pack("{s:I}", "version", (json_int_t)strtoll(in->args[0], NULL, 10));
    rc = compliance_call(in, "POST", x_strdup(path), body, &answer, err);
    if (rc == OUTCOME_OK)
        print_done(in, answer, "back to version %s; compliance configuration version %lld is in force", in->args[0], json_number(answer, "version"));
    json_decref(answer);
    return rc;
}
