/* Inside the admin API: one request, the route table. */
#ifndef SIGNET_ADMIN_PRIVATE_H
#define SIGNET_ADMIN_PRIVATE_H
#include "admin/api.h"
#include "base/waiter.h"
#include "broker/profile.h"
#include "xmpp/jid.h"
#include <jansson.h>

#define ADMIN_MAX_PARTS 3
struct request {
    const char *method, *path;
    struct arena *arena;
    char *parts[ADMIN_MAX_PARTS]; /* what the '*' of the route's pattern stood for, decoded */
    json_t *body; /* an object, or NULL */
    const char *(*query)(struct request *rq, const char *name); /* a query argument, or NULL */
    void *connection;
    const char *by; /* the Unix user who asks; "" when unknown */
    json_t *out; /* the answer; the handler's reference is taken */
    struct buf text; /* or a plain-text answer */
};
struct route {
    const char *method, *pattern; // "/v1/users/*"
    int (*handle)(struct request *rq, struct err *err);
};
extern const struct route user_routes[], service_routes[], compliance_routes[], version_routes[], status_routes[], room_routes[]; /* each ends with method NULL */

/* The daemon's facts. */
struct admin_facts {
    const struct config *config;
    const char *node;
    const struct admin_ops *ops;
    uint64_t started_wall_ms;
};
extern struct admin_facts admin;

/* ---- fields of a request's body ---- */
must_check const char *body_text(struct request *rq, const char *name, struct err *err); /* required */
must_check int request_jid(struct request *rq, const char *text, bool account, struct jid *out, struct err *err); /* account: local@served-domain */
json_t *json_text(const char *text); /* a string, whatever bytes it has */
void json_stamp(json_t *object, const char *name, uint64_t wall_ms); /* null when 0 */

/* compliance.c: a change of the compliance configuration. fn edits a copy; after it the whole is checked, stored as a new version and put in force. Of a change
 * that changes nothing no version is made. fn may name what it does in `what`, for the line on what changed. */
struct edit {
    struct compliance_config *config;
    struct request *rq;
    json_t *warnings;
    struct buf what;
};
must_check int compliance_edit(struct request *rq, int (*fn)(struct edit *e, struct err *err), struct err *err);
struct compliance_config *compliance_in_force(void); /* a copy */
must_check struct compliance_config *compliance_of_version(int64_t version, struct err *err); /* from the store; version 0: NULL and no error when there is none */

/* trace.c: the last events and verdicts, for `signetctl events watch` */
json_t *trace_read(uint64_t after, unsigned wait_ms); /* {"next": n, "lost": m, "events": [...]}; blocks */
void trace_stop(void);

#endif
