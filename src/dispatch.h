/* dispatch.h -- runs the sub-command that the first word names. */
#ifndef CRAFTD_DISPATCH_H
#define CRAFTD_DISPATCH_H

/* Run the sub-command that argv names, and return its exit code. -1: argv is
 * the daemon's command line. A mistyped command is explained on stderr; that is
 * exit code 2. */
int dispatch_command(int argc, char **argv);

#endif
