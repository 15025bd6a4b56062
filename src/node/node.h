/* node.h -- carries out what the engine decided: persist, send, apply,
 * answer. Knows neither network nor reactor: everything outside is in struct
 * node_env, so that a simulator runs this same node.
 *
 * Feed it: node_on_frame(), node_peer_up(), node_write(), node_read(), ...
 * during a turn; then call node_turn() once. What the engine decides is carried
 * out there only, in the order of the table of phases in turn.c, and requests
 * finish there, by their callback. */
#ifndef CRAFTD_NODE_NODE_H
#define CRAFTD_NODE_NODE_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/histogram.h"
#include "base/list.h"
#include "raft/raft.h"
#include "store/rows.h"
#include "store/upload.h"
#include "sys/fs.h"
#include "wire/transport.h"
#include "wire/wire.h"

struct node;

struct node_env {
    void *self;
    uint64_t (*now_ms)(void *self);
    uint64_t (*now_us)(void *self); /* To measure the disk by. */
    void (*entropy)(void *self, void *out, size_t size);
    const struct fs *fs;
    const char *sqlite_vfs;
    struct transport transport; /* Zero for node_recover() and _restore(). */
};

struct node_options {
    const char *name;      /* NULL: the stored one, else raft_addr. */
    const char *raft_addr; /* What others reach us by. */
    const char *http_addr;
    bool joining;     /* An empty directory waits to be adopted instead of
                         bootstrapping a cluster of one. */
    const char *join; /* Whom it asks: remembered until it is adopted. NULL:
                         nothing is. */
    /* An empty directory listens for so long whether another cluster counts
     * this node as its member, before it founds one. */
    uint32_t bootstrap_wait_ms;
    bool bootstrap_anyway; /* ... and whatever another cluster says. */
    bool observer;         /* Join as non-voter. */
    uint32_t heartbeat_ms;
    uint32_t election_min_ms;
    uint32_t election_max_ms;
    uint32_t proposals_max; /* Queued and not yet applied, else BUSY. */
    uint64_t proposals_bytes_max;
    uint64_t replace_after_ms; /* Silence of a member before a newcomer at
                                  another address may take its name. */
    uint64_t segment_bytes;    /* Of the log; 0: as wal.h says. */
    uint64_t reserve_bytes;    /* Of the database; 0: as store.h says. */
    uint64_t db_bytes_max; /* More is not written, only deleted; 0: no limit. */
    uint64_t log_keep_bytes;   /* Of the log that a snapshot holds as well; 0 =
                                  16 MiB. Four times that for a follower that
                                  is behind. */
    uint64_t checkpoint_bytes; /* Of -wal; 0: what a turn can take. */
    uint64_t snapshot_piece_bytes; /* 0 = 256 KiB. */
};

/* What the daemon sets proposals_max and proposals_bytes_max to. */
enum { NODE_PROPOSALS_MAX = 4096, NODE_PROPOSALS_BYTES_MAX = 16 << 20 };

enum node_outcome {
    NODE_OK = 0,
    /* Definitely not done: */
    NODE_NO_LEADER = 1,
    NODE_BUSY = 2,      /* A bound is reached: overloaded. */
    NODE_CONF_BUSY = 3, /* A membership change is running. */
    NODE_NO_SPACE = 4,
    NODE_NOT_FOUND = 5,  /* No such member. */
    NODE_LAST_VOTER = 6, /* Would leave nobody to vote, or no majority. */
    NODE_NOT_CAUGHT_UP = 7,
    NODE_STOPPING = 8,
    NODE_TOO_BIG = 9,
    NODE_INVALID = 10,
    NODE_STARTING = 11,
    NODE_LOST = 12, /* Another leader's entry took its place. */
    /* May or may not have been done: */
    NODE_UNKNOWN = 13,
    /* Not done, and no node answers so to another: */
    NODE_SECOND_CLUSTER = 14, /* See node_foreign(). */
    NODE_QUARANTINED = 15,    /* See node_contradiction(). */
    NODE_OUTCOME_COUNT,
};
const char *node_outcome_name(enum node_outcome outcome);

/* Why a membership request was refused, beside NODE_INVALID (a join) or
 * NODE_NOT_CAUGHT_UP (a transfer). NODE_REFUSED_OTHERWISE when the leader is of
 * a build that does not say. */
enum node_refusal {
    NODE_REFUSED_OTHERWISE = 0,
    NODE_REFUSED_LIVE = 1,      /* A live member has that name or address. */
    NODE_REFUSED_NOT_YET = 2,   /* The member of that name is silent, but not
                                   for options.replace_after_ms. */
    NODE_REFUSED_ADDR = 3,      /* Another member has that address, and is
                                   down. */
    NODE_REFUSED_UNREACHED = 4, /* NODE_UNREACHED_MAX members were never
                                   reached. */
    NODE_REFUSED_NO_VOTE = 5,   /* Who has no vote cannot lead. */
    NODE_REFUSAL_COUNT,
};
enum { NODE_UNREACHED_MAX = 4 };

struct node_result {
    enum node_outcome outcome;
    uint64_t index;   /* Of the write; for reads: applied index shown. */
    uint64_t deleted; /* Keys that a delete found. */
    uint64_t bytes;   /* Of a snapshot; 0: there was nothing new. */
    enum node_refusal refusal;
    uint64_t wait_ms;  /* NODE_REFUSED_NOT_YET: until it may be asked again. */
    bool link_down;    /* NODE_UNKNOWN: the link to the leader ended before the
                          time did. */
    struct bytes data; /* NODE_OK of a version 2 command: what came of it
                          (command/result.h). Valid during the callback. */
};

/* A request in flight; the caller's memory, embedded in what it belongs to.
 * It is the node's from the call until `cb` or node_cancel(). */
struct node_request;
typedef void node_request_cb(struct node_request *request,
                             const struct node_result *result);
struct node_request {
    node_request_cb *cb;  /* PUBLIC: set before the call. */
    uint64_t deadline_ms; /* PUBLIC: absolute; NODE_UNKNOWN or _NO_LEADER
                             after. */
    /* PRIVATE to src/node/: see requests.c. */
    struct list link;
    uint8_t state; /* Which of the node's lists it is in; 0 = none. */
    uint8_t kind;
    bool replaced;        /* A join: it has removed the former self already. */
    bool uncertain;       /* An earlier attempt of it may have been done. */
    uint64_t sent_commit; /* What was committed when it was forwarded first. */
    uint64_t index;       /* Of its log entry, or that must be applied first. */
    union {
        uint64_t term; /* PROPOSED, ORPHAN: the term of its log entry. */
        raft_id peer;  /* Whom it was forwarded to, or is to be asked. */
    };
    uint64_t since_us; /* When its entry was appended here. */
    uint64_t cookie;   /* Of a read, or of a forwarded request. */
    uint64_t size_bytes;
    struct node_result result;
    struct buf body; /* What to propose or forward, while it may be needed
                        again; then result.data. node_request_free() gives it
                        back. */
};
void node_request_free(struct node_request *request);

/* Open or create everything in env->fs: identity, log, state machine.
 * On failure one line has been logged. ERR_CORRUPT: data damaged.
 * ERR_MISMATCH: the name or the directory is another node's. ERR_LOCKED. */
MUST_CHECK enum err node_open(const struct node_options *options,
                              const struct node_env *env, struct node **node);
/* Flushes the state machine. */
void node_close(struct node *node);

/* ---- input ---- */

/* The functions below, as the handler of the links; `arg` is the node. */
extern const struct transport_handler node_transport_handler;

/* False: malformed, drop the link. */
bool node_on_frame(struct node *node, raft_id from,
                   const struct wire_frame *frame);
/* `hello`: its description of itself. A leader brings its member entry up to
 * date when the addresses in it are others. */
void node_peer_up(struct node *node, raft_id peer,
                  const struct wire_hello *hello);
void node_peer_down(struct node *node, raft_id peer);
/* A peer's HELLO or WELCOME, before it is believed. NULL, or why it must not
 * be (a constant): a newer start of that directory is remembered, so this is an
 * old or a second copy of it; or the number of its start cannot be true. */
const char *node_on_start(struct node *node, const struct wire_hello *hello);
/* HELLO while we have no id (see transport.h, on_adopt). It has to name the
 * directory that node_get_status() shows, which only those know whom we asked,
 * and come from the cluster that node_join_answered() named last. */
bool node_adopt(struct node *node, const struct wire_hello *hello);
/* POST /join has been answered: this cluster has made us its member. Nodes of
 * older builds do not say which: then the directory has to do. */
void node_join_answered(struct node *node, const uint8_t cluster[16]);
/* HELLO of another cluster's member (see transport.h, on_foreign). */
void node_on_foreign(struct node *node, const struct wire_hello *hello);

/* A node of our cluster that is trusted says that the committed membership of
 * entry `index` is without us. */
void node_on_removed(struct node *node, uint64_t index);
/* This node has been removed by its own will: with options.joining the next
 * start joins anew, under a new id, and drops the data of this one as soon as
 * the cluster has accepted it. Logged on failure. */
void node_mark_left(struct node *node);

/* Append `command` (command.h; copied) to the log, here or at the leader,
 * and answer when it is applied. */
void node_write(struct node *node, struct node_request *request,
                struct bytes command);

/* A linearizable read: answered when node_get() will show at least every write
 * that was acknowledged before this call; node_get() may be called from the
 * callback. A local read needs no request: call node_get(), unless
 * node_applied() is behind node_shown(). */
void node_read(struct node *node, struct node_request *request);

/* Answer when entry `index` has been applied here; NODE_NO_LEADER when it was
 * not in time, NODE_NO_SPACE when the state has gone back (node_shown()). */
void node_wait(struct node *node, struct node_request *request, uint64_t index);

/* Add `member` (name, addr, http, uuid, suffrage LEARNER or OBSERVER), or
 * bring the entry of that name up to date. Answered when committed.
 *
 * A member of the same name and another directory is replaced (removed, then
 * added under a new id) as soon as it is silent for an election time-out when
 * the newcomer is at its own address (its disk was lost), and from another
 * address once it has been silent for options.replace_after_ms: a second node
 * that was given the same name must not take the place of one that reboots. A
 * member of another name at the same address is replaced only when
 * member->id is NODE_JOIN_REPLACE (else 0), and is silent. At most
 * NODE_UNREACHED_MAX members that the leader has never reached are added,
 * beside those that replace one: their former selves are gone already.
 * NODE_INVALID: result->refusal says why not. */
#define NODE_JOIN_REPLACE UINT64_MAX
void node_join(struct node *node, struct node_request *request,
               const struct raft_member *member);
/* A member of this cluster, `member->id` and its uuid, says that it is at
 * member->addr now. No more than a hint where to look for it, here and at the
 * leader: its handshake tells whether it is true. Answered at once when there
 * is no leader. */
void node_moved(struct node *node, struct node_request *request,
                const struct raft_member *member);
void node_remove(struct node *node, struct node_request *request, raft_id id);
/* Give the member a vote, or take it. NODE_NOT_CAUGHT_UP: it is too far behind
 * to vote (a learner gets its vote by itself once it is not).
 * NODE_LAST_VOTER: the voters that are left could not decide. */
void node_set_voter(struct node *node, struct node_request *request, raft_id id,
                    bool voter);
/* Answer when the other member `peer` has applied entry `index`, with the
 * index it had reached by then. As long as there is no link to it, wait. */
void node_wait_applied(struct node *node, struct node_request *request,
                       raft_id peer, uint64_t index);
/* Bring everything applied here into the database file, durably, a step each
 * turn. Answered with its index and size. */
void node_checkpoint(struct node *node, struct node_request *request);
/* The same, and drop what the log need not keep. */
void node_snapshot(struct node *node, struct node_request *request);
/* Hand leadership to `id` (0 = the best). Answered when it has happened. */
void node_transfer(struct node *node, struct node_request *request, raft_id id);

/* The callback will not be called any more. Safe on an idle request that was
 * zero-initialised. What was proposed may still be done. */
void node_cancel(struct node *node, struct node_request *request);

/* A consistent copy of the database, while writes go on: a file that SQLite
 * opens, as of the last checkpoint, which was at `index`; node_checkpoint()
 * makes that a recent one. A view kv(key, value) in it shows both as text. It
 * is read from its beginning to its end. While one is open, checkpoints cost up
 * to twice as much, and a snapshot that has come waits: do not keep it without
 * need.
 *   ERR_NOT_FOUND  no member of a cluster yet, nothing is stored, or it
 *                  contradicts the cluster
 *   ERR_BUSY       too many are open
 *   ERR_NOSPACE    the checkpoint found no room, or another one goes on */
struct store_image;
MUST_CHECK enum err node_image_open(struct node *node,
                                    struct store_image **image, uint64_t *index,
                                    uint64_t *bytes);
MUST_CHECK enum err node_image_read(struct store_image *image, void *out,
                                    size_t size);
void node_image_close(struct store_image *image);
/* Somebody waits for images to be closed: a snapshot that is whole, or in the
 * last half minute a follower that needs one and found too many open. */
bool node_image_awaited(const struct node *node);

/* A file for a backup that a client sends, to be restored (store/upload.h has
 * what can be done with it). Its rows then go into the log by node_write(), as
 * the steps of command.h; a leader aborts a restore that does not go on. One at
 * a time; to be freed before the node is closed. ERR_NOT_FOUND: this node is
 * no member. */
MUST_CHECK enum err node_upload_new(struct node *node,
                                    struct store_upload **upload);
/* Not 0; drawn from the environment. */
uint64_t node_random(struct node *node);

/* ---- offline (bootstrap.c) ---- */

struct node_new_cluster {
    uint64_t index; /* The last entry that is in it. */
    uint64_t keys;
    uint8_t cluster[16]; /* The new one. */
    char name[RAFT_NAME_BYTES];
};
/* Make the directory of a node that has lost its cluster a new cluster of one,
 * with its data. `without_log`: with the database alone, when the log is
 * damaged. Can be interrupted and run again. Errors are logged. */
MUST_CHECK enum err node_recover(const struct node_options *options,
                                 const struct node_env *env, bool without_log,
                                 struct node_new_cluster *founded);
/* Make an empty directory a cluster of one with the data of a backup: file
 * `path` of `from`. */
MUST_CHECK enum err node_restore(const struct node_options *options,
                                 const struct node_env *env,
                                 const struct fs *from, const char *path,
                                 struct node_new_cluster *founded);

/* ---- the turn ---- */

/* Carry out everything that has gathered. Returns when to be called again at
 * the latest (absolute ms, 0 = at once). */
uint64_t node_turn(struct node *node);

/* Refuse new writes; hand leadership over. Call it again each turn until
 * node_stopped(): a transfer that failed is tried anew. */
void node_stop(struct node *node);
/* Nothing in flight, and (if there is another voter) no longer leader. */
bool node_stopped(const struct node *node);

/* ---- looking ---- */

/* This node's own state. ERR_NOT_FOUND; ERR_NOSPACE: reading on a full disk
 * took the state back: node_wait() for node_shown(). */
MUST_CHECK enum err node_get(struct node *node, struct bytes key,
                             struct store_row *row);

/* Keys in [from, to) in order (store.h has the details); opened, read and
 * closed within one turn and outside of the node's callbacks: on a full disk
 * reading may take the state back (ERR_NOSPACE), and others are about to be
 * answered from it. Only of a member. */
void node_range_open(struct node *node, const struct store_range *range);
/* ERR_NOT_FOUND at the end. */
MUST_CHECK enum err node_range_next(struct node *node, struct store_pair *pair);
void node_range_close(struct node *node);

/* The member of another cluster that has dialled this node as a member of its
 * own. Texts may be "". */
struct node_foreign {
    bool known;
    uint8_t cluster[16];
    char name[RAFT_NAME_BYTES];
    char addr[RAFT_ADDR_BYTES];
    char http[RAFT_ADDR_BYTES];
};
/* This node is a second cluster, of one, or would found it: writes and
 * linearizable reads are answered NODE_SECOND_CLUSTER. NULL: it is not. */
const struct node_foreign *node_foreign(const struct node *node);
/* ms until it founds a cluster; 0: it has, or does not. */
uint64_t node_bootstrap_in_ms(const struct node *node);
/* Not adopted yet and started without --join: whom an earlier start asked.
 * NULL: nobody. */
const char *node_remembered_join(const struct node *node);

struct node_status {
    struct raft_status raft;
    const struct raft_conf *conf; /* Valid until the next turn. */
    bool member;                  /* We have an id. */
    uint64_t removed_index; /* The entry of a membership without us; 0: we are
                               in it, as far as known here. Then `conf` has
                               the others. */
    bool ready; /* Applied what was committed when we started or joined. */
    uint8_t cluster[16];
    uint8_t uuid[16];
    uint64_t incarnation;
    char name[RAFT_NAME_BYTES];
    uint64_t applied;
    uint64_t hash;
    uint64_t keys;
    uint64_t db_bytes;
    uint64_t used_bytes;  /* Of it: without pages that are free. */
    uint64_t checkpoints; /* Of the database in use, since it was opened. */
    uint64_t log_bytes;
    uint64_t written_bytes;    /* To the log, since the start. */
    uint64_t db_written_bytes; /* To the database in use, since its open. */
    uint64_t syncs;
    uint64_t sync_us_max;
    uint64_t proposals_pending;
    uint64_t writes;          /* Applied commands since start. */
    uint64_t last_contact_ms; /* As node_last_contact_ms(). */
    bool no_space;            /* Writes are refused: the disk is full; ... */
    bool no_resources;        /* ... descriptors or memory have run out. */
    bool over_quota;
    bool disk_stuck; /* It has not answered for an election time-out. */
    const char *sqlite_version;
};
void node_get_status(struct node *node, struct node_status *status);
uint64_t node_removed_index(const struct node *node);
/* A leader of this node's cluster has another entry at an index that is
 * committed here. Reads are answered NODE_QUARANTINED, and what node_get() and
 * the like give is not to be shown. NULL: none has. */
struct node_contradiction {
    uint64_t index;
    char leader[RAFT_NAME_BYTES];
};
const struct node_contradiction *node_contradiction(const struct node *node);
/* In the newest committed membership, of entry *index, nobody has that name. */
bool node_has_removed(const struct node *node, const char *name,
                      uint64_t *index);

/* The last newcomer whose name or address is a member's, at the leader. */
struct node_intruder {
    enum node_refusal refusal; /* LIVE, NOT_YET or ADDR. */
    char name[RAFT_NAME_BYTES];
    char addr[RAFT_ADDR_BYTES];
    char member[RAFT_NAME_BYTES]; /* The member in its way. */
};
/* NULL: none has asked lately. Valid until the next turn. */
const struct node_intruder *node_intruder(const struct node *node);

/* Counted since the start of the process. */
struct node_metrics {
    struct histogram commit_us; /* Of an entry, from our log to applied. */
    uint64_t committed;         /* Of what was to be appended here. */
    uint64_t failed;            /* Refused (no space, overloaded), or lost. */
    uint64_t timed_out;         /* No decision in time. */
    uint64_t forwarded;         /* Requests, to another node. */
    uint64_t leader_changes;    /* Leaders that became known here. */
    uint64_t snapshots_sent;
    uint64_t snapshots_unsent;
    uint64_t snapshots_installed;
    uint64_t snapshots_refused;
};
/* Valid while the node is. */
const struct node_metrics *node_get_metrics(const struct node *node);
/* How long each fdatasync of the log took, in us; NULL: no member yet. */
const struct histogram *node_sync_times(const struct node *node);

/* Cheap, for the headers of every response. */
uint64_t node_applied(const struct node *node);
/* The highest that it was since the start. On a full disk SQLite may go back to
 * its last commit; the log has the rest. Until it has been applied again,
 * nothing should be shown: node_wait() for this. */
uint64_t node_shown(const struct node *node);
uint64_t node_committed(const struct node *node); /* As far as known here. */
uint64_t node_keys(const struct node *node);
bool node_is_member(const struct node *node);
bool node_is_voter(const struct node *node);
/* The environment's clock, to measure work by. */
uint64_t node_now_us(const struct node *node);
const char *node_name(const struct node *node);
/* The leader's entry in the membership; NULL when no leader is known, or it is
 * no member. Valid until the next turn. */
const struct raft_member *node_leader(const struct node *node);
bool node_is_leader(const struct node *node);
uint64_t node_term(const struct node *node);
/* ms since a leader was heard, or we led; 0 on the leader. UINT64_MAX: never
 * since the start, so that nobody knows how old our state is. */
uint64_t node_last_contact_ms(const struct node *node);

#endif
