/* Login: SASL over a client stream (RFC 6120, 6), and the hand-over of a stream whose credentials are right to the worker that owns its user.
 *
 * Nothing is read from the client between its message and our answer: while the account is fetched, while the pool computes, on the way to the other
 * worker, and until the layer above has decided about the login. What the client pipelined meanwhile stays unread and travels along. */
#include "base/log.h"
#include "base/metric.h"
#include "c2s_private.h"
#include "io/offload.h"
#include "xmpp/guard.h"
#include <stdlib.h>
#include <string.h>

void c2s_sasl_context(const struct c2s *c, struct sasl_context *out)
{
    *out = (struct sasl_context){.domain = c->domain, .tls = c->tls_version || c->plain_ok, .identities = c->identities};
    if (!c->tls_version || !c2s_shared.config->c2s_channel_binding) return;
    if (conn_tls_exporter(c->conn, out->binding.data)) {
        out->binding.type = "tls-exporter";
        out->binding.n = 32;
    } else if ((out->binding.n = conn_tls_unique(c->conn, out->binding.data, sizeof out->binding.data)) > 0) {
        out->binding.type = "tls-unique";
    }
}

/* ---- failure ---- */

/* One line per login that failed because of what the client sent, the form of which operators' log watchers rely on (packaging/fail2ban). What is not
 * the client's fault, or not a guess, has other words: nobody is to be shut out for it. */
static void log_failure(const struct c2s *c, const char *user, const char *mechanism, const char *reason)
{
    char address[64];
    c2s_peer_address(c, address, sizeof address);
    log_notice("c2s", "login failed for '%s' from %s (%s): %s", user, address, mechanism, reason);
}

static void log_unfinished(const struct c2s *c, const char *reason)
{
    log_info("c2s", "%s: no login: %s", c->peer, reason);
}

/* <failure/>, and back to where mechanisms are offered; after too many, the end. */
static void fail_now(struct c2s *c, const char *condition)
{
    c2s_write(c, "<failure xmlns='%s'><%s/></failure>", NS_SASL, condition);
    if (++c->failures >= c2s_shared.config->c2s_login_attempts) {
        c2s_cut(c, METRIC_C2S_CUT_ATTEMPTS, "too many failed logins");
        return;
    }
    bool parked = c->state == C2S_SASL_WAIT || c->state == C2S_AUTH_WAIT || c->state == C2S_DELAY;
    if (c->state != C2S_AUTH && c->state != C2S_PLAIN) c2s_move_to(c, C2S_AUTH);
    if (parked) c2s_resume(c);
}

void c2s_delay_over(struct c2s *c)
{
    if (c->state == C2S_DELAY) fail_now(c, c->failure);
}

/* What says of a guess at a password that it was wrong. An aborted login, a mechanism we do not have, our own troubles: none of these. */
static bool is_guess(const char *condition)
{
    static const char *const guesses[] = {"not-authorized", "invalid-authzid", "malformed-request", "incorrect-encoding"};
    for (size_t i = 0; i < sizeof guesses / sizeof guesses[0]; i++)
        if (strcmp(condition, guesses[i]) == 0) return true;
    return false;
}

/* A login has failed: counted, remembered, and answered at once or a little later. */
static void fail(struct c2s *c, const char *condition)
{
    bool temporary = strcmp(condition, "temporary-auth-failure") == 0;
    char address[64];
    uint64_t delay_ms = 0;
    c2s_peer_address(c, address, sizeof address);
    metric_inc(temporary ? METRIC_C2S_AUTH_ERROR : METRIC_C2S_AUTH_FAILED);
    /* Verified credentials (the mechanism is known then) are no guess, whatever the layer above has against them. */
    if (is_guess(condition) && !c->mechanism) {
        unsigned failures = guard_failed(address, c->sasl ? sasl_user(c->sasl)->bare : STR_NONE);
        delay_ms = guard_delay_ms(failures > c->failures + 1 ? failures : c->failures + 1);
    }
    sasl_free(c->sasl);
    c->sasl = NULL;
    c->user = (struct jid){0};
    c->mechanism = NULL;
    if (guard_address_blocked(address)) {
        c2s_write(c, "<failure xmlns='%s'><%s/></failure>", NS_SASL, condition);
        c2s_cut(c, METRIC_C2S_CUT_BLOCKED, "too many failed logins from this address");
        return;
    }
    if (delay_ms == 0 || c->state == C2S_PLAIN) {
        fail_now(c, condition);
        return;
    }
    metric_inc(METRIC_LOGIN_DELAYS);
    if (c->state != C2S_SASL_WAIT && c->state != C2S_AUTH_WAIT) c2s_pause(c);
    c2s_move_to(c, C2S_DELAY);
    c->failure = condition;
    worker_timer(&c->delay, delay_ms);
}

/* The credentials were right, and still. */
static void refuse(struct c2s *c, const char *condition)
{
    char address[64];
    c2s_peer_address(c, address, sizeof address);
    log_notice("c2s", "login refused for '" STR_FMT "' from %s (%s): %s, though the credentials were right", STR_ARG(c->user.bare), address, c->mechanism,
               condition);
    fail(c, condition);
}

/* ---- the exchange ---- */

static void sasl_go_on(struct c2s *c, enum sasl_next next);

struct sasl_job { /* the pool's while it works: the stream may end meanwhile */
    uint64_t id;
    struct sasl *sasl;
};

static void job_work(void *arg)
{
    struct sasl_job *job = arg;
    sasl_work(job->sasl);
}

static void job_done(void *arg)
{
    struct sasl_job *job = arg;
    struct c2s *c = c2s_get(job->id);
    if (c && c->state == C2S_SASL_WAIT) {
        c->sasl = job->sasl;
        sasl_go_on(c, sasl_worked(c->sasl));
    } else {
        sasl_free(job->sasl);
    }
    free(job);
}

static void on_account(uint64_t id, const struct c2s_account *account, const struct err *err)
{
    struct c2s *c = c2s_get(id);
    if (!c || c->state != C2S_SASL_WAIT || !c->sasl) return;
    if (err) {
        log_warn("c2s", "%s: the login of '%s' cannot be checked: %s", c->peer, sasl_user_text(c->sasl), err->text);
        fail(c, "temporary-auth-failure");
        return;
    }
    c->disabled = account->disabled;
    sasl_go_on(c, sasl_account(c->sasl, account->exists, account->keys));
}

static void wait_for(struct c2s *c)
{
    if (c->state == C2S_SASL_WAIT) return;
    c2s_move_to(c, C2S_SASL_WAIT);
    c2s_pause(c);
}

static void challenge(struct c2s *c)
{
    struct str output = sasl_output(c->sasl);
    bool parked = c->state == C2S_SASL_WAIT;
    if (output.n)
        c2s_write(c, "<challenge xmlns='%s'>" STR_FMT "</challenge>", NS_SASL, STR_ARG(output));
    else
        c2s_write(c, "<challenge xmlns='%s'/>", NS_SASL);
    if (c->state != C2S_SASL) c2s_move_to(c, C2S_SASL);
    if (parked) c2s_resume(c);
}

static void sasl_go_on(struct c2s *c, enum sasl_next next)
{
    switch (next) {
    case SASL_CHALLENGE:
        challenge(c);
        break;
    case SASL_ACCOUNT:
        if (guard_account_blocked(sasl_user(c->sasl)->bare)) {
            metric_inc(METRIC_LOGIN_REFUSED);
            log_failure(c, sasl_user_text(c->sasl), sasl_mechanism(c->sasl), "the account is blocked for a while");
            fail(c, "temporary-auth-failure");
            return;
        }
        wait_for(c);
        c2s_shared.ops->account_get(sasl_user(c->sasl), c->id, on_account);
        break;
    case SASL_WORK: {
        struct sasl_job *job = x_calloc(1, sizeof *job);
        job->id = c->id;
        job->sasl = c->sasl;
        c->sasl = NULL;
        wait_for(c);
        worker_offload(job_work, job_done, job);
        break;
    }
    case SASL_VERIFIED:
        c->user = jid_copy(c->arena, sasl_user(c->sasl));
        c->mechanism = sasl_mechanism(c->sasl);
        if (c->disabled) { /* RFC 6120, 6.5.2 */
            refuse(c, "account-disabled");
            break;
        }
        c2s_move_to(c, C2S_MOVING);
        if (!c->feeding) c2s_hand_over(c); /* else c2s_feed() does, when the parser has returned */
        break;
    case SASL_FAILED:
        if (is_guess(sasl_condition(c->sasl)))
            log_failure(c, sasl_user_text(c->sasl), sasl_mechanism(c->sasl), sasl_reason(c->sasl));
        else
            log_unfinished(c, sasl_reason(c->sasl));
        fail(c, sasl_condition(c->sasl));
        break;
    }
}

void c2s_on_auth(struct c2s *c, const struct xml_element *e)
{
    if (c->state == C2S_PLAIN) {
        log_unfinished(c, "tried without TLS");
        fail(c, "encryption-required");
        return;
    }
    if (c->state == C2S_SASL || e->n_children) {
        log_failure(c, c->sasl ? sasl_user_text(c->sasl) : "", "?", "a malformed <auth/>");
        fail(c, "malformed-request");
        return;
    }
    char address[64];
    c2s_peer_address(c, address, sizeof address);
    if (guard_address_blocked(address)) { /* since it connected */
        c2s_cut(c, METRIC_C2S_CUT_BLOCKED, "too many failed logins from this address");
        return;
    }
    struct sasl_context context;
    c2s_sasl_context(c, &context);
    struct sasl *sasl = sasl_new(xml_element_attr(e, "mechanism"), &context);
    if (!sasl) {
        log_unfinished(c, "a mechanism that is not offered");
        fail(c, "invalid-mechanism");
        return;
    }
    c->sasl = sasl;
    sasl_go_on(c, sasl_input(c->sasl, e->inner, true));
}

void c2s_on_response(struct c2s *c, const struct xml_element *e)
{
    if (c->state != C2S_SASL || e->n_children) {
        log_failure(c, c->sasl ? sasl_user_text(c->sasl) : "", "?", "a <response/> out of place");
        fail(c, "malformed-request");
        return;
    }
    sasl_go_on(c, sasl_input(c->sasl, e->inner, false));
}

void c2s_on_abort(struct c2s *c, const struct xml_element *e)
{
    (void)e;
    log_unfinished(c, "aborted by the client");
    fail(c, "aborted");
}

/* ---- the hand-over ---- */

/* On the owner's worker. */
static void on_moved(void *arg, struct conn *conn)
{
    struct c2s *c = arg;
    c->conn = conn;
    if (!conn) {
        c2s_move_to(c, C2S_CLOSING);
        if (c->told) c2s_shared.ops->on_closed(c, false, "the connection was lost during login");
        c2s_free(c);
        return;
    }
    size_t max = (size_t)c2s_shared.config->c2s_output_bytes;
    conn_set_owner(conn, &c2s_conn_ops, c);
    conn_set_limits(conn, max / 4, max);
    c->paused = 1; /* as conn_move() left it */
    c2s_register(c);
    c2s_move_to(c, C2S_AUTH_WAIT);
    const char *closing = c2s_worker()->closing;
    if (closing) {
        c2s_close(c, closing, NULL);
        return;
    }
    c->told = true;
    c2s_shared.ops->on_auth(c);
}

void c2s_hand_over(struct c2s *c)
{
    struct conn *conn = c->conn;
    uint32_t to = c2s_shared.ops->owner(&c->user);
    c2s_unregister(c);
    c->conn = NULL;
    metric_inc(METRIC_C2S_MOVES);
    conn_move(conn, to, on_moved, c);
}

void c2s_auth_result(uint64_t id, const char *failure_condition)
{
    struct c2s *c = c2s_get(id);
    if (!c || c->state != C2S_AUTH_WAIT) return;
    if (failure_condition) {
        c2s_limits_unverified(c);
        if (c->state == C2S_AUTH_WAIT) refuse(c, failure_condition);
        return;
    }
    struct str user = c->user.bare;
    char address[64];
    c2s_peer_address(c, address, sizeof address);
    log_info("c2s", "login of '" STR_FMT "' from %s (%s, %s)", STR_ARG(user), address, c->mechanism, c->tls_version ? c->tls_version : "no TLS");
    metric_inc(METRIC_C2S_AUTH_OK);
    guard_succeeded(user);
    struct str output = sasl_output(c->sasl);
    if (output.n)
        c2s_write(c, "<success xmlns='%s'>" STR_FMT "</success>", NS_SASL, STR_ARG(output));
    else
        c2s_write(c, "<success xmlns='%s'/>", NS_SASL);
    sasl_free(c->sasl);
    c->sasl = NULL;
    c->header_sent = false;
    xml_parser_restart(c->parser);
    c2s_move_to(c, C2S_HEADER);
    c2s_resume(c);
}
