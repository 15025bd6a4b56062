/* turn.c -- one turn of the event loop: decisions of the engine become effects.
 *
 * A turn runs the table of phases below, in its order. The work of a phase is
 * bounded; a phase that has more to do returns true, and the next turn follows
 * at once. Each row names the conditions without which its phase must not run.
 * A phase is implemented in the file named after its subject.
 *
 * Where the log's files allow it (wal.h), the fdatasync runs asynchronously,
 * and so do the syncs of a checkpoint (store.h), during which nothing is
 * flushed. A stalled disk stalls its node's writes, never the event loop. */
#include "base/log.h"
#include "node/node_internal.h"
#include "node/open_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/snapshot_internal.h"
#include "node/space_internal.h"

enum { COLLECTS_PER_TURN = 8 };

/* Conditions of a phase. */
enum {
    /* No disk operation has been outstanding for long: another one could block
     * the event loop behind it (disk.c). */
    DISK_IDLE = 1 << 0,
    /* A sync of a checkpoint is outstanding. */
    DATABASE_SYNCING = 1 << 1,
    NOT_CHECKPOINTING = 1 << 2,
    /* Everything that the engine wants durable is durable. */
    ALL_PERSISTED = 1 << 3,
    /* No earlier phase of this turn has more to do. */
    IF_NOTHING_MORE_URGENT = 1 << 4,
};

/* Each phase has one of the two functions. */
struct phase {
    unsigned needs;
    void (*run)(struct node *node);
    bool (*run_some)(struct node *node); /* True when there is more to do. */
};

/* Collect updates of the engine: send the messages, persist, handle the rest;
 * again while something has become durable. True when there may be more. */
static bool carry_out_updates(struct node *node)
{
    for (int i = 0; i < COLLECTS_PER_TURN; i++) {
        raft_collect(node->raft, &node->update);
        send_update(node);
        bool persisted = persist_update(node);
        node_handle_update(node);
        if (!persisted) {
            return false;
        }
    }
    return true;
}

static void run_timers(struct node *node)
{
    if (node->now_ms > node->turn_ms + node->options.election_min_ms &&
        node->now_ms >
            raft_deadline_ms(node->raft) + node->options.election_min_ms) {
        log_warn("gap", "ms=%llu why=\"the process did not run\"",
                 (unsigned long long)(node->now_ms - node->turn_ms));
        node_notify_engine(node, (struct raft_event){.type = RAFT_GAP});
    }
    node->turn_ms = node->now_ms;
    if (node->now_ms >= raft_deadline_ms(node->raft)) {
        node_notify_engine(node, (struct raft_event){.type = RAFT_TICK});
    }
}

/* True when the next turn has to take the next step. */
static bool checkpoint_goes_on(struct node *node)
{
    return node->checkpoint.running;
}

static void trim_entries(struct node *node)
{
    entries_trim(&node->entries, node->persist.durable);
}

static const struct phase phases[] = {
    {.run = run_timers},
    {.run = time_run},
    {.run = reads_probe_readiness},
    {.run = duties_run},
    {.run = requests_submit},
    {.run = reads_ask},
    /* Before updates, so that a sync that has completed makes the disk idle. */
    {.run = checkpoint_step, .needs = DATABASE_SYNCING},
    {.run_some = carry_out_updates},
    {.run = removed_check},
    {.run = vitals_report},
    {.run = quarantine_check},
    {.run = checkpoint_step, .needs = DISK_IDLE},
    {.run = checkpoint_answer_requests, .needs = DISK_IDLE | NOT_CHECKPOINTING},
    {.run = snapshot_send},
    {.run = space_check},
    {.run = snapshot_install,
     .needs = DISK_IDLE | ALL_PERSISTED | IF_NOTHING_MORE_URGENT},
    {.run_some = apply_committed},
    {.run_some = flush_freeze},
    {.run_some = checkpoint_goes_on, .needs = DISK_IDLE},
    {.run_some = compact_log, .needs = DISK_IDLE | IF_NOTHING_MORE_URGENT},
    {.run_some = flush_step, .needs = DISK_IDLE | NOT_CHECKPOINTING},
    {.run = reads_release},
    {.run = trim_entries},
    /* The log's next segment is needed soonest when there is most to do. */
    {.run_some = space_prepare_log, .needs = DISK_IDLE},
    {.run_some = space_prepare, .needs = DISK_IDLE | IF_NOTHING_MORE_URGENT},
    {.run = flush_sweep_replaced, .needs = DISK_IDLE | NOT_CHECKPOINTING},
    {.run = catch_up_check},
    {.run = disk_report_stall},
};

static bool is_met(const struct node *node, unsigned needs, bool more)
{
    return !((needs & IF_NOTHING_MORE_URGENT) && more) &&
           !((needs & NOT_CHECKPOINTING) && node->checkpoint.running) &&
           !((needs & DISK_IDLE) && disk_is_busy(node)) &&
           !((needs & DATABASE_SYNCING) && !store_is_syncing(node->store)) &&
           !((needs & ALL_PERSISTED) && !node_is_persisted(node));
}

/* True when a phase has more to do. */
static bool run_phases(struct node *node)
{
    bool more = false;
    for (size_t i = 0; i < ARRAY_COUNT(phases); i++) {
        const struct phase *phase = &phases[i];
        must(!phase->run != !phase->run_some);
        if (phase->needs != 0 && !is_met(node, phase->needs, more)) {
            continue;
        }
        if (phase->run_some) {
            more = phase->run_some(node) || more;
        } else {
            phase->run(node);
        }
    }
    return more;
}

static uint64_t next_deadline(const struct node *node, bool more)
{
    /* Phases that need an idle disk run once its operation completes. */
    bool busy = node->member && disk_is_busy(node);
    bool wanted = node->checkpoint.wanted && !busy &&
                  !node->space.shortage[SPACE_ENTRY] &&
                  !node->space.shortage[SPACE_FLUSH] &&
                  node->now_ms >= node->space.retry_ms[SPACE_CHECKPOINT];
    if (more || wanted || feed_is_pending(node->feed) ||
        !list_empty(&node->requests.by_state[STATE_DONE]) ||
        (node->member && (wal_has_completion(node->wal) ||
                          store_has_completion(node->store)))) {
        return 0;
    }
    uint64_t at = node->member ? raft_deadline_ms(node->raft) : UINT64_MAX;
    if (node->bootstrap_at_ms > 0) {
        at = min_u64(at, node->bootstrap_at_ms);
    }
    if (requests_are_waiting(node)) {
        at = min_u64(at, node->requests.expire_ms);
    }
    if (node->reads.retry_ms > 0) {
        at = min_u64(at, node->reads.retry_ms);
    }
    at = min_u64(at, snapshot_deadline_ms(node));
    uint64_t pending_ms =
        node->member ? disk_pending_since_ms(node) : UINT64_MAX;
    if (pending_ms != UINT64_MAX && !node->stall.reported) {
        at = min_u64(at, pending_ms + node->options.election_min_ms);
    }
    if (busy) {
        return at;
    }
    if (node->member) {
        at = min_u64(at, space_deadline_ms(node));
        at = min_u64(at, restore_deadline_ms(node));
        at = min_u64(at, expiry_deadline_ms(node));
        at = min_u64(at, flush_deadline_ms(node));
    }
    if (node->flush.sweep_ms > 0 && !node->space.shortage[SPACE_ENTRY] &&
        !node->space.shortage[SPACE_FLUSH]) {
        at = min_u64(at, node->flush.sweep_ms);
    }
    return at;
}

/* Invariants that hold after every turn of a member. */
static void check_invariants(const struct node *node)
{
    const struct outgoing *out = &node->snapshot.outgoing;
    uint64_t applied = store_applied(node->store);
    must(store_durable(node->store) <= applied);
    must(applied <= node->apply.to);
    must(node->apply.to <= node->persist.durable);
    must(node->apply.to <= raft_commit(node->raft));
    must(node->persist.durable <= raft_durable(node->raft));
    must(node->entries.last == raft_last(node->raft));
    must(!node->checkpoint.running || !store_is_flushing(node->store));
    must((out->peer == 0) == (out->image == NULL));
    must(node->requests.pending_count > 0 || node->requests.pending_bytes == 0);
    must(!node->transfer.request || node->transfer.asked);
    must(node->reads.asked_cookie <= node->reads.cookie);
}

uint64_t node_turn(struct node *node)
{
    node->now_ms = node->env.now_ms(node->env.self);
    node_bootstrap_when_due(node);
    bool more = node->member && run_phases(node);
    requests_expire(node);
    requests_call_back(node);
    apply_notify_watchers(node);
    if (node->member) {
        check_invariants(node);
    }
    return next_deadline(node, more);
}
