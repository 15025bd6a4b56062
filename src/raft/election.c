/* election.c -- elections. Thesis 3.4 (elections), 3.6.1 (up-to-date logs),
 * 6.2 (a leader without a quorum steps down), 9.6 (pre-vote), with the rules
 * that years of outages added:
 *
 * - Pre-vote, check-quorum and leader stickiness are no options. Mixed modes
 *   wedge.
 * - A refusal carries the sender's term, and a node that receives a higher
 *   term in a refusal adopts it (vote cleared). Otherwise a node with a long
 *   log and an old term, and one with a short log and a new term, refuse each
 *   other for ever.
 * - A PREVOTE changes nothing at its receiver: no term, no vote, no timer.
 * - Only a message of a valid leader or a real granted vote resets the
 *   election timer.
 * - A leader is as alive as the *send* time of the newest heartbeat that a
 *   majority has answered. One that is not stops sending heartbeats: they
 *   are what keeps the others from electing. */
#include "raft/raft_internal.h"

/* ---- timers ------------------------------------------------------------- */

/* The time-out is random each time, so that nodes which time out together once
 * do not do so again. */
static void arm_election(struct raft *raft)
{
    const struct raft_options *options = &raft->options;
    uint64_t wait = options->election_min_ms +
                    rng_below(&raft->rng, options->election_max_ms -
                                              options->election_min_ms);
    raft->election_deadline_ms = raft->now_ms + wait;
}

/* A sole voter has no competitors and need not wait for silence, unless it
 * knows a leader: then its configuration is out of date. */
void raft_arm_first_election(struct raft *raft)
{
    arm_election(raft);
    if (raft_is_sole_voter(raft) && raft->leader == 0) {
        raft->election_deadline_ms = raft->now_ms;
    }
}

bool raft_storage_stalled(const struct raft *raft)
{
    return raft->disk.op_count > 0 &&
           raft->now_ms - raft->disk.ops[raft->disk.op_head].ms >
               raft->options.storage_stall_ms;
}

static bool may_campaign(const struct raft *raft)
{
    return raft_conf_is_voter(raft_conf_active(raft), raft->options.self) &&
           !raft_storage_stalled(raft);
}

/* ---- transitions: the only writers of role, term and leader -------------- */

static void set_leader(struct raft *raft, raft_id leader)
{
    if (raft->leader == leader) {
        return;
    }
    if (raft->leader != 0) {
        /* The next leader does not answer reads that this one was asked for. */
        raft_reads_fail(raft);
    }
    raft->leader = leader;
    raft->out.role_changed = true;
}

static void set_role(struct raft *raft, enum raft_role role)
{
    raft->out.role_changed = raft->out.role_changed || raft->role != role;
    raft->role = role;
}

static void set_term(struct raft *raft, uint64_t term, raft_id vote)
{
    must(term > raft->term);
    raft->term = term;
    raft->vote = vote;
    raft->disk.hard_dirty = true;
    raft->verified = 0;
    raft->outbox.ack_due = false;
    raft->out.role_changed = true;
}

static uint64_t peer_contact_ms(const struct raft_peer *peer)
{
    return peer->answered ? peer->contact_ms : 0;
}

/* A former leader knows that no other node led until its last contact with a
 * quorum, which may have been before it noticed the silence. */
static void record_own_contact(struct raft *raft)
{
    uint64_t contact_ms = raft_quorum_of(raft, raft->now_ms, peer_contact_ms);
    raft->leader_contact_ms = max_u64(contact_ms, raft->leader_since_ms);
}

void raft_become_follower(struct raft *raft, uint64_t term, raft_id leader)
{
    must(leader != raft->options.self);
    bool was_follower = raft->role == RAFT_FOLLOWER;
    if (raft->role == RAFT_LEADER) {
        record_own_contact(raft);
    }
    set_role(raft, RAFT_FOLLOWER);
    raft_transfer_end(raft, raft->transfer.won);
    raft->leaving = false;
    set_leader(raft, leader);
    if (term != raft->term) {
        /* Adopting a term is never a vote in it. */
        set_term(raft, term, 0);
    }
    if (!was_follower) {
        raft_arm_first_election(raft);
    }
}

static uint64_t peer_granted(const struct raft_peer *peer)
{
    return peer->granted ? 1 : 0;
}

static bool election_is_won(const struct raft *raft)
{
    return raft_quorum_of(raft, 1, peer_granted) == 1;
}

static void become_leader(struct raft *raft)
{
    must(raft->role == RAFT_CANDIDATE);
    must(raft->vote == raft->options.self);
    must(election_is_won(raft));
    set_role(raft, RAFT_LEADER);
    set_leader(raft, raft->options.self);
    raft->leader_since_ms = raft->now_ms;
    raft->leaving = false;
    raft->outbox.ack_due = false;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft_peer_reset(raft, &raft->peers[i]);
    }
    /* An entry of our own term: only it can be committed by counting, and
     * everything before it with it (thesis 3.6.2, 6.4). */
    raft_log_append(raft, raft->term, RAFT_ENTRY_NOOP, NULL);
    raft->term_start = raft->log.last;
    raft_broadcast_heartbeat(raft);
}

/* Ask every other voter; `type` is PREVOTE or VOTE. */
static void ask_for_votes(struct raft *raft, enum raft_message_type type)
{
    const struct raft_conf *conf = raft_conf_active(raft);
    must(raft_conf_is_voter(conf, raft->options.self)); /* L14 */
    raft->election_round++;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        raft->peers[i].granted = false;
    }
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->suffrage != RAFT_VOTER ||
            member->id == raft->options.self) {
            continue;
        }
        raft_send(raft,
                  (struct raft_message){
                      .type = type,
                      .to = member->id,
                      .log_index = raft->log.last,
                      .log_term = raft_term_at(raft, raft->log.last),
                      .round = raft->election_round,
                      .transfer = raft->election_transfer,
                  },
                  0);
    }
}

void raft_become_candidate(struct raft *raft, bool transfer)
{
    must(raft->role != RAFT_LEADER);
    set_leader(raft, 0);
    set_role(raft, RAFT_CANDIDATE);
    set_term(raft, raft->term + 1, raft->options.self);
    raft->elections++;
    raft->election_transfer = transfer;
    arm_election(raft);
    ask_for_votes(raft, RAFT_MSG_VOTE);
    if (election_is_won(raft)) {
        become_leader(raft); /* The sole voter. */
    }
}

static void become_precandidate(struct raft *raft)
{
    set_leader(raft, 0);
    set_role(raft, RAFT_PRECANDIDATE);
    raft->election_transfer = false;
    arm_election(raft);
    ask_for_votes(raft, RAFT_MSG_PREVOTE);
    if (election_is_won(raft)) {
        raft_become_candidate(raft, false);
    }
}

void raft_tick_follower(struct raft *raft)
{
    if (raft->now_ms < raft->election_deadline_ms) {
        return;
    }
    if (may_campaign(raft)) {
        become_precandidate(raft);
        return;
    }
    /* A learner does not campaign, but has no leader any more; and with a
     * stalled disk, other nodes are better candidates. */
    if (raft->role != RAFT_FOLLOWER || raft->leader != 0) {
        raft_become_follower(raft, raft->term, 0);
    }
    arm_election(raft);
}

void raft_on_leader_contact(struct raft *raft, raft_id leader)
{
    must(raft->role != RAFT_LEADER);
    if (raft->role != RAFT_FOLLOWER || raft->leader != leader) {
        raft_become_follower(raft, raft->term, leader);
    }
    raft->leader_contact_ms = raft->now_ms;
    arm_election(raft);
}

/* ---- is there a leader already? ------------------------------------------ */

bool raft_is_new_leader(const struct raft *raft)
{
    must(raft->role == RAFT_LEADER);
    return raft->now_ms - raft->leader_since_ms < raft->options.election_min_ms;
}

bool raft_quorum_is_live(const struct raft *raft)
{
    const struct raft_conf *conf = raft_conf_active(raft);
    bool grace = raft_is_new_leader(raft);
    uint32_t voters = 0;
    uint32_t live = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        if (conf->members[i].suffrage != RAFT_VOTER) {
            continue;
        }
        voters++;
        live += grace || raft_peer_is_live(raft, &raft->peers[i]);
    }
    return live * 2 > voters;
}

/* A node in contact with a leader does not help to replace it (thesis 4.2.3):
 * otherwise a node that was removed, or receives nothing, would disturb the
 * cluster for ever. */
bool raft_is_sticky(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        return raft_quorum_is_live(raft);
    }
    return raft->leader != 0 && raft->now_ms - raft->leader_contact_ms <
                                    raft->options.election_min_ms;
}

/* ---- votes ---- */

/* Thesis 3.6.1: the later last term wins; with equal terms, the longer log. */
static bool is_up_to_date(const struct raft *raft, const struct raft_message *m)
{
    uint64_t last_term = raft_term_at(raft, raft->log.last);
    return m->log_term > last_term ||
           (m->log_term == last_term && m->log_index >= raft->log.last);
}

/* Every candidate is answered: its own configuration decides which votes count,
 * and this node may have been promoted without knowing it yet. */
void raft_on_prevote(struct raft *raft, const struct raft_message *m)
{
    bool granted = m->term >= raft->term && !raft_is_sticky(raft) &&
                   is_up_to_date(raft, m);
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_PREVOTE_RESP,
                  .to = m->from,
                  .round = m->round,
                  .granted = granted,
              },
              0);
}

void raft_on_prevote_resp(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_PRECANDIDATE || !m->granted || !peer ||
        m->round != raft->election_round) {
        return;
    }
    peer->granted = true;
    if (election_is_won(raft)) {
        raft_become_candidate(raft, false);
    }
}

void raft_on_vote(struct raft *raft, const struct raft_message *m)
{
    /* One vote a term, first come, first served; none against a leader that
     * we know in this term. A higher term was adopted on the way here, unless
     * stickiness forbade even that. */
    bool free_to_vote =
        raft->vote == m->from || (raft->vote == 0 && raft->leader == 0);
    bool granted =
        m->term == raft->term && free_to_vote && is_up_to_date(raft, m);
    if (granted) {
        must(raft->role != RAFT_LEADER && raft->role != RAFT_CANDIDATE);
        if (raft->vote == 0) {
            raft->vote = m->from;
            raft->disk.hard_dirty = true;
        }
        if (raft->role != RAFT_FOLLOWER) {
            raft_become_follower(raft, raft->term, 0);
        }
        arm_election(raft);
    }
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_VOTE_RESP,
                  .to = m->from,
                  .round = m->round,
                  .granted = granted,
              },
              0);
}

void raft_on_vote_resp(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_CANDIDATE || !m->granted || !peer ||
        m->term != raft->term || m->round != raft->election_round) {
        return;
    }
    peer->granted = true;
    if (election_is_won(raft)) {
        become_leader(raft);
    }
}
