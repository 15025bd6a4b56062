/* ttl.c -- time-outs of keys: ?ttl= and ?lease= of writes, and /ttl/KEY.
 *
 * A time-out is given as a duration, and shown as what is left of it: in
 * seconds, with milliseconds, in JSON, and in milliseconds in Craftd-Ttl. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/read_internal.h"
#include "api/routes_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

enum { TTL_MS_MIN = 100 };
static const char ttl_wrong[] =
    "ttl is a duration from 100ms to 3653d such as 30s, 5m or 1d";
static const char lease_wrong[] = "a lease is l- and a number such as l-58";

/* ---- reading ---- */

const char *ttl_parse(struct bytes text, uint64_t *ttl_ms)
{
    return text_duration_ms(text, ttl_ms) && *ttl_ms >= TTL_MS_MIN &&
                   *ttl_ms <= COMMAND_TTL_MS_MAX
               ? NULL
               : ttl_wrong;
}

const char *lease_parse(struct bytes text, uint64_t *lease)
{
    bool ok = text.size > 2 && text.data[0] == 'l' && text.data[1] == '-' &&
              json_u64(bytes_of(text.data + 2, text.size - 2), lease) &&
              *lease > 0 && *lease <= COMMAND_LEASE_MAX;
    return ok ? NULL : lease_wrong;
}

/* Read ?ttl= and ?lease=; 0: not given. NULL, or a sentence that says what is
 * wrong. */
static const char *read_params(struct conn *conn, uint64_t *ttl_ms,
                               uint64_t *lease)
{
    struct bytes text;
    const char *wrong = NULL;
    *ttl_ms = 0;
    *lease = 0;
    if (api_is_given(conn, PARAM_TTL) &&
        api_get_param(conn, PARAM_TTL, &text)) {
        wrong = ttl_parse(text, ttl_ms);
    }
    if (!wrong && api_is_given(conn, PARAM_LEASE) &&
        api_get_param(conn, PARAM_LEASE, &text)) {
        wrong = *ttl_ms > 0 ? "ttl and lease exclude each other"
                            : lease_parse(text, lease);
    }
    return wrong;
}

bool ttl_refused(struct conn *conn)
{
    uint64_t ttl_ms, lease;
    const char *wrong = read_params(conn, &ttl_ms, &lease);
    return wrong && !api_bad_param(conn, wrong);
}

bool ttl_take(struct conn *conn, struct command_op *put)
{
    const char *wrong = read_params(conn, &put->ttl_ms, &put->lease);
    must(put->type == COMMAND_PUT);
    if (wrong) {
        return api_bad_param(conn, wrong);
    }
    if (put->ttl_ms > 0 || put->lease > 0) {
        put->type = COMMAND_PUT_TIMED;
    }
    return put->lease == 0 || lease_may_change(conn, put->lease);
}

/* ---- showing ---- */

void ttl_add_seconds(struct buf *out, uint64_t ms)
{
    buf_add_decimal(out, ms / 1000);
    if (ms % 1000 > 0) {
        char digits[8];
        int size =
            snprintf(digits, sizeof(digits), ".%03u", (unsigned)(ms % 1000));
        while (digits[size - 1] == '0') {
            size--;
        }
        buf_add(out, digits, (size_t)size);
    }
}

void ttl_add_members(struct buf *out, uint64_t ttl_ms, uint64_t lease)
{
    buf_add_string(out, ",\"ttl\":");
    ttl_add_seconds(out, ttl_ms);
    if (lease > 0) {
        buf_printf(out, ",\"lease\":\"l-%llu\"", (unsigned long long)lease);
    }
}

/* ---- /ttl/KEY ---- */

static void answer_ttl(struct conn *conn, uint64_t deadline_ms, uint64_t lease)
{
    struct buf *body = &conn->api->body;
    if (deadline_ms == 0 && lease == 0) {
        buf_add_string(body, "{\"ttl\":null}\n");
    } else {
        uint64_t ttl_ms = node_ttl_ms(conn->api->node, deadline_ms, lease);
        http_add_header_u64(&conn->api->headers, "Craftd-Ttl", ttl_ms);
        buf_add_string(body, "{\"ttl\":");
        ttl_add_seconds(body, ttl_ms);
        if (lease > 0) {
            buf_printf(body, ",\"lease\":\"l-%llu\"",
                       (unsigned long long)lease);
        }
        buf_add_string(body, "}\n");
    }
    api_answer(conn, 200, "application/json", buf_bytes(body));
}

static void show_ttl(struct conn *conn)
{
    struct store_row row;
    enum err err =
        node_get(conn->api->node, buf_bytes(&conn->request.key), &row);
    if (err_is_shortage(err)) {
        api_read_wait(conn);
        return;
    }
    api_add_read_headers(conn);
    if (err) {
        api_answer_no_such(conn, "key", OUTCOME_NONE);
        return;
    }
    answer_ttl(conn, row.deadline_ms, row.lease);
}

static void finish_touch(struct conn *conn, const struct node_result *result)
{
    struct result_reader reader;
    struct result_op op = {0};
    if (!api_read_result(conn, result, &reader)) {
        return;
    }
    enum err err = result_next(&reader, &op);
    must(err == ERR_OK && op.type == COMMAND_TOUCH);
    if (op.found) {
        api_answer(conn, 204, NULL, (struct bytes){0});
    } else {
        api_answer_no_such(conn, "key", OUTCOME_NOT_APPLIED);
    }
}

/* The new time-out of a key: the parameter, or the body, whose last end of line
 * does not count. False: answered. */
static bool take_ttl(struct conn *conn, const struct http_request *request,
                     uint64_t *ttl_ms)
{
    struct bytes text = request->body;
    if (!api_get_param(conn, PARAM_TTL, &text)) {
        while (text.size > 0 && (text.data[text.size - 1] == '\n' ||
                                 text.data[text.size - 1] == '\r')) {
            text.size--;
        }
    } else if (text.size == 0 && request->body.size > 0) {
        return api_bad_param(conn, "ttl is given twice");
    }
    const char *wrong = ttl_parse(text, ttl_ms);
    if (wrong && api_is_given(conn, PARAM_TTL)) {
        return api_bad_param(conn, wrong);
    }
    if (wrong) {
        api_answer_problem(conn, 400, "bad-request",
                           "the body, or ?ttl=, is a duration from 100ms to "
                           "3653d such as 30s, 5m or 1d",
                           OUTCOME_NOT_APPLIED);
    }
    return !wrong;
}

void api_on_ttl(struct conn *conn, const struct http_request *request)
{
    struct command_name name;
    struct command_op touch = {.type = COMMAND_TOUCH};
    if (!api_read_key(conn, request->path, "/ttl/")) {
        return;
    }
    if (request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD) {
        api_read_start(conn, request, show_ttl);
        return;
    }
    if (!api_read_timeout(conn) || api_redirected(conn, request) ||
        !api_read_name(conn, request, &name)) {
        return;
    }
    if (request->verb != HTTP_VERB_DELETE &&
        !take_ttl(conn, request, &touch.ttl_ms)) {
        return;
    }
    touch.key = buf_bytes(&conn->request.key);
    api_submit_one(conn, request, &name, NULL, &touch, KIND_TOUCH,
                   finish_touch);
}
