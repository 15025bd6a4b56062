/* restore.c -- backups that come, and restores that do not go on.
 *
 * Who restores may die, or lose its way to the leader, and what it has put
 * beside the data takes space on every node. So the leader watches: when
 * nothing has come for a while, it gives the restore up, by an entry. Should it
 * be wrong, the next step says so to who is late. */
#include "base/log.h"
#include "command/command.h"
#include "node/node_internal.h"

enum { PATIENCE_MS = 120000 }; /* Longer than who restores waits for a step. */

enum err node_upload_new(struct node *node, struct store_upload **upload)
{
    return node->member ? store_upload_new(node->store, upload) : ERR_NOT_FOUND;
}

uint64_t node_random(struct node *node)
{
    uint64_t number = 0;
    while (number == 0) {
        node->env.entropy(node->env.self, &number, sizeof(number));
    }
    return number;
}

void restore_watch(struct node *node)
{
    uint64_t keys;
    uint64_t id = store_restoring(node->store, &keys);
    if (id != node->restoring || keys != node->restoring_keys ||
        !raft_is_leader(node->raft)) {
        node->restoring = id;
        node->restoring_keys = keys;
        node->restoring_ms = node->now_ms;
        return;
    }
    if (id == 0 || node->now_ms < node->restoring_ms + PATIENCE_MS ||
        node_shortage(node)) {
        return;
    }
    node->conf_scratch.size = 0;
    command_restore(
        NULL, &node->conf_scratch,
        &(struct command_restore){.step = COMMAND_RESTORE_ABORT, .id = id});
    if (node_propose(node, buf_bytes(&node->conf_scratch)) == ERR_OK) {
        log_warn("restore", "keys=%llu why=\"nobody goes on with it\"",
                 (unsigned long long)keys);
    }
    node->restoring_ms = node->now_ms; /* Or later again. */
}

uint64_t restore_deadline_ms(const struct node *node)
{
    return node->restoring && !node_shortage(node)
               ? node->restoring_ms + PATIENCE_MS
               : UINT64_MAX;
}
