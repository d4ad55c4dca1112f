/* Client streams as src/xmpp/c2s.h has them, without sockets, TLS and SASL; and the clients, who note all that they are sent, count it, acknowledge it,
 * resume, and send again what a server says it has not handled. */
#include "base/log.h"
#include "io/worker.h"
#include "jsm/features/features.h"
#include "jsm/jsm.h"
#include "world.h"
#include "xmpp/guard.h"
#include <string.h>

enum stream_state { STREAM_AUTH, STREAM_READY, STREAM_BINDING, STREAM_BOUND, STREAM_CLOSING };
struct c2s {
    struct list node; /* in streams.all */
    uint64_t id;
    struct client *client; /* NULL: a stranger, or one whose client has a newer one */
    void *session;
    struct arena *arena;
    struct jid user;
    enum stream_state state;
    unsigned paused;
    bool told, graceful, lost, full, wants_resume;
};

struct client clients[CLIENTS];
struct list messages;
static struct {
    const struct c2s_ops *ops;
    struct list all;
    uint64_t made;
    struct list excused; /* text_items: ids */
    struct arena *arena;
} streams;

static struct text_item *item_new(struct str text)
{
    struct text_item *item = x_calloc(1, sizeof *item);
    item->text = str_dup(text);
    return item;
}

static void item_free(struct text_item *item)
{
    free(item->text);
    free(item);
}

static void items_clear(struct list *items)
{
    struct list *node;
    while ((node = list_pop_front(items)) != NULL) item_free(CONTAINER_OF(node, struct text_item, node));
}

static void excuse(struct str id) { list_push_back(&streams.excused, &item_new(id)->node); }

bool id_excused(struct str id)
{
    LIST_EACH(node, &streams.excused)
    {
        if (str_is(id, CONTAINER_OF(node, struct text_item, node)->text)) return true;
    }
    return false;
}

struct sent_message *message_of(uint64_t sid)
{
    LIST_EACH(node, &messages)
    {
        struct sent_message *m = CONTAINER_OF(node, struct sent_message, node);
        if (m->sid == sid) return m;
    }
    return NULL;
}

/* ---- the end of a stream ---- */

static void stream_over(void *arg)
{
    struct c2s *c = arg;
    if (c->told) streams.ops->on_closed(c, c->graceful, "the stream is over");
    list_remove(&c->node);
    arena_free(c->arena);
    free(c);
}

static void client_loses(struct c2s *c)
{
    struct client *client = c->client;
    c->client = NULL;
    if (client == NULL || client->c2s != c) return;
    client->c2s = NULL;
    client->ended = true;
    items_clear(&client->inbox);
    if (client->token == NULL || !c->lost) client->open = false;
}

/* Not all that was on its way has arrived. It is sent again after a resumption; who cannot resume has lost it. */
static void lose_last(struct client *client, unsigned lost)
{
    while (lost-- > 0 && client->n_got > client->counted_from + client->acked && client->got[client->n_got - 1].epoch == client->epoch) {
        struct stanza *s = client->got[--client->n_got].stanza;
        struct sent_message *m = client->token == NULL ? message_of(s->sid) : NULL;
        if (m != NULL) m->excused = true;
        stanza_unref(s);
    }
}

void c2s_close(struct c2s *c, const char *condition, const char *text)
{
    (void)condition, (void)text;
    if (c->state == STREAM_CLOSING) return;
    c->state = STREAM_CLOSING;
    client_loses(c);
    loop_post(stream_over, c);
}

void c2s_close_all(const char *condition) { (void)condition, abort(); }

void client_cut(struct client *client, unsigned lost)
{
    struct c2s *c = client->c2s;
    if (c == NULL) return;
    c->state = STREAM_CLOSING;
    c->lost = true;
    lose_last(client, lost);
    client_loses(c);
    stream_over(c);
}

/* ---- what jsm asks ---- */

struct c2s *c2s_get(uint64_t id)
{
    LIST_EACH(node, &streams.all)
    {
        struct c2s *c = CONTAINER_OF(node, struct c2s, node);
        if (c->id == id) return c->state != STREAM_CLOSING ? c : NULL;
    }
    return NULL;
}

uint64_t c2s_id(const struct c2s *c) { return c->id; }
void *c2s_session(const struct c2s *c) { return c->session; }
void c2s_set_session(struct c2s *c, void *session) { c->session = session; }
const struct jid *c2s_user(const struct c2s *c) { return &c->user; }
const char *c2s_peer(const struct c2s *c) { return (void)c, "192.0.2.1:50000"; }
const char *c2s_mechanism(const struct c2s *c) { return (void)c, "SCRAM-SHA-256"; }
const char *c2s_tls_version(const struct c2s *c) { return (void)c, "TLSv1.3"; }
bool c2s_secure(const struct c2s *c) { return (void)c, true; }
struct str c2s_domain(const struct c2s *c) { return (void)c, STR(DOMAIN); }
struct str c2s_lang(const struct c2s *c) { return (void)c, STR_NONE; }
void c2s_peer_address(const struct c2s *c, char *out, size_t n) { (void)c, snprintf(out, n, "192.0.2.1"); }
bool guard_trusted(const char *address) { return (void)address, false; }
bool c2s_lost(const struct c2s *c) { return c->lost; }
bool c2s_full(const struct c2s *c) { return c->full; }

static void client_reads_on(void *arg);

void c2s_pause(struct c2s *c) { c->paused += c->state != STREAM_CLOSING; }
void c2s_resume(struct c2s *c)
{
    if (c->state == STREAM_CLOSING || c->paused == 0 || --c->paused > 0 || c->client == NULL) return;
    loop_post(client_reads_on, c->client);
}

/* ---- login, bind, resume ---- */

static struct stanza *element_of(const char *text)
{
    struct err err;
    struct buf b = {0};
    buf_addf(&b, "%s", text);
    struct stanza *s = stanza_from_text(buf_str(&b), &err);
    buf_free(&b);
    return s;
}

static void bind_now(struct c2s *c)
{
    struct buf b = {0};
    buf_addf(&b, "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>", c->client->resource);
    c->state = STREAM_BINDING;
    c2s_pause(c);
    c->client->epoch++;
    streams.ops->on_bind(c, element_of(buf_cstr(&b)));
    buf_free(&b);
}

static void login_done(void *arg)
{
    uint64_t id = (uint64_t)(uintptr_t)arg;
    struct c2s *c = c2s_get(id);
    if (c == NULL || c->client == NULL || c->state != STREAM_READY) return;
    struct client *client = c->client;
    if (!c->wants_resume || client->token == NULL) {
        bind_now(c);
        return;
    }
    c->state = STREAM_BINDING;
    c2s_pause(c);
    client->acked = client->n_got - client->counted_from;
    streams.ops->on_sm_resume(c, str_of(client->token), client->acked);
}

void c2s_auth_result(uint64_t id, const char *failure_condition)
{
    struct c2s *c = c2s_get(id);
    if (c == NULL) return;
    if (failure_condition != NULL) {
        c2s_close(c, NULL, NULL);
        return;
    }
    c->state = STREAM_READY;
    loop_post(login_done, (void *)(uintptr_t)id);
}

static struct c2s *stream_new(struct client *client)
{
    struct c2s *c = x_calloc(1, sizeof *c);
    c->id = ++streams.made;
    c->client = client;
    c->arena = arena_new(256);
    list_push_back(&streams.all, &c->node);
    return c;
}

static void login(struct client *client, bool resume)
{
    struct c2s *c = stream_new(client);
    client->c2s = c;
    c->user = jid_copy(c->arena, &client->user);
    c->wants_resume = resume;
    c->told = true;
    streams.ops->on_auth(c);
}

static void forget_session(struct client *client)
{
    free(client->token);
    client->token = NULL;
    client->sm = client->open = false;
    client->covered = client->sent = client->acked = 0;
    items_clear(&client->unacked);
    items_clear(&client->asked);
}

void client_connect(struct client *client)
{
    if (client->c2s != NULL) return;
    forget_session(client);
    login(client, false);
}

void client_resume(struct client *client)
{
    if (client->c2s == NULL) login(client, true);
}

void c2s_bound(struct c2s *c, const struct jid *full)
{
    if (c->state != STREAM_BINDING) return;
    c->state = STREAM_BOUND;
    c->user = jid_copy(c->arena, full);
    if (c->client != NULL) {
        if (!c->wants_resume) forget_session(c->client);
        c->client->open = true;
    }
    c2s_resume(c);
}

void c2s_bind_refused(struct c2s *c)
{
    if (c->state != STREAM_BINDING) return;
    c->state = STREAM_READY;
    c2s_close(c, NULL, NULL); /* this client gives up */
}

void c2s_registration_done(uint64_t id, bool account_made)
{
    (void)account_made;
    struct c2s *c = c2s_get(id);
    if (c != NULL) c2s_close(c, NULL, NULL);
}

void stranger_says(const char *iq)
{
    struct buf b = {0};
    buf_addf(&b, "<iq xmlns='jabber:client' %s", iq);
    struct stanza *s = element_of(buf_cstr(&b));
    buf_free(&b);
    if (s == NULL || !stanza_is_request(s) || jid_present(&s->from)) {
        stanza_unref(s);
        return;
    }
    struct c2s *c = stream_new(NULL);
    c->paused = 1;
    streams.ops->on_register(c, s);
}

/* ---- stream management ---- */

static void cover(struct client *client, uint32_t h)
{
    MUST_HOLD(h >= client->covered && h <= client->sent);
    for (; client->covered < h; client->covered++) item_free(CONTAINER_OF(list_pop_front(&client->unacked), struct text_item, node));
}

void c2s_sm_enabled(struct c2s *c, const char *token, uint32_t max_s)
{
    struct client *client = c->client;
    (void)max_s;
    if (client == NULL || client->sm) return;
    client->sm = true;
    if (token != NULL) client->token = x_strdup(token);
    client->counted_from = client->n_got;
    client->covered = client->sent = client->acked = 0;
}

void c2s_sm_failed(struct c2s *c, const char *condition, const uint32_t *h)
{
    (void)condition, (void)h;
    if (c->state != STREAM_BINDING) return;
    c->state = STREAM_READY;
    c2s_resume(c);
    if (c->client == NULL) return;
    forget_session(c->client);
    c->wants_resume = false;
    loop_post(login_done, (void *)(uintptr_t)c->id); /* what it sends next is read from the loop */
}

/* What the server has not handled comes first. */
void c2s_sm_resumed(struct c2s *c, const struct jid *full, const char *token, uint32_t h)
{
    struct client *client = c->client;
    if (c->state != STREAM_BINDING) return;
    MUST_HOLD(client != NULL && strcmp(token, client->token) == 0);
    cover(client, h);
    client->sent = h;
    while (!list_empty(&client->unacked)) {
        struct list *node = client->unacked.prev;
        list_remove(node);
        struct text_item *item = CONTAINER_OF(node, struct text_item, node);
        item->text[0] = 'a'; /* again */
        list_push_front(&client->inbox, node);
    }
    c2s_bound(c, full);
}

void c2s_sm_ack(struct c2s *c, uint32_t h)
{
    if (c->client != NULL && c->client->sm) cover(c->client, h);
}

void c2s_sm_request(struct c2s *c) { (void)c; }
void c2s_sm_too_high(struct c2s *c, uint32_t h, uint32_t sent)
{
    (void)c, (void)h, (void)sent;
    bool counts_right = false;
    MUST_HOLD(counts_right); /* these clients do */
}

/* ---- what the client is sent ---- */

static void note_request(struct client *client, const struct stanza *s)
{
    bool of_client = jid_present(&s->from) && s->from.local.p != NULL;
    if (of_client) excuse(s->id);
    struct buf b = {0};
    BUF_ADD_LIT(&b, "1<iq type='result'");
    if (s->id.p != NULL) {
        struct stanza *id = stanza_make(STANZA_IQ, IQ_RESULT, NULL, jid_present(&s->from) ? &s->from : NULL, s->id, STR(""));
        buf_reset(&b);
        buf_addc(&b, '1');
        stanza_write(&b, id, NULL);
        stanza_unref(id);
    }
    list_push_back(&client->asked, &item_new(buf_str(&b))->node);
    buf_free(&b);
}

/* What is sent is with the client at once. */
uint64_t c2s_taken(struct c2s *c) { return (void)c, 0; }
void c2s_abort(struct c2s *c, const char *why) { (void)c, (void)why; }

static void client_gets(struct c2s *c, const struct stanza *s)
{
    struct client *client = c->client;
    struct buf b = {0};
    struct err err;
    stanza_write(&b, s, NS_CLIENT);
    struct stanza *again = stanza_from_text(buf_str(&b), &err);
    if (log_enabled(LOG_LEVEL_DEBUG)) log_debug("fuzz", "%llx to %s: %s", (unsigned long long)s->sid, client != NULL ? c->user.full.p : "a stranger", buf_cstr(&b));
    MUST_HOLD(again != NULL && again->kind == s->kind && again->type == s->type && again->n_children == s->n_children);
    stanza_unref(again);
    buf_free(&b);
    if (client == NULL || c->state != STREAM_BOUND || str_is(s->id, "bind")) return;
    if (s->kind == STANZA_MESSAGE && s->type != MESSAGE_ERROR && servers_asked_for_all()) MUST_HOLD(server_passed(s->sid, c->user.full));
    if (client->n_got % 64 == 0) client->got = x_realloc(client->got, (client->n_got + 64) * sizeof *client->got);
    client->got[client->n_got++] = (struct got){.stanza = stanza_ref(s), .epoch = client->epoch};
    if (stanza_is_request(s)) note_request(client, s);
}

uint64_t c2s_send_stanza(struct c2s *c, const struct stanza *s)
{
    if (c->state == STREAM_CLOSING) return UINT64_MAX;
    client_gets(c, s);
    return 0;
}

void client_output(struct client *client, bool full)
{
    struct c2s *c = client->c2s;
    if (c == NULL || c->state != STREAM_BOUND || c->full == full) return;
    c->full = full;
    if (!full) streams.ops->on_drain(c);
}

/* ---- what the client sends ---- */

static struct stanza *sent_element;
static enum xml_next on_header(void *owner, const struct xml_header *h) { return (void)owner, (void)h, XML_GO_ON; }
static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct err err;
    const char *condition;
    (void)owner;
    bool is_stanza = str_is(e->ns, NS_CLIENT) && (str_is(e->name, "message") || str_is(e->name, "presence") || str_is(e->name, "iq"));
    sent_element = is_stanza ? stanza_from_element(e, &condition, &err) : NULL;
    return XML_STOP;
}

/* One stanza in the context of a stream; NULL: it is none that would get through. */
static struct stanza *stanza_sent(const char *text)
{
    static const char header[] = "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAMS "'>";
    static const struct xml_parser_ops ops = {on_header, on_element};
    struct xml_parser *p = xml_parser_new(NULL, &ops, NULL);
    sent_element = NULL;
    if (xml_parser_feed(p, header, sizeof header - 1, NULL) == XML_FED) (void)xml_parser_feed(p, text, strlen(text), NULL);
    xml_parser_free(p);
    return sent_element;
}

static bool from_ok(const struct c2s *c, const struct jid *from)
{
    return !jid_present(from) || (jid_bare_eq(from, &c->user) && (!jid_is_full(from) || jid_eq(from, &c->user)));
}

static void note_sent(struct client *client, const struct stanza *s, uint64_t sid)
{
    if (stanza_is_request(s) && s->id.p != NULL) {
        struct request *r = arena_zalloc(streams.arena, sizeof *r);
        *r = (struct request){.id = arena_str(streams.arena, s->id), .epoch = client->epoch};
        list_push_back(&client->requests, &r->node);
    }
    if (s->type == IQ_RESULT || s->type == IQ_ERROR) excuse(s->id);
    if (s->type == IQ_SET && stanza_child(s, "block", "urn:xmpp:blocking") != NULL) {
        for (unsigned i = 0; i < CLIENTS; i++) clients[i].blocks |= jid_eq(&clients[i].user, &client->user);
    }
    if ((s->type != MESSAGE_CHAT && s->type != MESSAGE_NORMAL) || s->kind != STANZA_MESSAGE || !offline_storable(s)) return;
    struct sent_message *m = arena_zalloc(streams.arena, sizeof *m);
    *m = (struct sent_message){.sid = sid, .client = client->slot, .epoch = client->epoch};
    list_push_back(&messages, &m->node);
}

static void send_stanza(struct client *client, const char *text, bool again)
{
    struct c2s *c = client->c2s;
    struct stanza *s = stanza_sent(text);
    if (s == NULL) return;
    if (!from_ok(c, &s->from)) {
        stanza_unref(s);
        c2s_close(c, "invalid-from", NULL);
        return;
    }
    if (client->sm) {
        struct buf b = {0};
        buf_addf(&b, "1%s", text);
        list_push_back(&client->unacked, &item_new(buf_str(&b))->node);
        buf_free(&b);
        client->sent++;
    }
    if (!again) note_sent(client, s, stanza_id_next() + 1); /* the next one is what it gets when it is accepted */
    streams.ops->on_stanza(c, s);
}

static void farewell(struct c2s *c)
{
    (void)streams.ops->on_sm_request(c);
    if (c->state == STREAM_CLOSING) return;
    c->graceful = true;
    c2s_close(c, NULL, NULL);
}

static void obey(struct client *client, const char *line)
{
    struct c2s *c = client->c2s;
    switch (line[0]) {
    case 'a': /* sent again after a resumption */
    case '1': send_stanza(client, line + 1, line[0] == 'a'); break;
    case '-': farewell(c); break;
    case 's': streams.ops->on_sm_enable(c, true, UINT32_MAX); break;
    case 'k':
        if (client->sm) client->acked = client->n_got - client->counted_from;
        (void)streams.ops->on_sm_ack(c, client->acked);
        break;
    case 'r': (void)streams.ops->on_sm_request(c); break;
    case 'z': streams.ops->on_client_state(c, false); break;
    case 'w': streams.ops->on_client_state(c, true); break;
    case 'x': streams.ops->on_reject(c, stanza_make(STANZA_MESSAGE, MESSAGE_ERROR, NULL, &c->user, STR_NONE, STR("<error type='modify'><bad-request xmlns='" NS_STANZAS "'/></error>"))); break;
    default: break;
    }
}

static bool may_read(const struct client *client) { return client->c2s != NULL && client->c2s->state == STREAM_BOUND && client->c2s->paused == 0; }

static void client_reads_on(void *arg)
{
    struct client *client = arg;
    if (client->reading) return;
    client->reading = true;
    while (may_read(client) && !list_empty(&client->inbox)) {
        struct text_item *item = CONTAINER_OF(list_pop_front(&client->inbox), struct text_item, node);
        if (item->text[0] == 'x' && client->sm) client->sent++, list_push_back(&client->unacked, &item_new(STR("1"))->node);
        obey(client, item->text);
        item_free(item);
    }
    client->reading = false;
}

void client_says(struct client *client, const char *line)
{
    if (client->c2s == NULL) return;
    list_push_back(&client->inbox, &item_new(str_of(line))->node);
    client_reads_on(client);
}

void client_answers(struct client *client)
{
    struct list *node;
    if (client->c2s == NULL) return;
    while ((node = list_pop_front(&client->asked)) != NULL) {
        struct text_item *item = CONTAINER_OF(node, struct text_item, node);
        client_says(client, item->text);
        item_free(item);
    }
}

/* ---- scripts ---- */

void streams_start(const struct config *config)
{
    static const struct {
        const char *user, *resource;
    } rows[CLIENTS] = {{"romeo@" DOMAIN, "a"}, {"juliet@" DOMAIN, "a"}, {"romeo@" DOMAIN, "b"}, {"tybalt@" DOMAIN, "a"}, {"juliet@" DOMAIN, "a"}};
    (void)config;
    struct arena *a = arena_new(0); /* for good */
    struct err err;
    streams.ops = &jsm_c2s_ops;
    list_init(&streams.all);
    list_init(&streams.excused);
    list_init(&messages);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &clients[i];
        client->slot = i;
        client->resource = rows[i].resource;
        MUST_HOLD(jid_parse(a, str_of(rows[i].user), &client->user, &err) == 0);
        list_init(&client->unacked);
        list_init(&client->inbox);
        list_init(&client->requests);
        list_init(&client->asked);
    }
}

void streams_begin(void)
{
    streams.arena = arena_new(0);
    streams.made = 0;
}

void streams_end(void)
{
    MUST_HOLD(list_empty(&streams.all));
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &clients[i];
        MUST_HOLD(client->c2s == NULL);
        forget_session(client);
        items_clear(&client->inbox);
        for (unsigned g = 0; g < client->n_got; g++) stanza_unref(client->got[g].stanza);
        free(client->got);
        client->got = NULL;
        client->n_got = client->counted_from = client->acked = client->epoch = 0;
        client->ended = client->blocks = false;
        list_init(&client->requests);
    }
    items_clear(&streams.excused);
    list_init(&messages);
    arena_free(streams.arena);
}
