/* status.c -- reads of the node's state, for its callers. */
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/snapshot_internal.h"
#include "node/space_internal.h"

/* A newcomer that has not asked for this long is not reported any more. */
enum { INTRUDER_MS = 30000 };

enum err node_get(struct node *node, struct bytes key, struct store_row *row)
{
    return node->member ? store_get(node->store, key, row) : ERR_NOT_FOUND;
}

void node_range_open(struct node *node, const struct store_range *range)
{
    must(node->member);
    store_range_open(node->store, range);
}

enum err node_range_next(struct node *node, struct store_pair *pair)
{
    return store_range_next(node->store, pair);
}

void node_range_close(struct node *node)
{
    store_range_close(node->store);
}

enum err node_lease_get(struct node *node, uint64_t id,
                        struct store_lease *lease)
{
    return node->member ? store_lease_get(node->store, id, lease)
                        : ERR_NOT_FOUND;
}

enum err node_lease_next(struct node *node, uint64_t after,
                         struct store_lease *lease)
{
    return node->member ? store_lease_next(node->store, after, lease)
                        : ERR_NOT_FOUND;
}

enum err node_lease_keys(struct node *node, uint64_t id, struct cursor *keys)
{
    return node->member ? store_lease_keys(node->store, id, keys)
                        : ERR_NOT_FOUND;
}

uint64_t node_ttl_ms(struct node *node, uint64_t deadline_ms, uint64_t lease)
{
    struct store_lease of;
    uint64_t now_ms = node_time_ms(node);
    if (lease > 0) {
        deadline_ms =
            node_lease_get(node, lease, &of) == ERR_OK ? of.deadline_ms : 0;
    }
    return deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

static void add_time(struct node *node, struct node_status *status)
{
    uint64_t due_ms = store_due_ms(node->store);
    status->timed_keys = store_timed_keys(node->store);
    status->leases = store_leases(node->store);
    status->next_end_ms =
        due_ms == UINT64_MAX ? due_ms : node_ttl_ms(node, due_ms, 0);
}

static void add_storage(struct node *node, struct node_status *status)
{
    struct store_stats store;
    struct wal_stats wal;
    store_get_stats(node->store, &store);
    wal_get_stats(node->wal, &wal);
    add_time(node, status);
    status->applied = store_applied(node->store);
    status->hash = store_hash(node->store);
    status->keys = store_key_count(node->store);
    status->db_bytes = store.db_bytes;
    status->used_bytes = store.used_bytes;
    status->checkpoints = store.checkpoints;
    status->buffered_bytes = store.buffered_bytes;
    status->log_bytes = wal.log_bytes;
    status->written_bytes = wal.written_bytes;
    status->db_written_bytes = store.written_bytes;
    status->syncs = wal.syncs;
    status->sync_us_max = wal.sync_us_max;
}

void node_get_status(struct node *node, struct node_status *status)
{
    static struct raft_conf no_members; /* Not const: 9 KB that no file has. */
    *status = (struct node_status){
        .next_end_ms = UINT64_MAX,
        .conf = &no_members,
        .member = node->member,
        .ready = node->reads.ready && !node_cannot_follow(node),
        .incarnation = node->incarnation,
        .proposals_pending = node->requests.pending_count,
        .writes = node->apply.writes,
        .over_quota = node->space.shortage[SPACE_QUOTA] != ERR_OK,
        .disk_stalled = node->stall.reported,
        .sqlite_version = store_version()};
    memcpy(status->cluster, node->ident.cluster, sizeof(status->cluster));
    memcpy(status->uuid, node->ident.uuid, sizeof(status->uuid));
    memcpy(status->name, node->name, sizeof(status->name));
    if (node->member) {
        raft_get_status(node->raft, &status->raft);
        status->conf = removed_conf(node);
        status->removed_index = node->removed.index;
        status->last_contact_ms = node_last_contact_ms(node);
        status->no_space = node_shortage(node) == ERR_NOSPACE;
        status->no_resources = node_shortage(node) == ERR_RESOURCES;
        add_storage(node, status);
    }
}

const struct node_intruder *node_intruder(const struct node *node)
{
    bool lately = node->intruder.asked_ms > 0 && node_is_leader(node) &&
                  node->now_ms < node->intruder.asked_ms + INTRUDER_MS;
    return lately ? &node->intruder.last : NULL;
}

const struct node_metrics *node_get_metrics(const struct node *node)
{
    return &node->metrics;
}

const struct histogram *node_sync_times(const struct node *node)
{
    return node->member ? wal_sync_times(node->wal) : NULL;
}

uint64_t node_applied(const struct node *node)
{
    return node->member ? store_applied(node->store) : 0;
}

uint64_t node_committed(const struct node *node)
{
    return node->member ? raft_commit(node->raft) : 0;
}

uint64_t node_keys(const struct node *node)
{
    return node->member ? store_key_count(node->store) : 0;
}

bool node_is_member(const struct node *node)
{
    return node->member;
}

bool node_is_voter(const struct node *node)
{
    if (!node->member) {
        return false;
    }
    const struct raft_member *self =
        raft_conf_find(raft_conf_active(node->raft), node->ident.id);
    return self && self->suffrage == RAFT_VOTER;
}

uint64_t node_now_us(const struct node *node)
{
    return node->env.now_us(node->env.self);
}

const char *node_name(const struct node *node)
{
    return node->name;
}

const struct raft_member *node_leader(const struct node *node)
{
    if (!node->member) {
        return NULL;
    }
    raft_id leader = raft_leader(node->raft);
    return leader ? raft_conf_find(raft_conf_active(node->raft), leader) : NULL;
}

bool node_is_leader(const struct node *node)
{
    return node->member && raft_is_leader(node->raft);
}

uint64_t node_term(const struct node *node)
{
    return node->member ? raft_term(node->raft) : 0;
}

uint64_t node_last_contact_ms(const struct node *node)
{
    if (!node->member) {
        return UINT64_MAX;
    }
    if (raft_is_leader(node->raft)) {
        return 0;
    }
    struct raft_status status;
    raft_get_status(node->raft, &status);
    if (status.leader_contact_ms == 0) {
        return UINT64_MAX;
    }
    uint64_t now_ms = node->env.now_ms(node->env.self);
    return now_ms > status.leader_contact_ms ? now_ms - status.leader_contact_ms
                                             : 0;
}

/* ---- a copy of it all ---- */

enum err node_image_open(struct node *node, struct store_image **image,
                         uint64_t *index, uint64_t *bytes)
{
    if (!node->member || node_contradiction(node)) {
        return ERR_NOT_FOUND;
    }
    enum err err = store_image_open(node->store, image);
    if (!err) {
        store_image_add_view(*image);
        *index = (*image)->index;
        *bytes = (*image)->bytes;
    }
    return err;
}

enum err node_image_read(struct store_image *image, void *out, size_t size)
{
    return store_image_read(image, out, size);
}

enum err node_image_open_rows(struct node *node, struct store_image **image,
                              uint64_t *index, uint64_t *keys)
{
    if (!node->member || node_contradiction(node)) {
        return ERR_NOT_FOUND;
    }
    struct store_image *opened;
    enum err err = store_image_open(node->store, &opened);
    if (err) {
        return err;
    }
    err = store_image_rows_begin(opened, keys);
    if (err) {
        store_image_close(opened);
        return err;
    }
    *image = opened;
    *index = opened->index;
    return ERR_OK;
}

void node_image_seek(struct store_image *image, struct bytes after)
{
    store_image_rows_seek(image, after);
}

enum err node_image_next(struct store_image *image, struct store_pair *pair)
{
    return store_image_rows_next(image, pair);
}

bool node_image_awaited(const struct node *node)
{
    enum { MEMORY_MS = 30000 };
    const struct arriving *in = &node->snapshot.arriving;
    return (in->files && in->have == in->total) ||
           (node->snapshot.refused_ms != 0 &&
            node->now_ms < node->snapshot.refused_ms + MEMORY_MS);
}

void node_image_close(struct store_image *image)
{
    store_image_close(image);
}
