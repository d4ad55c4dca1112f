/* Changes of people's standing in a room: the role of a nick, the affiliation of an address. A request may have several; each is a part, an iq of its
 * own with one <item/>, as its event shows it and as an answer may have changed it. All are checked before the first is done (XEP-0045, 9). */
#ifndef SIGNET_TC_CHANGE_H
#define SIGNET_TC_CHANGE_H
#include "tc/presence.h"
#include "tc/request.h"

struct change { /* one <item/>, read */
    bool by_role; /* the role of a nick, else the affiliation of an address */
    struct str nick; /* of the item */
    struct jid jid; /* bare */
    enum role role;
    enum affiliation affiliation, before; /* wanted; as it was */
    struct standing old; /* while the new one is committed */
    struct str reason;
};
struct part {
    struct stanza *stanza; /* a reference */
    struct change change; /* in the request's arena */
    bool wanted; /* by the last check */
};
unsigned part_add(struct request *r, struct stanza *take); /* its number */
void parts_unwanted(struct request *r); /* at the beginning of a check that names them anew */
void part_want_affiliation(struct request *r, const struct jid *jid, enum affiliation affiliation); /* found, or made; wanted */
const char *parts_check(struct request *r); /* those that are wanted, by the room as it is now: a condition, or NULL and the events they need */
void parts_apply(struct request *r); /* in memory, and what is to be committed with it */
void parts_tell(struct request *r); /* after the commit: presence, the events after */
void parts_undo(struct request *r);

#endif
