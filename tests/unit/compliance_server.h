/* A small compliance server for tests: one thread, one connection at a time, both directions, and every misbehaviour that tests ask for. It shares the XML
 * parser with what it tests, but nothing of the protocol. */
#ifndef SIGNET_TESTS_COMPLIANCE_SERVER_H
#define SIGNET_TESTS_COMPLIANCE_SERVER_H
#include <stdbool.h>
#include <stdint.h>

enum server_answers {
    SERVER_PASS, /* <iq type='result'/> */
    SERVER_REDACT, /* pass with a stanza whose body is "[redacted]" */
    SERVER_HANDLE,
    SERVER_ERROR, /* policy-violation with a text */
    SERVER_SILENT, /* to events; pings are answered */
    SERVER_DEAD, /* not even pings */
    SERVER_SHUFFLE, /* passes, but late and in random order */
    SERVER_INVALID,
};
struct server;
/* Listens (connect direction; port 0: any) with that component name and password. */
struct server *server_listen(const char *component, const char *password, uint16_t port);
/* Dials a node's component port (accept direction), once. */
struct server *server_dial(const char *component, const char *password, uint16_t port);
uint16_t server_port(const struct server *s);
void server_answers(struct server *s, enum server_answers how);
void server_end(struct server *s); /* </stream:stream> */
void server_cut(struct server *s); /* closes the socket, and goes on listening */
void server_send(struct server *s, const char *xml); /* of its own accord */
void server_free(struct server *s); /* cuts, and ends */

/* What it saw. All wait up to 10 s and tell whether it came. */
bool server_wait_active(struct server *s);
bool server_wait_events(struct server *s, unsigned n); /* n events in all */
bool server_wait_over(struct server *s); /* its connection has ended */
unsigned server_events(struct server *s);
const char *server_event(struct server *s, unsigned i); /* "es_OUT node1-6a1b-00000001 body"; lives as long as the server */
const char *server_error(struct server *s); /* the stream error it got, "" when none */
bool server_ended(struct server *s); /* the node ended its stream with </stream:stream> */
unsigned server_refused(struct server *s); /* iq errors the node sent */
unsigned server_pings(struct server *s); /* pings it got */
unsigned server_pongs(struct server *s); /* results it got for pings sent with server_send() */

#endif
