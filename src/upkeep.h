/* upkeep.h -- what a node does by itself because flags say so:
 *
 *     --leave-on-exit      stopped, it takes itself out of the membership
 *     --reap TIME          leading, it removes members that were silent so long
 *     --backup-dir DIR     it writes its database there, every --backup-every,
 *                          and keeps the newest --backup-keep of the files
 *
 * A backup is what GET /backup?level=none sends, under the same name with the
 * index in twenty digits, so that names sort by age. It is written in slices,
 * a turn each; when nothing has changed none is written. Several nodes may
 * share DIR: a backup has a name of its node and attempt until it is whole,
 * and a node removes no unfinished ones but its own. */
#ifndef CRAFTD_UPKEEP_H
#define CRAFTD_UPKEEP_H

#include "config.h"
#include "node/node.h"
#include "reactor/reactor.h"

struct upkeep;

/* All borrowed, until upkeep_free(). */
struct upkeep *upkeep_start(const struct config *config,
                            struct reactor *reactor, struct node *node);
/* Leave, if it is to: true while that goes on. The node serves meanwhile; call
 * it each turn, until `by_ms` at the latest. */
bool upkeep_leave(struct upkeep *upkeep, uint64_t by_ms);
/* Unix time when a backup was last written whole, or found to hold everything
 * that there is; 0: not since the start. False without --backup-dir. */
bool upkeep_backup_time(const struct upkeep *upkeep, uint64_t *unix_s);
/* Before the node is closed. NULL is fine. */
void upkeep_free(struct upkeep *upkeep);

#endif
