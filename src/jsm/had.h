/* Which messages a session has had that others of its user had too, or that are stored: the last ones, by stanza id. When a session ends without having
 * acknowledged a message, or what was stored is delivered, those who have it already are not given it again. */
#ifndef SIGNET_JSM_HAD_H
#define SIGNET_JSM_HAD_H
#include "jsm/session.h"

void had_note(struct session *s, uint64_t sid);
bool had_it(const struct session *s, uint64_t sid);
void had_free(struct session *s);

#endif
