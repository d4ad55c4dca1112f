/* XEP-0199 pings to the server or an account, the session request of RFC 3921, and what needs no answer at all. */
#include "jsm/features/features.h"

void nothing_apply(const struct context *cx, struct effects *fx)
{
    (void)cx;
    (void)fx;
}

void ping_apply(const struct context *cx, struct effects *fx) { effect_reply(fx, stanza_result(cx->stanza, STR(""))); }

void session_apply(const struct context *cx, struct effects *fx) { effect_reply(fx, stanza_result(cx->stanza, STR(""))); }
