/* wal.h -- the Raft log, term and vote on disk.
 *
 * Layout under the fs's root (all integers little-endian, CRC-32C):
 *     meta.0 meta.1        4096 B each: term, vote, incarnation; alternating
 *     wal/%016x.wal        segments, filled with real zeros when made, never
 *                          recycled, renamed or truncated once in use
 *     wal/spare.tmp        the next segment, being prepared
 *     wal/reserve.tmp      space for one more, for when the disk is full
 *     wal/torn-%016x.bin   what recovery cut off, kept for a look
 *     wal/HINT             the last batch known to be synced (hint.c)
 *
 * The unit of writing and of fdatasync is the batch: it starts on a block
 * boundary (4096), so a block that holds acknowledged data is never written
 * again. Truncation is a record, not an erasure. wal.c describes header,
 * batch and record to the byte; scan.c the recovery rules (pure, over bytes),
 * which tell a torn tail (never acknowledged: cut, logged) from damage in
 * what was acknowledged (ERR_CORRUPT, with file, offset and index range in
 * the log line).
 *
 * What a snapshot holds is dropped by whole segments, oldest first. The index
 * of entries in memory is sparse: one anchor per 64 KiB of segment.
 *
 * With a file system that can write and sync while the caller goes on (the
 * optional part of fs.h) so do batches: one is in flight, the next is being
 * gathered. Everything else blocks: term and vote, a new segment, the hint;
 * so do batches where there is no such file system. */
#ifndef CRAFTD_WAL_WAL_H
#define CRAFTD_WAL_WAL_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/histogram.h"
#include "sys/fs.h"

struct wal;

struct wal_options {
    const struct fs *fs;    /* Borrowed; outlives the wal. */
    uint64_t segment_bytes; /* 0 = 4 MiB; a larger batch gets a larger one */
    bool keeps_reserve;     /* wal/reserve.tmp: a segment and a half. */
    /* A clock to time the syncs by, for the statistics; may be NULL. */
    uint64_t (*now_us)(void *arg);
    void *now_us_arg;
    uint8_t cluster[16];
    uint8_t uuid[16];   /* Of this directory. */
    uint64_t salt_seed; /* From entropy; salts of segments are drawn
                           from it. */
};

/* wal_entry.type of what is no entry: the log begins anew behind this index
 * and term; all that was read before is void. */
enum { WAL_ENTRY_BASE = 255 };

struct wal_entry {
    uint64_t index;
    uint64_t term;
    uint8_t type;         /* enum raft_entry_type, opaque here. */
    struct bytes payload; /* A view; see each function for its lifetime. */
};

/* Make a new log in an empty directory: both meta slots (term 0, vote 0,
 * incarnation 0) and the first segment, all durable. */
MUST_CHECK enum err wal_create(const struct wal_options *options);

/* What an earlier log left behind, whole or not, is gone; not synced. */
MUST_CHECK enum err wal_remove(const struct fs *fs);

/* Called for each entry of the log in index order while it is read; an entry
 * that a later record truncated is reported, and then the index goes back:
 * the receiver drops what it has from entry->index on. The first index may be
 * any: what was before is compacted. The payload is valid during the call. */
typedef void wal_entry_cb(const struct wal_entry *entry, void *arg);

/* Open, recover (W1-W6), bump the incarnation, make everything that was read
 * durable. `cb` may be NULL.
 *   ERR_NOT_FOUND  no log here
 *   ERR_CORRUPT    damage in acknowledged data; logged in detail
 *   ERR_MISMATCH   another cluster's or directory's files
 *   ERR_VERSION    written by a newer program
 *   ERR_IO         as the kernel said
 * A full disk is no error as long as nothing has to be written: a log that
 * ended with its last segment goes on in the first batch that finds room. */
MUST_CHECK enum err wal_open(const struct wal_options *options,
                             wal_entry_cb *cb, void *arg, struct wal **wal);
/* Waits for what is in flight. NULL is fine. */
void wal_close(struct wal *wal);

uint64_t wal_term(const struct wal *wal);
uint64_t wal_vote(const struct wal *wal);
uint64_t wal_incarnation(const struct wal *wal);
uint64_t wal_first(const struct wal *wal); /* last + 1 when empty. */
uint64_t wal_last(const struct wal *wal);  /* Appended, durable or not. */
/* The last index that is durable and was not truncated since. */
uint64_t wal_durable(const struct wal *wal);

/* Gather the next batch. Nothing touches the disk before wal_sync(). */
void wal_set_hard_state(struct wal *wal, uint64_t term, uint64_t vote);
/* `from` <= last: entries from..last are gone. */
void wal_truncate(struct wal *wal, uint64_t from);
/* entry->index must be wal_last() + 1. The payload is copied. */
void wal_append(struct wal *wal, const struct wal_entry *entry);

/* Begin to make all that was gathered durable: hard state into both slots
 * first (only when it changed), then the batch with ONE fdatasync. It may be
 * done on return, or in flight: ask wal_finished(), and start nothing new
 * before it says so. What is gathered meanwhile belongs to the next batch.
 * ERR_NOSPACE, ERR_RESOURCES: nothing of the batch counts, it stays gathered,
 * call again later. Any other failure die()s: durability is in doubt (fsync is
 * not retryable). */
MUST_CHECK enum err wal_start(struct wal *wal);
/* Has it ended (or is nothing in flight)? With `wait` it has on return. What
 * was started is durable then, or *err is a shortage, as above. */
MUST_CHECK bool wal_finished(struct wal *wal, bool wait, enum err *err);
/* Both, with the wait between. Nothing may be in flight. */
MUST_CHECK enum err wal_sync(struct wal *wal);
/* Has the write in flight completed already, as far as is known without a
 * system call? wal_finished() is true then, and the fs's event descriptor may
 * be silent. */
bool wal_has_completion(const struct wal *wal);

/* Read the durable entry at `index` into `out` (cleared first); the entry's
 * payload points into `out`. Sequential reads are cheap.
 * ERR_NOT_FOUND  before wal_first() or after what was synced
 * ERR_RESOURCES  its segment cannot be opened now
 * ERR_CORRUPT    its checksum no longer holds */
MUST_CHECK enum err wal_read(struct wal *wal, uint64_t index, struct buf *out,
                             struct wal_entry *entry);

/* Drop the oldest segment, when every entry of it is below `limit`: the log
 * then begins at or before `limit`, and that entry is still there. True when
 * one was dropped; without space it is tried again by the next call. What the
 * entries did must be durable elsewhere. */
bool wal_compact(struct wal *wal, uint64_t limit);
/* Is there such a segment? Cheap enough to be asked every turn. */
bool wal_can_compact(const struct wal *wal, uint64_t limit);
/* Begin a new segment now. ERR_NOSPACE, ERR_RESOURCES: not done. */
MUST_CHECK enum err wal_roll(struct wal *wal);
/* The log is void, and begins behind (index, term), which came from elsewhere:
 * durable on return. Nothing may be gathered. Give it a fresh segment first
 * (wal_roll), so that it does not fail for lack of space. */
MUST_CHECK enum err wal_reset(struct wal *wal, uint64_t index, uint64_t term);

/* Prepare the next segment, once a quarter of this one is in use; call once a
 * turn. At least one slice (some 256 KiB), and as many as it takes to keep up
 * with what is written: when half of this one is in use the next one is there,
 * or it is known that it cannot be (after a start within this one, when as much
 * more has been written). False when there is nothing (more) to do. */
bool wal_prepare(struct wal *wal);
/* Why the next segment cannot be prepared: ERR_NOSPACE or ERR_RESOURCES. What
 * is left of this one, and the reserve, are for what was accepted before, and
 * new work should be refused until a later wal_prepare() succeeds. ERR_OK:
 * nothing is short. */
enum err wal_shortage(const struct wal *wal);
/* The same of the reserve: a slice, and why it is not there. It is released
 * when a batch needs a segment for which there is no space. */
bool wal_prepare_reserve(struct wal *wal);
enum err wal_reserve_shortage(const struct wal *wal);
/* Give the reserve back to the disk. True: there is space now that was not
 * there before. */
bool wal_release_reserve(struct wal *wal);
/* Bytes of batches that can be written whatever else is on the disk: in this
 * segment, in the next one as far as it is prepared, and in the reserve. */
uint64_t wal_room(const struct wal *wal);

/* Note on the disk that what was synced was synced, so that damage in the
 * last batch is not taken for an unfinished write. One small write, no sync;
 * nothing when there is nothing new. Call when the log falls quiet. */
void wal_hint(struct wal *wal);

struct wal_stats {
    uint64_t syncs; /* fdatasync calls, of all kinds. */
    uint64_t batches;
    uint64_t written_bytes;
    uint64_t log_bytes; /* Size of all segments on disk. */
    uint64_t sync_us_max;
    uint64_t sync_us_total;
};
void wal_get_stats(const struct wal *wal, struct wal_stats *stats);
/* How long each fdatasync took, in microseconds (with its write, when both
 * were in flight); empty without a clock. */
const struct histogram *wal_sync_times(const struct wal *wal);

#endif
