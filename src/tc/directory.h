/* Which rooms there are, on all workers: what service discovery and signetctl list, and whether a room must be looked for in the store. Any thread.
 */
#ifndef SIGNET_TC_DIRECTORY_H
#define SIGNET_TC_DIRECTORY_H
#include "base/arena.h"
#include "tc/room.h"

void directory_set(const struct room *r); /* it is there, or is another than it was */
void directory_add(struct str bare, const struct room_config *config); /* of the store, at start */
void directory_occupants(struct str bare, unsigned n);
void directory_remove(struct str bare);
bool directory_persistent(struct str bare);
size_t directory_count(void); /* rooms there are */
unsigned directory_made_by(struct str bare); /* of them, those that this account has made */
struct directory_entry {
    struct str room, name; /* bare JID; name absent: none */
    bool public, persistent;
    unsigned occupants;
};
/* Those of a domain in order of their addresses, copied into the arena. */
size_t directory_list(struct arena *a, struct str domain, bool public_only, struct directory_entry **out);
void directory_clear(void);

#endif
