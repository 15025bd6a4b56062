/* persist.c -- writes what the engine wants durable to the log.
 *
 * One batch is in flight at a time, with one fdatasync for all of it;
 * operations that gather meanwhile form the next batch. Where the log's files
 * allow it (wal.h), the fdatasync runs asynchronously, and the turn after its
 * completion notifies the engine. A batch that found no space is tried again:
 * nothing in it has been acknowledged. */
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"

static void write_batch(struct node *node, const struct raft_persist *persist)
{
    if (persist->hard) {
        wal_set_hard_state(node->wal, persist->term, persist->vote);
    }
    if (persist->truncate_from > 0 &&
        persist->truncate_from <= wal_last(node->wal)) {
        wal_truncate(node->wal, persist->truncate_from);
    }
    must(persist->hi < persist->lo || persist->lo == wal_last(node->wal) + 1);
    for (uint64_t i = persist->lo; i <= persist->hi; i++) {
        struct entry entry;
        bool there = entries_get(&node->entries, i, &entry);
        must(there);
        must(entry.term == raft_term_at(node->raft, i));
        struct wal_entry out = {.index = i,
                                .term = entry.term,
                                .type = (uint8_t)entry.type,
                                .payload = entry.payload};
        wal_append(node->wal, &out);
    }
    must(persist->hi < persist->lo || wal_last(node->wal) == persist->hi);
}

/* True when the batch in flight has become durable. One that found no space
 * becomes due again. */
static bool finish_sync(struct node *node)
{
    enum err err;
    if (node->persist.inflight_seq == 0 ||
        !wal_finished(node->wal, false, &err)) {
        return false;
    }
    uint64_t seq = node->persist.inflight_seq;
    node->persist.inflight_seq = 0;
    if (err) {
        node->persist.due_seq = max_u64(node->persist.due_seq, seq);
        space_set(node, SPACE_LOG_BATCH, err);
        return false;
    }
    space_set(node, SPACE_LOG_BATCH, ERR_OK);
    node_notify_engine(node,
                       (struct raft_event){.type = RAFT_PERSISTED, .seq = seq});
    /* Entries of the batch may have been replaced meanwhile: the engine knows
     * which index is still durable. */
    node->persist.durable = raft_durable(node->raft);
    must(node->persist.durable <= wal_durable(node->wal));
    must(node->persist.durable <= node->entries.last);
    return true;
}

/* True when a batch was started. */
static bool start_sync(struct node *node)
{
    if (node->persist.due_seq == 0 || node->persist.inflight_seq > 0 ||
        node_database_sync_stalled(node) ||
        space_is_put_off(node, SPACE_LOG_BATCH)) {
        return false;
    }
    enum err err = wal_start(node->wal);
    if (err) {
        space_set(node, SPACE_LOG_BATCH, err);
        return false;
    }
    must(!store_is_syncing(node->store) || node->checkpoint.running);
    node->persist.inflight_seq = node->persist.due_seq;
    node->persist.due_seq = 0;
    node->persist.started_ms = node->now_ms;
    return true;
}

bool persist_update(struct node *node)
{
    const struct raft_persist *persist = &node->update.persist;
    if (persist->seq > 0) {
        /* Numbers of operations only grow. */
        must(persist->seq > node->persist.due_seq);
        must(persist->seq > node->persist.inflight_seq);
        write_batch(node, persist);
        node->persist.due_seq = persist->seq;
    }
    bool finished = finish_sync(node);
    if (start_sync(node)) {
        /* A write that blocked may be complete already. */
        finished = finish_sync(node) || finished;
    }
    return finished;
}

bool node_is_persisted(const struct node *node)
{
    return node->persist.due_seq == 0 && node->persist.inflight_seq == 0;
}
