/* XEP-0203: the stamp that tells when a message came, for one that is delivered later. */
#ifndef SIGNET_XMPP_DELAY_H
#define SIGNET_XMPP_DELAY_H
#include "xmpp/stanza.h"

struct stanza *delay_stamp(const struct stanza *s, struct str domain, uint64_t wall_ms); /* as the last child, by that domain; a new reference */
struct stanza *delay_unstamp(const struct stanza *s); /* without it: another will be put there; a new reference */

#endif
