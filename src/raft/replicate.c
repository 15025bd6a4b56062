/* replicate.c -- the leader's picture of every peer, appends on both sides,
 * and commit (thesis 3.5, 3.6).
 *
 * A peer is in one of three states. PROBE: we do not know where its log meets
 * ours, so one append is on its way at a time, until it is answered or a
 * heartbeat time has passed. REPLICATE: we know, and send ahead of the
 * answers up to a window. SNAPSHOT: what it needs next is no longer in the
 * log. `next` moves on send, `match` on acks, and `match` only upwards: a
 * refusal never lowers `next` to `match` or below. A peer whose log went
 * backwards below an acked index (a restored backup) is therefore probed for
 * ever and never counted; telling so is the handshake's task. */
#include "raft/raft_internal.h"

/* ---- peers -----------------------------------------------------------------
 */

struct raft_peer *raft_peer_find(struct raft *raft, raft_id id)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id == id) {
            return &raft->peers[i];
        }
    }
    return NULL;
}

static void become_replicate(struct raft *raft, struct raft_peer *peer)
{
    peer->state = RAFT_PEER_REPLICATE;
    peer->next = peer->match + 1;
    peer->inflight_count = 0;
    peer->probe_sent = false;
    peer->answer_ms = raft->now_ms;
}

void raft_become_probe(struct raft *raft, struct raft_peer *peer, uint64_t next)
{
    must(next > peer->match && next <= raft->last + 1);
    peer->state = RAFT_PEER_PROBE;
    peer->next = next;
    peer->inflight_count = 0;
    peer->probe_sent = false;
}

static void become_snapshot(struct raft_peer *peer)
{
    peer->state = RAFT_PEER_SNAPSHOT;
    peer->inflight_count = 0;
    peer->probe_sent = false;
    peer->snapshot_told = false;
}

/* Where to start over with a peer. With no ack yet, 0 is not knowledge: ask
 * at the end and let the hints lead back. */
static uint64_t probe_from(const struct raft *raft,
                           const struct raft_peer *peer)
{
    return peer->match == 0 ? raft->last + 1 : peer->match + 1;
}

void raft_peer_reset(struct raft *raft, struct raft_peer *peer)
{
    raft_id id = peer->id;
    bool down = peer->down;
    memset(peer, 0, sizeof(*peer));
    peer->id = id;
    peer->down = down;
    peer->state = RAFT_PEER_PROBE;
    peer->next = raft->last + 1;
    peer->catch_up_target = raft->last;
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
    return peer->heard &&
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

/* ---- hints and timers --------------------------------------------------- */

void raft_peer_down(struct raft *raft, struct raft_peer *peer)
{
    peer->down = true;
    if (raft->role == RAFT_LEADER) {
        raft_become_probe(raft, peer, probe_from(raft, peer));
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
    uint64_t next = sent ? min_u64(index, raft->last) + 1 : 0;
    raft_become_probe(raft, peer, max_u64(next, peer->match + 1));
    if (!sent) {
        /* Try again, but not at once. */
        peer->probe_sent = true;
        peer->probe_ms = raft->now_ms;
    }
}

/* Everything on its way may be lost while the link stands: a full window
 * that nobody answers would wait for ever. */
static uint64_t answer_timeout_ms(const struct raft *raft,
                                  const struct raft_peer *peer)
{
    uint64_t timeout =
        max_u64(4 * peer->rtt_ms, 2 * (uint64_t)raft->options.heartbeat_ms);
    return min_u64(timeout, max_u64(raft->options.election_min_ms,
                                    2 * (uint64_t)raft->options.heartbeat_ms));
}

void raft_tick_peers(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->state == RAFT_PEER_REPLICATE && peer->inflight_count > 0 &&
            raft->now_ms - peer->answer_ms >= answer_timeout_ms(raft, peer)) {
            raft_become_probe(raft, peer, peer->match + 1);
        }
    }
    if (raft->now_ms >= raft->heartbeat_due_ms) {
        raft_broadcast_heartbeat(raft);
    }
}

static void send_heartbeat(struct raft *raft, struct raft_peer *peer)
{
    /* Capped by what it holds for certain: a heartbeat proves nothing about
     * its log. */
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

/* ---- sending ---------------------------------------------------------------
 */

static bool window_has_room(const struct raft *raft,
                            const struct raft_peer *peer)
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

static void offer(struct raft *raft, struct raft_peer *peer,
                  struct raft_update *update)
{
    bool anything = peer->next <= raft->last || peer->state == RAFT_PEER_PROBE;
    if (!anything || !window_has_room(raft, peer)) {
        return;
    }
    update->offers[update->offer_count++] = (struct raft_append_offer){
        .peer = peer->id, .next = peer->next, .last = raft->last};
}

/* The follower learns the commit index with the next append. When there is
 * none to come, a heartbeat brings it, so that it applies soon. */
static void tell_commit(struct raft *raft, struct raft_peer *peer)
{
    peer->notice_due = peer->next > raft->last && !peer->down &&
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
        if (peer->next <= raft->base && peer->state != RAFT_PEER_SNAPSHOT &&
            !peer->down && window_has_room(raft, peer)) {
            become_snapshot(peer);
        }
        if (peer->state == RAFT_PEER_SNAPSHOT) {
            if (!peer->snapshot_told && update->snapshot_peer == 0) {
                update->snapshot_peer = peer->id;
                peer->snapshot_told = true;
            }
            continue;
        }
        if (!peer->down && peer->next > raft->base) {
            offer(raft, peer, update);
        }
        tell_commit(raft, peer);
    }
}

bool raft_make_append(struct raft *raft, raft_id id, uint64_t lo, uint64_t hi,
                      uint64_t now_ms, struct raft_message *message)
{
    struct raft_peer *peer = raft_peer_find(raft, id);
    if (raft->role != RAFT_LEADER || !peer || !window_has_room(raft, peer)) {
        return false;
    }
    must(id != raft->options.self);
    must(lo == peer->next && lo > raft->base);
    must(hi + 1 >= lo && hi <= raft->last);
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

    if (peer->state == RAFT_PEER_PROBE) {
        peer->probe_sent = true;
        peer->probe_ms = raft->now_ms;
        return true;
    }
    if (peer->inflight_count == 0) {
        peer->answer_ms = raft->now_ms;
    }
    uint32_t place = peer->inflight_head + peer->inflight_count;
    peer->inflight[place % RAFT_INFLIGHT_MAX] = hi;
    peer->inflight_count++;
    peer->next = hi + 1;
    peer->commit_sent = max_u64(peer->commit_sent, min_u64(raft->commit, hi));
    return true;
}

/* ---- commit ----------------------------------------------------------------
 */

/* The one place where a leader advances the commit index; called after our
 * own disk, an ack, or a configuration moved. Only an entry of the current
 * term is committed by counting: figure 8 shows how counting replicas of an
 * older one loses it (thesis 3.6.2). Our own vote is what our disk holds. */
void raft_maybe_commit(struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return;
    }
    uint64_t index = raft_quorum_of(raft, raft->durable, raft_peer_match);
    if (index <= raft->commit || raft_term_at(raft, index) != raft->term) {
        return;
    }
    raft->commit = index;
    if (raft_log_conf_index(raft) <= raft->commit &&
        !raft_conf_is_voter(raft_conf_active(raft), raft->options.self)) {
        raft_transfer_leave(raft);
    }
}

/* ---- append: the follower
 * ---------------------------------------------------- */

static void refuse_append(struct raft *raft, const struct raft_message *m)
{
    uint64_t hint = raft->base;
    if (m->term == raft->term) {
        /* Skip whole terms: an entry of ours after this one has a later term
         * than the leader has at prev, so it is not in the leader's log. */
        hint = raft_log_find(raft, m->log_index, m->log_term);
    }
    hint = min_u64(hint, m->log_index);
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_APPEND_RESP,
                  .to = m->from,
                  .match = m->log_index,
                  .log_index = hint,
                  .log_term = hint >= raft->base ? raft_term_at(raft, hint) : 0,
                  .sent_ms = m->sent_ms,
              },
              0);
}

/* What is committed (or older than the log) matches; message.c has compared
 * what there is to compare. */
static bool prev_matches(const struct raft *raft, const struct raft_message *m)
{
    if (m->log_index <= raft->commit) {
        return true;
    }
    return m->log_index <= raft->last &&
           raft_term_at(raft, m->log_index) == m->log_term;
}

void raft_on_append(struct raft *raft, const struct raft_message *m)
{
    if (m->term < raft->term) {
        refuse_append(raft, m);
        return;
    }
    raft_heard_leader(raft, m->from);
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
        if (index <= raft->last) {
            if (raft_term_at(raft, index) == entry->term) {
                continue;
            }
            /* Only a conflict truncates. A late duplicate of a short append
             * says nothing against what came after (thesis 3.5). */
            raft_log_truncate(raft, index);
        }
        raft_log_append(raft, entry->term, entry->type, entry->conf);
    }

    /* Beyond `verified` our log may be another leader's. */
    uint64_t match = m->log_index + m->entry_count;
    raft->verified = max_u64(raft->verified, match);
    raft->commit = max_u64(raft->commit, min_u64(m->commit, raft->verified));

    /* One ack for all appends of this turn. */
    if (!raft->ack_due) {
        raft->ack_due = true;
        raft->ack_to = m->from;
        raft->ack_term = raft->term;
        raft->ack_match = 0;
        raft->ack_sent_ms = 0;
    }
    raft->ack_match = max_u64(raft->ack_match, match);
    raft->ack_sent_ms = max_u64(raft->ack_sent_ms, m->sent_ms);
}

/* ---- append: the answer ---------------------------------------------------
 */

/* Contact is timed from when we sent what was answered (never from receipt),
 * and an echo from the future is no older than now. */
static void note_contact(struct raft *raft, struct raft_peer *peer,
                         uint64_t sent_ms)
{
    uint64_t sent = min_u64(sent_ms, raft->now_ms);
    if (!peer->heard || sent > peer->contact_ms) {
        peer->contact_ms = sent;
    }
    uint64_t rtt = raft->now_ms - sent;
    peer->rtt_ms = peer->heard ? (7 * peer->rtt_ms + rtt) / 8 : rtt;
    peer->heard = true;
}

static void free_inflight(struct raft_peer *peer, uint64_t match)
{
    while (peer->inflight_count > 0 &&
           peer->inflight[peer->inflight_head] <= match) {
        peer->inflight_head = (peer->inflight_head + 1) % RAFT_INFLIGHT_MAX;
        peer->inflight_count--;
    }
}

static void on_ack(struct raft *raft, struct raft_peer *peer, uint64_t match)
{
    if (match < peer->match) {
        return; /* Late; newer acks said more. */
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
        /* Whatever it installed, ours or another's: it connects again. */
        if (match >= raft->base) {
            become_replicate(raft, peer);
        }
        break;
    }
    raft_catch_up(raft, peer);
    raft_maybe_commit(raft);
    raft_promote_learner(raft);
    raft_transfer_try(raft);
}

static void on_refusal(struct raft *raft, struct raft_peer *peer,
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
        raft_become_probe(raft, peer, peer->match + 1);
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
    if (index > raft->base) {
        index = raft_log_find(raft, index, m->log_term);
    }
    raft_become_probe(raft, peer, max_u64(index, peer->match) + 1);
}

void raft_on_append_resp(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_LEADER || m->term != raft->term || !peer) {
        return;
    }
    note_contact(raft, peer, m->sent_ms);
    peer->answer_ms = raft->now_ms;
    if (m->granted) {
        on_ack(raft, peer, m->match);
    } else {
        on_refusal(raft, peer, m);
    }
}

/* ---- heartbeat --------------------------------------------------------------
 */

void raft_on_heartbeat(struct raft *raft, const struct raft_message *m)
{
    if (m->term == raft->term) {
        raft_heard_leader(raft, m->from);
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

/* Proves that the peer follows us since the round began; says nothing about
 * its log. */
void raft_on_heartbeat_resp(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_peer_find(raft, m->from);
    if (raft->role != RAFT_LEADER || m->term != raft->term || !peer) {
        return;
    }
    note_contact(raft, peer, m->sent_ms);
    peer->acked_round = max_u64(peer->acked_round, m->round);
    if (peer->state == RAFT_PEER_PROBE && m->sent_ms > peer->probe_ms) {
        peer->probe_sent = false; /* It is there; the probe got lost. */
    }
    raft_promote_learner(raft);
    raft_reads_confirm(raft);
}
