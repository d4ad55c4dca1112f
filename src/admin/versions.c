/* The versions of the compliance configuration in the admin API: which there are, what differs between two, and back to one. Passwords are restored with a
 * version and never shown. */
#include "admin/private.h"
#include "broker/broker.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>

enum { HISTORY_DEFAULT = 50, HISTORY_MAX = 1000 };

static int number_of(const char *text, const char *what, int64_t most, int64_t *out, struct err *err)
{
    char *end = NULL;
    errno = 0;
    long long n = text != NULL ? strtoll(text, &end, 10) : 0;
    if (text == NULL || *text == '\0' || *end != '\0' || errno != 0 || n < 1 || n > most)
        return err_set(err, ERR_INVALID, "%s must be a number from 1 to %lld", what, (long long)most);
    *out = n;
    return 0;
}

static int version_of(const char *text, const char *what, int64_t *out, struct err *err) { return number_of(text, what, INT64_MAX, out, err); }

/* ---- history ---- */

struct notes_call {
    struct waiter w;
    json_t *versions;
    int64_t in_force;
};

static json_t *text_json(struct str s)
{
    char *text = str_dup(s);
    json_t *json = json_text(text);
    free(text);
    return json;
}

static void notes_got(void *arg, const struct store_compliance_note *notes, size_t n, const struct err *err)
{
    struct notes_call *call = arg;
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_pack("{s:I, s:b, s:o, s:o, s:o}", "version", (json_int_t)notes[i].version, "in_force", (int)(notes[i].version == call->in_force), "by",
                              text_json(notes[i].by), "what", text_json(notes[i].what), "comment", text_json(notes[i].comment));
        json_stamp(o, "time", notes[i].wall_ms);
        json_array_append_new(call->versions, o);
    }
    waiter_answer(&call->w, err);
}

static int version_list(struct request *rq, struct err *err)
{
    int64_t limit = HISTORY_DEFAULT;
    const char *asked = rq->query(rq, "limit");
    if (asked != NULL && number_of(asked, "limit", HISTORY_MAX, &limit, err) != 0) return -1;
    struct compliance_config *now = compliance_in_force();
    struct notes_call call = {.w = WAITER_INIT, .versions = json_array(), .in_force = now->version};
    compliance_config_free(now);
    store_compliance_list((unsigned)limit, notes_got, &call);
    int rc = waiter_wait(&call.w, err);
    if (rc == 0) rq->out = json_pack("{s:I, s:O}", "in_force", (json_int_t)call.in_force, "versions", call.versions);
    json_decref(call.versions);
    return rc;
}

static int version_show(struct request *rq, struct err *err)
{
    int64_t version = 0;
    if (version_of(rq->parts[0], "a version", &version, err) != 0) return -1;
    struct compliance_config *c = compliance_of_version(version, err);
    if (c == NULL) return -1;
    rq->out = compliance_config_json(c, false);
    json_object_set_new(rq->out, "version", json_integer((json_int_t)c->version));
    compliance_config_free(c);
    return 0;
}

/* ---- diff ---- */

/* Of a version that is not named: the one in force. */
static struct compliance_config *version_asked(struct request *rq, const char *argument, struct err *err)
{
    int64_t version = 0;
    if (rq->query(rq, argument) == NULL) return compliance_in_force();
    return version_of(rq->query(rq, argument), argument, &version, err) == 0 ? compliance_of_version(version, err) : NULL;
}

static int diff(struct request *rq, struct err *err)
{
    struct compliance_config *a = version_asked(rq, "from", err);
    if (a == NULL) return -1;
    struct compliance_config *b = version_asked(rq, "to", err);
    if (b != NULL)
        rq->out = json_pack("{s:I, s:I, s:o}", "from", (json_int_t)a->version, "to", (json_int_t)b->version, "changes", compliance_config_diff(a, b));
    compliance_config_free(a);
    compliance_config_free(b);
    return b != NULL ? 0 : -1;
}

/* ---- back to a version ---- */

/* All of it, its passwords too, as a new version. */
static int put_back(struct edit *e, struct err *err)
{
    json_t *asked = json_object_get(e->rq->body, "version");
    if (!json_is_integer(asked) || json_integer_value(asked) < 1)
        return err_set(err, ERR_INVALID, "the request's body needs the number field \"version\": the version to go back to");
    struct compliance_config *old = compliance_of_version(json_integer_value(asked), err);
    if (old == NULL) return -1;
    buf_addf(&e->what, "rollback to version %lld: ", (long long)old->version);
    struct compliance_config now = *e->config;
    *e->config = *old;
    *old = now;
    compliance_config_free(old);
    return 0;
}

static int rollback(struct request *rq, struct err *err) { return compliance_edit(rq, put_back, err); }

const struct route version_routes[] = {
    {"GET", "/v1/compliance/versions", version_list},
    {"GET", "/v1/compliance/versions/*", version_show},
    {"GET", "/v1/compliance/diff", diff},
    {"POST", "/v1/compliance/rollback", rollback},
    {NULL, NULL, NULL},
};
