/* Strings of the PRECIS framework (RFC 8264), of the two profiles that JIDs have (RFC 8265 as RFC 7622 uses it). Properties are those of libunistring's Unicode. */
#ifndef SIGNET_XMPP_PRECIS_H
#define SIGNET_XMPP_PRECIS_H
#include "base/arena.h"
#include "base/err.h"

enum precis_profile {
    PRECIS_USERNAME_CASE_MAPPED, /* IdentifierClass: letters and digits; widths and capitals do not count */
    PRECIS_OPAQUE_STRING, /* FreeformClass: symbols, punctuation and spaces too, and all as it is */
};
/* text: UTF-8. Prepared and enforced, into the arena; the result prepared again is the same. May be longer than text, or empty. err says what is wrong with
 * the text, as in "it has a character that is not allowed there". */
must_check int precis_enforce(struct arena *a, enum precis_profile profile, struct str text, struct str *out, struct err *err);

#endif
