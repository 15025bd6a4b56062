/* failfs.h -- a file system whose n-th call of a kind fails, as in SQLite's
 * own tests: for n = 1, 2, ... until a run ends without the failure, so that
 * no error path is left out.
 *
 * A failed call has done nothing, part of its work, or all of it: no caller
 * can tell which. */
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

/* PART: a write left its beginning behind. For calls that cannot be done in
 * part it is NOTHING. DROPPED: an fdatasync on a simulated disk, see
 * simdisk_drop(); else NOTHING. */
enum failfs_done { FAILFS_NOTHING, FAILFS_PART, FAILFS_ALL, FAILFS_DROPPED };

struct failfs_fault {
    enum failfs_call call;
    uint64_t n; /* 1 = the next one; 0 = none. */
    enum err err;
    enum failfs_done done;
    bool for_ever; /* Not only the n-th, but all that follow. */
};

struct failfs {
    struct fs fs; /* For the code under test. */
    const struct fs *under;
    struct failfs_fault fault;
    uint64_t hits; /* Calls that have failed. */
};

/* With no fault; `under` is borrowed. */
void failfs_init(struct failfs *failfs, const struct fs *under);
/* Provide asynchronous operations: each is done, or fails, when it is polled.
 */
void failfs_set_async(struct failfs *failfs);
/* `hits` begins anew. Opening a file that is there needs no space, nor does
 * reading: with ERR_NOSPACE such calls are neither counted nor failed. */
void failfs_fail(struct failfs *failfs, const struct failfs_fault *fault);
/* SQLite truncates files, which is no call of struct fs: whoever does it asks
 * first, and fails with what is answered. */
MUST_CHECK enum err failfs_truncate(struct failfs *failfs);
/* No more failures; `hits` stays. */
void failfs_heal(struct failfs *failfs);
const char *failfs_name(enum failfs_call call);
/* Can a full disk make this call fail? */
bool failfs_takes_space(enum failfs_call call);
/* Can a lack of descriptors, or of the kernel's memory, make it fail with
 * nothing done? */
bool failfs_takes_resources(enum failfs_call call);
/* Can it be done in part, or done and still fail? */
bool failfs_has_effect(enum failfs_call call);

#endif
