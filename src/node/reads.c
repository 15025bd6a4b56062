/* reads.c -- linearizable reads, and waits for an applied index.
 *
 * A read asks the engine for an index (ASKING): the leader's commit index,
 * confirmed by a majority since the read came (ReadIndex, thesis 6.4). All
 * reads that have gathered share one event. Once the index is applied here
 * (READING) the state shows every write that was acknowledged before the
 * read. */
#include "base/log.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"

void node_read(struct node *node, struct node_request *request)
{
    request_begin(request, REQUEST_READ);
    if (node_foreign(node)) {
        /* The other cluster may hold writes that were acknowledged. */
        request_finish(node, request, NODE_SECOND_CLUSTER, 0);
        return;
    }
    if (node_contradiction(node)) {
        request_finish(node, request, NODE_QUARANTINED, 0);
        return;
    }
    request->cookie = ++node->reads.cookie;
    request_move(node, request, STATE_ASKING);
}

void node_wait(struct node *node, struct node_request *request, uint64_t index)
{
    request_begin(request, REQUEST_READ);
    if (node_contradiction(node)) {
        request_finish(node, request, NODE_QUARANTINED, 0);
        return;
    }
    request->index = index;
    request_move(node, request, STATE_READING);
}

void reads_ask(struct node *node)
{
    if (list_empty(&node->requests.by_state[STATE_ASKING])) {
        node->reads.retry_ms = 0;
        return;
    }
    must(node->reads.asked_cookie <= node->reads.cookie);
    bool again =
        node->reads.retry_ms > 0 && node->now_ms >= node->reads.retry_ms;
    if (node->reads.cookie <= node->reads.asked_cookie && !again) {
        return;
    }
    if (again) {
        node->reads.retry_ms = 0;
        node->reads.cookie++; /* The engine's cookies have to grow. */
    }
    struct raft_event event = {.type = RAFT_READ,
                               .now_ms = node->now_ms,
                               .cookie = node->reads.cookie};
    enum err err = node_step(node, &event, NULL);
    if (err) {
        node->reads.retry_ms = node->now_ms + node->options.heartbeat_ms;
    }
    node->reads.asked_cookie = node->reads.cookie;
}

void reads_indexed(struct node *node, uint64_t cookie, uint64_t index)
{
    struct list *asking = &node->requests.by_state[STATE_ASKING];
    must(cookie <= node->reads.asked_cookie);
    while (!list_empty(asking)) {
        struct node_request *request = request_of(asking->next);
        must(request->state == STATE_ASKING);
        if (request->cookie > cookie) {
            return;
        }
        if (request->kind == REQUEST_READ) {
            request->index = index;
            request_move(node, request, STATE_READING);
        } else if (repeat_confirmed(request, index)) {
            request_submit(node, request, buf_bytes(&request->body));
        } else {
            request_finish(node, request, NODE_UNKNOWN, 0);
        }
    }
}

void reads_failed(struct node *node)
{
    node->reads.retry_ms = node->now_ms + node->options.heartbeat_ms;
}

void reads_release(struct node *node)
{
    uint64_t applied = store_applied(node->store);
    struct list *reading = &node->requests.by_state[STATE_READING];
    if (node_contradiction(node)) {
        return; /* This node's state is not the cluster's: quarantine.c. */
    }
    for (struct list *at = reading->next; at != reading;) {
        struct node_request *request = request_of(at);
        at = at->next;
        must(request->state == STATE_READING);
        if (request->index <= applied) {
            request_finish(node, request, NODE_OK, applied);
        }
    }
}

/* ---- another member ---- */

/* A remote request waits for the index here. A local one is forwarded to the
 * other node as soon as there is a link. */
void node_applied_step(struct node *node, struct node_request *request,
                       struct bytes body)
{
    if (request_is_remote(request)) {
        struct cursor in = cursor_of(body);
        request->index = cursor_u64(&in);
        request_move(node, request, STATE_READING);
    } else if (!forward_to(node, request, request->peer, body)) {
        request_move(node, request, STATE_WAITING);
    }
}

void node_wait_applied(struct node *node, struct node_request *request,
                       raft_id peer, uint64_t index)
{
    request->peer = peer;
    request_accept_id(node, request, REQUEST_APPLIED, index);
}

/* ---- readiness ---- */

static void ready_done(struct node_request *request,
                       const struct node_result *result)
{
    struct node *node = container_of(request, struct node, reads.probe);
    if (result->outcome == NODE_OK) {
        node->reads.ready = true;
        log_info("ready", "applied=%llu",
                 (unsigned long long)store_applied(node->store));
    }
}

void reads_probe_readiness(struct node *node)
{
    if (!node->reads.ready && node->reads.probe.state == STATE_IDLE &&
        raft_leader(node->raft) != 0) {
        node->reads.probe.deadline_ms = node->now_ms + 10000;
        node_read(node, &node->reads.probe);
    }
}

void reads_init(struct node *node)
{
    node->reads.probe.cb = ready_done;
}

void reads_free(struct node *node)
{
    buf_free(&node->reads.probe.body);
}
