/* leave.c -- a node that is stopped takes itself out of the membership. */
#include "ops/ops.h"

#include "base/log.h"

enum leaving { LEAVING_NOT, LEAVING_ASKED, LEAVING_DONE };

struct ops_leave {
    struct reactor *reactor;
    struct node *node;
    struct node_request request;
    enum leaving leaving;
};

static void on_removed(struct node_request *request,
                       const struct node_result *result)
{
    struct ops_leave *leave = container_of(request, struct ops_leave, request);
    must(leave->leaving == LEAVING_ASKED);
    leave->leaving = LEAVING_DONE;
    if (result->outcome == NODE_OK) {
        node_mark_left(leave->node);
        log_info("left", "index=%llu", (unsigned long long)result->index);
    } else if (result->outcome == NODE_UNKNOWN) {
        /* The usual case: a leader does not answer a removed node. */
        log_info("left", "why=\"the answer did not arrive\"");
    } else {
        log_warn("leave", "why=\"%s\"", node_outcome_name(result->outcome));
    }
}

struct ops_leave *ops_leave_new(struct reactor *reactor, struct node *node)
{
    struct ops_leave *leave = mem_zalloc(sizeof(*leave));
    leave->reactor = reactor;
    leave->node = node;
    return leave;
}

bool ops_leave_run(struct ops_leave *leave, uint64_t by_ms)
{
    if (!leave || !node_is_member(leave->node) ||
        leave->leaving == LEAVING_DONE ||
        reactor_now_ms(leave->reactor) >= by_ms) {
        return false;
    }
    if (leave->leaving == LEAVING_NOT) {
        struct node_status status;
        node_get_status(leave->node, &status);
        leave->leaving = LEAVING_ASKED;
        leave->request.cb = on_removed;
        leave->request.deadline_ms = by_ms;
        node_remove(leave->node, &leave->request, status.raft.self);
    }
    return true;
}

void ops_leave_free(struct ops_leave *leave)
{
    if (!leave) {
        return;
    }
    node_cancel(leave->node, &leave->request);
    node_request_free(&leave->request);
    mem_free(leave);
}
