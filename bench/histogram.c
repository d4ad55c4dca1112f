/* Row 0 holds 0 to 127 ns one by one; each further row holds the next power of two in HISTOGRAM_SUB / 2 steps, so that half of it repeats nothing. */
#include "histogram.h"

enum { SUB_BITS = 7 };

static void place(uint64_t ns, unsigned *row, unsigned *column)
{
    unsigned top = ns == 0 ? 0 : 63 - (unsigned)__builtin_clzll(ns);
    *row = top < SUB_BITS ? 0 : top - SUB_BITS + 1;
    if (*row >= HISTOGRAM_ROWS) {
        *row = HISTOGRAM_ROWS - 1;
        *column = HISTOGRAM_SUB - 1;
        return;
    }
    *column = (unsigned)(ns >> *row);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    unsigned row, column;
    place(ns, &row, &column);
    h->buckets[row][column]++;
    h->count++;
    h->sum += ns;
    if (ns > h->max) h->max = ns;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)((double)h->count * percent / 100.0 + 0.999999), seen = 0;
    if (h->count == 0) return 0;
    if (wanted < 1) wanted = 1;
    for (unsigned row = 0; row < HISTOGRAM_ROWS; row++) {
        for (unsigned column = 0; column < HISTOGRAM_SUB; column++) {
            seen += h->buckets[row][column];
            if (seen < wanted) continue;
            uint64_t end = (((uint64_t)column + 1) << row) - 1;
            return end < h->max ? end : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h) { return h->count == 0 ? 0 : (double)h->sum / (double)h->count; }
