/* keys.c -- POST /key, GET and DELETE /key/k, as hraftd has them. */
#include <stdio.h>

#include "api/api_internal.h"
#include "command/command.h"
#include "json/json.h"

/* ---- reading ---------------------------------------------------------------
 */

static void answer_key(struct conn *conn)
{
    struct api *api = conn->api;
    struct node_row row = {0};
    enum err err = node_get(api->node, buf_bytes(&conn->key), &row);
    if (!err && !json_is_utf8(row.value)) {
        answer_problem(conn, 406, "not-text",
                       "the value is not UTF-8 and has no JSON form", NULL);
        return;
    }
    if (conn->local) {
        http_add_header(&api->headers, "Craftd-Level", bytes_of_string("none"));
    } else {
        http_add_header(&api->headers, "Craftd-Level",
                        bytes_of_string("linearizable"));
    }
    if (!node_is_leader(api->node)) {
        http_add_header_u64(&api->headers, "Craftd-Last-Contact",
                            node_last_contact_ms(api->node));
    }
    if (!err) {
        buf_printf(&api->headers, "ETag: \"%llu\"\r\n",
                   (unsigned long long)row.modify_index);
    }
    buf_add_u8(&api->body, '{');
    json_add_string(&api->body, buf_bytes(&conn->key));
    buf_add_u8(&api->body, ':');
    json_add_string(&api->body, row.value);
    buf_add_u8(&api->body, '}');
    answer(conn, err ? 404 : 200, "application/json", buf_bytes(&api->body));
}

static void finish_get(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        answer_key(conn);
    } else {
        answer_outcome(conn, result);
    }
}

bool read_level(struct conn *conn, const struct http_request *request)
{
    struct bytes level;
    conn->local = false;
    if (request->query.size == 0) {
        return true;
    }
    if (flag(request, "stale")) {
        conn->local = true;
    }
    if (!http_query(request->query, "level", &level) ||
        bytes_equal_string(level, "linearizable")) {
        return true;
    }
    conn->local = bytes_equal_string(level, "none");
    if (!conn->local) {
        answer_problem(conn, 400, "bad-param", "level is linearizable or none",
                       NULL);
    }
    return conn->local;
}

static void get_key(struct conn *conn, const struct http_request *request)
{
    if (!read_level(conn, request) || !read_timeout(conn, request)) {
        return;
    }
    if (conn->local) {
        answer_key(conn);
    } else if (!redirected(conn, request)) {
        conn->finish = finish_get;
        conn->busy = true;
        node_read(conn->api->node, &conn->request);
    }
}

/* ---- writing
 * ----------------------------------------------------------------- */

static void finish_delete(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    if (result->outcome == NODE_OK) {
        http_add_header_u64(&conn->api->headers, "Craftd-Deleted",
                            result->deleted);
        answer(conn, 200, NULL, (struct bytes){0});
    } else {
        answer_outcome(conn, result);
    }
}

static void submit(struct conn *conn, conn_finish *finish)
{
    conn->finish = finish;
    conn->busy = true;
    node_write(conn->api->node, &conn->request, buf_bytes(&conn->api->command));
}

static const char *key_wrong(struct bytes key)
{
    if (key.size == 0 || key.size > COMMAND_KEY_BYTES_MAX) {
        return "a key has 1 to 1024 bytes";
    }
    if (memchr(key.data, 0, key.size) || !json_is_utf8(key)) {
        return "a key is UTF-8 without NUL";
    }
    return NULL;
}

static void bad_json(struct conn *conn, const struct json_reader *reader,
                     const char *why)
{
    char message[160];
    snprintf(message, sizeof(message), "at byte %zu: %s", reader->offset, why);
    answer_problem(conn, 400, "bad-json", message, "not-applied");
}

/* One pair, behind its name. False: answered. */
static bool add_pair(struct conn *conn, struct json_reader *reader,
                     struct command_writer *writer)
{
    struct bytes key = reader->text;
    const char *wrong = key_wrong(key);
    if (wrong) {
        answer_problem(conn, 400, "bad-key", wrong, "not-applied");
        return false;
    }
    enum json_token token = json_next(reader);
    struct bytes value = reader->text;
    if (token != JSON_STRING) {
        bad_json(conn, reader,
                 token == JSON_ERROR ? reader->why : "values are strings");
        return false;
    }
    if (value.size > conn->api->options.value_bytes_max) {
        answer_problem(conn, 413, "too-large",
                       "a value is over the limit (--max-value)",
                       "not-applied");
        return false;
    }
    command_put(writer, key, value);
    return true;
}

/* All pairs of the object are one command: one entry, applied as a whole.
 * Names that repeat: the last wins, since operations apply in order. */
static void post_keys(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct json_reader reader;
    struct command_writer writer;
    if (!read_timeout(conn, request) || redirected(conn, request)) {
        return;
    }
    api->command.size = 0;
    command_begin(&writer, &api->command);
    /* The body lies in the connection's own, writable input. */
    json_init(&reader, (uint8_t *)(uintptr_t)request->body.data,
              request->body.size);
    enum json_token token = json_next(&reader);
    if (token != JSON_OBJECT_BEGIN) {
        bad_json(conn, &reader,
                 token == JSON_ERROR ? reader.why : "an object is expected");
        return;
    }
    while ((token = json_next(&reader)) == JSON_NAME) {
        if (!add_pair(conn, &reader, &writer)) {
            return;
        }
    }
    if (token != JSON_OBJECT_END || json_next(&reader) != JSON_END) {
        bad_json(conn, &reader, reader.why ? reader.why : "not an object");
        return;
    }
    command_end(&writer);
    if (writer.count == 0) {
        answer(conn, 200, NULL, (struct bytes){0});
    } else {
        submit(conn, finish_plain);
    }
    if (api->command.capacity > (1 << 20)) {
        buf_free(&api->command);
    }
}

static void delete_key(struct conn *conn, const struct http_request *request)
{
    struct command_writer writer;
    if (!read_timeout(conn, request) || redirected(conn, request)) {
        return;
    }
    conn->api->command.size = 0;
    command_begin(&writer, &conn->api->command);
    command_delete(&writer, buf_bytes(&conn->key));
    command_end(&writer);
    submit(conn, finish_delete);
}

/* ---- the path
 * ------------------------------------------------------------------ */

/* All behind "/key/", percent-decoded once. False: answered. */
static bool read_key(struct conn *conn, struct bytes path)
{
    const size_t prefix = strlen("/key/");
    const char *wrong = "the path is /key/ and a key";
    conn->key.size = 0;
    if (path.size > prefix) {
        struct bytes raw = bytes_of(path.data + prefix, path.size - prefix);
        uint8_t *out = buf_reserve(&conn->key, raw.size);
        wrong = http_percent_decode(raw, out, &conn->key.size)
                    ? key_wrong(buf_bytes(&conn->key))
                    : "a bad percent escape in the key";
    }
    if (wrong) {
        answer_problem(conn, 400, "bad-key", wrong, "not-applied");
    }
    return !wrong;
}

void on_key(struct conn *conn, const struct http_request *request)
{
    if (request->verb == HTTP_VERB_POST) {
        post_keys(conn, request); /* hraftd does not look at the path. */
    } else if (request->verb == HTTP_VERB_PUT) {
        not_allowed(conn, "GET, HEAD, POST, DELETE, OPTIONS");
    } else if (read_key(conn, request->path)) {
        if (request->verb == HTTP_VERB_DELETE) {
            delete_key(conn, request);
        } else {
            get_key(conn, request);
        }
    }
}
