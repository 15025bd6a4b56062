/* ops.h -- the tasks that a daemon performs by itself, if its flags say so.
 *
 *     --join LIST       join.c: asks other nodes to add this one, until it is
 *                       a member
 *     --leave-on-exit   leave.c: when stopped, removes itself from the
 *                       membership
 *     --reap TIME       reap.c: as leader, removes members that have been
 *                       silent for that time
 *     --backup-dir DIR  backups.c: writes its database there every
 *                       --backup-every, and keeps the newest --backup-keep
 *                       files
 *
 * Each of these has an object that the daemon makes if the flag is given, and
 * frees before its node. They are driven by timers of the reactor and by
 * callbacks of the node, all on the daemon's one thread. Times of the reactor
 * and of the node are by the same clock. */
#ifndef CRAFTD_OPS_OPS_H
#define CRAFTD_OPS_OPS_H

#include "node/node.h"
#include "reactor/reactor.h"

/* ---- the joining client ---- */

/* Asks the HTTP addresses in `targets` in turn to add this node, until it is a
 * member. Its own addresses are skipped, so that all nodes may have the same
 * list. A node that is a member already asks only while it knows no leader: the
 * targets may know one, and pass this node's new address on. */
struct ops_join_options {
    /* Pointers are borrowed until ops_join_free(), except `targets`. */
    struct reactor *reactor;
    struct node *node;
    const char *targets;     /* host:port, separated by commas, in less than
                                1024 bytes; copied. */
    const char *raft_addr;   /* Advertised address of the Raft port. */
    const char *http_addr;   /* Advertised address of the HTTP API, ... */
    const char *http_listen; /* ... and the one where it listens. */
    const char *credentials; /* Value of Authorization, for the targets and not
                                for where they redirect to; "": none. */
    bool observer;           /* Join without a vote. */
    uint64_t timeout_ms;     /* Upper bound on the time of a join; 0: none. Not
                                for a member. */
    /* The join fails when every answer has been, for this time, that a live
     * member has this node's name or address. It should exceed an election
     * time-out: the member may be this node before it lost its disk, and counts
     * as live for that time. */
    uint64_t refused_ms;
    uint64_t seed; /* Seed of the random part of pauses. */
    /* Called once, from the event loop, when the join has failed for one of
     * these two reasons, which is logged; it does not ask again. Must not free
     * the join. */
    void (*on_refused)(void *arg);
    void *arg;
};

struct ops_join;

/* Start to ask. Never NULL. */
struct ops_join *ops_join_start(const struct ops_join_options *options);
/* A sentence that says what prevents the join; "" when nothing is known or the
 * node is a member. Valid until the next turn of the event loop. */
const char *ops_join_trouble(const struct ops_join *join);
/* Call it before the node and the reactor are freed. NULL is fine. */
void ops_join_free(struct ops_join *join);

/* ---- leaving ---- */

struct ops_leave;

/* Both are borrowed until ops_leave_free(). */
struct ops_leave *ops_leave_new(struct reactor *reactor, struct node *node);
/* Remove this node from its cluster, if it is a member. True while the removal
 * is in progress: the node must keep running, and this is called again in each
 * turn of the event loop, with the same `by_ms`. False when it is done or not
 * needed, has failed (which is logged), or the time `by_ms` (absolute) has
 * come. `leave` NULL: false. */
bool ops_leave_run(struct ops_leave *leave, uint64_t by_ms);
/* Call it before the node is closed. NULL is fine. */
void ops_leave_free(struct ops_leave *leave);

/* ---- removal of silent members ---- */

struct ops_reap;

/* Remove members that have not answered this node, while it leads, for
 * `silent_ms_max` milliseconds (over 0). One removal at a time. The reactor and
 * the node are borrowed until ops_reap_free(). */
struct ops_reap *ops_reap_start(struct reactor *reactor, struct node *node,
                                uint64_t silent_ms_max);
/* Call it before the node is closed. NULL is fine. */
void ops_reap_free(struct ops_reap *reap);

/* ---- the command of --backup-exec ---- */

/* A process that runs one command, for files of one directory (exec.c). */
struct ops_exec;

/* Start it: before the sandbox is entered, in which nothing can be started, and
 * early, since it has a copy of this process's memory. Strings are copied with
 * it. It calls `cb` once, to drop rights, and ends if that returns false. NULL,
 * with errno: it cannot be started. */
struct ops_exec *ops_exec_start(const char *command, const char *dir,
                                reactor_prepare_cb *cb, void *arg);
/* Run `sh -c command` with CRAFTD_PATH (that file of the directory),
 * CRAFTD_INDEX and CRAFTD_BYTES in its environment, which otherwise is that of
 * this process, for at most `timeout_ms`. One at a time. False: the process has
 * ended. */
enum { OPS_EXEC_NAME_BYTES = 64 };
MUST_CHECK bool ops_exec_run(struct ops_exec *exec, const char *name,
                             uint64_t index, uint64_t bytes,
                             uint64_t timeout_ms);
struct ops_exec_result {
    int exit_code;     /* -1: it was not started, or a signal has ended it. */
    int signal_number; /* 0: none has. */
    bool timed_out;    /* It was killed when its time was over. */
};
/* Returns whether the command that was started last has ended. Does not block.
 */
MUST_CHECK bool ops_exec_ended(struct ops_exec *exec,
                               struct ops_exec_result *result);
/* End the process. A command that runs may go on in its time. NULL is fine. */
void ops_exec_free(struct ops_exec *exec);

/* ---- scheduled backups ---- */

/* A backup is what GET /backup?level=none sends, under the same name with the
 * index in twenty digits, so that names sort by age. It is written in slices,
 * one per turn of the event loop; when nothing has changed none is written.
 * Several nodes may share a directory: until a backup is whole its name is that
 * of its node and attempt, and a node removes only its own unfinished ones. */
struct ops_backups_options {
    struct reactor *reactor; /* Borrowed until ops_backups_free(), ... */
    struct node *node;       /* ... and so is the node. */
    const char *dir;         /* Created if missing, with its parents. */
    uint64_t every_ms;       /* Pause after a backup, over 0. */
    uint64_t keep;           /* Number of this cluster's backups that stay. */
    struct ops_exec *exec;   /* Runs the command for each new backup; borrowed.
                                NULL: there is none. */
};

struct ops_backups;

/* The first backup is written after `every_ms`. A failed one is logged, and
 * tried again after another `every_ms`. NULL: the directory cannot be created
 * or used, which is logged. */
struct ops_backups *
ops_backups_start(const struct ops_backups_options *options);
struct ops_backups_status {
    /* The newest backup that was written whole. */
    uint64_t time_s; /* Unix time when it was written, or was found to be up to
                        date; 0: not since the start, as the next two. */
    uint64_t index;
    uint64_t bytes;
    uint64_t failures;    /* Backups that failed, since the start. */
    const char *trouble;  /* Why the last one failed; "": it did not. */
    bool has_exec;        /* The next three are of its command. */
    uint64_t exec_time_s; /* Unix time of its last success; 0: none yet. */
    uint64_t exec_failures;
    const char *exec_trouble;
};
/* Texts are valid until the next turn of the event loop. */
void ops_backups_get_status(const struct ops_backups *backups,
                            struct ops_backups_status *status);
/* Call it before the node is closed. An unfinished backup is removed. NULL is
 * fine. */
void ops_backups_free(struct ops_backups *backups);

#endif
