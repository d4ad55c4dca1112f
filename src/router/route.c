/* Routing. Today a destination is one of this node's workers or unreachable; server-to-server streams and other nodes are further answers, and nothing else
 * changes when they come. */
#include "router/private.h"
#include "base/hash.h"
#include "base/metric.h"
#include <stdlib.h>
#include <string.h>

enum { DOMAINS_MAX = 128 };
struct domain {
    char *name;
    const struct router_ops *ops;
};
static struct {
    const struct router_base_ops *base;
    struct domain domains[DOMAINS_MAX];
    unsigned n_domains;
} router;

static const struct domain *domain_find(struct str name)
{
    for (unsigned i = 0; i < router.n_domains; i++)
        if (str_is(name, router.domains[i].name)) return &router.domains[i];
    return NULL;
}

static int domain_add(const char *text, const struct router_ops *ops, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct str name;
    int rc = 0;
    if (router.n_domains == DOMAINS_MAX)
        rc = err_set(err, ERR_LIMIT, "at most %d domains are served", DOMAINS_MAX);
    else if (jid_prep_domain(arena, str_of(text), &name, err) != 0)
        rc = err_prefix(err, "'%s'", text);
    else if (domain_find(name) != NULL && domain_find(name)->ops != ops)
        rc = err_set(err, ERR_CONFLICT, "'%s' is the domain of another service already", text);
    else if (domain_find(name) == NULL)
        router.domains[router.n_domains++] = (struct domain){str_dup(name), ops};
    arena_free(arena);
    return rc;
}

int router_start(const struct config *config, const struct router_base_ops *ops, struct err *err)
{
    router_stop();
    router.base = ops;
    char *list = x_strdup(config->server_domains);
    char *save = NULL;
    int rc = 0;
    for (char *word = strtok_r(list, " \t", &save); word != NULL && rc == 0; word = strtok_r(NULL, " \t", &save)) rc = domain_add(word, &ops->ops, err);
    free(list);
    if (rc != 0) return err_prefix(err, "server.domains");
    if (router.n_domains == 0) return err_set(err, ERR_INVALID, "server.domains: name at least one domain, e.g. domains = example.com");
    return 0;
}

int router_add_service(const char *domain, const struct router_ops *ops, struct err *err) { return domain_add(domain, ops, err); }

void router_stop(void)
{
    for (unsigned i = 0; i < router.n_domains; i++) free(router.domains[i].name);
    router.n_domains = 0;
}

bool router_domain_served(struct str domain)
{
    const struct domain *d = domain_find(domain);
    return d != NULL && d->ops == &router.base->ops;
}

bool router_domain_of_rooms(struct str domain)
{
    const struct domain *d = domain_find(domain);
    return d != NULL && d->ops != &router.base->ops;
}

const char *router_default_domain(void) { return router.domains[0].name; }

const char *router_domain(unsigned i) { return i < router.n_domains ? router.domains[i].name : NULL; }

uint32_t router_owner_of(struct str bare) { return (uint32_t)(hash_stable(bare.p, bare.n) % worker_count()); }

uint32_t router_owner(const struct jid *jid) { return router_owner_of(jid->bare); }

static void parcel_arrived(struct msg *msg)
{
    struct parcel *parcel = CONTAINER_OF(msg, struct parcel, msg);
    domain_find(parcel->stanza->to.domain)->ops->arrive(parcel);
}

static struct parcel *parcel_new(struct stanza *take, struct ticket ticket, struct parcel *cause, unsigned flags)
{
    struct parcel *parcel = x_calloc(1, sizeof(*parcel));
    atomic_init(&parcel->refs, 1);
    parcel->stanza = take;
    parcel->ticket = ticket;
    parcel->flags = flags;
    if (cause != NULL) parcel->cause = parcel_ref(cause);
    return parcel;
}

struct parcel *parcel_made(struct stanza *take) { return parcel_new(take, (struct ticket){0}, NULL, 0); }

struct parcel *parcel_ref(struct parcel *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void parcel_unref(struct parcel *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1) return;
    if (p->ticket.session != 0) router.base->finished(p->ticket);
    parcel_unref(p->cause);
    stanza_unref(p->stanza);
    free(p);
}

static void parcel_send(struct parcel *parcel)
{
    const struct jid *to = &parcel->stanza->to;
    const struct domain *domain = domain_find(to->domain);
    if (domain == NULL) {
        metric_inc(METRIC_ROUTE_OUTSIDE);
        router.base->undeliverable(parcel, "remote-server-not-found");
        return;
    }
    uint32_t owner = router_owner(to);
    if (owner == worker_id()) {
        metric_inc(METRIC_ROUTE_MINE);
        domain->ops->arrive(parcel);
        return;
    }
    metric_inc(METRIC_ROUTE_WORKER);
    parcel->msg.run = parcel_arrived;
    worker_post(owner, &parcel->msg);
}

void router_route(struct stanza *take, struct ticket ticket, unsigned flags) { parcel_send(parcel_new(take, ticket, NULL, flags)); }

void router_route_for(struct stanza *take, struct parcel *cause, unsigned flags) { parcel_send(parcel_new(take, (struct ticket){0}, cause, flags)); }

void router_arrive_copy(struct stanza *take, struct parcel *cause, unsigned flags)
{
    router.base->ops.arrive(parcel_new(take, (struct ticket){0}, cause, flags));
}
