/* bench_report.c -- figures of craftd bench: bench_internal.h. */
#include "client/bench_internal.h"

#include <stdlib.h>

/* ---- times ---- */

static size_t bucket_of(uint64_t us)
{
    unsigned shift = 0;
    while (us >> shift >= 64) {
        shift++;
    }
    return us < 64 ? (size_t)us : 32 * (shift + 1) + ((us >> shift) - 32);
}

/* The greatest time of a bucket. */
static uint64_t bucket_end_us(size_t bucket)
{
    if (bucket < 64) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / 32) - 1;
    return ((uint64_t)(bucket % 32 + 32 + 1) << shift) - 1;
}

void bench_add_time(struct bench_times *times, uint64_t us)
{
    size_t bucket = bucket_of(us);
    must(bucket < BENCH_BUCKETS);
    times->counts[bucket]++;
    times->count++;
    times->max_us = max_u64(times->max_us, us);
}

uint64_t bench_quantile_us(const struct bench_times *times, uint64_t permille)
{
    uint64_t wanted = (times->count * permille + 999) / 1000;
    uint64_t seen = 0;
    for (size_t i = 0; i < BENCH_BUCKETS && times->count > 0; i++) {
        seen += times->counts[i];
        if (seen >= wanted && seen > 0) {
            return min_u64(bucket_end_us(i), times->max_us);
        }
    }
    return times->max_us;
}

/* ---- the limit ---- */

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (unsigned)(part * 100 / whole) : 0;
}

void bench_explain(struct buf *out, const struct bench_use *use)
{
    enum { BUSY = 75, SYNCING = 50 };
    unsigned client = percent(use->client_us, use->wall_us);
    unsigned node = percent(use->node_us, use->wall_us);
    unsigned syncs = percent(use->syncs_us, use->wall_us);
    if (client >= BUSY) {
        buf_printf(out,
                   "  limit: CPU of this client, busy %u%% of the time: it "
                   "could not ask for more\n",
                   client);
    } else if (!use->has_node) {
        buf_add_string(out, "  limit: unknown: the node does not show "
                            "/metrics (permission status)\n");
    } else if (node >= BUSY) {
        buf_printf(out,
                   "  limit: CPU: the node's one thread was busy %u%% of the "
                   "time\n",
                   node);
    } else if (syncs >= SYNCING) {
        buf_printf(out,
                   "  limit: disk: the node was waiting for syncs of its log "
                   "%u%% of the time (craftd bench-disk measures it)\n",
                   syncs);
    } else {
        buf_printf(out,
                   "  limit: network or other nodes, or too few connections: "
                   "this node's disk was syncing %u%% of the time, its CPU "
                   "was busy %u%%\n",
                   syncs, node);
    }
}

/* As craftd writes them: digits, or digits with a point and decimals. */
static bool read_microseconds(const char *text, uint64_t *us)
{
    uint64_t value = 0;
    int decimals = -1;
    const char *at = text;
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && decimals < 0); at++) {
        if (*at == '.') {
            decimals = 0;
        } else if (decimals < 6) {
            value = 10 * value + (uint64_t)(*at - '0');
            decimals += decimals >= 0;
        }
    }
    for (; decimals < 6; decimals++) {
        value *= decimals < 0 ? 1 : 10;
    }
    *us = value;
    return at > text && at - text < 20;
}

/* Find a line "NAME SECONDS". */
static bool read_seconds(const char *text, const char *name, uint64_t *us)
{
    size_t size = strlen(name);
    for (const char *at = text; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, name, size) == 0 && at[size] == ' ') {
            return read_microseconds(at + size + 1, us);
        }
    }
    return false;
}

bool bench_read_metrics(struct bytes text, struct bench_use *use)
{
    struct buf copy = {0};
    buf_add_bytes(&copy, text);
    buf_add_u8(&copy, '\0');
    const char *start = (const char *)copy.data;
    use->has_node =
        read_seconds(start, "process_cpu_seconds_total", &use->node_us);
    /* A node in memory has none. */
    if (!read_seconds(start, "craftd_storage_fsync_duration_seconds_sum",
                      &use->syncs_us)) {
        use->syncs_us = 0;
    }
    buf_free(&copy);
    return use->has_node;
}
