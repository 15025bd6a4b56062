/* not_linux.c -- refuses what other systems do not have, for programs over the
 * emulated kqueue. Link with -Wl,--wrap=socketpair,--wrap=syscall: Unix sockets
 * that keep the bounds of messages do not exist on macOS, and what Linux offers
 * by number only (io_uring, close_range, Landlock) exists nowhere else. */
#include <errno.h>
#include <sys/socket.h>

int __wrap_socketpair(int family, int type, int protocol, int ends[2]);
int __real_socketpair(int family, int type, int protocol, int ends[2]);
long __wrap_syscall(long number, ...);

int __wrap_socketpair(int family, int type, int protocol, int ends[2])
{
    if (family == AF_UNIX && type == SOCK_SEQPACKET) {
        errno = EPROTONOSUPPORT;
        return -1;
    }
    return __real_socketpair(family, type, protocol, ends);
}

long __wrap_syscall(long number, ...)
{
    (void)number;
    errno = ENOSYS;
    return -1;
}
