/* reserve.h -- space that is reserved for the time when the disk is full.
 *
 * A file of zeros, which is removed when accepted work finds the disk full:
 * that work is finished in the space that becomes free, and new work is refused
 * until the file could be created again.
 *
 * The zeros are written, since blocks that were never written are none, and
 * written again by each process: after a power loss a file may have its size
 * without its blocks. Nothing is synced; the file has nothing to say.
 *
 * Limits: it is of a fixed size, and something may need more. On a file system
 * that compresses, zeros take no space, and keep none. */
#ifndef CRAFTD_SYS_RESERVE_H
#define CRAFTD_SYS_RESERVE_H

#include "sys/fs.h"

struct reserve {
    const struct fs *fs; /* Borrowed, ... */
    const char *path;    /* ... as this is. */
    uint64_t size_bytes; /* 0: there is none. */
    /* PRIVATE */
    int handle; /* While it is being made; else -1. */
    /* READ-ONLY */
    uint64_t filled;   /* Bytes of it that are there. */
    bool held;         /* It is there, whole. */
    bool broken;       /* It cannot be made for another reason than a shortage:
                          we do without. */
    enum err shortage; /* Why it is not there, or ERR_NOSPACE once it was
                          released; ERR_OK: nothing is short. */
};

/* Nothing is made yet. What an earlier process left counts when it has been
 * written again. */
void reserve_init(struct reserve *reserve, const struct fs *fs,
                  const char *path, uint64_t size_bytes);
/* Make it, one slice (FS_ZEROS_BYTES). True: call it again, there is more to
 * do. What there is of it after a failure stays, to be released like the
 * whole. */
bool reserve_prepare(struct reserve *reserve);
/* Remove the file. True: that made space. False: there was none, or it cannot
 * be removed. */
bool reserve_release(struct reserve *reserve);
/* Close it; the file stays as it is. */
void reserve_close(struct reserve *reserve);

#endif
