/* The compliance configuration in the admin API. Every change: copy the whole, edit, check the whole, store one new version, put it in force on all workers.
 * One change at a time; nothing is restarted; a password goes in and never out. */
#include "admin/private.h"
#include "base/log.h"
#include "broker/broker.h"
#include "store/store.h"
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    struct compliance_config *current;
} compliance = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct text_call {
    struct waiter w;
    int64_t version;
    char *text;
};

static void text_got(void *arg, int64_t version, struct str text, const struct err *err)
{
    struct text_call *call = arg;
    call->version = version;
    call->text = text.p != NULL ? str_dup(text) : NULL;
    waiter_answer(&call->w, err);
}

int admin_compliance_start(const char *node, struct err *err)
{
    (void)node;
    struct text_call call = {.w = WAITER_INIT};
    store_compliance_load(0, text_got, &call);
    if (waiter_wait(&call.w, err) != 0) return err_prefix(err, "the compliance configuration cannot be read");
    struct compliance_config *c = call.text != NULL ? compliance_config_parse(str_of(call.text), call.version, err) : compliance_config_new();
    free(call.text);
    if (c == NULL) return err_prefix(err, "the stored compliance configuration, version %lld", (long long)call.version);
    compliance.current = c;
    return broker_set_config(c, err);
}

/* Takes the edited copy. */
static int put_in_force(struct compliance_config *take, const char *what, struct err *err)
{
    json_t *json = compliance_config_json(take, true);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    struct text_call call = {.w = WAITER_INIT};
    store_compliance_save(compliance.current->version, str_of(text), STR("admin"), str_of(what), text_got, &call);
    int rc = waiter_wait(&call.w, err);
    explicit_bzero(text, strlen(text));
    free(text);
    free(call.text);
    if (rc == 0) take->version = call.version;
    if (rc == 0) rc = broker_set_config(take, err);
    if (rc != 0) {
        compliance_config_free(take);
        return -1;
    }
    compliance_config_free(compliance.current);
    compliance.current = take;
    log_notice("admin", "compliance configuration version %lld in force: %s", (long long)take->version, what);
    return 0;
}

typedef int (*edit_fn)(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err);

static int edit(struct request *rq, const char *what, edit_fn fn, struct err *err)
{
    pthread_mutex_lock(&compliance.lock);
    struct compliance_config *c = compliance_config_copy(compliance.current);
    json_t *warnings = json_array();
    struct buf line = {0};
    buf_addf(&line, "%s%s%s", what, rq->parts[0] != NULL ? " " : "", rq->parts[0] != NULL ? rq->parts[0] : "");
    int rc = fn(c, rq, warnings, err);
    if (rc == 0) rc = compliance_config_check(c, err);
    if (rc == 0) rc = broker_check_config(c, err); /* what is stored is in force, now and after a restart */
    if (rc == 0)
        rc = put_in_force(c, buf_cstr(&line), err);
    else
        compliance_config_free(c);
    if (rc == 0)
        rq->out = json_pack("{s:I, s:O}", "version", (json_int_t)compliance.current->version, "warnings", warnings);
    pthread_mutex_unlock(&compliance.lock);
    json_decref(warnings);
    buf_free(&line);
    return rc;
}

static int list(struct request *rq, const char *member)
{
    pthread_mutex_lock(&compliance.lock);
    json_t *all = compliance_config_json(compliance.current, false);
    rq->out = json_pack("{s:I, s:O?}", "version", (json_int_t)compliance.current->version, member, json_object_get(all, member));
    json_decref(all);
    pthread_mutex_unlock(&compliance.lock);
    return 0;
}

static int list_servers(struct request *rq, struct err *err) { (void)err; return list(rq, "servers"); }
static int list_profiles(struct request *rq, struct err *err) { (void)err; return list(rq, "profiles"); }
static int list_assignments(struct request *rq, struct err *err) { (void)err; return list(rq, "assignments"); }

static int add_server(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    const char *name = body_text(rq, "name", err);
    return name == NULL ? -1 : compliance_server_put(c, name, rq->body, true, err);
}
static int change_server(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    return compliance_server_put(c, rq->parts[0], rq->body, false, err);
}
static int drop_server(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    return compliance_server_delete(c, rq->parts[0], err);
}
static int add_profile(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    const char *name = body_text(rq, "name", err);
    return name == NULL ? -1 : compliance_profile_put(c, name, rq->body, true, warnings, err);
}
static int change_profile(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    return compliance_profile_put(c, rq->parts[0], rq->body, false, warnings, err);
}
static int drop_profile(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    return compliance_profile_delete(c, rq->parts[0], err);
}
static int shift_profile(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    json_t *by = json_object_get(rq->body, "by");
    if (!json_is_integer(by)) return err_set(err, ERR_INVALID, "the request's body needs the number field \"by\": -1 is one up, 1 is one down");
    return compliance_profile_move(c, rq->parts[0], (int)json_integer_value(by), err);
}
static int add_assignment(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    const char *node = json_string_value(json_object_get(rq->body, "node")), *profile = json_string_value(json_object_get(rq->body, "profile"));
    const char *server = body_text(rq, "server", err);
    if (server == NULL) return -1;
    return compliance_assign(c, node != NULL ? node : admin.node, server, profile != NULL ? profile : SYSTEM_PROFILE, err);
}
static int drop_assignment(struct compliance_config *c, struct request *rq, json_t *warnings, struct err *err)
{
    (void)warnings;
    return compliance_unassign(c, rq->parts[0], rq->parts[1], err);
}

static int server_add(struct request *rq, struct err *err) { return edit(rq, "server added", add_server, err); }
static int server_change(struct request *rq, struct err *err) { return edit(rq, "server changed:", change_server, err); }
static int server_delete(struct request *rq, struct err *err) { return edit(rq, "server deleted:", drop_server, err); }
static int profile_add(struct request *rq, struct err *err) { return edit(rq, "profile added", add_profile, err); }
static int profile_change(struct request *rq, struct err *err) { return edit(rq, "profile changed:", change_profile, err); }
static int profile_delete(struct request *rq, struct err *err) { return edit(rq, "profile deleted:", drop_profile, err); }
static int profile_move(struct request *rq, struct err *err) { return edit(rq, "profile moved:", shift_profile, err); }
static int assignment_add(struct request *rq, struct err *err) { return edit(rq, "assignment added", add_assignment, err); }
static int assignment_delete(struct request *rq, struct err *err) { return edit(rq, "assignment deleted:", drop_assignment, err); }

static void link_add(void *arg, const struct link_status *l)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "component", l->component, "server", l->server, "profile",
                          l->profile != NULL ? l->profile : "", "direction", l->direction, "state", l->state,
                          "events", (json_int_t)l->events, "answers", (json_int_t)l->answers, "timeouts", (json_int_t)l->timeouts, "invalid", (json_int_t)l->invalid,
                          "outstanding", (json_int_t)l->outstanding, "queued", (json_int_t)l->queued, "queued_bytes", (json_int_t)l->queued_bytes);
    json_object_set_new(o, "last_error", json_text(l->last_error != NULL ? l->last_error : "")); /* the peer's words */
    json_stamp(o, "since", l->since_wall_ms);
    json_array_append_new(arg, o);
}

static int link_list(struct request *rq, struct err *err)
{
    (void)err;
    json_t *links = json_array();
    broker_links(link_add, links);
    rq->out = json_pack("{s:o}", "links", links);
    return 0;
}

const struct route compliance_routes[] = {
    {"GET", "/v1/compliance/servers", list_servers},
    {"POST", "/v1/compliance/servers", server_add},
    {"PATCH", "/v1/compliance/servers/*", server_change},
    {"DELETE", "/v1/compliance/servers/*", server_delete},
    {"GET", "/v1/compliance/profiles", list_profiles},
    {"POST", "/v1/compliance/profiles", profile_add},
    {"PATCH", "/v1/compliance/profiles/*", profile_change},
    {"DELETE", "/v1/compliance/profiles/*", profile_delete},
    {"POST", "/v1/compliance/profiles/*/move", profile_move},
    {"GET", "/v1/compliance/assignments", list_assignments},
    {"POST", "/v1/compliance/assignments", assignment_add},
    {"DELETE", "/v1/compliance/assignments/*/*", assignment_delete},
    {"GET", "/v1/compliance/links", link_list},
    {NULL, NULL, NULL},
};
