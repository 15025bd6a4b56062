/* uring.h -- writes and syncs that the kernel does while the process goes on:
 * io_uring(7) by its raw system calls. Private to this room; the others use
 * struct fs_op of fs.h. */
#ifndef CRAFTD_SYS_URING_H
#define CRAFTD_SYS_URING_H

#include "base/base.h"

struct uring;

enum { URING_OPS_MAX = 2 };

/* One operation. In the caller's memory, where it stays while it is in flight;
 * to be read, and submitted again, when `pending` is 0. */
struct uring_op {
    uint32_t pending; /* Completions still to come. */
    int64_t wrote;    /* Bytes; negative: an errno. 0 for a sync alone. */
    int synced;       /* 0; negative: an errno. -ECANCELED after a write that
                         was short or failed, -EAGAIN when the kernel did not
                         take the sync. */
};

/* NULL when there is none: an older kernel, another system, or one that
 * forbids it. Then `why` has the reason in a few words. */
struct uring *uring_new(char *why, size_t why_size);
/* Nothing may be in flight. NULL is fine. */
void uring_free(struct uring *ring);
/* Readable while a completion has not been reaped. */
int uring_fd(const struct uring *ring);

/* Write `size` > 0 bytes of `data` at `offset`, and when all of it is written
 * sync the file (fdatasync). `data` and `fd` must last until the operation has
 * completed. At most URING_OPS_MAX operations may be in flight. False: the
 * kernel took nothing (it has no memory). Nothing is tried again here. */
MUST_CHECK bool uring_write_sync(struct uring *ring, struct uring_op *op,
                                 int fd, uint64_t offset, const void *data,
                                 size_t size);
/* The same for an fdatasync alone. */
MUST_CHECK bool uring_sync(struct uring *ring, struct uring_op *op, int fd);

/* Deliver all completions to their operations. With `wait`, block until there
 * is one; something must be in flight then. */
void uring_reap(struct uring *ring, bool wait);

#endif
