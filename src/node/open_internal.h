/* open_internal.h -- from a directory to a node, inside the room. */
#ifndef CRAFTD_NODE_OPEN_INTERNAL_H
#define CRAFTD_NODE_OPEN_INTERNAL_H

#include "node/fit.h"
#include "node/ident.h"
#include "node/node.h"
#include "wal/wal.h"

/* ---- open.c ---- */

/* Determine the sizes that fit to the disk of `fs`, and put them into the
 * options that are 0. ERR_NOSPACE: the disk is too small for a node; logged. */
MUST_CHECK enum err node_fit(const struct fs *fs, struct node_options *options,
                             struct fit *fit);

/* ---- recovery.c: from a member's files to a running engine ---- */

struct wal_options node_log_options(const struct node_env *env,
                                    const struct node_options *node_options,
                                    const struct ident *ident);
/* Open database and log of the member node->ident, and start its engine.
 * Errors are logged. */
MUST_CHECK enum err node_open_member(struct node *node);

/* ---- first_start.c: a directory that is no member's yet ---- */

/* Make a new log in which `ident` is the only member, by the entry behind
 * (index, term). Nothing of an earlier log may be there. */
MUST_CHECK enum err node_found_log(const struct node_env *env,
                                   const struct node_options *options,
                                   const struct ident *ident, uint64_t index,
                                   uint64_t term);
/* The start of a node without IDENT: wait to be adopted, listen for another
 * cluster, or found one at once. Errors are logged. */
MUST_CHECK enum err node_first_start(struct node *node);
/* Found the cluster that was put off, if it is time. */
void node_bootstrap_when_due(struct node *node);

/* ---- bootstrap.c ---- */

/* True when node_recover() or node_restore() was interrupted here. */
bool node_is_half_recovered(const struct fs *fs);

#endif
