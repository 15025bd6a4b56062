/* compact.c -- drops the part of the log that no member needs any more.
 *
 * Entries that SQLite holds durably (a checkpoint has synced them) are only of
 * use to followers that are behind. A few segments are kept for those, more
 * when one is known to be behind, and the suffix behind a snapshot that is
 * being sent. On a full disk only followers that are known to be behind are
 * waited for: the next segment goes where old ones were. When all writes change
 * the same few pages, the -wal hardly grows, and the size of the log forces a
 * checkpoint instead. */
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"

enum {
    KEEP_ENTRIES = 1024, /* When a request asks for less to be kept. */
    PATIENCE = 4, /* The log may grow to this many times what is kept, for
                     followers that are behind. */
    CAUGHT_UP_ENTRIES = 16,
};

static uint64_t keep_bytes(const struct node *node)
{
    uint64_t bytes = node->options.log_keep_bytes;
    return node->space.scarce ? min_u64(bytes, node->fit.log_keep_least)
                              : bytes;
}

/* Ask for a checkpoint when the log is twice what is kept, and has grown by
 * half of that since the last one that it forced. */
static void force_checkpoint(struct node *node, const struct wal_stats *stats)
{
    if (stats->log_bytes < 2 * keep_bytes(node) ||
        stats->written_bytes <
            node->compact.forced_bytes + keep_bytes(node) / 2 ||
        store_durable(node->store) == store_applied(node->store)) {
        return;
    }
    node->compact.forced_bytes = stats->written_bytes;
    checkpoint_want(node);
}

/* Last index that may be dropped because of the pin. It holds until its peer
 * has caught up or was removed, within its limits of time and bytes. */
static uint64_t pinned_index(struct node *node,
                             const struct raft_status *status,
                             uint64_t log_bytes)
{
    struct pin *pin = &node->compact.pin;
    uint64_t match = UINT64_MAX - CAUGHT_UP_ENTRIES;
    must(pin->peer != 0 && pin->peer != node->ident.id);
    for (uint32_t i = 0; i < status->peer_count; i++) {
        if (status->peers[i].id == pin->peer) {
            match = status->peers[i].match;
        }
    }
    if (node->now_ms >= pin->until_ms || log_bytes > pin->log_bytes_max ||
        match + CAUGHT_UP_ENTRIES >= status->last) {
        pin->peer = 0;
        return UINT64_MAX;
    }
    return max_u64(pin->index, match);
}

/* Last index that no member and no snapshot needs any more. */
static uint64_t drop_limit(struct node *node, uint64_t log_bytes)
{
    uint64_t limit = store_durable(node->store);
    if (node->snapshot.outgoing.peer != 0) {
        limit = min_u64(limit, node->snapshot.outgoing.image->index);
    }
    if (!raft_is_leader(node->raft)) {
        node->compact.pin.peer = 0;
        return limit;
    }
    struct raft_status status;
    raft_get_status(node->raft, &status);
    if (node->compact.pin.peer != 0) {
        limit = min_u64(limit, pinned_index(node, &status, log_bytes));
    }
    if (log_bytes > PATIENCE * keep_bytes(node)) {
        return limit;
    }
    for (uint32_t i = 0; i < status.peer_count; i++) {
        const struct raft_peer_status *peer = &status.peers[i];
        if (peer->id != status.self && peer->state != RAFT_PEER_SNAPSHOT) {
            limit = min_u64(limit, peer->match);
        }
    }
    return limit;
}

/* The limit for a request that asks for less log: KEEP_ENTRIES stay, and the
 * request is forgotten once there is nothing to drop. */
static uint64_t asked_limit(struct node *node, uint64_t limit)
{
    uint64_t applied = store_applied(node->store);
    uint64_t keep_from = applied > KEEP_ENTRIES ? applied - KEEP_ENTRIES : 0;
    limit = min_u64(limit, keep_from);
    node->compact.asked = wal_can_compact(node->wal, limit);
    return limit;
}

bool compact_log(struct node *node)
{
    struct wal_stats stats;
    must(!disk_is_busy(node));
    wal_get_stats(node->wal, &stats);
    bool full = space_is_full(node) || node->space.awaited;
    node->space.awaited = false;
    bool little = stats.log_bytes <= keep_bytes(node);
    bool asked = node->compact.asked && little && !full;
    if (little && !asked && !full) {
        return false;
    }
    force_checkpoint(node, &stats);
    if (!wal_can_compact(node->wal, store_durable(node->store))) {
        node->compact.asked = false;
        return false; /* Most turns return here, without a look at peers. */
    }
    uint64_t limit = drop_limit(node, stats.log_bytes);
    if (asked) {
        limit = asked_limit(node, limit);
    }
    /* The log holds everything that the database does not hold durably. */
    must(limit <= store_durable(node->store));
    if (!wal_compact(node->wal, limit)) {
        return false;
    }
    node_notify_engine(
        node,
        (struct raft_event){.type = RAFT_COMPACTED,
                            .index = min_u64(wal_first(node->wal), limit)});
    return true;
}
