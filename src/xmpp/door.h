/* Who stands at a worker's door: connections whose client has not logged in yet. They cost memory, a descriptor and a TLS handshake each and anybody can make
 * them, so there is room for so many and no more. When it is full, the address that takes most of it makes way for others: a flood from one address shuts out
 * nobody else. Where all take alike, who came first stays: then clients are only many, as after a restart, and each that gets through makes room.
 *
 * No I/O, no clock. Of one worker. */
#ifndef SIGNET_XMPP_DOOR_H
#define SIGNET_XMPP_DOOR_H
#include "base/list.h"
#include "base/map.h"

struct door_group; /* those of one address */
struct door_place { /* embedded in the connection; zeroed: it does not stand there */
    struct list node;
    struct door_group *group;
};
struct door { /* zeroed: closed, everybody is let pass */
    struct map groups;
    struct list *sized; /* [0..room]: groups by how many they are */
    unsigned room, n, largest;
};
void door_open(struct door *d, unsigned room);
void door_close(struct door *d); /* when all have left */
/* Takes a place for p. Returns who does not stand there (any more) for it: NULL: nobody, there was room; p itself; or the oldest of the largest group. */
struct door_place *door_enter(struct door *d, struct str address, struct door_place *p);
void door_leave(struct door *d, struct door_place *p); /* no-op when it does not stand there */

#endif
