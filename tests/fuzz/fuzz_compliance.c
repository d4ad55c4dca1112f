/* Any bytes as JSON: as the compliance configuration in the store, and as the bodies by which the admin API changes it. Must hold: what is refused is
 * refused with a text, and changes nothing; what is accepted is whole (compliance_config_check), compiles to a plan, and is the same when written and read. */
#include "broker/plan.h"
#include "broker/profile.h"
#include "fuzz.h"
#include <string.h>

#define NODE "node1.example.com"

static char *text_of(const struct compliance_config *c)
{
    json_t *json = compliance_config_json(c, true);
    MUST_HOLD(json != NULL);
    char *text = json_dumps(json, JSON_SORT_KEYS);
    json_decref(json);
    MUST_HOLD(text != NULL);
    return text;
}

static void check_whole(const struct compliance_config *c)
{
    struct err err = {0};
    char *text = text_of(c), *again_text;
    struct compliance_config *again = compliance_config_parse(str_of(text), c->version, &err);
    MUST_HOLD(again != NULL && compliance_config_check(again, &err) == 0);
    again_text = text_of(again);
    MUST_HOLD(strcmp(text, again_text) == 0);
    plan_unref(plan_compile(again, NODE));
    compliance_config_free(again);
    free(again_text);
    free(text);
}

static struct compliance_config *example(void)
{
    static const char text[] = "{\"servers\":[{\"name\":\"wall\",\"host\":\"127.0.0.1\",\"port\":7001,\"password\":\"secret\",\"direction\":\"connect\"}],"
                               "\"profiles\":[{\"name\":\"Wall\",\"rows\":[{\"event\":\"es_IN\",\"packet\":\"message\",\"handling\":\"bounce\"}]}],"
                               "\"assignments\":[{\"node\":\"" NODE "\",\"server\":\"wall\",\"profile\":\"Wall\"}]}";
    struct err err;
    struct compliance_config *c = compliance_config_parse(str_of(text), 1, &err);
    MUST_HOLD(c != NULL);
    return c;
}

enum edit { SERVER_ADD, SERVER_UPDATE, PROFILE_ADD, PROFILE_UPDATE, ROW_ADD, ROW_CHANGE, EDITS };

static int apply(struct compliance_config *c, enum edit edit, const json_t *fields, struct err *err)
{
    const json_t *given = json_object_get(fields, "name");
    const char *name = json_is_string(given) ? json_string_value(given) : "another"; /* the admin API refuses a body without one */
    json_t *warnings = json_array();
    int rc = -1;
    switch (edit) {
    case SERVER_ADD: rc = compliance_server_put(c, name, fields, true, err); break;
    case SERVER_UPDATE: rc = compliance_server_put(c, "wall", fields, false, err); break;
    case PROFILE_ADD: rc = compliance_profile_put(c, name, fields, true, warnings, err); break;
    case PROFILE_UPDATE: rc = compliance_profile_put(c, "Wall", fields, false, warnings, err); break;
    case ROW_ADD: rc = compliance_row_add(c, "Wall", fields, warnings, err); break;
    case ROW_CHANGE: rc = compliance_row_change(c, "Wall", "es_IN", "message", fields, warnings, err); break;
    case EDITS: break;
    }
    json_decref(warnings);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = {0};
    struct compliance_config *c = compliance_config_parse((struct str){(const char *)data, n}, 1, &err);
    MUST_HOLD(c != NULL || err.text[0] != '\0');
    if (c != NULL) check_whole(c);
    compliance_config_free(c);
    json_t *fields = json_loadb((const char *)data, n, JSON_REJECT_DUPLICATES, NULL);
    for (unsigned edit = 0; fields != NULL && edit < EDITS; edit++) {
        c = example();
        char *before = text_of(c);
        err = (struct err){0};
        if (apply(c, (enum edit)edit, fields, &err) != 0) {
            MUST_HOLD(err.text[0] != '\0');
            char *after = text_of(c);
            MUST_HOLD(strcmp(before, after) == 0);
            free(after);
        } else if (compliance_config_check(c, &err) == 0) { /* as the admin API does before it stores anything */
            check_whole(c);
        } else {
            MUST_HOLD(err.text[0] != '\0');
        }
        free(before);
        compliance_config_free(c);
    }
    json_decref(fields);
    return 0;
}
