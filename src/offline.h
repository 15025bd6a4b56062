/* offline.h -- the sub-commands that work on a directory while no node runs in
 * it: recover and restore. */
#ifndef CRAFTD_OFFLINE_H
#define CRAFTD_OFFLINE_H

/* The exit code; -1: argv[1] is none of them. */
int offline_main(int argc, char **argv);

#endif
