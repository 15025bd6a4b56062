/* sys.h -- the rest of the kernel: clock and entropy. */
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

#endif
