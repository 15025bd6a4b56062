/* read.c -- reads single entries from the disk, through sparse anchors. */
#include "base/log.h"
#include "wal/wal_internal.h"

/* ---- anchors ---- */

/* After a truncation an index may be on disk twice: `force` and anchor_wanted
 * add an anchor there, so that a search starts after the old entries. */
void wal_anchor_add(struct wal *wal, uint64_t index, uint64_t seq,
                    uint64_t offset, bool force)
{
    const struct anchor *before =
        wal->anchor_count > 0 ? &wal->anchors[wal->anchor_count - 1] : NULL;
    must(!before || before->index <= index);
    must(!before || before->seq < seq ||
         (before->seq == seq && before->offset <= offset));
    if (before && !force && !wal->anchor_wanted && before->seq == seq &&
        offset < before->offset + ANCHOR_BYTES) {
        return;
    }
    wal->anchor_wanted = false;
    if (wal->anchor_count == wal->anchor_capacity) {
        wal->anchor_capacity =
            wal->anchor_capacity ? wal->anchor_capacity * 2 : 64;
        wal->anchors = mem_realloc(wal->anchors, wal->anchor_capacity *
                                                     sizeof(wal->anchors[0]));
    }
    wal->anchors[wal->anchor_count++] =
        (struct anchor){.index = index, .seq = seq, .offset = offset};
}

void wal_anchor_cut(struct wal *wal, uint64_t from)
{
    while (wal->anchor_count > 0 &&
           wal->anchors[wal->anchor_count - 1].index >= from) {
        wal->anchor_count--;
    }
    wal->anchor_wanted = true;
}

static const struct anchor *anchor_find(const struct wal *wal, uint64_t index)
{
    size_t lo = 0;
    size_t hi = wal->anchor_count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (wal->anchors[middle].index <= index) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    must(lo > 0);
    return &wal->anchors[lo - 1];
}

/* ---- batches ---- */

void wal_read_forget(struct wal *wal)
{
    wal->read_next = 0;
}

static enum err open_segment(struct wal *wal, uint64_t seq)
{
    if (wal->read_handle >= 0 && wal->read_seq == seq) {
        return ERR_OK;
    }
    if (wal->read_handle >= 0) {
        wal->fs->close(wal->fs->self, wal->read_handle);
        wal->read_handle = -1;
    }
    char path[64];
    uint8_t block[BLOCK_BYTES];
    size_t got = 0;
    wal_segment_path(seq, path);
    enum err err =
        wal->fs->open(wal->fs->self, path, FS_READ, &wal->read_handle);
    if (err) {
        wal->read_handle = -1;
        return err;
    }
    wal->read_seq = seq;
    err = wal->fs->size(wal->fs->self, wal->read_handle, &wal->read_size);
    if (!err) {
        err = wal->fs->read(wal->fs->self, wal->read_handle, 0, block,
                            sizeof(block), &got);
    }
    if (!err) {
        err = got == sizeof(block)
                  ? wal_segment_decode(block, &wal->read_segment)
                  : ERR_CORRUPT;
    }
    if (err) {
        wal->fs->close(wal->fs->self, wal->read_handle);
        wal->read_handle = -1;
    }
    return err;
}

/* Reads the batch at `offset` into read_buf, and checks it. */
static enum err load_batch(struct wal *wal, uint64_t offset)
{
    must(wal->read_handle >= 0 && offset % BLOCK_BYTES == 0);
    size_t got = 0;
    wal->read_buf.size = 0;
    uint8_t *data = buf_reserve(&wal->read_buf, BLOCK_BYTES);
    enum err err = wal->fs->read(wal->fs->self, wal->read_handle, offset, data,
                                 BLOCK_BYTES, &got);
    if (err || got < BATCH_HEADER_BYTES) {
        return err ? err : ERR_CORRUPT;
    }
    uint64_t size = (uint64_t)BATCH_HEADER_BYTES + load_u32(data + 36);
    if (load_u32(data) != BATCH_MAGIC || offset + size > wal->read_size) {
        return ERR_CORRUPT;
    }
    if (size > got) {
        data = buf_reserve(&wal->read_buf, size);
        err = wal->fs->read(wal->fs->self, wal->read_handle, offset, data, size,
                            &got);
        if (err) {
            return err;
        }
    }
    /* wal_batch_decode() requires the whole file in memory; these are its
     * checks. */
    if (got < size || load_u64(data + 24) != offset ||
        load_u32(data + 4) !=
            wal_salted_crc(wal->read_segment.salt, data + 8, 56) ||
        load_u32(data + 40) != wal_salted_crc(wal->read_segment.salt,
                                              data + BATCH_HEADER_BYTES,
                                              size - BATCH_HEADER_BYTES)) {
        return ERR_CORRUPT;
    }
    wal->read_buf.size = size;
    wal->read_offset = offset;
    wal->read_end = align_up(offset + size, BLOCK_BYTES);
    wal->read_at = BATCH_HEADER_BYTES;
    wal->read_payload_end = size;
    wal->read_truncates = false;
    return ERR_OK;
}

static struct cursor rest_of_batch(const struct wal *wal)
{
    return cursor_of(bytes_of(wal->read_buf.data + wal->read_at,
                              wal->read_payload_end - wal->read_at));
}

/* Looks for `index` in the rest of the batch. The last occurrence counts: one
 * batch may append an entry, truncate it and append another. */
static bool find_in_batch(struct wal *wal, uint64_t index, struct record *found,
                          bool *sealed)
{
    struct cursor rest = rest_of_batch(wal);
    struct record record;
    bool there = false;
    *sealed = false;
    while (wal_record_next(&rest, &record) == ERR_OK) {
        if (record.kind == RECORD_SEAL) {
            *sealed = true;
        } else if (record.kind == RECORD_TRUNCATE) {
            wal->read_truncates = true;
            there = there && record.index > index;
        } else if (record.kind == RECORD_ENTRY && record.index == index) {
            *found = record;
            there = true;
            wal->read_at = (size_t)(rest.at - wal->read_buf.data);
        }
    }
    return there;
}

/* The common case: the entry is the record after the one that was read last. */
static bool next_in_batch(struct wal *wal, uint64_t index, struct record *found)
{
    if (wal->read_next != index || wal->read_handle < 0 ||
        wal->read_truncates) {
        return false;
    }
    struct cursor rest = rest_of_batch(wal);
    if (wal_record_next(&rest, found) != ERR_OK ||
        found->kind != RECORD_ENTRY || found->index != index) {
        return false;
    }
    wal->read_at = (size_t)(rest.at - wal->read_buf.data);
    return true;
}

static enum err find(struct wal *wal, uint64_t index, struct record *found)
{
    /* Start after the batch that was read last, or at the anchor. */
    uint64_t seq = wal->read_seq;
    uint64_t offset = wal->read_end;
    bool sealed;
    if (wal->read_next == index && find_in_batch(wal, index, found, &sealed)) {
        return ERR_OK; /* It follows a truncation in the same batch. */
    }
    if (wal->read_next != index) {
        const struct anchor *anchor = anchor_find(wal, index);
        seq = anchor->seq;
        offset = anchor->offset;
    }
    for (;;) {
        enum err err = open_segment(wal, seq);
        if (!err) {
            err = load_batch(wal, offset);
        }
        if (err) {
            return err;
        }
        if (find_in_batch(wal, index, found, &sealed)) {
            return ERR_OK;
        }
        if (sealed) {
            seq++;
            offset = BLOCK_BYTES;
        } else {
            offset = wal->read_end;
        }
    }
}

enum err wal_read(struct wal *wal, uint64_t index, struct buf *out,
                  struct wal_entry *entry)
{
    if (index < wal->first || index > wal->synced) {
        return ERR_NOT_FOUND;
    }
    /* The rest of the batch that was read last may have been truncated, and
     * written again later: an anchor is there. */
    const struct anchor *anchor = anchor_find(wal, index);
    if (anchor->seq > wal->read_seq ||
        (anchor->seq == wal->read_seq && anchor->offset > wal->read_offset)) {
        wal_read_forget(wal);
    }
    struct record record;
    if (!next_in_batch(wal, index, &record)) {
        enum err err = find(wal, index, &record);
        if (err_is_shortage(err)) {
            wal_read_forget(wal);
            return err; /* sys/ has logged it, once. */
        }
        if (err) {
            log_error("wal", "segment=%llx index=%llu why=\"%s\"",
                      (unsigned long long)wal->read_seq,
                      (unsigned long long)index, err_name(err));
            wal_read_forget(wal);
            return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
        }
    }
    must(record.kind == RECORD_ENTRY && record.index == index);
    wal->read_next = index + 1;
    out->size = 0;
    buf_add_bytes(out, record.body);
    *entry = (struct wal_entry){.index = index,
                                .term = record.term,
                                .type = record.entry_type,
                                .payload = buf_bytes(out)};
    return ERR_OK;
}
