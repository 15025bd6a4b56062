/* problem.c -- errors, as RFC 9457 problem details. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "base/text.h"
#include "node/node.h"
#include "reactor/addr.h"
#include "json/json.h"

static void add_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    json_add_string(out, bytes_of_string(value));
}

/* "no-leader" is "no leader". */
static void add_words(struct buf *out, const char *code)
{
    for (; *code; code++) {
        buf_add_u8(out, *code == '-' ? ' ' : (uint8_t)*code);
    }
}

static const char *retry_after(int status, const char *code)
{
    switch (status) {
    case 409:
        return strcmp(code, "config-in-progress") == 0 ||
                       strcmp(code, "not-caught-up") == 0
                   ? "1"
                   : NULL;
    case 503:
        return strcmp(code, "stopping") == 0 ? "5" : "1";
    case 429:
    case 504:
        return "1";
    default:
        return NULL;
    }
}

static const char *const outcome_names[] = {
    [OUTCOME_NOT_APPLIED] = "not-applied",
    [OUTCOME_UNKNOWN] = "unknown",
};

void api_answer_problem(struct conn *conn, int status, const char *code,
                        const char *message, enum outcome outcome)
{
    api_answer_problem_with(conn, status, code, message, outcome, "");
}

void api_answer_problem_with(struct conn *conn, int status, const char *code,
                             const char *message, enum outcome outcome,
                             const char *members)
{
    struct buf *body = &conn->api->body;
    const struct node *node = conn->api->node;
    must(status >= 400);
    body->size = 0;
    buf_printf(body, "{\"type\":\"urn:craftd:%s\",\"title\":\"", code);
    add_words(body, code);
    buf_printf(body, "\",\"status\":%d,\"code\":\"%s\"", status, code);
    add_member(body, "message", message);
    if (conn->answer.deleted > 0) {
        outcome = OUTCOME_UNKNOWN; /* A part of it has been done. */
        buf_printf(body, ",\"deleted\":%llu",
                   (unsigned long long)conn->answer.deleted);
    }
    if (outcome != OUTCOME_NONE) {
        add_member(body, "outcome", outcome_names[outcome]);
    }
    buf_add_string(body, members);
    if (api_gate_shows_node(conn)) {
        add_member(body, "node", node_name(node));
        buf_printf(body, ",\"term\":%llu", (unsigned long long)node_term(node));
    }
    buf_add_string(body, "}\n");
    const char *wait = retry_after(status, code);
    if (wait) {
        buf_printf(&conn->api->headers, "Retry-After: %s\r\n", wait);
    }
    api_answer(conn, status,
               conn->answer.v1 ? "application/json"
                               : "application/problem+json",
               buf_bytes(body));
}

void api_add_quoted(struct buf *out, struct bytes name)
{
    enum { BYTES_SHOWN = 64 };
    size_t size = 0;
    while (size < name.size) {
        size_t step = text_utf8_sequence(name.data + size, name.size - size);
        if (step == 0 || size + step > BYTES_SHOWN) {
            break;
        }
        size += step;
    }
    buf_add_u8(out, '"');
    buf_add(out, name.data, size);
    buf_add_string(out, size < name.size ? "...\"" : "\"");
}

void api_answer_no_such(struct conn *conn, const char *kind,
                        enum outcome outcome)
{
    struct buf *message = &conn->api->message;
    message->size = 0;
    buf_printf(message, "there is no %s ", kind);
    api_add_quoted(message, buf_bytes(&conn->request.key));
    buf_add_u8(message, 0);
    api_answer_problem(conn, 404, "not-found", (const char *)message->data,
                       outcome);
}

/* ---- outcomes of the node ---- */

struct row {
    int status;
    const char *message;
};

static const struct row rows[NODE_OUTCOME_COUNT] = {
    [NODE_NO_LEADER] = {503, "no leader could be reached in time"},
    [NODE_BUSY] =
        {429, "4096 writes, or 16 MiB of them, are waiting: try again later"},
    [NODE_CONF_BUSY] = {409, "a membership change or a transfer of leadership "
                             "is in progress: try again later"},
    [NODE_NO_SPACE] = {507,
                       "there is no room for it: the leader's disk is full, "
                       "or its database at --max-db; deletes still work"},
    [NODE_NOT_FOUND] = {404, "there is no such member"},
    [NODE_LAST_VOTER] = {409,
                         "the voters that are left would have no majority"},
    [NODE_NOT_CAUGHT_UP] =
        {409, "the member has not caught up with the leader: try again later"},
    [NODE_STOPPING] = {503, "this node is stopping"},
    [NODE_TOO_BIG] = {413, "too large"},
    [NODE_INVALID] = {400, "the id or address belongs to a live member"},
    [NODE_STARTING] = {503, "this node is no member of a cluster yet"},
    [NODE_LOST] = {503, "the leader changed, and the write was not applied"},
    [NODE_UNKNOWN] = {504, "no decision within the time-out"},
    [NODE_SECOND_CLUSTER] = {503, "this node is a second cluster"},
    [NODE_QUARANTINED] = {503, "this node contradicts its cluster"},
    [NODE_OUTDATED] = {503, "a member may be of a build that does not know "
                            "time-outs and leases: upgrade all members"},
};
_Static_assert(NODE_PROPOSALS_MAX == 4096 &&
                   NODE_PROPOSALS_BYTES_MAX == 16 << 20,
               "the message of NODE_BUSY");

/* Add why this node cannot reach some of the voters. */
static void add_unreached(struct api *api, const struct node_status *status,
                          struct buf *out)
{
    const char *comma = " (";
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        if (member->suffrage != RAFT_VOTER || member->id == status->raft.self ||
            api->options.peer_up(api->options.arg, member->id)) {
            continue;
        }
        const char *why = api->options.peer_error(api->options.arg, member->id);
        buf_printf(out, "%s%s: %s", comma, member->name,
                   why[0] ? why : "no link");
        comma = ", ";
    }
    buf_add_string(out, comma[0] == ' ' ? "" : ")");
}

static uint32_t voters_reached(const struct api *api,
                               const struct node_status *status)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        count += member->suffrage == RAFT_VOTER &&
                 (member->id == status->raft.self ||
                  api->options.peer_up(api->options.arg, member->id));
    }
    return count;
}

static void add_removed(struct buf *out, const struct node_status *status)
{
    buf_printf(out,
               "removed from its cluster at index %llu: empty the directory to "
               "join anew",
               (unsigned long long)status->removed_index);
}

void api_explain_contradiction(const struct node_contradiction *contradiction,
                               struct buf *out)
{
    buf_printf(out,
               "this node contradicts its cluster: what it holds as committed "
               "at index %llu differs from what the leader, %s, has. Stop it, "
               "empty its directory, and start it with --join",
               (unsigned long long)contradiction->index, contradiction->leader);
}

const char *api_removed_text(struct api *api, const struct node_status *status)
{
    api->message.size = 0;
    add_removed(&api->message, status);
    buf_add_u8(&api->message, 0);
    return (const char *)api->message.data;
}

/* The error itself says why there is no leader: no second request is needed. */
static void explain_no_leader(struct api *api, struct buf *out)
{
    struct node_status status;
    node_get_status(api->node, &status);
    if (status.last_contact_ms == UINT64_MAX) {
        buf_add_string(out, "no leader known since the start");
    } else {
        buf_printf(out, "no leader known for %llu.%llus",
                   (unsigned long long)(status.last_contact_ms / 1000),
                   (unsigned long long)(status.last_contact_ms / 100 % 10));
    }
    buf_printf(out, ": %u of %u voters reachable", voters_reached(api, &status),
               raft_conf_voters(status.conf));
    add_unreached(api, &status, out);
}

void api_explain_second_cluster(const struct node_foreign *foreign,
                                struct buf *out)
{
    buf_printf(out,
               "this node is a cluster of its own, and %s at %s, of another "
               "cluster, counts it as a member: empty its directory and start "
               "it with --join %s, or keep it with --bootstrap-anyway",
               foreign->name[0] ? foreign->name : "a member",
               foreign->addr[0] ? foreign->addr : "?",
               foreign->http[0] ? foreign->http : "HOST:PORT");
}

static void explain(struct api *api, const struct node_result *result,
                    struct buf *out)
{
    struct node_status status;
    const struct node_foreign *foreign = node_foreign(api->node);
    if (result->outcome == NODE_SECOND_CLUSTER && foreign) {
        api_explain_second_cluster(foreign, out);
        return;
    }
    node_get_status(api->node, &status);
    if (result->outcome == NODE_NO_LEADER && status.removed_index > 0) {
        buf_add_string(out, "this node was ");
        add_removed(out, &status);
        return;
    }
    if (result->outcome == NODE_NO_LEADER && !node_leader(api->node) &&
        node_is_member(api->node)) {
        explain_no_leader(api, out);
        return;
    }
    if (result->outcome == NODE_QUARANTINED && node_contradiction(api->node)) {
        api_explain_contradiction(node_contradiction(api->node), out);
        return;
    }
    const char *outdated = node_outdated(api->node);
    if (result->outcome == NODE_OUTDATED && outdated) {
        buf_printf(out,
                   "%s does not know time-outs and leases, or has not been "
                   "reached since this node started: upgrade and start it, or "
                   "remove it (DELETE /nodes/NAME)",
                   outdated);
        return;
    }
    if (result->outcome == NODE_UNKNOWN && result->link_down) {
        buf_add_string(out, "the link to the leader ended before it answered");
        return;
    }
    const struct raft_member *leader = node_leader(api->node);
    if (result->outcome == NODE_NO_LEADER && leader &&
        !node_is_leader(api->node) &&
        !api->options.peer_up(api->options.arg, leader->id)) {
        const char *why = api->options.peer_error(api->options.arg, leader->id);
        buf_printf(out, "there is no link to the leader, %s: %s", leader->name,
                   why[0] ? why : "not yet");
        return;
    }
    if (result->outcome == NODE_NO_SPACE && status.over_quota) {
        buf_printf(out,
                   "the database has reached %llu bytes (--max-db); deletes "
                   "still work",
                   (unsigned long long)api->options.db_bytes_max);
        return;
    }
    if (result->outcome == NODE_NO_SPACE && status.no_space) {
        buf_add_string(out, "the disk is full; deletes still work, as far as "
                            "there is space kept for them");
        return;
    }
    if (result->outcome == NODE_BUSY && status.no_resources) {
        buf_add_string(out, "the process is out of descriptors or memory "
                            "(ulimit -n, --max-conns)");
        return;
    }
    buf_add_string(out, rows[result->outcome].message);
}

void api_answer_outcome(struct conn *conn, const struct node_result *result)
{
    struct buf *message = &conn->api->message;
    must(rows[result->outcome].status != 0);
    const char *code = result->outcome == NODE_LOST
                           ? "no-leader"
                           : node_outcome_name(result->outcome);
    message->size = 0;
    explain(conn->api, result, message);
    buf_add_u8(message, 0);
    api_answer_problem(conn, rows[result->outcome].status, code,
                       (const char *)message->data,
                       result->outcome == NODE_UNKNOWN ? OUTCOME_UNKNOWN
                                                       : OUTCOME_NOT_APPLIED);
}

void api_finish_plain(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        conn->answer.index = result->index;
        api_answer(conn, 200, NULL, (struct bytes){0});
    } else {
        api_answer_outcome(conn, result);
    }
}
