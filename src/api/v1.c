/* v1.c -- /api/v1: its description (openapi.yaml), and the members in the form
 * of brokerd's document. Properties are in properties.c;
 * /api/v1/cluster/leader, sync, snapshot and /api/v1/join have the handlers of
 * the shorter paths. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

/* ---- /api/v1, /api/v1/openapi.yaml ---- */

void api_on_v1(struct conn *conn, const struct http_request *request)
{
    static const char name[] = "{\"name\":\"craftd\",\"api\":\"v1\"}\n";
    bool document = bytes_equal_string(request->path, "/api/v1/openapi.yaml");
    if (document) {
        api_answer_embedded(conn, request, "application/yaml",
                            embedded_openapi);
    } else {
        api_answer(conn, 200, "application/json", bytes_of_string(name));
    }
}

/* ---- /api/v1/cluster/nodes ---- */

/* A node knows only of itself that it is a candidate. */
static const char *status_of(struct node *node,
                             const struct node_status *status,
                             const struct raft_member *member)
{
    const struct raft_member *leader = node_leader(node);
    if (leader && leader->id == member->id) {
        return "leader";
    }
    bool campaigns = member->id == status->raft.self && !leader &&
                     strstr(raft_role_name(status->raft.role), "candidate");
    return campaigns ? "candidate" : "follower";
}

static void add_member(struct buf *out, const struct raft_member *member,
                       const char *status)
{
    buf_add_string(out, "{\"id\":");
    json_add_string(out, bytes_of_string(member->name));
    buf_add_string(out, ",\"address\":");
    json_add_string(out, bytes_of_string(member->addr));
    buf_printf(out, ",\"status\":\"%s\"}", status);
}

static bool take_status(struct conn *conn, struct bytes *status)
{
    *status = (struct bytes){0};
    if (!api_get_param(conn, PARAM_STATUS, status) ||
        bytes_equal_string(*status, "leader") ||
        bytes_equal_string(*status, "follower") ||
        bytes_equal_string(*status, "candidate")) {
        return true;
    }
    api_answer_problem(conn, 400, "bad-param",
                       "status is leader, follower or candidate", OUTCOME_NONE);
    return false;
}

void api_on_v1_nodes(struct conn *conn, const struct http_request *request)
{
    struct buf *body = &conn->api->body;
    struct node *node = conn->api->node;
    struct node_status status;
    struct bytes wanted;
    const char *comma = "";
    (void)request;
    if (!take_status(conn, &wanted)) {
        return;
    }
    node_get_status(node, &status);
    buf_add_u8(body, '[');
    for (uint32_t i = 0; i < status.conf->count; i++) {
        const struct raft_member *member = &status.conf->members[i];
        const char *is = status_of(node, &status, member);
        if (!wanted.data || bytes_equal_string(wanted, is)) {
            buf_add_string(body, comma);
            add_member(body, member, is);
            comma = ",";
        }
    }
    buf_add_string(body, "]\n");
    api_answer(conn, 200, "application/json", buf_bytes(body));
}
