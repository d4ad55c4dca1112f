/* Building presence. At most three stanzas are made for a change, however many see it: for those who may know the real address, for those who may
 * not, and for the occupant himself. */
#include "tc/presence.h"
#include "tc/stamp.h"
#include "xml/writer.h"

bool sees_addresses(const struct attendee *a)
{
    enum room_whois whois = a->occupant->room->config.whois;
    return whois == WHOIS_ANYONE || (whois == WHOIS_MODERATORS && a->occupant->role == ROLE_MODERATOR);
}

static void write_codes(struct buf *b, const unsigned *codes)
{
    for (unsigned i = 0; i < NOTICE_CODES && codes[i] != 0; i++) buf_addf(b, "<status code='%u'/>", codes[i]);
}

static void write_item(struct buf *b, const struct occupant *o, const struct notice *n, bool address)
{
    const struct room *r = o->room;
    enum affiliation his = n->destroyed ? AFFILIATION_NONE : room_affiliation(r, o->user.bare);
    buf_addf(b, "<item affiliation='%s' role='%s'", affiliation_name(his), role_name(n->gone && n->nick.p == NULL ? ROLE_NONE : o->role));
    if (address) xml_add_attr(b, "jid", o->shown != NULL ? o->shown->full.full : o->user.full);
    xml_add_attr(b, "nick", n->nick);
    if (n->reason.n == 0 && n->actor.p == NULL) {
        buf_adds(b, "/>");
        return;
    }
    buf_adds(b, ">");
    if (n->actor.p != NULL) {
        buf_adds(b, "<actor");
        xml_add_attr(b, "nick", n->actor);
        buf_adds(b, "/>");
    }
    if (n->reason.n > 0) {
        buf_adds(b, "<reason>");
        xml_add_text(b, n->reason);
        buf_adds(b, "</reason>");
    }
    buf_adds(b, "</item>");
}

static struct stanza *make(const struct occupant *o, const struct notice *n, bool address, const struct attendee *self)
{
    struct buf b = {0};
    const struct stanza *of = n->no_content || o->shown == NULL ? NULL : o->shown->presence;
    if (of != NULL) stamp_content(&b, of);
    buf_adds(&b, "<x xmlns='" NS_MUC_USER "'>");
    write_item(&b, o, n, address);
    buf_add_str(&b, n->inner);
    if (self != NULL) buf_adds(&b, "<status code='110'/>");
    if (self != NULL) write_codes(&b, n->self_codes);
    write_codes(&b, n->codes);
    buf_adds(&b, "</x>");
    stamp_occupant(&b, o);
    struct stanza *s =
        stanza_make(STANZA_PRESENCE, n->gone ? PRESENCE_UNAVAILABLE : PRESENCE_AVAILABLE, &o->jid, NULL, of != NULL ? of->id : STR_NONE, buf_str(&b));
    buf_free(&b);
    if (of != NULL && of->lang.p != NULL) stanza_set_lang(s, of->lang);
    return s;
}

struct stanza *presence_full(const struct occupant *o, const struct notice *notice, const struct request *cause)
{
    struct stanza *s = make(o, notice, true, NULL);
    if (cause != NULL) s->sid = cause->stanza->sid;
    return s;
}

struct view {
    const struct occupant *of;
    bool self, address;
    bool hidden; /* the presence of his role is not broadcast */
};

static bool fits(const void *arg, const struct attendee *a)
{
    const struct view *v = arg;
    bool self = a->occupant == v->of;
    if (self || v->self) return self && v->self;
    return !v->hidden && sees_addresses(a) == v->address;
}

static bool any(const struct room *r, const struct view *v)
{
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->attendees, &it, &key, &value))
        if (fits(v, value)) return true;
    return false;
}

static void to_view(const struct occupant *o, const struct notice *n, struct view v, const struct request *cause)
{
    if (!any(o->room, &v)) return;
    struct stanza *s = make(o, n, v.self || v.address, v.self ? o->shown : NULL);
    send_to_all(o->room, s, (struct crowd){fits, &v}, cause);
}

void presence_broadcast(struct occupant *o, const struct notice *n, const struct request *cause)
{
    bool hidden = !n->seen && !(n->gone && o->known) && (o->room->config.presence_of & 1u << o->role) == 0;
    o->known = o->known || !hidden;
    to_view(o, n, (struct view){.of = o, .address = true, .hidden = hidden}, cause);
    to_view(o, n, (struct view){.of = o, .address = false, .hidden = hidden}, cause);
    to_view(o, n, (struct view){.of = o, .self = true}, cause);
    if (n->after_subject != NULL) room_raise_after(o->room, n->after_event, n->after_subject);
}

void presence_to_one(const struct occupant *o, const struct notice *n, const struct attendee *to, const struct request *cause)
{
    send_to(to, make(o, n, sees_addresses(to), NULL), cause);
}

void presence_to_self(const struct attendee *a, const struct notice *n, const struct request *cause)
{
    send_to(a, make(a->occupant, n, true, a), cause);
}

void presence_of_all(const struct attendee *newcomer, const struct request *cause)
{
    const struct room *r = newcomer->occupant->room;
    const struct notice plain = {0};
    size_t it = 0;
    struct str key;
    void *value;
    while (map_next(&r->occupants, &it, &key, &value)) {
        const struct occupant *o = value;
        if (o != newcomer->occupant && (r->config.presence_of & 1u << o->role) != 0) presence_to_one(o, &plain, newcomer, cause);
    }
}
