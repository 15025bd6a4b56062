/* node.h -- carries out the decisions of the engine: persist, send, apply,
 * answer. The node knows neither network nor reactor: everything outside is in
 * struct node_env, so that a simulator runs the same node.
 *
 * In a turn of the event loop, call node_on_frame(), node_peer_up(),
 * node_write(), node_read(), ... as events come, then node_turn() once. Only
 * node_turn() carries out what the engine decides, in the order of the table of
 * phases in turn.c, and it runs the callbacks of finished requests, as its last
 * step. No other function calls back. Everything runs on one thread.
 *
 * Times are in milliseconds of node_env.now_ms() unless a name says
 * otherwise. Pointers that are returned belong to the node, and are valid until
 * the next node_turn() unless something else is said. */
#ifndef CRAFTD_NODE_NODE_H
#define CRAFTD_NODE_NODE_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/histogram.h"
#include "base/list.h"
#include "node/catch_up.h"
#include "raft/raft.h"
#include "store/rows.h"
#include "store/upload.h"
#include "sys/fs.h"
#include "wire/transport.h"
#include "wire/wire.h"

struct node;

/* Copied; what it points to is borrowed until node_close(). */
struct node_env {
    void *self;
    uint64_t (*now_ms)(void *self); /* Monotonic. */
    uint64_t (*now_us)(void *self); /* Monotonic; measures work. */
    void (*entropy)(void *self, void *out, size_t size);
    const struct fs *fs;
    const char *sqlite_vfs;
    struct transport transport; /* Zero for node_recover() and _restore(). */
    /* Fill in `build`, `memory_bytes` and `disk_free_bytes`, which are those of
     * process and machine. NULL: this node reports nothing of itself to the
     * others. */
    void (*vitals)(void *arg, struct wire_vitals *vitals);
    void *vitals_arg;
};

/* Copied; strings are borrowed until node_close(). */
struct node_options {
    const char *name;      /* NULL: the stored one, else raft_addr. */
    const char *raft_addr; /* Advertised to the other nodes. */
    const char *http_addr; /* Advertised to clients; NULL: "". */
    bool joining;          /* An empty directory waits to be adopted instead of
                              bootstrapping a cluster of one. */
    const char *join; /* Addresses that it asks, stored for later starts until
                         it is adopted. NULL: nothing is stored. */
    /* Time to wait, before an empty directory founds a cluster, for the HELLO
     * of another cluster that counts this node as its member. */
    uint32_t bootstrap_wait_ms;
    bool bootstrap_anyway; /* Found a cluster at once, and ignore others. */
    /* 0 < heartbeat_ms < election_min_ms < election_max_ms. */
    uint32_t heartbeat_ms;
    uint32_t election_min_ms;
    uint32_t election_max_ms;
    /* Bounds on requests that wait for a leader, and on those that are proposed
     * and not yet applied, in number and in bytes: more are NODE_BUSY. */
    uint32_t proposals_max;
    uint64_t proposals_bytes_max;
    uint64_t replace_after_ms; /* Silence of a member before a newcomer at
                                  another address may take its name. */
    uint64_t db_bytes_max;     /* Size of the data at which writes are refused,
                                  but for deletes; 0: no limit. */
    uint64_t cache_bytes;      /* SQLite's page cache; 0: 4 MiB. */
    uint64_t row_cache_bytes;  /* Rows without their values; 0: 1 MiB. */
    uint64_t entries_bytes;    /* Newest entries kept in memory; 0: 2 MiB. */
    /* What is 0 of the next three depends on the size of the disk (fit.c); the
     * defaults here are those of a large one. */
    uint64_t segment_bytes;    /* Size of a segment of the log; 4 MiB. */
    uint64_t reserve_bytes;    /* Reserve of the database; 2 MiB. */
    uint64_t log_keep_bytes;   /* Log that is kept for followers although the
                                  database holds it; 16 MiB. Four times that
                                  for a follower that is behind. */
    uint64_t buffer_bytes;     /* Memory for applied entries that are not in the
                                  database yet; up to twice this while it is
                                  written. At most a 32nd of the disk; 0: 4
                                  MiB. */
    uint64_t checkpoint_bytes; /* Size of SQLite's -wal at which a checkpoint
                                  starts; 0: adapts to the disk's speed. */
    uint64_t snapshot_piece_bytes; /* Bytes per message; 0: 256 KiB. */
    /* Bounds of the ring of changes (feed.h); 0: FEED_EVENTS_MAX and
     * FEED_BYTES_MAX. */
    uint32_t feed_events_max;
    uint64_t feed_bytes_max;
};

/* The daemon's proposals_max and proposals_bytes_max. */
enum { NODE_PROPOSALS_MAX = 4096, NODE_PROPOSALS_BYTES_MAX = 16 << 20 };

/* The numbers are part of the wire format: outcomes are sent between nodes. */
enum node_outcome {
    NODE_OK = 0,
    /* Definitely not carried out: */
    NODE_NO_LEADER = 1,
    NODE_BUSY = 2,      /* A bound is reached: overloaded. */
    NODE_CONF_BUSY = 3, /* A membership change or a transfer is running. */
    NODE_NO_SPACE = 4,
    NODE_NOT_FOUND = 5,     /* No such member. */
    NODE_LAST_VOTER = 6,    /* No voter or no live majority would be left. */
    NODE_NOT_CAUGHT_UP = 7, /* The member lacks too much of the log. */
    NODE_STOPPING = 8,      /* node_stop() was called. */
    NODE_TOO_BIG = 9,       /* Not an outcome of this build. */
    NODE_INVALID = 10,      /* A join that is refused, or does not decode. */
    NODE_STARTING = 11,     /* This node is no member yet. */
    NODE_LOST = 12,         /* Another leader's entry took its place. */
    /* May or may not have been carried out: */
    NODE_UNKNOWN = 13,
    /* Not carried out, and never sent between nodes: */
    NODE_SECOND_CLUSTER = 14, /* See node_foreign(). */
    NODE_QUARANTINED = 15,    /* See node_contradiction(). */
    /* Not carried out: a member may not understand it; see node_outdated(). */
    NODE_OUTDATED = 16,
    NODE_OUTCOME_COUNT,
};
/* As in answers of the HTTP API: "no-leader". */
const char *node_outcome_name(enum node_outcome outcome);

/* The reason of NODE_INVALID (a join) or NODE_NOT_CAUGHT_UP (a transfer).
 * NODE_REFUSED_OTHERWISE: another one, or the leader's build is too old to give
 * it. */
enum node_refusal {
    NODE_REFUSED_OTHERWISE = 0,
    NODE_REFUSED_LIVE = 1,      /* A live member has that name or address. */
    NODE_REFUSED_NOT_YET = 2,   /* The member of that name is silent, but not
                                   for options.replace_after_ms. */
    NODE_REFUSED_ADDR = 3,      /* Another member has that address, and is
                                   down. */
    NODE_REFUSED_UNREACHED = 4, /* NODE_UNREACHED_MAX members were never
                                   reached. */
    NODE_REFUSED_NO_VOTE = 5,   /* The target of the transfer has no vote. */
    NODE_REFUSAL_COUNT,
};
/* Upper bound on members that the leader has never reached. */
enum { NODE_UNREACHED_MAX = 4 };

struct node_result {
    enum node_outcome outcome;
    uint64_t index;   /* NODE_OK: log index of the write's entry; the applied
                         index that a read shows, or that a wait has found; the
                         index that a checkpoint holds. */
    uint64_t deleted; /* Number of keys that a delete found. */
    uint64_t bytes;   /* Size of the database after a checkpoint; 0: there was
                         nothing new. */
    enum node_refusal refusal;
    uint64_t wait_ms; /* NODE_REFUSED_NOT_YET: time until it may succeed. */
    bool link_down; /* NODE_UNKNOWN: the link to the leader went down before the
                       deadline. */
    struct bytes data; /* NODE_OK of a version 2 command: its result
                          (command/result.h). Valid during the callback. */
};

/* A request, in the caller's memory. It belongs to the node from the call until
 * `cb` or node_cancel(). It is all zero at first; later it may be used again,
 * also from its callback. */
struct node_request;
typedef void node_request_cb(struct node_request *request,
                             const struct node_result *result);
struct node_request {
    node_request_cb *cb;  /* PUBLIC: set before the call. */
    uint64_t deadline_ms; /* PUBLIC: absolute. The request is finished at most
                             0.1 s later, with NODE_OK or an outcome that says
                             whether it may have been carried out. */
    /* PRIVATE to src/node/: see requests.c. */
    struct list link;
    uint8_t state; /* Which of the node's lists it is in; 0: none. */
    uint8_t kind;
    bool replaced;        /* A join: it has removed a member already. */
    bool uncertain;       /* An earlier attempt may have been carried out. */
    uint64_t sent_commit; /* Commit index when it was forwarded first. */
    uint64_t index;       /* Its log entry, or one to be applied first. */
    union {
        uint64_t term; /* PROPOSED, ORPHAN: the term of its log entry. */
        raft_id peer;  /* The node that it was, or is to be, forwarded to. */
    };
    uint64_t since_us;   /* Time at which its entry was appended here. */
    uint64_t cookie;     /* Matches answers to reads and forwarded requests. */
    uint64_t size_bytes; /* Size of its command, while pending, ... */
    uint64_t spread_bytes; /* ... and what that may write to SQLite's -wal. */
    struct node_result result;
    struct buf body; /* The command to propose or forward, while it may be
                        needed again; then result.data. */
};
/* Free the memory of a request that is not in flight. */
void node_request_free(struct node_request *request);

/* Open or create everything in env->fs: identity, log, state machine. The
 * caller closes *node with node_close(). A failure is logged, except where the
 * error says all:
 *   ERR_CORRUPT   the data is damaged
 *   ERR_MISMATCH  the directory is another node's
 *   ERR_LOCKED    a running node uses it
 *   ERR_INVALID   the name is invalid, a recovery was interrupted, or --join is
 *                 missing
 *   ERR_VERSION   written by a later version
 *   ERR_IO, ERR_NOSPACE, ERR_RESOURCES  a file cannot be read or written */
MUST_CHECK enum err node_open(const struct node_options *options,
                              const struct node_env *env, struct node **node);
/* Commit the applied entries (the next start applies them from the log again if
 * that fails), and free the node. Requests in flight are dropped without a
 * callback. NULL is fine. */
void node_close(struct node *node);

/* ---- input ---- */

/* The functions below, as the handler of the links; `arg` is the node. */
extern const struct transport_handler node_transport_handler;

/* False: malformed, drop the link. */
bool node_on_frame(struct node *node, raft_id from,
                   const struct wire_frame *frame);
/* `hello`: the peer's description of itself. When its addresses differ from its
 * member entry, a leader proposes that entry again. */
void node_peer_up(struct node *node, raft_id peer,
                  const struct wire_hello *hello);
void node_peer_down(struct node *node, raft_id peer);
/* Check a peer's HELLO or WELCOME. NULL: accept it. Otherwise the reason to
 * refuse it, a constant: this is an old or second copy of a directory of which
 * a newer start is known, or the number of its start is implausible. */
const char *node_on_start(struct node *node, const struct wire_hello *hello);
/* HELLO while this node has no id (see transport.h, on_adopt). Adoption
 * requires that it names the uuid of node_get_status(), which only the targets
 * of a join know, and is from the cluster of the last node_join_answered().
 * True: adopted, durably. */
bool node_adopt(struct node *node, const struct wire_hello *hello);
/* A cluster has answered POST /join: this node is its member now. Nodes of
 * older builds do not name their cluster in the answer; then this is not
 * called, and the uuid alone decides in node_adopt(). */
void node_join_answered(struct node *node, const uint8_t cluster[16]);
/* HELLO of another cluster's member (see transport.h, on_foreign); it may
 * become the evidence of node_foreign(). */
void node_on_foreign(struct node *node, const struct wire_hello *hello);

/* A node of this cluster, which the caller trusts, has answered that this node
 * is not in the committed membership of entry `index`. */
void node_on_removed(struct node *node, uint64_t index);
/* Record that this node has left by its own will: with options.joining the next
 * start joins again, under a new id, and drops the data of this member once a
 * cluster has accepted it. A failure is logged. The node must be a member. */
void node_mark_left(struct node *node);

/* ---- requests ----
 *
 * Each is finished by its callback, in node_turn(). Beside the outcomes named
 * here, every one can end in NODE_NO_LEADER, NODE_BUSY, NODE_STARTING,
 * NODE_STOPPING, NODE_UNKNOWN, NODE_SECOND_CLUSTER and NODE_QUARANTINED; joins,
 * removals, changes of votes and transfers also in NODE_CONF_BUSY. */

/* Append `command` (command.h; copied) to the log, here or at the leader.
 * NODE_OK: the node that proposed it has applied it. NODE_NO_SPACE: that node's
 * disk is full, or its quota is reached. NODE_LOST. */
void node_write(struct node *node, struct node_request *request,
                struct bytes command);

/* A linearizable read. NODE_OK: node_get() shows at least every write that was
 * acknowledged before this call; it may be called from the callback. A local
 * read needs no request: call node_get(). */
void node_read(struct node *node, struct node_request *request);

/* NODE_OK: entry `index` has been applied here. NODE_NO_LEADER: it was not by
 * the deadline. */
void node_wait(struct node *node, struct node_request *request, uint64_t index);

/* Add `member` (name, addr, http, uuid, suffrage LEARNER or OBSERVER; id 0), or
 * bring the entry of that name up to date. NODE_OK: that is committed.
 *
 * A member of the same name and another directory is replaced: it is removed,
 * and the newcomer is added under a new id. A newcomer at the member's own
 * address (its disk was lost) does so once the member has been silent for an
 * election time-out. One at another address does once it has been silent for
 * options.replace_after_ms, since a second node that was given the same name
 * must not take the place of one that reboots. A member of another name at the
 * same address is replaced only if member->id is NODE_JOIN_REPLACE and it is
 * silent. A newcomer that replaces none is refused while NODE_UNREACHED_MAX
 * members were never reached. NODE_INVALID: see result->refusal. */
#define NODE_JOIN_REPLACE UINT64_MAX
void node_join(struct node *node, struct node_request *request,
               const struct raft_member *member);
/* Pass on that a member of this cluster, by id, name and uuid in `member`, asks
 * to be dialled at member->addr. This is a hint for the links here and at the
 * leader; the handshake proves it. Without a leader it does not wait for one.
 * NODE_NOT_FOUND: no such member. */
void node_moved(struct node *node, struct node_request *request,
                const struct raft_member *member);
/* NODE_OK: the removal is committed. NODE_NOT_FOUND. NODE_LAST_VOTER. */
void node_remove(struct node *node, struct node_request *request, raft_id id);
/* Give the member a vote, or take it. NODE_NOT_CAUGHT_UP: it is too far behind
 * to vote (the leader promotes a learner once it is not). NODE_LAST_VOTER: no
 * live majority of voters would be left. NODE_NOT_FOUND. */
void node_set_voter(struct node *node, struct node_request *request, raft_id id,
                    bool voter);
/* NODE_OK: `peer`, another member, has applied entry `index`; result->index is
 * its applied index. Waits while there is no link to it. */
void node_wait_applied(struct node *node, struct node_request *request,
                       raft_id peer, uint64_t index);
/* Bring everything that is applied here into the database file, durably, a step
 * per turn. NODE_OK: result->index and result->bytes. NODE_NO_SPACE. */
void node_checkpoint(struct node *node, struct node_request *request);
/* The same; later turns then drop the part of the log that no member needs. */
void node_snapshot(struct node *node, struct node_request *request);
/* Transfer leadership to `id` (0: the best voter). NODE_OK: another node leads,
 * or `id` did already. NODE_NOT_CAUGHT_UP: the target has no vote
 * (result->refusal) or did not catch up in time, or no other voter is live.
 * NODE_NOT_FOUND: no such member. */
void node_transfer(struct node *node, struct node_request *request, raft_id id);

/* Take the request back: its callback will not be called. If it was proposed or
 * forwarded, it may still be carried out. Fine for one that is not in flight.
 */
void node_cancel(struct node *node, struct node_request *request);

/* ---- files ---- */

/* Open a consistent copy of the database, while writes go on: a file that
 * SQLite opens, as of the last checkpoint; *index is that checkpoint's, *bytes
 * the size. node_checkpoint() before makes it recent. A view kv(key, value) in
 * it shows both as text. It is read from start to end. While one is open,
 * checkpoints cost up to twice as much, and a snapshot from the leader waits.
 *   ERR_NOT_FOUND  this node is no member yet, has nothing stored, or
 *                  contradicts its cluster
 *   ERR_BUSY       too many are open
 *   ERR_NOSPACE    the checkpoint found no space, or another one is running
 *   ERR_IO         the database cannot be read */
struct store_image;
MUST_CHECK enum err node_image_open(struct node *node,
                                    struct store_image **image, uint64_t *index,
                                    uint64_t *bytes);
/* Read the next `size` bytes, at most the rest. ERR_NOSPACE, ERR_IO: a page
 * could not be saved or read; close the image. */
MUST_CHECK enum err node_image_read(struct store_image *image, void *out,
                                    size_t size);
/* Open a copy in the same way to read its keys in order, as slowly as need be;
 * *keys is their number. Every page that changes meanwhile is saved, in at most
 * as much space as the database has. Errors as of node_image_open(). */
MUST_CHECK enum err node_image_open_rows(struct node *node,
                                         struct store_image **image,
                                         uint64_t *index, uint64_t *keys);
/* Continue behind the key `after`, empty: at the first key. */
void node_image_seek(struct store_image *image, struct bytes after);
/* The next key; views are valid until the next call on the image.
 * ERR_NOT_FOUND: there are no more. ERR_NOSPACE, ERR_IO as of
 * node_image_read(). */
MUST_CHECK enum err node_image_next(struct store_image *image,
                                    struct store_pair *pair);
/* Close the image, before the node is closed. */
void node_image_close(struct store_image *image);
/* True when something waits for images to be closed: a whole snapshot from the
 * leader, or in the last half minute a follower that needs one and found too
 * many open. */
bool node_image_awaited(const struct node *node);

/* Make a file for a backup that a client uploads, to be restored
 * (store/upload.h). Its rows then go into the log by node_write(), as the steps
 * of command.h; a leader aborts a restore that makes no progress. One at a
 * time; free it by store_upload_free(). ERR_NOT_FOUND: this node is no member.
 * Other errors are those of store_upload_new(). */
MUST_CHECK enum err node_upload_new(struct node *node,
                                    struct store_upload **upload);
/* Free space that this node's disk needs for the restore of a backup of `bytes`
 * bytes: for the upload, for the database made of it, and for its entries in
 * the log. */
uint64_t node_restore_bytes(const struct node *node, uint64_t bytes);
/* A random number over 0, from the environment's entropy. */
uint64_t node_random(struct node *node);

/* ---- offline (bootstrap.c) ---- */

struct node_new_cluster {
    uint64_t index;      /* Last entry of the old log that is in the data. */
    uint64_t keys;       /* Number of keys. */
    uint8_t cluster[16]; /* Id of the new cluster. */
    char name[RAFT_NAME_BYTES];
};
/* Make the directory of a node that has lost its cluster a new cluster of one,
 * with its data. `without_log`: with the database alone, when the log is
 * damaged. Can be interrupted and run again. Errors are logged where the code
 * does not say all: ERR_NOT_FOUND (no member), ERR_LOCKED (in use),
 * ERR_MISMATCH (another name), and those of reading and writing the files. */
MUST_CHECK enum err node_recover(const struct node_options *options,
                                 const struct node_env *env, bool without_log,
                                 struct node_new_cluster *founded);
/* Make an empty directory a cluster of one with the data of a backup: file
 * `path` of `from`. ERR_EXISTS: the directory is not empty. ERR_NOT_FOUND:
 * there is no such file. ERR_LOCKED, and the errors of store_incoming_finish().
 */
MUST_CHECK enum err node_restore(const struct node_options *options,
                                 const struct node_env *env,
                                 const struct fs *from, const char *path,
                                 struct node_new_cluster *founded);

struct node_backup {
    uint64_t index; /* Index of the last entry in it. */
    uint64_t keys;  /* Number of keys that it should have. */
    uint64_t bytes; /* Bytes of the keys and values that were read. */
};
/* Read the backup `path` of `from`, all of it. ERR_OK: it is whole.
 *   ERR_NOT_FOUND  there is no such file
 *   ERR_CORRUPT    it is no backup, or damaged: `backup` is filled in as far as
 *                  it could be read, index 0: not at all
 *   ERR_VERSION    it is of a newer version
 *   ERR_IO, ERR_RESOURCES  it cannot be read
 * After an error `*why` has a sentence. */
MUST_CHECK enum err node_check_backup(const struct fs *from, const char *path,
                                      struct node_backup *backup,
                                      const char **why);

/* ---- the turn ---- */

/* Carry out everything that has gathered. Returns the latest time of the next
 * call (absolute, ms); 0: at once. */
uint64_t node_turn(struct node *node);

/* Transfer leadership to another voter, if there is one. Requests that wait for
 * a leader fail with NODE_STOPPING after the time of an election. Call it again
 * each turn until node_stopped(): a transfer that failed is started again. */
void node_stop(struct node *node);
/* True when no proposed, forwarded or finished request is left, and this node
 * does not lead or is the only voter. Only after node_stop(). */
bool node_stopped(const struct node *node);

/* ---- state ---- */

/* Read this node's own state. row->value is valid until the next read, request
 * or turn. ERR_NOT_FOUND: there is no such key, or no member. ERR_NOSPACE:
 * reading on a full disk rolled the state back: node_wait() for node_shown().
 */
MUST_CHECK enum err node_get(struct node *node, struct bytes key,
                             struct store_row *row);

/* Keys in [from, to) in order (store.h has the details). Open, read and close a
 * range within one turn and outside of the node's callbacks: on a full disk
 * reading may roll the state back (ERR_NOSPACE), from which later callbacks are
 * about to answer. The node must be a member. `range` is borrowed. */
void node_range_open(struct node *node, const struct store_range *range);
/* ERR_NOT_FOUND at the end; ERR_NOSPACE: rolled back, and the range is closed.
 */
MUST_CHECK enum err node_range_next(struct node *node, struct store_pair *pair);
void node_range_close(struct node *node);

/* This node's own state of leases: the lease `id`; the one with the next id
 * after `after`; and the keys of one, each u16 size | bytes, valid until the
 * next read, request or turn. ERR_NOT_FOUND: there is none. ERR_NOSPACE: as
 * node_get(). */
MUST_CHECK enum err node_lease_get(struct node *node, uint64_t id,
                                   struct store_lease *lease);
MUST_CHECK enum err node_lease_next(struct node *node, uint64_t after,
                                    struct store_lease *lease);
MUST_CHECK enum err node_lease_keys(struct node *node, uint64_t id,
                                    struct cursor *keys);
/* Time until a key or a lease with that deadline, or of that lease, ends, in
 * ms; 0: it is over. */
uint64_t node_ttl_ms(struct node *node, uint64_t deadline_ms, uint64_t lease);

/* Changes as they are applied here (feed.h), whether or not this node leads.
 * Callbacks of watchers run in node_turn(), behind those of requests. While
 * this node is no member the feed is empty. When the state of this node is
 * replaced, all watchers are lost, and so are they in every turn while it is
 * not current (node_is_current()). Valid until node_close(), before which they
 * must be closed. */
struct feed;
struct feed *node_feed(const struct node *node);

/* The member of another cluster that has dialled this node as a member of that
 * cluster. Texts may be "". */
struct node_foreign {
    bool known;
    uint8_t cluster[16];
    char name[RAFT_NAME_BYTES];
    char addr[RAFT_ADDR_BYTES];
    char http[RAFT_ADDR_BYTES];
};
/* Evidence that another cluster counts this node as its member, while it is a
 * cluster of one or would found one: writes and linearizable reads end in
 * NODE_SECOND_CLUSTER. NULL: there is none. */
const struct node_foreign *node_foreign(const struct node *node);
/* ms until this node founds a cluster; 0: it has, or does not. */
uint64_t node_bootstrap_in_ms(const struct node *node);
/* The addresses that an earlier start asked to join, when this one was started
 * without --join and is no member yet; else NULL. Valid until it is adopted. */
const char *node_remembered_join(const struct node *node);

struct node_status {
    struct raft_status raft;
    const struct raft_conf *conf; /* In force, or empty; valid until the next
                                     turn. */
    bool member;                  /* This node has an id. */
    uint64_t removed_index; /* Log index of a committed membership without this
                               node; `conf` then has the other members. 0: this
                               node is not removed, as far as known here. */
    bool ready; /* It has applied all entries that were committed when it
                   started or joined, and can follow its leader. */
    uint8_t cluster[16];
    uint8_t uuid[16];
    uint64_t incarnation; /* Number of this start of the directory. */
    char name[RAFT_NAME_BYTES];
    uint64_t applied;
    uint64_t hash; /* Hash of the state at `applied`: equal on all nodes. */
    uint64_t keys;
    uint64_t db_bytes;          /* Size of the database with its -wal. */
    uint64_t used_bytes;        /* Size of its pages that are not free. */
    uint64_t checkpoints;       /* Completed since the database was opened. */
    uint64_t buffered_bytes;    /* Memory of what is applied and not in the
                                   database yet. */
    uint64_t log_bytes;         /* Size of the log's segments. */
    uint64_t written_bytes;     /* Bytes written to the log since the start. */
    uint64_t db_written_bytes;  /* Bytes written to the database since it was
                                   opened. */
    uint64_t syncs;             /* Syncs of the log since the start, ... */
    uint64_t sync_us_max;       /* ... and the longest of them. */
    uint64_t proposals_pending; /* Proposed here, and not applied yet. */
    uint64_t writes;            /* Commands applied since the start. */
    uint64_t last_contact_ms;   /* As node_last_contact_ms(). */
    uint64_t timed_keys;        /* Keys with a deadline or a lease. */
    uint64_t leases;
    uint64_t next_end_ms; /* Time until the next key or lease ends, at most;
                             UINT64_MAX: none will. */
    bool no_space;        /* Writes are refused, since the disk is full, ... */
    bool no_resources;    /* ... or descriptors or memory have run out. */
    bool over_quota;      /* options.db_bytes_max is reached. */
    bool disk_stalled; /* A disk operation has been outstanding for an election
                          time-out. */
    const char *sqlite_version; /* A constant. */
};
/* While this node is no member, `raft`, last_contact_ms and the fields from
 * `applied` to `sync_us_max` are 0. */
void node_get_status(struct node *node, struct node_status *status);
/* As status.removed_index. */
uint64_t node_removed_index(const struct node *node);
/* A leader of this node's cluster has another entry at an index that is
 * committed here. Reads end in NODE_QUARANTINED, and results of node_get(),
 * ranges and images must not be shown. NULL: none has. */
struct node_contradiction {
    uint64_t index;
    char leader[RAFT_NAME_BYTES];
};
const struct node_contradiction *node_contradiction(const struct node *node);
/* False while no further change of the cluster reaches this node, as far as is
 * known here: it contradicts the cluster, was removed from it, or another
 * cluster counts it as its member (node_foreign()). */
bool node_is_current(const struct node *node);
/* True when the newest committed membership, that of entry *index, has no
 * member of that name. False as well when none is known here. */
bool node_has_removed(const struct node *node, const char *name,
                      uint64_t *index);

/* The last newcomer that this leader refused because a member has its name or
 * address. */
struct node_intruder {
    enum node_refusal refusal; /* LIVE, NOT_YET or ADDR. */
    char name[RAFT_NAME_BYTES];
    char addr[RAFT_ADDR_BYTES];
    char member[RAFT_NAME_BYTES]; /* The member that has the name or address. */
};
/* NULL: none has asked in the last 30 s, or this node does not lead. */
const struct node_intruder *node_intruder(const struct node *node);

/* Counted since the start of the process. */
struct node_metrics {
    struct histogram commit_us; /* From an entry's append here to its apply. */
    /* Outcomes of commands and changes that were proposed here: */
    uint64_t committed;
    uint64_t failed;    /* Refused (no space, overloaded), or lost. */
    uint64_t timed_out; /* Ended in NODE_UNKNOWN. */

    uint64_t forwarded;      /* Requests sent to another node. */
    uint64_t leader_changes; /* Leaders that became known here. */
    uint64_t snapshots_sent;
    uint64_t snapshots_unsent; /* Started, and failed. */
    uint64_t snapshots_installed;
    uint64_t snapshots_refused; /* Received whole, and not installed. */
    uint64_t expired; /* Keys that were deleted here since their time was
                         over. */
};
/* Valid until node_close(). */
const struct node_metrics *node_get_metrics(const struct node *node);
/* The report of this node to the others, as of this moment, without the
 * latency of commits and without peers. `status` is that of node_get_status().
 */
void node_get_own_vitals(const struct node *node,
                         const struct node_status *status,
                         struct wire_vitals *own);
/* The last report of another member, for operators; *age_ms is its age. NULL:
 * there is none, as from a member of an earlier build. */
const struct wire_vitals *node_get_vitals(const struct node *node, raft_id id,
                                          uint64_t *age_ms);
/* Durations of the log's fdatasyncs in us; NULL: no member yet. */
const struct histogram *node_sync_times(const struct node *node);

/* How far this node is while it receives a snapshot, or is behind what the
 * leader has reported, for more than a second. NULL: it is not. */
const struct catch_up *node_catch_up(const struct node *node);
/* The hash of the state after entry `index` (status.hash): equal on all nodes.
 * The last NODE_HASHES_MAX entries that were applied since the start have one,
 * so that nodes can be compared at one index while they go on. It is that of
 * the effects of all entries; the database is not read for it. ERR_BUSY not
 * applied here yet ERR_NOT_FOUND  not remembered any more; *oldest is the first
 * that is */
enum { NODE_HASHES_MAX = 16384 };
MUST_CHECK enum err node_hash_at(const struct node *node, uint64_t index,
                                 uint64_t *hash, uint64_t *oldest);

/* Cheap, for the headers of every response. While the node is no member,
 * numbers are 0. */
uint64_t node_applied(const struct node *node);
uint64_t node_committed(const struct node *node); /* As far as known here. */
uint64_t node_keys(const struct node *node);
bool node_is_member(const struct node *node);
bool node_is_voter(const struct node *node);
/* Cluster time in ms (time.c): of the next stamp at a leader, elsewhere an
 * estimate from the last stamp that was applied. 0 while the node is no member;
 * it has a meaning only once there is a stamp. */
uint64_t node_time_ms(struct node *node);
/* The name of a member that may be of a build that does not understand stamps,
 * so that nothing with a time-out can be written yet: it was not reached since
 * this process started, or was found to be too old. NULL: there is none. */
const char *node_outdated(struct node *node);
/* The newest version of commands that this build applies, to be advertised to
 * other nodes (wire.h). */
uint8_t node_commands(void);
/* The environment's clock for measuring work. */
uint64_t node_now_us(const struct node *node);
/* Valid until node_close(). */
const char *node_name(const struct node *node);
/* The leader's entry in the membership; NULL when no leader is known, or it is
 * no member. */
const struct raft_member *node_leader(const struct node *node);
bool node_is_leader(const struct node *node);
uint64_t node_term(const struct node *node);
/* ms since the last contact with a leader, or since this node led; 0 on the
 * leader. UINT64_MAX: none since the start, so the age of the state is not
 * known. */
uint64_t node_last_contact_ms(const struct node *node);

#endif
