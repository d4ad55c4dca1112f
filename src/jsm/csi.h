/* Client state indication (XEP-0352): what waits for a client that says it is not looked at. Used by deliver alone, which does the writing; what
 * es_IN let through is held, so nothing is asked again. */
#ifndef SIGNET_JSM_CSI_H
#define SIGNET_JSM_CSI_H
#include "jsm/session.h"

void csi_set(struct session *s, bool active); /* active: the caller writes what csi_next() gives */
bool csi_hold(struct session *s, const struct stanza *out); /* true: it is kept for later (a reference) */
struct stanza *csi_next(struct session *s); /* what is to be written before anything else, in order; a reference; NULL: nothing */
void csi_free(struct session *s);

#endif
