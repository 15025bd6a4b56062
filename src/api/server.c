/* server.c -- the requests of a connection, one after the other.
 *
 * A client may close its sending side after its last request (half-close) and
 * wait: everything received before is executed and answered in order, then the
 * connection ends. A request that is cut off is answered 400 (RFC 9112 section
 * 8). A client that closes both sides looks the same until something is sent to
 * it: its kernel answers that with a reset. So a client that has half-closed
 * and waits is sent an interim 100 after 250 ms, which every client may discard
 * (RFC 9110 15.2); HTTP/1.0 has none. The same is done for a client that has
 * sent more than is read ahead of a request in progress: its end of stream is
 * behind that. After a reset the request in progress and those behind it are
 * dropped. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/proxied_internal.h"
#include "api/routes_internal.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"

enum {
    HEAD_MS = 10000,
    BODY_MS = 30000,
    /* While the client has not taken this much, its next requests wait. */
    OUTPUT_BYTES_MAX = 256 << 10,
    REQUEST_BYTES_KEPT = 64 << 10, /* Memory that each connection keeps. */
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

static void on_done(struct node_request *request,
                    const struct node_result *result)
{
    struct conn *conn = container_of(request, struct conn, request.call);
    must(conn->busy && conn->request.finish);
    if (result->outcome == NODE_OK) {
        /* A forwarded write may not have been applied here yet, and a read with
         * this index as its min_index must see it. */
        conn->answer.index =
            max_u64(result->index, node_applied(conn->api->node));
    }
    conn->request.finish(conn, result);
    if (!conn->busy && request->body.capacity > REQUEST_BYTES_KEPT) {
        buf_free(&request->body);
    }
}

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
            set_form(conn, &reader->request); /* There was no on_head(). */
        }
        snprintf(message, sizeof(message),
                 "the body is over %llu bytes (--max-body)",
                 (unsigned long long)conn->api->options.body_bytes_max);
    }
    api_answer_problem(conn, reader->error_status, reader->error_code, message,
                       OUTCOME_NOT_APPLIED);
}

/* Returns whether the body comes now is up to the client: no request can follow
 * an answer that is given before it has come. */
static void send_continue(struct conn *conn)
{
    conn->output.keep_alive = false;
    buf_add_string(stream_output(conn->stream),
                   "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Memory for bodies is not for those who may not send them. */
static void refuse_body_of_stranger(struct conn *conn,
                                    const struct http_request *request)
{
    bool keep_alive = conn->output.keep_alive;
    begin(conn, request);
    conn->output.keep_alive = false;
    if (!api_route_forbids(conn, request)) {
        conn->output.keep_alive = keep_alive;
    }
}

/* The headers have come, the body has not: answer now what can be answered. */
static void on_head(struct conn *conn)
{
    const struct http_request *request = &conn->input.reader.request;
    conn->input.is_partial = true;
    set_form(conn, request);
    if (request->expect_unknown) {
        begin(conn, request);
        conn->output.keep_alive = false;
        api_answer_problem(
            conn, 417, "expectation-failed",
            "the only expectation that is supported is 100-continue",
            OUTCOME_NOT_APPLIED);
    } else if (request->expect_continue) {
        begin(conn, request);
        conn->output.keep_alive = false; /* As in send_continue(). */
        if (!api_route_refuses(conn, request)) {
            send_continue(conn);
        }
    } else if (conn->api->gate.auth) {
        refuse_body_of_stranger(conn, request);
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

/* The handler decides by the head whether it takes the body; if it refuses, the
 * body is not read. */
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
    /* The body may be empty. */
    return head_bytes + read_stream(conn, data + head_bytes, size - head_bytes);
}

static bool output_is_full(const struct conn *conn)
{
    return stream_output_bytes(conn->stream) >= OUTPUT_BYTES_MAX;
}

/* A request that has waited for the check of its credentials is where it was:
 * with its head read, or as a whole, which is read again. */
static enum http_progress read_next(struct conn *conn, uint8_t *data,
                                    size_t size)
{
    if (conn->gate.at_head) {
        conn->gate.at_head = false;
        http_view_head(&conn->input.reader, data);
        return HTTP_READ_HEAD;
    }
    return http_read(&conn->input.reader, data, size);
}

static size_t read_requests(struct conn *conn, uint8_t *data, size_t size)
{
    size_t used = 0;
    while (!conn->busy && !conn->closing && used < size) {
        if (output_is_full(conn)) {
            /* The stream may send all of it at the end of this turn, and then
             * there is no on_drain(): look again in the next turn. */
            stream_kick(conn->stream);
            break;
        }
        if (api_body_is_receiving(conn)) {
            size_t taken = read_stream(conn, data + used, size - used);
            used += taken;
            if (taken == 0) {
                break; /* The line that frames a chunk is incomplete. */
            }
            continue;
        }
        enum http_progress progress = read_next(conn, data + used, size - used);
        if ((progress == HTTP_READ_HEAD || progress == HTTP_READ_DONE) &&
            !api_gate_identify(conn, &conn->input.reader.request)) {
            conn->gate.at_head = progress == HTTP_READ_HEAD;
            break;
        }
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

/* The client has half-closed, and all complete requests have been answered. */
static void end_after_eof(struct conn *conn)
{
    if (api_body_is_receiving(conn) || http_in_request(&conn->input.reader)) {
        api_conn_refuse_partial(conn, 400, "bad-request",
                                "the connection ended before the request did");
    } else {
        api_conn_close_when_sent(conn);
    }
}

/* Input has been read, and the `left` bytes wait for more. */
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
        /* api_answered() kicks the stream again. */
    } else if (output_is_full(conn)) {
        if (conn->output.answer_turn ==
            reactor_turns(conn->api->options.reactor)) {
            stream_kick(stream); /* As in read_requests(). */
        }                        /* Otherwise on_drain() kicks it. */
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
    } else if (api_is_watching(conn)) {
        api_watch_drained(conn);
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
    if (api_is_watching(conn)) {
        api_watch_half_closed(conn);
    } else if (conn->busy) {
        api_conn_watch_client(conn);
    } else if (stream_input_bytes(stream) > 0) {
        stream_kick(stream); /* Complete requests may be waiting. */
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

struct conn *api_serve(struct api *api, struct stream *stream)
{
    return api_conn_open(api, stream, &conn_handler, on_done);
}
