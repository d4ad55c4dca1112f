/* Between the router's files. */
#ifndef SIGNET_ROUTER_PRIVATE_H
#define SIGNET_ROUTER_PRIVATE_H
#include "router/route.h"

void router_arrive_copy(struct stanza *take, struct fanout *of, unsigned flags); /* at the session manager of this worker; of: a reference */
void fanout_unref(struct fanout *f);

#endif
