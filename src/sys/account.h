/* account.h -- changes the user of a process that was started as root. */
#ifndef CRAFTD_SYS_ACCOUNT_H
#define CRAFTD_SYS_ACCOUNT_H

#include "base/base.h"

enum { SYS_USER_NAME_BYTES = 64 };

struct sys_user {
    uint32_t uid;
    uint32_t gid;
    /* Its name in /etc/passwd, by which its other groups are found. "": a
     * number without an entry there, which has no other groups. */
    char name[SYS_USER_NAME_BYTES];
};

/* Look up "NAME" or "NAME:GROUP", each a name or a number; without GROUP, which
 * a number that is not in /etc/passwd requires, it is the user's own. Names are
 * those of /etc/passwd and /etc/group alone. False: `why` has a sentence. */
MUST_CHECK bool sys_user_find(const char *text, struct sys_user *user,
                              char *why, size_t why_size);

/* True when this process may become that user: it is root, or it is that user
 * already. */
bool sys_user_is_possible(const struct sys_user *user);

/* Become the user, with its groups (64 at most), irreversibly. No effect when
 * the process is that user already. False: `why` has a sentence, and the
 * process must end, since a part may have been done. */
MUST_CHECK bool sys_user_become(const struct sys_user *user, char *why,
                                size_t why_size);

/* Give the file of a Unix socket that root has made to the user. The directory
 * may be that user's, who may put anything in its place: what is no socket of
 * root's, or has a second name, is left as it is, with EPERM. False: see errno.
 */
MUST_CHECK bool sys_user_give_socket(const struct sys_user *user,
                                     const char *path);

#endif
