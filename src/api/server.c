/* server.c -- requests of a connection, and the framing of answers.
 *
 * A client may end its stream behind its last request (half-close) and wait:
 * everything received before is executed and answered in order, then the
 * connection ends. A request that is cut by it is answered 400 (RFC 9112
 * section 8). A client that closes altogether looks the same until something
 * is sent to it: its kernel answers that with a reset. So a client that has
 * ended its stream and waits is sent an interim 100 after 250 ms, which every
 * client may discard (RFC 9110 15.2); 1.0 has none. The same goes for one that
 * has sent more than is read ahead of a request in progress: its end is behind
 * that. After a reset nobody reads answers: the request in progress and those
 * behind it are dropped. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/metrics_internal.h"
#include "api/params_internal.h"
#include "api/restore_internal.h"
#include "api/routes_internal.h"
#include "base/list.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

enum {
    HEAD_MS = 10000,
    BODY_MS = 30000,
    /* Answers that the client has not taken: more of its requests wait. */
    OUTPUT_BYTES_MAX = 256 << 10,
    /* The same of all clients together: what is large is refused. */
    OUTPUTS_BYTES_MAX = 128 << 20,
    ANSWER_BYTES_SMALL = 64 << 10,
    REQUEST_BYTES_KEPT = 64 << 10, /* By each connection. */
    INDENTED_BYTES_KEPT = 1 << 20,
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

/* ---- answers
 * -------------------------------------------------------------------- */

/* Answers are of this moment, and for who asked: nothing between here and there
 * keeps them, or takes them for another type than they say. One answer depends
 * on Accept (GET /key/k), and with --allow-origin all do on Origin. The Date
 * (RFC 9110 6.6.1) is written once a second. */
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
                       "\r\nCache-Control: no-store\r\n"
                       "X-Content-Type-Options: nosniff\r\nVary: Accept");
        buf_add_string(&api->output.common,
                       api->options.allow_origins ? ", Origin\r\n" : "\r\n");
    }
    return buf_bytes(&api->output.common);
}

static void add_common(struct conn *conn, struct buf *out)
{
    const struct node *node = conn->api->node;
    buf_add_bytes(out, common_headers(conn->api));
    if (node) {
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

/* Received bytes behind the request being answered. */
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

/* All but the length. */
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

/* Lines of JSON are one object each, and stay so. */
bool api_is_to_indent(const struct conn *conn, const char *type)
{
    return conn->answer.pretty && type &&
           (strcmp(type, "application/json") == 0 ||
            strcmp(type, "application/problem+json") == 0);
}

/* What has left is not subtracted one by one: it is counted anew when the sum
 * seems too large, once a turn. */
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
    if (api->output.bytes + size > OUTPUTS_BYTES_MAX) {
        count_outputs(api);
    }
    if (api->output.bytes + size <= OUTPUTS_BYTES_MAX) {
        return true;
    }
    api->headers.size = 0;
    api_answer_problem(conn, 429, "overloaded",
                       "too many other answers are waiting to be taken",
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

static void close_when_sent(struct conn *conn)
{
    conn->closing = true;
    api_conn_mark_idle(conn);
    timer_cancel(conn->api->options.reactor, &conn->clock.timer);
    if (conn->input.is_partial) {
        stream_close_after_drain(conn->stream);
    } else {
        stream_close_after_flush(conn->stream);
    }
}

void api_answered(struct conn *conn)
{
    struct api *api = conn->api;
    api_metrics_count(conn);
    api_body_close(conn);
    conn->busy = false;
    conn->clock.is_for_head = false;
    conn->answer.v1 = false;
    conn->answer.pretty = false;
    conn->answer.head_only = false;
    conn->answer.origin = (struct bytes){0};
    conn->answer.deleted = 0;
    /* What was left of the time for the request's own bytes is not the time
     * that it may be idle from here on. */
    api_conn_may_idle(conn);
    conn->output.answer_turn = reactor_turns(api->options.reactor);
    conn->output.answer_ms = now(api);
    conn->output.answer_bytes = stream_output_bytes(conn->stream);
    if (is_last(conn)) {
        close_when_sent(conn);
    } else if (conn->input.in_read) {
        return; /* on_read() sees what follows. */
    } else if (stream_input_bytes(conn->stream) > 0) {
        stream_kick(conn->stream);
    } else {
        api_conn_mark_idle(conn);
    }
}

static void on_done(struct node_request *request,
                    const struct node_result *result)
{
    struct conn *conn = container_of(request, struct conn, request.call);
    must(conn->busy);
    if (result->outcome == NODE_OK) {
        /* A write that was forwarded may not have been applied here yet; who
         * asks for this index elsewhere must see it. */
        conn->answer.index =
            max_u64(result->index, node_applied(conn->api->node));
    }
    conn->request.finish(conn, result);
    if (!conn->busy && request->body.capacity > REQUEST_BYTES_KEPT) {
        buf_free(&request->body);
    }
}

/* ---- reading
 * ---------------------------------------------------------------------- */

/* The form of every answer depends on these, errors included. */
static void set_form(struct conn *conn, const struct http_request *request)
{
    conn->answer.head_only = request->verb == HTTP_VERB_HEAD;
    conn->answer.v1 = api_is_v1(request);
    api_params_read(conn, request);
    conn->answer.pretty = api_is_on(conn, PARAM_PRETTY);
}

/* Reset what is kept of a request. It happens twice to one that expects 100
 * and is then received as a whole. */
static void begin(struct conn *conn, const struct http_request *request)
{
    must(!conn->busy && !conn->input.body.sink && !api_body_is_sending(conn));
    set_form(conn, request);
    conn->output.keep_alive = request->keep_alive && !api_conn_is_guest(conn);
    conn->request.verb = request->verb;
    conn->request.is_http10 = request->minor == 0;
    conn->request.start_ms = now(conn->api);
    conn->request.start_us = conn->api->options.now_us(conn->api->options.arg);
    conn->request.key.size = 0;
    conn->request.text.size = 0;
    conn->answer.index = 0;
    memset(&conn->state, 0, sizeof(conn->state));
    conn->api->headers.size = 0;
    conn->api->body.size = 0;
}

static void refuse_input(struct conn *conn)
{
    const struct http_reader *reader = &conn->input.reader;
    conn->output.keep_alive = false;
    conn->input.is_partial = true;
    conn->api->headers.size = 0;
    char message[128];
    snprintf(message, sizeof(message), "%s", reader->error_text);
    if (reader->error_status == 413) {
        if (!reader->request.chunked) {
            set_form(conn, &reader->request); /* No on_head() before this. */
        }
        snprintf(message, sizeof(message),
                 "the body is over %llu bytes (--max-body)",
                 (unsigned long long)conn->api->options.body_bytes_max);
    }
    api_answer_problem(conn, reader->error_status, reader->error_code, message,
                       OUTCOME_NOT_APPLIED);
}

/* Whether the body comes now is up to the client: no request can follow an
 * answer that is given before it has come. */
static void send_continue(struct conn *conn)
{
    conn->output.keep_alive = false;
    buf_add_string(stream_output(conn->stream),
                   "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Headers are there, the body is not: say now what is known already. */
static void on_head(struct conn *conn)
{
    const struct http_request *request = &conn->input.reader.request;
    conn->input.is_partial = true;
    set_form(conn, request);
    if (request->expect_unknown) {
        begin(conn, request);
        conn->output.keep_alive = false;
        api_answer_problem(conn, 417, "expectation-failed",
                           "the only expectation that is met is 100-continue",
                           OUTCOME_NOT_APPLIED);
    } else if (request->expect_continue) {
        begin(conn, request);
        conn->output.keep_alive = false; /* As in send_continue(). */
        if (!api_route_refuses(conn, request)) {
            send_continue(conn);
        }
    }
}

static size_t read_stream(struct conn *conn, uint8_t *data, size_t size)
{
    enum http_progress progress =
        http_read_body(&conn->input.reader, data, size);
    size_t used = conn->input.reader.consumed;
    conn->input.behind_bytes = size - used;
    if (progress == HTTP_READ_ERROR) {
        refuse_input(conn);
        return used;
    }
    if (conn->input.reader.request.body.size > 0) {
        api_body_take(conn, conn->input.reader.request.body);
    }
    conn->input.is_partial = progress != HTTP_READ_DONE;
    if (progress == HTTP_READ_DONE && api_body_is_receiving(conn)) {
        api_body_complete(conn);
    }
    return used;
}

/* Its handler decides by the head, and then takes the body; when it refuses,
 * what follows is not read. */
static size_t begin_stream(struct conn *conn, uint8_t *data, size_t size)
{
    const struct http_request *request = &conn->input.reader.request;
    size_t head_bytes = conn->input.reader.consumed;
    begin(conn, request);
    conn->input.is_partial = true;
    bool keep_alive = conn->output.keep_alive;
    conn->output.keep_alive = false;
    if (request->expect_unknown) {
        on_head(conn);
    } else {
        api_route(conn, request);
    }
    if (!api_body_is_receiving(conn)) {
        must(conn->closing);
        return head_bytes;
    }
    conn->output.keep_alive = keep_alive;
    if (request->expect_continue) {
        send_continue(conn);
    }
    /* It may be empty. */
    return head_bytes + read_stream(conn, data + head_bytes, size - head_bytes);
}

static bool output_is_full(const struct conn *conn)
{
    return stream_output_bytes(conn->stream) >= OUTPUT_BYTES_MAX;
}

static size_t read_requests(struct conn *conn, uint8_t *data, size_t size)
{
    size_t used = 0;
    while (!conn->busy && !conn->closing && used < size) {
        if (output_is_full(conn)) {
            /* All of it may leave at the end of this turn, and then there is
             * no on_drain(): look again in the next. */
            stream_kick(conn->stream);
            break;
        }
        if (api_body_is_receiving(conn)) {
            size_t taken = read_stream(conn, data + used, size - used);
            used += taken;
            if (taken == 0) {
                break; /* A line around a chunk that is not whole. */
            }
            continue;
        }
        enum http_progress progress =
            http_read(&conn->input.reader, data + used, size - used);
        if (progress == HTTP_READ_HEAD && conn->input.reader.request.streamed) {
            used += begin_stream(conn, data + used, size - used);
            continue;
        }
        if (progress == HTTP_READ_HEAD) {
            on_head(conn);
            if (!conn->closing) {
                progress =
                    http_read(&conn->input.reader, data + used, size - used);
            }
        }
        if (conn->closing || progress == HTTP_READ_MORE) {
            break;
        }
        if (progress == HTTP_READ_ERROR) {
            refuse_input(conn);
            break;
        }
        size_t consumed = conn->input.reader.consumed;
        conn->input.behind_bytes = size - used - consumed;
        conn->input.is_partial = false;
        begin(conn, &conn->input.reader.request);
        if (conn->input.reader.request.expect_unknown) {
            on_head(conn);
        } else {
            api_route(conn, &conn->input.reader.request);
        }
        used += consumed;
    }
    return conn->closing ? size : used;
}

/* Everything that was complete has been answered. */
static void end_after_eof(struct conn *conn)
{
    if (api_body_is_receiving(conn) || http_in_request(&conn->input.reader)) {
        api_conn_refuse_partial(conn, 400, "bad-request",
                                "the connection ended before the request did");
    } else {
        close_when_sent(conn);
    }
}

/* Some input has been seen, and what is left of it waits. */
static void expect_more(struct conn *conn, size_t left)
{
    if (conn->input.eof) {
        if (left == 0 || !output_is_full(conn)) {
            end_after_eof(conn);
        }
    } else if (!http_in_request(&conn->input.reader)) {
        conn->clock.is_for_head = false;
        api_conn_may_idle(conn);
        if (left == 0) {
            api_conn_mark_idle(conn);
        }
    } else if (http_head_done(&conn->input.reader)) {
        api_conn_set_deadline(conn, now(conn->api) + BODY_MS);
    } else if (!conn->clock.is_for_head) {
        conn->clock.is_for_head = true;
        api_conn_set_deadline(conn, now(conn->api) + HEAD_MS);
    }
}

static size_t on_read(struct stream *stream, uint8_t *data, size_t size,
                      void *arg)
{
    struct conn *conn = arg;
    size_t used = 0;
    if (conn->busy) {
        /* api_answered() asks again. */
    } else if (output_is_full(conn)) {
        if (conn->output.answer_turn ==
            reactor_turns(conn->api->options.reactor)) {
            stream_kick(stream); /* As in read_requests(). */
        }                        /* Else on_drain() asks again. */
    } else {
        api_conn_mark_active(conn);
        conn->input.in_read = true;
        used = read_requests(conn, data, size);
        conn->input.in_read = false;
        if (!conn->closing && !conn->busy) {
            expect_more(conn, size - used);
        }
    }
    api_conn_count_input(conn, size - used);
    return conn->closing ? size : used;
}

static void on_drain(struct stream *stream, void *arg)
{
    struct conn *conn = arg;
    if (api_body_is_sending(conn)) {
        api_body_send_more(conn);
    } else if (!conn->closing) {
        stream_kick(stream);
    }
}

static void on_eof(struct stream *stream, void *arg)
{
    struct conn *conn = arg;
    conn->input.eof = true;
    if (conn->closing) {
        return;
    }
    if (conn->busy) {
        api_conn_watch_client(conn);
    } else if (stream_input_bytes(stream) > 0) {
        stream_kick(stream); /* Whole requests may be waiting. */
    } else {
        end_after_eof(conn);
    }
}

static void on_close(struct stream *stream, const char *why, void *arg)
{
    struct conn *conn = arg;
    if (strcmp(why, "timeout") == 0 && conn->closing) {
        size_t left = stream_output_bytes(stream);
        api_conn_log_slow(conn, "answer", conn->output.answer_bytes - left,
                          conn->output.answer_bytes, conn->output.answer_ms);
    }
    api_conn_free(conn);
}

static const struct stream_handler conn_handler = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void on_accept(struct stream *stream, void *arg)
{
    (void)api_conn_open(arg, stream, &conn_handler, on_done);
}

/* ---- the room's door
 * ---------------------------------------------------------------- */

enum err api_open(const struct api_options *options, struct api **out,
                  char *why, size_t why_size)
{
    struct api *api = mem_zalloc(sizeof(*api));
    api->options = *options;
    api_conns_init(api);
    api_metrics_init(&api->metrics);
    for (size_t i = 0; i < ARRAY_COUNT(api->scans.by_stage); i++) {
        list_init(&api->scans.by_stage[i]);
    }
    list_init(&api->reads.waiting);
    enum err err = listener_open(options->reactor, options->host, options->port,
                                 on_accept, api, &api->listener, why, why_size);
    if (err) {
        api_conns_free(api);
        mem_free(api);
        return err;
    }
    *out = api;
    return ERR_OK;
}

const char *api_listening(const struct api *api)
{
    return listener_text(api->listener);
}

void api_set_node(struct api *api, struct node *node)
{
    api->node = node;
}

void api_stop(struct api *api)
{
    api->stopping = true;
    listener_close(api->listener);
    api->listener = NULL;
    for (struct list *at = api->conns.all.next; at != &api->conns.all;) {
        struct conn *conn = container_of(at, struct conn, link);
        at = at->next;
        if (!conn->busy && !conn->closing &&
            !http_in_request(&conn->input.reader) &&
            stream_input_bytes(conn->stream) == 0) {
            conn->closing = true;
            stream_close_after_flush(conn->stream);
        }
    }
}

bool api_stopped(const struct api *api)
{
    for (struct list *at = api->conns.all.next; at != &api->conns.all;
         at = at->next) {
        const struct conn *conn = container_of(at, struct conn, link);
        if (conn->busy || stream_output_bytes(conn->stream) > 0) {
            return false;
        }
    }
    return true;
}

void api_close(struct api *api)
{
    if (!api) {
        return;
    }
    listener_close(api->listener);
    api->listener = NULL;
    api_conns_free(api);
    api_restore_free(api);
    timer_cancel(api->options.reactor, &api->scans.timer);
    timer_cancel(api->options.reactor, &api->reads.timer);
    buf_free(&api->output.common);
    buf_free(&api->body);
    buf_free(&api->output.indented);
    buf_free(&api->message);
    buf_free(&api->headers);
    buf_free(&api->command);
    for (size_t i = 0; i < ARRAY_COUNT(api->lists); i++) {
        buf_free(&api->lists[i]);
    }
    mem_free(api);
}
