/* readonly.c -- SQLite opens a file that it cannot write, through a VFS that
 * has nothing else.
 *
 * The file is immutable for SQLite: there is no lock, no journal and no -wal,
 * and no descriptor is opened. The header of a database in WAL mode says that
 * it needs its -wal; SQLite is shown the mode of a rollback journal instead. */
#include <stdio.h>

#include "store/store_internal.h"

enum {
    PAGE_BYTES = 4096,
    FORMATS_AT = 18, /* sqlite.org/fileformat2.html, 1.3.3. */
    FORMATS_END = 20,
    FORMAT_ROLLBACK = 1,
};

/* The file that SQLite has opened. */
struct opened_file {
    sqlite3_file base; /* First: SQLite's handle. */
    const struct readonly *readonly;
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
    const struct opened_file *self = (const void *)file;
    const struct readonly *readonly = self->readonly;
    uint8_t *out = data;
    uint64_t at = (uint64_t)offset;
    size_t there = at < readonly->bytes
                       ? min_u64((uint64_t)size, readonly->bytes - at)
                       : 0;
    if (there > 0 && readonly->read(readonly->source, at, out, there)) {
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
    const struct opened_file *self = (const void *)file;
    *size = (sqlite3_int64)self->readonly->bytes;
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
    struct opened_file *self = (void *)file;
    (void)name;
    file->pMethods = NULL;
    if (!(flags & SQLITE_OPEN_MAIN_DB)) {
        return SQLITE_CANTOPEN;
    }
    *self = (struct opened_file){.base.pMethods = &methods,
                                 .readonly = vfs->pAppData};
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

int store_readonly_open(struct readonly *readonly, sqlite3 **db)
{
    static const char name[] = "craftd-readonly";
    sqlite3_vfs *vfs = &readonly->vfs;
    *vfs = *sqlite3_vfs_find(NULL); /* Randomness, sleep and time. */
    vfs->iVersion = 1;
    vfs->szOsFile = (int)sizeof(struct opened_file);
    vfs->pNext = NULL;
    vfs->zName = name;
    vfs->pAppData = readonly;
    vfs->xOpen = vfs_open;
    vfs->xDelete = vfs_delete;
    vfs->xAccess = vfs_access;
    vfs->xFullPathname = vfs_full_name;
    /* It is registered only until SQLite has found it by its name: a connection
     * keeps a pointer to its own. */
    int rc = sqlite3_vfs_register(vfs, 0);
    if (rc == SQLITE_OK) {
        rc = sqlite3_open_v2("file", db,
                             SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, name);
        sqlite3_vfs_unregister(vfs);
    }
    return rc;
}
