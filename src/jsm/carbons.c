/* Carbon copies: who gets one of what, and the copies of one message on their way through es_IN. */
#include "jsm/carbons.h"
#include "base/hash.h"
#include "jsm/had.h"
#include <stdlib.h>

#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_HINTS "urn:xmpp:hints"
#define NS_MUC_USER "http://jabber.org/protocol/muc#user"
#define REMEMBERED 64

struct carbons {
    unsigned n, asking;
    enum carbon_way way;
    void (*done)(void *arg);
    void *arg;
    struct buf key;
    struct delivery deliveries[];
};

/* ---- which messages ---- */
static uint64_t message_hash(struct str id, struct str with) { return hash_mix(hash_stable(id.p, id.n), hash_stable(with.p, with.n)); }

void carbons_remember(struct user *u, const struct stanza *sent)
{
    if (sent->id.n == 0) return;
    if (u->carbon_ids == NULL) u->carbon_ids = x_calloc(REMEMBERED, sizeof(*u->carbon_ids));
    u->carbon_ids[u->carbon_next++ % REMEMBERED] = message_hash(sent->id, sent->to.bare);
}

static bool answers_copied(const struct user *u, const struct stanza *error)
{
    if (u->carbon_ids == NULL || error->id.n == 0) return false;
    uint64_t hash = message_hash(error->id, error->from.bare);
    for (unsigned i = 0; i < REMEMBERED; i++)
        if (u->carbon_ids[i] == hash) return true;
    return false;
}

/* What a room sends is for those who are in it: its sessions get it from the room. An invitation (XEP-0045, 7.8.2) is for the user. */
static bool of_a_room(const struct stanza *s, enum carbon_way way)
{
    const struct xml_child *x = stanza_child(s, "x", NS_MUC_USER);
    if (way == CARBON_SENT || x == NULL) return false;
    struct arena *a = arena_new(0);
    struct err err;
    struct xml_node *tree = stanza_tree(s, x, a, &err);
    bool invitation = tree != NULL && xml_node_child(tree, "invite", NULL) != NULL;
    arena_free(a);
    return !invitation;
}

bool carbons_eligible(const struct user *u, const struct stanza *s, enum carbon_way way)
{
    if (s->kind != STANZA_MESSAGE) return false;
    if (s->type == MESSAGE_ERROR) return way == CARBON_RECEIVED && answers_copied(u, s);
    if (s->type != MESSAGE_CHAT && (s->type != MESSAGE_NORMAL || stanza_child(s, "body", NS_CLIENT) == NULL)) return false;
    if (stanza_child(s, "private", NS_CARBONS) != NULL || stanza_child(s, "no-copy", NS_HINTS) != NULL) return false;
    if (stanza_child(s, "received", NS_CARBONS) != NULL || stanza_child(s, "sent", NS_CARBONS) != NULL) return false;
    return !of_a_room(s, way);
}

const struct xml_node *carbons_inner(const struct stanza *s, struct arena *a)
{
    const struct xml_child *copy = stanza_child(s, "received", NS_CARBONS);
    if (copy == NULL) copy = stanza_child(s, "sent", NS_CARBONS);
    struct err err;
    struct xml_node *tree = copy != NULL ? stanza_tree(s, copy, a, &err) : NULL;
    struct xml_node *forwarded = tree != NULL ? xml_node_child(tree, "forwarded", NS_FORWARD) : NULL;
    return forwarded != NULL ? xml_node_child(forwarded, "message", NS_CLIENT) : NULL;
}

/* ---- who ---- */
static bool gets_copy(const struct session *s, const struct delivery *originals, unsigned n_originals, uint64_t sender)
{
    if (!s->carbons || s->state != SESSION_OPEN || !session_takes(s) || s->id == sender) return false;
    for (unsigned i = 0; i < n_originals; i++)
        if (originals[i].session == s->id) return false;
    return true;
}

static unsigned count(const struct user *u, const struct delivery *originals, unsigned n_originals, uint64_t sender)
{
    unsigned n = 0;
    LIST_EACH(node, &u->sessions)
    {
        if (gets_copy(CONTAINER_OF(node, struct session, node), originals, n_originals, sender)) n++;
    }
    return n;
}

/* ---- the copies ---- */
static struct stanza *wrapped(const struct user *u, const struct stanza *original, enum carbon_way way)
{
    const char *name = way == CARBON_SENT ? "sent" : "received";
    struct buf b = {0};
    buf_addf(&b, "<%s xmlns='" NS_CARBONS "'><forwarded xmlns='" NS_FORWARD "'>", name);
    stanza_write(&b, original, NS_CLIENT);
    buf_addf(&b, "</forwarded></%s>", name);
    struct stanza *empty = stanza_make(STANZA_MESSAGE, original->type, &u->jid, NULL, STR_NONE, STR(""));
    empty->sid = original->sid;
    struct stanza *copy = stanza_with_child(empty, NULL, name, NS_CARBONS, buf_str(&b));
    stanza_unref(empty);
    buf_free(&b);
    return copy;
}

static struct stanza *addressed(const struct stanza *copy, const struct session *to)
{
    struct stanza_change change = {.to = &to->full};
    return stanza_with(copy, &change);
}

static void one_ready(struct delivery *d)
{
    struct carbons *c = d->owner;
    if (--c->asking == 0) c->done(c->arg);
}

static void key_write(struct buf *b, struct str one, struct str other)
{
    bool in_order = str_cmp(one, other) < 0;
    buf_add_str(b, in_order ? one : other);
    if (str_eq(one, other)) return;
    buf_addc(b, ' ');
    buf_add_str(b, in_order ? other : one);
}

struct carbons *carbons_ask(struct user *u, const struct stanza *original, enum carbon_way way, const struct delivery *originals,
                            unsigned n_originals, uint64_t sender, struct lane_entry *entry, void (*done)(void *arg), void *arg)
{
    unsigned n = count(u, originals, n_originals, sender);
    if (n == 0) return NULL;
    struct carbons *c = x_calloc(1, sizeof(*c) + n * sizeof(struct delivery));
    c->way = way;
    c->done = done;
    c->arg = arg;
    c->asking = 1;
    key_write(&c->key, original->from.bare, original->to.bare);
    struct stanza *copy = wrapped(u, original, way);
    if (entry != NULL) lane_more(entry, true);
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (c->n == n || !gets_copy(s, originals, n_originals, sender)) continue;
        struct delivery *d = &c->deliveries[c->n++];
        bool now = deliver_ask_copy(d, s, addressed(copy, s), COPY_CARBON, buf_str(&c->key), entry, one_ready);
        d->owner = c;
        if (!now) c->asking++;
    }
    if (entry != NULL) lane_more(entry, false);
    stanza_unref(copy);
    c->asking--;
    return c;
}

bool carbons_ready(const struct carbons *c) { return c->asking == 0; }

static void write_copy(const struct carbons *c, struct delivery *d)
{
    uint64_t sid = d->stanza->sid;
    struct session *s = deliver_write(d) && d->result == DELIVERY_PASSED ? session_get(d->session) : NULL;
    if (s != NULL && c->way == CARBON_RECEIVED) had_note(s, sid);
}

void carbons_end(struct carbons *c, bool write, const struct delivery *originals, unsigned n_originals)
{
    for (unsigned i = 0; i < c->n; i++) {
        bool copy = write;
        for (unsigned o = 0; o < n_originals; o++) copy = copy && originals[o].session != c->deliveries[i].session;
        if (copy) write_copy(c, &c->deliveries[i]);
        deliver_clear(&c->deliveries[i]);
    }
    buf_free(&c->key);
    free(c);
}

void carbons_unchecked(struct user *u, const struct stanza *error)
{
    if (!carbons_eligible(u, error, CARBON_RECEIVED)) return;
    struct session *own = session_by_resource(u, error->to.resource);
    struct stanza *copy = wrapped(u, error, CARBON_RECEIVED);
    LIST_EACH(node, &u->sessions)
    {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (gets_copy(s, NULL, 0, own != NULL ? own->id : 0)) deliver_unchecked(s, addressed(copy, s));
    }
    stanza_unref(copy);
}
