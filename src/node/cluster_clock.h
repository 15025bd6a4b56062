/* cluster_clock.h -- cluster time between two stamps. Pure.
 *
 * Cluster time is milliseconds that begin with the first stamp of the log. It
 * continues from the last stamp by a clock that is given with every call: the
 * monotonic clock of one node, whatever it counts from. It never goes back.
 *
 * One step counts for CLUSTER_CLOCK_STEP_MS at most. A clock that jumps (of a
 * virtual machine that was moved, or of a process that did not run) would
 * otherwise end deadlines early; so they end late instead. Advance the clock
 * more often than that where it matters. */
#ifndef CRAFTD_NODE_CLUSTER_CLOCK_H
#define CRAFTD_NODE_CLUSTER_CLOCK_H

#include "base/base.h"

enum { CLUSTER_CLOCK_STEP_MS = 2000 };

struct cluster_clock {
    /* READ-ONLY */
    uint64_t time_ms; /* Cluster time at the last step; at least 1. */
    /* PRIVATE */
    uint64_t seen_ms; /* The given clock at the last step. */
};

/* Continue from `stamp_ms`, which is 0 if there is none yet. */
void cluster_clock_start(struct cluster_clock *clock, uint64_t stamp_ms,
                         uint64_t now_ms);
/* It stands still once it has reached `limit_ms`. */
void cluster_clock_advance(struct cluster_clock *clock, uint64_t now_ms,
                           uint64_t limit_ms);

#endif
