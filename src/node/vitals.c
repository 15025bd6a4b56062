/* vitals.c -- what members report to each other for operators: version, sizes,
 * memory, free disk, latency of commits, and what a leader knows of its peers.
 * Whoever looks at one node sees all of them then, without requests to the
 * others, which may be behind other addresses than a client can reach.
 *
 * A report is one small frame on each link, every INTERVAL_MS, and soon after
 * a link comes up, or the leader or the membership changes; only a turn that
 * runs for another reason sends it. The last report of a member stays when its
 * link is down. Nothing is decided by it. */
#include "node/node_internal.h"

enum { INTERVAL_MS = 5000 };

static uint64_t commit_p99_us(struct node *node)
{
    const struct histogram *all = &node->metrics.commit_us;
    struct histogram *before = &node->vitals.commits;
    struct histogram now = *all;
    for (uint32_t i = 0; before->bounds && i <= now.bound_count; i++) {
        must(now.counts[i] >= before->counts[i]);
        now.counts[i] -= before->counts[i];
    }
    *before = *all;
    return histogram_quantile(&now, 990);
}

void node_get_own_vitals(const struct node *node,
                         const struct node_status *status,
                         struct wire_vitals *own)
{
    const struct node_env *env = &node->env;
    *own = (struct wire_vitals){.applied = status->applied,
                                .db_bytes = status->db_bytes,
                                .log_bytes = status->log_bytes};
    if (env->vitals) {
        env->vitals(env->vitals_arg, own);
    }
}

void vitals_report(struct node *node)
{
    const struct node_env *env = &node->env;
    struct node_status status;
    if (!env->vitals || node->now_ms < node->vitals.due_ms) {
        return;
    }
    const struct raft_conf *conf = raft_conf_active(node->raft);
    node->vitals.due_ms = node->now_ms + INTERVAL_MS;
    if (conf->count < 2) {
        return;
    }
    node_get_status(node, &status);
    struct wire_vitals own;
    node_get_own_vitals(node, &status, &own);
    own.commit_p99_us = commit_p99_us(node);
    own.peer_count = status.raft.peer_count;
    for (uint32_t i = 0; i < own.peer_count; i++) {
        const struct raft_peer_status *peer = &status.raft.peers[i];
        own.peers[i] =
            (struct wire_vitals_peer){.id = peer->id,
                                      .lag = status.raft.last - peer->match,
                                      .rtt_ms = peer->rtt_ms};
    }
    for (uint32_t i = 0; i < conf->count; i++) {
        raft_id id = conf->members[i].id;
        struct buf *out = id == status.raft.self
                              ? NULL
                              : transport_output(&env->transport, id);
        if (out) {
            wire_add_vitals(out, &own);
        }
    }
}

void vitals_expedite(struct node *node)
{
    node->vitals.due_ms = 0;
}

void vitals_take(struct node *node, raft_id from,
                 const struct wire_vitals *report)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    size_t row = RAFT_MEMBERS_MAX;
    /* A new node knows no member yet, and learns from the first report how far
     * the leader is: later ones arrive behind all that it lacks. */
    if (conf->count > 0 && !raft_conf_find(conf, from)) {
        return;
    }
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        raft_id id = node->vitals.of[i].id;
        if (id == from) {
            row = i;
            break;
        }
        if (row == RAFT_MEMBERS_MAX && !raft_conf_find(conf, id)) {
            row = i; /* It is free, or of a member that was removed. */
        }
    }
    must(row < RAFT_MEMBERS_MAX);
    node->vitals.of[row].id = from;
    node->vitals.of[row].at_ms = node->now_ms;
    node->vitals.of[row].report = *report;
}

const struct wire_vitals *node_get_vitals(const struct node *node, raft_id id,
                                          uint64_t *age_ms)
{
    uint64_t now_ms = node->env.now_ms(node->env.self);
    for (size_t i = 0; id > 0 && i < RAFT_MEMBERS_MAX; i++) {
        if (node->vitals.of[i].id == id) {
            *age_ms = now_ms - node->vitals.of[i].at_ms;
            return &node->vitals.of[i].report;
        }
    }
    return NULL;
}
