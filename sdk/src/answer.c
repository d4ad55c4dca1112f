/* Answers, from any thread: checked, written as an iq into the link's mail, and the loop is woken. Every function here takes the event whatever
 * happens. */
#include <stdlib.h>
#include <string.h>
#include "core.h"
#include "xml/writer.h"

/* RFC 6120, 8.3.3: the conditions there are. */
static const struct {
    const char *condition, *type;
} conditions[] = {
#define CONDITION(name, type) {name, type},
#include "tables/conditions.def"
#undef CONDITION
};

void answer_add_iq(struct buf *b, const char *type, const char *id, const char *from, const char *to)
{
    BUF_ADD_LIT(b, "<iq");
    xml_add_attr(b, "type", str_of(type));
    xml_add_attr(b, "id", str_of(id));
    xml_add_attr(b, "from", str_of(from));
    xml_add_attr(b, "to", str_of(to));
    BUF_ADD_LIT(b, ">");
}

void answer_add_error(struct buf *b, const char *condition, const char *text)
{
    size_t n = sizeof(conditions) / sizeof(conditions[0]), i = 0;
    while (i < n && strcmp(conditions[i].condition, condition) != 0) i++;
    const char *type = i < n ? conditions[i].type : "cancel";
    if (strcmp(condition, "policy-violation") == 0) type = "cancel";
    buf_addf(b, "<error type='%s'><%s xmlns='" NS_STANZAS "'/>", type, i < n ? condition : "undefined-condition");
    if (text != NULL && *text != '\0' && xml_text_ok(str_of(text))) {
        BUF_ADD_LIT(b, "<text xmlns='" NS_STANZAS "'>");
        xml_add_text(b, str_of(text));
        BUF_ADD_LIT(b, "</text>");
    }
    BUF_ADD_LIT(b, "</error>");
}

/* Takes the event off the link's books and, when there is something to say, says it. */
static enum signet_result finish(struct event *e, const struct buf *iq)
{
    struct signet_server *s = e->server;
    enum signet_result result = SIGNET_GONE;
    pthread_mutex_lock(&s->mutex);
    struct link *l = imap_get(&s->by_id, e->link);
    if (l != NULL) {
        l->outstanding--;
        l->outstanding_bytes -= e->bytes;
        if (iq != NULL) buf_add(&l->mail, iq->data, iq->len);
        if (!loop_is_here(s)) server_wake(s); /* the loop itself looks at the mail before it sleeps */
        result = SIGNET_OK;
    }
    pthread_mutex_unlock(&s->mutex);
    event_free(e);
    return result;
}

static struct event *event_of(struct signet_event *e)
{
    return CONTAINER_OF(e, struct event, pub);
}

/* Sends `<iq type='result'><ELEMENT ...>content</ELEMENT></iq>`. */
static enum signet_result result(struct event *e, const char *element, const char *session, const struct buf *content)
{
    struct buf iq = {0};
    if (e->pub.fire_and_forget) return finish(e, NULL);
    answer_add_iq(&iq, "result", e->iq_id, e->pub.component, e->broker);
    buf_addf(&iq, "<%s xmlns='" NS_BROKER "'", element);
    xml_add_attr(&iq, "session", str_of(session));
    if (content != NULL) {
        BUF_ADD_LIT(&iq, ">");
        buf_add(&iq, content->data, content->len);
        buf_addf(&iq, "</%s></iq>", element);
    } else {
        BUF_ADD_LIT(&iq, "/></iq>");
    }
    enum signet_result r = finish(e, &iq);
    buf_free(&iq);
    return r;
}

static enum signet_result refuse(struct event *e, const char *condition, const char *text)
{
    struct buf iq = {0};
    if (e->pub.fire_and_forget) return finish(e, NULL);
    answer_add_iq(&iq, "error", e->iq_id, e->pub.component, e->broker);
    answer_add_error(&iq, condition, text);
    BUF_ADD_LIT(&iq, "</iq>");
    enum signet_result r = finish(e, &iq);
    buf_free(&iq);
    return r;
}

static enum signet_result invalid(struct event *e, const char *why)
{
    server_log(e->server, SIGNET_LOG_ERROR, "event %s (%s): the answer is invalid: %s", e->pub.name, e->pub.id, why);
    (void)refuse(e, "internal-server-error", "the compliance server's answer was invalid");
    return SIGNET_INVALID;
}

/* The application's threads get a pool of XML parsers each when they answer with a stanza; it must go when they do. */
static pthread_key_t pool_key;
static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

static void drop_pool(void *unused)
{
    (void)unused;
    xml_parsers_trim();
}

static void make_pool_key(void)
{
    (void)pthread_key_create(&pool_key, drop_pool);
}

static void pool_ends_with_thread(void)
{
    static _Thread_local bool known;
    if (known) return;
    (void)pthread_once(&pool_once, make_pool_key);
    (void)pthread_setspecific(pool_key, &pool_key);
    known = true;
}

/* Parses the application's XML in the event's arena and serialises it for its place; NULL: what is wrong with it. */
static const struct xml_node *parse_answer(struct event *e, const char *xml, struct buf *out, const char **why)
{
    struct err err = {0};
    *why = "not one element";
    if (xml == NULL) return NULL;
    if (strlen(xml) > e->server->limits[SIGNET_LIMIT_STANZA_BYTES]) {
        *why = "too large";
        return NULL;
    }
    pool_ends_with_thread();
    struct xml_node *root = xml_tree_parse(e->arena, str_of(xml), NS_CLIENT, &err);
    if (root == NULL) {
        *why = arena_printf(e->arena, "not well-formed: %s", err.text);
        return NULL;
    }
    const struct xml_node *stanza = xml_node_child(root, NULL, NULL);
    if (stanza == NULL || xml_node_next(stanza, NULL, NULL) != NULL) return NULL;
    xml_add_node(out, stanza, NS_BROKER);
    return stanza;
}

static bool same(const char *a, struct str b)
{
    return a == NULL ? b.p == NULL : str_is(b, a);
}

enum signet_result signet_pass(struct signet_event *take)
{
    return result(event_of(take), "pass", NULL, NULL);
}

enum signet_result signet_pass_stanza(struct signet_event *take, const char *xml)
{
    struct event *e = event_of(take);
    struct buf content = {0};
    const char *why = NULL;
    const struct xml_node *n = parse_answer(e, xml, &content, &why);
    enum signet_result r;
    if (n == NULL) {
        r = invalid(e, why);
    } else if (!same(take->kind, n->name) || !same(take->type, xml_node_attr(n, "type")) || !same(take->from, xml_node_attr(n, "from")) ||
               !same(take->to, xml_node_attr(n, "to")) || !same(take->xmpp_id, xml_node_attr(n, "id"))) {
        r = invalid(e, "kind, type, from, to and id must be unchanged");
    } else {
        r = result(e, "pass", NULL, &content);
    }
    buf_free(&content);
    return r;
}

enum signet_result signet_pass_session(struct signet_event *take, const char *full_jid)
{
    struct event *e = event_of(take);
    if (full_jid == NULL || !xml_text_ok(str_of(full_jid))) return invalid(e, "the session is not a JID");
    return result(e, "pass", full_jid, NULL);
}

enum signet_result signet_handle(struct signet_event *take)
{
    return result(event_of(take), "handle", NULL, NULL);
}

enum signet_result signet_handle_reply(struct signet_event *take, const char *xml)
{
    struct event *e = event_of(take);
    struct buf content = {0};
    const char *why = NULL;
    const struct xml_node *n = parse_answer(e, xml, &content, &why);
    enum signet_result r = n == NULL ? invalid(e, why) : result(e, "handle", NULL, &content);
    buf_free(&content);
    return r;
}

enum signet_result signet_refuse(struct signet_event *take, const char *condition, const char *text)
{
    return refuse(event_of(take), condition != NULL ? condition : "undefined-condition", text);
}

void signet_done(struct signet_event *take)
{
    (void)finish(event_of(take), NULL);
}
