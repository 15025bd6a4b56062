/* nodes.c -- /nodes and /remove: the members are shown, promoted, demoted and
 * removed. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/member_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "http/http.h"
#include "node/node.h"

/* ---- showing them ---- */

static void add_node(struct api *api, const struct node_status *status,
                     const struct raft_member *member)
{
    struct buf *out = &api->body;
    const struct raft_member *leader = node_leader(api->node);
    buf_add_u8(out, '{');
    api_add_text(out, "id", member->name);
    buf_add_u8(out, ',');
    api_add_text(out, "address", member->addr);
    buf_add_u8(out, ',');
    api_add_text(out, "http", member->http);
    buf_printf(
        out,
        ",\"number\":%llu,\"role\":\"%s\",\"voter\":%s,"
        "\"leader\":%s,\"reachable\":%s",
        (unsigned long long)member->id, api_suffrage_name(member->suffrage),
        member->suffrage == RAFT_VOTER ? "true" : "false",
        leader && leader->id == member->id ? "true" : "false",
        api_member_is_reachable(api, status, member->id) ? "true" : "false");
    api_add_reported_progress(out, api, status, member->id);
    api_add_vitals(out, api, status, member->id);
    if (member->id != status->raft.self) {
        buf_add_u8(out, ',');
        api_add_text(out, "last_error",
                     api_member_trouble(api, status, member));
    }
    buf_add_u8(out, '}');
}

static void get_node(struct conn *conn)
{
    struct node_status status;
    const struct raft_member *member =
        api_member_named(conn->api, buf_bytes(&conn->request.key));
    if (!member) {
        api_no_member(conn);
        return;
    }
    node_get_status(conn->api->node, &status);
    add_node(conn->api, &status, member);
    buf_add_u8(&conn->api->body, '\n');
    api_answer(conn, 200, "application/json", buf_bytes(&conn->api->body));
}

static void get_nodes(struct conn *conn)
{
    struct api *api = conn->api;
    struct node_status status;
    node_get_status(api->node, &status);
    buf_add_u8(&api->body, '[');
    for (uint32_t i = 0; i < status.conf->count; i++) {
        buf_add_string(&api->body, i > 0 ? "," : "");
        add_node(api, &status, &status.conf->members[i]);
    }
    buf_add_string(&api->body, "]\n");
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}

/* ---- changing one ---- */

static void expect_change(struct conn *conn)
{
    conn->busy = true;
    conn->request.finish = api_finish_plain;
}

static void remove_member(struct conn *conn, const struct raft_member *member)
{
    expect_change(conn);
    node_remove(conn->api->node, &conn->request.call, member->id);
}

static void promote(struct conn *conn, const struct raft_member *member)
{
    expect_change(conn);
    node_set_voter(conn->api->node, &conn->request.call, member->id, true);
}

static void demote(struct conn *conn, const struct raft_member *member)
{
    expect_change(conn);
    node_set_voter(conn->api->node, &conn->request.call, member->id, false);
}

static void put_node(struct conn *conn, const struct http_request *request)
{
    struct member_body body;
    const char *wrong = api_read_member(request, &body);
    if (!wrong && (!body.has_voter || body.has_id || body.has_addr ||
                   body.has_http || body.has_replace)) {
        wrong = "{\"voter\":true} or {\"voter\":false} is expected";
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-json", wrong, OUTCOME_NOT_APPLIED);
        return;
    }
    api_member_change(conn,
                      body.member.suffrage == RAFT_LEARNER ? promote : demote);
}

/* ---- routes ---- */

/* Put what follows "/nodes/" in the path, percent-decoded, into
 * conn->request.key; nothing follows it when all members are meant. False: it
 * cannot be decoded. */
static bool read_member_name(struct conn *conn, struct bytes path)
{
    const size_t prefix = strlen("/nodes/");
    conn->request.key.size = 0;
    if (path.size <= prefix) {
        return true;
    }
    struct bytes raw = bytes_of(path.data + prefix, path.size - prefix);
    uint8_t *name = buf_reserve(&conn->request.key, raw.size);
    return http_percent_decode(raw, name, &conn->request.key.size);
}

void api_on_nodes(struct conn *conn, const struct http_request *request)
{
    if (!api_read_timeout(conn)) {
        return;
    }
    if (!read_member_name(conn, request->path)) {
        api_no_member(conn);
        return;
    }
    bool one = conn->request.key.size > 0;
    if (is_get(request) && one) {
        get_node(conn);
    } else if (is_get(request)) {
        get_nodes(conn);
    } else if (request->verb == HTTP_VERB_DELETE) {
        api_member_change(conn, remove_member);
    } else {
        put_node(conn, request);
    }
}

void api_on_remove(struct conn *conn, const struct http_request *request)
{
    struct member_body body;
    if (!api_read_timeout(conn)) {
        return;
    }
    const char *wrong = api_read_member(request, &body);
    if (wrong || !body.has_id) {
        api_answer_problem(conn, 400, "bad-json",
                           wrong ? wrong : "id is needed", OUTCOME_NOT_APPLIED);
        return;
    }
    conn->request.key.size = 0;
    buf_add_string(&conn->request.key, body.member.name);
    api_member_change(conn, remove_member);
}
