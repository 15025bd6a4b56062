/* read.c -- linearizable reads without writing to the log (thesis 6.4).
 *
 * A leader that has committed in its own term notes its commit index, asks
 * everyone "do you still follow me?" with a heartbeat round, and when a
 * majority has answered that round or a later one, the index is valid for
 * every read that had arrived when the round began. Rounds are counted here
 * and never repeated in a term, so a late or doubled answer to an old round
 * cannot confirm a new one. At most one round runs; what arrives meanwhile
 * shares the next.
 *
 * A follower asks the leader for the index, one request at a time. Its
 * request ids start at a random number: an answer to a request from before a
 * restart must not pass for a new one. */
#include "raft/raft_internal.h"

static bool reads_wait(const struct raft *raft)
{
    return raft->reads.asked > raft->reads.done;
}

static void serve(struct raft *raft, uint64_t cookie, uint64_t index)
{
    must(cookie <= raft->reads.asked);
    if (cookie > raft->reads.done) {
        raft->reads.done = cookie;
        raft->out.read_cookie = cookie;
        raft->out.read_index = index;
    }
}

void raft_reads_fail(struct raft *raft)
{
    raft->reads.open = false;
    if (reads_wait(raft)) {
        raft->reads.done = raft->reads.asked;
        raft->out.read_failed = raft->reads.asked;
    }
}

/* ---- the leader --------------------------------------------------------- */

static uint64_t peer_acked_round(const struct raft_peer *peer)
{
    return peer->acked_round;
}

void raft_reads_confirm(struct raft *raft)
{
    must(raft->role == RAFT_LEADER);
    if (!raft->reads.open) {
        return;
    }
    must(raft_is_ready(raft));
    if (raft_quorum_of(raft, raft->round, peer_acked_round) <
        raft->reads.round) {
        return;
    }
    raft->reads.open = false;
    serve(raft, raft->reads.cookie, raft->reads.index);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->read_in_round == 0) {
            continue;
        }
        raft_send(raft,
                  (struct raft_message){
                      .type = RAFT_MSG_READ_RESP,
                      .to = peer->id,
                      .round = peer->read_in_round,
                      .commit = raft->reads.index,
                  },
                  0);
        peer->read_in_round = 0;
    }
}

static void open_round(struct raft *raft)
{
    bool wanted = reads_wait(raft);
    must(!raft->reads.open && raft_is_ready(raft)); /* L12 */
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        peer->read_in_round = peer->read_waiting;
        peer->read_waiting = 0;
        wanted = wanted || peer->read_in_round != 0;
    }
    if (!wanted) {
        return;
    }
    raft->reads.open = true;
    raft->reads.cookie = raft->reads.asked;
    raft->reads.index = raft->commit;
    raft->reads.round = raft->round + 1;
    if (raft_is_sole_voter(raft)) {
        raft->round++; /* There is no other voter to ask. */
    } else {
        raft_broadcast_heartbeat(raft);
    }
    must(raft->round == raft->reads.round);
    raft_reads_confirm(raft);
}

void raft_on_read(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_LEADER || m->term != raft->term || !peer) {
        return; /* It asks again, or learns of the new leader. */
    }
    /* A repeated request that is being answered needs no second round. */
    if (raft->reads.open && peer->read_in_round == m->round) {
        return;
    }
    peer->read_waiting = m->round;
}

/* ---- the follower ---- */

static void ask_leader(struct raft *raft)
{
    if (!raft->reads.open) {
        raft->reads.open = true;
        raft->reads.cookie = raft->reads.asked;
        raft->reads.request++;
    } else if (raft->now_ms < raft->reads.resend_ms) {
        return;
    }
    raft->reads.resend_ms = raft->now_ms + raft->options.heartbeat_ms;
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_READ,
                  .to = raft->leader,
                  .round = raft->reads.request,
              },
              0);
}

void raft_on_read_resp(struct raft *raft, const struct raft_message *m)
{
    if (raft->role != RAFT_FOLLOWER || m->term != raft->term ||
        m->from != raft->leader || !raft->reads.open ||
        m->round != raft->reads.request) {
        return;
    }
    raft->reads.open = false;
    serve(raft, raft->reads.cookie, m->commit);
}

/* ---- both ---- */

/* Once per collect, so that all reads of a turn share a round. */
void raft_reads_collect(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        if (!raft->reads.open && raft_is_ready(raft)) {
            open_round(raft);
        }
        return;
    }
    if (!reads_wait(raft)) {
        return;
    }
    if (raft->leader == 0) {
        raft_reads_fail(raft);
    } else {
        ask_leader(raft);
    }
}
