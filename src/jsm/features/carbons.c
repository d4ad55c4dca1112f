/* Turning carbons on and off (XEP-0280, 4 and 5). Both are barriers: before the result everything is as it was, after it as it was asked for. */
#include "jsm/features/features.h"

void carbons_enable_apply(const struct context *cx, struct effects *fx)
{
    cx->session->carbons = true;
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
}

void carbons_disable_apply(const struct context *cx, struct effects *fx)
{
    cx->session->carbons = false;
    effect_reply(fx, stanza_result(cx->stanza, STR("")));
}
