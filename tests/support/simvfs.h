/* simvfs.h -- SQLite's files on simulated disks.
 *
 * A path is the number of a disk, a slash, and the path on it. Syncs are the
 * disk's; as SQLite's own unix VFS does, the first sync of a journal or
 * -wal that may be new also syncs its directory. One connection a file,
 * exclusive: locks and shared memory are not needed. */
#ifndef CRAFTD_TESTS_SIMVFS_H
#define CRAFTD_TESTS_SIMVFS_H

#include "support/failfs.h"
#include "support/simdisk.h"

enum { SIMVFS_DISKS_MAX = 8 };

extern const char *const simvfs_name;

/* Register with SQLite, and begin its random numbers anew, so that nothing
 * depends on what ran in this process before. */
void simvfs_install(void);
/* From now on paths of this number are on `disk`, and simdisk_fs(disk) gives
 * such paths. */
void simvfs_mount(int number, struct simdisk *disk);
/* SQLite's calls to the disk that is mounted there go through `failfs`
 * (borrowed, until the next simvfs_mount()). */
void simvfs_set_failfs(int number, struct failfs *failfs);

#endif
