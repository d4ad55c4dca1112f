/* The way of a stanza at its sender's side: es_OUT in the sending lane, then its feature or the router. */
#ifndef SIGNET_JSM_SEND_H
#define SIGNET_JSM_SEND_H
#include "jsm/session.h"

void session_receive(struct session *s, struct stanza *take); /* a stanza came from this session's client */
/* For session.c: stanzas held back by a barrier; node is struct outgoing's `held`. */
bool outgoing_may_start(const struct session *s, struct list *node);
void outgoing_start(struct session *s, struct list *node);
void outgoing_refuse_all(const char *condition, const char *text); /* shutdown: those still waiting go back to their senders as errors */

#endif
