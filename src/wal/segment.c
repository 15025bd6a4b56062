/* segment.c -- making segments, and going from one to the next:
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
        /* The kernel may have dropped the pages: a second try that succeeds
         * would prove nothing. */
        die("%s: fdatasync failed, what was written is in doubt", path);
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

/* Zeros up to `size`, one slice; true when there is nothing more to do. */
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

bool wal_prepare(struct wal *wal)
{
    uint64_t from = max_u64(wal->opened_at, wal->segment_size / 4);
    bool done = has_spare(wal);
    enum err err = ERR_OK;
    if (done || wal->offset < wal->segment_size / 4) {
        wal->shortage = ERR_OK;
        return false;
    }
    do {
        err = spare_fill(wal, wal->options.segment_bytes, &done);
    } while (!err && !done && wal->spare_filled < 4 * (wal->offset - from));
    /* Any other failure shows when the segment is needed. */
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

/* Whole segments that are there or can be made in the space of the reserve,
 * each with a header and a seal. */
uint64_t wal_room(const struct wal *wal)
{
    uint64_t segment = wal->options.segment_bytes;
    uint64_t kept = wal->reserve.held ? wal->reserve.size_bytes : 0;
    uint64_t spare = wal->spare >= 0 ? wal->spare_filled : 0;
    uint64_t next = (spare + kept) / segment * segment;
    uint64_t here = wal->segment_size - min_u64(wal->offset, wal->segment_size);
    uint64_t overhead = (uint64_t)2 * BLOCK_BYTES;
    return (here > overhead ? here - overhead : 0) +
           (next > overhead ? next - overhead : 0);
}

/* Accepted entries go into the reserved space. */
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
    if (!wal->spare_renamed) { /* By a try that found no space after it. */
        err = wal->fs->rename(wal->fs->self, spare_path, path);
    }
    if (!err) {
        wal->spare_renamed = true;
        err = wal->fs->sync_dir(wal->fs->self, "wal");
    }
    if (err && !err_is_shortage(err)) {
        die("%s cannot be put in place", path);
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
    wal->segment_size = max_u64(size, wal->spare_filled);
    wal->stats.log_bytes += wal->segment_size;
    wal_segment_add(wal, header.seq, wal->segment_size, header.next_index);
    wal->offset = BLOCK_BYTES;
    wal->opened_at = 0;
    wal->anchor_wanted = true;
    return ERR_OK;
}

/* The last batch of a segment says that it is complete. */
static enum err seal(struct wal *wal)
{
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
    enum err err = wal->fs->write(wal->fs->self, wal->handle, wal->offset,
                                  out.data, out.size);
    if (!err) {
        wal_fdatasync(wal, wal->handle, wal->path);
        wal->batch_seq++;
        wal->chain = batch.chain;
        wal->offset = wal->segment_size; /* Nothing more goes in here. */
    } else if (!err_is_shortage(err)) {
        die("%s cannot be written", wal->path);
    }
    buf_free(&out);
    return err;
}

enum err wal_segment_next(struct wal *wal, uint64_t batch_bytes)
{
    /* Its batch might not be durable, and the seal would say that it was. */
    must(!wal->in_flight);
    /* Room for the header, the batch, and a seal behind it. */
    uint64_t size =
        align_up(batch_bytes, BLOCK_BYTES) + (uint64_t)2 * BLOCK_BYTES;
    size = max_u64(size, wal->options.segment_bytes);
    enum err err = ERR_OK;
    if (wal->handle >= 0 && wal->offset < wal->segment_size) {
        err = seal(wal);
    }
    return err ? err : use_spare(wal, size);
}
