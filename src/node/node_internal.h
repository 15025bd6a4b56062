/* node_internal.h -- what the files of this room share.
 *
 *     open.c        opens a directory: lock, identity, name; and closes it
 *     recovery.c    database and log of a member -> running engine
 *     first_start.c a directory that is no member's yet: founding, adoption
 *     turn.c        the executor: one turn as a sequence of phases
 *     engine.c      events into the engine, and the payloads of its log
 *     send.c        messages and appends of an update, to the peers
 *     persist.c     what the engine wants durable, into the log
 *     disk.c        outstanding operations of the disk, and stalls
 *     update.c      what else an update says: role, membership, ...
 *     apply.c       committed entries into the state machine
 *     checkpoint.c  SQLite's transaction and -wal file, a step per turn
 *     duties.c      what a leader does by itself
 *     receive.c     frames of other nodes -> engine and requests
 *     requests.c    the life of a request
 *     forward.c     requests between a follower and the leader
 *     reads.c       linearizable reads, and waits for an applied index
 *     repeat.c      requests whose leader went away before it answered
 *     transfer.c    leadership handed over to another node
 *     join.c        requests that change the membership
 *     address.c     the membership follows members that moved
 *     snapshot.c    the database to a follower whose log entries are gone here
 *     compact.c     drops the part of the log that nobody needs any more
 *     space.c       before and during a full disk
 *     restore.c     backups that come; restores that do not go on
 *     foreign.c     another cluster counts this node as its member
 *     left.c        a directory whose member has left by its own will
 *     quarantine.c  a node that contradicts its cluster
 *     removed.c     nodes that are no members any more, and their notices
 *     incarnation.c newest incarnations of the other nodes: reveals copies
 *     bootstrap.c   offline: a new cluster on existing data
 *     ident.c       the identity file of a directory (ident.h)
 *     entries.c     payloads of the newest entries, in memory (entries.h)
 *     transport.c   the node as the handler of its links (wire/transport.h)
 *     status.c      reads of the node's state, for its callers */
#ifndef CRAFTD_NODE_NODE_INTERNAL_H
#define CRAFTD_NODE_NODE_INTERNAL_H

#include "base/log.h"
#include "node/entries.h"
#include "node/ident.h"
#include "node/node.h"
#include "store/store.h"
#include "wal/wal.h"

enum {
    NODE_APPEND_BYTES = 256 << 10, /* Payload of one append, about. */
    NODE_APPLY_ENTRIES = 2048,     /* Upper bound per turn. */
    NODE_APPLY_BYTES = 4 << 20,
    NODE_CATCH_UP_FRAMES = 4, /* Appends to one peer in one turn. */
    NODE_APPLY_US = 5000,
    /* Applied and not committed in SQLite; -wal that is not in the database
     * yet: as much as one turn can take, and no more. */
    NODE_FLUSH_ENTRIES_MIN = 256,
    NODE_FLUSH_ENTRIES_MAX = 1 << 16,
    NODE_CHECKPOINT_BYTES_MIN = 1 << 20,
    NODE_CHECKPOINT_BYTES_MAX = 16 << 20,
    NODE_HEAVY_US = 15000, /* Above this the next one is half as large. */
    NODE_LIGHT_US = 10000,
    /* An asynchronous sync delays answers, not turns: it may take longer. */
    NODE_SYNC_PATIENCE = 4,
    /* ... of which SQLite's cache and the store's reserve have most. Of small
     * values less costs a tenth of the throughput. */
    NODE_FLUSH_BYTES = 8 << 20,
    NODE_WASTE_MS = 20, /* Between two slices of what was replaced, ... */
    NODE_WASTE_BYTES = 512 << 10, /* ... each about so large. */
    NODE_FLUSH_QUIET_MS = 50,
    /* With less space than that on the disk, ... */
    NODE_SCARCE_BYTES = 64 << 20,
    /* ... this is how much is applied before a commit, and kept of the log for
     * followers. */
    NODE_SCARCE_FLUSH_BYTES = STORE_RESERVE_BYTES,
    NODE_SCARCE_KEEP_BYTES = 4 << 20,
    NODE_FLUSH_AFTER_MS = 5000,
    NODE_SWEEP_MS = 100, /* How exact a request's deadline is. */
    NODE_CONFS_IN_APPEND = 4,
    NODE_REFUSED_LOG_MS = 60000,
    NODE_LIMITED_LOG_MS = 1000,
    NODE_SPACE_RETRY_MS = 500,
    /* The disk has not answered for so long: what can wait, and might block on
     * it, waits. Less than NODE_FLUSH_QUIET_MS. */
    NODE_DISK_SLOW_MS = 25,
    STARTS_MAX = RAFT_MEMBERS_MAX + 1,
    NODE_LINKS_MAX = 2 * RAFT_MEMBERS_MAX, /* See peer/. */
    NODE_INTRUDER_MS = 30000, /* One that asks no more is forgotten. */
};

enum request_kind {
    REQUEST_WRITE = 1,
    REQUEST_READ,
    REQUEST_JOIN,
    REQUEST_REMOVE,
    REQUEST_TRANSFER,
    REQUEST_SUFFRAGE,
    REQUEST_APPLIED,
    REQUEST_CHECKPOINT,
    REQUEST_SNAPSHOT,
};

/* Which list a request is in. */
enum request_state {
    STATE_IDLE = 0,
    STATE_WAITING,
    STATE_PROPOSED,
    STATE_ORPHAN,
    STATE_FORWARDED,
    STATE_ASKING,
    STATE_READING,
    STATE_TRANSFER,
    STATE_SNAPSHOT,
    STATE_DONE,
    STATE_COUNT,
};

/* A request that a follower forwarded to us. */
struct remote {
    struct node_request request;
    struct node *node;
    struct list link; /* In node->forward.remotes or .idle. */
    raft_id from;
    uint64_t cookie; /* The follower's. */
};

/* A snapshot on its way to a follower. */
struct outgoing {
    raft_id peer; /* 0: none. */
    struct store_image *image;
    uint64_t acked;
    uint32_t crc; /* Of what was sent. */
    uint64_t progress_ms;
};

/* Where space runs short. */
enum space_place {
    SPACE_LOG_BATCH,     /* A batch of the log was not written. */
    SPACE_LOG_SEGMENT,   /* The log's next segment cannot be made. */
    SPACE_LOG_RESERVE,   /* The log has no reserve. */
    SPACE_ENTRY,         /* An entry was not applied, or not committed. */
    SPACE_CHECKPOINT,    /* Part of the -wal could not be copied. */
    SPACE_STORE_RESERVE, /* The database has no reserve. */
    SPACE_QUOTA,         /* options.db_bytes_max is reached: deletes only. */
    SPACE_PLACES,
};

struct space {
    /* ERR_OK: none. Written by space_set() only. */
    enum err shortage[SPACE_PLACES];
    uint64_t retry_ms[SPACE_PLACES]; /* It is not tried again before. */
    bool database_short;   /* An entry or a checkpoint was short of space, and
                              the database has not recovered since. */
    bool scarce;           /* Little space is left: log and -wal stay short. */
    uint64_t check_ms;     /* When to look at that again. */
    uint64_t unused_bytes; /* Within the database, as of the last commit. */
    uint64_t deletes_room; /* Of the -wal, for deletes on a full disk. */
};

/* The newest start of another node's directory that we have seen. */
struct start {
    raft_id id; /* 0: the row is free. */
    uint8_t uuid[RAFT_UUID_BYTES];
    uint64_t incarnation;
    uint64_t nonce;
};

/* A node to which there is a link. */
struct linked {
    raft_id id;   /* 0: the row is free. */
    bool removed; /* It was notified that it is no member. */
};

/* Where a member says that it can be reached. */
struct said {
    raft_id id; /* 0: nobody. */
    char addr[RAFT_ADDR_BYTES];
    char http[RAFT_ADDR_BYTES];
    bool refused; /* It is another member's address; logged. */
};

/* Log suffix pinned for a peer that just received a snapshot. */
struct pin {
    raft_id peer; /* 0: nobody. */
    uint64_t index;
    uint64_t until_ms;
    uint64_t log_bytes_max;
};

/* ... and from a leader. */
struct arriving {
    struct store_incoming *files; /* NULL: none. */
    raft_id from;
    uint64_t index;
    uint64_t term;
    uint64_t total;
    uint64_t have;
    uint32_t crc;
};

struct node {
    struct node_env env;
    struct node_options options;
    char name[RAFT_NAME_BYTES];
    char raft_addr[RAFT_ADDR_BYTES];
    char http_addr[RAFT_ADDR_BYTES];

    bool member; /* ident, wal, store and raft exist. */
    /* Not a member yet: when to found a cluster; 0: never. */
    uint64_t bootstrap_at_ms;
    struct node_foreign foreign; /* As heard, whether it concerns us or not. */
    struct {
        char addr[IDENT_JOIN_BYTES]; /* Whom an earlier start asked to join;
                                        "": nobody. */
        bool cluster_known;  /* The cluster that answered our join, ... */
        uint8_t cluster[16]; /* ... which alone may adopt us. */
    } joining;
    /* It waits to be adopted, with data of a member that has left: left.c. */
    bool leaves_behind;
    struct ident ident;
    int lock;
    struct wal *wal;
    struct store *store;
    struct raft *raft;
    struct entries entries;
    uint64_t incarnation;

    /* The turn. */
    uint64_t now_ms;
    uint64_t turn_ms; /* Time of the last one. */
    struct raft_update update;

    /* persist.c. Operations of the engine go by the number of the last one of a
     * batch; 0: none. */
    struct {
        uint64_t due_seq;      /* In the log's buffer, and not started yet. */
        uint64_t inflight_seq; /* Started, and not completed. */
        uint64_t started_ms;   /* When inflight_seq was. */
        uint64_t durable;      /* Last index that is durable here. */
    } persist;

    /* disk.c: a stall that was logged, and when its operation started. */
    struct {
        bool reported;
        uint64_t since_ms;
    } stall;

    /* apply.c */
    struct {
        uint64_t to;      /* Last index that is committed and durable here. */
        uint64_t shown;   /* Highest index ever applied: reads do not go back
                             behind it. */
        uint64_t last_ms; /* When something was applied last. */
        uint64_t writes;  /* Commands applied since the start. */
    } apply;

    /* checkpoint.c: the open transaction, ... */
    struct {
        uint64_t entries_max; /* It is committed with as many entries. */
        uint64_t since_ms;    /* When it got its first entry; 0: it is empty. */
        uint64_t bytes;       /* Of its entries. */
        uint64_t sweep_ms; /* Time of the next slice of rows that a restore has
                              replaced; 0: no such rows are left. */
    } flush;
    /* ... and the -wal. */
    struct {
        bool wanted;              /* Whatever the size of the -wal. */
        bool running;             /* Between two steps. */
        uint64_t bytes_max;       /* Of the -wal before one starts by itself. */
        uint64_t longest_us;      /* Longest step so far of the running one. */
        uint64_t sync_started_us; /* Start of the outstanding sync, ... */
        uint64_t sync_started_ms; /* ... by both clocks. */
    } checkpoint;

    struct space space;

    /* update.c: the members to which links are kept. */
    struct {
        struct raft_conf members;
        raft_id newcomer; /* Not among them yet, since the log may still lose
                             the entry that adds it; 0: none. */
    } links;
    struct {
        raft_id seen; /* The last leader that was counted, ... */
        uint64_t seen_term;
        uint64_t own_since_ms; /* ... and when this node became it last. */
    } leader;
    uint64_t row_versions_term; /* In which duties.c has proposed to enable
                                   them; 0: none. */

    struct {
        struct start members[STARTS_MAX];
        struct start strangers[STARTS_MAX]; /* Newest starts of no members. */
        int strangers_next;                 /* The row to be taken next. */
    } starts;

    struct {
        struct node_contradiction contradiction; /* Index 0: none. */
        uint64_t commit;   /* What was committed when it was found. */
        raft_id from;      /* The newest leader that contradicted, ... */
        uint64_t term;     /* ... its term, ... */
        uint64_t retry_ms; /* ... and when to listen to it again. */
    } quarantine;

    struct {
        struct linked linked[NODE_LINKS_MAX];
        bool links_changed;      /* A link came up since removed_look(). */
        uint64_t checked_conf;   /* Index of the committed membership that was
                                    checked last. */
        uint64_t index;          /* Membership without us; 0: we are in it. */
        struct raft_conf others; /* Its members, when we are not. */
    } removed;

    /* join.c: the last newcomer that was refused. */
    struct {
        struct node_intruder last;
        uint64_t asked_ms; /* 0: never. */
    } intruder;

    struct {
        struct said said[RAFT_MEMBERS_MAX]; /* Of members whose link is up. */
        bool changed; /* The membership may have to follow. */
    } addresses;

    /* receive.c: entries that this node cannot take. While their sender leads,
     * this node cannot follow, and is not ready. */
    struct {
        raft_id from;       /* Of the last append; 0: it was taken. */
        uint64_t logged_ms; /* 0: never. */
    } refused;

    /* Lines that strangers and clients can provoke, one a second. */
    struct log_limit adopt_log;
    struct log_limit join_log;

    struct {
        /* WAITING: for a leader, or for a change to be possible. PROPOSED: in
         * our log, by index, to be applied. ORPHAN: cut from our log, others
         * may still have it. FORWARDED: at the leader. ASKING: reads without
         * an index, by cookie. READING: for an index to be applied. TRANSFER:
         * for another leader. SNAPSHOT: for a checkpoint. DONE: to be called
         * back at the end of the turn. */
        struct list by_state[STATE_COUNT];
        uint64_t pending_count; /* PROPOSED and ORPHAN, ... */
        uint64_t pending_bytes; /* ... and their commands. */
        uint64_t waiting_count; /* WAITING, ... */
        uint64_t waiting_bytes; /* ... and their bodies. */
        uint64_t expire_ms;     /* When to look at deadlines next. */
    } requests;

    struct {
        struct node_request *request; /* At most one; NULL: none. */
        bool asked;                   /* The engine is at one. */
    } transfer;

    struct {
        uint64_t cookie;     /* Of the newest request that was forwarded. */
        struct list remotes; /* Of other nodes, and what is kept for them. */
        struct list idle;
    } forward;

    struct {
        uint64_t cookie;       /* Of the newest read. */
        uint64_t asked_cookie; /* The engine was asked for reads up to it. */
        uint64_t retry_ms; /* When to ask anew after a failure; 0: no need. */
        bool ready;
        struct node_request probe; /* Until `ready`. */
    } reads;

    struct {
        struct outgoing outgoing;
        struct arriving arriving;
        uint64_t refused_ms; /* When one found too many images open; 0: never */
        uint64_t wait_ms;    /* After a failure: twice as long each time. */
        uint64_t at_ms;      /* None begins before. */
    } snapshot;

    struct {
        struct pin pin;
        bool asked; /* By a request: keep less of the log than usual. */
        uint64_t forced_bytes; /* Written to the log, in total, when it forced
                                  a checkpoint last. */
    } compact;

    struct {
        uint64_t id;       /* The restore that is under way; 0: none. */
        uint64_t keys;     /* That it had uploaded at ... */
        uint64_t since_ms; /* ... the time of its last progress. */
    } restore;

    struct {
        bool asked;
        uint64_t since_ms;
    } stop;

    struct node_metrics metrics;

    /* Memory that is used anew each time, so that a turn takes none. */
    struct {
        /* Of an append that is received, or made. */
        struct wire_entry wire_entries[RAFT_APPEND_ENTRIES_MAX];
        struct raft_entry raft_entries[RAFT_APPEND_ENTRIES_MAX];
        struct raft_conf confs[NODE_CONFS_IN_APPEND];
        struct buf pieces;  /* Of a snapshot; payloads of one append. */
        struct buf log;     /* One entry that was read from the log. */
        struct buf encoded; /* A membership, a member, or a command. */
    } scratch;
};

/* requests.c. A request is in one list of node->requests.by_state, by its
 * state. */
static inline struct node_request *request_of(struct list *link)
{
    return container_of(link, struct node_request, link);
}
void requests_init(struct node *node);
void requests_free(struct node *node);
/* Out of its list, into none; before its body is changed, since the bytes of
 * waiting bodies are counted. */
void request_leave(struct node *node, struct node_request *request);
void request_move(struct node *node, struct node_request *request,
                  enum request_state state);
/* It will be called back at the end of the turn. */
void request_finish(struct node *node, struct node_request *request,
                    enum node_outcome outcome, uint64_t index);
void request_refuse(struct node *node, struct node_request *request,
                    enum node_outcome outcome, enum node_refusal refusal);
/* Copy what is to be proposed or forwarded, unless it is request->body's own.
 */
void request_keep_body(struct node_request *request, struct bytes body);
/* Copy the answer in place of the body, which is not needed any more. */
void request_keep_result(struct node_request *request, struct bytes data);
void request_begin(struct node_request *request, enum request_kind kind);
/* Begin and submit it. */
void request_accept(struct node *node, struct node_request *request,
                    enum request_kind kind, struct bytes body);
void request_accept_id(struct node *node, struct node_request *request,
                       enum request_kind kind, raft_id id);
/* Carry it out here, send it to the leader, or let it wait for one. `body` may
 * be request->body's own bytes. */
void request_submit(struct node *node, struct node_request *request,
                    struct bytes body);
/* The entry that the last step appended is this request's. */
void request_proposed(struct node *node, struct node_request *request);
/* Requests that wait for a leader are submitted, if there is one now. */
void requests_submit(struct node *node);
/* Entry `index` was applied. */
void requests_applied(struct node *node, uint64_t index, uint64_t term,
                      const struct store_result *result);
/* Our log was cut from `index` on. */
void requests_cut(struct node *node, uint64_t index);
/* Entries up to `index` came with a snapshot, which does not say what became of
 * each of them. */
void requests_installed(struct node *node, uint64_t index);
void requests_leader_changed(struct node *node);
/* A request waits for something, and has a deadline. */
bool requests_any(const struct node *node);
void requests_expire(struct node *node);
void requests_call_back(struct node *node);

/* forward.c. False: there is no room in the queue to `peer`. Else the request
 * is FORWARDED. */
MUST_CHECK bool forward_to(struct node *node, struct node_request *request,
                           raft_id peer, struct bytes body);
/* The same; false too when no other node is known to lead. */
MUST_CHECK bool forward_to_leader(struct node *node,
                                  struct node_request *request,
                                  struct bytes body);
/* Another node forwarded it to us. */
bool request_is_remote(const struct node_request *request);
/* Frames of other nodes. False: malformed. */
bool forward_on_request(struct node *node, raft_id from,
                        const struct wire_forward *forward);
bool forward_on_response(struct node *node, raft_id from,
                         const struct wire_forward_resp *resp);
/* We do not lead: remote requests that wait for a leader go back. */
void forward_return_waiting(struct node *node);
/* Requests that were forwarded to `peer` are not answered any more. */
void forward_peer_down(struct node *node, raft_id peer);
void forward_init(struct node *node);
void forward_free(struct node *node);

/* reads.c. Ask the engine for the index of the reads that have gathered. */
void reads_ask(struct node *node);
/* The engine's answer for reads up to `cookie`, ... */
void reads_indexed(struct node *node, uint64_t cookie, uint64_t index);
/* ... or there is none: they are asked for anew. */
void reads_failed(struct node *node);
/* Finish those whose index is applied. */
void reads_release(struct node *node);
/* One attempt of a request REQUEST_APPLIED. */
void applied_step(struct node *node, struct node_request *request,
                  struct bytes body);
/* A read of the node's own, until it is ready. */
void reads_probe_readiness(struct node *node);
void reads_init(struct node *node);
void reads_free(struct node *node);

/* repeat.c: `request` was forwarded, and nobody will say what came of it. True:
 * it goes to the next leader, until its time is over. */
bool repeat_forwarded(struct node *node, struct node_request *request);
/* A repeat is about to be submitted: true when it has been taken care of. */
bool repeat_submit(struct node *node, struct node_request *request);
/* The leader has committed up to `index`: may this write be repeated now? */
bool repeat_confirmed(const struct node_request *request, uint64_t index);
/* The outcome for the client, after an attempt of which nothing is known. */
enum node_outcome repeat_outcome(const struct node_request *request,
                                 enum node_outcome outcome);

/* join.c: one attempt of a membership request at the leader. It ends up in
 * the log, finished, or waiting to be tried again. */
bool join_same_uuid(const struct raft_member *a, const struct raft_member *b);
void join_step(struct node *node, struct node_request *request);
void remove_step(struct node *node, struct node_request *request);
void suffrage_step(struct node *node, struct node_request *request);

/* foreign.c. Read what an earlier start remembered; ERR_IO, ...: logged. */
MUST_CHECK enum err foreign_read(struct node *node);
MUST_CHECK enum err foreign_forget(struct node *node);
/* Log an error, if it concerns us. */
void foreign_report(const struct node *node);
/* left.c. Has the member of this directory left? Then it is none any more:
 * *known becomes false. */
MUST_CHECK enum err left_look(struct node *node, bool *known);
/* Before and after the directory becomes that of another member. */
MUST_CHECK enum err left_clear(struct node *node);
MUST_CHECK enum err left_done(struct node *node);

/* quarantine.c. This append contradicts what is committed here. True: its
 * sender is believed, and the append is as if the network had lost it. */
bool quarantine_begin(struct node *node, const struct raft_message *message);
/* This message is of the leader that contradicts, and not to be heard now. */
bool quarantine_ignores(const struct node *node,
                        const struct raft_message *message);
/* Is it over? */
void quarantine_look(struct node *node);

/* removed.c */
void removed_link(struct node *node, raft_id peer, bool up);
bool removed_on_notice(struct node *node, raft_id from, uint64_t index);
/* Notify those whose link is up and who are no members any more; see whether we
 * are one. */
void removed_look(struct node *node);
/* The membership in force, without us when we have been removed. */
const struct raft_conf *removed_conf(struct node *node);
/* This request waits for what a node that was removed never gets. */
bool removed_gives_up(const struct node *node,
                      const struct node_request *request);

/* incarnation.c. ERR_VERSION, ERR_IO: logged. */
MUST_CHECK enum err incarnation_read(struct node *node);
/* Those of nodes that are members now are written down. */
void incarnation_members_changed(struct node *node);

/* address.c */
void address_said(struct node *node, raft_id peer,
                  const struct wire_hello *hello);
/* The addresses that a member advertises; NULL: it has no link. */
const struct said *address_of(struct node *node, raft_id id);
void address_forget(struct node *node, raft_id peer);
/* Look for a member where it is said to be. True when it is one of ours. */
bool address_hint(struct node *node, const struct raft_member *wanted);
/* A duty: a member may have moved; propose its entry anew, one at a time. */
bool address_has_changed(const struct node *node);
void address_follow(struct node *node);

/* snapshot.c */
void snapshot_wanted(struct node *node, raft_id peer);
void snapshot_peer_down(struct node *node, raft_id peer);
bool snapshot_on_piece(struct node *node, raft_id from,
                       const struct wire_snapshot *piece);
bool snapshot_on_resp(struct node *node, raft_id from,
                      const struct wire_snapshot_resp *resp);
/* Send as many pieces as the window and the queue have room for. */
void snapshot_send(struct node *node);
/* When all is there, put it in place. Nothing may wait for the disk. */
void snapshot_install(struct node *node);
void snapshot_free(struct node *node);
uint64_t snapshot_deadline_ms(const struct node *node);

/* receive.c: a membership that came from elsewhere, encoded, can be used. */
bool node_check_conf(struct bytes conf);
/* The leader's entries cannot be taken: written by a later version. */
bool node_cannot_follow(const struct node *node);

/* recovery.c */
struct wal_options node_log_options(const struct node_env *env,
                                    const struct node_options *node_options,
                                    const struct ident *ident);
/* Open database and log of the member node->ident, and start its engine.
 * Errors are logged. */
MUST_CHECK enum err node_open_member(struct node *node);

/* first_start.c. The start of a node without IDENT: wait to be adopted, listen
 * for another cluster, or found one at once. Errors are logged. */
MUST_CHECK enum err node_first_start(struct node *node);
/* Make a new log in which `ident` is the only member, by the entry behind
 * (index, term). Nothing of an earlier log may be there. */
MUST_CHECK enum err node_found_log(const struct node_env *env,
                                   const struct node_options *options,
                                   const struct ident *ident, uint64_t index,
                                   uint64_t term);

/* Found the cluster that was put off, if it is time. */
void node_bootstrap_when_due(struct node *node);

/* bootstrap.c: node_recover() or node_restore() was interrupted here. */
bool node_is_half_recovered(const struct fs *fs);

/* restore.c. Note the progress of a restore, if one is under way. */
void restore_observe(struct node *node);
/* A duty: abort a restore that has made no progress for a while. */
bool restore_is_abandoned(const struct node *node);
void restore_abort(struct node *node);
/* When to look next. */
uint64_t restore_deadline_ms(const struct node *node);

/* space.c. Look at what the database holds, after it has changed. */
void node_check_quota(struct node *node);
/* The shortage for which new data is refused: ERR_NOSPACE, ERR_RESOURCES, or
 * ERR_OK when nothing is short. */
enum err node_shortage(const struct node *node);
bool space_is_full(const struct node *node);
enum space_answer {
    SPACE_YES,
    SPACE_BUSY,  /* Descriptors or memory are short. */
    SPACE_LATER, /* A delete for which there will be room after a checkpoint. */
    SPACE_NO,
};
/* May the command be proposed? On a full disk SPACE_YES takes the room that a
 * delete needs. */
enum space_answer space_admit(struct node *node, struct bytes command);
/* A slice of what is kept for a full disk: the next segment of the log, then,
 * when there is nothing more urgent, the reserves. True: there is more. */
bool space_prepare_log(struct node *node);
bool space_prepare(struct node *node);
uint64_t space_deadline_ms(const struct node *node);
/* The only writer of a shortage. A change is logged, once; a shortage is not
 * tried again for NODE_SPACE_RETRY_MS. */
void space_set(struct node *node, enum space_place place, enum err err);
/* There is a shortage, and it is too early to try again. */
bool space_is_put_off(const struct node *node, enum space_place place);
/* The database may have recovered: then that is logged. */
void space_check_database(struct node *node);
/* Once a turn, before anything is flushed. */
void space_check(struct node *node);

/* compact.c: true when there may be more to drop. */
bool compact_log(struct node *node);

/* engine.c. One event, which happens now. `entries` are those that come with
 * it, and their payloads are copied: one with RAFT_PROPOSE, those of the
 * message with an append, NULL with every other event (the engine may append
 * an entry of its own then). After an error nothing was appended. */
MUST_CHECK enum err node_step(struct node *node, const struct raft_event *event,
                              const struct wire_entry *entries);
MUST_CHECK enum err node_propose(struct node *node, struct bytes payload);
/* For events that the engine cannot refuse. */
void node_notify_engine(struct node *node, struct raft_event event);
/* Entry `index` from memory, else from the log. A payload from the log lies in
 * node->scratch.log, until the next call. ERR_NOT_FOUND, or a shortage. */
MUST_CHECK enum err node_fetch_entry(struct node *node, uint64_t index,
                                     struct entry *entry);

/* send.c: the messages and appends of node->update. */
void send_update(struct node *node);

/* persist.c: node->update.persist into the log. True when something became
 * durable, and the engine was notified. */
bool persist_update(struct node *node);
/* Nothing that the engine wants durable waits for it. */
bool node_is_persisted(const struct node *node);

/* disk.c. Start time of the oldest outstanding operation of the disk, in ms;
 * UINT64_MAX when there is none. */
uint64_t disk_pending_since_ms(const struct node *node);
bool disk_is_busy(const struct node *node);
bool database_sync_stalled(const struct node *node);
void disk_report_stall(struct node *node);

/* update.c */
void handle_update(struct node *node);
void node_set_members(struct node *node);

/* apply.c. ERR_VERSION: a kind of entry that this version does not know. */
MUST_CHECK enum err node_apply(struct store *store, uint64_t index,
                               const struct entry *entry,
                               struct store_result *result);
/* True when there is more to apply than one turn may do. */
bool apply_committed(struct node *node);
/* The database could not take entry `index`. A shortage is logged, and the
 * entry tried again later; every other error ends the process. */
void apply_failed(struct node *node, uint64_t index, enum err err);

/* checkpoint.c. True while a checkpoint goes on: then nothing is applied. */
bool checkpoint_step(struct node *node);
/* Finish the requests that wait for a checkpoint, or ask for one. */
void checkpoint_answer_requests(struct node *node);
void flush_when_due(struct node *node);
void sweep_replaced(struct node *node);

/* transfer.c. One attempt of a request REQUEST_TRANSFER at the leader. */
void transfer_step(struct node *node, struct node_request *request);
void transfer_finished(struct node *node, bool ok);

/* duties.c: what a leader does by itself, as far as it is due. */
void duties_run(struct node *node);

#endif
