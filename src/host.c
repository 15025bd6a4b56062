/* host.c -- clocks and entropy for a node. */
#include "host.h"

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
