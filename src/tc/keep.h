/* What is kept of a room in the store, when it is persistent. A message's sender waits for the commit with his acknowledgement, those in the room do
 * not. */
#ifndef SIGNET_TC_KEEP_H
#define SIGNET_TC_KEEP_H
#include "store/rooms.h"
#include "tc/request.h"

must_check int keep_fill(struct room *r, const struct store_room *data); /* from the store; -1: it cannot be read (logged) */
int keep_config_read(struct room_config *c, struct str json, struct err *err); /* c is cleared first; -1 */
/* In apply, before request_then(): what is to be committed first. No-ops in a temporary room. */
void keep_room(struct request *r); /* configuration, subject */
void keep_less_history(struct request *r); /* messages that a new configuration keeps no longer: they would be back after a restart */
void keep_everything(struct request *r); /* it becomes persistent now: all there is */
void keep_affiliated(struct request *r, struct str bare); /* as it is in memory now */
void keep_nothing(struct request *r); /* it is destroyed, or becomes temporary */
/* Committed beside: the request's ticket waits for it. */
void keep_subject(struct request *r);
void keep_message(struct request *r, const struct stanza *message, uint64_t wall_ms);
void keep_no_message(struct request *r, uint64_t sid);

#endif
