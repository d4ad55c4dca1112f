/* TLS contexts (OpenSSL 3). Connections use memory BIOs, so that TLS state can move between workers. */
#ifndef SIGNET_IO_TLS_H
#define SIGNET_IO_TLS_H
#include "base/err.h"
#include <stdbool.h>

struct tls_context; /* refcounted, shareable between threads */
/* Server side: certificate chain and key (PEM). alpn: "xmpp-client" or NULL. TLS 1.2 or later (RFC 7590). */
must_check struct tls_context *tls_server_new(const char *cert_path, const char *key_path, const char *alpn, struct err *err);
/* A further certificate, for clients that ask for this domain: by SNI, or by the name given to conn_start_tls(). Before the first connection. */
must_check int tls_server_add(struct tls_context *t, const char *domain, const char *cert_path, const char *key_path, struct err *err);
/* Asks clients for a certificate, which they need not have; one issued under ca_path (PEM file or folder) counts. NULL: whether one counts is asked later, by
 * conn_tls_check_client(). After the last tls_server_add(). */
must_check int tls_server_ask_clients(struct tls_context *t, const char *ca_path, struct err *err);
/* Client side: ca_path NULL: the system's; verify_host: check the peer's name (RFC 6125). */
must_check struct tls_context *tls_client_new(const char *ca_path, bool verify_host, struct err *err);
must_check int tls_client_show(struct tls_context *t, const char *cert_path, const char *key_path, struct err *err); /* a certificate for servers that ask */
struct tls_context *tls_ref(struct tls_context *t);
void tls_unref(struct tls_context *t);
/* Makes a self-signed certificate (EC P-256, 397 days, DNS and XmppAddr names of the domains) where the files do not exist; key file mode 0600.
 * Where they do, and the certificate is self-signed, it is made anew with the same key when it does not name all domains or ends within 30 days.
 * *made tells whether one was made. */
must_check int tls_self_signed(const char *cert_path, const char *key_path, const char *const *domains, unsigned n, bool *made, struct err *err);

#endif
