/* simdisk.h -- a disk in memory that can lose power.
 *
 * Each file has what a reader sees and what is on the platter; fdatasync()
 * brings the second up to the first. Creations, renames and removals wait for
 * sync_dir() of their directory. simdisk_crash() makes the disk that is found
 * after a power loss at this moment, so that one run of a workload, with a
 * hook after every call, gives all its crash states.
 *
 * Model: a page of 4096 bytes that was not synced is there, is not there, or
 * is torn at multiples of 512; changes of names survive in the order they were
 * made, up to some point (a journal). */
#ifndef CRAFTD_TESTS_SIMDISK_H
#define CRAFTD_TESTS_SIMDISK_H

#include "base/base.h"
#include "sys/fs.h"

struct simdisk;

enum simdisk_keep { SIMDISK_NOTHING, SIMDISK_ALL, SIMDISK_SOME };

struct simdisk_counts {
    uint64_t calls;   /* Of any kind but close. */
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

/* Called after every call that changed something; NULL ends it. */
typedef void simdisk_hook_cb(struct simdisk *disk, void *arg);
void simdisk_set_hook(struct simdisk *disk, simdisk_hook_cb *cb, void *arg);

/* A new disk as found after a power loss; `seed` is for SIMDISK_SOME. */
struct simdisk *simdisk_crash(const struct simdisk *disk,
                              enum simdisk_keep keep, uint64_t seed);

/* The same, but each matter of chance is decided by `choose`, among `among`
 * ways, counted from 0; so all of them can be tried. */
enum simdisk_chance {
    SIMDISK_NAMES, /* How many of a directory's unsynced changes are found, in
                      their order; directories do not wait for each other. */
    SIMDISK_SIZE,  /* 0: a file's old size, the last: its new one; else it ends
                      at a page between. */
    SIMDISK_PAGE,  /* `among` has a bit for each sector that was changed; the
                      answer for each that is found. */
};
typedef uint64_t simdisk_choose_cb(void *arg, enum simdisk_chance chance,
                                   uint64_t among);
struct simdisk *simdisk_crash_as(const struct simdisk *disk,
                                 simdisk_choose_cb *choose, void *arg);
/* Only the process was killed: all is still there, and what was not synced may
 * be lost yet. */
struct simdisk *simdisk_killed(const struct simdisk *disk);
/* How much there is to be chosen now. */
struct simdisk_pending {
    size_t names;
    size_t pages;
    size_t sectors;
};
void simdisk_get_pending(const struct simdisk *disk,
                         struct simdisk_pending *pending);
/* The last change, in words. */
void simdisk_describe(const struct simdisk *disk, char *text, size_t size);
/* Of all names and what is in their files: two disks with the same one are
 * taken to be the same. */
uint64_t simdisk_hash(const struct simdisk *disk);

/* The n-th call from now (1 = the next) fails with `err`, once. A write that
 * fails so has written its first half. With ERR_NOSPACE only calls that
 * change something are counted and may fail, fdatasync left out. n = 0 calls
 * it off, in flight too. */
void simdisk_fail(struct simdisk *disk, uint64_t n, enum err err);
/* Has the failure that was asked for happened? */
bool simdisk_failed(const struct simdisk *disk);

/* From now on nothing can be made, and nothing can grow but into the space of
 * files that are removed: ERR_NOSPACE. */
void simdisk_set_full(struct simdisk *disk, bool full);
/* real_path() gives PREFIX and the path (borrowed); NULL: there is none. */
void simdisk_set_prefix(struct simdisk *disk, const char *prefix);
/* ftruncate(), for SQLite's sake. */
MUST_CHECK enum err simdisk_resize(struct simdisk *disk, int handle,
                                   uint64_t size);

/* Provide asynchronous operations. What one writes is there in part when it was
 * submitted, and whole, from the caller's buffer, when it has completed. What a
 * sync alone brings to the platter is there when it has completed; a change of
 * the file before that ends the test. */
struct simdisk_pilot {
    /* How much of `size` is there at once, at most all of it. */
    size_t (*begins)(void *arg, size_t size);
    /* Has it ended? With `wait` it must have. */
    bool (*ended)(void *arg, bool wait);
    /* The same for a sync alone. */
    void (*sync_begins)(void *arg);
    bool (*sync_ended)(void *arg, bool wait);
    void *arg;
};
void simdisk_set_pilot(struct simdisk *disk, const struct simdisk_pilot *pilot);
/* What Linux does when fdatasync() fails: what was written counts as clean, so
 * that the next fdatasync() has nothing to do, and is read back until the
 * power is lost. */
void simdisk_drop(struct simdisk *disk, int handle);

/* The content of a file, to be damaged in place; NULL when it is not there. */
uint8_t *simdisk_bytes(struct simdisk *disk, const char *path, size_t *size);
/* It is there, and not empty. */
bool simdisk_has_bytes(const struct simdisk *disk, const char *path);
void simdisk_truncate(struct simdisk *disk, const char *path, size_t size);
/* Gone at once and for good. */
void simdisk_remove(struct simdisk *disk, const char *path);

#endif
