/* duties.c -- what a leader does by itself. */
#include "command/command.h"
#include "node/node_internal.h"

/* Row versions are counted from the first version 2 command on (store.h). A
 * cluster of one has nobody of an older build to wait for, and begins at once;
 * a larger one that was upgraded begins with the first such write. */
void enable_row_versions(struct node *node)
{
    if (store_counts(node->store) || !raft_is_leader(node->raft) ||
        node->counting_term == raft_term(node->raft) ||
        raft_conf_active(node->raft)->count != 1 || node_shortage(node)) {
        return;
    }
    struct command_name nobody = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    node->conf_scratch.size = 0;
    command_txn(&txn, &node->conf_scratch, &nobody, false);
    for (int i = 0; i < 2; i++) { /* No conditions, no operations. */
        command_list(&list, &node->conf_scratch);
        command_end(&list);
    }
    if (node_propose(node, buf_bytes(&node->conf_scratch)) == ERR_OK) {
        node->counting_term = raft_term(node->raft);
    }
}
