/* Log lines of what goes wrong often: once per kind and minute, with the number of those left out. Pure; belongs to whoever logs. All zero: nothing was said. */
#ifndef SIGNET_BROKER_SELDOM_H
#define SIGNET_BROKER_SELDOM_H
#include <stdbool.h>
#include <stdint.h>

enum { SELDOM_KINDS = 8, SELDOM_KIND_SIZE = 48, SELDOM_MS = 60000 };
struct seldom {
    struct seldom_kind {
        char kind[SELDOM_KIND_SIZE]; /* cut to its size; "": free */
        uint64_t said_ms, quiet; /* when it was said last, and how many were not since */
    } kinds[SELDOM_KINDS];
};
/* Something of this kind happened. true: say it, and that *quiet of the kind were not said since the last time. Kinds beyond SELDOM_KINDS share the last place. */
bool seldom_say(struct seldom *s, const char *kind, uint64_t now_ms, uint64_t *quiet);

#endif
