/* compact.c -- removes segments whose entries are in a snapshot, and restarts
 * the log after one. */
#include "base/log.h"
#include "wal/wal_internal.h"

static void forget_oldest(struct wal *wal)
{
    uint64_t seq = wal->segments[0].seq;
    /* The segment that is written to stays, and there is no gap. */
    must(wal->segment_count >= 2 && wal->segments[1].seq == seq + 1);
    must(wal->stats.log_bytes >= wal->segments[0].bytes);
    wal->stats.log_bytes -= wal->segments[0].bytes;
    wal->segment_count--;
    memmove(wal->segments, wal->segments + 1,
            wal->segment_count * sizeof(wal->segments[0]));
    wal->first = max_u64(wal->first, wal->segments[0].first);
    size_t old = 0;
    while (old < wal->anchor_count && wal->anchors[old].seq <= seq) {
        old++;
    }
    wal->anchor_count -= old;
    memmove(wal->anchors, wal->anchors + old,
            wal->anchor_count * sizeof(wal->anchors[0]));
    if (wal->read_handle >= 0 && wal->read_seq == seq) {
        wal->fs->close(wal->fs->self, wal->read_handle);
        wal->read_handle = -1;
        wal_read_forget(wal);
    }
}

/* A removal is durable before the next one, so that a crash leaves no gap. */
static bool sync_removal(struct wal *wal)
{
    if (!wal->removal_due) {
        return true;
    }
    enum err err = wal->fs->sync_dir(wal->fs->self, "wal");
    if (err && !err_is_shortage(err)) {
        die("wal/: the removal of a segment cannot be synced: %s",
            err_name(err));
    }
    wal->removal_due = err != ERR_OK;
    return !err;
}

bool wal_can_compact(const struct wal *wal, uint64_t limit)
{
    return wal->segment_count >= 2 && wal->segments[1].first <= limit;
}

/* Some file systems need space to remove a file. Then the next call tries
 * again. */
bool wal_compact(struct wal *wal, uint64_t limit)
{
    if (!wal_can_compact(wal, limit) || !sync_removal(wal)) {
        return false;
    }
    char path[64];
    wal_segment_path(wal->segments[0].seq, path);
    enum err err = wal->fs->unlink(wal->fs->self, path);
    if (err_is_shortage(err)) {
        return false;
    }
    if (err) {
        die("%s: cannot be removed: %s", path, err_name(err));
    }
    forget_oldest(wal);
    wal->removal_due = true;
    (void)sync_removal(wal);
    return true;
}

enum err wal_roll(struct wal *wal)
{
    must(wal->batch.records == 0 && !wal->in_flight);
    return wal->offset == BLOCK_BYTES ? ERR_OK : wal_segment_next(wal, 0);
}

enum err wal_reset(struct wal *wal, uint64_t index, uint64_t term)
{
    must(!wal->hard_due && term <= wal->meta.term);
    enum err err = wal_roll(wal);
    if (err) {
        return err;
    }
    wal_record_add(
        &wal->batch.buf,
        &(struct record){.kind = RECORD_BASE, .index = index, .term = term});
    wal->batch.records++;
    wal->first = index + 1;
    wal->last = index;
    wal->synced = min_u64(wal->synced, index);
    wal->anchor_count = 0;
    wal->anchor_wanted = true;
    wal->segments[wal->segment_count - 1].first = index;
    wal_read_forget(wal);
    err = wal_sync(wal);
    must(err || (wal->synced == index && wal->disk_last == index));
    return err;
}
