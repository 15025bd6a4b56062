/* fs_posix_internal.h -- what the files of the kernel's files share:
 * fs_posix.c, which blocks, fs_uring.c and fs_process.c, which have the
 * asynchronous operations, and sync.c. */
#ifndef CRAFTD_SYS_FS_POSIX_INTERNAL_H
#define CRAFTD_SYS_FS_POSIX_INTERNAL_H

#include <sys/types.h>

#include "sys/fs.h"
#include "sys/uring.h"

/* An asynchronous operation in flight. */
struct pending {
    struct fs_op *op; /* NULL: this place is free. */
    /* Rest of its write, after short writes. */
    uint64_t offset;
    const uint8_t *data;
    size_t size;
    struct uring_op io;
};
_Static_assert((int)FS_OPS_MAX <= (int)URING_OPS_MAX, "the ring has space");

/* A directory directly below the root whose descriptor stays open after its
 * first sync, so that no later sync of it can fail for lack of one. */
enum { KEPT_DIRS = 4, KEPT_NAME_BYTES = 32 };
struct kept_dir {
    char name[KEPT_NAME_BYTES];
    int fd; /* -1: this place is free. */
};

/* A process of fs_process.c. That of place i syncs for pending[i]. */
struct sync_process {
    int socket;
    pid_t pid;
};

struct posix_fs {
    struct fs fs;
    int root;          /* Descriptor of the root directory. */
    char *root_path;   /* Absolute, from realpath(). */
    char **paths;      /* [handle]: owned; NULL: not open. */
    size_t path_count; /* Places in `paths`. */
    /* Time of the last log line about a lack of space and of descriptors, since
     * those are limited in rate; 0: none. */
    uint64_t full_logged_ms;
    uint64_t short_logged_ms;
    struct kept_dir kept[KEPT_DIRS];
    /* Asynchronous operations: by a ring, by processes (all of them), or none
     * (NULL and 0). */
    struct uring *ring;
    struct sync_process sync_processes[FS_OPS_MAX];
    size_t sync_process_count;
    struct pending pending[FS_OPS_MAX];
};

/* The error that errno stands for (fs.h). Errors that callers expect (missing,
 * exists, locked) are for them to log; the others are logged here. */
enum err fs_posix_failed(struct posix_fs *self, const char *what,
                         const char *path);
/* The same for an fdatasync, which is never tried again whatever the errno. */
enum err fs_posix_sync_failed(const struct posix_fs *self, const char *path);
/* Make the data of a file (`data_only`), or a directory, durable; as fsync(2),
 * without EINTR. A failure is final. */
int fs_posix_sync(int fd, bool data_only);
/* End the processes, if there are any; no operation may be in flight. */
void fs_posix_stop_processes(struct posix_fs *self);
/* The path of an open handle. */
const char *fs_posix_path(const struct posix_fs *self, int handle);
/* As in struct fs; they block. */
enum err fs_posix_write(void *arg, int handle, uint64_t offset,
                        const void *data, size_t size);
enum err fs_posix_fdatasync(void *arg, int handle);

#endif
