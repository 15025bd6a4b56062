/* join.c -- POST /join: a node is added, or reports where it is now. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/member_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"

#define U(x) ((unsigned long long)(x))

/* The answer proves to the node that asks, whose id is not known here, that a
 * membership newer than its own addition has no member of its name. */
static void no_member_any_more(struct conn *conn, const char *name)
{
    char members[64] = "";
    uint64_t index;
    if (node_has_removed(conn->api->node, name, &index)) {
        snprintf(members, sizeof(members), ",\"membership_index\":%llu",
                 U(index));
    }
    api_answer_problem_with(conn, 404, "not-found", "there is no such member",
                            OUTCOME_NOT_APPLIED, members);
}

/* A node that names its cluster is a member already, and reports its current
 * addresses. */
static void report_move(struct conn *conn, const struct member_body *body)
{
    struct node_status status;
    struct raft_member member = body->member;
    node_get_status(conn->api->node, &status);
    if (!status.member ||
        memcmp(status.cluster, body->cluster, sizeof(status.cluster)) != 0) {
        api_answer_problem(conn, 409, "other-cluster",
                           "this node belongs to another cluster",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    const struct raft_member *known =
        api_member_named(conn->api, bytes_of_string(member.name));
    if (!known) {
        no_member_any_more(conn, member.name);
        return;
    }
    member.id = known->id;
    conn->request.finish = api_finish_plain;
    conn->busy = true;
    node_moved(conn->api->node, &conn->request.call, &member);
}

/* craftd's own joiner needs more than hraftd's empty 200: the cluster that it
 * is a member of now, and that its address cannot be reached. The reason is
 * withheld, as in api_member_trouble(). */
static void add_join_headers(struct conn *conn)
{
    struct api *api = conn->api;
    struct node_status status;
    struct buf hex = {0};
    node_get_status(api->node, &status);
    text_add_hex(&hex, status.cluster, sizeof(status.cluster));
    http_add_header(&api->headers, "Craftd-Cluster", buf_bytes(&hex));
    buf_free(&hex);
    const struct raft_member *member =
        api_member_named(conn->api, buf_bytes(&conn->request.key));
    if (member && !api_member_is_reachable(api, &status, member->id) &&
        api->options.peer_error(api->options.arg, member->id)[0] != '\0') {
        http_add_header(&api->headers, "Craftd-Unreached",
                        bytes_of_string(member->addr));
    }
}

static void finish_join(struct conn *conn, const struct node_result *result)
{
    if (result->outcome != NODE_OK) {
        api_member_finish(conn, result, conn->state.join.addr);
        return;
    }
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    conn->answer.index = result->index;
    add_join_headers(conn);
    api_answer(conn, 200, NULL, (struct bytes){0});
}

/* A node that waits to be added itself cannot add others. */
static bool is_joining(const struct api *api)
{
    return !node_is_member(api->node) && !node_foreign(api->node) &&
           node_bootstrap_in_ms(api->node) == 0;
}

void api_on_join(struct conn *conn, const struct http_request *request)
{
    struct member_body body;
    if (!api_read_timeout(conn) || api_redirected(conn, request)) {
        return;
    }
    const char *wrong = api_read_member(request, &body);
    if (!wrong && (!body.has_id || !body.has_addr)) {
        wrong = "id and addr are needed";
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-json", wrong, OUTCOME_NOT_APPLIED);
        return;
    }
    if (!api_gate_may_join(conn, &body.member)) {
        return;
    }
    if (body.has_cluster) {
        report_move(conn, &body);
        return;
    }
    if (is_joining(conn->api)) {
        api_answer_problem(conn, 503, "starting",
                           "this node waits to join a cluster itself",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    conn->request.key.size = 0; /* The answer names it. */
    buf_add_string(&conn->request.key, body.member.name);
    memcpy(conn->state.join.addr, body.member.addr, RAFT_ADDR_BYTES);
    conn->request.finish = finish_join;
    conn->busy = true;
    body.member.id = body.replace ? NODE_JOIN_REPLACE : 0;
    node_join(conn->api->node, &conn->request.call, &body.member);
}
