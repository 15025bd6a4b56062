/* wal_internal.h -- the format to the byte; what the files here share.
 *
 * All integers little-endian. BLOCK is 4096 bytes.
 *
 * Meta slot, one block:
 *     magic[8] "CRFTMETA" | u32 crc of what follows | u32 format = 1 |
 *     u64 version | u64 term | u64 vote | u64 incarnation | uuid[16] | zeros
 * Segment header, one block:
 *     magic[8] "CRFTWAL1" | u32 crc of what follows | u32 format = 1 |
 *     u64 features = 0 | u64 seq | u64 batch_seq (of the first batch) |
 *     u64 next_index | u64 salt | u32 chain (of the batch before) | u32 0 |
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
 * Kinds: ENTRY; TRUNCATE (index and all after are gone); SEAL (the segment is
 * complete, the next one goes on); BASE (all before is void: a snapshot holds
 * everything up to this index and term).
 *
 * The salt is random per segment: what an earlier life of a disk block left
 * there cannot pass for a batch. The offset unmasks a block that was written
 * to the wrong place. The chain ties each batch to the one before. */
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

struct meta {
    uint64_t version;
    uint64_t term;
    uint64_t vote;
    uint64_t incarnation;
    uint8_t uuid[16];
};

struct segment_header {
    uint64_t seq;
    uint64_t batch_seq;
    uint64_t next_index;
    uint64_t salt;
    uint32_t chain;
    uint8_t cluster[16];
    uint8_t uuid[16];
};

struct batch {
    uint64_t batch_seq;
    uint64_t durable_seq;
    uint64_t offset;
    uint64_t incarnation;
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
/* Fill the header of the batch whose payload follows it at `data`. */
void wal_batch_seal(uint8_t *data, const struct segment_header *segment,
                    struct batch *batch, uint32_t chain_before);
/* ERR_CORRUPT unless header and payload at `offset` hold. */
MUST_CHECK enum err wal_batch_decode(const struct segment_header *segment,
                                     struct bytes file, uint64_t offset,
                                     struct batch *batch);
void wal_record_add(struct buf *out, const struct record *record);
/* ERR_NOT_FOUND at the end of the payload. */
MUST_CHECK enum err wal_record_next(struct cursor *payload,
                                    struct record *record);

/* ---- scan.c: the recovery rules over one segment, pure ---- */

enum verdict {
    VERDICT_CLEAN,   /* Good batches, then zeros. */
    VERDICT_SEALED,  /* Complete; a next segment follows. */
    VERDICT_TORN,    /* `offset`: a batch that was never acknowledged. */
    VERDICT_CORRUPT, /* `offset`: damage in acknowledged data; `why` says which.
                      */
};

struct scan {
    /* In: where the log stands; moved on by each good batch. */
    uint64_t batch_seq; /* Expected next. */
    uint32_t chain;
    uint64_t index; /* Last entry. */
    uint64_t term;  /* Its term. */
    uint64_t hint;  /* A batch that is known to have been synced; 0 = none. */
    /* Out. */
    uint64_t offset;   /* Where the next batch goes, or where trouble begins. */
    uint64_t torn_end; /* VERDICT_TORN: end of what is not zero. */
    const char *why;
};

/* Called for each good batch in order, its records after. */
typedef void scan_batch_cb(const struct batch *batch, void *arg);
typedef void scan_record_cb(const struct record *record, void *arg);

enum verdict wal_scan_segment(const struct segment_header *segment,
                              struct bytes file, bool last, struct scan *scan,
                              scan_batch_cb *on_batch,
                              scan_record_cb *on_record, void *arg);

/* ---- wal.c, recover.c, segment.c, compact.c, meta.c, read.c, hint.c ---- */

/* Where to begin to look for an entry: the batch that holds `index`. */
struct anchor {
    uint64_t index;
    uint64_t seq;
    uint64_t offset;
};

/* A segment that is still there. */
struct segment {
    uint64_t seq;
    uint64_t bytes;
    uint64_t first; /* It and those after it hold all entries from here on
                       (after a BASE record: all behind here). */
};

/* Records on their way into a batch. */
struct gathering {
    struct buf buf; /* Header room and records. */
    uint32_t records;
    uint64_t first; /* Index of its first entry after any truncation. */
    bool truncates;
};

struct wal {
    struct wal_options options;
    const struct fs *fs;
    char path[64]; /* The segment being written, for messages, ... */
    int handle;    /* ... and its handle; -1 when closed. */
    struct segment_header segment;
    uint64_t segment_size;
    uint64_t offset;    /* Where the next batch goes. */
    uint64_t opened_at; /* Where that was at the start of the process; 0: the
                           segment is newer. */

    struct meta meta;
    int meta_handles[2]; /* Stay open: a vote needs no descriptor. -1: not
                            opened yet. */
    int meta_older;      /* Slot to be written first. */
    bool hard_due;
    uint64_t hard_term;
    uint64_t hard_vote;

    struct gathering batch; /* The next one. */

    /* The batch that is being written. Records that are gathered meanwhile may
     * truncate it: its `first` and `inflight_last` are what is left of it. */
    bool in_flight; /* `write` was submitted, its result not yet handled. */
    struct fs_op write;
    struct gathering inflight;
    size_t inflight_bytes; /* Without the padding. */
    uint32_t inflight_chain;
    uint64_t inflight_last;      /* Durable with it, and still in the log. */
    uint64_t inflight_disk_last; /* Last index on disk with it. */
    uint64_t inflight_us;        /* When it was submitted. */

    uint64_t batch_seq; /* Number of the batch in flight, else the next one. */
    uint32_t chain;
    uint64_t first;
    uint64_t last;
    uint64_t synced;    /* Last index that is durable and still holds. */
    uint64_t disk_last; /* Last index as of the last batch on disk. */
    uint64_t salt_count;

    struct segment *segments; /* Oldest first. */
    size_t segment_count;
    size_t segment_capacity;
    bool removal_due; /* One was removed, and its directory not yet synced. */

    struct anchor *anchors; /* Ascending by index. */
    size_t anchor_count;
    size_t anchor_capacity;
    bool anchor_wanted;

    int spare; /* Handle of wal/spare.tmp, -1 when none. */
    uint64_t spare_filled;
    bool spare_renamed; /* It has its final name already. */
    enum err shortage;  /* Why it could not be made; ERR_OK: it could. */
    struct reserve reserve;

    int hint_handle; /* wal/HINT; -1 when not open. */
    uint64_t hinted; /* The batch it names. */
    uint64_t hint_count;

    /* read.c: the batch that was read last. */
    int read_handle;
    uint64_t read_seq;
    struct segment_header read_segment;
    uint64_t read_size;
    struct buf read_buf;
    uint64_t read_offset;
    uint64_t read_end;
    uint64_t read_next; /* Index expected at read_at; 0 = none cached. */
    size_t read_at;     /* Offset in read_buf of the next record. */
    size_t read_payload_end;
    bool read_truncates; /* A truncation was seen in the batch. */

    struct wal_stats stats;
    struct histogram sync_us;
};

void wal_segment_path(uint64_t seq, char path[64]);
uint64_t wal_now_us(const struct wal *wal);
void wal_count_sync(struct wal *wal, uint64_t start_us);
/* fdatasync with its time; a failure die()s. */
void wal_fdatasync(struct wal *wal, int handle, const char *path);
/* Begin a new segment of at least `batch_bytes` room. */
MUST_CHECK enum err wal_segment_next(struct wal *wal, uint64_t batch_bytes);
MUST_CHECK enum err wal_meta_load(struct wal *wal);
MUST_CHECK enum err wal_meta_save(struct wal *wal, const struct meta *meta);
MUST_CHECK enum err wal_meta_remove(const struct fs *fs);
void wal_anchor_add(struct wal *wal, uint64_t index, uint64_t seq,
                    uint64_t offset, bool force);
void wal_anchor_cut(struct wal *wal, uint64_t from);
void wal_segment_add(struct wal *wal, uint64_t seq, uint64_t bytes,
                     uint64_t first);
MUST_CHECK enum err wal_recover(struct wal *wal, wal_entry_cb *cb, void *arg);
void wal_read_forget(struct wal *wal);
/* The batch that wal/HINT proves to be durable; 0 when it proves nothing. */
MUST_CHECK enum err wal_hint_load(struct wal *wal, uint64_t *batch_seq);

#endif
