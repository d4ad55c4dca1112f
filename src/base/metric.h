/* Metrics: rows of src/tables/metrics.def. Each thread has its own cells (relaxed atomics, one writer), summed when read. */
#ifndef SIGNET_BASE_METRIC_H
#define SIGNET_BASE_METRIC_H
#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_id {
#define METRIC(id, type, name, label, help) METRIC_##id,
#include "tables/metrics.def"
#undef METRIC
    METRIC_COUNT
};
/* Counters and gauges: adds delta (gauges may go down). Callable from any thread. */
void metric_add(enum metric_id id, int64_t delta);
static inline void metric_inc(enum metric_id id) { metric_add(id, 1); }
void metric_observe_us(enum metric_id id, uint64_t microseconds); /* histograms, log-scaled buckets */
int64_t metric_read(enum metric_id id); /* sum over threads; for histograms the number of observations */
struct metric_view {
    const char *name, *label; /* as in the table */
    enum metric_type type;
    int64_t value; /* of a histogram the number of observations */
    uint64_t sum_us; /* of a histogram */
};
void metric_each(void (*fn)(void *arg, const struct metric_view *m), void *arg); /* all, in the order of the table */
/* Renders all as Prometheus text exposition 0.0.4, HELP and TYPE included, names prefixed "signet_". */
void metric_render(struct buf *out);

#endif
