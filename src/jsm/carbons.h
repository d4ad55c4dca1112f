/* Carbon copies (XEP-0280): what a user's other sessions get of his conversations. A copy is made of what the original's es_OUT (sent) or its first
 * passing es_IN (received) let through, and goes through es_IN itself; the original is never kept waiting for its copies, but its place in the lane
 * is. */
#ifndef SIGNET_JSM_CARBONS_H
#define SIGNET_JSM_CARBONS_H
#include "jsm/deliver.h"

#define NS_CARBONS "urn:xmpp:carbons:2"

enum carbon_way { CARBON_SENT, CARBON_RECEIVED };
struct carbons; /* the copies of one message */
bool carbons_eligible(const struct user *u, const struct stanza *s, enum carbon_way way); /* XEP-0280, 6 and 9 */
const struct xml_node *carbons_inner(const struct stanza *s, struct arena *a); /* the message in a copy; NULL: s is none */
/* Asks es_IN for a copy to each session with carbons on but those that got the original themselves. NULL: there is none. Until carbons_ready(), and
 * then done(arg) is called (never before return), the lane place and c must be kept. */
struct carbons *carbons_ask(struct user *u, const struct stanza *original, enum carbon_way way, const struct delivery *originals,
                            unsigned n_originals, uint64_t sender, struct lane_entry *entry, void (*done)(void *arg), void *arg);
bool carbons_ready(const struct carbons *c);
/* When ready: writes what passed (or not), and frees. originals: as to carbons_ask(), but as they are now: sessions may have been chosen anew since. */
void carbons_end(struct carbons *c, bool write, const struct delivery *originals, unsigned n_originals);
void carbons_unchecked(struct user *u, const struct stanza *error); /* an error caused by a verdict: no event */
/* A sent message's errors are copied as it was (XEP-0280, 6): the last ones are remembered. */
void carbons_remember(struct user *u, const struct stanza *sent);

#endif
