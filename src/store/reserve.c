/* reserve.c -- disk space that is reserved for the database.
 *
 * Entries in the open transaction have been applied, acknowledged and read. If
 * the disk is full before it is committed, SQLite rolls it back: nothing is
 * lost, since the log has the entries, but rows that clients have read
 * disappear until there is space. So a file of zeros is kept next to the
 * database (sys/reserve.h). When a write to the -wal, or of a checkpoint to the
 * database, finds no space, the file is removed and the write is tried again.
 * Until the file could be created again, the data may not grow
 * (store_shortage()), and entries that have been accepted are committed in the
 * space that was freed.
 *
 * After a checkpoint the -wal keeps its size, and is written again from its
 * start. That space is a reserve too, for transactions that fit into it, so
 * that deletes work for as long as the disk is full (store_room()). The -wal of
 * a new database is empty, and the reserve may be used up for another purpose,
 * such as a database that grows or a segment of the log. So a -wal that is
 * smaller than a delete needs gets zeros at its end before the reserve is made.
 * To SQLite they are no frames: they lack the salt of the -wal's header. */
#include "store/store_internal.h"

enum { WAL_HEADER_BYTES = 32, FRAME_BYTES = 4096 + 24 };

/* Size of the file, without the frames that are buffered; `unknown` if that
 * cannot be read. */
static uint64_t wal_file_bytes(const struct store *store, uint64_t unknown)
{
    const struct shim_file *log = &store->wal_file;
    sqlite3_int64 size = 0;
    return log->base->xFileSize(log->file, &size) == SQLITE_OK ? (uint64_t)size
                                                               : unknown;
}

static enum err extend_wal(struct store *store)
{
    uint64_t least =
        min_u64(STORE_WAL_BYTES_LEAST, store->options.wal_bytes_kept);
    uint64_t size = wal_file_bytes(store, UINT64_MAX);
    return size < least ? store_shim_extend_wal(store, size, least) : ERR_OK;
}

bool store_prepare(struct store *store)
{
    if (store->in_memory || store->reserve.held || store->reserve.broken) {
        return false;
    }
    enum err err = extend_wal(store);
    if (err) {
        store->reserve.shortage = err;
        return false;
    }
    return reserve_prepare(&store->reserve);
}

enum err store_shortage(const struct store *store)
{
    return store->reserve.shortage;
}

uint64_t store_room(const struct store *store)
{
    if (store->in_memory) {
        return UINT64_MAX;
    }
    uint64_t size = wal_file_bytes(store, 0);
    uint64_t used = (uint64_t)store->wal_pages * FRAME_BYTES + WAL_HEADER_BYTES;
    uint64_t left = size > used ? size - used : 0;
    return left + (store->reserve.held ? store->reserve.size_bytes : 0);
}
