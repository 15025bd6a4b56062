/* forward.c -- requests between a follower and the leader.
 *
 * A follower sends a request to the leader once (but see repeat.c), keeps it in
 * the list FORWARDED, and finishes it with the leader's answer. The leader
 * keeps a struct remote for it, submits it as one of its own, and answers from
 * the callback. A request that was forwarded is never forwarded again: its
 * follower sends it to the next leader. */
#include "command/command.h"
#include "command/result.h"
#include "node/node_internal.h"
#include "node/request_internal.h"

/* A request that a follower forwarded to this node. */
struct remote {
    struct node_request request;
    struct node *node;
    struct list link; /* In node->forward.remotes or .idle. */
    raft_id from;
    uint64_t cookie; /* The follower's. */
};

/* Memory of the body that an idle struct remote keeps, for the next one. */
enum { REMOTE_BYTES_KEPT = 64 << 10 };

/* Upper bound on requests from other nodes, in times of proposals_max. */
enum { REMOTES_PER_PROPOSAL = 2 };

/* ---- to the leader ---- */

static enum wire_forward_kind forward_kind(const struct node_request *request)
{
    switch ((enum request_kind)request->kind) {
    case REQUEST_WRITE:
        return WIRE_FORWARD_COMMAND;
    case REQUEST_JOIN:
        return WIRE_FORWARD_JOIN;
    case REQUEST_REMOVE:
        return WIRE_FORWARD_REMOVE;
    case REQUEST_TRANSFER:
        return WIRE_FORWARD_TRANSFER;
    case REQUEST_SUFFRAGE:
        return WIRE_FORWARD_SUFFRAGE;
    case REQUEST_APPLIED:
        return WIRE_FORWARD_APPLIED;
    case REQUEST_READ:
    case REQUEST_CHECKPOINT:
    case REQUEST_SNAPSHOT:
        break;
    }
    die("a request of kind %d was to be forwarded", request->kind);
}

bool forward_to(struct node *node, struct node_request *request, raft_id peer,
                struct bytes body)
{
    struct buf *out = transport_output(&node->env.transport, peer);
    if (!out) {
        return false;
    }
    must(peer != 0 && peer != node->ident.id);
    must(!request_is_remote(request)); /* Nothing is forwarded twice. */
    request_unlink(node, request);
    request_set_body(request, body);
    request->cookie = ++node->forward.cookie;
    request->peer = peer;
    if (!request->uncertain) {
        request->sent_commit = raft_commit(node->raft);
    }
    struct wire_forward frame = {.request = request->cookie,
                                 .kind = forward_kind(request),
                                 .body = buf_bytes(&request->body)};
    wire_add_forward(out, &frame);
    node->metrics.forwarded++;
    request_move(node, request, STATE_FORWARDED);
    return true;
}

bool forward_to_leader(struct node *node, struct node_request *request,
                       struct bytes body)
{
    raft_id leader = raft_leader(node->raft);
    return leader != 0 && leader != node->ident.id &&
           forward_to(node, request, leader, body);
}

/* ---- detail of an answer ----
 *
 * One number: the keys that a delete found, or why a request was refused. A
 * node of an older build ignores it after a refusal, and sends 0. */
enum { DETAIL_WAIT_SHIFT = 8 };

static uint64_t detail_of(const struct node_result *result)
{
    return result->outcome == NODE_OK
               ? result->deleted
               : (uint64_t)result->refusal | result->wait_ms
                                                 << DETAIL_WAIT_SHIFT;
}

static void take_detail(struct node_result *result, uint64_t detail,
                        enum node_outcome outcome)
{
    uint64_t refusal = detail & ((1 << DETAIL_WAIT_SHIFT) - 1);
    if (outcome == NODE_OK) {
        result->deleted = detail;
    } else if (refusal < NODE_REFUSAL_COUNT) {
        result->refusal = (enum node_refusal)refusal;
        result->wait_ms = detail >> DETAIL_WAIT_SHIFT;
    }
}

/* ---- from a follower ---- */

static void remote_done(struct node_request *request,
                        const struct node_result *result)
{
    struct remote *remote = container_of(request, struct remote, request);
    struct node *node = remote->node;
    must(request->state == STATE_IDLE);
    struct buf *out = transport_output(&node->env.transport, remote->from);
    if (out) {
        struct wire_forward_resp resp = {.request = remote->cookie,
                                         .outcome = (uint8_t)result->outcome,
                                         .index = result->index,
                                         .detail = detail_of(result),
                                         .result = result->data};
        wire_add_forward_resp(out, &resp);
    }
    if (remote->request.body.capacity > REMOTE_BYTES_KEPT) {
        buf_free(&remote->request.body);
    }
    list_remove(&remote->link);
    list_add(&node->forward.idle, &remote->link);
    must(node->forward.remote_count > 0);
    node->forward.remote_count--;
}

bool request_is_remote(const struct node_request *request)
{
    return request->cb == remote_done;
}

static struct remote *remote_take(struct node *node)
{
    struct remote *remote;
    if (list_empty(&node->forward.idle)) {
        remote = mem_zalloc(sizeof(*remote));
        remote->node = node;
        remote->request.cb = remote_done;
        list_init(&remote->link);
    } else {
        remote = container_of(node->forward.idle.next, struct remote, link);
        list_remove(&remote->link);
    }
    must(remote->node == node && remote->request.state == STATE_IDLE);
    list_add(&node->forward.remotes, &remote->link);
    node->forward.remote_count++;
    return remote;
}

static bool forward_valid(const struct wire_forward *forward)
{
    struct raft_member member;
    switch (forward->kind) {
    case WIRE_FORWARD_COMMAND:
        return command_is_request(forward->body);
    case WIRE_FORWARD_JOIN:
        return wire_decode_member(forward->body, &member) == ERR_OK;
    case WIRE_FORWARD_REMOVE:
    case WIRE_FORWARD_TRANSFER:
    case WIRE_FORWARD_APPLIED:
        return forward->body.size == 8;
    case WIRE_FORWARD_SUFFRAGE:
        return forward->body.size == 9 && forward->body.data[8] <= 1;
    }
    return false;
}

static enum request_kind kind_of_forward(enum wire_forward_kind kind)
{
    switch (kind) {
    case WIRE_FORWARD_COMMAND:
        return REQUEST_WRITE;
    case WIRE_FORWARD_JOIN:
        return REQUEST_JOIN;
    case WIRE_FORWARD_REMOVE:
        return REQUEST_REMOVE;
    case WIRE_FORWARD_TRANSFER:
        return REQUEST_TRANSFER;
    case WIRE_FORWARD_SUFFRAGE:
        return REQUEST_SUFFRAGE;
    case WIRE_FORWARD_APPLIED:
        return REQUEST_APPLIED;
    }
    return REQUEST_WRITE;
}

static void refuse_forward(struct node *node, raft_id to, uint64_t request,
                           enum node_outcome outcome)
{
    struct buf *out = transport_output(&node->env.transport, to);
    if (out) {
        wire_add_forward_resp(
            out, &(struct wire_forward_resp){.request = request,
                                             .outcome = (uint8_t)outcome});
    }
}

bool forward_on_request(struct node *node, raft_id from,
                        const struct wire_forward *forward)
{
    if (!forward_valid(forward)) {
        return false;
    }
    if (!raft_conf_find(raft_conf_active(node->raft), from)) {
        /* Not carried out: the sender was removed, or never was a member. */
        refuse_forward(node, from, forward->request, NODE_NO_LEADER);
        return true;
    }
    /* Writes have a lower bound of their own. The others, which wait for an
     * index, a membership change or a leader, have this one. */
    if (node->forward.remote_count >=
        REMOTES_PER_PROPOSAL * (uint64_t)node->options.proposals_max) {
        refuse_forward(node, from, forward->request, NODE_BUSY);
        return true;
    }
    struct remote *remote = remote_take(node);
    remote->from = from;
    remote->cookie = forward->request;
    /* The follower enforces the client's own deadline. A join is tried until it
     * succeeds, so it has a shorter bound for a client that is gone. */
    remote->request.deadline_ms =
        node->now_ms + (forward->kind == WIRE_FORWARD_JOIN ? 10000 : 60000);
    request_accept(node, &remote->request, kind_of_forward(forward->kind),
                   forward->body);
    return true;
}

/* The follower that forwarded a request sends it to the next leader, and may
 * know that leader before this node does: a removed node never does. */
void forward_return_waiting(struct node *node)
{
    struct list *waiting = &node->requests.by_state[STATE_WAITING];
    for (struct list *at = waiting->next; at != waiting;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (request_is_remote(request)) {
            request_finish(node, request, NODE_NO_LEADER, 0);
        }
    }
}

/* ---- answers of the leader ---- */

static struct node_request *find_forwarded(struct node *node, raft_id from,
                                           uint64_t cookie)
{
    struct list *forwarded = &node->requests.by_state[STATE_FORWARDED];
    for (struct list *at = forwarded->next; at != forwarded; at = at->next) {
        struct node_request *request = request_of(at);
        if (request->cookie == cookie && request->peer == from) {
            return request;
        }
    }
    return NULL;
}

bool forward_on_response(struct node *node, raft_id from,
                         const struct wire_forward_resp *resp)
{
    if (resp->outcome >= NODE_OUTCOME_COUNT) {
        return false;
    }
    /* Answers come roughly in the order of requests, so the search is short.
     * A request that is not found was cancelled, or its time was over. */
    struct node_request *request = find_forwarded(node, from, resp->request);
    if (!request) {
        return true;
    }
    if (resp->outcome == NODE_NO_LEADER || resp->outcome == NODE_LOST) {
        /* Not carried out: it may go to the next leader. */
        request_move(node, request, STATE_WAITING);
        return true;
    }
    if (resp->outcome == NODE_UNKNOWN && repeat_forwarded(node, request)) {
        return true; /* The node that was asked does not lead any more. */
    }
    take_detail(&request->result, resp->detail,
                (enum node_outcome)resp->outcome);
    if (resp->outcome == NODE_OK && request->kind == REQUEST_WRITE) {
        if (!result_fits(resp->result, buf_bytes(&request->body))) {
            return false; /* The link ends; the outcome is unknown. */
        }
        request_set_result(request, resp->result);
    }
    request_finish(node, request, (enum node_outcome)resp->outcome,
                   resp->index);
    return true;
}

void forward_peer_down(struct node *node, raft_id peer)
{
    struct list *forwarded = &node->requests.by_state[STATE_FORWARDED];
    for (struct list *at = forwarded->next; at != forwarded;) {
        struct node_request *request = request_of(at);
        at = at->next;
        if (request->peer == peer && request->kind == REQUEST_APPLIED) {
            request_move(node, request,
                         STATE_WAITING); /* It changes nothing. */
        } else if (request->peer == peer) {
            request->result.link_down = true;
            if (!repeat_forwarded(node, request)) {
                request_finish(node, request, NODE_UNKNOWN, 0);
            }
        }
    }
}

static void free_remotes(struct list *remotes)
{
    while (!list_empty(remotes)) {
        struct remote *remote =
            container_of(remotes->next, struct remote, link);
        list_remove(&remote->link);
        buf_free(&remote->request.body);
        mem_free(remote);
    }
}

void forward_init(struct node *node)
{
    list_init(&node->forward.remotes);
    list_init(&node->forward.idle);
}

void forward_free(struct node *node)
{
    free_remotes(&node->forward.remotes);
    free_remotes(&node->forward.idle);
}
