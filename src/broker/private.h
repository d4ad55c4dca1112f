/* Between broker.c, change.c (configurations come into force), listen.c (compliance servers that dial in) and status.c (what the admin API is told). */
#ifndef SIGNET_BROKER_PRIVATE_H
#define SIGNET_BROKER_PRIVATE_H
#include "base/err.h"
#include "broker/links.h"
#include "broker/seldom.h"

/* broker.c, on a worker */
const struct link_spec *broker_accept_spec(struct str component, uint32_t *worker); /* NULL: no such component of direction accept; worker: where its link lives */
void broker_accept(struct component *take); /* a verified stream, on its link's worker */
const struct component_limits *broker_component_limits(void);
struct link_counts {
    uint64_t timeouts, invalid;
    struct seldom said; /* of both, in the log */
};
void broker_each_link(void (*fn)(void *arg, uint32_t id, const struct link_io *l), void *arg); /* those that live on this worker */
struct link_counts broker_counts(uint32_t link); /* what this worker's holds met with */

/* broker.c, on a worker: the rounds of a change, and what they need to know */
void broker_links_begin(struct setup *s);
void broker_plan_begin(struct setup *s);
void broker_links_retire(struct setup *s);
unsigned broker_links_coming(void);
uint32_t broker_oldest_era(void);
const char *broker_node(void); /* any thread */

/* change.c */
struct setup *change_current(void); /* a reference; NULL: none */
void change_end(void);

/* listen.c */
must_check int listen_start(const char *plain, const char *tls, struct err *err); /* reads component.listen and listen_tls; opens nothing yet */
bool listen_has(bool tls); /* is there an address for servers that need TLS, or for those that don't */
void listen_stop(void); /* on each worker: closes the listeners and what is not verified yet */
unsigned listen_streams(void); /* streams not verified yet; any thread */

#endif
