/* update.c -- the parts of an update of the engine that are neither messages
 * nor writes: role, membership, commit index, reads, snapshots, transfers. */
#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/snapshot_internal.h"

static void log_role(struct node *node)
{
    struct raft_status status;
    raft_get_status(node->raft, &status);
    const struct raft_member *leader = node_leader(node);
    log_info("role", "role=%s term=%llu leader=%s commit=%llu last=%llu",
             raft_role_name(status.role), (unsigned long long)status.term,
             leader ? leader->name : "-", (unsigned long long)status.commit,
             (unsigned long long)status.last);
}

static void log_members(struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        log_info("member", "id=%s number=%llu addr=%s role=%s", member->name,
                 (unsigned long long)member->id, member->addr,
                 member->suffrage == RAFT_VOTER     ? "voter"
                 : member->suffrage == RAFT_LEARNER ? "learner"
                                                    : "observer");
    }
}

/* Members to dial: all of them, except a newcomer whose entry is not committed
 * yet. The first HELLO gives a newcomer its id for good, so the entry that adds
 * it must not be lost afterwards; it has no vote, and can wait. */
void node_set_members(struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    uint64_t commit = raft_commit(node->raft);
    struct raft_conf *known = &node->links.members;
    *known = (struct raft_conf){0};
    node->links.newcomer = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->suffrage == RAFT_VOTER || member->id <= commit) {
            known->members[known->count++] = *member;
        } else {
            /* The newest one. There are several only after a restart, when
             * committed entries are not known as such yet. */
            node->links.newcomer = member->id;
        }
    }
    must(raft_conf_find(conf, node->links.newcomer) || !node->links.newcomer);
    node->env.transport.set_members(node->env.transport.self, known);
    incarnation_members_changed(node);
    if (!raft_conf_find(conf, node->snapshot.outgoing.peer)) {
        snapshot_peer_down(node, node->snapshot.outgoing.peer);
    }
}

/* Count changes of the leader. A node that leads again in a later term counts
 * as a new leader. */
static void count_leader(struct node *node)
{
    raft_id leader = raft_leader(node->raft);
    uint64_t term = raft_term(node->raft);
    if (leader != 0 &&
        (leader != node->leader.seen || term != node->leader.seen_term)) {
        node->metrics.leader_changes++;
        if (leader == node->ident.id) {
            node->leader.own_since_ms = node->now_ms;
        }
        node->leader.seen = leader;
        node->leader.seen_term = term;
    }
}

void node_handle_update(struct node *node)
{
    const struct raft_update *update = &node->update;
    if (update->apply_hi >= update->apply_lo) {
        must(update->apply_lo == node->apply.to + 1);
        must(update->apply_hi <= raft_commit(node->raft));
        node->apply.to = update->apply_hi;
    }
    if (update->read_cookie > 0) {
        reads_indexed(node, update->read_cookie, update->read_index);
    }
    if (update->read_failed > 0) {
        reads_failed(node);
    }
    if (update->role_changed) {
        log_role(node);
        node->addresses.changed = true;
        count_leader(node);
        requests_leader_changed(node);
        vitals_expedite(node);
    }
    if (update->conf_changed) {
        node->addresses.changed = true;
        log_members(node);
        vitals_expedite(node);
    }
    if (update->conf_changed ||
        (node->links.newcomer != 0 &&
         raft_commit(node->raft) >= node->links.newcomer)) {
        node_set_members(node);
    }
    if (update->snapshot_peer != 0) {
        snapshot_wanted(node, update->snapshot_peer);
    }
    if (update->transfer_done) {
        transfer_finished(node, update->transfer_ok);
    }
}
