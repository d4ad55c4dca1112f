/* The configuration form. One table has the fields; reading and writing each go through the same switch-like list, so a field is added with a row and
 * its two cases. */
#include "tc/config.h"
#include <stdio.h>
#include <stdlib.h>

enum field_id {
#define ROOM_FIELD(id, var, type, label) CONFIG_##id,
#include "tables/room_config.def"
#undef ROOM_FIELD
    CONFIG_FIELDS
};
_Static_assert(CONFIG_FIELDS <= FORM_FIELDS_MAX, "the form has room for all fields");
enum { NAME_BYTES = 256, TEXT_BYTES = 4096, PEOPLE_MAX = 1000 };

static const struct form_option whois_options[] = {{"Moderators", "moderators"}, {"Anyone", "anyone"}, {"Nobody", "none"}, {NULL, NULL}};
static const char *const whois_values[] = {[WHOIS_MODERATORS] = "moderators", [WHOIS_ANYONE] = "anyone", [WHOIS_NOBODY] = "none"};
static const struct form_option pm_options[] = {
    {"Anyone", "anyone"}, {"Those with voice", "participants"}, {"Moderators", "moderators"}, {"Nobody", "none"}, {NULL, NULL}};
static const struct form_option role_options[] = {
    {"Moderators", "moderator"}, {"Participants", "participant"}, {"Visitors", "visitor"}, {NULL, NULL}};
static const unsigned most_proposed[] = {10, 20, 50, 100, 200, 500, 1000};
enum { MOST_PROPOSED = sizeof(most_proposed) / sizeof(most_proposed[0]) };
static const struct form_option *const options_of[CONFIG_FIELDS] = {
    [CONFIG_WHOIS] = whois_options,       [CONFIG_ALLOW_PM] = pm_options,         [CONFIG_PRESENCE_OF] = role_options,
    [CONFIG_MEMBER_LIST] = role_options,
};
static const struct form_field plain_fields[CONFIG_FIELDS] = {
#define ROOM_FIELD(id, var, type, label) {var, FIELD_##type, label, false, NULL},
#include "tables/room_config.def"
#undef ROOM_FIELD
};

/* XEP-0045 has a list of numbers here, but any number will do: those are offered that the service allows, and the one that is set. */
static const struct form_option *most_options(struct arena *a, unsigned now)
{
    struct form_option *options = arena_zalloc(a, (MOST_PROPOSED + 3) * sizeof(*options));
    unsigned n = 0;
    bool listed = now == 0;
    for (unsigned i = 0; i < MOST_PROPOSED && most_proposed[i] <= (unsigned)tc_settings->tc_max_occupants; i++) {
        options[n].label = options[n].value = arena_printf(a, "%u", most_proposed[i]);
        listed = listed || most_proposed[i] == now;
        n++;
    }
    if (!listed) options[n].label = options[n].value = arena_printf(a, "%u", now), n++;
    options[n] = (struct form_option){"As many as the service allows", "none"};
    return options;
}

/* most: what is offered as the number of occupants; NULL, to read: anything. */
static const struct form *the_form(struct arena *a, const struct form_option *most)
{
    struct form_field *fields = arena_alloc(a, sizeof(plain_fields));
    memcpy(fields, plain_fields, sizeof(plain_fields));
    for (unsigned i = 0; i < CONFIG_FIELDS; i++) fields[i].options = options_of[i];
    fields[CONFIG_MAX_OCCUPANTS].options = most;
    struct form *form = arena_alloc(a, sizeof(*form));
    *form = (struct form){NS_MUC "#roomconfig", "Configuration of the room", NULL, fields, CONFIG_FIELDS};
    return form;
}

/* ---- masks of roles ---- */
#define ROLE_BIT(role) (1u << (role))
static const struct {
    const char *name;
    unsigned mask;
} pm_masks[] = {
    {"anyone", ROLE_BIT(ROLE_VISITOR) | ROLE_BIT(ROLE_PARTICIPANT) | ROLE_BIT(ROLE_MODERATOR)},
    {"participants", ROLE_BIT(ROLE_PARTICIPANT) | ROLE_BIT(ROLE_MODERATOR)},
    {"moderators", ROLE_BIT(ROLE_MODERATOR)},
    {"none", 0},
};
enum { PM_MASKS = sizeof(pm_masks) / sizeof(pm_masks[0]) };

/* ---- writing ---- */
struct writer {
    struct arena *a;
    struct form_value values[FORM_FIELDS_MAX];
};

static void put(struct writer *w, enum field_id id, struct str value)
{
    struct str *one = arena_alloc(w->a, sizeof(*one));
    *one = value;
    w->values[id] = (struct form_value){one, value.p != NULL};
}

static void put_bool(struct writer *w, enum field_id id, bool value) { put(w, id, value ? STR("1") : STR("0")); }

static void put_roles(struct writer *w, enum field_id id, unsigned mask)
{
    struct str *names = arena_alloc(w->a, ROLES * sizeof(*names));
    unsigned n = 0;
    for (unsigned role = ROLE_VISITOR; role < ROLES; role++)
        if (mask & ROLE_BIT(role)) names[n++] = str_of(role_name((enum role)role));
    w->values[id] = (struct form_value){names, n};
}

static void put_people(struct writer *w, enum field_id id, const struct room *r, enum affiliation affiliation)
{
    struct str *jids = arena_alloc(w->a, (r->affiliated.count + 1) * sizeof(*jids));
    unsigned n = 0;
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->affiliated, &it, &key, &value))
        if (((const struct affiliated *)value)->affiliation == affiliation) jids[n++] = key;
    w->values[id] = (struct form_value){jids, n};
}

const unsigned config_n_fields = CONFIG_FIELDS;

const struct form_field *config_field(unsigned i) { return &plain_fields[i]; }

const char *config_short_name(unsigned i)
{
    const char *var = plain_fields[i].var, *mark = strchr(var, '#') + 1;
    const char *underscore = strchr(mark, '_');
    return underscore != NULL ? underscore + 1 : mark;
}

/* The password is never shown, not even to the owner who set it. */
void config_values(const struct room *r, struct arena *a, struct form_value values[FORM_FIELDS_MAX])
{
    const struct room_config *c = &r->config;
    struct writer *w = arena_zalloc(a, sizeof(*w));
    w->a = a;
    put(w, CONFIG_NAME, str_of(c->name));
    put(w, CONFIG_DESCRIPTION, str_of(c->description));
    put(w, CONFIG_LANG, str_of(c->lang));
    put_bool(w, CONFIG_PERSISTENT, c->persistent);
    put_bool(w, CONFIG_PUBLIC, c->public);
    put_bool(w, CONFIG_MEMBERS_ONLY, c->members_only);
    put_bool(w, CONFIG_MODERATED, c->moderated);
    put_bool(w, CONFIG_LOGGED, c->logged);
    put_bool(w, CONFIG_PASSWORD_PROTECTED, c->password_protected);
    put(w, CONFIG_WHOIS, str_of(whois_values[c->whois]));
    put_bool(w, CONFIG_CHANGE_SUBJECT, c->change_subject);
    put_bool(w, CONFIG_ALLOW_INVITES, c->allow_invites);
    for (unsigned i = 0; i < PM_MASKS; i++)
        if (pm_masks[i].mask == c->private_messages) put(w, CONFIG_ALLOW_PM, str_of(pm_masks[i].name));
    put_roles(w, CONFIG_PRESENCE_OF, c->presence_of);
    put_roles(w, CONFIG_MEMBER_LIST, c->member_list);
    put(w, CONFIG_MAX_OCCUPANTS, c->max_occupants == 0 ? STR("none") : str_of(arena_printf(a, "%u", c->max_occupants)));
    put(w, CONFIG_HISTORY, str_of(arena_printf(a, "%u", c->history)));
    put_people(w, CONFIG_ADMINS, r, AFFILIATION_ADMIN);
    put_people(w, CONFIG_OWNERS, r, AFFILIATION_OWNER);
    memcpy(values, w->values, sizeof(w->values));
}

void config_write_form(struct buf *b, const struct room *r, struct arena *a)
{
    struct form_value values[FORM_FIELDS_MAX];
    config_values(r, a, values);
    form_write(b, the_form(a, most_options(a, r->config.max_occupants)), values);
}

/* ---- reading ---- */
struct reader {
    struct arena *a;
    const struct form_value *values;
    const char *text; /* what is wrong */
};

static bool said(const struct reader *rd, enum field_id id) { return rd->values[id].values != NULL; }

static void get_bool(struct reader *rd, enum field_id id, bool *out)
{
    struct str v = form_first(&rd->values[id]);
    if (v.n > 0) *out = str_is(v, "1") || str_is(v, "true");
}

static void get_text(struct reader *rd, enum field_id id, size_t most, char **out)
{
    if (!said(rd, id)) return;
    struct str v = form_first(&rd->values[id]);
    if (v.n > most) {
        rd->text = arena_printf(rd->a, "The field '%s' may have %zu bytes.", plain_fields[id].var, most);
        return;
    }
    free(*out);
    *out = v.n > 0 ? str_dup(v) : NULL;
}

static void get_roles(struct reader *rd, enum field_id id, unsigned *mask)
{
    if (!said(rd, id)) return;
    *mask = 0;
    for (unsigned i = 0; i < rd->values[id].n; i++) {
        int role = role_by_name(rd->values[id].values[i]);
        if (role > 0) *mask |= ROLE_BIT((unsigned)role);
    }
}

static void get_number(struct reader *rd, enum field_id id, unsigned most, unsigned *out)
{
    struct str v = form_first(&rd->values[id]);
    if (v.n == 0) return;
    unsigned value = 0;
    bool good = v.n <= 6;
    for (size_t i = 0; i < v.n && good; i++) {
        good = v.p[i] >= '0' && v.p[i] <= '9';
        value = value * 10 + (unsigned)(v.p[i] - '0');
    }
    if (good && value <= most)
        *out = value;
    else
        rd->text = arena_printf(rd->a, "The field '%s' is a number of at most %u.", plain_fields[id].var, most);
}

static void get_people(struct reader *rd, enum field_id id, struct room_people *out)
{
    if (!said(rd, id)) return;
    const struct form_value *v = &rd->values[id];
    if (v->n > PEOPLE_MAX) {
        rd->text = arena_printf(rd->a, "The field '%s' may have %d addresses.", plain_fields[id].var, PEOPLE_MAX);
        return;
    }
    struct jid *jids = arena_zalloc(rd->a, (v->n + 1) * sizeof(*jids));
    for (unsigned i = 0; i < v->n; i++) {
        struct err err;
        if (v->values[i].n == 0) continue;
        if (jid_parse(rd->a, v->values[i], &jids[out->n], &err) != 0) {
            rd->text = arena_printf(rd->a, "The field '%s' has '" STR_FMT "', which is no address.", plain_fields[id].var, STR_ARG(v->values[i]));
            return;
        }
        jids[out->n] = jid_to_bare(rd->a, &jids[out->n]);
        out->n++;
    }
    out->set = true;
    out->jids = jids;
}

static void get_choices(struct reader *rd, struct room_config *c)
{
    struct str whois = form_first(&rd->values[CONFIG_WHOIS]), pm = form_first(&rd->values[CONFIG_ALLOW_PM]);
    struct str most = form_first(&rd->values[CONFIG_MAX_OCCUPANTS]);
    for (unsigned i = 0; i < sizeof(whois_values) / sizeof(whois_values[0]); i++)
        if (str_is(whois, whois_values[i])) c->whois = (enum room_whois)i;
    for (unsigned i = 0; i < PM_MASKS; i++)
        if (str_is(pm, pm_masks[i].name)) c->private_messages = pm_masks[i].mask;
    if (str_is(most, "none"))
        c->max_occupants = 0;
    else
        get_number(rd, CONFIG_MAX_OCCUPANTS, (unsigned)tc_settings->tc_max_occupants, &c->max_occupants);
}

static void get_all(struct reader *rd, struct room_wish *wish)
{
    struct room_config *c = &wish->config;
    get_text(rd, CONFIG_NAME, NAME_BYTES, &c->name);
    get_text(rd, CONFIG_DESCRIPTION, TEXT_BYTES, &c->description);
    get_text(rd, CONFIG_LANG, NAME_BYTES, &c->lang);
    get_bool(rd, CONFIG_PERSISTENT, &c->persistent);
    get_bool(rd, CONFIG_PUBLIC, &c->public);
    get_bool(rd, CONFIG_MEMBERS_ONLY, &c->members_only);
    get_bool(rd, CONFIG_MODERATED, &c->moderated);
    get_bool(rd, CONFIG_LOGGED, &c->logged);
    get_bool(rd, CONFIG_PASSWORD_PROTECTED, &c->password_protected);
    if (form_first(&rd->values[CONFIG_PASSWORD]).n > 0) get_text(rd, CONFIG_PASSWORD, NAME_BYTES, &c->password);
    get_bool(rd, CONFIG_CHANGE_SUBJECT, &c->change_subject);
    get_bool(rd, CONFIG_ALLOW_INVITES, &c->allow_invites);
    get_choices(rd, c);
    get_roles(rd, CONFIG_PRESENCE_OF, &c->presence_of);
    get_roles(rd, CONFIG_MEMBER_LIST, &c->member_list);
    get_number(rd, CONFIG_HISTORY, (unsigned)tc_settings->tc_max_history, &c->history);
    get_people(rd, CONFIG_ADMINS, &wish->admins);
    get_people(rd, CONFIG_OWNERS, &wish->owners);
    if (rd->text != NULL) return;
    if (c->password_protected && c->password == NULL) rd->text = "A room with a password needs one: fill in 'muc#roomconfig_roomsecret'.";
}

static char *copied(const char *s) { return s != NULL ? x_strdup(s) : NULL; }

void room_config_copy(struct room_config *to, const struct room_config *from)
{
    *to = *from;
    to->name = copied(from->name);
    to->description = copied(from->description);
    to->lang = copied(from->lang);
    to->password = copied(from->password);
    to->maker = copied(from->maker);
}

int config_read_form(const struct room *r, const struct xml_node *x, struct arena *a, struct room_wish *wish, const char **text)
{
    const struct form *form = the_form(a, NULL);
    struct form_value *values = arena_zalloc(a, FORM_FIELDS_MAX * sizeof(*values));
    *wish = (struct room_wish){0};
    const char *unknown = form_unknown(form, x, a);
    if (unknown != NULL) {
        *text = arena_printf(a, "This service knows no field '%s'.", unknown);
        return -1;
    }
    if (form_read(form, x, a, values, text) != 0) return -1;
    struct reader rd = {a, values, NULL};
    room_config_copy(&wish->config, &r->config);
    get_all(&rd, wish);
    *text = rd.text;
    if (rd.text == NULL) return 0;
    room_config_clear(&wish->config);
    return -1;
}
