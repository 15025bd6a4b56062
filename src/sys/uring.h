/* uring.h -- one write and the sync behind it, and one sync of another file,
 * done by the kernel while the process goes on: io_uring(7) by its raw system
 * calls. Private to this room; others see it as the optional part of fs.h. */
#ifndef CRAFTD_SYS_URING_H
#define CRAFTD_SYS_URING_H

#include "base/base.h"

struct uring;

/* NULL when there is none: an older kernel, another system, or one that
 * forbids it. Then `why` has a few words. */
struct uring *uring_new(char *why, size_t why_size);
/* Nothing may be under way. NULL is fine. */
void uring_free(struct uring *ring);
/* Readable when something has finished. */
int uring_fd(const struct uring *ring);

/* Begin to write `data` at `offset`, and when all of it is written to sync
 * the file (fdatasync). Only one at a time; `data` and `fd` must last until
 * it has finished. False: nothing was begun (no memory in the kernel). */
MUST_CHECK bool uring_start(struct uring *ring, int fd, uint64_t offset,
                            const void *data, size_t size);

struct uring_result {
    int64_t wrote; /* Bytes; negative: an errno. */
    int synced;    /* 0; negative: an errno. -ECANCELED after a write that was
                      short or failed, -EAGAIN when it was not even tried. */
};
/* Has it finished? With `wait` it has on return. One that failed is not tried
 * again here. */
bool uring_finished(struct uring *ring, bool wait, struct uring_result *result);

/* The same for a sync alone, whatever else is under way. */
MUST_CHECK bool uring_start_sync(struct uring *ring, int fd);
/* *result: 0; negative: an errno. */
bool uring_sync_finished(struct uring *ring, bool wait, int *result);

/* Asking for either takes what the kernel has to say of both; the descriptor
 * is silent then. As far as was heard so far: is it still under way? */
bool uring_is_writing(const struct uring *ring);
bool uring_is_syncing(const struct uring *ring);

#endif
