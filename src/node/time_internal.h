/* time_internal.h -- cluster time inside the room: time.c. */
#ifndef CRAFTD_NODE_TIME_INTERNAL_H
#define CRAFTD_NODE_TIME_INTERNAL_H

#include "base/bytes.h"
#include "node/node.h"

/* The newest version of commands that a node applies. */
struct build {
    raft_id id; /* 0: the row is free. */
    uint8_t commands;
};

/* A peer's HELLO or WELCOME has advertised its build. */
void time_peer_up(struct node *node, raft_id peer,
                  const struct wire_hello *hello);
/* True when the node `id`, this one or another, can apply stamped commands. */
bool time_is_understood_by(struct node *node, raft_id id);

/* A phase of the turn: advance the clock. */
void time_run(struct node *node);

enum stamp {
    STAMP_DONE,  /* The command can be proposed. */
    STAMP_LATER, /* Not all entries of earlier terms are applied yet. */
    STAMP_NEVER, /* It needs one, and a member may not understand it. */
};
/* Stamp a command before this leader proposes it, unless it needs none, or may
 * have none yet. *command is then valid until the next call. */
MUST_CHECK enum stamp time_stamp(struct node *node, struct bytes *command);

/* ---- expiry.c ---- */

/* A duty: keys or leases are due; propose to remove them. */
bool expiry_is_due(const struct node *node);
void expiry_run(struct node *node);
/* A duty: something is to end, and the last stamp is old. */
bool expiry_stamp_is_due(const struct node *node);
void expiry_stamp(struct node *node);
/* Time of the next of these duties, in ms of the node's clock; UINT64_MAX:
 * there is none. */
uint64_t expiry_deadline_ms(const struct node *node);

#endif
