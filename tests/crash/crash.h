/* crash.h -- every state in which a power loss can leave the disk, recovered.
 *
 * A workload runs on a simulated disk, once. After each call that changes the
 * disk, the disks that may be found after a power loss at this moment are built
 * (simdisk.h has the rules): all of them where they are few, else a random
 * sample. The daemon's own code recovers each, and the result is compared with
 * the acknowledgements so far. A disk that was seen before under the same
 * acknowledgements is not tried again.
 *
 * Everything follows from the workload's name, the seed, the number of the
 * operation and the number of the choice, which is what a failure prints. */
#ifndef CRAFTD_TESTS_CRASH_H
#define CRAFTD_TESTS_CRASH_H

#include "base/base.h"
#include "base/rng.h"
#include "support/simdisk.h"

/* Mounts of simvfs: the workload's disk, the disk after a power loss, the disk
 * after a second power loss, and the disk of the other node. */
enum { DISK_RUN, DISK_FOUND, DISK_FOUND_AGAIN, DISK_OTHER, DISKS };

struct workload {
    const char *name;
    /* Run it once; `seed` varies it. */
    void (*run)(uint64_t seed);
    /* Recover `disk`, mounted as `mount`, compare it with the acknowledgements,
     * and close it. The result is a digest: recovering the same disk once more,
     * or after a second power loss during recovery, gives the same. */
    uint64_t (*recover)(struct simdisk *disk, int mount);
    /* After that: it takes more work, which is durable. NULL: no check. */
    void (*go_on)(struct simdisk *disk, int mount);
    bool quick;        /* It gets many seeds per round. */
    unsigned bits_max; /* Up to 2^bits_max choices all are tried. */
};

extern const struct workload workload_log;
extern const struct workload workload_compact;
extern const struct workload workload_create;
extern const struct workload workload_store;
extern const struct workload workload_node;
extern const struct workload workload_install;
extern const struct workload workload_recover;
extern const struct workload workload_restore;

/* A new disk. In half of the runs, by the seed, it has asynchronous operations:
 * a submitted write is on the disk in part or not, and completes at a random
 * poll. */
struct simdisk *crash_disk(uint64_t seed);
/* Try a power loss after each change of `disk`; NULL ends this. */
void crash_watch(struct simdisk *disk);
/* The set of acknowledgements has changed. */
void crash_promised(void);
/* Counters of states that workloads must reach; one that is 0 at the end is a
 * failure if enough was tried. */
enum crash_reached {
    REACHED_BEHIND, /* The database had to catch up. */
    REACHED_CHECKPOINT,
    REACHED_RESET,
    REACHED_COMPACTION,
    REACHED_INSTALL,
    REACHED_INTERRUPTED, /* A recover or restore command was repeated. */
    REACHED_ASYNC_WRITE,
    REACHED_ASYNC_SYNC,
    REACHED_COUNT,
};
void crash_reached(enum crash_reached what);

NORETURN void crash_failed(const char *file, int line, const char *what);
#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            crash_failed(__FILE__, __LINE__, #condition);                      \
        }                                                                      \
    } while (0)

#endif
