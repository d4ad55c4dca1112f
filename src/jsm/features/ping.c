/* XEP-0199 pings to the server or an account, the session request of RFC 3921, a second bind, and what needs no answer at all. */
#include "jsm/features/features.h"

void nothing_apply(const struct context *cx, struct effects *fx)
{
    (void)cx;
    (void)fx;
}

void ping_apply(const struct context *cx, struct effects *fx) { effect_reply(fx, stanza_result(cx->stanza, STR(""))); }

void session_apply(const struct context *cx, struct effects *fx) { effect_reply(fx, stanza_result(cx->stanza, STR(""))); }

const char *bind_check(const struct context *cx, const char **text)
{
    (void)cx;
    *text = "This stream has a resource already.";
    return "not-allowed";
}
