/* listener_unix.c -- listening on a Unix socket, and the user of a peer.
 *
 * The file of a socket outlives the process that made it, so that a crash
 * leaves one behind to which nobody listens any more. It is in the way of the
 * next bind(), and is removed then; that of a living process is not. */
#ifdef __linux__
#define _GNU_SOURCE /* struct ucred */
#endif
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/reactor_internal.h"

static bool set_path(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof(address->sun_path)) {
        return false;
    }
    memcpy(address->sun_path, path, size + 1);
    return true;
}

int addr_connect_unix(const char *path)
{
    struct sockaddr_un address;
    if (!set_path(&address, path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = reactor_socket_new(AF_UNIX);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* A socket that refuses connections, and is the same file still. Anything else
 * is somebody's. */
static bool is_stale(const char *path)
{
    struct stat before;
    struct stat after;
    if (lstat(path, &before) != 0 || !S_ISSOCK(before.st_mode)) {
        return false;
    }
    int fd = addr_connect_unix(path);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return error == ECONNREFUSED && lstat(path, &after) == 0 &&
           before.st_dev == after.st_dev && before.st_ino == after.st_ino;
}

/* bind() makes the file with its mode, by the mask. To change the mode later,
 * by the path, would be to change that of whatever has been put there: this
 * process may be root, and the directory another user's. */
static int bind_once(int fd, const struct sockaddr_un *address, mode_t mode)
{
    mode_t mask = umask(0777 & ~mode);
    int rc = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = errno;
    (void)umask(mask);
    errno = error;
    return rc;
}

static int bind_path(int fd, const struct sockaddr_un *address, mode_t mode)
{
    int rc = bind_once(fd, address, mode);
    if (rc != 0 && errno == EADDRINUSE) {
        if (is_stale(address->sun_path) && unlink(address->sun_path) == 0) {
            rc = bind_once(fd, address, mode);
        } else {
            errno = EADDRINUSE;
        }
    }
    return rc;
}

static int listen_on(const char *path, mode_t mode)
{
    struct sockaddr_un address;
    if (!set_path(&address, path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = reactor_socket_new(AF_UNIX);
    if (fd < 0) {
        return -1;
    }
    bool bound = bind_path(fd, &address, mode) == 0;
    if (bound && listen(fd, SOMAXCONN) == 0) {
        return fd;
    }
    int error = errno;
    if (bound) {
        (void)unlink(path);
    }
    (void)close(fd);
    errno = error;
    return -1;
}

enum err listener_open_unix(struct reactor *reactor, const char *path,
                            unsigned mode, listener_cb *cb, void *arg,
                            struct listener **listener, char *why,
                            size_t why_size)
{
    int fd = listen_on(path, (mode_t)mode);
    if (fd < 0) {
        (void)snprintf(why, why_size, "%s",
                       errno == EADDRINUSE ? reactor_errno_text(errno)
                                           : strerror(errno));
        return errno == EADDRINUSE ? ERR_BUSY : ERR_IO;
    }
    struct listener *self = listener_new(reactor, &fd, 1, cb, arg);
    if (!self) {
        (void)unlink(path);
        (void)snprintf(why, why_size, "out of memory");
        return ERR_IO;
    }
    struct stat file;
    if (lstat(path, &file) == 0) {
        self->device = file.st_dev;
        self->inode = file.st_ino;
    }
    self->is_unix = true;
    (void)snprintf(self->path, sizeof(self->path), "%s", path);
    (void)snprintf(self->text, sizeof(self->text), "unix:%s", path);
    *listener = self;
    return ERR_OK;
}

void listener_remove_path(const struct listener *listener)
{
    struct stat file;
    if (lstat(listener->path, &file) == 0 && file.st_dev == listener->device &&
        file.st_ino == listener->inode) {
        (void)unlink(listener->path);
    }
}

bool listener_peer_uid(int fd, uint32_t *uid)
{
#ifdef __linux__ /* OpenBSD has SO_PEERCRED, with another structure. */
    struct ucred peer;
    socklen_t size = sizeof(peer);
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    *uid = known ? (uint32_t)peer.uid : UINT32_MAX;
#else
    uid_t user;
    gid_t group;
    bool known = getpeereid(fd, &user, &group) == 0;
    *uid = known ? (uint32_t)user : UINT32_MAX;
#endif
    return known;
}
