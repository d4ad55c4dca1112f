/* A configuration in force: the plan compiled from it and the links this node has under it. Immutable, reference-counted, shared by all workers. */
#ifndef SIGNET_BROKER_SETUP_H
#define SIGNET_BROKER_SETUP_H
#include "broker/link_io.h"
#include "broker/plan.h"

struct setup {
    struct plan *plan;
    struct link_spec *specs;
    unsigned n_specs;
    struct setup_private *priv;
};
/* One reference, the caller's. Fails when a TLS context can't be made. Copies. */
must_check struct setup *setup_new(const struct compliance_config *c, const char *node, struct err *err);
/* The TLS of a server's link, from its files: *out is one reference, or NULL when nothing is to be checked or shown. */
must_check int setup_tls(const struct compliance_server *server, struct tls_context **out, struct err *err);
struct setup *setup_ref(struct setup *s); /* thread-safe */
void setup_unref(struct setup *s); /* thread-safe; NULL is a no-op */
const struct link_spec *setup_link(const struct setup *s, struct str component); /* NULL: none; s may be NULL */

#endif
