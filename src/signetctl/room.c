/* Chat rooms. */
#include "signetctl/ctl.h"
#include <stdlib.h>
#include <string.h>

/* ---- looking ---- */
static const char *yes_no(const json_t *object, const char *name) { return json_is_true(json_object_get(object, name)) ? "yes" : "no"; }

static void print_rooms(const json_t *answer)
{
    json_t *room;
    size_t i;
    struct table t = {.columns = 5, .head = {"ROOM", "NAME", "OCCUPANTS", "PERSISTENT", "LISTED"}};
    json_array_foreach (json_object_get(answer, "rooms"), i, room) {
        table_add(&t, json_text(room, "room"));
        table_add(&t, json_text(room, "name"));
        table_addf(&t, "%lld", json_number(room, "occupants"));
        table_add(&t, yes_no(room, "persistent"));
        table_add(&t, yes_no(room, "public"));
    }
    table_print(&t);
}

enum outcome room_list(const struct invocation *in, struct err *err)
{
    const char *domain = in->values[SWITCH_DOMAIN];
    return api_show(in, domain != NULL ? api_path("/v1/rooms?domain=", domain, NULL) : x_strdup("/v1/rooms"), print_rooms, err);
}

static void add_setting(struct table *t, const char *name, const json_t *value)
{
    struct buf text = {0};
    json_t *one;
    size_t i;
    json_array_foreach (value, i, one) buf_addf(&text, "%s%s", i > 0 ? ", " : "", json_string_value(one));
    if (json_is_boolean(value)) buf_adds(&text, json_is_true(value) ? "yes" : "no");
    if (json_is_string(value)) buf_adds(&text, json_string_value(value));
    table_fact(t, name, buf_cstr(&text));
    buf_free(&text);
}

static void print_room(const json_t *answer)
{
    const char *name;
    json_t *value;
    struct table t = {0};
    struct buf count = {0};
    table_fact(&t, "room", json_text(answer, "room"));
    table_fact(&t, "state", json_text(answer, "state"));
    table_fact(&t, "created", json_text(answer, "created"));
    buf_addf(&count, "%lld", json_number(answer, "occupants"));
    table_fact(&t, "occupants", buf_cstr(&count));
    buf_reset(&count);
    buf_addf(&count, "%lld messages", json_number(answer, "history"));
    table_fact(&t, "history", buf_cstr(&count));
    buf_free(&count);
    json_object_foreach (json_object_get(answer, "config"), name, value) add_setting(&t, name, value);
    table_print(&t);
}

enum outcome room_show(const struct invocation *in, struct err *err)
{
    return api_show(in, api_path("/v1/rooms/", in->args[0], NULL), print_room, err);
}

static void print_occupants(const json_t *answer)
{
    json_t *o, *session;
    size_t i, s;
    struct table t = {.columns = 4, .head = {"NICK", "ROLE", "AFFILIATION", "SESSIONS"}};
    json_array_foreach (json_object_get(answer, "occupants"), i, o) {
        struct buf sessions = {0};
        json_array_foreach (json_object_get(o, "sessions"), s, session) buf_addf(&sessions, "%s%s", s > 0 ? ", " : "", json_string_value(session));
        table_add(&t, json_text(o, "nick"));
        table_add(&t, json_text(o, "role"));
        table_add(&t, json_text(o, "affiliation"));
        table_add(&t, buf_cstr(&sessions));
        buf_free(&sessions);
    }
    table_print(&t);
}

enum outcome room_occupants(const struct invocation *in, struct err *err)
{
    return api_show(in, api_path("/v1/rooms/", in->args[0], "/occupants", NULL), print_occupants, err);
}

static void print_affiliations(const json_t *answer)
{
    json_t *a;
    size_t i;
    struct table t = {.columns = 4, .head = {"ADDRESS", "AFFILIATION", "NICK", "REASON"}};
    json_array_foreach (json_object_get(answer, "affiliations"), i, a) {
        table_add(&t, json_text(a, "jid"));
        table_add(&t, json_text(a, "affiliation"));
        table_add(&t, json_text(a, "nick"));
        table_add(&t, json_text(a, "reason"));
    }
    table_print(&t);
}

enum outcome room_affiliation_list(const struct invocation *in, struct err *err)
{
    return api_show(in, api_path("/v1/rooms/", in->args[0], "/affiliations", NULL), print_affiliations, err);
}

/* ---- changing ---- */
static enum outcome call(const struct invocation *in, const char *method, char *take_path, json_t *take, const char *did, struct err *err)
{
    json_t *answer = NULL;
    enum outcome rc = api_call(method, take_path, take, &answer, err);
    free(take_path);
    if (rc == OUTCOME_OK) print_done(in, answer, "%s: %s", in->args[0], did);
    json_decref(answer);
    return rc;
}

/* {"membersonly": "yes"} of --set membersonly=yes. */
static enum outcome add_set(json_t *config, const char *set, struct err *err)
{
    const char *equals = strchr(set, '=');
    if (equals == NULL || equals == set) return fail(OUTCOME_USAGE, err, "--set %.64s: write NAME=VALUE", set);
    struct str name = {set, (size_t)(equals - set)};
    if (str_is(name, "roomsecret") || str_is(name, "muc#roomconfig_roomsecret"))
        return fail(OUTCOME_USAGE, err,
                    "a password is never given on the command line, where others can see it; use --password-file, --password-stdin or "
                    "--password-ask");
    char *key = str_dup(name);
    int rc = json_object_set_new(config, key, json_string(equals + 1));
    free(key);
    return rc == 0 ? OUTCOME_OK : fail(OUTCOME_USAGE, err, "--set: what is given is not UTF-8 text");
}

/* Who gives a password wants the room to have one. */
static enum outcome add_password(const struct invocation *in, json_t *config, struct err *err)
{
    struct buf what = {0};
    char *password = NULL;
    if ((in->given & (OPT_PASSWORD_FILE | OPT_PASSWORD_STDIN | OPT_PASSWORD_ASK)) == 0) return OUTCOME_OK;
    buf_addf(&what, "password of %s", in->args[0]);
    enum outcome rc = secret_get(in, buf_cstr(&what), &password, err);
    if (rc == OUTCOME_OK && json_object_set_new(config, "roomsecret", json_string(password)) != 0)
        rc = fail(OUTCOME_USAGE, err, "the password is not UTF-8 text");
    if (rc == OUTCOME_OK) json_object_set_new(config, "passwordprotectedroom", json_true());
    secret_free(password);
    buf_free(&what);
    return rc;
}

/* On success the caller has *out, an object: empty when nothing was said. */
static enum outcome settings(const struct invocation *in, json_t **out, struct err *err)
{
    json_t *config = json_object();
    enum outcome rc = OUTCOME_OK;
    for (unsigned i = 0; i < in->n_sets && rc == OUTCOME_OK; i++) rc = add_set(config, in->sets[i], err);
    if (rc == OUTCOME_OK) rc = add_password(in, config, err);
    if (rc == OUTCOME_OK)
        *out = config;
    else
        json_decref(config);
    return rc;
}

enum outcome room_create(const struct invocation *in, struct err *err)
{
    json_t *config = NULL;
    enum outcome rc = settings(in, &config, err);
    if (rc != OUTCOME_OK) return rc;
    json_t *body = json_pack("{s:s, s:s, s:o}", "room", in->args[0], "owner", in->args[1], "config", config);
    if (body == NULL) return fail(OUTCOME_USAGE, err, "what is given is not UTF-8 text");
    return call(in, "POST", x_strdup("/v1/rooms"), body, "made", err);
}

enum outcome room_configure(const struct invocation *in, struct err *err)
{
    json_t *config = NULL;
    enum outcome rc = settings(in, &config, err);
    if (rc != OUTCOME_OK) return rc;
    if (json_object_size(config) > 0)
        return call(in, "PATCH", api_path("/v1/rooms/", in->args[0], NULL), json_pack("{s:o}", "config", config), "configured", err);
    json_decref(config);
    return fail(OUTCOME_USAGE, err, "say with --set NAME=VALUE what is to be changed; signetctl room show ROOM lists the settings");
}

enum outcome room_destroy(const struct invocation *in, struct err *err)
{
    const char *reason = in->values[SWITCH_REASON], *alternate = in->values[SWITCH_ALTERNATE];
    struct buf question = {0};
    buf_addf(&question, "The room %s will end for all in it; its settings, people and history are deleted.", in->args[0]);
    enum outcome rc = confirm(in, buf_cstr(&question), err);
    buf_free(&question);
    if (rc != OUTCOME_OK) return rc;
    char *path = api_path("/v1/rooms/", in->args[0], reason != NULL ? "?reason=" : "?", reason != NULL ? reason : "",
                          alternate != NULL ? "&alternate=" : "", alternate != NULL ? alternate : "", NULL);
    return call(in, "DELETE", path, NULL, "ended", err);
}

enum outcome room_affiliation_set(const struct invocation *in, struct err *err)
{
    const char *reason = in->values[SWITCH_REASON];
    json_t *body = json_pack("{s:s, s:s}", "jid", in->args[1], "affiliation", in->args[2]);
    if (body == NULL || (reason != NULL && json_object_set_new(body, "reason", json_string(reason)) != 0)) {
        json_decref(body);
        return fail(OUTCOME_USAGE, err, "what is given is not UTF-8 text");
    }
    return call(in, "PUT", api_path("/v1/rooms/", in->args[0], "/affiliations", NULL), body, "changed", err);
}
