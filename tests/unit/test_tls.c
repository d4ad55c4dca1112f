/* TLS contexts and self-signed certificates: what is in them, what is refused and how it is told. Handshakes are made in memory. */
#include "io_fixture.h"

#include "io/private.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

static X509 *read_cert(const char *path)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(cert);
    return cert;
}

static void test_self_signed(void **state)
{
    static const char *const same[] = {"b\xc3\xbc" "cher.example", "localhost"};
    struct stat st;
    struct err err;
    bool made = true;
    UNIT_UNUSED(state);
    assert_int_equal(stat(io_key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(tls_self_signed(io_cert, io_key, same, 2, &made, &err), 0);
    assert_false(made); /* what exists is kept */
    X509 *cert = read_cert(io_cert);
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "xn--bcher-kva.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "other.example", 0, 0, NULL), 0);
    int days = 0, seconds = 0;
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert)), 1);
    assert_int_equal(days, 397);
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int xmpp = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char oid[64];
        if (name->type != GEN_OTHERNAME) continue;
        OBJ_obj2txt(oid, sizeof oid, name->d.otherName->type_id, 1);
        assert_string_equal(oid, "1.3.6.1.5.5.7.8.5");
        const ASN1_TYPE *value = name->d.otherName->value;
        assert_int_equal(value->type, V_ASN1_UTF8STRING);
        const char *want = xmpp++ == 0 ? "localhost" : "b\xc3\xbc" "cher.example";
        assert_int_equal(ASN1_STRING_length(value->value.utf8string), strlen(want));
        assert_memory_equal(ASN1_STRING_get0_data(value->value.utf8string), want, strlen(want));
    }
    assert_int_equal(xmpp, 2);
    GENERAL_NAMES_free(names);
    X509_free(cert);
}

/* Changes what io_cert says, signed with its own key. */
static void rewrite(long ends_in_days, const char *issuer)
{
    X509 *cert = read_cert(io_cert);
    FILE *f = fopen(io_key, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    X509_gmtime_adj(X509_getm_notAfter(cert), ends_in_days * 86400);
    X509_NAME *name = X509_NAME_new();
    if (issuer != NULL) {
        assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)issuer, -1, -1, 0), 1);
        X509_set_issuer_name(cert, name);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    f = fopen(io_cert, "w");
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    X509_NAME_free(name);
    EVP_PKEY_free(key);
    X509_free(cert);
}

/* A domain more, or the end near: a new certificate with the old key; not in place of one that somebody else issued. The last one of the run. */
static void test_self_signed_anew(void **state)
{
    static const char *const more[] = {"localhost", ("b\xc3\xbc" "cher.example"), "verona.example"};
    struct err err;
    bool made;
    UNIT_UNUSED(state);
    X509 *before = read_cert(io_cert);
    assert_int_equal(tls_self_signed(io_cert, io_key, more, 3, &made, &err), 0);
    assert_true(made);
    X509 *cert = read_cert(io_cert);
    for (int i = 0; i < 3; i++) assert_int_equal(X509_check_host(cert, i == 1 ? "xn--bcher-kva.example" : more[i], 0, 0, NULL), 1);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(before), X509_get0_pubkey(cert)), 1);
    X509_free(before);
    X509_free(cert);
    struct stat st;
    assert_int_equal(stat(io_key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(tls_self_signed(io_cert, io_key, more, 2, &made, &err), 0);
    assert_false(made); /* one less does not matter */

    rewrite(31, NULL);
    assert_int_equal(tls_self_signed(io_cert, io_key, more, 3, &made, &err), 0);
    assert_false(made);
    rewrite(29, NULL);
    assert_int_equal(tls_self_signed(io_cert, io_key, more, 3, &made, &err), 0);
    assert_true(made);
    rewrite(1, "Verona Trust");
    static const char *const foreign[] = {"elsewhere.example"};
    assert_int_equal(tls_self_signed(io_cert, io_key, foreign, 1, &made, &err), 0);
    assert_false(made);
    struct tls_context *context = tls_server_new(io_cert, io_key, NULL, &err);
    assert_non_null(context);
    tls_unref(context);
}

static void test_refusals(void **state)
{
    static const char *const domain[] = {"localhost"};
    char cert2[160], key2[160];
    struct err err;
    bool made;
    UNIT_UNUSED(state);
    snprintf(cert2, sizeof cert2, "%s/cert2.pem", io_dir);
    snprintf(key2, sizeof key2, "%s/key2.pem", io_dir);
    assert_null(tls_server_new("/nonexistent.pem", io_key, NULL, &err));
    assert_non_null(strstr(err.text, "/nonexistent.pem"));
    assert_int_equal(tls_self_signed(io_cert, key2, domain, 1, &made, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(tls_self_signed("/nonexistent/c", "/nonexistent/k", domain, 1, &made, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(tls_self_signed(cert2, key2, domain, 1, &made, &err), 0);
    assert_true(made);
    assert_null(tls_server_new(io_cert, key2, NULL, &err)); /* not its key */
    assert_non_null(strstr(err.text, key2));
    assert_null(tls_server_new(io_cert, io_cert, NULL, &err)); /* no key at all */
    assert_null(tls_client_new("/nonexistent.pem", true, &err));
    unlink(cert2);
    unlink(key2);
}

/* Carries records between two sessions until neither has any; returns whether both handshakes are done. */
static bool shake(SSL *client, SSL *server)
{
    for (int i = 0; i < 10; i++) {
        SSL *both[2] = {client, server};
        for (int k = 0; k < 2; k++) {
            char bytes[32768];
            (void)SSL_do_handshake(both[k]);
            int n = BIO_read(SSL_get_wbio(both[k]), bytes, sizeof bytes);
            if (n > 0) assert_int_equal(BIO_write(SSL_get_rbio(both[!k]), bytes, n), n);
        }
    }
    ERR_clear_error();
    return SSL_is_init_finished(client) && SSL_is_init_finished(server);
}

static bool meets(struct tls_context *c, struct tls_context *s, const char *name, const char *alpn, int max_version)
{
    struct err err;
    SSL *client = tls_session_new(c, false, name, &err);
    SSL *server = tls_session_new(s, true, NULL, &err);
    assert_true(client != NULL && server != NULL);
    if (alpn != NULL) SSL_set_alpn_protos(client, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    if (max_version != 0) SSL_set_max_proto_version(client, max_version);
    bool ok = shake(client, server);
    assert_false(ok && SSL_session_reused(client));
    SSL_free(client);
    SSL_free(server);
    return ok;
}

static void test_handshakes(void **state)
{
    struct err err;
    UNIT_UNUSED(state);
    struct tls_context *s = tls_server_new(io_cert, io_key, "xmpp-client", &err);
    struct tls_context *c = tls_client_new(io_cert, true, &err);
    struct tls_context *unnamed = tls_client_new(io_cert, false, &err);
    struct tls_context *system = tls_client_new(NULL, true, &err);
    assert_true(s != NULL && c != NULL && unnamed != NULL && system != NULL);
    assert_true(meets(c, s, "localhost", NULL, 0));
    assert_true(meets(c, s, "localhost", "\x0bxmpp-client", 0));
    assert_true(meets(c, s, "localhost", NULL, TLS1_2_VERSION));
    assert_false(meets(c, s, "localhost", NULL, TLS1_1_VERSION));
    assert_false(meets(c, s, "localhost", "\x02h2", 0));
    assert_false(meets(c, s, "example.org", NULL, 0));
    assert_true(meets(unnamed, s, "example.org", NULL, 0));
    assert_false(meets(system, s, "localhost", NULL, 0)); /* nobody vouches for it */
    assert_null(tls_session_new(c, true, NULL, &err));
    assert_null(tls_session_new(c, false, NULL, &err));
    /* A session outlives its context's last other reference. */
    SSL *server = tls_session_new(tls_ref(s), true, NULL, &err);
    SSL *client = tls_session_new(c, false, "localhost", &err);
    tls_unref(s);
    tls_unref(s);
    SSL_set_alpn_protos(client, (const unsigned char *)"\x0bxmpp-client", 12);
    assert_true(shake(client, server));
    SSL_free(client);
    SSL_free(server);
    tls_unref(c);
    tls_unref(unnamed);
    tls_unref(system);
}

static int group_setup(void **state)
{
    UNIT_UNUSED(state);
    io_make_cert();
    return 0;
}
static int group_teardown(void **state)
{
    UNIT_UNUSED(state);
    io_drop_cert();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_signed),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_handshakes),
        cmocka_unit_test(test_self_signed_anew),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
