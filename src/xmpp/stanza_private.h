/* Private to stanza*.c: how a stanza is kept. One arena holds it all; a stanza made from another refers to that one's bytes. */
#ifndef SIGNET_XMPP_STANZA_PRIVATE_H
#define SIGNET_XMPP_STANZA_PRIVATE_H
#include <stdatomic.h>
#include "xmpp/stanza.h"

struct stanza_private {
    atomic_uint refs;
    struct arena *arena;  /* holds the stanza, this, and the bytes when owner is NULL */
    struct stanza *owner; /* of the bytes, the index and the other attributes: a reference; NULL: this one. Never a chain */
};

/* An empty stanza with one reference in an arena with room for `room` bytes more. */
struct stanza *stanza_alloc(size_t room);
struct xml_attribute stanza_attribute_copy(struct arena *a, const struct xml_attribute *from);
/* Copies the bytes into the stanza and indexes them. */
must_check int stanza_set_inner(struct stanza *s, struct str inner, struct err *err);

#endif
