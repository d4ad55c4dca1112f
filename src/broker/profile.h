/* The compliance configuration: servers, profiles (in routing priority), assignments. Edited as a whole, checked as a whole, kept as one JSON document. Pure. */
#ifndef SIGNET_BROKER_PROFILE_H
#define SIGNET_BROKER_PROFILE_H
#include "base/buf.h"
#include "base/err.h"
#include "broker/catalogue.h"
#include <jansson.h>

#define SYSTEM_PROFILE "SystemDefaultComplianceProfile"
enum link_direction { LINK_CONNECT, LINK_ACCEPT };
struct profile_row {
    enum event_id event;
    unsigned packets; /* mask; TC rows: PACKET_ALL */
    bool bounce; /* Handling: bounce, else pass */
    bool fire_and_forget;
    bool shadow; /* asked, but what comes of it is only counted and shown; never together with fire_and_forget */
};
struct compliance_profile {
    char *name, *description;
    struct profile_row *rows;
    unsigned n_rows;
    bool read_only; /* the system default profile */
};
struct compliance_server {
    char *name, *description, *host, *password; /* host unused for accept */
    uint16_t port;
    enum link_direction direction;
    bool tls; /* connect: this node dials with TLS; accept: the server must come by component.listen_tls */
    char *tls_ca; /* CA file. NULL: connect: the system's; accept: no certificate is asked of the server */
    char *tls_name; /* the name its certificate must have. NULL: connect: the host; accept: any */
    char *tls_cert, *tls_key; /* connect: the certificate this node shows, and its key. NULL: none */
    uint64_t link_outstanding, link_queue_bytes, answer_bytes; /* instead of the broker's options of these names; 0: as those say */
};
struct compliance_assignment {
    char *node, *server, *profile;
    char *component; /* generated: "op-" server "." node with dots as dashes */
};
struct compliance_config {
    int64_t version; /* 0: not stored yet */
    struct compliance_server *servers;
    struct compliance_profile *profiles; /* the order is the routing priority, top first */
    struct compliance_assignment *assignments;
    unsigned n_servers, n_profiles, n_assignments;
};
struct compliance_config *compliance_config_new(void); /* the system default profile only */
struct compliance_config *compliance_config_copy(const struct compliance_config *c);
void compliance_config_free(struct compliance_config *c);
must_check struct compliance_config *compliance_config_parse(struct str json, int64_t version, struct err *err); /* with check */
json_t *compliance_config_json(const struct compliance_config *c, bool with_passwords); /* without: "password_set": true instead */
must_check int compliance_config_check(const struct compliance_config *c, struct err *err); /* the whole: names, references, collisions, duplicates */
/* Edits: each checks what it can; compliance_config_check() comes before saving. Fields absent from `fields` keep their value (update) or take the default (add).
 * Fields of a server: name description host port password direction tls tls_ca tls_name tls_cert tls_key link_outstanding
 * link_queue_bytes answer_bytes; of a profile: name description rows, a row being
 * {"event": "es_IN", "packet": "message", "handling": "bounce", "fire_and_forget": false, "shadow": false}; a TC row has no packet. `name` in an update that differs renames,
 * which is refused while assigned. An unknown field is an error. Warnings (bounce + fire and forget, a row that can never match) are
 * added to `warnings` (a JSON array) when it is not NULL. */
must_check int compliance_server_put(struct compliance_config *c, const char *name, const json_t *fields, bool add, struct err *err);
must_check int compliance_server_delete(struct compliance_config *c, const char *name, struct err *err); /* refused while assigned */
must_check int compliance_profile_put(struct compliance_config *c, const char *name, const json_t *fields, bool add, json_t *warnings, struct err *err); /* description, rows[] */
must_check int compliance_profile_delete(struct compliance_config *c, const char *name, struct err *err);
must_check int compliance_profile_move(struct compliance_config *c, const char *name, int by, struct err *err); /* -1: one up */
/* One row, without the others being told again; event and packet name the one that is there. packet: NULL or "all" for a TC event. */
must_check int compliance_row_add(struct compliance_config *c, const char *profile, const json_t *row, json_t *warnings, struct err *err);
must_check int compliance_row_change(struct compliance_config *c, const char *profile, const char *event, const char *packet, const json_t *fields, json_t *warnings,
                                     struct err *err);
must_check int compliance_row_delete(struct compliance_config *c, const char *profile, const char *event, const char *packet, struct err *err);
must_check int compliance_assign(struct compliance_config *c, const char *node, const char *server, const char *profile, struct err *err);
/* The profile of an assignment; as a server has one profile, on all nodes it is assigned to. */
must_check int compliance_reassign(struct compliance_config *c, const char *node, const char *server, const char *profile, struct err *err);
must_check int compliance_unassign(struct compliance_config *c, const char *node, const char *server, struct err *err);
/* What differs, an array of {"object": "server", "name": ..., "change": "added", "deleted" or "changed", "field": ..., "old": text or null, "new": text or null}. That an
 * object was added is told first without, then with each of its fields; "routing priority" has neither name nor field. Of passwords only that they changed. */
json_t *compliance_config_diff(const struct compliance_config *from, const struct compliance_config *to);
void compliance_diff_line(const json_t *changes, struct buf *out); /* all of it in one line, cut when it gets long */
const struct compliance_server *compliance_server_find(const struct compliance_config *c, const char *name);
const struct compliance_profile *compliance_profile_find(const struct compliance_config *c, const char *name);

#endif
