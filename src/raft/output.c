/* output.c -- what leaves the engine: raft_collect().
 *
 * Everything that has gathered since the last collect becomes one persist
 * operation, and every message knows which operation must be durable before
 * it may leave. So the caller may send all it is handed at once, and cannot
 * get the order wrong. A message that waited is dropped when the term or the
 * role of its sender has changed meanwhile: for the others that is a lost
 * message. */
#include "raft/raft_internal.h"

/* ---- persist operations ---- */

bool raft_hard_is_durable(const struct raft *raft)
{
    return !raft->disk.hard_dirty &&
           raft->disk.hard_seq <= raft->disk.seq_persisted;
}

static void collect_persist(struct raft *raft, struct raft_persist *persist)
{
    *persist = (struct raft_persist){.lo = 1, .hi = 0};
    bool dirty = raft->disk.dirty_lo != 0;
    if ((!dirty && !raft->disk.hard_dirty) ||
        raft->disk.op_count == RAFT_OPS_MAX) {
        return;
    }
    uint64_t seq = ++raft->disk.seq_last;
    *persist = (struct raft_persist){
        .seq = seq,
        .hard = raft->disk.hard_dirty,
        .term = raft->term,
        .vote = raft->vote,
        .lo = raft->log.last + 1,
        .hi = raft->log.last,
    };
    if (dirty) {
        persist->lo = raft->disk.dirty_lo;
        if (raft->disk.dirty_lo <= raft->disk.handed) {
            persist->truncate_from = raft->disk.dirty_lo;
            must(persist->truncate_from > raft->commit ||
                 raft->role != RAFT_LEADER);
        }
        raft->disk.handed = raft->log.last;
    }
    if (raft->disk.hard_dirty) {
        raft->disk.hard_seq = seq;
        raft->disk.hard_dirty = false;
    }
    raft->disk.dirty_lo = 0;
    must(persist->lo > persist->hi || persist->lo > raft->log.base);
    must(persist->hi == raft->log.last);
    uint32_t place = (raft->disk.op_head + raft->disk.op_count) % RAFT_OPS_MAX;
    raft->disk.ops[place] = (struct raft_op){.seq = seq,
                                             .hi = raft->log.last,
                                             .ms = raft->now_ms,
                                             .term = raft->term,
                                             .vote = raft->vote};
    raft->disk.op_count++;
}

void raft_persisted(struct raft *raft, uint64_t seq)
{
    must(seq <= raft->disk.seq_last);
    while (raft->disk.op_count > 0 &&
           raft->disk.ops[raft->disk.op_head].seq <= seq) {
        const struct raft_op *op = &raft->disk.ops[raft->disk.op_head];
        raft->disk.durable = max_u64(raft->disk.durable, op->hi);
        raft->disk.seq_persisted = op->seq;
        raft->disk.durable_term = op->term;
        raft->disk.durable_vote = op->vote;
        raft->disk.op_head = (raft->disk.op_head + 1) % RAFT_OPS_MAX;
        raft->disk.op_count--;
    }
    must(raft->disk.durable <= raft->log.last);
    raft_maybe_commit(raft);
}

/* ---- gates ---- */

/* The operation that the next collect makes has the next number: what is
 * dirty now will be durable with it. */
static uint64_t hard_gate(const struct raft *raft)
{
    return raft->disk.hard_dirty ? raft->disk.seq_last + 1
                                 : raft->disk.hard_seq;
}

static uint64_t index_gate(const struct raft *raft, uint64_t index)
{
    if (index <= raft->disk.durable) {
        return 0;
    }
    if (raft->disk.dirty_lo != 0 && index >= raft->disk.dirty_lo) {
        return raft->disk.seq_last + 1;
    }
    const struct raft_op *op;
    uint32_t i = 0;
    do {
        must(i < raft->disk.op_count); /* Not durable, so it is in flight. */
        op = &raft->disk.ops[(raft->disk.op_head + i++) % RAFT_OPS_MAX];
    } while (op->hi < index);
    return op->seq;
}

void raft_send(struct raft *raft, struct raft_message message,
               uint64_t durable_index)
{
    must(message.to != 0 && message.to != raft->options.self);
    message.from = raft->options.self;
    message.term = raft->term;
    uint64_t gate = max_u64(hard_gate(raft), index_gate(raft, durable_index));
    if (gate <= raft->disk.seq_persisted) {
        if (raft->outbox.ready_count < RAFT_MESSAGES_MAX) {
            raft->outbox.ready[raft->outbox.ready_count++] = message;
        }
        return;
    }
    if (raft->outbox.gated_count == RAFT_GATED_MAX) {
        return; /* This looks like a loss in the network. */
    }
    /* First in, first out, so a gate is never lower than the one before. */
    uint32_t place = raft->outbox.gated_head + raft->outbox.gated_count;
    if (raft->outbox.gated_count > 0) {
        gate = max_u64(gate,
                       raft->outbox.gated[(place - 1) % RAFT_GATED_MAX].gate);
    }
    raft->outbox.gated[place % RAFT_GATED_MAX] =
        (struct raft_gated){.message = message, .gate = gate};
    raft->outbox.gated_count++;
}

/* True when the message still agrees with this node's term and role. */
static bool is_current(const struct raft *raft, const struct raft_message *m)
{
    if (m->term != raft->term) {
        return false;
    }
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
        return raft->role == RAFT_PRECANDIDATE;
    case RAFT_MSG_VOTE:
        return raft->role == RAFT_CANDIDATE;
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_APPEND:
    case RAFT_MSG_READ_RESP:
        return raft->role == RAFT_LEADER;
    case RAFT_MSG_APPEND_RESP:
        /* A snapshot may have replaced what it spoke of. */
        return raft->role != RAFT_LEADER &&
               (!m->granted || m->match <= raft->verified);
    case RAFT_MSG_READ:
        return raft->role != RAFT_LEADER;
    case RAFT_MSG_PREVOTE_RESP:
    case RAFT_MSG_VOTE_RESP:
    case RAFT_MSG_HEARTBEAT_RESP:
    case RAFT_MSG_TIMEOUT_NOW: /* A leader that leaves steps down with it. */
        return true;
    }
    must(false);
    return false;
}

static void hand_out(struct raft *raft, const struct raft_message *m,
                     struct raft_update *update)
{
    if (is_current(raft, m)) {
        raft_check_message(raft, m);
        update->messages[update->message_count++] = *m;
    }
}

static void collect_messages(struct raft *raft, struct raft_update *update)
{
    update->message_count = 0;
    while (raft->outbox.gated_count > 0 &&
           update->message_count < RAFT_MESSAGES_MAX) {
        const struct raft_gated *oldest =
            &raft->outbox.gated[raft->outbox.gated_head];
        if (oldest->gate > raft->disk.seq_persisted) {
            break;
        }
        hand_out(raft, &oldest->message, update);
        raft->outbox.gated_head =
            (raft->outbox.gated_head + 1) % RAFT_GATED_MAX;
        raft->outbox.gated_count--;
    }
    for (uint32_t i = 0; i < raft->outbox.ready_count &&
                         update->message_count < RAFT_MESSAGES_MAX;
         i++) {
        hand_out(raft, &raft->outbox.ready[i], update);
    }
    raft->outbox.ready_count = 0;
}

static void collect_ack(struct raft *raft)
{
    if (!raft->outbox.ack_due) {
        return;
    }
    raft->outbox.ack_due = false;
    if (raft->outbox.ack_term != raft->term ||
        raft->outbox.ack_to != raft->leader) {
        return;
    }
    raft_send(raft,
              (struct raft_message){
                  .type = RAFT_MSG_APPEND_RESP,
                  .to = raft->outbox.ack_to,
                  .match = raft->outbox.ack_match,
                  .sent_ms = raft->outbox.ack_sent_ms,
                  .granted = true,
              },
              raft->outbox.ack_match);
}

/* ---- the rest ---- */

/* Only what our own disk holds is applied: the state machine must never be
 * ahead of the log beneath it. */
static void collect_apply(struct raft *raft, struct raft_update *update)
{
    update->apply_lo = raft->apply_given + 1;
    update->apply_hi =
        max_u64(raft->apply_given, min_u64(raft->commit, raft->disk.durable));
    raft->apply_given = update->apply_hi;
}

static void collect_flags(struct raft *raft, struct raft_update *update)
{
    update->read_cookie = raft->out.read_cookie;
    update->read_index = raft->out.read_index;
    update->read_failed = raft->out.read_failed;
    update->role_changed = raft->out.role_changed;
    update->conf_changed = raft->out.conf_changed;
    update->transfer_done = raft->out.transfer_done;
    update->transfer_ok = raft->out.transfer_ok;
    raft->out.read_cookie = 0;
    raft->out.read_index = 0;
    raft->out.read_failed = 0;
    raft->out.role_changed = false;
    raft->out.conf_changed = false;
    raft->out.transfer_done = false;
    raft->out.transfer_ok = false;
}

void raft_collect(struct raft *raft, struct raft_update *update)
{
    update->offer_count = 0;
    update->snapshot_peer = 0;
    collect_persist(raft, &update->persist);
    collect_ack(raft);
    raft_reads_collect(raft);
    raft_offer_appends(raft, update);
    collect_messages(raft, update);
    collect_apply(raft, update);
    collect_flags(raft, update);
    raft_check(raft);
}
