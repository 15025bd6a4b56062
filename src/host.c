/* host.c -- clocks, entropy, files and the name of the machine. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/sys.h"

static uint64_t now_ms(void *self)
{
    (void)self;
    return sys_now_ms();
}

static uint64_t now_us(void *self)
{
    (void)self;
    return sys_now_ns() / 1000;
}

static void entropy(void *self, void *out, size_t size)
{
    (void)self;
    sys_entropy(out, size);
}

void host_await_entropy(void)
{
    uint8_t any;
    sys_entropy(&any, sizeof(any));
}

struct node_env host_env(const struct fs *fs)
{
    return (struct node_env){
        .now_ms = now_ms, .now_us = now_us, .entropy = entropy, .fs = fs};
}

bool host_free_bytes(const char *dir, uint64_t *bytes)
{
    struct statvfs disk;
    if (statvfs(dir, &disk) != 0) {
        return false;
    }
    *bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    return true;
}

enum err host_file_at(const char *path, struct host_file *file)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    }
    *file = (struct host_file){.device = (uint64_t)status.st_dev,
                               .inode = (uint64_t)status.st_ino};
    return ERR_OK;
}

/* Nobody who may write above `path` can have another directory handed over: a
 * link is not followed, and a descriptor names one directory only. */
static bool hand_over(const char *path, const struct sys_user *owner)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool done = fd >= 0 && fchown(fd, owner->uid, owner->gid) == 0;
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    return done;
}

static bool make_one(const char *path, const struct sys_user *owner)
{
    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST; /* It may be a file: opening it will say so. */
    }
    return !owner || hand_over(path, owner);
}

bool host_make_dir(const char *path, const struct sys_user *owner)
{
    char dir[FS_PATH_BYTES];
    size_t size = strlen(path);
    for (size_t at = 1; at <= size; at++) {
        if (path[at] != '/' && at < size) {
            continue;
        }
        if (at >= sizeof(dir)) {
            return true; /* Opening it will say that it is too long. */
        }
        memcpy(dir, path, at);
        dir[at] = '\0';
        if (!make_one(dir, owner)) {
            log_error("start", "mkdir=%s why=\"%s\"", dir, strerror(errno));
            return false;
        }
    }
    return true;
}

static bool is_private(int fd, size_t size_max, char *why, size_t why_size)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        snprintf(why, why_size, "%s", strerror(errno));
        return false;
    }
    if (!S_ISREG(status.st_mode)) {
        snprintf(why, why_size, "is not a regular file");
        return false;
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        snprintf(why, why_size,
                 "its mode is %04o, so other users may have access to it: "
                 "chmod 600 it",
                 (unsigned)(status.st_mode & 07777));
        return false;
    }
    if (status.st_size > (off_t)size_max) {
        snprintf(why, why_size, "is over %zu bytes", size_max);
        return false;
    }
    return true;
}

bool host_read_secret(const char *path, size_t size_max, struct buf *out,
                      char *why, size_t why_size)
{
    /* A FIFO would block without O_NONBLOCK. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        snprintf(why, why_size, "%s", strerror(errno));
        return false;
    }
    bool good = is_private(fd, size_max, why, why_size);
    if (good) {
        uint8_t *data = buf_reserve(out, size_max);
        size_t used = 0;
        ssize_t got = 1;
        while (got > 0 && used < size_max) {
            got = read(fd, data + used, size_max - used);
            used += got > 0 ? (size_t)got : 0;
        }
        good = got >= 0;
        if (good) {
            out->size += used;
        } else {
            snprintf(why, why_size, "%s", strerror(errno));
        }
    }
    (void)close(fd);
    return good;
}

const char *host_name(void)
{
    static char name[256];
    if (gethostname(name, sizeof(name)) != 0 || name[sizeof(name) - 1] != 0) {
        return NULL;
    }
    return name[0] ? name : NULL;
}
