/* What a room puts into everything it passes on, and what of that a client must not have put there itself: occupant ids (XEP-0421) and stanza ids
 * (XEP-0359). */
#ifndef SIGNET_TC_STAMP_H
#define SIGNET_TC_STAMP_H
#include "tc/room.h"

void stamp_content(struct buf *b, const struct stanza *s); /* the children, without those that are the room's to make */
void stamp_occupant(struct buf *b, const struct occupant *o);
void stamp_message(struct buf *b, const struct room *r, uint64_t sid);
#define NS_OCCUPANT_ID "urn:xmpp:occupant-id:0"
#define NS_SID "urn:xmpp:sid:0"

#endif
