/* body.c -- bodies that are sent or received in pieces: pacing and time-outs.
 */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/body_internal.h"
#include "api/conn_internal.h"
#include "reactor/reactor.h"

enum {
    PIECE_BYTES = 64 << 10,
    STALL_MS = 30000,
    /* After STALL_MS, a client below these rates is slow. */
    SENT_BYTES_PER_MS = 1 << 10,
    RECEIVED_BYTES_PER_MS = BODY_UPLOAD_BYTES_PER_S / 1000,
};

static uint64_t now(const struct conn *conn)
{
    return reactor_now_ms(conn->api->options.reactor);
}

/* ---- sending ---- */

static void on_time(void *arg);

static void send_more_in(struct conn *conn, uint64_t in_ms)
{
    timer_arm(conn->api->options.reactor, &conn->clock.timer, now(conn) + in_ms,
              on_time, conn);
}

static void close_source(struct conn *conn)
{
    const struct body_source *source = conn->answer.body.source;
    if (source) {
        conn->answer.body.source = NULL;
        source->close(conn);
    }
}

static void finish(struct conn *conn)
{
    close_source(conn);
    timer_cancel(conn->api->options.reactor, &conn->clock.timer);
    api_answered(conn);
}

bool api_body_is_sending(const struct conn *conn)
{
    return conn->answer.body.source != NULL;
}

static bool is_queue_full(const struct conn *conn)
{
    return stream_output_bytes(conn->stream) >=
           conn->answer.body.source->queue_bytes;
}

/* Returns whether everything has been pulled. */
static bool is_over(const struct conn *conn)
{
    const struct body_out *out = &conn->answer.body;
    return out->source->is_over ? out->source->is_over(conn)
                                : out->sent_bytes == out->size_bytes;
}

static enum err pull_known(struct conn *conn)
{
    struct body_out *out = &conn->answer.body;
    must(out->sent_bytes < out->size_bytes);
    size_t size =
        (size_t)min_u64(PIECE_BYTES, out->size_bytes - out->sent_bytes);
    out->sent_bytes += size;
    return out->source->pull(conn, stream_output(conn->stream), size);
}

static enum err pull_chunk(struct conn *conn)
{
    struct body_out *body = &conn->answer.body;
    struct buf *out = stream_output(conn->stream);
    size_t at = out->size;
    bool chunked = !conn->request.is_http10;
    if (chunked) {
        at = api_chunk_begin(out);
    }
    enum err err = body->source->pull(conn, out, PIECE_BYTES);
    if (err) {
        out->size = at;
        return err;
    }
    if (chunked) {
        api_chunk_end(out, at);
    }
    body->sent_bytes += out->size - at;
    if (chunked && is_over(conn)) {
        api_chunk_last(out);
    }
    return ERR_OK;
}

void api_body_send_more(struct conn *conn)
{
    struct body_out *out = &conn->answer.body;
    bool any = false;
    must(out->source);
    bool is_open = out->source->is_over != NULL;
    /* The time that a piece of an open body takes is not known: one a turn. */
    while (!is_over(conn) && !is_queue_full(conn) && !(is_open && any)) {
        if (is_open ? pull_chunk(conn) : pull_known(conn)) {
            conn->output.keep_alive = false;
            finish(conn);
            return;
        }
        out->moved_ms = now(conn);
        any = true;
    }
    if (is_over(conn)) {
        finish(conn);
        return;
    }
    /* The stream may send all of it at the end of this turn, and then there is
     * no on_drain(): look again in the next turn. */
    send_more_in(conn, any ? 1 : STALL_MS / 3);
}

bool api_body_is_slow(const struct conn *conn)
{
    return now(conn) >= conn->answer.body.begin_ms + STALL_MS +
                            conn->answer.body.sent_bytes / SENT_BYTES_PER_MS;
}

void api_body_drop_slow(struct conn *conn)
{
    api_conn_log_slow(
        conn, conn->answer.body.source->name, conn->answer.body.sent_bytes,
        max_u64(conn->answer.body.sent_bytes, conn->answer.body.size_bytes),
        conn->answer.body.begin_ms);
    api_conn_drop(conn);
}

static bool is_awaited(const struct conn *conn)
{
    const struct body_source *source = conn->answer.body.source;
    return !source->is_awaited || source->is_awaited(conn);
}

static void on_time(void *arg)
{
    struct conn *conn = arg;
    if ((is_queue_full(conn) &&
         now(conn) >= conn->answer.body.moved_ms + STALL_MS) ||
        (api_body_is_slow(conn) && is_awaited(conn))) {
        api_body_drop_slow(conn);
        return;
    }
    api_body_send_more(conn);
}

void api_body_send(struct conn *conn, const struct body_source *source,
                   uint64_t size_bytes)
{
    must(!api_body_is_sending(conn));
    conn->answer.body = (struct body_out){.source = source,
                                          .size_bytes = size_bytes,
                                          .begin_ms = now(conn),
                                          .moved_ms = now(conn)};
    api_body_send_more(conn);
}

void api_body_stream(struct conn *conn, const struct body_source *source,
                     const char *type)
{
    must(source->is_over);
    if (conn->request.is_http10) {
        conn->output.keep_alive = false;
    } else {
        buf_add_string(&conn->api->headers, "Transfer-Encoding: chunked\r\n");
    }
    api_answer_stream(conn, 200, type);
    api_body_send(conn, source, 0);
}

/* ---- receiving ---- */

void api_body_receive(struct conn *conn, const struct body_sink *sink)
{
    must(!conn->input.body.sink);
    conn->input.body = (struct body_in){.sink = sink};
}

bool api_body_is_receiving(const struct conn *conn)
{
    return conn->input.body.sink && !conn->input.body.is_complete;
}

void api_body_take(struct conn *conn, struct bytes piece)
{
    must(api_body_is_receiving(conn));
    conn->input.body.sink->take(conn, piece);
}

void api_body_complete(struct conn *conn)
{
    must(api_body_is_receiving(conn));
    conn->input.body.is_complete = true;
    conn->input.body.sink->complete(conn);
}

bool api_body_is_slow_upload(const struct conn *conn, uint64_t begin_ms,
                             uint64_t bytes)
{
    return now(conn) > begin_ms + STALL_MS + bytes / RECEIVED_BYTES_PER_MS;
}

/* ---- closing ---- */

void api_body_close(struct conn *conn)
{
    const struct body_sink *sink = conn->input.body.sink;
    close_source(conn);
    if (sink) {
        conn->input.body.sink = NULL;
        sink->close(conn);
    }
}
