/* flush.c -- applied entries from memory into the database, a slice per turn.
 *
 * What was applied gathers in the store's active tier. It is frozen when it is
 * large or old, or when nothing was applied for a while, and flushed in slices
 * of about a millisecond, in one transaction (store.h); applying goes on
 * meanwhile. When the active tier is full before the frozen one is flushed,
 * entries wait: the slices get longer the fuller it is, so that this is rare. A
 * flush that finds no space leaves everything in memory, and is tried again. */
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"

enum {
    BUFFER_BYTES = 4 << 20, /* Unless the options say otherwise. */
    /* A flush may write so many times the size of the buffer: small rows that
     * are far from each other change pages of their own. */
    COST_FACTOR = 64,
    SPACE_PART = 4,      /* Part of the free space that it may use. */
    FLUSH_QUIET_MS = 50, /* Nothing was applied for this long: flush. */
    FLUSH_AFTER_MS = 5000,
    /* Time of one slice: with an empty active tier, and added for a full
     * one. */
    SLICE_US = 1000,
    SLICE_FULL_US = 4000,
    ROWS_MIN = 8,
    ROWS_MAX = 1 << 14,
    ROWS_FIRST = 64,
    /* Between two slices of rows that a restore has replaced: checkpoints of
     * these changes would otherwise take all of the disk's time. */
    SWEEP_MS = 20,
};

void flush_init(struct node *node)
{
    node->flush.rows = ROWS_FIRST;
    node->space.free_bytes = UINT64_MAX;
}

static uint64_t buffer_bytes(const struct node *node)
{
    uint64_t bytes =
        node->options.buffer_bytes ? node->options.buffer_bytes : BUFFER_BYTES;
    return min_u64(bytes, node->fit.flush);
}

static bool is_full(const struct node *node)
{
    uint64_t cost = node->space.scarce
                        ? node->options.reserve_bytes
                        : min_u64(node->space.free_bytes / SPACE_PART,
                                  COST_FACTOR * buffer_bytes(node));
    return store_buffered(node->store) >= buffer_bytes(node) ||
           store_flush_cost(node->store) >= cost;
}

bool flush_blocks_apply(const struct node *node)
{
    /* On a full disk each entry is flushed by itself, to use little of the
     * -wal, but a shortage that lasts does not hold up what was accepted. */
    bool one_by_one = space_is_tight(node) &&
                      !node->space.shortage[SPACE_FLUSH] &&
                      store_pending(node->store) > 0;
    return one_by_one || is_full(node);
}

static bool freeze_due(const struct node *node)
{
    return is_full(node) || node->flush.wanted || node->checkpoint.wanted ||
           space_is_tight(node) || growth_is_near_quota(node) ||
           node->now_ms >= node->apply.last_ms + FLUSH_QUIET_MS ||
           node->now_ms >= node->flush.since_ms + FLUSH_AFTER_MS;
}

/* True when entries that waited can be applied now. */
bool flush_freeze(struct node *node)
{
    bool waited = flush_blocks_apply(node);
    if (store_pending(node->store) == 0) {
        node->flush.wanted = false;
        node->flush.since_ms = 0;
        node->flush.bytes = 0;
        node->flush.spread = 0;
    }
    if (store_is_frozen(node->store) || node->flush.since_ms == 0 ||
        !freeze_due(node)) {
        return false;
    }
    bool frozen = store_freeze(node->store);
    must(frozen);
    node->flush.since_ms = 0;
    node->flush.frozen_bytes = node->flush.bytes;
    node->flush.frozen_spread = node->flush.spread;
    return waited;
}

/* Rows of the next slice, by the time that the last one took. */
static void adapt(struct node *node, uint64_t took_us)
{
    uint64_t full = store_buffered(node->store) * SLICE_FULL_US;
    uint64_t want_us =
        SLICE_US + min_u64(full / buffer_bytes(node), SLICE_FULL_US);
    uint64_t rows = node->flush.rows * want_us / max_u64(took_us, 1);
    rows = min_u64(rows, 2 * node->flush.rows);
    node->flush.rows = min_u64(max_u64(rows, ROWS_MIN), ROWS_MAX);
}

static void complete(struct node *node)
{
    node->flush.bytes -= node->flush.frozen_bytes;
    node->flush.spread -= node->flush.frozen_spread;
    space_set(node, SPACE_FLUSH, ERR_OK);
    space_check_database(node);
    node_check_quota(node);
    wal_hint(node->wal);
}

/* True when there is more to flush. */
bool flush_step(struct node *node)
{
    must(!disk_is_busy(node) && !node->checkpoint.running);
    if (!store_is_frozen(node->store) || space_is_put_off(node, SPACE_FLUSH)) {
        return false;
    }
    uint64_t start_us = node->env.now_us(node->env.self);
    enum err err = store_flush_step(node->store, node->flush.rows);
    adapt(node, node->env.now_us(node->env.self) - start_us);
    if (err) {
        space_set(node, SPACE_FLUSH, err);
        /* A checkpoint copies committed pages into the database; the -wal then
         * starts over in the space that it has. */
        checkpoint_want(node);
        return false;
    }
    if (!store_is_frozen(node->store)) {
        complete(node);
    }
    return true; /* After the last step an entry may be waiting. */
}

uint64_t flush_deadline_ms(const struct node *node)
{
    return node->flush.since_ms > 0 && !store_is_frozen(node->store)
               ? node->apply.last_ms + FLUSH_QUIET_MS
               : UINT64_MAX;
}

/* Delete rows that a restore has replaced, a slice at a time with pauses. */
void flush_sweep_replaced(struct node *node)
{
    must(!disk_is_busy(node) && !node->checkpoint.running);
    if (node->now_ms < node->flush.sweep_ms || store_is_flushing(node->store) ||
        node->space.shortage[SPACE_ENTRY] ||
        node->space.shortage[SPACE_FLUSH]) {
        return;
    }
    enum err err = store_sweep(node->store);
    node->flush.sweep_ms = err == ERR_NOT_FOUND ? 0 : node->now_ms + SWEEP_MS;
    if (err_is_shortage(err)) {
        apply_failed(node, store_applied(node->store) + 1, err);
    } else if (err == ERR_NOT_FOUND && node->space.shortage[SPACE_QUOTA]) {
        node_check_quota(node);
    }
}
