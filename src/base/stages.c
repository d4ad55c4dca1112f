/* One ring of marks per thread, made at its first mark. */
#include "base/stages.h"
#include "base/buf.h"
#include "base/clock.h"
#include <stdlib.h>

struct ring {
    uint64_t n;
    struct stage_mark marks[STAGES_RING];
};
static _Thread_local struct ring *ring;

static const struct {
    const char *name, *what;
} rows[] = {
#define STAGE(id, name, what) {name, what},
#include "tables/stages.def"
#undef STAGE
};

const char *stage_name(enum stage stage) { return rows[stage].name; }
const char *stage_what(enum stage stage) { return rows[stage].what; }

void stages_mark(uint64_t stanza, enum stage stage)
{
    if (ring == NULL) ring = x_calloc(1, sizeof(*ring));
    ring->marks[ring->n++ % STAGES_RING] = (struct stage_mark){.stanza = stanza, .wall_ms = clock_wall_ms(), .us = clock_us(), .stage = stage};
}

size_t stages_find(uint64_t stanza, struct stage_mark *out, size_t max)
{
    size_t n = 0;
    if (ring == NULL || max == 0) return 0;
    uint64_t kept = ring->n < STAGES_RING ? ring->n : STAGES_RING;
    for (uint64_t i = ring->n; i > ring->n - kept && n < max; i--)
        if (ring->marks[(i - 1) % STAGES_RING].stanza == stanza) out[n++] = ring->marks[(i - 1) % STAGES_RING];
    for (size_t i = 0; i < n / 2; i++) {
        struct stage_mark swap = out[i];
        out[i] = out[n - 1 - i];
        out[n - 1 - i] = swap;
    }
    return n;
}

void stages_thread_stop(void)
{
    free(ring);
    ring = NULL;
}
