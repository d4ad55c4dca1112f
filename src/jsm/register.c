/* An account asked for on a stream nobody has logged in on yet. The request is checked, counted for its address, shown to compliance servers
 * (e_REGISTER, its password blank), and only then is the account made. The stream is parked meanwhile and known by its id: it may go away.
 * Whoever asked may ask again on the same stream, for this account or another, or log in. */
#include "jsm/register.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "jsm/account.h"
#include "jsm/deliver.h"
#include "xmpp/form.h"
#include "xmpp/guard.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESSES 8192

/* ---- how many accounts an address has made ---- */
static struct {
    pthread_mutex_t lock;
    struct {
        uint64_t address, until_ms;
        uint32_t accounts;
    } slots[ADDRESSES]; /* by hash: two addresses that fall on one slot at one time share its limit, so that memory is bounded and nobody gets more */
} made = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t network_of(const char *address)
{
    unsigned char bytes[16];
    if (inet_pton(AF_INET6, address, bytes) == 1) return hash_keyed(bytes, 8); /* a /64 is what one customer of a provider has */
    return hash_keyed(address, strlen(address));
}

/* Takes one of the accounts this address may make, or gives it back. */
static bool allowance(const char *address, bool give_back)
{
    int64_t max = jsm->config->register_accounts;
    if (max == 0 || guard_trusted(address)) return true;
    uint64_t network = network_of(address), now = clock_ms();
    bool ok = true;
    pthread_mutex_lock(&made.lock);
    size_t i = network % ADDRESSES;
    if (give_back) {
        if (made.slots[i].accounts > 0) made.slots[i].accounts--;
    } else {
        if (made.slots[i].until_ms <= now) {
            made.slots[i].address = network;
            made.slots[i].accounts = 0;
            made.slots[i].until_ms = now + (uint64_t)jsm->config->register_window * 1000;
        }
        ok = made.slots[i].accounts < max;
        if (ok) made.slots[i].accounts++;
    }
    pthread_mutex_unlock(&made.lock);
    return ok;
}

/* ---- requests ---- */
/* The same as the fields of the namespace itself, for clients that know forms (XEP-0077, 4). What is missing is found where it is needed. */
static const struct form_field form_fields[] = {
    {"username", FIELD_TEXT_SINGLE, "Username", true, NULL},
    {"password", FIELD_TEXT_PRIVATE, "Password", true, NULL},
};
static const struct form_field submit_fields[] = {
    {"username", FIELD_TEXT_SINGLE, NULL, false, NULL},
    {"password", FIELD_TEXT_PRIVATE, NULL, false, NULL},
};

static bool form_type_is(const struct xml_node *x, struct arena *a, const char *form_type)
{
    for (const struct xml_node *f = xml_node_child(x, "field", NS_DATA); f != NULL; f = xml_node_next(f, "field", NS_DATA)) {
        const struct xml_node *value = str_is(xml_node_attr(f, "var"), "FORM_TYPE") ? xml_node_child(f, "value", NS_DATA) : NULL;
        if (value != NULL) return str_is(xml_node_text(a, value), form_type);
    }
    return false;
}

static int submitted_read(const struct xml_node *x, struct arena *a, struct registration_form *out)
{
    const char *changing = NS_REGISTER ":changepassword", *text;
    struct form form = {form_type_is(x, a, changing) ? changing : NS_REGISTER, NULL, NULL, submit_fields, 2};
    struct form_value values[FORM_FIELDS_MAX];
    if (form_read(&form, x, a, values, &text) != 0) return -1;
    out->username = form_first(&values[0]);
    out->password = form_first(&values[1]);
    return 0;
}

int registration_read(const struct stanza *iq, struct arena *a, struct registration_form *out)
{
    struct err err;
    struct xml_node *root = stanza_tree(iq, NULL, a, &err);
    struct xml_node *query = root != NULL ? xml_node_child(root, "query", NS_REGISTER) : NULL;
    *out = (struct registration_form){0};
    if (query == NULL) return -1;
    struct xml_node *only = xml_node_child(query, NULL, NULL), *form = xml_node_child(query, "x", NS_DATA);
    out->remove = xml_node_child(query, "remove", NS_REGISTER) != NULL;
    if (out->remove) return xml_node_next(only, NULL, NULL) == NULL ? 0 : -1; /* XEP-0077, 3.2: nothing else beside it */
    if (form != NULL) return submitted_read(form, a, out); /* it takes precedence */
    struct xml_node *username = xml_node_child(query, "username", NS_REGISTER), *password = xml_node_child(query, "password", NS_REGISTER);
    if (username != NULL) out->username = xml_node_text(a, username);
    if (password != NULL) out->password = xml_node_text(a, password);
    return 0;
}

struct registration {
    uint64_t c2s;
    struct stanza *iq;
    struct arena *arena;
    struct jid user;
    struct str password;
    char address[64];
    bool counted;
};

static void registration_end(struct registration *r, struct stanza *take_reply, bool made_one)
{
    struct c2s *c = c2s_get(r->c2s);
    if (c != NULL)
        deliver_to_stream(c, take_reply);
    else
        stanza_unref(take_reply);
    c2s_registration_done(r->c2s, made_one);
    stanza_unref(r->iq);
    arena_free(r->arena);
    free(r);
}

static void registration_refuse(struct registration *r, const char *condition, const char *type, const char *text)
{
    metric_inc(METRIC_REGISTRATIONS_REFUSED);
    if (r->counted) allowance(r->address, true);
    registration_end(r, stanza_error(r->iq, condition, type, text), false);
}

static void registration_made(void *arg, const struct err *err)
{
    struct registration *r = arg;
    if (err == NULL) {
        metric_inc(METRIC_REGISTRATIONS);
        log_notice("jsm", "the account '%s' was made in-band, from %s", r->user.full.p, r->address);
        registration_end(r, stanza_result(r->iq, STR("")), true);
    } else if (err->code == ERR_EXISTS) {
        registration_refuse(r, "conflict", NULL, "There is an account of this name.");
    } else if (err->code == ERR_INVALID) {
        registration_refuse(r, "not-acceptable", NULL, err->text);
    } else {
        log_error("jsm", "cannot make the account '%s': %s", r->user.full.p, err->text);
        registration_refuse(r, "internal-server-error", NULL, NULL);
    }
}

static void registration_answered(struct registration *r, const struct verdict *v)
{
    struct registration_form form;
    struct jid user;
    struct err err;
    switch (v->kind) {
    case VERDICT_PASS:
        if (v->changed) { /* the username may be another one now */
            if (registration_read(v->stanza, r->arena, &form) != 0 || form.username.n == 0 || jid_parse(r->arena, r->user.domain, &user, &err) != 0) {
                registration_refuse(r, "not-allowed", NULL, NULL);
                return;
            }
            if (jid_prep_local(r->arena, form.username, &form.username, &err) == 0) {
                struct buf text = {0};
                buf_addf(&text, STR_FMT "@" STR_FMT, STR_ARG(form.username), STR_ARG(r->user.domain));
                if (jid_parse(r->arena, arena_str(r->arena, buf_str(&text)), &user, &err) == 0) r->user = user;
                buf_free(&text);
            }
            r->password = form.password;
        }
        account_create(&r->user, r->password, registration_made, r);
        return;
    case VERDICT_REFUSE:
        registration_refuse(r, v->condition, v->type, v->text);
        return;
    case VERDICT_HANDLE:
    case VERDICT_DISCARD:
        registration_refuse(r, "not-allowed", NULL, "This registration was not allowed by policy.");
        return;
    }
}

static void registration_asked(void *arg, const struct verdict *v) { registration_answered(arg, v); }

static void registration_ask(struct registration *r)
{
    struct jid domain;
    struct err err;
    uint64_t sid = stanza_id_next();
    if (jid_parse(r->arena, r->user.domain, &domain, &err) != 0) {
        registration_refuse(r, "internal-server-error", NULL, NULL);
        return;
    }
    struct stanza_change change = {.from = &r->user, .to = &domain, .sid = &sid};
    struct stanza *subject = stanza_with(r->iq, &change);
    struct question q = {.event = EVENT_e_REGISTER, .subject = subject, .session = r->user.bare, .done = registration_asked, .arg = r};
    struct verdict now;
    if (broker_raise(&q, &now)) registration_answered(r, &now);
    stanza_unref(subject);
}

/* XEP-0077, 3.1: the fields asked for, and the form that asks for the same. */
static struct stanza *registration_form_reply(const struct stanza *iq, struct arena *a)
{
    const char *least = "";
    if (jsm->config->register_password_min > 1) least = arena_printf(a, " of at least %lld bytes", (long long)jsm->config->register_password_min);
    struct form form = {NS_REGISTER, "Registration", arena_printf(a, "Choose a username and a password%s.", least), form_fields, 2};
    struct buf b = {0};
    buf_addf(&b, "<query xmlns='" NS_REGISTER "'><instructions>%s</instructions><username/><password/>", form.instructions);
    form_write(&b, &form, NULL);
    buf_adds(&b, "</query>");
    struct stanza *reply = stanza_result(iq, buf_str(&b));
    buf_free(&b);
    return reply;
}

/* What is wrong with the request; NULL: nothing, and r->user and r->password are set. */
static const char *registration_check(struct registration *r, struct str domain, const char **type, const char **text)
{
    struct registration_form form;
    struct err err;
    struct str local;
    *type = *text = NULL;
    if (registration_read(r->iq, r->arena, &form) != 0) return "bad-request";
    if (form.remove) {
        *type = "wait"; /* XEP-0077, 3.2: there is no 'from' to remove */
        return "unexpected-request";
    }
    *text = "A username and a password are needed.";
    if (form.username.n == 0 || form.password.n == 0) return "not-acceptable";
    *text = "This is no username.";
    if (jid_prep_local(r->arena, form.username, &local, &err) != 0) return "not-acceptable";
    struct buf address = {0};
    buf_addf(&address, STR_FMT "@" STR_FMT, STR_ARG(local), STR_ARG(domain));
    int rc = jid_parse(r->arena, arena_str(r->arena, buf_str(&address)), &r->user, &err);
    buf_free(&address);
    if (rc != 0) return "not-acceptable";
    r->password = form.password;
    *text = NULL;
    if (account_password_check(jsm->config, form.password, &err) == 0) return NULL;
    *text = arena_str(r->arena, str_of(err.text)).p;
    return "not-acceptable";
}

void registration_begin(struct c2s *c, struct stanza *take)
{
    struct registration *r = x_calloc(1, sizeof(*r));
    r->c2s = c2s_id(c);
    r->iq = take;
    r->arena = arena_new(0);
    c2s_peer_address(c, r->address, sizeof(r->address));
    struct str domain = c2s_domain(c);
    if (jid_present(&take->to) && (take->to.local.p != NULL || !str_eq(take->to.domain, domain))) {
        registration_end(r, stanza_error(take, "service-unavailable", NULL, NULL), false);
        return;
    }
    if (take->type == IQ_GET) {
        registration_end(r, registration_form_reply(take, r->arena), false);
        return;
    }
    const char *type, *text, *condition = registration_check(r, domain, &type, &text);
    if (condition != NULL) {
        registration_refuse(r, condition, type, text);
        return;
    }
    if (!allowance(r->address, false)) {
        log_notice("jsm", "too many accounts are asked for from %s", r->address);
        registration_refuse(r, "resource-constraint", "wait", "Too many accounts were made from this address; try again later.");
        return;
    }
    r->counted = true;
    registration_ask(r);
}
