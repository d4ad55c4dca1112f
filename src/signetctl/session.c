/* Sessions. */
#include "signetctl/ctl.h"
#include <stdlib.h>

static void print_sessions(const json_t *answer)
{
    json_t *session;
    size_t i;
    struct table t = {.columns = 7, .head = {"SESSION", "SINCE", "FROM", "TLS", "MECHANISM", "PRESENCE", "UNDER WAY"}};
    json_array_foreach (json_object_get(answer, "sessions"), i, session) {
        table_add(&t, json_text(session, "jid"));
        table_add(&t, json_text(session, "since"));
        table_add(&t, json_text(session, "peer"));
        table_add(&t, json_text(session, "tls"));
        table_add(&t, json_text(session, "mechanism"));
        if (json_is_true(json_object_get(session, "detached")))
            table_add(&t, "detached"); /* its connection is lost; it may be resumed */
        else if (json_is_true(json_object_get(session, "available")))
            table_addf(&t, "priority %lld", json_number(session, "priority"));
        else
            table_add(&t, "unavailable");
        table_addf(&t, "%lld", json_number(session, "under_way"));
    }
    table_print(&t);
}

enum outcome session_list(const struct invocation *in, struct err *err) { return api_show(in, x_strdup("/v1/sessions"), print_sessions, err); }

enum outcome session_kick(const struct invocation *in, struct err *err)
{
    json_t *answer = NULL;
    char *path = api_path("/v1/sessions/", in->args[0], NULL);
    enum outcome rc = api_call("DELETE", path, NULL, &answer, err);
    free(path);
    long long ended = json_number(answer, "ended");
    if (rc == OUTCOME_OK) print_done(in, answer, "%lld %s ended", ended, ended == 1 ? "session" : "sessions");
    json_decref(answer);
    return rc;
}
