/* sys.h -- the rest of the kernel: clock, entropy, and what it counts. */
#ifndef CRAFTD_SYS_SYS_H
#define CRAFTD_SYS_SYS_H

#include "base/base.h"

/* A clock that never goes back and counts on while the machine sleeps
 * (CLOCK_BOOTTIME on Linux, CLOCK_MONOTONIC elsewhere). Its origin means
 * nothing. */
uint64_t sys_now_ns(void);
uint64_t sys_now_ms(void);

/* Bytes from the kernel's generator; die()s when there is none. */
void sys_entropy(void *out, size_t size);

struct sys_process {
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t cpu_us; /* User and system. */
    uint64_t open_fds;
    uint64_t max_fds;
};
/* This process. False where there is no /proc, or it cannot be read: nothing
 * is set. Reads a few small files and lists the descriptors: for a scrape, not
 * for every turn. */
MUST_CHECK bool sys_process(struct sys_process *process);

#endif
