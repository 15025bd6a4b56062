/* wal.c -- create, open, gather, sync. */
#include "wal/wal.h"

#include "base/log.h"
#include "wal/wal_internal.h"

static struct wal *wal_new(const struct wal_options *options)
{
    struct wal *wal = mem_zalloc(sizeof(*wal));
    wal->options = *options;
    wal->fs = options->fs;
    if (wal->options.segment_bytes == 0) {
        wal->options.segment_bytes = SEGMENT_BYTES_DEFAULT;
    }
    must(wal->options.segment_bytes % BLOCK_BYTES == 0);
    wal->handle = -1;
    wal->spare = -1;
    wal->read_handle = -1;
    wal->hint_handle = -1;
    histogram_init_latency(&wal->sync_us);
    return wal;
}

void wal_close(struct wal *wal)
{
    if (!wal) {
        return;
    }
    const int handles[] = {wal->handle, wal->spare, wal->read_handle,
                           wal->hint_handle};
    for (size_t i = 0; i < ARRAY_COUNT(handles); i++) {
        if (handles[i] >= 0) {
            wal->fs->close(wal->fs->self, handles[i]);
        }
    }
    buf_free(&wal->batch);
    buf_free(&wal->read_buf);
    mem_free(wal->anchors);
    mem_free(wal->segments);
    mem_free(wal);
}

enum err wal_create(const struct wal_options *options)
{
    struct wal *wal = wal_new(options);
    struct meta meta = {0};
    memcpy(meta.uuid, options->uuid, sizeof(meta.uuid));
    wal->batch_seq = 1;
    enum err err = wal->fs->mkdir(wal->fs->self, "wal");
    if (!err) {
        err = meta_save(wal, &meta);
    }
    if (!err) {
        err = segment_next(wal, 0);
    }
    if (!err) {
        err = wal->fs->sync_dir(wal->fs->self, ".");
    }
    wal_close(wal);
    return err;
}

enum err wal_remove(const struct fs *fs)
{
    enum err err = meta_remove(fs);
    if (!err) {
        err = fs_empty(fs, "wal");
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void batch_begin(struct wal *wal)
{
    wal->batch.size = 0;
    buf_reserve(&wal->batch, BATCH_HEADER_BYTES);
    wal->batch.size = BATCH_HEADER_BYTES;
    wal->batch_records = 0;
    wal->batch_first = 0;
    wal->batch_truncates = false;
}

enum err wal_open(const struct wal_options *options, wal_entry_cb *cb,
                  void *arg, struct wal **out)
{
    struct wal *wal = wal_new(options);
    enum err err = meta_load(wal);
    if (!err) {
        err = wal_recover(wal, cb, arg);
    }
    if (!err) {
        struct meta meta = wal->meta;
        meta.incarnation++;
        err = meta_save(wal, &meta);
    }
    if (err) {
        wal_close(wal);
        return err;
    }
    wal->hard_term = wal->meta.term;
    wal->hard_vote = wal->meta.vote;
    batch_begin(wal);
    *out = wal;
    return ERR_OK;
}

/* ---- gather ----------------------------------------------------------------
 */

void wal_set_hard_state(struct wal *wal, uint64_t term, uint64_t vote)
{
    must(term >= wal->hard_term);
    wal->hard_term = term;
    wal->hard_vote = vote;
    wal->hard_due = term != wal->meta.term || vote != wal->meta.vote;
}

void wal_truncate(struct wal *wal, uint64_t from)
{
    must(from >= wal->first && from <= wal->last);
    record_add(&wal->batch,
               &(struct record){.kind = RECORD_TRUNCATE, .index = from});
    wal->batch_records++;
    wal->batch_truncates = true;
    if (wal->batch_first >= from) {
        wal->batch_first = 0;
    }
    wal->last = from - 1;
    wal->synced = min_u64(wal->synced, from - 1);
    anchor_cut(wal, from);
    read_forget(wal);
}

void wal_append(struct wal *wal, const struct wal_entry *entry)
{
    must(entry->index == wal->last + 1);
    record_add(&wal->batch, &(struct record){.kind = RECORD_ENTRY,
                                             .entry_type = entry->type,
                                             .index = entry->index,
                                             .term = entry->term,
                                             .body = entry->payload});
    wal->batch_records++;
    wal->last = entry->index;
    if (wal->batch_first == 0) {
        wal->batch_first = entry->index;
    }
}

/* ---- sync -------------------------------------------------------------------
 */

static enum err write_batch(struct wal *wal)
{
    struct batch batch = {
        .batch_seq = wal->batch_seq,
        .durable_seq = wal->batch_seq - 1,
        .offset = wal->offset,
        .incarnation = wal->meta.incarnation,
        .record_count = wal->batch_records,
        .payload = bytes_of(wal->batch.data + BATCH_HEADER_BYTES,
                            wal->batch.size - BATCH_HEADER_BYTES),
    };
    must(batch.payload.size <= UINT32_MAX);
    batch_seal(wal->batch.data, &wal->segment, &batch, wal->chain);
    /* Zeros are there already, except where a write that failed for lack of
     * space left its beginning: padding covers that within the last block. */
    size_t size = wal->batch.size;
    size_t padded = align_up(size, BLOCK_BYTES);
    memset(buf_reserve(&wal->batch, padded - size), 0, padded - size);
    enum err err = wal->fs->write(wal->fs->self, wal->handle, wal->offset,
                                  wal->batch.data, padded);
    if (err == ERR_NOSPACE) {
        return err;
    }
    if (err) {
        die("%s at %llu: write failed", wal->path,
            (unsigned long long)wal->offset);
    }
    wal_fdatasync(wal, wal->handle, wal->path);
    wal->stats.written_bytes += padded;
    wal->stats.batches++;
    wal->chain = batch.chain;
    return ERR_OK;
}

enum err wal_sync(struct wal *wal)
{
    if (wal->hard_due) {
        struct meta meta = wal->meta;
        meta.term = wal->hard_term;
        meta.vote = wal->hard_vote;
        enum err err = meta_save(wal, &meta);
        if (err) {
            return err;
        }
        wal->hard_due = false;
    }
    if (wal->batch_records == 0) {
        return ERR_OK;
    }
    uint64_t bytes = align_up(wal->batch.size, BLOCK_BYTES);
    /* A block is always left for the seal. */
    if (wal->offset + bytes + BLOCK_BYTES > wal->segment_size) {
        enum err err = segment_next(wal, bytes);
        if (err && err != ERR_NOSPACE) {
            die("the log cannot go on after %s: %s", wal->path, err_name(err));
        }
        if (err) {
            return err;
        }
    }
    enum err err = write_batch(wal);
    if (err) {
        return err;
    }
    if (wal->batch_first > 0) {
        anchor_add(wal, wal->batch_first, wal->segment.seq, wal->offset,
                   wal->batch_truncates);
        /* It may end with a truncation: then what follows is there twice. */
        wal->anchor_wanted = wal->batch_truncates;
    }
    wal->offset += bytes;
    wal->batch_seq++;
    wal->synced = wal->last;
    wal->disk_last = wal->last;
    batch_begin(wal);
    if (wal->batch.capacity > (1 << 20)) {
        buf_free(&wal->batch);
        batch_begin(wal);
    }
    return ERR_OK;
}

/* ---- looking
 * ------------------------------------------------------------------ */

uint64_t wal_term(const struct wal *wal)
{
    return wal->hard_term;
}

uint64_t wal_vote(const struct wal *wal)
{
    return wal->hard_vote;
}

uint64_t wal_incarnation(const struct wal *wal)
{
    return wal->meta.incarnation;
}

uint64_t wal_first(const struct wal *wal)
{
    return wal->first;
}

uint64_t wal_last(const struct wal *wal)
{
    return wal->last;
}

void wal_get_stats(const struct wal *wal, struct wal_stats *stats)
{
    *stats = wal->stats;
}

const struct histogram *wal_sync_times(const struct wal *wal)
{
    return &wal->sync_us;
}
