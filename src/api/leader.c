/* leader.c -- /leader: which member leads, and handing leadership over. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/member_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "http/http.h"
#include "node/node.h"

static void show_leader(struct conn *conn)
{
    struct api *api = conn->api;
    const struct raft_member *leader = node_leader(api->node);
    if (!leader) {
        api_answer_problem(conn, 503, "no-leader", "no leader is known",
                           OUTCOME_NONE);
        return;
    }
    buf_add_u8(&api->body, '{');
    api_add_text(&api->body, "id", leader->name);
    buf_add_u8(&api->body, ',');
    api_add_text(&api->body, "address", leader->addr);
    buf_add_u8(&api->body, ',');
    api_add_text(&api->body, "http", leader->http);
    buf_add_string(&api->body, "}\n");
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}

static void no_leader_yet(struct conn *conn, const char *message)
{
    api_answer_problem(conn, 504, "commit-timeout", message, OUTCOME_UNKNOWN);
}

static void finish_new_leader(struct conn *conn,
                              const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        show_leader(conn);
    } else {
        no_leader_yet(
            conn, "leadership was handed over, and no new leader is known yet");
    }
}

/* Leadership was handed over. The request is done when this node knows the new
 * leader, and a read by way of it succeeds. */
static void finish_leader(struct conn *conn, const struct node_result *result)
{
    if (result->outcome == NODE_UNKNOWN && !result->link_down) {
        conn->api->body.size = 0;
        conn->api->headers.size = 0;
        no_leader_yet(
            conn,
            "the leader has stepped down, and no new leader is known yet");
        return;
    }
    if (result->outcome != NODE_OK) {
        api_member_finish(conn, result, "");
        return;
    }
    conn->request.finish = finish_new_leader;
    node_read(conn->api->node, &conn->request.call);
}

/* `id` 0: the leader chooses the member that has caught up best. */
static void transfer(struct conn *conn, raft_id id)
{
    conn->busy = true;
    conn->request.finish = finish_leader;
    node_transfer(conn->api->node, &conn->request.call, id);
}

static void transfer_to(struct conn *conn, const struct raft_member *member)
{
    transfer(conn, member->id);
}

void api_on_leader(struct conn *conn, const struct http_request *request)
{
    struct member_body body = {0};
    if (is_get(request)) {
        show_leader(conn);
        return;
    }
    if (!api_read_timeout(conn)) {
        return;
    }
    const char *wrong =
        request->body.size > 0 ? api_read_member(request, &body) : NULL;
    if (wrong) {
        api_answer_problem(conn, 400, "bad-json", wrong, OUTCOME_NOT_APPLIED);
        return;
    }
    if (body.has_id) {
        conn->request.key.size = 0;
        buf_add_string(&conn->request.key, body.member.name);
        api_member_change(conn, transfer_to);
        return;
    }
    transfer(conn, 0);
}
