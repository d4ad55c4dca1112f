/* See client.h. Each state has one function for the element it waits for. */
#include "client.h"
#include "scan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct options *options;

void client_setup(const struct options *o) { options = o; }

static __attribute__((format(printf, 2, 3))) void client_write(struct client *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_addv(net_out(c->net), fmt, ap);
    va_end(ap);
    net_touch(c->net);
}

static __attribute__((format(printf, 2, 3))) void give_up(struct client *c, const char *fmt, ...)
{
    char why[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    client_close(c);
    c->ops->on_gone(c, why);
}

static void open_stream(struct client *c)
{
    c->in_stream = false;
    client_write(c, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
                    "to='%s'>", options->domain);
}

static void ready(struct client *c)
{
    c->state = CLIENT_READY;
    c->ops->on_ready(c);
}

static enum mechanism choose(struct str features)
{
    bool offered[MECHANISMS] = {false};
    struct str text;
    for (size_t at = 0; (text = scan_text(features, "mechanism", &at)).p != NULL;) {
        for (unsigned m = MECHANISM_PLAIN; m < MECHANISMS; m++)
            if (str_is(text, mechanism_names[m])) offered[m] = true;
    }
    if (options->mechanism != MECHANISM_ANY) return offered[options->mechanism] ? options->mechanism : MECHANISM_ANY;
    for (unsigned m = MECHANISMS - 1; m > MECHANISM_ANY; m--)
        if (offered[m]) return (enum mechanism)m;
    return MECHANISM_ANY;
}

static void authenticate(struct client *c, struct str features)
{
    enum mechanism mechanism = choose(features);
    char user[256];
    struct buf initial = {0};
    if (mechanism == MECHANISM_ANY) {
        give_up(c, "the server offers no mechanism asked for%s", options->tls == TLS_NONE ? " (without TLS)" : "");
        return;
    }
    options_user(options, c->index, user);
    login_begin(&c->login, mechanism, user, options->password, &initial);
    client_write(c, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", mechanism_names[mechanism], buf_cstr(&initial));
    buf_free(&initial);
    c->state = CLIENT_AUTHENTICATING;
}

static void on_features(struct client *c, struct str e)
{
    if (str_is(scan_name(e), "proceed")) {
        c->state = CLIENT_TLS;
        net_start_tls(c->net, options->domain);
    } else if (!scan_contains(e, "features")) {
        give_up(c, "instead of stream features came %.*s", (int)(e.n > 200 ? 200 : e.n), e.p);
    } else if (options->tls == TLS_STARTTLS && !c->secure) {
        if (scan_contains(e, "<starttls")) {
            client_write(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        } else {
            give_up(c, "the server does not offer STARTTLS");
        }
    } else if (c->authenticated) {
        c->state = CLIENT_BINDING;
        client_write(c, "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>");
    } else if (c->until == CLIENT_FEATURES) {
        ready(c);
    } else {
        authenticate(c, e);
    }
}

static void on_sasl(struct client *c, struct str e)
{
    struct err err;
    struct buf response = {0};
    size_t at = 0;
    if (str_is(scan_name(e), "success")) {
        login_end(&c->login);
        c->authenticated = true;
        c->state = CLIENT_NEGOTIATING;
        open_stream(c);
    } else if (!str_is(scan_name(e), "challenge")) {
        char user[256];
        options_user(options, c->index, user);
        give_up(c, "%s cannot log in: %.*s", user, (int)(e.n > 160 ? 160 : e.n), e.p);
    } else if (login_challenge(&c->login, options->password, scan_text(e, "challenge", &at), &response, &err) < 0) {
        give_up(c, "%s", err.text);
    } else {
        client_write(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", buf_cstr(&response));
    }
    buf_free(&response);
}

static void on_bound(struct client *c, struct str e)
{
    size_t at = 0;
    struct str jid = scan_text(e, "jid", &at);
    if (!str_is(scan_attribute(e, "id"), "bind")) return;
    if (jid.p == NULL) {
        give_up(c, "no resource was bound: %.*s", (int)(e.n > 200 ? 200 : e.n), e.p);
        return;
    }
    c->jid = str_dup(jid);
    c->state = CLIENT_SETTLING;
    client_write(c, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>"
                    "<iq type='get' id='settled' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>", options->domain);
}

static void on_element(struct client *c, struct str e, uint64_t now_ns)
{
    if (str_is(scan_name(e), "stream:error") && c->state != CLIENT_READY) {
        give_up(c, "%.*s", (int)(e.n > 200 ? 200 : e.n), e.p);
        return;
    }
    switch (c->state) {
    case CLIENT_NEGOTIATING:
        on_features(c, e);
        break;
    case CLIENT_AUTHENTICATING:
        on_sasl(c, e);
        break;
    case CLIENT_BINDING:
        on_bound(c, e);
        break;
    case CLIENT_SETTLING: /* answered in order: what came before is done; whether pings are known there is all the same */
        if (str_is(scan_attribute(e, "id"), "settled")) ready(c);
        break;
    case CLIENT_READY:
        c->ops->on_element(c, e, now_ns);
        break;
    case CLIENT_CONNECTING:
    case CLIENT_TLS:
    case CLIENT_GONE:
        break;
    }
}

static size_t on_data(void *owner, const char *data, size_t n)
{
    struct client *c = owner;
    uint64_t now = net_now_ns();
    size_t done = 0;
    while (c->state != CLIENT_GONE && c->state != CLIENT_TLS) {
        struct str element;
        size_t used;
        enum scan_result r = scan_next(data + done, n - done, c->in_stream, &element, &used);
        done += used;
        if (r == SCAN_MORE) break;
        if (r == SCAN_HEADER) {
            c->in_stream = true;
        } else if (r == SCAN_ELEMENT) {
            on_element(c, element, now);
        } else {
            give_up(c, r == SCAN_END ? "the server closed the stream" : "the server sent what is no XMPP");
        }
    }
    return c->state == CLIENT_GONE ? n : done;
}

static void on_open(void *owner)
{
    struct client *c = owner;
    if (c->state == CLIENT_CONNECTING && options->tls == TLS_DIRECT) {
        c->state = CLIENT_TLS;
        net_start_tls(c->net, options->domain);
        return;
    }
    if (c->state == CLIENT_TLS) c->secure = true;
    c->state = CLIENT_NEGOTIATING;
    open_stream(c);
}

static void on_closed(void *owner, const char *why)
{
    struct client *c = owner;
    c->net = NULL;
    client_close(c);
    c->ops->on_gone(c, why);
}

void client_start(struct client *c, unsigned index, enum client_until until, const struct client_ops *ops)
{
    static const struct net_ops client_net = {on_open, on_data, on_closed};
    void *keep = c->owner;
    *c = (struct client){.index = index, .until = until, .ops = ops, .owner = keep};
    c->net = net_open(&client_net, c);
}

void client_close(struct client *c)
{
    if (c->net != NULL) {
        if (c->in_stream) client_write(c, "</stream:stream>");
        net_close(c->net);
    }
    c->net = NULL;
    c->state = CLIENT_GONE;
    login_end(&c->login);
    free(c->jid);
    c->jid = NULL;
}
