/* ops.h -- what a daemon does by itself because its flags say so.
 *
 *     --join LIST       join.c: asks other nodes to add this one, until it is
 *                       a member
 *     --leave-on-exit   leave.c: stopped, it takes itself out of the membership
 *     --reap TIME       reap.c: leading, it removes members that have been
 *                       silent for so long
 *     --backup-dir DIR  backups.c: it writes its database there every
 *                       --backup-every, and keeps the newest --backup-keep
 *                       files
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

/* ---- leaving ---- */

struct ops_leave;

/* Both are borrowed until ops_leave_free(). */
struct ops_leave *ops_leave_new(struct reactor *reactor, struct node *node);
/* Remove this node from its cluster, if it is a member. True while that goes
 * on: the node must go on to serve; call this each turn of the event loop.
 * False when it is done, has failed (which is logged), is not needed, or
 * `by_ms` of the reactor's clock has come. `leave` NULL: false. */
bool ops_leave_run(struct ops_leave *leave, uint64_t by_ms);
/* Before the node is closed. NULL is fine. */
void ops_leave_free(struct ops_leave *leave);

/* ---- removal of silent members ---- */

struct ops_reap;

/* Remove members that this node, while it leads, has not heard from for
 * `silent_ms_max` milliseconds (over 0). One removal at a time. The reactor and
 * the node are borrowed until ops_reap_free(). */
struct ops_reap *ops_reap_start(struct reactor *reactor, struct node *node,
                                uint64_t silent_ms_max);
/* Before the node is closed. NULL is fine. */
void ops_reap_free(struct ops_reap *reap);

/* ---- scheduled backups ---- */

/* A backup is what GET /backup?level=none sends, under the same name with the
 * index in twenty digits, so that names sort by age. It is written in slices,
 * one per turn of the event loop; when nothing has changed none is written.
 * Several nodes may share a directory: a backup has a name of its node and
 * attempt until it is whole, and a node removes no unfinished ones but its
 * own. */
struct ops_backups_options {
    struct reactor *reactor; /* Borrowed, like the node, until the end. */
    struct node *node;
    const char *dir; /* Made when it is not there, with its parents. */
    uint64_t every_ms;
    uint64_t keep; /* Number of complete backups of this cluster. */
};

struct ops_backups;

/* NULL: the directory cannot be made or used, which is logged. */
struct ops_backups *
ops_backups_start(const struct ops_backups_options *options);
/* Unix time when a backup was last written whole, or found to hold everything
 * that there is; 0: not since the start. */
uint64_t ops_backups_time_s(const struct ops_backups *backups);
/* Before the node is closed. An unfinished backup is removed. NULL is fine. */
void ops_backups_free(struct ops_backups *backups);

#endif
