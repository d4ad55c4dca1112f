/* A whole client stream: whatever bytes a client may send, from its first header through TLS, SASL and bind to its stanzas, in whatever pieces, with the
 * connection cut and time passing in between. The stream is the service's own; the network is memory_io, the layer above is a small one here.
 *
 * The first byte of an input chooses the network (see begin()), the rest is what the client sends. XML has no use for NUL and its neighbours, so they
 * steer: NUL ends a piece and lets all that is under way come to its end, 1 lets half a second pass, 2 lets a minute pass, 3 cuts the connection.
 *
 * Must hold: what the server says is well-formed XML from its header to its end, of one stream after the other, and nothing comes behind the end; it never
 * says SASL succeeded for a client that was not verified, and no stanza reaches the layer above before a resource is bound, or in another's name; the layer
 * above hears of the end exactly once; nothing is left when the connection has gone. */
#include "fuzz.h"
#include "base/log.h"
#include "base/metric.h"
#include "memory_io.h"
#include "xml/writer.h"
#include "xmpp/c2s_private.h"
#include "xmpp/guard.h"
#include <string.h>
#include <unistd.h>

enum { TURN = 0, HALF_SECOND = 1, MINUTE = 2, CUT = 3, RESUMED_H = 7 };
enum { PLAIN_OK = 1, DIRECT_TLS = 2, BINDING = 4, UNIQUE = 8, CERTIFICATE = 16, NO_TLS = 32, NO_MOVE = 64, REGISTER = 128 };
#define DOMAIN   "capulet.lit"
#define PASSWORD "R0m30 mine"

static struct config config;
static struct scram_keys keys[SCRAM_HASHES];
static struct { /* of the present stream, as the layer above knows it */
    bool verified, bound, told_end;
    unsigned sent_up;
    bool sm;
} up;

/* ---- what the server says ---- */

static struct {
    struct xml_parser *parser;
    size_t read;
    bool header, closed;
    enum { SASL_NONE, SASL_SUCCESS } sasl;
} said;

static enum xml_next said_header(void *owner, const struct xml_header *header)
{
    (void)owner;
    MUST_HOLD(!said.header && !said.closed);
    MUST_HOLD(str_is(header->name, "stream") && str_is(header->ns, NS_STREAMS) && str_is(header->default_ns, NS_CLIENT));
    MUST_HOLD(stream_header_attr(header, "id").n == STREAM_ID_SIZE - 1 && stream_header_attr(header, "from").n > 0);
    said.header = true;
    return XML_GO_ON;
}

static enum xml_next said_element(void *owner, const struct xml_element *e)
{
    (void)owner;
    MUST_HOLD(said.header);
    bool success = str_is(e->name, "success") && str_is(e->ns, NS_SASL), proceed = str_is(e->name, "proceed") && str_is(e->ns, NS_TLS);
    if (success) MUST_HOLD(up.verified && (memory.tls || (config.c2s_plain_loopback && strncmp(memory.peer, "127.", 4) == 0)));
    if (str_is(e->name, "error") && str_is(e->ns, NS_STREAMS)) MUST_HOLD(e->n_children >= 1 && (str_is(e->children[0].ns, NS_STREAM_ERRORS)));
    if (!success && !proceed) return XML_GO_ON;
    said.header = false;
    xml_parser_restart(said.parser);
    return XML_STOP;
}

static void listen_to(void)
{
    while (said.read < memory.out.len) {
        size_t used = 0;
        MUST_HOLD(!said.closed);
        enum xml_status status = xml_parser_feed(said.parser, memory.out.data + said.read, memory.out.len - said.read, &used);
        said.read += used;
        bool well_formed = status == XML_FED || status == XML_STOPPED || status == XML_CLOSED;
        if (!well_formed) fprintf(stderr, "%s in: %.*s\n", xml_parser_problem(said.parser), (int)memory.out.len, memory.out.data);
        MUST_HOLD(well_formed);
        if (status == XML_CLOSED) said.closed = true;
    }
}

/* ---- the layer above ---- */

struct question {
    uint64_t id;
    c2s_account_fn fn;
    bool flag, disabled;
    struct stanza *stanza;
};

static struct question *ask(void (*run)(void *arg), uint64_t id)
{
    struct question *q = x_calloc(1, sizeof *q);
    q->id = id;
    later(run, q);
    return q;
}

static bool up_domain_served(struct str domain) { return str_is(domain, DOMAIN) || str_is(domain, "montague.lit"); }

static void account_run(void *arg)
{
    struct question *q = arg;
    struct c2s_account account = {.exists = q->flag, .disabled = q->disabled};
    memcpy(account.keys, keys, sizeof keys);
    q->fn(q->id, &account, NULL);
    free(q);
}

static void account_fails(void *arg)
{
    struct question *q = arg;
    struct err err;
    err_set(&err, ERR_IO, "the disk is on fire");
    q->fn(q->id, NULL, &err);
    free(q);
}

/* Everybody has an account but those whose names begin with x; that of those whose names begin with d is disabled. */
static void up_account_get(const struct jid *user, uint64_t id, c2s_account_fn fn)
{
    MUST_HOLD(user->local.n > 0 && !user->resource.p && up_domain_served(user->domain));
    struct question *q = ask(str_is(user->local, "fault") ? account_fails : account_run, id);
    q->fn = fn;
    q->flag = user->local.p[0] != 'x';
    q->disabled = user->local.p[0] == 'd';
}

static uint32_t up_owner(const struct jid *user)
{
    (void)user;
    return 1;
}

static void auth_run(void *arg)
{
    struct question *q = arg;
    if (!q->flag && c2s_get(q->id)) up.verified = true;
    c2s_auth_result(q->id, q->flag ? "temporary-auth-failure" : NULL);
    c2s_auth_result(q->id, NULL);
    free(q);
}

static void up_on_auth(struct c2s *c)
{
    MUST_HOLD(c2s_get(c2s_id(c)) == c && worker_id() == 1 && !up.verified && c2s_user(c)->local.p[0] != 'd');
    ask(auth_run, c2s_id(c))->flag = str_is(c2s_user(c)->local, "tybalt");
}

static void register_run(void *arg)
{
    struct question *q = arg;
    struct c2s *c = c2s_get(q->id);
    if (c) {
        struct stanza *answer = stanza_error(q->stanza, "not-acceptable", NULL, NULL);
        c2s_send_stanza(c, answer);
        stanza_unref(answer);
    }
    c2s_registration_done(q->id, true);
    stanza_unref(q->stanza);
    free(q);
}

static void up_on_register(struct c2s *c, struct stanza *take)
{
    MUST_HOLD(config.register_enabled && !up.verified && stanza_is_request(take));
    ask(register_run, c2s_id(c))->stanza = take;
}

static void bind_run(void *arg)
{
    struct question *q = arg;
    struct c2s *c = c2s_get(q->id);
    struct arena *a = arena_new(0);
    struct err err;
    struct jid full;
    if (c && c->state == C2S_BINDING) {
        struct xml_node *root = stanza_tree(q->stanza, NULL, a, &err);
        MUST_HOLD(root != NULL);
        struct xml_node *resource = xml_node_child(xml_node_child(root, "bind", NS_BIND), "resource", NS_BIND);
        struct str wanted = resource ? xml_node_text(a, resource) : STR("garden");
        struct stanza *answer;
        if (str_is(wanted, "taken") || jid_prep_resource(a, wanted, &wanted, &err) < 0) {
            answer = stanza_error(q->stanza, "conflict", "modify", NULL);
            c2s_bind_refused(c);
        } else {
            full = jid_with_resource(a, c2s_user(c), wanted);
            up.bound = true;
            c2s_bound(c, &full);
            answer = stanza_result(q->stanza, STR(""));
        }
        c2s_send_stanza(c, answer);
        stanza_unref(answer);
    }
    arena_free(a);
    stanza_unref(q->stanza);
    free(q);
}

static void up_on_bind(struct c2s *c, struct stanza *take)
{
    MUST_HOLD(up.verified && !up.bound && take->type == IQ_SET && take->n_children == 1);
    ask(bind_run, c2s_id(c))->stanza = take;
}

static void nap_over(void *arg)
{
    struct question *q = arg;
    struct c2s *c = c2s_get(q->id);
    if (c) c2s_resume(c);
    free(q);
}

static void up_on_stanza(struct c2s *c, struct stanza *take)
{
    MUST_HOLD(up.verified && up.bound && !up.told_end);
    MUST_HOLD(!jid_present(&take->from) || jid_bare_eq(&take->from, c2s_user(c)));
    MUST_HOLD(!stanza_is_request(take) || take->n_children == 1);
    struct jid none = {0};
    struct stanza *echo = stanza_with(take, &(struct stanza_change){.from = &none, .to = c2s_user(c)});
    c2s_send_stanza(c, echo);
    stanza_unref(echo);
    up.sent_up++;
    if (str_is(take->id, "pause")) {
        c2s_pause(c);
        ask(nap_over, c2s_id(c));
    }
    if (str_is(take->id, "kick")) c2s_close(c, "conflict", "replaced");
    stanza_unref(take);
}

static void up_on_reject(struct c2s *c, struct stanza *take_reply)
{
    MUST_HOLD(up.bound);
    if (take_reply == NULL) return;
    MUST_HOLD(stanza_is_error(take_reply));
    c2s_send_stanza(c, take_reply);
    stanza_unref(take_reply);
}

static void up_on_client_state(struct c2s *c, bool active) { (void)c, (void)active; MUST_HOLD(up.bound); }

static void up_on_sm_enable(struct c2s *c, bool resume, uint32_t max_s)
{
    MUST_HOLD(up.bound);
    if (up.sm) {
        c2s_sm_failed(c, "unexpected-request", NULL);
        return;
    }
    up.sm = true;
    c2s_sm_enabled(c, resume ? "token" : NULL, max_s < 600 ? max_s : 600);
}

static void resume_run(void *arg)
{
    struct question *q = arg;
    struct c2s *c = c2s_get(q->id);
    uint32_t h = RESUMED_H;
    if (c && q->flag) {
        struct arena *a = arena_new(0);
        struct jid full = jid_with_resource(a, c2s_user(c), STR("resumed"));
        up.bound = up.sm = true;
        c2s_sm_resumed(c, &full, "token", h);
        arena_free(a);
    } else if (c) {
        c2s_sm_failed(c, "item-not-found", &h);
    }
    free(q);
}

static void up_on_sm_resume(struct c2s *c, struct str previd, uint32_t h)
{
    MUST_HOLD(up.verified && !up.bound);
    ask(resume_run, c2s_id(c))->flag = str_is(previd, "token") && h <= RESUMED_H;
}

static bool up_on_sm_request(struct c2s *c)
{
    if (up.sm) c2s_sm_ack(c, up.sent_up);
    return up.sm;
}

static bool up_on_sm_ack(struct c2s *c, uint32_t h)
{
    if (up.sm && h > up.sent_up) c2s_sm_too_high(c, h, up.sent_up);
    return up.sm;
}

static void up_on_closed(struct c2s *c, bool graceful, const char *why)
{
    (void)c, (void)graceful;
    MUST_HOLD(why != NULL && !up.told_end);
    up.told_end = true;
}

static const struct c2s_ops up_ops = {
    .domain_served = up_domain_served,
    .account_get = up_account_get,
    .owner = up_owner,
    .on_auth = up_on_auth,
    .on_register = up_on_register,
    .on_bind = up_on_bind,
    .on_stanza = up_on_stanza,
    .on_reject = up_on_reject,
    .on_client_state = up_on_client_state,
    .on_sm_enable = up_on_sm_enable,
    .on_sm_resume = up_on_sm_resume,
    .on_sm_request = up_on_sm_request,
    .on_sm_ack = up_on_sm_ack,
    .on_closed = up_on_closed,
};

/* ---- one input ---- */

static void start(void)
{
    static struct tls_context *const tls = (struct tls_context *)&config; /* never looked into: memory_io has no TLS of its own */
    static char dir[] = "/tmp/signet-fuzz-XXXXXX";
    struct err err;
    struct buf option = {0};
    MUST_HOLD(mkdtemp(dir) != NULL);
    buf_addf(&option, "server.data_dir=%s", dir);
    const char *options[] = {buf_cstr(&option), "server.domains=" DOMAIN, "c2s.login_delay=700", "c2s.stanza_bytes=20000", "c2s.rate_bytes=100000", "tls.client_ca=memory"};
    MUST_HOLD(log_start(LOG_LEVEL_ERROR, "text", "stderr", &err) == 0);
    MUST_HOLD(config_load(&config, NULL, options, sizeof options / sizeof options[0], &err) == 0);
    for (int hash = 0; hash < SCRAM_HASHES; hash++) /* few iterations: what is fuzzed is not the hash */
        MUST_HOLD(scram_keys_make((enum scram_hash)hash, STR(PASSWORD), 1, &keys[hash], &err) == 0);
    memory_begin();
    MUST_HOLD(c2s_start(&config, &up_ops, tls, &err) == 0);
    buf_reset(&option);
    buf_addf(&option, "%s/scram-secret", dir);
    unlink(buf_cstr(&option));
    rmdir(dir);
    buf_free(&option);
}

static void begin(uint8_t choice)
{
    static const char addresses[] = "juliet@" DOMAIN "\0nurse@" DOMAIN;
    static const struct xml_parser_ops said_ops = {said_header, said_element};
    struct err err;
    guard_stop(); /* forgets the failures of the inputs before */
    MUST_HOLD(guard_start(&config, &err) == 0);
    memory_begin();
    memset(&up, 0, sizeof up);
    memset(&said, 0, sizeof said);
    struct xml_limits limits = xml_limits_default;
    limits.tag_bytes = limits.stanza_bytes = 1 << 20; /* what escapes may have grown sixfold */
    limits.attributes = 1000;
    limits.depth = 1000;
    limits.children = 100000;
    said.parser = xml_parser_new(&limits, &said_ops, NULL);
    config.c2s_plain_loopback = (choice & PLAIN_OK) != 0;
    config.register_enabled = (choice & REGISTER) != 0;
    config.c2s_channel_binding = (choice & BINDING) != 0;
    if (choice & PLAIN_OK) memory.peer = "127.0.0.1:50000";
    memory.binding = choice & UNIQUE ? MEMORY_UNIQUE : MEMORY_EXPORTER;
    if (choice & CERTIFICATE) {
        memory.identities = addresses;
        memory.identities_n = sizeof addresses;
    }
    memory.tls_fails = (choice & NO_TLS) != 0;
    memory.move_fails = (choice & NO_MOVE) != 0;
    c2s_accept(memory_connect(), (choice & DIRECT_TLS) != 0);
}

static void steer(uint8_t what)
{
    memory_turn();
    if (what == HALF_SECOND) memory_pass(500);
    if (what == MINUTE) memory_pass(60000);
    if (what == CUT) memory_fin();
    listen_to();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool started;
    if (!started) start();
    started = true;
    if (n == 0) return 0;
    begin(data[0]);
    for (size_t from = 1, at = 1; at <= n; at++) {
        if (at < n && data[at] > CUT) continue;
        memory_input(data + from, at - from);
        steer(at < n ? data[at] : TURN);
        from = at + 1;
    }
    memory_fin();
    memory_pass(1000);
    listen_to();
    MUST_HOLD(metric_read(METRIC_C2S_STREAMS) == 0);
    MUST_HOLD(!up.verified || up.told_end);
    xml_parser_free(said.parser);
    memory_end();
    return 0;
}
