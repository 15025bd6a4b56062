/* wal_internal.h -- the format to the byte, and what the files of this room
 * share.
 *
 *     wal.c      create, open, gather records, write batches
 *     segment.c  prepares segments, seals one and starts the next
 *     format.c   bytes <-> structs
 *     meta.c     term, vote and incarnation
 *     hint.c     wal/HINT
 *     scan.c     the recovery rules, over the bytes of one segment
 *     recover.c  recovery: reads all segments, and repairs the last
 *     read.c     reads single entries of an open log
 *     compact.c  removes old segments, restarts the log after a snapshot
 *
 * All integers little-endian. BLOCK is 4096 bytes.
 *
 * Meta slot, one block:
 *     magic[8] "CRFTMETA" | u32 crc of what follows | u32 format = 1 |
 *     u64 version | u64 term | u64 vote | u64 incarnation | uuid[16] | zeros
 * Segment header, one block (`chain` is that of the last batch before it):
 *     magic[8] "CRFTWAL1" | u32 crc of what follows | u32 format = 1 |
 *     u64 features = 0 | u64 seq | u64 batch_seq (of the first batch) |
 *     u64 next_index | u64 salt | u32 chain | u32 0 |
 *     cluster[16] | uuid[16] | zeros
 * Batch, on a block boundary, padded with zeros to the next:
 *     u32 magic | u32 crc of the next 56 bytes, begun with the salt |
 *     u64 batch_seq | u64 durable_seq | u64 offset (its own) |
 *     u32 record_count | u32 payload_bytes | u32 payload_crc (salted) |
 *     u32 chain = crc(previous chain, batch_seq, payload_crc) |
 *     u64 incarnation | u64 0
 * Record, padded to 8:
 *     u32 body_bytes | u8 kind | u8 entry_type | u16 0 | u64 index | u64 term |
 *     u32 crc of body | u32 0 | body
 * Kinds: ENTRY; TRUNCATE (the entries from index on are removed); SEAL (the
 * segment is complete, and another follows); BASE (all entries before it are
 * void: a snapshot holds everything up to this index and term).
 *
 * The salt is random per segment, so that old content of a disk block is never
 * taken for a batch. The offset detects a block that was written to the wrong
 * place. The chain links each batch to the one before. */
#ifndef CRAFTD_WAL_WAL_INTERNAL_H
#define CRAFTD_WAL_WAL_INTERNAL_H

#include "base/bytes.h"
#include "sys/reserve.h"
#include "wal/wal.h"

enum {
    BLOCK_BYTES = 4096,
    WAL_FORMAT = 1,
    BATCH_HEADER_BYTES = 64,
    RECORD_HEADER_BYTES = 32,
    BATCH_MAGIC = 0x43544142,
    SEGMENT_BYTES_DEFAULT = 4 << 20,
    SEGMENT_BYTES_MAX = 1 << 30,
    ANCHOR_BYTES = 64 << 10,
};

enum record_kind {
    RECORD_ENTRY = 1,
    RECORD_TRUNCATE = 2,
    RECORD_SEAL = 3,
    RECORD_BASE = 4
};

/* Content of a meta slot. */
struct meta {
    uint64_t version; /* Grows by 1 with each update. */
    uint64_t term;
    uint64_t vote;
    uint64_t incarnation;
    uint8_t uuid[16];
};

struct segment_header {
    uint64_t seq;        /* Number of the segment, as in its name. */
    uint64_t batch_seq;  /* Number of its first batch. */
    uint64_t next_index; /* Index after the last entry before it. */
    uint64_t salt;
    uint32_t chain; /* That of the last batch before it. */
    uint8_t cluster[16];
    uint8_t uuid[16];
};

struct batch {
    uint64_t batch_seq;
    uint64_t durable_seq; /* A batch that was durable when it was written. */
    uint64_t offset;      /* In the segment, as all offsets here. */
    uint64_t incarnation; /* That of the process which wrote it. */
    uint32_t record_count;
    uint32_t payload_crc;
    uint32_t chain;
    struct bytes payload;
    uint64_t end; /* Offset of the next batch. */
};

struct record {
    enum record_kind kind;
    uint8_t entry_type;
    uint64_t index;
    uint64_t term;
    struct bytes body;
};

/* ---- format.c: bytes, no files ---- */

void wal_meta_encode(const struct meta *meta, uint8_t block[BLOCK_BYTES]);
MUST_CHECK enum err wal_meta_decode(const uint8_t block[BLOCK_BYTES],
                                    struct meta *meta);
void wal_segment_encode(const struct segment_header *header,
                        uint8_t block[BLOCK_BYTES]);
MUST_CHECK enum err wal_segment_decode(const uint8_t block[BLOCK_BYTES],
                                       struct segment_header *header);
uint32_t wal_chain_next(uint32_t chain, uint64_t batch_seq,
                        uint32_t payload_crc);
uint32_t wal_salted_crc(uint64_t salt, const void *data, size_t size);
/* Write the header of `batch` to `data`, where the payload follows it; sets
 * batch->payload_crc and batch->chain. */
void wal_batch_seal(uint8_t *data, const struct segment_header *segment,
                    struct batch *batch, uint32_t chain_before);
/* Decode the batch at `offset` of the segment `file`. ERR_CORRUPT: there is
 * none, or a checksum does not match. batch->payload points into `file`. */
MUST_CHECK enum err wal_batch_decode(const struct segment_header *segment,
                                     struct bytes file, uint64_t offset,
                                     struct batch *batch);
void wal_record_add(struct buf *out, const struct record *record);
/* The next record of a batch's payload; its body points into that.
 * ERR_NOT_FOUND: it was the last one. ERR_CORRUPT: the record is malformed. */
MUST_CHECK enum err wal_record_next(struct cursor *payload,
                                    struct record *record);

/* ---- scan.c: the recovery rules over one segment, pure ---- */

enum verdict {
    VERDICT_CLEAN,  /* Good batches, then zeros. */
    VERDICT_SEALED, /* Complete; another segment follows. */
    VERDICT_TORN,   /* A batch that was never acknowledged is at `offset`. */
    /* Acknowledged data is damaged at `offset`; `why` is a few words. */
    VERDICT_CORRUPT,
};

struct scan {
    /* Input and output: the end of the log so far. Each good batch advances it,
     * from one segment to the next. */
    uint64_t batch_seq; /* Number of the next batch. */
    uint32_t chain;     /* That of the last batch. */
    uint64_t index;     /* Last entry. */
    uint64_t term;      /* Its term; 0: unknown. */
    /* Input: a batch that is known to have been synced; 0: none. */
    uint64_t hint;
    /* Output. */
    uint64_t offset;   /* End of the last good batch. */
    uint64_t torn_end; /* VERDICT_TORN: end of the bytes that are not zero. */
    const char *why;   /* VERDICT_CORRUPT. */
};

/* Called for each good batch in order, before its records. */
typedef void scan_batch_cb(const struct batch *batch, void *arg);
typedef void scan_record_cb(const struct record *record, void *arg);

/* Read the segment `file`, whose header is `segment`. `last`: no other segment
 * follows it. */
enum verdict wal_scan_segment(const struct segment_header *segment,
                              struct bytes file, bool last, struct scan *scan,
                              scan_batch_cb *on_batch,
                              scan_record_cb *on_record, void *arg);

/* ---- wal.c, recover.c, segment.c, compact.c, meta.c, read.c, hint.c ---- */

/* A place in the log: the batch at `offset` of segment `seq`, whose first entry
 * is `index`. A search for an entry starts at the anchor before it. */
struct anchor {
    uint64_t index;
    uint64_t seq;
    uint64_t offset;
};

/* A segment on disk. */
struct segment {
    uint64_t seq;
    uint64_t bytes; /* Size of the file. */
    uint64_t first; /* It and those after it hold all entries from this index on
                       (after a BASE record: all entries after this index). */
};

/* A batch in memory. */
struct gathering {
    struct buf buf; /* Space for the header, then the records. */
    uint32_t records;
    uint64_t first; /* Index of its first entry that still holds; 0: none. */
    bool truncates; /* It has a TRUNCATE record. */
};

struct wal {
    struct wal_options options;
    const struct fs *fs;
    /* The segment that batches are written to. */
    char path[64]; /* For log lines. */
    int handle;    /* -1 when closed. */
    struct segment_header segment;
    uint64_t segment_size; /* Bytes. */
    uint64_t offset;       /* Place of the next batch; segment_size: sealed. */
    uint64_t opened_at;    /* `offset` as of wal_open(); 0: created later. */

    struct meta meta;
    int meta_handles[2]; /* Kept open, so that a vote needs no descriptor; -1:
                            not opened yet. */
    int meta_older;      /* Slot that is written first: the older one. */
    bool hard_due;       /* The hard state differs from that on disk. */
    uint64_t hard_term;
    uint64_t hard_vote;

    struct gathering batch; /* The next batch, being gathered. */

    /* The batch that is being written. Records that are gathered meanwhile may
     * truncate it; its `first` and `inflight_last` are lowered then. */
    bool in_flight; /* `write` was submitted, its result not yet handled. */
    struct fs_op write;
    struct gathering inflight;
    size_t inflight_bytes; /* Without the padding. */
    uint32_t inflight_chain;
    uint64_t inflight_last;      /* `synced` once it has completed. */
    uint64_t inflight_disk_last; /* `disk_last` once it has completed. */
    uint64_t inflight_us;        /* Time of its submission. */

    uint64_t batch_seq; /* Number of the batch in flight, else the next one. */
    uint32_t chain;     /* That of the last batch on disk. */
    uint64_t first;     /* wal_first(), wal_last(), wal_durable(). */
    uint64_t last;
    uint64_t synced;
    uint64_t disk_last;  /* Last index as of the last batch on disk. */
    uint64_t salt_count; /* Salts drawn from options.salt_seed so far. */

    struct segment *segments; /* Oldest first. */
    size_t segment_count;
    size_t segment_capacity;
    bool removal_due; /* One was removed; its directory is not yet synced. */

    struct anchor *anchors; /* Ascending by index. */
    size_t anchor_count;
    size_t anchor_capacity;
    bool anchor_wanted; /* The next batch with an entry gets one. */

    int spare;             /* Handle of wal/spare.tmp; -1: there is none. */
    uint64_t spare_filled; /* Bytes of zeros in it. */
    bool spare_renamed;    /* It has its final name, which is not synced. */
    enum err shortage;     /* Result of wal_shortage(). */
    struct reserve reserve;

    int hint_handle;     /* wal/HINT; -1: not open. */
    uint64_t hinted;     /* Number of the batch that was written there. */
    uint64_t hint_count; /* Writes to it, which alternate between two slots. */

    /* read.c: the batch that was read last, and its segment. */
    int read_handle; /* -1: not open. */
    uint64_t read_seq;
    struct segment_header read_segment;
    uint64_t read_size; /* Bytes of the segment's file. */
    struct buf read_buf;
    uint64_t read_offset;    /* Place of the batch in its segment. */
    uint64_t read_end;       /* Offset of the batch after it. */
    uint64_t read_next;      /* Index expected at read_at; 0: none. */
    size_t read_at;          /* Offset in read_buf of the next record. */
    size_t read_payload_end; /* Offset in read_buf of the end of the records. */
    bool read_truncates;     /* The batch has a TRUNCATE record. */

    struct wal_stats stats;
    struct histogram sync_us;
};

void wal_segment_path(uint64_t seq, char path[64]);
/* The clock of the options; 0 without one. */
uint64_t wal_now_us(const struct wal *wal);
/* Count a sync that began at `start_us` in the statistics. */
void wal_count_sync(struct wal *wal, uint64_t start_us);
/* Sync a file and count that. Failure die()s, with `path` in the sentence. */
void wal_fdatasync(struct wal *wal, int handle, const char *path);
/* Seal the current segment, and start a new one that has space for a batch of
 * `batch_bytes`. ERR_NOSPACE, ERR_RESOURCES: call it again later; a seal that
 * was written is not written again. */
MUST_CHECK enum err wal_segment_next(struct wal *wal, uint64_t batch_bytes);
MUST_CHECK enum err wal_meta_load(struct wal *wal);
MUST_CHECK enum err wal_meta_save(struct wal *wal, const struct meta *meta);
MUST_CHECK enum err wal_meta_remove(const struct fs *fs);
/* Add an anchor, unless the last one is near. Without `force` and
 * anchor_wanted, near is ANCHOR_BYTES in the same segment. */
void wal_anchor_add(struct wal *wal, uint64_t index, uint64_t seq,
                    uint64_t offset, bool force);
/* Remove the anchors of entries from `from` on. */
void wal_anchor_cut(struct wal *wal, uint64_t from);
void wal_segment_add(struct wal *wal, uint64_t seq, uint64_t bytes,
                     uint64_t first);
MUST_CHECK enum err wal_recover(struct wal *wal, wal_entry_cb *cb, void *arg);
/* Forget the position of sequential reads. */
void wal_read_forget(struct wal *wal);
/* Number of the batch that is durable according to wal/HINT; 0: unknown. */
MUST_CHECK enum err wal_hint_load(struct wal *wal, uint64_t *batch_seq);

#endif
