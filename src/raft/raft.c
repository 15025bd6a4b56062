/* raft.c -- new, step, and small accessors. raft.h is the manual;
 * raft_internal.h lists the files. */
#include "raft/raft_internal.h"

static void check_options(const struct raft_options *options)
{
    must(options->self != 0);
    must(options->heartbeat_ms > 0);
    must(options->election_min_ms > options->heartbeat_ms);
    must(options->election_max_ms > options->election_min_ms);
    must(options->storage_stall_ms > 0);
    must(options->uncommitted_max > 0);
    must(options->inflight_max > 0);
}

struct raft *raft_new(const struct raft_options *options,
                      const struct raft_boot *boot, uint64_t now_ms)
{
    check_options(options);
    struct raft *raft = mem_zalloc(sizeof(*raft));
    raft->options = *options;
    raft->options.inflight_max =
        (uint32_t)min_u64(options->inflight_max, RAFT_INFLIGHT_MAX);
    rng_init(&raft->rng, options->seed);
    raft->now_ms = now_ms;
    raft->term = boot->term;
    raft->vote = boot->vote;
    raft->disk.durable_term = boot->term;
    raft->disk.durable_vote = boot->vote;
    raft->appended_first = 1;
    /* Random, so that an answer to an earlier start does not match. */
    raft->election_round = rng_next(&raft->rng) >> 2;
    raft->reads.request = rng_next(&raft->rng) >> 2;
    raft_log_open(raft, boot);
    raft_arm_first_election(raft);

    raft->before.term = raft->term;
    raft->before.vote = raft->vote;
    raft->before.commit = raft->commit;
    raft_check(raft);
    return raft;
}

void raft_free(struct raft *raft)
{
    if (!raft) {
        return;
    }
    mem_free(raft->log.runs);
    mem_free(raft->log.confs);
    mem_free(raft);
}

/* ---- one event ---- */

/* True for a vote request of the target of a transfer, which counts although
 * there is a leader: at that leader if it has started the transfer, elsewhere
 * if the candidate is a voter. */
static bool is_handover(const struct raft *raft, const struct raft_message *m)
{
    if (!m->transfer) {
        return false;
    }
    return raft->role == RAFT_LEADER
               ? raft->transfer.sent && m->from == raft->transfer.target
               : raft_conf_is_voter(raft_conf_active(raft), m->from);
}

/* A later term in a message is adopted (thesis 3.3), with three exceptions: a
 * PREVOTE only asks what would be, a granted PREVOTE_RESP never has a later
 * term, and a VOTE is ignored while there is contact with a leader. */
static bool adopts_term(const struct raft *raft, const struct raft_message *m)
{
    if (m->term <= raft->term || m->type == RAFT_MSG_PREVOTE) {
        return false;
    }
    if (m->type == RAFT_MSG_PREVOTE_RESP) {
        return !m->granted;
    }
    if (m->type == RAFT_MSG_VOTE) {
        return is_handover(raft, m) || !raft_is_sticky(raft);
    }
    return true;
}

static void adopt_term(struct raft *raft, const struct raft_message *m)
{
    if (m->from == raft->transfer.target && m->type == RAFT_MSG_VOTE) {
        raft->transfer.won = true;
    }
    if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT) {
        raft->transfer.won = true; /* There is a later leader. */
    }
    raft_become_follower(raft, m->term, 0);
}

static enum err on_message(struct raft *raft, const struct raft_message *m)
{
    enum err err = raft_message_check(raft, m);
    if (err) {
        return err;
    }
    if (!raft_sender_is_known(raft, m)) {
        return ERR_NOT_FOUND;
    }
    if (adopts_term(raft, m)) {
        adopt_term(raft, m);
    }
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
        raft_on_prevote(raft, m);
        break;
    case RAFT_MSG_PREVOTE_RESP:
        raft_on_prevote_resp(raft, m);
        break;
    case RAFT_MSG_VOTE:
        raft_on_vote(raft, m);
        break;
    case RAFT_MSG_VOTE_RESP:
        raft_on_vote_resp(raft, m);
        break;
    case RAFT_MSG_APPEND:
        raft_on_append(raft, m);
        break;
    case RAFT_MSG_APPEND_RESP:
        raft_on_append_resp(raft, m);
        break;
    case RAFT_MSG_HEARTBEAT:
        raft_on_heartbeat(raft, m);
        break;
    case RAFT_MSG_HEARTBEAT_RESP:
        raft_on_heartbeat_resp(raft, m);
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_on_timeout_now(raft, m);
        break;
    case RAFT_MSG_READ:
        raft_on_read(raft, m);
        break;
    case RAFT_MSG_READ_RESP:
        raft_on_read_resp(raft, m);
        break;
    }
    return ERR_OK;
}

static void on_tick(struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        raft_tick_follower(raft);
        return;
    }
    /* Thesis 6.2, and the same for a stalled disk: a leader that cannot commit
     * steps down, and sends no more heartbeats. */
    if (raft_storage_stalled(raft) || !raft_quorum_is_live(raft)) {
        raft_become_follower(raft, raft->term, 0);
        return;
    }
    raft_transfer_tick(raft);
    if (raft->role == RAFT_LEADER) {
        raft_transfer_try(raft);
    }
    if (raft->role == RAFT_LEADER) {
        raft_promote_learner(raft);
        raft_tick_peers(raft);
    }
}

static enum err on_propose(struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return ERR_CLOSED;
    }
    if (raft->transfer.target != 0 || raft->leaving ||
        raft->log.last - raft->commit >= raft->options.uncommitted_max) {
        return ERR_BUSY;
    }
    raft_log_append(raft, raft->term, RAFT_ENTRY_NORMAL, NULL);
    return ERR_OK;
}

static enum err on_installed(struct raft *raft, const struct raft_event *event)
{
    uint64_t index = event->index;
    if (index <= raft->applied) {
        return ERR_OK; /* This node has applied more by itself. */
    }
    must(event->conf && raft_conf_is_sound(event->conf));
    bool matches =
        index <= raft->log.last && raft_term_at(raft, index) == event->term;
    if (!matches && (raft->role == RAFT_LEADER || index <= raft->commit)) {
        return ERR_INVALID; /* It contradicts what is committed here. */
    }
    if (event->term > raft->term) {
        raft_become_follower(raft, event->term, 0);
    }
    raft_log_install(raft, index, event->term, event->conf);
    return ERR_OK;
}

static void on_peer_event(struct raft *raft, const struct raft_event *event)
{
    struct raft_peer *peer = raft_peer_find(raft, event->peer);
    if (!peer || peer->id == raft->options.self) {
        return; /* Removed meanwhile. */
    }
    if (event->type == RAFT_PEER_UP) {
        raft_peer_up(raft, peer);
    } else if (event->type == RAFT_PEER_DOWN) {
        raft_peer_down(raft, peer);
    } else if (raft->role == RAFT_LEADER) {
        raft_snapshot_over(raft, peer, event->index,
                           event->type == RAFT_SNAPSHOT_SENT);
    }
}

static enum err dispatch(struct raft *raft, const struct raft_event *event)
{
    switch (event->type) {
    case RAFT_TICK:
        on_tick(raft);
        return ERR_OK;
    case RAFT_MESSAGE:
        return on_message(raft, event->message);
    case RAFT_PROPOSE:
        return on_propose(raft);
    case RAFT_CHANGE:
        return raft_conf_change(raft, event->change);
    case RAFT_READ:
        raft->reads.asked = max_u64(raft->reads.asked, event->cookie);
        return ERR_OK;
    case RAFT_PERSISTED:
        raft_persisted(raft, event->seq);
        return ERR_OK;
    case RAFT_APPLIED:
        must(event->index <= raft->apply_given);
        raft->applied = max_u64(raft->applied, event->index);
        raft_log_prune_confs(raft);
        return ERR_OK;
    case RAFT_TRANSFER:
        return raft_transfer(raft, event->peer);
    case RAFT_GAP:
        /* A leader needs no help: contacts are times of sending, and its
         * next tick finds them too old. */
        if (raft->role != RAFT_LEADER) {
            raft_arm_first_election(raft);
        }
        return ERR_OK;
    case RAFT_PEER_UP:
    case RAFT_PEER_DOWN:
    case RAFT_SNAPSHOT_SENT:
    case RAFT_SNAPSHOT_FAILED:
        on_peer_event(raft, event);
        return ERR_OK;
    case RAFT_COMPACTED:
        raft_log_compact(raft, event->index);
        return ERR_OK;
    case RAFT_INSTALLED:
        return on_installed(raft, event);
    }
    must(false);
    return ERR_INVALID;
}

enum err raft_step(struct raft *raft, const struct raft_event *event)
{
    raft->now_ms = max_u64(raft->now_ms, event->now_ms);
    raft->appended_first = 1;
    raft->appended_last = 0;
    enum err err = dispatch(raft, event);
    /* A change of configuration may be all that commit waited for. */
    raft_maybe_commit(raft);
    raft_check(raft);
    return err;
}

/* ---- accessors ---- */

void raft_appended(const struct raft *raft, uint64_t *first, uint64_t *last)
{
    *first = raft->appended_first;
    *last = raft->appended_last;
}

uint64_t raft_deadline_ms(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        uint64_t deadline = raft->election_deadline_ms;
        return raft->reads.open ? min_u64(deadline, raft->reads.resend_ms)
                                : deadline;
    }
    uint64_t deadline = raft->heartbeat_due_ms;
    if (raft->transfer.target != 0 || raft->leaving) {
        deadline = min_u64(deadline, raft->transfer.deadline_ms);
    }
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->notice_due) {
            deadline = min_u64(deadline, peer->notice_ms + RAFT_NOTICE_MS);
        }
    }
    return deadline;
}

bool raft_is_leader(const struct raft *raft)
{
    return raft->role == RAFT_LEADER;
}

raft_id raft_leader(const struct raft *raft)
{
    return raft->leader;
}

uint64_t raft_commit(const struct raft *raft)
{
    return raft->commit;
}

uint64_t raft_last(const struct raft *raft)
{
    return raft->log.last;
}

uint64_t raft_durable(const struct raft *raft)
{
    return raft->disk.durable;
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->term;
}
