/* fs_posix.c -- the kernel's files, by blocking calls.
 *
 * Every path is resolved from a descriptor of the root directory, so that the
 * process may change its working directory and the root may be renamed. A
 * handle is the descriptor itself. The path of each open handle is kept, so
 * that a log line about a failed write can name the file. */
#define _GNU_SOURCE /* sync_file_range() */
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
#include "sys/fs_posix_internal.h"
#include "sys/sys.h"

/* Offsets are cast to off_t, times to time_t: with 32 bits they would wrap.
 * Some systems of 32 bits have 64 only when asked (_FILE_OFFSET_BITS,
 * _TIME_BITS). */
_Static_assert(sizeof(off_t) == sizeof(int64_t), "off_t has 64 bits");
_Static_assert(sizeof(time_t) == sizeof(int64_t), "time_t has 64 bits");

enum { SHORTAGE_LOG_MS = 60000 };

static void log_failure(const struct posix_fs *self, const char *what,
                        const char *path)
{
    log_error("file", "op=%s path=\"%s/%s\" why=\"%s\"", what, self->root_path,
              path, strerror(errno));
}

enum err fs_posix_failed(struct posix_fs *self, const char *what,
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

enum err fs_posix_sync_failed(const struct posix_fs *self, const char *path)
{
    log_failure(self, "fdatasync", path);
    return ERR_IO;
}

/* Both "" and "." are the root. An absolute path would be outside of it. */
static const char *relative(const char *path)
{
    must(path[0] != '/');
    return path[0] ? path : ".";
}

const char *fs_posix_path(const struct posix_fs *self, int handle)
{
    must(handle >= 0 && (size_t)handle < self->path_count);
    must(self->paths[handle]);
    return self->paths[handle];
}

/* Keeps a copy of the path of an open handle. */
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
        return fs_posix_failed(self, "open", path);
    }
    remember(self, fd, path);
    *handle = fd;
    return ERR_OK;
}

static void posix_close_file(void *arg, int handle)
{
    struct posix_fs *self = arg;
    must(fs_posix_path(self, handle) != NULL);
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        const struct fs_op *op = self->pending[i].op;
        must(!op || op->handle != handle);
    }
    mem_free(self->paths[handle]);
    self->paths[handle] = NULL;
    /* No retry after EINTR: Linux has released the descriptor anyway. What must
     * be durable was synced before. */
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
            return fs_posix_failed(self, "read", fs_posix_path(self, handle));
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *got = done;
    return ERR_OK;
}

enum err fs_posix_write(void *arg, int handle, uint64_t offset,
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
            errno = n == 0 ? EIO : errno; /* No progress is a failure. */
            return fs_posix_failed(self, "write", fs_posix_path(self, handle));
        }
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

enum err fs_posix_fdatasync(void *arg, int handle)
{
    struct posix_fs *self = arg;
    if (fs_posix_sync(handle, true) < 0) {
        return fs_posix_sync_failed(self, fs_posix_path(self, handle));
    }
    return ERR_OK;
}

/* The kernel keeps pages that are dirty or mapped, and evicts the others. macOS
 * and OpenBSD have no such request. */
static void posix_uncache(void *arg, int handle)
{
    (void)arg;
#ifdef POSIX_FADV_DONTNEED
    (void)posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
#else
    (void)handle;
#endif
}

#ifdef SYNC_FILE_RANGE_WRITE
static void posix_start_writeback(void *arg, int handle)
{
    (void)arg;
    (void)sync_file_range(handle, 0, 0, SYNC_FILE_RANGE_WRITE);
}
#endif

static enum err posix_size(void *arg, int handle, uint64_t *size)
{
    struct posix_fs *self = arg;
    struct stat status;
    if (fstat(handle, &status) < 0) {
        return fs_posix_failed(self, "size", fs_posix_path(self, handle));
    }
    *size = (uint64_t)status.st_size;
    return ERR_OK;
}

/* ---- directories ---- */

/* Only short names directly below the root are kept: those of the rooms. */
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

/* Takes over `fd`. False: there is no place for it, and the caller closes
 * it. */
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

/* Closes the descriptor kept for `path`, which names another directory or none
 * from now on. */
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
        return fs_posix_failed(self, "rename", from);
    }
    return ERR_OK;
}

static enum err posix_unlink(void *arg, const char *path)
{
    struct posix_fs *self = arg;
    if (unlinkat(self->root, relative(path), 0) == 0) {
        return ERR_OK;
    }
    /* For a directory Linux returns EISDIR, and POSIX specifies EPERM. */
    if (errno == EISDIR || errno == EPERM) {
        if (unlinkat(self->root, relative(path), AT_REMOVEDIR) == 0) {
            drop_kept(self, path);
            return ERR_OK;
        }
    }
    return fs_posix_failed(self, "unlink", path);
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
    return fs_posix_failed(self, "mkdir", path);
}

/* EINVAL: the file system cannot sync directories (CIFS, some FUSE). How
 * durable names are is up to it then. */
static int sync_directory(const char *root, int fd)
{
    static bool warned;
    int rc = fs_posix_sync(fd, false);
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
        return fs_posix_failed(self, "open-dir", path);
    }
    enum err err = sync_directory(self->root_path, fd) < 0
                       ? fs_posix_failed(self, "sync-dir", path)
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
        return fs_posix_failed(self, "open-dir", path);
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        enum err err = fs_posix_failed(self, "list", path);
        (void)close(fd);
        return err;
    }
    for (;;) {
        errno =
            0; /* NULL is the end of the directory, or an error with errno. */
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0) {
            cb(entry->d_name, cb_arg);
        }
    }
    enum err err = errno != 0 ? fs_posix_failed(self, "list", path) : ERR_OK;
    (void)closedir(dir);
    return err;
}

/* A lock of flock() belongs to the open file, not to the process. So, unlike a
 * POSIX record lock, it is not released when another descriptor of the file is
 * closed, and it excludes a second node in the same process. */
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
        err = fs_posix_failed(self, "lock", path);
        posix_close_file(self, fd);
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

/* Some file systems know no size, and report 0. */
static bool posix_space(void *arg, struct fs_space *space)
{
    const struct posix_fs *self = arg;
    struct statvfs disk;
    if (fstatvfs(self->root, &disk) != 0 || disk.f_blocks == 0) {
        return false;
    }
    *space = (struct fs_space){
        .total_bytes = (uint64_t)disk.f_blocks * disk.f_frsize,
        .free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize};
    return true;
}

/* Makes the root's own name durable. A parent that cannot be opened (search
 * permission only) is skipped: then another user created the root before. */
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
                .close = posix_close_file,
                .read = posix_read,
                .write = fs_posix_write,
                .fdatasync = fs_posix_fdatasync,
                .uncache = posix_uncache,
#ifdef SYNC_FILE_RANGE_WRITE
                .start_writeback = posix_start_writeback,
#endif
                .size = posix_size,
                .rename = posix_rename,
                .unlink = posix_unlink,
                .mkdir = posix_mkdir,
                .sync_dir = posix_sync_dir,
                .list = posix_list,
                .lock = posix_lock,
                .real_path = posix_real_path,
                .space = posix_space,
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
        must(!self->paths[i]); /* The owner of each handle has closed it. */
    }
    uring_free(self->ring);
    fs_posix_stop_processes(self);
    for (size_t i = 0; i < KEPT_DIRS; i++) {
        if (self->kept[i].fd >= 0) {
            (void)close(self->kept[i].fd);
        }
    }
    (void)close(self->root);
    free(self->root_path); /* realpath() allocated it by malloc(). */
    mem_free(self->paths);
    mem_free(self);
}

size_t fs_posix_event_fds(const struct fs *fs, int fds[FS_OPS_MAX])
{
    const struct posix_fs *self = fs->self;
    if (self->ring) {
        fds[0] = uring_fd(self->ring);
        return 1;
    }
    for (size_t i = 0; i < self->sync_process_count; i++) {
        fds[i] = self->sync_processes[i].socket;
    }
    return self->sync_process_count;
}
