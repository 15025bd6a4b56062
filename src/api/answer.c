/* answer.c -- the framing of answers: status line, headers, length, body. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/gate_internal.h"
#include "api/metrics_internal.h"
#include "base/list.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum {
    /* Beyond api_options.budget_bytes of answers that clients have not taken,
     * only small ones are sent. */
    ANSWER_BYTES_SMALL = 64 << 10,
    INDENTED_BYTES_KEPT = 1 << 20,
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

/* A browser must not guess another type. One answer depends on Accept
 * (GET /key/k), and with --allow-origin all depend on Origin. The Date (RFC
 * 9110 6.6.1) is written once a second. */
static struct bytes common_headers(struct api *api)
{
    uint64_t s = now(api) / 1000;
    if (api->output.common.size == 0 || s != api->output.common_s) {
        api->output.common_s = s;
        api->output.common.size = 0;
        buf_add_string(&api->output.common, "Date: ");
        http_add_date(&api->output.common,
                      api->options.wall_s(api->options.arg));
        buf_add_string(&api->output.common,
                       "\r\nX-Content-Type-Options: nosniff\r\nVary: Accept");
        buf_add_string(&api->output.common,
                       api->options.allow_origins ? ", Origin\r\n" : "\r\n");
    }
    return buf_bytes(&api->output.common);
}

/* An answer is true at this moment and for this client, so caches must not keep
 * it; the web page alone is the same until the next build. */
static void add_common(struct conn *conn, struct buf *out)
{
    const struct node *node = conn->api->node;
    buf_add_bytes(out, common_headers(conn->api));
    buf_add_string(out, conn->answer.may_be_kept
                            ? "Cache-Control: no-cache\r\n"
                            : "Cache-Control: no-store\r\n");
    if (api_gate_shows_node(conn)) {
        http_add_header_u64(out, "Craftd-Index",
                            conn->answer.index ? conn->answer.index
                                               : node_applied(node));
        const struct raft_member *leader = node_leader(node);
        if (leader) {
            http_add_header(out, "Craftd-Leader",
                            bytes_of_string(leader->name));
        }
        http_add_header(out, "Craftd-Node", bytes_of_string(node_name(node)));
    }
    if (conn->answer.origin.size > 0) {
        http_add_header(out, "Access-Control-Allow-Origin",
                        conn->answer.origin);
        buf_add_string(out, "Access-Control-Expose-Headers: *\r\n");
    }
    if (!conn->output.keep_alive) {
        buf_add_string(out, "Connection: close\r\n");
    } else if (conn->request.is_http10) {
        buf_add_string(out, "Connection: keep-alive\r\n");
    }
}

/* Bytes received behind the request being answered. */
static size_t bytes_behind(const struct conn *conn)
{
    return conn->input.in_read ? conn->input.behind_bytes
                               : stream_input_bytes(conn->stream);
}

static bool is_last(const struct conn *conn)
{
    return !conn->output.keep_alive ||
           (conn->input.eof && bytes_behind(conn) == 0);
}

/* Write status line and headers, all but the length. */
static struct buf *begin_answer(struct conn *conn, int status, const char *type)
{
    struct api *api = conn->api;
    struct buf *out = stream_output(conn->stream);
    must(!conn->closing);
    conn->answer.status = status;
    if (api->stopping || is_last(conn)) {
        conn->output.keep_alive = false;
    }
    http_add_status(out, status);
    add_common(conn, out);
    buf_add_bytes(out, buf_bytes(&api->headers));
    api->headers.size = 0;
    if (type) {
        http_add_header(out, "Content-Type", bytes_of_string(type));
    }
    return out;
}

/* NDJSON stays one object per line. */
bool api_is_to_indent(const struct conn *conn, const char *type)
{
    return conn->answer.pretty && type &&
           (strcmp(type, "application/json") == 0 ||
            strcmp(type, "application/problem+json") == 0);
}

/* Sent bytes are not subtracted one by one: once per turn at most, when the sum
 * seems too large, it is counted anew. */
static void count_outputs(struct api *api)
{
    uint64_t turn = reactor_turns(api->options.reactor);
    if (api->output.turn == turn) {
        return;
    }
    api->output.turn = turn;
    api->output.bytes = 0;
    for (struct list *at = api->conns.all.next; at != &api->conns.all;
         at = at->next) {
        const struct conn *conn = container_of(at, struct conn, link);
        api->output.bytes += stream_output_bytes(conn->stream);
    }
}

bool api_has_output_room(struct conn *conn, size_t size)
{
    struct api *api = conn->api;
    if (size <= ANSWER_BYTES_SMALL) {
        return true;
    }
    if (api->output.bytes + size > api->options.budget_bytes) {
        count_outputs(api);
    }
    if (api->output.bytes + size <= api->options.budget_bytes) {
        return true;
    }
    api->headers.size = 0;
    api_answer_problem(
        conn, 429, "overloaded",
        "too many other answers wait for their clients: try again later",
        OUTCOME_NOT_APPLIED);
    return false;
}

void api_answer(struct conn *conn, int status, const char *type,
                struct bytes body)
{
    struct buf *indented = &conn->api->output.indented;
    struct buf *out = begin_answer(conn, status, type);
    if (api_is_to_indent(conn, type)) {
        indented->size = 0;
        json_add_indented(indented, body);
        body = buf_bytes(indented);
    }
    conn->api->output.bytes += body.size;
    if (status == 204 || status == 304) {
        buf_add_string(out, "\r\n");
    } else {
        http_add_body(out, body, conn->answer.head_only);
    }
    if (indented->capacity > INDENTED_BYTES_KEPT) {
        buf_free(indented);
    }
    api_answered(conn);
}

void api_answer_head(struct conn *conn, int status, const char *type,
                     uint64_t length)
{
    struct buf *out = begin_answer(conn, status, type);
    http_add_header_u64(out, "Content-Length", length);
    buf_add_string(out, "\r\n");
}

void api_answer_stream(struct conn *conn, int status, const char *type)
{
    buf_add_string(begin_answer(conn, status, type), "\r\n");
}

/* ---- chunks (RFC 9112 7.1) ---- */

enum { CHUNK_HEAD_BYTES = 10 };

size_t api_chunk_begin(struct buf *out)
{
    size_t at = out->size;
    buf_add(out, "00000000\r\n", CHUNK_HEAD_BYTES);
    return at;
}

void api_chunk_end(struct buf *out, size_t at)
{
    static const char digit[] = "0123456789abcdef";
    must(out->size >= at + CHUNK_HEAD_BYTES);
    size_t size = out->size - at - CHUNK_HEAD_BYTES;
    if (size == 0) {
        out->size = at; /* An empty chunk would be the last. */
        return;
    }
    for (int i = 7; i >= 0; i--, size >>= 4) {
        out->data[at + (size_t)i] = (uint8_t)digit[size & 15];
    }
    buf_add(out, "\r\n", 2);
}

void api_chunk_last(struct buf *out)
{
    buf_add_string(out, "0\r\n\r\n");
}

void api_answered(struct conn *conn)
{
    struct api *api = conn->api;
    must(conn->scan.stage == SCAN_IDLE && list_empty(&conn->request.read_link));
    must(list_empty(&conn->keepalive.link));
    api_metrics_count(conn);
    api_body_close(conn);
    api_watch_close(conn);
    api_poll_close(conn);
    api_gate_close(conn);
    conn->busy = false;
    conn->clock.is_for_head = false;
    conn->answer.v1 = false;
    conn->answer.pretty = false;
    conn->answer.may_be_kept = false;
    conn->answer.head_only = false;
    conn->answer.origin = (struct bytes){0};
    conn->answer.deleted = 0;
    /* The idle time starts now, whatever was left of the time for the request's
     * own bytes. */
    api_conn_may_idle(conn);
    conn->output.answer_turn = reactor_turns(api->options.reactor);
    conn->output.answer_ms = now(api);
    conn->output.answer_bytes = stream_output_bytes(conn->stream);
    if (is_last(conn)) {
        api_conn_close_when_sent(conn);
    } else if (conn->input.in_read) {
        return; /* on_read() sees what follows. */
    } else if (stream_input_bytes(conn->stream) > 0) {
        stream_kick(conn->stream);
    } else {
        api_conn_mark_idle(conn);
    }
}
