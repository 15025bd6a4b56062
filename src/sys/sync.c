/* sync.c -- makes a file or a directory durable, by the call that does so on
 * each system.
 *
 *   macOS    fsync() stops at the cache of the drive; F_FULLFSYNC goes through
 *            it (fcntl(2)). File systems without it (SMB, some FUSE) refuse it
 *            with ENOTSUP, ENOTTY or EINVAL: there fsync() is all that can be
 *            had.
 *   NetBSD   fsync() and fdatasync() stop there too; fsync_range(2) has
 *            FDISKSYNC for the rest.
 *   others   fdatasync(), and fsync() for directories. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "sys/fs_posix_internal.h"

#if defined(F_FULLFSYNC)

static int sync_once(int fd, bool data_only)
{
    (void)data_only;
    int rc = fcntl(fd, F_FULLFSYNC);
    bool refused = errno == ENOTSUP || errno == ENOTTY || errno == EINVAL;
    /* No other error is tried again: it may be that of a lost page. */
    return rc < 0 && refused ? fsync(fd) : rc;
}

#elif defined(FDISKSYNC)

static int sync_once(int fd, bool data_only)
{
    return fsync_range(fd, (data_only ? FDATASYNC : FFILESYNC) | FDISKSYNC, 0,
                       0);
}

#else

static int sync_once(int fd, bool data_only)
{
    return data_only ? fdatasync(fd) : fsync(fd);
}

#endif

int fs_posix_sync(int fd, bool data_only)
{
    int rc;
    do {
        rc = sync_once(fd, data_only);
    } while (rc < 0 && errno == EINTR);
    return rc;
}
