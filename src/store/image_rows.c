/* image_rows.c -- the keys of an image in order, read by SQLite.
 *
 * SQLite opens the image through a VFS of this file, whose one file is
 * read-only and immutable: there is no lock, no journal and no -wal, and no
 * descriptor of the database is opened or closed. The header says that a
 * database in WAL mode needs its -wal; SQLite is shown the mode of a rollback
 * journal instead. The image was written by this node, so it is trusted as the
 * database is. */
#include <stdio.h>

#include "base/log.h"
#include "store/store_internal.h"

enum {
    PAGE_BYTES = 4096,
    FORMATS_AT = 18, /* sqlite.org/fileformat2.html, 1.3.3. */
    FORMATS_END = 20,
    FORMAT_ROLLBACK = 1,
};

/* The file that SQLite has opened. */
struct image_file {
    sqlite3_file base; /* First: SQLite's handle. */
    const struct store_image *image;
};

struct image_rows {
    sqlite3_vfs vfs;
    sqlite3 *db;
    sqlite3_stmt *select;
};

/* ---- the file ---- */

static int file_close(sqlite3_file *file)
{
    (void)file;
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *data, int size,
                     sqlite3_int64 offset)
{
    const struct image_file *self = (const void *)file;
    const struct store_image *image = self->image;
    uint8_t *out = data;
    uint64_t at = (uint64_t)offset;
    size_t there =
        at < image->bytes ? min_u64((uint64_t)size, image->bytes - at) : 0;
    if (there > 0 && store_image_read_at(image, at, out, there)) {
        return SQLITE_IOERR_READ;
    }
    for (uint64_t i = max_u64(at, FORMATS_AT);
         i < FORMATS_END && i < at + there; i++) {
        out[i - at] = FORMAT_ROLLBACK;
    }
    if (there < (size_t)size) {
        memset(out + there, 0, (size_t)size - there);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

static int file_write(sqlite3_file *file, const void *data, int size,
                      sqlite3_int64 offset)
{
    (void)file;
    (void)data;
    (void)size;
    (void)offset;
    return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    (void)file;
    (void)size;
    return SQLITE_READONLY;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    const struct image_file *self = (const void *)file;
    *size = (sqlite3_int64)self->image->bytes;
    return SQLITE_OK;
}

/* Syncs, locks and the kind of the device, which have no effect here. */
static int file_nothing(sqlite3_file *file, int argument)
{
    (void)file;
    (void)argument;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *result)
{
    (void)file;
    *result = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *argument)
{
    (void)file;
    (void)op;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file)
{
    (void)file;
    return PAGE_BYTES;
}

static int file_device(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_nothing,
    .xFileSize = file_size,
    .xLock = file_nothing,
    .xUnlock = file_nothing,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device,
};

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                    int flags, int *out_flags)
{
    struct image_file *self = (void *)file;
    (void)name;
    file->pMethods = NULL;
    if (!(flags & SQLITE_OPEN_MAIN_DB)) {
        return SQLITE_CANTOPEN;
    }
    *self =
        (struct image_file){.base.pMethods = &methods, .image = vfs->pAppData};
    if (out_flags) {
        *out_flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB;
    }
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    (void)name;
    (void)sync;
    return SQLITE_READONLY;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags,
                      int *result)
{
    (void)vfs;
    (void)name;
    (void)flags;
    *result = 0;
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size,
                         char *out)
{
    (void)vfs;
    return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK
                                                          : SQLITE_CANTOPEN;
}

/* Open the connection. Its VFS is registered only until then: SQLite finds it
 * by its name, and a connection keeps a pointer to its own. */
static int open_connection(struct image_rows *rows, struct store_image *image)
{
    static const char name[] = "craftd-image";
    rows->vfs = *sqlite3_vfs_find(NULL); /* Randomness, sleep and time. */
    rows->vfs.iVersion = 1;
    rows->vfs.szOsFile = (int)sizeof(struct image_file);
    rows->vfs.pNext = NULL;
    rows->vfs.zName = name;
    rows->vfs.pAppData = image;
    rows->vfs.xOpen = vfs_open;
    rows->vfs.xDelete = vfs_delete;
    rows->vfs.xAccess = vfs_access;
    rows->vfs.xFullPathname = vfs_full_name;
    int rc = sqlite3_vfs_register(&rows->vfs, 0);
    if (rc == SQLITE_OK) {
        rc = sqlite3_open_v2("image", &rows->db,
                             SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, name);
        sqlite3_vfs_unregister(&rows->vfs);
    }
    return rc;
}

static int count_keys(struct image_rows *rows, uint64_t *keys)
{
    sqlite3_stmt *count = NULL;
    int rc =
        sqlite3_prepare_v2(rows->db, "SELECT keys FROM raft", -1, &count, NULL);
    if (rc == SQLITE_OK && sqlite3_step(count) == SQLITE_ROW) {
        *keys = (uint64_t)sqlite3_column_int64(count, 0);
    } else if (rc == SQLITE_OK) {
        rc = SQLITE_ERROR;
    }
    sqlite3_finalize(count);
    return rc;
}

static enum err error_of(const struct store_image *image, const char *what)
{
    if (image->lost) {
        return ERR_NOSPACE; /* Logged by image.c. */
    }
    enum err err = store_error(image->rows->db, what);
    return err == ERR_CORRUPT ? ERR_IO : err;
}

enum err store_image_rows_begin(struct store_image *image, uint64_t *keys)
{
    static const char configure[] =
        "PRAGMA cache_size=-512; PRAGMA mmap_size=0; PRAGMA "
        "temp_store=MEMORY; PRAGMA trusted_schema=OFF";
    static const char select[] =
        "SELECT key, value, create_index, modify_index FROM pairs "
        "WHERE key > ?1 ORDER BY key";
    must(image->at == 0 && !image->rows && !image->changed);
    struct image_rows *rows = mem_zalloc(sizeof(*rows));
    image->rows = rows;
    int rc = open_connection(rows, image);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(rows->db, configure, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = count_keys(rows, keys);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v3(rows->db, select, -1, SQLITE_PREPARE_PERSISTENT,
                                &rows->select, NULL);
    }
    if (rc != SQLITE_OK) {
        return rows->db ? error_of(image, "opening an image") : ERR_RESOURCES;
    }
    store_image_rows_seek(image, (struct bytes){0});
    return ERR_OK;
}

void store_image_rows_free(struct image_rows *rows)
{
    if (rows) {
        sqlite3_finalize(rows->select);
        sqlite3_close(rows->db);
        mem_free(rows);
    }
}

void store_image_rows_seek(struct store_image *image, struct bytes after)
{
    sqlite3_stmt *select = image->rows->select;
    sqlite3_reset(select);
    /* A key has at least one byte, so all are behind the empty one. */
    if (sqlite3_bind_blob(select, 1,
                          after.size > 0 ? after.data : (const void *)"",
                          (int)after.size, SQLITE_TRANSIENT) != SQLITE_OK) {
        image->lost = true; /* No memory: nothing is read from it any more. */
    }
}

static struct bytes column(sqlite3_stmt *statement, int i)
{
    return bytes_of(sqlite3_column_blob(statement, i),
                    (size_t)sqlite3_column_bytes(statement, i));
}

enum err store_image_rows_next(struct store_image *image,
                               struct store_pair *pair)
{
    sqlite3_stmt *select = image->rows->select;
    int rc = image->lost ? SQLITE_IOERR : sqlite3_step(select);
    *pair = (struct store_pair){0};
    if (rc == SQLITE_DONE) {
        return ERR_NOT_FOUND;
    }
    if (rc != SQLITE_ROW) {
        return error_of(image, "reading an image");
    }
    pair->key = column(select, 0);
    pair->value = column(select, 1);
    pair->create_index = (uint64_t)sqlite3_column_int64(select, 2);
    pair->modify_index = (uint64_t)sqlite3_column_int64(select, 3);
    return ERR_OK;
}
