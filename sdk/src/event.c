/* Events: made from what came over a link, looked into and changed by the application. An event and all its strings live in one arena. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "core.h"
#include "base/clock.h"
#include "xml/writer.h"

static struct event *event_of(struct signet_event *e)
{
    return CONTAINER_OF(e, struct event, pub);
}

static const struct xml_node *node_of(const struct signet_node *n)
{
    return (const struct xml_node *)(const void *)n;
}

static struct signet_node *public_node(const struct xml_node *n)
{
    return (struct signet_node *)(void *)(uintptr_t)n;
}

static const char *copy_str(struct arena *a, struct str s)
{
    return arena_str(a, s).p;
}

static const char *attr(struct arena *a, const struct xml_node *n, const char *name)
{
    return copy_str(a, xml_node_attr(n, name));
}

/* ---- making one ---- */

/* How long a tree is when written, without escapes. A namespace declared once by a prefix and used by thousands of tiny elements is written out at
 * each of them: bounded here, before it is written. */
static size_t written_size(const struct xml_node *n, const struct xml_node *parent, size_t max)
{
    size_t size = n->text.n + 2 * n->name.n + 5;
    if (parent == NULL || !str_eq(n->ns, parent->ns)) size += n->ns.n + 9;
    for (unsigned i = 0; i < n->n_attributes; i++) {
        const struct xml_attribute *a = &n->attributes[i];
        size += a->name.n + a->value.n + a->ns.n + 2 * a->prefix.n + 15;
    }
    for (const struct xml_node *c = n->first; c != NULL && size <= max; c = c->next) size += written_size(c, n, max);
    return size;
}

static const char *serialise(struct event *e, size_t *length)
{
    struct buf b = {0};
    xml_add_node(&b, e->stanza, "");
    const char *xml = arena_strndup(e->arena, b.data, b.len);
    if (length != NULL) *length = b.len;
    buf_free(&b);
    return xml;
}

static void read_candidates(struct event *e, const struct xml_node *event)
{
    unsigned n = 0;
    for (struct xml_node *s = xml_node_child(event, "session", NS_BROKER); s != NULL; s = xml_node_next(s, "session", NS_BROKER)) n++;
    if (n == 0) return;
    struct signet_candidate *list = arena_zalloc(e->arena, n * sizeof(*list));
    unsigned i = 0;
    for (struct xml_node *s = xml_node_child(event, "session", NS_BROKER); s != NULL; s = xml_node_next(s, "session", NS_BROKER), i++) {
        const char *priority = attr(e->arena, s, "priority");
        list[i].jid = attr(e->arena, s, "jid");
        list[i].priority = priority == NULL ? 0 : (int)strtol(priority, NULL, 10);
    }
    e->pub.candidates = list;
    e->pub.n_candidates = n;
}

static void read_context(struct event *e, const struct xml_node *event)
{
    struct signet_event *p = &e->pub;
    struct arena *a = e->arena;
    p->name = attr(a, event, "name");
    p->id = attr(a, event, "id");
    p->stanza_id = attr(a, event, "stanza");
    p->node = attr(a, event, "node");
    p->time = attr(a, event, "time");
    p->profile = attr(a, event, "profile");
    p->key = attr(a, event, "key");
    p->session = attr(a, event, "session");
    p->room = attr(a, event, "room");
    p->copy = attr(a, event, "copy");
    if (p->time == NULL || clock_parse_stamp(p->time, &p->time_ms) < 0) p->time_ms = clock_wall_ms();
    read_candidates(e, event);
}

static void read_stanza(struct event *e)
{
    struct signet_event *p = &e->pub;
    struct arena *a = e->arena;
    p->kind = copy_str(a, e->stanza->name);
    p->type = attr(a, e->stanza, "type");
    p->from = attr(a, e->stanza, "from");
    p->to = attr(a, e->stanza, "to");
    p->xmpp_id = attr(a, e->stanza, "id");
    if (strcmp(p->kind, "message") == 0) {
        const struct xml_node *body = xml_node_child(e->stanza, "body", NULL);
        if (body != NULL) p->body = copy_str(a, xml_node_text(a, body));
    }
    p->xml = serialise(e, &p->xml_length);
}

static const struct xml_node *find_stanza(const struct xml_node *event)
{
    const struct xml_node *forwarded = xml_node_child(event, "forwarded", NS_FORWARD);
    if (forwarded == NULL) return NULL;
    static const char *const kinds[] = {"message", "presence", "iq"};
    for (const struct xml_node *n = xml_node_child(forwarded, NULL, NULL); n != NULL; n = xml_node_next(n, NULL, NULL)) {
        for (unsigned i = 0; i < 3; i++) {
            if (str_is(n->name, kinds[i])) return n;
        }
    }
    return NULL;
}

struct event *event_new(struct link *l, const struct xml_element *element, bool fire_and_forget, const char **problem)
{
    struct arena *a = arena_new(element->inner.n * 2 + 4096);
    char *content_ns = arena_strndup(a, element->content_ns.p, element->content_ns.n);
    size_t max = 2 * l->server->limits[SIGNET_LIMIT_STANZA_BYTES];
    struct err err = {0};
    struct xml_node *root = xml_tree_parse(a, element->inner, content_ns, &err);
    struct xml_node *event = root == NULL ? NULL : xml_node_child(root, "event", NS_BROKER);
    const struct xml_node *stanza = event == NULL ? NULL : find_stanza(event);
    bool swells = stanza != NULL && written_size(stanza, NULL, max) > max;
    if (stanza == NULL || swells || xml_node_attr(event, "name").n == 0 || xml_node_attr(event, "id").n == 0) {
        *problem = root == NULL     ? "not well-formed"
                   : swells         ? "its namespaces swell it beyond the limit"
                   : stanza == NULL ? "no <forwarded/> stanza in the event"
                                    : "the event has no name or no id";
        arena_free(a);
        return NULL;
    }
    struct event *e = arena_zalloc(a, sizeof(*e));
    e->arena = a;
    e->stanza = (struct xml_node *)(uintptr_t)stanza;
    e->server = server_ref(l->server);
    e->link = l->id;
    e->iq_id = copy_str(a, xml_element_attr(element, "id"));
    e->broker = copy_str(a, xml_element_attr(element, "from"));
    e->pub.component = arena_strndup(a, l->component->name, strlen(l->component->name));
    e->pub.fire_and_forget = fire_and_forget;
    read_context(e, event);
    read_stanza(e);
    e->bytes = arena_bytes(a);
    pthread_mutex_lock(&l->server->mutex);
    l->outstanding++;
    l->outstanding_bytes += e->bytes;
    pthread_mutex_unlock(&l->server->mutex);
    return e;
}

void event_free(struct event *e)
{
    struct signet_server *s = e->server;
    arena_free(e->arena);
    server_unref(s);
}

void event_dispatch(struct event *e)
{
    struct signet_server *s = e->server;
    const struct handler *h = map_get(&s->handlers, str_of(e->pub.name));
    if (h == NULL) h = &s->other;
    if (h->fn != NULL) {
        h->fn(&e->pub, h->arg);
    } else {
        server_log(s, SIGNET_LOG_WARN, "no callback for event %s: answered with an error", e->pub.name);
        (void)signet_refuse(&e->pub, "feature-not-implemented", "the compliance server does not handle this event");
    }
}

/* ---- looking inside ---- */

struct signet_node *signet_stanza(struct signet_event *e)
{
    return public_node(event_of(e)->stanza);
}

const char *signet_node_name(const struct signet_node *n)
{
    return node_of(n)->name.p; /* names in a tree are NUL-terminated: they are arena copies */
}

const char *signet_node_ns(const struct signet_node *n)
{
    return node_of(n)->ns.p;
}

const char *signet_node_attr(struct signet_event *e, const struct signet_node *n, const char *name)
{
    return attr(event_of(e)->arena, node_of(n), name);
}

const char *signet_node_attr_at(struct signet_event *e, const struct signet_node *node, unsigned n, const char **name)
{
    const struct xml_node *x = node_of(node);
    if (n >= x->n_attributes) return NULL;
    if (name != NULL) *name = copy_str(event_of(e)->arena, x->attributes[n].name);
    return copy_str(event_of(e)->arena, x->attributes[n].value);
}

/* The tree's depth is bounded by the parser, and so is the recursion. */
static void gather_text(struct buf *b, const struct xml_node *n)
{
    if (n->name.p == NULL) buf_add_str(b, n->text);
    for (const struct xml_node *c = n->first; c != NULL; c = c->next) gather_text(b, c);
}

const char *signet_node_text(struct signet_event *e, const struct signet_node *n)
{
    struct buf b = {0};
    gather_text(&b, node_of(n));
    const char *text = arena_strndup(event_of(e)->arena, b.len > 0 ? b.data : "", b.len);
    buf_free(&b);
    return text;
}

struct signet_node *signet_node_first(const struct signet_node *n)
{
    return public_node(node_of(n)->first);
}

struct signet_node *signet_node_next(const struct signet_node *n)
{
    return public_node(node_of(n)->next);
}

struct signet_node *signet_node_child(const struct signet_node *n, const char *name, const char *ns)
{
    return public_node(xml_node_child(node_of(n), name, ns));
}

/* ---- changing it ---- */

void signet_node_set_text(struct signet_event *e, struct signet_node *node, const char *text)
{
    struct xml_node *n = (struct xml_node *)(void *)node;
    if (n->name.p == NULL) return; /* a run of text: set its parent's */
    struct arena *a = event_of(e)->arena;
    n->first = n->last = NULL;
    if (text != NULL && *text != '\0') xml_node_add_text(a, n, arena_str(a, str_of(text)));
}

void signet_node_remove(struct signet_node *node)
{
    struct xml_node *n = (struct xml_node *)(void *)node, *parent = n->parent, *before = NULL;
    if (parent == NULL || parent->name.p == NULL) return;
    for (struct xml_node *c = parent->first; c != NULL && c != n; c = c->next) before = c;
    if (before != NULL)
        before->next = n->next;
    else
        parent->first = n->next;
    if (parent->last == n) parent->last = before;
    /* n->next stays, so that a walk may go on from the removed node; its parent does not know it any more. */
}

const char *signet_stanza_xml(struct signet_event *e)
{
    return serialise(event_of(e), NULL);
}
