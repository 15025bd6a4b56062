/* host.c -- clocks, entropy, files and the name of the machine. */
#include "host.h"

#include <errno.h>
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

bool host_make_parents(const char *path)
{
    char dir[FS_PATH_BYTES];
    for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        int size = snprintf(dir, sizeof(dir), "%.*s", (int)(at - path), path);
        if (size >= (int)sizeof(dir)) {
            return true; /* Opening `path` fails, since it is too long. */
        }
        if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
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
