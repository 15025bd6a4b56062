/* watch.c -- what SQLite does to its files, seen and, in a checkpoint, taken
 * apart.
 *
 * A checkpoint syncs the -wal, copies its pages into the database, syncs that,
 * and then counts as done. All three in one turn of the loop take too long, so
 * it is done in steps:
 *     1 the -wal is synced
 *     2 SQLite's checkpoint, in which that sync is passed over, and the one of
 *       the database refused: the pages are copied, but for SQLite it failed
 *     3 the database is synced
 *     4 SQLite's checkpoint again, in which it writes and syncs what is there
 *       already: both are passed over
 * So it is SQLite that says when a checkpoint is done, and never before the
 * database has been synced. Whatever is written to the -wal between the steps
 * undoes them: the next one is the first again.
 *
 * The two syncs take the disk's time, which is long. Where the file system can
 * (fs.h) they are done beside the loop, by handles of our own: a sync is the
 * file's, not the handle's. The first one of the -wal is not, since SQLite
 * syncs its name with it; that one belongs to opening. Where it cannot, step 3
 * is left out, and the sync in step 4 is not passed over. Our handles are
 * closed after SQLite's, whose locks would end with them (POSIX). The first
 * write to the -wal after a checkpoint begins it anew: its header is synced by
 * SQLite there and then.
 *
 * A write for which there is no space costs the reserve (reserve.c), and is
 * tried again before SQLite hears of it.
 *
 * SQLite writes a page at a time, and to the -wal a header of 24 bytes before
 * each. What lies one behind the other is gathered, and written at once: when
 * a transaction is whole, when there is enough of it, and before anything else
 * is done to that file. So what SQLite was told is in the file is there for
 * all who look, and a failure is told before the transaction, or the
 * checkpoint, counts. */
#include "store/store_internal.h"

enum {
    GATHER_BYTES = 64 << 10,
    /* A frame of the -wal: sqlite.org/fileformat2.html, 4.1. */
    FRAME_HEADER_BYTES = 24,
    FRAME_COMMITS = 4, /* u32: not 0 in the last frame of a transaction. */
};

static struct store *store_of(sqlite3_file *file)
{
    const struct watched *watched = (const void *)file->pMethods;
    return watched->store;
}

/* ---- writes, gathered ----------------------------------------------------
 */

/* SQLite's VFS answers SQLITE_FULL for ENOSPC only: a quota and a limit of the
 * file's size are the same thing to us, and the kernel's memory can be waited
 * for as well. */
static int write_base(const struct watched *watched, const void *data, int size,
                      uint64_t offset)
{
    sqlite3_file *file = watched->file;
    int error = 0;
    int rc = watched->base->xWrite(file, data, size, (sqlite3_int64)offset);
    if (rc == SQLITE_OK) {
        watched->store->written_bytes += (uint64_t)size;
    }
    if (rc != SQLITE_IOERR_WRITE ||
        watched->base->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) !=
            SQLITE_OK) {
        return rc;
    }
    enum err shortage = fs_shortage_of(error);
    return shortage == ERR_NOSPACE     ? SQLITE_FULL
           : shortage == ERR_RESOURCES ? SQLITE_IOERR_NOMEM
                                       : rc;
}

static int write_through(struct watched *watched, const void *data, int size,
                         uint64_t offset)
{
    int rc = write_base(watched, data, size, offset);
    if ((rc & 0xff) == SQLITE_FULL &&
        reserve_release(&watched->store->reserve)) {
        rc = write_base(watched, data, size, offset);
    }
    return rc;
}

/* After a failure it is void, as is what SQLite was about. */
static int gathered_out(struct watched *watched)
{
    struct gather *gather = &watched->gather;
    size_t size = gather->size;
    gather->size = 0;
    return size == 0 ? SQLITE_OK
                     : write_through(watched, gather->data, (int)size,
                                     gather->end - size);
}

/* What does not go on where the last write ended, goes out by itself. */
static int gather(struct watched *watched, const void *data, int size,
                  uint64_t offset)
{
    struct gather *gather = &watched->gather;
    bool goes_on = offset == gather->end && size <= GATHER_BYTES;
    int rc = SQLITE_OK;
    if (!goes_on || gather->size + (size_t)size > GATHER_BYTES) {
        rc = gathered_out(watched);
    }
    if (rc == SQLITE_OK && goes_on) {
        memcpy(gather->data + gather->size, data, (size_t)size);
        gather->size += (size_t)size;
    } else if (rc == SQLITE_OK) {
        rc = write_through(watched, data, size, offset);
    }
    gather->end = offset + (uint64_t)size;
    return rc;
}

static struct watched *watched_of(sqlite3_file *file)
{
    struct store *store = store_of(file);
    return file == store->db_file.file ? &store->db_file : &store->wal_file;
}

static int read_after(sqlite3_file *file, void *data, int size,
                      sqlite3_int64 offset)
{
    struct watched *watched = watched_of(file);
    int rc = gathered_out(watched);
    return rc == SQLITE_OK ? watched->base->xRead(file, data, size, offset)
                           : rc;
}

static int truncate_after(sqlite3_file *file, sqlite3_int64 size)
{
    struct watched *watched = watched_of(file);
    int rc = gathered_out(watched);
    return rc == SQLITE_OK ? watched->base->xTruncate(file, size) : rc;
}

static int size_after(sqlite3_file *file, sqlite3_int64 *size)
{
    struct watched *watched = watched_of(file);
    int rc = gathered_out(watched);
    return rc == SQLITE_OK ? watched->base->xFileSize(file, size) : rc;
}

/* ---- the database --------------------------------------------------------
 */

static int write_database(sqlite3_file *file, const void *data, int size,
                          sqlite3_int64 offset)
{
    struct store *store = store_of(file);
    if (store->pass == PASS_SYNC || store->pass == PASS_END) {
        return SQLITE_OK;
    }
    must(!store->syncing);
    images_before_write(store, (uint64_t)offset, (uint64_t)size);
    return gather(&store->db_file, data, size, (uint64_t)offset);
}

static int sync_database(sqlite3_file *file, int flags)
{
    struct store *store = store_of(file);
    int rc = gathered_out(&store->db_file);
    if (rc != SQLITE_OK) {
        return rc;
    }
    return store->pass == PASS_COPY  ? SQLITE_INTERRUPT
           : store->pass == PASS_END ? SQLITE_OK
                                     : store->db_file.base->xSync(file, flags);
}

void watch_drop(struct store *store)
{
    store->db_file.gather.size = 0;
    store->wal_file.gather.size = 0;
}

/* ---- its -wal ------------------------------------------------------------
 */

static bool is_last_header(const uint8_t *data)
{
    static const uint8_t zero[4];
    return memcmp(data + FRAME_COMMITS, zero, sizeof(zero)) != 0;
}

static int write_log(sqlite3_file *file, const void *data, int size,
                     sqlite3_int64 offset)
{
    struct store *store = store_of(file);
    must(store->pass == PASS_NONE && !store->syncing);
    store->step = STEP_NONE;
    int rc = gather(&store->wal_file, data, size, (uint64_t)offset);
    if (size == FRAME_HEADER_BYTES) {
        store->last_frame = is_last_header(data);
    } else if (rc == SQLITE_OK && store->last_frame) {
        store->last_frame = false;
        rc = gathered_out(&store->wal_file);
    }
    return rc;
}

static int sync_log(sqlite3_file *file, int flags)
{
    struct store *store = store_of(file);
    if (store->pass != PASS_NONE) {
        return SQLITE_OK;
    }
    int rc = gathered_out(&store->wal_file);
    return rc == SQLITE_OK ? store->wal_file.base->xSync(file, flags) : rc;
}

int watch_sync_log(struct store *store)
{
    return sync_log(store->wal_file.file, SQLITE_SYNC_NORMAL);
}

/* ---- synced beside the loop -----------------------------------------------
 */

bool watch_begin_sync(struct store *store, const struct watched *watched)
{
    const struct fs *fs = store->options.fs;
    must(!store->syncing && watched->gather.size == 0);
    if (watched->handle < 0) {
        return false;
    }
    store->syncing = watched;
    store->sync = (struct fs_op){.handle = watched->handle};
    fs->submit(fs->self, &store->sync);
    return true;
}

bool watch_sync_ended(struct store *store, bool wait)
{
    const struct fs *fs = store->options.fs;
    const struct watched *watched = store->syncing;
    if (!watched) {
        return true;
    }
    if (wait) {
        fs->wait(fs->self, &store->sync);
    } else if (!fs->poll(fs->self, &store->sync)) {
        return false;
    }
    must(store->sync.completed);
    store->syncing = NULL;
    if (store->sync.err) {
        die("%s%s: not synced, or in doubt", store->path,
            watched == &store->wal_file ? "-wal" : "");
    }
    return true;
}

static enum err open_beside(struct store *store, const char *name,
                            struct watched *watched)
{
    const struct fs *fs = store->options.fs;
    char path[FS_PATH_BYTES];
    if (!fs->submit) {
        return ERR_OK;
    }
    generation_path(store->generation.number, name, path);
    return fs->open(fs->self, path, FS_READ, &watched->handle);
}

/* ---- */

static void watch_file(struct store *store, int which, struct watched *watched)
{
    int rc = sqlite3_file_control(store->db, "main", which, &watched->file);
    must(rc == SQLITE_OK && watched->file && watched->file->pMethods);
    watched->store = store;
    watched->base = watched->file->pMethods;
    watched->methods = *watched->base;
    watched->methods.xRead = read_after;
    watched->methods.xTruncate = truncate_after;
    watched->methods.xFileSize = size_after;
    watched->file->pMethods = &watched->methods;
    watched->gather.data = mem_alloc(GATHER_BYTES);
    watched->gather.end = UINT64_MAX; /* Nobody knows. */
}

enum err watch(struct store *store)
{
    watch_file(store, SQLITE_FCNTL_FILE_POINTER, &store->db_file);
    watch_file(store, SQLITE_FCNTL_JOURNAL_POINTER, &store->wal_file);
    store->db_file.methods.xWrite = write_database;
    store->db_file.methods.xSync = sync_database;
    store->wal_file.methods.xWrite = write_log;
    store->wal_file.methods.xSync = sync_log;
    enum err err = open_beside(store, "state.db", &store->db_file);
    return err ? err : open_beside(store, "state.db-wal", &store->wal_file);
}

static void unwatch_file(struct store *store, struct watched *watched)
{
    const struct fs *fs = store->options.fs;
    mem_free(watched->gather.data);
    if (watched->handle >= 0) {
        fs->close(fs->self, watched->handle);
    }
}

void watch_free(struct store *store)
{
    unwatch_file(store, &store->db_file);
    unwatch_file(store, &store->wal_file);
}
