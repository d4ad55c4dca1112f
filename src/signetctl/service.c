/* What all users are told, and the end of the service: announce, motd, welcome, shutdown, restart. */
#include "signetctl/ctl.h"
#include <stdlib.h>
#include <string.h>

/* take: the body, or NULL. done is printed when it went well. */
static enum outcome ask(const struct invocation *in, const char *method, const char *path, json_t *take, const char *done, struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = api_call(method, path, take, &answer, err);
    if (rc == OUTCOME_OK) print_done(in, answer, "%s", done);
    json_decref(answer);
    return rc;
}

enum outcome announce(const struct invocation *in, struct err *err)
{
    json_t *body = json_pack("{s:s}", "text", in->args[0]);
    if (body == NULL) return fail(OUTCOME_USAGE, err, "the text is not UTF-8");
    if ((in->given & OPT_DOMAIN) != 0) json_object_set_new(body, "domain", json_string(in->values[SWITCH_DOMAIN]));
    return ask(in, "POST", "/v1/announcements", body, "announced", err);
}

/* ---- notices ---- */
static enum outcome notice_show(const struct invocation *in, const char *kind, struct err *err)
{
    json_t *answer = NULL;
    char *path = api_path("/v1/notices/", in->args[0], "/", kind, NULL);
    enum outcome rc = api_call("GET", path, NULL, &answer, err);
    free(path);
    if (rc == OUTCOME_OK) print_done(in, answer, "%s", json_is_string(json_object_get(answer, "text")) ? json_text(answer, "text") : "none is set");
    json_decref(answer);
    return rc;
}

static enum outcome notice_set(const struct invocation *in, const char *kind, bool edit, struct err *err)
{
    json_t *body = json_pack("{s:s, s:b}", "text", in->args[1], "edit", edit);
    if (body == NULL) return fail(OUTCOME_USAGE, err, "the text is not UTF-8");
    char *path = api_path("/v1/notices/", in->args[0], "/", kind, NULL);
    enum outcome rc = ask(in, "PUT", path, body, "set", err);
    free(path);
    return rc;
}

static enum outcome notice_delete(const struct invocation *in, const char *kind, struct err *err)
{
    char *path = api_path("/v1/notices/", in->args[0], "/", kind, NULL);
    enum outcome rc = ask(in, "DELETE", path, NULL, "deleted", err);
    free(path);
    return rc;
}

enum outcome motd_show(const struct invocation *in, struct err *err) { return notice_show(in, "motd", err); }
enum outcome motd_set(const struct invocation *in, struct err *err) { return notice_set(in, "motd", false, err); }
enum outcome motd_edit(const struct invocation *in, struct err *err) { return notice_set(in, "motd", true, err); }
enum outcome motd_delete(const struct invocation *in, struct err *err) { return notice_delete(in, "motd", err); }
enum outcome welcome_show(const struct invocation *in, struct err *err) { return notice_show(in, "welcome", err); }
enum outcome welcome_set(const struct invocation *in, struct err *err) { return notice_set(in, "welcome", false, err); }
enum outcome welcome_delete(const struct invocation *in, struct err *err) { return notice_delete(in, "welcome", err); }

/* ---- the end ---- */
static enum outcome stop(const struct invocation *in, const char *path, const char *done, struct err *err)
{
    json_t *body = NULL;
    if ((in->given & (OPT_DELAY | OPT_ANNOUNCEMENT)) != 0) body = json_object();
    if ((in->given & OPT_DELAY) != 0) {
        char *end;
        long seconds = strtol(in->values[SWITCH_DELAY], &end, 10);
        if (*in->values[SWITCH_DELAY] == '\0' || *end != '\0' || seconds < 0 || seconds > 86400) {
            json_decref(body);
            return fail(OUTCOME_USAGE, err, "--delay is a number of seconds, 0 to 86400");
        }
        json_object_set_new(body, "delay", json_integer(seconds));
    }
    if ((in->given & OPT_ANNOUNCEMENT) != 0) json_object_set_new(body, "announcement", json_string(in->values[SWITCH_ANNOUNCEMENT]));
    return ask(in, "POST", path, body, done, err);
}

enum outcome daemon_shutdown(const struct invocation *in, struct err *err) { return stop(in, "/v1/shutdown", "signetd stops", err); }
enum outcome daemon_restart(const struct invocation *in, struct err *err) { return stop(in, "/v1/restart", "signetd restarts", err); }
