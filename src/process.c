/* process.c -- standard files, signals, environment. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config.h"

extern char **environ;

static bool is_closed(int fd)
{
    return fcntl(fd, F_GETFD) < 0 && errno == EBADF;
}

/* A file or socket that is opened while a standard descriptor is closed gets
 * its number, and log lines would be written into it. The substitutes are the
 * wrong ends of a pipe, so that using them fails; there may be no /dev. */
bool process_hold_standard_files(void)
{
    bool closed[STDERR_FILENO + 1];
    bool any = false;
    int ends[2];
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        closed[fd] = is_closed(fd);
        any = any || closed[fd];
    }
    if (!any) {
        return true;
    }
    if (pipe(ends) != 0) {
        return false;
    }
    /* The pipe itself may have standard numbers: these are replaced below. */
    int unreadable = fcntl(ends[1], F_DUPFD, STDERR_FILENO + 1);
    int unwritable = fcntl(ends[0], F_DUPFD, STDERR_FILENO + 1);
    bool held = unreadable >= 0 && unwritable >= 0;
    for (int fd = 0; held && fd <= STDERR_FILENO; fd++) {
        held = !closed[fd] ||
               dup2(fd == STDIN_FILENO ? unreadable : unwritable, fd) == fd;
    }
    for (int i = 0; i < 2; i++) {
        if (ends[i] > STDERR_FILENO) {
            (void)close(ends[i]);
        }
    }
    (void)close(unreadable);
    (void)close(unwritable);
    return held;
}

/* SQLite creates its files with 0644, and a umask of the parent might take even
 * the owner's permissions. */
void process_keep_files_private(void)
{
    (void)umask(077);
}

/* glibc raises the size from which it maps blocks one by one to that of the
 * largest freed so far: after a segment of the log has been read at the start,
 * blocks of megabytes stay in the heap, with holes between them. A set value
 * does not move. Other libraries map and return large blocks anyway. */
void process_return_memory(void)
{
#ifdef __GLIBC__
    enum { BLOCK_BYTES = 128 << 10 };
    (void)mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, BLOCK_BYTES);
#endif
}

/* The parent's dispositions and mask are inherited: a blocked SIGTERM would
 * never arrive, and with SIGCHLD ignored the kernel would reap the resolver's
 * processes. SIGTTOU stops a background process that writes to its terminal
 * after "stty tostop". */
void process_prepare_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGUSR1, SIGUSR2, SIGTTOU};
    for (size_t i = 0; i < ARRAY_COUNT(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    (void)signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    must(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
}

/* An unknown variable is likely mistyped. It is no reason to stop: Kubernetes
 * sets some for a service "craftd". */
void process_check_environment(void)
{
    char why[256];
    for (char **at = environ; *at; at++) {
        if (!config_knows_variable(*at, why, sizeof(why))) {
            log_warn("environment", "why=\"%s\"", why);
        }
    }
}
