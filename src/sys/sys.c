/* sys.c -- the clock and the source of entropy. */
#include "sys/sys.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

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

void sys_entropy(void *out, size_t size)
{
    enum { PIECE_BYTES = 256 }; /* Limit of getentropy() per call. */
    uint8_t *at = out;
    while (size > 0) {
        size_t piece = min_size(size, PIECE_BYTES);
        if (getentropy(at, piece) != 0) {
            die("no entropy: %s", strerror(errno));
        }
        at += piece;
        size -= piece;
    }
}
