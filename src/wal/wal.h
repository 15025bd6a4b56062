/* wal.h -- the Raft log, term and vote on disk.
 *
 * Layout under the fs's root (all integers little-endian, CRC-32C):
 *     meta.0 meta.1        two copies of term, vote and incarnation (meta.c)
 *     wal/%016x.wal        segments, created full of zeros; one that is in use
 *                          is never recycled, renamed or truncated
 *     wal/spare.tmp        the next segment, while it is prepared
 *     wal/reserve.tmp      space for one more segment when the disk is full
 *     wal/torn-%016x.bin   bytes that recovery cut off, kept for inspection
 *     wal/HINT             the last batch known to be synced (hint.c)
 *
 * The unit of writing and of fdatasync is the batch. It starts on a block
 * boundary (4096), so a block that holds acknowledged data is never written
 * again. Truncation is a record, not an erasure. wal_internal.h has header,
 * batch and record to the byte. scan.c has the recovery rules (pure, over
 * bytes), which distinguish a torn tail (never acknowledged: cut, logged) from
 * damage in acknowledged data (ERR_CORRUPT, with file, offset and the last good
 * index in the log line).
 *
 * Entries that a snapshot holds are dropped by whole segments, oldest first.
 * The index of entries in memory is sparse: about one anchor per 64 KiB of
 * segment.
 *
 * With a file system that has asynchronous operations (fs.h) a batch is written
 * and synced by one of them while the next batch is gathered: one is in flight
 * at a time. Everything else blocks: term and vote, a new segment, the hint.
 * Without asynchronous operations batches block as well. */
#ifndef CRAFTD_WAL_WAL_H
#define CRAFTD_WAL_WAL_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/histogram.h"
#include "sys/fs.h"

struct wal;

struct wal_options {
    const struct fs *fs; /* Borrowed; outlives the wal. */
    /* Size of a segment, a multiple of 4096; 0: 4 MiB. A batch that does not
     * fit into one gets a larger segment. */
    uint64_t segment_bytes;
    bool keeps_reserve; /* Keep wal/reserve.tmp, one and a half segments. */
    /* Clock in microseconds that times the syncs for the statistics, or
     * NULL. */
    uint64_t (*now_us)(void *arg);
    void *now_us_arg;
    uint8_t cluster[16]; /* Identity of the cluster and of this directory: */
    uint8_t uuid[16];    /* files with another one are refused. */
    uint64_t
        salt_seed; /* From entropy; the salts of segments derive from it. */
};

/* wal_entry.type of a record that is not an entry: the log restarts after this
 * index and term, those of a snapshot, and the entries reported before are
 * void. */
enum { WAL_ENTRY_BASE = 255 };

struct wal_entry {
    uint64_t index;
    uint64_t term;
    uint8_t type;         /* enum raft_entry_type, opaque in this room. */
    struct bytes payload; /* A view; each function says how long it is valid. */
};

/* Create a new log in an empty directory: both meta slots (term 0, vote 0,
 * incarnation 0) and the first segment, all durable on return.
 * ERR_NOSPACE, ERR_RESOURCES, ERR_IO: files may be left; wal_remove() them. */
MUST_CHECK enum err wal_create(const struct wal_options *options);

/* Remove the files of a log, complete or not; none may be open. Nothing is
 * synced. ERR_OK as well when there are none. */
MUST_CHECK enum err wal_remove(const struct fs *fs);

/* Called for each entry while the log is read, in the order of writing. When a
 * record truncates the log, the index goes back: the receiver discards its
 * entries from entry->index on. The first index may be any, since the entries
 * before it may be compacted. The payload is valid during the call. */
typedef void wal_entry_cb(const struct wal_entry *entry, void *arg);

/* Open and recover the log (scan.c has the rules), increment the incarnation,
 * and make everything that was read durable. `cb` may be NULL. `*wal` is to be
 * closed with wal_close().
 *   ERR_NOT_FOUND  there is no log
 *   ERR_CORRUPT    damage in acknowledged data; logged in detail
 *   ERR_MISMATCH   the files are of another cluster or directory; logged
 *   ERR_VERSION    written by a newer program; logged
 *   ERR_NOSPACE, ERR_RESOURCES, ERR_IO  a file cannot be read or written
 * A full disk is not an error if only the next segment is missing: the first
 * batch that finds space creates it. */
MUST_CHECK enum err wal_open(const struct wal_options *options,
                             wal_entry_cb *cb, void *arg, struct wal **wal);
/* Wait for the batch in flight, and close the log. Gathered records that were
 * not written are lost. NULL is fine. */
void wal_close(struct wal *wal);

/* Term and vote as of the last wal_set_hard_state(), durable or not. */
uint64_t wal_term(const struct wal *wal);
uint64_t wal_vote(const struct wal *wal);
/* Number of times that this log has been opened, this one included. */
uint64_t wal_incarnation(const struct wal *wal);
/* First and last index of the log; first is last + 1 when it is empty. The last
 * entries may not be durable yet. */
uint64_t wal_first(const struct wal *wal);
uint64_t wal_last(const struct wal *wal);
/* Last index that is durable and was not truncated since. */
uint64_t wal_durable(const struct wal *wal);

/* Gather the next batch: these three write to memory alone, until wal_start()
 * or wal_sync().
 *
 * The term never goes back, and a vote that was cast in a term does not change
 * in that term (thesis 3.4). */
void wal_set_hard_state(struct wal *wal, uint64_t term, uint64_t vote);
/* Remove the entries from `from` on; wal_first() <= `from` <= wal_last(). */
void wal_truncate(struct wal *wal, uint64_t from);
/* Append an entry; its index is wal_last() + 1. The payload is copied. */
void wal_append(struct wal *wal, const struct wal_entry *entry);

/* Start to make everything that was gathered durable: first the hard state, if
 * it changed, synchronously and into both slots; then the batch with ONE
 * fdatasync. On return the batch is durable or in flight. No other may be in
 * flight: wal_finished() must have returned true. Records that are gathered
 * meanwhile belong to the next batch.
 * ERR_NOSPACE, ERR_RESOURCES: no record of the batch is durable, all of them
 * stay gathered; call it again later. Any other failure die()s: durability is
 * in doubt, since an fdatasync that failed cannot be repeated. */
MUST_CHECK enum err wal_start(struct wal *wal);
/* True when no batch is in flight any more. With `wait`, block until then. When
 * true, the batch is durable and *err is ERR_OK, or *err is a shortage as
 * above. */
MUST_CHECK bool wal_finished(struct wal *wal, bool wait, enum err *err);
/* wal_start(), then wait until the batch has completed. */
MUST_CHECK enum err wal_sync(struct wal *wal);
/* True if the batch in flight is known, without a system call, to have
 * completed. Then wal_finished() is true, and the fs's event descriptor may not
 * become readable: look at this before the event loop sleeps. */
bool wal_has_completion(const struct wal *wal);

/* Read the durable entry at `index`. Its payload is copied into `out`, which is
 * cleared first; entry->payload points there. Sequential reads are cheap.
 * ERR_NOT_FOUND  `index` is below wal_first() or above wal_durable()
 * ERR_RESOURCES  its segment cannot be opened now
 * ERR_CORRUPT    its checksum does not match; logged
 * ERR_IO         it cannot be read; logged */
MUST_CHECK enum err wal_read(struct wal *wal, uint64_t index, struct buf *out,
                             struct wal_entry *entry);

/* Remove the oldest segment, if the entry at `limit` is in a later one. The
 * effects of its entries must be durable elsewhere. True: it was removed.
 * False: there is none, or there is no space to remove it, which a later call
 * tries again. */
bool wal_compact(struct wal *wal, uint64_t limit);
/* True if there is such a segment. Cheap enough for every turn of the event
 * loop. */
bool wal_can_compact(const struct wal *wal, uint64_t limit);
/* Start a new segment now, unless the current one is empty. No records may be
 * gathered and no batch in flight. ERR_NOSPACE, ERR_RESOURCES: not done. */
MUST_CHECK enum err wal_roll(struct wal *wal);
/* Discard all entries: the log restarts after (index, term), those of a
 * snapshot. Durable on return. No records may be gathered, no batch in flight,
 * and the hard state must be durable with a term of at least `term`.
 * ERR_NOSPACE, ERR_RESOURCES: not durable; if the new segment was there, the
 * record stays gathered for wal_sync(). A caller that cannot accept that calls
 * wal_roll() before: then there is space for it. */
MUST_CHECK enum err wal_reset(struct wal *wal, uint64_t index, uint64_t term);

/* Prepare the next segment in slices; call it once per turn of the event loop.
 * It starts when a quarter of the current segment is in use, and writes at
 * least one slice (FS_ZEROS_BYTES), and four bytes per byte of batches since
 * then. So when half of the current segment is in use (or a quarter has been
 * written since wal_open(), if that is later), the next one exists, or
 * wal_shortage() says why not. False: nothing is left to do. */
bool wal_prepare(struct wal *wal);
/* False: the slices that are written are enough until more batches are. Zeros
 * that the disk gets all at once hold up the fdatasync of a batch. */
bool wal_prepare_is_due(const struct wal *wal);
/* Why the next segment cannot be prepared: ERR_NOSPACE or ERR_RESOURCES. The
 * rest of the current segment and the reserve are for entries that have been
 * accepted; refuse new ones until a later wal_prepare() succeeds. ERR_OK:
 * nothing is short. */
enum err wal_shortage(const struct wal *wal);
/* Prepare one slice of the reserve. True: call it again. The reserve is
 * released when a batch needs a segment for which the disk has no space. */
bool wal_prepare_reserve(struct wal *wal);
/* Why there is no reserve, as wal_shortage(). */
enum err wal_reserve_shortage(const struct wal *wal);
/* Return the space of the reserve to the file system. True: it had some. */
bool wal_release_reserve(struct wal *wal);
/* Bytes of batches that can be written however full the disk is: in the current
 * segment, and in the whole segments for which the prepared part of the next
 * one and the reserve suffice. */
uint64_t wal_room(const struct wal *wal);
/* Those of them that the current segment has room for. */
uint64_t wal_segment_room(const struct wal *wal);

/* Record on disk which batch was synced last, so that damage in it cannot be
 * taken for an unfinished write. One small write without a sync, or none when
 * that is recorded already or a batch is in flight. A failure has no effect.
 * Call it when the log becomes idle. */
void wal_hint(struct wal *wal);

/* Since wal_open(), except log_bytes. */
struct wal_stats {
    uint64_t syncs;   /* Calls of fdatasync, by any function of this room. */
    uint64_t batches; /* Batches that have become durable. */
    uint64_t written_bytes; /* Bytes written to files of the log. */
    uint64_t log_bytes;     /* Size of all segments on disk, now. */
    uint64_t sync_us_max;
    uint64_t sync_us_total;
};
void wal_get_stats(const struct wal *wal, struct wal_stats *stats);
/* Durations of fdatasync in microseconds (with the write before it, where both
 * are one asynchronous operation); empty without a clock. Valid until
 * wal_close(). */
const struct histogram *wal_sync_times(const struct wal *wal);

#endif
