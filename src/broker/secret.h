/* Secrets in stanzas that events show (EVENTS.md, refusal rule 8): compliance servers see that a password was set, never which. What is known to
 * hold one: XEP-0077 (<password/>, and the fields of a registration form) and XEP-0133 (the fields of a command's form). Pure. */
#ifndef SIGNET_BROKER_SECRET_H
#define SIGNET_BROKER_SECRET_H
#include "xmpp/stanza.h"

/* The stanza with its secrets blank: a new reference. NULL: it holds none. */
struct stanza *secret_blank(const struct stanza *s);
/* An answer's stanza with the secrets of the original where it left them blank: a new reference, at least to `changed` itself. */
struct stanza *secret_restore(const struct stanza *original, const struct stanza *changed);

#endif
