/* node_internal.h -- struct node, which the files of this room share.
 *
 *     open.c        opens a directory: lock, identity, name; and closes it
 *     recovery.c    database and log of a member -> running engine
 *     first_start.c a directory that is no member's yet: founding, adoption
 *     turn.c        the executor: one turn as a sequence of phases
 *     engine.c      events into the engine, and the payloads of its log
 *     send.c        messages and appends of an update, to the peers
 *     persist.c     what the engine wants durable, into the log
 *     disk.c        outstanding operations of the disk, and stalls
 *     update.c      the rest of an update: role, membership, ...
 *     apply.c       committed entries into the state machine
 *     feed.c        the last changes, and those who watch them (feed.h)
 *     flush.c       applied entries into the database, a slice per turn
 *     checkpoint.c  SQLite's -wal file into its database, a step per turn
 *     duties.c      what a leader does by itself
 *     time.c        cluster time: stamps of entries (cluster_clock.h)
 *     expiry.c      keys and leases whose time is over
 *     receive.c     frames of other nodes -> engine and requests
 *     requests.c    the life of a request
 *     forward.c     requests between a follower and the leader
 *     reads.c       linearizable reads, and waits for an applied index
 *     repeat.c      requests whose leader went away before it answered
 *     transfer.c    leadership handed over to another node
 *     join.c        requests that change the membership
 *     address.c     the membership follows members that moved
 *     snapshot.c    the database to a follower whose log entries are gone here
 *     compact.c     drops the part of the log that no member needs any more
 *     space.c       before and during a full disk
 *     growth.c      whether there is room for more data
 *     fit.c         sizes that depend on the size of the disk (fit.h)
 *     restore.c     uploads of backups; aborts abandoned restores
 *     foreign.c     another cluster counts this node as its member
 *     left.c        a directory whose member has left by its own will
 *     quarantine.c  a node that contradicts its cluster
 *     removed.c     nodes that are no members any more, and their notices
 *     catch_up.c    how far a node is that lacks a part of the state
 *     vitals.c      what members report to each other for operators
 *     incarnation.c newest incarnations of the other nodes: reveals copies
 *     bootstrap.c   offline: a new cluster on existing data
 *     files.c       small files of the directory: header, presence (files.h)
 *     ident.c       the identity file of a directory (ident.h)
 *     entries.c     payloads of the newest entries, in memory (entries.h)
 *     transport.c   the node as the handler of its links (wire/transport.h)
 *     status.c      reads of the node's state, for its callers
 *
 * Their functions are declared by subject: open_internal.h, phases_internal.h
 * (the turn), request_internal.h, member_internal.h, space_internal.h and
 * snapshot_internal.h. */
#ifndef CRAFTD_NODE_NODE_INTERNAL_H
#define CRAFTD_NODE_NODE_INTERNAL_H

#include "base/log.h"
#include "node/cluster_clock.h"
#include "node/entries.h"
#include "node/feed.h"
#include "node/fit.h"
#include "node/ident.h"
#include "node/member_internal.h"
#include "node/node.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/snapshot_internal.h"
#include "node/space_internal.h"
#include "node/time_internal.h"
#include "store/store.h"
#include "wal/wal.h"

enum {
    NODE_CONFS_IN_APPEND = 4, /* Memberships that one append may have. */
    /* Least time between two log lines that others can provoke. */
    NODE_LIMITED_LOG_MS = 1000,
};

struct node {
    struct node_env env;
    struct node_options options; /* Sizes that were 0 are those of `fit`. */
    struct fit fit;
    char name[RAFT_NAME_BYTES];
    char raft_addr[RAFT_ADDR_BYTES];
    char http_addr[RAFT_ADDR_BYTES];

    bool member; /* ident, wal, store and raft exist. */
    /* Not a member yet: time to found a cluster; 0: never. */
    uint64_t bootstrap_at_ms;
    /* As received, whether or not it matters to this node. */
    struct node_foreign foreign;
    struct {
        char addr[IDENT_JOIN_BYTES]; /* Addresses that an earlier start asked
                                        to join; "": none. */
        bool cluster_known;          /* A cluster has answered our join, ... */
        uint8_t cluster[16];         /* ... and alone may adopt us. */
    } joining;
    /* The node waits to be adopted, with data of a member that has left:
     * left.c. */
    bool rejoining;
    struct ident ident;
    int lock;
    struct wal *wal;
    struct store *store;
    struct raft *raft;
    struct entries entries;
    uint64_t incarnation;

    /* The turn. */
    uint64_t now_ms;
    uint64_t turn_ms; /* Time of the last turn. */
    struct raft_update update;

    /* persist.c. A batch goes by the number of its last operation of the
     * engine; 0: none. */
    struct {
        uint64_t due_seq;      /* In the log's buffer, and not started yet. */
        uint64_t inflight_seq; /* Started, and not completed. */
        uint64_t started_ms;   /* Start time of inflight_seq. */
        uint64_t durable;      /* Last index that is durable here. */
    } persist;

    /* disk.c: a stall that was logged, and the start of its operation. */
    struct {
        bool reported;
        uint64_t since_ms;
    } stall;

    /* apply.c */
    struct {
        uint64_t to;      /* Last index that is committed and durable here. */
        uint64_t last_ms; /* Time of the last entry applied. */
        uint64_t writes;  /* Commands applied since the start. */
        /* Ring of the hashes after entries from `hashes_from` on. */
        uint64_t *hashes;
        uint64_t hashes_from;
        uint64_t expired; /* Keys that the entry being applied has ended. */
    } apply;

    struct feed *feed;
    struct store_observer observer; /* Adds to the feed: apply.c. */

    /* flush.c */
    struct {
        uint64_t since_ms; /* Time of the first entry in the active tier; 0: it
                              is empty. */
        uint64_t bytes;    /* Payloads and results of entries that are not
                              flushed. */
        uint64_t spread;   /* What they write to the -wal at most; counted while
                              space is scarce. */
        uint64_t frozen_bytes; /* The same of those in the frozen tier. */
        uint64_t frozen_spread;
        uint64_t rows;     /* In the next slice. */
        bool wanted;       /* An entry waits until all is flushed. */
        uint64_t sweep_ms; /* Time of the next slice of rows that a restore has
                              replaced; 0: no such rows are left. */
    } flush;
    struct {
        bool wanted;         /* Start one whatever the -wal's size, once ... */
        uint64_t want_index; /* ... this entry is flushed. */
        bool running;        /* Between two steps. */
        uint64_t bytes_max;  /* Size of the -wal at which one starts. */
        uint64_t longest_us; /* Longest step so far of the running one. */
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
        uint64_t own_since_ms; /* ... and since when this node leads, or led
                                  last. */
    } leader;
    /* time.c */
    struct {
        struct cluster_clock clock;
        uint64_t term;       /* The term in which this leader stamps; 0: it does
                                not, and the clock is an estimate ... */
        uint64_t base_ms;    /* ... from this stamp on. */
        uint64_t stamped_ms; /* The last stamp of this leader. */
        uint64_t expiring_index; /* Entry that removes what is due, ... */
        uint64_t expiring_term;  /* ... proposed in this term. */
        uint64_t retry_ms;       /* Time of the next attempt after a refusal. */
        struct build builds[NODE_LINKS_MAX];
    } time;
    uint64_t row_versions_term; /* Term in which duties.c has proposed to enable
                                   them; 0: none. */

    /* incarnation.c */
    struct {
        struct start members[STARTS_MAX];
        struct start strangers[STARTS_MAX]; /* Nodes that are no members. */
        int strangers_next;                 /* The row to be taken next. */
    } starts;

    struct {
        struct node_contradiction contradiction; /* Index 0: none. */
        uint64_t commit;   /* Commit index when it was found. */
        raft_id from;      /* The newest leader that contradicted, ... */
        uint64_t term;     /* ... its term, ... */
        uint64_t retry_ms; /* ... and the time of its next append that is not
                              ignored. */
    } quarantine;

    struct {
        struct linked linked[NODE_LINKS_MAX];
        bool links_changed;      /* A link came up since removed_check(). */
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

    struct catch_up catch_up; /* catch_up.c */

    /* vitals.c */
    struct {
        struct {
            raft_id id; /* 0: the row is free. */
            uint64_t at_ms;
            struct wire_vitals report;
        } of[RAFT_MEMBERS_MAX];   /* The last report of each member. */
        uint64_t due_ms;          /* Time of this node's next one. */
        struct histogram commits; /* At its last one. */
    } vitals;

    struct {
        struct advertised
            advertised[RAFT_MEMBERS_MAX]; /* Members whose link is up. */
        bool changed; /* The membership may have to follow. */
    } addresses;

    /* receive.c: entries that this node cannot take. While their sender leads,
     * this node cannot follow, and is not ready. */
    struct {
        raft_id from;       /* Sender of the last append; 0: it was taken. */
        uint64_t logged_ms; /* 0: never. */
    } refused;

    /* Lines that strangers and clients can provoke: NODE_LIMITED_LOG_MS. */
    struct log_limit adopt_log;
    struct log_limit join_log;

    struct {
        struct list by_state[STATE_COUNT];
        uint64_t pending_count;  /* PROPOSED and ORPHAN, ... */
        uint64_t pending_bytes;  /* ... and their commands, ... */
        uint64_t pending_spread; /* ... with what these write to the -wal. */
        uint64_t waiting_count;  /* WAITING, ... */
        uint64_t waiting_bytes;  /* ... and their bodies. */
        uint64_t expire_ms;      /* Time of the next check of deadlines. */
    } requests;

    struct {
        struct node_request *request; /* At most one; NULL: none. */
        bool asked; /* The engine is transferring leadership. */
    } transfer;

    /* forward.c */
    struct {
        uint64_t cookie;     /* Cookie of the newest request forwarded. */
        struct list remotes; /* Requests that other nodes forwarded here, ... */
        uint64_t remote_count; /* ... and their number. */
        struct list idle;      /* Memory for more of them. */
    } forward;

    struct {
        uint64_t cookie;       /* Cookie of the newest read. */
        uint64_t asked_cookie; /* The engine was asked for reads up to it. */
        uint64_t retry_ms; /* Time to ask again after a failure; 0: no need. */
        bool ready;
        struct node_request probe; /* Until `ready`. */
    } reads;

    struct {
        struct outgoing outgoing;
        struct arriving arriving;
        uint64_t refused_ms; /* Time of the last one that found too many images
                                open; 0: never. */
        uint64_t wait_ms;    /* After a failure: twice as long each time. */
        uint64_t at_ms;      /* Earliest time of the next one. */
    } snapshot;

    struct {
        struct pin pin;
        bool asked; /* By a request: keep less of the log than usual. */
        uint64_t forced_bytes; /* Total bytes written to the log when it forced
                                  the last checkpoint. */
    } compact;

    struct {
        uint64_t id;       /* The restore that is under way; 0: none. */
        uint64_t keys;     /* Keys that it had uploaded at ... */
        uint64_t since_ms; /* ... the time of its last progress. */
    } restore;

    struct {
        bool asked;
        uint64_t since_ms;
    } stop;

    struct node_metrics metrics;

    /* Memory that is reused, so that a turn allocates none. */
    struct {
        /* One append that is received, or made. */
        struct wire_entry wire_entries[RAFT_APPEND_ENTRIES_MAX];
        struct raft_entry raft_entries[RAFT_APPEND_ENTRIES_MAX];
        struct raft_conf confs[NODE_CONFS_IN_APPEND];
        struct buf pieces;  /* A piece of a snapshot; payloads of an append. */
        struct buf log;     /* One entry that was read from the log. */
        struct buf encoded; /* A membership, a member, or a command. */
        struct buf stamped; /* A command with its stamp. */
    } scratch;
};

#endif
