/* Entity time (XEP-0202): the server's clock, and the time zone it lives in. */
#include "base/clock.h"
#include "jsm/features/features.h"
#include <stdlib.h>
#include <time.h>

void time_apply(const struct context *cx, struct effects *fx)
{
    uint64_t now_ms = clock_wall_ms();
    time_t now = (time_t)(now_ms / 1000);
    struct tm local;
    long offset = localtime_r(&now, &local) != NULL ? local.tm_gmtoff / 60 : 0;
    char stamp[CLOCK_STAMP_SIZE];
    struct buf b = {0};
    buf_addf(&b, "<time xmlns='urn:xmpp:time'><tzo>%c%02ld:%02ld</tzo><utc>%s</utc></time>", offset < 0 ? '-' : '+', labs(offset) / 60,
             labs(offset) % 60, clock_stamp(now_ms, stamp));
    effect_reply(fx, stanza_result(cx->stanza, buf_str(&b)));
    buf_free(&b);
}
