/* segment.c -- prepares segments, and changes from one to the next:
 * seal (synced) -> header into the zero-filled spare (synced) -> rename ->
 * directory synced -> first use. */
#include <stdio.h>

#include "base/log.h"
#include "base/rng.h"
#include "wal/wal_internal.h"

static const char spare_path[] = "wal/spare.tmp";

void wal_segment_path(uint64_t seq, char path[64])
{
    snprintf(path, 64, "wal/%016llx.wal", (unsigned long long)seq);
}

void wal_segment_add(struct wal *wal, uint64_t seq, uint64_t bytes,
                     uint64_t first)
{
    if (wal->segment_count == wal->segment_capacity) {
        wal->segment_capacity =
            wal->segment_capacity ? wal->segment_capacity * 2 : 16;
        wal->segments = mem_realloc(wal->segments, wal->segment_capacity *
                                                       sizeof(*wal->segments));
    }
    wal->segments[wal->segment_count++] =
        (struct segment){.seq = seq, .bytes = bytes, .first = first};
}

uint64_t wal_now_us(const struct wal *wal)
{
    return wal->options.now_us ? wal->options.now_us(wal->options.now_us_arg)
                               : 0;
}

void wal_fdatasync(struct wal *wal, int handle, const char *path)
{
    uint64_t start_us = wal_now_us(wal);
    if (wal->fs->fdatasync(wal->fs->self, handle) != ERR_OK) {
        /* The kernel may have dropped the pages, so that a second sync succeeds
         * without having written them. */
        die("%s: fdatasync failed: data that was written is in doubt", path);
    }
    wal_count_sync(wal, start_us);
}

void wal_count_sync(struct wal *wal, uint64_t start_us)
{
    uint64_t us = wal_now_us(wal) - start_us;
    wal->stats.syncs++;
    wal->stats.sync_us_total += us;
    wal->stats.sync_us_max = max_u64(wal->stats.sync_us_max, us);
    if (wal->options.now_us) {
        histogram_add(&wal->sync_us, us);
    }
}

/* Writes one slice of zeros to the spare. *done: it has `size` bytes. */
static enum err spare_fill(struct wal *wal, uint64_t size, bool *done)
{
    *done = false;
    if (wal->spare < 0) {
        enum err err =
            wal->fs->open(wal->fs->self, spare_path, FS_CREATE, &wal->spare);
        if (err) {
            wal->spare = -1;
            return err;
        }
        wal->spare_filled = 0;
    }
    if (wal->spare_filled < size) {
        uint64_t slice = min_u64(FS_ZEROS_BYTES, size - wal->spare_filled);
        enum err err =
            fs_write_zeros(wal->fs, wal->spare, wal->spare_filled, slice);
        if (err) {
            return err;
        }
        wal->spare_filled += slice;
        wal->stats.written_bytes += slice;
    }
    *done = wal->spare_filled >= size;
    return ERR_OK;
}

static bool has_spare(const struct wal *wal)
{
    return wal->spare >= 0 && wal->spare_filled >= wal->options.segment_bytes;
}

/* Offset in the current segment from which on the next one is prepared. */
static uint64_t prepare_from(const struct wal *wal)
{
    return max_u64(wal->opened_at, wal->segment_size / 4);
}

bool wal_prepare_is_due(const struct wal *wal)
{
    uint64_t from = prepare_from(wal);
    uint64_t filled = wal->spare >= 0 ? wal->spare_filled : 0;
    return wal->shortage || wal->offset < from || has_spare(wal) ||
           filled <= 4 * (wal->offset - from);
}

bool wal_prepare(struct wal *wal)
{
    uint64_t from = prepare_from(wal);
    bool done = has_spare(wal);
    enum err err = ERR_OK;
    if (done || wal->offset < wal->segment_size / 4) {
        wal->shortage = ERR_OK;
        return false;
    }
    do {
        err = spare_fill(wal, wal->options.segment_bytes, &done);
    } while (!err && !done && wal->spare_filled < 4 * (wal->offset - from));
    /* Any other failure is reported when the segment is needed. */
    wal->shortage = err_is_shortage(err) ? err : ERR_OK;
    return err == ERR_OK && !done;
}

enum err wal_shortage(const struct wal *wal)
{
    return wal->shortage;
}

bool wal_prepare_reserve(struct wal *wal)
{
    return reserve_prepare(&wal->reserve);
}

enum err wal_reserve_shortage(const struct wal *wal)
{
    return wal->reserve.shortage;
}

bool wal_release_reserve(struct wal *wal)
{
    return wal->reserve.filled > 0 && reserve_release(&wal->reserve);
}

/* The rest of the segment, without one header and one seal. */
static uint64_t room_in(uint64_t bytes)
{
    uint64_t overhead = (uint64_t)2 * BLOCK_BYTES;
    return bytes > overhead ? bytes - overhead : 0;
}

uint64_t wal_segment_room(const struct wal *wal)
{
    return room_in(wal->segment_size - min_u64(wal->offset, wal->segment_size));
}

/* Counts whole segments, in the spare and the reserve together. */
uint64_t wal_room(const struct wal *wal)
{
    uint64_t segment = wal->options.segment_bytes;
    uint64_t kept = wal->reserve.held ? wal->reserve.size_bytes : 0;
    uint64_t spare = wal->spare >= 0 ? wal->spare_filled : 0;
    uint64_t next = (spare + kept) / segment * segment;
    return wal_segment_room(wal) + room_in(next);
}

/* Fills the spare; the space of the reserve is used if the disk is full. */
static enum err fill_or_release(struct wal *wal, uint64_t size, bool *done)
{
    enum err err = spare_fill(wal, size, done);
    return err == ERR_NOSPACE && wal_release_reserve(wal)
               ? spare_fill(wal, size, done)
               : err;
}

static enum err use_spare(struct wal *wal, uint64_t size)
{
    bool done = false;
    while (!done) {
        enum err err = fill_or_release(wal, size, &done);
        if (err) {
            return err;
        }
    }
    must(wal->spare >= 0 && wal->spare_filled >= size);
    uint8_t block[BLOCK_BYTES];
    struct segment_header header = {
        .seq = wal->segment.seq + 1,
        .batch_seq = wal->batch_seq,
        .next_index = wal->disk_last + 1,
        .salt = mix_u64(wal->options.salt_seed + ++wal->salt_count),
        .chain = wal->chain,
    };
    memcpy(header.cluster, wal->options.cluster, sizeof(header.cluster));
    memcpy(header.uuid, wal->options.uuid, sizeof(header.uuid));
    wal_segment_encode(&header, block);
    char path[64];
    wal_segment_path(header.seq, path);
    enum err err =
        wal->fs->write(wal->fs->self, wal->spare, 0, block, sizeof(block));
    if (err) {
        return err;
    }
    wal_fdatasync(wal, wal->spare, spare_path);
    if (!wal->spare_renamed) { /* An earlier attempt may have done it. */
        err = wal->fs->rename(wal->fs->self, spare_path, path);
    }
    if (!err) {
        wal->spare_renamed = true;
        err = wal->fs->sync_dir(wal->fs->self, "wal");
    }
    if (err && !err_is_shortage(err)) {
        die("%s: the new segment cannot be renamed or its name synced: %s",
            path, err_name(err));
    }
    if (err) {
        return err;
    }
    if (wal->handle >= 0) {
        wal->fs->close(wal->fs->self, wal->handle);
    }
    wal->handle = wal->spare;
    wal->spare = -1;
    wal->spare_renamed = false;
    memcpy(wal->path, path, sizeof(wal->path));
    wal->segment = header;
    wal->segment_size = wal->spare_filled;
    must(wal->segment_size % BLOCK_BYTES == 0);
    wal->stats.log_bytes += wal->segment_size;
    wal_segment_add(wal, header.seq, wal->segment_size, header.next_index);
    wal->offset = BLOCK_BYTES;
    wal->opened_at = 0;
    wal->anchor_wanted = true;
    return ERR_OK;
}

/* Writes the SEAL record, in a batch of its own: the segment is complete. */
static enum err seal(struct wal *wal)
{
    must(wal->offset + BLOCK_BYTES <= wal->segment_size);
    struct buf out = {0};
    buf_reserve(&out, BATCH_HEADER_BYTES);
    out.size = BATCH_HEADER_BYTES;
    wal_record_add(&out, &(struct record){.kind = RECORD_SEAL});
    struct batch batch = {
        .batch_seq = wal->batch_seq,
        .durable_seq = wal->batch_seq - 1,
        .offset = wal->offset,
        .incarnation = wal->meta.incarnation,
        .record_count = 1,
        .payload = bytes_of(out.data + BATCH_HEADER_BYTES,
                            out.size - BATCH_HEADER_BYTES),
    };
    wal_batch_seal(out.data, &wal->segment, &batch, wal->chain);
    must(out.size <= BLOCK_BYTES);
    enum err err = wal->fs->write(wal->fs->self, wal->handle, wal->offset,
                                  out.data, out.size);
    if (!err) {
        wal_fdatasync(wal, wal->handle, wal->path);
        wal->batch_seq++;
        wal->chain = batch.chain;
        wal->offset = wal->segment_size; /* No batch goes into it any more. */
    } else if (!err_is_shortage(err)) {
        die("%s: the seal was not written: %s", wal->path, err_name(err));
    }
    buf_free(&out);
    return err;
}

enum err wal_segment_next(struct wal *wal, uint64_t batch_bytes)
{
    /* The seal states that every batch before it is durable. */
    must(!wal->in_flight);
    /* Space for the header, the batch, and the seal after it. */
    uint64_t size =
        align_up(batch_bytes, BLOCK_BYTES) + (uint64_t)2 * BLOCK_BYTES;
    size = max_u64(size, wal->options.segment_bytes);
    enum err err = ERR_OK;
    if (wal->handle >= 0 && wal->offset < wal->segment_size) {
        err = seal(wal);
    }
    return err ? err : use_spare(wal, size);
}
