/* problem.c -- errors, as RFC 9457 problem details. */
#include <stdio.h>

#include "api/api_internal.h"
#include "json/json.h"

static void add_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    json_add_string(out, bytes_of_string(value));
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

void answer_problem(struct conn *conn, int status, const char *code,
                    const char *message, const char *outcome)
{
    answer_problem_with(conn, status, code, message, outcome, "");
}

void answer_problem_with(struct conn *conn, int status, const char *code,
                         const char *message, const char *outcome,
                         const char *members)
{
    struct buf *body = &conn->api->body;
    const struct node *node = conn->api->node;
    body->size = 0;
    buf_printf(body,
               "{\"type\":\"urn:craftd:%s\",\"title\":\"%s\",\"status\":%d,"
               "\"code\":\"%s\"",
               code, http_reason(status), status, code);
    add_member(body, "message", message);
    if (conn->deleted > 0) {
        outcome = "unknown"; /* A part of it has been done. */
        buf_printf(body, ",\"deleted\":%llu",
                   (unsigned long long)conn->deleted);
    }
    if (outcome) {
        add_member(body, "outcome", outcome);
    }
    buf_add_string(body, members);
    if (node) {
        add_member(body, "node", node_name(node));
        buf_printf(body, ",\"term\":%llu", (unsigned long long)node_term(node));
    }
    buf_add_string(body, "}\n");
    const char *wait = retry_after(status, code);
    if (wait) {
        buf_printf(&conn->api->headers, "Retry-After: %s\r\n", wait);
    }
    answer(conn, status,
           conn->v1 ? "application/json" : "application/problem+json",
           buf_bytes(body));
}

struct row {
    int status;
    const char *message;
};

static const struct row rows[NODE_OUTCOME_COUNT] = {
    [NODE_NO_LEADER] = {503, "no leader could be reached in time"},
    [NODE_BUSY] = {429, "too many writes are waiting"},
    [NODE_CONF_BUSY] = {409, "a membership change or transfer is running"},
    [NODE_NO_SPACE] = {507, "the disk is full, or the database has reached "
                            "--max-db (deletes still work)"},
    [NODE_NOT_FOUND] = {404, "there is no such member"},
    [NODE_LAST_VOTER] = {409, "the voters that are left could not decide"},
    [NODE_NOT_CAUGHT_UP] = {409, "it has not caught up"},
    [NODE_STOPPING] = {503, "this node is stopping"},
    [NODE_TOO_BIG] = {413, "too large"},
    [NODE_INVALID] = {400, "the id or address belongs to a live member"},
    [NODE_STARTING] = {503, "this node is no member of a cluster yet"},
    [NODE_LOST] = {503, "the leader changed; the write was not done"},
    [NODE_UNKNOWN] = {504, "no decision within the time-out"},
};

void answer_outcome(struct conn *conn, const struct node_result *result)
{
    const struct row *row = &rows[result->outcome];
    must(row->status != 0);
    const char *code = result->outcome == NODE_LOST
                           ? "no-leader"
                           : node_outcome_name(result->outcome);
    answer_problem(conn, row->status, code, row->message,
                   result->outcome == NODE_UNKNOWN ? "unknown" : "not-applied");
}

void finish_plain(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        conn->index = result->index;
        answer(conn, 200, NULL, (struct bytes){0});
    } else {
        answer_outcome(conn, result);
    }
}
