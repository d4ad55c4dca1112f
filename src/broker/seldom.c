/* Log lines of what goes wrong often.
 *
 * A compliance server that is wrong is wrong often, at the rate of the traffic: a line for each would fill the disk. The places are few and never given up:
 * who invents kinds without end gets one line a minute for all that find none, which is why the last place is shared without a look at its name. */
#include "broker/seldom.h"
#include <string.h>

static bool is_kind(const struct seldom_kind *k, const char *kind) { return strncmp(k->kind, kind, sizeof k->kind - 1) == 0; }

bool seldom_say(struct seldom *s, const char *kind, uint64_t now_ms, uint64_t *quiet)
{
    unsigned at = 0;
    while (at + 1 < SELDOM_KINDS && s->kinds[at].kind[0] != '\0' && !is_kind(&s->kinds[at], kind)) at++;
    struct seldom_kind *k = &s->kinds[at];
    if (k->kind[0] != '\0' && now_ms - k->said_ms < SELDOM_MS) {
        k->quiet++;
        return false;
    }
    *quiet = k->quiet;
    *k = (struct seldom_kind){.said_ms = now_ms};
    size_t length = strnlen(kind, sizeof k->kind - 1);
    memcpy(k->kind, kind, length);
    return true;
}
