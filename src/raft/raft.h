/* raft.h -- the consensus engine: a pure function over its own state.
 *
 * raft_step() takes one event; raft_collect() hands out what has gathered
 * since the last time: one persist operation, messages, appends that may be
 * sent, a range to apply, reads that may be served. No I/O, no clock (time
 * arrives with the event), no randomness but a seeded generator, no callbacks,
 * no payload bytes: the same events give the same updates on every compiler.
 * Group commit follows from collecting once per turn of the event loop instead
 * of once per event: sixty proposals of one turn leave as one append and one
 * fdatasync.
 *
 * Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014), quoted
 * as "thesis 3.6"; the erratum on single-server changes (raft-dev, 2015).
 *
 * The caller's duties, in this order, each time raft_collect() filled an
 * update:
 *   1. send `messages` (all of them at once: the engine itself holds back
 *      those that must wait for the disk), and for each of `offers` make
 *      appends with raft_make_append() and send them;
 *   2. when `persist.seq` is set: truncate, append, write term and vote, in
 *      FIFO order with earlier operations, one fdatasync for all that is
 *      queued; then RAFT_PERSISTED with the last seq. A write that finds no
 *      space is tried again, and RAFT_PERSISTED comes later; every other
 *      failure, and every failed fdatasync, ends the process. Term and vote are
 *      durable before the entries of the same op;
 *   3. apply entries `apply_lo..apply_hi` in order, then RAFT_APPLIED;
 *   4. serve reads up to `read_cookie` once `read_index` is applied;
 *   5. when `snapshot_peer` is set: send that peer a snapshot, then
 *      RAFT_SNAPSHOT_SENT or RAFT_SNAPSHOT_FAILED.
 * After every raft_step() that returned ERR_OK the caller asks
 * raft_appended() and retains the payloads of those entries: those of a
 * proposal or a received append come with the event; RAFT_ENTRY_CONF is
 * encoded from raft_conf_at(); RAFT_ENTRY_NOOP has none.
 *
 * Ownership: an event is read during the call only, and an update points to
 * nothing. Pointers that other functions return belong to the engine, and are
 * valid until the next raft_step(). Everything here is single-threaded. */
#ifndef CRAFTD_RAFT_RAFT_H
#define CRAFTD_RAFT_RAFT_H

#include "base/base.h"

/* A node's id is the index of the log entry that added it, 1 for the founder
 * of a cluster: ids are never reused. 0 is no node. */
typedef uint64_t raft_id;

enum {
    RAFT_MEMBERS_MAX = 15,
    RAFT_NAME_BYTES = 64,
    RAFT_ADDR_BYTES = 256,
    RAFT_UUID_BYTES = 16,
    /* Entries in one append message at most; the caller may send fewer. */
    RAFT_APPEND_ENTRIES_MAX = 1024,
    /* Messages in one update; more are dropped, as the network may. */
    RAFT_MESSAGES_MAX = 256,
};

/* Terms, indexes and rounds in messages, and those of RAFT_INSTALLED, are below
 * this, so that sums cannot wrap. Messages are checked; the caller checks the
 * rest. */
#define RAFT_NUMBER_MAX ((uint64_t)1 << 62)
/* Larger terms and indexes are reached only by a false number of a member. The
 * other half is left for what follows: there a number may be ahead of a node's
 * own by little only. */
#define RAFT_NUMBER_SOUND (RAFT_NUMBER_MAX / 2)

/* ---- membership ------------------------------------------------------- */

enum raft_suffrage {
    RAFT_VOTER = 1,
    RAFT_LEARNER = 2,  /* Promoted by the leader once it has caught up. */
    RAFT_OBSERVER = 3, /* A learner for ever (--non-voter). */
};

struct raft_member {
    raft_id id;
    enum raft_suffrage suffrage;
    uint8_t uuid[RAFT_UUID_BYTES]; /* Directory of the member; 0: not known. */
    char name[RAFT_NAME_BYTES];    /* Terminated; opaque to the engine. */
    char addr[RAFT_ADDR_BYTES];    /* Raft address; opaque. */
    char http[RAFT_ADDR_BYTES];    /* HTTP address; opaque, may be "". */
};

/* Sorted by id. */
struct raft_conf {
    uint32_t count;
    struct raft_member members[RAFT_MEMBERS_MAX];
};

const struct raft_member *raft_conf_find(const struct raft_conf *conf,
                                         raft_id id);
/* False for all zeros, which stand for a directory that is not known yet. */
bool raft_uuid_is_known(const uint8_t uuid[RAFT_UUID_BYTES]);
/* Number of voters. */
uint32_t raft_conf_voters(const struct raft_conf *conf);
/* True when ids grow, texts are terminated, and there is a voter. Other
 * memberships are refused in messages, and must not reach the engine in
 * another way. */
bool raft_conf_is_sound(const struct raft_conf *conf);

enum raft_change_type {
    RAFT_CHANGE_ADD = 1,     /* A learner or observer; the log gives the id. */
    RAFT_CHANGE_PROMOTE = 2, /* Learner or observer -> voter. */
    RAFT_CHANGE_DEMOTE = 3,  /* Voter or learner -> observer. */
    RAFT_CHANGE_REMOVE = 4,
    RAFT_CHANGE_UPDATE = 5, /* uuid (if not known yet), addr, http. */
};

/* ADD uses all of `member` but its id; the others find the member by `id`, and
 * UPDATE uses the fields named above. */
struct raft_change {
    enum raft_change_type type;
    struct raft_member member;
};

/* ---- the log ---------------------------------------------------------- */

enum raft_entry_type {
    RAFT_ENTRY_NORMAL = 1,
    RAFT_ENTRY_NOOP = 2,
    RAFT_ENTRY_CONF = 3,
};

struct raft_entry {
    uint64_t term;
    enum raft_entry_type type;
    const struct raft_conf *conf; /* RAFT_ENTRY_CONF only, else NULL. */
};

/* ---- messages --------------------------------------------------------- */

#define RAFT_MESSAGE_LIST(X)                                                   \
    X(PREVOTE, 1)                                                              \
    X(PREVOTE_RESP, 2)                                                         \
    X(VOTE, 3)                                                                 \
    X(VOTE_RESP, 4)                                                            \
    X(APPEND, 5)                                                               \
    X(APPEND_RESP, 6)                                                          \
    X(HEARTBEAT, 7)                                                            \
    X(HEARTBEAT_RESP, 8)                                                       \
    X(TIMEOUT_NOW, 9)                                                          \
    X(READ, 10)                                                                \
    X(READ_RESP, 11)

enum raft_message_type {
#define X(name, value) RAFT_MSG_##name = value,
    RAFT_MESSAGE_LIST(X)
#undef X
};

/* One flat struct for all: fields that a type does not name are 0. */
struct raft_message {
    enum raft_message_type type;
    raft_id from;
    raft_id to;
    uint64_t term; /* Sender's current term. */

    /* PREVOTE, VOTE, TIMEOUT_NOW: the sender's last entry. APPEND: the entry
     * before the first. APPEND_RESP refused: hint (see match). */
    uint64_t log_index;
    uint64_t log_term;

    /* PREVOTE(_RESP), VOTE(_RESP): election round of the candidate.
     * HEARTBEAT(_RESP): the leader's round. READ(_RESP): request id. */
    uint64_t round;

    /* APPEND: the leader's commit index. HEARTBEAT: the same, but at most the
     * index up to which the receiver is known to match. READ_RESP: the read
     * index. */
    uint64_t commit;

    /* APPEND_RESP: granted: everything up to `match` equals the leader's log
     * and is durable. Refused: the `log_index` of the append, by which the
     * leader recognises a stale refusal; log_index and log_term are then the
     * last index of the sender's log that can match, and its term. */
    uint64_t match;
    uint64_t sent_ms;     /* HEARTBEAT(_RESP), APPEND(_RESP): leader's clock. */
    bool granted;         /* PREVOTE_RESP, VOTE_RESP, APPEND_RESP (= ok). */
    bool transfer;        /* VOTE: this is a leadership transfer. */
    uint32_t entry_count; /* APPEND. */
    const struct raft_entry *entries; /* APPEND received: [entry_count]. */
};

/* ---- starting --------------------------------------------------------- */

/* Every number is over 0, and heartbeat_ms < election_min_ms <
 * election_max_ms. */
struct raft_options {
    raft_id self;
    uint64_t seed; /* Seed of election jitter and of the first request ids. */
    uint32_t heartbeat_ms;
    uint32_t election_min_ms;
    uint32_t election_max_ms;
    uint32_t storage_stall_ms; /* A leader whose oldest unfinished persist is
                                  older than this steps down. */
    uint32_t uncommitted_max;  /* Entries; more proposals are ERR_BUSY. */
    uint32_t inflight_max;     /* Appends in flight to one peer; the engine's
                                  own bound is 256. */
};

/* A run of entries of one term: from `first` up to the next run, exclusive. */
struct raft_run {
    uint64_t first;
    uint64_t term;
};

struct raft_conf_entry {
    uint64_t index;
    struct raft_conf conf;
};

/* Recovered state, as the storage layer found it at start. Read during
 * raft_new() only. */
struct raft_boot {
    uint64_t term; /* From the hard state; >= every term in the log. */
    raft_id vote;
    uint64_t base; /* The log holds entries base+1..last. */
    uint64_t base_term;
    uint64_t last;
    const struct raft_run *runs; /* Terms of base+1..last, ascending. */
    uint32_t run_count;
    const struct raft_conf_entry *confs; /* Ascending: the newest membership at
                        or below `applied`, and every later one. */
    uint32_t conf_count;
    uint64_t applied; /* The commit index starts here. */
};

struct raft;
/* Options and boot are copied. The engine is a follower at first; a sole voter
 * campaigns with its first RAFT_TICK. Never NULL. */
struct raft *raft_new(const struct raft_options *options,
                      const struct raft_boot *boot, uint64_t now_ms);
/* NULL is fine. */
void raft_free(struct raft *raft);

/* ---- events ----------------------------------------------------------- */

enum raft_event_type {
    RAFT_TICK,      /* now >= raft_deadline_ms(). Harmless at any time. */
    RAFT_MESSAGE,   /* One decoded message of a node of this cluster. */
    RAFT_PROPOSE,   /* One client entry. */
    RAFT_CHANGE,    /* A membership change. */
    RAFT_READ,      /* All reads with cookies up to `cookie` (they only grow)
                       want a read index. */
    RAFT_PERSISTED, /* Every op up to `seq` is durable. */
    RAFT_APPLIED,   /* Entries up to `index` are applied. */
    RAFT_TRANSFER,  /* Hand leadership to `peer` (0 = the best voter). */
    RAFT_GAP,       /* The process was stopped for longer than an election
                       timeout: silence before now proves nothing. */
    RAFT_PEER_UP,   /* The link to `peer` is up, ... */
    RAFT_PEER_DOWN, /* ... or down. Hints; safety never depends on them. */
    RAFT_COMPACTED, /* The log now starts after `index`. */
    RAFT_SNAPSHOT_SENT,   /* `peer` holds a snapshot at `index`, ... */
    RAFT_SNAPSHOT_FAILED, /* ... or does not. */
    RAFT_INSTALLED, /* A snapshot at index/term with `conf` is in place. */
};

struct raft_event {
    enum raft_event_type type;
    uint64_t now_ms; /* Monotonic; an earlier time counts as the latest one. */
    const struct raft_message *message; /* RAFT_MESSAGE */
    const struct raft_change *change;   /* RAFT_CHANGE */
    const struct raft_conf *conf;       /* RAFT_INSTALLED */
    uint64_t cookie;                    /* RAFT_READ */
    uint64_t seq;                       /* RAFT_PERSISTED */
    uint64_t index; /* RAFT_APPLIED, _COMPACTED, _SNAPSHOT_SENT, _INSTALLED */
    uint64_t term;  /* RAFT_INSTALLED */
    raft_id peer;   /* RAFT_TRANSFER, _PEER_*, _SNAPSHOT_* */
};

/* ERR_OK, or the event was refused and changed nothing but the time. Only
 * PROPOSE, CHANGE, TRANSFER, MESSAGE and INSTALLED can be refused:
 *   ERR_CLOSED    this node does not lead (PROPOSE, CHANGE, TRANSFER)
 *   ERR_BUSY      a bound is reached (PROPOSE), a change (CHANGE) or a transfer
 *                 of leadership is running, the leader has not committed in its
 *                 term yet or has not had the time to hear from a majority
 *                 (CHANGE), or the member to promote is behind
 *   ERR_INVALID   CHANGE: no voter or no live majority would be left, there is
 *                 no room, the member is not sound, or UPDATE has another uuid;
 *                 MESSAGE is malformed; INSTALLED contradicts a committed entry
 *   ERR_EXISTS    CHANGE would change nothing, or ADD has a member's uuid
 *   ERR_NOT_FOUND CHANGE names no member; TRANSFER: `peer` is no other voter,
 *                 or (0) no other voter is live; MESSAGE is an answer, or a
 *                 follower's request, of a node that is no member: drop it, as
 *                 if the network had lost it
 *   ERR_MISMATCH  MESSAGE contradicts a committed entry, see
 *                 raft_contradiction() */
MUST_CHECK enum err raft_step(struct raft *raft,
                              const struct raft_event *event);

/* The first index at which `message`, an append of the current term or a later
 * one, contradicts an entry that is committed here. 0: it contradicts none, or
 * is another message. */
uint64_t raft_contradiction(const struct raft *raft,
                            const struct raft_message *message);

/* The entries that the last raft_step() added: first..last, empty when
 * last < first. */
void raft_appended(const struct raft *raft, uint64_t *first, uint64_t *last);

/* ---- updates ---------------------------------------------------------- */

struct raft_persist {
    uint64_t seq; /* 0 = nothing to persist. */
    bool hard;    /* Term and vote changed. */
    uint64_t term;
    raft_id vote;
    uint64_t truncate_from; /* 0 = none; else drop this index and all after,
                               before appending. */
    uint64_t lo;            /* Append lo..hi; none when hi < lo. */
    uint64_t hi;
};

/* The peer may be sent entries next..last. The caller builds appends with
 * raft_make_append(), each with the number of entries that fit its frame, or
 * none when the link cannot take one now: the offer is made again. */
struct raft_append_offer {
    raft_id peer;
    uint64_t next;
    uint64_t last; /* next - 1: an empty append (a probe) is wanted. */
};

struct raft_update {
    struct raft_persist persist;
    uint32_t message_count;
    struct raft_message messages[RAFT_MESSAGES_MAX]; /* No APPEND in here. */
    uint32_t offer_count;
    struct raft_append_offer offers[RAFT_MEMBERS_MAX];
    uint64_t apply_lo; /* Committed and durable here; none when hi < lo. */
    uint64_t apply_hi;
    uint64_t read_cookie; /* 0 = none: these reads may be served at ... */
    uint64_t read_index;  /* ... once this index is applied. */
    uint64_t read_failed; /* 0 = none: reads with cookies up to this one get
                             no index (no leader, or it changed): ask again */
    bool role_changed;    /* Role, term or leader. */
    bool conf_changed;
    raft_id snapshot_peer; /* 0 = none: this peer needs entries that the log no
                              longer holds. Set once per snapshot. */
    bool transfer_done;    /* A RAFT_TRANSFER has ended, ... */
    bool transfer_ok;      /* ... and another node takes over. */
};

/* Fill `update` with everything that has gathered since the last call. */
void raft_collect(struct raft *raft, struct raft_update *update);

/* Build the append for `peer` with entries lo..hi (hi = lo - 1: empty) and
 * count it as sent. The range must lie in the offer of the last raft_collect(),
 * and start where the previous append ended. False, and *message is not set,
 * when the window is full. The caller attaches the entries themselves (term,
 * type, payload). */
bool raft_make_append(struct raft *raft, raft_id peer, uint64_t lo, uint64_t hi,
                      uint64_t now_ms, struct raft_message *message);

/* Time at which RAFT_TICK is due, by the clock of the events. */
uint64_t raft_deadline_ms(const struct raft *raft);

/* ---- state ------------------------------------------------------------ */

enum raft_role {
    RAFT_FOLLOWER,
    RAFT_PRECANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};
const char *raft_role_name(enum raft_role role);

enum raft_peer_state {
    RAFT_PEER_PROBE,     /* One append at a time until a match is found. */
    RAFT_PEER_REPLICATE, /* Pipelined. */
    RAFT_PEER_SNAPSHOT,  /* Waits for a snapshot, or receives one. */
};

struct raft_peer_status {
    raft_id id;
    enum raft_peer_state state;
    uint64_t match;      /* It holds the log up to here, durably. */
    uint64_t next;       /* Next index to send. */
    uint64_t contact_ms; /* Send time of the newest message of this leader that
                            it has answered; 0: none. */
    uint64_t rtt_ms;     /* Smoothed round-trip time. */
};

struct raft_status {
    raft_id self;
    raft_id leader; /* 0 when not known. */
    raft_id vote;   /* In `term`; 0: none. */
    enum raft_role role;
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t last;    /* Last entry of the log. */
    uint64_t durable; /* As raft_durable(). */
    uint64_t base;    /* The log starts after this index. */
    bool transferring;
    bool changing;      /* A membership change is not committed yet. */
    bool leader_ready;  /* Leader, and has committed in its term. */
    uint64_t elections; /* Started by this node since its start. */
    /* Time of the last contact with a leader, itself included; 0: none since
     * its start. */
    uint64_t leader_contact_ms;
    uint32_t peer_count; /* On a leader: the other members. Else 0. */
    struct raft_peer_status peers[RAFT_MEMBERS_MAX];
};
void raft_get_status(const struct raft *raft, struct raft_status *status);

/* The membership in force: the newest in the log (thesis 4.1). */
const struct raft_conf *raft_conf_active(const struct raft *raft);
/* The newest one that is committed, and the index of its entry (0: none is). */
const struct raft_conf *raft_conf_committed(const struct raft *raft,
                                            uint64_t *index);
/* The configuration entry at `index`; NULL when there is none, or it is older
 * than the newest applied one. */
const struct raft_conf *raft_conf_at(const struct raft *raft, uint64_t index);
/* Term of the entry at `index` (base <= index <= last). */
uint64_t raft_term_at(const struct raft *raft, uint64_t index);
/* Cheap, for every turn and every request. */
bool raft_is_leader(const struct raft *raft);
raft_id raft_leader(const struct raft *raft);
uint64_t raft_commit(const struct raft *raft);
uint64_t raft_last(const struct raft *raft);
/* Entries up to this index, as the log has them now, are durable here. */
uint64_t raft_durable(const struct raft *raft);
uint64_t raft_term(const struct raft *raft);

/* Hash of every field that can influence what the engine does next, for tests
 * of determinism: equal states have equal digests. */
uint64_t raft_digest(const struct raft *raft);

#endif
