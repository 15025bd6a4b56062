/* failfs.h -- a file system whose n-th call of a kind fails, as in SQLite's
 * own tests: for n = 1, 2, ... until a run ends without the failure, so that
 * no error path is left out.
 *
 * A failed call has done nothing, part of its work, or all of it; its caller
 * cannot know which. */
#ifndef CRAFTD_TESTS_FAILFS_H
#define CRAFTD_TESTS_FAILFS_H

#include "sys/fs.h"

#define FAILFS_CALLS(X)                                                        \
    X(OPEN, "open")                                                            \
    X(READ, "read")                                                            \
    X(WRITE, "write")                                                          \
    X(FDATASYNC, "fdatasync")                                                  \
    X(RENAME, "rename")                                                        \
    X(UNLINK, "unlink")                                                        \
    X(MKDIR, "mkdir")                                                          \
    X(SYNC_DIR, "sync_dir")                                                    \
    X(SIZE, "size")                                                            \
    X(LIST, "list")                                                            \
    X(TRUNCATE, "truncate")

enum failfs_call {
#define X(name, text) FAILFS_##name,
    FAILFS_CALLS(X)
#undef X
        FAILFS_CALL_COUNT
};

/* PART: a write wrote its first part; for other calls the same as NOTHING.
 * DROPPED: an fdatasync on a simulated disk, see
 * simdisk_drop(); else NOTHING. */
enum failfs_done { FAILFS_NOTHING, FAILFS_PART, FAILFS_ALL, FAILFS_DROPPED };

struct failfs_fault {
    enum failfs_call call;
    uint64_t n; /* 1 = the next one; 0 = none. */
    enum err err;
    enum failfs_done done;
    bool for_ever; /* The n-th and all later calls fail. */
};

struct failfs {
    struct fs fs; /* For the code under test. */
    const struct fs *under;
    struct failfs_fault fault;
    uint64_t hits; /* Calls that have failed. */
};

/* Without a fault; `under` is borrowed. */
void failfs_init(struct failfs *failfs, const struct fs *under);
/* Provide asynchronous operations: each completes or fails when polled. */
void failfs_set_async(struct failfs *failfs);
/* Set the fault and reset `hits`. Opening an existing file needs no space, nor
 * does reading: with ERR_NOSPACE such calls are neither counted nor failed. */
void failfs_fail(struct failfs *failfs, const struct failfs_fault *fault);
/* SQLite truncates files, which is no call of struct fs: its VFS calls this
 * first and fails with the result. */
MUST_CHECK enum err failfs_truncate(struct failfs *failfs);
/* No more failures; `hits` stays. */
void failfs_heal(struct failfs *failfs);
const char *failfs_name(enum failfs_call call);
/* True when a full disk can make this call fail. */
bool failfs_takes_space(enum failfs_call call);
/* True when a lack of descriptors or of kernel memory can make it fail without
 * an effect. */
bool failfs_takes_resources(enum failfs_call call);
/* True when a failed call can have had an effect. */
bool failfs_has_effect(enum failfs_call call);

#endif
