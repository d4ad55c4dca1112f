/* Secrets in stanzas that events show (EVENTS.md, refusal rule 8): compliance servers see that a password was set, never which. What is a secret, and where it
 * may be: src/tables/secrets.def. Pure. */
#ifndef SIGNET_BROKER_SECRET_H
#define SIGNET_BROKER_SECRET_H
#include "xmpp/stanza.h"

/* The stanza with its secrets blank: a new reference. NULL: it holds none. */
struct stanza *secret_blank(const struct stanza *s);
/* An answer's stanza with the secrets of the original (NULL: it has none) where the answer left them blank: a new reference, at least to `changed` itself. One
 * that the answer removed or set to something stays removed or set. Several of one kind are told apart by their order, so when the answer has more or fewer of
 * that kind its blanks stay blank: no secret comes to where it did not stand. */
struct stanza *secret_restore(const struct stanza *original, const struct stanza *changed);

#endif
