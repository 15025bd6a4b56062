/* properties.c -- /api/v1/properties and /api/v1/settings: brokerd's names for
 * the same keys and values.
 *
 * brokerd distinguishes creating from replacing: POST is refused when the key
 * exists, PUT when it does not. Both are decided when the entry is applied.
 *
 * A list is one array, which cannot say that it ends early. So the walk goes on
 * when writes are applied meanwhile: the list may show several states, each
 * pair as it was at some time, and everything up to Craftd-Index. It is cut
 * only at its own limits, and then there is a Link. `offset` counts items. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/scan_internal.h"
#include "api/write_internal.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"
#include "node/node.h"
#include "pattern/pattern.h"
#include "json/json.h"

/* ---- patterns ---- */

static bool take_pattern(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct bytes text;
    api_scan_no_pattern(scan);
    if (!api_is_given(conn, PARAM_PATTERN)) {
        return true;
    }
    if (!api_take_text(conn, PARAM_PATTERN, &text)) {
        return false;
    }
    scan->pattern = mem_alloc(sizeof(*scan->pattern));
    const char *wrong = pattern_compile(scan->pattern, text);
    if (wrong) {
        char message[192];
        snprintf(message, sizeof(message), "pattern: %s", wrong);
        api_scan_no_pattern(scan);
        api_answer_problem(conn, 400, "bad-param", message,
                           OUTCOME_NOT_APPLIED);
    }
    return !wrong;
}

/* ---- one property, as JSON ---- */

static void add_property(struct buf *out, struct bytes key, struct bytes value)
{
    buf_add_string(out, "{\"key\":");
    json_add_string(out, key);
    buf_add_u8(out, ',');
    api_add_value(out, value);
    buf_add_u8(out, '}');
}

struct property {
    struct bytes key;
    struct bytes value;
};

static const char *take_member(struct json_reader *reader,
                               struct property *property)
{
    bool is_key = bytes_equal_string(reader->text, "key");
    struct bytes *member = is_key ? &property->key : &property->value;
    if (!is_key && !bytes_equal_string(reader->text, "value")) {
        return "the members are key and value";
    }
    if (member->data) {
        return "a member is given twice";
    }
    if (json_next(reader) != JSON_STRING) {
        return "a string is expected";
    }
    *member = reader->text;
    return NULL;
}

/* {"key":...,"value":...}. False: answered. */
static bool read_body(struct conn *conn, const struct http_request *request,
                      struct property *property)
{
    struct json_reader reader;
    enum json_token token;
    const char *wrong = NULL;
    *property = (struct property){0};
    api_json_init(&reader, request);
    token = json_next(&reader);
    if (token != JSON_OBJECT_BEGIN) {
        wrong = "an object is expected";
    }
    while (!wrong && (token = json_next(&reader)) == JSON_NAME) {
        wrong = take_member(&reader, property);
    }
    if (!wrong &&
        (token != JSON_OBJECT_END || json_next(&reader) != JSON_END)) {
        wrong = "the body is not one JSON object";
    }
    if (wrong) {
        api_bad_json(conn, &reader, reader.why ? reader.why : wrong);
        return false;
    }
    if (property->value.data) {
        return true;
    }
    api_answer_problem(conn, 400, "bad-request", "the member value is missing",
                       OUTCOME_NOT_APPLIED);
    return false;
}

/* ---- writing one ---- */

static bool was_refused(const struct node_result *result)
{
    struct result_reader reader;
    return result->outcome == NODE_OK &&
           result_open(&reader, result->data) == ERR_OK &&
           reader.head.status == RESULT_REFUSED && reader.head.at == 0;
}

/* submit_put() has put the answer into the page. */
static void finish_write(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    if (!api_read_result(conn, result, &reader)) {
        api_scan_close(conn);
        return;
    }
    conn->scan.index = reader.head.index;
    api_scan_answer(conn, "application/json");
}

/* The first condition did not hold, now or when the request was made first. */
static void refuse(struct conn *conn, const struct node_result *result,
                   int status, const char *code, const char *message)
{
    struct result_reader reader;
    enum err err = result_open(&reader, result->data);
    must(!err); /* was_refused() */
    conn->api->headers.size = 0;
    conn->answer.index = reader.head.index;
    api_add_replayed(conn, &reader);
    api_scan_close(conn);
    api_answer_problem(conn, status, code, message, OUTCOME_NOT_APPLIED);
}

static void finish_create(struct conn *conn, const struct node_result *result)
{
    if (was_refused(result)) {
        refuse(conn, result, 409, "exists", "the property exists already");
    } else {
        finish_write(conn, result);
    }
}

static void finish_change(struct conn *conn, const struct node_result *result)
{
    if (was_refused(result)) {
        refuse(conn, result, 404, "not-found", "there is no such property");
    } else {
        finish_write(conn, result);
    }
}

static void finish_remove(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    struct buf *body = &conn->api->body;
    if (was_refused(result)) {
        finish_change(conn, result);
    } else if (api_read_result(conn, result, &reader)) {
        buf_printf(body, "{\"deleted\":1,\"index\":%llu}\n",
                   (unsigned long long)reader.head.index);
        api_answer(conn, 200, "application/json", buf_bytes(body));
    }
}

/* Submit one operation. Its first condition is that the key exists, or does
 * not; those of the headers follow. */
static void submit_if(struct conn *conn, const struct http_request *request,
                      bool exists, const struct command_op *op,
                      enum write_kind kind, conn_finish *finish)
{
    struct command_condition there = {
        .field = COMMAND_IF_EXISTS, .key = op->key, .number = exists};
    struct command_name name;
    if (api_read_timeout(conn) && !api_redirected(conn, request) &&
        api_read_name(conn, request, &name)) {
        api_submit_one(conn, request, &name, &there, op, kind, finish);
    }
}

static void submit_put(struct conn *conn, const struct http_request *request,
                       const struct property *property, bool exists)
{
    struct buf *page = &conn->scan.page;
    struct command_op put = {
        .type = COMMAND_PUT, .key = property->key, .value = property->value};
    if (property->value.size > conn->api->options.value_bytes_max) {
        api_value_too_large(conn);
        return;
    }
    page->size = 0;
    add_property(page, property->key, property->value);
    buf_add_u8(page, '\n');
    submit_if(conn, request, exists, &put, exists ? KIND_REPLACE : KIND_CREATE,
              exists ? finish_change : finish_create);
    if (!conn->busy) {
        api_scan_close(conn); /* It was refused: release the page. */
    }
}

static void create(struct conn *conn, const struct http_request *request)
{
    struct property property;
    if (!read_body(conn, request, &property)) {
        return;
    }
    const char *wrong = api_key_wrong(property.key);
    if (wrong) {
        api_answer_problem(conn, 400, "bad-key", wrong, OUTCOME_NOT_APPLIED);
    } else if (api_gate_allows(conn, AUTH_WRITE, property.key)) {
        submit_put(conn, request, &property, false);
    }
}

/* The path names the key; the body may name it too, and must agree then. */
static void replace(struct conn *conn, const struct http_request *request)
{
    struct property property;
    if (!read_body(conn, request, &property)) {
        return;
    }
    if (property.key.data &&
        !bytes_equal(property.key, buf_bytes(&conn->request.key))) {
        api_answer_problem(conn, 400, "bad-key",
                           "the key in the body is not that of the path",
                           OUTCOME_NOT_APPLIED);
        return;
    }
    property.key = buf_bytes(&conn->request.key);
    submit_put(conn, request, &property, true);
}

static void remove_one(struct conn *conn, const struct http_request *request)
{
    struct command_op op = {.type = COMMAND_DELETE,
                            .key = buf_bytes(&conn->request.key)};
    submit_if(conn, request, true, &op, KIND_REMOVE, finish_remove);
}

/* ---- reading ---- */

static void show_one(struct conn *conn)
{
    struct buf *headers = &conn->api->headers;
    struct buf *body = &conn->api->body;
    struct store_row row = {0};
    enum err err =
        node_get(conn->api->node, buf_bytes(&conn->request.key), &row);
    if (!err && !api_has_output_room(conn, row.value.size)) {
        return;
    }
    api_add_read_headers(conn);
    if (err) {
        api_answer_problem(conn, 404, "not-found", "there is no such property",
                           OUTCOME_NONE);
        return;
    }
    buf_printf(headers, "ETag: \"%llu\"\r\n",
               (unsigned long long)row.modify_index);
    add_property(body, buf_bytes(&conn->request.key), row.value);
    buf_add_u8(body, '\n');
    api_answer(conn, 200, "application/json", buf_bytes(body));
}

static enum scan_step list_step(struct conn *conn,
                                const struct store_pair *pair)
{
    struct scan *scan = &conn->scan;
    struct scan_properties *properties = &scan->by.properties;
    size_t before = scan->page.size;
    if (api_scan_is_late(conn)) {
        return SCAN_FULL;
    }
    if (!api_scan_matches(scan, pair->key)) {
        return SCAN_ON;
    }
    if (properties->skip > 0) {
        properties->skip--;
        return SCAN_ON;
    }
    if (properties->count == properties->limit) {
        return SCAN_FULL;
    }
    buf_add_string(&scan->page, properties->count > 0 ? "," : "");
    add_property(&scan->page, pair->key, pair->value);
    if (properties->count > 0 && scan->page.size > scan->page_max) {
        scan->page.size = before;
        return SCAN_FULL;
    }
    properties->count++;
    return SCAN_ON;
}

static void list_done(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    if (scan->late) {
        api_scan_answer_late(conn);
        return;
    }
    scan->index = scan->first_index;
    api_add_read_headers(conn);
    if (scan->more) {
        struct buf *headers = &conn->api->headers;
        buf_add_string(headers, "Link: <?");
        buf_add_bytes(headers, buf_bytes(&scan->query));
        buf_printf(headers, "offset=%llu>; rel=\"next\"\r\n",
                   (unsigned long long)(scan->by.properties.offset +
                                        scan->by.properties.count));
    }
    buf_add_string(&scan->page, "]\n");
    api_scan_answer(conn, "application/json");
}

static void show_list(struct conn *conn)
{
    struct scan *scan = &conn->scan;
    struct scan_properties *properties = &scan->by.properties;
    scan->page.size = 0;
    properties->count = 0;
    properties->skip = properties->offset;
    buf_add_u8(&scan->page, '[');
    api_scan_start(conn);
}

static bool take_offset(struct conn *conn)
{
    struct bytes raw;
    conn->scan.by.properties.offset = 0;
    if (!api_get_param(conn, PARAM_OFFSET, &raw) ||
        json_u64(raw, &conn->scan.by.properties.offset)) {
        return true;
    }
    api_answer_problem(conn, 400, "bad-param",
                       "offset is the number of items to skip",
                       OUTCOME_NOT_APPLIED);
    return false;
}

static void get_list(struct conn *conn, const struct http_request *request)
{
    struct scan *scan = &conn->scan;
    if (!api_take_limit(conn, &scan->by.properties.limit) ||
        !take_offset(conn) || !take_pattern(conn)) {
        return;
    }
    scan->query.size = 0;
    api_add_query(&scan->query, request->query, "offset");
    scan->step = list_step;
    scan->done = list_done;
    scan->perm = AUTH_READ;
    scan->reverse = false;
    scan->keys_only = false;
    scan->mixed = true;
    scan->pageless = false;
    scan->from.size = 0;
    scan->to.size = 0;
    api_read_start(conn, request, show_list);
}

/* ---- deleting many ---- */

static void delete_list(struct conn *conn, const struct http_request *request)
{
    struct scan *scan = &conn->scan;
    if (!api_erase_allowed(conn, request) || !take_pattern(conn)) {
        return;
    }
    scan->from.size = 0;
    scan->to.size = 0;
    api_erase_start(conn, true);
}

/* ---- routes ---- */

static void on_list_of(struct conn *conn, const struct http_request *request)
{
    if (is_get(request)) {
        get_list(conn, request);
    } else if (request->verb == HTTP_VERB_POST) {
        create(conn, request);
    } else {
        delete_list(conn, request);
    }
}

static void on_one(struct conn *conn, const struct http_request *request,
                   const char *root)
{
    if (!api_read_key(conn, request->path, root)) {
        return;
    } else if (request->verb == HTTP_VERB_PUT) {
        replace(conn, request);
    } else if (request->verb == HTTP_VERB_DELETE) {
        remove_one(conn, request);
    } else {
        api_read_start(conn, request, show_one);
    }
}

void api_on_properties(struct conn *conn, const struct http_request *request)
{
    static const char *const roots[] = {"/api/v1/properties/",
                                        "/api/v1/settings/"};
    for (size_t i = 0; i < ARRAY_COUNT(roots); i++) {
        size_t size = strlen(roots[i]);
        if (request->path.size >= size &&
            memcmp(request->path.data, roots[i], size) == 0) {
            on_one(conn, request, roots[i]);
            return;
        }
    }
    on_list_of(conn, request);
}
