/* failfs.c -- see failfs.h. */
#include "support/failfs.h"

#include "support/simdisk.h"

static bool strikes(struct failfs *f, enum failfs_call call, bool takes_space)
{
    struct failfs_fault *fault = &f->fault;
    if (fault->call != call || fault->n == 0 ||
        (fault->err == ERR_NOSPACE && !takes_space)) {
        return false;
    }
    if (fault->n > 1) {
        fault->n--;
        return false;
    }
    if (!fault->for_ever) {
        fault->n = 0;
    }
    f->hits++;
    return true;
}

/* The result of a failed call, which may have been done all the same. */
#define FAIL(f, call, takes_space, all)                                        \
    do {                                                                       \
        if (strikes(f, call, takes_space)) {                                   \
            if ((f)->fault.done == FAILFS_ALL) {                               \
                (void)(all);                                                   \
            }                                                                  \
            return (f)->fault.err;                                             \
        }                                                                      \
    } while (0)

static enum err fail_open(void *self, const char *path, enum fs_open_mode mode,
                          int *handle)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    int probe;
    bool creates = mode == FS_CREATE || mode == FS_CREATE_NEW;
    /* Opening an existing file needs no space. */
    if (mode == FS_CREATE && f->fault.err == ERR_NOSPACE &&
        under->open(under->self, path, FS_READ, &probe) == ERR_OK) {
        under->close(under->self, probe);
        creates = false;
    }
    if (strikes(f, FAILFS_OPEN, creates)) {
        return f->fault.err;
    }
    return under->open(under->self, path, mode, handle);
}

static void fail_close(void *self, int handle)
{
    const struct failfs *f = self;
    f->under->close(f->under->self, handle);
}

static enum err fail_read(void *self, int handle, uint64_t offset, void *data,
                          size_t size, size_t *got)
{
    struct failfs *f = self;
    FAIL(f, FAILFS_READ, false, ERR_OK);
    return f->under->read(f->under->self, handle, offset, data, size, got);
}

static enum err fail_write(void *self, int handle, uint64_t offset,
                           const void *data, size_t size)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    if (!strikes(f, FAILFS_WRITE, true)) {
        return under->write(under->self, handle, offset, data, size);
    }
    /* Up to the middle of the first header, or of the data. */
    size_t part = f->fault.done == FAILFS_NOTHING ? 0
                  : f->fault.done == FAILFS_ALL   ? size
                                                  : min_size(40, size / 2);
    if (part > 0) {
        (void)under->write(under->self, handle, offset, data, part);
    }
    return f->fault.err;
}

static enum err fail_fdatasync(void *self, int handle)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    if (f->fault.done == FAILFS_DROPPED && strikes(f, FAILFS_FDATASYNC, true)) {
        simdisk_drop(under->self, handle);
        return f->fault.err;
    }
    FAIL(f, FAILFS_FDATASYNC, true, under->fdatasync(under->self, handle));
    return under->fdatasync(under->self, handle);
}

static void fail_uncache(void *self, int handle)
{
    const struct failfs *f = self;
    f->under->uncache(f->under->self, handle);
}

static enum err fail_size(void *self, int handle, uint64_t *size)
{
    struct failfs *f = self;
    FAIL(f, FAILFS_SIZE, false, ERR_OK);
    return f->under->size(f->under->self, handle, size);
}

static enum err fail_rename(void *self, const char *from, const char *to)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    FAIL(f, FAILFS_RENAME, true, under->rename(under->self, from, to));
    return under->rename(under->self, from, to);
}

static enum err fail_unlink(void *self, const char *path)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    FAIL(f, FAILFS_UNLINK, true, under->unlink(under->self, path));
    return under->unlink(under->self, path);
}

static enum err fail_mkdir(void *self, const char *path)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    FAIL(f, FAILFS_MKDIR, true, under->mkdir(under->self, path));
    return under->mkdir(under->self, path);
}

static enum err fail_sync_dir(void *self, const char *path)
{
    struct failfs *f = self;
    const struct fs *under = f->under;
    FAIL(f, FAILFS_SYNC_DIR, true, under->sync_dir(under->self, path));
    return under->sync_dir(under->self, path);
}

static enum err fail_list(void *self, const char *path, fs_name_cb *cb,
                          void *arg)
{
    struct failfs *f = self;
    FAIL(f, FAILFS_LIST, false, ERR_OK);
    return f->under->list(f->under->self, path, cb, arg);
}

static enum err fail_lock(void *self, const char *path, int *handle)
{
    const struct failfs *f = self;
    return f->under->lock(f->under->self, path, handle);
}

static bool fail_real_path(void *self, const char *path, char *out, size_t size)
{
    const struct failfs *f = self;
    return f->under->real_path(f->under->self, path, out, size);
}

void failfs_init(struct failfs *f, const struct fs *under)
{
    *f = (struct failfs){
        .fs = {.self = f,
               .open = fail_open,
               .close = fail_close,
               .read = fail_read,
               .write = fail_write,
               .fdatasync = fail_fdatasync,
               .uncache = fail_uncache,
               .size = fail_size,
               .rename = fail_rename,
               .unlink = fail_unlink,
               .mkdir = fail_mkdir,
               .sync_dir = fail_sync_dir,
               .list = fail_list,
               .lock = fail_lock,
               .real_path = fail_real_path},
        .under = under,
    };
}

/* All of it happens when it is polled: a process that has ended does not come
 * back for what it had submitted. */
static void fail_submit(void *self, struct fs_op *op)
{
    (void)self;
    op->completed = false;
}

static bool fail_poll(void *self, struct fs_op *op)
{
    struct failfs *f = self;
    if (op->completed) {
        return true;
    }
    op->err = op->size > 0
                  ? fail_write(f, op->handle, op->offset, op->data, op->size)
                  : ERR_OK;
    if (!op->err && fail_fdatasync(f, op->handle) != ERR_OK) {
        op->err =
            ERR_IO; /* Its durability is in doubt, whatever the error was. */
    }
    op->completed = true;
    return true;
}

static void fail_wait(void *self, struct fs_op *op)
{
    (void)fail_poll(self, op);
}

void failfs_set_async(struct failfs *f)
{
    f->fs.submit = fail_submit;
    f->fs.poll = fail_poll;
    f->fs.wait = fail_wait;
}

void failfs_fail(struct failfs *f, const struct failfs_fault *fault)
{
    f->fault = *fault;
    f->hits = 0;
}

enum err failfs_truncate(struct failfs *f)
{
    FAIL(f, FAILFS_TRUNCATE, true, ERR_OK);
    return ERR_OK;
}

void failfs_heal(struct failfs *f)
{
    f->fault.n = 0;
}

const char *failfs_name(enum failfs_call call)
{
    static const char *const names[] = {
#define X(name, text) text,
        FAILFS_CALLS(X)
#undef X
    };
    must((size_t)call < ARRAY_COUNT(names));
    return names[call];
}

bool failfs_takes_space(enum failfs_call call)
{
    return call != FAILFS_READ && call != FAILFS_SIZE && call != FAILFS_LIST;
}

bool failfs_takes_resources(enum failfs_call call)
{
    return failfs_takes_space(call) && call != FAILFS_FDATASYNC &&
           call != FAILFS_TRUNCATE;
}

bool failfs_has_effect(enum failfs_call call)
{
    return failfs_takes_space(call) && call != FAILFS_OPEN &&
           call != FAILFS_TRUNCATE;
}
