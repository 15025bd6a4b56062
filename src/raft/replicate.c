/* replicate.c -- appends and heartbeats on both sides, and commit (thesis 3.5,
 * 3.6). What the leader knows of each peer, and what follows from an answer for
 * the next append, is in progress.c. */
#include "raft/raft_internal.h"

/* ---- heartbeats of the leader ---- */

void raft_tick_peers(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft_peer_tick(raft, &raft->peers[i]);
    }
    if (raft->now_ms >= raft->heartbeat_due_ms) {
        raft_broadcast_heartbeat(raft);
    }
}

static void send_heartbeat(struct raft *raft, struct raft_peer *peer)
{
    /* At most the peer's match index: a heartbeat does not check that its log
     * agrees beyond that. */
    uint64_t commit = min_u64(peer->match, raft->commit);
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_HEARTBEAT,
                  .to = peer->id,
                  .round = raft->round,
                  .commit = commit,
                  .sent_ms = raft->now_ms,
              },
              0);
    peer->commit_sent = max_u64(peer->commit_sent, commit);
    peer->notice_ms = raft->now_ms;
    peer->notice_due = false;
}

void raft_broadcast_heartbeat(struct raft *raft)
{
    raft->round++;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id != raft->options.self) {
            send_heartbeat(raft, &raft->peers[i]);
        }
    }
    raft->heartbeat_due_ms = raft->now_ms + raft->options.heartbeat_ms;
}

/* ---- sending ---- */

static void offer(struct raft *raft, struct raft_peer *peer,
                  struct raft_update *update)
{
    bool anything =
        peer->next <= raft->log.last || peer->state == RAFT_PEER_PROBE;
    if (!anything || !raft_peer_has_room(raft, peer)) {
        return;
    }
    must(update->offer_count < RAFT_MEMBERS_MAX);
    must(peer->next > raft->log.base);
    update->offers[update->offer_count++] = (struct raft_append_offer){
        .peer = peer->id, .next = peer->next, .last = raft->log.last};
}

/* The follower learns the commit index with the next append. When there is
 * none to come, a heartbeat brings it, so that it applies soon. */
static void notify_commit(struct raft *raft, struct raft_peer *peer)
{
    peer->notice_due = peer->next > raft->log.last && !peer->down &&
                       min_u64(peer->match, raft->commit) > peer->commit_sent;
    if (peer->notice_due && raft->now_ms - peer->notice_ms >= RAFT_NOTICE_MS) {
        send_heartbeat(raft, peer);
    }
}

void raft_offer_appends(struct raft *raft, struct raft_update *update)
{
    if (raft->role != RAFT_LEADER || !raft_hard_is_durable(raft)) {
        return; /* A term that a crash could undo must not be seen. */
    }
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->options.self) {
            continue;
        }
        if (peer->next <= raft->log.base && peer->state != RAFT_PEER_SNAPSHOT &&
            !peer->down && raft_peer_has_room(raft, peer)) {
            raft_become_snapshot(peer);
        }
        if (peer->state == RAFT_PEER_SNAPSHOT) {
            if (!peer->snapshot_reported && update->snapshot_peer == 0) {
                update->snapshot_peer = peer->id;
                peer->snapshot_reported = true;
            }
            continue;
        }
        if (!peer->down && peer->next > raft->log.base) {
            offer(raft, peer, update);
        }
        notify_commit(raft, peer);
    }
}

bool raft_make_append(struct raft *raft, raft_id id, uint64_t lo, uint64_t hi,
                      uint64_t now_ms, struct raft_message *message)
{
    struct raft_peer *peer = raft_peer_find(raft, id);
    if (raft->role != RAFT_LEADER || !peer || !raft_peer_has_room(raft, peer)) {
        return false;
    }
    must(id != raft->options.self);
    must(lo == peer->next && lo > raft->log.base);
    must(hi + 1 >= lo && hi <= raft->log.last);
    must(hi + 1 - lo <= RAFT_APPEND_ENTRIES_MAX);
    raft->now_ms = max_u64(raft->now_ms, now_ms);

    *message = (struct raft_message){
        .type = RAFT_MSG_APPEND,
        .from = raft->options.self,
        .to = id,
        .term = raft->term,
        .log_index = lo - 1,
        .log_term = raft_term_at(raft, lo - 1),
        .commit = raft->commit,
        .sent_ms = raft->now_ms,
        .entry_count = (uint32_t)(hi + 1 - lo),
    };
    raft_check_message(raft, message);

    raft_peer_sent(raft, peer, hi);
    return true;
}

/* ---- commit ---- */

/* The one place where a leader advances the commit index; called after our
 * own disk, an ack, or a configuration moved. Only an entry of the current
 * term is committed by counting: figure 8 shows how counting replicas of an
 * older one loses it (thesis 3.6.2). Our own vote is what our disk holds. */
void raft_maybe_commit(struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return;
    }
    uint64_t index = raft_quorum_of(raft, raft->disk.durable, raft_peer_match);
    if (index <= raft->commit || raft_term_at(raft, index) != raft->term) {
        return;
    }
    must(index <= raft->log.last);
    raft->commit = index;
    if (raft_log_conf_index(raft) <= raft->commit &&
        !raft_conf_is_voter(raft_conf_active(raft), raft->options.self)) {
        raft_transfer_leave(raft);
    }
}

/* ---- append: the follower ---- */

static void refuse_append(struct raft *raft, const struct raft_message *m)
{
    uint64_t hint = raft->log.base;
    if (m->term == raft->term) {
        /* Skip whole terms: an entry of ours after this one has a later term
         * than the leader has at prev, so it is not in the leader's log. */
        hint = raft_log_find(raft, m->log_index, m->log_term);
    }
    hint = min_u64(hint, m->log_index);
    raft_send(
        raft,
        (struct raft_message){
            .type = RAFT_MSG_APPEND_RESP,
            .to = m->from,
            .match = m->log_index,
            .log_index = hint,
            .log_term = hint >= raft->log.base ? raft_term_at(raft, hint) : 0,
            .sent_ms = m->sent_ms,
        },
        0);
}

/* Entries that are committed (or older than the log) match; message.c has
 * compared what there is to compare. */
static bool prev_matches(const struct raft *raft, const struct raft_message *m)
{
    if (m->log_index <= raft->commit) {
        return true;
    }
    return m->log_index <= raft->log.last &&
           raft_term_at(raft, m->log_index) == m->log_term;
}

void raft_on_append(struct raft *raft, const struct raft_message *m)
{
    if (m->term < raft->term) {
        refuse_append(raft, m);
        return;
    }
    raft_on_leader_contact(raft, m->from);
    if (!prev_matches(raft, m)) {
        refuse_append(raft, m);
        return;
    }
    for (uint32_t i = 0; i < m->entry_count; i++) {
        uint64_t index = m->log_index + 1 + i;
        const struct raft_entry *entry = &m->entries[i];
        if (index <= raft->commit) {
            continue;
        }
        if (index <= raft->log.last) {
            if (raft_term_at(raft, index) == entry->term) {
                continue;
            }
            /* Only a conflict truncates. A late duplicate of a short append
             * does not contradict the entries after it (thesis 3.5). */
            raft_log_truncate(raft, index);
        }
        raft_log_append(raft, entry->term, entry->type, entry->conf);
    }

    /* Beyond `verified` our log may be another leader's. */
    uint64_t match = m->log_index + m->entry_count;
    raft->verified = max_u64(raft->verified, match);
    raft->commit = max_u64(raft->commit, min_u64(m->commit, raft->verified));

    /* One ack for all appends of this turn. */
    if (!raft->outbox.ack_due) {
        raft->outbox.ack_due = true;
        raft->outbox.ack_to = m->from;
        raft->outbox.ack_term = raft->term;
        raft->outbox.ack_match = 0;
        raft->outbox.ack_sent_ms = 0;
    }
    raft->outbox.ack_match = max_u64(raft->outbox.ack_match, match);
    raft->outbox.ack_sent_ms = max_u64(raft->outbox.ack_sent_ms, m->sent_ms);
}

/* ---- append: the answer ---- */

static void on_ack(struct raft *raft, struct raft_peer *peer, uint64_t match)
{
    if (raft_peer_acked(raft, peer, match)) {
        raft_catch_up(raft, peer);
        raft_maybe_commit(raft);
        raft_promote_learner(raft);
        raft_transfer_try(raft);
    }
}

void raft_on_append_resp(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_LEADER || m->term != raft->term || !peer) {
        return;
    }
    raft_peer_contact(raft, peer, m->sent_ms);
    peer->answer_ms = raft->now_ms;
    if (m->granted) {
        on_ack(raft, peer, m->match);
    } else {
        raft_peer_refused(raft, peer, m);
    }
}

/* ---- heartbeat ---- */

void raft_on_heartbeat(struct raft *raft, const struct raft_message *m)
{
    if (m->term == raft->term) {
        raft_on_leader_contact(raft, m->from);
        raft->commit =
            max_u64(raft->commit, min_u64(m->commit, raft->verified));
    }
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_HEARTBEAT_RESP,
                  .to = m->from,
                  .round = m->round,
                  .sent_ms = m->sent_ms,
              },
              0);
}

/* An answer proves that the peer has followed this leader since the round
 * started; it proves nothing about the peer's log. */
void raft_on_heartbeat_resp(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_LEADER || m->term != raft->term || !peer) {
        return;
    }
    raft_peer_contact(raft, peer, m->sent_ms);
    peer->acked_round = max_u64(peer->acked_round, m->round);
    if (peer->state == RAFT_PEER_PROBE && m->sent_ms > peer->probe_ms) {
        peer->probe_sent = false; /* It is there; the probe got lost. */
    }
    raft_promote_learner(raft);
    raft_reads_confirm(raft);
}
