/* raft_internal.h -- what the files of the engine share.
 *
 *   raft.c       new, step: one event to its handler; small accessors
 *   message.c    validates messages of the network
 *   election.c   become_*(), pre-vote, vote, timers, check-quorum
 *   progress.c   what the leader knows of each peer
 *   replicate.c  appends and heartbeats, both sides; commit
 *   read.c       read index, both sides
 *   conf.c       membership: helpers, changes, promotion
 *   transfer.c   handing leadership over
 *   log.c        which term has each index, which configuration is in force
 *   output.c     raft_collect(): persist operations, gated messages
 *   check.c      invariants, after every step and collect
 *   status.c     status and digest
 *
 * Only become_*() in election.c write `role`, `term` and `leader`; only log.c
 * writes `last`, the runs and the configurations. */
#ifndef CRAFTD_RAFT_RAFT_INTERNAL_H
#define CRAFTD_RAFT_RAFT_INTERNAL_H

#include "base/base.h"
#include "base/rng.h"
#include "raft/raft.h"

enum {
    /* Persist operations handed out and not durable yet. When all are taken
     * the next one waits and grows. */
    RAFT_OPS_MAX = 64,
    RAFT_GATED_MAX = 256,
    RAFT_INFLIGHT_MAX = 256,
    /* A follower learns of a new commit index this often at most, when
     * nothing else is to be sent to it. */
    RAFT_NOTICE_MS = 10,
    RAFT_CATCH_UP_ROUNDS = 3,
};

/* More elections than a cluster can hold: a later term by more than that is a
 * mistake, and would use up the numbers that are left. */
#define RAFT_TERM_JUMP_MAX ((uint64_t)1 << 32)
/* The same beyond RAFT_NUMBER_SOUND, so that many such messages do not use them
 * up either. */
#define RAFT_TERM_STEP_MAX ((uint64_t)1 << 16)

/* One member of the active configuration, ourselves included. Slot i belongs
 * to members[i]. All but `id` and `down` mean something on a leader only. */
struct raft_peer {
    raft_id id;
    bool down;    /* The link is down, by the last event; a hint. */
    bool granted; /* In the current (pre-)election. */

    enum raft_peer_state state;
    uint64_t match;      /* Durable there and equal to our log: acks only. */
    uint64_t match_seen; /* As of the last check: it only grows. */
    uint64_t next;       /* First index to send; moves on send. */

    bool probe_sent; /* PROBE: wait for an answer, or a heartbeat time. */
    uint64_t probe_ms;
    bool snapshot_reported; /* SNAPSHOT: snapshot_peer has been reported. */

    /* Last index of every append in flight, oldest first. */
    uint32_t inflight_head;
    uint32_t inflight_count;
    uint64_t inflight[RAFT_INFLIGHT_MAX];
    uint64_t answer_ms; /* Newest answer, or when the window began to fill. */

    bool answered; /* It has answered in this leadership. */
    uint64_t contact_ms;
    uint64_t rtt_ms;
    uint64_t acked_round;

    uint64_t commit_sent; /* Commit index sent to it last. */
    uint64_t notice_ms;   /* When it was sent a heartbeat last. */
    bool notice_due;

    uint64_t read_waiting;  /* Its read request for the next round; 0 = none. */
    uint64_t read_in_round; /* ... in the running round. */

    /* Thesis 4.2.1: a learner catches up in rounds. */
    uint32_t catch_up_rounds;
    uint64_t catch_up_target;
    uint64_t catch_up_ms;
    bool caught_up;
};

struct raft_op {
    uint64_t seq;
    uint64_t hi; /* The log up to here is durable with it; clamped when a
                    truncation comes later: an index means what it meant when
                    the operation was made, or nothing. */
    uint64_t ms;
    uint64_t term; /* Hard state as of it. */
    raft_id vote;
};

struct raft_gated {
    struct raft_message message;
    uint64_t gate; /* Seq of the operation that must be durable first. */
};

/* Which term each index has, and the configurations (log.c). */
struct raft_log {
    uint64_t base; /* Entries up to here are gone: a snapshot has them. */
    uint64_t base_term;
    uint64_t last;
    struct raft_run *runs;
    uint32_t run_count;
    uint32_t run_capacity;
    struct raft_conf_entry *confs; /* The last one is in force. Never empty. */
    uint32_t conf_count;
    uint32_t conf_capacity;
};

/* Entries on disk, and operations in flight (output.c). */
struct raft_disk {
    bool hard_dirty;       /* Term or vote changed since the last operation. */
    uint64_t hard_seq;     /* The operation that holds them when not dirty. */
    uint64_t durable_term; /* Term after a crash now. */
    raft_id durable_vote;
    uint64_t durable;  /* Entries up to here, as they are now, are on disk. */
    uint64_t handed;   /* Highest index in the log file, or in flight to it. */
    uint64_t dirty_lo; /* First index changed since; 0 = none. */
    uint64_t seq_last;
    uint64_t seq_persisted;
    struct raft_op ops[RAFT_OPS_MAX]; /* A ring. */
    uint32_t op_head;
    uint32_t op_count;
};

/* Messages that may leave, and those that wait for the disk (output.c). */
struct raft_outbox {
    struct raft_message ready[RAFT_MESSAGES_MAX];
    uint32_t ready_count;
    struct raft_gated gated[RAFT_GATED_MAX]; /* A ring. */
    uint32_t gated_head;
    uint32_t gated_count;
    /* One ack for all appends between two collects. */
    bool ack_due;
    raft_id ack_to;
    uint64_t ack_term;
    uint64_t ack_match;
    uint64_t ack_sent_ms;
};

/* Linearizable reads (read.c). Cookies only grow, so one number stands for
 * many reads. */
struct raft_reads {
    uint64_t asked;
    uint64_t done;
    bool open; /* Leader: a round is running. Follower: a request is. */
    uint64_t cookie;
    uint64_t index;
    uint64_t round;
    uint64_t request; /* Follower: id of our newest request. */
    uint64_t resend_ms;
};

/* A handover of leadership (transfer.c). */
struct raft_transfer {
    raft_id target; /* 0 = none running. */
    bool asked;     /* By RAFT_TRANSFER, whose sender waits for the outcome. */
    bool won;
    bool sent;
    uint64_t deadline_ms;
};

/* For the next update; raft_collect() hands it out and clears it. */
struct raft_out {
    uint64_t read_cookie;
    uint64_t read_index;
    uint64_t read_failed;
    bool role_changed;
    bool conf_changed;
    bool transfer_done;
    bool transfer_ok;
};

struct raft {
    struct raft_options options;
    struct rng rng;
    uint64_t now_ms;

    uint64_t term;
    raft_id vote;
    enum raft_role role;
    raft_id leader;
    uint64_t leader_contact_ms;
    uint64_t election_deadline_ms;
    uint64_t election_round;
    bool election_transfer; /* This candidacy was asked for by the leader. */
    uint64_t elections;

    struct raft_log log;
    uint64_t commit;
    uint64_t applied;
    uint64_t apply_given; /* Handed out to be applied. */
    uint64_t verified;    /* Matches the log of this term's leader. */
    /* Appended by the last step; none when last < first. */
    uint64_t appended_first;
    uint64_t appended_last;

    struct raft_disk disk;
    struct raft_outbox outbox;

    /* Leader. */
    struct raft_peer peers[RAFT_MEMBERS_MAX];
    uint32_t peer_count;
    uint64_t leader_since_ms;
    uint64_t term_start; /* Index of our no-op. */
    uint64_t heartbeat_due_ms;
    uint64_t round; /* Counts rounds of heartbeats. */
    bool leaving;   /* Our removal is committed. */

    struct raft_transfer transfer;
    struct raft_reads reads;
    struct raft_out out;

    /* check.c: how things stood before. */
    struct {
        uint64_t term;
        raft_id vote;
        raft_id leader;
        uint64_t commit;
        uint64_t seq_persisted;
        enum raft_role role;
        uint64_t last;
    } before;
};

/* ---- log.c -------------------------------------------------------------- */

void raft_log_open(struct raft *raft, const struct raft_boot *boot);
void raft_log_append(struct raft *raft, uint64_t term,
                     enum raft_entry_type type, const struct raft_conf *conf);
/* Drop `from` and all after. */
void raft_log_truncate(struct raft *raft, uint64_t from);
/* The highest index at or below `index` with a term at or below `term`;
 * `base` when there is none. */
uint64_t raft_log_find(const struct raft *raft, uint64_t index, uint64_t term);
void raft_log_compact(struct raft *raft, uint64_t index);
void raft_log_install(struct raft *raft, uint64_t index, uint64_t term,
                      const struct raft_conf *conf);
/* Forget configurations that neither truncation nor apply can ask for. */
void raft_log_prune_confs(struct raft *raft);
/* Index of the configuration in force; <= commit when it is committed. */
uint64_t raft_log_conf_index(const struct raft *raft);

/* ---- message.c ---------------------------------------------------------- */

MUST_CHECK enum err raft_message_check(const struct raft *raft,
                                       const struct raft_message *message);
/* Its sender is known here, as far as this type of message requires it. */
bool raft_sender_is_known(const struct raft *raft,
                          const struct raft_message *message);

/* ---- election.c --------------------------------------------------------- */

void raft_become_follower(struct raft *raft, uint64_t term, raft_id leader);
void raft_become_candidate(struct raft *raft, bool transfer);
void raft_arm_first_election(struct raft *raft);
void raft_tick_follower(struct raft *raft);
/* A valid message of this term's leader. */
void raft_on_leader_contact(struct raft *raft, raft_id leader);
bool raft_is_sticky(const struct raft *raft);
/* True while this node, which must be the leader, has led for less than an
 * election timeout, so that the silence of a member proves nothing. */
bool raft_is_new_leader(const struct raft *raft);
bool raft_quorum_is_live(const struct raft *raft);
bool raft_storage_stalled(const struct raft *raft);
void raft_on_prevote(struct raft *raft, const struct raft_message *m);
void raft_on_prevote_resp(struct raft *raft, const struct raft_message *m);
void raft_on_vote(struct raft *raft, const struct raft_message *m);
void raft_on_vote_resp(struct raft *raft, const struct raft_message *m);

/* ---- progress.c --------------------------------------------------------- */

struct raft_peer *raft_peer_find(struct raft *raft, raft_id id);
/* Bring the slots in line with the configuration in force. */
void raft_peers_sync(struct raft *raft);
/* A new leadership: nothing is known of it but its id. */
void raft_peer_reset(struct raft *raft, struct raft_peer *peer);
bool raft_peer_is_live(const struct raft *raft, const struct raft_peer *peer);
uint64_t raft_peer_match(const struct raft_peer *peer);
/* A majority of the voters by `value`: the highest number that a majority
 * has reached, ours being `own`. */
uint64_t raft_quorum_of(const struct raft *raft, uint64_t own,
                        uint64_t (*value)(const struct raft_peer *peer));

/* Only progress.c writes peer->state. */
void raft_become_snapshot(struct raft_peer *peer);
/* The transport lost the link, or has it again. */
void raft_peer_down(struct raft *raft, struct raft_peer *peer);
void raft_peer_up(struct raft *raft, struct raft_peer *peer);
void raft_snapshot_over(struct raft *raft, struct raft_peer *peer,
                        uint64_t index, bool sent);

/* May another append be sent to it now? */
bool raft_peer_has_room(const struct raft *raft, const struct raft_peer *peer);
/* An append with entries up to `hi` leaves. */
void raft_peer_sent(struct raft *raft, struct raft_peer *peer, uint64_t hi);
/* When nothing comes back for too long, start over behind `match`. */
void raft_peer_tick(struct raft *raft, struct raft_peer *peer);

/* It answered what was sent at `sent_ms`. */
void raft_peer_contact(struct raft *raft, struct raft_peer *peer,
                       uint64_t sent_ms);
/* It holds our log up to `match`, durably. False: that was known. */
bool raft_peer_acked(struct raft *raft, struct raft_peer *peer, uint64_t match);
/* It refused an append: go back to where the logs may meet. */
void raft_peer_refused(struct raft *raft, struct raft_peer *peer,
                       const struct raft_message *m);

/* ---- replicate.c -------------------------------------------------------- */

void raft_tick_peers(struct raft *raft);
void raft_offer_appends(struct raft *raft, struct raft_update *update);
void raft_broadcast_heartbeat(struct raft *raft);
void raft_maybe_commit(struct raft *raft);
void raft_on_append(struct raft *raft, const struct raft_message *m);
void raft_on_append_resp(struct raft *raft, const struct raft_message *m);
void raft_on_heartbeat(struct raft *raft, const struct raft_message *m);
void raft_on_heartbeat_resp(struct raft *raft, const struct raft_message *m);

/* ---- read.c ------------------------------------------------------------- */

void raft_reads_fail(struct raft *raft);
void raft_reads_collect(struct raft *raft);
void raft_reads_confirm(struct raft *raft);
void raft_on_read(struct raft *raft, const struct raft_message *m);
void raft_on_read_resp(struct raft *raft, const struct raft_message *m);

/* ---- conf.c ------------------------------------------------------------- */

bool raft_conf_is_voter(const struct raft_conf *conf, raft_id id);
bool raft_is_sole_voter(const struct raft *raft);
/* Has committed in its own term: may change members and serve reads. */
bool raft_is_ready(const struct raft *raft);
MUST_CHECK enum err raft_conf_change(struct raft *raft,
                                     const struct raft_change *change);
void raft_catch_up(struct raft *raft, struct raft_peer *peer);
bool raft_change_is_running(const struct raft *raft);
void raft_promote_learner(struct raft *raft);

/* ---- transfer.c --------------------------------------------------------- */

MUST_CHECK enum err raft_transfer(struct raft *raft, raft_id target);
void raft_transfer_leave(struct raft *raft);
void raft_transfer_try(struct raft *raft);
void raft_transfer_tick(struct raft *raft);
void raft_transfer_end(struct raft *raft, bool ok);
void raft_on_timeout_now(struct raft *raft, const struct raft_message *m);

/* ---- output.c ----------------------------------------------------------- */

/* Queue a message; `from` and `term` are filled in. It leaves once term and
 * vote are durable, and entries up to `durable_index` too (0: no entries). */
void raft_send(struct raft *raft, struct raft_message message,
               uint64_t durable_index);
bool raft_hard_is_durable(const struct raft *raft);
void raft_persisted(struct raft *raft, uint64_t seq);

/* ---- check.c ------------------------------------------------------------ */

void raft_check(struct raft *raft);
void raft_check_message(const struct raft *raft, const struct raft_message *m);

#endif
