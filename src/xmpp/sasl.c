/* SASL exchanges. gsasl does the mechanisms; this file decides which are offered, finds out who is asking, feeds gsasl the stored keys, and turns
 * what gsasl says into RFC 6120's failure conditions. The moves:
 *
 *   <auth> without data -> CHALLENGE (empty) -+
 *   first message ----------------------------+-> ACCOUNT -> SCRAM: CHALLENGE -> final message -> VERIFIED or FAILED
 *                                                        \-> PLAIN: WORK (PBKDF2 on a pool thread) -> VERIFIED or FAILED
 *
 * A user who does not exist gets a salt that is a keyed hash of the name and keys that nothing matches: the same messages, the same work. */
#include "xmpp/sasl.h"
#include "base/hash.h"
#include "base/log.h"
#include "sasl_private.h"
#include "xml/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SASL_SECRET_BYTES 32
#define SASL_TEXT_MAX     8192 /* base64 of one message; SCRAM's are some hundred bytes */

struct mechanism {
    const char *name;
    enum scram_hash hash; /* SCRAM only */
    bool plain, plus, external;
};
/* In order of preference. A row here and support in gsasl are both needed; what gsasl knows besides (CRAM-MD5, ANONYMOUS, ...) is never offered. */
static const struct mechanism mechanisms[] = {
    {.name = "EXTERNAL", .external = true},
    {.name = "SCRAM-SHA-256-PLUS", .hash = SCRAM_SHA256, .plus = true},
    {.name = "SCRAM-SHA-1-PLUS", .hash = SCRAM_SHA1, .plus = true},
    {.name = "SCRAM-SHA-256", .hash = SCRAM_SHA256},
    {.name = "SCRAM-SHA-1", .hash = SCRAM_SHA1},
    {.name = "PLAIN", .hash = SCRAM_SHA256, .plain = true},
};
#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

enum sasl_step { STEP_FIRST, STEP_ACCOUNT, STEP_WORK, STEP_FINAL, STEP_OVER };
struct sasl {
    const struct mechanism *mechanism;
    enum sasl_step step;
    struct arena *arena;
    struct str domain;
    struct sasl_binding binding;
    struct jid *identities; /* EXTERNAL: those of the certificate that are of this domain */
    unsigned n_identities;
    Gsasl_session *session;
    struct buf first; /* the first message, kept while the account is fetched */
    struct jid user;
    char user_text[256];
    bool exists;
    struct scram_keys keys; /* those the exchange is run with: the account's or made-up ones */
    enum scram_hash keys_hash;
    int rc;       /* of the last gsasl_step */
    char *output; /* base64; gsasl's memory */
    const char *condition, *reason;
};

static Gsasl *library;
static unsigned char secret[SASL_SECRET_BYTES];

/* ---- start ---- */

static int secret_read(int fd, const char *path, struct err *err)
{
    size_t have = 0;
    while (have < sizeof secret) {
        ssize_t n = read(fd, secret + have, sizeof secret - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set(err, ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (n == 0) return err_set(err, ERR_INVALID, "%s is too short: remove it and it will be made anew", path);
        have += (size_t)n;
    }
    return 0;
}

/* Written beside and linked into place, so that it is whole or not there, and two starts at once agree. */
static int secret_make(const char *path, struct err *err)
{
    unsigned char fresh[SASL_SECRET_BYTES];
    hash_random(fresh, sizeof fresh);
    struct buf b = {0};
    buf_addf(&b, "%s.%ld", path, (long)getpid());
    const char *temporary = buf_cstr(&b);
    int rc = 0;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = err_set(err, ERR_IO, "cannot make %s: %s", temporary, strerror(errno));
    } else {
        if (write(fd, fresh, sizeof fresh) != (ssize_t)sizeof fresh || fsync(fd) < 0 || (link(temporary, path) < 0 && errno != EEXIST))
            rc = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
        close(fd);
        unlink(temporary);
    }
    OPENSSL_cleanse(fresh, sizeof fresh);
    buf_free(&b);
    return rc;
}

static int secret_load(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (secret_make(path, err) < 0) return -1;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) return err_set(err, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    int rc = secret_read(fd, path, err);
    close(fd);
    return rc;
}

/* PLAIN: gsasl has read the message and asks whether the password fits. Runs inside sasl_work(). Everything else is given to it beforehand. */
static int sasl_callback(Gsasl *ctx, Gsasl_session *session, Gsasl_property property)
{
    (void)ctx;
    struct sasl *s = gsasl_session_hook_get(session);
    if (property == GSASL_VALIDATE_EXTERNAL) return s->exists ? GSASL_OK : GSASL_AUTHENTICATION_ERROR; /* input_external() found the user */
    if (property != GSASL_VALIDATE_SIMPLE) return GSASL_NO_CALLBACK;
    const char *password = gsasl_property_fast(session, GSASL_PASSWORD);
    if (!password) return GSASL_AUTHENTICATION_ERROR;
    bool match = scram_keys_match(s->keys_hash, str_of(password), &s->keys);
    OPENSSL_cleanse((char *)(uintptr_t)password, strlen(password)); /* gsasl frees it as it is */
    return match && s->exists ? GSASL_OK : GSASL_AUTHENTICATION_ERROR;
}

int sasl_start(const char *secret_path, struct err *err)
{
    if (secret_load(secret_path, err) < 0) return -1;
    int rc = gsasl_init(&library);
    if (rc != GSASL_OK) return err_set(err, ERR_INTERNAL, "cannot start GNU SASL: %s", gsasl_strerror(rc));
    gsasl_callback_set(library, sasl_callback);
    return 0;
}

void sasl_stop(void)
{
    if (library) gsasl_done(library);
    library = NULL;
    OPENSSL_cleanse(secret, sizeof secret);
}

/* ---- making and reading one ---- */

/* The accounts of this domain which the certificate names, in the arena; returns how many. */
static unsigned identities_find(const struct sasl_context *context, struct arena *a, struct jid **out)
{
    unsigned n = 0, most = 0;
    for (const char *p = context->identities; p && *p; p += strlen(p) + 1) most++;
    *out = most > 0 ? arena_alloc(a, most * sizeof **out) : NULL;
    for (const char *p = context->identities; p && *p; p += strlen(p) + 1) {
        struct jid *jid = &(*out)[n];
        if (jid_parse(a, str_of(p), jid, NULL) < 0 || !jid->local.p || jid->resource.p || !str_eq(jid->domain, context->domain)) continue;
        bool known = false;
        for (unsigned i = 0; i < n; i++) known = known || jid_bare_eq(&(*out)[i], jid);
        if (!known) n++;
    }
    return n;
}

static bool identities_any(const struct sasl_context *context)
{
    if (!context->identities) return false;
    struct arena *a = arena_new(0);
    struct jid *jids;
    bool any = identities_find(context, a, &jids) > 0;
    arena_free(a);
    return any;
}

static bool mechanism_offered(const struct mechanism *m, const struct sasl_context *context)
{
    if (m->plain && !context->tls) return false;
    if (m->plus && !context->binding.type) return false;
    if (m->external && !identities_any(context)) return false;
    return gsasl_server_support_p(library, m->name) == 1;
}

void sasl_write_mechanisms(struct buf *b, const struct sasl_context *context)
{
    for (size_t i = 0; i < MECHANISMS; i++)
        if (mechanism_offered(&mechanisms[i], context)) buf_addf(b, "<mechanism>%s</mechanism>", mechanisms[i].name);
}

struct sasl *sasl_new(struct str mechanism, const struct sasl_context *context)
{
    for (size_t i = 0; i < MECHANISMS; i++) {
        if (!str_is(mechanism, mechanisms[i].name) || !mechanism_offered(&mechanisms[i], context)) continue;
        struct sasl *s = x_calloc(1, sizeof *s);
        s->mechanism = &mechanisms[i];
        s->arena = arena_new(0);
        s->domain = arena_str(s->arena, context->domain);
        s->binding = context->binding;
        if (s->mechanism->external) s->n_identities = identities_find(context, s->arena, &s->identities);
        int rc = gsasl_server_start(library, s->mechanism->name, &s->session);
        if (rc != GSASL_OK) {
            log_error("sasl", "cannot start %s: %s", s->mechanism->name, gsasl_strerror(rc));
            sasl_free(s);
            return NULL;
        }
        gsasl_session_hook_set(s->session, s);
        return s;
    }
    return NULL;
}

static void first_forget(struct sasl *s)
{
    if (s->first.data) OPENSSL_cleanse(s->first.data, s->first.cap);
    buf_free(&s->first);
}

void sasl_free(struct sasl *s)
{
    if (!s) return;
    first_forget(s);
    if (s->session) gsasl_finish(s->session);
    if (s->output) gsasl_free(s->output);
    OPENSSL_cleanse(&s->keys, sizeof s->keys);
    arena_free(s->arena);
    free(s);
}

struct str sasl_output(const struct sasl *s)
{
    return s->output ? str_of(s->output) : STR("");
}

const struct jid *sasl_user(const struct sasl *s)
{
    return &s->user;
}

const char *sasl_user_text(const struct sasl *s)
{
    return s->user_text;
}

const char *sasl_mechanism(const struct sasl *s)
{
    return s->mechanism->name;
}

const char *sasl_condition(const struct sasl *s)
{
    return s->condition;
}

const char *sasl_reason(const struct sasl *s)
{
    return s->reason;
}

/* ---- the exchange ---- */

static enum sasl_next sasl_fail(struct sasl *s, const char *condition, const char *reason)
{
    s->step = STEP_OVER;
    s->condition = condition;
    s->reason = reason;
    first_forget(s);
    return SASL_FAILED;
}

/* The name as it may stand in a log line between quotes: what could end the quotes or the line, or fool a reader of logs, becomes '?'. */
static void user_text_set(struct sasl *s, struct str name)
{
    size_t n = 0;
    for (size_t i = 0; i < name.n && n < sizeof s->user_text - 1; i++) {
        unsigned char c = (unsigned char)name.p[i];
        s->user_text[n++] = (c <= ' ' || c == '\'' || c == '"' || c == '\\' || c == 0x7f) ? '?' : (char)c;
    }
    s->user_text[n] = 0;
}

/* Salt and keys for a name without an account: the salt depends on the name alone (and our secret), the keys fit no password. */
static void keys_pretend(struct sasl *s)
{
    struct buf b = {0};
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    buf_addf(&b, "salt %d %s", (int)s->keys_hash, s->user_text);
    HMAC(EVP_sha256(), secret, sizeof secret, (const unsigned char *)b.data, b.len, hash, &n);
    buf_free(&b);
    memcpy(s->keys.salt, hash, sizeof s->keys.salt);
    s->keys.iterations = SCRAM_ITERATIONS;
    hash_random(s->keys.stored_key, sizeof s->keys.stored_key);
    hash_random(s->keys.server_key, sizeof s->keys.server_key);
}

static bool property_set_base64(struct sasl *s, Gsasl_property property, const void *data, size_t n)
{
    char *text = NULL;
    if (gsasl_base64_to(data, n, &text, NULL) != GSASL_OK) return false;
    int rc = gsasl_property_set(s->session, property, text);
    OPENSSL_cleanse(text, strlen(text));
    gsasl_free(text);
    return rc == GSASL_OK;
}

static bool scram_give(struct sasl *s)
{
    char iterations[16];
    snprintf(iterations, sizeof iterations, "%u", s->keys.iterations);
    size_t size = scram_hash_size(s->keys_hash);
    bool ok = gsasl_property_set(s->session, GSASL_SCRAM_ITER, iterations) == GSASL_OK &&
              property_set_base64(s, GSASL_SCRAM_SALT, s->keys.salt, sizeof s->keys.salt) &&
              property_set_base64(s, GSASL_SCRAM_STOREDKEY, s->keys.stored_key, size) &&
              property_set_base64(s, GSASL_SCRAM_SERVERKEY, s->keys.server_key, size);
    if (ok && s->mechanism->plus) {
        Gsasl_property property = strcmp(s->binding.type, "tls-unique") == 0 ? GSASL_CB_TLS_UNIQUE : GSASL_CB_TLS_EXPORTER;
        ok = property_set_base64(s, property, s->binding.data, s->binding.n);
    }
    return ok;
}

static void step_run(struct sasl *s, const char *data, size_t n)
{
    char *raw = NULL;
    size_t raw_n = 0;
    if (s->output) gsasl_free(s->output);
    s->output = NULL;
    s->rc = gsasl_step(s->session, data, n, &raw, &raw_n);
    if ((s->rc == GSASL_OK || s->rc == GSASL_NEEDS_MORE) && raw_n && gsasl_base64_to(raw, raw_n, &s->output, NULL) != GSASL_OK)
        s->rc = GSASL_MALLOC_ERROR;
    if (raw) gsasl_free(raw);
}

static enum sasl_next step_result(struct sasl *s)
{
    switch (s->rc) {
    case GSASL_OK:
        /* SCRAM with made-up keys cannot get here but by guessing a random key; still, an account that does not exist never logs in. */
        if (!s->exists) return sasl_fail(s, "not-authorized", "no such account");
        s->step = STEP_OVER;
        return SASL_VERIFIED;
    case GSASL_NEEDS_MORE:
        s->step = STEP_FINAL;
        return SASL_CHALLENGE;
    case GSASL_AUTHENTICATION_ERROR:
        return sasl_fail(s, "not-authorized", s->exists ? "wrong password" : "no such account");
    case GSASL_MECHANISM_PARSE_ERROR:
        return sasl_fail(s, "malformed-request", "malformed message");
    case GSASL_BASE64_ERROR:
        return sasl_fail(s, "malformed-request", "malformed base64 inside the message");
    case GSASL_SASLPREP_ERROR:
        return sasl_fail(s, "not-authorized", "a name or password that cannot be prepared");
    default:
        log_error("sasl", "%s: %s", s->mechanism->name, gsasl_strerror(s->rc));
        return sasl_fail(s, "temporary-auth-failure", "an internal error");
    }
}

/* The bare JID of a user name; false when it cannot be one, in which case there is no account to fetch. */
static bool user_set(struct sasl *s, struct str name)
{
    struct str local;
    struct buf b = {0};
    bool ok = jid_prep_local(s->arena, name, &local, NULL) == 0;
    buf_addf(&b, STR_FMT "@" STR_FMT, STR_ARG(ok ? local : name), STR_ARG(s->domain));
    ok = ok && jid_parse(s->arena, buf_str(&b), &s->user, NULL) == 0;
    if (!ok) s->user = (struct jid){0};
    user_text_set(s, buf_str(&b));
    buf_free(&b);
    return ok;
}

/* Nobody may act as somebody else here: an authorization identity is the user's own bare JID or absent. */
static bool authzid_ok(struct sasl *s, struct str authzid)
{
    struct jid jid;
    if (!authzid.p) return true;
    if (!s->user.domain.p || jid_parse(s->arena, authzid, &jid, NULL) < 0) return false;
    return !jid_is_full(&jid) && jid_bare_eq(&jid, &s->user);
}

/* Channel binding must be used exactly with -PLUS; a client that could have used it and says the server could not ('y') has been lied to on the way.
 */
static bool binding_ok(const struct sasl *s, const struct sasl_first *first)
{
    if (s->mechanism->plain) return true;
    if (s->mechanism->plus) return first->binding_flag == 'p' && str_is(first->binding_type, s->binding.type);
    return first->binding_flag == 'n' || (first->binding_flag == 'y' && !s->binding.type);
}

/* XEP-0178: the address asked for must be one of the certificate's; none is needed when it has one only. */
static enum sasl_next input_external(struct sasl *s, struct str message)
{
    struct jid wanted;
    const struct jid *found = message.n == 0 && s->n_identities == 1 ? &s->identities[0] : NULL;
    if (!xml_text_ok(message)) return sasl_fail(s, "malformed-request", "an authorization identity that is not UTF-8 text");
    user_text_set(s, message);
    if (message.n > 0 && (jid_parse(s->arena, message, &wanted, NULL) < 0 || jid_is_full(&wanted)))
        return sasl_fail(s, "invalid-authzid", "a malformed authorization identity");
    for (unsigned i = 0; message.n > 0 && i < s->n_identities; i++)
        if (jid_bare_eq(&s->identities[i], &wanted)) found = &s->identities[i];
    if (!found) return sasl_fail(s, "invalid-authzid", "an authorization identity that is not the certificate's one");
    s->user = *found;
    user_text_set(s, found->bare);
    buf_add(&s->first, message.p, message.n);
    s->step = STEP_ACCOUNT;
    return SASL_ACCOUNT;
}

static enum sasl_next input_first(struct sasl *s, struct str message)
{
    if (s->mechanism->external) return input_external(s, message);
    struct sasl_first first;
    int rc = s->mechanism->plain ? sasl_parse_plain(s->arena, message, &first) : sasl_parse_scram(s->arena, message, &first);
    if (rc < 0) return sasl_fail(s, "malformed-request", "malformed first message");
    if (!xml_text_ok(first.user)) return sasl_fail(s, "malformed-request", "a user name that is not UTF-8 text");
    bool known = user_set(s, first.user);
    if (!authzid_ok(s, first.authzid)) return sasl_fail(s, "invalid-authzid", "another user's authorization identity");
    if (!binding_ok(s, &first)) return sasl_fail(s, "not-authorized", "channel binding refused");
    buf_add(&s->first, message.p, message.n);
    s->step = STEP_ACCOUNT;
    return known ? SASL_ACCOUNT : sasl_account(s, false, NULL);
}

enum sasl_next sasl_input(struct sasl *s, struct str text, bool initial)
{
    if (s->step != STEP_FIRST && s->step != STEP_FINAL) return sasl_fail(s, "malformed-request", "a message out of turn");
    if (initial && text.n == 0) return SASL_CHALLENGE; /* empty: the server has nothing to say first in these mechanisms */
    if (text.n > SASL_TEXT_MAX) return sasl_fail(s, "malformed-request", "an overlong message");
    char *data = NULL;
    size_t n = 0;
    if (!(initial && str_is(text, "=")) && text.n && gsasl_base64_from(text.p, text.n, &data, &n) != GSASL_OK)
        return sasl_fail(s, "incorrect-encoding", "incorrect base64");
    enum sasl_next next;
    if (s->step == STEP_FIRST) {
        next = input_first(s, (struct str){data ? data : "", n});
    } else {
        step_run(s, data ? data : "", n);
        next = step_result(s);
    }
    if (data) {
        OPENSSL_cleanse(data, n);
        gsasl_free(data);
    }
    return next;
}

enum sasl_next sasl_account(struct sasl *s, bool exists, const struct scram_keys keys[SCRAM_HASHES])
{
    if (s->step != STEP_ACCOUNT) return sasl_fail(s, "temporary-auth-failure", "an account out of turn");
    if (s->mechanism->external) {
        s->exists = exists;
        step_run(s, s->first.data ? s->first.data : "", s->first.len);
        return step_result(s);
    }
    s->keys_hash = s->mechanism->hash;
    if (exists && s->mechanism->plain && keys[s->keys_hash].iterations == 0) s->keys_hash = SCRAM_SHA1;
    s->exists = exists && keys[s->keys_hash].iterations > 0;
    if (s->exists)
        s->keys = keys[s->keys_hash];
    else
        keys_pretend(s);
    if (s->mechanism->plain) {
        s->step = STEP_WORK;
        return SASL_WORK;
    }
    if (!scram_give(s)) return sasl_fail(s, "temporary-auth-failure", "an internal error");
    step_run(s, s->first.data, s->first.len);
    first_forget(s);
    return step_result(s);
}

void sasl_work(struct sasl *s)
{
    step_run(s, s->first.data, s->first.len);
}

enum sasl_next sasl_worked(struct sasl *s)
{
    first_forget(s);
    if (s->step != STEP_WORK) return sasl_fail(s, "temporary-auth-failure", "work out of turn");
    if (s->rc == GSASL_NEEDS_MORE) s->rc = GSASL_MECHANISM_PARSE_ERROR; /* PLAIN is one message */
    return step_result(s);
}
