/* recover.c -- reads the segments of a log, and repairs the last one according
 * to the verdicts of scan.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "wal/wal_internal.h"

struct names {
    uint64_t *seqs;
    size_t count;
    size_t capacity;
};

struct reading {
    struct wal *wal;
    wal_entry_cb *cb;
    void *arg;
    uint64_t seq;    /* Segment that is being read. */
    uint64_t offset; /* Its batch that is being read. */
    bool anchored;   /* The first entry of that was passed to the anchors. */
};

static void on_name(const char *name, void *arg)
{
    struct names *names = arg;
    enum { DIGITS = 16 };
    if (strspn(name, "0123456789abcdefABCDEF") != DIGITS ||
        strcmp(name + DIGITS, ".wal") != 0) {
        return;
    }
    uint64_t seq = strtoull(name, NULL, 16);
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? names->capacity * 2 : 16;
        names->seqs =
            mem_realloc(names->seqs, names->capacity * sizeof(names->seqs[0]));
    }
    names->seqs[names->count++] = seq;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void on_batch(const struct batch *batch, void *arg)
{
    struct reading *reading = arg;
    reading->offset = batch->offset;
    reading->anchored = false;
}

static void report(const struct reading *reading, const struct wal_entry *entry)
{
    if (reading->cb) {
        reading->cb(entry, reading->arg);
    }
}

static void on_base(struct reading *reading, const struct record *record)
{
    struct wal *wal = reading->wal;
    wal->anchor_count = 0;
    wal->anchor_wanted = true;
    wal->first = record->index + 1;
    wal->last = record->index;
    wal->segments[wal->segment_count - 1].first = record->index;
    reading->anchored = false;
    report(reading, &(struct wal_entry){.index = record->index,
                                        .term = record->term,
                                        .type = WAL_ENTRY_BASE});
}

static void on_record(const struct record *record, void *arg)
{
    struct reading *reading = arg;
    struct wal *wal = reading->wal;
    if (record->kind == RECORD_TRUNCATE) {
        wal_anchor_cut(wal, record->index);
        wal->last = record->index - 1;
        /* It may remove entries of a segment that was compacted. */
        wal->first = min_u64(wal->first, record->index);
        reading->anchored = false;
        wal->anchor_wanted = true;
        return;
    }
    if (record->kind == RECORD_BASE) {
        on_base(reading, record);
        return;
    }
    if (record->kind != RECORD_ENTRY) {
        return;
    }
    if (!reading->anchored) {
        wal_anchor_add(wal, record->index, reading->seq, reading->offset,
                       false);
        reading->anchored = true;
    }
    must(record->index == wal->last + 1); /* scan.c has checked it. */
    wal->last = record->index;
    report(reading, &(struct wal_entry){.index = record->index,
                                        .term = record->term,
                                        .type = record->entry_type,
                                        .payload = record->body});
}

/* Save the torn bytes in a file for inspection, then overwrite them with zeros,
 * so that none can reappear behind a later batch. */
static enum err cut_torn(struct wal *wal, int handle, const char *path,
                         struct bytes file, const struct scan *scan)
{
    must(scan->torn_end > scan->offset && scan->torn_end <= file.size);
    char saved[64];
    snprintf(saved, sizeof(saved), "wal/torn-%016" PRIx64 ".bin",
             wal->segment.seq);
    size_t size = scan->torn_end - scan->offset;
    log_warn("wal",
             "file=%s offset=%llu bytes=%zu saved=%s why=\"cut an unfinished "
             "write, which was never acknowledged\"",
             path, (unsigned long long)scan->offset, size, saved);
    enum err err =
        fs_replace(wal->fs, "wal", saved, file.data + scan->offset, size);
    if (err) {
        return err;
    }
    uint8_t *zeros = mem_zalloc(size);
    err = wal->fs->write(wal->fs->self, handle, scan->offset, zeros, size);
    mem_free(zeros);
    return err;
}

/* Carries out a verdict. */
static enum err judge(struct wal *wal, int handle, const char *path,
                      struct bytes file, enum verdict verdict,
                      const struct scan *scan)
{
    switch (verdict) {
    case VERDICT_CLEAN:
    case VERDICT_SEALED:
        return ERR_OK;
    case VERDICT_TORN:
        return cut_torn(wal, handle, path, file, scan);
    case VERDICT_CORRUPT:
        log_error("wal",
                  "file=%s offset=%llu after_index=%llu why=\"%s\" "
                  "help=\"acknowledged data is damaged: replace this node by "
                  "an empty one that joins under the same id\"",
                  path, (unsigned long long)scan->offset,
                  (unsigned long long)scan->index, scan->why);
        return ERR_CORRUPT;
    }
    return ERR_CORRUPT;
}

static enum err check_header(const struct wal *wal, const char *path,
                             struct bytes file, uint64_t seq,
                             const struct scan *scan, bool first,
                             struct segment_header *header)
{
    enum err err = file.size >= BLOCK_BYTES
                       ? wal_segment_decode(file.data, header)
                       : ERR_CORRUPT;
    const char *why = err == ERR_VERSION ? "written by a newer craftd"
                      : err              ? "the header is damaged"
                                         : NULL;
    if (!err && (memcmp(header->cluster, wal->options.cluster, 16) != 0 ||
                 memcmp(header->uuid, wal->options.uuid, 16) != 0)) {
        err = ERR_MISMATCH;
        why = "belongs to another cluster or directory";
    } else if (!err && (header->seq != seq ||
                        (!first && (header->batch_seq != scan->batch_seq ||
                                    header->chain != scan->chain)))) {
        err = ERR_CORRUPT;
        why = "the header does not continue the segment before";
    }
    if (err) {
        log_error("wal", "file=%s why=\"%s\"", path, why);
    }
    return err;
}

static enum err read_segment(struct wal *wal, struct reading *reading,
                             bool first, bool last, struct scan *scan)
{
    char path[64];
    uint8_t *data = NULL;
    size_t size = 0;
    wal_segment_path(reading->seq, path);
    /* The other segments were synced before the next one was created. */
    enum err err = last ? fs_sync_file(wal->fs, path) : ERR_OK;
    if (err) {
        return err;
    }
    err = fs_read_all(wal->fs, path, SEGMENT_BYTES_MAX, &data, &size);
    if (err) {
        return err;
    }
    struct bytes file = bytes_of(data, size);
    struct segment_header header;
    int handle = -1;
    enum verdict verdict;
    err = check_header(wal, path, file, reading->seq, scan, first, &header);
    if (err) {
        goto done;
    }
    if (first) {
        scan->batch_seq = header.batch_seq;
        scan->chain = header.chain;
        scan->index = header.next_index - 1;
        wal->first = header.next_index;
        wal->last = scan->index;
    }
    wal->segment = header;
    wal->anchor_wanted = true;
    wal_segment_add(wal, header.seq, size, header.next_index);
    verdict = wal_scan_segment(&header, file, last, scan, on_batch, on_record,
                               reading);
    err = wal->fs->open(wal->fs->self, path, FS_WRITE, &handle);
    if (err) {
        goto done;
    }
    err = judge(wal, handle, path, file, verdict, scan);
    if (err) {
        goto done;
    }
    /* The bytes that were read, and the zeros of a cut, may be in the page
     * cache only: they must be on disk before anything relies on them. */
    wal_fdatasync(wal, handle, path);
    wal->stats.log_bytes += size;
    if (last) {
        wal->handle = handle;
        handle = -1;
        /* A file that was truncated by others still needs space for its
         * seal. */
        wal->segment_size = verdict == VERDICT_SEALED
                                ? size
                                : max_u64(size, scan->offset + BLOCK_BYTES);
        wal->offset =
            verdict == VERDICT_SEALED ? wal->segment_size : scan->offset;
        wal->opened_at = wal->offset;
        memcpy(wal->path, path, sizeof(wal->path));
    }
done:
    if (handle >= 0) {
        wal->fs->close(wal->fs->self, handle);
    }
    mem_free(data);
    return err;
}

static enum err read_all(struct wal *wal, const struct names *names,
                         struct reading *reading)
{
    struct scan scan = {0};
    enum err err = wal_hint_load(wal, &scan.hint);
    if (err) {
        return err;
    }
    for (size_t i = 0; i < names->count; i++) {
        /* Compaction removes the oldest segment first, and the next one after
         * that is durable, so there is never a gap. */
        if (names->seqs[i] != names->seqs[0] + i) {
            log_error("wal", "segment=%llx why=\"missing\"",
                      (unsigned long long)(names->seqs[0] + i));
            return ERR_CORRUPT;
        }
        reading->seq = names->seqs[i];
        err = read_segment(wal, reading, i == 0, i + 1 == names->count, &scan);
        if (err) {
            return err;
        }
    }
    must(wal->last == scan.index && wal->segment_count == names->count);
    wal->batch_seq = scan.batch_seq;
    wal->chain = scan.chain;
    wal->synced = wal->last;
    wal->disk_last = wal->last;
    return ERR_OK;
}

enum err wal_recover(struct wal *wal, wal_entry_cb *cb, void *arg)
{
    struct names names = {0};
    struct reading reading = {.wal = wal, .cb = cb, .arg = arg};
    enum err err = wal->fs->list(wal->fs->self, "wal", on_name, &names);
    if (!err && names.count == 0) {
        err = ERR_NOT_FOUND;
    }
    if (!err) {
        qsort(names.seqs, names.count, sizeof(names.seqs[0]), by_number);
        err = read_all(wal, &names, &reading);
    }
    mem_free(names.seqs);
    if (!err) {
        err = wal->fs->unlink(wal->fs->self, "wal/spare.tmp");
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    if (!err) {
        err = wal->fs->sync_dir(wal->fs->self, "wal");
    }
    if (!err) {
        err = wal->fs->sync_dir(wal->fs->self, ".");
    }
    /* The last segment is sealed: the process ended before it had created the
     * next one. The log can be read without it. */
    if (!err && wal->offset >= wal->segment_size) {
        err = wal_segment_next(wal, 0);
        if (err_is_shortage(err)) {
            log_warn("wal",
                     "why=\"the next segment cannot be created yet: %s\"",
                     err_name(err));
            err = ERR_OK;
        }
    }
    return err;
}
