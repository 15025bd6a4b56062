/* fit.h -- sizes that depend on the size of the disk.
 *
 * A node keeps files that are no data: segments of the log, SQLite's -wal, and
 * reserves for a full disk. On a large disk their sizes are fixed; on a small
 * one they are shares of it, so that most of it is left for data. A small
 * --max-db makes them smaller as well, since what belongs to little data should
 * not be larger than that. Pure. */
#ifndef CRAFTD_NODE_FIT_H
#define CRAFTD_NODE_FIT_H

#include "base/base.h"

/* Smallest disk that a node starts on, without the file system's own
 * structures: ext4 on a device of 8 MB has this much. */
enum { FIT_DISK_BYTES_MIN = 6 << 20 };

/* In bytes. */
struct fit {
    uint64_t segment;        /* A segment of the log, a power of two. */
    uint64_t log_keep;       /* Log that is kept for followers, ... */
    uint64_t log_keep_least; /* ... while space is scarce. */
    uint64_t store_reserve;  /* Reserve of the database. */
    uint64_t
        checkpoint_min; /* Bounds of the size of SQLite's -wal at which a */
    uint64_t checkpoint_max; /* checkpoint starts. */
    uint64_t wal_kept;       /* Size that the -wal keeps after a checkpoint. */
    uint64_t flush;          /* Applied entries in memory before they are
                               flushed; up to twice that. */
    uint64_t growth;         /* Space that small changes may need in addition to
                                their own size. */
};

/* `disk_bytes`: size of the disk, UINT64_MAX if unknown. `db_bytes_max`: as in
 * struct node_options, 0: no limit. */
struct fit fit_to_disk(uint64_t disk_bytes, uint64_t db_bytes_max);
/* Free space without which the files of a new node cannot be made. */
uint64_t fit_start_bytes(const struct fit *fit);

#endif
