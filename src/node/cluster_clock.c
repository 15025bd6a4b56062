/* cluster_clock.c -- cluster time between two stamps: see cluster_clock.h. */
#include "node/cluster_clock.h"

void cluster_clock_start(struct cluster_clock *clock, uint64_t stamp_ms,
                         uint64_t now_ms)
{
    *clock = (struct cluster_clock){.time_ms = max_u64(stamp_ms, 1),
                                    .seen_ms = now_ms};
}

void cluster_clock_advance(struct cluster_clock *clock, uint64_t now_ms,
                           uint64_t limit_ms)
{
    if (now_ms > clock->seen_ms) {
        uint64_t step_ms =
            min_u64(now_ms - clock->seen_ms, CLUSTER_CLOCK_STEP_MS);
        uint64_t end_ms = max_u64(limit_ms, clock->time_ms);
        clock->time_ms = min_u64(clock->time_ms + step_ms, end_ms);
    }
    clock->seen_ms = now_ms;
}
