/* fs_posix.c -- the kernel's files.
 *
 * Every path is resolved from a descriptor of the root directory, so that the
 * process may change its working directory and the root may be renamed. A
 * handle is the descriptor itself. The path of each open handle is kept, for
 * a log line about a failed write should name the file. */
#include "sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/sys.h"
#include "sys/uring.h"

/* An operation in flight. */
struct pending {
    struct fs_op *op; /* NULL: the place is free. */
    uint64_t offset;
    const uint8_t *data; /* The rest of it, after short writes. */
    size_t size;
    struct uring_op io;
};
_Static_assert((int)FS_OPS_MAX <= (int)URING_OPS_MAX, "the ring has room");

/* A directory at the top level whose descriptor stays open once it was synced,
 * so that no later sync of it can fail for lack of one. */
enum { KEPT_DIRS = 4, KEPT_NAME_BYTES = 32, SHORTAGE_LOG_MS = 60000 };
struct kept_dir {
    char name[KEPT_NAME_BYTES];
    int fd; /* -1: the place is free. */
};

struct posix_fs {
    struct fs fs;
    int root;          /* Descriptor of the root directory. */
    char *root_path;   /* Absolute, from realpath(). */
    char **paths;      /* [handle]: owned, NULL when not open. */
    size_t path_count; /* Places in `paths`. */
    /* One line per shortage, not one per attempt: when that of space, and of
     * descriptors, was logged last; 0: never. */
    uint64_t full_logged_ms;
    uint64_t short_logged_ms;
    struct kept_dir kept[KEPT_DIRS];
    struct uring *ring; /* NULL: not in use. */
    struct pending pending[FS_OPS_MAX];
};

static void log_failure(const struct posix_fs *self, const char *what,
                        const char *path)
{
    log_error("file", "op=%s path=\"%s/%s\" why=\"%s\"", what, self->root_path,
              path, strerror(errno));
}

/* Errors that a caller expects (missing, exists, locked) are for it to judge;
 * the others are logged here, with their detail. */
static enum err failed(struct posix_fs *self, const char *what,
                       const char *path)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EWOULDBLOCK:
        return ERR_LOCKED;
    default:
        break;
    }
    enum err shortage = fs_shortage_of(errno);
    if (!shortage) {
        log_failure(self, what, path);
        return ERR_IO;
    }
    int error = errno;
    uint64_t now_ms = sys_now_ms();
    uint64_t *logged_ms = shortage == ERR_NOSPACE ? &self->full_logged_ms
                                                  : &self->short_logged_ms;
    if (*logged_ms == 0 || now_ms >= *logged_ms + SHORTAGE_LOG_MS) {
        *logged_ms = now_ms;
        errno = error;
        log_failure(self, what, path);
    }
    return shortage;
}

/* An fdatasync is never tried again, whatever the reason. */
static enum err sync_failed(const struct posix_fs *self, const char *path)
{
    log_failure(self, "fdatasync", path);
    return ERR_IO;
}

/* "" and "." both are the root; an absolute path would escape it. */
static const char *relative(const char *path)
{
    must(path[0] != '/');
    return path[0] ? path : ".";
}

static const char *path_of(const struct posix_fs *self, int handle)
{
    must(handle >= 0 && (size_t)handle < self->path_count);
    must(self->paths[handle]);
    return self->paths[handle];
}

static void remember(struct posix_fs *self, int handle, const char *path)
{
    size_t place = (size_t)handle;
    if (place >= self->path_count) {
        size_t count = align_up(place + 1, 64);
        self->paths = mem_realloc(self->paths, count * sizeof(char *));
        memset(self->paths + self->path_count, 0,
               (count - self->path_count) * sizeof(char *));
        self->path_count = count;
    }
    must(!self->paths[place]);
    size_t size = strlen(path) + 1;
    self->paths[place] = mem_alloc(size);
    memcpy(self->paths[place], path, size);
}

static int open_at(int root, const char *path, int flags)
{
    int fd;
    do {
        fd = openat(root, path, flags | O_CLOEXEC | O_NOCTTY, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static enum err posix_open(void *arg, const char *path, enum fs_open_mode mode,
                           int *handle)
{
    struct posix_fs *self = arg;
    int flags = 0;
    switch (mode) {
    case FS_READ:
        flags = O_RDONLY;
        break;
    case FS_WRITE:
        flags = O_RDWR;
        break;
    case FS_CREATE:
        flags = O_RDWR | O_CREAT;
        break;
    case FS_CREATE_NEW:
        flags = O_RDWR | O_CREAT | O_EXCL;
        break;
    }
    int fd = open_at(self->root, relative(path), flags);
    if (fd < 0) {
        return failed(self, "open", path);
    }
    remember(self, fd, path);
    *handle = fd;
    return ERR_OK;
}

static void posix_close(void *arg, int handle)
{
    struct posix_fs *self = arg;
    must(path_of(self, handle));
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        const struct fs_op *op = self->pending[i].op;
        must(!op || op->handle != handle);
    }
    mem_free(self->paths[handle]);
    self->paths[handle] = NULL;
    /* No retry after EINTR: the descriptor is gone either way on Linux. What
     * had to be durable was synced before. */
    (void)close(handle);
}

static enum err posix_read(void *arg, int handle, uint64_t offset, void *data,
                           size_t size, size_t *got)
{
    struct posix_fs *self = arg;
    uint8_t *at = data;
    size_t done = 0;
    while (done < size) {
        ssize_t n =
            pread(handle, at + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return failed(self, "read", path_of(self, handle));
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *got = done;
    return ERR_OK;
}

static enum err posix_write(void *arg, int handle, uint64_t offset,
                            const void *data, size_t size)
{
    struct posix_fs *self = arg;
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t n = pwrite(handle, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* No progress is no success. */
            return failed(self, "write", path_of(self, handle));
        }
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

/* On macOS fsync() stops at the drive's cache; F_FULLFSYNC goes through it. */
static int sync_descriptor(int fd)
{
    int rc;
    do {
#ifdef F_FULLFSYNC
        rc = fcntl(fd, F_FULLFSYNC);
#else
        rc = fdatasync(fd);
#endif
    } while (rc < 0 && errno == EINTR);
    return rc;
}

static enum err posix_fdatasync(void *arg, int handle)
{
    struct posix_fs *self = arg;
    if (sync_descriptor(handle) < 0) {
        return sync_failed(self, path_of(self, handle));
    }
    return ERR_OK;
}

/* ---- asynchronous operations ---- */

static void complete(struct pending *pending, enum err err)
{
    pending->op->err = err;
    pending->op->completed = true;
    pending->op = NULL;
}

/* An operation that the kernel does not take is done here and now. */
static void start(struct posix_fs *self, struct pending *pending)
{
    int handle = pending->op->handle;
    bool writes = pending->size > 0;
    bool taken =
        writes ? uring_write_sync(self->ring, &pending->io, handle,
                                  pending->offset, pending->data, pending->size)
               : uring_sync(self->ring, &pending->io, handle);
    if (taken) {
        return;
    }
    enum err err = writes ? posix_write(self, handle, pending->offset,
                                        pending->data, pending->size)
                          : ERR_OK;
    complete(pending, err ? err : posix_fdatasync(self, handle));
}

static bool is_transient(int64_t result)
{
    return result == -EINTR || result == -EAGAIN;
}

/* A short write goes on with the rest: when the reason is a lack of space,
 * that fails, and the error says so. */
static void on_incomplete_write(struct posix_fs *self, struct pending *pending)
{
    int64_t wrote = pending->io.wrote;
    must(wrote < (int64_t)pending->size);
    if (wrote > 0) {
        pending->data += wrote;
        pending->offset += (uint64_t)wrote;
        pending->size -= (size_t)wrote;
        start(self, pending);
    } else if (is_transient(wrote)) {
        start(self, pending);
    } else {
        /* No progress is no success. */
        errno = wrote == 0 ? EIO : (int)-wrote;
        complete(pending,
                 failed(self, "write", path_of(self, pending->op->handle)));
    }
}

static void on_completion(struct posix_fs *self, struct pending *pending)
{
    const struct uring_op *io = &pending->io;
    if (io->wrote != (int64_t)pending->size) {
        on_incomplete_write(self, pending);
    } else if (io->synced == 0) {
        complete(pending, ERR_OK);
    } else if (is_transient(io->synced)) {
        start(self, pending);
    } else {
        errno = -io->synced;
        complete(pending,
                 sync_failed(self, path_of(self, pending->op->handle)));
    }
}

static void reap(struct posix_fs *self, bool wait)
{
    uring_reap(self->ring, wait);
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        struct pending *pending = &self->pending[i];
        if (pending->op && pending->io.pending == 0) {
            on_completion(self, pending);
        }
    }
}

static void posix_submit(void *arg, struct fs_op *op)
{
    struct posix_fs *self = arg;
    struct pending *place = NULL;
    must(path_of(self, op->handle));
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        must(self->pending[i].op != op);
        place = self->pending[i].op ? place : &self->pending[i];
    }
    must(place);
    op->completed = false;
    *place = (struct pending){
        .op = op, .offset = op->offset, .data = op->data, .size = op->size};
    start(self, place);
}

static bool posix_poll(void *arg, struct fs_op *op)
{
    if (!op->completed) {
        reap(arg, false);
    }
    return op->completed;
}

static void posix_wait(void *arg, struct fs_op *op)
{
    while (!op->completed) {
        reap(arg, true);
    }
}

bool fs_posix_use_uring(struct fs *fs, char *why, size_t why_size)
{
    struct posix_fs *self = fs->self;
    must(!self->ring);
    self->ring = uring_new(why, why_size);
    if (!self->ring) {
        return false;
    }
    fs->submit = posix_submit;
    fs->poll = posix_poll;
    fs->wait = posix_wait;
    return true;
}

int fs_posix_event_fd(const struct fs *fs)
{
    const struct posix_fs *self = fs->self;
    return self->ring ? uring_fd(self->ring) : -1;
}

/* Pages that are dirty, or mapped, stay; others go. */
static void posix_uncache(void *arg, int handle)
{
    (void)arg;
    (void)posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
}

static enum err posix_size(void *arg, int handle, uint64_t *size)
{
    struct posix_fs *self = arg;
    struct stat status;
    if (fstat(handle, &status) < 0) {
        return failed(self, "size", path_of(self, handle));
    }
    *size = (uint64_t)status.st_size;
    return ERR_OK;
}

/* ---- directories ---- */

/* One level below the root, and short: worth keeping open. */
static bool can_keep(const char *path)
{
    return path[0] != '\0' && strchr(path, '/') == NULL &&
           strcmp(path, ".") != 0 && strlen(path) < KEPT_NAME_BYTES;
}

/* The descriptor that was kept for `path`, or -1. */
static int kept_dir(const struct posix_fs *self, const char *path)
{
    for (size_t i = 0; i < KEPT_DIRS; i++) {
        if (self->kept[i].fd >= 0 && strcmp(self->kept[i].name, path) == 0) {
            return self->kept[i].fd;
        }
    }
    return -1;
}

/* False when there is no place for it: the caller closes `fd`. */
static bool keep_dir(struct posix_fs *self, const char *path, int fd)
{
    for (size_t i = 0; can_keep(path) && i < KEPT_DIRS; i++) {
        struct kept_dir *kept = &self->kept[i];
        if (kept->fd < 0) {
            kept->fd = fd;
            memcpy(kept->name, path, strlen(path) + 1);
            return true;
        }
    }
    return false;
}

/* The name means another directory from now on. */
static void drop_kept(struct posix_fs *self, const char *path)
{
    for (size_t i = 0; i < KEPT_DIRS; i++) {
        struct kept_dir *kept = &self->kept[i];
        if (kept->fd >= 0 && strcmp(kept->name, path) == 0) {
            (void)close(kept->fd);
            kept->fd = -1;
        }
    }
}

static enum err posix_rename(void *arg, const char *from, const char *to)
{
    struct posix_fs *self = arg;
    drop_kept(self, from);
    drop_kept(self, to);
    if (renameat(self->root, relative(from), self->root, relative(to)) < 0) {
        return failed(self, "rename", from);
    }
    return ERR_OK;
}

static enum err posix_unlink(void *arg, const char *path)
{
    struct posix_fs *self = arg;
    if (unlinkat(self->root, relative(path), 0) == 0) {
        return ERR_OK;
    }
    /* Linux says EISDIR for a directory, POSIX says EPERM. */
    if (errno == EISDIR || errno == EPERM) {
        if (unlinkat(self->root, relative(path), AT_REMOVEDIR) == 0) {
            drop_kept(self, path);
            return ERR_OK;
        }
    }
    return failed(self, "unlink", path);
}

static enum err posix_mkdir(void *arg, const char *path)
{
    struct posix_fs *self = arg;
    if (mkdirat(self->root, relative(path), 0700) == 0) {
        return ERR_OK;
    }
    struct stat status;
    if (errno == EEXIST && fstatat(self->root, path, &status, 0) == 0 &&
        S_ISDIR(status.st_mode)) {
        return ERR_OK;
    }
    return failed(self, "mkdir", path);
}

/* EINVAL: the file system has no sync for directories (CIFS, some FUSE): names
 * are as durable there as it makes them by itself. */
static int sync_directory(const char *root, int fd)
{
    static bool warned;
    int rc;
    do {
        rc = fsync(fd);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno == EINVAL) {
        if (!warned) {
            warned = true;
            log_warn("file",
                     "op=sync-dir path=\"%s\" why=\"%s: this file system does "
                     "not sync directories, so a power loss may undo the "
                     "creation or renaming of a file\"",
                     root, strerror(EINVAL));
        }
        return 0;
    }
    return rc;
}

static enum err posix_sync_dir(void *arg, const char *path)
{
    struct posix_fs *self = arg;
    const char *name = relative(path);
    int fd = strcmp(name, ".") == 0 ? self->root : kept_dir(self, name);
    bool opened = fd < 0;
    if (opened) {
        fd = open_at(self->root, name, O_RDONLY | O_DIRECTORY);
    }
    if (fd < 0) {
        return failed(self, "open-dir", path);
    }
    enum err err = sync_directory(self->root_path, fd) < 0
                       ? failed(self, "sync-dir", path)
                       : ERR_OK;
    if (opened && !keep_dir(self, name, fd)) {
        (void)close(fd);
    }
    return err;
}

static enum err posix_list(void *arg, const char *path, fs_name_cb *cb,
                           void *cb_arg)
{
    struct posix_fs *self = arg;
    int fd = open_at(self->root, relative(path), O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return failed(self, "open-dir", path);
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        enum err err = failed(self, "list", path);
        (void)close(fd);
        return err;
    }
    for (;;) {
        errno = 0; /* The end and a failure differ by this alone. */
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0) {
            cb(entry->d_name, cb_arg);
        }
    }
    enum err err = errno != 0 ? failed(self, "list", path) : ERR_OK;
    (void)closedir(dir);
    return err;
}

/* flock() belongs to the open file, not to the process: unlike a POSIX record
 * lock it is not lost when any other descriptor of the file is closed, and a
 * second node in one process meets it too. */
static enum err posix_lock(void *arg, const char *path, int *handle)
{
    struct posix_fs *self = arg;
    int fd;
    enum err err = posix_open(self, path, FS_CREATE, &fd);
    if (err) {
        return err;
    }
    int rc;
    do {
        rc = flock(fd, LOCK_EX | LOCK_NB);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        err = failed(self, "lock", path);
        posix_close(self, fd);
        return err;
    }
    *handle = fd;
    return ERR_OK;
}

static bool posix_real_path(void *arg, const char *path, char *out, size_t size)
{
    const struct posix_fs *self = arg;
    int wrote = snprintf(out, size, "%s/%s", self->root_path, relative(path));
    return wrote > 0 && (size_t)wrote < size;
}

static bool posix_free_bytes(void *arg, uint64_t *bytes)
{
    const struct posix_fs *self = arg;
    struct statvfs disk;
    if (fstatvfs(self->root, &disk) != 0) {
        return false;
    }
    *bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    return true;
}

/* The root's own name must survive a crash as surely as what is in it. A
 * parent that may not be opened (search permission only) is left alone: then
 * somebody else made the root, long ago. */
static int sync_parent(const char *path, int root)
{
    int parent = open_at(root, "..", O_RDONLY | O_DIRECTORY);
    if (parent < 0) {
        return errno == EACCES ? 0 : -1;
    }
    int rc = sync_directory(path, parent);
    int saved = errno;
    (void)close(parent);
    errno = saved;
    return rc;
}

static enum err root_failed(const char *what, const char *root)
{
    enum err shortage = fs_shortage_of(errno);
    log_error("file", "op=%s path=\"%s\" why=\"%s\"", what, root,
              strerror(errno));
    return shortage ? shortage : ERR_IO;
}

enum err fs_posix_new(const char *root, struct fs **fs)
{
    if (mkdir(root, 0700) < 0 && errno != EEXIST) {
        return root_failed("mkdir", root);
    }
    int fd = open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return root_failed("open-dir", root);
    }
    const char *what = "sync-parent-dir";
    char *root_path = NULL;
    if (sync_parent(root, fd) == 0) {
        what = "realpath";
        root_path = realpath(root, NULL);
    }
    if (!root_path) {
        enum err err = root_failed(what, root);
        (void)close(fd);
        return err;
    }
    struct posix_fs *self = mem_alloc(sizeof(*self));
    *self = (struct posix_fs){
        .fs =
            {
                .self = self,
                .open = posix_open,
                .close = posix_close,
                .read = posix_read,
                .write = posix_write,
                .fdatasync = posix_fdatasync,
                .uncache = posix_uncache,
                .size = posix_size,
                .rename = posix_rename,
                .unlink = posix_unlink,
                .mkdir = posix_mkdir,
                .sync_dir = posix_sync_dir,
                .list = posix_list,
                .lock = posix_lock,
                .real_path = posix_real_path,
                .free_bytes = posix_free_bytes,
            },
        .root = fd,
        .root_path = root_path,
    };
    for (size_t i = 0; i < KEPT_DIRS; i++) {
        self->kept[i].fd = -1;
    }
    *fs = &self->fs;
    return ERR_OK;
}

void fs_posix_free(struct fs *fs)
{
    if (!fs) {
        return;
    }
    struct posix_fs *self = fs->self;
    for (size_t i = 0; i < self->path_count; i++) {
        must(!self->paths[i]); /* Every handle was closed by its owner. */
    }
    uring_free(self->ring);
    for (size_t i = 0; i < KEPT_DIRS; i++) {
        if (self->kept[i].fd >= 0) {
            (void)close(self->kept[i].fd);
        }
    }
    (void)close(self->root);
    free(self->root_path); /* realpath() took it from malloc(). */
    mem_free(self->paths);
    mem_free(self);
}
