/* The trace of a stanza: which stages it went through, when, on which thread. Each thread marks into a ring of its own (some 30 ns, always on), so that the
 * way of a stanza can be looked up by its id shortly after; the time between stages goes into histograms. Rows: src/tables/stages.def. */
#ifndef SIGNET_BASE_STAGES_H
#define SIGNET_BASE_STAGES_H
#include <stddef.h>
#include <stdint.h>

enum stage {
#define STAGE(id, name, what) STAGE_##id,
#include "tables/stages.def"
#undef STAGE
    STAGE_COUNT
};
struct stage_mark {
    uint64_t stanza, wall_ms, us; /* us: monotonic */
    enum stage stage;
};
#define STAGES_RING 16384 /* marks kept per thread */
void stages_mark(uint64_t stanza, enum stage stage);
const char *stage_name(enum stage stage);
const char *stage_what(enum stage stage);
/* The calling thread's marks of a stanza, oldest first; at most max, the newest win. Returns how many. */
size_t stages_find(uint64_t stanza, struct stage_mark *out, size_t max);
void stages_thread_stop(void); /* frees the calling thread's ring */

#endif
