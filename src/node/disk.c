/* disk.c -- outstanding operations of the disk, and stalls.
 *
 * Two operations run off the event loop: the fdatasync of a batch of the log,
 * and a sync of a checkpoint. While one of them takes long, everything else
 * that might block on the same disk is put off; one that takes longer than an
 * election time-out is a stall: it is logged, and the engine sees that nothing
 * becomes durable and steps down. */
#include "base/log.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"

/* An operation that is outstanding for longer puts off everything that might
 * block on the disk. Less than FLUSH_QUIET_MS in checkpoint.c. */
enum { DISK_SLOW_MS = 25 };

uint64_t disk_pending_since_ms(const struct node *node)
{
    uint64_t log =
        node->persist.inflight_seq > 0 ? node->persist.started_ms : UINT64_MAX;
    uint64_t database = store_is_syncing(node->store)
                            ? node->checkpoint.sync_started_ms
                            : UINT64_MAX;
    return min_u64(log, database);
}

/* True when other disk operations have to wait. Behind the many pages of a
 * checkpoint they would block the event loop; on a disk that has become slow
 * they might never complete. */
bool disk_is_busy(const struct node *node)
{
    return store_is_syncing(node->store) ||
           (node->persist.inflight_seq > 0 &&
            node->now_ms >= node->persist.started_ms + DISK_SLOW_MS);
}

/* While the database's sync is stalled, the log is not persisted either, so
 * that the engine sees a stalled disk and steps down. */
bool node_database_sync_stalled(const struct node *node)
{
    return store_is_syncing(node->store) &&
           node->now_ms >=
               node->checkpoint.sync_started_ms + node->options.election_min_ms;
}

void disk_report_stall(struct node *node)
{
    uint64_t since_ms = disk_pending_since_ms(node);
    bool stalled = since_ms != UINT64_MAX &&
                   node->now_ms >= since_ms + node->options.election_min_ms;
    if (stalled && !node->stall.reported) {
        log_error("disk-stuck",
                  "what=%s ms=%llu why=\"the disk does not answer: nothing "
                  "is written, and this node does not lead\"",
                  node_database_sync_stalled(node) ? "database" : "log",
                  (unsigned long long)(node->now_ms - since_ms));
        node->stall.since_ms = since_ms;
    } else if (node->stall.reported && !stalled) {
        log_info("disk-again", "ms=%llu",
                 (unsigned long long)(node->now_ms - node->stall.since_ms));
    }
    node->stall.reported = stalled;
}
