/* process.h -- what the process inherits, made as this program wants it. */
#ifndef CRAFTD_PROCESS_H
#define CRAFTD_PROCESS_H

/* Give closed standard descriptors to /dev/null, before anything is opened. */
void process_hold_standard_files(void);
/* Files are created with 0600 and directories with 0700 from now on, whatever
 * the umask was. */
void process_keep_files_private(void);
/* Dispositions and mask, for the daemon; handlers are the reactor's. */
void process_prepare_signals(void);
/* Log a warning for each variable CRAFTD_* that is no flag. */
void process_check_environment(void);

#endif
