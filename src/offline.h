/* offline.h -- the sub-commands that work on a data directory while no node
 * uses it, or on a backup: recover, restore, and backup --show. */
#ifndef CRAFTD_OFFLINE_H
#define CRAFTD_OFFLINE_H

/* Run the sub-command argv[1], and return its exit code: 0 done, 1 not done,
 * 2 wrong usage, 4 data damaged. -1: argv[1] is not one of them, or names a
 * command of the client (restore --addr). */
int offline_main(int argc, char **argv);

#endif
