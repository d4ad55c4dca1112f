/* Latencies in nanoseconds, in buckets a 128th of their value wide (as HdrHistogram's): percentiles are right to 0.8 %, from 1 ns to hours, and
 * recording is a few instructions. */
#ifndef SIGNET_BENCH_HISTOGRAM_H
#define SIGNET_BENCH_HISTOGRAM_H
#include <stdint.h>

enum { HISTOGRAM_SUB = 128, HISTOGRAM_ROWS = 40 };
struct histogram { /* zero-initialised is empty */
    uint64_t count, sum, max;
    uint64_t buckets[HISTOGRAM_ROWS][HISTOGRAM_SUB];
};
void histogram_add(struct histogram *h, uint64_t ns);
uint64_t histogram_percentile(const struct histogram *h, double percent); /* the upper end of its bucket; 0 when empty */
double histogram_mean(const struct histogram *h);

#endif
