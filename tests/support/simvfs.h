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

/* Register with SQLite, and restart its random numbers, so that a run does not
 * depend on earlier runs in this process. */
void simvfs_install(void);
/* Mount `disk` under a number: paths with the number are on it, and the real
 * paths of simdisk_fs(disk) have it. */
void simvfs_mount(int number, struct simdisk *disk);
/* SQLite's calls to the disk that is mounted there go through `failfs`
 * (borrowed, until the next simvfs_mount()). */
void simvfs_set_failfs(int number, struct failfs *failfs);

#endif
