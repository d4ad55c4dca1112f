/* Between the router's files. */
#ifndef SIGNET_ROUTER_PRIVATE_H
#define SIGNET_ROUTER_PRIVATE_H
#include "router/route.h"

void router_arrive_copy(struct stanza *take, struct parcel *cause, unsigned flags); /* at the session manager of this worker */

#endif
