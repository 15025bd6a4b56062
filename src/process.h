/* process.h -- resets what the process inherits: descriptors 0 to 2, signal
 * dispositions and mask; and checks its environment. */
#ifndef CRAFTD_PROCESS_H
#define CRAFTD_PROCESS_H

#include "base/base.h"

/* Open those of the descriptors 0, 1 and 2 that are closed, so that no file
 * gets their numbers: reading and writing fails with EBADF. Call it before
 * anything else is opened. False, with errno: there are no descriptors for
 * that. */
MUST_CHECK bool process_hold_standard_files(void);
/* Set the umask so that files are created with 0600 and directories with 0700,
 * whatever it was. */
void process_keep_files_private(void);
/* Let the allocator return large blocks to the system when they are freed. */
void process_return_memory(void);
/* Set the dispositions and the signal mask of the daemon. The handlers are
 * installed by reactor_on_signal(). */
void process_prepare_signals(void);
/* Log a warning for each variable CRAFTD_* that belongs neither to a flag nor
 * to a command. */
void process_check_environment(void);

#endif
