/* transfer.c -- handing leadership over (thesis 3.10), on request and when
 * the leader itself has been removed or demoted (4.2.2).
 *
 * While it runs, proposals are refused: otherwise the target never holds the
 * whole log. It has a deadline of its own, so it cannot leave the cluster
 * without writes for longer than an election would. */
#include "raft/raft_internal.h"

/* The voter that answered lately and holds the most; 0 = there is none. */
static raft_id best_target(const struct raft *raft)
{
    const struct raft_conf *conf = raft_conf_active(raft);
    const struct raft_peer *best = NULL;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (conf->members[i].suffrage == RAFT_VOTER &&
            peer->id != raft->options.self && raft_peer_is_live(raft, peer) &&
            (!best || peer->match > best->match)) {
            best = peer;
        }
    }
    return best ? best->id : 0;
}

static void start(struct raft *raft, raft_id target, bool asked)
{
    raft->transfer_target = target;
    raft->transfer_asked = asked;
    raft->transfer_won = false;
    raft->transfer_sent = false;
    raft->transfer_deadline_ms = raft->now_ms + raft->options.election_min_ms;
}

enum err raft_transfer(struct raft *raft, raft_id target)
{
    if (raft->role != RAFT_LEADER) {
        return ERR_CLOSED;
    }
    if (raft->transfer_target != 0 || raft->leaving) {
        return ERR_BUSY;
    }
    if (target == 0) {
        target = best_target(raft);
    }
    if (target == 0 || target == raft->options.self ||
        !raft_conf_is_voter(raft_conf_active(raft), target)) {
        return ERR_NOT_FOUND;
    }
    start(raft, target, true);
    raft_transfer_try(raft);
    return ERR_OK;
}

/* The configuration without us is committed: our last duty is to spare the
 * others an election timeout. */
void raft_transfer_leave(struct raft *raft)
{
    if (raft->leaving) {
        return;
    }
    raft->leaving = true;
    if (raft->transfer_target == 0) {
        raft_id target = best_target(raft);
        if (target != 0) {
            start(raft, target, false);
        } else {
            raft->transfer_deadline_ms = raft->now_ms;
        }
    }
}

/* Once the target holds all we have, it may campaign without waiting. */
void raft_transfer_try(struct raft *raft)
{
    must(raft->role == RAFT_LEADER);
    if (raft->transfer_target == 0 || raft->transfer_sent) {
        return;
    }
    const struct raft_peer *target =
        raft_peer_find(raft, raft->transfer_target);
    must(target); /* The members do not change meanwhile. */
    if (target->match != raft->last) {
        return;
    }
    raft->transfer_sent = true;
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_TIMEOUT_NOW,
                  .to = target->id,
                  .log_index = raft->last,
                  .log_term = raft_term_at(raft, raft->last),
              },
              0);
    if (raft->leaving) {
        raft_become_follower(raft, raft->term, 0);
    }
}

void raft_transfer_tick(struct raft *raft)
{
    if (raft->now_ms < raft->transfer_deadline_ms) {
        return;
    }
    if (raft->leaving) {
        raft_become_follower(raft, raft->term, 0);
    } else if (raft->transfer_target != 0) {
        raft_transfer_end(raft, false);
    }
}

void raft_transfer_end(struct raft *raft, bool ok)
{
    if (raft->transfer_target != 0 && raft->transfer_asked) {
        raft->out_transfer_done = true;
        raft->out_transfer_ok = ok;
    }
    raft->transfer_target = 0;
    raft->transfer_asked = false;
    raft->transfer_won = false;
    raft->transfer_sent = false;
}

void raft_on_timeout_now(struct raft *raft, const struct raft_message *m)
{
    /* It must be the newest: entries of ours that the leader did not count
     * with would mean that it is not our leader any more. */
    if (m->term != raft->term || raft->role == RAFT_LEADER ||
        (raft->leader != 0 && raft->leader != m->from) ||
        raft->last != m->log_index ||
        raft_term_at(raft, raft->last) != m->log_term ||
        !raft_conf_is_voter(raft_conf_active(raft), raft->options.self)) {
        return;
    }
    raft_become_candidate(raft, true);
}
