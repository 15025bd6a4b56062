/* checkpoint.c -- SQLite's -wal file into its database, a bounded step per
 * turn.
 *
 * Flushes (flush.c) gather in SQLite's -wal, which a checkpoint copies into the
 * database in steps; nothing is flushed between them, but applying goes on. A
 * checkpoint adapts its size to the time that the last one took, since that
 * depends on the size of the database and the speed of its disk. */
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/space_internal.h"

enum {
    /* A step that took longer is halved, one that took less grows. */
    HEAVY_US = 15000,
    LIGHT_US = 10000,
    /* An asynchronous sync delays flushes, not turns: it may take longer. */
    SYNC_PATIENCE = 4,
};

void checkpoint_init(struct node *node)
{
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

void checkpoint_want(struct node *node)
{
    if (!node->checkpoint.wanted) {
        node->checkpoint.wanted = true;
        node->checkpoint.want_index = store_applied(node->store);
    }
}

/* Is everything flushed for which a checkpoint is wanted, as far as there is
 * space for it? */
static bool is_flushed(const struct node *node)
{
    return node->space.shortage[SPACE_FLUSH] ||
           store_flushed(node->store) >= node->checkpoint.want_index;
}

static bool checkpoint_due(const struct node *node)
{
    uint64_t bytes = store_checkpoint_bytes(node->store);
    return bytes > 0 && !store_is_flushing(node->store) &&
           node->now_ms >= node->space.retry_ms[SPACE_CHECKPOINT] &&
           (bytes >= node->checkpoint.bytes_max ||
            (node->checkpoint.wanted && is_flushed(node)) ||
            (node->space.scarce && bytes >= node->fit.checkpoint_min));
}

static void complete_checkpoint(struct node *node)
{
    must(!node->checkpoint.running && !store_is_syncing(node->store));
    bool left = store_checkpoint_bytes(node->store) > 0;
    node->checkpoint.wanted =
        left || (node->checkpoint.wanted &&
                 store_durable(node->store) < node->checkpoint.want_index &&
                 !node->space.shortage[SPACE_FLUSH]);
    space_set(node, SPACE_CHECKPOINT, left ? ERR_NOSPACE : ERR_OK);
    if (left && wal_release_reserve(node->wal)) {
        /* Try again at once, in the space of the log's reserve. */
        node->space.retry_ms[SPACE_CHECKPOINT] = node->now_ms;
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
        if (store_checkpoint_bytes(node->store) == 0 && is_flushed(node)) {
            node->checkpoint.wanted = false; /* There is nothing to copy. */
        }
        return;
    }
    must(!store_is_flushing(node->store));
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
                    node->space.shortage[SPACE_FLUSH] ||
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
            checkpoint_want(node);
            node->checkpoint.want_index =
                max_u64(node->checkpoint.want_index, request->index);
        }
    }
}
