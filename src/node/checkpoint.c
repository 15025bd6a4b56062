/* checkpoint.c -- SQLite's transaction and -wal file, a bounded step per turn.
 *
 * Applied entries gather in one transaction, which is committed (flushed) when
 * it is long or old. Commits gather in SQLite's -wal, which a checkpoint copies
 * into the database in steps; nothing is applied between them. Both adapt their
 * size to the time that the last one took, since that depends on the size of
 * the database and the speed of its disk. */
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/space_internal.h"

enum {
    /* Bounds of an open transaction. */
    FLUSH_ENTRIES_MIN = 256,
    FLUSH_ENTRIES_MAX = 1 << 16,
    FLUSH_ENTRIES_FIRST = 16 * FLUSH_ENTRIES_MIN,
    /* A step that took longer is halved, one that took less grows. */
    HEAVY_US = 15000,
    LIGHT_US = 10000,
    /* An asynchronous sync delays answers, not turns: it may take longer. */
    SYNC_PATIENCE = 4,
    FLUSH_QUIET_MS = 50, /* Nothing was applied for this long: flush. */
    FLUSH_AFTER_MS = 5000,
    SWEEP_MS = 20, /* Between two slices of rows that were replaced, ... */
    SWEEP_BYTES = 512 << 10, /* ... each of about this size. */
};

void checkpoint_init(struct node *node)
{
    node->flush.entries_max = FLUSH_ENTRIES_FIRST;
    node->checkpoint.bytes_max = node->options.checkpoint_bytes
                                     ? node->options.checkpoint_bytes
                                     : node->fit.checkpoint_max;
}

/* The amount of work for the next turn, by the time that the last one took. */
static uint64_t adapt(uint64_t took_us, uint64_t amount, uint64_t least,
                      uint64_t most)
{
    must(least <= most);
    if (took_us > HEAVY_US) {
        amount /= 2;
    } else if (took_us < LIGHT_US) {
        amount += amount / 4;
    }
    return min_u64(max_u64(amount, least), most);
}

static bool checkpoint_due(const struct node *node)
{
    uint64_t bytes = store_checkpoint_bytes(node->store);
    return store_pending(node->store) == 0 && bytes > 0 &&
           node->now_ms >= node->space.retry_ms[SPACE_CHECKPOINT] &&
           (bytes >= node->checkpoint.bytes_max || node->checkpoint.wanted ||
            (node->space.scarce && bytes >= node->fit.checkpoint_min));
}

static void complete_checkpoint(struct node *node)
{
    must(!node->checkpoint.running && !store_is_syncing(node->store));
    bool left = store_checkpoint_bytes(node->store) > 0;
    node->checkpoint.wanted = left;
    space_set(node, SPACE_CHECKPOINT, left ? ERR_NOSPACE : ERR_OK);
    if (left && wal_release_reserve(node->wal)) {
        /* Try again at once, in the space of the log's reserve. */
        node->space.retry_ms[SPACE_CHECKPOINT] = node->now_ms;
    }
    if (node->checkpoint.longest_us > 2 * HEAVY_US) {
        /* A checkpoint copies at least what one transaction wrote, so the next
         * transactions are shorter. */
        node->flush.entries_max =
            max_u64(node->flush.entries_max / 2, FLUSH_ENTRIES_MIN);
    }
    if (node->options.checkpoint_bytes == 0) {
        node->checkpoint.bytes_max =
            adapt(node->checkpoint.longest_us, node->checkpoint.bytes_max,
                  node->fit.checkpoint_min, node->fit.checkpoint_max);
    }
    node->checkpoint.longest_us = 0;
}

/* Copy SQLite's -wal into its database, a step per turn. The cost by which the
 * next one is sized is the longest step, and a part of the asynchronous sync
 * behind it. */
void checkpoint_step(struct node *node)
{
    must(!store_is_syncing(node->store) || node->checkpoint.running);
    if (!node->checkpoint.running && !checkpoint_due(node)) {
        if (store_pending(node->store) == 0 &&
            store_checkpoint_bytes(node->store) == 0) {
            node->checkpoint.wanted = false; /* There is nothing to copy. */
        }
        return;
    }
    must(store_pending(node->store) == 0); /* Nothing is applied meanwhile. */
    bool was_syncing = store_is_syncing(node->store);
    uint64_t start_us = node->env.now_us(node->env.self);
    node->checkpoint.running = store_checkpoint_step(node->store);
    uint64_t end_us = node->env.now_us(node->env.self);
    node->checkpoint.longest_us =
        max_u64(node->checkpoint.longest_us, end_us - start_us);
    if (!was_syncing) {
        /* Only used if this step has started a sync. */
        node->checkpoint.sync_started_us = end_us;
        node->checkpoint.sync_started_ms = node->now_ms;
    } else if (!store_is_syncing(node->store)) {
        node->checkpoint.longest_us = max_u64(
            node->checkpoint.longest_us,
            (end_us - node->checkpoint.sync_started_us) / SYNC_PATIENCE);
    }
    if (!node->checkpoint.running) {
        complete_checkpoint(node);
    }
}

uint64_t node_flush_deadline_ms(const struct node *node)
{
    return store_pending(node->store) > 0 ? node->apply.last_ms + FLUSH_QUIET_MS
                                          : UINT64_MAX;
}

/* True when the entries of the transaction take a lot of space: SQLite's cache,
 * or while space is scarce the reserve, holds most of what they write. With
 * small values half of fit.flush costs a tenth of the throughput. */
static bool is_large(const struct node *node)
{
    uint64_t reserve = node->options.reserve_bytes;
    return node->flush.bytes >= node->fit.flush ||
           (node->space.scarce &&
            (node->flush.bytes >= reserve || node->flush.spread >= reserve));
}

/* Commit SQLite's transaction when it is long or old, when a checkpoint waits
 * for it, or when nothing was applied for a while. */
void node_flush_when_due(struct node *node)
{
    uint64_t pending = store_pending(node->store);
    must(!disk_is_busy(node));
    must(!node->checkpoint.running || pending == 0);
    if (pending == 0) {
        node->flush.since_ms = 0;
        node->flush.bytes = 0;
        node->flush.spread = 0;
        return;
    }
    if (pending < node->flush.entries_max && !node->checkpoint.wanted &&
        !is_large(node) &&
        node->now_ms < node->apply.last_ms + FLUSH_QUIET_MS &&
        node->now_ms < node->flush.since_ms + FLUSH_AFTER_MS) {
        return;
    }
    uint64_t start_us = node->env.now_us(node->env.self);
    enum err err = store_flush(node->store);
    uint64_t took_us = node->env.now_us(node->env.self) - start_us;
    if (pending >= node->flush.entries_max || took_us > HEAVY_US) {
        node->flush.entries_max =
            adapt(took_us, min_u64(pending, node->flush.entries_max),
                  FLUSH_ENTRIES_MIN, FLUSH_ENTRIES_MAX);
    }
    if (err) {
        apply_failed(node, store_applied(node->store) + 1, err);
    }
    space_check_database(node);
    node->flush.since_ms = 0;
    node->flush.bytes = 0;
    node->flush.spread = 0;
    node_check_quota(node);
    wal_hint(node->wal);
}

/* Delete rows that a restore has replaced, a slice at a time with pauses:
 * checkpoints of these changes would otherwise take all of the disk's time. */
void node_sweep_replaced(struct node *node)
{
    must(!disk_is_busy(node) && !node->checkpoint.running);
    if (node->now_ms < node->flush.sweep_ms ||
        node->space.shortage[SPACE_ENTRY]) {
        return;
    }
    enum err err = store_sweep(node->store);
    node->flush.sweep_ms = err == ERR_NOT_FOUND ? 0 : node->now_ms + SWEEP_MS;
    if (err_is_shortage(err)) {
        apply_failed(node, store_applied(node->store) + 1, err);
    } else if (!err && store_pending(node->store) > 0) {
        node->flush.bytes += SWEEP_BYTES;
    } else if (err == ERR_NOT_FOUND && node->space.shortage[SPACE_QUOTA]) {
        node_check_quota(node);
    }
}

/* ---- requests for a checkpoint ---- */

static void request_checkpoint(struct node *node, struct node_request *request,
                               enum request_kind kind)
{
    request_begin(request, kind);
    request->index = 0; /* Set when the request is first examined. */
    request_move(node, request, STATE_SNAPSHOT);
}

void node_checkpoint(struct node *node, struct node_request *request)
{
    request_checkpoint(node, request, REQUEST_CHECKPOINT);
}

void node_snapshot(struct node *node, struct node_request *request)
{
    request_checkpoint(node, request, REQUEST_SNAPSHOT);
}

/* The database file holds all that was applied when the request was first
 * examined. */
static void finish_checkpoint(struct node *node, struct node_request *request,
                              bool anything_new)
{
    struct store_stats stats;
    must(request->index <= store_durable(node->store));
    store_get_stats(node->store, &stats);
    request->result.bytes = anything_new ? stats.db_bytes : 0;
    if (request->kind == REQUEST_SNAPSHOT) {
        node->compact.asked = true;
    }
    request_finish(node, request, NODE_OK, store_durable(node->store));
}

void checkpoint_answer_requests(struct node *node)
{
    struct list *waiting = &node->requests.by_state[STATE_SNAPSHOT];
    must(!node->checkpoint.running);
    bool no_space = node->space.shortage[SPACE_ENTRY] ||
                    node->now_ms < node->space.retry_ms[SPACE_CHECKPOINT];
    for (struct list *at = waiting->next; at != waiting;) {
        struct node_request *request = request_of(at);
        at = at->next;
        bool first = request->index == 0;
        if (first) {
            request->index = store_applied(node->store);
        }
        if (store_durable(node->store) >= request->index) {
            finish_checkpoint(node, request, !first);
        } else if (no_space) {
            request_finish(node, request, NODE_NO_SPACE, 0);
        } else {
            node->checkpoint.wanted = true;
        }
    }
}
