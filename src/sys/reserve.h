/* reserve.h -- disk space that is reserved for the time when the disk is full.
 *
 * The reserve is a file of zeros. It is removed when accepted work finds the
 * disk full: that work is finished in the space that becomes free, and new work
 * is refused until the file could be created again.
 *
 * The zeros are written, since a file system allocates blocks when they are
 * written; and written again by each process, since after a power loss a file
 * may have its size without its blocks. Nothing is synced: the content is
 * irrelevant.
 *
 * Limits: the size is fixed, and work may need more. A file system that
 * compresses stores zeros without blocks, so that there is no reserve. */
#ifndef CRAFTD_SYS_RESERVE_H
#define CRAFTD_SYS_RESERVE_H

#include "sys/fs.h"

struct reserve {
    const struct fs *fs; /* Borrowed, as `path` is; both outlive the reserve. */
    const char *path;
    uint64_t size_bytes; /* 0: no reserve is wanted. */
    /* PRIVATE */
    int handle; /* Open while the file is being written; else -1. */
    /* READ-ONLY */
    uint64_t filled; /* Bytes written so far. */
    bool held;       /* The file is complete. */
    /* It cannot be created, for a reason other than a shortage. The owner works
     * without a reserve. */
    bool broken;
    /* Why there is no reserve: the shortage that stopped reserve_prepare(), or
     * ERR_NOSPACE after reserve_release(). ERR_OK: nothing is short. */
    enum err shortage;
};

/* Initialise; touches no file. A file that an earlier process left is written
 * again before it counts. */
void reserve_init(struct reserve *reserve, const struct fs *fs,
                  const char *path, uint64_t size_bytes);
/* Write one slice (FS_ZEROS_BYTES) of the file. True: call it again. False: it
 * is complete, or it cannot be written now (see `shortage` and `broken`); what
 * was written of it stays, and reserve_release() can remove it. */
bool reserve_prepare(struct reserve *reserve);
/* Remove the file. True: space has become free. False: there was no file, or it
 * cannot be removed. */
bool reserve_release(struct reserve *reserve);
/* Close the handle. The file stays as it is. */
void reserve_close(struct reserve *reserve);

#endif
