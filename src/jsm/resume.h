/* Stream management (XEP-0198): what a session was sent and has not acknowledged, how much of what it sent was handled, and its life without a stream. */
#ifndef SIGNET_JSM_RESUME_H
#define SIGNET_JSM_RESUME_H
#include "broker/broker.h"
#include "jsm/session.h"

struct kept;

/* Calls of client streams, as c2s_ops say. */
void resume_on_enable(struct c2s *c, bool resume, uint32_t max_s);
void resume_on_resume(struct c2s *c, struct str previd, uint32_t h);
bool resume_on_request(struct c2s *c);
bool resume_on_ack(struct c2s *c, uint32_t h);
void resume_on_drain(struct c2s *c);

/* The stream was cut. true: the session lives on without it, until it is resumed or its time is over. */
bool resume_possible(const struct session *s); /* should its stream be lost */
bool resume_detach(struct session *s);
/* From jsm/deliver, for a session with stream management: keeps the stanza until it is acknowledged. copy: what it is a copy of, if any; such are not
 * delivered elsewhere when this session never gets them. since_wall_ms, kept: as in struct delivery. true: write it now, then call resume_written(). */
bool resume_keep(struct session *s, struct stanza *stanza, enum event_copy copy, uint64_t since_wall_ms, struct kept *kept);
bool resume_stores_first(const struct session *s); /* a message for it is stored before it counts as delivered */
void resume_written(struct session *s);
/* A stanza of the client has come under this ticket number. true: it was accepted before the stream was cut, and is under way since. */
bool resume_came_again(struct session *s, const struct stanza *raw, uint64_t number);
void resume_ticket_returned(struct session *s);

void resume_ending(struct session *s, struct list *left); /* it is not resumed any more; what it has not acknowledged is moved to the list */
/* The session has `message` as a carbon copy, and it is given to nobody for that: if the session ends without having acknowledged the copy, the message goes
 * where it would have gone. kept: of the message; or NULL. false: no such copy is unacknowledged. */
bool resume_stands_for(struct session *s, struct stanza *message, uint64_t since_wall_ms, struct kept *kept);
void resume_worker_stop(void);

#endif
