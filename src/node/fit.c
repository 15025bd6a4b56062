/* fit.c -- shares of a small disk. See fit.h.
 *
 * Together the log (the current segment, the next one, a reserve of one and a
 * half, and what is kept while space is scarce), the -wal and the reserve of
 * the database take about a quarter of a disk of 8 MB to 256 MB. */
#include "node/fit.h"

enum {
    SEGMENT_MIN = 64 << 10,
    SEGMENT_MAX = 4 << 20,
    LOG_KEEP_MAX = 16 << 20,
    LOG_KEEP_LEAST_MAX = 4 << 20,
    STORE_RESERVE_MAX = 2 << 20,
    CHECKPOINT_MIN_MAX = 1 << 20,
    CHECKPOINT_MAX_MAX = 16 << 20,
    WAL_KEPT_MAX = 32 << 20,
    FLUSH_MAX = 64 << 20,
    GROWTH_MAX = 256 << 10,
    /* A database of this size takes a disk of so many times its size. */
    DISK_PER_DB = 8,
    DISK_FOR_DB_MIN = 16 << 20,
    START_BYTES = 512 << 10, /* IDENT, term and vote, an empty database. */
};

static uint64_t share(uint64_t disk_bytes, uint64_t divisor, uint64_t most)
{
    return min_u64(disk_bytes / divisor, most);
}

struct fit fit_to_disk(uint64_t disk_bytes, uint64_t db_bytes_max)
{
    uint64_t disk = max_u64(disk_bytes, FIT_DISK_BYTES_MIN);
    if (db_bytes_max > 0 && db_bytes_max < UINT64_MAX / DISK_PER_DB) {
        disk =
            min_u64(disk, max_u64(db_bytes_max * DISK_PER_DB, DISK_FOR_DB_MIN));
    }
    struct fit fit = {
        .segment = SEGMENT_MIN,
        .log_keep = share(disk, 8, LOG_KEEP_MAX),
        .log_keep_least = share(disk, 16, LOG_KEEP_LEAST_MAX),
        .store_reserve = share(disk, 32, STORE_RESERVE_MAX),
        .checkpoint_min = share(disk, 64, CHECKPOINT_MIN_MAX),
        .checkpoint_max = share(disk, 16, CHECKPOINT_MAX_MAX),
        .wal_kept = share(disk, 16, WAL_KEPT_MAX),
        .flush = share(disk, 32, FLUSH_MAX),
        .growth = share(disk, 64, GROWTH_MAX),
    };
    while (fit.segment < SEGMENT_MAX && fit.segment * 2 <= disk / 64) {
        fit.segment *= 2;
    }
    must(fit.checkpoint_min <= fit.checkpoint_max);
    return fit;
}

uint64_t fit_start_bytes(const struct fit *fit)
{
    return fit->segment + START_BYTES;
}
