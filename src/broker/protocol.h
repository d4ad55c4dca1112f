/* The open-port protocol's elements (docs/protocol.md): event envelopes out, answers in. Pure: buffers and parsed elements only. */
#ifndef SIGNET_BROKER_PROTOCOL_H
#define SIGNET_BROKER_PROTOCOL_H
#include "broker/event.h"

#define NS_EVENT_BROKER "urn:signet:event-broker:0"
#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_PING "urn:xmpp:ping"

struct protocol_names { /* borrowed */
    const char *broker; /* the node's side: "event-broker.example.com" */
    const char *component; /* the compliance server's side: "op-wall.node1-example-com" */
};
/* Appends one event: an iq set with the id made from `number`, or a message without id when nobody waits (request->hold 0). */
void protocol_write_event(struct buf *out, const struct protocol_names *names, uint64_t number, const struct event_request *request);
void protocol_write_ping(struct buf *out, const struct protocol_names *names, uint64_t number); /* XEP-0199, to the compliance server */

enum protocol_input {
    PROTOCOL_ANSWER, /* to event number *number; *answer is filled, hold, step and link excepted */
    PROTOCOL_PONG, /* the answer to our ping *number (an error is one too: the peer lives) */
    PROTOCOL_PING, /* their ping; the reply was appended to out */
    PROTOCOL_REFUSED, /* anything else: a link may only answer and ping. An iq get/set got its error appended to out; *why says what it was */
};
/* Reads one element of the stream. answer_bytes: the largest inner size an answer may have; a larger one is ANSWER_INVALID. */
enum protocol_input protocol_read(const struct protocol_names *names, const struct xml_element *e, size_t answer_bytes, struct buf *out, uint64_t *number,
                                  struct event_answer *answer, const char **why);

#endif
