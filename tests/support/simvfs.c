/* simvfs.c -- see simvfs.h. */
#include "support/simvfs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

const char *const simvfs_name = "craftd-sim";

static struct {
    struct simdisk *disk;
    struct failfs *failfs; /* Or NULL. */
} mounts[SIMVFS_DISKS_MAX];

struct vfs_file {
    sqlite3_file base;
    const struct fs *fs;
    struct simdisk *disk;
    struct failfs *failfs;
    int handle;
    bool sync_dir;
    char path[128];
};

static int last_errno; /* Result of xGetLastError() after a failed open. */

static struct vfs_file *file_of(sqlite3_file *file)
{
    return (struct vfs_file *)(void *)file;
}

static long mount_of(const char *path, const char **rest)
{
    char *end;
    long number = strtol(path, &end, 10);
    must(*end == '/' && number >= 0 && number < SIMVFS_DISKS_MAX);
    *rest = end + 1;
    must(mounts[number].disk);
    return number;
}

static const struct fs *fs_of(long number)
{
    struct failfs *failfs = mounts[number].failfs;
    return failfs ? &failfs->fs : simdisk_fs(mounts[number].disk);
}

static void parent_of(const char *path, char parent[128])
{
    snprintf(parent, 128, "%s", path);
    char *slash = strrchr(parent, '/');
    must(slash);
    *slash = '\0';
}

static int code_of(enum err err, int io)
{
    return err == ERR_OK          ? SQLITE_OK
           : err == ERR_NOSPACE   ? SQLITE_FULL
           : err == ERR_RESOURCES ? SQLITE_IOERR_NOMEM
                                  : io;
}

static int vfs_close(sqlite3_file *file)
{
    struct vfs_file *f = file_of(file);
    f->fs->close(f->fs->self, f->handle);
    return SQLITE_OK;
}

static int vfs_read(sqlite3_file *file, void *data, int size,
                    sqlite3_int64 offset)
{
    struct vfs_file *f = file_of(file);
    size_t got = 0;
    enum err err = f->fs->read(f->fs->self, f->handle, (uint64_t)offset, data,
                               (size_t)size, &got);
    if (err) {
        return SQLITE_IOERR_READ;
    }
    if (got < (size_t)size) {
        memset((char *)data + got, 0, (size_t)size - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

static int vfs_write(sqlite3_file *file, const void *data, int size,
                     sqlite3_int64 offset)
{
    struct vfs_file *f = file_of(file);
    return code_of(f->fs->write(f->fs->self, f->handle, (uint64_t)offset, data,
                                (size_t)size),
                   SQLITE_IOERR_WRITE);
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct vfs_file *f = file_of(file);
    enum err err = f->failfs ? failfs_truncate(f->failfs) : ERR_OK;
    if (!err) {
        err = simdisk_resize(f->disk, f->handle, (uint64_t)size);
    }
    return code_of(err, SQLITE_IOERR_TRUNCATE);
}

static int vfs_sync(sqlite3_file *file, int flags)
{
    struct vfs_file *f = file_of(file);
    /* On macOS a sync of another kind stops at the cache of the drive. SQLite
     * has its own way with a journal, which a database has before it gets its
     * -wal only. */
    must((flags & ~SQLITE_SYNC_DATAONLY) == SQLITE_SYNC_FULL ||
         strstr(f->path, "-journal"));
    enum err err = f->fs->fdatasync(f->fs->self, f->handle);
    if (!err && f->sync_dir) {
        char parent[128];
        parent_of(f->path, parent);
        err = f->fs->sync_dir(f->fs->self, parent);
        /* SQLite's own VFS takes a directory that cannot be opened for one
         * that cannot be synced. */
        err = err == ERR_RESOURCES ? ERR_OK : err;
        f->sync_dir = false;
    }
    return code_of(err, SQLITE_IOERR_FSYNC);
}

static int vfs_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct vfs_file *f = file_of(file);
    uint64_t bytes = 0;
    enum err err = f->fs->size(f->fs->self, f->handle, &bytes);
    *size = (sqlite3_int64)bytes;
    return code_of(err, SQLITE_IOERR_FSTAT);
}

static int vfs_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int vfs_check_lock(sqlite3_file *file, int *held)
{
    (void)file;
    *held = 0;
    return SQLITE_OK;
}

static int vfs_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int vfs_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int vfs_traits(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_file_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_lock,
    .xCheckReservedLock = vfs_check_lock,
    .xFileControl = vfs_control,
    .xSectorSize = vfs_sector,
    .xDeviceCharacteristics = vfs_traits,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                    int flags, int *out_flags)
{
    (void)vfs;
    struct vfs_file *f = file_of(file);
    memset(f, 0, sizeof(*f));
    if (!name) {
        return SQLITE_CANTOPEN; /* Temporary files live in memory. */
    }
    const char *path;
    long number = mount_of(name, &path);
    f->disk = mounts[number].disk;
    f->failfs = mounts[number].failfs;
    f->fs = fs_of(number);
    snprintf(f->path, sizeof(f->path), "%s", path);
    bool create = (flags & SQLITE_OPEN_CREATE) != 0;
    enum err err = f->fs->open(f->fs->self, path, FS_WRITE, &f->handle);
    if (err == ERR_NOT_FOUND && create) {
        err = f->fs->open(f->fs->self, path, FS_CREATE, &f->handle);
    }
    /* Even when it exists: a killed process may have created it. */
    f->sync_dir =
        create && (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) != 0;
    if (err) {
        last_errno = err == ERR_RESOURCES ? EMFILE : EIO;
        return err == ERR_NOSPACE ? SQLITE_FULL : SQLITE_CANTOPEN;
    }
    f->base.pMethods = &methods;
    if (out_flags) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    const char *path;
    const struct fs *fs = fs_of(mount_of(name, &path));
    enum err err = fs->unlink(fs->self, path);
    if (err == ERR_NOT_FOUND) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    if (!err && sync) {
        char parent[128];
        parent_of(path, parent);
        err = fs->sync_dir(fs->self, parent);
    }
    return code_of(err, SQLITE_IOERR_DELETE);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *yes)
{
    (void)vfs;
    (void)flags;
    const char *path;
    const struct simdisk *disk = mounts[mount_of(name, &path)].disk;
    /* An empty -wal or journal counts as absent. */
    *yes = simdisk_has_bytes(disk, path);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size,
                         char *out)
{
    (void)vfs;
    snprintf(out, (size_t)size, "%s", name);
    return SQLITE_OK;
}

/* Salts of the -wal: the same in every run. */
static int vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    memset(out, 7, (size_t)size);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int vfs_time(sqlite3_vfs *vfs, double *days)
{
    (void)vfs;
    *days = 2460000.5;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    if (size > 0) {
        out[0] = '\0';
    }
    return last_errno;
}

void simvfs_mount(int number, struct simdisk *disk)
{
    static const char *const prefixes[SIMVFS_DISKS_MAX] = {
        "0/", "1/", "2/", "3/", "4/", "5/", "6/", "7/"};
    must(number >= 0 && number < SIMVFS_DISKS_MAX);
    mounts[number].disk = disk;
    mounts[number].failfs = NULL;
    simdisk_set_prefix(disk, prefixes[number]);
}

void simvfs_set_failfs(int number, struct failfs *failfs)
{
    must(number >= 0 && number < SIMVFS_DISKS_MAX && mounts[number].disk);
    mounts[number].failfs = failfs;
}

void simvfs_install(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = 128,
        .zName = "craftd-sim",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
    };
    int rc = sqlite3_vfs_register(&vfs, 1);
    must(rc == SQLITE_OK);
    sqlite3_randomness(0, NULL);
}
