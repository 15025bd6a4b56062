/* watch.c -- what SQLite does to its files, seen and, in a checkpoint, taken
 * apart.
 *
 * A checkpoint syncs the -wal, copies its pages into the database, syncs that,
 * and then counts as done. All three in one turn of the loop take too long, so
 * it is done in three steps:
 *     1 the -wal is synced
 *     2 SQLite's checkpoint, in which that sync is passed over, and the one of
 *       the database refused: the pages are copied, but for SQLite it failed
 *     3 SQLite's checkpoint again, in which it writes what is there already:
 *       the writes are passed over, and the database is synced
 * So it is SQLite that says when a checkpoint is done, and never before the
 * database has been synced. Whatever is written to the -wal between the steps
 * undoes them: the next one is the first again.
 *
 * A write to the -wal for which there is no space costs the reserve
 * (reserve.c), and is tried again before SQLite hears of it. */
#include "store/store_internal.h"

static struct store *store_of(sqlite3_file *file)
{
    const struct watched *watched = (const void *)file->pMethods;
    return watched->store;
}

static int write_database(sqlite3_file *file, const void *data, int size,
                          sqlite3_int64 offset)
{
    struct store *store = store_of(file);
    if (store->pass == PASS_SYNC) {
        return SQLITE_OK;
    }
    images_before_write(store, (uint64_t)offset, (uint64_t)size);
    return store->db_file.base->xWrite(file, data, size, offset);
}

static int sync_database(sqlite3_file *file, int flags)
{
    struct store *store = store_of(file);
    return store->pass == PASS_COPY ? SQLITE_INTERRUPT
                                    : store->db_file.base->xSync(file, flags);
}

static int write_log(sqlite3_file *file, const void *data, int size,
                     sqlite3_int64 offset)
{
    struct store *store = store_of(file);
    must(store->pass == PASS_NONE);
    store->step = STEP_NONE;
    int rc = store->wal_file.base->xWrite(file, data, size, offset);
    if ((rc & 0xff) == SQLITE_FULL && reserve_give_up(store)) {
        rc = store->wal_file.base->xWrite(file, data, size, offset);
    }
    return rc;
}

static int sync_log(sqlite3_file *file, int flags)
{
    struct store *store = store_of(file);
    return store->pass == PASS_NONE ? store->wal_file.base->xSync(file, flags)
                                    : SQLITE_OK;
}

int watch_sync_log(struct store *store)
{
    return store->wal_file.base->xSync(store->wal_file.file,
                                       SQLITE_SYNC_NORMAL);
}

static void watch_file(struct store *store, int which, struct watched *watched)
{
    int rc = sqlite3_file_control(store->db, "main", which, &watched->file);
    must(rc == SQLITE_OK && watched->file && watched->file->pMethods);
    watched->store = store;
    watched->base = watched->file->pMethods;
    watched->methods = *watched->base;
    watched->file->pMethods = &watched->methods;
}

void watch(struct store *store)
{
    watch_file(store, SQLITE_FCNTL_FILE_POINTER, &store->db_file);
    watch_file(store, SQLITE_FCNTL_JOURNAL_POINTER, &store->wal_file);
    store->db_file.methods.xWrite = write_database;
    store->db_file.methods.xSync = sync_database;
    store->wal_file.methods.xWrite = write_log;
    store->wal_file.methods.xSync = sync_log;
}
