/* quarantine.c -- a node that contradicts its cluster.
 *
 * The node holds an entry as committed, and a leader has another one at that
 * index. One of them has lost what it acknowledged, or invented it (a disk that
 * lied about its syncs, a directory that was copied back), and the leader has a
 * majority. Such a node cannot follow any more, and its state may never have
 * been true in the cluster: it answers no reads, is not ready, and logs that
 * its directory has to be emptied.
 *
 * It ignores the heartbeats of that leader, too: its answers could keep a
 * leader in office that most nodes contradict. So the state that a majority
 * holds prevails, whichever side has won an election first, and the minority is
 * in quarantine.
 *
 * Only a member is trusted, since one frame is enough. The quarantine ends when
 * the node commits more, which takes a log that agrees with the leader's (3.5),
 * or a snapshot in place of its state; so one append is examined every
 * LOOK_MS. It is kept in memory only: after a restart the next append of the
 * leader starts it again. */
#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/request_internal.h"

enum { LOOK_MS = 10000 };

const struct node_contradiction *node_contradiction(const struct node *node)
{
    return node->quarantine.contradiction.index > 0
               ? &node->quarantine.contradiction
               : NULL;
}

bool node_is_current(const struct node *node)
{
    return !node_contradiction(node) && node_removed_index(node) == 0 &&
           !node_foreign(node);
}

/* Refuse the reads that wait for this node's state. Other nodes' requests in
 * the same list stay: they wait for an index to be applied here. */
static void refuse_reads(struct node *node)
{
    static const enum request_state states[] = {STATE_ASKING, STATE_READING};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        struct list *list = &node->requests.by_state[states[i]];
        for (struct list *at = list->next; at != list;) {
            struct node_request *request = request_of(at);
            at = at->next;
            if (request->kind == REQUEST_READ) {
                request_finish(node, request, NODE_QUARANTINED, 0);
            }
        }
    }
}

bool quarantine_enter(struct node *node, const struct raft_message *message)
{
    const struct raft_member *leader =
        raft_conf_find(raft_conf_active(node->raft), message->from);
    uint64_t index = raft_contradiction(node->raft, message);
    must(index > 0 && index <= raft_commit(node->raft));
    if (!leader) {
        return false;
    }
    bool known = node->quarantine.contradiction.index > 0;
    node->quarantine.from = message->from;
    node->quarantine.term = message->term;
    node->quarantine.retry_ms = node->now_ms + LOOK_MS;
    if (known) {
        return true;
    }
    node->quarantine.contradiction =
        (struct node_contradiction){.index = index};
    memcpy(node->quarantine.contradiction.leader, leader->name,
           RAFT_NAME_BYTES);
    node->quarantine.commit = raft_commit(node->raft);
    log_error("contradiction",
              "index=%llu term_here=%llu leader=%s term=%llu why=\"the leader "
              "does not have an entry that is committed here: no reads are "
              "answered; stop this node, empty its directory, start it with "
              "--join\"",
              (unsigned long long)index,
              (unsigned long long)raft_term_at(node->raft, index), leader->name,
              (unsigned long long)message->term);
    refuse_reads(node);
    return true;
}

bool quarantine_ignores(const struct node *node,
                        const struct raft_message *message)
{
    return node->quarantine.contradiction.index > 0 &&
           message->from == node->quarantine.from &&
           message->term == node->quarantine.term &&
           (message->type == RAFT_MSG_HEARTBEAT ||
            (message->type == RAFT_MSG_APPEND &&
             node->now_ms < node->quarantine.retry_ms));
}

void quarantine_check(struct node *node)
{
    if (node->quarantine.contradiction.index > 0 &&
        raft_commit(node->raft) > node->quarantine.commit) {
        log_info("contradiction",
                 "index=%llu why=\"over: this node follows its leader again\"",
                 (unsigned long long)node->quarantine.contradiction.index);
        node->quarantine.contradiction = (struct node_contradiction){0};
    }
}
