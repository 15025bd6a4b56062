/* host.h -- clocks, entropy, files and the name of the machine. */
#ifndef CRAFTD_HOST_H
#define CRAFTD_HOST_H

#include "base/bytes.h"
#include "node/node.h"
#include "sys/account.h"

/* An environment with the clocks and the entropy of this machine, and `fs`
 * (borrowed; outlives the node). The caller fills in the other members. */
struct node_env host_env(const struct fs *fs);

/* Ends the process if the machine has no random numbers, or waits until it has
 * some (sys_entropy()). Call it before anything is made, and before signals
 * have handlers, so that they end the wait. */
void host_await_entropy(void);

/* Bytes that an unprivileged process may still write to the file system of
 * `dir`. False: unknown, and *bytes is unchanged. */
bool host_free_bytes(const char *dir, uint64_t *bytes);

/* Identity of a file: equal numbers mean the same file, as long as it
 * exists. */
struct host_file {
    uint64_t device;
    uint64_t inode;
};
/* Look up the file at `path`. ERR_NOT_FOUND: it does not exist. ERR_IO: it
 * cannot be determined now. */
MUST_CHECK enum err host_file_at(const char *path, struct host_file *file);

/* Append the contents of a file with secrets to `out`, whose memory the caller
 * overwrites with zeros. False: `why` gets a sentence, and nothing was added.
 * It must be a regular file of at most `size_max` bytes that neither its group
 * nor others may read or change (mode 0600 or stricter). */
MUST_CHECK bool host_read_secret(const char *path, size_t size_max,
                                 struct buf *out, char *why, size_t why_size);

/* Host name of the machine, in static memory; NULL: it has none. */
const char *host_name(void);

/* Make the directory `path` and those above it that are missing, as mkdir -p
 * does, for their owner alone: `owner` (NULL: the user of this process). An
 * existing file or directory stays as it is. True as well for a path that is
 * too long (FS_PATH_BYTES): opening it fails. False: logged. */
MUST_CHECK bool host_make_dir(const char *path, const struct sys_user *owner);

#endif
