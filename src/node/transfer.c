/* transfer.c -- leadership handed over to another node. */
#include "base/log.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"

/* A node that still leads has a majority, so the target did not catch up in
 * time. Otherwise it lost the majority, or another node has won, perhaps the
 * target. */
static enum node_outcome failure_outcome(const struct node *node)
{
    return raft_is_leader(node->raft) ? NODE_NOT_CAUGHT_UP : NODE_UNKNOWN;
}

void transfer_step(struct node *node, struct node_request *request)
{
    struct cursor body = cursor_of(buf_bytes(&request->body));
    struct raft_event event = {.type = RAFT_TRANSFER,
                               .now_ms = node->now_ms,
                               .peer = cursor_u64(&body)};
    must(raft_is_leader(node->raft));
    if (event.peer == node->ident.id) {
        request_finish(node, request, NODE_OK, raft_commit(node->raft));
        return;
    }
    if (node->transfer.asked) {
        request_finish(node, request, NODE_CONF_BUSY, 0);
        return;
    }
    enum err err = node_step(node, &event, NULL);
    if (!err) {
        node->transfer.asked = true;
        request_move(node, request, STATE_TRANSFER);
        return;
    }
    const struct raft_member *target =
        raft_conf_find(raft_conf_active(node->raft), event.peer);
    if (event.peer != 0 && !target) {
        request_finish(node, request, NODE_NOT_FOUND, 0);
    } else if (err == ERR_BUSY) {
        request_finish(node, request, NODE_CONF_BUSY, 0);
    } else {
        request_refuse(node, request, NODE_NOT_CAUGHT_UP,
                       target && target->suffrage != RAFT_VOTER
                           ? NODE_REFUSED_NO_VOTE
                           : NODE_REFUSED_OTHERWISE);
    }
}

void node_transfer(struct node *node, struct node_request *request, raft_id id)
{
    request_accept_id(node, request, REQUEST_TRANSFER, id);
}

void transfer_finished(struct node *node, bool ok)
{
    struct node_request *request = node->transfer.request;
    must(node->transfer.asked);
    must(!request || request->state == STATE_TRANSFER);
    node->transfer.asked = false;
    log_info("transfer", "outcome=%s", ok ? "done" : "failed");
    if (request) {
        request_finish(node, request, ok ? NODE_OK : failure_outcome(node),
                       raft_commit(node->raft));
    }
}

static bool has_other_voter(const struct node *node)
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
    bool first = !node->stop.asked;
    node->stop.asked = true;
    node->stop.since_ms =
        first ? node->env.now_ms(node->env.self) : node->stop.since_ms;
    if (!node->member || !raft_is_leader(node->raft) ||
        !has_other_voter(node) || node->transfer.asked) {
        return;
    }
    node->now_ms = node->env.now_ms(node->env.self);
    struct raft_event event = {.type = RAFT_TRANSFER, .now_ms = node->now_ms};
    enum err err = node_step(node, &event, NULL);
    if (err) {
        if (first) {
            log_warn("transfer", "why=\"%s\"", err_name(err));
        }
        return;
    }
    node->transfer.asked = true;
}

bool node_stopped(const struct node *node)
{
    must(node->stop.asked);
    if (!node->member) {
        return true;
    }
    if (raft_is_leader(node->raft) && has_other_voter(node)) {
        return false;
    }
    return list_empty(&node->requests.by_state[STATE_PROPOSED]) &&
           list_empty(&node->requests.by_state[STATE_FORWARDED]) &&
           list_empty(&node->requests.by_state[STATE_DONE]);
}
