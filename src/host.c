/* host.c -- clocks, entropy, files and the name of the machine. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
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

const char *host_name(void)
{
    static char name[256];
    if (gethostname(name, sizeof(name)) != 0 || name[sizeof(name) - 1] != 0) {
        return NULL;
    }
    return name[0] ? name : NULL;
}
