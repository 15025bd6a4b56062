/* status.c -- looking at the engine: status for people, digest for tests. */
#include "raft/raft_internal.h"

const char *raft_role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRECANDIDATE:
        return "precandidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    }
    must(false);
    return "";
}

void raft_get_status(const struct raft *raft, struct raft_status *status)
{
    *status = (struct raft_status){
        .self = raft->options.self,
        .leader = raft->leader,
        .vote = raft->vote,
        .role = raft->role,
        .term = raft->term,
        .commit = raft->commit,
        .applied = raft->applied,
        .last = raft->last,
        .durable = raft->durable,
        .base = raft->base,
        .transferring = raft->transfer_target != 0,
        .changing = raft_change_is_running(raft),
        .leader_ready = raft_is_ready(raft),
        .elections = raft->elections,
        .leader_heard_ms =
            raft->role == RAFT_LEADER ? raft->now_ms : raft->leader_heard_ms,
    };
    if (raft->role != RAFT_LEADER) {
        return;
    }
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->options.self) {
            continue;
        }
        status->peers[status->peer_count++] = (struct raft_peer_status){
            .id = peer->id,
            .state = peer->state,
            .match = peer->match,
            .next = peer->next,
            .contact_ms = peer->contact_ms,
            .rtt_ms = peer->rtt_ms,
        };
    }
}

/* ---- digest: every field by value, never memory with holes in it ----------
 */

static void add(uint64_t *hash, uint64_t value)
{
    *hash = mix_u64(*hash ^ value) + 0x9e3779b97f4a7c15u;
}

static void add_bytes(uint64_t *hash, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i++) {
        *hash = (*hash ^ p[i]) * 0x100000001b3u;
    }
}

static void add_message(uint64_t *hash, const struct raft_message *m)
{
    const uint64_t fields[] = {
        m->type,     m->from,     m->to,          m->term,  m->log_index,
        m->log_term, m->round,    m->commit,      m->match, m->sent_ms,
        m->granted,  m->transfer, m->entry_count,
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        add(hash, fields[i]);
    }
}

static void add_confs(uint64_t *hash, const struct raft *raft)
{
    add(hash, raft->conf_count);
    for (uint32_t i = 0; i < raft->conf_count; i++) {
        const struct raft_conf_entry *entry = &raft->confs[i];
        add(hash, entry->index);
        add(hash, entry->conf.count);
        for (uint32_t k = 0; k < entry->conf.count; k++) {
            const struct raft_member *member = &entry->conf.members[k];
            add(hash, member->id);
            add(hash, member->suffrage);
            add_bytes(hash, member->uuid, sizeof(member->uuid));
            add_bytes(hash, member->name, strlen(member->name));
            add_bytes(hash, member->addr, strlen(member->addr));
            add_bytes(hash, member->http, strlen(member->http));
        }
    }
}

static void add_peer(uint64_t *hash, const struct raft_peer *peer)
{
    const uint64_t fields[] = {
        peer->id,
        peer->down,
        peer->granted,
        peer->state,
        peer->match,
        peer->next,
        peer->probe_sent,
        peer->probe_ms,
        peer->snapshot_told,
        peer->inflight_count,
        peer->answer_ms,
        peer->heard,
        peer->contact_ms,
        peer->rtt_ms,
        peer->acked_round,
        peer->commit_sent,
        peer->notice_ms,
        peer->notice_due,
        peer->read_waiting,
        peer->read_in_round,
        peer->catch_up_rounds,
        peer->catch_up_target,
        peer->catch_up_ms,
        peer->caught_up,
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        add(hash, fields[i]);
    }
    for (uint32_t i = 0; i < peer->inflight_count; i++) {
        add(hash,
            peer->inflight[(peer->inflight_head + i) % RAFT_INFLIGHT_MAX]);
    }
}

static void add_output(uint64_t *hash, const struct raft *raft)
{
    for (uint32_t i = 0; i < raft->op_count; i++) {
        const struct raft_op *op =
            &raft->ops[(raft->op_head + i) % RAFT_OPS_MAX];
        add(hash, op->seq);
        add(hash, op->hi);
        add(hash, op->ms);
    }
    for (uint32_t i = 0; i < raft->ready_count; i++) {
        add_message(hash, &raft->ready[i]);
    }
    for (uint32_t i = 0; i < raft->gated_count; i++) {
        const struct raft_gated *gated =
            &raft->gated[(raft->gated_head + i) % RAFT_GATED_MAX];
        add(hash, gated->gate);
        add_message(hash, &gated->message);
    }
}

uint64_t raft_digest(const struct raft *raft)
{
    const uint64_t fields[] = {
        raft->options.self,
        raft->options.seed,
        raft->options.heartbeat_ms,
        raft->options.election_min_ms,
        raft->options.election_max_ms,
        raft->options.storage_stall_ms,
        raft->options.uncommitted_max,
        raft->options.inflight_max,
        raft->rng.s[0],
        raft->rng.s[1],
        raft->rng.s[2],
        raft->rng.s[3],
        raft->now_ms,
        raft->term,
        raft->vote,
        raft->hard_dirty,
        raft->hard_seq,
        raft->role,
        raft->leader,
        raft->leader_heard_ms,
        raft->election_deadline_ms,
        raft->election_round,
        raft->election_transfer,
        raft->elections,
        raft->base,
        raft->base_term,
        raft->last,
        raft->commit,
        raft->applied,
        raft->apply_given,
        raft->verified,
        raft->durable,
        raft->handed,
        raft->dirty_lo,
        raft->seq_last,
        raft->seq_persisted,
        raft->op_count,
        raft->ready_count,
        raft->gated_count,
        raft->ack_due,
        raft->ack_to,
        raft->ack_term,
        raft->ack_match,
        raft->ack_sent_ms,
        raft->peer_count,
        raft->leader_since_ms,
        raft->term_start,
        raft->heartbeat_due_ms,
        raft->round,
        raft->transfer_target,
        raft->transfer_asked,
        raft->transfer_won,
        raft->transfer_sent,
        raft->leaving,
        raft->transfer_deadline_ms,
        raft->read_asked,
        raft->read_done,
        raft->read_open,
        raft->read_cookie,
        raft->read_index,
        raft->read_round,
        raft->read_request,
        raft->read_resend_ms,
        raft->out_read_cookie,
        raft->out_read_index,
        raft->out_read_failed,
        raft->out_role_changed,
        raft->out_conf_changed,
        raft->out_transfer_done,
        raft->out_transfer_ok,
        raft->appended_first,
        raft->appended_last,
        raft->run_count,
    };
    uint64_t hash = 0;
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        add(&hash, fields[i]);
    }
    for (uint32_t i = 0; i < raft->run_count; i++) {
        add(&hash, raft->runs[i].first);
        add(&hash, raft->runs[i].term);
    }
    add_confs(&hash, raft);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        add_peer(&hash, &raft->peers[i]);
    }
    add_output(&hash, raft);
    return hash;
}
