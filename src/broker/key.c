/* The conversation key: what load balancing hashes, so that one conversation goes to one compliance server (EVENTS.md, "Vocabulary"). A room wins over
 * everything; else the unordered pair of bare JIDs; else the user alone. */
#include "broker/hold.h"

struct service_test {
    bool (*fn)(void *owner, struct str domain);
    void *owner;
};

static bool in_room_service(const struct service_test *t, const struct jid *j) { return jid_present(j) && t->fn != NULL && t->fn(t->owner, j->domain); }

static struct str bare_of(struct str jid)
{
    for (size_t i = 0; i < jid.n; i++)
        if (jid.p[i] == '/') return (struct str){jid.p, i};
    return jid;
}

/* The room of a stanza, absent when it has none. A groupchat message whose service is not ours comes from the room or goes to it: the address that is not
 * the session's is the room's; without a session, what arrives comes from it. */
static struct str room_of(const struct question *q, const struct service_test *t)
{
    const struct stanza *s = q->subject;
    if (q->room.p != NULL) return bare_of(q->room);
    if (in_room_service(t, &s->to)) return s->to.bare;
    if (in_room_service(t, &s->from)) return s->from.bare;
    if (s->kind != STANZA_MESSAGE || s->type != MESSAGE_GROUPCHAT) return STR_NONE;
    bool by_user = q->event == EVENT_es_OUT || q->event == EVENT_e_SERVER || (q->session.p != NULL && str_eq(bare_of(q->session), s->from.bare));
    return by_user || !jid_present(&s->from) ? s->to.bare : s->from.bare;
}

void event_key_compute(struct buf *out, const struct question *q, bool (*is_room_domain)(void *owner, struct str domain), void *owner)
{
    const struct service_test test = {is_room_domain, owner};
    const struct stanza *s = q->subject;
    struct str room = room_of(q, &test);
    if (room.p != NULL) {
        buf_add_str(out, room);
        return;
    }
    struct str a = s->from.bare, b = s->to.bare;
    struct str user = q->session.p != NULL ? bare_of(q->session) : jid_present(&s->from) ? a : b;
    if (event_catalogue[q->event].key == KEY_USER || a.p == NULL || b.p == NULL || str_eq(a, b)) {
        buf_add_str(out, user);
        return;
    }
    bool in_order = str_cmp(a, b) < 0;
    buf_add_str(out, in_order ? a : b);
    buf_addc(out, ' ');
    buf_add_str(out, in_order ? b : a);
}
