/* submit.c -- a command goes to the node, and its result becomes an answer. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/write_internal.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

enum { COMMAND_BYTES_KEPT = 1 << 20 };
_Static_assert(COMMAND_LEASE_KEYS_MAX == 1000 && COMMAND_LEASES_MAX == 100000,
               "the message of RESULT_LIMIT");

/* ---- submitting ---- */

void api_sign(struct conn *conn, const struct command_txn *txn,
              enum write_kind kind)
{
    command_sign(txn, (uint8_t)kind);
    if (txn->digest_at > 0) {
        command_set_digest(
            txn, auth_bind(&conn->gate.identity, command_digest(txn)));
    }
}

void api_submit(struct conn *conn, conn_finish *finish)
{
    struct api *api = conn->api;
    must(!conn->busy && api->command.size > 0);
    conn->request.finish = finish;
    conn->busy = true;
    node_write(api->node, &conn->request.call, buf_bytes(&api->command));
    if (api->command.capacity > COMMAND_BYTES_KEPT) {
        buf_free(&api->command);
    }
}

void api_value_too_large(struct conn *conn)
{
    char message[96];
    snprintf(message, sizeof(message),
             "a value is over %llu bytes (--max-value)",
             (unsigned long long)conn->api->options.value_bytes_max);
    api_answer_problem(conn, 413, "too-large", message, OUTCOME_NOT_APPLIED);
}

void api_json_init(struct json_reader *reader,
                   const struct http_request *request)
{
    /* The body is in the input of the connection, which is writable. */
    json_init(reader, (uint8_t *)(uintptr_t)request->body.data,
              request->body.size);
}

void api_bad_json(struct conn *conn, const struct json_reader *reader,
                  const char *why)
{
    char message[160];
    char members[48];
    snprintf(message, sizeof(message), "at byte %zu: %s", reader->offset, why);
    snprintf(members, sizeof(members), ",\"offset\":%zu", reader->offset);
    api_answer_problem_with(conn, 400, "bad-json", message, OUTCOME_NOT_APPLIED,
                            members);
}

void api_submit_one(struct conn *conn, const struct http_request *request,
                    const struct command_name *name,
                    const struct command_condition *first,
                    const struct command_op *op, enum write_kind kind,
                    conn_finish *finish)
{
    struct command_txn txn;
    struct command_writer writer;
    struct buf *command = &conn->api->command;
    command->size = 0;
    command_txn(&txn, command, name, false);
    if (op->type > COMMAND_GET) {
        command_txn_timed(&txn);
    }
    command_list(&writer, command);
    if (first) {
        command_if(&writer, first);
    }
    if (!api_add_conditions(conn, request, op->key, &writer)) {
        return;
    }
    command_end(&writer);
    command_list(&writer, command);
    command_add(&writer, op);
    command_end(&writer);
    api_sign(conn, &txn, kind);
    api_submit(conn, finish);
}

/* ---- the result ---- */

static void answer_refused(struct conn *conn, const struct result *head)
{
    char members[64];
    struct buf *message = &conn->api->message;
    message->size = 0;
    if (head->current > 0) {
        buf_printf(&conn->api->headers, "ETag: \"%llu\"\r\n",
                   (unsigned long long)head->current);
    }
    if (conn->request.key.size > 0 && conn->state.write.creates &&
        head->current > 0) {
        api_add_quoted(message, buf_bytes(&conn->request.key));
        buf_printf(message, " exists already, index %llu",
                   (unsigned long long)head->current);
    } else if (conn->request.key.size > 0 && head->current > 0) {
        buf_printf(message, "index %llu last changed ",
                   (unsigned long long)head->current);
        api_add_quoted(message, buf_bytes(&conn->request.key));
    } else if (conn->request.key.size > 0) {
        buf_add_string(message, "there is no key ");
        api_add_quoted(message, buf_bytes(&conn->request.key));
    } else if (head->current > 0) {
        buf_printf(message,
                   "condition %u does not hold: index %llu last changed the "
                   "key",
                   head->at, (unsigned long long)head->current);
    } else {
        buf_printf(message, "condition %u does not hold: there is no such key",
                   head->at);
    }
    buf_add_u8(message, 0);
    snprintf(members, sizeof(members), ",\"clause\":%u", head->at);
    api_answer_problem_with(conn, 412, "precondition-failed",
                            (const char *)message->data, OUTCOME_NOT_APPLIED,
                            members);
}

static void answer_failed(struct conn *conn, const struct result *head)
{
    static const struct {
        int status;
        const char *code;
        const char *message;
    } rows[] = {
        [RESULT_NOT_A_NUMBER] = {409, "not-a-number",
                                 "incr: the value is not a decimal 64-bit "
                                 "integer"},
        [RESULT_OVERFLOW] = {409, "overflow",
                             "incr: the sum does not fit 64 bits"},
        [RESULT_TOO_MANY] = {413, "too-large",
                             "delete_prefix matches more than 1000 keys, or 16 "
                             "MiB: DELETE /keys?prefix= has no such limit"},
        [RESULT_TOO_LARGE] =
            {413, "too-large",
             "the results are over 4 MiB (16 KiB with an Idempotency-Key): get "
             "fewer keys in one transaction"},
        [RESULT_REUSED] = {422, "idempotency-mismatch",
                           "this Idempotency-Key was used for another request, "
                           "or by another user: choose a new one"},
        [RESULT_NO_LEASE] = {404, "not-found",
                             "there is no such lease, or it has ended"},
        [RESULT_LIMIT] = {413, "too-large",
                          "a lease has at most 1000 keys, and a cluster 100000 "
                          "leases"},
    };
    char members[64] = "";
    must(head->status < ARRAY_COUNT(rows) && rows[head->status].code);
    if (head->status != RESULT_REUSED) {
        snprintf(members, sizeof(members), ",\"operation\":%u", head->at);
    }
    api_answer_problem_with(conn, rows[head->status].status,
                            rows[head->status].code, rows[head->status].message,
                            OUTCOME_NOT_APPLIED, members);
}

void api_add_replayed(struct conn *conn, const struct result_reader *reader)
{
    if (reader->head.replayed) {
        buf_add_string(&conn->api->headers, "Idempotency-Replayed: true\r\n");
        conn->api->metrics.replays++;
    }
}

bool api_read_result(struct conn *conn, const struct node_result *result,
                     struct result_reader *reader)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome != NODE_OK) {
        api_answer_outcome(conn, result);
        return false;
    }
    enum err err = result_open(reader, result->data);
    must(err == ERR_OK); /* The node has checked what came from elsewhere. */
    conn->answer.index = reader->head.index;
    api_add_replayed(conn, reader);
    switch (reader->head.status) {
    case RESULT_THEN:
    case RESULT_ELSE:
        return true;
    case RESULT_REFUSED:
        answer_refused(conn, &reader->head);
        return false;
    case RESULT_NOT_A_NUMBER:
    case RESULT_OVERFLOW:
    case RESULT_TOO_MANY:
    case RESULT_TOO_LARGE:
    case RESULT_REUSED:
    case RESULT_RESTORE:
    case RESULT_SUPERSEDED:
    case RESULT_NO_LEASE:
    case RESULT_LIMIT:
        break;
    }
    answer_failed(conn, &reader->head);
    return false;
}
