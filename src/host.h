/* host.h -- clocks, entropy, files and the name of the machine. */
#ifndef CRAFTD_HOST_H
#define CRAFTD_HOST_H

#include "node/node.h"

/* Clocks and entropy of this machine, and `fs` (borrowed). The rest, which
 * needs peers, is for the caller to fill in. */
struct node_env host_env(const struct fs *fs);

/* Bytes that an unprivileged process may still write there. False: unknown. */
bool host_free_bytes(const char *dir, uint64_t *bytes);

/* Identity of a file: equal numbers mean the same file. */
struct host_file {
    uint64_t device;
    uint64_t inode;
};
/* ERR_NOT_FOUND: there is none. ERR_IO: it cannot be determined now. */
MUST_CHECK enum err host_file_at(const char *path, struct host_file *file);

/* Host name of the machine, static; NULL: it has none. */
const char *host_name(void);

/* The directories above `path`, as mkdir -p makes them, for their owner alone.
 * False: logged. */
bool host_make_parents(const char *path);

#endif
