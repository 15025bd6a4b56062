/* operate.c -- /snapshot and /sync. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

#define U(x) ((unsigned long long)(x))

static void clear(struct conn *conn)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
}

/* ---- /snapshot ---- */

static void finish_snapshot(struct conn *conn, const struct node_result *result)
{
    clear(conn);
    if (result->outcome != NODE_OK) {
        api_answer_outcome(conn, result);
    } else if (result->bytes == 0) {
        api_answer(conn, 204, NULL, (struct bytes){0});
    } else {
        buf_printf(&conn->api->body, "{\"index\":%llu,\"bytes\":%llu}\n",
                   U(result->index), U(result->bytes));
        api_answer(conn, 200, "application/json", buf_bytes(&conn->api->body));
    }
}

void api_on_snapshot(struct conn *conn, const struct http_request *request)
{
    (void)request;
    if (api_read_timeout(conn)) {
        conn->request.finish = finish_snapshot;
        conn->busy = true;
        node_snapshot(conn->api->node, &conn->request.call);
    }
}

/* ---- /sync: a barrier ----
 *
 * First this node catches up with everything acknowledged before; then, with
 * ?nodes=all, one member after the other reports that it has caught up too.
 * The nodes of the answer are gathered in conn->request.text. */

static void add_reached(struct conn *conn, const char *name, uint64_t index)
{
    struct buf *out = &conn->request.text;
    buf_add_string(out, out->size > 0 ? "," : "");
    json_add_string(out, bytes_of_string(name));
    buf_printf(out, ":%llu", U(index));
}

static void answer_sync(struct conn *conn)
{
    struct buf *out = &conn->api->body;
    buf_printf(out, "{\"index\":%llu,\"nodes\":{", U(conn->state.sync.index));
    buf_add_bytes(out, buf_bytes(&conn->request.text));
    buf_add_string(out, "}}\n");
    api_answer(conn, 200, "application/json", buf_bytes(out));
}

static void finish_member(struct conn *conn, const struct node_result *result);

/* Members are asked in ascending order of their ids, so one that is added
 * meanwhile is asked as well. */
static void ask_next(struct conn *conn)
{
    struct node_status status;
    node_get_status(conn->api->node, &status);
    for (uint32_t i = 0; i < status.conf->count; i++) {
        raft_id id = status.conf->members[i].id;
        if (id > conn->state.sync.id && id != status.raft.self) {
            conn->state.sync.id = id;
            conn->request.finish = finish_member;
            node_wait_applied(conn->api->node, &conn->request.call, id,
                              conn->state.sync.index);
            return;
        }
    }
    answer_sync(conn);
}

static void finish_member(struct conn *conn, const struct node_result *result)
{
    struct node_status status;
    clear(conn);
    node_get_status(conn->api->node, &status);
    const struct raft_member *member =
        raft_conf_find(status.conf, conn->state.sync.id);
    if (result->outcome == NODE_OK && member) {
        add_reached(conn, member->name, result->index);
    } else if (member) {
        char message[RAFT_NAME_BYTES + 64];
        snprintf(message, sizeof(message),
                 "%s has not confirmed index %llu within the time-out",
                 member->name, U(conn->state.sync.index));
        api_answer_problem(conn, 504, "commit-timeout", message,
                           OUTCOME_UNKNOWN);
        return;
    } /* Else it was removed: there is nothing to wait for. */
    ask_next(conn);
}

static void finish_own(struct conn *conn, const struct node_result *result,
                       bool all)
{
    clear(conn);
    if (result->outcome != NODE_OK) {
        api_answer_problem(
            conn, 504, "commit-timeout",
            "no leader has confirmed within the time-out which index to reach",
            OUTCOME_UNKNOWN);
        return;
    }
    conn->state.sync.index = result->index;
    conn->state.sync.id = 0;
    conn->request.text.size = 0;
    add_reached(conn, node_name(conn->api->node), result->index);
    if (all) {
        ask_next(conn);
    } else {
        answer_sync(conn);
    }
}

static void finish_sync(struct conn *conn, const struct node_result *result)
{
    finish_own(conn, result, false);
}

static void finish_sync_all(struct conn *conn, const struct node_result *result)
{
    finish_own(conn, result, true);
}

void api_on_sync(struct conn *conn, const struct http_request *request)
{
    struct bytes nodes;
    (void)request;
    if (!api_read_timeout(conn)) {
        return;
    }
    bool all = api_get_param(conn, PARAM_NODES, &nodes);
    if (all && !bytes_equal_string(nodes, "all")) {
        api_answer_problem(conn, 400, "bad-param",
                           "nodes has the value all, or is left out",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    conn->request.finish = all ? finish_sync_all : finish_sync;
    conn->busy = true;
    node_read(conn->api->node, &conn->request.call);
}
