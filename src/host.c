/* host.c -- clocks and entropy for a node. */
#include "host.h"

#include <sys/statvfs.h>

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
