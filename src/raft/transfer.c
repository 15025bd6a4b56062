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
    must(raft->transfer.target == 0 && target != raft->options.self);
    must(raft_conf_is_voter(raft_conf_active(raft), target));
    raft->transfer.target = target;
    raft->transfer.asked = asked;
    raft->transfer.won = false;
    raft->transfer.sent = false;
    raft->transfer.deadline_ms = raft->now_ms + raft->options.election_min_ms;
}

enum err raft_transfer(struct raft *raft, raft_id target)
{
    if (raft->role != RAFT_LEADER) {
        return ERR_CLOSED;
    }
    if (raft->transfer.target != 0 || raft->leaving) {
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

/* The configuration without this leader is committed. It transfers leadership,
 * which spares the others an election time-out. */
void raft_transfer_leave(struct raft *raft)
{
    if (raft->leaving) {
        return;
    }
    raft->leaving = true;
    if (raft->transfer.target == 0) {
        raft_id target = best_target(raft);
        if (target != 0) {
            start(raft, target, false);
        } else {
            raft->transfer.deadline_ms = raft->now_ms;
        }
    }
}

/* Once the target holds all we have, it may campaign without waiting. */
void raft_transfer_try(struct raft *raft)
{
    must(raft->role == RAFT_LEADER);
    if (raft->transfer.target == 0 || raft->transfer.sent) {
        return;
    }
    const struct raft_peer *target =
        raft_peer_find(raft, raft->transfer.target);
    must(target); /* The members do not change meanwhile. */
    /* A leader that was removed does not learn of the next leader, so it first
     * commits the entries that it has accepted. (4.2.2: it keeps replicating,
     * and does not count itself.) */
    if (target->match != raft->log.last ||
        (raft->leaving && raft->commit != raft->log.last)) {
        return;
    }
    raft->transfer.sent = true;
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_TIMEOUT_NOW,
                  .to = target->id,
                  .log_index = raft->log.last,
                  .log_term = raft_term_at(raft, raft->log.last),
              },
              0);
    if (raft->leaving) {
        raft_become_follower(raft, raft->term, 0);
    }
}

void raft_transfer_tick(struct raft *raft)
{
    if (raft->now_ms < raft->transfer.deadline_ms) {
        return;
    }
    if (raft->leaving) {
        raft_become_follower(raft, raft->term, 0);
    } else if (raft->transfer.target != 0) {
        raft_transfer_end(raft, false);
    }
}

void raft_transfer_end(struct raft *raft, bool ok)
{
    if (raft->transfer.target != 0 && raft->transfer.asked) {
        raft->out.transfer_done = true;
        raft->out.transfer_ok = ok;
    }
    raft->transfer.target = 0;
    raft->transfer.asked = false;
    raft->transfer.won = false;
    raft->transfer.sent = false;
}

void raft_on_timeout_now(struct raft *raft, const struct raft_message *m)
{
    /* It must be the newest: entries of ours that the leader did not count
     * with would mean that it is not our leader any more. */
    if (m->term != raft->term || raft->role == RAFT_LEADER ||
        (raft->leader != 0 && raft->leader != m->from) ||
        raft->log.last != m->log_index ||
        raft_term_at(raft, raft->log.last) != m->log_term ||
        !raft_conf_is_voter(raft_conf_active(raft), raft->options.self)) {
        return;
    }
    raft_become_candidate(raft, true);
}
