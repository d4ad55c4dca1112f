/* What others see of a room's vCard. */
#ifndef SIGNET_TC_VCARD_H
#define SIGNET_TC_VCARD_H
#include "tc/room.h"

const char *room_avatar_hash(const struct room *room, struct arena *a); /* SHA-1 of the picture, in hexadecimal (XEP-0486, 3); NULL: there is none */

#endif
