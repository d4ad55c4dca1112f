/* Routing. Today a destination is one of this node's workers or unreachable; server-to-server streams and other nodes are further
 * answers of destination_of(), and nothing else changes when they come. */
#include "router/route.h"
#include "base/hash.h"
#include "base/metric.h"
#include <stdlib.h>
#include <string.h>

static struct {
    const struct router_ops *ops;
    char *domains[64];
    unsigned n_domains;
} router;

int router_start(const struct config *config, const struct router_ops *ops, struct err *err)
{
    router_stop();
    router.ops = ops;
    struct arena *arena = arena_new(0);
    char *list = x_strdup(config->server_domains);
    char *save = NULL;
    int rc = 0;
    for (char *word = strtok_r(list, " \t", &save); word != NULL && rc == 0; word = strtok_r(NULL, " \t", &save)) {
        struct str domain;
        if (router.n_domains == sizeof(router.domains) / sizeof(router.domains[0]))
            rc = err_set(err, ERR_LIMIT, "server.domains: at most 64 domains");
        else if (jid_prep_domain(arena, str_of(word), &domain, err) != 0)
            rc = err_prefix(err, "server.domains: '%s'", word);
        else
            router.domains[router.n_domains++] = str_dup(domain);
    }
    if (rc == 0 && router.n_domains == 0) rc = err_set(err, ERR_INVALID, "server.domains: name at least one domain, e.g. domains = example.com");
    free(list);
    arena_free(arena);
    return rc;
}

void router_stop(void)
{
    for (unsigned i = 0; i < router.n_domains; i++) free(router.domains[i]);
    router.n_domains = 0;
}

bool router_domain_served(struct str domain)
{
    for (unsigned i = 0; i < router.n_domains; i++)
        if (str_is(domain, router.domains[i])) return true;
    return false;
}

const char *router_default_domain(void) { return router.domains[0]; }

uint32_t router_owner_of(struct str bare) { return (uint32_t)(hash_stable(bare.p, bare.n) % worker_count()); }

uint32_t router_owner(const struct jid *jid) { return router_owner_of(jid->bare); }

static void parcel_arrived(struct msg *msg) { router.ops->arrive(CONTAINER_OF(msg, struct parcel, msg)); }

void router_route(struct stanza *take, struct ticket ticket, unsigned flags)
{
    struct parcel *parcel = x_calloc(1, sizeof(*parcel));
    parcel->stanza = take;
    parcel->ticket = ticket;
    parcel->flags = flags;
    if (!router_domain_served(take->to.domain)) {
        metric_inc(METRIC_ROUTE_OUTSIDE);
        router.ops->undeliverable(parcel, "remote-server-not-found");
        return;
    }
    uint32_t owner = router_owner(&take->to);
    if (owner == worker_id()) {
        metric_inc(METRIC_ROUTE_MINE);
        router.ops->arrive(parcel);
        return;
    }
    metric_inc(METRIC_ROUTE_WORKER);
    parcel->msg.run = parcel_arrived;
    worker_post(owner, &parcel->msg);
}
