/* ops.h -- what a daemon does by itself because its flags say so.
 *
 *     --join LIST    join.c: asks other nodes to add this one, until it is a
 *                    member
 *
 * Each of these has an object that the daemon makes while the flag is given
 * and frees before its node. They are driven by timers of the reactor and by
 * answers of the node, all on the daemon's one thread. */
#ifndef CRAFTD_OPS_OPS_H
#define CRAFTD_OPS_OPS_H

#include "node/node.h"
#include "reactor/reactor.h"

/* ---- the joining client ---- */

/* Asks the HTTP addresses in `targets` in turn to add this node, until it is a
 * member. Its own addresses are passed over, so that all nodes may have the
 * same list. A node that is a member already asks only while it knows no
 * leader: the targets may know where the others are. */
struct ops_join_options {
    struct reactor *reactor; /* Borrowed, like the node, until the end. */
    struct node *node;
    const char *targets;     /* host:port with commas between; copied. */
    const char *raft_addr;   /* Borrowed, like all strings below. */
    const char *http_addr;   /* The address that others reach us by, ... */
    const char *http_listen; /* ... and the one where we listen. */
    bool observer;           /* Join without a vote. */
    uint64_t timeout_ms;     /* on_refused() is called after it; 0: never. */
    /* on_refused() is called when the cluster has answered for this long, and
     * nothing else, that our name or address is a live member's. It should
     * exceed an election time-out: the member may be this node before it lost
     * its disk, and seem alive for so long. */
    uint64_t refused_ms;
    uint64_t seed; /* For the lengths of pauses. */
    /* The join has failed for good; it asks no more. Called from the event
     * loop; must not free the join. */
    void (*on_refused)(void *arg);
    void *arg;
};

struct ops_join;

/* Start to ask. Free it with ops_join_free(), before the node and the reactor
 * go. */
struct ops_join *ops_join_start(const struct ops_join_options *options);
/* A sentence about what is in the way, or "" when nothing is known or the node
 * is a member. Valid until the next turn of the event loop. */
const char *ops_join_trouble(const struct ops_join *join);
/* NULL is fine. */
void ops_join_free(struct ops_join *join);

#endif
