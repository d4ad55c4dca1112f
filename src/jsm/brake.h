/* Sessions that are not read because a link to a compliance server, or another worker, has enough (io/intake.h). */
#ifndef SIGNET_JSM_BRAKE_H
#define SIGNET_JSM_BRAKE_H
#include "io/intake.h"
#include "jsm/session.h"

extern const struct intake_senders jsm_senders;
void brake_session_gone(struct session *s);
unsigned brake_count(const struct stanza *s); /* it is about to be routed: PARCEL_COUNTED when it goes to another worker, else 0 */
void brake_arrived(const struct stanza *s); /* there, of one that was counted */
void brake_worker_start(void);

#endif
