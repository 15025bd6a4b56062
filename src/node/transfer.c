/* transfer.c -- leadership handed over to another node. */
#include "base/log.h"
#include "node/node_internal.h"

void transfer_finished(struct node *node, bool ok)
{
    struct node_request *request = node->transfer;
    node->transfer = NULL;
    node->transfer_asked = false;
    log_info("transfer", "outcome=%s", ok ? "done" : "failed");
    if (request) {
        request_finish(node, request,
                       ok ? NODE_OK : request_transfer_failed(node),
                       raft_commit(node->raft));
    }
}

static bool another_voter(const struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    const struct raft_member *self = raft_conf_find(conf, node->ident.id);
    uint32_t others = raft_conf_voters(conf);
    if (self && self->suffrage == RAFT_VOTER) {
        others--;
    }
    return others > 0;
}

void node_stop(struct node *node)
{
    bool first = !node->stopping;
    node->stopping = true;
    node->stopping_ms =
        first ? node->env.now_ms(node->env.self) : node->stopping_ms;
    if (!node->member || !raft_is_leader(node->raft) || !another_voter(node) ||
        node->transfer_asked) {
        return;
    }
    node->now_ms = node->env.now_ms(node->env.self);
    struct raft_event event = {.type = RAFT_TRANSFER, .now_ms = node->now_ms};
    enum err err = node_step(node, &event, (struct bytes){0});
    if (err) {
        if (first) {
            log_warn("transfer", "why=\"%s\"", err_name(err));
        }
        return;
    }
    node->transfer_asked = true;
}

bool node_stopped(const struct node *node)
{
    must(node->stopping);
    if (!node->member) {
        return true;
    }
    if (raft_is_leader(node->raft) && another_voter(node)) {
        return false;
    }
    return list_empty(&node->requests[STATE_PROPOSED]) &&
           list_empty(&node->requests[STATE_FORWARDED]) &&
           list_empty(&node->requests[STATE_DONE]);
}
