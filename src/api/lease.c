/* lease.c -- leases: granted, kept alive, revoked, listed.
 *
 * A lease is a time-out that many keys share. It ends, and its keys with it,
 * when it was not kept alive for its time. Its id is the index of the entry
 * that granted it, and never used again. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "auth/auth.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

enum { PAGE_LEASES = 1000 }; /* Read in one turn of the event loop, 1 ms. */

/* ---- showing ---- */

static void add_lease(struct conn *conn, struct buf *out,
                      const struct store_lease *lease)
{
    buf_printf(out,
               "{\"id\":\"l-%llu\",\"ttl\":", (unsigned long long)lease->id);
    ttl_add_seconds(out, lease->ttl_ms);
    buf_add_string(out, ",\"left\":");
    ttl_add_seconds(out, node_ttl_ms(conn->api->node, lease->deadline_ms, 0));
}

/* Add the keys that the user may read. False: they cannot be read now. */
static bool add_keys(struct conn *conn, struct buf *out, uint64_t lease)
{
    struct cursor keys;
    if (node_lease_keys(conn->api->node, lease, &keys) != ERR_OK) {
        return false;
    }
    buf_add_string(out, ",\"keys\":[");
    bool first = true;
    while (cursor_left(&keys) > 0) {
        size_t size = cursor_u16(&keys);
        struct bytes key = cursor_bytes(&keys, size);
        if (auth_may(&conn->gate.identity, AUTH_READ, key)) {
            buf_add_string(out, first ? "" : ",");
            json_add_string(out, key);
            first = false;
        }
    }
    buf_add_string(out, "]}\n");
    return true;
}

static void show_lease(struct conn *conn)
{
    struct buf *body = &conn->api->body;
    struct store_lease lease;
    enum err err =
        node_lease_get(conn->api->node, conn->state.lease.id, &lease);
    body->size = 0;
    if (!err) {
        add_lease(conn, body, &lease);
        err = add_keys(conn, body, lease.id) ? ERR_OK : ERR_NOSPACE;
    }
    if (err_is_shortage(err)) {
        api_read_wait(conn);
        return;
    }
    api_add_read_headers(conn);
    if (err) {
        api_answer_no_such(conn, "lease", OUTCOME_NONE);
    } else if (api_has_output_room(conn, body->size)) {
        api_answer(conn, 200, "application/json", buf_bytes(body));
    }
}

static void show_leases(struct conn *conn)
{
    struct buf *body = &conn->api->body;
    struct store_lease lease;
    uint64_t after = conn->state.lease.id;
    uint64_t count = 0;
    enum err err;
    body->size = 0;
    buf_add_string(body, "{\"leases\":[");
    while ((err = node_lease_next(conn->api->node, after, &lease)) == ERR_OK &&
           count < min_u64(conn->state.lease.limit, PAGE_LEASES)) {
        buf_add_string(body, count > 0 ? "," : "");
        add_lease(conn, body, &lease);
        buf_printf(body, ",\"keys\":%llu}", (unsigned long long)lease.keys);
        after = lease.id;
        count++;
    }
    if (err_is_shortage(err)) {
        api_read_wait(conn);
        return;
    }
    buf_printf(body, "],\"more\":%s", err ? "false" : "true");
    if (!err) {
        buf_printf(body, ",\"after\":\"l-%llu\"", (unsigned long long)after);
    }
    buf_printf(body, ",\"index\":%llu}\n",
               (unsigned long long)node_applied(conn->api->node));
    api_add_read_headers(conn);
    if (api_has_output_room(conn, body->size)) {
        api_answer(conn, 200, "application/json", buf_bytes(body));
    }
}

/* ---- changing ---- */

static void finish_grant(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    struct buf *body = &conn->api->body;
    if (!api_read_result(conn, result, &reader)) {
        return;
    }
    unsigned long long id = reader.head.index;
    buf_printf(&conn->api->headers, "Location: /lease/l-%llu\r\n", id);
    buf_printf(body, "{\"id\":\"l-%llu\",\"ttl\":", id);
    ttl_add_seconds(body, conn->state.lease.ttl_ms);
    buf_add_string(body, "}\n");
    api_answer(conn, 201, "application/json", buf_bytes(body));
}

static void answer_change(struct conn *conn, const struct result_op *op)
{
    struct buf *headers = &conn->api->headers;
    if (!op->found) {
        api_answer_no_such(conn, "lease", OUTCOME_NOT_APPLIED);
    } else if (op->type == COMMAND_LEASE_KEEP) {
        http_add_header_u64(headers, "Craftd-Ttl", op->ttl_ms);
        api_answer(conn, 204, NULL, (struct bytes){0});
    } else {
        http_add_header_u64(headers, "Craftd-Deleted", op->deleted);
        api_answer(conn, 200, NULL, (struct bytes){0});
    }
}

static void finish_change(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    struct result_op op = {0};
    if (api_read_result(conn, result, &reader)) {
        enum err err = result_next(&reader, &op);
        must(err == ERR_OK);
        answer_change(conn, &op);
    }
}

void api_finish_keepalive(struct conn *conn, const struct node_result *result,
                          const struct result_op *op)
{
    struct result_reader reader;
    if (api_read_result(conn, result, &reader)) {
        answer_change(conn, op);
    }
}

void lease_begin_command(struct command_txn *txn, struct command_writer *list,
                         struct buf *command, const struct command_name *name)
{
    command->size = 0;
    command_txn(txn, command, name, false);
    command_txn_timed(txn);
    command_list(list, command);
    command_end(list); /* No conditions. */
    command_list(list, command);
}

/* Submit one operation on a lease, which has no key and no condition. */
static void submit(struct conn *conn, const struct http_request *request,
                   const struct command_op *op, enum write_kind kind,
                   conn_finish *finish)
{
    struct command_name name;
    struct command_txn txn;
    struct command_writer list;
    struct buf *command = &conn->api->command;
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
        return;
    }
    if (api_has_conditions(conn, request)) {
        api_answer_problem(conn, 400, "bad-request",
                           "a lease has no tag: conditions are about keys",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    if (kind == KIND_KEEP && name.key.size == 0 &&
        !api_is_given(conn, PARAM_TIMEOUT)) {
        api_keepalive_add(conn, op->lease);
        return;
    }
    lease_begin_command(&txn, &list, command, &name);
    command_add(&list, op);
    command_end(&list);
    api_sign(conn, &txn, kind);
    api_submit(conn, finish);
}

static void grant(struct conn *conn, const struct http_request *request)
{
    struct command_op op = {.type = COMMAND_LEASE_GRANT};
    struct bytes text = {0};
    (void)api_get_param(conn, PARAM_TTL, &text);
    const char *wrong = ttl_parse(text, &op.ttl_ms);
    if (wrong) {
        api_bad_param(conn, wrong);
        return;
    }
    conn->state.lease.ttl_ms = op.ttl_ms;
    submit(conn, request, &op, KIND_GRANT, finish_grant);
}

bool lease_may_change(struct conn *conn, uint64_t lease)
{
    struct cursor keys;
    if (auth_may(&conn->gate.identity, AUTH_WRITE, (struct bytes){0})) {
        return true;
    }
    enum err err = node_lease_keys(conn->api->node, lease, &keys);
    if (err_is_shortage(err)) {
        api_answer_outcome(conn,
                           &(struct node_result){.outcome = NODE_NO_SPACE});
        return false;
    }
    while (!err && cursor_left(&keys) > 0) {
        size_t size = cursor_u16(&keys);
        struct bytes key = cursor_bytes(&keys, size);
        if (!api_gate_allows_unseen(conn, AUTH_WRITE, key)) {
            return false;
        }
    }
    return true;
}

/* ---- requests ---- */

void api_on_leases(struct conn *conn, const struct http_request *request)
{
    struct bytes after;
    if (request->verb == HTTP_VERB_POST) {
        grant(conn, request);
        return;
    }
    conn->state.lease.id = 0;
    if (!api_take_limit(conn, &conn->state.lease.limit)) {
        return;
    }
    if (api_get_param(conn, PARAM_AFTER, &after)) {
        const char *wrong = lease_parse(after, &conn->state.lease.id);
        if (wrong) {
            api_bad_param(conn, wrong);
            return;
        }
    }
    api_read_start(conn, request, show_leases);
}

void api_on_lease(struct conn *conn, const struct http_request *request)
{
    static const char root[] = "/lease/";
    const size_t prefix = sizeof(root) - 1;
    struct bytes id =
        bytes_of(request->path.data + prefix, request->path.size - prefix);
    uint64_t lease;
    const char *wrong = lease_parse(id, &lease);
    if (wrong) {
        api_answer_problem(conn, 400, "bad-request", wrong, OUTCOME_NONE);
        return;
    }
    struct command_op op = {.lease = lease};
    conn->request.key.size = 0;
    buf_add_bytes(&conn->request.key, id); /* The answer names it. */
    if (request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD) {
        conn->state.lease.id = lease;
        api_read_start(conn, request, show_lease);
    } else if (!lease_may_change(conn, lease)) {
        return; /* Answered. */
    } else if (request->verb == HTTP_VERB_DELETE) {
        op.type = COMMAND_LEASE_REVOKE;
        submit(conn, request, &op, KIND_REVOKE, finish_change);
    } else {
        op.type = COMMAND_LEASE_KEEP;
        submit(conn, request, &op, KIND_KEEP, finish_change);
    }
}
