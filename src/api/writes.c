/* writes.c -- POST, PUT and DELETE of /key: as hraftd has them, with
 * conditions (RFC 9110 13.1, ?cas=), and under a name (Idempotency-Key).
 *
 * What hraftd could ask for is a version 1 command, all else version 2; see
 * command.h for why. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

/* An entry is applied in one turn, and a pair takes some 5 us. */
enum { COMMAND_BYTES_KEPT = 1 << 20, PAIRS_MAX = 10000 };

/* The kind of a request is part of what it is called (command_sign()). */
enum { KIND_POST = 1, KIND_PUT = 2, KIND_DELETE = 3 };

/* ---- names ----------------------------------------------------------------
 */

/* What a write depends on must come once: of two, one would be dropped. */
static bool any_comes_twice(const struct http_request *request)
{
    static const char *const names[] = {"If-Match", "If-None-Match",
                                        "Idempotency-Key"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        unsigned count = 0;
        for (uint32_t k = 0; k < request->header_count; k++) {
            count +=
                http_header_named(&request->headers[k], 1, names[i]).data !=
                NULL;
        }
        if (count > 1) {
            return true;
        }
    }
    return false;
}

bool api_read_name(struct conn *conn, const struct http_request *request,
                   struct command_name *name)
{
    if (any_comes_twice(request)) {
        api_answer_problem(
            conn, 400, "bad-request",
            "If-Match, If-None-Match or Idempotency-Key comes twice",
            OUTCOME_NOT_APPLIED);
        return false;
    }
    *name =
        (struct command_name){.key = http_header(request, "Idempotency-Key")};
    if (!name->key.data ||
        (name->key.size >= 1 && name->key.size <= COMMAND_NAME_BYTES_MAX)) {
        return true;
    }
    api_answer_problem(conn, 400, "bad-request",
                       "an Idempotency-Key has 1 to 64 bytes",
                       OUTCOME_NOT_APPLIED);
    return false;
}

/* ---- conditions -----------------------------------------------------------
 */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ',';
}

enum err api_next_tag(struct bytes *rest, struct tag *tag)
{
    const uint8_t *at = rest->data;
    const uint8_t *end = at ? at + rest->size : at;
    while (at < end && is_blank(*at)) {
        at++;
    }
    if (at == end) {
        return ERR_NOT_FOUND;
    }
    *tag = (struct tag){.weak = end - at > 2 && at[0] == 'W' && at[1] == '/'};
    at += tag->weak ? 2 : 0;
    if (*at != '"') {
        return ERR_INVALID;
    }
    at++;
    const uint8_t *close = memchr(at, '"', (size_t)(end - at));
    if (!close) {
        return ERR_INVALID;
    }
    /* Tags are compared as text: "044" is not "44". */
    if (!json_u64(bytes_of(at, (size_t)(close - at)), &tag->index) ||
        *at == '0') {
        tag->index = UINT64_MAX;
    }
    *rest = bytes_of(close + 1, (size_t)(end - close - 1));
    return ERR_OK;
}

bool api_has_tag(struct bytes tags, uint64_t index)
{
    struct tag tag;
    if (bytes_equal_string(tags, "*")) {
        return true;
    }
    while (api_next_tag(&tags, &tag) == ERR_OK) {
        if (tag.index == index) {
            return true;
        }
    }
    return false;
}

static void add_condition(struct command_writer *writer, struct bytes key,
                          enum command_field field, uint64_t number)
{
    command_if(writer, &(struct command_condition){
                           .field = field, .key = key, .number = number});
}

/* NULL, or what is wrong. Strong comparison: a weak tag matches nothing. */
static const char *add_if_match(struct command_writer *writer, struct bytes key,
                                struct bytes tags)
{
    static const char wrong[] =
        "If-Match is one tag such as \"44\", with its quotes, or *";
    struct tag tag;
    struct tag second;
    if (bytes_equal_string(tags, "*")) {
        add_condition(writer, key, COMMAND_IF_EXISTS, 1);
        return NULL;
    }
    if (api_next_tag(&tags, &tag) != ERR_OK ||
        api_next_tag(&tags, &second) != ERR_NOT_FOUND) {
        return wrong;
    }
    add_condition(writer, key, COMMAND_IF_INDEX,
                  tag.weak ? UINT64_MAX : tag.index);
    return NULL;
}

static const char *add_if_none_match(struct command_writer *writer,
                                     struct bytes key, struct bytes tags)
{
    struct tag tag;
    enum err err = ERR_OK;
    if (bytes_equal_string(tags, "*")) {
        add_condition(writer, key, COMMAND_IF_EXISTS, 0);
        return NULL;
    }
    while ((err = api_next_tag(&tags, &tag)) == ERR_OK) {
        add_condition(writer, key, COMMAND_IF_NOT_INDEX, tag.index);
    }
    return err == ERR_NOT_FOUND
               ? NULL
               : "If-None-Match is a list of tags such as \"44\", or *";
}

static const char *add_cas(struct command_writer *writer, struct bytes key,
                           struct bytes text, bool *creates)
{
    uint64_t index;
    if (!json_u64(text, &index)) {
        return "cas is the index that last changed the key, or 0";
    }
    *creates = index == 0;
    if (index == 0) {
        add_condition(writer, key, COMMAND_IF_EXISTS, 0);
    } else {
        add_condition(writer, key, COMMAND_IF_INDEX, index);
    }
    return NULL;
}

bool api_has_conditions(const struct conn *conn,
                        const struct http_request *request)
{
    return http_header(request, "If-Match").data ||
           http_header(request, "If-None-Match").data ||
           api_is_given(conn, PARAM_CAS);
}

bool api_add_conditions(struct conn *conn, const struct http_request *request,
                        struct bytes key, struct command_writer *writer)
{
    struct bytes match = http_header(request, "If-Match");
    struct bytes none = http_header(request, "If-None-Match");
    struct bytes cas;
    bool creates = false;
    const char *wrong = NULL;
    const char *code = "bad-request";
    if (match.data) {
        wrong = add_if_match(writer, key, match);
    }
    if (!wrong && none.data) {
        wrong = add_if_none_match(writer, key, none);
    }
    if (!wrong && api_is_given(conn, PARAM_CAS) &&
        api_get_param(conn, PARAM_CAS, &cas)) {
        code = "bad-param";
        wrong = add_cas(writer, key, cas, &creates);
    }
    if (wrong) {
        api_answer_problem(conn, 400, code, wrong, OUTCOME_NOT_APPLIED);
    }
    conn->state.write.creates = bytes_equal_string(none, "*") || creates;
    return !wrong;
}

/* ---- what came of it ------------------------------------------------------
 */

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
                             "delete_prefix: more than 1000 keys, or 16 MiB, "
                             "in one request"},
        [RESULT_TOO_LARGE] = {413, "too-large",
                              "the results are over 4 MiB (16 KiB with an "
                              "Idempotency-Key)"},
        [RESULT_REUSED] = {422, "idempotency-mismatch",
                           "this Idempotency-Key was used for another "
                           "request"},
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
        break;
    }
    answer_failed(conn, &reader->head);
    return false;
}

/* ---- writing --------------------------------------------------------------
 */

void api_submit(struct conn *conn, conn_finish *finish)
{
    struct api *api = conn->api;
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

void api_bad_json(struct conn *conn, const struct json_reader *reader,
                  const char *why)
{
    char message[160];
    snprintf(message, sizeof(message), "at byte %zu: %s", reader->offset, why);
    api_answer_problem(conn, 400, "bad-json", message, OUTCOME_NOT_APPLIED);
}

void api_submit_one(struct conn *conn, const struct http_request *request,
                    const struct command_name *name,
                    const struct command_condition *first,
                    const struct command_op *op, uint8_t kind,
                    conn_finish *finish)
{
    struct command_txn txn;
    struct command_writer writer;
    struct buf *command = &conn->api->command;
    command->size = 0;
    command_txn(&txn, command, name, false);
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
    command_sign(&txn, kind);
    api_submit(conn, finish);
}

/* ---- PUT ------------------------------------------------------------------
 */

static void finish_put(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    struct result_op op = {0};
    struct buf *headers = &conn->api->headers;
    if (!api_read_result(conn, result, &reader)) {
        return;
    }
    enum err err = result_next(&reader, &op);
    must(err == ERR_OK && op.type == COMMAND_PUT);
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
    api_answer_problem(conn, 400, "bad-request",
                       "a value is written whole: no Content-Range",
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
    api_submit_one(conn, request, &name, NULL, &put, KIND_PUT, finish_put);
}

/* ---- DELETE ---------------------------------------------------------------
 */

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

/* ---- before the body is there ---------------------------------------------
 */

bool api_write_refused(struct conn *conn, const struct http_request *request,
                       bool is_put_key)
{
    struct command_name name;
    struct command_writer writer;
    if (is_put_key && !api_read_key(conn, request->path, "/key/")) {
        return true;
    }
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
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

/* ---- POST -----------------------------------------------------------------
 */

static void finish_post_named(struct conn *conn,
                              const struct node_result *result)
{
    struct result_reader reader;
    if (api_read_result(conn, result, &reader)) {
        api_answer(conn, 200, NULL, (struct bytes){0});
    }
}

/* The value behind its name, checked. False: answered. A key that the path
 * wants is in conn->request.key until it has been met. */
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
    enum json_token token = json_next(reader);
    *value = reader->text;
    if (token != JSON_STRING) {
        api_bad_json(conn, reader,
                     token == JSON_ERROR ? reader->why : "values are strings");
        return false;
    }
    if (value->size > conn->api->options.value_bytes_max) {
        api_value_too_large(conn);
        return false;
    }
    return true;
}

/* `token` was to be the end of the object. */
static bool read_end(struct conn *conn, struct json_reader *reader,
                     enum json_token token)
{
    bool ended = token == JSON_OBJECT_END && json_next(reader) == JSON_END;
    if (!ended) {
        api_bad_json(conn, reader, reader->why ? reader->why : "not an object");
    } else if (conn->request.key.size > 0) {
        api_answer_problem(conn, 400, "bad-key",
                           "the body has no value for the key of the path",
                           OUTCOME_NOT_APPLIED);
        return false;
    }
    return ended;
}

/* Conditions are on a key: there must be one. */
static void post_one(struct conn *conn, const struct http_request *request,
                     const struct command_name *name,
                     struct json_reader *reader)
{
    struct command_op put = {.type = COMMAND_PUT};
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
            "a condition is for one pair (POST /txn is for more)",
            OUTCOME_NOT_APPLIED);
    } else if (read_end(conn, reader, token)) {
        buf_add_bytes(&conn->request.key,
                      put.key); /* To be named in the answer. */
        api_submit_one(conn, request, name, NULL, &put, KIND_POST,
                       finish_post_named);
    }
}

/* All pairs of the object are one command: one entry, applied as a whole.
 * Names that repeat: the last wins, since operations apply in order. */
static void post_all(struct conn *conn, const struct command_name *name,
                     struct json_reader *reader)
{
    struct buf *command = &conn->api->command;
    bool is_named = name->key.size > 0;
    struct command_txn txn;
    struct command_writer writer;
    enum json_token token;
    command->size = 0;
    if (is_named) {
        command_txn(&txn, command, name, false);
        command_list(&writer, command); /* No conditions. */
        command_end(&writer);
        command_list(&writer, command);
    } else {
        command_begin(&writer, command);
    }
    while ((token = json_next(reader)) == JSON_NAME) {
        struct bytes key;
        struct bytes value;
        if (!read_pair(conn, reader, &key, &value)) {
            return;
        }
        if (writer.count == PAIRS_MAX) {
            api_answer_problem(conn, 413, "too-large",
                               "more than 10000 pairs in one request",
                               OUTCOME_NOT_APPLIED);
            return;
        }
        command_put(&writer, key, value);
    }
    if (!read_end(conn, reader, token)) {
        return;
    }
    command_end(&writer);
    if (writer.count == 0) {
        api_answer(conn, 200, NULL, (struct bytes){0});
    } else if (is_named) {
        command_sign(&txn, KIND_POST);
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
    /* The body lies in the connection's own, writable input. */
    json_init(&reader, (uint8_t *)(uintptr_t)request->body.data,
              request->body.size);
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
