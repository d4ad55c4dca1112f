/* Rooms as an administrator of the service sees and changes them: from threads outside the workers, which wait for the answer. What changes a room
 * goes through the room's lane and raises the events of an owner's request. */
#ifndef SIGNET_TC_SERVICE_H
#define SIGNET_TC_SERVICE_H
#include "tc/room.h"

enum room_order {
    ORDER_CREATE, /* inner: muc#owner with a form of type submit; the first of roomowners has made the room, which is persistent */
    ORDER_CONFIGURE, /* inner: muc#owner with a form of type submit */
    ORDER_PEOPLE, /* inner: muc#admin with items */
    ORDER_DESTROY, /* inner: muc#owner with <destroy/> */
};
/* Blocks. inner: the payload of the iq that the service sends itself. ERR_NOT_FOUND, ERR_EXISTS, ERR_INVALID, ERR_CONFLICT: as the room answers. */
must_check int room_order(enum room_order order, const struct jid *room, struct str inner, struct err *err);
/* Blocks; fn runs on the room's worker, once the room is loaded. ERR_NOT_FOUND: there is none, fn does not run. */
must_check int room_visit(const struct jid *room, void (*fn)(void *arg, const struct room *r), void *arg, struct err *err);
bool room_address_check(const struct jid *jid, struct err *err); /* may this be a room here? */

#endif
