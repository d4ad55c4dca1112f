/* TLS contexts: what is the same for all connections of one kind.
 *
 * TLS 1.2 at least, forward secrecy and AEAD only, no compression, no renegotiation, and no session tickets: XMPP connections live long, so
 * resumption gains little, and without it a stolen ticket key opens nothing. Idle sessions give their record buffers back. */
#include "io/tls.h"
#include "base/map.h"
#include "io/private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <idn2.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALPN_MAX = 64 };

struct tls_context {
    _Atomic unsigned refs;
    SSL_CTX *ctx;
    struct map domains; /* server: SSL_CTX by domain, in A-labels and small letters */
    bool server, verify_host;
    unsigned char alpn[ALPN_MAX + 1]; /* as on the wire: length, name */
    unsigned alpn_len;
};

static const char ciphers_12[] = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!PSK";

void tls_error_text(const SSL *ssl, char *out, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    long verify = ssl == NULL ? X509_V_OK : SSL_get_verify_result(ssl);
    if (verify != X509_V_OK && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        snprintf(out, size, "the peer's certificate is not accepted: %s", X509_verify_cert_error_string(verify));
    } else {
        snprintf(out, size, "%s", reason != NULL ? reason : "unknown reason");
    }
}

/* A key with a pass phrase cannot be used; without this OpenSSL would ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static SSL_CTX *ctx_new(const SSL_METHOD *method, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, ciphers_12) != 1) {
        char text[200];
        tls_error_text(NULL, text, sizeof text);
        err_set(err, ERR_INTERNAL, "cannot make a TLS context: %s", text);
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    return ctx;
}

static struct tls_context *context_new(SSL_CTX *take, bool server)
{
    if (take == NULL) return NULL;
    struct tls_context *t = x_calloc(1, sizeof *t);
    atomic_init(&t->refs, 1);
    t->ctx = take;
    t->server = server;
    return t;
}

/* RFC 7301: a client that names protocols, but not ours, has come to the wrong place. One that names none is fine. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *arg)
{
    struct tls_context *t = arg;
    unsigned char *chosen = NULL;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, t->alpn, t->alpn_len, in, in_len) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Malloc'ed; NULL: no domain name. */
static char *domain_key(const char *domain)
{
    char *ascii = NULL;
    if (idn2_to_ascii_8z(domain, &ascii, IDN2_NONTRANSITIONAL) != IDN2_OK) return NULL;
    char *key = x_strdup(ascii);
    idn2_free(ascii);
    for (char *p = key; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
    return key;
}

static SSL_CTX *domain_ctx(const struct tls_context *t, const char *domain)
{
    if (t->domains.count == 0 || domain == NULL) return NULL;
    char *key = domain_key(domain);
    SSL_CTX *ctx = key == NULL ? NULL : map_get(&t->domains, str_of(key));
    free(key);
    return ctx;
}

/* A name without a certificate of its own gets the one chosen before, the default one mostly: the client decides whether that will do. */
static int select_domain(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    SSL_CTX *ctx = domain_ctx(arg, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (ctx == NULL) return SSL_TLSEXT_ERR_NOACK;
    return SSL_set_SSL_CTX(ssl, ctx) != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int load_pair(SSL_CTX *ctx, const char *cert_path, const char *key_path, struct err *err)
{
    char text[200];
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_path) != 1) {
        tls_error_text(NULL, text, sizeof text);
        return err_set(err, ERR_INVALID, "cannot use the certificate %s: %s; a PEM file with it and its chain would be right", cert_path, text);
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1) {
        unsigned long code = ERR_peek_error();
        bool other = ERR_GET_LIB(code) == ERR_LIB_X509 && (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH || ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH);
        tls_error_text(NULL, text, sizeof text);
        if (other) return err_set(err, ERR_INVALID, "the private key %s is not the one of the certificate %s", key_path, cert_path);
        return err_set(err, ERR_INVALID, "cannot use the private key %s: %s; the PEM key of %s, without a pass phrase, would be right", key_path, text,
                       cert_path);
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        tls_error_text(NULL, text, sizeof text);
        return err_set(err, ERR_INVALID, "the private key %s is not the one of the certificate %s: %s", key_path, cert_path, text);
    }
    return 0;
}

/* The server's side for one certificate. All those of a context are alike in everything else, since OpenSSL takes some of it from the first and
 * some from the one chosen by SNI. */
static SSL_CTX *server_ctx_new(struct tls_context *t, const char *cert_path, const char *key_path, struct err *err)
{
    SSL_CTX *ctx = ctx_new(TLS_server_method(), err);
    if (ctx == NULL) return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_dh_auto(ctx, 1);
    if (t->alpn_len > 0) SSL_CTX_set_alpn_select_cb(ctx, select_alpn, t);
    SSL_CTX_set_tlsext_servername_callback(ctx, select_domain);
    SSL_CTX_set_tlsext_servername_arg(ctx, t);
    if (load_pair(ctx, cert_path, key_path, err) == 0) return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

struct tls_context *tls_server_new(const char *cert_path, const char *key_path, const char *alpn, struct err *err)
{
    size_t n = alpn == NULL ? 0 : strlen(alpn);
    if (n > ALPN_MAX) {
        err_set(err, ERR_INVALID, "the protocol name \"%s\" is longer than %d bytes", alpn, ALPN_MAX);
        return NULL;
    }
    struct tls_context *t = x_calloc(1, sizeof *t);
    atomic_init(&t->refs, 1);
    t->server = true;
    if (n > 0) {
        t->alpn[0] = (unsigned char)n;
        memcpy(t->alpn + 1, alpn, n);
        t->alpn_len = (unsigned)n + 1;
    }
    t->ctx = server_ctx_new(t, cert_path, key_path, err);
    if (t->ctx != NULL) return t;
    tls_unref(t);
    return NULL;
}

int tls_server_add(struct tls_context *t, const char *domain, const char *cert_path, const char *key_path, struct err *err)
{
    char *name = domain_key(domain);
    if (name == NULL) return err_set(err, ERR_INVALID, "'%s' is no domain a certificate can be asked for by", domain);
    SSL_CTX *ctx = server_ctx_new(t, cert_path, key_path, err);
    if (ctx != NULL) SSL_CTX_free(map_put(&t->domains, str_of(name), ctx));
    free(name);
    return ctx != NULL ? 0 : -1;
}

/* Whatever the client's certificate is worth, the handshake goes on: it may still log in with a password. SSL_get_verify_result() keeps the finding. */
static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

/* NULL: the system's. */
static int load_authorities(SSL_CTX *ctx, const char *ca_path, struct err *err)
{
    struct stat st;
    int rc;
    ERR_clear_error();
    if (ca_path != NULL && access(ca_path, R_OK) != 0) {
        char text[200];
        const char *reason = io_strerror(errno, text, sizeof text);
        return err_set(err, ERR_INVALID, "cannot use the trusted certificates %s: %s", ca_path, reason);
    }
    if (ca_path == NULL) {
        rc = SSL_CTX_set_default_verify_paths(ctx);
    } else if (stat(ca_path, &st) == 0 && S_ISDIR(st.st_mode)) {
        rc = SSL_CTX_load_verify_dir(ctx, ca_path);
    } else {
        rc = SSL_CTX_load_verify_file(ctx, ca_path);
    }
    if (rc == 1) return 0;
    char text[200];
    tls_error_text(NULL, text, sizeof text);
    return err_set(err, ERR_INVALID, "cannot use the trusted certificates %s: %s", ca_path == NULL ? "of the system" : ca_path, text);
}

static int ask_clients(SSL_CTX *ctx, const char *ca_path, struct err *err)
{
    if (ca_path != NULL && load_authorities(ctx, ca_path, err) != 0) return -1;
    struct stat st;
    if (ca_path != NULL && stat(ca_path, &st) == 0 && !S_ISDIR(st.st_mode)) SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(ca_path)); /* a hint for clients that have several */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, accept_any);
    return 0;
}

int tls_server_ask_clients(struct tls_context *t, const char *ca_path, struct err *err)
{
    size_t it = 0;
    struct str key;
    void *ctx;
    if (ask_clients(t->ctx, ca_path, err) != 0) return -1;
    while (map_next(&t->domains, &it, &key, &ctx))
        if (ask_clients(ctx, ca_path, err) != 0) return -1;
    return 0;
}

struct tls_context *tls_client_new(const char *ca_path, bool verify_host, struct err *err)
{
    struct tls_context *t = context_new(ctx_new(TLS_client_method(), err), false);
    if (t == NULL) return NULL;
    if (load_authorities(t->ctx, ca_path, err) != 0) {
        tls_unref(t);
        return NULL;
    }
    t->verify_host = verify_host;
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    /* A server's own certificate may be the trusted one: how self-signed compliance servers are pinned. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(t->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return t;
}

int tls_client_show(struct tls_context *t, const char *cert_path, const char *key_path, struct err *err) { return load_pair(t->ctx, cert_path, key_path, err); }

/* The purpose and the name are checked as OpenSSL itself would have done in the handshake, had it known then who comes. */
int tls_check_peer(const struct tls_context *t, const SSL *ssl, const char *name, struct err *err)
{
    unsigned char addr[16];
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL) return err_set(err, ERR_DENIED, "it shows no certificate");
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    if (check == NULL || X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(t->ctx), cert, SSL_get_peer_cert_chain(ssl)) != 1) {
        X509_STORE_CTX_free(check);
        return err_set(err, ERR_INTERNAL, "its certificate cannot be checked");
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(check);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_STORE_CTX_set_purpose(check, X509_PURPOSE_SSL_CLIENT);
    int rc = 1;
    if (name != NULL) {
        bool is_ip = inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
        rc = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name) : X509_VERIFY_PARAM_set1_host(param, name, 0);
    }
    if (rc == 1) rc = X509_verify_cert(check);
    int finding = X509_STORE_CTX_get_error(check);
    X509_STORE_CTX_free(check);
    ERR_clear_error();
    return rc == 1 ? 0 : err_set(err, ERR_DENIED, "its certificate is not accepted: %s", X509_verify_cert_error_string(finding));
}

struct tls_context *tls_ref(struct tls_context *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_unref(struct tls_context *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) return;
    size_t it = 0;
    struct str key;
    void *ctx;
    while (map_next(&t->domains, &it, &key, &ctx)) SSL_CTX_free(ctx);
    map_free(&t->domains);
    SSL_CTX_free(t->ctx);
    free(t);
}

/* Each session holds a reference to its context, because the ALPN callback uses it: the context is the session's extra data, unreferenced
 * when OpenSSL frees the session. */
static void on_session_freed(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent;
    (void)ad;
    (void)idx;
    (void)argl;
    (void)argp;
    tls_unref(ptr);
}

static int session_index;
static void make_index(void) { session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_session_freed); }

static int context_index(void)
{
    static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
    CRYPTO_THREAD_run_once(&once, make_index);
    return session_index;
}

/* The name for SNI and, if asked for, for checking the certificate; an IP address is never sent as SNI (RFC 6066, 3). */
static int set_name(const struct tls_context *t, SSL *ssl, const char *name)
{
    unsigned char addr[16];
    bool is_ip = inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
    if (!is_ip && SSL_set_tlsext_host_name(ssl, name) != 1) return -1;
    if (!t->verify_host) return 0;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return (is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name) : X509_VERIFY_PARAM_set1_host(param, name, 0)) == 1 ? 0 : -1;
}

SSL *tls_session_new(struct tls_context *ctx, bool server, const char *name, struct err *err)
{
    char text[200];
    if (server != ctx->server) {
        err_set(err, ERR_INVALID, "a TLS context for the %s side was given to the other one", ctx->server ? "server" : "client");
        return NULL;
    }
    if (!server && ctx->verify_host && name == NULL) {
        err_set(err, ERR_INVALID, "the peer's certificate is to be checked, but no name was given");
        return NULL;
    }
    ERR_clear_error();
    SSL_CTX *own = server ? domain_ctx(ctx, name) : NULL;
    SSL *ssl = SSL_new(own != NULL ? own : ctx->ctx);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (ssl == NULL || in == NULL || out == NULL || (!server && name != NULL && set_name(ctx, ssl, name) != 0) ||
        SSL_set_ex_data(ssl, context_index(), ctx) != 1) {
        tls_error_text(NULL, text, sizeof text);
        err_set(err, ERR_INTERNAL, "cannot begin TLS: %s", text);
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return NULL;
    }
    tls_ref(ctx); /* given back by on_session_freed */
    BIO_set_mem_eof_return(in, -1); /* empty means "later", not the end */
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(ssl, in, out);
    if (server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    return ssl;
}
