/* Bytes in: what a client sends, from the first stream header to the stanzas of a bound stream (RFC 6120, 4 to 8).
 *
 * The parser hands over one element at a time, and every element may end the reading for now: a stanza that fills the session's window, a login that
 * must fetch an account, <starttls/>. What must not happen inside the parser's callback (a restart of the parser, TLS, the move to another worker) is
 * only noted there, in the state, and done by c2s_feed() once the parser has returned. */
#include "base/log.h"
#include "base/metric.h"
#include "c2s_private.h"
#include "xml/writer.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NS_CSI "urn:xmpp:csi:0"
#define M(state) (1u << C2S_##state)

/* ---- stream headers and features ---- */

static bool offered_starttls(const void *stream)
{
    const struct c2s *c = stream;
    return c->state == C2S_PLAIN || (c->state == C2S_AUTH && !c->tls_version);
}

static bool offered_auth(const void *stream)
{
    return ((const struct c2s *)stream)->state == C2S_AUTH;
}

static bool offered_bind(const void *stream)
{
    return ((const struct c2s *)stream)->state == C2S_READY;
}

static void write_starttls(struct buf *b, const void *stream)
{
    if (((const struct c2s *)stream)->plain_ok)
        BUF_ADD_LIT(b, "<starttls xmlns='" NS_TLS "'/>"); /* RFC 6120, A.3: <required/> or nothing */
    else
        BUF_ADD_LIT(b, "<starttls xmlns='" NS_TLS "'><required/></starttls>");
}

static void write_mechanisms(struct buf *b, const void *stream)
{
    struct sasl_context context;
    c2s_sasl_context(stream, &context);
    BUF_ADD_LIT(b, "<mechanisms xmlns='" NS_SASL "'>");
    sasl_write_mechanisms(b, &context);
    BUF_ADD_LIT(b, "</mechanisms>");
    if (context.binding.type) /* XEP-0440 */
        buf_addf(b, "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='%s'/></sasl-channel-binding>", context.binding.type);
}

/* XEP-0077, 8: whoever wants an account may ask for one, once the stream is as safe as a login needs it. */
static bool offered_register(const void *stream)
{
    const struct c2s *c = stream;
    return c->state == C2S_AUTH && c2s_shared.config->register_enabled;
}

static void write_register(struct buf *b, const void *stream)
{
    (void)stream;
    BUF_ADD_LIT(b, "<register xmlns='http://jabber.org/features/iq-register'/>");
}

static void write_bind(struct buf *b, const void *stream)
{
    (void)stream;
    /* The session feature is that of RFC 3921, which old clients wait for; they may skip it. */
    BUF_ADD_LIT(b, "<bind xmlns='" NS_BIND "'/><session xmlns='" NS_SESSION "'><optional/></session>");
}

/* XEP-0478. Nothing is said of idle time: who says nothing may stay. */
static void write_limits(struct buf *b, const void *stream)
{
    bool bound_next = ((const struct c2s *)stream)->state == C2S_READY;
    long long bytes = bound_next ? (long long)c2s_shared.config->c2s_stanza_bytes : C2S_UNBOUND_STANZA;
    buf_addf(b, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>%lld</max-bytes></limits>", bytes);
}

/* RFC 6121, 2.6.1 and 3.4.1. */
static void write_roster_features(struct buf *b, const void *stream)
{
    (void)stream;
    BUF_ADD_LIT(b, "<ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>");
}

static bool offered_csi(const void *stream) { return offered_bind(stream) && c2s_shared.ops->on_client_state != NULL; }

static void write_csi(struct buf *b, const void *stream)
{
    (void)stream;
    BUF_ADD_LIT(b, "<csi xmlns='" NS_CSI "'/>");
}

static bool offered_upper(const void *stream) { return offered_bind(stream) && c2s_shared.ops->write_features != NULL; }

static void write_upper(struct buf *b, const void *stream)
{
    (void)stream;
    c2s_shared.ops->write_features(b);
}

static const struct stream_feature features[] = {
    {NULL, write_limits},
    {offered_starttls, write_starttls},
    {offered_auth, write_mechanisms},
    {offered_register, write_register},
    {offered_bind, write_bind},
    {offered_csi, write_csi},
    {c2s_sm_offered, c2s_sm_write_feature},
    {offered_bind, write_roster_features},
    {offered_upper, write_upper},
};

void c2s_write_header(struct c2s *c)
{
    char id[STREAM_ID_SIZE];
    stream_id_make(id);
    struct str from = c->domain.p ? c->domain : str_of(c2s_shared.default_domain);
    stream_write_header(conn_out(c->conn), &(struct stream_header){.content_ns = NS_CLIENT, .from = from, .to = c->claimed.bare, .id = str_of(id)});
    conn_wrote(c->conn);
    c->header_sent = true;
}

/* RFC 6120, 4.7.1: who the client says it is, repeated in our header; absent in ours when it is in the client's. False (4.9.3.8): not who has logged in.
 * Before the login it is a mere claim, and what is no address is as if it were not there. */
static bool header_from(struct c2s *c, const struct xml_header *header)
{
    struct str from = stream_header_attr(header, "from");
    bool good = from.p && jid_parse(c->arena, from, &c->claimed, NULL) == 0;
    if (!good) c->claimed = (struct jid){0};
    return !from.p || !jid_present(&c->user) || (good && jid_bare_eq(&c->claimed, &c->user));
}

/* The domain the client wants to talk to. */
static const char *header_domain(struct c2s *c, const struct xml_header *header, const char **text)
{
    struct str to = stream_header_attr(header, "to");
    struct jid jid;
    *text = "the stream header must say in 'to' which domain it is for";
    if (!to.p || jid_parse(c->arena, to, &jid, NULL) < 0 || jid.local.p || jid.resource.p) return "improper-addressing";
    *text = "this domain is not served here";
    if (!c2s_shared.ops->domain_served(jid.domain)) return "host-unknown";
    *text = "another domain than the one logged in to";
    if (jid_present(&c->user) && !str_eq(c->user.domain, jid.domain)) return "host-unknown";
    c->domain = jid.domain;
    return NULL;
}

/* RFC 6120, 4.7.4: the language of what the client sends without naming one. What is no language tag is as if it were not there. */
static void header_lang(struct c2s *c, const struct xml_header *header)
{
    c->lang[0] = 0;
    for (unsigned i = 0; i < header->n_attributes; i++) {
        const struct xml_attribute *a = &header->attributes[i];
        if (!str_is(a->name, "lang") || !str_is(a->ns, "http://www.w3.org/XML/1998/namespace")) continue;
        if (a->value.n >= sizeof c->lang) return;
        for (size_t j = 0; j < a->value.n; j++)
            if (!isalnum((unsigned char)a->value.p[j]) && a->value.p[j] != '-') return;
        memcpy(c->lang, a->value.p, a->value.n);
        c->lang[a->value.n] = 0;
        return;
    }
}

static enum xml_next on_header(void *owner, const struct xml_header *header)
{
    struct c2s *c = owner;
    const char *text;
    const char *condition = stream_header_problem(header, NS_CLIENT, &text);
    bool from_fits = header_from(c, header);
    /* Domain before version: the answering header then names the domain the client asked for. */
    const char *domain_text;
    const char *domain_condition = header_domain(c, header, &domain_text);
    if (!condition && domain_condition) {
        condition = domain_condition;
        text = domain_text;
    }
    if (!condition && !from_fits) {
        condition = "invalid-from";
        text = "'from' is not the address that has logged in";
    }
    if (condition) {
        c2s_close(c, condition, text);
        return XML_STOP;
    }
    c2s_write_header(c);
    header_lang(c, header);
    c2s_move_to(c, !c->tls_version && !c->plain_ok ? C2S_PLAIN : !jid_present(&c->user) ? C2S_AUTH : C2S_READY);
    stream_write_features(conn_out(c->conn), features, sizeof features / sizeof features[0], c);
    conn_wrote(c->conn);
    return XML_GO_ON;
}

/* ---- STARTTLS ---- */

static void on_starttls(struct c2s *c, const struct xml_element *e)
{
    (void)e;
    if (c->tls_version) {
        c2s_close(c, "unsupported-stanza-type", "this stream has TLS already");
        return;
    }
    c->starttls = true;
}

/* left: bytes that came after <starttls/> in the clear. Whoever put them there, they would be read as if TLS had protected them. */
static void begin_tls(struct c2s *c, size_t left)
{
    struct err err = {0};
    c->starttls = false;
    if (left) {
        err_set(&err, ERR_DENIED, "plain-text bytes after <starttls/>");
        c2s_write(c, "<failure xmlns='%s'/>%s", NS_TLS, STREAM_END);
        metric_inc(METRIC_C2S_STREAM_ERRORS);
        log_notice("c2s", "%s: %s", c->peer, err.text);
        c2s_end(c, false, err.text);
        return;
    }
    c2s_write(c, "<proceed xmlns='%s'/>", NS_TLS);
    xml_parser_restart(c->parser);
    char *domain = str_dup(c->domain);
    c->header_sent = false;
    c->domain = STR_NONE;
    if (c2s_start_tls(c, domain, &err) < 0) {
        log_error("c2s", "%s: cannot start TLS: %s", c->peer, err.text);
        c2s_end(c, false, err.text);
    }
    free(domain);
}

/* ---- stanzas ---- */

/* An element named as a stanza that is none (RFC 6120, 8.3): answered, unless it says it is an answer itself. */
static void reject(struct c2s *c, const struct xml_element *e, const char *condition, const char *text)
{
    static const struct {
        const char *name;
        enum stanza_kind kind;
        enum stanza_type error;
    } kinds[] = {{"message", STANZA_MESSAGE, MESSAGE_ERROR}, {"presence", STANZA_PRESENCE, PRESENCE_ERROR}, {"iq", STANZA_IQ, IQ_ERROR}};
    struct str type = xml_element_attr(e, "type");
    metric_inc(METRIC_C2S_REJECTED);
    if (!condition) condition = "bad-request";
    log_debug("c2s", "%s: a stanza is rejected, %s: %s", c->peer, condition, text);
    if (str_is(type, "error") || (str_is(e->name, "iq") && str_is(type, "result"))) {
        c2s_shared.ops->on_reject(c, NULL);
        return;
    }
    const char *error_type = stanza_condition_type(condition);
    struct buf inner = {0};
    buf_addf(&inner, "<error type='%s'><%s xmlns='%s'/><text xmlns='%s' xml:lang='en'>", error_type ? error_type : "modify", condition, NS_STANZAS,
             NS_STANZAS);
    xml_add_text(&inner, str_of(text));
    BUF_ADD_LIT(&inner, "</text></error>");
    struct arena *a = arena_new(0);
    struct str to = xml_element_attr(e, "to");
    struct jid from = {0};
    if (!to.p || jid_parse(a, to, &from, NULL) < 0) from = (struct jid){0};
    struct stanza *reply = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_is(e->name, kinds[i].name))
            reply =
                stanza_make(kinds[i].kind, kinds[i].error, jid_present(&from) ? &from : NULL, &c->user, xml_element_attr(e, "id"), buf_str(&inner));
    arena_free(a);
    buf_free(&inner);
    c2s_shared.ops->on_reject(c, reply);
}

static bool from_ok(const struct c2s *c, const struct jid *from)
{
    return !jid_present(from) || (jid_bare_eq(from, &c->user) && (!jid_is_full(from) || !jid_is_full(&c->user) || jid_eq(from, &c->user)));
}

/* What is no address is no address of this stream. */
static bool from_malformed(const struct xml_element *e)
{
    struct str from = xml_element_attr(e, "from");
    if (!from.p) return false;
    struct arena *a = arena_new(0);
    struct jid jid;
    bool malformed = jid_parse(a, from, &jid, NULL) < 0;
    arena_free(a);
    return malformed;
}

static bool is_bind(const struct stanza *s)
{
    return s->kind == STANZA_IQ && s->type == IQ_SET && s->n_children == 1 && stanza_child(s, "bind", NS_BIND) != NULL;
}

/* RFC 6120, 7.1: before a resource is bound nothing may be sent to anybody but the server and the own account. Requests to those are answered, with
 * an error; for anything else the stream ends (4.9.3.12). */
static void too_early(struct c2s *c, const struct stanza *s, const char *text)
{
    bool to_server = !jid_present(&s->to) || (!s->to.local.p && str_eq(s->to.domain, c->domain));
    bool to_account = jid_present(&c->user) && !jid_is_full(&s->to) && jid_bare_eq(&s->to, &c->user);
    if (!stanza_is_request(s) || !(to_server || to_account)) {
        c2s_close(c, "not-authorized", text);
        return;
    }
    metric_inc(METRIC_C2S_REJECTED);
    struct stanza *reply = stanza_error(s, "not-authorized", NULL, text);
    stanza_write(conn_out(c->conn), reply, NULL);
    conn_wrote(c->conn);
    stanza_unref(reply);
}

static void on_stanza(struct c2s *c, const struct xml_element *e)
{
    const char *condition = NULL;
    struct err err = {0};
    struct stanza *s = stanza_from_element(e, &condition, &err);
    if (s && !s->lang.p && c->lang[0]) stanza_set_lang(s, str_of(c->lang));
    if (s ? !from_ok(c, &s->from) : from_malformed(e)) {
        stanza_unref(s);
        c2s_close(c, "invalid-from", "'from' is not the address of this stream");
    } else if (c->state == C2S_BOUND) {
        if (s)
            c2s_shared.ops->on_stanza(c, s);
        else
            reject(c, e, condition, err.text);
    } else if (s && is_bind(s)) {
        c2s_move_to(c, C2S_BINDING);
        c2s_pause(c);
        c2s_shared.ops->on_bind(c, s);
    } else if (s) {
        too_early(c, s, "a resource must be bound first");
        stanza_unref(s);
    } else {
        c2s_close(c, "not-authorized", "a resource must be bound first");
    }
}

static bool is_registration(const struct c2s *c, const struct xml_element *e)
{
    return offered_register(c) && str_is(e->name, "iq") && e->n_children == 1 && str_is(e->children[0].name, "query") &&
           str_is(e->children[0].ns, "jabber:iq:register");
}

static void on_stanza_before_login(struct c2s *c, const struct xml_element *e)
{
    const char *condition = NULL;
    struct err err = {0};
    struct stanza *s = c->state == C2S_AUTH || c->state == C2S_PLAIN ? stanza_from_element(e, &condition, &err) : NULL;
    if (!s || jid_present(&s->from)) {
        stanza_unref(s);
        c2s_close(c, "not-authorized", "log in first");
    } else if (is_registration(c, e) && stanza_is_request(s)) {
        c2s_pause(c);
        c2s_shared.ops->on_register(c, s);
    } else {
        too_early(c, s, "log in first");
        stanza_unref(s);
    }
}

static bool is_stanza(const struct xml_element *e)
{
    return str_is(e->ns, NS_CLIENT) && (str_is(e->name, "message") || str_is(e->name, "presence") || str_is(e->name, "iq"));
}

/* ---- everything else ---- */

static void on_error(struct c2s *c, const struct xml_element *e)
{
    struct str condition = e->n_children ? e->children[0].name : STR("without a condition");
    log_info("c2s", "%s: the client sent a stream error: " STR_FMT, c->peer, STR_ARG(condition));
    c2s_close(c, NULL, NULL);
}

static void on_client_state(struct c2s *c, const struct xml_element *e)
{
    if (c->state == C2S_BOUND && c2s_shared.ops->on_client_state) c2s_shared.ops->on_client_state(c, str_is(e->name, "active"));
}

/* What is no stanza, and when it may come. */
static const struct {
    const char *name, *ns;
    unsigned states;
    void (*handle)(struct c2s *c, const struct xml_element *e);
} nonzas[] = {
    {"starttls", NS_TLS, M(PLAIN) | M(AUTH), on_starttls},
    {"auth", NS_SASL, M(PLAIN) | M(AUTH) | M(SASL), c2s_on_auth},
    {"response", NS_SASL, M(AUTH) | M(SASL), c2s_on_response},
    {"abort", NS_SASL, M(AUTH) | M(SASL), c2s_on_abort},
    {"active", NS_CSI, M(READY) | M(BOUND), on_client_state},
    {"inactive", NS_CSI, M(READY) | M(BOUND), on_client_state},
    {"error", NS_STREAMS, ~0u, on_error},
    {"enable", NS_SM, ~0u, c2s_on_enable},
    {"resume", NS_SM, ~0u, c2s_on_resume},
    {"r", NS_SM, ~0u, c2s_on_ack_request},
    {"a", NS_SM, ~0u, c2s_on_ack},
};

static void dispatch(struct c2s *c, const struct xml_element *e)
{
    for (size_t i = 0; i < sizeof nonzas / sizeof nonzas[0]; i++) {
        if (!str_is(e->name, nonzas[i].name) || !str_is(e->ns, nonzas[i].ns)) continue;
        if (nonzas[i].states & (1u << c->state))
            nonzas[i].handle(c, e);
        else
            c2s_close(c, "unsupported-stanza-type", "this element has no place at this point of the stream");
        return;
    }
    if (!is_stanza(e))
        c2s_close(c, "unsupported-stanza-type", "an element that is not known here");
    else if (c->state == C2S_READY || c->state == C2S_BOUND)
        on_stanza(c, e);
    else
        on_stanza_before_login(c, e);
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct c2s *c = owner;
    dispatch(c, e);
    c2s_took_stanza(c);
    return c->paused || c->starttls || c->state == C2S_MOVING || c->state == C2S_CLOSING ? XML_STOP : XML_GO_ON;
}

const struct xml_parser_ops c2s_parser_ops = {.on_header = on_header, .on_element = on_element};

/* ---- bytes ---- */

static void parse_ended(struct c2s *c, enum xml_status status)
{
    const char *condition = stream_xml_condition(status);
    if (condition) {
        if (status == XML_TOO_BIG) metric_inc(METRIC_C2S_CUT_STANZA);
        c2s_close(c, condition, xml_parser_problem(c->parser));
    } else if (status == XML_CLOSED) {
        if (!c->header_sent) c2s_write_header(c);
        c2s_sm_farewell(c);
        c2s_write(c, STREAM_END);
        c2s_end(c, true, "closed by the client");
    }
}

size_t c2s_feed(void *owner, const char *data, size_t n)
{
    struct c2s *c = owner;
    size_t done = 0;
    while (done < n && c->state != C2S_CLOSING && c->state != C2S_MOVING && c->state != C2S_HANDSHAKE && !c->paused) {
        size_t used = 0;
        c->feeding = true;
        enum xml_status status = xml_parser_feed(c->parser, data + done, n - done, &used);
        c->feeding = false;
        done += used;
        if (c->state == C2S_CLOSING) break;
        if (c->starttls) {
            while (done < n && memchr(" \t\r\n", data[done], 4) != NULL) done++; /* some clients end the element with a newline: it says nothing */
            begin_tls(c, n - done);
        } else {
            parse_ended(c, status);
        }
    }
    if (c->state != C2S_CLOSING && c->state != C2S_MOVING) c2s_took_bytes(c, done);
    if (c->state == C2S_CLOSING) return n;
    if (c->state == C2S_MOVING) c2s_hand_over(c);
    return done;
}
