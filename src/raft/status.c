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
        .last = raft->log.last,
        .durable = raft->disk.durable,
        .base = raft->log.base,
        .transferring = raft->transfer.target != 0,
        .changing = raft_change_is_running(raft),
        .leader_ready = raft_is_ready(raft),
        .elections = raft->elections,
        .leader_contact_ms =
            raft->role == RAFT_LEADER ? raft->now_ms : raft->leader_contact_ms,
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

/* ---- digest ----
 *
 * Every field by value, never memory with holes in it: one function a struct,
 * in the order of its declaration. Left out are capacities, what a ring holds
 * outside of [head, head + count), and `before`, which check.c keeps for
 * itself. */

static void add(uint64_t *hash, uint64_t value)
{
    *hash = mix_u64(*hash ^ value) + 0x9e3779b97f4a7c15u;
}

static void add_all(uint64_t *hash, const uint64_t *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add(hash, fields[i]);
    }
}
#define ADD(hash, ...)                                                         \
    add_all(hash, (const uint64_t[]){__VA_ARGS__},                             \
            ARRAY_COUNT(((const uint64_t[]){__VA_ARGS__})))

static void add_bytes(uint64_t *hash, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i++) {
        *hash = (*hash ^ p[i]) * 0x100000001b3u;
    }
}

static void add_options(uint64_t *hash, const struct raft_options *options)
{
    ADD(hash, options->self, options->seed, options->heartbeat_ms,
        options->election_min_ms, options->election_max_ms,
        options->storage_stall_ms, options->uncommitted_max,
        options->inflight_max);
}

static void add_message(uint64_t *hash, const struct raft_message *m)
{
    ADD(hash, m->type, m->from, m->to, m->term, m->log_index, m->log_term,
        m->round, m->commit, m->match, m->sent_ms, m->granted, m->transfer,
        m->entry_count);
}

static void add_conf(uint64_t *hash, const struct raft_conf_entry *entry)
{
    ADD(hash, entry->index, entry->conf.count);
    for (uint32_t i = 0; i < entry->conf.count; i++) {
        const struct raft_member *member = &entry->conf.members[i];
        ADD(hash, member->id, member->suffrage);
        add_bytes(hash, member->uuid, sizeof(member->uuid));
        add_bytes(hash, member->name, strlen(member->name));
        add_bytes(hash, member->addr, strlen(member->addr));
        add_bytes(hash, member->http, strlen(member->http));
    }
}

static void add_log(uint64_t *hash, const struct raft_log *log)
{
    ADD(hash, log->base, log->base_term, log->last, log->run_count,
        log->conf_count);
    for (uint32_t i = 0; i < log->run_count; i++) {
        ADD(hash, log->runs[i].first, log->runs[i].term);
    }
    for (uint32_t i = 0; i < log->conf_count; i++) {
        add_conf(hash, &log->confs[i]);
    }
}

static void add_disk(uint64_t *hash, const struct raft_disk *disk)
{
    ADD(hash, disk->hard_dirty, disk->hard_seq, disk->durable_term,
        disk->durable_vote, disk->durable, disk->handed, disk->dirty_lo,
        disk->seq_last, disk->seq_persisted, disk->op_count);
    for (uint32_t i = 0; i < disk->op_count; i++) {
        const struct raft_op *op =
            &disk->ops[(disk->op_head + i) % RAFT_OPS_MAX];
        ADD(hash, op->seq, op->hi, op->ms, op->term, op->vote);
    }
}

static void add_outbox(uint64_t *hash, const struct raft_outbox *outbox)
{
    ADD(hash, outbox->ready_count, outbox->gated_count, outbox->ack_due,
        outbox->ack_to, outbox->ack_term, outbox->ack_match,
        outbox->ack_sent_ms);
    for (uint32_t i = 0; i < outbox->ready_count; i++) {
        add_message(hash, &outbox->ready[i]);
    }
    for (uint32_t i = 0; i < outbox->gated_count; i++) {
        const struct raft_gated *gated =
            &outbox->gated[(outbox->gated_head + i) % RAFT_GATED_MAX];
        add(hash, gated->gate);
        add_message(hash, &gated->message);
    }
}

static void add_peer(uint64_t *hash, const struct raft_peer *peer)
{
    ADD(hash, peer->id, peer->down, peer->granted, peer->state, peer->match,
        peer->match_seen, peer->next, peer->probe_sent, peer->probe_ms,
        peer->snapshot_reported, peer->inflight_count, peer->answer_ms,
        peer->answered, peer->contact_ms, peer->rtt_ms, peer->acked_round,
        peer->commit_sent, peer->notice_ms, peer->notice_due,
        peer->read_waiting, peer->read_in_round, peer->catch_up_rounds,
        peer->catch_up_target, peer->catch_up_ms, peer->caught_up);
    for (uint32_t i = 0; i < peer->inflight_count; i++) {
        add(hash,
            peer->inflight[(peer->inflight_head + i) % RAFT_INFLIGHT_MAX]);
    }
}

static void add_transfer(uint64_t *hash, const struct raft_transfer *transfer)
{
    ADD(hash, transfer->target, transfer->asked, transfer->won, transfer->sent,
        transfer->deadline_ms);
}

static void add_reads(uint64_t *hash, const struct raft_reads *reads)
{
    ADD(hash, reads->asked, reads->done, reads->open, reads->cookie,
        reads->index, reads->round, reads->request, reads->resend_ms);
}

static void add_out(uint64_t *hash, const struct raft_out *out)
{
    ADD(hash, out->read_cookie, out->read_index, out->read_failed,
        out->role_changed, out->conf_changed, out->transfer_done,
        out->transfer_ok);
}

uint64_t raft_digest(const struct raft *raft)
{
    uint64_t hash = 0;
    add_options(&hash, &raft->options);
    add_all(&hash, raft->rng.s, ARRAY_COUNT(raft->rng.s));
    ADD(&hash, raft->now_ms, raft->term, raft->vote, raft->role, raft->leader,
        raft->leader_contact_ms, raft->election_deadline_ms,
        raft->election_round, raft->election_transfer, raft->elections);
    add_log(&hash, &raft->log);
    ADD(&hash, raft->commit, raft->applied, raft->apply_given, raft->verified,
        raft->appended_first, raft->appended_last);
    add_disk(&hash, &raft->disk);
    add_outbox(&hash, &raft->outbox);
    add(&hash, raft->peer_count);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        add_peer(&hash, &raft->peers[i]);
    }
    ADD(&hash, raft->leader_since_ms, raft->term_start, raft->heartbeat_due_ms,
        raft->round, raft->leaving);
    add_transfer(&hash, &raft->transfer);
    add_reads(&hash, &raft->reads);
    add_out(&hash, &raft->out);
    return hash;
}
