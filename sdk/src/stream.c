/* What a link's bytes mean: the component stream of XEP-0114 in its two directions, pings, and stanzas that are events. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core.h"
#include "base/clock.h"
#include "base/hash.h"
#include "xml/writer.h"

static void hex(char *out, const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

/* XEP-0114: lower-case hex of SHA1(stream id + password), both as bytes. */
static void handshake_digest(char out[41], struct str stream_id, const char *password)
{
    struct buf in = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    buf_add_str(&in, stream_id);
    buf_adds(&in, password);
    if (EVP_Digest(in.data, in.len, digest, &n, EVP_sha1(), NULL) != 1) memset(digest, 0, sizeof(digest)); /* no SHA-1: nobody gets in */
    OPENSSL_cleanse(in.data, in.len);
    buf_free(&in);
    hex(out, digest, 20);
}

static void tell(struct link *l, enum signet_link_state state)
{
    struct signet_server *s = l->server;
    server_log(s, SIGNET_LOG_INFO, "Component %s (%s) is %s", l->component->name, l->peer, state == SIGNET_LINK_ACTIVE ? "ACTIVE" : "CONNECTED");
    if (s->on_link != NULL) s->on_link(state, l->component->name, l->peer, NULL, s->on_link_arg);
}

static void add_header(struct link *l, const char *to)
{
    BUF_ADD_LIT(&l->out, "<?xml version='1.0'?><stream:stream xmlns='");
    buf_adds(&l->out, l->dialer != NULL ? NS_ACCEPT : NS_CONNECT);
    BUF_ADD_LIT(&l->out, "' xmlns:stream='" NS_STREAM "'");
    xml_add_attr(&l->out, "to", str_of(to));
    if (l->dialer == NULL) xml_add_attr(&l->out, "id", str_of(l->stream_id));
    BUF_ADD_LIT(&l->out, ">");
}

void stream_open(struct link *l)
{
    add_header(l, l->component->name);
}

void stream_error(struct link *l, const char *condition, const char *text)
{
    if (l->doomed || l->state == LINK_CLOSING) return;
    if (l->dialer == NULL && l->stream_id[0] == '\0') { /* an error needs a stream to stand in */
        unsigned char id[16];
        hash_random(id, sizeof(id));
        hex(l->stream_id, id, sizeof(id));
        add_header(l, NULL);
    }
    buf_addf(&l->out, "<stream:error><%s xmlns='" NS_STREAMS "'/>", condition);
    if (text != NULL && xml_text_ok(str_of(text))) {
        BUF_ADD_LIT(&l->out, "<text xmlns='" NS_STREAMS "'>");
        xml_add_text(&l->out, str_of(text));
        BUF_ADD_LIT(&l->out, "</text>");
    }
    BUF_ADD_LIT(&l->out, "</stream:error>");
    link_close(l, "%s", text != NULL ? text : condition);
}

void stream_ping(struct link *l)
{
    char id[40];
    snprintf(id, sizeof(id), "signet-ping-%llu", (unsigned long long)++l->pings);
    answer_add_iq(&l->out, "get", id, l->component->name, l->broker);
    BUF_ADD_LIT(&l->out, "<ping xmlns='" NS_PING "'/></iq>");
}

/* ---- headers ---- */

static struct str header_attr(const struct xml_header *h, const char *name)
{
    for (unsigned i = 0; i < h->n_attributes; i++) {
        if (h->attributes[i].ns.p == NULL && str_is(h->attributes[i].name, name)) return h->attributes[i].value;
    }
    return STR_NONE;
}

static void header_of_node(struct link *l, const struct xml_header *h)
{
    struct signet_server *s = l->server;
    struct str from = header_attr(h, "from");
    unsigned char id[16];
    hash_random(id, sizeof(id));
    hex(l->stream_id, id, sizeof(id));
    LIST_EACH(n, &s->components)
    {
        struct component *c = CONTAINER_OF(n, struct component, node);
        if (from.n == strlen(c->name) && strncasecmp(from.p, c->name, from.n) == 0) l->component = c;
    }
    add_header(l, l->component != NULL ? l->component->name : NULL);
    if (!str_is(h->default_ns, NS_CONNECT)) {
        stream_error(l, "invalid-namespace", "a node dials with the namespace " NS_CONNECT);
    } else if (l->component == NULL) {
        server_log(s, SIGNET_LOG_ERROR, "%s asked for component '" STR_FMT "', which is none of ours", l->peer, (int)(from.n > 200 ? 200 : from.n),
                   from.p ? from.p : "");
        stream_error(l, "host-unknown", "no such component here");
    } else {
        l->state = LINK_HANDSHAKE;
        tell(l, SIGNET_LINK_CONNECTED);
    }
}

static void header_of_dialled(struct link *l, const struct xml_header *h)
{
    struct str id = header_attr(h, "id"), from = header_attr(h, "from");
    char digest[41];
    if (id.n == 0 || !str_is(h->default_ns, NS_ACCEPT)) {
        stream_error(l, "invalid-namespace", "this is not a component port (jabber:component:accept)");
        return;
    }
    if (from.n > 0 && l->broker == NULL && !str_is(from, l->component->name)) l->broker = str_dup(from);
    handshake_digest(digest, id, l->component->password);
    BUF_ADD_LIT(&l->out, "<handshake>");
    buf_adds(&l->out, digest);
    BUF_ADD_LIT(&l->out, "</handshake>");
    l->state = LINK_HANDSHAKE;
    tell(l, SIGNET_LINK_CONNECTED);
}

static enum xml_next on_header(void *owner, const struct xml_header *h)
{
    struct link *l = owner;
    if (l->state != LINK_OPENING) return XML_STOP; /* closing already */
    if (!str_is(h->name, "stream") || !str_is(h->ns, NS_STREAM))
        stream_error(l, "invalid-namespace", "not an XMPP stream");
    else if (l->dialer != NULL)
        header_of_dialled(l, h);
    else
        header_of_node(l, h);
    return XML_GO_ON;
}

/* ---- elements ---- */

static void active(struct link *l)
{
    l->state = LINK_ACTIVE;
    l->was_active = true;
    l->deadline_ms = 0;
    tell(l, SIGNET_LINK_ACTIVE);
}

static void handshake(struct link *l, const struct xml_element *e)
{
    char digest[41];
    struct str got = e->inner;
    if (l->dialer != NULL) {
        active(l);
        return;
    }
    while (got.n > 0 && strchr(" \t\r\n", got.p[0]) != NULL) got.p++, got.n--;
    while (got.n > 0 && strchr(" \t\r\n", got.p[got.n - 1]) != NULL) got.n--;
    handshake_digest(digest, str_of(l->stream_id), l->component->password);
    bool right = got.n == 40 && CRYPTO_memcmp(got.p, digest, 40) == 0;
    OPENSSL_cleanse(digest, sizeof(digest));
    if (!right) {
        server_log(l->server, SIGNET_LOG_ERROR, "%s: wrong password for component %s", l->peer, l->component->name);
        stream_error(l, "not-authorized", "wrong password");
        return;
    }
    BUF_ADD_LIT(&l->out, "<handshake/>");
    active(l);
}

static void remote_error(struct link *l, const struct xml_element *e)
{
    const struct xml_child *c = e->n_children > 0 ? &e->children[0] : NULL;
    int n = c == NULL ? 0 : c->name.n > 60 ? 60 : (int)c->name.n;
    server_log(l->server, SIGNET_LOG_ERROR, "%s refused component %s: stream error %.*s", l->peer, l->component != NULL ? l->component->name : "?", n,
               c ? c->name.p : "");
    link_close(l, "stream error %.*s from the other side", n, c ? c->name.p : "");
}

static void remember_broker(struct link *l, struct str from)
{
    if (from.n == 0 || from.n > 3071 || (l->broker != NULL && str_is(from, l->broker))) return;
    free(l->broker);
    l->broker = str_dup(from);
}

static char *attr_dup(const struct xml_element *e, const char *name)
{
    struct str value = xml_element_attr(e, name);
    return value.p == NULL ? NULL : str_dup(value);
}

static const struct xml_child *payload(const struct xml_element *e, const char *name, const char *ns)
{
    for (unsigned i = 0; i < e->n_children; i++) {
        if (str_is(e->children[i].name, name) && str_is(e->children[i].ns, ns)) return &e->children[i];
    }
    return NULL;
}

/* An iq that is a request: an event, a ping, or something we do not serve. */
static void request(struct link *l, const struct xml_element *e, bool set)
{
    const char *condition = "service-unavailable", *problem = "only events and pings are served here";
    if (set && payload(e, "event", NS_BROKER) != NULL) {
        if (l->server->stopping) return; /* not taken up: the node asks another server, or us when we are back */
        struct event *event = event_new(l, e, false, &problem);
        if (event != NULL) {
            event_dispatch(event);
            return;
        }
        condition = "bad-request";
        server_log(l->server, SIGNET_LOG_ERROR, "%s sent an event that is none: %s", l->peer, problem);
    }
    char *id = attr_dup(e, "id"), *from = attr_dup(e, "from");
    bool pong = !set && payload(e, "ping", NS_PING) != NULL;
    answer_add_iq(&l->out, pong ? "result" : "error", id, l->component->name, from);
    if (!pong) answer_add_error(&l->out, condition, problem);
    BUF_ADD_LIT(&l->out, "</iq>");
    free(id);
    free(from);
}

static void stanza(struct link *l, const struct xml_element *e)
{
    struct str type = xml_element_attr(e, "type");
    remember_broker(l, xml_element_attr(e, "from"));
    if (str_is(e->name, "iq") && (str_is(type, "set") || str_is(type, "get"))) {
        request(l, e, str_is(type, "set"));
    } else if (str_is(e->name, "message") && payload(e, "event", NS_BROKER) != NULL && !l->server->stopping) {
        const char *problem = NULL;
        struct event *event = event_new(l, e, true, &problem);
        if (event != NULL)
            event_dispatch(event);
        else
            server_log(l->server, SIGNET_LOG_ERROR, "%s sent an event that is none: %s", l->peer, problem);
    }
    /* Anything else (answers to our pings among them) says only that the other side is alive. */
}

static enum xml_next on_element(void *owner, const struct xml_element *e)
{
    struct link *l = owner;
    if (l->doomed) return XML_STOP;
    if (str_is(e->name, "error") && str_is(e->ns, NS_STREAM)) {
        remote_error(l, e);
    } else if (l->state == LINK_HANDSHAKE) {
        if (str_is(e->name, "handshake"))
            handshake(l, e);
        else
            stream_error(l, "not-authorized", "<handshake/> was expected");
    } else if (l->state == LINK_ACTIVE) {
        stanza(l, e);
    }
    return l->doomed ? XML_STOP : XML_GO_ON;
}

const struct xml_parser_ops stream_ops = {.on_header = on_header, .on_element = on_element};
