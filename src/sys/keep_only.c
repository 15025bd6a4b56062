/* keep_only.c -- closes the descriptors that a child process must not have. */
#include <dirent.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <unistd.h>

#include "sys/sys.h"

#if defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__)

static void close_from(int first)
{
    closefrom(first);
}

#else

/* The limit may be as good as none (macOS), so a list of the open ones is
 * preferred. */
static long highest_descriptor(void)
{
    enum { DESCRIPTORS_MAX = 1 << 20 };
    DIR *dir = opendir("/dev/fd");
    if (!dir) {
        long limit = sysconf(_SC_OPEN_MAX);
        return limit < 0 || limit > DESCRIPTORS_MAX ? DESCRIPTORS_MAX : limit;
    }
    long highest = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        long fd = strtol(entry->d_name, NULL, 10); /* "." and "..": 0. */
        highest = fd > highest ? fd : highest;
    }
    (void)closedir(dir);
    return highest;
}

static void close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0u) == 0) {
        return;
    }
#endif
    long highest = highest_descriptor();
    for (long fd = first; fd <= highest; fd++) {
        (void)close((int)fd);
    }
}

#endif

bool sys_keep_only(int kept, int number)
{
    must(number > STDERR_FILENO);
    if (kept != number && dup2(kept, number) < 0) {
        return false;
    }
    close_from(number + 1);
    return true;
}
