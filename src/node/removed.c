/* removed.c -- nodes that are no members any more, and their notices.
 *
 * A removal is final: ids are never reused, and an id is the index of the entry
 * that added it. So a node that is not in the newest committed membership, and
 * whose own entry is committed here, has been removed. A membership that is
 * not committed yet proves nothing.
 *
 * A removed node is not sent the log any more. Its links stay, others may come
 * up when it starts again, and each member that it reaches notifies it
 * (WIRE_REMOVED). It accepts a notice only from a member of its own membership,
 * since anybody can send the frame. */
#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/request_internal.h"

static bool is_removed(const struct node *node, raft_id id)
{
    uint64_t index;
    const struct raft_conf *conf = raft_conf_committed(node->raft, &index);
    return index > 0 && id <= raft_commit(node->raft) &&
           !raft_conf_find(conf, id);
}

bool node_has_removed(const struct node *node, const char *name,
                      uint64_t *index)
{
    if (!node->member) {
        return false;
    }
    const struct raft_conf *conf = raft_conf_committed(node->raft, index);
    for (uint32_t i = 0; i < conf->count; i++) {
        if (strcmp(conf->members[i].name, name) == 0) {
            return false;
        }
    }
    return *index > 0;
}

static struct linked *find_link(struct node *node, raft_id id)
{
    for (int i = 0; i < NODE_LINKS_MAX; i++) {
        if (node->removed.linked[i].id == id) {
            return &node->removed.linked[i];
        }
    }
    return NULL;
}

void removed_link_changed(struct node *node, raft_id peer, bool up)
{
    struct linked *linked = find_link(node, peer);
    if (!up) {
        if (linked) {
            *linked = (struct linked){0};
        }
        return;
    }
    linked = linked ? linked : find_link(node, 0);
    must(linked); /* peer/ has no more links than there are rows. */
    *linked = (struct linked){.id = peer};
    node->removed.links_changed = true;
}

static void notify_removed(struct node *node, uint64_t index)
{
    for (int i = 0; i < NODE_LINKS_MAX; i++) {
        struct linked *linked = &node->removed.linked[i];
        if (linked->id == 0 || linked->removed ||
            !is_removed(node, linked->id)) {
            continue;
        }
        struct buf *out = transport_output(&node->env.transport, linked->id);
        if (out) {
            wire_add_removed(out, index);
            linked->removed = true;
        } else {
            node->removed.links_changed = true; /* Queue full: try again. */
        }
    }
}

static void set_removed(struct node *node, uint64_t index, const char *from)
{
    must(index >= node->ident.id);
    if (node->removed.index > 0) {
        return;
    }
    node->removed.index = index;
    log_error("removed",
              "index=%llu by=%s why=\"removed from its cluster: empty the "
              "directory to join anew\"",
              (unsigned long long)index, from);
}

void removed_check(struct node *node)
{
    uint64_t index;
    raft_conf_committed(node->raft, &index);
    if (index == node->removed.checked_conf && !node->removed.links_changed) {
        return;
    }
    node->removed.checked_conf = index;
    node->removed.links_changed = false;
    notify_removed(node, index);
    if (is_removed(node, node->ident.id)) {
        set_removed(node, index, "its own log");
    }
}

bool removed_on_notice(struct node *node, raft_id from, uint64_t index)
{
    uint64_t committed;
    const struct raft_member *member =
        raft_conf_find(raft_conf_active(node->raft), from);
    if (!member) {
        member =
            raft_conf_find(raft_conf_committed(node->raft, &committed), from);
    }
    if (!member || index < node->ident.id) {
        log_warn("removed",
                 "from=%llu index=%llu why=\"ignored: the sender is no "
                 "member\"",
                 (unsigned long long)from, (unsigned long long)index);
        return false;
    }
    set_removed(node, index, member->name);
    return true;
}

void node_on_removed(struct node *node, uint64_t index)
{
    if (node->member && index >= node->ident.id) {
        set_removed(node, index, "--join");
    }
}

uint64_t node_removed_index(const struct node *node)
{
    return node->removed.index;
}

const struct raft_conf *removed_conf(struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    if (node->removed.index == 0) {
        return conf;
    }
    node->removed.others.count = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        if (conf->members[i].id != node->ident.id) {
            node->removed.others.members[node->removed.others.count++] =
                conf->members[i];
        }
    }
    return &node->removed.others;
}

bool removed_fails_request(const struct node *node,
                           const struct node_request *request)
{
    if (node->removed.index == 0 || raft_is_leader(node->raft)) {
        return false;
    }
    switch ((enum request_state)request->state) {
    case STATE_WAITING:
        return raft_leader(node->raft) == 0;
    case STATE_ASKING:
        return true; /* A leader does not answer a node that is no member. */
    case STATE_PROPOSED:
    case STATE_ORPHAN:
    case STATE_READING:
        return request->index > raft_commit(node->raft);
    case STATE_FORWARDED:
    case STATE_TRANSFER:
    case STATE_SNAPSHOT:
    case STATE_IDLE:
    case STATE_DONE:
    case STATE_COUNT:
        break;
    }
    return false;
}
