/* Metrics. A worker counts something on every stanza, so counting must not touch a line of memory another worker writes: each thread has
 * its own cells, written by it alone with relaxed stores and summed by whoever reads. Cells of all living threads are in one list; a
 * thread that ends folds its cells into a common remainder, so a counter never goes back.
 *
 * A counter or gauge is one cell. A histogram is one cell for each bucket, not cumulative, and one for the sum in microseconds. */
#include "base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

/* Upper bounds in microseconds, about 2.3 times apart: from a cached lookup to an event timeout. Beyond the last is +Inf. */
static const uint64_t bounds_us[] = {
    10,    25,     50,     100,    250,     500,     1000,    2500,     5000,     10000,    25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000,
};
enum { BOUNDS = sizeof(bounds_us) / sizeof(bounds_us[0]), HISTOGRAM_SUM = BOUNDS + 1, HISTOGRAM_CELLS };

/* The first cell of each metric, as a constant expression of the table. */
enum {
#define METRIC(id, type, name, label, help) CELL_##id, CELL_LAST_##id = CELL_##id + ((int)(type) == METRIC_HISTOGRAM ? HISTOGRAM_CELLS : 1) - 1,
#include "tables/metrics.def"
#undef METRIC
    CELLS
};

static const struct metric_row {
    unsigned cell;
    enum metric_type type;
    const char *name, *label, *help;
} rows[METRIC_COUNT] = {
#define METRIC(id, type, name, label, help) [METRIC_##id] = {CELL_##id, type, name, label, help},
#include "tables/metrics.def"
#undef METRIC
};

struct metric_thread {
    struct list node;
    _Atomic int64_t cells[CELLS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list threads = {&threads, &threads}; /* under the lock */
static int64_t remainder_cells[CELLS];             /* of threads that ended; under the lock */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local struct metric_thread *mine;

static void metric_thread_end(void *arg)
{
    struct metric_thread *t = arg;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CELLS; i++) remainder_cells[i] += atomic_load_explicit(&t->cells[i], memory_order_relaxed);
    list_remove(&t->node);
    pthread_mutex_unlock(&lock);
    free(t);
    mine = NULL; /* another destructor may still count: it gets new cells, and this runs once more */
}

static void metric_key_make(void)
{
    if (pthread_key_create(&key, metric_thread_end) != 0) abort(); /* PTHREAD_KEYS_MAX is reached by our own bug only */
}

static struct metric_thread *metric_thread_begin(void)
{
    pthread_once(&key_once, metric_key_make);
    mine = x_calloc(1, sizeof(*mine));
    pthread_mutex_lock(&lock);
    list_push_back(&threads, &mine->node);
    pthread_mutex_unlock(&lock);
    pthread_setspecific(key, mine);
    return mine;
}

static inline void metric_cell_add(unsigned cell, int64_t delta)
{
    struct metric_thread *t = mine != NULL ? mine : metric_thread_begin();
    /* One writer: a load and a store are enough, and cheaper than a locked add. */
    int64_t now = atomic_load_explicit(&t->cells[cell], memory_order_relaxed);
    atomic_store_explicit(&t->cells[cell], now + delta, memory_order_relaxed);
}

void metric_add(enum metric_id id, int64_t delta)
{
    metric_cell_add(rows[id].cell, delta);
}

void metric_observe_us(enum metric_id id, uint64_t microseconds)
{
    if (rows[id].type != METRIC_HISTOGRAM) return;
    const uint64_t day_us = 86400000000U; /* longer is a clock's error, and must not make the sum overflow */
    if (microseconds > day_us) microseconds = day_us;
    unsigned bucket = 0;
    while (bucket < BOUNDS && microseconds > bounds_us[bucket]) bucket++;
    metric_cell_add(rows[id].cell + bucket, 1);
    metric_cell_add(rows[id].cell + HISTOGRAM_SUM, (int64_t)microseconds);
}

/* Sums n cells from `first` over the threads. */
static void metric_sum(unsigned first, unsigned n, int64_t *sums)
{
    pthread_mutex_lock(&lock);
    memcpy(sums, &remainder_cells[first], n * sizeof(*sums));
    LIST_EACH(it, &threads)
    {
        const struct metric_thread *t = CONTAINER_OF(it, struct metric_thread, node);
        for (unsigned i = 0; i < n; i++) sums[i] += atomic_load_explicit(&t->cells[first + i], memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
}

static int64_t metric_value(const struct metric_row *row, const int64_t *cells)
{
    int64_t count = 0;
    if (row->type != METRIC_HISTOGRAM) return cells[0];
    for (unsigned i = 0; i <= BOUNDS; i++) count += cells[i];
    return count;
}

int64_t metric_read(enum metric_id id)
{
    int64_t sums[HISTOGRAM_CELLS];
    metric_sum(rows[id].cell, rows[id].type == METRIC_HISTOGRAM ? HISTOGRAM_CELLS : 1, sums);
    return metric_value(&rows[id], sums);
}

void metric_each(void (*fn)(void *arg, const struct metric_view *m), void *arg)
{
    int64_t *cells = x_malloc(CELLS * sizeof(*cells));
    metric_sum(0, CELLS, cells);
    for (unsigned id = 0; id < METRIC_COUNT; id++) {
        const struct metric_row *row = &rows[id];
        const int64_t *own = &cells[row->cell];
        struct metric_view view = {row->name, row->label, row->type, metric_value(row, own), row->type == METRIC_HISTOGRAM ? (uint64_t)own[HISTOGRAM_SUM] : 0};
        fn(arg, &view);
    }
    free(cells);
}

/* Microseconds as seconds, without the trailing zeros of the fraction; integers, so that no locale can put a comma there. */
static void metric_add_seconds(struct buf *out, uint64_t us)
{
    buf_addf(out, "%llu", (unsigned long long)(us / 1000000));
    unsigned rest = (unsigned)(us % 1000000);
    if (rest == 0) return;
    unsigned digits = 6;
    for (; rest % 10 == 0; rest /= 10) digits--;
    buf_addf(out, ".%0*u", (int)digits, rest);
}

static void metric_render_histogram(struct buf *out, const struct metric_row *row, const int64_t *cells)
{
    const char *comma = *row->label != '\0' ? "," : "";
    int64_t count = 0;
    for (unsigned i = 0; i <= BOUNDS; i++) {
        count += cells[i];
        buf_addf(out, "signet_%s_bucket{%s%sle=\"", row->name, row->label, comma);
        if (i < BOUNDS) {
            metric_add_seconds(out, bounds_us[i]);
        } else {
            BUF_ADD_LIT(out, "+Inf");
        }
        buf_addf(out, "\"} %lld\n", (long long)count);
    }
    const char *open = *row->label != '\0' ? "{" : "";
    const char *close = *row->label != '\0' ? "}" : "";
    buf_addf(out, "signet_%s_sum%s%s%s ", row->name, open, row->label, close);
    metric_add_seconds(out, (uint64_t)cells[HISTOGRAM_SUM]);
    buf_addf(out, "\nsignet_%s_count%s%s%s %lld\n", row->name, open, row->label, close, (long long)count);
}

static void metric_render_head(struct buf *out, const struct metric_row *row)
{
    static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    buf_addf(out, "# HELP signet_%s ", row->name);
    for (const char *p = row->help; *p != '\0'; p++) {
        if (*p == '\\') buf_addc(out, '\\');
        buf_addc(out, *p);
    }
    buf_addf(out, "\n# TYPE signet_%s %s\n", row->name, types[row->type]);
}

void metric_render(struct buf *out)
{
    int64_t *cells = x_malloc(CELLS * sizeof(*cells));
    metric_sum(0, CELLS, cells);
    for (unsigned id = 0; id < METRIC_COUNT; id++) {
        const struct metric_row *row = &rows[id];
        if (id == 0 || strcmp(row->name, rows[id - 1].name) != 0) metric_render_head(out, row);
        if (row->type == METRIC_HISTOGRAM) {
            metric_render_histogram(out, row, &cells[row->cell]);
        } else if (*row->label != '\0') {
            buf_addf(out, "signet_%s{%s} %lld\n", row->name, row->label, (long long)cells[row->cell]);
        } else {
            buf_addf(out, "signet_%s %lld\n", row->name, (long long)cells[row->cell]);
        }
    }
    free(cells);
}
