/* answer.c -- an answer as a client reads it: in pieces, since it may be as
 * long as the database.
 *
 * A connection carries one answer, so a disagreement about its end (reader.c)
 * does no harm, and the rules of http-parser are good enough. What matters here
 * is that a cut answer is never taken for a complete one. */
#include <http_parser.h>

#include "http/http.h"

struct span {
    size_t at; /* Offset in `head`. */
    size_t size;
};

struct http_answer_state {
    http_parser parser;
    bool complete;
    const char *wrong; /* The reason of a callback to stop. */
    bool in_value;
    uint32_t header_count;
    struct span names[HTTP_HEADERS_MAX];
    struct span values[HTTP_HEADERS_MAX];
    size_t head_bytes;
    uint8_t head[HTTP_HEADERS_BYTES_MAX]; /* Names and values, back to back. */
    uint8_t *data;                        /* Input, while http-parser runs. */
};

static struct http_answer *answer_of(http_parser *parser)
{
    return parser->data;
}

static int stop(struct http_answer_state *state, const char *why)
{
    state->wrong = why;
    return -1; /* 1 from on_headers_complete would mean that no body follows. */
}

static int add_to_head(struct http_answer_state *state, struct span *span,
                       const char *at, size_t size)
{
    if (size > sizeof(state->head) - state->head_bytes) {
        return stop(state, "the answer's headers are over 16384 bytes");
    }
    if (span->size == 0) {
        span->at = state->head_bytes;
    }
    memcpy(state->head + state->head_bytes, at, size);
    state->head_bytes += size;
    span->size += size;
    return 0;
}

static int on_begin(http_parser *parser)
{
    struct http_answer_state *state = answer_of(parser)->state;
    state->header_count = 0;
    state->head_bytes = 0;
    state->in_value = true;
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct http_answer *answer = answer_of(parser);
    struct http_answer_state *state = answer->state;
    if (answer->head_done) {
        return 0; /* A trailer is dropped. */
    }
    if (state->in_value) {
        if (state->header_count == HTTP_HEADERS_MAX) {
            return stop(state, "the answer has more than 128 headers");
        }
        state->names[state->header_count] = (struct span){0};
        state->values[state->header_count] = (struct span){0};
        state->header_count++;
        state->in_value = false;
    }
    return add_to_head(state, &state->names[state->header_count - 1], at, size);
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct http_answer *answer = answer_of(parser);
    struct http_answer_state *state = answer->state;
    if (answer->head_done || state->header_count == 0) {
        return 0;
    }
    state->in_value = true;
    return add_to_head(state, &state->values[state->header_count - 1], at,
                       size);
}

static struct bytes view(const struct http_answer_state *state,
                         struct span span)
{
    return bytes_of(state->head + span.at, span.size);
}

static struct bytes without_blanks_behind(struct bytes text)
{
    while (text.size > 0 && (text.data[text.size - 1] == ' ' ||
                             text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static int on_head(http_parser *parser)
{
    struct http_answer *answer = answer_of(parser);
    struct http_answer_state *state = answer->state;
    if (parser->http_major != 1) {
        return stop(state, "the answer is not HTTP/1");
    }
    if (parser->status_code == 101) {
        return stop(state, "the server switches to another protocol");
    }
    if (parser->status_code < 200) {
        return 0; /* An interim answer: another follows (RFC 9110 15.2). */
    }
    answer->head_done = true;
    answer->status = (int)parser->status_code;
    answer->header_count = state->header_count;
    for (uint32_t i = 0; i < state->header_count; i++) {
        answer->headers[i] = (struct http_header){
            .name = view(state, state->names[i]),
            .value = without_blanks_behind(view(state, state->values[i]))};
    }
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http_answer *answer = answer_of(parser);
    struct http_answer_state *state = answer->state;
    if (!answer->head_done) {
        return stop(state, "an interim answer has a body");
    }
    memmove(state->data + answer->body.size, at, size);
    answer->body = bytes_of(state->data, answer->body.size + size);
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct http_answer *answer = answer_of(parser);
    if (answer->head_done) {
        answer->state->complete = true;
        http_parser_pause(parser, 1);
    }
    return 0;
}

void http_answer_init(struct http_answer *answer)
{
    *answer = (struct http_answer){
        .state = mem_zalloc(sizeof(struct http_answer_state))};
    http_parser_init(&answer->state->parser, HTTP_RESPONSE);
}

void http_answer_free(struct http_answer *answer)
{
    mem_free(answer->state);
    *answer = (struct http_answer){0};
}

enum http_progress http_answer_read(struct http_answer *answer, uint8_t *data,
                                    size_t size)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_begin,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_headers_complete = on_head,
        .on_body = on_body,
        .on_message_complete = on_complete,
    };
    struct http_answer_state *state = answer->state;
    http_parser *parser = &state->parser;
    must(!state->complete && !answer->error_text);
    answer->body = (struct bytes){0};
    state->data = data;
    parser->data = answer;
    http_parser_execute(parser, &settings, (const char *)data, size);
    if (state->complete) {
        return HTTP_READ_DONE;
    }
    enum http_errno error = HTTP_PARSER_ERRNO(parser);
    if (state->wrong) {
        answer->error_text = state->wrong;
    } else if (size == 0 || error == HPE_INVALID_EOF_STATE) {
        answer->error_text = "the connection ended before the answer did";
    } else if (error != HPE_OK) {
        answer->error_text = "the answer is not HTTP";
    }
    return answer->error_text ? HTTP_READ_ERROR : HTTP_READ_MORE;
}
