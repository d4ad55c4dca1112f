/* Service discovery (XEP-0045, 6): the service, its rooms, a room, who is in it, the nick one has registered. */
#include "base/hash.h"
#include "tc/directory.h"
#include "tc/rows.h"
#include "tc/stamp.h"
#include "tc/vcard.h"
#include "xml/writer.h"
#include "xmpp/caps.h"
#include "xmpp/rsm.h"

#define NODE_NICK "x-roomuser-item"
enum { ITEMS_MAX = 100 };

static const struct xml_node *query_of(const struct request *r)
{
    struct err err;
    return stanza_tree(r->stanza, stanza_child(r->stanza, "query", NULL), r->arena, &err);
}

static struct str node_of(const struct request *r)
{
    const struct xml_node *query = query_of(r);
    struct str node = query != NULL ? xml_node_attr(query, "node") : STR_NONE;
    return node.n > 0 ? node : STR_NONE;
}

static void reply(struct request *r, struct buf *b)
{
    buf_adds(b, "</query>");
    send_reply(r, stanza_result(r->stanza, buf_str(b)));
    buf_free(b);
}

static void begin(struct buf *b, const char *ns, struct str node)
{
    buf_addf(b, "<query xmlns='%s'", ns);
    xml_add_attr(b, "node", node);
    buf_adds(b, ">");
}

/* ---- the service ---- */
const char *service_info_check(struct request *r)
{
    if (node_of(r).p != NULL) return say(r, "item-not-found", "This service has no such node.");
    request_needs(r, EVENT_onServiceDiscoInfo, 0);
    return NULL;
}

void service_info_apply(struct request *r)
{
    static const struct caps_identity identities[] = {{"conference", "text", NULL, "Chat rooms"}};
    static const char *const features[] = {NS_DISCO_INFO, NS_DISCO_ITEMS, NS_MUC, NS_MUC "#unique", NS_RSM, "urn:xmpp:ping"};
    const struct caps_info info = {identities, 1, features, sizeof(features) / sizeof(features[0]), NULL, 0};
    struct buf b = {0};
    begin(&b, NS_DISCO_INFO, STR_NONE);
    caps_write(&b, &info);
    reply(r, &b);
}

static struct str room_at(const void *arg, uint64_t i) { return ((const struct directory_entry *)arg)[i].room; }

struct pages { /* one page of a list */
    struct rsm_request rq;
    struct rsm_page page;
};

static const char *page_of(struct request *r, uint64_t count, struct str (*id)(const void *arg, uint64_t i), const void *arg, struct pages *p)
{
    const struct xml_node *query = query_of(r);
    if (query == NULL || rsm_read(query, r->arena, &p->rq, &r->text) != 0) return "bad-request";
    if (rsm_page(&p->rq, count, ITEMS_MAX, id, arg, &p->page) != 0) return say(r, "item-not-found", "The item named in <set/> is not there.");
    return NULL;
}

static void end_page(struct request *r, struct buf *b, const struct pages *p, struct str (*id)(const void *arg, uint64_t i), const void *arg)
{
    bool any = p->page.n > 0;
    struct rsm_request rq = p->rq;
    rq.asked = rq.asked || p->page.n < p->page.count; /* XEP-0045, 6.3: that it is not all is said in any case */
    rsm_write(b, &rq, &p->page, any ? id(arg, p->page.first) : STR_NONE, any ? id(arg, p->page.first + p->page.n - 1) : STR_NONE);
    reply(r, b);
}

/* A page of a list: the addresses, and the names if they have some (NULL: they have none). */
static void reply_items(struct request *r, uint64_t n, struct str (*id)(const void *arg, uint64_t i), struct str (*name)(const void *arg, uint64_t i),
                        const void *arg)
{
    struct pages p = {0};
    const char *condition = page_of(r, n, id, arg, &p);
    if (condition != NULL) {
        request_fail(r, condition, r->text);
        return;
    }
    struct buf b = {0};
    begin(&b, NS_DISCO_ITEMS, node_of(r));
    for (uint64_t i = p.page.first; i < p.page.first + p.page.n; i++) {
        buf_adds(&b, "<item");
        xml_add_attr(&b, "jid", id(arg, i));
        xml_add_attr(&b, "name", name != NULL ? name(arg, i) : STR_NONE);
        buf_adds(&b, "/>");
    }
    end_page(r, &b, &p, id, arg);
}

static struct str room_name_at(const void *arg, uint64_t i) { return ((const struct directory_entry *)arg)[i].name; }

void service_items_apply(struct request *r)
{
    struct directory_entry *rooms = NULL;
    size_t n = node_of(r).p == NULL ? directory_list(r->arena, r->stanza->to.domain, true, &rooms) : 0;
    reply_items(r, n, room_at, room_name_at, rooms);
}

/* ---- a room ---- */
const char *room_info_check(struct request *r)
{
    struct str node = node_of(r);
    if (node.p != NULL && !str_is(node, NODE_NICK)) return say(r, "item-not-found", "This room has no such node.");
    if (r->room->state == ROOM_LOCKED && request_attendee(r) == NULL) return say(r, "item-not-found", "This room is not ready yet.");
    request_needs(r, EVENT_onExamineRoom, 0);
    return NULL;
}

static const char *text_of_subject(const struct room *room, struct arena *a)
{
    struct err err;
    const struct xml_child *child = room->subject != NULL ? stanza_child(room->subject, "subject", NS_CLIENT) : NULL;
    const struct xml_node *node = child != NULL ? stanza_tree(room->subject, child, a, &err) : NULL;
    if (node == NULL) return "";
    struct str text = xml_node_text(a, node);
    return arena_strndup(a, text.p, text.n);
}

struct description {
    const char *features[24];
    unsigned n_features;
    struct caps_field fields[8];
    const char *values[8][1];
    unsigned n_fields;
};

static void add_field(struct description *d, const char *var, const char *type, const char *value)
{
    d->values[d->n_fields][0] = value;
    d->fields[d->n_fields] = (struct caps_field){var, type, d->values[d->n_fields], 1};
    d->n_fields++;
}

static void describe(struct description *d, const struct room *room, struct arena *a)
{
    static const char *const anonymity[] = {"muc_semianonymous", "muc_nonanonymous", "muc_fullyanonymous"};
    const struct room_config *c = &room->config;
    const char *features[] = {
        NS_DISCO_INFO,
        NS_DISCO_ITEMS,
        NS_MUC,
        NS_MUC "#request",
        NS_MUC "#self-ping-optimization",
        NS_MUC "#stable_id",
        NS_OCCUPANT_ID,
        NS_SID,
        "urn:xmpp:message-moderate:1",
        "vcard-temp",
        "jabber:iq:register",
        "urn:xmpp:ping",
        c->members_only ? "muc_membersonly" : "muc_open",
        c->moderated ? "muc_moderated" : "muc_unmoderated",
        anonymity[c->whois],
        c->password_protected ? "muc_passwordprotected" : "muc_unsecured",
        c->persistent ? "muc_persistent" : "muc_temporary",
        c->public ? "muc_public" : "muc_hidden",
    };
    d->n_features = sizeof(features) / sizeof(features[0]);
    memcpy(d->features, features, sizeof(features));
    add_field(d, "muc#roominfo_description", "text-single", c->description != NULL ? c->description : "");
    add_field(d, "muc#roominfo_lang", "text-single", c->lang != NULL ? c->lang : "");
    add_field(d, "muc#roominfo_occupants", "text-single", arena_printf(a, "%u", room_occupants(room)));
    add_field(d, "muc#roominfo_subject", "text-single", text_of_subject(room, a));
    add_field(d, "muc#roominfo_subjectmod", "boolean", c->change_subject ? "1" : "0");
    const char *avatar = room_avatar_hash(room, a);
    if (avatar != NULL) add_field(d, "muc#roominfo_avatarhash", "text-multi", avatar);
    add_field(d, "muc#maxhistoryfetch", "text-single", arena_printf(a, "%u", c->history));
}

static void write_nick(struct buf *b, const struct request *r)
{
    const struct affiliated *a = room_affiliated(r->room, r->stanza->from.bare);
    if (a == NULL || a->nick == NULL) return;
    buf_adds(b, "<identity category='conference' type='text'");
    xml_add_attr(b, "name", str_of(a->nick));
    buf_adds(b, "/>");
}

void room_info_apply(struct request *r)
{
    struct buf b = {0};
    struct str node = node_of(r);
    begin(&b, NS_DISCO_INFO, node);
    if (node.p != NULL) {
        write_nick(&b, r);
    } else {
        struct description *d = arena_zalloc(r->arena, sizeof(*d));
        describe(d, r->room, r->arena);
        const struct caps_identity identity = {"conference", "text", NULL, r->room->config.name};
        const struct caps_form form = {NS_MUC "#roominfo", d->fields, d->n_fields};
        const struct caps_info info = {&identity, 1, d->features, d->n_features, &form, 1};
        caps_write(&b, &info);
    }
    reply(r, &b);
}

static struct str occupant_at(const void *arg, uint64_t i) { return ((struct occupant *const *)arg)[i]->jid.full; }

/* XEP-0045, 6.5: who is in a room is public where anybody finds the room and may enter it; of the others only those who are in it are told. */
static bool occupants_public(const struct room *room)
{
    const struct room_config *c = &room->config;
    return room->state == ROOM_OPEN && c->public && !c->members_only && !c->password_protected;
}

void room_items_apply(struct request *r)
{
    const struct room *room = r->room;
    const struct occupant **all = arena_alloc(r->arena, (room->occupants.count + 1) * sizeof(*all));
    size_t n = 0, it = 0;
    struct str key;
    void *value;
    bool told = request_attendee(r) != NULL || (occupants_public(room) && room_affiliation(room, r->stanza->from.bare) != AFFILIATION_OUTCAST);
    while (told && map_next(&room->occupants, &it, &key, &value)) {
        const struct occupant *o = value;
        if ((room->config.presence_of & 1u << o->role) != 0) all[n++] = o;
    }
    reply_items(r, n, occupant_at, NULL, all);
}

/* ---- the name of a room that is nobody's (10.1.4) ---- */
const char *unique_check(struct request *r) { return may_create(r); }

void unique_apply(struct request *r)
{
    uint8_t name[20];
    struct buf b = {0};
    hash_random(name, sizeof(name));
    buf_adds(&b, "<unique xmlns='" NS_MUC "#unique'>");
    for (size_t i = 0; i < sizeof(name); i++) buf_addf(&b, "%02x", name[i]);
    buf_adds(&b, "</unique>");
    send_reply(r, stanza_result(r->stanza, buf_str(&b)));
    buf_free(&b);
}

/* ---- pings ---- */
void ping_here_apply(struct request *r) { send_reply(r, stanza_result(r->stanza, STR(""))); }
