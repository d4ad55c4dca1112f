/* A configuration in force. Link specs borrow their strings from the copy of the configuration that the setup keeps. */
#include "broker/setup.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct setup_private {
    atomic_uint refs;
    struct compliance_config *config;
};

int setup_tls(const struct compliance_server *server, struct tls_context **out, struct err *err)
{
    *out = NULL;
    if (!server->tls || (server->direction == LINK_ACCEPT && server->tls_ca == NULL)) return 0;
    *out = tls_client_new(server->tls_ca, true, err);
    if (*out == NULL) return err_prefix(err, "compliance server %s: tls_ca", server->name);
    if (server->tls_cert == NULL || server->direction == LINK_ACCEPT || tls_client_show(*out, server->tls_cert, server->tls_key, err) == 0) return 0;
    tls_unref(*out);
    *out = NULL;
    return err_prefix(err, "compliance server %s: tls_cert and tls_key", server->name);
}

static int spec_fill(struct link_spec *spec, const struct compliance_config *c, const struct compliance_assignment *a, struct err *err)
{
    const struct compliance_server *server = compliance_server_find(c, a->server);
    if (server == NULL) return err_set(err, ERR_INVALID, "component %s: there is no compliance server %s", a->component, a->server);
    *spec = (struct link_spec){
        .id = link_id_for(a->component),
        .component = a->component,
        .server = server->name,
        .profile = a->profile,
        .host = server->host != NULL ? server->host : "",
        .password = server->password != NULL ? server->password : "",
        .port = server->port,
        .dials = server->direction == LINK_CONNECT,
        .tls_ca = server->tls_ca,
        .tls_cert = server->tls_cert,
        .tls_name = server->tls_name,
        .wants_tls = server->tls,
        .outstanding = (uint32_t)server->link_outstanding,
        .queue_bytes = server->link_queue_bytes,
        .answer_bytes = (size_t)server->answer_bytes,
    };
    return setup_tls(server, &spec->tls, err);
}

struct setup *setup_new(const struct compliance_config *c, const char *node, struct err *err)
{
    struct setup *s = x_calloc(1, sizeof *s);
    s->priv = x_calloc(1, sizeof *s->priv);
    atomic_init(&s->priv->refs, 1);
    s->priv->config = compliance_config_copy(c);
    c = s->priv->config;
    s->specs = x_calloc(c->n_assignments + 1, sizeof *s->specs);
    for (unsigned i = 0; i < c->n_assignments; i++) {
        if (strcmp(c->assignments[i].node, node) != 0) continue;
        if (spec_fill(&s->specs[s->n_specs++], c, &c->assignments[i], err) != 0) {
            setup_unref(s);
            return NULL;
        }
    }
    s->plan = plan_compile(c, node);
    return s;
}

struct setup *setup_ref(struct setup *s)
{
    atomic_fetch_add_explicit(&s->priv->refs, 1, memory_order_relaxed);
    return s;
}

void setup_unref(struct setup *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->priv->refs, 1, memory_order_acq_rel) != 1) return;
    for (unsigned i = 0; i < s->n_specs; i++)
        if (s->specs[i].tls != NULL) tls_unref(s->specs[i].tls);
    plan_unref(s->plan);
    compliance_config_free(s->priv->config);
    free(s->specs);
    free(s->priv);
    free(s);
}

const struct link_spec *setup_link(const struct setup *s, struct str component)
{
    for (unsigned i = 0; s != NULL && i < s->n_specs; i++)
        if (str_is(component, s->specs[i].component)) return &s->specs[i];
    return NULL;
}
