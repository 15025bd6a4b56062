/* privileges.h -- reduces the rights of the daemon during its start: its user,
 * and its sandbox (sys/sandbox.h).
 *
 * The order of a start: privileges_init(), privileges_start_resolver() before
 * anything is opened, privileges_make_directories(), listeners,
 * privileges_drop_user(), the files of the log, privileges_enter_sandbox(), and
 * only then untrusted input: the data directory, requests. */
#ifndef CRAFTD_PRIVILEGES_H
#define CRAFTD_PRIVILEGES_H

#include "config.h"
#include "reactor/reactor.h"
#include "sys/account.h"
#include "sys/sandbox.h"

struct privileges {
    const struct config *config; /* Borrowed; outlives the struct. */
    bool has_user;               /* --user */
    struct sys_user user;
    struct sandbox_status sandbox; /* All false until it is entered. */
};

/* Each of these returns false when the start cannot go on; that is logged. */

/* Look up --user. If there are secrets to be read, forbid core dumps. */
MUST_CHECK bool privileges_init(struct privileges *privileges,
                                const struct config *config);
/* Start the process that resolves names. */
MUST_CHECK bool privileges_start_resolver(struct privileges *privileges,
                                          struct reactor *reactor);
/* In the process of --backup-exec (a reactor_prepare_cb, `arg` is the struct
 * privileges): become --user. It enters no sandbox, since what an operator's
 * command needs is not known. */
MUST_CHECK bool privileges_prepare_exec(void *arg);
/* In a process that syncs files (fs_process_prepare_cb of sys/fs.h, `arg` is
 * the struct privileges): enter its sandbox, unless --sandbox=off. */
void privileges_confine_sync(void *arg);
/* Make the data and backup directories, and those above them, for the user that
 * will need them. Directories that exist stay as they are. */
MUST_CHECK bool
privileges_make_directories(const struct privileges *privileges);
/* Become --user, if any, which gets the Unix socket, and check that it may use
 * these directories and read the files of --cluster-key and --auth. */
MUST_CHECK bool privileges_drop_user(const struct privileges *privileges);

/* Enter the sandbox, unless --sandbox=off. The layers in force are logged.
 * `sealed_fd` as in sandbox_enter(). */
void privileges_enter_sandbox(struct privileges *privileges, int sealed_fd);
/* Enter the sandbox of a command that works on files, before it reads them: it
 * may change what is in the directory `dir`, and read the file `file`; NULL:
 * there is none. */
void privileges_confine_offline(const char *dir, const char *file);

#endif
