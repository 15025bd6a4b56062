/* process.c -- memory, time and descriptors of this process (proc(5)). */
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys/sys.h"

static bool read_small(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t size = read(fd, out, room - 1);
    close(fd);
    out[size > 0 ? size : 0] = '\0';
    return size > 0;
}

static bool read_memory(struct sys_process *process)
{
    char text[256];
    if (!read_small("/proc/self/statm", text, sizeof(text))) {
        return false;
    }
    char *end;
    uint64_t virtual_pages = strtoull(text, &end, 10);
    uint64_t resident_pages = strtoull(end, &end, 10);
    if (resident_pages == 0) {
        return false;
    }
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    process->virtual_bytes = virtual_pages * page_bytes;
    process->resident_bytes = resident_pages * page_bytes;
    return true;
}

/* Counts open descriptors without /proc. The kernel hands out the lowest free
 * number, so the search ends with a long gap; only a descriptor that was
 * inherited may be above it. (poll(2) would look at many at once, but does not
 * see those of O_PATH.) */
static uint64_t count_fds(void)
{
    enum { GAP = 256 };
    uint64_t count = 0;
    int closed = 0;
    for (int fd = 0; closed < GAP; fd++) {
        bool is_open = fcntl(fd, F_GETFD) >= 0;
        count += is_open;
        closed = is_open ? 0 : closed + 1;
    }
    return count;
}

static uint64_t microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

void sys_process(struct sys_process *process)
{
    struct rusage usage = {0};
    struct rlimit limit = {0};
    *process = (struct sys_process){0};
    process->has_memory = read_memory(process);
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    process->cpu_us =
        microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    process->max_fds = limit.rlim_cur;
    process->open_fds = count_fds();
}

/* A dump that a program takes from a pipe ignores the limit (core(5)). */
bool sys_forbid_dumps(void)
{
    const struct rlimit none = {0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        return false;
    }
#ifdef __linux__
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
#else
    return true;
#endif
}

bool sys_end_with(int parent)
{
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
#endif
    return getppid() == parent;
}
