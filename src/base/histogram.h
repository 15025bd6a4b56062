/* histogram.h -- a distribution of durations: counts in fixed buckets.
 *
 * No allocation; histogram_add() is a short search and two additions. Values
 * and bounds are microseconds. */
#ifndef CRAFTD_BASE_HISTOGRAM_H
#define CRAFTD_BASE_HISTOGRAM_H

#include "base/base.h"

enum { HISTOGRAM_BOUNDS_MAX = 12 };

struct histogram {
    const uint64_t *bounds; /* Ascending; a constant table, borrowed. */
    uint32_t bound_count;   /* 1 to HISTOGRAM_BOUNDS_MAX */
    /* Number of values up to bounds[i] and over bounds[i - 1]; the last bucket
     * has those over all bounds. */
    uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1];
    uint64_t sum; /* Sum of all values. */
};

void histogram_init(struct histogram *histogram, const uint64_t *bounds,
                    uint32_t bound_count);
/* Bounds from 100 us to 5 s, for disks and networks alike. */
void histogram_init_latency(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value);
uint64_t histogram_count(const struct histogram *histogram);
/* The least bound that at least `permille` (0 to 1000) of the values do not
 * exceed. 0: there are no values; UINT64_MAX: no bound is high enough. */
uint64_t histogram_quantile(const struct histogram *histogram,
                            uint32_t permille);

#endif
