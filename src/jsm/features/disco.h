/* Service discovery and entity capabilities: what others than the stanza table need of it. */
#ifndef SIGNET_JSM_FEATURES_DISCO_H
#define SIGNET_JSM_FEATURES_DISCO_H
#include "jsm/features/features.h"

void disco_write_stream_feature(struct buf *b); /* XEP-0115, 6.3: <c/> of the server, as its disco#info is now; nothing when e_DISCOFEAT is asked */
/* XEP-0030, 8: what a disco#items request to an account that is not there gets: as one that tells the requester nothing. NULL: it is no such request. */
struct stanza *disco_of_nobody(const struct stanza *s);

#endif
