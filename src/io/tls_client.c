/* Whom a client certificate names (RFC 6120, 13.7.1.4; XEP-0178): the XMPP addresses and e-mail addresses of its subjectAltName. The commonName
 * counts for nothing. */
#include "io/private.h"
#include <openssl/x509v3.h>
#include <string.h>

/* One address of the certificate, or nothing when it is no plain text: a NUL inside would show one name to us and another to the issuer. */
static bool add_text(struct buf *out, const ASN1_STRING *text)
{
    const unsigned char *p = ASN1_STRING_get0_data(text);
    int n = ASN1_STRING_length(text);
    if (n <= 0 || memchr(p, 0, (size_t)n) != NULL) return false;
    buf_add(out, p, (size_t)n);
    buf_addc(out, '\0');
    return true;
}

static const ASN1_STRING *xmpp_address(const GENERAL_NAME *name, const ASN1_OBJECT *oid)
{
    if (name->type != GEN_OTHERNAME || OBJ_cmp(name->d.otherName->type_id, oid) != 0) return NULL;
    const ASN1_TYPE *value = name->d.otherName->value;
    return value->type == V_ASN1_UTF8STRING ? value->value.utf8string : NULL;
}

int conn_tls_check_client(const struct conn *c, const struct tls_context *authorities, const char *name, struct err *err)
{
    if (!c->tls_up || !c->tls_server) return err_set(err, ERR_DENIED, "it does not use TLS");
    return tls_check_peer(authorities, c->ssl, name, err);
}

unsigned conn_tls_client_addresses(const struct conn *c, struct buf *out)
{
    if (!c->tls_up || !c->tls_server || SSL_get_verify_result(c->ssl) != X509_V_OK) return 0;
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    GENERAL_NAMES *names = cert == NULL ? NULL : X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.8.5", 1);
    unsigned found = 0;
    for (int i = 0; oid != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const ASN1_STRING *text = xmpp_address(sk_GENERAL_NAME_value(names, i), oid);
        if (text != NULL && add_text(out, text)) found++;
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_EMAIL && add_text(out, name->d.rfc822Name)) found++;
    }
    ASN1_OBJECT_free(oid);
    GENERAL_NAMES_free(names);
    return found;
}
