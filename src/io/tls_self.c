/* Self-signed certificates, so that a first start works without any preparation, and later ones after a change of the domains. */
#include "io/tls.h"
#include "base/log.h"
#include "io/private.h"
#include <errno.h>
#include <fcntl.h>
#include <idn2.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALID_DAYS = 397, RENEW_DAYS = 30, BACKDATE_S = 3600 };

static int ssl_err(struct err *err, const char *what)
{
    char text[200];
    tls_error_text(NULL, text, sizeof text);
    return err_set(err, ERR_INTERNAL, "cannot make a self-signed certificate: %s: %s", what, text);
}

static bool push_name(GENERAL_NAMES *names, GENERAL_NAME *name)
{
    if (name != NULL && sk_GENERAL_NAME_push(names, name) > 0) return true;
    GENERAL_NAME_free(name);
    return false;
}

/* dNSName, in A-labels. A domain that cannot be written so has none; XmppAddr still names it. */
static bool add_dns(GENERAL_NAMES *names, const char *domain)
{
    char *ascii = NULL;
    if (idn2_to_ascii_8z(domain, &ascii, IDN2_NONTRANSITIONAL) != IDN2_OK) return true;
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    bool ok = value != NULL && name != NULL && ASN1_STRING_set(value, ascii, -1) == 1;
    idn2_free(ascii);
    if (!ok) {
        ASN1_IA5STRING_free(value);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_DNS, value);
    return push_name(names, name);
}

/* id-on-xmppAddr (RFC 6120, 13.7.1.4). */
static bool add_xmpp_addr(GENERAL_NAMES *names, const char *domain)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.8.5", 1);
    ASN1_UTF8STRING *text = ASN1_UTF8STRING_new();
    ASN1_TYPE *value = ASN1_TYPE_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (oid == NULL || text == NULL || value == NULL || name == NULL || ASN1_STRING_set(text, domain, -1) != 1) {
        ASN1_OBJECT_free(oid);
        ASN1_UTF8STRING_free(text);
        ASN1_TYPE_free(value);
        GENERAL_NAME_free(name);
        return false;
    }
    ASN1_TYPE_set(value, V_ASN1_UTF8STRING, text);
    if (GENERAL_NAME_set0_othername(name, oid, value) == 1) return push_name(names, name);
    ASN1_OBJECT_free(oid);
    ASN1_TYPE_free(value);
    GENERAL_NAME_free(name);
    return false;
}

static bool add_names(X509 *cert, const char *const *domains, unsigned n)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok = names != NULL;
    for (unsigned i = 0; ok && i < n; i++) ok = add_dns(names, domains[i]) && add_xmpp_addr(names, domains[i]);
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return ok;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();
    bool ok = serial != NULL && BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
    BN_free(serial);
    return ok;
}

static X509 *make_cert(EVP_PKEY *key, const char *const *domains, unsigned n)
{
    X509 *cert = X509_new();
    if (cert == NULL) return NULL;
    X509_NAME *subject = X509_get_subject_name(cert);
    /* commonName has at most 64 characters; the names that count are in subjectAltName. */
    const char *cn = strlen(domains[0]) <= 64 ? domains[0] : "Signet";
    bool ok = X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
              X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) != NULL &&
              X509_gmtime_adj(X509_getm_notAfter(cert), VALID_DAYS * 86400L - BACKDATE_S) != NULL && X509_set_pubkey(cert, key) == 1 &&
              X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1 &&
              X509_set_issuer_name(cert, subject) == 1 && add_names(cert, domains, n) &&
              add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") && add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
              add_extension(cert, NID_ext_key_usage, "serverAuth,clientAuth") && add_extension(cert, NID_subject_key_identifier, "hash") &&
              X509_sign(cert, key, EVP_sha256()) > 0;
    if (ok) return cert;
    X509_free(cert);
    return NULL;
}

/* Writes beside the final place; the caller renames. */
static int write_pem(const char *path, mode_t mode, X509 *cert, EVP_PKEY *key, struct err *err)
{
    char text[128];
    (void)unlink(path); /* of an interrupted start */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (f == NULL) {
        int saved = errno;
        if (fd >= 0) close(fd);
        return err_set(err, ERR_IO, "cannot write %s: %s", path, io_strerror(saved, text, sizeof text));
    }
    bool ok = cert != NULL ? PEM_write_X509(f, cert) == 1 : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;
    ok = fflush(f) == 0 && fsync(fd) == 0 && ok;
    ok = fclose(f) == 0 && ok;
    if (ok) return 0;
    (void)unlink(path);
    return err_set(err, ERR_IO, "cannot write %s", path);
}

static int write_pair(const char *cert_path, const char *key_path, X509 *cert, EVP_PKEY *key, struct err *err)
{
    char text[128];
    struct buf cert_tmp = {0}, key_tmp = {0};
    buf_addf(&cert_tmp, "%s.new", cert_path);
    buf_addf(&key_tmp, "%s.new", key_path);
    int rc = write_pem(buf_cstr(&key_tmp), 0600, NULL, key, err);
    if (rc == 0) rc = write_pem(buf_cstr(&cert_tmp), 0644, cert, NULL, err);
    if (rc == 0 && (rename(buf_cstr(&key_tmp), key_path) != 0 || rename(buf_cstr(&cert_tmp), cert_path) != 0)) {
        rc = err_set(err, ERR_IO, "cannot put %s and %s in place: %s", key_path, cert_path, io_strerror(errno, text, sizeof text));
    }
    buf_free(&cert_tmp);
    buf_free(&key_tmp);
    return rc;
}

static bool names(X509 *cert, const char *domain)
{
    char *ascii = NULL;
    if (idn2_to_ascii_8z(domain, &ascii, IDN2_NONTRANSITIONAL) != IDN2_OK) return true; /* add_dns() has none for it either */
    bool found = X509_check_host(cert, ascii, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    idn2_free(ascii);
    return found;
}

/* Why a certificate of ours has to be made anew; NULL: it will do. Where somebody has put another's in its place, it is theirs. */
static const char *outdated(X509 *cert, const char *const *domains, unsigned n)
{
    time_t soon = time(NULL) + RENEW_DAYS * 86400L;
    if (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) != 0) return NULL;
    if (X509_cmp_time(X509_get0_notAfter(cert), &soon) < 0) return "it ends soon, or has ended";
    for (unsigned i = 0; i < n; i++)
        if (!names(cert, domains[i])) return "it does not name all of server.domains";
    return NULL;
}

/* The files' key, when the certificate has to be made anew; NULL: it need not be. What cannot be read here cannot be used either, and who uses it will say
 * so. A client that trusts the key goes on trusting it. */
static EVP_PKEY *key_of_outdated(const char *cert_path, const char *key_path, const char *const *domains, unsigned n)
{
    FILE *f = fopen(cert_path, "re");
    X509 *cert = f == NULL ? NULL : PEM_read_X509(f, NULL, NULL, NULL);
    if (f != NULL) fclose(f);
    const char *why = cert == NULL ? NULL : outdated(cert, domains, n);
    X509_free(cert);
    if (why == NULL) return NULL;
    f = fopen(key_path, "re");
    EVP_PKEY *key = f == NULL ? NULL : PEM_read_PrivateKey(f, NULL, NULL, NULL);
    if (f != NULL) fclose(f);
    if (key != NULL) log_notice("tls", "%s is made anew, with the same key: %s", cert_path, why);
    return key;
}

int tls_self_signed(const char *cert_path, const char *key_path, const char *const *domains, unsigned n, bool *made, struct err *err)
{
    bool have_cert = access(cert_path, F_OK) == 0;
    bool have_key = access(key_path, F_OK) == 0;
    *made = false;
    /* A key alone is what a start interrupted between the two renames leaves; a certificate alone is somebody's. */
    if (have_cert && !have_key) return err_set(err, ERR_CONFLICT, "%s exists, but its key %s does not", cert_path, key_path);
    if (n == 0) return err_set(err, ERR_INVALID, "a certificate needs at least one domain (server.domains)");
    ERR_clear_error();
    EVP_PKEY *key = have_cert ? key_of_outdated(cert_path, key_path, domains, n) : EVP_EC_gen("P-256");
    if (have_cert && key == NULL) return 0;
    X509 *cert = key == NULL ? NULL : make_cert(key, domains, n);
    int rc = cert == NULL ? ssl_err(err, key == NULL ? "no key" : "no certificate") : write_pair(cert_path, key_path, cert, key, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    *made = rc == 0;
    return rc;
}
