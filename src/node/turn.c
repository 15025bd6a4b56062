/* turn.c -- one turn of the event loop: decisions of the engine become effects.
 *
 *     1 timers that are due, duties of a leader, requests that waited, reads
 *     2 as long as something becomes durable: collect an update; send its
 *       messages (send.c), persist (persist.c), handle the rest (update.c)
 *     3 notices to removed nodes; a step of a checkpoint (checkpoint.c);
 *       snapshots sent and installed
 *     4 apply what is committed and durable here (apply.c); drop old log;
 *       commit SQLite's transaction when that is due
 *     5 release reads; prepare space for a full disk (space.c)
 *     6 expire requests; call back those that are done
 *
 * Where the log's files can (wal.h), the fdatasync runs asynchronously, and so
 * do the syncs of a checkpoint (store.h), during which nothing is applied. A
 * stalled disk stalls its node's writes, never the event loop. */
#include "base/log.h"
#include "node/node_internal.h"

enum { COLLECTS_PER_TURN = 8 };

/* True when there may be more to do than one turn should. */
static bool carry_out(struct node *node)
{
    for (int i = 0; i < COLLECTS_PER_TURN; i++) {
        raft_collect(node->raft, &node->update);
        send_update(node);
        bool persisted = persist_update(node);
        handle_update(node);
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

static uint64_t next_deadline(const struct node *node, bool more)
{
    /* What waits for the disk goes on when that is back. */
    bool busy = node->member && disk_is_busy(node);
    bool wanted = node->checkpoint_wanted && !busy && !node->db_full &&
                  node->now_ms >= node->checkpoint_retry_ms;
    if (more || wanted || !list_empty(&node->requests[STATE_DONE]) ||
        (node->env.fs->has_ended &&
         node->env.fs->has_ended(node->env.fs->self))) {
        return 0;
    }
    uint64_t at = node->member ? raft_deadline_ms(node->raft) : UINT64_MAX;
    if (node->bootstrap_at_ms > 0) {
        at = min_u64(at, node->bootstrap_at_ms);
    }
    if (requests_any(node)) {
        at = min_u64(at, node->sweep_ms);
    }
    if (node->ask_again_ms > 0) {
        at = min_u64(at, node->ask_again_ms);
    }
    at = min_u64(at, snapshot_deadline_ms(node));
    uint64_t owed_ms = node->member ? disk_pending_since_ms(node) : UINT64_MAX;
    if (owed_ms != UINT64_MAX && !node->disk_stuck) {
        at = min_u64(at, owed_ms + node->options.election_min_ms);
    }
    if (busy) {
        return at;
    }
    if (node->member) {
        at = min_u64(at, space_deadline_ms(node));
        at = min_u64(at, restore_deadline_ms(node));
    }
    if (node->waste_ms > 0 && !node->db_full) {
        at = min_u64(at, node->waste_ms);
    }
    if (node->member && store_pending(node->store) > 0) {
        at = min_u64(at, node->applied_ms + NODE_FLUSH_QUIET_MS);
    }
    return at;
}

uint64_t node_turn(struct node *node)
{
    node->now_ms = node->env.now_ms(node->env.self);
    bool more = false;
    node_bootstrap_when_due(node);
    if (node->member) {
        run_timers(node);
        reads_probe_readiness(node);
        enable_row_versions(node);
        restore_watch(node);
        requests_submit(node);
        address_follow(node);
        reads_ask(node);
        if (store_is_syncing(node->store)) {
            (void)checkpoint_step(node); /* It may have ended. */
        }
        more = carry_out(node);
        removed_look(node);
        quarantine_look(node);
        bool checkpointing =
            disk_is_busy(node) ? node->checkpointing : checkpoint_step(node);
        bool busy = disk_is_busy(node);
        if (!checkpointing && !busy) {
            checkpoint_answer_requests(node);
        }
        snapshot_send(node);
        space_check(node);
        if (!more && !busy && node_is_persisted(node)) {
            snapshot_install(node);
        }
        bool applying = !checkpointing && apply_committed(node);
        more = (checkpointing && !busy) || applying || more;
        if (!more && !busy) {
            more = compact_log(node);
        }
        /* Before reads are released: on a full disk SQLite goes back to its
         * last commit, and must not be read before it has come forward. */
        if (!busy) {
            flush_when_due(node);
        }
        reads_release(node);
        entries_trim(&node->entries, node->durable);
        if (!busy && space_prepare_log(node)) {
            more = true; /* It is needed soonest when there is most to do. */
        }
        if (!more && !busy) {
            more = space_prepare(node);
        }
        sweep_replaced(node);
        disk_report_stall(node);
    }
    requests_expire(node);
    requests_call_back(node);
    return next_deadline(node, more);
}
