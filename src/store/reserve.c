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
 * that deletes work for as long as the disk is full (store_room()). */
#include "store/store_internal.h"

enum { WAL_HEADER_BYTES = 32, FRAME_BYTES = 4096 + 24 };

bool store_prepare(struct store *store)
{
    return reserve_prepare(&store->reserve);
}

enum err store_shortage(const struct store *store)
{
    return store->reserve.shortage;
}

uint64_t store_room(const struct store *store)
{
    const struct shim_file *log = &store->wal_file;
    sqlite3_int64 size = 0;
    if (store->in_memory) {
        return UINT64_MAX;
    }
    if (log->base->xFileSize(log->file, &size) != SQLITE_OK) {
        size = 0;
    }
    uint64_t used = (uint64_t)store->wal_pages * FRAME_BYTES + WAL_HEADER_BYTES;
    uint64_t left = (uint64_t)size > used ? (uint64_t)size - used : 0;
    return left + (store->reserve.held ? store->reserve.size_bytes : 0);
}
