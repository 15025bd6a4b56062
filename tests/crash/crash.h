/* crash.h -- every state in which a power loss can leave the disk, recovered.
 *
 * A workload runs on a simulated disk, once. After each call that changes the
 * disk, the disks that may be found after a loss of power at this moment are
 * built (simdisk.h has the rules), all of them where they are few, else some
 * by luck; each is recovered by the daemon's own code and compared with what
 * had been promised by then. A disk that was seen before under the same
 * promises is not tried again.
 *
 * Everything follows from the workload's name, the seed, the number of the
 * operation and the number of the choice, which is what a failure prints. */
#ifndef CRAFTD_TESTS_CRASH_H
#define CRAFTD_TESTS_CRASH_H

#include "base/base.h"
#include "base/rng.h"
#include "support/simdisk.h"

/* Mounts of simvfs: the workload's disk, a disk that was found, and one that
 * was found after a second loss; and the other node's. */
enum { DISK_RUN, DISK_FOUND, DISK_FOUND_AGAIN, DISK_OTHER, DISKS };

struct workload {
    const char *name;
    /* Once through; `seed` varies it. */
    void (*run)(uint64_t seed);
    /* Recover `disk`, mounted as `mount`, compare it with what was promised,
     * and close it. The result names what was found: recovering the same disk
     * once more, or after a second loss within recovery, gives the same. */
    uint64_t (*recover)(struct simdisk *disk, int mount);
    /* After that: it works, and what it does is kept. NULL: nothing. */
    void (*go_on)(struct simdisk *disk, int mount);
    bool quick;        /* Many seeds for one of the others. */
    unsigned bits_max; /* All choices are tried up to 2 to this. */
};

extern const struct workload workload_log;
extern const struct workload workload_compact;
extern const struct workload workload_create;
extern const struct workload workload_store;
extern const struct workload workload_node;
extern const struct workload workload_install;
extern const struct workload workload_recover;
extern const struct workload workload_restore;

/* A new one. In half of the runs, by the seed, it works beside its caller where
 * it can: what is begun has arrived in part or not, and ends some time. */
struct simdisk *crash_disk(uint64_t seed);
/* From now on each change of `disk` is a moment to lose power; until NULL. */
void crash_watch(struct simdisk *disk);
/* What is promised has changed. */
void crash_promised(void);
/* Somewhere to count what a workload is meant to reach; 0 at the end of all is
 * a failure when enough was tried. */
enum crash_reached {
    REACHED_BEHIND, /* The database had to catch up. */
    REACHED_CHECKPOINT,
    REACHED_RESET,
    REACHED_COMPACTION,
    REACHED_INSTALL,
    REACHED_INTERRUPTED, /* A recovery or restore that began again. */
    REACHED_WRITE_BESIDE,
    REACHED_SYNC_BESIDE,
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
