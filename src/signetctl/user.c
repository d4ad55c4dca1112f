/* Accounts. */
#include "signetctl/ctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sends the password with the fields of `take`; tells a generated one. */
static enum outcome send_password(const struct invocation *in, const char *method, const char *path, json_t *take, const char *did, struct err *err)
{
    char *password = NULL;
    json_t *answer = NULL;
    struct buf what = {0};
    buf_addf(&what, "password of %s", in->args[0]);
    enum outcome rc = secret_get(in, buf_cstr(&what), &password, err);
    buf_free(&what);
    if (rc == OUTCOME_OK && json_object_set_new(take, "password", json_string(password)) != 0)
        rc = fail(OUTCOME_USAGE, err, "the password is not UTF-8 text");
    if (rc == OUTCOME_OK)
        rc = api_call(method, path, take, &answer, err);
    else
        json_decref(take);
    if (rc == OUTCOME_OK && (in->given & OPT_GENERATE) != 0) {
        json_object_set_new(answer, "password", json_string(password));
        print_done(in, answer, "%s", password);
    } else if (rc == OUTCOME_OK) {
        print_done(in, answer, "%s: %s", in->args[0], did);
    }
    json_decref(answer);
    secret_free(password);
    return rc;
}

enum outcome user_add(const struct invocation *in, struct err *err)
{
    json_t *body = json_pack("{s:s}", "jid", in->args[0]);
    if (body == NULL) return fail(OUTCOME_USAGE, err, "the JID is not UTF-8 text");
    return send_password(in, "POST", "/v1/users", body, "added", err);
}

enum outcome user_passwd(const struct invocation *in, struct err *err)
{
    char *path = api_path("/v1/users/", in->args[0], "/password", NULL);
    enum outcome rc = send_password(in, "PUT", path, json_object(), "the password is set", err);
    free(path);
    return rc;
}

static const char *account_state(const json_t *account) { return json_is_true(json_object_get(account, "disabled")) ? "disabled" : "enabled"; }

/* All pages joined: signetd gives accounts in portions. */
enum outcome user_list(const struct invocation *in, struct err *err)
{
    json_t *all = json_array();
    char *after = x_strdup("");
    enum outcome rc = OUTCOME_OK;
    const char *domain = in->values[SWITCH_DOMAIN];
    for (bool more = true; more && rc == OUTCOME_OK;) {
        json_t *answer = NULL;
        char *path = api_path("/v1/users?limit=10000", "", *after != '\0' ? "&after=" : "", after, domain != NULL ? "&domain=" : "",
                              domain != NULL ? domain : "", NULL);
        rc = api_call("GET", path, NULL, &answer, err);
        free(path);
        if (rc != OUTCOME_OK) break;
        json_t *users = json_object_get(answer, "users");
        size_t n = json_array_size(users);
        json_array_extend(all, users);
        more = n > 0 && json_is_true(json_object_get(answer, "more"));
        free(after);
        after = x_strdup(n > 0 ? json_text(json_array_get(users, n - 1), "jid") : "");
        json_decref(answer);
    }
    free(after);
    if (rc == OUTCOME_OK && (in->given & OPT_JSON) != 0) {
        json_t *out = json_pack("{s:O}", "users", all);
        json_print(out, JSON_INDENT(2));
        json_decref(out);
    } else if (rc == OUTCOME_OK) {
        struct table t = {.columns = 4, .head = {"ACCOUNT", "STATE", "CREATED", "LAST LOGIN"}};
        size_t i;
        json_t *user;
        json_array_foreach (all, i, user) {
            table_add(&t, json_text(user, "jid"));
            table_add(&t, account_state(user));
            table_add(&t, json_text(user, "created"));
            table_add(&t, json_text(user, "last_login"));
        }
        table_print(&t);
    }
    json_decref(all);
    return rc;
}

static void print_roster(const json_t *answer)
{
    json_t *item, *group;
    size_t i, g;
    struct table t = {.columns = 4, .head = {"CONTACT", "NAME", "SUBSCRIPTION", "GROUPS"}};
    json_array_foreach (json_object_get(answer, "roster"), i, item) {
        struct buf groups = {0};
        json_array_foreach (json_object_get(item, "groups"), g, group) buf_addf(&groups, "%s%s", g > 0 ? ", " : "", json_string_value(group));
        table_add(&t, json_text(item, "jid"));
        table_add(&t, json_text(item, "name"));
        table_addf(&t, "%s%s", json_text(item, "subscription"), json_is_true(json_object_get(item, "asked")) ? ", asked" : "");
        table_add(&t, buf_cstr(&groups));
        buf_free(&groups);
    }
    table_print(&t);
}

enum outcome user_roster(const struct invocation *in, struct err *err)
{
    return api_show(in, api_path("/v1/users/", in->args[0], "/roster", NULL), print_roster, err);
}

static void print_account(const json_t *answer)
{
    struct table t = {0};
    table_fact(&t, "account", json_text(answer, "jid"));
    table_fact(&t, "state", account_state(answer));
    table_fact(&t, "created", json_text(answer, "created"));
    table_fact(&t, "last login", json_text(answer, "last_login"));
    struct buf kept = {0};
    buf_addf(&kept, "%lld contacts, %lld requests for its presence unanswered", json_number(answer, "contacts"), json_number(answer, "requests"));
    table_fact(&t, "roster", buf_cstr(&kept));
    buf_reset(&kept);
    buf_addf(&kept, "%lld messages", json_number(answer, "offline_messages"));
    table_fact(&t, "offline", buf_cstr(&kept));
    buf_free(&kept);
    json_t *sessions = json_object_get(answer, "sessions"), *session;
    size_t i;
    if (json_array_size(sessions) == 0) table_fact(&t, "sessions", "none");
    json_array_foreach (sessions, i, session) {
        struct buf line = {0};
        const char *tls = json_text(session, "tls");
        buf_addf(&line, "%s since %s from %s, %s, %s", json_text(session, "jid"), json_text(session, "since"), json_text(session, "peer"),
                 *tls != '\0' ? tls : "no TLS", json_is_true(json_object_get(session, "available")) ? "available" : "unavailable");
        table_fact(&t, i == 0 ? "sessions" : " ", buf_cstr(&line));
        buf_free(&line);
    }
    table_print(&t);
}

enum outcome user_show(const struct invocation *in, struct err *err)
{
    return api_show(in, api_path("/v1/users/", in->args[0], NULL), print_account, err);
}

static enum outcome simple(const struct invocation *in, const char *method, const char *action, const char *did, struct err *err)
{
    json_t *answer = NULL;
    char *path = api_path("/v1/users/", in->args[0], action, NULL);
    enum outcome rc = api_call(method, path, NULL, &answer, err);
    free(path);
    if (rc == OUTCOME_OK) print_done(in, answer, "%s: %s", in->args[0], did);
    json_decref(answer);
    return rc;
}

enum outcome user_disable(const struct invocation *in, struct err *err) { return simple(in, "POST", "/disable", "disabled", err); }
enum outcome user_enable(const struct invocation *in, struct err *err) { return simple(in, "POST", "/enable", "enabled", err); }

enum outcome user_delete(const struct invocation *in, struct err *err)
{
    struct buf question = {0};
    buf_addf(&question, "%s will be deleted with its roster and offline messages.", in->args[0]);
    enum outcome rc = confirm(in, buf_cstr(&question), err);
    buf_free(&question);
    return rc == OUTCOME_OK ? simple(in, "DELETE", "", "deleted", err) : rc;
}
