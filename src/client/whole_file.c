/* whole_file.c -- a file that a command writes, completely or not at all.
 *
 * It is written under a temporary name in the same directory, synced and then
 * renamed, so that a file with the final name is complete, after a crash too.
 * The temporary file is removed when the command fails or is interrupted. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client_internal.h"
#include "sys/sys.h"

/* State of the signal handler. */
static char part_path[PATH_MAX];

static void on_signal(int number)
{
    (void)unlink(part_path);
    (void)raise(number); /* SA_RESETHAND: the action is the default now. */
}

static void clean_up_on_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++) {
        struct sigaction old;
        if (sigaction(signals[i], NULL, &old) == 0 &&
            old.sa_handler != SIG_IGN) {
            (void)sigaction(signals[i], &action, NULL);
        }
    }
}

static int fail(const struct options *options, const char *path)
{
    client_say(options, "%s: %s", path, strerror(errno));
    return EXIT_FAILED;
}

/* The rename is durable after a sync of the directory. */
static bool sync_directory_of(const char *path)
{
    char dir[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        size_t size = slash == path ? 1 : (size_t)(slash - path);
        memcpy(dir, path, size);
        dir[size] = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    /* EINVAL: this file system cannot sync directories. */
    bool ok = fsync(fd) == 0 || errno == EINVAL;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

/* A rename would replace a device or a pipe by a file. */
static bool can_be_replaced(const char *path)
{
    struct stat stat_at;
    return stat(path, &stat_at) != 0 || S_ISREG(stat_at.st_mode);
}

static int write_to(const struct options *options, const char *path, int fd,
                    client_fill *fill)
{
    int code = fill(options, fd);
    if (!code && fsync(fd) != 0) {
        code = fail(options, part_path);
    }
    if (close(fd) != 0 && !code) {
        code = fail(options, part_path);
    }
    if (!code && rename(part_path, path) != 0) {
        code = fail(options, path);
    }
    if (code) {
        (void)unlink(part_path);
        return code;
    }
    return sync_directory_of(path) ? EXIT_DONE : fail(options, path);
}

int client_write_whole_file(const struct options *options, const char *path,
                            client_fill *fill)
{
    if (strcmp(path, "-") == 0) {
        return fill(options, STDOUT_FILENO);
    }
    if (!can_be_replaced(path)) {
        client_say(options,
                   "%s: exists, and is no regular file (\"-\" is stdout)",
                   path);
        return EXIT_FAILED;
    }
    /* Random rather than the pid: two containers may share a directory, and
     * have the same pid. */
    uint64_t random;
    sys_entropy(&random, sizeof(random));
    int size = snprintf(part_path, sizeof(part_path), "%s.part-%016llx", path,
                        (unsigned long long)random);
    if (size < 0 || (size_t)size >= sizeof(part_path)) {
        errno = ENAMETOOLONG;
        return fail(options, path);
    }
    int fd = open(part_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail(options, part_path);
    }
    clean_up_on_signals();
    return write_to(options, path, fd, fill);
}
