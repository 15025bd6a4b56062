/* keys.c -- GET /key/k: as in hraftd, raw, or with the metadata of the key. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "base/text.h"
#include "command/command.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

/* ---- the path ---- */

const char *api_key_wrong(struct bytes key)
{
    if (key.size == 0 || key.size > COMMAND_KEY_BYTES_MAX) {
        return "a key has 1 to 1024 bytes";
    }
    if (memchr(key.data, 0, key.size) || !json_is_utf8(key)) {
        return "a key is UTF-8 without NUL";
    }
    return NULL;
}

bool api_read_key(struct conn *conn, struct bytes path, const char *root)
{
    const size_t prefix = strlen(root);
    const char *wrong = "the path names no key: GET /key/KEY reads one, "
                        "GET /keys lists them";
    conn->request.key.size = 0;
    if (path.size > prefix) {
        struct bytes raw = bytes_of(path.data + prefix, path.size - prefix);
        uint8_t *out = buf_reserve(&conn->request.key, raw.size);
        wrong = http_percent_decode(raw, out, &conn->request.key.size)
                    ? api_key_wrong(buf_bytes(&conn->request.key))
                    : "a bad percent escape in the key";
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-key", wrong, OUTCOME_NOT_APPLIED);
    }
    return !wrong;
}

/* ---- the form of the answer ---- */

static bool read_form(struct conn *conn, const struct http_request *request)
{
    struct bytes rest = http_header(request, "If-None-Match");
    struct tag tag;
    conn->request.text.size = 0;
    buf_add_bytes(&conn->request.text, rest);
    conn->state.get.meta = api_flag(conn, PARAM_META);
    conn->state.get.raw = api_flag(conn, PARAM_RAW) ||
                          (!conn->state.get.meta && api_accepts_raw(request));
    enum err err = bytes_equal_string(rest, "*") ? ERR_NOT_FOUND : ERR_OK;
    while (!err) {
        err = api_next_tag(&rest, &tag);
    }
    if (err != ERR_NOT_FOUND) {
        api_answer_problem(
            conn, 400, "bad-request",
            "If-None-Match is a list of tags such as \"44\", or *",
            OUTCOME_NONE);
    }
    return err == ERR_NOT_FOUND && api_poll_take(conn, request);
}

/* ---- answering ---- */

void api_add_value(struct buf *out, struct bytes value)
{
    if (json_is_utf8(value)) {
        buf_add_string(out, "\"value\":");
        json_add_string(out, value);
    } else {
        buf_add_string(out, "\"value_base64\":\"");
        text_add_base64(out, value);
        buf_add_u8(out, '"');
    }
}

static void answer_missing(struct conn *conn)
{
    struct buf *body = &conn->api->body;
    if (conn->state.get.raw || conn->state.get.meta) {
        api_answer_no_such(conn, "key", OUTCOME_NONE);
        return;
    }
    buf_add_u8(body, '{');
    json_add_string(body, buf_bytes(&conn->request.key));
    buf_add_string(body, ":\"\"}");
    api_answer(conn, 404, "application/json", buf_bytes(body));
}

static void answer_raw(struct conn *conn, const struct store_row *row)
{
    /* A browser must not run a stored value as a page of ours. */
    buf_add_string(&conn->api->headers, "Content-Security-Policy: sandbox\r\n");
    api_answer(conn, 200, "application/octet-stream", row->value);
}

static bool has_end(const struct store_row *row)
{
    return row->deadline_ms > 0 || row->lease > 0;
}

static void answer_meta(struct conn *conn, const struct store_row *row,
                        uint64_t ttl_ms)
{
    struct buf *body = &conn->api->body;
    buf_add_string(body, "{\"key\":");
    json_add_string(body, buf_bytes(&conn->request.key));
    buf_add_u8(body, ',');
    api_add_value(body, row->value);
    buf_printf(body, ",\"index\":%llu,\"create_index\":%llu,\"version\":%llu",
               (unsigned long long)row->modify_index,
               (unsigned long long)row->create_index,
               (unsigned long long)row->version);
    if (has_end(row)) {
        ttl_add_members(body, ttl_ms, row->lease);
    }
    buf_add_string(body, "}\n");
    api_answer(conn, 200, "application/json", buf_bytes(body));
}

static void answer_pair(struct conn *conn, const struct store_row *row)
{
    struct buf *body = &conn->api->body;
    if (!json_is_utf8(row->value)) {
        api_answer_problem(
            conn, 406, "not-text",
            "the value is not UTF-8 and has no JSON form: use ?raw or ?meta",
            OUTCOME_NONE);
        return;
    }
    buf_add_u8(body, '{');
    json_add_string(body, buf_bytes(&conn->request.key));
    buf_add_u8(body, ':');
    json_add_string(body, row->value);
    buf_add_u8(body, '}');
    api_answer(conn, 200, "application/json", buf_bytes(body));
}

/* True if the client has this row already, or none if it is NULL. */
static bool is_known(struct conn *conn, const struct store_row *row)
{
    const struct conn_poll *poll = &conn->poll;
    if (!row) {
        return poll->has_index &&
               api_poll_is_unchanged(conn, buf_bytes(&conn->request.key), false,
                                     poll->index);
    }
    return (conn->request.text.size > 0 &&
            api_has_tag(buf_bytes(&conn->request.text), row->modify_index)) ||
           (poll->has_index && row->modify_index <= poll->index);
}

/* Read the key of the request, and the time that is left to it. */
static enum err read_key(struct conn *conn, struct store_row *row,
                         uint64_t *ttl_ms)
{
    struct node *node = conn->api->node;
    struct bytes key = buf_bytes(&conn->request.key);
    enum err err = node_get(node, key, row);
    if (!err && has_end(row)) {
        *ttl_ms = node_ttl_ms(node, row->deadline_ms, row->lease);
        err = node_get(node, key, row); /* Reading a lease ends the view. */
    }
    return err;
}

static void answer_key(struct conn *conn)
{
    struct api *api = conn->api;
    struct store_row row = {0};
    uint64_t ttl_ms = 0;
    enum err err = read_key(conn, &row, &ttl_ms);
    if (err_is_shortage(err)) {
        api_read_wait(conn);
        return;
    }
    if (!err && !api_has_output_room(conn, row.value.size)) {
        return;
    }
    bool known = is_known(conn, err ? NULL : &row);
    if (known && api_poll_wait(conn, buf_bytes(&conn->request.key), false)) {
        return;
    }
    api_add_read_headers(conn);
    if (err && known) {
        api_answer(conn, 304, NULL, (struct bytes){0});
        return;
    }
    if (err) {
        answer_missing(conn);
        return;
    }
    buf_add_string(&api->headers, "ETag: \"");
    buf_add_decimal(&api->headers, row.modify_index);
    buf_add_string(&api->headers, "\"\r\n");
    http_add_header_u64(&api->headers, "Craftd-Create-Index", row.create_index);
    if (has_end(&row)) {
        http_add_header_u64(&api->headers, "Craftd-Ttl", ttl_ms);
    }
    if (known) {
        api_answer(conn, 304, NULL, (struct bytes){0});
    } else if (conn->state.get.raw) {
        answer_raw(conn, &row);
    } else if (conn->state.get.meta) {
        answer_meta(conn, &row, ttl_ms);
    } else {
        answer_pair(conn, &row);
    }
}

void api_on_key(struct conn *conn, const struct http_request *request)
{
    static const char root[] = "/key/";
    bool post = request->verb == HTTP_VERB_POST;
    if (post && request->path.size < sizeof(root)) {
        api_post_keys(conn, request); /* "/key/" is "/key". */
    } else if (!api_read_key(conn, request->path, root)) {
        return;
    } else if (post) {
        api_post_keys(conn, request); /* As in hraftd, the path is ignored. */
    } else if (request->verb == HTTP_VERB_PUT) {
        api_put_key(conn, request);
    } else if (request->verb == HTTP_VERB_DELETE) {
        api_delete_key(conn, request);
    } else if (read_form(conn, request)) {
        api_read_start(conn, request, answer_key);
    }
}
