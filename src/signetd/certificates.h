/* The certificates of signetd: the configured one, those of tls.domains_dir, or a self-signed one; read at start and at each SIGHUP. */
#ifndef SIGNET_SIGNETD_CERTIFICATES_H
#define SIGNET_SIGNETD_CERTIFICATES_H
#include "base/config.h"
#include "io/tls.h"

/* All of them anew. clients: for c2s; else for compliance servers that dial in, which are asked for a certificate. NULL: something is wrong with one of them; whoever has a context from before keeps it. */
must_check struct tls_context *certificates_load(const struct config *config, bool clients, struct err *err);

#endif
