/* From verified credentials to a bound session: e_AUTH, bind, the conflict rule, e_SESSION. And the way back: a stream that closed. */
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "broker/broker.h"
#include "jsm/csi.h"
#include "jsm/deliver.h"
#include "jsm/features/disco.h"
#include "jsm/jsm.h"
#include "jsm/receive.h"
#include "jsm/register.h"
#include "jsm/resume.h"
#include "jsm/send.h"
#include "jsm/ticket.h"
#include "base/hash.h"
#include "xml/writer.h"
#include <stdlib.h>
#include <string.h>

#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"

/* ---- SASL's questions ---- */
struct account_wait {
    uint64_t c2s;
    c2s_account_fn fn;
};

static void account_read(void *arg, const struct store_account *account, const struct err *err)
{
    struct account_wait *wait = arg;
    struct c2s_account answer = {0};
    if (account != NULL) {
        answer.exists = true;
        answer.disabled = account->disabled;
        memcpy(answer.keys, account->keys, sizeof(answer.keys));
    }
    wait->fn(wait->c2s, &answer, err);
    memset(&answer, 0, sizeof(answer));
    free(wait);
}

static void account_get(const struct jid *user, uint64_t c2s_id, c2s_account_fn fn)
{
    struct account_wait *wait = x_malloc(sizeof(*wait));
    wait->c2s = c2s_id;
    wait->fn = fn;
    store_account_get(user->bare, account_read, wait);
}

/* ---- e_AUTH: only whether, never with what secret ---- */
static void auth_answered(uint64_t c2s, const struct verdict *v)
{
    if (v->kind == VERDICT_PASS)
        c2s_auth_result(c2s, NULL);
    else
        c2s_auth_result(c2s, v->kind == VERDICT_HANDLE ? "not-authorized" : "temporary-auth-failure");
}

static void auth_done(void *arg, const struct verdict *v)
{
    uint64_t *c2s = arg;
    auth_answered(*c2s, v);
    free(c2s);
}

static void on_auth(struct c2s *c)
{
    const struct jid *user = c2s_user(c);
    struct buf inner = {0};
    buf_adds(&inner, "<query xmlns='jabber:iq:auth'><username>");
    xml_add_text(&inner, user->local);
    buf_adds(&inner, "</username><x xmlns='urn:signet:auth:0'");
    xml_add_attr(&inner, "mechanism", str_of(c2s_mechanism(c)));
    xml_add_attr(&inner, "peer", str_of(c2s_peer(c)));
    buf_adds(&inner, "/></query>");
    struct arena *arena = arena_new(0);
    struct jid domain;
    struct err err;
    struct stanza *subject = NULL;
    if (jid_parse(arena, user->domain, &domain, &err) == 0) subject = stanza_make(STANZA_IQ, IQ_SET, user, &domain, STR("auth"), buf_str(&inner));
    buf_free(&inner);
    arena_free(arena);
    if (subject == NULL) {
        c2s_auth_result(c2s_id(c), "temporary-auth-failure");
        return;
    }
    uint64_t *id = x_malloc(sizeof(*id));
    *id = c2s_id(c);
    struct question q = {.event = EVENT_e_AUTH, .subject = subject, .session = user->bare, .done = auth_done, .arg = id};
    struct verdict now;
    if (broker_raise(&q, &now)) auth_done(id, &now);
    stanza_unref(subject);
}

/* ---- bind ---- */
struct binding {
    uint64_t c2s;
    uint64_t session; /* once it is made */
    struct stanza *iq;
    struct arena *arena;
    struct user *user;
    struct user_wait load;
    struct session_wait ended; /* of the session replaced */
    struct str resource;
    bool renamed; /* by the answer to e_SESSION */
};

static void binding_replace(struct binding *b);

static void binding_free(struct binding *b)
{
    stanza_unref(b->iq);
    arena_free(b->arena);
    struct user *u = b->user;
    free(b);
    if (u != NULL) user_release(u);
}

static void binding_refuse(struct binding *b, struct stanza *error)
{
    struct c2s *c = c2s_get(b->c2s);
    if (c != NULL) {
        c2s_set_session(c, NULL);
        deliver_to_stream(c, error);
        c2s_bind_refused(c);
    } else {
        stanza_unref(error);
    }
    struct session *s = session_get(b->session);
    if (s != NULL) {
        session_end(s, false);
        session_finished_one(s);
    }
    binding_free(b);
}

/* The bind iq as the event shows it: from is the full JID asked for. */
static struct stanza *bind_subject(const struct binding *b, const struct jid *full)
{
    struct buf inner = {0};
    buf_adds(&inner, "<bind xmlns='" NS_BIND "'><resource>");
    xml_add_text(&inner, full->resource);
    buf_adds(&inner, "</resource></bind>");
    struct str bytes = buf_str(&inner);
    uint64_t sid = stanza_id_next();
    struct stanza_change change = {.from = full, .inner = &bytes, .sid = &sid};
    struct stanza *subject = stanza_with(b->iq, &change);
    buf_free(&inner);
    return subject;
}

static struct str resource_in(struct arena *a, const struct stanza *iq, struct err *err)
{
    struct xml_node *root = stanza_tree(iq, NULL, a, err);
    struct xml_node *bind = root != NULL ? xml_node_child(root, "bind", NS_BIND) : NULL;
    struct xml_node *resource = bind != NULL ? xml_node_child(bind, "resource", NS_BIND) : NULL;
    return resource != NULL ? xml_node_text(a, resource) : STR_NONE;
}

static struct str resource_generate(struct arena *a)
{
    unsigned char random[12];
    hash_random(random, sizeof(random));
    struct buf name = {0};
    for (size_t i = 0; i < sizeof(random); i++) buf_addf(&name, "%02x", random[i]);
    struct str resource = arena_str(a, buf_str(&name));
    buf_free(&name);
    return resource;
}

static void binding_complete(struct binding *b, struct session *s)
{
    struct c2s *c = c2s_get(b->c2s);
    if (c != NULL && s->state == SESSION_BINDING) {
        session_open(s);
        c2s_bound(c, &s->full);
        struct buf inner = {0};
        buf_adds(&inner, "<bind xmlns='" NS_BIND "'><jid>");
        xml_add_text(&inner, s->full.full);
        buf_adds(&inner, "</jid></bind>");
        static const struct jid none;
        struct stanza_change change = {.from = &none, .to = &none};
        struct stanza *result = stanza_result(b->iq, buf_str(&inner));
        deliver_to_stream(c, stanza_with(result, &change));
        stanza_unref(result);
        buf_free(&inner);
        store_account_touch_login(b->user->jid.bare, clock_wall_ms());
        log_info("jsm", "session '%s' begins, from %s", s->full.full.p, c2s_peer(c));
    }
    session_finished_one(s);
    binding_free(b);
}

/* PASS + stanza may have named another resource: the conflict rule holds for it too. */
static void rename_session(struct binding *b, struct session *s, const struct stanza *changed)
{
    struct err err;
    struct str wanted = resource_in(b->arena, changed, &err), prepared;
    if (wanted.n == 0 || jid_prep_resource(b->arena, wanted, &prepared, &err) != 0 || str_eq(prepared, s->full.resource)) {
        binding_complete(b, s);
        return;
    }
    b->resource = prepared;
    b->renamed = true;
    binding_replace(b);
}

static void session_event_answered(struct binding *b, const struct verdict *v)
{
    struct session *s = session_get(b->session);
    if (s == NULL) { /* cannot be: its gate is not quiet, which keeps it */
        binding_free(b);
        return;
    }
    if (v->kind == VERDICT_PASS) {
        if (v->changed)
            rename_session(b, s, v->stanza);
        else
            binding_complete(b, s);
        return;
    }
    metric_inc(METRIC_STANZAS_REFUSED);
    struct stanza *error = v->kind == VERDICT_REFUSE ? stanza_error(b->iq, v->condition, v->type, v->text) : stanza_error(b->iq, "not-allowed", NULL, NULL);
    binding_refuse(b, error);
}

static void session_event_done(void *arg, const struct verdict *v) { session_event_answered(arg, v); }

static void binding_session(struct binding *b)
{
    struct c2s *c = c2s_get(b->c2s);
    if (c == NULL) {
        binding_free(b);
        return;
    }
    struct session *s = session_new(b->user, c, b->resource);
    b->session = s->id;
    gate_join(&s->gate); /* until e_SESSION is answered */
    c2s_set_session(c, s);
    struct stanza *subject = bind_subject(b, &s->full);
    struct question q = {.event = EVENT_e_SESSION, .subject = subject, .session = s->full.full, .done = session_event_done, .arg = b};
    struct verdict now;
    if (broker_raise(&q, &now)) session_event_answered(b, &now);
    stanza_unref(subject);
}

/* c2s.user_sessions: every session counts until it has ended; one that replaces another takes its place. */
static bool too_many_sessions(const struct binding *b)
{
    int64_t n = 0;
    LIST_EACH(node, &b->user->sessions) n++;
    return n >= jsm->config->c2s_user_sessions;
}

/* The one replaced has ended (its es_END and unavailable presence are out): now the new one. */
static void replaced_ended(struct session_wait *wait) { binding_replace(CONTAINER_OF(wait, struct binding, ended)); }

/* c2s.resource_conflict (RFC 6120, 7.7.2.2). A session that has no stream, or is ending, has nothing to keep the resource for. */
static bool makes_way(const struct session *old)
{
    return strcmp(jsm->config->c2s_resource_conflict, "replace") == 0 || old->detached || old->state == SESSION_ENDING;
}

static void binding_replace(struct binding *b)
{
    struct session *s = session_get(b->session); /* there when it is renamed */
    if (s == NULL && c2s_get(b->c2s) == NULL) { /* it went while it waited: nobody is to make way for it */
        binding_free(b);
        return;
    }
    if (s != NULL && s->state != SESSION_BINDING) {
        binding_complete(b, s);
        return;
    }
    if (b->user->gone) {
        binding_refuse(b, stanza_error(b->iq, "not-allowed", NULL, "The account was removed."));
        return;
    }
    struct session *old = session_by_resource(b->user, b->resource);
    if (old != NULL && old->id != b->session && b->renamed && old->state == SESSION_BINDING) { /* each might wait for the other */
        binding_refuse(b, stanza_error(b->iq, "conflict", "modify", NULL));
        return;
    }
    if (old != NULL && old->id != b->session && !makes_way(old)) {
        if (b->renamed || strcmp(jsm->config->c2s_resource_conflict, "refuse") == 0) {
            binding_refuse(b, stanza_error(b->iq, "conflict", "modify", "Another session has this resource."));
            return;
        }
        b->resource = resource_generate(b->arena);
        old = NULL;
    }
    if (old != NULL && old->id != b->session) {
        b->ended.fn = replaced_ended;
        list_push_back(&old->end_waits, &b->ended.node);
        session_kick(old, "conflict", "This resource is used by a new session.");
        return;
    }
    if (!b->renamed && too_many_sessions(b)) { /* RFC 6120, 7.6.2.1 */
        metric_inc(METRIC_SESSIONS_OVER_LIMIT);
        binding_refuse(b, stanza_error(b->iq, "resource-constraint", NULL, "This account has as many sessions as the service allows."));
        return;
    }
    if (!b->renamed) {
        binding_session(b);
        return;
    }
    s->full = jid_with_resource(s->arena, &b->user->jid, arena_str(s->arena, b->resource));
    binding_complete(b, s);
}

static void binding_loaded(struct user_wait *wait)
{
    struct binding *b = CONTAINER_OF(wait, struct binding, load);
    if (b->user->state != USER_READY) {
        binding_refuse(b, stanza_error(b->iq, b->user->state == USER_FAILED ? "internal-server-error" : "not-allowed", NULL, "The account cannot be loaded."));
        return;
    }
    binding_replace(b);
}

static void on_bind(struct c2s *c, struct stanza *take)
{
    struct binding *b = x_calloc(1, sizeof(*b));
    b->c2s = c2s_id(c);
    b->iq = take;
    b->arena = arena_new(0);
    struct err err;
    struct str wanted = resource_in(b->arena, take, &err);
    if (wanted.n == 0) {
        b->resource = resource_generate(b->arena);
    } else if (jid_prep_resource(b->arena, wanted, &b->resource, &err) != 0) {
        binding_refuse(b, stanza_error(take, "bad-request", NULL, err.text));
        return;
    }
    b->user = user_hold(c2s_user(c));
    b->load.fn = binding_loaded;
    user_when_loaded(b->user, &b->load);
}

/* ---- streams ---- */
static void on_stanza(struct c2s *c, struct stanza *take)
{
    struct session *s = c2s_session(c);
    if (s == NULL || s->state != SESSION_OPEN) {
        stanza_unref(take);
        return;
    }
    session_receive(s, take);
}

/* Not one to go any way, but one the client counts (XEP-0198). */
static void on_reject(struct c2s *c, struct stanza *take_reply)
{
    struct session *s = c2s_session(c);
    if (s == NULL) {
        deliver_to_stream(c, take_reply);
        return;
    }
    ticket_done(ticket_open(s));
    deliver_unchecked(s, take_reply);
}

static void on_client_state(struct c2s *c, bool active)
{
    struct session *s = c2s_session(c);
    if (s == NULL || s->state != SESSION_OPEN) return;
    csi_set(s, active);
    deliver_held(s);
    if (active) csi_free(s);
}

static void on_closed(struct c2s *c, bool graceful, const char *why)
{
    struct session *s = c2s_session(c);
    if (s == NULL) return;
    c2s_set_session(c, NULL);
    log_debug("jsm", "stream of '%s' closed%s%s", s->full.full.p, why != NULL ? ": " : "", why != NULL ? why : "");
    if (c2s_lost(c) && resume_detach(s)) return;
    session_end(s, graceful);
}

const struct c2s_ops jsm_c2s_ops = {
    .domain_served = router_domain_served,
    .account_get = account_get,
    .owner = router_owner,
    .on_auth = on_auth,
    .on_register = registration_begin,
    .write_features = disco_write_stream_feature,
    .on_bind = on_bind,
    .on_stanza = on_stanza,
    .on_reject = on_reject,
    .on_client_state = on_client_state,
    .on_drain = resume_on_drain,
    .on_sm_enable = resume_on_enable,
    .on_sm_resume = resume_on_resume,
    .on_sm_request = resume_on_request,
    .on_sm_ack = resume_on_ack,
    .on_closed = on_closed,
};

const struct router_base_ops jsm_router_ops = {.ops.arrive = receive_parcel, .undeliverable = receive_undeliverable, .finished = ticket_done};
