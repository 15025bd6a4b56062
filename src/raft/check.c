/* check.c -- invariants that hold after every step and every collect, in
 * release builds too. Costs O(members). A single node can check these of
 * itself; tests refer to them by these numbers:
 *
 *     L1   The term never decreases, and no message has a term that is not on
 *          disk (thesis 3.3, 3.8).
 *     L2   A node has one vote and sees at most one leader per term (3.4).
 *     L3   A granted vote, or an acknowledged append, is sent only when it is
 *          on disk (3.8).
 *     L4   The commit index never decreases and never passes the end of the
 *          log; a leader commits by counting only in its own term (3.6.2).
 *     L6   Only entries that are committed and on this disk are applied, in
 *          order.
 *     L7   The log is contiguous from its base to its last entry, terms never
 *          decrease in it, and only applied entries are compacted.
 *     L8   A leader never truncates its own log (3.5).
 *     L9   A peer's match index never decreases and stays below its next index.
 *     L10  A configuration counts from its entry on; one change at a time
 *          (4.1).
 *     L11  No change before the leader has committed in its term (4.1,
 *          erratum).
 *     L12  No linearizable read before the leader has committed in its term
 *          (6.4).
 *     L13  An append names the entry before its first one, index and term
 *          (3.5).
 *     L14  Only a voter campaigns, and a leader voted for itself (4.2.1).
 *     L15  Every queue is bounded.
 *     L17  Messages that wait for the disk are sent in the order of their
 *          writes; those of an earlier term are dropped.
 *
 * 5 and 16 are not in use. L11 holds where a change is proposed, the others are
 * checked here as far as a must() can. */
#include "raft/raft_internal.h"

static void check_change(const struct raft *raft)
{
    must(raft->term >= raft->before.term); /* L1 */
    if (raft->term == raft->before.term) {
        /* L2: one vote a term; at most one leader a term. */
        must(raft->before.vote == 0 || raft->vote == raft->before.vote);
        must(raft->before.role == RAFT_LEADER || raft->role != RAFT_LEADER ||
             raft->vote == raft->options.self);
        must(raft->before.leader == 0 || raft->leader == 0 ||
             raft->leader == raft->before.leader);
        /* L8: a leader never truncates its own log. */
        must(raft->before.role != RAFT_LEADER ||
             raft->log.last >= raft->before.last);
    }
    must(raft->commit >= raft->before.commit); /* L4 */
    must(raft->disk.seq_persisted >= raft->before.seq_persisted);
}

static void check_log(const struct raft *raft)
{
    must(raft->log.base <= raft->applied);         /* L7 */
    must(raft->applied <= raft->apply_given);      /* L6 */
    must(raft->apply_given <= raft->commit);       /* L6 */
    must(raft->apply_given <= raft->disk.durable); /* L6 */
    must(raft->commit <= raft->log.last);          /* L4 */
    must(raft->disk.durable <= raft->log.last);
    must(raft->verified <= raft->log.last);
    must((raft->log.run_count == 0) == (raft->log.base == raft->log.last));
    must(raft_term_at(raft, raft->log.last) <= raft->term);
    if (raft->log.run_count > 1) { /* L7: so did all runs before. */
        const struct raft_run *last = &raft->log.runs[raft->log.run_count - 1];
        must(last[-1].first < last->first && last[-1].term < last->term);
    }
    must(raft->log.conf_count > 0); /* L10 */
    must(raft_log_conf_index(raft) <= raft->log.last);
    /* Not written, being written, or written. */
    must(raft->disk.dirty_lo == 0 || raft->disk.durable < raft->disk.dirty_lo);
}

static void check_peers(struct raft *raft)
{
    const struct raft_conf *conf = raft_conf_active(raft);
    must(raft->peer_count == conf->count);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        must(peer->id == conf->members[i].id);
        if (raft->role != RAFT_LEADER || peer->id == raft->options.self) {
            continue;
        }
        must(peer->match < peer->next); /* L9 */
        must(peer->match >= peer->match_seen);
        peer->match_seen = peer->match;
        must(peer->next <= raft->log.last + 1);
        must(peer->inflight_count <= raft->options.inflight_max); /* L15 */
        must(peer->state == RAFT_PEER_REPLICATE || peer->inflight_count == 0);
    }
}

static void check_role(const struct raft *raft)
{
    switch (raft->role) {
    case RAFT_FOLLOWER:
        must(raft->leader != raft->options.self);
        must(raft->transfer.target == 0 && !raft->leaving);
        break;
    case RAFT_PRECANDIDATE:
        must(raft->leader == 0);
        break;
    case RAFT_CANDIDATE:
        must(raft->leader == 0 && raft->vote == raft->options.self);
        break;
    case RAFT_LEADER: /* L14 */
        must(raft->leader == raft->options.self);
        must(raft->vote == raft->options.self);
        must(raft->term_start <= raft->log.last);
        must(raft->term_start <= raft->log.base ||
             raft_term_at(raft, raft->term_start) == raft->term);
        /* L4: what we committed ourselves ends in our own term. */
        must(raft->before.role != RAFT_LEADER ||
             raft->commit == raft->before.commit ||
             raft->commit <= raft->log.base ||
             raft_term_at(raft, raft->commit) == raft->term);
        break;
    }
    must(raft->reads.done <= raft->reads.asked);
    must(raft->role != RAFT_LEADER || !raft->reads.open ||
         raft_is_ready(raft)); /* L12 */
}

static void check_output(const struct raft *raft)
{
    must(raft->disk.op_count <= RAFT_OPS_MAX); /* L15 */
    must(raft->outbox.ready_count <= RAFT_MESSAGES_MAX);
    must(raft->outbox.gated_count <= RAFT_GATED_MAX);
    must(raft->disk.seq_persisted + raft->disk.op_count == raft->disk.seq_last);
    must(raft->disk.hard_seq <= raft->disk.seq_last);
    if (raft->outbox.gated_count > 1) { /* L17 */
        uint32_t newest =
            raft->outbox.gated_head + raft->outbox.gated_count - 1;
        must(raft->outbox.gated[newest % RAFT_GATED_MAX].gate >=
             raft->outbox.gated[(newest - 1) % RAFT_GATED_MAX].gate);
    }
}

void raft_check(struct raft *raft)
{
    check_change(raft);
    check_log(raft);
    check_peers(raft);
    check_role(raft);
    check_output(raft);
    raft->before.term = raft->term;
    raft->before.vote = raft->vote;
    raft->before.leader = raft->leader;
    raft->before.commit = raft->commit;
    raft->before.seq_persisted = raft->disk.seq_persisted;
    raft->before.role = raft->role;
    raft->before.last = raft->log.last;
}

/* Checks a message as it leaves: everything that it claims must survive a crash
 * right after sending. */
void raft_check_message(const struct raft *raft, const struct raft_message *m)
{
    must(m->term == raft->term);
    must(m->term == raft->disk.durable_term); /* L1 */
    must(m->from == raft->options.self && m->to != raft->options.self);
    if (m->type == RAFT_MSG_VOTE) {
        must(raft->disk.durable_vote == raft->options.self);
    }
    if (m->type == RAFT_MSG_VOTE_RESP && m->granted) { /* L3 */
        must(raft->disk.durable_vote == m->to);
    }
    if (m->type == RAFT_MSG_APPEND_RESP && m->granted) { /* L3 */
        must(m->match <= raft->disk.durable && m->match <= raft->verified);
    }
    if (m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_READ_RESP) {
        must(m->commit <= raft->commit);
    }
    if (m->type == RAFT_MSG_READ_RESP) { /* L12 */
        must(raft_is_ready(raft));
    }
    if (m->type == RAFT_MSG_APPEND) { /* L13 */
        must(m->log_index + m->entry_count <= raft->log.last);
        must(raft_term_at(raft, m->log_index) == m->log_term);
    }
}
