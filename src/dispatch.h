/* dispatch.h -- the first word: a command, a mistyped one, or the daemon's. */
#ifndef CRAFTD_DISPATCH_H
#define CRAFTD_DISPATCH_H

/* Run the command that argv names. Its exit code; -1: it is none, so argv is
 * the daemon's command line. */
int dispatch_command(int argc, char **argv);

#endif
