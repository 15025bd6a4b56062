/* privileges.h -- what the daemon may do once it has started: as which user,
 * and in which sandbox (sys/sandbox.h).
 *
 * The order of a start: privileges_init(), privileges_start_resolver() before
 * anything is opened, privileges_make_directories(), listeners,
 * privileges_drop_user(), the files of the log, privileges_enter_sandbox(), and
 * only then what others wrote: the data directory, requests. */
#ifndef CRAFTD_PRIVILEGES_H
#define CRAFTD_PRIVILEGES_H

#include "config.h"
#include "reactor/reactor.h"
#include "sys/account.h"
#include "sys/sandbox.h"

struct privileges {
    const struct config *config; /* Borrowed. */
    bool has_user;               /* --user */
    struct sys_user user;
    struct sandbox_status sandbox; /* All false before it was entered. */
};

/* Each of these returns false when the start cannot go on; that is logged. */

/* Look up --user. */
MUST_CHECK bool privileges_init(struct privileges *privileges,
                                const struct config *config);
/* Start the process that resolves names. */
MUST_CHECK bool privileges_start_resolver(struct privileges *privileges,
                                          struct reactor *reactor);
/* Make the data and backup directories, and those above them, for the user that
 * will need them. Directories that exist stay as they are. */
MUST_CHECK bool
privileges_make_directories(const struct privileges *privileges);
/* Become --user, if any, and see that it may use these directories. */
MUST_CHECK bool privileges_drop_user(const struct privileges *privileges);

/* Unless --sandbox=off. What of it the system has is logged. */
void privileges_enter_sandbox(struct privileges *privileges);

#endif
