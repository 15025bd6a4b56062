/* uring.h -- asynchronous writes and syncs: io_uring(7) by its raw system
 * calls. Private to this room; the others use struct fs_op of fs.h. */
#ifndef CRAFTD_SYS_URING_H
#define CRAFTD_SYS_URING_H

#include "base/base.h"

struct uring;

enum { URING_OPS_MAX = 2 };

/* One operation, in the caller's memory, where it stays while it is in flight.
 * The results are valid, and it may be submitted again, once `pending` is 0. */
struct uring_op {
    uint32_t pending; /* Completions still to come. */
    int64_t wrote;    /* Bytes written; negative: -errno. 0 for a sync alone. */
    int synced;       /* 0; negative: -errno. -ECANCELED after a write that was
                         short or failed, -EAGAIN if the kernel did not accept
                         the sync. */
};

/* Create a ring. NULL: the kernel is too old, of another system, or forbids it;
 * `why` is the reason in a few words. */
struct uring *uring_new(char *why, size_t why_size);
/* No operation may be in flight. NULL is fine. */
void uring_free(struct uring *ring);
/* The ring's descriptor, readable while a completion waits to be reaped. */
int uring_fd(const struct uring *ring);

/* Write `size` bytes of `data` (1 to UINT32_MAX) at `offset`, and sync the file
 * (fdatasync) once all of it is written. `data` stays unchanged and `fd` open
 * until the operation has completed. At most URING_OPS_MAX operations may be in
 * flight. False: the kernel accepted nothing (it has no memory). Nothing is
 * retried. */
MUST_CHECK bool uring_write_sync(struct uring *ring, struct uring_op *op,
                                 int fd, uint64_t offset, const void *data,
                                 size_t size);
/* The same for an fdatasync alone. */
MUST_CHECK bool uring_sync(struct uring *ring, struct uring_op *op, int fd);

/* Store the results of all completions in their operations. With `wait`, block
 * until there is one; an operation must be in flight then. */
void uring_reap(struct uring *ring, bool wait);

#endif
