/* progress.c -- what the leader knows of each peer (thesis 3.5, and 10.2.1 for
 * pipelining).
 *
 * A peer is in one of three states. PROBE: the leader does not know where the
 * peer's log meets its own, so one append is in flight at a time, until it is
 * answered or a heartbeat time has passed. REPLICATE: it knows, and sends ahead
 * of the answers up to a window. SNAPSHOT: the entries that the peer needs next
 * are no longer in the log. `next` moves on send, `match` on acks, and `match`
 * only upwards: a refusal never lowers `next` to `match` or below. A peer whose
 * log went back below an acked index (a restored backup) is therefore probed
 * for ever and never counted; the handshake is there to recognise it. */
#include "raft/raft_internal.h"

/* ---- the slots of the members ---- */

struct raft_peer *raft_peer_find(struct raft *raft, raft_id id)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id == id) {
            return &raft->peers[i];
        }
    }
    return NULL;
}

void raft_peer_reset(struct raft *raft, struct raft_peer *peer)
{
    raft_id id = peer->id;
    bool down = peer->down;
    memset(peer, 0, sizeof(*peer));
    peer->id = id;
    peer->down = down;
    peer->state = RAFT_PEER_PROBE;
    peer->next = raft->log.last + 1;
    peer->catch_up_target = raft->log.last;
    peer->catch_up_ms = raft->now_ms;
}

void raft_peers_sync(struct raft *raft)
{
    /* Both lists are sorted by id; move what stays, from the side on which
     * nothing is overwritten. First drop, then insert. */
    const struct raft_conf *conf = raft_conf_active(raft);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft_conf_find(conf, raft->peers[i].id)) {
            if (kept != i) {
                raft->peers[kept] = raft->peers[i];
            }
            kept++;
        }
    }
    for (uint32_t i = conf->count; i > 0; i--) {
        struct raft_peer *slot = &raft->peers[i - 1];
        raft_id id = conf->members[i - 1].id;
        if (kept > 0 && raft->peers[kept - 1].id == id) {
            kept--;
            if (kept != i - 1) {
                *slot = raft->peers[kept];
            }
        } else {
            memset(slot, 0, sizeof(*slot));
            slot->id = id;
            raft_peer_reset(raft, slot);
        }
    }
    must(kept == 0);
    raft->peer_count = conf->count;
}

bool raft_peer_is_live(const struct raft *raft, const struct raft_peer *peer)
{
    if (peer->id == raft->options.self) {
        return true;
    }
    return peer->answered &&
           raft->now_ms - peer->contact_ms < raft->options.election_min_ms;
}

uint64_t raft_peer_match(const struct raft_peer *peer)
{
    return peer->match;
}

uint64_t raft_quorum_of(const struct raft *raft, uint64_t own,
                        uint64_t (*value)(const struct raft_peer *peer))
{
    const struct raft_conf *conf = raft_conf_active(raft);
    uint64_t sorted[RAFT_MEMBERS_MAX]; /* Descending. */
    uint32_t count = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        if (conf->members[i].suffrage != RAFT_VOTER) {
            continue;
        }
        const struct raft_peer *peer = &raft->peers[i];
        must(peer->id == conf->members[i].id);
        uint64_t v = peer->id == raft->options.self ? own : value(peer);
        uint32_t place = count;
        while (place > 0 && sorted[place - 1] < v) {
            sorted[place] = sorted[place - 1];
            place--;
        }
        sorted[place] = v;
        count++;
    }
    must(count > 0);
    return sorted[count / 2];
}

/* ---- states ---- */

static void become_replicate(struct raft *raft, struct raft_peer *peer)
{
    peer->state = RAFT_PEER_REPLICATE;
    peer->next = peer->match + 1;
    peer->inflight_count = 0;
    peer->probe_sent = false;
    peer->answer_ms = raft->now_ms;
}

static void become_probe(struct raft *raft, struct raft_peer *peer,
                         uint64_t next)
{
    must(next > peer->match && next <= raft->log.last + 1);
    peer->state = RAFT_PEER_PROBE;
    peer->next = next;
    peer->inflight_count = 0;
    peer->probe_sent = false;
}

void raft_become_snapshot(struct raft_peer *peer)
{
    peer->state = RAFT_PEER_SNAPSHOT;
    peer->inflight_count = 0;
    peer->probe_sent = false;
    peer->snapshot_reported = false;
}

/* Where to start over with a peer. With no ack yet, 0 is not knowledge: ask
 * at the end and let the hints lead back. */
static uint64_t probe_from(const struct raft *raft,
                           const struct raft_peer *peer)
{
    return peer->match == 0 ? raft->log.last + 1 : peer->match + 1;
}

void raft_peer_down(struct raft *raft, struct raft_peer *peer)
{
    peer->down = true;
    if (raft->role == RAFT_LEADER) {
        become_probe(raft, peer, probe_from(raft, peer));
    }
}

void raft_peer_up(struct raft *raft, struct raft_peer *peer)
{
    peer->down = false;
    if (raft->role == RAFT_LEADER && peer->state == RAFT_PEER_PROBE) {
        peer->probe_sent = false;
    }
}

void raft_snapshot_over(struct raft *raft, struct raft_peer *peer,
                        uint64_t index, bool sent)
{
    if (peer->state != RAFT_PEER_SNAPSHOT) {
        return;
    }
    /* Not an ack: the probe that follows has to find it there. */
    uint64_t next = sent ? min_u64(index, raft->log.last) + 1 : 0;
    become_probe(raft, peer, max_u64(next, peer->match + 1));
    if (!sent) {
        /* Try again, but not at once. */
        peer->probe_sent = true;
        peer->probe_ms = raft->now_ms;
    }
}

/* ---- sending ---- */

bool raft_peer_has_room(const struct raft *raft, const struct raft_peer *peer)
{
    switch (peer->state) {
    case RAFT_PEER_PROBE:
        return !peer->probe_sent ||
               raft->now_ms - peer->probe_ms >= raft->options.heartbeat_ms;
    case RAFT_PEER_REPLICATE:
        return peer->inflight_count < raft->options.inflight_max;
    case RAFT_PEER_SNAPSHOT:
        return false;
    }
    must(false);
    return false;
}

void raft_peer_sent(struct raft *raft, struct raft_peer *peer, uint64_t hi)
{
    if (peer->state == RAFT_PEER_PROBE) {
        peer->probe_sent = true;
        peer->probe_ms = raft->now_ms;
        return;
    }
    if (peer->inflight_count == 0) {
        peer->answer_ms = raft->now_ms;
    }
    must(peer->state == RAFT_PEER_REPLICATE);
    must(peer->inflight_count < RAFT_INFLIGHT_MAX &&
         hi < peer->next + RAFT_APPEND_ENTRIES_MAX);
    uint32_t place = peer->inflight_head + peer->inflight_count;
    peer->inflight[place % RAFT_INFLIGHT_MAX] = hi;
    peer->inflight_count++;
    peer->next = hi + 1;
    peer->commit_sent = max_u64(peer->commit_sent, min_u64(raft->commit, hi));
}

/* All appends in flight may be lost while the link stays up; without a time-out
 * a full window would then never be answered. */
static uint64_t answer_timeout_ms(const struct raft *raft,
                                  const struct raft_peer *peer)
{
    uint64_t timeout =
        max_u64(4 * peer->rtt_ms, 2 * (uint64_t)raft->options.heartbeat_ms);
    return min_u64(timeout, max_u64(raft->options.election_min_ms,
                                    2 * (uint64_t)raft->options.heartbeat_ms));
}

void raft_peer_tick(struct raft *raft, struct raft_peer *peer)
{
    if (peer->state == RAFT_PEER_REPLICATE && peer->inflight_count > 0 &&
        raft->now_ms - peer->answer_ms >= answer_timeout_ms(raft, peer)) {
        become_probe(raft, peer, peer->match + 1);
    }
}

/* ---- answers ---- */

/* Contact is timed from when we sent what was answered (never from receipt),
 * and an echo from the future is no older than now. */
void raft_peer_contact(struct raft *raft, struct raft_peer *peer,
                       uint64_t sent_ms)
{
    uint64_t sent = min_u64(sent_ms, raft->now_ms);
    if (!peer->answered || sent > peer->contact_ms) {
        peer->contact_ms = sent;
    }
    uint64_t rtt = raft->now_ms - sent;
    peer->rtt_ms = peer->answered ? (7 * peer->rtt_ms + rtt) / 8 : rtt;
    peer->answered = true;
}

static void free_inflight(struct raft_peer *peer, uint64_t match)
{
    while (peer->inflight_count > 0 &&
           peer->inflight[peer->inflight_head] <= match) {
        peer->inflight_head = (peer->inflight_head + 1) % RAFT_INFLIGHT_MAX;
        peer->inflight_count--;
    }
}

bool raft_peer_acked(struct raft *raft, struct raft_peer *peer, uint64_t match)
{
    if (match < peer->match) {
        return false; /* Late; newer acks said more. */
    }
    peer->match = match;
    peer->next = max_u64(peer->next, match + 1);
    switch (peer->state) {
    case RAFT_PEER_PROBE:
        become_replicate(raft, peer);
        break;
    case RAFT_PEER_REPLICATE:
        free_inflight(peer, match);
        break;
    case RAFT_PEER_SNAPSHOT:
        /* It has a snapshot, of this leader or another: its log connects. */
        if (match >= raft->log.base) {
            become_replicate(raft, peer);
        }
        break;
    }
    return true;
}

void raft_peer_refused(struct raft *raft, struct raft_peer *peer,
                       const struct raft_message *m)
{
    uint64_t prev = m->match;
    if (prev <= peer->match) {
        return; /* Stale: it acked more than it refused then. */
    }
    switch (peer->state) {
    case RAFT_PEER_SNAPSHOT:
        return;
    case RAFT_PEER_REPLICATE:
        /* An append before this one was lost; go back to what is known. */
        become_probe(raft, peer, peer->match + 1);
        return;
    case RAFT_PEER_PROBE:
        break;
    }
    if (prev != peer->next - 1) {
        return; /* Not the answer to the probe that is out. */
    }
    /* The same skip on our side: our entries after this index have later
     * terms than its log has there. Each round trip disposes of one term at
     * least, on one side or the other. */
    uint64_t index = min_u64(m->log_index, prev - 1);
    if (index > raft->log.base) {
        index = raft_log_find(raft, index, m->log_term);
    }
    become_probe(raft, peer, max_u64(index, peer->match) + 1);
}
