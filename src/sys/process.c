/* process.c -- memory, time and descriptors of this process (proc(5)). */
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
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
    unsigned long long virtual_pages;
    unsigned long long resident_pages;
    if (!read_small("/proc/self/statm", text, sizeof(text)) ||
        sscanf(text, "%llu %llu", &virtual_pages, &resident_pages) != 2) {
        return false;
    }
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    process->virtual_bytes = virtual_pages * page_bytes;
    process->resident_bytes = resident_pages * page_bytes;
    return true;
}

/* Counts the entries of the directory, without "." and ".." and the descriptor
 * that reads it. */
static bool count_fds(struct sys_process *process)
{
    enum { UNCOUNTED = 3 };
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return false;
    }
    uint64_t count = 0;
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    process->open_fds = count > UNCOUNTED ? count - UNCOUNTED : 0;
    return true;
}

static uint64_t microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

bool sys_process(struct sys_process *process)
{
    struct rusage usage;
    struct rlimit limit;
    struct sys_process now = {0};
    if (!read_memory(&now) || !count_fds(&now) ||
        getrusage(RUSAGE_SELF, &usage) != 0 ||
        getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return false;
    }
    now.cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    now.max_fds = limit.rlim_cur;
    *process = now;
    return true;
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
