/* descriptor.h -- descriptors for another process, by the SCM_RIGHTS message of
 * a Unix socket (unix(7)). */
#ifndef CRAFTD_SYS_DESCRIPTOR_H
#define CRAFTD_SYS_DESCRIPTOR_H

#include <sys/types.h>

#include "base/base.h"

/* Send `size` bytes, at least one, and a duplicate of `fd` with the first of
 * them; `fd` stays open here. Returns what sendmsg(2) does; never EINTR. */
ssize_t descriptor_send(int socket, const void *data, size_t size, int fd);
/* Receive up to `size` bytes. *fd is the descriptor that came with them, which
 * the caller closes; -1: none. Returns what recvmsg(2) does, EINTR included. */
ssize_t descriptor_receive(int socket, void *data, size_t size, int *fd);

#endif
