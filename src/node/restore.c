/* restore.c -- uploads of backups, and the end of abandoned restores.
 *
 * A client that restores may die, or lose its connection to the leader, and the
 * rows that it has uploaded take space on every node in addition to the data.
 * So the leader aborts a restore that has made no progress for a while, by an
 * entry. If the client was only slow, its next step fails with an error that
 * says so. */
#include "base/log.h"
#include "command/command.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"

/* Longer than a client that restores waits for the answer to one step. */
enum { PATIENCE_MS = 120000 };

enum err node_upload_new(struct node *node, struct store_upload **upload)
{
    return node->member ? store_upload_new(node->store, upload) : ERR_NOT_FOUND;
}

uint64_t node_restore_bytes(const struct node *node, uint64_t bytes)
{
    const struct fit *fit = &node->fit;
    return 2 * min_u64(bytes, UINT64_MAX / 4) + fit->log_keep_least +
           2 * node->options.segment_bytes + fit->checkpoint_min + fit->growth;
}

uint64_t node_random(struct node *node)
{
    uint64_t number = 0;
    while (number == 0) {
        node->env.entropy(node->env.self, &number, sizeof(number));
    }
    return number;
}

void restore_observe(struct node *node)
{
    uint64_t keys;
    uint64_t id = store_restoring(node->store, &keys);
    if (id != node->restore.id || keys != node->restore.keys ||
        !raft_is_leader(node->raft)) {
        node->restore.id = id;
        node->restore.keys = keys;
        node->restore.since_ms = node->now_ms;
    }
}

bool restore_is_abandoned(const struct node *node)
{
    return node->restore.id != 0 &&
           node->now_ms >= node->restore.since_ms + PATIENCE_MS &&
           !node_shortage(node);
}

void restore_abort(struct node *node)
{
    must(raft_is_leader(node->raft) && node->restore.id != 0);
    node->scratch.encoded.size = 0;
    command_restore(NULL, &node->scratch.encoded,
                    &(struct command_restore){.step = COMMAND_RESTORE_ABORT,
                                              .id = node->restore.id});
    if (node_propose(node, buf_bytes(&node->scratch.encoded)) == ERR_OK) {
        log_warn("restore",
                 "keys=%llu why=\"aborted: it has made no progress\"",
                 (unsigned long long)node->restore.keys);
    }
    node->restore.since_ms = node->now_ms; /* Retried after PATIENCE_MS. */
}

uint64_t restore_deadline_ms(const struct node *node)
{
    return node->restore.id && !node_shortage(node)
               ? node->restore.since_ms + PATIENCE_MS
               : UINT64_MAX;
}
