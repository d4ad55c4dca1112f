/* Software version (XEP-0092): the name and the version. The operating system is nobody's business. */
#include "jsm/features/features.h"

#define QUERY "<query xmlns='jabber:iq:version'><name>Signet</name><version>" SIGNET_VERSION "</version></query>"

void version_apply(const struct context *cx, struct effects *fx)
{
    effect_reply(fx, stanza_result(cx->stanza, STR(QUERY)));
}
