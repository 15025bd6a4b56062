/* fs.h -- files, behind a table of functions, so that the log and the state
 * machine run unchanged on a real disk (fs_posix_new()), in memory
 * (fs_memory_new()) or on a simulated disk in the tests.
 *
 * Paths are relative to the file system's root directory, with '/' between
 * names; "" and "." name the root, and a leading '/' is a bug of the caller.
 * Offsets and sizes are bytes. A handle is a small number >= 0; the caller that
 * opened it closes it before the file system is freed.
 *
 * Out-parameters are set on success only. EINTR and short transfers are handled
 * by the implementations. An errno becomes one of these errors, and only the
 * last kind may end a running node:
 *
 *     ENOENT ENOTDIR           ERR_NOT_FOUND  the caller decides
 *     EEXIST ENOTEMPTY         ERR_EXISTS     the caller decides
 *     EWOULDBLOCK of a lock    ERR_LOCKED     the caller decides
 *     ENOSPC EDQUOT EFBIG      ERR_NOSPACE    tried again later, writes are
 *                                             refused with 507 meanwhile
 *     EMFILE ENFILE            ERR_RESOURCES  tried again later, writes are
 *     ENOMEM ENOBUFS                          refused with 429 meanwhile
 *     EINVAL of syncing a      ERR_OK         a warning, once a process
 *     directory
 *     any of an fdatasync      ERR_IO         never tried again
 *     any other (EIO, EROFS,   ERR_IO         never tried again
 *     EACCES, EPERM, ...)
 *
 * ERR_IO ends a running node (die()) where continuing could lose data that was
 * acknowledged, or a vote:
 *
 *     log       writing a batch, seal, header or meta slot; any fdatasync;
 *               renaming the spare; removing an old segment; syncing wal/
 *     database  an error of SQLite's that is not a shortage (store.h); any
 *               sync; db/CURRENT if it is in doubt which database it names
 *     both      a committed entry of the log that cannot be read
 *
 * Files that a node can work without do not end it: the hint, STARTS, images,
 * backups, uploads, the reserves. During the start of a process ERR_IO is exit
 * code 1: nothing has been acknowledged yet.
 *
 * ERR_IO is logged where it happens, with path and errno; a shortage too, at
 * most once per minute. The others are left to the caller. */
#ifndef CRAFTD_SYS_FS_H
#define CRAFTD_SYS_FS_H

#include "base/base.h"

enum { FS_PATH_BYTES = 512 }; /* Upper bound of a path, with its final 0. */

enum fs_open_mode {
    FS_READ,       /* Must exist; reading only. */
    FS_WRITE,      /* Must exist; reading and writing. */
    FS_CREATE,     /* Reading and writing; created when missing. */
    FS_CREATE_NEW, /* As FS_CREATE; ERR_EXISTS if the file exists. */
};

typedef void fs_name_cb(const char *name, void *arg);

/* An asynchronous write and the fdatasync() after it, or an fdatasync() alone,
 * which covers everything that was written through any handle of the file
 * before it was submitted.
 *
 * The caller owns the struct, and does not move it before it has completed.
 * Until then the handle stays open, `data` stays unchanged, and the file is not
 * written to otherwise; a read of the range may return old data, new data or a
 * mix. */
enum { FS_OPS_MAX = 2 };
struct fs_op {
    /* Set by the caller. */
    int handle;
    uint64_t offset;
    const void *data;
    size_t size; /* 0: fdatasync() alone. */
    /* Set by the file system: submit() clears it; submit(), poll() and wait()
     * of this operation or of another one may set it. fs_posix_event_fds()
     * do not become readable for it then, so look at it before sleeping on
     * that. */
    bool completed;
    /* Once completed: what write() or fdatasync() would have returned. After
     * ERR_NOSPACE and ERR_RESOURCES nothing was synced. */
    enum err err;
};

struct fs_space {
    uint64_t total_bytes; /* Without the file system's own structures. */
    uint64_t free_bytes;
};

struct fs {
    void *self;

    enum err (*open)(void *self, const char *path, enum fs_open_mode mode,
                     int *handle);
    void (*close)(void *self, int handle);
    /* Reads up to `size`; *got < size only at the end of the file. */
    enum err (*read)(void *self, int handle, uint64_t offset, void *data,
                     size_t size, size_t *got);
    /* All or an error; after ERR_NOSPACE part of it may have been written. */
    enum err (*write)(void *self, int handle, uint64_t offset, const void *data,
                      size_t size);
    /* Make data and size of the file durable. ERR_IO is final: the kernel may
     * have dropped the pages, and a second call would succeed without them. */
    enum err (*fdatasync)(void *self, int handle);
    /* Evict the cached pages of a file that was just synced, where the system
     * can, so that it is read from the disk: after a failed sync the cache
     * holds data that the disk does not have, and that a later sync does not
     * write. */
    void (*uncache)(void *self, int handle);
    /* Optional (NULL): start to write the file's changed pages to the disk,
     * without waiting for that. Nothing is durable by it, but a later
     * fdatasync() has less to write, and holds others up for less long. */
    void (*start_writeback)(void *self, int handle);
    enum err (*size)(void *self, int handle, uint64_t *size);
    /* A file at `to` is replaced; its open handles keep the old content. A
     * directory replaces an empty one only (ERR_EXISTS). */
    enum err (*rename)(void *self, const char *from, const char *to);
    /* Remove a file, or a directory that is empty (else ERR_EXISTS). Open
     * handles stay valid. */
    enum err (*unlink)(void *self, const char *path);
    /* Create one level. ERR_OK if the directory exists already. */
    enum err (*mkdir)(void *self, const char *path);
    /* Make creations, renames and removals in directory `path` durable. */
    enum err (*sync_dir)(void *self, const char *path);
    /* Call back for each name in directory `path` except "." and "..", in any
     * order. The callback may remove the name that it is given, and everything
     * below it. */
    enum err (*list)(void *self, const char *path, fs_name_cb *cb, void *arg);
    /* Take an exclusive lock on `path` (created if missing), which is released
     * when the handle is closed or the process ends. ERR_LOCKED if this process
     * or another one has it. */
    enum err (*lock)(void *self, const char *path, int *handle);
    /* The absolute path of `path`, for SQLite and log lines. False: there is
     * none (memory), or it is longer than `size`. */
    bool (*real_path)(void *self, const char *path, char *out, size_t size);
    /* Optional (NULL): the size of its disk, and what this process may still
     * allocate there. One system call. False: unknown. */
    bool (*space)(void *self, struct fs_space *space);

    /* Optional, all three or (NULL) none: asynchronous operations, at most
     * FS_OPS_MAX in flight, each on a file of its own.
     *
     * submit() starts `op` and never fails: an error is the result of the
     * operation. It may have completed when submit() returns. */
    void (*submit)(void *self, struct fs_op *op);
    /* Reap the completions of all operations, without blocking. Returns
     * op->completed. */
    bool (*poll)(void *self, struct fs_op *op);
    /* Block until `op` has completed. */
    void (*wait)(void *self, struct fs_op *op);
};

/* The kernel's files under directory `root`, which is created if missing (one
 * level). Free it with fs_posix_free(). ERR_IO, ERR_NOSPACE, ERR_RESOURCES: it
 * cannot be created or used; logged. */
MUST_CHECK enum err fs_posix_new(const char *root, struct fs **fs);
/* Every handle must be closed, and no operation in flight. NULL is fine. */
void fs_posix_free(struct fs *fs);
/* Provide asynchronous operations, by io_uring; call it once. False: the kernel
 * does not have it or forbids it; `why` is the reason in a few words. */
MUST_CHECK bool fs_posix_use_uring(struct fs *fs, char *why, size_t why_size);
/* The same by processes that sync in place of this one: call it while this one
 * may fork. In each of them `cb` (may be NULL) is called, for a sandbox. They
 * get open files from this one, and open none. Once one of them has ended,
 * whatever the reason, die(): what was durable is unknown.
 * False: there is no process to be had; `why` is the reason in a few words. */
typedef void fs_process_prepare_cb(void *arg);
MUST_CHECK bool fs_posix_use_processes(struct fs *fs, fs_process_prepare_cb *cb,
                                       void *arg, char *why, size_t why_size);
/* Descriptors to poll(2), readable while a completion waits to be reaped: call
 * fs_posix_on_event() then. They belong to `fs`; do not read from them. Returns
 * their number; 0 without asynchronous operations. */
size_t fs_posix_event_fds(const struct fs *fs, int fds[FS_OPS_MAX]);
void fs_posix_on_event(struct fs *fs);

/* Files in memory, which are lost with the process; a sync does nothing.
 * ERR_NOSPACE: there is not enough memory. */
struct fs *fs_memory_new(void);
/* Every handle must be closed. NULL is fine. */
void fs_memory_free(struct fs *fs);

/* The shortage that an errno stands for, as in the table above: ERR_NOSPACE or
 * ERR_RESOURCES; ERR_OK: none. For code that opens files without this table of
 * functions, as SQLite does. */
MUST_CHECK enum err fs_shortage_of(int error);

/* Replace the content of `path` atomically and durably: write path.tmp,
 * fdatasync, rename, sync `dir`, the directory of `path`. After an error it is
 * the old content, or, if only the last sync failed, perhaps the new one. */
MUST_CHECK enum err fs_replace(const struct fs *fs, const char *dir,
                               const char *path, const void *data, size_t size);
/* The same for callers that must know the content after an error: unless
 * *in_doubt, it is the old one, and stays so after a crash. */
MUST_CHECK enum err fs_replace_or_not(const struct fs *fs, const char *dir,
                                      const char *path, const void *data,
                                      size_t size, bool *in_doubt);

/* Sync the file at `path`, which an earlier process wrote, and evict its pages
 * from the page cache: a page whose sync failed in that process may be clean in
 * memory and old on the disk, and what is read after this call is what a power
 * loss leaves. ERR_NOT_FOUND: there is no such file. */
MUST_CHECK enum err fs_sync_file(const struct fs *fs, const char *path);

/* Write `size` zeros at `offset`, at most FS_ZEROS_BYTES, so that their blocks
 * are allocated, and start their writeback: the first fdatasync of a file that
 * was filled long before does not wait for them. Errors as of write(). */
enum { FS_ZEROS_BYTES = 256 << 10 };
MUST_CHECK enum err fs_write_zeros(const struct fs *fs, int handle,
                                   uint64_t offset, size_t size);

/* Unlink every file in `dir`; nothing is synced. After a failure it continues
 * with the others, and returns the first error. ERR_NOT_FOUND: there is no such
 * directory. */
MUST_CHECK enum err fs_empty(const struct fs *fs, const char *dir);

/* Read a whole file of at most `limit` bytes. The caller frees *data with
 * mem_free(), also if *size is 0. ERR_TOO_BIG: it is longer. */
MUST_CHECK enum err fs_read_all(const struct fs *fs, const char *path,
                                size_t limit, uint8_t **data, size_t *size);

#endif
