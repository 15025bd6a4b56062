/* fs.c -- helpers on top of the table of functions, for every file system. */
#include "sys/fs.h"

#include <errno.h>
#include <stdio.h>

enum err fs_shortage_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* ulimit -f, or the file system's own limit. */
        return ERR_NOSPACE;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return ERR_RESOURCES;
    default:
        return ERR_OK;
    }
}

static enum err write_whole(const struct fs *fs, const char *path,
                            const void *data, size_t size)
{
    int handle;
    enum err err = fs->open(fs->self, path, FS_CREATE_NEW, &handle);
    if (err) {
        return err;
    }
    err = fs->write(fs->self, handle, 0, data, size);
    if (!err) {
        err = fs->fdatasync(fs->self, handle);
    }
    fs->close(fs->self, handle);
    return err;
}

enum err fs_replace_or_not(const struct fs *fs, const char *dir,
                           const char *path, const void *data, size_t size,
                           bool *in_doubt)
{
    *in_doubt = false;
    char draft[FS_PATH_BYTES];
    int wrote = snprintf(draft, sizeof(draft), "%s.tmp", path);
    must(wrote > 0 && (size_t)wrote < sizeof(draft));

    /* A crash may have left a draft, which may be longer. */
    enum err err = fs->unlink(fs->self, draft);
    if (err && err != ERR_NOT_FOUND) {
        return err;
    }
    err = write_whole(fs, draft, data, size);
    if (err) {
        goto fail;
    }
    *in_doubt = true;
    err = fs->rename(fs->self, draft, path);
    if (err) {
        goto fail;
    }
    err = fs->sync_dir(fs->self, dir);
    *in_doubt = err != ERR_OK;
    return err;

fail:
    (void)fs->unlink(fs->self, draft); /* The next call tries again. */
    return err;
}

enum err fs_replace(const struct fs *fs, const char *dir, const char *path,
                    const void *data, size_t size)
{
    bool in_doubt;
    return fs_replace_or_not(fs, dir, path, data, size, &in_doubt);
}

enum err fs_write_zeros(const struct fs *fs, int handle, uint64_t offset,
                        size_t size)
{
    /* Not const, so that the zeros are not part of the executable file. */
    static uint8_t zeros[FS_ZEROS_BYTES];
    must(size <= sizeof(zeros));
    enum err err = fs->write(fs->self, handle, offset, zeros, size);
    if (!err && fs->start_writeback) {
        fs->start_writeback(fs->self, handle);
    }
    return err;
}

struct emptying {
    const struct fs *fs;
    const char *dir;
    enum err err;
};

static void unlink_one(const char *name, void *arg)
{
    struct emptying *emptying = arg;
    char path[FS_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", emptying->dir, name);
    enum err err = emptying->fs->unlink(emptying->fs->self, path);
    emptying->err = emptying->err ? emptying->err : err;
}

enum err fs_empty(const struct fs *fs, const char *dir)
{
    struct emptying emptying = {.fs = fs, .dir = dir};
    enum err err = fs->list(fs->self, dir, unlink_one, &emptying);
    return err ? err : emptying.err;
}

enum err fs_sync_file(const struct fs *fs, const char *path)
{
    int handle;
    enum err err = fs->open(fs->self, path, FS_WRITE, &handle);
    if (err) {
        return err;
    }
    err = fs->fdatasync(fs->self, handle);
    if (!err) {
        fs->uncache(fs->self, handle);
    }
    fs->close(fs->self, handle);
    return err;
}

enum err fs_read_all(const struct fs *fs, const char *path, size_t limit,
                     uint8_t **data, size_t *size)
{
    int handle;
    enum err err = fs->open(fs->self, path, FS_READ, &handle);
    if (err) {
        return err;
    }
    uint8_t *bytes = NULL;
    uint64_t file_bytes;
    err = fs->size(fs->self, handle, &file_bytes);
    if (err) {
        goto out;
    }
    if (file_bytes > limit) {
        err = ERR_TOO_BIG;
        goto out;
    }
    bytes = mem_alloc((size_t)file_bytes);
    size_t got;
    err = fs->read(fs->self, handle, 0, bytes, (size_t)file_bytes, &got);
    if (err) {
        goto out;
    }
    *data = bytes;
    *size = got; /* Less than file_bytes only if the file was cut meanwhile. */
    bytes = NULL;

out:
    mem_free(bytes);
    fs->close(fs->self, handle);
    return err;
}
