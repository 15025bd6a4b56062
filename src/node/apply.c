/* apply.c -- committed entries into the state machine.
 *
 * An entry is applied once it is committed and durable here, a bounded number
 * per turn, and its request is answered. Applying changes memory only
 * (store.h). An entry waits while the store's memory is full (flush.c), and
 * when the database cannot be read for lack of descriptors or memory; every
 * other failure ends the process, since skipping an entry would make this node
 * differ from the others for ever. */
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/space_internal.h"

/* Bounds of what one turn applies. */
enum {
    APPLY_ENTRIES = 2048,
    APPLY_BYTES = 4 << 20,
    APPLY_US = 5000,
    NOTIFY_US = 5000, /* Work for watchers in one turn. */
};

/* ---- changes, into the feed ---- */

static void on_change(void *arg, const struct store_change *change)
{
    struct node *node = arg;
    node->apply.expired += change->expired;
    feed_add(node->feed, &(struct feed_event){
                             .type = change->deleted ? FEED_DELETE : FEED_PUT,
                             .expired = change->expired,
                             .index = store_applied(node->store) + 1,
                             .create_index = change->create_index,
                             .prev_index = change->prev_index,
                             .key = change->key,
                             .value = change->value,
                         });
}

static void on_undo(void *arg)
{
    const struct node *node = arg;
    feed_undo(node->feed);
}

static void on_replace(void *arg)
{
    const struct node *node = arg;
    feed_reset(node->feed, store_applied(node->store));
}

/* ---- hashes ---- */

static void remember_hash(struct node *node)
{
    uint64_t index = store_applied(node->store);
    node->apply.hashes[index % NODE_HASHES_MAX] = store_hash(node->store);
}

enum err node_hash_at(const struct node *node, uint64_t index, uint64_t *hash,
                      uint64_t *oldest)
{
    uint64_t applied = node_applied(node);
    uint64_t first = node->apply.hashes_from;
    if (applied >= NODE_HASHES_MAX) {
        first = max_u64(first, applied - NODE_HASHES_MAX + 1);
    }
    *oldest = first;
    if (index > applied || !node->member) {
        return ERR_BUSY;
    }
    if (index < first) {
        return ERR_NOT_FOUND;
    }
    *hash = node->apply.hashes[index % NODE_HASHES_MAX];
    return ERR_OK;
}

void apply_observe(struct node *node)
{
    node->observer = (struct store_observer){.changed = on_change,
                                             .undone = on_undo,
                                             .replaced = on_replace,
                                             .arg = node};
    store_observe(node->store, &node->observer);
    feed_reset(node->feed, store_applied(node->store));
    node->apply.hashes_from = store_applied(node->store);
    remember_hash(node);
}

void apply_notify_watchers(struct node *node)
{
    if (!node_is_current(node)) {
        feed_reset(node->feed, 0);
    }
    if (!feed_is_pending(node->feed)) {
        return;
    }
    uint64_t until_us = node->env.now_us(node->env.self) + NOTIFY_US;
    while (feed_deliver(node->feed) &&
           node->env.now_us(node->env.self) < until_us) {
    }
    feed_end_round(node->feed);
}

struct feed *node_feed(const struct node *node)
{
    return node->feed;
}

/* ---- entries ---- */

enum err node_apply(struct store *store, uint64_t index,
                    const struct entry *entry, struct store_result *result)
{
    switch (entry->type) {
    case RAFT_ENTRY_NORMAL:
        return store_apply(store, index, entry->term, entry->payload, result);
    case RAFT_ENTRY_NOOP:
        store_apply_noop(store, index, entry->term);
        return ERR_OK;
    case RAFT_ENTRY_CONF:
        store_apply_conf(store, index, entry->term, entry->payload);
        return ERR_OK;
    }
    return ERR_VERSION;
}

void apply_failed(struct node *node, uint64_t index, enum err err)
{
    must(err != ERR_OK && index == store_applied(node->store) + 1);
    if (err_is_shortage(err)) {
        space_set(node, SPACE_ENTRY, err);
        checkpoint_want(node);
        return;
    }
    /* Skipping it would make this node differ from the others for ever. */
    die("entry %llu cannot be applied: %s", (unsigned long long)index,
        err_name(err));
}

/* Does the entry change the schema, which needs everything to be flushed, and
 * no checkpoint in progress? Then that comes first. */
static bool must_wait(struct node *node, const struct entry *entry)
{
    if (entry->type != RAFT_ENTRY_NORMAL ||
        !store_changes_schema(node->store, entry->payload)) {
        return false;
    }
    node->flush.wanted = store_pending(node->store) > 0;
    return node->flush.wanted || node->checkpoint.running;
}

/* Apply entry `index` and answer its request. *bytes grows by its size. False:
 * there is no space for it now. */
static bool apply_next(struct node *node, uint64_t index, uint64_t *bytes)
{
    struct entry entry;
    struct store_result result = {0};
    enum err err = node_fetch_entry(node, index, &entry);
    if (err && !err_is_shortage(err)) {
        die("committed entry %llu cannot be read from the log: %s",
            (unsigned long long)index, err_name(err));
    }
    if (!err && must_wait(node, &entry)) {
        return false;
    }
    if (!err) {
        must(entry.term == raft_term_at(node->raft, index));
        err = node_apply(node->store, index, &entry, &result);
    }
    if (err) {
        node->apply.expired = 0;
        feed_undo(node->feed);
        apply_failed(node, index, err);
        return false;
    }
    must(store_applied(node->store) == index);
    feed_commit(node->feed, index);
    remember_hash(node);
    node->metrics.expired += node->apply.expired;
    node->apply.expired = 0;
    node->apply.writes += entry.type == RAFT_ENTRY_NORMAL;
    *bytes += entry.payload.size + result.data.size;
    if (node->space.scarce && entry.type == RAFT_ENTRY_NORMAL) {
        node->flush.spread += growth_spread(node, entry.payload);
    }
    requests_applied(node, index, entry.term, &result);
    return true;
}

/* Entries up to `applied` were applied in this turn, `bytes` in size. */
static void handle_progress(struct node *node, uint64_t applied, uint64_t bytes)
{
    must(applied == store_applied(node->store));
    must(applied <= node->apply.to);
    node->apply.last_ms = node->now_ms;
    node->flush.bytes += bytes;
    node->space.unchecked_bytes += bytes;
    if (node->flush.since_ms == 0) {
        node->flush.since_ms = node->now_ms;
    }
    node_notify_engine(
        node, (struct raft_event){.type = RAFT_APPLIED, .index = applied});
}

/* True when there is more to apply than one turn may do. */
bool apply_committed(struct node *node)
{
    uint64_t applied = store_applied(node->store);
    uint64_t start = applied;
    must(node->apply.to <= raft_commit(node->raft));
    must(node->apply.to <= node->persist.durable);
    uint64_t bytes = 0;
    uint64_t until_us = node->env.now_us(node->env.self) + APPLY_US;
    if (space_is_put_off(node, SPACE_ENTRY)) {
        return false;
    }
    space_set(node, SPACE_ENTRY, ERR_OK);
    while (applied < node->apply.to && applied - start < APPLY_ENTRIES &&
           bytes < APPLY_BYTES && !flush_blocks_apply(node) &&
           apply_next(node, applied + 1, &bytes)) {
        applied++;
        /* The time is checked after each entry: one may have thousands of
         * operations. */
        if (node->env.now_us(node->env.self) >= until_us) {
            break;
        }
    }
    if (applied > start) {
        handle_progress(node, applied, bytes);
    }
    return applied > start && applied < node->apply.to &&
           !node->space.shortage[SPACE_ENTRY];
}
