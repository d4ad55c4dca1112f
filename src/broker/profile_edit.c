/* Edits of the compliance configuration. Each works on a copy of the one thing it changes and checks that before it puts it in, so an edit that is refused
 * changes nothing; what concerns the whole is compliance_config_check()'s. */
#include "base/buf.h"
#include "broker/profile_private.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct compliance_assignment *assignment_of(const struct compliance_config *c, const char *server, const char *profile)
{
    for (unsigned i = 0; i < c->n_assignments; i++) {
        const struct compliance_assignment *a = &c->assignments[i];
        if (server != NULL && strcasecmp(a->server, server) == 0) return a;
        if (profile != NULL && strcmp(a->profile, profile) == 0) return a;
    }
    return NULL;
}

static void array_remove(void *array, unsigned *n, unsigned at, size_t size)
{
    char *p = array;
    memmove(p + at * size, p + (at + 1) * size, (*n - at - 1) * size);
    (*n)--;
}

static void text_replace(char **field, const char *text)
{
    char *copy = text != NULL ? x_strdup(text) : NULL;
    free(*field);
    *field = copy;
}

/* ---- servers ---- */

static int server_refuse_rename(const struct compliance_config *c, const struct compliance_server *old, const char *name, struct err *err)
{
    const struct compliance_assignment *a = assignment_of(c, old->name, NULL);
    const struct compliance_server *other = compliance_server_find(c, name);
    if (a != NULL) return err_set(err, ERR_CONFLICT, "server \"%s\" is assigned to node \"%s\" and cannot be renamed; unassign it first", old->name, a->node);
    if (other != NULL && other != old) return err_set(err, ERR_EXISTS, "there is a compliance server \"%s\" already", name);
    return 0;
}

/* What is asked for, on a copy: fields over the old ones (add: over nothing). */
static int server_edited(struct compliance_server *edited, const struct compliance_config *c, const struct compliance_server *old, const char *name,
                         const json_t *fields, struct err *err)
{
    const char *renamed = NULL;
    if (old != NULL) {
        server_copy(edited, old);
    } else {
        edited->name = x_strdup(name);
        edited->description = x_strdup("");
    }
    if (server_from_json(edited, fields, &renamed, err) != 0) return -1;
    if (renamed != NULL && strcmp(renamed, edited->name) != 0) {
        if (old == NULL) return err_set(err, ERR_INVALID, "the server is to be named \"%s\", and its field \"name\" says \"%s\"", name, renamed);
        if (server_refuse_rename(c, old, renamed, err) != 0) return -1;
        text_replace(&edited->name, renamed);
    }
    return server_check(edited, err);
}

int compliance_server_put(struct compliance_config *c, const char *name, const json_t *fields, bool add, struct err *err)
{
    struct compliance_server *old = (struct compliance_server *)compliance_server_find(c, name), edited = {0};
    if (add && old != NULL) return err_set(err, ERR_EXISTS, "there is a compliance server \"%s\" already", old->name);
    if (!add && old == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance server \"%s\"", name);
    if (server_edited(&edited, c, old, name, fields, err) != 0) {
        server_clear(&edited);
        return -1;
    }
    if (add)
        old = config_add_server(c);
    else
        server_clear(old);
    *old = edited;
    return 0;
}

int compliance_server_delete(struct compliance_config *c, const char *name, struct err *err)
{
    const struct compliance_server *s = compliance_server_find(c, name);
    if (s == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance server \"%s\"", name);
    const struct compliance_assignment *a = assignment_of(c, name, NULL);
    if (a != NULL) return err_set(err, ERR_CONFLICT, "server \"%s\" is assigned to node \"%s\"; unassign it first", s->name, a->node);
    unsigned at = (unsigned)(s - c->servers);
    server_clear(&c->servers[at]);
    array_remove(c->servers, &c->n_servers, at, sizeof(*c->servers));
    return 0;
}

/* ---- profiles ---- */

static void warn(json_t *warnings, const struct profile_row *row, const char *text)
{
    struct buf b = {0};
    const struct event_row *event = &event_catalogue[row->event];
    bool jsm = event->service == SERVICE_JSM;
    buf_addf(&b, "%s%s%s: %s", event->name, jsm ? " " : "", jsm ? packet_type_name(row->packets) : "", text);
    json_array_append_new(warnings, json_string(buf_cstr(&b)));
    buf_free(&b);
}

static bool row_known(const struct compliance_profile *p, const struct profile_row *row)
{
    for (unsigned i = 0; p != NULL && i < p->n_rows; i++) {
        const struct profile_row *known = &p->rows[i];
        if (known->event == row->event && known->packets == row->packets && known->bounce == row->bounce && known->fire_and_forget == row->fire_and_forget) return true;
    }
    return false;
}

void profile_warn(const struct compliance_profile *p, const struct compliance_profile *old, json_t *warnings)
{
    for (unsigned i = 0; i < p->n_rows && warnings != NULL; i++) {
        const struct profile_row *row = &p->rows[i];
        if (row_known(old, row)) continue;
        const struct event_row *event = &event_catalogue[row->event];
        if (row->bounce && row->fire_and_forget && event->refusable)
            warn(warnings, row, "bounce together with fire and forget: the event is sent to the compliance server and then discarded");
        if (event->service == SERVICE_JSM && (row->packets & event->kinds) == 0) warn(warnings, row, "this event never has this packet type: the row can never match");
    }
}

static int profile_refuse_rename(const struct compliance_config *c, const struct compliance_profile *old, const char *name, struct err *err)
{
    const struct compliance_assignment *a = assignment_of(c, NULL, old->name);
    if (a != NULL) return err_set(err, ERR_CONFLICT, "profile \"%s\" is assigned to server \"%s\" and cannot be renamed; unassign it first", old->name, a->server);
    if (compliance_profile_find(c, name) != NULL) return err_set(err, ERR_EXISTS, "there is a compliance profile \"%s\" already", name);
    return 0;
}

static int profile_edited(struct compliance_profile *edited, const struct compliance_config *c, const struct compliance_profile *old, const char *name,
                          const json_t *fields, struct err *err)
{
    const char *renamed = NULL;
    edited->name = x_strdup(name);
    edited->description = x_strdup(old != NULL && old->description != NULL ? old->description : "");
    for (unsigned i = 0; old != NULL && i < old->n_rows; i++) profile_add_row(edited, &old->rows[i]);
    if (profile_from_json(edited, fields, &renamed, err) != 0) return -1;
    if (renamed != NULL && strcmp(renamed, name) != 0) {
        if (old == NULL) return err_set(err, ERR_INVALID, "the profile is to be named \"%s\", and its field \"name\" says \"%s\"", name, renamed);
        if (profile_refuse_rename(c, old, renamed, err) != 0) return -1;
        text_replace(&edited->name, renamed);
    }
    return profile_check(edited, err);
}

int compliance_profile_put(struct compliance_config *c, const char *name, const json_t *fields, bool add, json_t *warnings, struct err *err)
{
    struct compliance_profile *old = (struct compliance_profile *)compliance_profile_find(c, name), edited = {0};
    if (add && old != NULL) return err_set(err, ERR_EXISTS, "there is a compliance profile \"%s\" already", name);
    if (!add && old == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", name);
    if (old != NULL && old->read_only) return err_set(err, ERR_CONFLICT, "profile \"%s\" is read-only; add one of your own", name);
    if (profile_edited(&edited, c, old, name, fields, err) != 0) {
        profile_clear(&edited);
        return -1;
    }
    profile_merge_rows(&edited);
    profile_warn(&edited, old, warnings);
    if (add)
        old = config_add_profile(c);
    else
        profile_clear(old);
    *old = edited;
    return 0;
}

int compliance_profile_delete(struct compliance_config *c, const char *name, struct err *err)
{
    const struct compliance_profile *p = compliance_profile_find(c, name);
    if (p == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", name);
    if (p->read_only) return err_set(err, ERR_CONFLICT, "profile \"%s\" is read-only and cannot be deleted", name);
    const struct compliance_assignment *a = assignment_of(c, NULL, name);
    if (a != NULL) return err_set(err, ERR_CONFLICT, "profile \"%s\" is assigned to server \"%s\"; unassign it first", name, a->server);
    unsigned at = (unsigned)(p - c->profiles);
    profile_clear(&c->profiles[at]);
    array_remove(c->profiles, &c->n_profiles, at, sizeof(*c->profiles));
    return 0;
}

/* ---- one row of a profile ---- */

static int profile_to_edit(const struct compliance_config *c, const char *name, struct compliance_profile **out, struct err *err)
{
    const struct compliance_profile *p = compliance_profile_find(c, name);
    if (p == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", name);
    if (p->read_only) return err_set(err, ERR_CONFLICT, "profile \"%s\" is read-only; add one of your own", name);
    *out = &c->profiles[p - c->profiles];
    return 0;
}

static int row_find(const struct compliance_profile *p, const char *event, const char *packet, unsigned *at, struct err *err)
{
    int id = event_by_name(event), mask = packet_type_by_name(packet != NULL ? packet : "all");
    unsigned others = 0;
    if (id < 0) return err_set(err, ERR_INVALID, "\"%.60s\" is not an event; GET /v1/events lists them", event);
    if (mask < 0) return err_set(err, ERR_INVALID, "%s: packet type \"%.60s\" is none of iq, message, presence, subscription, all", event, packet);
    for (unsigned i = 0; i < p->n_rows; i++) {
        if (p->rows[i].event != (enum event_id)id) continue;
        *at = i;
        if (p->rows[i].packets == (unsigned)mask) return 0;
        others |= p->rows[i].packets;
    }
    if (others == 0) return err_set(err, ERR_NOT_FOUND, "profile \"%s\": %s does not stand in it", p->name, event);
    return err_set(err, ERR_NOT_FOUND, "profile \"%s\": %s stands in it%s, not with packet type %s", p->name, event,
                   others == PACKET_ALL ? " with packet type all" : " with other packet types", packet_type_name((unsigned)mask));
}

/* rows: what is to be instead, checked before it takes their place. */
static int rows_replace(struct compliance_profile *p, struct compliance_profile *take, json_t *warnings, struct err *err)
{
    if (profile_check(take, err) != 0) {
        profile_clear(take);
        return -1;
    }
    profile_merge_rows(take);
    profile_warn(take, p, warnings);
    profile_clear(p);
    *p = *take;
    return 0;
}

int compliance_row_add(struct compliance_config *c, const char *profile, const json_t *row, json_t *warnings, struct err *err)
{
    struct compliance_profile *p = NULL, edited = {0};
    struct profile_row added = {0};
    if (profile_to_edit(c, profile, &p, err) != 0 || row_from_json(row, &added, true, err) != 0) return -1;
    profile_copy(&edited, p);
    profile_add_row(&edited, &added);
    return rows_replace(p, &edited, warnings, err);
}

int compliance_row_change(struct compliance_config *c, const char *profile, const char *event, const char *packet, const json_t *fields, json_t *warnings, struct err *err)
{
    unsigned at;
    struct compliance_profile *p = NULL, edited = {0};
    if (profile_to_edit(c, profile, &p, err) != 0 || row_find(p, event, packet, &at, err) != 0) return -1;
    profile_copy(&edited, p);
    if (row_from_json(fields, &edited.rows[at], false, err) == 0) return rows_replace(p, &edited, warnings, err);
    profile_clear(&edited);
    return -1;
}

int compliance_row_delete(struct compliance_config *c, const char *profile, const char *event, const char *packet, struct err *err)
{
    unsigned at;
    struct compliance_profile *p = NULL;
    if (profile_to_edit(c, profile, &p, err) != 0 || row_find(p, event, packet, &at, err) != 0) return -1;
    array_remove(p->rows, &p->n_rows, at, sizeof(*p->rows));
    return 0;
}

int compliance_profile_move(struct compliance_config *c, const char *name, int by, struct err *err)
{
    const struct compliance_profile *p = compliance_profile_find(c, name);
    if (p == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", name);
    int64_t at = p - c->profiles, to = at + by, last = (int64_t)c->n_profiles - 1;
    if (to < 0) to = 0;
    if (to > last) to = last;
    for (int64_t step = to > at ? 1 : -1; at != to; at += step) {
        struct compliance_profile moved = c->profiles[at];
        c->profiles[at] = c->profiles[at + step];
        c->profiles[at + step] = moved;
    }
    return 0;
}

/* ---- assignments ---- */

static unsigned assignment_at(const struct compliance_config *c, const char *node, const char *server)
{
    unsigned i = 0;
    while (i < c->n_assignments && (strcasecmp(c->assignments[i].node, node) != 0 || strcasecmp(c->assignments[i].server, server) != 0)) i++;
    return i;
}

int compliance_reassign(struct compliance_config *c, const char *node, const char *server, const char *profile, struct err *err)
{
    unsigned at = assignment_at(c, node, server);
    if (at == c->n_assignments) return err_set(err, ERR_NOT_FOUND, "server \"%s\" is not assigned to node \"%s\"", server, node);
    if (compliance_profile_find(c, profile) == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", profile);
    for (unsigned i = 0; i < c->n_assignments; i++)
        if (strcasecmp(c->assignments[i].server, server) == 0) text_replace(&c->assignments[i].profile, profile);
    return 0;
}

static int other_profile_refuse(const struct compliance_config *c, const char *server, const char *profile, struct err *err)
{
    const struct compliance_assignment *other = assignment_of(c, server, NULL);
    if (other == NULL || strcmp(other->profile, profile) == 0) return 0;
    return err_set(err, ERR_CONFLICT, "server \"%s\" has the profile \"%s\" on node \"%s\": a compliance server has one profile", other->server, other->profile, other->node);
}

static void assignment_remove(struct compliance_config *c, unsigned at)
{
    struct compliance_assignment *a = &c->assignments[at];
    free(a->node);
    free(a->server);
    free(a->profile);
    free(a->component);
    array_remove(c->assignments, &c->n_assignments, at, sizeof(*a));
}

int compliance_assign(struct compliance_config *c, const char *node, const char *server, const char *profile, struct err *err)
{
    const struct compliance_server *s = compliance_server_find(c, server);
    if (s == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance server \"%s\"", server);
    if (compliance_profile_find(c, profile) == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", profile);
    unsigned at = assignment_at(c, node, server);
    if (at < c->n_assignments)
        return err_set(err, ERR_EXISTS, "server \"%s\" is assigned to node \"%s\" already, with profile \"%s\"", s->name, c->assignments[at].node, c->assignments[at].profile);
    if (other_profile_refuse(c, server, profile, err) != 0) return -1;
    struct compliance_assignment *a = config_add_assignment(c);
    *a = (struct compliance_assignment){x_strdup(node), x_strdup(s->name), x_strdup(profile), component_name(s->name, node)};
    if (compliance_config_check(c, err) == 0) return 0;
    assignment_remove(c, c->n_assignments - 1);
    return -1;
}

int compliance_unassign(struct compliance_config *c, const char *node, const char *server, struct err *err)
{
    unsigned at = assignment_at(c, node, server);
    if (at == c->n_assignments) return err_set(err, ERR_NOT_FOUND, "server \"%s\" is not assigned to node \"%s\"", server, node);
    assignment_remove(c, at);
    return 0;
}
