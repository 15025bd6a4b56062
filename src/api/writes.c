/* writes.c -- POST, PUT and DELETE of /key, as hraftd has them.
 *
 * A write that hraftd knows is a version 1 command; one with conditions, a name
 * or a time-out is a version 2 command; command.h says why. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

_Static_assert(COMMAND_REQUEST_OPS_MAX == 10000, "an answer names it");

/* ---- PUT ---- */

static void finish_put(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    struct result_op op = {0};
    struct buf *headers = &conn->api->headers;
    if (!api_read_result(conn, result, &reader)) {
        return;
    }
    enum err err = result_next(&reader, &op);
    must(err == ERR_OK &&
         (op.type == COMMAND_PUT || op.type == COMMAND_PUT_TIMED));
    buf_printf(headers, "ETag: \"%llu\"\r\n",
               (unsigned long long)reader.head.index);
    if (op.created) {
        buf_add_string(headers, "Location: /key/");
        http_percent_encode(headers, buf_bytes(&conn->request.key), true);
        buf_add_string(headers, "\r\n");
    }
    api_answer(conn, op.created ? 201 : 204, NULL, (struct bytes){0});
}

/* RFC 9110 14.5: a part of a value is not taken for the whole. */
static bool is_partial(struct conn *conn, const struct http_request *request)
{
    if (!http_header(request, "Content-Range").data) {
        return false;
    }
    api_answer_problem(
        conn, 400, "bad-request",
        "Content-Range is not supported: a value is written as a whole",
        OUTCOME_NOT_APPLIED);
    return true;
}

void api_put_key(struct conn *conn, const struct http_request *request)
{
    struct command_name name;
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
        return;
    }
    if (is_partial(conn, request)) {
        return;
    }
    if (request->body.size > conn->api->options.value_bytes_max) {
        api_value_too_large(conn);
        return;
    }
    struct command_op put = {.type = COMMAND_PUT,
                             .key = buf_bytes(&conn->request.key),
                             .value = request->body};
    if (!ttl_take(conn, &put)) {
        return;
    }
    api_submit_one(conn, request, &name, NULL, &put, KIND_PUT, finish_put);
}

/* ---- DELETE ---- */

static void answer_deleted(struct conn *conn, uint64_t deleted)
{
    http_add_header_u64(&conn->api->headers, "Craftd-Deleted", deleted);
    api_answer(conn, 200, NULL, (struct bytes){0});
}

static void finish_delete(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        conn->answer.index = result->index;
        answer_deleted(conn, result->deleted);
    } else {
        api_answer_outcome(conn, result);
    }
}

static void finish_delete_if(struct conn *conn,
                             const struct node_result *result)
{
    struct result_reader reader;
    struct result_op op = {0};
    if (api_read_result(conn, result, &reader)) {
        enum err err = result_next(&reader, &op);
        must(err == ERR_OK && op.type == COMMAND_DELETE);
        answer_deleted(conn, op.deleted);
    }
}

void api_delete_key(struct conn *conn, const struct http_request *request)
{
    struct command_name name;
    struct command_writer writer;
    struct command_op op = {.type = COMMAND_DELETE,
                            .key = buf_bytes(&conn->request.key)};
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
        return;
    }
    if (name.key.size > 0 || api_has_conditions(conn, request)) {
        api_submit_one(conn, request, &name, NULL, &op, KIND_DELETE,
                       finish_delete_if);
        return;
    }
    conn->api->command.size = 0;
    command_begin(&writer, &conn->api->command);
    command_add(&writer, &op);
    command_end(&writer);
    api_submit(conn, finish_delete);
}

/* ---- before the body has come ---- */

bool api_write_refused(struct conn *conn, const struct http_request *request,
                       bool is_put_key)
{
    struct command_name name;
    struct command_writer writer;
    if (is_put_key && !api_read_key(conn, request->path, "/key/")) {
        return true;
    }
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name) || ttl_refused(conn)) {
        return true;
    }
    if (!is_put_key) {
        return false;
    }
    if (request->content_length > conn->api->options.value_bytes_max) {
        api_value_too_large(conn);
        return true;
    }
    conn->api->command.size = 0;
    command_list(&writer, &conn->api->command);
    return !api_add_conditions(conn, request, buf_bytes(&conn->request.key),
                               &writer);
}

/* ---- POST ---- */

static void finish_post_named(struct conn *conn,
                              const struct node_result *result)
{
    struct result_reader reader;
    if (api_read_result(conn, result, &reader)) {
        api_answer(conn, 200, NULL, (struct bytes){0});
    }
}

/* Read and check a pair whose name has just been read. False: answered. The key
 * of the path, if there is one, stays in conn->request.key until a pair has it.
 */
static bool read_pair(struct conn *conn, struct json_reader *reader,
                      struct bytes *key, struct bytes *value)
{
    *key = reader->text;
    const char *wrong = api_key_wrong(*key);
    if (bytes_equal(*key, buf_bytes(&conn->request.key))) {
        conn->request.key.size = 0;
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-key", wrong, OUTCOME_NOT_APPLIED);
        return false;
    }
    if (!api_gate_allows(conn, AUTH_WRITE, *key)) {
        return false;
    }
    enum json_token token = json_next(reader);
    *value = reader->text;
    if (token != JSON_STRING) {
        api_bad_json(conn, reader,
                     token == JSON_ERROR ? reader->why
                                         : "values must be strings");
        return false;
    }
    if (value->size > conn->api->options.value_bytes_max) {
        api_value_too_large(conn);
        return false;
    }
    return true;
}

/* Returns whether `token` ends the object, and the body with it. False:
 * answered. */
static bool read_end(struct conn *conn, struct json_reader *reader,
                     enum json_token token)
{
    bool ended = token == JSON_OBJECT_END && json_next(reader) == JSON_END;
    if (!ended) {
        api_bad_json(conn, reader,
                     reader->why ? reader->why
                                 : "the body is not one JSON object");
    } else if (conn->request.key.size > 0) {
        api_answer_problem(conn, 400, "bad-key",
                           "the body has no value for the key of the path",
                           OUTCOME_NOT_APPLIED);
        return false;
    }
    return ended;
}

/* A condition is about one key, so the object must have exactly one pair. */
static void post_one(struct conn *conn, const struct http_request *request,
                     const struct command_name *name,
                     struct json_reader *reader)
{
    struct command_op put = {.type = COMMAND_PUT};
    if (!ttl_take(conn, &put)) {
        return;
    }
    enum json_token token = json_next(reader);
    if (token == JSON_NAME) {
        if (!read_pair(conn, reader, &put.key, &put.value)) {
            return;
        }
        token = json_next(reader);
    }
    if (token == JSON_NAME || (token == JSON_OBJECT_END && !put.key.data)) {
        api_answer_problem(
            conn, 400, "bad-request",
            "a condition is about one pair: POST /txn takes more",
            OUTCOME_NOT_APPLIED);
    } else if (read_end(conn, reader, token)) {
        buf_add_bytes(&conn->request.key, put.key); /* The answer names it. */
        api_submit_one(conn, request, name, NULL, &put, KIND_POST,
                       finish_post_named);
    }
}

/* All pairs of the object are one command, hence one entry, which is applied
 * atomically. If a name repeats, the last value wins, since operations are
 * applied in order. */
static void post_all(struct conn *conn, const struct command_name *name,
                     struct json_reader *reader)
{
    struct buf *command = &conn->api->command;
    struct command_op put = {.type = COMMAND_PUT};
    struct command_txn txn;
    struct command_writer writer;
    enum json_token token;
    if (!ttl_take(conn, &put)) {
        return;
    }
    bool is_timed = put.type == COMMAND_PUT_TIMED;
    bool is_txn = is_timed || name->key.size > 0;
    command->size = 0;
    if (is_txn) {
        command_txn(&txn, command, name, false);
        if (is_timed) {
            command_txn_timed(&txn);
        }
        command_list(&writer, command); /* No conditions. */
        command_end(&writer);
        command_list(&writer, command);
    } else {
        command_begin(&writer, command);
    }
    while ((token = json_next(reader)) == JSON_NAME) {
        if (!read_pair(conn, reader, &put.key, &put.value)) {
            return;
        }
        /* The entry is applied in one turn of the event loop, and a pair
         * takes about 5 us. */
        if (writer.count == COMMAND_REQUEST_OPS_MAX) {
            api_answer_problem(conn, 413, "too-large",
                               "more than 10000 pairs in one request: split it",
                               OUTCOME_NOT_APPLIED);
            return;
        }
        command_add(&writer, &put);
    }
    if (!read_end(conn, reader, token)) {
        return;
    }
    command_end(&writer);
    if (writer.count == 0) {
        api_answer(conn, 200, NULL, (struct bytes){0});
    } else if (is_txn) {
        api_sign(conn, &txn, KIND_POST);
        api_submit(conn, finish_post_named);
    } else {
        api_submit(conn, api_finish_plain);
    }
}

void api_post_keys(struct conn *conn, const struct http_request *request)
{
    struct json_reader reader;
    struct command_name name;
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
        return;
    }
    api_json_init(&reader, request);
    enum json_token token = json_next(&reader);
    if (token != JSON_OBJECT_BEGIN) {
        api_bad_json(conn, &reader,
                     token == JSON_ERROR ? reader.why
                                         : "an object is expected");
    } else if (api_has_conditions(conn, request)) {
        post_one(conn, request, &name, &reader);
    } else {
        post_all(conn, &name, &reader);
    }
}
