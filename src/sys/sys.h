/* sys.h -- clock, entropy, and the resources that this process uses. Files are
 * in fs.h. */
#ifndef CRAFTD_SYS_SYS_H
#define CRAFTD_SYS_SYS_H

#include "base/base.h"

/* A monotonic clock that continues while the machine is suspended
 * (CLOCK_BOOTTIME on Linux; CLOCK_MONOTONIC elsewhere, which may not). Its
 * origin is arbitrary. */
uint64_t sys_now_ns(void);
uint64_t sys_now_ms(void);

/* Fill `out` with random bytes of the kernel, fit for keys: by its system call,
 * or from /dev/urandom where there is none (Linux before 3.17). Soon after a
 * boot it waits until there are enough, and logs that. Without any source it
 * logs an error and ends the process with exit code 1; only the first call can,
 * so make one before there is anything to lose. */
void sys_entropy(void *out, size_t size);

/* From now on the kernel writes no core dump of this process, wherever
 * the system would send it, and on Linux other processes of the same user
 * cannot read its memory. False: see errno. */
MUST_CHECK bool sys_forbid_dumps(void);

/* In a child: from now on the kernel kills this process when `parent` dies, on
 * Linux. False: it has died already. */
MUST_CHECK bool sys_end_with(int parent);

/* In a child: close all descriptors but the standard three and `kept`, which
 * becomes `number`, the one after them. Locks, listeners and connections must
 * not live on in a copy. False, with errno: it could not be moved. */
MUST_CHECK bool sys_keep_only(int kept, int number);

struct sys_process {
    /* False: the two below are unknown, since there is no /proc. (What
     * getrusage(2) knows is the largest value so far, another figure.) */
    bool has_memory;
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t cpu_us; /* User and system time. */
    uint64_t open_fds;
    uint64_t max_fds; /* Soft limit of open descriptors. */
};
/* Resources of this process. It reads a file of /proc and makes a system call
 * per descriptor: call it per scrape, not per turn of the event loop. */
void sys_process(struct sys_process *process);

#endif
