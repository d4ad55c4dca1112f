/* The way of a stanza at its recipient's side: e_DELIVER in the receiving lane, the choice of sessions, es_IN per session, or e_OFFLINE. */
#ifndef SIGNET_JSM_RECEIVE_H
#define SIGNET_JSM_RECEIVE_H
#include "router/route.h"

void receive_parcel(struct parcel *take); /* router_ops.arrive */
void receive_undeliverable(struct parcel *take, const char *condition); /* router_ops.undeliverable */
void incoming_refuse_all(const char *condition, const char *text); /* shutdown: what is under way for the first time goes back */
void incoming_leave_all(void); /* shutdown: what sessions left unacknowledged is in the store, or on its way there */
/* A message a session was sent and never acknowledged (XEP-0198): sessions are chosen anew, e_DELIVER was raised when it came,
 * at since_wall_ms. On the worker of its addressee. Takes the reference. kept: of the message, when the store has it; or NULL. */
struct kept;
void receive_again(struct stanza *take, uint64_t since_wall_ms, struct kept *kept);

#endif
