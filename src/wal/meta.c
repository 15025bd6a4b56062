/* meta.c -- term, vote and incarnation in two slots.
 *
 * An update writes the older slot, syncs, writes the other, syncs. So at every
 * moment one slot is whole, and an acknowledged update is in both: the newer of
 * two good slots counts, and a damaged one is replaced by the other. */
#include "base/log.h"
#include "wal/wal_internal.h"

static const char *const slot_path[2] = {"meta.0", "meta.1"};

static enum err slot_read(const struct fs *fs, int slot, struct meta *meta)
{
    uint8_t block[BLOCK_BYTES];
    int handle;
    size_t got = 0;
    enum err err = fs_sync_file(fs, slot_path[slot]);
    if (!err) {
        err = fs->open(fs->self, slot_path[slot], FS_READ, &handle);
    }
    if (err) {
        return err;
    }
    err = fs->read(fs->self, handle, 0, block, sizeof(block), &got);
    fs->close(fs->self, handle);
    if (err) {
        return err;
    }
    return got == sizeof(block) ? wal_meta_decode(block, meta) : ERR_CORRUPT;
}

static enum err slot_write(struct wal *wal, int slot, const struct meta *meta)
{
    uint8_t block[BLOCK_BYTES];
    int *handle = &wal->meta_handles[slot];
    wal_meta_encode(meta, block);
    if (*handle < 0) {
        enum err err =
            wal->fs->open(wal->fs->self, slot_path[slot], FS_CREATE, handle);
        if (err) {
            *handle = -1;
            return err;
        }
    }
    enum err err =
        wal->fs->write(wal->fs->self, *handle, 0, block, sizeof(block));
    if (!err) {
        wal_fdatasync(wal, *handle, slot_path[slot]);
        wal->stats.written_bytes += sizeof(block);
    }
    return err;
}

enum err wal_meta_save(struct wal *wal, const struct meta *meta)
{
    struct meta next = *meta;
    must(next.term >= wal->meta.term);
    next.version = wal->meta.version + 1;
    enum err err = slot_write(wal, wal->meta_older, &next);
    if (!err) {
        err = slot_write(wal, 1 - wal->meta_older, &next);
    }
    if (err_is_shortage(err)) {
        return err; /* Possible, although the slots have their blocks. */
    }
    if (err) {
        die("%s or %s cannot be written: a vote might be lost", slot_path[0],
            slot_path[1]);
    }
    wal->meta = next;
    return ERR_OK;
}

enum err wal_meta_load(struct wal *wal)
{
    struct meta slots[2] = {{0}, {0}};
    enum err errs[2];
    for (int i = 0; i < 2; i++) {
        errs[i] = slot_read(wal->fs, i, &slots[i]);
        if (errs[i] && errs[i] != ERR_NOT_FOUND && errs[i] != ERR_CORRUPT) {
            log_error("wal", "file=%s why=\"%s\"", slot_path[i],
                      err_name(errs[i]));
            return errs[i];
        }
    }
    if (errs[0] && errs[1]) {
        if (errs[0] == ERR_NOT_FOUND && errs[1] == ERR_NOT_FOUND) {
            return ERR_NOT_FOUND;
        }
        log_error("wal", "file=meta.0,meta.1 why=\"both are damaged: the vote "
                         "is lost, so this node must not continue under its "
                         "id\"");
        return ERR_CORRUPT;
    }
    int newer = errs[0] || (!errs[1] && slots[1].version > slots[0].version);
    if (errs[1 - newer]) {
        log_warn("wal", "file=%s why=\"damaged; restored from the other slot\"",
                 slot_path[1 - newer]);
    }
    wal->meta = slots[newer];
    wal->meta_older = 1 - newer;
    if (memcmp(wal->meta.uuid, wal->options.uuid, 16) != 0) {
        log_error("wal", "file=%s why=\"belongs to another directory\"",
                  slot_path[newer]);
        return ERR_MISMATCH;
    }
    return ERR_OK;
}

enum err wal_meta_remove(const struct fs *fs)
{
    for (int slot = 0; slot < 2; slot++) {
        enum err err = fs->unlink(fs->self, slot_path[slot]);
        if (err && err != ERR_NOT_FOUND) {
            return err;
        }
    }
    return ERR_OK;
}
