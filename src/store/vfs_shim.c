/* vfs_shim.c -- intercepts SQLite's I/O on the database and its -wal.
 *
 * SQLite has a handle for each of the two files. store_shim_install() replaces
 * their tables of methods by ones that do more, and then call the original
 * methods:
 *
 *   Batched writes. SQLite writes one page at a time, and to the -wal a
 *   header of 24 bytes before each. Adjacent writes are collected in a buffer,
 *   which is written when a transaction is complete, when it is full, and
 *   before any other operation on that file. So a read sees what SQLite has
 *   written, and an error is returned before the transaction or the
 *   checkpoint is complete.
 *
 *   Early writeback. The kernel keeps what is written to the -wal in memory
 *   until a checkpoint syncs it. All of it at once would occupy the disk for
 *   tens of milliseconds, in which the log's fdatasync waits; so the disk gets
 *   it piece by piece before.
 *
 *   Checkpoints. Which writes and syncs of SQLite's checkpoint are done,
 *   skipped or refused depends on the step (checkpoint.c).
 *
 *   Images. Pages that an open image still needs are saved before a checkpoint
 *   overwrites them (image.c).
 *
 *   A full disk. A write that finds no space releases the reserve (reserve.c),
 *   and is tried again before SQLite sees an error. */
#include "store/store_internal.h"

enum {
    BUFFER_BYTES = 64 << 10,
    WRITEBACK_BYTES = 256 << 10,
    /* A frame of the -wal: sqlite.org/fileformat2.html, 4.1. */
    FRAME_HEADER_BYTES = 24,
    FRAME_COMMITS = 4, /* u32: not 0 in the last frame of a transaction. */
};

static struct store *store_of(sqlite3_file *file)
{
    const struct shim_file *shim = (const void *)file->pMethods;
    return shim->store;
}

/* ---- batched writes ---- */

/* SQLite's VFS returns SQLITE_FULL for ENOSPC alone. Here it stands for a quota
 * and a limit of the file's size too, and SQLITE_IOERR_NOMEM for a lack of the
 * kernel's memory. */
static int write_base(const struct shim_file *shim, const void *data, int size,
                      uint64_t offset)
{
    sqlite3_file *file = shim->file;
    int error = 0;
    int rc = shim->base->xWrite(file, data, size, (sqlite3_int64)offset);
    if (rc == SQLITE_OK) {
        shim->store->written_bytes += (uint64_t)size;
    }
    if (rc != SQLITE_IOERR_WRITE ||
        shim->base->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) !=
            SQLITE_OK) {
        return rc;
    }
    enum err shortage = fs_shortage_of(error);
    return shortage == ERR_NOSPACE     ? SQLITE_FULL
           : shortage == ERR_RESOURCES ? SQLITE_IOERR_NOMEM
                                       : rc;
}

static void start_writeback(struct shim_file *shim, uint64_t written)
{
    const struct fs *fs = shim->store->options.fs;
    shim->unstarted_bytes += written;
    if (shim->unstarted_bytes >= WRITEBACK_BYTES && fs->start_writeback &&
        shim == &shim->store->wal_file) {
        shim->unstarted_bytes = 0;
        fs->start_writeback(fs->self, shim->handle);
    }
}

/* Writes, and releases the reserve if there is no space. */
static int write_through(struct shim_file *shim, const void *data, int size,
                         uint64_t offset)
{
    int rc = write_base(shim, data, size, offset);
    if ((rc & 0xff) == SQLITE_FULL && reserve_release(&shim->store->reserve)) {
        rc = write_base(shim, data, size, offset);
    }
    if (rc == SQLITE_OK) {
        start_writeback(shim, (uint64_t)size);
    }
    return rc;
}

/* Writes the buffer. It is empty after a failure too, since SQLite abandons the
 * transaction or the checkpoint that the writes belong to. */
static int flush_buffer(struct shim_file *shim)
{
    struct write_buffer *buffer = &shim->buffer;
    size_t size = buffer->size;
    must(size <= BUFFER_BYTES && (size == 0 || size <= buffer->end));
    buffer->size = 0;
    return size == 0 ? SQLITE_OK
                     : write_through(shim, buffer->data, (int)size,
                                     buffer->end - size);
}

/* Buffers a write that starts where the last one ended; any other is done at
 * once. */
static int buffer_write(struct shim_file *shim, const void *data, int size,
                        uint64_t offset)
{
    struct write_buffer *buffer = &shim->buffer;
    bool adjacent = offset == buffer->end && size <= BUFFER_BYTES;
    int rc = SQLITE_OK;
    if (!adjacent || buffer->size + (size_t)size > BUFFER_BYTES) {
        rc = flush_buffer(shim);
    }
    if (rc == SQLITE_OK && adjacent) {
        memcpy(buffer->data + buffer->size, data, (size_t)size);
        buffer->size += (size_t)size;
    } else if (rc == SQLITE_OK) {
        rc = write_through(shim, data, size, offset);
    }
    buffer->end = offset + (uint64_t)size;
    return rc;
}

static struct shim_file *shim_of(sqlite3_file *file)
{
    struct store *store = store_of(file);
    return file == store->db_file.file ? &store->db_file : &store->wal_file;
}

/* A checkpoint reads a page of the -wal and writes it to the database, in the
 * order of the pages. What is not written need not be read. */
static bool skip_read(struct store *store, const struct shim_file *shim)
{
    if (shim != &store->wal_file || store->pass == PASS_NONE) {
        return false;
    }
    store->copy.skipped =
        store->pass != PASS_COPY || store->copy.reads < store->copy.pages;
    store->copy.reads++;
    return store->copy.skipped;
}

static int shim_read(sqlite3_file *file, void *data, int size,
                     sqlite3_int64 offset)
{
    struct shim_file *shim = shim_of(file);
    if (skip_read(shim->store, shim)) {
        return SQLITE_OK;
    }
    int rc = flush_buffer(shim);
    return rc == SQLITE_OK ? shim->base->xRead(file, data, size, offset) : rc;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct shim_file *shim = shim_of(file);
    int rc = flush_buffer(shim);
    return rc == SQLITE_OK ? shim->base->xTruncate(file, size) : rc;
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct shim_file *shim = shim_of(file);
    int rc = flush_buffer(shim);
    return rc == SQLITE_OK ? shim->base->xFileSize(file, size) : rc;
}

/* ---- the database ---- */

static int write_database(sqlite3_file *file, const void *data, int size,
                          sqlite3_int64 offset)
{
    struct store *store = store_of(file);
    must(store->pass != PASS_NONE && !store->syncing);
    if (store->pass != PASS_COPY) {
        return SQLITE_OK;
    }
    must(store->copy.skipped == ((uint64_t)offset < store->copy.end));
    if (store->copy.skipped) {
        return SQLITE_OK;
    }
    if (store->copy.left == 0) {
        /* The step ends here; the next one continues with this page. */
        int rc = flush_buffer(&store->db_file);
        return rc == SQLITE_OK ? SQLITE_INTERRUPT : rc;
    }
    store->copy.left--;
    store->copy.pages++;
    store->copy.end = (uint64_t)offset + (uint64_t)size;
    store_images_before_write(store, (uint64_t)offset, (uint64_t)size);
    return buffer_write(&store->db_file, data, size, (uint64_t)offset);
}

static int sync_database(sqlite3_file *file, int flags)
{
    struct store *store = store_of(file);
    must(!store->syncing);
    int rc = flush_buffer(&store->db_file);
    if (rc != SQLITE_OK) {
        return rc;
    }
    store->copy.complete = store->copy.complete || store->pass == PASS_COPY;
    return store->pass == PASS_COPY  ? SQLITE_INTERRUPT
           : store->pass == PASS_END ? SQLITE_OK
                                     : store->db_file.base->xSync(file, flags);
}

void store_shim_discard(struct store *store)
{
    store->db_file.buffer.size = 0;
    store->wal_file.buffer.size = 0;
}

/* ---- the -wal ---- */

static bool is_last_header(const uint8_t *data)
{
    static const uint8_t zero[4];
    return memcmp(data + FRAME_COMMITS, zero, sizeof(zero)) != 0;
}

static int write_wal(sqlite3_file *file, const void *data, int size,
                     sqlite3_int64 offset)
{
    struct store *store = store_of(file);
    must(store->pass == PASS_NONE && !store->syncing);
    store->step = STEP_NONE;
    int rc = buffer_write(&store->wal_file, data, size, (uint64_t)offset);
    if (size == FRAME_HEADER_BYTES) {
        store->last_frame = is_last_header(data);
    } else if (rc == SQLITE_OK && store->last_frame) {
        store->last_frame = false;
        rc = flush_buffer(&store->wal_file);
    }
    return rc;
}

static int sync_wal(sqlite3_file *file, int flags)
{
    struct store *store = store_of(file);
    if (store->pass != PASS_NONE) {
        return SQLITE_OK;
    }
    int rc = flush_buffer(&store->wal_file);
    return rc == SQLITE_OK ? store->wal_file.base->xSync(file, flags) : rc;
}

int store_shim_sync_wal(struct store *store)
{
    must(store->pass == PASS_NONE && !store->syncing);
    return sync_wal(store->wal_file.file, SQLITE_SYNC_FULL);
}

/* Frames that SQLite has buffered, or writes later, replace the zeros. */
enum err store_shim_extend_wal(struct store *store, uint64_t from, uint64_t to)
{
    static uint8_t zeros[4096]; /* Not const: then they are in no file. */
    int rc = SQLITE_OK;
    must(store->pass == PASS_NONE && !store->syncing);
    while (rc == SQLITE_OK && from < to) {
        uint64_t size = min_u64(sizeof(zeros), to - from);
        rc = write_base(&store->wal_file, zeros, (int)size, from);
        from += size;
    }
    return rc == SQLITE_OK ? ERR_OK : store_code_shortage(rc, 0);
}

/* ---- installing ---- */

/* Opens a handle of the fs for asynchronous syncs and early writeback: both
 * cover the whole file, whatever handle wrote to it. */
static enum err open_for_sync(struct store *store, const char *name,
                              struct shim_file *shim)
{
    const struct fs *fs = store->options.fs;
    char path[FS_PATH_BYTES];
    if (!fs->submit && !fs->start_writeback) {
        return ERR_OK;
    }
    store_generation_path(store->generation.number, name, path);
    return fs->open(fs->self, path, FS_READ, &shim->handle);
}

static void install(struct store *store, int which, struct shim_file *shim)
{
    must(!shim->base);
    int rc = sqlite3_file_control(store->db, "main", which, &shim->file);
    must(rc == SQLITE_OK && shim->file && shim->file->pMethods);
    shim->store = store;
    shim->base = shim->file->pMethods;
    shim->methods = *shim->base;
    shim->methods.xRead = shim_read;
    shim->methods.xTruncate = shim_truncate;
    shim->methods.xFileSize = shim_size;
    shim->file->pMethods = &shim->methods;
    shim->buffer.data = mem_alloc(BUFFER_BYTES);
    shim->buffer.end = UINT64_MAX; /* No write is adjacent to this. */
}

enum err store_shim_install(struct store *store)
{
    install(store, SQLITE_FCNTL_FILE_POINTER, &store->db_file);
    install(store, SQLITE_FCNTL_JOURNAL_POINTER, &store->wal_file);
    store->db_file.methods.xWrite = write_database;
    store->db_file.methods.xSync = sync_database;
    store->wal_file.methods.xWrite = write_wal;
    store->wal_file.methods.xSync = sync_wal;
    enum err err = open_for_sync(store, "state.db", &store->db_file);
    return err ? err : open_for_sync(store, "state.db-wal", &store->wal_file);
}

static void uninstall(struct store *store, struct shim_file *shim)
{
    const struct fs *fs = store->options.fs;
    mem_free(shim->buffer.data);
    if (shim->handle >= 0) {
        fs->close(fs->self, shim->handle);
    }
}

void store_shim_free(struct store *store)
{
    uninstall(store, &store->db_file);
    uninstall(store, &store->wal_file);
}
