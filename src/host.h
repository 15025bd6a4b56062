/* host.h -- what a node gets from the machine that it runs on. */
#ifndef CRAFTD_HOST_H
#define CRAFTD_HOST_H

#include "node/node.h"

/* Clocks and entropy of this machine, and `fs` (borrowed). The rest, which
 * needs peers, is for the caller to fill in. */
struct node_env host_env(const struct fs *fs);

/* That a process like this one may still write there. */
bool host_free_bytes(const char *dir, uint64_t *bytes);

/* The directories above `path`, as mkdir -p makes them. False: logged. */
bool host_make_parents(const char *path);

#endif
