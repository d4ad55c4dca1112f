/* The compliance configuration as a whole: what it holds, and every rule it must keep. The rules are the spec's ("Compliance Profiles", "Configure
 * Third-Party Compliance Server") and the catalogue's ("Vocabulary"); each refusal says which, and what would be right.
 *
 * Arrays are small and edited by people, so they are searched from the front and grown one by one. */
#include "base/buf.h"
#include "broker/profile_private.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 128, LABEL_MAX = 63, HOST_MAX = 255, TEXT_MAX = 1024 };
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.\\-_"
#define TLS_NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_"
#define LABEL_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

/* ---- the whole ---- */

static void *grown(void *array, unsigned *n, size_t size)
{
    char *p = x_realloc(array, (*n + 1) * size);
    memset(p + *n * size, 0, size);
    (*n)++;
    return p;
}

struct compliance_server *config_add_server(struct compliance_config *c)
{
    c->servers = grown(c->servers, &c->n_servers, sizeof(*c->servers));
    return &c->servers[c->n_servers - 1];
}

struct compliance_profile *config_add_profile(struct compliance_config *c)
{
    c->profiles = grown(c->profiles, &c->n_profiles, sizeof(*c->profiles));
    return &c->profiles[c->n_profiles - 1];
}

struct compliance_assignment *config_add_assignment(struct compliance_config *c)
{
    c->assignments = grown(c->assignments, &c->n_assignments, sizeof(*c->assignments));
    return &c->assignments[c->n_assignments - 1];
}

void profile_add_row(struct compliance_profile *p, const struct profile_row *row)
{
    p->rows = grown(p->rows, &p->n_rows, sizeof(*p->rows));
    p->rows[p->n_rows - 1] = *row;
}

void profile_make_system(struct compliance_profile *p)
{
    p->name = x_strdup(SYSTEM_PROFILE);
    p->description = x_strdup("Logins, logouts, instant messages and chat rooms. Built in: it cannot be changed or deleted.");
    p->read_only = true;
    for (unsigned i = 0; i < EVENT_COUNT; i++) {
        enum event_system system = event_catalogue[i].system;
        struct profile_row row = {
            .event = (enum event_id)i, .packets = system == SYSTEM_BOUNCE_MESSAGES ? PACKET_MESSAGE : PACKET_ALL, .bounce = system != SYSTEM_PASS};
        if (system != SYSTEM_NO) profile_add_row(p, &row);
    }
}

void profile_clear(struct compliance_profile *p)
{
    free(p->name);
    free(p->description);
    free(p->rows);
    *p = (struct compliance_profile){0};
}

void server_clear(struct compliance_server *s)
{
    if (s->password != NULL) explicit_bzero(s->password, strlen(s->password));
    free(s->name);
    free(s->description);
    free(s->host);
    free(s->password);
    free(s->tls_ca);
    free(s->tls_name);
    free(s->tls_cert);
    free(s->tls_key);
    *s = (struct compliance_server){0};
}

static void assignment_clear(struct compliance_assignment *a)
{
    free(a->node);
    free(a->server);
    free(a->profile);
    free(a->component);
    *a = (struct compliance_assignment){0};
}

struct compliance_config *compliance_config_new(void)
{
    struct compliance_config *c = x_calloc(1, sizeof(*c));
    profile_make_system(config_add_profile(c));
    return c;
}

static char *copy_text(const char *s) { return s != NULL ? x_strdup(s) : NULL; }

void server_copy(struct compliance_server *to, const struct compliance_server *from)
{
    *to = *from;
    char **texts[] = {&to->name, &to->description, &to->host, &to->password, &to->tls_ca, &to->tls_name, &to->tls_cert, &to->tls_key};
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) *texts[i] = copy_text(*texts[i]);
}

void profile_copy(struct compliance_profile *to, const struct compliance_profile *from)
{
    *to = (struct compliance_profile){.name = copy_text(from->name), .description = copy_text(from->description), .read_only = from->read_only};
    for (unsigned i = 0; i < from->n_rows; i++) profile_add_row(to, &from->rows[i]);
}

struct compliance_config *compliance_config_copy(const struct compliance_config *c)
{
    struct compliance_config *copy = x_calloc(1, sizeof(*copy));
    copy->version = c->version;
    for (unsigned i = 0; i < c->n_servers; i++) server_copy(config_add_server(copy), &c->servers[i]);
    for (unsigned i = 0; i < c->n_profiles; i++) profile_copy(config_add_profile(copy), &c->profiles[i]);
    for (unsigned i = 0; i < c->n_assignments; i++) {
        const struct compliance_assignment *a = &c->assignments[i];
        *config_add_assignment(copy) =
            (struct compliance_assignment){copy_text(a->node), copy_text(a->server), copy_text(a->profile), copy_text(a->component)};
    }
    return copy;
}

void compliance_config_free(struct compliance_config *c)
{
    if (c == NULL) return;
    for (unsigned i = 0; i < c->n_servers; i++) server_clear(&c->servers[i]);
    for (unsigned i = 0; i < c->n_profiles; i++) profile_clear(&c->profiles[i]);
    for (unsigned i = 0; i < c->n_assignments; i++) assignment_clear(&c->assignments[i]);
    free(c->servers);
    free(c->profiles);
    free(c->assignments);
    free(c);
}

const struct compliance_server *compliance_server_find(const struct compliance_config *c, const char *name)
{
    for (unsigned i = 0; i < c->n_servers; i++)
        if (strcasecmp(c->servers[i].name, name) == 0) return &c->servers[i];
    return NULL;
}

const struct compliance_profile *compliance_profile_find(const struct compliance_config *c, const char *name)
{
    for (unsigned i = 0; i < c->n_profiles; i++)
        if (strcmp(c->profiles[i].name, name) == 0) return &c->profiles[i];
    return NULL;
}

char *component_name(const char *server, const char *node)
{
    struct buf b = {0};
    buf_addf(&b, "op-%s.%s", server, node);
    char *name = x_strdup(buf_cstr(&b));
    buf_free(&b);
    for (char *p = name; *p != '\0'; p++) *p = (char)tolower((unsigned char)*p);
    for (char *p = strchr(name, '.') + 1; *p != '\0'; p++)
        if (*p == '.') *p = '-';
    return name;
}

/* ---- rules of one server, one profile ---- */

static bool label_ok(const char *s, size_t n, size_t max)
{
    return n > 0 && n <= max && strspn(s, LABEL_CHARACTERS) >= n && s[0] != '-' && s[n - 1] != '-';
}

static int description_check(const char *what, const char *name, const char *description, struct err *err)
{
    if (description == NULL || strlen(description) <= TEXT_MAX) return 0;
    return err_set(err, ERR_INVALID, "%s \"%s\": the description is longer than %d bytes", what, name, TEXT_MAX);
}

static int dial_check(const struct compliance_server *s, struct err *err)
{
    if (s->direction != LINK_CONNECT) return 0;
    if (s->host == NULL || s->host[0] == '\0') return err_set(err, ERR_INVALID, "server \"%s\" has no host: direction connect needs a host name or IP address", s->name);
    if (s->port == 0) return err_set(err, ERR_INVALID, "server \"%s\" has no port: direction connect needs one from 1 to 65535", s->name);
    return 0;
}

static int tls_check(const struct compliance_server *s, struct err *err)
{
    if (s->tls_name != NULL && (strspn(s->tls_name, TLS_NAME_CHARACTERS) != strlen(s->tls_name) || strlen(s->tls_name) > HOST_MAX))
        return err_set(err, ERR_INVALID, "server \"%s\": tls_name is the host name or IP address that stands in the compliance server's certificate, not \"%.200s\"", s->name,
                       s->tls_name);
    if ((s->tls_cert == NULL) != (s->tls_key == NULL))
        return err_set(err, ERR_INVALID, "server \"%s\": tls_cert and tls_key belong together, and %s is missing", s->name, s->tls_cert == NULL ? "tls_cert" : "tls_key");
    if (s->tls_cert != NULL && s->direction == LINK_ACCEPT)
        return err_set(err, ERR_INVALID, "server \"%s\": tls_cert is for direction connect; with accept the node shows the certificate of its option tls.certificate", s->name);
    if (s->tls_name != NULL && s->tls_ca == NULL && s->direction == LINK_ACCEPT)
        return err_set(err, ERR_INVALID, "server \"%s\": with direction accept tls_name needs tls_ca: without it no certificate is asked of the server", s->name);
    return 0;
}

/* The bounds are those of the options these fields stand for. */
static int limits_check(const struct compliance_server *s, struct err *err)
{
    static const struct {
        const char *name;
        long long min, max;
    } options[] = {
#define OPTION(section, name, type, default, min, max, unit, help) {#section "." #name, min, max},
#include "tables/options.def"
#undef OPTION
    };
    static const char *const names[] = {"broker.link_outstanding", "broker.link_queue_bytes", "broker.answer_bytes"};
    const uint64_t values[] = {s->link_outstanding, s->link_queue_bytes, s->answer_bytes};
    for (unsigned i = 0, o; i < 3; i++) {
        for (o = 0; strcmp(options[o].name, names[i]) != 0;) o++;
        if (values[i] != 0 && (values[i] < (uint64_t)options[o].min || values[i] > (uint64_t)options[o].max))
            return err_set(err, ERR_INVALID, "server \"%s\": %s is a number from %lld to %lld, or 0: as the option %s says", s->name, strchr(names[i], '.') + 1, options[o].min,
                           options[o].max, names[i]);
    }
    return 0;
}

int server_check(const struct compliance_server *s, struct err *err)
{
    enum { SERVER_MAX = LABEL_MAX - 3 }; /* "op-" goes before it */
    if (!label_ok(s->name, strlen(s->name), SERVER_MAX))
        return err_set(err, ERR_INVALID, "\"%.80s\" is not a server name: it becomes part of a component name, so letters, digits and inner dashes, at most %d", s->name,
                       SERVER_MAX);
    if (s->host != NULL && (strspn(s->host, HOST_CHARACTERS) != strlen(s->host) || strlen(s->host) > HOST_MAX))
        return err_set(err, ERR_INVALID, "server \"%s\": a host may have letters, digits, period, backslash, dash and underscore, at most %d", s->name, HOST_MAX);
    if (s->password == NULL || s->password[0] == '\0') return err_set(err, ERR_INVALID, "server \"%s\" has no password: it must be the one configured there", s->name);
    if (strlen(s->password) > TEXT_MAX) return err_set(err, ERR_INVALID, "server \"%s\": the password is longer than %d bytes", s->name, TEXT_MAX);
    if (description_check("server", s->name, s->description, err) != 0) return -1;
    if (tls_check(s, err) != 0 || limits_check(s, err) != 0) return -1;
    return dial_check(s, err);
}

static int row_check(const struct compliance_profile *p, const struct profile_row *row, struct err *err)
{
    const struct event_row *event = &event_catalogue[row->event];
    bool known = packet_type_name(row->packets)[0] != '\0';
    if (row->shadow && row->fire_and_forget)
        return err_set(err, ERR_INVALID, "profile \"%s\": %s is both shadow and fire and forget: a shadow row hears the answer, and fire and forget has none; choose one",
                       p->name, event->name);
    if (known && (event->service == SERVICE_JSM || row->packets == PACKET_ALL)) return 0;
    return err_set(err, ERR_INVALID, "profile \"%s\": %s needs %s", p->name, event->name,
                   event->service == SERVICE_JSM ? "one packet type: iq, message, presence, subscription or all" : "no packet type, it is a TC event");
}

static int rows_clash(const struct compliance_profile *p, const struct profile_row *a, const struct profile_row *b, struct err *err)
{
    if (a->event != b->event || (a->packets & b->packets) == 0) return 0;
    const char *name = event_catalogue[a->event].name;
    if (event_catalogue[a->event].service == SERVICE_TC) return err_set(err, ERR_INVALID, "profile \"%s\": %s stands in it twice; once is possible", p->name, name);
    if (a->packets == b->packets)
        return err_set(err, ERR_INVALID, "profile \"%s\": %s with packet type %s stands in it twice; once is possible", p->name, name, packet_type_name(a->packets));
    return err_set(err, ERR_INVALID, "profile \"%s\": %s with packet type all includes all other packet types; remove it or those", p->name, name);
}

int profile_check(const struct compliance_profile *p, struct err *err)
{
    size_t n = strlen(p->name);
    if (n == 0 || n > NAME_MAX_BYTES) return err_set(err, ERR_INVALID, "a profile's name has 1 to %d letters and digits", NAME_MAX_BYTES);
    for (size_t i = 0; i < n; i++)
        if (!isascii((unsigned char)p->name[i]) || !isalnum((unsigned char)p->name[i]))
            return err_set(err, ERR_INVALID, "\"%s\" is not a profile name: only letters and digits are allowed, no spaces", p->name);
    if (description_check("profile", p->name, p->description, err) != 0) return -1;
    for (unsigned i = 0; i < p->n_rows; i++) {
        if (row_check(p, &p->rows[i], err) != 0) return -1;
        for (unsigned j = 0; j < i; j++)
            if (rows_clash(p, &p->rows[j], &p->rows[i], err) != 0) return -1;
    }
    return 0;
}

static bool alike(const struct profile_row *a, const struct profile_row *b)
{
    return a->event == b->event && a->bounce == b->bounce && a->fire_and_forget == b->fire_and_forget && a->shadow == b->shadow;
}

void profile_merge_rows(struct compliance_profile *p)
{
    for (unsigned i = 0; i < p->n_rows; i++) {
        unsigned mask = 0, count = 0;
        for (unsigned j = i; j < p->n_rows; j++) {
            if (!alike(&p->rows[i], &p->rows[j])) continue;
            mask |= p->rows[j].packets;
            count++;
        }
        if (mask != PACKET_ALL || count != 4) continue;
        unsigned kept = i + 1;
        for (unsigned j = i + 1; j < p->n_rows; j++)
            if (!alike(&p->rows[i], &p->rows[j])) p->rows[kept++] = p->rows[j];
        p->n_rows = kept;
        p->rows[i].packets = PACKET_ALL;
    }
}

/* ---- rules of the whole ---- */

static int assignment_check(const struct compliance_config *c, const struct compliance_assignment *a, struct err *err)
{
    if (compliance_server_find(c, a->server) == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance server \"%s\"", a->server);
    if (compliance_profile_find(c, a->profile) == NULL) return err_set(err, ERR_NOT_FOUND, "there is no compliance profile \"%s\"", a->profile);
    for (const char *p = a->node; *p != '\0' || p == a->node; p++) {
        size_t n = strcspn(p, ".");
        if (!label_ok(p, n, LABEL_MAX)) return err_set(err, ERR_INVALID, "\"%.255s\" is not a node: its fully qualified name is needed, as in node1.example.com", a->node);
        p += n;
        if (*p == '\0') break;
    }
    if (strlen(a->node) > LABEL_MAX)
        return err_set(err, ERR_INVALID, "node \"%.255s\": its name with dashes for dots is one label of a component name, at most %d characters", a->node, LABEL_MAX);
    return 0;
}

static int assignments_clash(const struct compliance_assignment *a, const struct compliance_assignment *b, struct err *err)
{
    bool same_server = strcasecmp(a->server, b->server) == 0;
    if (same_server && strcasecmp(a->node, b->node) == 0) return err_set(err, ERR_EXISTS, "server \"%s\" is assigned to node \"%s\" already", b->server, b->node);
    if (same_server && strcmp(a->profile, b->profile) != 0)
        return err_set(err, ERR_CONFLICT, "server \"%s\" has the profile \"%s\" on node \"%s\": a compliance server has one profile", b->server, a->profile, a->node);
    if (strcasecmp(a->component, b->component) == 0)
        return err_set(err, ERR_CONFLICT, "the component name %s would stand for server \"%s\" on node \"%s\" and for server \"%s\" on node \"%s\"", b->component, a->server,
                       a->node, b->server, b->node);
    return 0;
}

static int names_check(const struct compliance_config *c, struct err *err)
{
    for (unsigned i = 0; i < c->n_servers; i++) {
        if (server_check(&c->servers[i], err) != 0) return -1;
        if (compliance_server_find(c, c->servers[i].name) != &c->servers[i]) return err_set(err, ERR_EXISTS, "there are two compliance servers \"%s\"", c->servers[i].name);
    }
    for (unsigned i = 0; i < c->n_profiles; i++) {
        const struct compliance_profile *p = &c->profiles[i];
        if (profile_check(p, err) != 0) return -1;
        if (compliance_profile_find(c, p->name) != p) return err_set(err, ERR_EXISTS, "there are two compliance profiles \"%s\"", p->name);
        if (p->read_only != (strcmp(p->name, SYSTEM_PROFILE) == 0)) return err_set(err, ERR_INVALID, "only " SYSTEM_PROFILE " is read-only, and always");
    }
    if (compliance_profile_find(c, SYSTEM_PROFILE) == NULL) return err_set(err, ERR_INVALID, SYSTEM_PROFILE " is missing; it cannot be deleted");
    return 0;
}

int compliance_config_check(const struct compliance_config *c, struct err *err)
{
    if (names_check(c, err) != 0) return -1;
    for (unsigned i = 0; i < c->n_assignments; i++) {
        if (assignment_check(c, &c->assignments[i], err) != 0) return -1;
        for (unsigned j = 0; j < i; j++)
            if (assignments_clash(&c->assignments[j], &c->assignments[i], err) != 0) return -1;
    }
    return 0;
}
