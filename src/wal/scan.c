/* scan.c -- the recovery rules: how far a segment found on disk is valid, and
 * why it ends there. Pure.
 *
 * A batch is acknowledged only after its fdatasync, and the next one is written
 * only after that. So the first invalid batch is either the last one that was
 * ever written, which was never acknowledged (torn), or damage. These rules
 * decide, the first that applies:
 *   - the segment is not the last one: damage, since it was sealed;
 *   - wal/HINT names this batch or a later one: damage, or a lost write;
 *   - only zeros follow: the clean end of the log;
 *   - a valid batch of this segment follows: damage, since the invalid one had
 *     been synced before that was written;
 *   - else it is torn: recovery cuts it off, and logs that.
 * Known limit: damage in the last synced batch looks like a torn write until
 * the hint that names it has reached the disk. */
#include "wal/wal_internal.h"

static uint64_t end_of_data(struct bytes file, uint64_t from)
{
    uint64_t end = file.size;
    while (end > from && file.data[end - 1] == 0) {
        end--;
    }
    return end;
}

static bool good_batch_after(const struct segment_header *segment,
                             struct bytes file, uint64_t offset)
{
    for (uint64_t at = offset + BLOCK_BYTES; at < file.size;
         at += BLOCK_BYTES) {
        struct batch batch;
        if (wal_batch_decode(segment, file, at, &batch) == ERR_OK) {
            return true;
        }
    }
    return false;
}

/* Checks that the records continue the log. Returns a few words, or NULL. */
static const char *records_wrong(const struct batch *batch,
                                 const struct scan *scan)
{
    struct cursor payload = cursor_of(batch->payload);
    struct record record;
    uint64_t index = scan->index;
    uint64_t term = scan->term;
    uint32_t count = 0;
    enum err err;
    while ((err = wal_record_next(&payload, &record)) == ERR_OK) {
        count++;
        if (record.kind == RECORD_TRUNCATE) {
            if (record.index > index || record.index == 0) {
                return "a truncation of an entry that does not exist";
            }
            index = record.index - 1;
            term = 0; /* The term of the entry before is unknown. */
        } else if (record.kind == RECORD_ENTRY) {
            if (record.index != index + 1) {
                return "an entry out of sequence";
            }
            if (record.term < term) {
                return "a term lower than the one before";
            }
            index = record.index;
            term = record.term;
        } else if (record.kind == RECORD_BASE) {
            index = record.index;
            term = record.term;
        }
    }
    if (err != ERR_NOT_FOUND || count != batch->record_count) {
        return "records do not parse";
    }
    return NULL;
}

/* Reports the records, and advances `scan`. True: one of them is a seal. */
static bool deliver(const struct batch *batch, struct scan *scan,
                    scan_record_cb *on_record, void *arg)
{
    struct cursor payload = cursor_of(batch->payload);
    struct record record;
    bool sealed = false;
    while (wal_record_next(&payload, &record) == ERR_OK) {
        if (record.kind == RECORD_ENTRY || record.kind == RECORD_BASE) {
            scan->index = record.index;
            scan->term = record.term;
        } else if (record.kind == RECORD_TRUNCATE) {
            scan->index = record.index - 1;
            scan->term = 0;
        } else {
            sealed = true;
        }
        on_record(&record, arg);
    }
    return sealed;
}

static enum verdict corrupt(struct scan *scan, const char *why)
{
    scan->why = why;
    return VERDICT_CORRUPT;
}

static enum verdict judge_end(const struct segment_header *segment,
                              struct bytes file, bool last, struct scan *scan)
{
    uint64_t end = end_of_data(file, scan->offset);
    if (!last) {
        return corrupt(scan, "the segment has no seal, but a successor");
    }
    if (scan->hint >= scan->batch_seq) {
        return corrupt(scan, "a batch that was synced is missing");
    }
    if (end <= scan->offset) {
        return VERDICT_CLEAN;
    }
    if (good_batch_after(segment, file, scan->offset)) {
        return corrupt(scan, "a damaged batch before a good one");
    }
    scan->torn_end = end;
    return VERDICT_TORN;
}

enum verdict wal_scan_segment(const struct segment_header *segment,
                              struct bytes file, bool last, struct scan *scan,
                              scan_batch_cb *on_batch,
                              scan_record_cb *on_record, void *arg)
{
    scan->offset = BLOCK_BYTES;
    scan->why = NULL;
    for (;;) {
        struct batch batch;
        if (wal_batch_decode(segment, file, scan->offset, &batch)) {
            return judge_end(segment, file, last, scan);
        }
        if (batch.batch_seq != scan->batch_seq ||
            batch.durable_seq >= batch.batch_seq ||
            batch.chain != wal_chain_next(scan->chain, batch.batch_seq,
                                          batch.payload_crc)) {
            return corrupt(scan, "a batch out of sequence");
        }
        const char *wrong = records_wrong(&batch, scan);
        if (wrong) {
            return corrupt(scan, wrong);
        }
        on_batch(&batch, arg);
        bool sealed = deliver(&batch, scan, on_record, arg);
        scan->batch_seq++;
        scan->chain = batch.chain;
        must(batch.end > scan->offset && batch.end % BLOCK_BYTES == 0);
        scan->offset = batch.end;
        if (sealed && last && scan->hint >= scan->batch_seq) {
            return corrupt(scan, "the segment after it is missing");
        }
        if (sealed) {
            return VERDICT_SEALED;
        }
    }
}
