/* Chat rooms in the admin API. Reading visits the room on its worker; changing it is an order that goes through the room, with the events of an
 * owner's request, so that compliance servers see what an administrator does. */
#include "admin/private.h"
#include "router/route.h"
#include "tc/config.h"
#include "tc/directory.h"
#include "tc/service.h"
#include "xml/writer.h"
#include <stdio.h>
#include <string.h>

static int room_of_path(struct request *rq, struct jid *room, struct err *err)
{
    if (request_jid(rq, rq->parts[0], false, room, err) != 0) return -1;
    return room_address_check(room, err) ? 0 : -1;
}

static json_t *text_of(struct str s) { return json_stringn(s.p != NULL ? s.p : "", s.n); }

/* ---- reading ---- */
static int room_list(struct request *rq, struct err *err)
{
    (void)err;
    const char *wanted = rq->query(rq, "domain"), *domain;
    json_t *list = json_array();
    for (unsigned d = 0; (domain = router_domain(d)) != NULL; d++) {
        struct directory_entry *rooms;
        if (!router_domain_of_rooms(str_of(domain)) || (wanted != NULL && strcmp(wanted, domain) != 0)) continue;
        size_t n = directory_list(rq->arena, str_of(domain), false, &rooms);
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list,
                                  json_pack("{s:o, s:o, s:i, s:b, s:b}", "room", text_of(rooms[i].room), "name", text_of(rooms[i].name), "occupants",
                                            (int)rooms[i].occupants, "public", rooms[i].public, "persistent", rooms[i].persistent));
    }
    rq->out = json_pack("{s:o}", "rooms", list);
    return 0;
}

static json_t *value_json(const struct form_field *field, const struct form_value *value)
{
    if (field->type == FIELD_BOOLEAN) return json_boolean(str_is(form_first(value), "1"));
    bool many = field->type == FIELD_LIST_MULTI || field->type == FIELD_JID_MULTI;
    if (!many) return text_of(form_first(value));
    json_t *list = json_array();
    for (unsigned i = 0; i < value->n; i++) json_array_append_new(list, text_of(value->values[i]));
    return list;
}

static void show(void *arg, const struct room *r)
{
    struct request *rq = arg;
    struct form_value values[FORM_FIELDS_MAX];
    json_t *config = json_object();
    config_values(r, rq->arena, values);
    for (unsigned i = 0; i < config_n_fields; i++)
        if (config_field(i)->type != FIELD_TEXT_PRIVATE) json_object_set_new(config, config_short_name(i), value_json(config_field(i), &values[i]));
    json_object_set_new(config, "password_set", json_boolean(r->config.password != NULL));
    rq->out =
        json_pack("{s:o, s:s, s:i, s:i, s:i, s:o}", "room", text_of(r->jid.full), "state", r->state == ROOM_LOCKED ? "locked" : "open", "occupants",
                  (int)room_occupants(r), "affiliations", (int)r->affiliated.count, "history", (int)r->n_history, "config", config);
    json_stamp(rq->out, "created", r->created_wall_ms);
}

static int room_show(struct request *rq, struct err *err)
{
    struct jid room;
    if (room_of_path(rq, &room, err) != 0) return -1;
    return room_visit(&room, show, rq, err);
}

static void occupants(void *arg, const struct room *r)
{
    struct request *rq = arg;
    json_t *list = json_array();
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->occupants, &it, &key, &value)) {
        const struct occupant *o = value;
        json_t *sessions = json_array();
        LIST_EACH(node, &o->attendees) json_array_append_new(sessions, text_of(CONTAINER_OF(node, struct attendee, node)->full.full));
        json_array_append_new(list, json_pack("{s:o, s:o, s:s, s:s, s:o}", "nick", text_of(o->jid.resource), "user", text_of(o->user.full), "role",
                                              role_name(o->role), "affiliation", affiliation_name(room_affiliation(r, o->user.bare)), "sessions",
                                              sessions));
    }
    rq->out = json_pack("{s:o}", "occupants", list);
}

static int room_occupant_list(struct request *rq, struct err *err)
{
    struct jid room;
    if (room_of_path(rq, &room, err) != 0) return -1;
    return room_visit(&room, occupants, rq, err);
}

static void affiliations(void *arg, const struct room *r)
{
    struct request *rq = arg;
    json_t *list = json_array();
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->affiliated, &it, &key, &value)) {
        const struct affiliated *a = value;
        json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:s}", "jid", text_of(key), "affiliation", affiliation_name(a->affiliation), "nick",
                                              a->nick != NULL ? a->nick : "", "reason", a->reason != NULL ? a->reason : ""));
    }
    rq->out = json_pack("{s:o}", "affiliations", list);
}

static int room_affiliation_list(struct request *rq, struct err *err)
{
    struct jid room;
    if (room_of_path(rq, &room, err) != 0) return -1;
    return room_visit(&room, affiliations, rq, err);
}

/* ---- changing ---- */
#define OWNERS "roomowners"

static int field_by_name(const char *name)
{
    for (unsigned i = 0; i < config_n_fields; i++)
        if (strcmp(config_short_name(i), name) == 0 || strcmp(config_field(i)->var, name) == 0) return (int)i;
    return -1;
}

static void add_value(struct buf *b, struct str value)
{
    buf_adds(b, "<value>");
    xml_add_text(b, value);
    buf_adds(b, "</value>");
}

/* Of a field with several values, a text has them separated by commas. */
static void add_text(struct buf *b, const struct form_field *field, const char *text)
{
    bool many = field->type == FIELD_LIST_MULTI || field->type == FIELD_JID_MULTI;
    if (field->type == FIELD_BOOLEAN && (strcmp(text, "yes") == 0 || strcmp(text, "on") == 0)) text = "1";
    if (field->type == FIELD_BOOLEAN && (strcmp(text, "no") == 0 || strcmp(text, "off") == 0)) text = "0";
    while (many && *text != '\0') {
        size_t n = strcspn(text, ",");
        if (n > 0) add_value(b, (struct str){text, n});
        text += n;
        text += *text == ',';
    }
    if (!many) add_value(b, str_of(text));
}

static int add_json(struct buf *b, const struct form_field *field, const json_t *value, struct err *err)
{
    size_t i;
    json_t *one;
    if (json_is_boolean(value)) {
        add_value(b, json_is_true(value) ? STR("1") : STR("0"));
    } else if (json_is_integer(value)) {
        char text[32];
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        add_value(b, str_of(text));
    } else if (json_is_string(value) && xml_text_ok(str_of(json_string_value(value)))) {
        add_text(b, field, json_string_value(value));
    } else if (json_is_array(value)) {
        json_array_foreach (value, i, one) {
            if (!json_is_string(one) || !xml_text_ok(str_of(json_string_value(one))))
                return err_set(err, ERR_INVALID, "\"%s\" is a list of texts", field->var);
            add_value(b, str_of(json_string_value(one)));
        }
    } else {
        return err_set(err, ERR_INVALID, "\"%s\" is a text, a number, true or false, or a list of texts", field->var);
    }
    return 0;
}

static int no_such_setting(const char *name, struct err *err)
{
    struct buf names = {0};
    for (unsigned i = 0; i < config_n_fields; i++) buf_addf(&names, "%s%s", i > 0 ? ", " : "", config_short_name(i));
    err_set(err, ERR_INVALID, "a room has no setting \"%.60s\"; it has %s", name, buf_cstr(&names));
    buf_free(&names);
    return -1;
}

static int write_field(struct buf *b, const char *name, const json_t *value, const char *owner, struct err *err)
{
    int i = field_by_name(name);
    if (i < 0) return no_such_setting(name, err);
    const struct form_field *field = config_field((unsigned)i);
    buf_addf(b, "<field var='%s'>", field->var);
    if (owner != NULL && strcmp(config_short_name((unsigned)i), OWNERS) == 0) add_value(b, str_of(owner));
    if (add_json(b, field, value, err) != 0) return -1;
    buf_adds(b, "</field>");
    return 0;
}

/* The form of a muc#owner query; owner: the first of the list of owners, or NULL, when the form says what it says. */
static int write_form(struct buf *b, const json_t *config, const char *owner, struct err *err)
{
    const char *name;
    json_t *value;
    bool owned = owner == NULL;
    if (config != NULL && !json_is_object(config)) return err_set(err, ERR_INVALID, "\"config\" is an object: {\"membersonly\": true}");
    buf_adds(b, "<query xmlns='" NS_MUC_OWNER "'><x xmlns='" NS_DATA "' type='submit'>");
    json_object_foreach ((json_t *)config, name, value) {
        if (write_field(b, name, value, owner, err) != 0) return -1;
        owned = owned || strcmp(strrchr(name, '_') != NULL ? strrchr(name, '_') + 1 : name, OWNERS) == 0;
    }
    if (!owned) {
        json_t *none = json_array();
        int rc = write_field(b, OWNERS, none, owner, err);
        json_decref(none);
        if (rc != 0) return rc;
    }
    buf_adds(b, "</x></query>");
    return 0;
}

static void wipe(struct buf *b) /* it may hold a password */
{
    if (b->data != NULL) explicit_bzero(b->data, b->cap);
    buf_free(b);
}

static int room_configure(struct request *rq, struct err *err)
{
    struct jid room;
    struct buf b = {0};
    const json_t *config = json_object_get(rq->body, "config");
    if (room_of_path(rq, &room, err) != 0) return -1;
    int rc = config != NULL ? write_form(&b, config, NULL, err)
                            : err_set(err, ERR_INVALID, "\"config\" is missing: an object, as {\"membersonly\": true}");
    if (rc == 0) rc = room_order(ORDER_CONFIGURE, &room, buf_str(&b), err);
    wipe(&b);
    return rc;
}

static void write_item(struct buf *b, const char *jid, const char *affiliation, const char *reason)
{
    buf_adds(b, "<query xmlns='" NS_MUC_ADMIN "'><item");
    xml_add_attr(b, "jid", str_of(jid));
    xml_add_attr(b, "affiliation", str_of(affiliation));
    buf_adds(b, ">");
    if (reason != NULL && xml_text_ok(str_of(reason))) {
        buf_adds(b, "<reason>");
        xml_add_text(b, str_of(reason));
        buf_adds(b, "</reason>");
    }
    buf_adds(b, "</item></query>");
}

static int room_make(struct request *rq, struct err *err)
{
    struct jid room, owner;
    const char *name = body_text(rq, "room", err), *who = name != NULL ? body_text(rq, "owner", err) : NULL;
    if (who == NULL || request_jid(rq, name, false, &room, err) != 0 || !room_address_check(&room, err)) return -1;
    if (request_jid(rq, who, true, &owner, err) != 0) return err_prefix(err, "owner");
    struct buf b = {0};
    int rc = write_form(&b, json_object_get(rq->body, "config"), owner.full.p, err);
    if (rc == 0) rc = room_order(ORDER_CREATE, &room, buf_str(&b), err);
    wipe(&b);
    return rc;
}

static int room_people(struct request *rq, struct err *err)
{
    struct jid room, who;
    if (room_of_path(rq, &room, err) != 0) return -1;
    const char *jid = body_text(rq, "jid", err), *affiliation = jid != NULL ? body_text(rq, "affiliation", err) : NULL;
    if (affiliation == NULL || request_jid(rq, jid, false, &who, err) != 0) return -1;
    if (affiliation_by_name(str_of(affiliation)) < 0)
        return err_set(err, ERR_INVALID, "\"%.60s\" is no affiliation: owner, admin, member, none or outcast", affiliation);
    struct buf b = {0};
    write_item(&b, arena_printf(rq->arena, STR_FMT, STR_ARG(who.bare)), affiliation, json_string_value(json_object_get(rq->body, "reason")));
    int rc = room_order(ORDER_PEOPLE, &room, buf_str(&b), err);
    buf_free(&b);
    return rc;
}

static int room_destroy_it(struct request *rq, struct err *err)
{
    struct jid room;
    const char *reason = rq->query(rq, "reason"), *alternate = rq->query(rq, "alternate");
    struct buf b = {0};
    if (room_of_path(rq, &room, err) != 0) return -1;
    if ((reason != NULL && !xml_text_ok(str_of(reason))) || (alternate != NULL && !xml_text_ok(str_of(alternate))))
        return err_set(err, ERR_INVALID, "the reason and the alternate room are UTF-8 text");
    buf_adds(&b, "<query xmlns='" NS_MUC_OWNER "'><destroy");
    xml_add_attr(&b, "jid", str_of(alternate));
    buf_adds(&b, ">");
    if (reason != NULL) {
        buf_adds(&b, "<reason>");
        xml_add_text(&b, str_of(reason));
        buf_adds(&b, "</reason>");
    }
    buf_adds(&b, "</destroy></query>");
    int rc = room_order(ORDER_DESTROY, &room, buf_str(&b), err);
    buf_free(&b);
    return rc;
}

const struct route room_routes[] = {
    {"GET", "/v1/rooms", room_list},
    {"POST", "/v1/rooms", room_make},
    {"GET", "/v1/rooms/*", room_show},
    {"PATCH", "/v1/rooms/*", room_configure},
    {"DELETE", "/v1/rooms/*", room_destroy_it},
    {"GET", "/v1/rooms/*/occupants", room_occupant_list},
    {"GET", "/v1/rooms/*/affiliations", room_affiliation_list},
    {"PUT", "/v1/rooms/*/affiliations", room_people},
    {NULL, NULL, NULL},
};
