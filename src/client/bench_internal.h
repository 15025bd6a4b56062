/* bench_internal.h -- what craftd bench measures, and what it makes of it. */
#ifndef CRAFTD_CLIENT_BENCH_INTERNAL_H
#define CRAFTD_CLIENT_BENCH_INTERNAL_H

#include "base/base.h"
#include "base/bytes.h"

/* Times in microseconds, by their highest six bits: a quantile is at most 1/32
 * too large. */
enum { BENCH_BUCKETS = 60 * 32 };
struct bench_times {
    uint64_t count;
    uint64_t max_us;
    uint64_t counts[BENCH_BUCKETS];
};
void bench_add_time(struct bench_times *times, uint64_t us);
/* The time that `permille` of those added do not exceed; 0: there are none. */
uint64_t bench_quantile_us(const struct bench_times *times, uint64_t permille);

/* Resources that one phase has used, in microseconds. */
struct bench_use {
    uint64_t wall_us;
    uint64_t client_us; /* Processor time of this process. */
    bool has_node;      /* The next two are known, from /metrics. */
    uint64_t node_us;   /* Processor time of the node that was asked. */
    uint64_t syncs_us;  /* Time that its disk took for syncs of the log. */
};
/* Say in words what bounded the phase. */
void bench_explain(struct buf *out, const struct bench_use *use);
/* Read the two from the text of /metrics, as sums since the start of the node.
 * False: it has no such figures. */
bool bench_read_metrics(struct bytes text, struct bench_use *use);

#endif
