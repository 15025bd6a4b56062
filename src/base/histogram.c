/* histogram.c -- counts in fixed buckets. */
#include "base/histogram.h"

static const uint64_t latency_us[] = {
    100, 250, 500, 1000, 2500, 10000, 25000, 100000, 250000, 1000000, 5000000};

void histogram_init(struct histogram *histogram, const uint64_t *bounds,
                    uint32_t bound_count)
{
    must(bound_count > 0 && bound_count <= HISTOGRAM_BOUNDS_MAX);
    for (uint32_t i = 1; i < bound_count; i++) {
        must(bounds[i - 1] < bounds[i]);
    }
    *histogram =
        (struct histogram){.bounds = bounds, .bound_count = bound_count};
}

void histogram_init_latency(struct histogram *histogram)
{
    histogram_init(histogram, latency_us, ARRAY_COUNT(latency_us));
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    uint32_t i = 0;
    while (i < histogram->bound_count && value > histogram->bounds[i]) {
        i++;
    }
    histogram->counts[i]++;
    histogram->sum += value;
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i <= histogram->bound_count; i++) {
        count += histogram->counts[i];
    }
    return count;
}

uint64_t histogram_quantile(const struct histogram *histogram,
                            uint32_t permille)
{
    must(permille <= 1000);
    uint64_t count = histogram_count(histogram);
    if (count == 0) {
        return 0;
    }
    /* Round up: the 99th percentile of ten values is the tenth. */
    uint64_t wanted =
        count / 1000 * permille + (count % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && seen >= wanted) {
            return histogram->bounds[i];
        }
    }
    return UINT64_MAX;
}
