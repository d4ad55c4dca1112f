/* The compliance configuration in the admin API. Every change: copy the whole, edit, check the whole, compile it, store it as a new version, put it in force on
 * all workers, answer. One change at a time; nothing is restarted; a password goes in and never out. */
#include "admin/private.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/setup.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    struct compliance_config *current;
} compliance = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- versions in the store ---- */

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

static void text_free(char *text)
{
    if (text != NULL) explicit_bzero(text, strlen(text)); /* it has passwords */
    free(text);
}

struct compliance_config *compliance_of_version(int64_t version, struct err *err)
{
    struct text_call call = {.w = WAITER_INIT};
    *err = (struct err){0};
    store_compliance_load(version, text_got, &call);
    if (waiter_wait(&call.w, err) != 0) {
        err_prefix(err, "the compliance configuration cannot be read");
        return NULL;
    }
    if (call.text == NULL) return NULL;
    struct compliance_config *c = compliance_config_parse(str_of(call.text), call.version, err);
    text_free(call.text);
    if (c == NULL) err_prefix(err, "the stored compliance configuration, version %lld", (long long)call.version);
    return c;
}

int admin_compliance_start(struct err *err)
{
    struct compliance_config *c = compliance_of_version(0, err);
    if (c == NULL && err->code != ERR_NONE) return -1;
    compliance.current = c != NULL ? c : compliance_config_new();
    return broker_set_config(compliance.current, err);
}

struct compliance_config *compliance_in_force(void)
{
    pthread_mutex_lock(&compliance.lock);
    struct compliance_config *c = compliance_config_copy(compliance.current);
    pthread_mutex_unlock(&compliance.lock);
    return c;
}

static int save(const struct compliance_config *c, struct request *rq, struct str what, struct err *err)
{
    const char *comment = rq->query(rq, "comment");
    struct store_compliance_note note = {.by = str_of(rq->by), .what = what, .comment = comment != NULL ? str_of(comment) : STR("")};
    json_t *json = compliance_config_json(c, true);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    struct text_call call = {.w = WAITER_INIT};
    store_compliance_save(c->version - 1, str_of(text), &note, (unsigned)admin.config->broker_versions, text_got, &call);
    int rc = waiter_wait(&call.w, err);
    text_free(text);
    text_free(call.text);
    return rc;
}

/* ---- a change ---- */

/* Compiled, stored, in force: what fails before it is stored changes nothing, and what is stored can be in force. Takes the edited copy. */
static int put_in_force(struct compliance_config *take, struct request *rq, struct str what, struct err *err)
{
    struct setup *setup = broker_config_prepare(take, err);
    if (setup == NULL || save(take, rq, what, err) != 0) {
        setup_unref(setup);
        compliance_config_free(take);
        return -1;
    }
    compliance_config_free(compliance.current);
    compliance.current = take;
    int rc = broker_config_enforce(setup, err);
    log_notice("admin", "compliance configuration version %lld%s, by %s: %.*s", (long long)take->version, rc == 0 ? " in force" : " stored", rq->by, (int)what.n,
               what.p);
    if (rc != 0) log_error("admin", "%s", err->text);
    return rc;
}

/* ?base=N: the change is meant for that version only. ?comment=: what is said of it. ?check=: it is only looked at, for its warnings or its refusal. */
static int arguments_check(struct request *rq, struct err *err)
{
    enum { COMMENT_MAX = 400 };
    const char *comment = rq->query(rq, "comment"), *base = rq->query(rq, "base");
    if (comment != NULL && strlen(comment) > COMMENT_MAX) return err_set(err, ERR_INVALID, "the comment has more than %d bytes", COMMENT_MAX);
    long long in_force = compliance.current->version;
    if (base == NULL) return 0;
    char *end;
    errno = 0;
    long long version = strtoll(base, &end, 10);
    if (*base == '\0' || *end != '\0' || errno != 0 || version < 0) return err_set(err, ERR_INVALID, "base=%.40s: the number of a version is needed", base);
    if (version == in_force) return 0;
    return err_set(err, ERR_CONFLICT, "the change is meant for version %lld of the compliance configuration, but version %lld is in force: look at that first", version,
                   in_force);
}

static int change(struct edit *e, int (*fn)(struct edit *e, struct err *err), struct err *err)
{
    struct compliance_config *c = compliance_config_copy(compliance.current);
    e->config = c;
    int rc = fn(e, err);
    if (rc == 0) rc = compliance_config_check(c, err);
    json_t *changes = rc == 0 ? compliance_config_diff(compliance.current, c) : NULL;
    bool any = json_array_size(changes) > 0;
    if (any) compliance_diff_line(changes, &e->what);
    json_decref(changes);
    if (any && e->rq->query(e->rq, "check") == NULL) {
        c->version = compliance.current->version + 1;
        return put_in_force(c, e->rq, buf_str(&e->what), err);
    }
    compliance_config_free(c);
    return rc;
}

int compliance_edit(struct request *rq, int (*fn)(struct edit *e, struct err *err), struct err *err)
{
    struct edit e = {.rq = rq, .warnings = json_array()};
    pthread_mutex_lock(&compliance.lock); /* one change at a time, from reading to being in force */
    int rc = arguments_check(rq, err);
    if (rc == 0) rc = change(&e, fn, err);
    if (rc == 0) rq->out = json_pack("{s:I, s:O}", "version", (json_int_t)compliance.current->version, "warnings", e.warnings);
    pthread_mutex_unlock(&compliance.lock);
    json_decref(e.warnings);
    buf_free(&e.what);
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

static int add_server(struct edit *e, struct err *err)
{
    const char *name = body_text(e->rq, "name", err);
    if (name == NULL || compliance_server_put(e->config, name, e->rq->body, true, err) != 0) return -1;
    return broker_check_server(compliance_server_find(e->config, name), err);
}
static int change_server(struct edit *e, struct err *err)
{
    const char *name = e->rq->parts[0], *renamed = json_string_value(json_object_get(e->rq->body, "name"));
    if (compliance_server_put(e->config, name, e->rq->body, false, err) != 0) return -1;
    return broker_check_server(compliance_server_find(e->config, renamed != NULL ? renamed : name), err);
}
static int drop_server(struct edit *e, struct err *err)
{
    return compliance_server_delete(e->config, e->rq->parts[0], err);
}
static int add_profile(struct edit *e, struct err *err)
{
    const char *name = body_text(e->rq, "name", err);
    return name == NULL ? -1 : compliance_profile_put(e->config, name, e->rq->body, true, e->warnings, err);
}
static int change_profile(struct edit *e, struct err *err)
{
    return compliance_profile_put(e->config, e->rq->parts[0], e->rq->body, false, e->warnings, err);
}
static int drop_profile(struct edit *e, struct err *err)
{
    return compliance_profile_delete(e->config, e->rq->parts[0], err);
}
static int add_row(struct edit *e, struct err *err) { return compliance_row_add(e->config, e->rq->parts[0], e->rq->body, e->warnings, err); }
static int change_row(struct edit *e, struct err *err)
{
    return compliance_row_change(e->config, e->rq->parts[0], e->rq->parts[1], e->rq->parts[2], e->rq->body, e->warnings, err);
}
static int drop_row(struct edit *e, struct err *err) { return compliance_row_delete(e->config, e->rq->parts[0], e->rq->parts[1], e->rq->parts[2], err); }
static int shift_profile(struct edit *e, struct err *err)
{
    json_t *by = json_object_get(e->rq->body, "by");
    if (!json_is_integer(by)) return err_set(err, ERR_INVALID, "the request's body needs the number field \"by\": -1 is one up, 1 is one down");
    return compliance_profile_move(e->config, e->rq->parts[0], (int)json_integer_value(by), err);
}
static int add_assignment(struct edit *e, struct err *err)
{
    const char *node = json_string_value(json_object_get(e->rq->body, "node")), *profile = json_string_value(json_object_get(e->rq->body, "profile"));
    const char *server = body_text(e->rq, "server", err);
    if (server == NULL) return -1;
    return compliance_assign(e->config, node != NULL ? node : admin.node, server, profile != NULL ? profile : SYSTEM_PROFILE, err);
}
static int change_assignment(struct edit *e, struct err *err)
{
    const char *profile = body_text(e->rq, "profile", err);
    return profile == NULL ? -1 : compliance_reassign(e->config, e->rq->parts[0], e->rq->parts[1], profile, err);
}
static int drop_assignment(struct edit *e, struct err *err)
{
    return compliance_unassign(e->config, e->rq->parts[0], e->rq->parts[1], err);
}

static int server_add(struct request *rq, struct err *err) { return compliance_edit(rq, add_server, err); }
static int server_change(struct request *rq, struct err *err) { return compliance_edit(rq, change_server, err); }
static int server_delete(struct request *rq, struct err *err) { return compliance_edit(rq, drop_server, err); }
static int profile_add(struct request *rq, struct err *err) { return compliance_edit(rq, add_profile, err); }
static int profile_change(struct request *rq, struct err *err) { return compliance_edit(rq, change_profile, err); }
static int profile_delete(struct request *rq, struct err *err) { return compliance_edit(rq, drop_profile, err); }
static int profile_move(struct request *rq, struct err *err) { return compliance_edit(rq, shift_profile, err); }
static int row_add(struct request *rq, struct err *err) { return compliance_edit(rq, add_row, err); }
static int row_change(struct request *rq, struct err *err) { return compliance_edit(rq, change_row, err); }
static int row_delete(struct request *rq, struct err *err) { return compliance_edit(rq, drop_row, err); }
static int assignment_change(struct request *rq, struct err *err) { return compliance_edit(rq, change_assignment, err); }
static int assignment_add(struct request *rq, struct err *err) { return compliance_edit(rq, add_assignment, err); }
static int assignment_delete(struct request *rq, struct err *err) { return compliance_edit(rq, drop_assignment, err); }

int admin_compliance_reload(struct err *err)
{
    pthread_mutex_lock(&compliance.lock);
    int rc = compliance.current != NULL ? broker_set_config(compliance.current, err) : 0;
    pthread_mutex_unlock(&compliance.lock);
    return rc;
}

static void link_add(void *arg, const struct link_status *l)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "component", l->component, "server", l->server, "profile",
                          l->profile != NULL ? l->profile : "", "direction", l->direction, "state", l->state,
                          "events", (json_int_t)l->events, "answers", (json_int_t)l->answers, "timeouts", (json_int_t)l->timeouts, "invalid", (json_int_t)l->invalid,
                          "outstanding", (json_int_t)l->outstanding, "queued", (json_int_t)l->queued, "queued_bytes", (json_int_t)l->queued_bytes);
    json_object_set_new(o, "last_error", json_text(l->last_error != NULL ? l->last_error : "")); /* the peer's words */
    json_object_set_new(o, "limits", json_pack("{s:I, s:I, s:I}", "outstanding", (json_int_t)l->outstanding_max, "queued_bytes", (json_int_t)l->queued_bytes_max,
                                               "answer_bytes", (json_int_t)l->answer_bytes_max));
    json_t *faults = json_object();
    for (int i = 0; i < ANSWER_FAULTS; i++)
        if (l->faults[i] > 0) json_object_set_new(faults, answer_fault_name(i), json_integer((json_int_t)l->faults[i]));
    json_object_set_new(o, "faults", faults);
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
    {"POST", "/v1/compliance/profiles/*/rows", row_add},
    {"PATCH", "/v1/compliance/profiles/*/rows/*/*", row_change}, /* event, packet type ("all" for a TC event) */
    {"DELETE", "/v1/compliance/profiles/*/rows/*/*", row_delete},
    {"GET", "/v1/compliance/assignments", list_assignments},
    {"PATCH", "/v1/compliance/assignments/*/*", assignment_change},
    {"POST", "/v1/compliance/assignments", assignment_add},
    {"DELETE", "/v1/compliance/assignments/*/*", assignment_delete},
    {"GET", "/v1/compliance/links", link_list},
    {NULL, NULL, NULL},
};
