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
 * again. Truncation is a record, not an erasure. wal_internal.h has header,
 * batch and record to the byte; scan.c has the recovery rules (pure, over
 * bytes), which tell a torn tail (never acknowledged: cut, logged) from damage
 * in what was acknowledged (ERR_CORRUPT, with file, offset and index range in
 * the log line).
 *
 * What a snapshot holds is dropped by whole segments, oldest first. The index
 * of entries in memory is sparse: one anchor per 64 KiB of segment.
 *
 * With a file system that has asynchronous operations (fs.h) a batch is written
 * and synced by one of them, while the next batch is gathered: one is in flight
 * at a time. Everything else blocks: term and vote, a new segment, the hint; so
 * do batches where there are none. */
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
    uint8_t uuid[16];   /* This directory's. */
    uint64_t salt_seed; /* From entropy; salts of segments are drawn
                           from it. */
};

/* wal_entry.type of a record that is no entry: the log starts anew behind this
 * index and term, and everything that was read before is void. */
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

/* Remove the files of an earlier log, complete or not. Nothing is synced.
 * ERR_OK as well when there are none. */
MUST_CHECK enum err wal_remove(const struct fs *fs);

/* Called for each entry of the log in index order while it is read; an entry
 * that a later record truncated is reported, and then the index goes back:
 * the receiver drops what it has from entry->index on. The first index may be
 * any: what was before is compacted. The payload is valid during the call. */
typedef void wal_entry_cb(const struct wal_entry *entry, void *arg);

/* Open, recover (scan.c has the rules), increment the incarnation, and make
 * everything that was read durable. `cb` may be NULL.
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

/* Start to make everything that was gathered durable: hard state into both
 * slots first (only when it changed; synchronously), then the batch with ONE
 * fdatasync. On return the batch is durable or in flight: wal_finished() tells,
 * and must be true before the next wal_start(). Records that are gathered
 * meanwhile belong to the next batch.
 * ERR_NOSPACE, ERR_RESOURCES: nothing of the batch counts, it stays gathered,
 * call again later. Any other failure die()s: durability is in doubt (fsync is
 * not retryable). */
MUST_CHECK enum err wal_start(struct wal *wal);
/* Has the batch in flight completed (or is there none)? With `wait` it has on
 * return. It is durable then, or *err is a shortage, as above. */
MUST_CHECK bool wal_finished(struct wal *wal, bool wait, enum err *err);
/* wal_start(), then wait. Nothing may be in flight. */
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
/* Is there such a segment? Cheap enough for every turn of the event loop. */
bool wal_can_compact(const struct wal *wal, uint64_t limit);
/* Begin a new segment now. ERR_NOSPACE, ERR_RESOURCES: not done. */
MUST_CHECK enum err wal_roll(struct wal *wal);
/* Discard the log: it starts behind (index, term), those of a snapshot. Durable
 * on return. No records may be gathered. Call wal_roll() first, so that a fresh
 * segment has the space for it. */
MUST_CHECK enum err wal_reset(struct wal *wal, uint64_t index, uint64_t term);

/* Prepare the next segment, once a quarter of this one is in use; call once per
 * turn of the event loop. Writes at least one slice (FS_ZEROS_BYTES), and four
 * bytes for each byte of batches: when half of this segment is in use (or, if
 * that is later, a quarter of it was written since wal_open()), the next one
 * exists, or it is known that it cannot. False when nothing is left to do. */
bool wal_prepare(struct wal *wal);
/* Why the next segment cannot be prepared: ERR_NOSPACE or ERR_RESOURCES. The
 * rest of this segment and the reserve are kept for entries that were accepted
 * before, and new work should be refused until a later wal_prepare() succeeds.
 * ERR_OK: nothing is short. */
enum err wal_shortage(const struct wal *wal);
/* The same for the reserve: prepare a slice, and why it is not there. It is
 * released when a batch needs a segment for which there is no space. */
bool wal_prepare_reserve(struct wal *wal);
enum err wal_reserve_shortage(const struct wal *wal);
/* Give the reserve back to the disk. True: there is space now that was not
 * there before. */
bool wal_release_reserve(struct wal *wal);
/* Bytes of batches that can be written whatever else is on the disk: in this
 * segment, in the next one as far as it is prepared, and in the reserve. */
uint64_t wal_room(const struct wal *wal);

/* Record on disk which batch was synced last, so that damage in it is not taken
 * for an unfinished write. One small write without a sync; nothing when that is
 * on disk already. Call it when the log becomes idle. */
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
