/* hint.c -- wal/HINT: which batch is known to be synced.
 *
 * A batch proves that the batches before it were synced. Nothing in the segment
 * proves it of the last one, so that damage in it looks like an unfinished
 * write. When the log becomes idle, the number of its last batch is written to
 * this file, without a sync: the file may be out of date or lost, but what it
 * says is true.
 *
 * The file has two slots of 512 bytes, written alternately, so that a torn slot
 * leaves the other: magic[8] | u32 crc of what follows | u32 format | u64
 * batch_seq | uuid[16] | zeros. */
#include "base/crc32c.h"
#include "base/log.h"
#include "wal/wal_internal.h"

enum { SLOT_BYTES = 512 };

static const char path[] = "wal/HINT";
static const char magic[8] = {'C', 'R', 'F', 'T', 'H', 'I', 'N', 'T'};

static void encode(const struct wal *wal, uint64_t batch_seq,
                   uint8_t slot[SLOT_BYTES])
{
    memset(slot, 0, SLOT_BYTES);
    memcpy(slot, magic, sizeof(magic));
    store_u32(slot + 12, WAL_FORMAT);
    store_u64(slot + 16, batch_seq);
    memcpy(slot + 24, wal->options.uuid, sizeof(wal->options.uuid));
    store_u32(slot + 8, crc32c(0, slot + 12, SLOT_BYTES - 12));
}

/* Returns the number of the batch; 0: the slot is not valid. */
static uint64_t decode(const struct wal *wal, const uint8_t slot[SLOT_BYTES])
{
    if (memcmp(slot, magic, sizeof(magic)) != 0 ||
        load_u32(slot + 8) != crc32c(0, slot + 12, SLOT_BYTES - 12) ||
        load_u32(slot + 12) != WAL_FORMAT ||
        memcmp(slot + 24, wal->options.uuid, 16) != 0) {
        return 0;
    }
    return load_u64(slot + 16);
}

enum err wal_hint_load(struct wal *wal, uint64_t *batch_seq)
{
    uint8_t slots[2 * SLOT_BYTES] = {0};
    int handle;
    size_t got = 0;
    *batch_seq = 0;
    enum err err = wal->fs->open(wal->fs->self, path, FS_READ, &handle);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (err) {
        return err;
    }
    err = wal->fs->read(wal->fs->self, handle, 0, slots, sizeof(slots), &got);
    wal->fs->close(wal->fs->self, handle);
    if (err) {
        return err;
    }
    *batch_seq = max_u64(decode(wal, slots), decode(wal, slots + SLOT_BYTES));
    return ERR_OK;
}

void wal_hint(struct wal *wal)
{
    uint64_t synced = wal->batch_seq - 1;
    if (wal->in_flight || synced <= wal->hinted) {
        return;
    }
    if (wal->hint_handle < 0 &&
        wal->fs->open(wal->fs->self, path, FS_CREATE, &wal->hint_handle)) {
        wal->hint_handle = -1;
        return; /* The log works without it. */
    }
    uint8_t slot[SLOT_BYTES];
    encode(wal, synced, slot);
    uint64_t offset = wal->hint_count % 2 * SLOT_BYTES;
    if (wal->fs->write(wal->fs->self, wal->hint_handle, offset, slot,
                       sizeof(slot)) == ERR_OK) {
        wal->hinted = synced;
        wal->hint_count++;
        wal->stats.written_bytes += sizeof(slot);
    }
}
