/* Component streams as src/xmpp/component.h has them, of direction connect, without sockets and handshakes; and the compliance servers, who note every event
 * and answer as they are told to. */
#include "broker/broker.h"
#include "io/conn.h"
#include "io/tls.h"
#include "io/worker.h"
#include "jsm/features/features.h"
#include "world.h"
#include "xmpp/component.h"
#include <string.h>

#define NODE "node1.example.com"
struct component {
    struct list node; /* in servers.streams */
    const struct component_ops *ops;
    void *owner;
    unsigned server;
    bool open, ending, graceful;
    struct buf out;
    struct xml_parser *parser; /* what the server says */
};
struct event_seen { /* not answered yet */
    struct list node;
    struct component *stream;
    char *number, *name, *session, *start; /* start: the start tag of its stanza without the end: "<message ... " */
    uint64_t sid;
    bool stored; /* it comes from the offline store */
};
struct pass { /* es_IN was answered with PASS */
    uint64_t sid;
    char *session;
};

static struct {
    struct list streams, waiting;
    bool down[SERVERS], understood;
    unsigned plan, plans_used;
    char mode;
    struct compliance_config *plans[PLANS];
    struct pass *passes;
    unsigned n_passes;
} servers;

/* ---- streams ---- */

static void stream_free(struct component *c)
{
    LIST_EACH_SAFE(node, next, &servers.waiting)
    {
        struct event_seen *e = CONTAINER_OF(node, struct event_seen, node);
        if (e->stream != c) continue;
        list_remove(node);
        free(e->number), free(e->name), free(e->session), free(e->start), free(e);
    }
    list_remove(&c->node);
    buf_free(&c->out);
    xml_parser_free(c->parser);
    free(c);
}

static void stream_end(void *arg)
{
    struct component *c = arg;
    c->ops->on_end(c->owner, &(struct component_end){.graceful = c->graceful, .text = "the stream is over"});
    stream_free(c);
}

static void end_soon(struct component *c, bool graceful)
{
    c->open = false;
    if (c->ending) return;
    c->ending = true;
    c->graceful = graceful;
    loop_post(stream_end, c);
}

static void stream_dialled(void *arg)
{
    struct component *c = arg;
    if (c->ending) return;
    if (servers.down[c->server]) {
        end_soon(c, false);
        return;
    }
    if (c->ops->on_connected != NULL) c->ops->on_connected(c->owner);
    if (c->ending) return;
    c->open = true;
    c->ops->on_open(c->owner);
}

static enum xml_next on_header(void *owner, const struct xml_header *h) { return (void)owner, (void)h, XML_GO_ON; }
static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct component *c = owner;
    if (c->open) c->ops->on_element(c->owner, e);
    return XML_GO_ON;
}

static void parser_renew(struct component *c)
{
    static const char header[] = "<stream:stream xmlns='" NS_COMPONENT_CONNECT "' xmlns:stream='" NS_STREAMS "'>";
    static const struct xml_parser_ops ops = {on_header, on_element};
    xml_parser_free(c->parser);
    c->parser = xml_parser_new(NULL, &ops, c);
    MUST_HOLD(xml_parser_feed(c->parser, header, sizeof header - 1, NULL) == XML_FED);
}

struct component *component_dial(const struct component_target *target, const struct component_limits *limits, const struct component_ops *ops, void *owner)
{
    (void)limits;
    struct component *c = x_calloc(1, sizeof *c);
    c->ops = ops;
    c->owner = owner;
    c->server = strncmp(target->name, "op-wall.", 8) == 0 ? 0 : 1;
    list_push_back(&servers.streams, &c->node);
    parser_renew(c);
    loop_post(stream_dialled, c);
    return c;
}

void component_set_limits(struct component *c, const struct component_limits *limits) { (void)c, (void)limits; }
void component_set_owner(struct component *c, const struct component_ops *ops, void *owner)
{
    c->ops = ops;
    c->owner = owner;
}

struct buf *component_out(struct component *c) { return &c->out; }
bool component_over(const struct component *c) { return (void)c, false; }
void component_close(struct component *c) { end_soon(c, true); }
void component_abort(struct component *c, const char *why) { (void)why, end_soon(c, false); }
const char *component_peer(const struct component *c) { return (void)c, "192.0.2.2:5347"; }
/* Of direction accept only, which nobody has here. */
void component_refuse(struct component *c, const char *condition, const char *text) { (void)c, (void)condition, (void)text, abort(); }
const char *component_stream_name(const struct component *c) { (void)c, abort(); }
void component_admit(struct component *c) { (void)c, abort(); }
struct conn *component_conn(const struct component *c) { (void)c, abort(); }
void component_move(struct component *c, uint32_t worker, component_moved_fn fn, void *arg) { (void)c, (void)worker, (void)fn, (void)arg, abort(); }
struct component *component_accept(struct conn *take, const struct component_limits *limits, const struct component_ops *ops, void *owner)
{
    (void)take, (void)limits, (void)ops, (void)owner, abort();
}
void conn_abort(struct conn *c, const struct err *why) { (void)c, (void)why, abort(); }
void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner) { (void)c, (void)ops, (void)owner, abort(); }
const char *conn_peer(const struct conn *c) { (void)c, abort(); }
struct conn_listener *conn_listen(const char *host, uint16_t port, conn_accept_fn fn, void *arg, struct err *err)
{
    (void)host, (void)port, (void)fn, (void)arg, (void)err, abort();
}
uint16_t conn_listener_port(const struct conn_listener *l) { (void)l, abort(); }
void conn_listener_close(struct conn_listener *l) { (void)l, abort(); }
struct tls_context *tls_client_new(const char *ca, bool verify, struct err *err) { (void)ca, (void)verify, (void)err, abort(); }
int tls_client_show(struct tls_context *t, const char *cert, const char *key, struct err *err) { (void)t, (void)cert, (void)key, (void)err, abort(); }
struct tls_context *tls_ref(struct tls_context *t) { (void)t, abort(); }
void tls_unref(struct tls_context *t) { (void)t, abort(); }
bool conn_is_tls(const struct conn *c) { (void)c, abort(); }
int conn_start_tls(struct conn *c, struct tls_context *ctx, bool server, const char *name, struct err *err)
{
    (void)c, (void)ctx, (void)server, (void)name, (void)err, abort();
}
int conn_tls_check_client(const struct conn *c, const struct tls_context *authorities, const char *name, struct err *err)
{
    (void)c, (void)authorities, (void)name, (void)err, abort();
}

/* ---- events ---- */

static void server_answers_first(void *arg)
{
    (void)arg;
    char how[] = {servers.mode, '\0'};
    if (servers.mode != 'n') server_answers(0, how);
}

/* The value of an attribute, as it stands there, in a start tag that Signet has written; absent: "". */
static char *attribute(const char *tag, const char *name)
{
    struct buf key = {0};
    buf_addf(&key, " %s='", name);
    const char *end = strchr(tag, '>'), *at = strstr(tag, buf_cstr(&key));
    struct str value = STR("");
    if (at != NULL && at < end) value = (struct str){at + key.len, strcspn(at + key.len, "'")};
    buf_free(&key);
    return str_dup(value);
}

static void event_came(struct component *c, const char *iq)
{
    static const char wrapper[] = "<forwarded xmlns='urn:xmpp:forward:0'>";
    const char *event = strstr(iq, "<event "), *stanza = strstr(iq, wrapper);
    MUST_HOLD(event != NULL && stanza != NULL);
    stanza += sizeof wrapper - 1;
    struct event_seen *e = x_calloc(1, sizeof *e);
    char *sid = attribute(event, "stanza");
    MUST_HOLD(stanza_id_parse(sid, &e->sid) == 0);
    free(sid);
    e->stream = c;
    e->number = attribute(iq, "id");
    e->name = attribute(event, "name");
    e->session = attribute(event, "session");
    char *copy = attribute(event, "copy");
    e->stored = strcmp(copy, "offline") == 0;
    free(copy);
    size_t n = strcspn(stanza, ">");
    e->start = str_dup((struct str){stanza, stanza[n - 1] == '/' ? n - 1 : n});
    list_push_back(&servers.waiting, &e->node);
    loop_post(server_answers_first, NULL);
}

struct pong {
    struct component *stream;
    char *number;
};

static bool stream_there(const struct component *c)
{
    LIST_EACH(node, &servers.streams)
    {
        if (CONTAINER_OF(node, struct component, node) == c) return c->open;
    }
    return false;
}

static void say(struct component *c, struct str text)
{
    if (!stream_there(c)) return;
    if (c->ops->on_heard != NULL) c->ops->on_heard(c->owner);
    if (!stream_there(c)) return;
    if (xml_parser_feed(c->parser, text.p, text.n, NULL) != XML_FED || !xml_parser_between(c->parser)) parser_renew(c);
}

static void pong(void *arg)
{
    struct pong *p = arg;
    struct buf b = {0};
    buf_addf(&b, "<iq type='result' id='%s'/>", p->number);
    say(p->stream, buf_str(&b));
    buf_free(&b);
    free(p->number);
    free(p);
}

/* One element at a time: that is how links write. */
void component_wrote(struct component *c)
{
    const char *text = buf_cstr(&c->out);
    if (c->open && strncmp(text, "<iq type='set'", 14) == 0) event_came(c, text);
    if (c->open && strncmp(text, "<iq type='get'", 14) == 0) {
        struct pong *p = x_calloc(1, sizeof *p);
        *p = (struct pong){c, attribute(text, "id")};
        loop_post(pong, p);
    }
    buf_reset(&c->out);
}

static void note_pass(const struct event_seen *e)
{
    if (strcmp(e->name, "es_IN") != 0) return;
    if (servers.n_passes % 64 == 0) servers.passes = x_realloc(servers.passes, (servers.n_passes + 64) * sizeof *servers.passes);
    servers.passes[servers.n_passes++] = (struct pass){e->sid, x_strdup(e->session)};
}

bool server_passed(uint64_t sid, struct str session)
{
    for (unsigned i = 0; i < servers.n_passes; i++)
        if (servers.passes[i].sid == sid && str_is(session, servers.passes[i].session)) return true;
    return false;
}

bool servers_asked_for_all(void) { return servers.understood && servers.plans_used == 1 && (servers.plan == 1 || servers.plan == 2); }

static void add_stanza(struct buf *b, const struct event_seen *e, const char *inner)
{
    const char *end = strchr(e->start, ' ');
    buf_addf(b, "%s>%s</%.*s>", e->start, inner, (int)(end - e->start - 1), e->start + 1);
}

/* A message that compliance has turned into one that is not kept need not reach anybody. */
static void note_change(struct sent_message *m, struct str text)
{
    struct err err;
    struct stanza *s = m != NULL ? stanza_from_text(text, &err) : NULL;
    if (m != NULL && (s == NULL || s->kind != STANZA_MESSAGE || !offline_storable(s))) m->excused = true;
    stanza_unref(s);
}

static void add_answer(struct buf *b, const struct event_seen *e, const char *how)
{
    const char *rest = how[0] != '\0' ? how + 1 : how;
    struct sent_message *m = message_of(e->sid);
    switch (how[0]) {
    case 's': /* the same stanza with these children */
    case 'S': /* another one */
        buf_addf(b, "<iq type='result' id='%s'><pass xmlns='urn:signet:event-broker:0'>", e->number);
        size_t at = b->len;
        if (how[0] == 's')
            add_stanza(b, e, rest);
        else
            buf_adds(b, rest);
        note_change(m, (struct str){b->data + at, b->len - at});
        buf_adds(b, "</pass></iq>");
        note_pass(e);
        break;
    case 'c': /* the primary session */
        buf_addf(b, "<iq type='result' id='%s'><pass xmlns='urn:signet:event-broker:0' session='%.*s'/></iq>", e->number, (int)strcspn(rest, "'<&"), rest);
        note_pass(e);
        break;
    case 'h':
        if (m != NULL) m->excused = true;
        buf_addf(b, "<iq type='result' id='%s'><handle xmlns='urn:signet:event-broker:0'>%s</handle></iq>", e->number, rest);
        break;
    case 'e':
        if (m != NULL && e->stored) m->excused = true; /* its sender has long gone: nobody is told */
        buf_addf(b, "<iq type='error' id='%s'><error type='cancel'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", e->number,
                 rest[0] >= 'a' && rest[0] <= 'z' ? rest : "not-allowed");
        break;
    case 'x': /* whatever: what it means only the broker knows */
        servers.understood = false;
        if (m != NULL) m->excused = true;
        buf_addf(b, "<iq id='%s' %s", e->number, rest);
        break;
    default:
        buf_addf(b, "<iq type='result' id='%s'/>", e->number);
        note_pass(e);
        break;
    }
}

void server_answers(unsigned nth, const char *how)
{
    struct list *node = servers.waiting.next;
    while (nth-- > 0 && node != &servers.waiting) node = node->next;
    if (node == &servers.waiting) return;
    struct event_seen *e = CONTAINER_OF(node, struct event_seen, node);
    struct buf b = {0};
    add_answer(&b, e, how);
    struct component *c = e->stream;
    list_remove(&e->node);
    free(e->number), free(e->name), free(e->session), free(e->start), free(e);
    say(c, buf_str(&b));
    buf_free(&b);
}

void servers_mode(char mode)
{
    servers.mode = strchr("phens", mode) != NULL && mode != '\0' ? mode : 'n';
    if (servers.mode == 'n') return;
    for (struct list *node = servers.waiting.next; node != &servers.waiting; node = node->next) loop_post(server_answers_first, NULL);
}

/* ---- outages ---- */

void server_fails(unsigned server, bool gracefully)
{
    servers.down[server] = true;
    LIST_EACH_SAFE(node, next, &servers.streams)
    {
        struct component *c = CONTAINER_OF(node, struct component, node);
        if (c->server == server && c->open) end_soon(c, gracefully);
    }
}

void server_returns(unsigned server) { servers.down[server] = false; }

void servers_recover(void)
{
    for (unsigned i = 0; i < SERVERS; i++) server_returns(i);
    servers_mode('p');
}

/* ---- plans ---- */

#define SERVER(name) "{\"name\":\"" name "\",\"host\":\"127.0.0.1\",\"port\":7001,\"password\":\"secret\",\"direction\":\"connect\"}"
#define ROW(event, handling, fire) "{\"event\":\"" event "\",\"packet\":\"all\",\"handling\":\"" handling "\",\"fire_and_forget\":" fire "}"
#define ROWS(handling, fire) \
    ROW("e_AUTH", handling, fire) "," ROW("e_REGISTER", handling, fire) "," ROW("e_SESSION", handling, fire) "," ROW("es_OUT", handling, fire) "," \
    ROW("e_SERVER", handling, fire) "," ROW("e_DISCOFEAT", handling, fire) "," ROW("e_DELIVER", handling, fire) "," \
    ROW("e_PRISESSION", handling, fire) "," ROW("e_OFFLINE", handling, fire) "," ROW("es_IN", handling, fire) "," ROW("es_END", "pass", fire)
#define PROFILE(name, rows) "{\"name\":\"" name "\",\"rows\":[" rows "]}"
#define ASSIGNED(server, profile) "{\"node\":\"" NODE "\",\"server\":\"" server "\",\"profile\":\"" profile "\"}"
#define PLAN(profiles, assignments) "{\"servers\":[" SERVER("wall") "," SERVER("log") "],\"profiles\":[" profiles "],\"assignments\":[" assignments "]}"
static const char *const plans[PLANS] = {
    PLAN("", ""),
    PLAN(PROFILE("Wall", ROWS("bounce", "false")), ASSIGNED("wall", "Wall")),
    PLAN("", ASSIGNED("wall", SYSTEM_PROFILE)),
    PLAN(PROFILE("Wall", ROWS("bounce", "false")) "," PROFILE("Log", ROWS("pass", "false")), ASSIGNED("wall", "Wall") "," ASSIGNED("log", "Log")),
    PLAN(PROFILE("Log", ROWS("pass", "true")), ASSIGNED("log", "Log")),
    PLAN(PROFILE("Some", ROW("es_IN", "pass", "false") "," ROW("e_DELIVER", "bounce", "false") "," ROW("e_PRISESSION", "bounce", "false") "," ROW("e_OFFLINE", "bounce", "false")), ASSIGNED("wall", "Some")),
    PLAN(PROFILE("Wall", ROWS("bounce", "false")), ASSIGNED("wall", "Wall") "," ASSIGNED("log", "Wall")),
};

void servers_plan(unsigned plan)
{
    struct err err = {0};
    servers.plan = plan;
    servers.plans_used++;
    MUST_HOLD(broker_set_config(servers.plans[plan], &err) == 0);
}

void servers_start(const struct config *config)
{
    struct err err = {0};
    list_init(&servers.streams);
    list_init(&servers.waiting);
    for (unsigned i = 0; i < PLANS; i++) {
        servers.plans[i] = compliance_config_parse(str_of(plans[i]), 1, &err);
        if (servers.plans[i] == NULL) fprintf(stderr, "plan %u: %s\n", i, err.text);
        MUST_HOLD(servers.plans[i] != NULL);
    }
    MUST_HOLD(broker_start(config, NODE, 1, &err) == 0);
    broker_worker_start();
}

void servers_begin(void)
{
    memset(servers.down, 0, sizeof servers.down);
    servers.understood = true;
    servers.plan = servers.plans_used = 0;
    servers.mode = 'p';
}

void servers_end(void)
{
    MUST_HOLD(list_empty(&servers.streams) && list_empty(&servers.waiting));
    for (unsigned i = 0; i < servers.n_passes; i++) free(servers.passes[i].session);
    free(servers.passes);
    servers.passes = NULL;
    servers.n_passes = 0;
}
