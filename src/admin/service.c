/* What concerns all users, and the service as a whole, in the admin API: announcements, notices, shutdown and restart. The same as XEP-0133's
 * commands do. */
#include "jsm/service.h"
#include "admin/private.h"
#include "router/route.h"
#include <stdlib.h>
#include <string.h>

#define DELAY_MAX 86400

static int served(struct request *rq, const char *text, struct str *domain, struct err *err)
{
    struct jid jid;
    if (request_jid(rq, text, false, &jid, err) != 0) return -1;
    if (jid.local.p != NULL || jid.resource.p != NULL || !router_domain_served(jid.domain))
        return err_set(err, ERR_NOT_FOUND, "the domain '%s' is not served here; server.domains has: %s", text, admin.config->server_domains);
    *domain = jid.domain;
    return 0;
}

/* A text of people for people; an empty one says nothing. */
static const char *said(struct request *rq, const char *name, struct err *err)
{
    const char *text = body_text(rq, name, err);
    if (text == NULL || text[0] != '\0') return text;
    err_set(err, ERR_INVALID, "the text field \"%s\" is empty", name);
    return NULL;
}

static int announce(struct request *rq, struct err *err)
{
    struct str domain = STR_NONE;
    const char *text = said(rq, "text", err), *named = json_string_value(json_object_get(rq->body, "domain"));
    if (text == NULL || (named != NULL && served(rq, named, &domain, err) != 0)) return -1;
    service_announce(domain, str_of(text), 0, NULL, NULL);
    return 0;
}

/* ---- notices ---- */
static const char *const kinds[NOTICES] = {[NOTICE_MOTD] = "motd", [NOTICE_WELCOME] = "welcome"};

static int notice_of_path(struct request *rq, struct str *domain, enum notice *kind, struct err *err)
{
    if (served(rq, rq->parts[0], domain, err) != 0) return -1;
    for (unsigned i = 0; i < NOTICES; i++) {
        *kind = (enum notice)i;
        if (strcmp(rq->parts[1], kinds[i]) == 0) return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "there is no notice '%s'; there are motd and welcome", rq->parts[1]);
}

static int notice_show(struct request *rq, struct err *err)
{
    struct str domain;
    enum notice kind;
    if (notice_of_path(rq, &domain, &kind, err) != 0) return -1;
    char *text = notice_text(kind, domain, NULL);
    rq->out = json_pack("{s:s%, s:s, s:o}", "domain", domain.p, domain.n, "kind", kinds[kind], "text", text != NULL ? json_text(text) : json_null());
    free(text);
    return 0;
}

static int notice_change(struct request *rq, struct str domain, enum notice kind, const char *text, bool anew, struct err *err)
{
    struct waiter w = WAITER_INIT;
    uint64_t version;
    notice_set(kind, domain, str_of(text), anew, waiter_done, &w);
    if (waiter_wait(&w, err) != 0) return -1;
    free(notice_text(kind, domain, &version));
    if (kind == NOTICE_MOTD && anew) service_announce(domain, str_of(text), version, NULL, NULL);
    rq->out = json_pack("{s:s%, s:s}", "domain", domain.p, domain.n, "kind", kinds[kind]);
    return 0;
}

static int notice_put(struct request *rq, struct err *err)
{
    struct str domain;
    enum notice kind;
    const char *text = said(rq, "text", err);
    if (text == NULL || notice_of_path(rq, &domain, &kind, err) != 0) return -1;
    char *before = notice_text(kind, domain, NULL);
    bool anew = before == NULL || !json_is_true(json_object_get(rq->body, "edit"));
    free(before);
    return notice_change(rq, domain, kind, text, anew, err);
}

static int notice_delete(struct request *rq, struct err *err)
{
    struct str domain;
    enum notice kind;
    if (notice_of_path(rq, &domain, &kind, err) != 0) return -1;
    return notice_change(rq, domain, kind, NULL, false, err);
}

/* ---- the end ---- */
static int stop(struct request *rq, bool restart, struct err *err)
{
    const json_t *delay = json_object_get(rq->body, "delay"), *text = json_object_get(rq->body, "announcement");
    if (delay != NULL && (!json_is_integer(delay) || json_integer_value(delay) < 0 || json_integer_value(delay) > DELAY_MAX))
        return err_set(err, ERR_INVALID, "\"delay\" is a number of seconds from 0 to %d", DELAY_MAX);
    if (service_stop_in(restart, (unsigned)json_integer_value(delay), err) != 0) return -1;
    if (json_is_string(text) && json_string_length(text) > 0) service_announce(STR_NONE, str_of(json_string_value(text)), 0, NULL, NULL);
    return 0;
}

static int stop_shutdown(struct request *rq, struct err *err) { return stop(rq, false, err); }
static int stop_restart(struct request *rq, struct err *err) { return stop(rq, true, err); }

const struct route service_routes[] = {
    {"POST", "/v1/announcements", announce},
    {"GET", "/v1/notices/*/*", notice_show},
    {"PUT", "/v1/notices/*/*", notice_put},
    {"DELETE", "/v1/notices/*/*", notice_delete},
    {"POST", "/v1/shutdown", stop_shutdown},
    {"POST", "/v1/restart", stop_restart},
    {NULL, NULL, NULL},
};
