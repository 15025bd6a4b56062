/* wal.c -- creates and opens the log, gathers records, writes batches. */
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
    reserve_init(&wal->reserve, wal->fs, "wal/reserve.tmp",
                 options->keeps_reserve ? wal->options.segment_bytes * 3 / 2
                                        : 0);
    wal->handle = -1;
    wal->meta_handles[0] = -1;
    wal->meta_handles[1] = -1;
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
    enum err ignored;
    bool finished = wal_finished(wal, true, &ignored);
    must(finished); /* The write used the handle and the buffer. */
    const int handles[] = {wal->handle,          wal->spare,
                           wal->read_handle,     wal->hint_handle,
                           wal->meta_handles[0], wal->meta_handles[1]};
    for (size_t i = 0; i < ARRAY_COUNT(handles); i++) {
        if (handles[i] >= 0) {
            wal->fs->close(wal->fs->self, handles[i]);
        }
    }
    reserve_close(&wal->reserve);
    buf_free(&wal->batch.buf);
    buf_free(&wal->inflight.buf);
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
        err = wal_meta_save(wal, &meta);
    }
    if (!err) {
        err = wal_segment_next(wal, 0);
    }
    if (!err) {
        err = wal->fs->sync_dir(wal->fs->self, ".");
    }
    wal_close(wal);
    return err;
}

enum err wal_remove(const struct fs *fs)
{
    enum err err = wal_meta_remove(fs);
    if (!err) {
        err = fs_empty(fs, "wal");
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Empties `batch`, and returns the memory of an exceptionally large one. */
static void gathering_begin(struct gathering *batch)
{
    if (batch->buf.capacity > (1 << 20)) {
        buf_free(&batch->buf);
    }
    batch->buf.size = 0;
    buf_reserve(&batch->buf, BATCH_HEADER_BYTES);
    batch->buf.size = BATCH_HEADER_BYTES;
    batch->records = 0;
    batch->first = 0;
    batch->truncates = false;
}

enum err wal_open(const struct wal_options *options, wal_entry_cb *cb,
                  void *arg, struct wal **out)
{
    struct wal *wal = wal_new(options);
    enum err err = wal_meta_load(wal);
    if (!err) {
        err = wal_recover(wal, cb, arg);
    }
    if (!err) {
        struct meta meta = wal->meta;
        meta.incarnation++;
        err = wal_meta_save(wal, &meta);
    }
    if (err) {
        wal_close(wal);
        return err;
    }
    must(wal->first <= wal->last + 1 && wal->synced == wal->last);
    wal->hard_term = wal->meta.term;
    wal->hard_vote = wal->meta.vote;
    gathering_begin(&wal->batch);
    gathering_begin(&wal->inflight);
    *out = wal;
    return ERR_OK;
}

/* ---- gather ---- */

void wal_set_hard_state(struct wal *wal, uint64_t term, uint64_t vote)
{
    must(term >= wal->hard_term);
    /* A node votes once per term (thesis 3.4). */
    must(term > wal->hard_term || wal->hard_vote == 0 ||
         vote == wal->hard_vote);
    wal->hard_term = term;
    wal->hard_vote = vote;
    wal->hard_due = term != wal->meta.term || vote != wal->meta.vote;
}

static void forget_from(struct gathering *batch, uint64_t from)
{
    if (batch->first >= from) {
        batch->first = 0;
    }
}

void wal_truncate(struct wal *wal, uint64_t from)
{
    must(from >= wal->first && from <= wal->last);
    wal_record_add(&wal->batch.buf,
                   &(struct record){.kind = RECORD_TRUNCATE, .index = from});
    wal->batch.records++;
    wal->batch.truncates = true;
    forget_from(&wal->batch, from);
    wal->last = from - 1;
    wal->synced = min_u64(wal->synced, from - 1);
    /* An entry with the same index, and even with the same term, may be
     * appended next: the batch in flight must not make that count as
     * durable. */
    forget_from(&wal->inflight, from);
    wal->inflight_last = min_u64(wal->inflight_last, from - 1);
    wal_anchor_cut(wal, from);
    wal_read_forget(wal);
}

void wal_append(struct wal *wal, const struct wal_entry *entry)
{
    must(entry->index == wal->last + 1);
    must(entry->type != WAL_ENTRY_BASE);
    wal_record_add(&wal->batch.buf, &(struct record){.kind = RECORD_ENTRY,
                                                     .entry_type = entry->type,
                                                     .index = entry->index,
                                                     .term = entry->term,
                                                     .body = entry->payload});
    wal->batch.records++;
    wal->last = entry->index;
    if (wal->batch.first == 0) {
        wal->batch.first = entry->index;
    }
}

/* ---- sync ---- */

/* Turns the gathered records into the batch in flight. They are not copied: the
 * two buffers change places. */
static void seal_batch(struct wal *wal)
{
    must(!wal->in_flight && wal->inflight.records == 0);
    struct gathering sealed = wal->batch;
    wal->batch = wal->inflight;
    wal->inflight = sealed;
    struct buf *buf = &wal->inflight.buf;
    struct batch batch = {
        .batch_seq = wal->batch_seq,
        .durable_seq = wal->batch_seq - 1,
        .offset = wal->offset,
        .incarnation = wal->meta.incarnation,
        .record_count = wal->inflight.records,
        .payload = bytes_of(buf->data + BATCH_HEADER_BYTES,
                            buf->size - BATCH_HEADER_BYTES),
    };
    must(batch.payload.size <= UINT32_MAX);
    wal_batch_seal(buf->data, &wal->segment, &batch, wal->chain);
    /* The segment is full of zeros, except where a write that failed for lack
     * of space left a part of its batch: the padding covers the last block of
     * it. */
    wal->inflight_bytes = buf->size;
    size_t padding = align_up(buf->size, BLOCK_BYTES) - buf->size;
    memset(buf_reserve(buf, padding), 0, padding);
    buf->size += padding;
    wal->inflight_chain = batch.chain;
    wal->inflight_last = wal->last;
    wal->inflight_disk_last = wal->last;
    must(wal->offset + buf->size + BLOCK_BYTES <= wal->segment_size);
}

/* After a write that failed: its records are the next batch again, followed by
 * those that were gathered meanwhile. */
static void unseal_batch(struct wal *wal)
{
    struct gathering *inflight = &wal->inflight;
    const struct gathering *later = &wal->batch;
    must(inflight->records > 0 && later->buf.size >= BATCH_HEADER_BYTES);
    must(wal->inflight_bytes <= inflight->buf.size);
    inflight->buf.size = wal->inflight_bytes;
    buf_add(&inflight->buf, later->buf.data + BATCH_HEADER_BYTES,
            later->buf.size - BATCH_HEADER_BYTES);
    inflight->records += later->records;
    inflight->first = inflight->first > 0 ? inflight->first : later->first;
    inflight->truncates = inflight->truncates || later->truncates;
    struct gathering whole = *inflight;
    wal->inflight = wal->batch;
    wal->batch = whole;
    gathering_begin(&wal->inflight);
}

static void complete_batch(struct wal *wal)
{
    const struct gathering *inflight = &wal->inflight;
    must(inflight->records > 0);
    must(inflight->buf.size % BLOCK_BYTES == 0);
    must(inflight->first <= wal->inflight_last);
    must(wal->inflight_last <= wal->last);
    must(wal->inflight_last <= wal->inflight_disk_last);
    must(wal->synced <= wal->inflight_last);
    if (inflight->first > 0) {
        wal_anchor_add(wal, inflight->first, wal->segment.seq, wal->offset,
                       inflight->truncates);
    }
    if (inflight->truncates) {
        /* Its last entries may be on disk twice, as may those that follow: a
         * search must not start before the newer ones. */
        wal->anchor_wanted = true;
    }
    wal->stats.written_bytes += inflight->buf.size;
    wal->stats.batches++;
    wal->chain = wal->inflight_chain;
    wal->offset += inflight->buf.size;
    wal->batch_seq++;
    wal->synced = wal->inflight_last;
    wal->disk_last = wal->inflight_disk_last;
    gathering_begin(&wal->inflight);
}

static enum err complete_write(struct wal *wal, enum err err)
{
    wal->in_flight = false;
    if (err_is_shortage(err)) {
        unseal_batch(wal);
        return err;
    }
    if (err) {
        /* After a failed sync the kernel may have dropped the pages, so that a
         * second one succeeds without having written them. */
        die("%s at %llu: a batch was not written, or is in doubt", wal->path,
            (unsigned long long)wal->offset);
    }
    complete_batch(wal);
    return ERR_OK;
}

static enum err write_batch(struct wal *wal)
{
    const struct fs *fs = wal->fs;
    must(wal->offset % BLOCK_BYTES == 0);
    must(wal->batch.records > 0);
    seal_batch(wal);
    const struct buf *buf = &wal->inflight.buf;
    if (fs->submit) {
        wal->in_flight = true;
        wal->inflight_us = wal_now_us(wal);
        wal->write = (struct fs_op){.handle = wal->handle,
                                    .offset = wal->offset,
                                    .data = buf->data,
                                    .size = buf->size};
        fs->submit(fs->self, &wal->write);
        return ERR_OK;
    }
    enum err err =
        fs->write(fs->self, wal->handle, wal->offset, buf->data, buf->size);
    if (!err) {
        wal_fdatasync(wal, wal->handle, wal->path);
    }
    return complete_write(wal, err);
}

static enum err save_hard_state(struct wal *wal)
{
    if (!wal->hard_due) {
        return ERR_OK;
    }
    struct meta meta = wal->meta;
    meta.term = wal->hard_term;
    meta.vote = wal->hard_vote;
    enum err err = wal_meta_save(wal, &meta);
    wal->hard_due = err != ERR_OK;
    return err;
}

/* Makes sure that the gathered batch fits into the current segment, whose last
 * block is reserved for the seal. */
static enum err make_room(struct wal *wal)
{
    uint64_t bytes = align_up(wal->batch.buf.size, BLOCK_BYTES);
    if (wal->offset + bytes + BLOCK_BYTES <= wal->segment_size) {
        return ERR_OK;
    }
    enum err err = wal_segment_next(wal, bytes);
    if (err && !err_is_shortage(err)) {
        die("%s: the next segment cannot be created: %s", wal->path,
            err_name(err));
    }
    return err;
}

enum err wal_start(struct wal *wal)
{
    must(!wal->in_flight);
    enum err err = save_hard_state(wal);
    if (err || wal->batch.records == 0) {
        return err;
    }
    err = make_room(wal);
    return err ? err : write_batch(wal);
}

bool wal_finished(struct wal *wal, bool wait, enum err *err)
{
    const struct fs *fs = wal->fs;
    *err = ERR_OK;
    if (!wal->in_flight) {
        return true;
    }
    if (wait) {
        fs->wait(fs->self, &wal->write);
    } else if (!fs->poll(fs->self, &wal->write)) {
        return false;
    }
    must(wal->write.completed);
    if (wal->write.err == ERR_OK) {
        wal_count_sync(wal, wal->inflight_us);
    }
    *err = complete_write(wal, wal->write.err);
    return true;
}

bool wal_has_completion(const struct wal *wal)
{
    return wal->in_flight && wal->write.completed;
}

enum err wal_sync(struct wal *wal)
{
    enum err err = wal_start(wal);
    if (!err) {
        bool finished = wal_finished(wal, true, &err);
        must(finished);
    }
    return err;
}

/* ---- getters ---- */

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

uint64_t wal_durable(const struct wal *wal)
{
    return wal->synced;
}

void wal_get_stats(const struct wal *wal, struct wal_stats *stats)
{
    *stats = wal->stats;
}

const struct histogram *wal_sync_times(const struct wal *wal)
{
    return &wal->sync_us;
}
