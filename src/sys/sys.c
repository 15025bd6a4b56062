/* sys.c -- the clock. */
#include "sys/sys.h"

#include <time.h>

/* Leases and time-outs must expire while the machine is suspended, hence the
 * clock that continues then, on systems that have one. */
#ifdef CLOCK_BOOTTIME
#define SYS_CLOCK CLOCK_BOOTTIME
#else
#define SYS_CLOCK CLOCK_MONOTONIC
#endif

uint64_t sys_now_ns(void)
{
    struct timespec now;
    must(clock_gettime(SYS_CLOCK, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t sys_now_ms(void)
{
    return sys_now_ns() / 1000000u;
}
