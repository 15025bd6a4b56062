/* fs.h -- files, behind a table of functions, so that the log and the state
 * machine run on a real disk (fs_posix_new()), in memory (fs_memory_new()) or
 * on a simulated disk in the tests, unchanged.
 *
 * Paths are relative to the file system's root directory, with '/' between
 * names. Offsets and sizes are bytes. A handle is a small number >= 0.
 *
 * "" and "." name the root; a leading '/' is a bug of the caller. Every handle
 * is closed by who opened it before the file system is freed.
 *
 * Out-parameters are set on success only. EINTR and short transfers are dealt
 * with below this line. An errno becomes one of these, and only the last kind
 * may end a running node:
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
 * ERR_IO ends a running node (die()) where going on could lose or forget what
 * was promised:
 *
 *     log       writing a batch, seal, header or meta slot; any fdatasync;
 *               renaming the spare; removing an old segment; syncing wal/
 *     database  SQLite's own errors other than SQLITE_FULL, and SQLITE_IOERR,
 *               SQLITE_CANTOPEN or SQLITE_NOMEM for an errno that stands above
 *               for a shortage; any sync; db/CURRENT when it is in doubt which
 *               database it names
 *     both      an entry of the log that was committed and cannot be read
 *
 * Files that a node can do without do not end it: the hint, STARTS, images,
 * backups, uploads, the database's reserve. At the start of a process ERR_IO is
 * the exit code 1: nothing has been promised yet.
 *
 * The detail (path, errno) of the last three kinds is logged where it happens;
 * a shortage once a minute. */
#ifndef CRAFTD_SYS_FS_H
#define CRAFTD_SYS_FS_H

#include "base/base.h"

enum { FS_PATH_BYTES = 512 };

enum fs_open_mode {
    FS_READ,       /* Must exist; reading only. */
    FS_WRITE,      /* Must exist; reading and writing. */
    FS_CREATE,     /* Reading and writing; created when missing. */
    FS_CREATE_NEW, /* As FS_CREATE; ERR_EXISTS when it is there. */
};

typedef void fs_name_cb(const char *name, void *arg);

/* An asynchronous write and the fdatasync() behind it, or an fdatasync()
 * alone, which vouches for what was written through any handle before it was
 * submitted.
 *
 * The caller owns it, and does not move it before it has completed. Until then
 * the handle stays open, `data` unchanged, and nobody else changes the file; a
 * read of the range may return old data, new data or a mix. */
enum { FS_OPS_MAX = 2 };
struct fs_op {
    /* Set by the caller. */
    int handle;
    uint64_t offset;
    const void *data;
    size_t size; /* 0: fdatasync() alone. */
    /* Set by the file system: submit() clears it; submit(), poll() and wait()
     * of this operation or of another one may set it. fs_posix_event_fd() is
     * silent then, so a caller looks at it before it sleeps on that. */
    bool completed;
    /* Once completed: what write() or fdatasync() would have returned. After
     * ERR_NOSPACE and ERR_RESOURCES nothing was synced. */
    enum err err;
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
    /* Data and size of the file are on the disk after it. ERR_IO is final:
     * the kernel may have dropped the pages, a second try proves nothing. */
    enum err (*fdatasync)(void *self, int handle);
    /* Drop the cached pages of a file that was just synced, so that it is read
     * from the disk: after a failed sync memory holds data that the disk does
     * not, and a later sync has nothing to do. */
    void (*uncache)(void *self, int handle);
    enum err (*size)(void *self, int handle, uint64_t *size);
    /* A file at `to` is replaced; its open handles keep the old content. A
     * directory replaces an empty one only (ERR_EXISTS). */
    enum err (*rename)(void *self, const char *from, const char *to);
    /* Remove a file, or a directory that is empty (else ERR_EXISTS). Open
     * handles stay good. */
    enum err (*unlink)(void *self, const char *path);
    /* One level. ERR_OK when the directory is there already. */
    enum err (*mkdir)(void *self, const char *path);
    /* Make creations, renames and removals in directory `path` durable. */
    enum err (*sync_dir)(void *self, const char *path);
    /* Call back for each name in directory `path`, "." and ".." left out, in
     * no set order. The callback may remove the name that it is given, and
     * what is below it. */
    enum err (*list)(void *self, const char *path, fs_name_cb *cb, void *arg);
    /* Hold an exclusive lock on `path` (created if missing) until the handle
     * is closed or the process ends. ERR_LOCKED when somebody holds it, be it
     * another process or this one. */
    enum err (*lock)(void *self, const char *path, int *handle);
    /* The path the kernel knows `path` by, for SQLite; false when there is
     * none (memory). */
    bool (*real_path)(void *self, const char *path, char *out, size_t size);
    /* Optional (NULL): bytes on its disk that this process may still take.
     * False: not known. */
    bool (*free_bytes)(void *self, uint64_t *bytes);

    /* Optional, the rest or (NULL) none: asynchronous operations, at most
     * FS_OPS_MAX in flight, each of another file.
     *
     * submit() starts `op` and never fails: an error is the result of the
     * operation. It may have completed when submit() returns. */
    void (*submit)(void *self, struct fs_op *op);
    /* Reap what has completed, of all operations, without blocking. Returns
     * op->completed. */
    bool (*poll)(void *self, struct fs_op *op);
    /* Block until `op` has completed. */
    void (*wait)(void *self, struct fs_op *op);
};

/* The kernel's files under directory `root`, which is created (one level)
 * when missing. Free with fs_posix_free(). */
MUST_CHECK enum err fs_posix_new(const char *root, struct fs **fs);
void fs_posix_free(struct fs *fs);
/* Provide asynchronous operations, by io_uring. False where there is none: then
 * `why` has the reason in a few words. */
MUST_CHECK bool fs_posix_use_uring(struct fs *fs, char *why, size_t why_size);
/* A descriptor to poll, which is readable while a completion has not been
 * reaped; -1 without asynchronous operations. It belongs to `fs`, and is not to
 * be read from. */
int fs_posix_event_fd(const struct fs *fs);

/* Files in memory: nothing outlives the process, every sync is a no-op. */
struct fs *fs_memory_new(void);
void fs_memory_free(struct fs *fs);

/* The shortage that an errno stands for, as in the table above: ERR_NOSPACE or
 * ERR_RESOURCES; ERR_OK when it is none. For code that opens files without this
 * table of functions (SQLite's). */
MUST_CHECK enum err fs_shortage_of(int error);

/* Replace `path` by `data` so that after a crash either the old or the new
 * content is there whole: write path.tmp, fdatasync, rename, sync `dir`. `dir`
 * is the directory that `path` is in. After an error the old content is there
 * still, or, when only the last sync failed, perhaps the new one. */
MUST_CHECK enum err fs_replace(const struct fs *fs, const char *dir,
                               const char *path, const void *data, size_t size);
/* The same for callers that must know which content is there after an error:
 * unless *in_doubt it is the old one, for good. */
MUST_CHECK enum err fs_replace_or_not(const struct fs *fs, const char *dir,
                                      const char *path, const void *data,
                                      size_t size, bool *in_doubt);

/* Sync the file at `path`, which an earlier process wrote, and evict its pages
 * from the page cache: a page whose sync failed in that process may be clean in
 * memory and old on the disk, and what is read after this call is what a power
 * loss leaves. ERR_NOT_FOUND: there is no such file. */
MUST_CHECK enum err fs_sync_file(const struct fs *fs, const char *path);

/* Write `size` zeros at `offset`, so that they occupy space on the disk. `size`
 * is at most FS_ZEROS_BYTES. ERR_NOSPACE as with write(). */
enum { FS_ZEROS_BYTES = 256 << 10 };
MUST_CHECK enum err fs_write_zeros(const struct fs *fs, int handle,
                                   uint64_t offset, size_t size);

/* Unlink every file in `dir`; nothing is synced. It goes on after a failure,
 * and returns the first. ERR_NOT_FOUND: there is no such directory. */
MUST_CHECK enum err fs_empty(const struct fs *fs, const char *dir);

/* Read a whole file of at most `limit` bytes; *data is from mem_alloc(), the
 * caller frees it (also when *size is 0). ERR_TOO_BIG when it is longer. */
MUST_CHECK enum err fs_read_all(const struct fs *fs, const char *path,
                                size_t limit, uint8_t **data, size_t *size);

#endif
