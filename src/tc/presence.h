/* The presence a room sends: an occupant's own, under his nick, with what <x/> of muc#user says of him (XEP-0045, 7.2.2, 15.6.2). */
#ifndef SIGNET_TC_PRESENCE_H
#define SIGNET_TC_PRESENCE_H
#include "tc/request.h"

#define NOTICE_CODES 8
struct notice { /* zeroed: nothing but affiliation and role as they are */
    bool gone; /* type unavailable, role none */
    bool no_content; /* without what the client put into its presence */
    bool alone; /* all go: each is told of himself only */
    bool destroyed; /* the room is no more: nobody is anything there */
    bool seen; /* by all, though the presence of his role is not broadcast */
    struct str nick; /* status 303: the new one */
    struct str reason, actor; /* of a kick, a ban, a change; the actor's nick */
    struct str inner; /* more children of <x/>: <destroy/> */
    unsigned codes[NOTICE_CODES]; /* for all who see it; 0 ends */
    unsigned self_codes[NOTICE_CODES]; /* for himself, beside 110 */
    enum event_id after_event; /* raised once the presence is sent, before all others; with after_subject NULL: none */
    const struct stanza *after_subject;
};
/* To everybody in the room as far as each may know, to the occupant's own sessions with status 110. */
void presence_broadcast(struct occupant *o, const struct notice *notice, const struct request *cause);
void presence_to_one(const struct occupant *o, const struct notice *notice, const struct attendee *to, const struct request *cause);
void presence_to_self(const struct attendee *a, const struct notice *notice, const struct request *cause); /* one session of the occupant only */
void presence_of_all(const struct attendee *newcomer, const struct request *cause); /* everybody's but his own */
/* As somebody sees it who may know everything: for events. It has the stanza id of what it was caused by. */
struct stanza *presence_full(const struct occupant *o, const struct notice *notice, const struct request *cause);
bool sees_addresses(const struct attendee *a); /* may it know real addresses? */

#endif
