/* reader.c -- bytes -> requests.
 *
 * The head is looked at twice: once here, byte by byte, for what http-parser
 * (Debian builds it lenient) would let pass, then by http-parser, which
 * splits it. Bodies in chunks go through http-parser as they come. */
#include <http_parser.h>

#include "http/http.h"

struct span {
    size_t at; /* Offset from the first byte of the request. */
    size_t size;
};

struct http_state {
    http_parser parser;
    size_t scanned;     /* Bytes looked at in search of the end of the head. */
    size_t line_start;  /* Of the line `scanned` is in. */
    size_t begin;       /* Of the request line, behind an empty line. */
    size_t head_bytes;  /* 0: not complete. */
    size_t parsed;      /* Bytes of a chunked body given to http-parser. */
    size_t body_bytes;  /* Of it, joined behind the head. */
    uint64_t body_left; /* Of a streamed one with a length. */
    bool head_told;
    bool complete;
    const char *error;
    /* While http-parser runs: */
    uint8_t *data;
    size_t body_max;
    struct span target;
    struct span authority; /* Of a target in absolute form, in it. */
    uint32_t header_count;
    struct span names[HTTP_HEADERS_MAX];
    struct span values[HTTP_HEADERS_MAX];
    bool in_value;
    bool too_many;
    bool too_big;
};

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

static enum http_progress fail(struct http_reader *reader, int status,
                               const char *code, const char *text)
{
    reader->error_status = status;
    reader->error_code = code;
    reader->error_text = text;
    return HTTP_READ_ERROR;
}

static enum http_progress bad(struct http_reader *reader, const char *text)
{
    return fail(reader, 400, "bad-request", text);
}

/* ---- http-parser's callbacks ------------------------------------------------
 */

static struct http_state *state_of(http_parser *parser)
{
    return parser->data;
}

/* Called once a span, or several times for adjoining pieces. */
static void extend(struct http_state *state, struct span *span, const char *at,
                   size_t size)
{
    if (span->size == 0) {
        span->at = (size_t)((const uint8_t *)at - state->data);
    }
    span->size += size;
}

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    extend(state, &state->target, at, size);
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    if (state->complete || state->head_bytes == 0 || state->head_told) {
        return 0; /* A trailer: dropped. */
    }
    if (state->header_count == 0 || state->in_value) {
        if (state->header_count == HTTP_HEADERS_MAX) {
            state->too_many = true;
            return 1;
        }
        state->header_count++;
        state->in_value = false;
    }
    extend(state, &state->names[state->header_count - 1], at, size);
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    if (state->complete || state->head_told) {
        return 0;
    }
    state->in_value = true;
    extend(state, &state->values[state->header_count - 1], at, size);
    return 0;
}

static int on_head(http_parser *parser)
{
    (void)parser;
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    if (size > state->body_max - state->body_bytes) {
        state->too_big = true;
        return 1;
    }
    memmove(state->data + state->head_bytes + state->body_bytes, at, size);
    state->body_bytes += size;
    return 0;
}

static int on_complete(http_parser *parser)
{
    state_of(parser)->complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* ---- the head, strictly
 * ------------------------------------------------------- */

static bool is_token(uint8_t c)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr(marks, c) != NULL);
}

/* A header line without its CRLF: token ":" value (RFC 9112 5). */
static const char *header_wrong(const uint8_t *line, size_t size)
{
    size_t name = 0;
    while (name < size && is_token(line[name])) {
        name++;
    }
    if (name == 0 || name == size || line[name] != ':') {
        return name == 0 && size > 0 && (line[0] == ' ' || line[0] == '\t')
                   ? "a folded header line"
                   : "a header name that is no token";
    }
    for (size_t i = name + 1; i < size; i++) {
        if ((line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f) {
            return "a control character in a header value";
        }
    }
    return NULL;
}

/* method SP target SP version: printable ASCII, two blanks (RFC 9112 3). */
static const char *request_line_wrong(const uint8_t *line, size_t size)
{
    unsigned blanks = 0;
    for (size_t i = 0; i < size; i++) {
        if (line[i] < 0x20 || line[i] >= 0x7f) {
            return "a byte outside printable ASCII in the request line";
        }
        blanks += line[i] == ' ';
    }
    return blanks == 2 ? NULL : "a malformed request line";
}

/* Look at whole lines only; DONE when the blank line has been seen. One empty
 * line before the request line is ignored (RFC 9112 2.2): some clients end a
 * body with one. */
static enum http_progress scan_head(struct http_reader *reader,
                                    const uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    while (state->scanned < size) {
        const uint8_t *lf =
            memchr(data + state->scanned, '\n', size - state->scanned);
        size_t end = lf ? (size_t)(lf - data) : size;
        bool first = state->line_start == state->begin;
        size_t line = end - state->line_start;
        if (line > HTTP_LINE_BYTES_MAX + 1) {
            return first ? fail(reader, 414, "uri-too-long",
                                "the request line is over 8192 bytes")
                         : fail(reader, 431, "headers-too-large",
                                "a header is over 8192 bytes");
        }
        if (end > HTTP_HEAD_BYTES_MAX) {
            return fail(reader, 431, "headers-too-large",
                        "the headers are over 16384 bytes");
        }
        state->scanned = end;
        if (!lf) {
            return HTTP_READ_MORE;
        }
        if (line == 0 || data[end - 1] != '\r') {
            return bad(reader, "a line that does not end in CRLF");
        }
        const uint8_t *text = data + state->line_start;
        size_t text_size = line - 1;
        state->scanned = end + 1;
        state->line_start = end + 1;
        if (text_size == 0 && !first) {
            state->head_bytes = end + 1;
            return HTTP_READ_DONE;
        }
        if (text_size == 0 && state->begin == 0) {
            state->begin = end + 1;
            continue;
        }
        const char *wrong = first ? request_line_wrong(text, text_size)
                                  : header_wrong(text, text_size);
        if (wrong) {
            return bad(reader, wrong);
        }
    }
    return HTTP_READ_MORE;
}

/* ---- what the head means
 * -------------------------------------------------------- */

static enum http_verb verb_of(unsigned method)
{
    switch (method) {
    case HTTP_GET:
        return HTTP_VERB_GET;
    case HTTP_HEAD:
        return HTTP_VERB_HEAD;
    case HTTP_POST:
        return HTTP_VERB_POST;
    case HTTP_PUT:
        return HTTP_VERB_PUT;
    case HTTP_DELETE:
        return HTTP_VERB_DELETE;
    case HTTP_OPTIONS:
        return HTTP_VERB_OPTIONS;
    default:
        return HTTP_VERB_OTHER;
    }
}

static struct bytes view(const uint8_t *data, struct span span)
{
    return bytes_of(data + span.at, span.size);
}

static bool equal_fold(struct bytes a, const char *text)
{
    size_t size = strlen(text);
    if (a.size != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t c = a.data[i];
        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }
        uint8_t d = (uint8_t)text[i];
        if (d >= 'A' && d <= 'Z') {
            d |= 0x20;
        }
        if (c != d) {
            return false;
        }
    }
    return true;
}

/* Views are made anew on each call: the input may have moved. */
static void set_views(struct http_reader *reader, const uint8_t *data)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    struct bytes authority = view(data, state->authority);
    request->target = view(data, state->target);
    const uint8_t *mark =
        memchr(request->target.data, '?', request->target.size);
    size_t path =
        mark ? (size_t)(mark - request->target.data) : request->target.size;
    /* No path is "/" (RFC 9110 4.2.3): there is one before the authority. */
    bool empty = path == 0 && authority.size > 0;
    request->path = empty ? bytes_of(authority.data - 1, 1)
                          : bytes_of(request->target.data, path);
    request->query = mark ? bytes_of(mark + 1, request->target.size - path - 1)
                          : (struct bytes){0};
    request->header_count = state->header_count;
    for (uint32_t i = 0; i < state->header_count; i++) {
        struct bytes value = view(data, state->values[i]);
        while (value.size > 0 && (value.data[value.size - 1] == ' ' ||
                                  value.data[value.size - 1] == '\t')) {
            value.size--;
        }
        struct bytes name = view(data, state->names[i]);
        if (authority.size > 0 && equal_fold(name, "host")) {
            value = authority; /* RFC 9112 3.2.2: Host is ignored. */
        }
        request->headers[i] =
            (struct http_header){.name = name, .value = value};
    }
}

/* The target of the request line -> path and query. In absolute form (RFC 9112
 * 3.2.2) the authority is kept aside; a user in it is an error (RFC 9110
 * 4.2.4), and so is none at all (4.2.1). NULL, or what is wrong. */
static const char *split_target(struct http_reader *reader, const uint8_t *data)
{
    static const char scheme[] = "http://";
    const size_t skip = sizeof(scheme) - 1;
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    struct bytes target = view(data, state->target);
    bool asks_server = request->verb == HTTP_VERB_OPTIONS;
    request->of_server = asks_server && bytes_equal_string(target, "*");
    if (request->of_server || (target.size > 0 && target.data[0] == '/')) {
        return NULL;
    }
    if (target.size < skip ||
        !equal_fold(bytes_of(target.data, skip), scheme)) {
        return "the target is neither a path nor an http:// URL";
    }
    size_t end = skip;
    while (end < target.size && target.data[end] != '/' &&
           target.data[end] != '?') {
        end++;
    }
    state->authority = (struct span){state->target.at + skip, end - skip};
    if (end == skip || target.data[skip] == ':' ||
        memchr(target.data + skip, '@', end - skip)) {
        return "the URL has no host, or a user";
    }
    request->of_server = asks_server && end == target.size; /* 3.2.4 */
    state->target.at += end;
    state->target.size -= end;
    return NULL;
}

struct framing {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    struct bytes length;
    struct bytes coding;
};

static void note_header(struct http_request *request, struct framing *framing,
                        const struct http_header *header)
{
    if (equal_fold(header->name, "host")) {
        framing->hosts++;
    } else if (equal_fold(header->name, "content-length")) {
        framing->lengths++;
        framing->length = header->value;
    } else if (equal_fold(header->name, "transfer-encoding")) {
        framing->codings++;
        framing->coding = header->value;
    } else if (equal_fold(header->name, "expect") && request->minor == 1) {
        request->expect_continue = equal_fold(header->value, "100-continue");
        request->expect_unknown = !request->expect_continue;
    }
}

/* RFC 9112 6.3: whoever disagrees about where a body ends can be fed a
 * second request in the first one's body. */
static enum http_progress check_framing(struct http_reader *reader,
                                        const struct framing *framing)
{
    struct http_request *request = &reader->request;
    if (framing->hosts > 1 || (framing->hosts == 0 && request->minor == 1)) {
        return bad(reader, "exactly one Host header is needed");
    }
    if (framing->codings > 0) {
        if (framing->lengths > 0) {
            return bad(reader, "Content-Length beside Transfer-Encoding");
        }
        if (framing->codings > 1 || request->minor == 0 ||
            !equal_fold(framing->coding, "chunked")) {
            return fail(reader, 501, "transfer-coding",
                        "the only transfer coding is chunked, once");
        }
        request->chunked = true;
        return HTTP_READ_DONE;
    }
    if (framing->lengths > 1) {
        return bad(reader, "more than one Content-Length");
    }
    if (framing->lengths == 1) {
        uint64_t length = 0;
        struct bytes text = framing->length;
        if (text.size == 0 || text.size > 18) {
            return bad(reader, "a Content-Length that is no number");
        }
        for (size_t i = 0; i < text.size; i++) {
            uint8_t digit = (uint8_t)(text.data[i] - '0');
            if (digit > 9) {
                return bad(reader, "a Content-Length that is no number");
            }
            length = length * 10 + digit;
        }
        request->content_length = length;
    }
    return HTTP_READ_DONE;
}

static bool has_upgrade_or_connect(const http_parser *parser)
{
    return parser->upgrade || parser->method == HTTP_CONNECT;
}

static enum http_progress split_head(struct http_reader *reader, uint8_t *data)
{
    struct http_state *state = reader->state;
    http_parser *parser = &state->parser;
    http_parser_init(parser, HTTP_REQUEST);
    parser->data = state;
    state->data = data;
    state->body_max = reader->body_max;
    http_parser_execute(parser, &settings, (const char *)data + state->begin,
                        state->head_bytes - state->begin);
    enum http_errno error = HTTP_PARSER_ERRNO(parser);
    if (state->too_many) {
        return fail(reader, 431, "headers-too-large", "more than 64 headers");
    }
    bool upgrade = has_upgrade_or_connect(parser);
    if (error != HPE_OK && error != HPE_PAUSED && !upgrade) {
        if (error == HPE_INVALID_METHOD) {
            return fail(reader, 501, "unsupported-method",
                        "the method is not known here");
        }
        if (error == HPE_INVALID_VERSION) {
            return fail(reader, 505, "http-version",
                        "only HTTP/1.0 and HTTP/1.1 are spoken here");
        }
        if (error == HPE_INVALID_TRANSFER_ENCODING) {
            return fail(reader, 501, "transfer-coding",
                        "the only transfer coding is chunked, once");
        }
        return bad(reader, http_errno_description(error));
    }
    if (parser->http_major != 1 || parser->http_minor > 1) {
        return fail(reader, 505, "http-version",
                    "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    return HTTP_READ_DONE;
}

static enum http_progress read_head(struct http_reader *reader, uint8_t *data)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    enum http_progress status = split_head(reader, data);
    if (status == HTTP_READ_ERROR) {
        return status;
    }
    request->verb = verb_of(state->parser.method);
    request->minor = (uint8_t)state->parser.http_minor;
    request->keep_alive = http_should_keep_alive(&state->parser) != 0 &&
                          !has_upgrade_or_connect(&state->parser);
    request->expect_continue = false;
    request->expect_unknown = false;
    request->content_length = 0;
    request->chunked = false;
    request->body = (struct bytes){0};
    if (state->head_bytes - state->target.at - state->target.size >
        HTTP_HEADERS_BYTES_MAX + 32) {
        return fail(reader, 431, "headers-too-large",
                    "the headers are over 16384 bytes");
    }
    const char *wrong = split_target(reader, data);
    if (wrong) {
        return bad(reader, wrong);
    }
    set_views(reader, data);
    struct framing framing = {0};
    for (uint32_t i = 0; i < request->header_count; i++) {
        note_header(request, &framing, &request->headers[i]);
    }
    status = check_framing(reader, &framing);
    request->streamed = reader->streams && reader->streams(request);
    if (status == HTTP_READ_DONE && !request->streamed &&
        request->content_length > reader->body_max) {
        return fail(reader, 413, "too-large", "the body is over the limit");
    }
    return status;
}

/* ---- the body
 * ---------------------------------------------------------------------- */

static enum http_progress read_chunks(struct http_reader *reader, uint8_t *data,
                                      size_t size)
{
    struct http_state *state = reader->state;
    if (state->parsed == 0) {
        state->parsed = state->head_bytes;
    }
    if (state->parsed == size) {
        return HTTP_READ_MORE; /* No bytes would mean the end of the stream. */
    }
    state->data = data;
    http_parser *parser = &state->parser;
    size_t used = http_parser_execute(parser, &settings,
                                      (const char *)data + state->parsed,
                                      size - state->parsed);
    state->parsed += used;
    if (state->too_big) {
        return fail(reader, 413, "too-large", "the body is over the limit");
    }
    if (state->complete) {
        /* It pauses on the last byte, which it does not count. */
        if (state->parsed < size && data[state->parsed] == '\n' &&
            state->parsed > 0 && data[state->parsed - 1] == '\r') {
            state->parsed++;
        }
        return HTTP_READ_DONE;
    }
    if (HTTP_PARSER_ERRNO(parser) != HPE_OK) {
        return bad(reader, http_errno_description(HTTP_PARSER_ERRNO(parser)));
    }
    /* Framing and trailers cost memory too. */
    if (state->parsed - state->head_bytes >
        2 * reader->body_max + HTTP_HEADERS_BYTES_MAX) {
        return fail(reader, 413, "too-large", "the chunks are over the limit");
    }
    return HTTP_READ_MORE;
}

/* Ready for the next request; the views stay. */
static void start_anew(struct http_state *state)
{
    state->scanned = 0;
    state->line_start = 0;
    state->head_bytes = 0;
    state->parsed = 0;
    state->body_bytes = 0;
    state->head_told = false;
    state->complete = false;
    state->begin = 0;
    state->target = (struct span){0};
    state->authority = (struct span){0};
    for (uint32_t i = 0; i < state->header_count; i++) {
        state->names[i] = (struct span){0};
        state->values[i] = (struct span){0};
    }
    state->header_count = 0;
    state->in_value = false;
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

/* ---- a body that is streamed ----------------------------------------------
 */

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

/* What http-parser finds is joined at the beginning of `data`. */
static enum http_progress stream_chunks(struct http_reader *reader,
                                        uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    http_parser *parser = &state->parser;
    size_t head_bytes = state->head_bytes;
    reader->request.body = (struct bytes){0};
    reader->consumed = 0;
    if (size == 0) {
        return HTTP_READ_MORE; /* No bytes would mean the end of the stream. */
    }
    state->data = data;
    state->head_bytes = 0;
    state->body_bytes = 0;
    state->body_max = size;
    size_t used =
        http_parser_execute(parser, &settings, (const char *)data, size);
    state->head_bytes = head_bytes;
    reader->request.body = bytes_of(data, state->body_bytes);
    if (state->complete) {
        /* It pauses on the last byte, which it does not count. */
        bool at_last = used < size && data[used] == '\n';
        reader->consumed = used + at_last;
        return HTTP_READ_DONE;
    }
    reader->consumed = used;
    return HTTP_PARSER_ERRNO(parser) == HPE_OK
               ? HTTP_READ_MORE
               : bad(reader, http_errno_description(HTTP_PARSER_ERRNO(parser)));
}

enum http_progress http_read_body(struct http_reader *reader, uint8_t *data,
                                  size_t size)
{
    struct http_state *state = reader->state;
    must(reader->request.streamed && state->head_told);
    enum http_progress progress = reader->request.chunked
                                      ? stream_chunks(reader, data, size)
                                      : stream_length(reader, data, size);
    if (progress == HTTP_READ_DONE) {
        start_anew(state);
    }
    return progress;
}

enum http_progress http_read(struct http_reader *reader, uint8_t *data,
                             size_t size)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    bool fresh = state->head_bytes == 0;
    if (fresh) {
        enum http_progress status = scan_head(reader, data, size);
        if (status != HTTP_READ_DONE) {
            return status;
        }
        status = read_head(reader, data);
        if (status == HTTP_READ_ERROR) {
            return status;
        }
    }
    if (request->streamed) {
        must(fresh);
        state->head_told = true;
        state->body_left = request->content_length;
        reader->consumed = state->head_bytes;
        return HTTP_READ_HEAD;
    }
    if (!request->chunked &&
        size - state->head_bytes >= request->content_length) {
        set_views(reader, data);
        size_t body = (size_t)request->content_length;
        return finish(reader, body, state->head_bytes + body, data);
    }
    if (fresh) {
        state->head_told = true;
        set_views(reader, data);
        /* Chunks that are here already are looked at on the next call. */
        return HTTP_READ_HEAD;
    }
    if (request->chunked) {
        enum http_progress status = read_chunks(reader, data, size);
        if (status != HTTP_READ_DONE) {
            return status;
        }
        set_views(reader, data);
        return finish(reader, state->body_bytes, state->parsed, data);
    }
    return HTTP_READ_MORE;
}

struct bytes http_header_named(const struct http_header *headers,
                               uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (equal_fold(headers[i].name, name)) {
            return headers[i].value;
        }
    }
    return (struct bytes){0};
}

struct bytes http_header(const struct http_request *request, const char *name)
{
    return http_header_named(request->headers, request->header_count, name);
}
