/* Direct invitations (XEP-0249) into rooms of this service: text conferencing's events are raised about them, though they never come to the room. */
#ifndef SIGNET_JSM_INVITATION_H
#define SIGNET_JSM_INVITATION_H
#include "xmpp/stanza.h"

/* The room a message invites to, in the arena; false: it is no invitation, or not to a room of ours. Costs a look at the children. */
bool invitation_to_room(const struct stanza *s, struct arena *a, struct jid *room);
void invitation_sent(const struct stanza *s); /* onAfterInvite, when it is one */

#endif
