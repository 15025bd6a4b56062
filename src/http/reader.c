/* reader.c -- bytes -> requests: bodies, and the steps of reading a request.
 *
 * Chunked bodies are parsed here, without http-parser: it would accept a byte
 * above 0x7f as the digit 0, and more than CRLF as the end of a line. */
#include "http/http_internal.h"

void http_reader_init(struct http_reader *reader, size_t body_max)
{
    *reader = (struct http_reader){
        .body_max = body_max,
        .state = mem_zalloc(sizeof(struct http_state)),
    };
}

void http_reader_free(struct http_reader *reader)
{
    mem_free(reader->state);
    reader->state = NULL;
}

bool http_head_done(const struct http_reader *reader)
{
    return reader->state->head_bytes > 0;
}

bool http_in_request(const struct http_reader *reader)
{
    return reader->state->scanned > reader->state->begin;
}

enum http_progress http_fail(struct http_reader *reader, int status,
                             const char *code, const char *text)
{
    reader->error_status = status;
    reader->error_code = code;
    reader->error_text = text;
    return HTTP_READ_ERROR;
}

enum http_progress http_bad(struct http_reader *reader, const char *text)
{
    return http_fail(reader, 400, "bad-request", text);
}

/* ---- the body ---- */

/* Take the next line of the framing around chunks, without its CRLF. */
static enum http_progress next_line(struct http_reader *reader,
                                    const uint8_t *data, size_t size,
                                    struct bytes *line)
{
    struct http_state *state = reader->state;
    size_t from = state->parsed + state->searched;
    const uint8_t *lf =
        size > from ? memchr(data + from, '\n', size - from) : NULL;
    size_t end = lf ? (size_t)(lf - data) : size;
    if (end - state->parsed > HTTP_LINE_BYTES_MAX + 1) {
        return state->part == CHUNK_TRAILER
                   ? http_fail(reader, 431, "headers-too-large",
                               "a trailer is over 8192 bytes")
                   : http_bad(reader, "a chunk size is over 8192 bytes");
    }
    state->searched = end - state->parsed;
    if (!lf) {
        return HTTP_READ_MORE;
    }
    if (end == state->parsed || data[end - 1] != '\r') {
        return http_bad(reader, "a line does not end in CRLF");
    }
    *line = bytes_of(data + state->parsed, end - 1 - state->parsed);
    state->parsed = end + 1;
    state->searched = 0;
    return HTTP_READ_DONE;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Parse the size of a chunk: 1*HEXDIG, and an extension, which is dropped. */
static enum http_progress take_chunk_size(struct http_reader *reader,
                                          struct bytes line)
{
    enum { DIGITS_MAX = 15 };
    struct http_state *state = reader->state;
    uint64_t value = 0;
    size_t at = 0;
    while (at < line.size && hex_digit(line.data[at]) >= 0) {
        if (at == DIGITS_MAX) {
            return http_bad(reader, "a chunk size has more than 15 digits");
        }
        value = value << 4 | (uint64_t)hex_digit(line.data[at]);
        at++;
    }
    if (at == 0 || (at < line.size && line.data[at] != ';')) {
        return http_bad(reader, "a chunk size is no hexadecimal number");
    }
    for (; at < line.size; at++) {
        if ((line.data[at] < 0x20 && line.data[at] != '\t') ||
            line.data[at] == 0x7f) {
            return http_bad(reader,
                            "a chunk extension has a control character");
        }
    }
    if (!reader->request.streamed &&
        value > reader->body_max - state->body_bytes) {
        return http_fail(reader, 413, "too-large",
                         "the body is over the limit");
    }
    state->chunk_left = (size_t)value;
    state->part = value > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    return HTTP_READ_MORE;
}

/* Trailers cost time and, while the request is held, memory: they have the
 * limits of headers. */
static enum http_progress drop_trailer(struct http_reader *reader,
                                       struct bytes line)
{
    struct http_state *state = reader->state;
    const char *wrong = NULL;
    if (http_header_name(line.data, line.size, &wrong) == 0) {
        return http_bad(reader, wrong);
    }
    state->trailer_count++;
    state->trailer_bytes += line.size + 2;
    if (state->trailer_count > HTTP_HEADERS_MAX ||
        state->trailer_bytes > HTTP_HEADERS_BYTES_MAX) {
        return http_fail(
            reader, 431, "headers-too-large",
            "there are more than 128 trailers, or over 16384 bytes of them");
    }
    return HTTP_READ_MORE;
}

/* Interpret a line of the framing. HTTP_READ_DONE: it was the last one. */
static enum http_progress take_line(struct http_reader *reader,
                                    struct bytes line)
{
    struct http_state *state = reader->state;
    if (state->part == CHUNK_SIZE) {
        return take_chunk_size(reader, line);
    }
    if (state->part == CHUNK_END) {
        state->part = CHUNK_SIZE;
        return line.size == 0
                   ? HTTP_READ_MORE
                   : http_bad(reader, "a chunk is longer than its size");
    }
    if (line.size == 0) {
        return HTTP_READ_DONE;
    }
    return drop_trailer(reader, line);
}

static void take_data(struct http_state *state, uint8_t *data, size_t size)
{
    size_t count = min_size(state->chunk_left, size - state->parsed);
    memmove(data + state->head_bytes + state->body_bytes, data + state->parsed,
            count);
    state->body_bytes += count;
    state->parsed += count;
    state->chunk_left -= count;
    if (state->chunk_left == 0) {
        state->part = CHUNK_END;
    }
}

static enum http_progress take_chunks(struct http_reader *reader, uint8_t *data,
                                      size_t size)
{
    struct http_state *state = reader->state;
    while (state->parsed < size) {
        if (state->part == CHUNK_DATA) {
            take_data(state, data, size);
            continue;
        }
        struct bytes line;
        enum http_progress status = next_line(reader, data, size, &line);
        if (status == HTTP_READ_DONE) {
            status = take_line(reader, line);
        } else if (status == HTTP_READ_MORE) {
            break;
        }
        if (status != HTTP_READ_MORE) {
            return status;
        }
    }
    return HTTP_READ_MORE;
}

static enum http_progress read_chunks(struct http_reader *reader, uint8_t *data,
                                      size_t size)
{
    struct http_state *state = reader->state;
    if (state->parsed == 0) {
        state->parsed = state->head_bytes;
    }
    enum http_progress status = take_chunks(reader, data, size);
    if (status != HTTP_READ_MORE) {
        return status;
    }
    /* The framing and trailers take memory too. */
    if (state->parsed - state->head_bytes >
        2 * reader->body_max + HTTP_HEADERS_BYTES_MAX) {
        return http_fail(reader, 413, "too-large",
                         "the chunks are over the limit");
    }
    return HTTP_READ_MORE;
}

/* Prepare for the next request; the views of this one stay valid. */
static void start_anew(struct http_state *state)
{
    state->scanned = 0;
    state->line_start = 0;
    state->head_bytes = 0;
    state->parsed = 0;
    state->searched = 0;
    state->part = CHUNK_SIZE;
    state->chunk_left = 0;
    state->body_bytes = 0;
    state->head_reported = false;
    state->begin = 0;
    state->target = (struct span){0};
    state->authority = (struct span){0};
    state->header_count = 0;
    state->trailer_count = 0;
    state->trailer_bytes = 0;
}

static enum http_progress finish(struct http_reader *reader, size_t body_bytes,
                                 size_t consumed, const uint8_t *data)
{
    struct http_state *state = reader->state;
    reader->request.body = bytes_of(data + state->head_bytes, body_bytes);
    reader->consumed = consumed;
    start_anew(state);
    return HTTP_READ_DONE;
}

/* ---- a body that is streamed ---- */

static enum http_progress stream_length(struct http_reader *reader,
                                        const uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    size_t take = (size_t)min_u64(size, state->body_left);
    state->body_left -= take;
    reader->request.body = bytes_of(data, take);
    reader->consumed = take;
    return state->body_left == 0 ? HTTP_READ_DONE : HTTP_READ_MORE;
}

/* Join the chunks in `data` at its start. An incomplete line is left for the
 * next call. */
static enum http_progress stream_chunks(struct http_reader *reader,
                                        uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    size_t head_bytes = state->head_bytes;
    state->head_bytes = 0;
    state->body_bytes = 0;
    state->parsed = 0;
    enum http_progress progress = take_chunks(reader, data, size);
    state->head_bytes = head_bytes;
    reader->request.body = bytes_of(data, state->body_bytes);
    reader->consumed = state->parsed;
    return progress;
}

enum http_progress http_read_body(struct http_reader *reader, uint8_t *data,
                                  size_t size)
{
    struct http_state *state = reader->state;
    must(reader->request.streamed && state->head_reported);
    enum http_progress progress = reader->request.chunked
                                      ? stream_chunks(reader, data, size)
                                      : stream_length(reader, data, size);
    if (progress == HTTP_READ_DONE) {
        start_anew(state);
    }
    return progress;
}

void http_view_head(struct http_reader *reader, const uint8_t *data)
{
    must(reader->state->head_reported);
    http_set_views(reader, data);
}

enum http_progress http_read(struct http_reader *reader, uint8_t *data,
                             size_t size)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    bool fresh = state->head_bytes == 0;
    if (fresh) {
        enum http_progress status = http_scan_head(reader, data, size);
        if (status != HTTP_READ_DONE) {
            return status;
        }
        status = http_read_head(reader, data);
        if (status == HTTP_READ_ERROR) {
            return status;
        }
    }
    if (request->streamed) {
        must(fresh);
        state->head_reported = true;
        state->body_left = request->content_length;
        reader->consumed = state->head_bytes;
        return HTTP_READ_HEAD;
    }
    if (!request->chunked &&
        size - state->head_bytes >= request->content_length) {
        http_set_views(reader, data);
        size_t body = (size_t)request->content_length;
        return finish(reader, body, state->head_bytes + body, data);
    }
    if (fresh) {
        state->head_reported = true;
        http_set_views(reader, data);
        /* Chunks that have come already are parsed by the next call. */
        return HTTP_READ_HEAD;
    }
    if (request->chunked) {
        enum http_progress status = read_chunks(reader, data, size);
        if (status != HTTP_READ_DONE) {
            return status;
        }
        http_set_views(reader, data);
        return finish(reader, state->body_bytes, state->parsed, data);
    }
    return HTTP_READ_MORE;
}
