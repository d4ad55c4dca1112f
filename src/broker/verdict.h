/* A verdict kept until its turn in the lane comes, and what a refusal answers (EVENTS.md, "What refusal does to each kind of stanza"). */
#ifndef SIGNET_BROKER_VERDICT_H
#define SIGNET_BROKER_VERDICT_H
#include "broker/broker.h"

struct kept_verdict {
    enum verdict_kind kind;
    bool outage;
    struct stanza *stanza; /* a reference: PASS: what to go on with; HANDLE: the reply or NULL */
    char condition[48], type[16];
    char *text;
};
void verdict_keep(struct kept_verdict *k, const struct verdict *v);
void verdict_clear(struct kept_verdict *k);
/* What goes back to the originator of s: an error, a HANDLE's reply, or NULL for silence. A new reference. */
struct stanza *verdict_reply(const struct kept_verdict *k, const struct stanza *s);
/* Rule 3: what the addressee of a refused iq result or error gets instead: an iq error of the same id. NULL when s is neither. */
struct stanza *verdict_substitute(const struct kept_verdict *k, const struct stanza *s);
/* Rule 4: unavailable presence without status and foreign children. */
struct stanza *presence_stripped(const struct stanza *s);

#endif
