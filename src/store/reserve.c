/* reserve.c -- space on the disk that is kept for the -wal.
 *
 * What is in the open transaction has been applied, answered and shown. When
 * the disk is full before it is committed, SQLite takes it all back: nothing
 * is lost, since the log has it, but what was read yesterday is gone until
 * there is room. So a file of zeros is kept beside the database. A write to
 * the -wal that finds no space removes it, and is tried again; from then on,
 * until the file could be made anew, new writes are refused (store_shortage()),
 * and what was accepted before is committed in the space that was freed.
 *
 * The zeros are written, since blocks that were never written are none, and
 * written again by each process: after a power loss a file may have its size
 * without its blocks. Nothing is synced; the file has nothing to say.
 *
 * Limits: it is of a fixed size, and a transaction may need more. On a file
 * system that compresses, zeros take no space, and keep none. */
#include "base/log.h"
#include "store/store_internal.h"

static const char reserve_path[] = "db/reserve.tmp";

void reserve_close(struct store *store)
{
    struct reserve *reserve = &store->reserve;
    if (reserve->handle >= 0) {
        store->options.fs->close(store->options.fs->self, reserve->handle);
        reserve->handle = -1;
    }
}

/* The space comes back when nobody has the file open any more. */
bool reserve_give_up(struct store *store)
{
    const struct fs *fs = store->options.fs;
    reserve_close(store);
    store->reserve.filled = 0;
    store->reserve.held = false;
    store->reserve.broken = false; /* It is made anew when there is room. */
    store->reserve.shortage = ERR_NOSPACE;
    return fs->unlink(fs->self, reserve_path) == ERR_OK;
}

/* One slice. */
static enum err fill(struct store *store)
{
    const struct fs *fs = store->options.fs;
    struct reserve *reserve = &store->reserve;
    enum err err = ERR_OK;
    if (reserve->handle < 0) {
        int handle = -1;
        err = fs->open(fs->self, reserve_path, FS_CREATE, &handle);
        if (err) {
            return err;
        }
        reserve->handle = handle;
        reserve->filled = 0;
    }
    uint64_t size =
        min_u64(FS_ZEROS_BYTES, store->options.reserve_bytes - reserve->filled);
    err = fs_write_zeros(fs, reserve->handle, reserve->filled, size);
    if (!err) {
        reserve->filled += size;
    }
    return err;
}

/* What there is of it stays after a failure: it is given up like the whole. */
bool store_prepare(struct store *store)
{
    struct reserve *reserve = &store->reserve;
    if (store->in_memory || reserve->held || reserve->broken) {
        return false;
    }
    enum err err = fill(store);
    if (err_is_shortage(err)) {
        reserve->shortage = err;
        return false;
    }
    if (err) {
        log_warn("store",
                 "file=%s why=\"cannot be made: there will be no "
                 "reserve when the disk is full\"",
                 reserve_path);
        reserve_close(store);
        reserve->broken = true;
        reserve->shortage = ERR_OK;
        return false;
    }
    if (reserve->filled < store->options.reserve_bytes) {
        return true;
    }
    reserve_close(store);
    reserve->held = true;
    reserve->shortage = ERR_OK;
    return false;
}

enum err store_shortage(const struct store *store)
{
    return store->reserve.shortage;
}
