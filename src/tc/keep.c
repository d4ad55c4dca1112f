/* Rooms in the store. The configuration is one JSON document, a field per member that is not as every room has it. */
#include "tc/keep.h"
#include "base/log.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- the configuration as JSON ---- */
struct field {
    const char *name;
    enum { FIELD_BOOL, FIELD_NUMBER, FIELD_TEXT } type;
    size_t at;
};
#define FIELD(type, member) {#member, FIELD_##type, offsetof(struct room_config, member)}
static const struct field fields[] = {
    FIELD(TEXT, name),
    FIELD(TEXT, description),
    FIELD(TEXT, lang),
    FIELD(TEXT, password),
    FIELD(TEXT, maker),
    FIELD(BOOL, persistent),
    FIELD(BOOL, public),
    FIELD(BOOL, members_only),
    FIELD(BOOL, moderated),
    FIELD(BOOL, logged),
    FIELD(BOOL, password_protected),
    FIELD(BOOL, change_subject),
    FIELD(BOOL, allow_invites),
    FIELD(NUMBER, whois),
    FIELD(NUMBER, private_messages),
    FIELD(NUMBER, presence_of),
    FIELD(NUMBER, member_list),
    FIELD(NUMBER, max_occupants),
    FIELD(NUMBER, history),
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };
_Static_assert(sizeof(enum room_whois) == sizeof(unsigned), "whois is read as a number");

static void *member(const struct room_config *c, const struct field *f) { return (char *)(uintptr_t)c + f->at; }

static char *config_json(const struct room_config *c)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        json_t *v = NULL;
        if (f->type == FIELD_BOOL) v = json_boolean(*(bool *)member(c, f));
        if (f->type == FIELD_NUMBER) v = json_integer(*(unsigned *)member(c, f));
        if (f->type == FIELD_TEXT && *(char **)member(c, f) != NULL) v = json_string(*(char **)member(c, f));
        if (v != NULL) json_object_set_new(o, f->name, v);
    }
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static int read_field(struct room_config *c, const struct field *f, const json_t *v, struct err *err)
{
    if (v == NULL) return 0;
    if (f->type == FIELD_BOOL && json_is_boolean(v)) {
        *(bool *)member(c, f) = json_is_true(v);
    } else if (f->type == FIELD_NUMBER && json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= UINT32_MAX) {
        *(unsigned *)member(c, f) = (unsigned)json_integer_value(v);
        if (c->whois > WHOIS_NOBODY) return err_set(err, ERR_INVALID, "\"whois\" is none of those there are");
    } else if (f->type == FIELD_TEXT && json_is_string(v)) {
        char **text = member(c, f);
        free(*text);
        *text = x_strdup(json_string_value(v));
    } else {
        return err_set(err, ERR_INVALID, "\"%s\" is of the wrong type", f->name);
    }
    return 0;
}

int keep_config_read(struct room_config *c, struct str json, struct err *err)
{
    json_error_t problem;
    json_t *o = json_loadb(json.p, json.n, 0, &problem);
    room_config_clear(c);
    room_config_default(c);
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(err, ERR_INVALID, "the configuration is no JSON object: %s", problem.text);
    }
    int rc = 0;
    for (unsigned i = 0; i < FIELDS && rc == 0; i++) rc = read_field(c, &fields[i], json_object_get(o, fields[i].name), err);
    json_decref(o);
    return rc;
}

/* ---- reading ---- */
static int fill_affiliated(struct room *r, const struct store_affiliated *a, struct arena *arena, struct err *err)
{
    struct jid jid;
    int affiliation = affiliation_by_name(a->affiliation);
    if (affiliation < 0) return err_set(err, ERR_INVALID, "'" STR_FMT "' is no affiliation", STR_ARG(a->affiliation));
    if (jid_parse(arena, a->jid, &jid, err) != 0) return -1;
    if (affiliation != AFFILIATION_NONE) room_set_affiliation(r, &jid, (enum affiliation)affiliation, a->reason);
    if (a->nick.p != NULL) room_set_nick(r, &jid, a->nick);
    return 0;
}

static int fill(struct room *r, const struct store_room *data, struct arena *arena, struct err *err)
{
    if (keep_config_read(&r->config, data->fields.config, err) != 0) return -1;
    memcpy(r->secret, data->fields.secret, sizeof(r->secret));
    r->created_wall_ms = data->fields.created_ms;
    r->subject_wall_ms = data->fields.subject_ms;
    if (data->fields.vcard.p != NULL) r->vcard = str_dup(data->fields.vcard);
    if (data->fields.subject.p != NULL && (r->subject = stanza_from_text(data->fields.subject, err)) == NULL) return err_prefix(err, "its subject");
    for (size_t i = 0; i < data->n_affiliated; i++)
        if (fill_affiliated(r, &data->affiliated[i], arena, err) != 0) return -1;
    for (size_t i = 0; i < data->n_past; i++) {
        struct past *p = x_calloc(1, sizeof(*p));
        p->wall_ms = data->past[i].wall_ms;
        p->stanza = stanza_from_text(data->past[i].stanza, err);
        if (p->stanza == NULL) {
            free(p);
            return err_prefix(err, "a message of its history");
        }
        p->stanza->sid = data->past[i].sid;
        list_push_back(&r->history, &p->node);
        r->n_history++;
    }
    return 0;
}

int keep_fill(struct room *r, const struct store_room *data)
{
    struct err err;
    struct arena *arena = arena_new(0);
    int rc = fill(r, data, arena, &err);
    arena_free(arena);
    if (rc != 0) log_error("tc", "room '%s' cannot be read from the store: %s", r->jid.full.p, err.text);
    return rc;
}

/* ---- writing ---- */
static void add_fields(struct store_room_batch *b, const struct room *r)
{
    struct buf subject = {0};
    char *config = config_json(&r->config);
    struct store_room_fields f = {.config = str_of(config), .created_ms = r->created_wall_ms, .subject_ms = r->subject_wall_ms};
    memcpy(f.secret, r->secret, sizeof(f.secret));
    if (r->subject != NULL) {
        stanza_write(&subject, r->subject, NS_CLIENT);
        f.subject = buf_str(&subject);
    }
    f.vcard = str_of(r->vcard);
    store_room_batch_set(b, &f);
    buf_free(&subject);
    explicit_bzero(config, strlen(config));
    free(config);
}

static void add_affiliated(struct store_room_batch *b, struct str bare, const struct affiliated *a)
{
    struct store_affiliated row = {.jid = bare, .affiliation = STR("none")};
    if (a != NULL) row = (struct store_affiliated){bare, str_of(affiliation_name(a->affiliation)), str_of(a->nick), str_of(a->reason)};
    store_room_batch_affiliated(b, &row);
}

void keep_room(struct request *r)
{
    if (r->room->config.persistent) add_fields(request_store(r), r->room);
}

void keep_less_history(struct request *r)
{
    const struct room *room = r->room;
    unsigned over = room->n_history > room->config.history ? room->n_history - room->config.history : 0;
    const struct list *node = room->history.next;
    for (; over > 0; over--, node = node->next) store_room_batch_past_delete(request_store(r), CONTAINER_OF(node, struct past, node)->stanza->sid);
}

void keep_everything(struct request *r)
{
    struct store_room_batch *b = request_store(r);
    size_t it = 0;
    struct str key;
    void *value;
    add_fields(b, r->room);
    while (map_next(&r->room->affiliated, &it, &key, &value)) add_affiliated(b, key, value);
    LIST_EACH(node, &r->room->history)
    {
        const struct past *p = CONTAINER_OF(node, struct past, node);
        store_room_batch_past_add(b, p->stanza, p->wall_ms, r->room->config.history);
    }
}

void keep_affiliated(struct request *r, struct str bare)
{
    if (r->room->config.persistent) add_affiliated(request_store(r), bare, room_affiliated(r->room, bare));
}

void keep_nothing(struct request *r) { store_room_batch_delete(request_store(r)); }

/* ---- beside ---- */
static void beside_done(void *arg, const struct err *err)
{
    struct parcel *cause = arg;
    if (err != NULL) log_error("tc", "room '" STR_FMT "': a message could not be stored: %s", STR_ARG(cause->stanza->to.bare), err->text);
    parcel_unref(cause);
}

static void commit_beside(struct request *r, struct store_room_batch *b) { store_room_batch_commit(b, beside_done, parcel_ref(r->parcel)); }

void keep_subject(struct request *r)
{
    if (!r->room->config.persistent) return;
    struct store_room_batch *b = store_room_batch_new(r->room->jid.bare);
    add_fields(b, r->room);
    commit_beside(r, b);
}

void keep_message(struct request *r, const struct stanza *message, uint64_t wall_ms)
{
    if (!r->room->config.persistent || r->room->config.history == 0 || stanza_child(message, "body", NS_CLIENT) == NULL) return;
    struct store_room_batch *b = store_room_batch_new(r->room->jid.bare);
    store_room_batch_past_add(b, message, wall_ms, r->room->config.history);
    commit_beside(r, b);
}

void keep_no_message(struct request *r, uint64_t sid)
{
    if (!r->room->config.persistent) return;
    struct store_room_batch *b = store_room_batch_new(r->room->jid.bare);
    store_room_batch_past_delete(b, sid);
    commit_beside(r, b);
}
