/* host.h -- what a node gets from the machine that it runs on. */
#ifndef CRAFTD_HOST_H
#define CRAFTD_HOST_H

#include "node/node.h"

/* Clocks and entropy of this machine, and `fs` (borrowed). The rest, which
 * needs peers, is for the caller to fill in. */
struct node_env host_env(const struct fs *fs);

/* That a process like this one may still write there. */
bool host_free_bytes(const char *dir, uint64_t *bytes);

/* Which file a path means: the same numbers are the same file. */
struct host_file {
    uint64_t device;
    uint64_t inode;
};
/* ERR_NOT_FOUND: there is none. ERR_IO: it cannot be told now. */
MUST_CHECK enum err host_file_at(const char *path, struct host_file *file);

/* What the machine calls itself; NULL: nothing. Static. */
const char *host_name(void);

/* The directories above `path`, as mkdir -p makes them. False: logged. */
bool host_make_parents(const char *path);

#endif
