/* simdisk.h -- a disk in memory that can lose power.
 *
 * Each file has the content that a reader sees and the content on the platter;
 * fdatasync() copies the first to the second. Creations, renames and removals
 * become durable with sync_dir() of their directory. simdisk_crash() makes the
 * disk that is found after a power loss at this moment, so that one run of a
 * workload, with a hook after every call, yields all its crash states.
 *
 * Model: after a power loss a page of 4096 bytes that was not synced has its
 * new content, its old content, or is torn at multiples of 512; changes of
 * names survive in their order, up to some point (a journal). */
#ifndef CRAFTD_TESTS_SIMDISK_H
#define CRAFTD_TESTS_SIMDISK_H

#include "base/base.h"
#include "sys/fs.h"

struct simdisk;

enum simdisk_keep { SIMDISK_NOTHING, SIMDISK_ALL, SIMDISK_SOME };

struct simdisk_counts {
    uint64_t calls;   /* All kinds but close. */
    uint64_t changes; /* Calls that change something, syncs included. */
    uint64_t fdatasyncs;
    uint64_t writes;
    /* Asynchronous operations, by kind. The submission of each counts as one
     * call and one change, and so does its completion. */
    uint64_t async_writes;
    uint64_t async_syncs;
    uint64_t handles; /* Open now. */
};

struct simdisk *simdisk_new(void);
void simdisk_free(struct simdisk *disk);
const struct fs *simdisk_fs(struct simdisk *disk);
void simdisk_get_counts(const struct simdisk *disk,
                        struct simdisk_counts *counts);

/* Called after every call that changed something; NULL removes the hook. */
typedef void simdisk_hook_cb(struct simdisk *disk, void *arg);
void simdisk_set_hook(struct simdisk *disk, simdisk_hook_cb *cb, void *arg);

/* A new disk, as found after a power loss; `seed` is for SIMDISK_SOME. */
struct simdisk *simdisk_crash(const struct simdisk *disk,
                              enum simdisk_keep keep, uint64_t seed);

/* The same, but `choose` decides each random choice: it picks one of `among`
 * ways, counted from 0, so that a caller can try all of them. */
enum simdisk_chance {
    SIMDISK_NAMES, /* The number of a directory's unsynced changes that survive,
                      in their order; directories are independent. */
    SIMDISK_SIZE,  /* 0: a file's old size; the last: its new size; else it ends
                      at a page between them. */
    SIMDISK_PAGE,  /* `among` has a bit for each changed sector; the result has
                      one for each that survives. */
};
typedef uint64_t simdisk_choose_cb(void *arg, enum simdisk_chance chance,
                                   uint64_t among);
struct simdisk *simdisk_crash_as(const struct simdisk *disk,
                                 simdisk_choose_cb *choose, void *arg);
/* A new disk, as found after only the process was killed: all content is there,
 * and unsynced content may still be lost by a power loss. */
struct simdisk *simdisk_killed(const struct simdisk *disk);
/* The number of choices that a crash at this moment has. */
struct simdisk_pending {
    size_t names;
    size_t pages;
    size_t sectors;
};
void simdisk_get_pending(const struct simdisk *disk,
                         struct simdisk_pending *pending);
/* Describe the last change as text. */
void simdisk_describe(const struct simdisk *disk, char *text, size_t size);
/* Hash of all names and contents: disks with the same hash are taken to be the
 * same. */
uint64_t simdisk_hash(const struct simdisk *disk);

/* The n-th call from now (1 = the next) fails with `err`, once. A write that
 * fails has written its first half. With ERR_NOSPACE only calls that change
 * something are counted and may fail, except fdatasync. n = 0 cancels the
 * failure, also that of an operation in flight. */
void simdisk_fail(struct simdisk *disk, uint64_t n, enum err err);
/* True when the requested failure has happened. */
bool simdisk_failed(const struct simdisk *disk);

/* While full, no file can be created, and files can grow only into the space of
 * removed files: ERR_NOSPACE. */
void simdisk_set_full(struct simdisk *disk, bool full);
/* The files take at most `bytes` together, or ERR_NOSPACE; 0: no such bound.
 * The fs reports this size and what is free of it. */
void simdisk_set_capacity(struct simdisk *disk, uint64_t bytes);
/* Prefix of the result of real_path() (borrowed); NULL: no real paths. */
void simdisk_set_prefix(struct simdisk *disk, const char *prefix);
/* ftruncate(), for SQLite. */
MUST_CHECK enum err simdisk_resize(struct simdisk *disk, int handle,
                                   uint64_t size);

/* Provide asynchronous operations. A write is visible in part once it is
 * submitted, and completely, from the caller's buffer, when it completes. A
 * sync reaches the platter when it completes; a change of the file before that
 * fails the test. */
struct simdisk_async {
    /* Returns how many of the `size` bytes are written at once; at most `size`.
     */
    size_t (*submit_write)(void *arg, size_t size);
    /* True when it has completed. With `wait` it must complete. */
    bool (*write_done)(void *arg, bool wait);
    /* The same for a sync without a write. */
    void (*submit_sync)(void *arg);
    bool (*sync_done)(void *arg, bool wait);
    void *arg;
};
void simdisk_set_async(struct simdisk *disk, const struct simdisk_async *async);
/* Behave like Linux after a failed fdatasync(): the written pages count as
 * clean, so that the next fdatasync() does nothing, and they are read back
 * until the power is lost. */
void simdisk_drop(struct simdisk *disk, int handle);

/* The content of a file, to be damaged in place; NULL when it does not exist.
 */
uint8_t *simdisk_bytes(struct simdisk *disk, const char *path, size_t *size);
/* True when it exists and is not empty. */
bool simdisk_has_bytes(const struct simdisk *disk, const char *path);
void simdisk_truncate(struct simdisk *disk, const char *path, size_t size);
/* Remove a file at once and durably. */
void simdisk_remove(struct simdisk *disk, const char *path);

#endif
