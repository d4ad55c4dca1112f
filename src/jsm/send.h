/* The way of a stanza at its sender's side: es_OUT in the sending lane, then its feature or the router. */
#ifndef SIGNET_JSM_SEND_H
#define SIGNET_JSM_SEND_H
#include "jsm/session.h"

void session_receive(struct session *s, struct stanza *take); /* a stanza came from this session's client */
void outgoing_begin(struct gate_entry *entry); /* for session.c: it is let through its session's gate */
void outgoing_refuse_all(const char *condition, const char *text); /* shutdown: those still waiting go back to their senders as errors */

#endif
