/* duties.c -- what a leader does by itself, without a request: one table.
 *
 * Each duty is an entry that the leader proposes when it is due. A proposal
 * that is refused is made again when the duty is due the next time.
 *
 * The order of the rows does not matter. A turn decides which duties are due
 * before it runs the first of them, and runs all of those; each proposes at
 * most one entry, and none undoes the reason of another. The order only shows
 * in the log, as the order of entries that are independent. (A stamp is not
 * proposed if what is due has just been.) */
#include "command/command.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"

struct duty {
    bool (*due)(const struct node *node); /* Called on a leader only. */
    void (*run)(struct node *node);
};

/* Row versions are counted from the first version 2 command on (store.h). A
 * cluster of one has no node of an older build to wait for, and starts at once;
 * a larger one that was upgraded starts with the first such write. */
static bool row_versions_due(const struct node *node)
{
    return !store_counts(node->store) &&
           node->row_versions_term != raft_term(node->raft) &&
           raft_conf_active(node->raft)->count == 1 && !node_shortage(node);
}

static void enable_row_versions(struct node *node)
{
    struct command_name unnamed = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    node->scratch.encoded.size = 0;
    command_txn(&txn, &node->scratch.encoded, &unnamed, false);
    for (int i = 0; i < 2; i++) { /* No conditions, no operations. */
        command_list(&list, &node->scratch.encoded);
        command_end(&list);
    }
    if (node_propose(node, buf_bytes(&node->scratch.encoded)) == ERR_OK) {
        node->row_versions_term = raft_term(node->raft);
    }
}

static const struct duty duties[] = {
    {row_versions_due, enable_row_versions},
    {restore_is_abandoned, restore_abort},
    {address_has_changed, address_follow},
    {expiry_is_due, expiry_run},
    {expiry_stamp_is_due, expiry_stamp},
};

void duties_run(struct node *node)
{
    bool due[ARRAY_COUNT(duties)];
    restore_observe(node); /* The age of a restore is that of now. */
    if (!raft_is_leader(node->raft)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(duties); i++) {
        due[i] = duties[i].due(node);
    }
    for (size_t i = 0; i < ARRAY_COUNT(duties); i++) {
        if (due[i]) {
            must(raft_is_leader(node->raft));
            duties[i].run(node);
        }
    }
}
