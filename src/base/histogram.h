/* histogram.h -- how long things took: counts in fixed buckets.
 *
 * Memory of its own, no allocation; histogram_add() is a short search and two
 * additions. The bounds, in microseconds, are the owner's constant table. */
#ifndef CRAFTD_BASE_HISTOGRAM_H
#define CRAFTD_BASE_HISTOGRAM_H

#include "base/base.h"

enum { HISTOGRAM_BOUNDS_MAX = 12 };

struct histogram {
    const uint64_t *bounds; /* Ascending; borrowed, constant. */
    uint32_t bound_count;   /* 1 to HISTOGRAM_BOUNDS_MAX */
    /* [i]: at most bounds[i], and more than the one before; the last one: more
     * than all bounds. */
    uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1];
    uint64_t sum;
};

void histogram_init(struct histogram *histogram, const uint64_t *bounds,
                    uint32_t bound_count);
/* Bounds from 100 us to 5 s, for disks and networks alike. */
void histogram_init_latency(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value);
uint64_t histogram_count(const struct histogram *histogram);
/* The bound below which `permille` of all values lie. 0 when there are none;
 * UINT64_MAX when it is beyond the last bound. */
uint64_t histogram_quantile(const struct histogram *histogram,
                            uint32_t permille);

#endif
